//! Regular expressions.

use std::rc::Rc;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::regex::{GoRegex, compiled, must_compile_message};
use crate::eval::value::{Elem, List, Value};

type Answer = Result<Value, FuncError>;
type Native = fn(&mut Ctx<'_>, &[Value]) -> Answer;

const TWO: &[Param] = &[Param::Str, Param::Str];
const THREE: &[Param] = &[Param::Str, Param::Str, Param::Str];
const COUNTED: &[Param] = &[Param::Str, Param::Str, Param::Int];

/// The table of this family.
pub static TABLE: &[Function] = &[
    function("regexMatch", TWO, matches, "Says whether a text holds a match; false for a bad pattern."),
    function("mustRegexMatch", TWO, |_, a| is_match(&*must(a)?, a), "Says whether a text holds a match."),
    function("regexFind", TWO, |_, a| find(&*plain(a)?, a), "Returns the first match, or nothing."),
    function("mustRegexFind", TWO, |_, a| find(&*must(a)?, a), "Returns the first match, or nothing."),
    function(
        "regexFindAll",
        COUNTED,
        |_, a| find_all(&*plain(a)?, a),
        "Returns all matches, at most so many unless -1.",
    ),
    function(
        "mustRegexFindAll",
        COUNTED,
        |_, a| find_all(&*must(a)?, a),
        "Returns all matches, at most so many unless -1.",
    ),
    function(
        "regexReplaceAll",
        THREE,
        |_, a| replace(&*plain(a)?, a),
        "Replaces all matches; `${1}` stands for a group.",
    ),
    function(
        "mustRegexReplaceAll",
        THREE,
        |_, a| replace(&*must(a)?, a),
        "Replaces all matches; `${1}` stands for a group.",
    ),
    function(
        "regexReplaceAllLiteral",
        THREE,
        |_, a| replace_literal(&*plain(a)?, a),
        "Replaces all matches by a text as it is.",
    ),
    function(
        "mustRegexReplaceAllLiteral",
        THREE,
        |_, a| replace_literal(&*must(a)?, a),
        "Replaces all matches by a text as it is.",
    ),
    function(
        "regexSplit",
        COUNTED,
        |_, a| split(&*plain(a)?, a),
        "Splits a text at the matches, into at most so many unless -1.",
    ),
    function(
        "mustRegexSplit",
        COUNTED,
        |_, a| split(&*must(a)?, a),
        "Splits a text at the matches, into at most so many unless -1.",
    ),
    function("regexQuoteMeta", &[Param::Str], quote_meta, "Escapes what has a meaning in patterns."),
];

const fn function(name: &'static str, params: &'static [Param], call: Native, doc: &'static str) -> Function {
    Function::new(Family::Regex, name, params, call, doc)
}

/// Compiles the pattern of a function that panics in Go when it is bad.
fn plain(args: &[Value]) -> Result<Rc<GoRegex>, FuncError> {
    let pattern = args.text(0);
    compiled(pattern).map_err(|message| FuncError::new(must_compile_message(pattern, &message)))
}

/// Compiles the pattern of a function that returns an error in Go.
fn must(args: &[Value]) -> Result<Rc<GoRegex>, FuncError> {
    compiled(args.text(0)).map_err(FuncError::new)
}

fn matches(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(compiled(args.text(0)).is_ok_and(|r| r.inner().is_match(args.text(1)))))
}

fn is_match(regex: &GoRegex, args: &[Value]) -> Answer {
    Ok(Value::Bool(regex.inner().is_match(args.text(1))))
}

fn find(regex: &GoRegex, args: &[Value]) -> Answer {
    Ok(Value::str(regex.matches(args.text(1)).next().map_or(&b""[..], |m| m.as_bytes())))
}

fn limit(args: &[Value]) -> usize {
    usize::try_from(args.int(2)).unwrap_or(usize::MAX)
}

fn nil_strings() -> Value {
    Value::List(Rc::new(List { items: Vec::new(), elem: Elem::Str, nil: true }))
}

fn find_all(regex: &GoRegex, args: &[Value]) -> Answer {
    let found: Vec<&[u8]> = regex.matches(args.text(1)).take(limit(args)).map(|m| m.as_bytes()).collect();
    Ok(if found.is_empty() { nil_strings() } else { Value::strings(found) })
}

fn replace(regex: &GoRegex, args: &[Value]) -> Answer {
    Ok(Value::str(regex.replace_all(args.text(1), args.text(2))))
}

fn replace_literal(regex: &GoRegex, args: &[Value]) -> Answer {
    let (text, with) = (args.text(1), args.text(2));
    let mut out = Vec::with_capacity(text.len());
    let mut last = 0;
    for found in regex.matches(text) {
        out.extend_from_slice(text.get(last..found.start()).unwrap_or(&[]));
        out.extend_from_slice(with);
        last = found.end();
    }
    out.extend_from_slice(text.get(last..).unwrap_or(&[]));
    Ok(Value::str(out))
}

fn split(regex: &GoRegex, args: &[Value]) -> Answer {
    let (text, most) = (args.text(1), limit(args));
    if most == 0 {
        return Ok(nil_strings());
    }
    if !args.text(0).is_empty() && text.is_empty() {
        return Ok(Value::strings([""]));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for found in regex.matches(text).take(most) {
        if parts.len() + 1 == most {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(text.get(begin..end).unwrap_or(&[]));
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(text.get(begin..).unwrap_or(&[]));
    }
    Ok(Value::strings(parts))
}

fn quote_meta(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::with_capacity(args.text(0).len());
    for byte in args.text(0) {
        if br"\.+*?()|[]{}^$".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    Ok(Value::str(out))
}
