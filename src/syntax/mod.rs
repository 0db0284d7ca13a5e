//! Languages: text in, trees out. Each parser is total: it returns a tree and writes diagnostics, and never fails.
//!
//! What does not live here: evaluation of what was parsed (`eval`).

pub mod dockerfile;
pub mod gotemplate;
pub mod yaml;
