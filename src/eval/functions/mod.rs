//! The functions of templates, a file a family.
#![allow(clippy::unnecessary_wraps, reason = "the functions of a table have one signature")]

use super::function::Function;

pub mod builtin;
mod cases;
pub mod crypto;
pub mod dates;
mod decimal;
pub mod dicts;
pub mod encoding;
pub mod helm;
pub mod json;
mod keys;
pub mod lists;
pub mod logic;
pub mod numbers;
pub mod regex;
pub mod strings;
pub mod toml;
pub mod urls;
pub mod versions;
pub mod werf;
pub mod yaml;

/// All tables that make up Helm's functions.
pub static TABLES: &[&[Function]] = &[
    builtin::TABLE,
    strings::TABLE,
    numbers::TABLE,
    logic::TABLE,
    dicts::TABLE,
    lists::TABLE,
    helm::TABLE,
    encoding::TABLE,
    crypto::TABLE,
    dates::TABLE,
    json::TABLE,
    regex::TABLE,
    urls::TABLE,
    versions::TABLE,
    yaml::TABLE,
    toml::TABLE,
];
