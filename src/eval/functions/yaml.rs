//! YAML: `toYaml`, `fromYaml` and their kin.

use std::rc::Rc;

use base64::Engine as _;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::json::{kind, lossy};
use crate::eval::value::{Dict, DictKind, MAX_DEPTH, Str, Value};
use crate::source::FileId;
use crate::syntax::yaml::{self, Data, Layout, Node, Options, Writer, sort_naturally};

use super::json::error_map;

type Answer = Result<Value, FuncError>;

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::new(Family::Yaml, "toYaml", &[Param::Any], to_yaml, "Writes a value as YAML; empty on failure."),
    Function::new(Family::Yaml, "mustToYaml", &[Param::Any], must_to_yaml, "Writes a value as YAML."),
    Function::new(
        Family::Yaml,
        "toYamlPretty",
        &[Param::Any],
        to_yaml_pretty,
        "Writes a value as YAML with indented lists and unfolded lines.",
    ),
    Function::new(
        Family::Yaml,
        "fromYaml",
        &[Param::Str],
        from_yaml,
        "Reads a YAML mapping; on failure a map with the key `Error`.",
    ),
    Function::new(
        Family::Yaml,
        "fromYamlArray",
        &[Param::Str],
        from_yaml_array,
        "Reads a YAML list; on failure a list of the message.",
    ),
];

/// Writes a value as Helm's `toYaml` does, without the final line break.
///
/// # Errors
/// The value cannot be written: Helm's `toYaml` gives an empty text then.
pub fn yaml_text(value: &Value) -> Result<String, String> {
    let mut writer = Writer::new(Layout::V2);
    write(&mut writer, value, 0)?;
    finish(writer)
}

fn finish(writer: Writer) -> Result<String, String> {
    let mut text = writer.finish().map_err(|e| e.to_string())?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn write(writer: &mut Writer, value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("json: unsupported value: encountered a cycle".to_owned());
    }
    let pretty = writer.layout() == Layout::V3;
    match value {
        Value::Nil => writer.null(),
        Value::Bool(flag) => writer.bool(*flag),
        Value::Int(number) | Value::Int64(number) => writer.int(*number),
        Value::Uint64(number) => writer.uint(*number),
        Value::Byte(number) => writer.uint(u64::from(*number)),
        Value::Float(number) if pretty => writer.go_float(*number),
        Value::Float(number) => writer.json_float(*number),
        Value::Str(text) => writer.string(&lossy(text)),
        Value::Bytes(bytes) if pretty => {
            writer.begin_sequence(bytes.is_empty());
            for byte in bytes.iter() {
                writer.item();
                writer.uint(u64::from(*byte));
            }
            if !bytes.is_empty() {
                writer.end();
            }
        }
        Value::Bytes(bytes) => writer.string(&base64::engine::general_purpose::STANDARD.encode(&**bytes)),
        Value::List(list) if list.nil && !pretty => writer.null(),
        Value::List(list) => {
            writer.begin_sequence(list.items.is_empty());
            for item in &list.items {
                writer.item();
                write(writer, item, depth + 1)?;
            }
            if !list.items.is_empty() {
                writer.end();
            }
        }
        Value::Dict(dict) if dict.nil && !pretty => writer.null(),
        Value::Dict(dict) => {
            if dict.kind == DictKind::AnyKeys && !pretty {
                return Err("json: unsupported type: map[interface {}]interface {}".to_owned());
            }
            write_dict(writer, dict, depth)?;
        }
        Value::Object(object) => write(writer, &object.plain(), depth + 1)?,
    }
    Ok(())
}

fn write_dict(writer: &mut Writer, dict: &Dict, depth: usize) -> Result<(), String> {
    let entries = dict.entries();
    let keys: Vec<_> = entries.iter().map(|e| lossy(&e.key)).collect();
    let mut sorted: Vec<(&str, &Value)> = keys.iter().map(|k| &**k).zip(entries.iter().map(|e| &e.value)).collect();
    sort_naturally(writer.layout(), &mut sorted, |(key, _)| key);
    writer.begin_mapping(sorted.is_empty());
    for (key, value) in &sorted {
        writer.key(key);
        write(writer, value, depth + 1)?;
    }
    if !sorted.is_empty() {
        writer.end();
    }
    Ok(())
}

fn to_yaml(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::str(yaml_text(args.any(0)).unwrap_or_default()))
}

fn must_to_yaml(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    yaml_text(args.any(0)).map(Value::str).map_err(FuncError::new)
}

fn to_yaml_pretty(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut writer = Writer::new(Layout::V3);
    let text = write(&mut writer, args.any(0), 0).and_then(|()| finish(writer));
    Ok(Value::str(text.unwrap_or_default()))
}

/// Turns a parsed node into the value that a template sees: every number is a float.
///
/// # Errors
/// Helm's message: a number is not finite.
pub fn value_of_node(node: &Node) -> Result<Value, String> {
    Ok(match &node.data {
        Data::Null => Value::Nil,
        Data::Bool(flag) => Value::Bool(*flag),
        Data::Int(number) => Value::Float(*number as f64),
        Data::Uint(number) => Value::Float(*number as f64),
        Data::Float(number) if number.is_finite() => Value::Float(*number),
        Data::Float(number) => {
            let name = if number.is_nan() {
                "NaN"
            } else if *number > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            return Err(format!("json: unsupported value: {name}"));
        }
        Data::String(text) => Value::str(&**text),
        Data::Sequence(items) => Value::list(items.iter().map(value_of_node).collect::<Result<_, _>>()?),
        Data::Mapping(mapping) => {
            let entry = |e: &yaml::Entry| Ok((Str::from(&*e.name), value_of_node(&e.value)?));
            let entries = mapping.iter().map(entry).collect::<Result<Vec<_>, String>>()?;
            Value::Dict(Rc::new(Dict::from_entries(DictKind::Any, entries)))
        }
    })
}

/// Reads the first document of a text as Helm's `fromYaml` does.
///
/// # Errors
/// Helm's message.
pub fn read_yaml(text: &[u8]) -> Result<Value, String> {
    let convert = |message: String| format!("error converting YAML to JSON: {message}");
    let text = std::str::from_utf8(text).map_err(|_| convert("yaml: invalid leading UTF-8 octet".to_owned()))?;
    let nowhere = FileId(u32::MAX);
    let node = yaml::decode(text, nowhere, 0, Options::HELM).map_err(|e| convert(e.message))?;
    value_of_node(&node).map_err(convert)
}

fn wrong_kind(value: &Value, wanted: &str) -> String {
    let kind = kind(value);
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type {wanted}"
    )
}

fn from_yaml(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let read = read_yaml(args.text(0)).and_then(|value| {
        if matches!(value, Value::Nil) {
            return Ok(Value::dict([]));
        }
        let wrong = wrong_kind(&value, "map[string]interface {}");
        value.as_dict().is_some().then_some(value).ok_or(wrong)
    });
    Ok(read.unwrap_or_else(error_map))
}

fn from_yaml_array(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let read = read_yaml(args.text(0)).and_then(|value| {
        if matches!(value, Value::Nil) {
            return Ok(Value::list(Vec::new()));
        }
        let wrong = wrong_kind(&value, "[]interface {}");
        value.as_list().is_some().then_some(value).ok_or(wrong)
    });
    Ok(read.unwrap_or_else(|message| Value::list(vec![Value::str(message)])))
}
