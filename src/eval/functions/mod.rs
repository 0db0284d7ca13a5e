//! The functions of templates, a file a family.

use super::function::Function;

mod logic;

/// All tables that make up Helm's functions.
pub static TABLES: &[&[Function]] = &[logic::TABLE];
