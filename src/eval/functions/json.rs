//! JSON: `toJson`, `fromJson` and their kin.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::json::{self, JsonStyle};
use crate::eval::value::{Dict, DictKind, Value};

type Answer = Result<Value, FuncError>;

/// The table of this family.
pub static TABLE: &[Function] = &[
    function(
        "toJson",
        &[Param::Any],
        to_json,
        "Writes a value as JSON, with `<`, `>` and `&` escaped; empty on failure.",
    ),
    function("mustToJson", &[Param::Any], must_to_json, "Writes a value as JSON, with `<`, `>` and `&` escaped."),
    function("toRawJson", &[Param::Any], to_raw_json, "Writes a value as JSON without escaping `<`, `>` and `&`."),
    function("mustToRawJson", &[Param::Any], to_raw_json, "Writes a value as JSON without escaping `<`, `>` and `&`."),
    function("toPrettyJson", &[Param::Any], to_pretty_json, "Writes a value as indented JSON; empty on failure."),
    function("mustToPrettyJson", &[Param::Any], must_to_pretty_json, "Writes a value as indented JSON."),
    function("fromJson", &[Param::Str], from_json, "Reads a JSON object; on failure a map with the key `Error`."),
    function("fromJsonArray", &[Param::Str], from_json_array, "Reads a JSON list; on failure a list of the message."),
    function("mustFromJson", &[Param::Str], must_from_json, "Reads any JSON value."),
];

const fn function(
    name: &'static str,
    params: &'static [Param],
    call: fn(&mut Ctx<'_>, &[Value]) -> Answer,
    doc: &'static str,
) -> Function {
    Function::new(Family::Json, name, params, call, doc)
}

fn written(value: &Value, style: JsonStyle) -> Answer {
    json::write(value, style).map(Value::str).map_err(FuncError::new)
}

fn to_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(written(args.any(0), JsonStyle::default()).unwrap_or_else(|_| Value::str("")))
}

fn must_to_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    written(args.any(0), JsonStyle::default())
}

fn to_raw_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    written(args.any(0), JsonStyle { raw: true, pretty: false })
}

fn to_pretty_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let style = JsonStyle { raw: false, pretty: true };
    Ok(written(args.any(0), style).unwrap_or_else(|_| Value::str("")))
}

fn must_to_pretty_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    written(args.any(0), JsonStyle { raw: false, pretty: true })
}

fn from_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let read = json::read_syntax(args.text(0)).and_then(|(value, too_large)| {
        if matches!(value, Value::Nil) {
            return Ok(Value::Dict(std::rc::Rc::new(Dict::nil())));
        }
        let kind = json::kind(&value);
        let wrong = || format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
        let value = value.as_dict().is_some().then_some(value).ok_or_else(wrong)?;
        too_large.map_or(Ok(value), Err)
    });
    Ok(read.unwrap_or_else(error_map))
}

/// Returns the map by which Helm's readers tell a failure.
pub(super) fn error_map(message: String) -> Value {
    Value::Dict(std::rc::Rc::new(Dict::from_entries(DictKind::Any, [("Error".into(), Value::str(message))])))
}

fn from_json_array(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let read = json::read_syntax(args.text(0)).and_then(|(value, too_large)| {
        if matches!(value, Value::Nil) {
            return Ok(Value::nil_list());
        }
        let kind = json::kind(&value);
        let wrong = || format!("json: cannot unmarshal {kind} into Go value of type []interface {{}}");
        let value = value.as_list().is_some().then_some(value).ok_or_else(wrong)?;
        too_large.map_or(Ok(value), Err)
    });
    Ok(read.unwrap_or_else(|message| Value::list(vec![Value::str(message)])))
}

fn must_from_json(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    json::read(args.text(0)).map_err(FuncError::new)
}
