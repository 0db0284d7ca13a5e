//! Maps.
//!
//! Source: Sprig 3.3.0 with mergo 1.0.1. `keys` and `values` are in the order of keys, where Go's order is random.

use std::rc::Rc;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::{Dict, DictKind, Entry, MAX_DEPTH, Str, Value};

use super::strings::string_of;

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Dicts;
const MAP: Param = Param::Map;
const STR: Param = Param::Str;
const ANY: Param = Param::Any;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::variadic(FAMILY, "dict", &[], ANY, dict, "Makes a map of keys and values in turn."),
    Function::new(FAMILY, "get", &[MAP, STR], get, "Returns the value of a key, or \"\"."),
    Function::new(FAMILY, "set", &[MAP, STR, ANY], set, "Sets a key of a map in place and returns the map."),
    Function::new(FAMILY, "unset", &[MAP, STR], unset, "Removes a key of a map in place and returns the map."),
    Function::new(FAMILY, "hasKey", &[MAP, STR], has_key, "Says whether a map has a key."),
    Function::variadic(FAMILY, "keys", &[], MAP, keys, "Lists the keys of maps."),
    Function::new(FAMILY, "values", &[MAP], values, "Lists the values of a map."),
    Function::variadic(FAMILY, "pick", &[MAP], STR, pick, "Makes a map of some keys."),
    Function::variadic(FAMILY, "omit", &[MAP], STR, omit, "Makes a map without some keys."),
    Function::variadic(FAMILY, "pluck", &[STR], MAP, pluck, "Lists the values that maps have under a key."),
    Function::variadic(FAMILY, "dig", &[], ANY, dig, "Follows keys into nested maps, with a default."),
    Function::variadic(FAMILY, "merge", &[MAP], MAP, merge, "Fills a map in place with what it lacks."),
    Function::variadic(FAMILY, "mustMerge", &[MAP], MAP, merge, "Fills a map in place with what it lacks."),
    Function::variadic(FAMILY, "mergeOverwrite", &[MAP], MAP, merge_overwrite, "Merges maps in place into the first; later ones win."),
    Function::variadic(FAMILY, "mustMergeOverwrite", &[MAP], MAP, merge_overwrite, "Merges maps in place into the first; later ones win."),
    Function::new(FAMILY, "deepCopy", &[ANY], deep_copy, "Copies maps and lists all the way down."),
    Function::new(FAMILY, "mustDeepCopy", &[ANY], deep_copy, "Copies maps and lists all the way down."),
];

fn dict(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let pairs = args.chunks(2).map(|pair| {
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::str(""));
        (string_of(pair.any(0)), value)
    });
    Ok(Value::dict(pairs))
}

fn get(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    ctx.note_read(&map, args.text(1));
    Ok(map.get(args.text(1)).unwrap_or_else(|| Value::str("")))
}

fn set(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    if map.nil {
        return Err(FuncError::new("assignment to entry in nil map"));
    }
    map.insert(args.string(1), args.any(2).clone());
    Ok(Value::Dict(map))
}

fn unset(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    map.remove(args.text(1));
    Ok(Value::Dict(map))
}

fn has_key(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    ctx.note_read(&map, args.text(1));
    Ok(Value::Bool(map.contains(args.text(1))))
}

fn keys(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let maps = (0..args.len()).map(|i| args.dict(i));
    let keys: Vec<Str> = maps.flat_map(|m| m.entries().iter().map(|e| e.key.clone()).collect::<Vec<_>>()).collect();
    Ok(Value::strings(keys))
}

fn values(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::list(args.dict(0).entries().iter().map(|e| e.value.clone()).collect()))
}

fn pick(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    let wanted = args.iter().skip(1).filter_map(|key| match key {
        Value::Str(key) => map.get(key).map(|value| (key.clone(), value)),
        _ => None,
    });
    // the keys still mean the same entries
    Ok(Value::Dict(Rc::new(Dict::from_entries(DictKind::Any, wanted).marked(map.mark))))
}

fn omit(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let map = args.dict(0);
    let unwanted: Vec<&[u8]> = args.iter().skip(1).filter_map(Value::as_bytes).collect();
    let entries = map.entries();
    let kept = entries.iter().filter(|e| !unwanted.contains(&&*e.key)).map(|e| (e.key.clone(), e.value.clone()));
    Ok(Value::Dict(Rc::new(Dict::from_entries(DictKind::Any, kept).marked(map.mark))))
}

fn pluck(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let key = args.text(0);
    (1..args.len()).for_each(|i| ctx.note_read(&args.dict(i), key));
    Ok(Value::list((1..args.len()).filter_map(|i| args.dict(i).get(key)).collect()))
}

fn conversion(value: &Value, to: &str) -> FuncError {
    let name = match value {
        Value::Nil => "nil".into(),
        other => other.type_name(),
    };
    FuncError::new(format!("interface conversion: interface {{}} is {name}, not {to}"))
}

fn plain_map(value: &Value) -> Result<&Rc<Dict>, FuncError> {
    match value {
        Value::Dict(dict) if dict.kind == DictKind::Any => Ok(dict),
        other => Err(conversion(other, DictKind::Any.type_name())),
    }
}

fn dig(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let [path @ .., default, map] = args else {
        return Err(FuncError::new("dig needs at least three arguments"));
    };
    if path.is_empty() {
        return Err(FuncError::new("dig needs at least three arguments"));
    }
    let mut value = map.clone();
    if let Some(wrong) = path.iter().find(|k| !matches!(k, Value::Str(_))) {
        plain_map(&value)?;
        return Err(conversion(wrong, "string"));
    }
    for key in path {
        let map = plain_map(&value)?.clone();
        let key = key.as_bytes().unwrap_or_default();
        ctx.note_read(&map, key);
        match map.get(key) {
            Some(next) => value = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(value)
}

/// Merges each further map into the first.
fn merged(args: &[Value], step: fn(&Dict, &Dict, usize)) -> Answer {
    let mut target = args.dict(0);
    for i in 1..args.len() {
        let source = args.dict(i);
        if target.nil && !source.is_empty() {
            target = Rc::new(Dict::new(DictKind::Any));
        }
        if !Rc::ptr_eq(&target, &source) {
            step(&target, &source, 0);
        }
    }
    Ok(Value::Dict(target))
}

fn entries(dict: &Dict) -> Vec<Entry> {
    dict.entries().to_vec()
}

fn fill(target: &Dict, source: &Dict, depth: usize) {
    for entry in entries(source) {
        match (target.get(&entry.key), &entry.value) {
            (_, Value::Nil) => {}
            (Some(Value::Dict(old)), Value::Dict(new)) if depth < MAX_DEPTH && !Rc::ptr_eq(&old, new) => {
                fill(&old, new, depth + 1);
            }
            (Some(old), _) if old.truth() => {}
            _ => target.insert(entry.key, entry.value),
        }
    }
}

fn overwrite(target: &Dict, source: &Dict, depth: usize) {
    for entry in entries(source) {
        match (target.get(&entry.key), &entry.value) {
            (Some(Value::Dict(old)), Value::Dict(new)) if depth < MAX_DEPTH => {
                if !Rc::ptr_eq(&old, new) {
                    overwrite(&old, new, depth + 1);
                }
            }
            _ => target.insert(entry.key, entry.value),
        }
    }
}

fn merge(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    merged(args, fill)
}

fn merge_overwrite(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    merged(args, overwrite)
}

fn deep_copy(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match args.any(0) {
        Value::Nil => Err(FuncError::new("reflect: call of reflect.Value.Type on zero Value")),
        value => Ok(value.deep_copy()),
    }
}
