//! What a plain scalar means: the YAML 1.1 resolution of go-yaml v2.

use super::tree::Data;

/// Resolves the text of a plain scalar.
///
/// `None` means that it is a string; timestamps are. Source: go-yaml v2.4, as sigs.k8s.io/yaml uses it.
pub fn resolve_plain(text: &str) -> Option<Data> {
    let Some(first) = text.bytes().next() else { return Some(Data::Null) };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => resolve_word(text),
        b'.' => resolve_word(text).or_else(|| fraction(text).map(Data::Float)),
        b'+' | b'-' | b'0'..=b'9' => resolve_word(text).or_else(|| resolve_number(text)),
        _ => None,
    }
}

fn resolve_word(text: &str) -> Option<Data> {
    Some(match text {
        "~" | "null" | "Null" | "NULL" => Data::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Data::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Data::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn resolve_number(text: &str) -> Option<Data> {
    let cleaned;
    let plain = if text.contains('_') {
        cleaned = text.replace('_', "");
        cleaned.as_str()
    } else {
        text
    };
    parse_integer(plain).or_else(|| parse_go_float(plain).map(Data::Float))
}

/// Reads a float that begins with its point; single underscores may stand between digits.
fn fraction(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let fits = |w: &[u8]| match w {
        [a, b'_', c] => a.is_ascii_digit() && c.is_ascii_digit(),
        _ => true,
    };
    if bytes.contains(&b'_') && (bytes.ends_with(b"_") || !bytes.windows(3).all(fits)) {
        return None;
    }
    parse_go_float(&text.replace('_', ""))
}

/// Reads an integer with the prefixes that Go's base 0 knows.
fn parse_integer(text: &str) -> Option<Data> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let signed = digits.len() != text.len();
    let radix_of = |p: char| match p.to_ascii_lowercase() {
        'x' => Some(16),
        'o' => Some(8),
        'b' => Some(2),
        _ => None,
    };
    let (radix, digits) = match digits.strip_prefix('0') {
        Some("") | None => (10, digits),
        Some(rest) => match rest.chars().next().and_then(radix_of) {
            Some(radix) => (radix, rest.get(1..).unwrap_or("")),
            None => (8, rest),
        },
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Data::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Data::Int(value)),
        Err(_) if signed => None,
        Err(_) => Some(Data::Uint(magnitude)),
    }
}

/// Reads `[-+]?(\.d+|d+(\.d*)?)([eE][-+]?d+)?`; an overflow is no float.
fn parse_go_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    let mut rest = unsigned.get(whole..)?;
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole == 0 && fraction == 0 {
            return None;
        }
        rest = after.get(fraction..)?;
    } else if whole == 0 {
        return None;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) != exponent.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Says whether a text has one of the timestamp forms of go-yaml: a date, or a date and a time.
pub fn is_timestamp(text: &str) -> bool {
    let mut at = Cursor(text);
    date(&mut at).is_some() && (at.0.is_empty() || time(&mut at).is_some() && at.0.is_empty())
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    /// Reads between `least` and `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let value = self.0.get(..count)?.parse().ok()?;
        self.0 = self.0.get(count..)?;
        Some(value)
    }

    fn token(&mut self, token: char) -> Option<()> {
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }
}

fn date(at: &mut Cursor<'_>) -> Option<()> {
    let year = at.number(4, 4)?;
    at.token('-')?;
    let month = at.number(1, 2)?;
    at.token('-')?;
    let day = at.number(1, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=days).contains(&day).then_some(())
}

fn time(at: &mut Cursor<'_>) -> Option<()> {
    let zoned = at.token('T').or_else(|| at.token('t')).is_some();
    if !zoned {
        at.token(' ')?;
    }
    let hour = at.number(1, 2)?;
    at.token(':')?;
    let minute = at.number(1, 2)?;
    at.token(':')?;
    let second = at.number(1, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if at.0.starts_with(['.', ',']) {
        let fraction = at.0.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        if fraction > 0 {
            at.0 = at.0.get(fraction + 1..)?;
        }
    }
    if !zoned || at.token('Z').is_some() {
        return Some(());
    }
    at.0 = at.0.strip_prefix(['+', '-'])?;
    let hours = at.number(2, 2)?;
    at.token(':')?;
    let minutes = at.number(2, 2)?;
    (hours <= 24 && minutes <= 60).then_some(())
}
