//! Numbers as Go prints them.

/// Prints a float as `strconv.FormatFloat(f, 'g', -1, 64)` does, with YAML's words for what is no number.
pub(super) fn float_key(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let mut text = String::new();
    write_float_g(&mut text, value);
    text
}

/// Appends a finite float in the shortest form of Go's `%g` (what `%v` prints).
///
/// Source: `strconv.FormatFloat(f, 'g', -1, 64)`: an exponent below -4 or from 6 on is written with `e`.
pub fn write_float_g(out: &mut String, value: f64) {
    let (negative, digits, exponent) = shortest(value);
    if negative {
        out.push('-');
    }
    if (-4..6).contains(&exponent) {
        plain(out, &digits, exponent);
    } else {
        scientific(out, &digits, exponent);
    }
}

/// Returns sign, shortest round-trip digits and decimal exponent (of the first digit).
pub(super) fn shortest(value: f64) -> (bool, String, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let negative = mantissa.starts_with('-');
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (negative, digits, exponent.parse().unwrap_or(0))
}

pub(super) fn plain(out: &mut String, digits: &str, exponent: i32) {
    if exponent < 0 {
        out.push_str("0.");
        (1..-exponent).for_each(|_| out.push('0'));
        out.push_str(digits);
        return;
    }
    let whole = exponent as usize + 1;
    for (index, digit) in digits.chars().enumerate() {
        if index == whole {
            out.push('.');
        }
        out.push(digit);
    }
    (digits.len()..whole).for_each(|_| out.push('0'));
}

pub(super) fn scientific(out: &mut String, digits: &str, exponent: i32) {
    let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let size = exponent.unsigned_abs();
    out.push('e');
    out.push(sign);
    if size < 10 {
        out.push('0');
    }
    out.push_str(&size.to_string());
}

/// Appends an integer.
pub(super) fn write_integer(out: &mut String, magnitude: u64, negative: bool) {
    use std::fmt::Write as _;
    let sign = if negative { "-" } else { "" };
    write!(out, "{sign}{magnitude}").expect("a String takes every write");
}

/// Prints a float that is written as JSON, read as YAML and written again; `None` when JSON cannot hold it.
///
/// What has no fraction and fits 64 bits is an integer then. Source: sigs.k8s.io/yaml.
pub fn json_number(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        return Some("0".to_owned());
    }
    let mut text = String::new();
    if value.fract() == 0.0 && value.abs() < 1e20 {
        let (negative, digits, exponent) = shortest(value);
        if negative {
            text.push('-');
        }
        plain(&mut text, &digits, exponent);
        if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
            return Some(text);
        }
        text.clear();
    }
    write_float_g(&mut text, value);
    Some(text)
}
