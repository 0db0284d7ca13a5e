//! The methods of `.Values` (Go: `chartutil.Values`), which shadow keys of their names.

use std::rc::Rc;

use super::function::{Args, FuncError, Param};
use super::functions::yaml::yaml_text;
use super::print;
use super::value::{Dict, DictKind, Method, Value};

static AS_MAP: Method = Method { name: "AsMap", params: &[], rest: None };
static YAML: Method = Method { name: "YAML", params: &[], rest: None };
static TABLE: Method = Method { name: "Table", params: &[Param::Str], rest: None };
static PATH_VALUE: Method = Method { name: "PathValue", params: &[Param::Str], rest: None };

/// Returns a method of `chartutil.Values`.
pub(super) fn values_method(name: &[u8]) -> Option<&'static Method> {
    [&AS_MAP, &YAML, &TABLE, &PATH_VALUE].into_iter().find(|m| m.name.as_bytes() == name)
}

/// Calls a method of `chartutil.Values`.
pub(super) fn call_values(dict: &Rc<Dict>, method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
    match method.name {
        "AsMap" => Ok(Value::Dict(Rc::new(dict.copied_as(DictKind::Any)))),
        "YAML" => yaml_text(&Value::Dict(dict.clone())).map(|t| Value::str(t + "\n")).map_err(FuncError::new),
        _ => path_value(dict, args.text(0), method.name == "Table"),
    }
}

fn path_value(dict: &Rc<Dict>, path: &[u8], table: bool) -> Result<Value, FuncError> {
    let refuse = |what: &str| Err(FuncError::new(format!("{} is not a {what}", print::quoted(path))));
    let mut value = Value::Dict(dict.clone());
    for key in path.split(|b| *b == b'.') {
        let Some(next) = value.as_dict().and_then(|d| d.get(key)) else {
            return refuse(if table { "table" } else { "value" });
        };
        value = next;
    }
    match (&value, table) {
        (Value::Dict(found), true) => Ok(Value::Dict(Rc::new(found.copied_as(dict.kind)))),
        (_, true) => refuse("table"),
        (Value::Dict(_), false) => refuse("value"),
        (_, false) => Ok(value),
    }
}
