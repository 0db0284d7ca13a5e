//! Reading values out of YAML sections: types, unknown keys, paths. Every fault is reported at its place.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::glob::{PathMatcher, clean_path};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::{Data, Entry, Mapping, Node, Style};

use super::Text;
use super::directives::Shape;

/// A mapping that is being read.
#[derive(Clone, Copy)]
pub(super) struct Section<'n> {
    /// Its place; that of the mapping.
    pub span: Span,
    mapping: &'n Mapping,
}

/// Keys that an older werf had, and what to do now.
const FORMER_KEYS: &[(&str, &str)] = &[
    ("fromImageArtifact", "it is called `fromArtifact` now; better, use `from` with the name of the image"),
    ("asLayers", "layers per command are gone; remove the key"),
    (
        "herebyIAdmitThatFromLatestMightBreakReproducibility",
        "remove the key and allow `config.stapel.allowFromLatest` in werf-giterminism.yaml",
    ),
    (
        "herebyIAdmitThatBranchMightBreakReproducibility",
        "remove the key and allow `config.stapel.git.allowBranch` in werf-giterminism.yaml",
    ),
];

impl<'n> Section<'n> {
    /// Opens a node as a section of this shape; `None` when it is null, or no mapping, which is reported.
    pub fn open(d: &mut Diagnostics, node: &'n Node, shape: &'static Shape) -> Option<Self> {
        let section = Self::any(d, node, shape.title)?;
        for entry in section.mapping {
            if !shape.keys().any(|key| key.name == &*entry.name) {
                d.push(unknown_key(entry, shape.title, &shape.names()));
            }
        }
        Some(section)
    }

    /// Opens a node as a section whose keys are free.
    pub fn any(d: &mut Diagnostics, node: &'n Node, what: &str) -> Option<Self> {
        match &node.data {
            Data::Mapping(mapping) => Some(Self { span: node.span, mapping }),
            Data::Null => None,
            Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) | Data::Sequence(_) => {
                d.push(wrong_type(node, what, "a mapping"));
                None
            }
        }
    }

    /// Returns the entries in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = &'n Entry> {
        self.mapping.iter()
    }

    /// Returns key and value, even of a null.
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.mapping.entry(key)
    }

    /// Returns a value that is there and not null.
    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.mapping.get(key).filter(|n| !n.is_null())
    }

    /// Returns the place of a key, else that of the section.
    pub fn key_span(&self, key: &str) -> Span {
        self.entry(key).map_or(self.span, |e| e.key.span)
    }

    /// Opens the section under a key.
    pub fn section(&self, d: &mut Diagnostics, key: &str, shape: &'static Shape) -> Option<Self> {
        Self::open(d, self.node(key)?, shape)
    }

    /// Reads a text: the source text of any scalar.
    pub fn text(&self, d: &mut Diagnostics, key: &str) -> Option<Text> {
        scalar(d, self.node(key)?, key)
    }

    /// Reads a text of which an empty one says as much as none.
    pub fn filled(&self, d: &mut Diagnostics, key: &str) -> Option<Text> {
        self.text(d, key).filter(|t| !t.value.is_empty())
    }

    /// Reads a boolean.
    pub fn flag(&self, d: &mut Diagnostics, key: &str) -> Option<Spanned<bool>> {
        let node = self.node(key)?;
        let Some(value) = node.as_bool() else {
            let mut fault = wrong_type(node, &format!("`{key}`"), "a boolean");
            if node.as_str().is_some_and(|t| matches!(t, "true" | "false" | "yes" | "no" | "on" | "off")) {
                fault = fault.hint("remove the quotes");
            }
            d.push(fault);
            return None;
        };
        Some(Spanned::new(value, node.span))
    }

    /// Reads a boolean; without one it has the place of the section.
    pub fn flag_or(&self, d: &mut Diagnostics, key: &str, default: bool) -> Spanned<bool> {
        self.flag(d, key).unwrap_or(Spanned::new(default, self.span))
    }

    /// Reads an integer.
    pub fn int(&self, d: &mut Diagnostics, key: &str) -> Option<Spanned<i64>> {
        let node = self.node(key)?;
        let Some(value) = node.as_i64() else {
            d.push(wrong_type(node, &format!("`{key}`"), "an integer"));
            return None;
        };
        Some(Spanned::new(value, node.span))
    }

    /// Reads a duration: text of Go's form, or a number of nanoseconds, which is hardly meant. Unit: nanoseconds.
    pub fn duration(&self, d: &mut Diagnostics, key: &str) -> Option<Spanned<i64>> {
        let node = self.node(key)?;
        if let Some(value) = node.as_i64() {
            let found =
                Diagnostic::at(&rules::UNQUOTED_VALUE, node.span, format!("`{key}` is a number of nanoseconds"));
            d.push(found.hint("write a duration with a unit, for example `168h`"));
            return Some(Spanned::new(value, node.span));
        }
        let Some(value) = node.as_str().and_then(go_duration) else {
            let fault = wrong_type(node, &format!("`{key}`"), "a duration");
            d.push(fault.hint("write hours, minutes and seconds, for example `168h` or `1h30m`; there are no days"));
            return None;
        };
        Some(Spanned::new(value, node.span))
    }

    /// Reads a list of scalars as texts; a single scalar is refused.
    pub fn texts(&self, d: &mut Diagnostics, key: &str) -> Option<Vec<Text>> {
        let items = self.items(d, key)?;
        Some(items.iter().filter_map(|n| scalar(d, n, key)).collect())
    }

    /// Reads a string, or a list of strings; numbers and booleans are refused.
    pub fn strings(&self, d: &mut Diagnostics, key: &str) -> Option<Vec<Text>> {
        Some(strings(d, self.node(key)?, key))
    }

    /// Reads a mapping of scalars.
    pub fn map(&self, d: &mut Diagnostics, key: &str) -> Option<BTreeMap<String, Text>> {
        let node = self.node(key)?;
        let section = Self::any(d, node, &format!("`{key}`"))?;
        let mut map = BTreeMap::new();
        for entry in section.entries() {
            if let Some(value) = scalar(d, &entry.value, &entry.name) {
                map.insert(entry.name.to_string(), value);
            }
        }
        Some(map)
    }

    /// Returns the items of a list; a value that is none is reported.
    pub fn items(&self, d: &mut Diagnostics, key: &str) -> Option<&'n [Node]> {
        let node = self.node(key)?;
        if node.as_sequence().is_none() {
            let mut fault = wrong_type(node, &format!("`{key}`"), "a list");
            if node.as_mapping().is_some() || node.scalar_text().is_some() {
                fault = fault.hint("put `- ` before it");
            }
            d.push(fault);
        }
        node.as_sequence()
    }
}

/// Reads a string or a list of strings.
pub(super) fn strings(d: &mut Diagnostics, node: &Node, key: &str) -> Vec<Text> {
    let one = |d: &mut Diagnostics, node: &Node| {
        if node.as_str().is_none() {
            let fault = wrong_type(node, &format!("`{key}`"), "a string or a list of strings");
            let quotable = node.scalar_text().is_some_and(|text| !text.is_empty()) && !node.is_null();
            d.push(if quotable { fault.hint("put it in quotes") } else { fault });
        }
        Some(Spanned::new(node.as_str()?.to_owned(), node.span))
    };
    match node.as_sequence() {
        Some(items) => items.iter().filter_map(|n| one(d, n)).collect(),
        None => one(d, node).into_iter().collect(),
    }
}

/// Reads the source text of a scalar; null is empty.
fn scalar(d: &mut Diagnostics, node: &Node, key: &str) -> Option<Text> {
    if node.is_null() {
        return Some(Spanned::new(String::new(), node.span));
    }
    let text = node.scalar_text();
    if text.is_none() {
        d.push(wrong_type(node, &format!("`{key}`"), "a text"));
    }
    Some(Spanned::new(text?.to_owned(), node.span))
}

/// Tells that a value has a wrong type.
pub(super) fn wrong_type(node: &Node, what: &str, wanted: &str) -> Diagnostic {
    let quoted = matches!(node.style, Style::SingleQuoted | Style::DoubleQuoted);
    let found = if quoted { "quoted string" } else { node.kind() };
    Diagnostic::at(&rules::WRONG_TYPE, node.span, format!("{what} takes {wanted}, not a {found}"))
}

/// Tells that a section does not know a key.
pub(super) fn unknown_key(entry: &Entry, what: &str, keys: &[&str]) -> Diagnostic {
    let found = Diagnostic::at(&rules::UNKNOWN_KEY, entry.key.span, format!("{what} has no key `{}`", entry.name));
    if let Some((_, advice)) = FORMER_KEYS.iter().find(|(name, _)| *name == &*entry.name) {
        return found.hint(*advice);
    }
    match did_you_mean(&entry.name, keys.iter().copied()) {
        Some(near) => found.hint(format!("did you mean `{near}`?")),
        None => found,
    }
}

/// Reports that a section lacks a key.
pub(super) fn missing(d: &mut Diagnostics, span: Span, message: impl Into<String>, hint: &str) {
    d.push(Diagnostic::at(&rules::MISSING_KEY, span, message).hint(hint));
}

/// Reports that two keys exclude each other.
pub(super) fn conflict(d: &mut Diagnostics, section: &Section<'_>, one: &str, other: &str) {
    d.push(
        Diagnostic::at(
            &rules::CONFLICTING_KEYS,
            section.key_span(other),
            format!("`{other}` cannot stand beside `{one}`"),
        )
        .also(section.key_span(one), "the other key")
        .hint("keep one of the two"),
    );
}

/// Warns of a deprecated key.
pub(super) fn deprecated(d: &mut Diagnostics, section: &Section<'_>, key: &str, instead: &str) {
    if let Some(entry) = section.entry(key) {
        let found = Diagnostic::at(&rules::DEPRECATED_KEY, entry.key.span, format!("`{key}` is deprecated"));
        d.push(found.hint(instead));
    }
}

/// Warns of a deprecated key that another name means the same as; `lint --fix` renames it.
pub(super) fn renamed(d: &mut Diagnostics, section: &Section<'_>, key: &str, new: &str) {
    if let Some(entry) = section.entry(key) {
        let found = Diagnostic::at(&rules::DEPRECATED_KEY, entry.key.span, format!("`{key}` is deprecated"));
        let found = found.hint(format!("use `{new}`"));
        d.push(if section.entry(new).is_none() { found.fixed(new) } else { found });
    }
}

/// Cleans an absolute path; reports another one and returns `None`.
pub(super) fn absolute(d: &mut Diagnostics, path: &Text, key: &str) -> Option<Text> {
    if !path.value.starts_with('/') {
        let message = format!("`{key}` takes an absolute path");
        d.push(Diagnostic::at(&rules::INVALID_PATH, path.span, message).hint(format!("write `/{}`", path.value)));
        return None;
    }
    let cleaned = clean_path(&path.value);
    Some(Spanned::new(if cleaned.is_empty() { "/".to_owned() } else { cleaned }, path.span))
}

/// Cleans a relative path that stays below its base; reports another one and returns `None`. `.` becomes empty.
pub(super) fn relative(d: &mut Diagnostics, path: &Text, key: &str, base: &str) -> Option<Text> {
    let cleaned = clean_path(&path.value);
    let fault = if path.value.starts_with('/') {
        "is absolute"
    } else if cleaned == ".." || cleaned.starts_with("../") {
        "leads out"
    } else {
        return Some(Spanned::new(cleaned, path.span));
    };
    d.push(
        Diagnostic::at(&rules::INVALID_PATH, path.span, format!("the path {fault}"))
            .hint(format!("`{key}` takes paths below {base}")),
    );
    None
}

/// Reads path patterns: relative, well formed, cleaned; `.` stands for everything.
pub(super) fn patterns(d: &mut Diagnostics, section: &Section<'_>, key: &str, base: &str) -> Vec<Text> {
    let mut read = Vec::new();
    for pattern in section.strings(d, key).unwrap_or_default() {
        check_pattern(d, &pattern);
        if let Some(pattern) = relative(d, &pattern, key, base) {
            read.push(pattern.map(|p| if p.is_empty() { ".".to_owned() } else { p }));
        }
    }
    read
}

/// Reports a malformed pattern.
pub(super) fn check_pattern(d: &mut Diagnostics, pattern: &Text) {
    if let Err(error) = PathMatcher::new([pattern.value.as_str()], []) {
        d.push(Diagnostic::at(&rules::INVALID_PATTERN, pattern.span, format!("the pattern has {}", error.problem)));
    }
}

/// Reads a duration as Go's `time.ParseDuration` does. Unit: nanoseconds.
fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match rest.get(..length)? {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = rest.get(length..)?;
    }
    (total < 9.2e18).then_some((sign * total) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(go_duration("168h"), Some(604_800_000_000_000));
        assert_eq!(go_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(go_duration("1.5s"), Some(1_500_000_000));
        assert_eq!(go_duration("-2ms"), Some(-2_000_000));
        assert_eq!(go_duration("0"), Some(0));
        for bad in ["1w", "7d", "", "h", "1", "1h x", "."] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
