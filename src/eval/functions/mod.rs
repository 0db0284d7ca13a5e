//! The functions of templates, a file a family.

use super::function::Function;

pub mod encoding;
pub mod json;
mod logic;
pub mod yaml;

/// All tables that make up Helm's functions.
pub static TABLES: &[&[Function]] = &[encoding::TABLE, json::TABLE, logic::TABLE, yaml::TABLE];
