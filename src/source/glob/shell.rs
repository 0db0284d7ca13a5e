//! Go's `path.Match`: `*`, `?`, `[a-z]`, `[^a-z]`, `\`; nothing of it crosses a `/`.

use super::BadPattern;

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Literal(char),
    AnyChar,
    AnyRun,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A compiled pattern that is matched against a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellPattern {
    tokens: Vec<Token>,
}

impl ShellPattern {
    /// Compiles a pattern. Source: Go, `path.Match`.
    ///
    /// # Errors
    /// A class is not closed, empty or runs backwards, or the text ends with `\`.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        Self::compile(pattern, &['^'])
    }

    /// Compiles a pattern whose classes are negated by one of `negations`.
    pub(super) fn compile(pattern: &str, negations: &[char]) -> Result<Self, BadPattern> {
        let bad = |problem| BadPattern { pattern: pattern.to_owned(), problem };
        let mut chars = pattern.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            match c {
                '*' => {
                    if tokens.last() != Some(&Token::AnyRun) {
                        tokens.push(Token::AnyRun);
                    }
                }
                '?' => tokens.push(Token::AnyChar),
                '\\' => tokens.push(Token::Literal(chars.next().ok_or_else(|| bad("nothing follows `\\`"))?)),
                '[' => {
                    let negated = chars.next_if(|c| negations.contains(c)).is_some();
                    let ranges = class(&mut chars).ok_or_else(|| bad("a malformed class `[…]`"))?;
                    tokens.push(Token::Class { negated, ranges });
                }
                c => tokens.push(Token::Literal(c)),
            }
        }
        Ok(Self { tokens })
    }

    /// Says whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut tokens = self.tokens.as_slice();
        let mut rest = text.chars();
        // Where to go on when the tokens after the last `*` do not fit: one character later.
        let mut retry: Option<(&[Token], std::str::Chars<'_>)> = None;
        loop {
            if let [Token::AnyRun, after @ ..] = tokens {
                retry = Some((after, rest.clone()));
                tokens = after;
                continue;
            }
            let mut ahead = rest.clone();
            let fits = match (tokens, ahead.next()) {
                ([], None) => return true,
                ([token, ..], Some(c)) => token.accepts(c),
                ([], Some(_)) | ([_, ..], None) => false,
            };
            if fits {
                rest = ahead;
                tokens = tokens.get(1..).unwrap_or(&[]);
                continue;
            }
            let Some((after, from)) = &mut retry else { return false };
            match from.next() {
                Some(c) if c != '/' => {}
                Some(_) | None => return false,
            }
            tokens = after;
            rest = from.clone();
        }
    }

    /// Returns the text that is the only one to match, if there is one.
    pub fn literal(&self) -> Option<String> {
        self.tokens.iter().map(|t| if let Token::Literal(c) = t { Some(*c) } else { None }).collect()
    }
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Literal(l) => *l == c,
            Self::AnyChar | Self::AnyRun => c != '/',
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

/// Reads `a-z…]`; `None` when it is malformed.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Vec<(char, char)>> {
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(ranges);
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        if low > high {
            return None;
        }
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a?b", "aéb", true),
            ("a?b", "a/b", false),
            ("[\\-x]", "-", true),
            ("arr[[]0].txt", "arr[0].txt", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(ShellPattern::new(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
        for bad in ["[", "[]", "[a", "[]a]", "[-]", "[x-]", "a\\", "[z-a]"] {
            assert!(ShellPattern::new(bad).is_err(), "{bad}");
        }
    }
}
