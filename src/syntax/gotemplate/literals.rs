//! Literals of Go: strings, characters, numbers.

use super::tree::Number;

/// Returns the bytes of an interpreted or raw Go string with its quotes; `None` for a wrong escape.
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    if let Some(raw) = text.strip_prefix('`') {
        let raw = raw.strip_suffix('`')?;
        return Some(raw.bytes().filter(|b| *b != b'\r').collect());
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        match escape(rest, '"')? {
            (Unit::Char(c), tail) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
            (Unit::Byte(b), tail) => {
                out.push(b);
                rest = tail;
            }
        }
        if c == '\n' {
            return None;
        }
    }
    Some(out)
}

enum Unit {
    Char(char),
    Byte(u8),
}

/// Reads one character or escape; `quote` may be escaped and may not stand alone.
fn escape(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut chars = text.chars();
    let c = chars.next()?;
    if c == quote {
        return None;
    }
    if c != '\\' {
        return Some((Unit::Char(c), chars.as_str()));
    }
    let kind = chars.next()?;
    let rest = chars.as_str();
    let simple = |c: char| Some((Unit::Char(c), rest));
    match kind {
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\u{b}'),
        '\\' => simple('\\'),
        '\'' | '"' if kind == quote => simple(kind),
        'x' => {
            let (value, rest) = digits(rest, 2, 16)?;
            Some((Unit::Byte(u8::try_from(value).ok()?), rest))
        }
        'u' | 'U' => {
            let (value, rest) = digits(rest, if kind == 'u' { 4 } else { 8 }, 16)?;
            Some((Unit::Char(char::from_u32(value)?), rest))
        }
        '0'..='7' => {
            let (value, rest) = digits(text.get(1..)?, 3, 8)?;
            Some((Unit::Byte(u8::try_from(value).ok()?), rest))
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    head.chars().all(|c| c.is_digit(radix)).then_some(())?;
    Some((u32::from_str_radix(head, radix).ok()?, rest))
}

/// Returns the value of a character constant with its quotes.
pub fn character(text: &str) -> Option<Number> {
    let inner = text.strip_prefix('\'')?;
    let (unit, rest) = escape(inner, '\'')?;
    let code = match unit {
        Unit::Char(c) => i64::from(u32::from(c)),
        Unit::Byte(b) => i64::from(b),
    };
    let float = Some(code as f64);
    (rest == "'").then_some(Number { int: Some(code), uint: Some(code as u64), float, is_float: false })
}

/// Returns the value of a number.
///
/// Errors: why it is not one.
pub fn number(text: &str) -> Result<Number, String> {
    let mut uint = parse_uint(text);
    let mut int = parse_int(text);
    if int == Some(0) {
        uint = Some(0);
    }
    let looks_float = text.contains(['.', 'e', 'E', 'p', 'P']);
    let float = match (int, uint) {
        (Some(n), _) => Some(n as f64),
        (None, Some(n)) => Some(n as f64),
        (None, None) => parse_float(text),
    };
    let Some(value) = float else { return Err(format!("illegal number syntax: {text:?}")) };
    if int.is_none() && uint.is_none() {
        if !looks_float {
            return Err(format!("integer overflow: {text:?}"));
        }
        if value == (value as i64) as f64 && value.abs() < 9.3e18 {
            int = Some(value as i64);
        }
        if value >= 0.0 && value == (value as u64) as f64 && value < 1.8e19 {
            uint = Some(value as u64);
        }
    }
    let body = text.trim_start_matches(['+', '-']);
    let hex_int = (body.starts_with("0x") || body.starts_with("0X")) && !text.contains(['p', 'P']);
    Ok(Number { int, uint, float, is_float: looks_float && !hex_int })
}

/// Parses as Go's `ParseInt(s, 0, 64)`.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = parse_uint(body)?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Parses as Go's `ParseUint(s, 0, 64)`.
pub fn parse_uint(text: &str) -> Option<u64> {
    let lower = |p: &str| text.get(..2).is_some_and(|t| t.eq_ignore_ascii_case(p));
    let (radix, body) = if lower("0x") {
        (16, text.get(2..)?)
    } else if lower("0b") {
        (2, text.get(2..)?)
    } else if lower("0o") {
        (8, text.get(2..)?)
    } else if text.len() > 1 && text.starts_with('0') {
        (8, text.get(1..)?)
    } else {
        (10, text)
    };
    if body.contains('_') && !underscores_ok(text) {
        return None;
    }
    let digits: String = body.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

/// Says whether underscores only separate digits (or a base prefix from digits), as Go demands.
fn underscores_ok(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let prefixed = body.get(..2).is_some_and(|p| ["0x", "0b", "0o"].iter().any(|q| p.eq_ignore_ascii_case(q)));
    let (mut last, body) = if prefixed { ('0', body.get(2..).unwrap_or("")) } else { ('^', body) };
    let hex = text.to_ascii_lowercase().contains("0x");
    for c in body.chars() {
        let digit = c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
        match c {
            _ if digit => last = '0',
            '_' if last != '0' => return false,
            '_' => last = '_',
            _ if last == '_' => return false,
            _ => last = '!',
        }
    }
    last != '_'
}

/// Parses as Go's `ParseFloat(s, 64)`; out of range is `None`.
pub fn parse_float(text: &str) -> Option<f64> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let signed = |f: f64| if negative { -f } else { f };
    let lower = body.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => return Some(signed(f64::INFINITY)),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if lower.contains('_') && !underscores_ok(text) {
        return None;
    }
    let lower = lower.replace('_', "");
    if let Some(hex) = lower.strip_prefix("0x") {
        return hex_float(hex).map(signed);
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !lower.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value: f64 = lower.parse().ok()?;
    value.is_finite().then(|| signed(value))
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0;
    for c in whole.chars() {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let mut scale = 1.0 / 16.0;
    for c in fraction.chars() {
        value += f64::from(c.to_digit(16)?) * scale;
        scale /= 16.0;
    }
    let result = value * 2f64.powi(exponent);
    (result.is_finite() && !mantissa.is_empty()).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::{number, parse_float, parse_int, unquote};

    #[test]
    fn numbers_follow_go() {
        assert_eq!(number("017").map(|n| n.int), Ok(Some(15)));
        assert_eq!(number("1_000").map(|n| n.int), Ok(Some(1000)));
        assert_eq!(number("0x1p4").map(|n| n.float), Ok(Some(16.0)));
        assert_eq!(number("1e3").map(|n| (n.is_float, n.int)), Ok((true, Some(1000))));
        assert!(number("08").is_err());
        assert!(number("1__0").is_err());
        assert_eq!(number("9223372036854775808").map(|n| (n.int, n.is_float)), Ok((None, false)));
        assert_eq!(parse_int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_float("1e400"), None);
    }

    #[test]
    fn escapes_follow_go() {
        assert_eq!(unquote(r#""a\x41\101\u00e9\n""#), Some(b"aAA\xc3\xa9\n".to_vec()));
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote(r#""\'""#), None);
        assert_eq!(unquote("`a\r\n`"), Some(b"a\n".to_vec()));
    }
}
