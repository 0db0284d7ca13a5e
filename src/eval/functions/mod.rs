//! The functions of templates, a file a family.

use super::function::Function;

pub mod encoding;
pub mod json;
mod logic;
pub mod regex;
pub mod urls;
pub mod versions;
pub mod yaml;

/// All tables that make up Helm's functions.
pub static TABLES: &[&[Function]] =
    &[encoding::TABLE, json::TABLE, logic::TABLE, regex::TABLE, urls::TABLE, versions::TABLE, yaml::TABLE];
