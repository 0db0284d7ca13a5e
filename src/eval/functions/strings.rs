//! Strings.
//!
//! Source: Sprig 3.3.0 with goutils 1.1.1; texts are bytes, and some functions cut them without regard to UTF-8.

use crate::eval::format::sprint;
use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::print;
use crate::eval::run::MAX_OUTPUT;
use crate::eval::value::{Dict, DictKind, Str, Value};

use super::cases;

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Strings;
const STR: Param = Param::Str;
const INT: Param = Param::Int;
const ANY: Param = Param::Any;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::new(FAMILY, "abbrev", &[INT, STR], abbrev, "Cuts a text to a width, with an ellipsis."),
    Function::new(FAMILY, "abbrevboth", &[INT, INT, STR], abbrev_both, "Cuts a text on both sides, with ellipses."),
    Function::new(FAMILY, "trunc", &[INT, STR], trunc, "Keeps the first bytes, or the last ones for a negative count."),
    Function::new(FAMILY, "trim", &[STR], trim, "Removes white space at both ends."),
    Function::new(FAMILY, "trimAll", &[STR, STR], trim_all, "Removes characters of a set at both ends."),
    Function::new(FAMILY, "trimall", &[STR, STR], trim_all, "Removes characters of a set at both ends."),
    Function::new(FAMILY, "trimSuffix", &[STR, STR], trim_suffix, "Removes a suffix once."),
    Function::new(FAMILY, "trimPrefix", &[STR, STR], trim_prefix, "Removes a prefix once."),
    Function::new(FAMILY, "upper", &[STR], upper, "Maps letters to upper case."),
    Function::new(FAMILY, "lower", &[STR], lower, "Maps letters to lower case."),
    Function::new(FAMILY, "title", &[STR], title, "Maps the first letter of each word to title case."),
    Function::new(FAMILY, "untitle", &[STR], untitle, "Maps the first letter of each word to lower case."),
    Function::new(FAMILY, "swapcase", &[STR], swapcase, "Swaps upper and lower case."),
    Function::new(FAMILY, "substr", &[INT, INT, STR], substr, "Returns the bytes from a start to an end."),
    Function::new(FAMILY, "repeat", &[INT, STR], repeat, "Repeats a text."),
    Function::new(FAMILY, "nospace", &[STR], nospace, "Removes all white space."),
    Function::new(FAMILY, "initials", &[STR], initials, "Returns the first letter of each word."),
    Function::new(FAMILY, "wrap", &[INT, STR], wrap, "Breaks lines at a column; long words stay whole."),
    Function::new(FAMILY, "wrapWith", &[INT, STR, STR], wrap_with, "Breaks lines at a column with a separator; long words are cut."),
    Function::new(FAMILY, "contains", &[STR, STR], contains, "Says whether the second text contains the first."),
    Function::new(FAMILY, "hasPrefix", &[STR, STR], has_prefix, "Says whether the second text begins with the first."),
    Function::new(FAMILY, "hasSuffix", &[STR, STR], has_suffix, "Says whether the second text ends with the first."),
    Function::variadic(FAMILY, "quote", &[], ANY, quote, "Puts each argument in double quotes."),
    Function::variadic(FAMILY, "squote", &[], ANY, squote, "Puts each argument in single quotes, without escapes."),
    Function::variadic(FAMILY, "cat", &[], ANY, cat, "Joins its arguments with spaces."),
    Function::new(FAMILY, "indent", &[INT, STR], indent, "Indents every line."),
    Function::new(FAMILY, "nindent", &[INT, STR], nindent, "Indents every line after a new line."),
    Function::new(FAMILY, "replace", &[STR, STR, STR], replace, "Replaces every occurrence."),
    Function::new(FAMILY, "plural", &[STR, STR, INT], plural, "Chooses a word for one or for many."),
    Function::new(FAMILY, "snakecase", &[STR], snakecase, "Writes words in lower case with underscores."),
    Function::new(FAMILY, "kebabcase", &[STR], kebabcase, "Writes words in lower case with dashes."),
    Function::new(FAMILY, "camelcase", &[STR], camelcase, "Writes words together, each with a capital."),
    Function::new(FAMILY, "toString", &[ANY], to_string, "Returns a value as text."),
    Function::new(FAMILY, "toStrings", &[ANY], to_strings, "Returns the elements of a list as texts."),
    Function::new(FAMILY, "join", &[STR, ANY], join, "Joins the elements of a list with a separator."),
    Function::new(FAMILY, "split", &[STR, STR], split, "Splits a text into a map with the keys _0, _1 and so on."),
    Function::new(FAMILY, "splitn", &[STR, INT, STR], splitn, "Splits a text into a map of at most so many parts."),
    Function::new(FAMILY, "splitList", &[STR, STR], split_list, "Splits a text into a list."),
    Function::new(FAMILY, "shuffle", &[STR], shuffle, "Puts the characters into a random order.").varying(),
    Function::new(FAMILY, "randAlphaNum", &[INT], rand_alpha_num, "Returns random letters and digits.").varying(),
    Function::new(FAMILY, "randAlpha", &[INT], rand_alpha, "Returns random letters.").varying(),
    Function::new(FAMILY, "randNumeric", &[INT], rand_numeric, "Returns random digits.").varying(),
    Function::new(FAMILY, "randAscii", &[INT], rand_ascii, "Returns random printable ASCII characters.").varying(),
    Function::new(FAMILY, "hello", &[], hello, "Says hello."),
];

fn text(bytes: impl Into<Str>) -> Answer {
    Ok(Value::Str(bytes.into()))
}

fn too_large() -> FuncError {
    FuncError::new("the result is larger than 256 MiB")
}

/// Returns the text form that `toString` gives: strings and bytes as they are, else `%v`.
pub fn string_of(value: &Value) -> Str {
    match value {
        Value::Str(s) | Value::Bytes(s) => s.clone(),
        other => Str::new(print::text(other)),
    }
}

/// Returns the elements of a list as texts, without the nil ones; of a scalar its one text.
pub fn strings_of(value: &Value) -> Vec<Str> {
    match super::lists::items(value) {
        Some(items) => items.iter().filter(|v| !matches!(v, Value::Nil)).map(string_of).collect(),
        None if matches!(value, Value::Nil) => Vec::new(),
        None => vec![string_of(value)],
    }
}

fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from.min(to)..to.min(bytes.len())).unwrap_or_default()
}

fn abbreviated(s: &[u8], width: usize) -> Vec<u8> {
    if s.len() <= width {
        return s.to_vec();
    }
    [part(s, 0, width - 3), b"..."].concat()
}

fn abbrev(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match usize::try_from(args.int(0)) {
        Ok(width) if width >= 4 => text(abbreviated(args.text(1), width)),
        _ => Ok(args.any(1).clone()),
    }
}

fn abbrev_both(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (left, right, s) = (args.int(0), args.int(1), args.text(2));
    if right < 4 || (left > 0 && right < 7) || s.len() as i64 <= right {
        return Ok(args.any(2).clone());
    }
    let width = right as usize;
    let mut offset = usize::try_from(left).unwrap_or(0).min(s.len());
    if s.len() - offset < width - 3 {
        offset = s.len() - (width - 3);
    }
    if offset <= 4 {
        return text([part(s, 0, width - 3), b"..."].concat());
    }
    let tail = if offset + width - 3 < s.len() {
        abbreviated(part(s, offset, s.len()), width - 3)
    } else {
        part(s, s.len() - (width - 3), s.len()).to_vec()
    };
    text([b"...".as_slice(), &tail].concat())
}

fn trunc(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (count, s) = (args.int(0), args.text(1));
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if size >= s.len() {
        return Ok(args.any(1).clone());
    }
    text(if count < 0 { part(s, s.len() - size, s.len()) } else { part(s, 0, size) })
}

/// Returns the text without white space at the ends.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = bytes.utf8_chunks().next().map_or(0, |c| c.valid().len() - c.valid().trim_start().len());
    let bytes = bytes.get(start..).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(s) => s.trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

fn trim(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let s = args.text(0);
    let short = trimmed(s);
    if short.len() == s.len() { Ok(args.any(0).clone()) } else { text(short) }
}

fn trim_all(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let set = String::from_utf8_lossy(args.text(0)).into_owned();
    match std::str::from_utf8(args.text(1)) {
        Ok(s) => text(s.trim_matches(|c| set.contains(c))),
        Err(_) => {
            let s = args.text(1);
            let inside = |b: &u8| !set.as_bytes().contains(b);
            let start = s.iter().position(inside).unwrap_or(s.len());
            let end = s.iter().rposition(inside).map_or(start, |n| n + 1);
            text(part(s, start, end))
        }
    }
}

fn trim_suffix(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match args.text(1).strip_suffix(args.text(0)) {
        Some(rest) if !args.text(0).is_empty() => text(rest),
        _ => Ok(args.any(1).clone()),
    }
}

fn trim_prefix(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    match args.text(1).strip_prefix(args.text(0)) {
        Some(rest) if !args.text(0).is_empty() => text(rest),
        _ => Ok(args.any(1).clone()),
    }
}

/// Maps the characters; bytes that are none become U+FFFD, as Go's `strings.Map` does.
fn mapped(bytes: &[u8], mut map: impl FnMut(char) -> char) -> Answer {
    text(String::from_utf8_lossy(bytes).chars().map(&mut map).collect::<String>())
}

fn upper(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let s = args.text(0);
    if s.is_ascii() { text(s.to_ascii_uppercase()) } else { mapped(s, cases::upper) }
}

fn lower(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let s = args.text(0);
    if s.is_ascii() { text(s.to_ascii_lowercase()) } else { mapped(s, cases::lower) }
}

fn title(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let separates = |c: char| match c {
        '_' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c => !c.is_alphabetic() && !c.is_numeric() && c.is_whitespace(),
    };
    let mut before = ' ';
    mapped(args.text(0), |c| {
        let mapped = if separates(before) { cases::title(c) } else { c };
        before = c;
        mapped
    })
}

fn untitle(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut first = true;
    mapped(args.text(0), |c| {
        if c.is_whitespace() {
            first = true;
            return c;
        }
        if std::mem::take(&mut first) { cases::lower(c) } else { c }
    })
}

fn swapcase(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut after_space = true;
    mapped(args.text(0), |c| {
        if c.is_uppercase() || cases::is_title(c) {
            after_space = false;
            cases::lower(c)
        } else if c.is_lowercase() {
            if std::mem::take(&mut after_space) { cases::title(c) } else { cases::upper(c) }
        } else {
            after_space = c.is_whitespace();
            c
        }
    })
}

fn substr(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (start, end, s) = (args.int(0), args.int(1), args.text(2));
    let length = s.len() as i64;
    let (from, to) = match (start, end) {
        (start, end) if start < 0 => (0, end),
        (start, end) if end < 0 || end > length => (start, length),
        other => other,
    };
    if to < 0 || to > length {
        return Err(FuncError::new(
            format!("runtime error: slice bounds out of range [:{to}]")
                + &if to > length { format!(" with length {length}") } else { String::new() },
        ));
    }
    if from > to {
        return Err(FuncError::new(format!("runtime error: slice bounds out of range [{from}:{to}]")));
    }
    text(part(s, from as usize, to as usize))
}

fn count(n: i64) -> Result<usize, FuncError> {
    usize::try_from(n).map_err(|_| FuncError::new("strings: negative Repeat count"))
}

fn repeat(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (n, s) = (count(args.int(0))?, args.text(1));
    if s.len().saturating_mul(n) > MAX_OUTPUT {
        return Err(too_large());
    }
    text(s.repeat(n))
}

/// Says whether a byte, taken as a character, is white space.
fn byte_space(byte: u8) -> bool {
    char::from(byte).is_whitespace()
}

fn nospace(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let s = args.text(0);
    if !s.iter().any(|b| byte_space(*b)) {
        return Ok(args.any(0).clone());
    }
    text(s.iter().filter(|b| !byte_space(**b)).map(|b| char::from(*b)).collect::<String>())
}

fn initials(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut gap = true;
    let mut out = String::new();
    for byte in args.text(0) {
        if byte_space(*byte) {
            gap = true;
        } else if std::mem::take(&mut gap) {
            out.push(char::from(*byte));
        }
    }
    text(out)
}

fn wrapped(s: &[u8], width: i64, separator: &[u8], cut: bool) -> Answer {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let separator = if separator.is_empty() { b"\n" } else { separator };
    let mut out = Vec::with_capacity(s.len());
    let mut offset = 0;
    while s.len() - offset > width {
        if s.get(offset) == Some(&b' ') {
            offset += 1;
            continue;
        }
        let window = part(s, offset, offset + width + 1);
        let end = match window.iter().rposition(|b| *b == b' ') {
            Some(space) => offset + space,
            None if cut => {
                out.extend_from_slice(part(s, offset, offset + width));
                out.extend_from_slice(separator);
                offset += width;
                continue;
            }
            None => match part(s, offset + width, s.len()).iter().position(|b| *b == b' ') {
                Some(space) => offset + width + space,
                None => break,
            },
        };
        out.extend_from_slice(part(s, offset, end));
        out.extend_from_slice(separator);
        offset = end + 1;
        if out.len() > MAX_OUTPUT {
            return Err(too_large());
        }
        if offset >= s.len() {
            break;
        }
    }
    out.extend_from_slice(part(s, offset, s.len()));
    text(out)
}

fn wrap(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    wrapped(args.text(1), args.int(0), b"\n", false)
}

fn wrap_with(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    wrapped(args.text(2), args.int(0), args.text(1), true)
}

fn contains(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (part, whole) = (args.text(0), args.text(1));
    Ok(Value::Bool(part.is_empty() || crate::eval::run::find(whole, part).is_some()))
}

fn has_prefix(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.text(1).starts_with(args.text(0))))
}

fn has_suffix(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.text(1).ends_with(args.text(0))))
}

/// Joins what `write` writes for each argument that is not nil with spaces.
fn spaced(args: &[Value], write: impl Fn(&mut Vec<u8>, &Value)) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    for (i, arg) in args.iter().filter(|v| !matches!(v, Value::Nil)).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        write(&mut out, arg);
    }
    out
}

fn quote(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(spaced(args, |out, value| match value {
        Value::Str(s) | Value::Bytes(s) => print::quote(out, s, false),
        other => print::quote(out, &print::text(other), false),
    }))
}

fn squote(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(spaced(args, |out, value| {
        out.push(b'\'');
        print::write(out, value);
        out.push(b'\'');
    }))
}

fn cat(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(spaced(args, print::write))
}

/// Writes the text with `n` spaces before each line.
fn indented(out: &mut Vec<u8>, n: usize, s: &[u8]) -> Result<(), FuncError> {
    let lines = 1 + s.split(|b| *b == b'\n').count() - 1;
    if n.saturating_mul(lines).saturating_add(s.len()) > MAX_OUTPUT {
        return Err(too_large());
    }
    out.reserve(s.len() + n * lines);
    for (i, line) in s.split_inclusive(|b| *b == b'\n').enumerate() {
        if i > 0 || n > 0 {
            out.extend(std::iter::repeat_n(b' ', n));
        }
        out.extend_from_slice(line);
    }
    if s.last().is_none_or(|b| *b == b'\n') {
        out.extend(std::iter::repeat_n(b' ', n));
    }
    Ok(())
}

fn indent(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::new();
    indented(&mut out, count(args.int(0))?, args.text(1))?;
    text(out)
}

fn nindent(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut out = Vec::with_capacity(args.text(1).len() + 16);
    out.push(b'\n');
    indented(&mut out, count(args.int(0))?, args.text(1))?;
    text(out)
}

fn replace(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (old, new, s) = (args.text(0), args.text(1), args.text(2));
    let find = |s: &[u8]| crate::eval::run::find(s, old);
    if old.is_empty() {
        let mut out = new.to_vec();
        for unit in characters(s) {
            out.extend_from_slice(unit);
            out.extend_from_slice(new);
        }
        return text(out);
    }
    let Some(mut at) = find(s) else { return Ok(args.any(2).clone()) };
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s;
    loop {
        out.extend_from_slice(part(rest, 0, at));
        out.extend_from_slice(new);
        if out.len() > MAX_OUTPUT {
            return Err(too_large());
        }
        rest = part(rest, at + old.len(), rest.len());
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    text(out)
}

/// Cuts into characters; a byte that is none stands alone.
fn characters(s: &[u8]) -> impl Iterator<Item = &[u8]> {
    s.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let good = valid.char_indices().map(move |(i, c)| part(valid.as_bytes(), i, i + c.len_utf8()));
        good.chain(chunk.invalid().chunks(1))
    })
}

fn plural(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(args.any(usize::from(args.int(2) != 1)).clone())
}

fn snakecase(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(cases::connected(&String::from_utf8_lossy(args.text(0)), '_'))
}

fn kebabcase(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(cases::connected(&String::from_utf8_lossy(args.text(0)), '-'))
}

fn camelcase(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    text(cases::camel(&String::from_utf8_lossy(args.text(0))))
}

fn to_string(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Str(string_of(args.any(0))))
}

fn to_strings(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::strings(strings_of(args.any(0))))
}

fn join(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (separator, parts) = (args.text(0), strings_of(args.any(1)));
    let mut out = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(part);
        if out.len() > MAX_OUTPUT {
            return Err(too_large());
        }
    }
    text(out)
}

/// Splits as Go's `strings.SplitN`; `limit` `None` is all.
fn parts<'s>(s: &'s [u8], separator: &[u8], limit: Option<usize>) -> Vec<&'s [u8]> {
    let mut out = Vec::new();
    let mut rest = s;
    if separator.is_empty() {
        let mut end = 0;
        for unit in characters(s) {
            if limit.is_some_and(|n| out.len() + 1 >= n) {
                break;
            }
            out.push(unit);
            end += unit.len();
        }
        if end < s.len() {
            out.push(part(s, end, s.len()));
        }
        return out;
    }
    while limit.is_none_or(|n| out.len() + 1 < n) {
        let Some(at) = crate::eval::run::find(rest, separator) else { break };
        out.push(part(rest, 0, at));
        rest = part(rest, at + separator.len(), rest.len());
    }
    out.push(rest);
    out
}

fn numbered(parts: &[&[u8]]) -> Value {
    let entries = parts.iter().enumerate().map(|(i, p)| (Str::from(format!("_{i}")), Value::str(*p)));
    Value::Dict(std::rc::Rc::new(Dict::from_entries(DictKind::Strings, entries)))
}

fn split(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(numbered(&parts(args.text(1), args.text(0), None)))
}

fn splitn(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let limit = args.int(1);
    if limit == 0 {
        return Ok(numbered(&[]));
    }
    Ok(numbered(&parts(args.text(2), args.text(0), usize::try_from(limit).ok())))
}

fn split_list(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::strings(parts(args.text(1), args.text(0), None)))
}

/// Returns a random number below `bound`.
pub fn random_below(ctx: &Ctx<'_>, bound: u64) -> u64 {
    let mut bytes = [0u8; 8];
    ctx.env.host.random(&mut bytes);
    u64::from_le_bytes(bytes) % bound.max(1)
}

fn shuffle(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut units: Vec<char> = String::from_utf8_lossy(args.text(0)).chars().collect();
    for i in (1..units.len()).rev() {
        units.swap(i, random_below(ctx, i as u64 + 1) as usize);
    }
    text(units.into_iter().collect::<String>())
}

fn random_text(ctx: &Ctx<'_>, length: i64, allowed: &[u8]) -> Answer {
    let length = usize::try_from(length).unwrap_or(0);
    if length > MAX_OUTPUT {
        return Err(too_large());
    }
    let mut bytes = vec![0u8; length];
    ctx.env.host.random(&mut bytes);
    let count = allowed.len().max(1);
    // Bytes beyond the last whole multiple of the alphabet are drawn again, so that each character is as likely.
    let limit = 256 - 256 % count;
    for byte in &mut bytes {
        while usize::from(*byte) >= limit {
            ctx.env.host.random(std::slice::from_mut(byte));
        }
        *byte = allowed.get(usize::from(*byte) % count).copied().unwrap_or(b'a');
    }
    text(bytes)
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";

fn rand_alpha_num(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    random_text(ctx, args.int(0), &[LETTERS, DIGITS].concat())
}

fn rand_alpha(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    random_text(ctx, args.int(0), LETTERS)
}

fn rand_numeric(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    random_text(ctx, args.int(0), DIGITS)
}

fn rand_ascii(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let printable: Vec<u8> = (0x20..0x7f).collect();
    random_text(ctx, args.int(0), &printable)
}

fn hello(_: &mut Ctx<'_>, _: &[Value]) -> Answer {
    text("Hello!")
}

/// Prints values as Go's `Sprint` does; other families need it for messages.
pub fn sprint_text(args: &[Value]) -> String {
    let mut out = Vec::new();
    sprint(&mut out, args);
    String::from_utf8_lossy(&out).into_owned()
}
