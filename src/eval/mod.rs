//! Evaluation: Go templates over values, with the functions of Sprig and Helm.
//!
//! What lives here: the value model ([`Value`]), function tables ([`FunctionSet`]), compiled templates and
//! their rendering. What does not: parsing (`syntax::gotemplate`), charts and their objects' contents (`chart`).
//!
//! The one idea: a syntax tree is lowered once to a program in which names are resolved to indices; rendering
//! walks the program over cheap shared values.

mod error;
pub mod function;
pub mod functions;
pub mod jsonnet;
pub mod origins;
pub mod print;
mod run;
pub mod value;

pub use error::RenderError;
pub use function::{Args, Ctx, Family, FuncError, Function, FunctionSet, Param};
pub use run::{Host, NoHost, RenderEnv};
pub use value::{Dict, DictKind, Elem, Entry, List, Method, Object, ObjectRef, Str, Value};
