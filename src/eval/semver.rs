//! Semantic versions and constraints on them, as Masterminds' library reads them.
//!
//! What lives here: [`Version`] (leading `v`, missing parts and leading zeros are accepted) and [`Constraint`]. What does
//! not: the template functions over them.
//!
//! The one idea: a constraint is alternatives of conditions; a condition whose version lacks a part is *dirty*, and every
//! operator has its own rule for that.

use std::cmp::Ordering;
use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// A version.
#[derive(Clone, Debug)]
pub struct Version {
    /// First number.
    pub major: u64,
    /// Second number.
    pub minor: u64,
    /// Third number.
    pub patch: u64,
    /// What stands after `-`; empty for a release.
    pub pre: String,
    /// What stands after `+`; never compared.
    pub metadata: String,
    /// The text it was read from.
    pub original: String,
}

/// A text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// It is not of the form of a version.
    #[error("invalid semantic version")]
    Form,
    /// A part of the pre-release is a number that begins with zero.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// A number does not fit 64 bits.
    #[error("error parsing version segment: value out of range")]
    Range,
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let body = text.strip_prefix('v').unwrap_or(text);
        let (body, metadata) = match body.split_once('+') {
            Some((body, metadata)) if is_dotted(metadata) => (body, metadata),
            Some(_) => return Err(VersionError::Form),
            None => (body, ""),
        };
        let (numbers, pre) = match body.split_once('-') {
            Some((numbers, pre)) if is_dotted(pre) => (numbers, pre),
            Some(_) => return Err(VersionError::Form),
            None => (body, ""),
        };
        let mut parts = [0u64; 3];
        let mut slots = parts.iter_mut();
        for number in numbers.split('.') {
            let slot = slots.next().ok_or(VersionError::Form)?;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(VersionError::Form);
            }
            *slot = number.parse().map_err(|_| VersionError::Range)?;
        }
        let zero = |p: &str| p.len() > 1 && p.starts_with('0') && p.bytes().all(|b| b.is_ascii_digit());
        if !pre.is_empty() && pre.split('.').any(zero) {
            return Err(VersionError::LeadingZero);
        }
        let [major, minor, patch] = parts;
        Ok(Self { major, minor, patch, pre: pre.into(), metadata: metadata.into(), original: text.into() })
    }

    /// Compares two versions; build metadata does not count.
    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| compare_pre(&self.pre, &other.pre))
    }

    /// Returns the next major version.
    pub fn next_major(&self) -> Self {
        self.released(self.major.wrapping_add(1), 0, 0)
    }

    /// Returns the next minor version.
    pub fn next_minor(&self) -> Self {
        self.released(self.major, self.minor.wrapping_add(1), 0)
    }

    /// Returns the next patch version; of a pre-release that is its release.
    pub fn next_patch(&self) -> Self {
        let patch = if self.pre.is_empty() { self.patch.wrapping_add(1) } else { self.patch };
        self.released(self.major, self.minor, patch)
    }

    fn released(&self, major: u64, minor: u64, patch: u64) -> Self {
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        let original = format!("{prefix}{major}.{minor}.{patch}");
        Self { major, minor, patch, pre: String::new(), metadata: String::new(), original }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// Says whether a text is identifiers of letters, digits and dashes, separated by dots.
fn is_dotted(text: &str) -> bool {
    let identifier = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.split('.').all(identifier)
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    version: Version,
    /// A part is missing or `x`.
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

/// What versions are acceptable: alternatives, each of conditions that must all hold.
#[derive(Clone, Debug)]
pub struct Constraint {
    alternatives: Vec<Vec<Condition>>,
}

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// Masterminds' message, for example `improper constraint: latest`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rewritten = rewrite_ranges(text);
        let alternatives = rewritten.split("||").map(parse_alternative).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Says whether a version is acceptable.
    pub fn check(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|conditions| {
            let names_pre = conditions.iter().any(|c| !c.version.pre.is_empty());
            (version.pre.is_empty() || names_pre) && conditions.iter().all(|c| c.holds(version))
        })
    }
}

/// Rewrites `A - B` as `>= A, <= B`.
fn rewrite_ranges(text: &str) -> std::borrow::Cow<'_, str> {
    static RANGE: OnceLock<Regex> = OnceLock::new();
    if !text.contains('-') {
        return text.into();
    }
    let part = r"[0-9|xX*]+";
    let tail = r"[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*";
    let version = format!(r"v?{part}(?:\.{part})?(?:\.{part})?(?:-{tail})?(?:\+{tail})?");
    let range = RANGE.get_or_init(|| {
        let space = r"[\t\n\f\r ]";
        Regex::new(&format!("{space}*({version}){space}+-{space}+({version}){space}*"))
            .expect("the pattern is a constant")
    });
    range.replace_all(text, ">= $1, <= $2 ")
}

fn parse_alternative(text: &str) -> Result<Vec<Condition>, String> {
    let improper = || format!("improper constraint: {text}");
    let space = |t: &mut &str| *t = t.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
    let mut rest = text;
    let mut conditions = Vec::new();
    loop {
        space(&mut rest);
        let operator = operator(&mut rest);
        space(&mut rest);
        let length = version_length(rest).ok_or_else(improper)?;
        let (version, after) = rest.split_at_checked(length).ok_or_else(improper)?;
        conditions.push(condition(operator, version)?);
        rest = after;
        let before = rest.len();
        space(&mut rest);
        if rest.is_empty() {
            return Ok(conditions);
        }
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if before == rest.len() {
            return Err(improper());
        }
    }
}

fn operator(text: &mut &str) -> Operator {
    const OPERATORS: &[(&str, Operator)] = &[
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    for (sign, operator) in OPERATORS {
        if let Some(rest) = text.strip_prefix(sign) {
            *text = rest;
            return *operator;
        }
    }
    Operator::Equal
}

fn number_part(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'x' | b'X' | b'*' | b'|')).count()
}

/// Returns the length of the version that a text begins with; parts may be missing or `x`.
fn version_length(text: &str) -> Option<usize> {
    let mut at = usize::from(text.starts_with('v'));
    let first = number_part(text.get(at..)?);
    if first == 0 {
        return None;
    }
    at += first;
    for _ in 0..2 {
        let rest = text.get(at..)?;
        let part = rest.strip_prefix('.').map_or(0, number_part);
        if part == 0 {
            break;
        }
        at += part + 1;
    }
    for sign in ['-', '+'] {
        let Some(tail) = text.get(at..)?.strip_prefix(sign) else { continue };
        let mut length = 0;
        loop {
            let rest = tail.get(length..)?;
            let rest = if length == 0 { Some(rest) } else { rest.strip_prefix('.') };
            let part = |r: &str| r.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'-').count();
            let part = rest.map_or(0, part);
            if part == 0 {
                break;
            }
            length += part + usize::from(length > 0);
        }
        if length > 0 {
            at += length + 1;
        }
    }
    Some(at)
}

fn condition(operator: Operator, text: &str) -> Result<Condition, String> {
    let body = text.strip_prefix('v').unwrap_or(text);
    let body = body.split_once('+').map_or(body, |(b, _)| b);
    let (numbers, pre) = match body.split_once('-') {
        Some((numbers, pre)) => (numbers, format!("-{pre}")),
        None => (body, String::new()),
    };
    let mut parts = numbers.split('.');
    let free = |p: Option<&str>| p.is_none_or(|p| matches!(p, "x" | "X" | "*"));
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    let (mut minor_dirty, mut patch_dirty) = (false, false);
    let filled = if free(major) {
        format!("0.0.0{pre}")
    } else if free(minor) {
        minor_dirty = true;
        format!("{}.0.0{pre}", major.unwrap_or("0"))
    } else if free(patch) {
        patch_dirty = true;
        format!("{}.{}.0{pre}", major.unwrap_or("0"), minor.unwrap_or("0"))
    } else {
        text.to_owned()
    };
    let dirty = free(major) || minor_dirty || patch_dirty;
    let version = Version::parse(&filled).map_err(|_| "constraint parser error".to_owned())?;
    Ok(Condition { operator, version, dirty, minor_dirty, patch_dirty })
}

impl Condition {
    fn holds(&self, version: &Version) -> bool {
        let bound = &self.version;
        let order = version.compare(bound);
        match self.operator {
            Operator::Equal if self.dirty => self.tilde(version, order),
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => self.differs(version, order),
            Operator::Greater if !self.dirty => order == Ordering::Greater,
            Operator::Greater => match version.major.cmp(&bound.major) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal if self.minor_dirty => false,
                Ordering::Equal if self.patch_dirty => version.minor > bound.minor,
                Ordering::Equal => order == Ordering::Greater,
            },
            Operator::Less => order == Ordering::Less,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::LessEqual if !self.dirty => order != Ordering::Greater,
            Operator::LessEqual => {
                let above = version.major == bound.major && version.minor > bound.minor && !self.minor_dirty;
                version.major <= bound.major && !above
            }
            Operator::Tilde => self.tilde(version, order),
            Operator::Caret => order != Ordering::Less && self.caret(version),
        }
    }

    fn differs(&self, version: &Version, order: Ordering) -> bool {
        let bound = &self.version;
        if !self.dirty || (!self.minor_dirty && !self.patch_dirty && version.major == bound.major) {
            return order != Ordering::Equal;
        }
        if version.major != bound.major {
            return true;
        }
        if self.minor_dirty {
            return false;
        }
        version.minor != bound.minor || compare_pre(&version.pre, &bound.pre) != Ordering::Equal
    }

    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let bound = &self.version;
        if order == Ordering::Less {
            return false;
        }
        let zero = (bound.major, bound.minor, bound.patch) == (0, 0, 0);
        if zero && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        version.major == bound.major && (version.minor == bound.minor || self.minor_dirty)
    }

    fn caret(&self, version: &Version) -> bool {
        let bound = &self.version;
        if bound.major > 0 || self.minor_dirty {
            return version.major == bound.major;
        }
        if version.major > 0 {
            return false;
        }
        if bound.minor > 0 || self.patch_dirty {
            return version.minor == bound.minor;
        }
        version.minor == 0 && version.patch == bound.patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_as_in_masterminds() {
        for (constraint, version, wanted) in [
            (">=1.19-0", "v1.20.0", true),
            (">=1.19", "1.20.0-rc.1", false),
            (">=1.19-0", "1.20.0-rc.1", true),
            ("<1.21-0", "v1.21.0-gke.1", false),
            (">=1.20-0", "v1.20.0+k3s1", true),
            ("*", "1.2.3-beta", false),
            (">1.2", "1.2.5", false),
            ("=1.2", "1.2.7", true),
            ("1.2.x", "1.2.5", true),
            ("^0.2.3", "0.3.0", false),
            ("^0", "0.9.0", true),
            ("~0.0.0", "9.9.9", true),
            ("1.2 - 1.4.5", "1.4.5", true),
            (">=1.2.3, <1.5", "1.4.9", true),
            ("<1 || >2", "3.0.0", true),
            ("!=1.x", "1.5.0", false),
            (">=1.2.3 <2.0.0 || >=3", "3.1.0-a", false),
            ("^1.2.3-beta", "1.2.3", true),
            (">=1.25.0-0 <1.30.0-0", "v1.29.3-eks-a737599", true),
            ("1.2.3", "1.2.3+build", true),
            (">1.0-0", "1.0.0", false),
            ("=>1.0", "1", true),
            ("<=1.2", "1.2.9", true),
            (">=1.2.3-beta.2", "1.2.3-beta.10", true),
            (">1.2.3 ,<1.3", "1.2.5", true),
            ("1.x.3", "1.4.3", true),
            (">=x", "1.0.0", true),
        ] {
            let holds = Constraint::parse(constraint).unwrap().check(&Version::parse(version).unwrap());
            assert_eq!(holds, wanted, "{constraint} {version}");
        }
    }

    #[test]
    fn what_is_no_constraint_or_version_is_refused() {
        for text in ["", "latest", "==1.2.3", "!1.2.3", ">=1.2.3&&<2", ">=1.0.0<2.0.0", "1.2.3,", "1.2.3.4"] {
            assert_eq!(Constraint::parse(text).unwrap_err(), format!("improper constraint: {text}"));
        }
        for text in ["", "bad", "1.2.3.4", "1.2-", "1..2", "-1"] {
            assert_eq!(Version::parse(text).unwrap_err(), VersionError::Form, "{text}");
        }
        assert_eq!(Version::parse("v1.2.3-beta.1+b5").unwrap().to_string(), "1.2.3-beta.1+b5");
    }
}
