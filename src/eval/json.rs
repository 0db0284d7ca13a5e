//! JSON as Go's `encoding/json` writes and reads it.
//!
//! What lives here: the writer for values ([`write()`]), the reader ([`read()`]) and the words of its errors. What does
//! not: the template functions over them (`functions/json.rs`).

use std::borrow::Cow;

use base64::Engine as _;

use super::value::{Dict, DictKind, MAX_DEPTH, Str, Value};

/// How JSON is laid out and escaped.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonStyle {
    /// Two spaces a level, a line for each element.
    pub pretty: bool,
    /// `<`, `>` and `&` stay as they are.
    pub raw: bool,
}

/// Writes a value.
///
/// # Errors
/// Go's message: a number is not finite, a map has keys of any type, the value is nested too deep.
pub fn write(value: &Value, style: JsonStyle) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    write_at(&mut out, value, style, 0)?;
    Ok(out)
}

fn write_at(out: &mut Vec<u8>, value: &Value, style: JsonStyle, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("json: unsupported value: encountered a cycle".to_owned());
    }
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Int(number) | Value::Int64(number) => super::print::int(out, *number),
        Value::Uint64(number) => super::print::uint(out, *number),
        Value::Byte(number) => super::print::uint(out, u64::from(*number)),
        Value::Float(number) => write_float(out, *number)?,
        Value::Str(text) => write_string(out, text, style.raw),
        Value::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(&**bytes).as_bytes());
            out.push(b'"');
        }
        Value::List(list) if list.nil => out.extend_from_slice(b"null"),
        Value::List(list) => {
            out.push(b'[');
            for (index, item) in list.items.iter().enumerate() {
                separate(out, index, style, depth);
                write_at(out, item, style, depth + 1)?;
            }
            close(out, b']', list.items.is_empty(), style, depth);
        }
        Value::Dict(dict) if dict.nil => out.extend_from_slice(b"null"),
        Value::Dict(dict) => {
            if dict.kind == DictKind::AnyKeys {
                return Err("json: unsupported type: map[interface {}]interface {}".to_owned());
            }
            let entries = dict.entries();
            write_fields(out, entries.iter().map(|e| (&*e.key, &e.value)), style, depth)?;
        }
        Value::Object(object) => match object.fields() {
            Some(fields) => write_fields(out, fields.iter().map(|(k, v)| (k.as_bytes(), v)), style, depth)?,
            None => write_at(out, &object.plain(), style, depth)?,
        },
    }
    Ok(())
}

fn write_fields<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a [u8], &'a Value)>,
    style: JsonStyle,
    depth: usize,
) -> Result<(), String> {
    let mut empty = true;
    out.push(b'{');
    for (index, (key, value)) in fields.enumerate() {
        separate(out, index, style, depth);
        write_string(out, key, style.raw);
        out.extend_from_slice(if style.pretty { b": " } else { b":" });
        write_at(out, value, style, depth + 1)?;
        empty = false;
    }
    close(out, b'}', empty, style, depth);
    Ok(())
}

fn separate(out: &mut Vec<u8>, index: usize, style: JsonStyle, depth: usize) {
    if index > 0 {
        out.push(b',');
    }
    if style.pretty {
        break_line(out, depth + 1);
    }
}

fn close(out: &mut Vec<u8>, bracket: u8, empty: bool, style: JsonStyle, depth: usize) {
    if style.pretty && !empty {
        break_line(out, depth);
    }
    out.push(bracket);
}

fn break_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

/// Writes a number: plain notation unless it is below 1e-6 or from 1e21 on.
///
/// # Errors
/// The number is not finite.
pub fn write_float(out: &mut Vec<u8>, value: f64) -> Result<(), String> {
    if !value.is_finite() {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        return Err(format!("json: unsupported value: {name}"));
    }
    let size = value.abs();
    if value != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        out.extend_from_slice(mantissa.as_bytes());
        out.push(b'e');
        if !exponent.starts_with('-') {
            out.push(b'+');
        }
        out.extend_from_slice(exponent.as_bytes());
    } else {
        // Rust prints floats in full and shortest, as Go does in this range.
        out.extend_from_slice(value.to_string().as_bytes());
    }
    Ok(())
}

/// Writes a string with its quotes; each byte that is not UTF-8 becomes `\ufffd`.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8], raw: bool) {
    out.push(b'"');
    if std::str::from_utf8(bytes).is_ok() {
        write_escaped(out, bytes, raw);
    } else {
        for chunk in bytes.utf8_chunks() {
            write_escaped(out, chunk.valid().as_bytes(), raw);
            chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
        }
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, whole: &[u8], raw: bool) {
    let mut start = 0;
    let copy = |out: &mut Vec<u8>, from: usize, to: usize| out.extend_from_slice(whole.get(from..to).unwrap_or(&[]));
    for (at, byte) in whole.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            b'<' | b'>' | b'&' if !raw => 0,
            0..0x20 => 0,
            0xe2 => {
                let tail = whole.get(at + 1..at + 3);
                if let Some([0x80, last @ (0xa8 | 0xa9)]) = tail {
                    copy(out, start, at);
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    start = at + 3;
                }
                continue;
            }
            _ => continue,
        };
        copy(out, start, at);
        start = at + 1;
        if short == 0 {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    copy(out, start, whole.len());
}

/// Returns the text with U+FFFD for each byte that is not part of UTF-8, as Go reads it.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| out.push('\u{fffd}'));
    }
    Cow::Owned(out)
}

/// Reads a text that is one JSON value; every number is a float.
///
/// # Errors
/// Go's message.
pub fn read(text: &[u8]) -> Result<Value, String> {
    let (value, too_large) = read_syntax(text)?;
    too_large.map_or(Ok(value), Err)
}

/// Reads a text that is one JSON value; also returns the message about a number that is too large, which counts only
/// when the value is of the wanted kind.
///
/// # Errors
/// Go's message about the syntax.
pub fn read_syntax(text: &[u8]) -> Result<(Value, Option<String>), String> {
    let mut reader = Reader { text, at: 0, too_large: None };
    let value = reader.value(0)?;
    reader.space();
    match reader.peek() {
        None => Ok((value, reader.too_large)),
        Some(byte) => Err(invalid(byte, "after top-level value")),
    }
}

/// Names the kind of a value as Go's decoder does.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Int64(_) | Value::Uint64(_) | Value::Byte(_) | Value::Float(_) => "number",
        Value::Str(_) | Value::Bytes(_) => "string",
        Value::List(_) => "array",
        Value::Dict(_) | Value::Object(_) => "object",
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    too_large: Option<String>,
}

fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0..=0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0x9f | 0xad => format!("'\\u{byte:04x}'"),
        0xa0 => r"'\u00a0'".to_owned(),
        _ => format!("'{}'", char::from(byte)),
    };
    format!("invalid character {shown} {place}")
}

const END: &str = "unexpected end of JSON input";

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Returns the next byte that is no white space, without taking it.
    fn next(&mut self) -> Result<u8, String> {
        self.space();
        self.peek().ok_or_else(|| END.to_owned())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.next()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(|s| Value::Str(s.into())),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Nil),
            b'-' | b'0'..=b'9' => self.number(),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for expected in word.bytes() {
            match self.peek() {
                Some(found) if found == expected => self.at += 1,
                Some(found) => {
                    let place = format!("in literal {word} (expecting '{}')", char::from(expected));
                    return Err(invalid(found, &place));
                }
                None => {
                    return Err(invalid(b' ', &format!("in literal {word} (expecting '{}')", char::from(expected))));
                }
            }
        }
        Ok(value)
    }

    fn digits(&mut self, place: &str) -> Result<(), String> {
        match self.peek() {
            Some(b'0'..=b'9') => {}
            other => return Err(invalid(other.unwrap_or(b' '), place)),
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = self.text.get(start..self.at).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or("0");
        let number: f64 = text.parse().unwrap_or(f64::INFINITY);
        if number.is_infinite() {
            let message = || format!("json: cannot unmarshal number {text} into Go value of type float64");
            self.too_large.get_or_insert_with(message);
        }
        Ok(Value::Float(number))
    }

    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let start = self.at;
            while let Some(0x20..=0x21 | 0x23..=0x5b | 0x5d..) = self.peek() {
                self.at += 1;
            }
            let plain = self.text.get(start..self.at).unwrap_or(&[]);
            match std::str::from_utf8(plain) {
                Ok(_) => out.extend_from_slice(plain),
                Err(_) => out.extend_from_slice(lossy(plain).as_bytes()),
            }
            match self.peek() {
                None => return Err(END.to_owned()),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let character = self.escape()?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(other) => return Err(invalid(other, "in string literal")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let byte = self.peek().unwrap_or(b' ');
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if let 0xd800..=0xdbff = first
                    && self.text.get(self.at..self.at + 2) == Some(b"\\u")
                {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex()?;
                    if let 0xdc00..=0xdfff = second {
                        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    self.at = back;
                }
                char::from_u32(first).unwrap_or('\u{fffd}')
            }
            other => return Err(invalid(other, "in string escape code")),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.peek().unwrap_or(b' ');
            let digit = char::from(byte).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next()? == b']' {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.next()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                other => return Err(invalid(other, "after array element")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut entries: Vec<(Str, Value)> = Vec::new();
        if self.next()? == b'}' {
            self.at += 1;
            return Ok(Value::dict(entries));
        }
        loop {
            match self.next()? {
                b'"' => {}
                other => return Err(invalid(other, "looking for beginning of object key string")),
            }
            let key = self.string()?;
            match self.next()? {
                b':' => self.at += 1,
                other => return Err(invalid(other, "after object key")),
            }
            entries.push((key.into(), self.value(depth + 1)?));
            match self.next()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Value::Dict(std::rc::Rc::new(Dict::from_entries(DictKind::Any, entries))));
                }
                other => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(value) => String::from_utf8(write(&value, JsonStyle::default()).unwrap()).unwrap(),
            Err(message) => message,
        }
    }

    #[test]
    fn json_is_read_and_written_as_go_does() {
        assert_eq!(
            round(r#" {"b":[1,2.50,-0,1e21,1e-7],"a":"<é>\u2028"} "#),
            r#"{"a":"\u003cé\u003e\u2028","b":[1,2.5,-0,1e+21,1e-7]}"#
        );
        assert_eq!(round(r#""\ud83d\ude00\ud800x\/""#), "\"😀\u{fffd}x/\"");
        assert_eq!(round("0.000001"), "0.000001");
        assert_eq!(round("123456789012345678901"), "123456789012345680000");
    }

    #[test]
    fn faults_are_told_in_the_words_of_go() {
        assert_eq!(round(""), "unexpected end of JSON input");
        assert_eq!(round("[1,]"), "invalid character ']' looking for beginning of value");
        assert_eq!(round("{a:1}"), "invalid character 'a' looking for beginning of object key string");
        assert_eq!(round("1 x"), "invalid character 'x' after top-level value");
        assert_eq!(round("nul"), "invalid character ' ' in literal null (expecting 'l')");
        assert_eq!(round("1."), "invalid character ' ' after decimal point in numeric literal");
        assert_eq!(round("[1e400]"), "json: cannot unmarshal number 1e400 into Go value of type float64");
        assert_eq!(round("nuL"), "invalid character 'L' in literal null (expecting 'l')");
        assert_eq!(round("\"\n\""), r"invalid character '\n' in string literal");
        assert_eq!(round("01"), "invalid character '1' after top-level value");
    }

    #[test]
    fn pretty_output_is_indented_and_empty_collections_stay_short() {
        let value = read(br#"{"a":[1,{}],"b":[],"c":"<"}"#).unwrap();
        let text = write(&value, JsonStyle { pretty: true, raw: true }).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": [],\n  \"c\": \"<\"\n}"
        );
    }
}
