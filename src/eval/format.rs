//! `printf`: Go's formatting verbs.
//!
//! What lives here: [`sprintf`] and [`sprint`]. What does not: plain `%v` (`print`), which has no flags.
//!
//! Source: Go `fmt`, version 1.25.

use super::print;
use super::run::MAX_OUTPUT;
use super::value::{Dict, Elem, List, MAX_DEPTH, Value};

/// Writes the operands as Go's `Sprint`: a space between two of which neither is a string.
pub fn sprint(out: &mut Vec<u8>, args: &[Value]) {
    let mut before_is_text = true;
    for arg in args {
        let is_text = matches!(arg, Value::Str(_));
        if !is_text && !before_is_text {
            out.push(b' ');
        }
        print::write(out, arg);
        before_is_text = is_text;
    }
}

/// The flags of one directive.
#[derive(Clone, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// The widest field: what Go accepts as well.
const MAX_FIELD: i64 = 1_000_000;

/// Writes a format with its arguments as Go's `Sprintf`.
pub fn sprintf(out: &mut Vec<u8>, format: &[u8], args: &[Value]) {
    let mut printer = Printer { out, format, args, pos: 0, arg: 0, reordered: false, good: true };
    printer.run();
}

struct Printer<'p> {
    out: &'p mut Vec<u8>,
    format: &'p [u8],
    args: &'p [Value],
    pos: usize,
    arg: usize,
    reordered: bool,
    /// Whether the argument indexes of the directive at hand are sound.
    good: bool,
}

impl Printer<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.pos).copied()
    }

    fn run(&mut self) {
        while self.pos < self.format.len() && self.out.len() < MAX_OUTPUT {
            let rest = self.format.get(self.pos..).unwrap_or_default();
            let text = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
            self.out.extend_from_slice(rest.get(..text).unwrap_or_default());
            self.pos += text;
            if self.pos < self.format.len() {
                self.pos += 1;
                self.directive();
            }
        }
        if !self.reordered && self.arg < self.args.len() {
            self.extra();
        }
    }

    fn extra(&mut self) {
        self.out.extend_from_slice(b"%!(EXTRA ");
        for (i, arg) in self.args.iter().enumerate().skip(self.arg) {
            if i > self.arg {
                self.out.extend_from_slice(b", ");
            }
            if !matches!(arg, Value::Nil) {
                self.out.extend_from_slice(arg.type_name().as_bytes());
                self.out.push(b'=');
            }
            print::write(self.out, arg);
        }
        self.out.push(b')');
    }

    fn directive(&mut self) {
        let mut spec = Spec::default();
        self.good = true;
        self.flags(&mut spec);
        let mut after_index = self.index();
        self.width(&mut spec, &mut after_index);
        self.precision(&mut spec, &mut after_index);
        if !after_index {
            self.index();
        }
        let rest = self.format.get(self.pos..).unwrap_or_default();
        let Some(chunk) = rest.utf8_chunks().next() else {
            return self.out.extend_from_slice(b"%!(NOVERB)");
        };
        let verb = chunk.valid().chars().next();
        self.pos += verb.map_or(1, char::len_utf8);
        let verb = verb.unwrap_or('\u{fffd}');
        if verb == '%' {
            return self.out.push(b'%');
        }
        if !self.good {
            return self.complain(verb, "BADINDEX");
        }
        let Some(arg) = self.args.get(self.arg) else { return self.complain(verb, "MISSING") };
        self.arg += 1;
        if verb == 'v' {
            spec.sharp_v = std::mem::take(&mut spec.sharp);
            // `%+v` only adds the names of struct fields.
            spec.plus = false;
        }
        value(self.out, &spec, verb, arg, 0);
    }

    fn complain(&mut self, verb: char, what: &str) {
        self.out.extend_from_slice(format!("%!{verb}({what})").as_bytes());
    }

    fn flags(&mut self, spec: &mut Spec) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => spec.sharp = true,
                b'0' => spec.zero = true,
                b'+' => spec.plus = true,
                b'-' => spec.minus = true,
                b' ' => spec.space = true,
                _ => break,
            }
            self.pos += 1;
        }
    }

    /// Reads `[n]`; says whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.format.get(self.pos..).unwrap_or_default();
        let Some(close) = rest.iter().position(|b| *b == b']') else {
            self.good = false;
            self.pos += 1;
            return false;
        };
        let digits = rest.get(1..close).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or("");
        self.pos += close + 1;
        let number = digits.parse::<usize>().ok().filter(|n| *n >= 1 && *n <= self.args.len());
        match number {
            Some(n) => self.arg = n - 1,
            None => self.good = false,
        }
        number.is_some()
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.pos;
        let mut value: i64 = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
            self.pos += 1;
        }
        (self.pos > start && value <= MAX_FIELD).then_some(value as usize)
    }

    fn star(&mut self) -> Option<i64> {
        self.pos += 1;
        let arg = self.args.get(self.arg);
        if arg.is_some() {
            self.arg += 1;
        }
        match arg {
            Some(Value::Int(n) | Value::Int64(n)) if (-MAX_FIELD..=MAX_FIELD).contains(n) => Some(*n),
            _ => None,
        }
    }

    fn width(&mut self, spec: &mut Spec, after_index: &mut bool) {
        if self.peek() == Some(b'*') {
            match self.star() {
                Some(n) => {
                    spec.minus |= n < 0;
                    spec.width = Some(n.unsigned_abs() as usize);
                }
                None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            *after_index = false;
            return;
        }
        spec.width = self.number();
        if *after_index && spec.width.is_some() {
            self.good = false;
        }
    }

    fn precision(&mut self, spec: &mut Spec, after_index: &mut bool) {
        if self.peek() != Some(b'.') {
            return;
        }
        self.pos += 1;
        if *after_index {
            self.good = false;
        }
        *after_index = self.index();
        if self.peek() == Some(b'*') {
            match self.star() {
                Some(n) => spec.precision = usize::try_from(n).ok(),
                None => self.out.extend_from_slice(b"%!(BADPREC)"),
            }
            *after_index = false;
            return;
        }
        spec.precision = Some(self.number().unwrap_or(0));
    }
}

/// Tells that a verb does not fit a value; the value is printed with the flags of the directive.
fn bad_verb(out: &mut Vec<u8>, spec: &Spec, verb: char, arg: &Value) {
    out.extend_from_slice(format!("%!{verb}(").as_bytes());
    if matches!(arg, Value::Nil) {
        out.extend_from_slice(b"<nil>");
    } else {
        out.extend_from_slice(arg.type_name().as_bytes());
        out.push(b'=');
        value(out, spec, 'v', arg, 0);
    }
    out.push(b')');
}

fn value(out: &mut Vec<u8>, spec: &Spec, verb: char, arg: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return out.extend_from_slice(b"...");
    }
    if verb == 'T' {
        return text(out, spec, 's', arg, arg.type_name().as_bytes());
    }
    match arg {
        Value::Nil if depth > 0 => {
            out.extend_from_slice(if spec.sharp_v { b"interface {}(nil)" } else { b"<nil>" });
        }
        Value::Nil if verb == 'v' => pad(out, spec, b"<nil>"),
        Value::Nil => bad_verb(out, spec, verb, arg),
        Value::Bool(b) => match verb {
            't' | 'v' => pad(out, spec, if *b { b"true" } else { b"false" }),
            _ => bad_verb(out, spec, verb, arg),
        },
        Value::Int(n) | Value::Int64(n) => integer(out, spec, verb, arg, *n < 0, n.unsigned_abs()),
        Value::Uint64(n) => integer(out, spec, verb, arg, false, *n),
        Value::Byte(n) => integer(out, spec, verb, arg, false, u64::from(*n)),
        Value::Float(f) => float(out, spec, verb, arg, *f),
        Value::Str(s) => text(out, spec, verb, arg, s),
        Value::Bytes(s) => match verb {
            's' | 'q' | 'x' | 'X' => text(out, spec, verb, arg, s),
            _ => {
                let items = s.iter().map(|b| Value::Byte(*b)).collect();
                let bytes = List { items, elem: Elem::Named("[]byte"), nil: false };
                list(out, spec, verb, &bytes, depth);
            }
        },
        Value::List(items) => list(out, spec, verb, items, depth),
        Value::Dict(entries) => dict(out, spec, verb, entries, depth),
        Value::Object(object) => {
            let mut printed = Vec::new();
            object.print(&mut printed);
            if object.is_stringer() && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
                text(out, spec, verb, arg, &printed);
            } else if verb == 'v' {
                out.extend_from_slice(&printed);
            } else if let Some(entries) = object.entries() {
                let items = entries.into_iter().map(|(_, v)| v).collect();
                list(out, spec, verb, &List::new(items), depth);
            } else {
                bad_verb(out, spec, verb, arg);
            }
        }
    }
}

fn list(out: &mut Vec<u8>, spec: &Spec, verb: char, list: &List, depth: usize) {
    if verb == 'p' {
        return bad_verb(out, spec, verb, &Value::Nil);
    }
    let (open, close, between): (_, _, &[u8]) = if spec.sharp_v {
        out.extend_from_slice(list.elem.list_type().as_bytes());
        if list.nil {
            return out.extend_from_slice(b"(nil)");
        }
        (b'{', b'}', b", ")
    } else {
        (b'[', b']', b" ")
    };
    out.push(open);
    for (i, item) in list.items.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(between);
        }
        value(out, spec, verb, item, depth + 1);
    }
    out.push(close);
}

fn dict(out: &mut Vec<u8>, spec: &Spec, verb: char, dict: &Dict, depth: usize) {
    let between: &[u8] = if spec.sharp_v { b", " } else { b" " };
    if spec.sharp_v {
        out.extend_from_slice(dict.kind.type_name().as_bytes());
        if dict.nil {
            return out.extend_from_slice(b"(nil)");
        }
        out.push(b'{');
    } else {
        out.extend_from_slice(b"map[");
    }
    for (i, entry) in dict.entries().iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(between);
        }
        value(out, spec, verb, &Value::Str(entry.key.clone()), depth + 1);
        out.push(b':');
        value(out, spec, verb, &entry.value, depth + 1);
    }
    out.push(if spec.sharp_v { b'}' } else { b']' });
}

/// Writes with the padding that the directive asks for.
fn pad(out: &mut Vec<u8>, spec: &Spec, bytes: &[u8]) {
    let Some(width) = spec.width else { return out.extend_from_slice(bytes) };
    let count = String::from_utf8_lossy(bytes).chars().count();
    let missing = width.saturating_sub(count);
    if spec.minus {
        out.extend_from_slice(bytes);
        return out.extend(std::iter::repeat_n(b' ', missing));
    }
    out.extend(std::iter::repeat_n(if spec.zero { b'0' } else { b' ' }, missing));
    out.extend_from_slice(bytes);
}

fn text(out: &mut Vec<u8>, spec: &Spec, verb: char, arg: &Value, bytes: &[u8]) {
    match verb {
        'v' if spec.sharp_v => quoted(out, spec, truncated(spec, bytes)),
        'v' | 's' => pad(out, spec, truncated(spec, bytes)),
        'q' => quoted(out, spec, truncated(spec, bytes)),
        'x' | 'X' => hex(out, spec, bytes, verb == 'X'),
        _ => bad_verb(out, spec, verb, arg),
    }
}

/// Cuts to the precision, in characters.
fn truncated<'b>(spec: &Spec, bytes: &'b [u8]) -> &'b [u8] {
    let Some(precision) = spec.precision else { return bytes };
    let mut end = 0;
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for length in chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1)) {
            if count == precision {
                return bytes.get(..end).unwrap_or(bytes);
            }
            count += 1;
            end += length;
        }
    }
    bytes
}

fn quoted(out: &mut Vec<u8>, spec: &Spec, bytes: &[u8]) {
    let mut text = Vec::new();
    let raw = spec.sharp
        && std::str::from_utf8(bytes)
            .is_ok_and(|t| t.chars().all(|c| (c >= ' ' || c == '\t') && !matches!(c, '`' | '\u{7f}' | '\u{feff}')));
    if raw {
        text.push(b'`');
        text.extend_from_slice(bytes);
        text.push(b'`');
    } else {
        print::quote(&mut text, bytes, spec.plus);
    }
    pad(out, spec, &text);
}

fn hex(out: &mut Vec<u8>, spec: &Spec, bytes: &[u8], upper: bool) {
    let bytes = bytes.get(..spec.precision.unwrap_or(usize::MAX).min(bytes.len())).unwrap_or(bytes);
    let prefix = if upper { "0X" } else { "0x" };
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        if spec.space && i > 0 {
            text.push(' ');
        }
        if spec.sharp && (spec.space || i == 0) {
            text.push_str(prefix);
        }
        text.push_str(&if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
    }
    pad(out, spec, text.as_bytes());
}

fn integer(out: &mut Vec<u8>, spec: &Spec, verb: char, arg: &Value, negative: bool, magnitude: u64) {
    let (radix, digits) = match verb {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' | 'O' => ("0", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' | 'q' | 'U' => return character(out, spec, verb, negative, magnitude),
        _ => return bad_verb(out, spec, verb, arg),
    };
    let signed = negative || spec.plus || spec.space;
    let least = match (spec.precision, spec.width) {
        (Some(0), _) if magnitude == 0 => {
            let blank = Spec { zero: false, ..spec.clone() };
            return pad(out, &blank, b"");
        }
        (Some(precision), _) => precision,
        (None, Some(width)) if spec.zero && !spec.minus => width.saturating_sub(usize::from(signed)),
        _ => 0,
    };
    let mut number = String::new();
    if negative {
        number.push('-');
    } else if spec.plus {
        number.push('+');
    } else if spec.space {
        number.push(' ');
    }
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    if verb == 'O' {
        number.push_str("0o");
    } else if spec.sharp && !(radix == "0" && (digits.starts_with('0') || !zeros.is_empty())) {
        number.push_str(radix);
    }
    number.push_str(&zeros);
    number.push_str(&digits);
    pad(out, &Spec { zero: false, ..spec.clone() }, number.as_bytes());
}

fn character(out: &mut Vec<u8>, spec: &Spec, verb: char, negative: bool, magnitude: u64) {
    let c = u32::try_from(magnitude).ok().filter(|_| !negative).and_then(char::from_u32).unwrap_or('\u{fffd}');
    let mut text = Vec::new();
    match verb {
        'c' => text.extend_from_slice(c.to_string().as_bytes()),
        'q' => {
            text.push(b'\'');
            print::quote_char(&mut text, c, '\'', spec.plus);
            text.push(b'\'');
        }
        _ => {
            text.extend_from_slice(format!("U+{magnitude:04X}").as_bytes());
            if spec.sharp && print::is_print(c) {
                text.extend_from_slice(format!(" '{c}'").as_bytes());
            }
        }
    }
    pad(out, &Spec { zero: spec.zero && verb != 'U', ..spec.clone() }, &text);
}

fn float(out: &mut Vec<u8>, spec: &Spec, verb: char, arg: &Value, f: f64) {
    let mut number = Vec::new();
    let magnitude = f.abs();
    if f.is_nan() {
        number.extend_from_slice(b"NaN");
    } else if f.is_infinite() {
        number.extend_from_slice(b"Inf");
    } else {
        match (verb, spec.precision) {
            ('v' | 'g' | 'G', None) => print::float(&mut number, magnitude),
            ('v' | 'g' | 'G', Some(precision)) => general(&mut number, magnitude, precision),
            ('f' | 'F', precision) => {
                number.extend_from_slice(format!("{magnitude:.*}", precision.unwrap_or(6)).as_bytes());
            }
            ('e' | 'E', precision) => exponential(&mut number, magnitude, precision.unwrap_or(6)),
            ('x' | 'X', _) => hex_float(&mut number, magnitude),
            ('b', _) => binary_float(&mut number, magnitude),
            _ => return bad_verb(out, spec, verb, arg),
        }
    }
    if !"vgGfFeExXb".contains(verb) {
        return bad_verb(out, spec, verb, arg);
    }
    if matches!(verb, 'G' | 'E' | 'X') {
        number.make_ascii_uppercase();
        if !f.is_finite() {
            number = if f.is_nan() { b"NaN".to_vec() } else { b"Inf".to_vec() };
        }
    }
    if spec.sharp && f.is_finite() && verb != 'b' {
        keep_point(&mut number, verb, spec.precision);
    }
    let sign = match () {
        () if f.is_sign_negative() && !f.is_nan() => Some(b'-'),
        () if spec.plus || (f.is_infinite() && !spec.space) => Some(b'+'),
        () if spec.space => Some(b' '),
        () => None,
    };
    let zero_padded = spec.zero && !spec.minus && f.is_finite();
    if let (Some(sign), true, Some(width)) = (sign, zero_padded, spec.width) {
        out.push(sign);
        return pad(out, &Spec { width: Some(width.saturating_sub(1)), ..spec.clone() }, &number);
    }
    if let Some(sign) = sign {
        number.insert(0, sign);
    }
    pad(out, &Spec { zero: zero_padded, ..spec.clone() }, &number);
}

/// Adds the decimal point, and for `%g` the trailing zeros, that the flag `#` keeps.
fn keep_point(number: &mut Vec<u8>, verb: char, precision: Option<usize>) {
    let hex = matches!(verb, 'x' | 'X');
    let tail = number.iter().position(|b| matches!(b, b'p' | b'P') || (!hex && matches!(b, b'e' | b'E')));
    let tail = number.split_off(tail.unwrap_or(number.len()));
    let significant = number.iter().filter(|b| **b != b'.').skip_while(|b| **b == b'0').count();
    let wanted = if matches!(verb, 'v' | 'g' | 'G' | 'x') { precision.unwrap_or(6) } else { 0 };
    let mut missing = wanted.saturating_sub(significant);
    if !number.contains(&b'.') {
        if number.as_slice() == b"0" {
            missing = missing.saturating_sub(1);
        }
        number.push(b'.');
    }
    number.extend(std::iter::repeat_n(b'0', missing));
    number.extend(tail);
}

fn exponential(out: &mut Vec<u8>, f: f64, precision: usize) {
    let text = format!("{f:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    out.extend_from_slice(mantissa.as_bytes());
    print::write_exponent(out, exponent.parse().unwrap_or(0));
}

/// Writes as `%g` with a precision: significant digits without trailing zeros.
fn general(out: &mut Vec<u8>, f: f64, precision: usize) {
    let precision = precision.max(1);
    let text = format!("{:.*e}", precision - 1, f);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let mut limit = precision as i32;
    let count = digits.len() as i32;
    if limit > count && count > exponent {
        limit = count;
    }
    print::write_digits(out, digits.as_bytes(), exponent, limit);
}

/// Writes as `%x`: hexadecimal mantissa, binary exponent.
/// Writes a mantissa and an exponent of two, both as decimal numbers.
fn binary_float(out: &mut Vec<u8>, f: f64) {
    let bits = f.to_bits();
    let (raw, fraction) = ((bits >> 52) as i64 & 0x7ff, bits & 0x000f_ffff_ffff_ffff);
    let mantissa = if raw == 0 { fraction } else { fraction | 1 << 52 };
    out.extend_from_slice(format!("{mantissa}p{:+}", raw.max(1) - 1075).as_bytes());
}

fn hex_float(out: &mut Vec<u8>, f: f64) {
    let bits = f.to_bits();
    let (raw, fraction) = ((bits >> 52) & 0x7ff, bits & 0x000f_ffff_ffff_ffff);
    let (exponent, fraction) = match (raw, fraction) {
        (0, 0) => (0, 0),
        (0, sub) => {
            let shift = sub.leading_zeros() - 11;
            (-1022 - shift as i32, (sub << shift) & 0x000f_ffff_ffff_ffff)
        }
        (raw, fraction) => (raw as i32 - 1023, fraction),
    };
    let digits = format!("{fraction:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let lead = u8::from(f != 0.0);
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("0x{lead}{point}{digits}p{sign}{:02}", exponent.abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::sprintf;
    use crate::eval::value::Value;

    fn f(format: &str, args: &[Value]) -> String {
        let mut out = Vec::new();
        sprintf(&mut out, format.as_bytes(), args);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn faults_are_told_in_the_text() {
        assert_eq!(f("%d %d", &[Value::Int(1)]), "1 %!d(MISSING)");
        assert_eq!(f("a", &[Value::str("b")]), "a%!(EXTRA string=b)");
        assert_eq!(f("%z", &[Value::Int(1)]), "%!z(int=1)");
        assert_eq!(f("%", &[]), "%!(NOVERB)");
        assert_eq!(f("%!", &[]), "%!!(MISSING)");
        assert_eq!(f("%d", &[Value::Float(5.0)]), "%!d(float64=5)");
    }

    #[test]
    fn numbers_follow_their_flags() {
        assert_eq!(f("%05d|%+d|% d|%#x|%08b", &[42, 42, 42, 255, 5].map(Value::Int)), "00042|+42| 42|0xff|00000101");
        assert_eq!(f("%08.3f", &[Value::Float(-3.145_92)]), "-003.146");
        assert_eq!(f("%.0f %.0f %e", &[2.5, 3.5, 123_456.78].map(Value::Float)), "2 4 1.234568e+05");
        assert_eq!(f("%.3g %g", &[1_234_567.0, 100_000.0].map(Value::Float)), "1.23e+06 100000");
        assert_eq!(f("%x", &[Value::Float(1.5)]), "0x1.8p+00");
        assert_eq!(f("%#g %#.0f %#g", &[1e-7, 3.0, 0.0].map(Value::Float)), "1.00000e-07 3. 0.00000");
        assert_eq!(f("%12e", &[Value::Bool(true)]), "%!e(bool=        true)");
    }

    #[test]
    fn widths_count_characters() {
        assert_eq!(f("%-5s|%5s|%.2s", &[Value::str("é"), Value::str("ab"), Value::str("abc")]), "é    |   ab|ab");
        assert_eq!(f("%[2]s %[1]s", &[Value::str("a"), Value::str("b")]), "b a");
    }
}
