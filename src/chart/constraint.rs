//! Version ranges of chart dependencies and of `kubeVersion`: `>=1.2 <2`, `^1.2 || ~2.3`, `1.2 - 2`, `1.x`.
//!
//! Source: the semver library that Helm uses; a pre-release is in a range only when the range names one.

use semver::{BuildMetadata, Prerelease, Version};

/// A set of versions: alternatives of comparisons that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    alternatives: Vec<Vec<Comparison>>,
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    /// How many numbers were written; the rest is any.
    parts: usize,
}

/// Reads a version as charts write it: a leading `v` and missing numbers are fine.
pub fn parse_version(text: &str) -> Option<Version> {
    let (version, parts) = partial(text.trim())?;
    (parts > 0).then_some(version)
}

/// Reads up to three numbers, a pre-release and build metadata; `x`, `X` and `*` end the numbers.
fn partial(text: &str) -> Option<(Version, usize)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, ""), |(t, b)| (t, b));
    let (numbers, pre) = text.split_once('-').map_or((text, ""), |(t, p)| (t, p));
    let mut found: Vec<u64> = Vec::new();
    let mut wild = false;
    for part in numbers.split('.') {
        match part {
            "x" | "X" | "*" => wild = true,
            _ if wild => return None,
            number => found.push(number.parse().ok()?),
        }
    }
    let parts = found.len();
    if parts > 3 {
        return None;
    }
    let mut number = found.into_iter();
    let mut next = || number.next().unwrap_or(0);
    let mut version = Version::new(next(), next(), next());
    version.pre = Prerelease::new(pre).ok()?;
    version.build = BuildMetadata::new(build).ok()?;
    Some((version, parts))
}

impl Constraint {
    /// Reads a range; `None` when it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let alternatives = text.split("||").map(alternative).collect::<Option<Vec<_>>>()?;
        Some(Self { alternatives })
    }

    /// Returns the first version that the range names.
    pub fn first_bound(&self) -> Option<&Version> {
        self.alternatives.first()?.first().map(|comparison| &comparison.version)
    }

    /// Says whether a version is in the range.
    pub fn allows(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|all| all.iter().all(|c| c.allows(version)))
    }
}

fn alternative(text: &str) -> Option<Vec<Comparison>> {
    if let Some((low, high)) = text.split_once(" - ") {
        let bound = |text: &str, operator| {
            let (version, parts) = partial(text.trim())?;
            Some(Comparison { operator, version, parts })
        };
        return Some(vec![bound(low, Operator::GreaterEqual)?, bound(high, Operator::LessEqual)?]);
    }
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let operator_len = rest.find(|c: char| !"=<>!~^".contains(c)).unwrap_or(rest.len());
        let operator = match rest.get(..operator_len)? {
            "" | "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" | "=>" => Operator::GreaterEqual,
            "<=" | "=<" => Operator::LessEqual,
            "~" | "~>" => Operator::Tilde,
            "^" => Operator::Caret,
            _ => return None,
        };
        let after = rest.get(operator_len..)?.trim_start();
        let end = after.find([' ', ',', '<', '>', '=', '!', '~', '^']).unwrap_or(after.len());
        let (version, parts) = partial(after.get(..end)?)?;
        found.push(Comparison { operator, version, parts });
        rest = after.get(end..)?.trim_start_matches([' ', ',']);
    }
    // an empty range is malformed, not everything
    (!found.is_empty()).then_some(found)
}

impl Comparison {
    fn allows(&self, version: &Version) -> bool {
        // build metadata does not count
        let order = version.cmp_precedence(&self.version);
        if !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let same = |parts: usize| {
            let pairs = [
                (version.major, self.version.major),
                (version.minor, self.version.minor),
                (version.patch, self.version.patch),
            ];
            pairs.iter().take(parts).all(|(a, b)| a == b)
        };
        match self.operator {
            Operator::Equal if self.parts < 3 => same(self.parts),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual if self.parts < 3 => !same(self.parts),
            Operator::NotEqual => order.is_ne(),
            Operator::Greater if self.parts < 3 => order.is_gt() && !same(self.parts),
            Operator::Greater => order.is_gt(),
            Operator::Less => order.is_lt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::LessEqual => order.is_le() || (self.parts < 3 && same(self.parts)),
            Operator::Tilde => order.is_ge() && same(self.parts.min(2)),
            Operator::Caret => order.is_ge() && same(self.caret_parts()),
        }
    }

    /// How many leading numbers `^` holds fast: up to the first that is not zero.
    fn caret_parts(&self) -> usize {
        let numbers = [self.version.major, self.version.minor, self.version.patch];
        let first = numbers.iter().take(self.parts).position(|n| *n != 0);
        first.map_or(self.parts, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_allow_what_they_name() {
        let allows = |range: &str, version: &str| {
            Constraint::parse(range).expect(range).allows(&parse_version(version).expect(version))
        };
        let yes = [
            ("*", "1.2.3"),
            ("1.2.3", "1.2.3"),
            ("1.2.3", "v1.2.3+b"),
            ("1.x", "1.9.0"),
            ("1", "1.9.0"),
            ("^1.2", "1.9.0"),
            ("^0.2.3", "0.2.9"),
            ("~1.2", "1.2.9"),
            ("~1", "1.9.0"),
            (">=1.2 <2", "1.9.9"),
            (">=1.2, <2", "1.9.9"),
            ("1.2 - 2", "2.5.0"),
            ("1 || 3", "3.1.0"),
            (">= 1.25.0-0", "1.29.3-gke.100"),
            ("!=1.2.3", "1.2.4"),
            (">1", "2.0.0"),
            ("<=1.2", "1.2.9"),
        ];
        let no = [
            ("1.2.3", "1.2.4"),
            ("^1.2", "2.0.0"),
            ("^0.2.3", "0.3.0"),
            ("^0.0.3", "0.0.4"),
            ("~1.2.3", "1.3.0"),
            (">=1.25", "1.29.3-gke.100"),
            ("1.2 - 2", "3.0.0"),
            (">1", "1.5.0"),
            ("!=1.2", "1.2.9"),
            ("<2", "2.0.0"),
        ];
        for (range, version) in yes {
            assert!(allows(range, version), "{range} should allow {version}");
        }
        for (range, version) in no {
            assert!(!allows(range, version), "{range} should not allow {version}");
        }
        assert!(
            Constraint::parse("").is_none()
                && Constraint::parse("nope").is_none()
                && Constraint::parse("==1").is_none()
        );
    }
}
