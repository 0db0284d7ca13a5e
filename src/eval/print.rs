//! Values as text, as Go prints them (`%v`).

use super::run::MAX_OUTPUT;
use super::value::{Dict, MAX_DEPTH, Value};

/// Returns the `%v` form.
pub fn text(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

/// Writes the `%v` form; nil is `<nil>`.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    write_at(out, value, 0);
}

fn write_at(out: &mut Vec<u8>, value: &Value, depth: usize) {
    if depth > MAX_DEPTH || out.len() > MAX_OUTPUT {
        // Too deep, or too large: the caller refuses what is larger than the bound.
        out.extend_from_slice(b"...");
        return;
    }
    match value {
        Value::Nil => out.extend_from_slice(b"<nil>"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) | Value::Int64(n) => int(out, *n),
        Value::Uint64(n) => uint(out, *n),
        Value::Byte(n) => uint(out, u64::from(*n)),
        Value::Float(f) => float(out, *f),
        Value::Str(s) => out.extend_from_slice(s),
        Value::Bytes(s) => bytes(out, s),
        Value::List(list) => {
            out.push(b'[');
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                write_at(out, item, depth + 1);
            }
            out.push(b']');
        }
        Value::Dict(dict) => write_dict(out, dict, depth),
        Value::Object(object) => object.print(out),
    }
}

/// Writes bytes as a list of numbers.
pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'[');
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        uint(out, u64::from(*byte));
    }
    out.push(b']');
}

fn write_dict(out: &mut Vec<u8>, dict: &Dict, depth: usize) {
    out.extend_from_slice(b"map[");
    for (i, entry) in dict.entries().iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(&entry.key);
        out.push(b':');
        write_at(out, &entry.value, depth + 1);
    }
    out.push(b']');
}

/// Writes a decimal integer.
pub fn int(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    uint(out, n.unsigned_abs());
}

/// Writes a decimal integer.
pub fn uint(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        len += 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

/// Writes a float as `%v`: the shortest digits; an exponent below -4 and from 6 on.
pub fn float(out: &mut Vec<u8>, f: f64) {
    float_with(out, f, 6);
}

/// Writes a float with the shortest digits and an exponent below -4 and from `limit` on.
pub fn float_with(out: &mut Vec<u8>, f: f64, limit: i32) {
    if f.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if f.is_infinite() {
        return out.extend_from_slice(if f > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if f.is_sign_negative() {
        out.push(b'-');
    }
    let (digits, exponent) = shortest(f.abs());
    write_digits(out, &digits, exponent, limit);
}

/// Returns the shortest decimal digits that read back as `f`, and the exponent of the first one. `f >= 0`.
pub fn shortest(f: f64) -> (Vec<u8>, i32) {
    let text = format!("{f:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.bytes().filter(|b| *b != b'.').collect();
    (digits, exponent.parse().unwrap_or(0))
}

/// Writes digits of which the first has the given exponent; in exponent form below -4 and from `limit` on.
pub fn write_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32, limit: i32) {
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_first().unwrap_or((&b'0', &[]));
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        return write_exponent(out, exponent);
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        return out.extend_from_slice(digits);
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        return out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    }
    let (before, after) = digits.split_at(whole);
    out.extend_from_slice(before);
    out.push(b'.');
    out.extend_from_slice(after);
}

/// Writes `e+06`.
pub fn write_exponent(out: &mut Vec<u8>, exponent: i32) {
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    uint(out, u64::from(exponent.unsigned_abs()));
}

/// Returns the text in double quotes as Go's `%q` writes it.
pub fn quoted(text: &[u8]) -> String {
    let mut out = Vec::new();
    quote(&mut out, text, false);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes a text in double quotes as Go's `strconv.Quote` does; `ascii` escapes everything beyond ASCII.
pub fn quote(out: &mut Vec<u8>, text: &[u8], ascii: bool) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(out, c, '"', ascii);
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    out.push(b'"');
}

/// Writes a character inside quotes of the given kind.
pub fn quote_char(out: &mut Vec<u8>, c: char, quote: char, ascii: bool) {
    let simple = match c {
        '\u{7}' => Some(b'a'),
        '\u{8}' => Some(b'b'),
        '\u{c}' => Some(b'f'),
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\u{b}' => Some(b'v'),
        '\\' => Some(b'\\'),
        c if c == quote => Some(c as u8),
        _ => None,
    };
    let code = u32::from(c);
    if let Some(letter) = simple {
        out.extend_from_slice(&[b'\\', letter]);
    } else if c.is_ascii_graphic() || c == ' ' || (!c.is_ascii() && !ascii && is_print(c)) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else if code < 0x20 || code == 0x7f {
        out.extend_from_slice(format!("\\x{code:02x}").as_bytes());
    } else if code < 0x10000 {
        out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
    } else {
        out.extend_from_slice(format!("\\U{code:08x}").as_bytes());
    }
}

/// Says whether Go's `strconv.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_print(c: char) -> bool {
    // Rust's `escape_debug` escapes what is not printable by tables of the same kind; grapheme extenders, which it
    // also escapes at the start of a text, are printable.
    if c == ' ' {
        return true;
    }
    if c.is_whitespace() || c.is_control() {
        return false;
    }
    let mut text = ['a', c].iter().collect::<String>().escape_debug().to_string();
    text.drain(..1);
    !text.starts_with("\\u")
}
