//! Lists.

use std::borrow::Cow;
use std::rc::Rc;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::{Elem, List, Value};

use super::numbers::to_int;
use super::strings::{string_of, strings_of};

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Lists;
const ANY: Param = Param::Any;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::variadic(FAMILY, "list", &[], ANY, list, "Makes a list."),
    Function::variadic(FAMILY, "tuple", &[], ANY, list, "Makes a list."),
    Function::new(FAMILY, "first", &[ANY], first, "Returns the first element."),
    Function::new(FAMILY, "mustFirst", &[ANY], first, "Returns the first element."),
    Function::new(FAMILY, "last", &[ANY], last, "Returns the last element."),
    Function::new(FAMILY, "mustLast", &[ANY], last, "Returns the last element."),
    Function::new(FAMILY, "rest", &[ANY], rest, "Returns all elements but the first."),
    Function::new(FAMILY, "mustRest", &[ANY], rest, "Returns all elements but the first."),
    Function::new(FAMILY, "initial", &[ANY], initial, "Returns all elements but the last."),
    Function::new(FAMILY, "mustInitial", &[ANY], initial, "Returns all elements but the last."),
    Function::new(FAMILY, "append", &[ANY, ANY], append, "Makes a list with one more element at the end."),
    Function::new(FAMILY, "mustAppend", &[ANY, ANY], append, "Makes a list with one more element at the end."),
    Function::new(FAMILY, "push", &[ANY, ANY], append, "Makes a list with one more element at the end."),
    Function::new(FAMILY, "mustPush", &[ANY, ANY], append, "Makes a list with one more element at the end."),
    Function::new(FAMILY, "prepend", &[ANY, ANY], prepend, "Makes a list with one more element at the start."),
    Function::new(FAMILY, "mustPrepend", &[ANY, ANY], prepend, "Makes a list with one more element at the start."),
    Function::variadic(FAMILY, "concat", &[], ANY, concat, "Joins lists."),
    Function::new(FAMILY, "reverse", &[ANY], reverse, "Reverses a list."),
    Function::new(FAMILY, "mustReverse", &[ANY], reverse, "Reverses a list."),
    Function::new(FAMILY, "uniq", &[ANY], uniq, "Keeps the first of equal elements."),
    Function::new(FAMILY, "mustUniq", &[ANY], uniq, "Keeps the first of equal elements."),
    Function::variadic(FAMILY, "without", &[ANY], ANY, without, "Leaves elements out."),
    Function::variadic(FAMILY, "mustWithout", &[ANY], ANY, without, "Leaves elements out."),
    Function::new(FAMILY, "compact", &[ANY], compact, "Leaves empty elements out."),
    Function::new(FAMILY, "mustCompact", &[ANY], compact, "Leaves empty elements out."),
    Function::new(FAMILY, "has", &[ANY, ANY], has, "Says whether a list has an element."),
    Function::new(FAMILY, "mustHas", &[ANY, ANY], has, "Says whether a list has an element."),
    Function::variadic(FAMILY, "slice", &[ANY], ANY, slice, "Returns the elements from a start to an end."),
    Function::variadic(FAMILY, "mustSlice", &[ANY], ANY, slice, "Returns the elements from a start to an end."),
    Function::new(FAMILY, "chunk", &[Param::Int, ANY], chunk, "Cuts a list into lists of a length."),
    Function::new(FAMILY, "mustChunk", &[Param::Int, ANY], chunk, "Cuts a list into lists of a length."),
    Function::new(FAMILY, "sortAlpha", &[ANY], sort_alpha, "Sorts the elements as texts."),
];

/// Returns the elements of whatever Go takes for a slice.
pub fn items(value: &Value) -> Option<Cow<'_, [Value]>> {
    match value {
        Value::List(list) => Some(Cow::Borrowed(&list.items)),
        Value::Bytes(bytes) => Some(Cow::Owned(bytes.iter().map(|b| Value::Byte(*b)).collect())),
        Value::Object(object) if object.kind() == "slice" => {
            Some(Cow::Owned(object.entries().unwrap_or_default().into_iter().map(|(_, v)| v).collect()))
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Dict(_)
        | Value::Object(_) => None,
    }
}

/// Returns the elements of the list argument of a function, or the error that Sprig raises.
fn taken<'v>(value: &'v Value, message: &str) -> Result<Cow<'v, [Value]>, FuncError> {
    if matches!(value, Value::Nil) {
        return Err(FuncError::new("runtime error: invalid memory address or nil pointer dereference"));
    }
    items(value).ok_or_else(|| FuncError::new(format!("{message} {}", value.kind_name())))
}

fn list(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::list(args.to_vec()))
}

fn first(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(taken(args.any(0), "Cannot find first on type")?.first().cloned().unwrap_or_default())
}

fn last(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(taken(args.any(0), "Cannot find last on type")?.last().cloned().unwrap_or_default())
}

fn rest(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot find rest on type")?;
    Ok(items.get(1..).map_or_else(Value::nil_list, |items| Value::list(items.to_vec())))
}

fn initial(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot find initial on type")?;
    Ok(items.split_last().map_or_else(Value::nil_list, |(_, items)| Value::list(items.to_vec())))
}

fn append(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot push on type")?;
    let mut out = Vec::with_capacity(items.len() + 1);
    out.extend_from_slice(&items);
    out.push(args.any(1).clone());
    Ok(Value::list(out))
}

fn prepend(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot prepend on type")?;
    let mut out = Vec::with_capacity(items.len() + 1);
    out.push(args.any(1).clone());
    out.extend_from_slice(&items);
    Ok(Value::list(out))
}

fn concat(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    for arg in args {
        let kind = arg.kind_name();
        let part = taken(arg, "").map_err(|error| match arg {
            Value::Nil => error,
            _ => FuncError::new(format!("Cannot concat type {kind} as list")),
        })?;
        out.extend_from_slice(&part);
    }
    Ok(if out.is_empty() { Value::nil_list() } else { Value::list(out) })
}

fn reverse(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut items = taken(args.any(0), "Cannot find reverse on type")?.into_owned();
    items.reverse();
    Ok(Value::list(items))
}

/// A key that equal scalars share and different scalars do not; `None` for what must be compared in depth.
fn scalar_key(value: &Value) -> Option<(u8, Vec<u8>)> {
    let key = |tag: u8, bytes: &[u8]| Some((tag, bytes.to_vec()));
    match value {
        Value::Nil => key(0, &[]),
        Value::Bool(b) => key(1, &[u8::from(*b)]),
        Value::Int(n) => key(2, &n.to_le_bytes()),
        Value::Int64(n) => key(3, &n.to_le_bytes()),
        Value::Uint64(n) => key(4, &n.to_le_bytes()),
        Value::Byte(n) => key(5, &[*n]),
        Value::Float(f) if f.is_nan() => None,
        Value::Float(f) => key(6, &(if *f == 0.0 { 0.0 } else { *f }).to_le_bytes()),
        Value::Str(s) => key(7, s),
        Value::Bytes(s) => key(8, s),
        Value::List(_) | Value::Dict(_) | Value::Object(_) => None,
    }
}

fn uniq(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot find uniq on type")?;
    let mut seen = rustc_hash::FxHashSet::default();
    let mut deep: Vec<Value> = Vec::new();
    let mut out = Vec::new();
    for item in items.iter() {
        let fresh = match scalar_key(item) {
            Some(key) => seen.insert(key),
            None => {
                let fresh = !deep.iter().any(|other| other.deep_equal(item));
                if fresh {
                    deep.push(item.clone());
                }
                fresh
            }
        };
        if fresh {
            out.push(item.clone());
        }
    }
    Ok(Value::list(out))
}

fn without(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot find without on type")?;
    let unwanted = args.get(1..).unwrap_or_default();
    let kept = items.iter().filter(|item| !unwanted.iter().any(|other| other.deep_equal(item)));
    Ok(Value::list(kept.cloned().collect()))
}

fn compact(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(0), "Cannot compact on type")?;
    Ok(Value::list(items.iter().filter(|v| v.truth()).cloned().collect()))
}

fn has(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (needle, hay) = (args.any(0), args.any(1));
    if matches!(hay, Value::Nil) {
        return Ok(Value::Bool(false));
    }
    let items = taken(hay, "Cannot find has on type")?;
    Ok(Value::Bool(items.iter().any(|item| item.deep_equal(needle))))
}

fn slice(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let value = args.any(0);
    let items = taken(value, "list should be type of slice or array but")?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let bound = |index: usize, default: usize| match args.get(index) {
        Some(value) => usize::try_from(to_int(value)).ok(),
        None => Some(default),
    };
    let range = bound(1, 0).zip(bound(2, items.len()));
    let Some(part) = range.and_then(|(from, to)| items.get(from..to)) else {
        return Err(FuncError::new("reflect.Value.Slice: slice index out of bounds"));
    };
    Ok(match value {
        Value::List(list) => Value::List(Rc::new(List { items: part.to_vec(), elem: list.elem, nil: false })),
        _ => Value::list(part.to_vec()),
    })
}

fn chunk(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let items = taken(args.any(1), "Cannot chunk type")?;
    let parts = match usize::try_from(args.int(0)) {
        Ok(0) => return Err(FuncError::new("runtime error: makeslice: len out of range")),
        Ok(size) => items.chunks(size).map(|part| Value::list(part.to_vec())).collect(),
        // Go divides all the same: few sizes give the length of a slice
        Err(_) => match (items.len(), ((items.len() as f64 - 1.0) / args.int(0) as f64).floor() as i64) {
            (1, _) if args.int(0) < -1 => vec![Value::list(items.to_vec())],
            (_, -1) => Vec::new(),
            _ => return Err(FuncError::new("runtime error: makeslice: len out of range")),
        },
    };
    Ok(Value::List(Rc::new(List { items: parts, elem: Elem::Lists, nil: false })))
}

fn sort_alpha(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let value = args.any(0);
    if matches!(value, Value::Nil) {
        return Ok(Value::strings([string_of(value)]));
    }
    let mut parts = strings_of(value);
    parts.sort();
    Ok(Value::strings(parts))
}
