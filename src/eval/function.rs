//! Functions of templates: how one is described, registered and called.
//!
//! What lives here: [`Function`], [`Param`], [`FunctionSet`], [`FuncError`], [`Ctx`] and [`Args`]. What does
//! not: the functions themselves (`functions/`, a file a family).
//!
//! The one idea: a function is a line of a static table. The engine checks the arguments against the
//! parameters as Go does, so a function reads them with [`Args`] and need not check again.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::error::RenderError;
use super::value::{Dict, List, Str, Value};

pub use super::run::Ctx;

/// What a parameter accepts; named after Go's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// `interface {}`: anything, null too.
    Any,
    /// `string`
    Str,
    /// `int` (not int64, not float64)
    Int,
    /// `int64`
    Int64,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `map[string]interface {}`; null given through a pipe becomes the nil map.
    Map,
    /// `[]interface {}`; null given through a pipe becomes the nil list.
    List,
    /// `[]string`
    Strings,
    /// An object of this Go type.
    Object(&'static str),
    /// `reflect.Value`: anything, as the built-in functions take it.
    Reflect,
}

impl Param {
    /// Returns the Go type as messages name it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Str => "string",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Float => "float64",
            Self::Bool => "bool",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Strings => "[]string",
            Self::Object(name) => name,
            Self::Reflect => "reflect.Value",
        }
    }
}

/// The chapter of the reference that tells about a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Builtin,
    Strings,
    Numbers,
    Logic,
    Dicts,
    Lists,
    Encoding,
    Crypto,
    Json,
    Yaml,
    Dates,
    Regex,
    Versions,
    Urls,
    Paths,
    Network,
    Helm,
}

/// The code of a function.
pub type Native = fn(&mut Ctx<'_>, &[Value]) -> Result<Value, FuncError>;

/// A function that templates can call.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its chapter.
    pub family: Family,
    /// The parameters it must have.
    pub params: &'static [Param],
    /// What further parameters are, when it takes them.
    pub rest: Option<Param>,
    /// The code.
    pub call: Native,
    /// One sentence, third person.
    pub doc: &'static str,
    /// Two calls with equal arguments may differ: it reads the clock or randomness.
    pub varies: bool,
}

impl Function {
    /// Describes a function with fixed parameters.
    pub const fn new(
        family: Family,
        name: &'static str,
        params: &'static [Param],
        call: Native,
        doc: &'static str,
    ) -> Self {
        Self { name, family, params, rest: None, call, doc, varies: false }
    }

    /// Marks a function of which two calls with equal arguments may differ.
    pub const fn varying(self) -> Self {
        Self { varies: true, ..self }
    }

    /// Describes a function that takes more arguments after `params`.
    pub const fn variadic(
        family: Family,
        name: &'static str,
        params: &'static [Param],
        rest: Param,
        call: Native,
        doc: &'static str,
    ) -> Self {
        Self { name, family, params, rest: Some(rest), call, doc, varies: false }
    }
}

/// Functions that Helm 3 does not have; all but the first came after Helm 4.1.
const SINCE_HELM_4: &[&str] = &[
    "mustToYaml",
    "mustToToml",
    "mustToDuration",
    "durationSeconds",
    "durationMinutes",
    "durationHours",
    "durationDays",
    "durationWeeks",
    "durationMilliseconds",
    "durationMicroseconds",
    "durationNanoseconds",
    "durationRoundTo",
    "durationTruncateTo",
];

/// The functions that a kind of template may call; parsers look names up here once.
#[derive(Clone, Debug, Default)]
pub struct FunctionSet {
    list: Vec<&'static Function>,
    names: FxHashMap<&'static str, u16>,
}

impl FunctionSet {
    /// Returns an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the functions of charts of Helm 3.
    pub fn helm() -> Arc<Self> {
        static SET: std::sync::OnceLock<Arc<FunctionSet>> = std::sync::OnceLock::new();
        SET.get_or_init(|| Arc::new(Self::clone(&Self::helm4()).without(SINCE_HELM_4))).clone()
    }

    /// Returns the functions of charts of Helm 4, later than 4.1 too.
    pub fn helm4() -> Arc<Self> {
        static SET: std::sync::OnceLock<Arc<FunctionSet>> = std::sync::OnceLock::new();
        let all = || FunctionSet::new().with(super::functions::TABLES.iter().copied().flatten());
        SET.get_or_init(|| Arc::new(all())).clone()
    }

    /// Returns the functions of the charts of werf projects.
    pub fn werf_chart() -> Arc<Self> {
        static SET: std::sync::OnceLock<Arc<FunctionSet>> = std::sync::OnceLock::new();
        let own = || super::functions::werf::DEBUG.iter().chain(super::functions::werf::CHART);
        SET.get_or_init(|| Arc::new((*Self::helm()).clone().with(own()))).clone()
    }

    /// Adds functions; a name that is there already gets the new meaning.
    pub fn with(mut self, functions: impl IntoIterator<Item = &'static Function>) -> Self {
        for function in functions {
            let index = u16::try_from(self.list.len()).expect("fewer than 65536 functions");
            self.list.push(function);
            self.names.insert(function.name, index);
        }
        self
    }

    /// Takes functions away.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.names.retain(|name, _| !names.contains(name));
        self
    }

    /// Returns the index of a function.
    pub fn index(&self, name: &str) -> Option<u16> {
        self.names.get(name).copied()
    }

    /// Returns a function by its index.
    pub fn get(&self, index: u16) -> Option<&'static Function> {
        self.list.get(usize::from(index)).copied()
    }

    /// Returns all functions by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Function> {
        let mut names: Vec<(&str, u16)> = self.names.iter().map(|(name, index)| (*name, *index)).collect();
        names.sort_unstable();
        names.into_iter().filter_map(|(_, index)| self.get(index))
    }
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub enum FuncError {
    /// The function says no.
    Message(Box<str>),
    /// The author of the template says no (`fail`, `required`).
    Refused(Box<str>),
    /// A template rendered by the function failed.
    Nested(Box<RenderError>),
    /// Like `Nested`, with words that stand before the cause.
    Within(Box<str>, Box<RenderError>),
}

impl FuncError {
    /// Makes the usual failure.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into().into_boxed_str())
    }
}

/// Reads checked arguments. A missing argument, or one of another type, reads as the zero value.
pub trait Args {
    /// Returns an argument; nil when it was not given.
    fn any(&self, index: usize) -> &Value;
    /// Returns the bytes of a string.
    fn text(&self, index: usize) -> &[u8];
    /// Returns a string.
    fn string(&self, index: usize) -> Str;
    /// Returns an integer.
    fn int(&self, index: usize) -> i64;
    /// Returns a float.
    fn float(&self, index: usize) -> f64;
    /// Returns a truth value.
    fn bool(&self, index: usize) -> bool;
    /// Returns a map; the nil map for null.
    fn dict(&self, index: usize) -> Rc<Dict>;
    /// Returns a list; `None` for null (Go's nil slice of an unknown type) and what is no stored list.
    fn list(&self, index: usize) -> Option<&List>;
}

impl Args for [Value] {
    fn any(&self, index: usize) -> &Value {
        self.get(index).unwrap_or(&Value::Nil)
    }

    fn text(&self, index: usize) -> &[u8] {
        self.any(index).as_bytes().unwrap_or_default()
    }

    fn string(&self, index: usize) -> Str {
        if let Value::Str(s) = self.any(index) { s.clone() } else { Str::new(Vec::new()) }
    }

    fn int(&self, index: usize) -> i64 {
        if let Value::Int(n) | Value::Int64(n) = self.any(index) { *n } else { 0 }
    }

    fn float(&self, index: usize) -> f64 {
        if let Value::Float(f) = self.any(index) { *f } else { 0.0 }
    }

    fn bool(&self, index: usize) -> bool {
        matches!(self.any(index), Value::Bool(true))
    }

    fn dict(&self, index: usize) -> Rc<Dict> {
        if let Value::Dict(d) = self.any(index) { d.clone() } else { Rc::new(Dict::nil()) }
    }

    fn list(&self, index: usize) -> Option<&List> {
        if let Value::List(l) = self.any(index) { Some(l) } else { None }
    }
}
