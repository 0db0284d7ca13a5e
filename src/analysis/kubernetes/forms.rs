//! Forms of texts in the Kubernetes API: names, labels, quantities, durations, ports, schedules.
//!
//! The one idea: a form is a predicate; what to say about a text that does not meet it is in [`wanted`].
//! Source: the validation of Kubernetes (RFC 1123 and RFC 1035 names, resource.Quantity, Go durations).

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn within(text: &str, inner: impl Fn(u8) -> bool, edge: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|b| b.is_some_and(|b| edge(*b))) && bytes.iter().all(|b| inner(*b))
}

/// A DNS label of RFC 1123, as names of containers, volumes and namespaces are.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && within(text, |b| lower_or_digit(b) || b == b'-', lower_or_digit)
}

/// A DNS subdomain of RFC 1123, as names of most resources are.
pub fn is_dns_subdomain(text: &str) -> bool {
    let part = |part: &str| within(part, |b| lower_or_digit(b) || b == b'-', lower_or_digit);
    text.len() <= 253 && text.split('.').all(part)
}

/// A name that stands in a path of the API: anything but `.`, `..`, `/` and `%`.
pub fn is_path_segment(text: &str) -> bool {
    !matches!(text, "." | "..") && !text.contains(['/', '%'])
}

/// The value of a label; may be empty.
pub fn is_label_value(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_alphanumeric();
    text.is_empty() || (text.len() <= 63 && within(text, |b| edge(b) || matches!(b, b'-' | b'_' | b'.'), edge))
}

/// The key of a label or annotation: `[PREFIX/]NAME`.
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// The name of a port of a container: an IANA service name.
pub fn is_port_name(text: &str) -> bool {
    let fits = text.len() <= 15 && within(text, |b| lower_or_digit(b) || b == b'-', lower_or_digit);
    fits && text.bytes().any(|b| b.is_ascii_lowercase()) && !text.contains("--")
}

/// The key of a `ConfigMap` or `Secret`.
pub fn is_config_key(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(inner) && text != "." && !text.starts_with("..")
}

/// Suffixes of quantities and what they multiply by.
const SUFFIXES: &[(&str, f64)] = &[
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("", 1.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

/// Returns the value of a quantity such as `100m` or `1.5Gi`.
pub fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let digits = number.trim_start_matches(['+', '-']);
    let signs = number.len() - digits.len();
    let whole = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.bytes().any(|b| b.is_ascii_digit());
    if signs > 1 || !whole || digits.matches('.').count() > 1 {
        return None;
    }
    let value: f64 = number.trim_end_matches('.').parse().ok()?;
    if let Some((_, factor)) = SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Some(value * factor);
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| exponent.parse::<i32>().map_or(f64::INFINITY, |e| value * 10_f64.powi(e)))
}

/// A duration of Go: `1h30m`, `500ms`, `0`.
pub fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let known = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let is_number = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1;
        if !is_number || !known.contains(&unit) {
            return false;
        }
        (rest, parts) = (tail, parts + 1);
    }
    parts > 0
}

/// Standard base64, with line breaks allowed.
pub fn is_base64(text: &str) -> bool {
    let mut count = 0_usize;
    let mut padding = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'\n' | b'\r' => {}
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => count += 1,
            _ => return false,
        }
    }
    (count + padding).is_multiple_of(4) && padding <= 2
}

/// A schedule of cron: five fields, `@daily` and the like, or `@every DURATION`.
pub fn is_schedule(text: &str) -> bool {
    let rest = match text.split_once(' ') {
        Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest.trim(),
        _ => text.trim(),
    };
    if let Some(word) = rest.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        return known.contains(&word) || word.strip_prefix("every ").is_some_and(is_duration);
    }
    let limits: [(u32, u32, &[&str]); 5] = [
        (0, 59, &[]),
        (0, 23, &[]),
        (1, 31, &[]),
        (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
        (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields.len() == limits.len() && fields.iter().zip(limits).all(|(field, limit)| is_schedule_field(field, limit))
}

fn is_schedule_field(field: &str, (least, most, names): (u32, u32, &[&str])) -> bool {
    let number = |text: &str| {
        let named = names.iter().position(|n| text.eq_ignore_ascii_case(n)).and_then(|i| u32::try_from(i).ok());
        let read = named.map(|n| n + least).or_else(|| text.parse().ok());
        read.filter(|n| (least..=most).contains(n))
    };
    field.split(',').all(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step_fits = step.is_none_or(|s| s.parse::<u32>().is_ok_and(|n| n > 0));
        let range_fits = match range.split_once('-') {
            Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
            None => matches!(range, "*" | "?") || number(range).is_some(),
        };
        step_fits && range_fits
    })
}

/// Says in words what a form asks for.
pub mod wanted {
    /// A DNS label.
    pub const DNS_LABEL: &str = "at most 63 lowercase letters, digits and `-`, first and last a letter or digit";
    /// A DNS subdomain.
    pub const DNS_SUBDOMAIN: &str =
        "at most 253 lowercase letters, digits, `-` and `.`, each part beginning and ending with a letter or digit";
    /// A label value.
    pub const LABEL_VALUE: &str =
        "at most 63 letters, digits, `-`, `_` and `.`, first and last a letter or digit; or nothing";
    /// A label key.
    pub const LABEL_KEY: &str = "`[PREFIX/]NAME`: PREFIX a DNS subdomain, NAME like the value of a label and not empty";
    /// A port name.
    pub const PORT_NAME: &str = "at most 15 lowercase letters, digits and single `-`, with a letter among them";
    /// A key of a `ConfigMap`.
    pub const CONFIG_KEY: &str = "letters, digits, `-`, `_` and `.`";
    /// A quantity.
    pub const QUANTITY: &str = "a number with a suffix such as `m`, `k`, `M`, `Ki`, `Mi` or `Gi`";
    /// A duration.
    pub const DURATION: &str = "numbers with units, such as `300ms`, `1.5h` or `2h45m`";
    /// A schedule.
    pub const SCHEDULE: &str = "five fields (minute, hour, day, month, weekday) or `@daily` and the like";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_kubernetes() {
        assert!(is_dns_label("a-1") && !is_dns_label("-a") && !is_dns_label("A") && !is_dns_label("a.b"));
        assert!(!is_dns_label("") && !is_dns_label(&"a".repeat(64)));
        assert!(is_dns_subdomain("a.b-c.d") && !is_dns_subdomain("a..b") && !is_dns_subdomain("a_b"));
        assert!(is_label_value("") && is_label_value("A_b.C-1") && !is_label_value("a b") && !is_label_value("-a"));
        assert!(is_label_key("app.kubernetes.io/name") && !is_label_key("a/b/c") && !is_label_key("x/"));
        assert!(is_port_name("http-web") && !is_port_name("80") && !is_port_name("a--b") && !is_port_name("Http"));
        assert!(!is_port_name("a-very-long-name") && is_config_key("..a").eq(&false) && is_config_key(".a_B-1"));
        assert!(is_path_segment("system:node") && !is_path_segment("a/b"));
    }

    #[test]
    fn quantities_are_read_with_their_suffix() {
        assert_eq!(quantity("100m"), Some(0.1));
        assert_eq!(quantity("1.5Gi"), Some(1_610_612_736.0));
        assert_eq!((quantity("1e3"), quantity("2E2"), quantity("+1")), (Some(1000.0), Some(200.0), Some(1.0)));
        assert_eq!(quantity("1E"), Some(1e18));
        for text in ["", "1gb", "1 Gi", "Mi", "1..2", "1K", "-", "1mi", "0x10", "1e", "abc"] {
            assert_eq!(quantity(text), None, "{text}");
        }
        assert_eq!((quantity("1."), quantity(".5")), (Some(1.0), Some(0.5)));
    }

    #[test]
    fn durations_schedules_and_base64() {
        assert!(is_duration("1h30m") && is_duration("0") && is_duration("-1.5s") && !is_duration("1d"));
        assert!(!is_duration("5") && !is_duration("") && !is_duration("h"));
        assert!(is_schedule("*/5 0-6 1,15 JAN mon-fri") && is_schedule("@daily") && is_schedule("TZ=UTC 0 0 * * *"));
        assert!(!is_schedule("0 0 * *") && !is_schedule("60 * * * *") && !is_schedule("@never"));
        assert!(is_schedule("@every 1h") && !is_schedule("0 0 * * 8"));
        assert!(is_base64("YWJj") && is_base64("YQ==\n") && is_base64("") && !is_base64("a") && !is_base64("a b="));
    }
}
