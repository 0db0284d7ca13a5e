//! TOML: `toToml` and `fromToml`.

use std::rc::Rc;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::gotime::{Time, Zone};
use crate::eval::json::lossy;
use crate::eval::print;
use crate::eval::value::{Dict, DictKind, Elem, List, MAX_DEPTH, Str, Value};

use super::dates::{TimeObject, time};
use super::json::error_map;

type Answer = Result<Value, FuncError>;

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::new(Family::Yaml, "toToml", &[Param::Any], to_toml, "Writes a value as TOML; on failure the message."),
    Function::new(Family::Yaml, "mustToToml", &[Param::Any], must_to_toml, "Writes a value as TOML."),
    Function::new(
        Family::Yaml,
        "fromToml",
        &[Param::Str],
        from_toml,
        "Reads TOML into a map; on failure a map with the key `Error`.",
    ),
];

/// Zone names by which local dates and times are known again.
const DATE: &str = "date-local";
const TIME: &str = "time-local";
const DATE_TIME: &str = "datetime-local";

const NOT_A_TABLE: &str = "toml: top-level values must be Go maps or structs";

fn to_toml(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match must_to_toml(ctx, args) {
        Err(FuncError::Message(message)) if message.starts_with("toml: ") => Ok(Value::str(&*message)),
        other => other,
    }
}

fn must_to_toml(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let value = resolved(args.any(0));
    if matches!(value, Value::Nil) {
        return Err(FuncError::new("reflect: call of reflect.Value.Type on zero Value"));
    }
    let mut writer = Writer { out: Vec::new() };
    let done = if let Value::Dict(dict) = &value {
        writer.table_body(&mut Vec::new(), dict)
    } else {
        match is_table_list(&value) {
            Ok(true) => Err(NOT_A_TABLE.to_owned()),
            Ok(false) => writer.element(&value, 0),
            Err(message) => Err(message),
        }
    };
    done.map_err(FuncError::new)?;
    Ok(Value::str(writer.out))
}

/// Returns the plain value of an object; times stay.
fn resolved(value: &Value) -> Value {
    if let Value::Object(object) = value
        && value.downcast::<TimeObject>().is_none()
    {
        return object.plain();
    }
    value.clone()
}

fn is_table_list(value: &Value) -> Result<bool, String> {
    let Value::List(list) = value else { return Ok(false) };
    if list.items.iter().any(|v| matches!(v, Value::Nil)) {
        return Err("toml: cannot encode array with nil element".to_owned());
    }
    Ok(!list.items.is_empty() && list.items.iter().all(|v| matches!(resolved(v), Value::Dict(_))))
}

struct Writer {
    out: Vec<u8>,
}

type Step = Result<(), String>;

impl Writer {
    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push(b'\n');
        }
    }

    fn indent(&mut self, path: &[Str]) {
        for _ in 1..path.len() {
            self.out.extend_from_slice(b"  ");
        }
    }

    fn header(&mut self, path: &[Str], brackets: (&[u8], &[u8])) {
        self.indent(path);
        self.out.extend_from_slice(brackets.0);
        for (index, key) in path.iter().enumerate() {
            if index > 0 {
                self.out.push(b'.');
            }
            self.key(key);
        }
        self.out.extend_from_slice(brackets.1);
        self.new_line();
    }

    fn key(&mut self, key: &[u8]) {
        let bare = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !key.is_empty() && key.iter().all(bare) {
            self.out.extend_from_slice(key);
        } else {
            self.text(key);
        }
    }

    fn table_body(&mut self, path: &mut Vec<Str>, dict: &Rc<Dict>) -> Step {
        if path.len() > MAX_DEPTH {
            return Err("toml: nested too deep".to_owned());
        }
        let (mut direct, mut tables) = (Vec::new(), Vec::new());
        for (key, value) in dict.snapshot() {
            let value = resolved(&value);
            let is_table = matches!(value, Value::Dict(_)) || is_table_list(&value)?;
            if is_table { tables.push((key, value)) } else { direct.push((key, value)) }
        }
        for (key, value) in direct.into_iter().filter(|(_, v)| !is_nil(v)) {
            path.push(key.clone());
            self.indent(path);
            path.pop();
            self.key(&key);
            self.out.extend_from_slice(b" = ");
            self.element(&value, 0)?;
            self.new_line();
        }
        for (key, value) in tables {
            path.push(key);
            if let Value::Dict(table) = &value
                && !table.nil
            {
                if path.len() == 1 {
                    self.new_line();
                }
                self.header(path, (b"[", b"]"));
                self.table_body(path, table)?;
            }
            for item in value.as_list().unwrap_or_default() {
                if let Value::Dict(table) = resolved(item) {
                    self.new_line();
                    self.header(path, (b"[[", b"]]"));
                    self.table_body(path, &table)?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn element(&mut self, value: &Value, depth: usize) -> Step {
        if depth > MAX_DEPTH {
            return Err("toml: nested too deep".to_owned());
        }
        match value {
            Value::Nil => {}
            Value::Bool(flag) => self.out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Value::Int(number) | Value::Int64(number) => print::int(&mut self.out, *number),
            Value::Uint64(number) => print::uint(&mut self.out, *number),
            Value::Byte(number) => print::uint(&mut self.out, u64::from(*number)),
            Value::Float(number) => self.float(*number),
            Value::Str(text) => self.text(text),
            Value::Bytes(bytes) => {
                let items: Vec<Value> = bytes.iter().map(|b| Value::Byte(*b)).collect();
                self.array(&items, depth)?;
            }
            Value::List(list) => self.array(&list.items, depth)?,
            Value::Dict(dict) => {
                self.out.push(b'{');
                let entries = dict.snapshot();
                let mut sorted: Vec<(Str, Value)> = Vec::with_capacity(entries.len());
                let is_table = |v: &Value| matches!(resolved(v), Value::Dict(_)) || is_table_list(v).unwrap_or(false);
                let (tables, direct): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, v)| is_table(v));
                sorted.extend(direct.into_iter().chain(tables).filter(|(_, v)| !is_nil(v)));
                for (index, (key, value)) in sorted.iter().enumerate() {
                    if index > 0 {
                        self.out.extend_from_slice(b", ");
                    }
                    self.key(key);
                    self.out.extend_from_slice(b" = ");
                    self.element(&resolved(value), depth + 1)?;
                }
                self.out.push(b'}');
            }
            Value::Object(object) => match value.downcast::<TimeObject>() {
                Some(time) => {
                    let (_, zone) = time.0.offset();
                    let text = time.0.format(match zone.as_str() {
                        DATE => "2006-01-02",
                        TIME => "15:04:05.999999999",
                        DATE_TIME => "2006-01-02T15:04:05.999999999",
                        _ => "2006-01-02T15:04:05.999999999Z07:00",
                    });
                    self.out.extend_from_slice(text.as_bytes());
                }
                None => self.element(&object.plain(), depth + 1)?,
            },
        }
        Ok(())
    }

    fn array(&mut self, items: &[Value], depth: usize) -> Step {
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            let item = resolved(item);
            is_table_list(&item)?;
            self.element(&item, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn float(&mut self, number: f64) {
        if number.is_nan() {
            self.out.extend_from_slice(b"nan");
        } else if number.is_infinite() {
            self.out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
        } else {
            let start = self.out.len();
            print::float(&mut self.out, number);
            let written = self.out.get(start..).unwrap_or(&[]);
            if !written.iter().any(|b| matches!(b, b'.' | b'e')) {
                self.out.extend_from_slice(b".0");
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..0x20 | 0x7f => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }
}

fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::Dict(dict) => dict.nil,
        Value::List(list) => list.nil,
        Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Bytes(_)
        | Value::Object(_) => false,
    }
}

fn from_toml(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let text = lossy(args.text(0));
    match text.parse::<toml::Table>() {
        Ok(table) => Ok(table_value(table)),
        Err(error) => Ok(error_map(read_error(&text, &error))),
    }
}

fn read_error(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(text.len(), |s| s.start).min(text.len());
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = text.lines().last().unwrap_or("");
    let is_last = text.lines().count() == line;
    if is_last && !last.contains(['=', '[', '"', '\'']) && !text.ends_with('\n') {
        return format!("toml: line {line}: unexpected EOF; expected key separator '='");
    }
    format!("toml: line {line}: {}", error.message())
}

fn table_value(table: toml::Table) -> Value {
    let entries = table.into_iter().map(|(key, value)| (Str::from(key), value_of(value)));
    Value::Dict(Rc::new(Dict::from_entries(DictKind::Any, entries)))
}

fn value_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::str(text),
        toml::Value::Integer(number) => Value::Int64(number),
        toml::Value::Float(number) => Value::Float(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(stamp) => date_value(&stamp),
        toml::Value::Array(items) => {
            let tables = !items.is_empty() && items.iter().all(toml::Value::is_table);
            let elem = if tables { Elem::Named("[]map[string]interface {}") } else { Elem::Any };
            let items = items.into_iter().map(value_of).collect();
            Value::List(Rc::new(List { items, elem, nil: false }))
        }
        toml::Value::Table(table) => table_value(table),
    }
}

fn date_value(stamp: &toml::value::Datetime) -> Value {
    let local = |name: &str| Zone::Fixed(0, name.to_owned());
    let text = stamp.to_string().replace(' ', "T");
    let (layout, zone) = match (stamp.date, stamp.time, stamp.offset) {
        (Some(_), Some(_), Some(_)) => ("2006-01-02T15:04:05Z07:00", Zone::Utc),
        (Some(_), Some(_), None) => ("2006-01-02T15:04:05", local(DATE_TIME)),
        (Some(_), None, _) => ("2006-01-02", local(DATE)),
        (None, _, _) => ("15:04:05", local(TIME)),
    };
    time(Time::parse(layout, &text, &zone).unwrap_or_else(|_| Time::zero()))
}
