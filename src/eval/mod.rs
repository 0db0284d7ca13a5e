//! Evaluation: Go templates over values, with the functions of Sprig and Helm.
//!
//! What lives here: the value model ([`Value`]), function tables ([`FunctionSet`]), compiled templates and
//! their rendering. What does not: parsing (`syntax::gotemplate`), charts and their objects' contents (`chart`).
//!
//! The one idea: a syntax tree is lowered once to a program in which names are resolved to indices; rendering
//! walks the program over cheap shared values.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::single_match_else,
    reason = "functions and operators know some kinds of values and treat all others alike, as Go's do"
)]

mod error;
pub mod format;
pub mod function;
pub mod functions;
pub mod gotime;
pub mod json;
pub mod jsonnet;
mod values;
pub mod origins;
pub mod print;
pub mod regex;
mod program;
mod run;
pub mod semver;
mod set;
mod stack;
mod track;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod tests;
pub mod value;

pub use error::{Level, ReadValue, RenderError};
pub use function::{Args, Ctx, Family, FuncError, Function, FunctionSet, Param};
pub use origins::{Origin, OriginId, OriginTable, Origins, ValueId, ValuePlace};
pub use run::{Host, MAX_OUTPUT, NO_VALUE, NoHost, RenderEnv, Rendered};
pub use set::{Missing, SetOptions, TemplateSet};
pub use stack::on_deep_stack;
pub use track::ValueIndex;
pub use value::{Dict, DictKind, Elem, Entry, List, Method, Object, ObjectRef, Str, Value};
