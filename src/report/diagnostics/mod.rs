//! Diagnostics as text for people and in the formats of CI systems, one function each.
//!
//! All take the diagnostics in the order they shall be shown, see `Diagnostics::into_sorted`.

mod ci;
mod finding;
mod text;

pub use ci::{github, gitlab};
pub use finding::{Finding, Frame, findings, json};
pub use text::{summary, text};
