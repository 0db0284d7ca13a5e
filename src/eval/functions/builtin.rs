//! The functions that Go's template language itself has.

use std::cmp::Ordering;

use crate::eval::format::{sprint, sprintf};
use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::print;
use crate::eval::run::NO_VALUE;
use crate::eval::value::{DictKind, Str, Value};

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Builtin;
const REFLECT: Param = Param::Reflect;

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::variadic(FAMILY, "and", &[REFLECT], REFLECT, last, "Returns the first false argument, or the last one."),
    Function::variadic(FAMILY, "or", &[REFLECT], REFLECT, last, "Returns the first true argument, or the last one."),
    Function::new(FAMILY, "not", &[REFLECT], not, "Negates the truth of its argument."),
    Function::variadic(FAMILY, "eq", &[REFLECT], REFLECT, eq, "Says whether the first argument equals any other."),
    Function::new(FAMILY, "ne", &[REFLECT, REFLECT], ne, "Says whether two arguments differ."),
    Function::new(FAMILY, "lt", &[REFLECT, REFLECT], lt, "Says whether the first argument is less."),
    Function::new(FAMILY, "le", &[REFLECT, REFLECT], le, "Says whether the first argument is less or equal."),
    Function::new(FAMILY, "gt", &[REFLECT, REFLECT], gt, "Says whether the first argument is greater."),
    Function::new(FAMILY, "ge", &[REFLECT, REFLECT], ge, "Says whether the first argument is greater or equal."),
    Function::variadic(FAMILY, "index", &[REFLECT], REFLECT, index, "Follows keys and indexes into a value."),
    Function::new(FAMILY, "len", &[REFLECT], len, "Returns the length of a map, list or string (in bytes)."),
    Function::variadic(FAMILY, "print", &[], Param::Any, print_all, "Prints its arguments."),
    Function::variadic(
        FAMILY,
        "println",
        &[],
        Param::Any,
        print_line,
        "Prints its arguments with spaces and a newline.",
    ),
    Function::variadic(FAMILY, "printf", &[Param::Str], Param::Any, print_format, "Prints by a format."),
    Function::variadic(FAMILY, "html", &[], Param::Any, html, "Escapes for HTML."),
    Function::variadic(FAMILY, "js", &[], Param::Any, js, "Escapes for a JavaScript string."),
    Function::variadic(FAMILY, "urlquery", &[], Param::Any, urlquery, "Escapes for the query of a URL."),
    Function::variadic(FAMILY, "call", &[REFLECT], REFLECT, call, "Calls a function value; there are none."),
];

/// The evaluator handles `and` and `or` itself, for they stop early.
fn last(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(args.last().cloned().unwrap_or_default())
}

fn not(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(!args.any(0).truth()))
}

/// What kinds of values can be compared with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Nil,
    Bool,
    Integer,
    Float,
    Text,
    Other,
}

fn basic(value: &Value) -> Basic {
    match value {
        Value::Nil => Basic::Nil,
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) | Value::Int64(_) | Value::Uint64(_) | Value::Byte(_) => Basic::Integer,
        Value::Float(_) => Basic::Float,
        Value::Str(_) => Basic::Text,
        Value::Bytes(_) | Value::List(_) | Value::Dict(_) | Value::Object(_) => Basic::Other,
    }
}

fn wide(value: &Value) -> i128 {
    match value {
        Value::Int(n) | Value::Int64(n) => i128::from(*n),
        Value::Uint64(n) => i128::from(*n),
        Value::Byte(n) => i128::from(*n),
        Value::Nil
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Dict(_)
        | Value::Object(_) => 0,
    }
}

fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) => list.nil,
        Value::Dict(dict) => dict.nil,
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

fn equal(a: &Value, b: &Value) -> Result<bool, FuncError> {
    let (x, y) = (basic(a), basic(b));
    if x != y {
        if x == Basic::Nil || y == Basic::Nil {
            return Ok(is_nil(a) && is_nil(b));
        }
        return Err(incompatible(a, b));
    }
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Object(x), Value::Object(y)) if x.type_name() == y.type_name() => match x.kind() {
            "ptr" => x.address() == y.address(),
            _ => x.equal(y),
        },
        _ if x == Basic::Integer => wide(a) == wide(b),
        _ if x == Basic::Nil => true,
        _ => {
            let shown = |format: &[u8], value: &Value| {
                let mut shown = Vec::new();
                sprintf(&mut shown, format, std::slice::from_ref(value));
                String::from_utf8_lossy(&shown).into_owned()
            };
            if a.kind_name() != b.kind_name() {
                let (x, y) = (a.type_name(), b.type_name());
                let (a, b) = (shown(b"%s", a), shown(b"%v", b));
                return Err(FuncError::new(format!("non-comparable types {a}: {x}, {y}: {b}")));
            }
            if matches!(b, Value::Object(_)) {
                return Ok(false);
            }
            return Err(FuncError::new(format!("non-comparable type {}: {}", shown(b"%s", b), b.type_name())));
        }
    })
}

fn incompatible(a: &Value, b: &Value) -> FuncError {
    FuncError::new(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn eq(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let Some((first, rest)) = args.split_first() else { return Ok(Value::Bool(false)) };
    if rest.is_empty() {
        return Err(FuncError::new("missing argument for comparison"));
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn ne(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(!equal(args.any(0), args.any(1))?))
}

fn order(args: &[Value]) -> Result<Option<Ordering>, FuncError> {
    let (a, b) = (args.any(0), args.any(1));
    let (x, y) = (basic(a), basic(b));
    let invalid = || FuncError::new("invalid type for comparison");
    if [x, y].iter().any(|k| matches!(k, Basic::Nil | Basic::Other)) {
        return Err(invalid());
    }
    if x != y {
        return Err(incompatible(a, b));
    }
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.cmp(b))),
        _ if x == Basic::Integer => Ok(Some(wide(a).cmp(&wide(b)))),
        _ => Err(invalid()),
    }
}

fn lt(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(order(args)? == Some(Ordering::Less)))
}

fn le(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
}

// Go defines `gt` as not `le` and `ge` as not `lt`, which shows with NaN.
fn gt(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(!matches!(order(args)?, Some(Ordering::Less | Ordering::Equal))))
}

fn ge(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(order(args)? != Some(Ordering::Less)))
}

fn index(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let Some((first, keys)) = args.split_first() else { return Ok(Value::Nil) };
    if matches!(first, Value::Nil) {
        return Err(FuncError::new("index of untyped nil"));
    }
    let mut value = first.clone();
    for (depth, key) in keys.iter().enumerate() {
        let nil_key = ctx.nil_arguments >> (depth + 1).min(63) & 1 == 1;
        value = index_one(ctx, &value, key, nil_key)?;
    }
    Ok(value)
}

fn index_one(ctx: &mut Ctx<'_>, value: &Value, key: &Value, nil_key: bool) -> Answer {
    match value {
        Value::Nil => Err(FuncError::new("index of nil pointer")),
        Value::List(list) => Ok(list.items.get(position(key, list.items.len())?).cloned().unwrap_or_default()),
        Value::Str(text) | Value::Bytes(text) => {
            Ok(text.get(position(key, text.len())?).map_or(Value::Nil, |b| Value::Byte(*b)))
        }
        Value::Dict(dict) => {
            let key = map_key(key, nil_key)?;
            ctx.note_read(dict, key);
            let zero = if dict.kind == DictKind::Strings { Value::str("") } else { Value::Nil };
            Ok(dict.get(key).unwrap_or(zero))
        }
        Value::Object(object) if object.kind() == "map" => {
            let key = map_key(key, nil_key)?;
            Ok(object.field(key).unwrap_or_default())
        }
        Value::Object(object) if object.kind() == "slice" => {
            let entries = object.entries().unwrap_or_default();
            let at = position(key, entries.len())?;
            Ok(entries.into_iter().nth(at).map(|(_, v)| v).unwrap_or_default())
        }
        Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Object(_) => Err(FuncError::new(format!("can't index item of type {}", pointed(value)))),
    }
}

/// Returns the name of a type, or of what it points to.
fn pointed(value: &Value) -> String {
    value.type_name().trim_start_matches('*').to_owned()
}

fn map_key(key: &Value, _nil_key: bool) -> Result<&[u8], FuncError> {
    match key {
        Value::Str(text) => Ok(text),
        Value::Nil => Err(FuncError::new("value is nil; should be of type string")),
        other => Err(FuncError::new(format!("value has type {}; should be string", other.type_name()))),
    }
}

fn position(key: &Value, length: usize) -> Result<usize, FuncError> {
    let wanted = match key {
        Value::Nil => return Err(FuncError::new("cannot index slice/array with nil")),
        key if basic(key) == Basic::Integer => wide(key),
        other => {
            let name = other.type_name();
            return Err(FuncError::new(format!("cannot index slice/array with type {name}")));
        }
    };
    match usize::try_from(wanted) {
        Ok(at) if at < length => Ok(at),
        Ok(at) if at == length => Err(FuncError::new("reflect: slice index out of range")),
        _ => Err(FuncError::new(format!("index out of range: {wanted}"))),
    }
}

fn len(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let count = match args.any(0) {
        Value::Nil if ctx.nil_arguments & 1 == 1 => return Err(FuncError::new("len of nil pointer")),
        Value::Nil => return Err(FuncError::new("reflect: call of reflect.Value.Type on zero Value")),
        Value::Str(text) | Value::Bytes(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Dict(dict) => dict.len(),
        Value::Object(object) => match object.len() {
            Some(count) => count,
            None => return Err(FuncError::new(format!("len of type {}", pointed(args.any(0))))),
        },
        other @ (Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)) => return Err(FuncError::new(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(count as i64))
}

fn print_all(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    sprint(&mut out, args);
    Ok(Value::str(out))
}

fn print_line(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        print::write(&mut out, arg);
    }
    out.push(b'\n');
    Ok(Value::str(out))
}

fn print_format(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::with_capacity(32);
    sprintf(&mut out, args.text(0), args.get(1..).unwrap_or_default());
    Ok(Value::str(out))
}

/// The text that the escapers work on: one string as it is, else as `print` does.
fn joined(args: &[Value]) -> Str {
    if let [Value::Str(text)] = args {
        return text.clone();
    }
    let shown = |arg: &Value| if matches!(arg, Value::Nil) { Value::str(NO_VALUE) } else { arg.clone() };
    let mut out = Vec::new();
    sprint(&mut out, &args.iter().map(shown).collect::<Vec<_>>());
    Str::new(out)
}

fn html(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    for byte in joined(args).iter() {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    Ok(Value::str(out))
}

fn js(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    for c in joined(args).lossy().chars() {
        match c {
            '\\' | '\'' | '"' => out.extend_from_slice(&[b'\\', c as u8]),
            '<' | '>' | '&' | '=' => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            c if c.is_ascii() || print::is_print(c) => out.extend_from_slice(c.to_string().as_bytes()),
            c => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        }
    }
    Ok(Value::str(out))
}

fn urlquery(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    for byte in joined(args).iter() {
        match byte {
            b' ' => out.push(b'+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(b) => out.push(*b),
            b => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
    Ok(Value::str(out))
}

fn call(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match args.any(0) {
        Value::Nil => Err(FuncError::new("call of nil")),
        other => {
            let (node, name) = (ctx.first_argument(), other.type_name());
            Err(FuncError::new(format!("non-function {node} of type {name}")))
        }
    }
}
