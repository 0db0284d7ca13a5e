//! Methods and objects that the engine itself knows.

use std::rc::Rc;

use super::function::{Args, Ctx, FuncError, Param};
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
pub(super) fn call_values(
    ctx: &mut Ctx<'_>,
    dict: &Rc<Dict>,
    method: &'static Method,
    args: &[Value],
) -> Result<Value, FuncError> {
    match method.name {
        "AsMap" => Ok(Value::Dict(Rc::new(dict.copied_as(DictKind::Any)))),
        "YAML" => {
            let to_yaml = super::function::FunctionSet::helm();
            let function = to_yaml.index("toYaml").and_then(|i| to_yaml.get(i));
            let Some(function) = function else { return Err(FuncError::new("toYaml is not available")) };
            (function.call)(ctx, &[Value::Dict(dict.clone())])
        }
        _ => path_value(dict, args.text(0), method.name == "Table"),
    }
}

fn path_value(dict: &Rc<Dict>, path: &[u8], table: bool) -> Result<Value, FuncError> {
    let mut value = Value::Dict(dict.clone());
    for key in path.split(|b| *b == b'.') {
        let next = value.as_dict().and_then(|d| d.get(key));
        let Some(next) = next else {
            let key = String::from_utf8_lossy(if table { key } else { path });
            let what = if table { "table" } else { "value" };
            return Err(FuncError::new(format!("{key:?} is not a {what}")));
        };
        value = next;
    }
    match (&value, table) {
        (Value::Dict(found), true) => Ok(Value::Dict(Rc::new(found.copied_as(DictKind::Values)))),
        (_, true) => Err(FuncError::new(format!("{:?} is not a table", String::from_utf8_lossy(path)))),
        (Value::Dict(_), false) => Err(FuncError::new(format!("{:?} is not a value", String::from_utf8_lossy(path)))),
        (_, false) => Ok(value),
    }
}
