//! Values as text, as Go prints them (`%v`).

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
    if depth > MAX_DEPTH {
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
        Value::Bytes(s) => {
            out.push(b'[');
            for (i, byte) in s.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                uint(out, u64::from(*byte));
            }
            out.push(b']');
        }
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

fn write_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32, limit: i32) {
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
