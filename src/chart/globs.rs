//! The two glob languages of charts: Go's `filepath.Match` (`.helmignore`) and the globs of `.Files.Glob`.
//!
//! Both are turned into a list of tokens and matched with backtracking over one `*` at a time, so a hostile
//! pattern costs at most pattern × name.

/// A class of characters: ranges, and whether they are excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One character that is no `/`.
    Any,
    Class(Class),
    /// Any run of characters but `/`.
    Star,
    /// Any run of characters.
    DoubleStar,
}

/// A pattern, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// Alternatives, of `{a,b}`.
    alternatives: Vec<Vec<Token>>,
}

/// How many alternatives braces may make.
const MAX_ALTERNATIVES: usize = 256;

impl Glob {
    /// Reads a pattern of Go's `filepath.Match`; `None` when it is malformed.
    pub fn go_path(pattern: &str) -> Option<Self> {
        let mut chars = pattern.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::Char(chars.next()?),
                '[' => Token::Class(class(&mut chars, '^')?),
                c => Token::Char(c),
            });
        }
        Some(Self { alternatives: vec![tokens] })
    }

    /// Reads a pattern of `.Files.Glob`, with `**` and `{a,b}`; `None` when it is malformed.
    pub fn files(pattern: &str) -> Option<Self> {
        let mut alternatives = Vec::new();
        for plain in expand_braces(pattern)? {
            let mut chars = plain.chars().peekable();
            let mut tokens = Vec::new();
            while let Some(c) = chars.next() {
                tokens.push(match c {
                    '*' if chars.next_if_eq(&'*').is_some() => Token::DoubleStar,
                    '*' => Token::Star,
                    '?' => Token::Any,
                    '\\' => Token::Char(chars.next()?),
                    '[' => Token::Class(class(&mut chars, '!')?),
                    c => Token::Char(c),
                });
            }
            alternatives.push(tokens);
        }
        Some(Self { alternatives })
    }

    /// Says whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let chars: Vec<char> = name.chars().collect();
        self.alternatives.iter().any(|tokens| matches(tokens, &chars))
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, not: char) -> Option<Class> {
    let negated = chars.next_if_eq(&not).is_some();
    let mut ranges = Vec::new();
    let one = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| match chars.next()? {
        '\\' => chars.next(),
        '-' => None,
        c => Some(c),
    };
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Class { ranges, negated });
        }
        if chars.peek() == Some(&']') {
            return None;
        }
        let low = one(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { one(chars)? } else { low };
        ranges.push((low, high));
    }
}

/// Replaces the first pair of braces by each of its alternatives, until none is left.
fn expand_braces(pattern: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    while let Some(next) = todo.pop() {
        if done.len() + todo.len() > MAX_ALTERNATIVES {
            return None;
        }
        let Some(open) = next.find('{') else {
            done.push(next);
            continue;
        };
        let (head, rest) = (next.get(..open)?, next.get(open + 1..)?);
        let (mut depth, mut start, mut parts, mut close) = (0, 0, Vec::new(), None);
        for (at, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' => {
                    parts.push(rest.get(start..at)?);
                    close = Some(at);
                    break;
                }
                ',' if depth == 0 => {
                    parts.push(rest.get(start..at)?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        let tail = rest.get(close? + 1..)?;
        todo.extend(parts.iter().rev().map(|part| format!("{head}{part}{tail}")));
    }
    Some(done)
}

fn matches(tokens: &[Token], name: &[char]) -> bool {
    // reach[i]: whether the tokens so far can end before name[i]
    let mut reach = vec![false; name.len() + 1];
    reach.first_mut().map(|r| *r = true);
    for token in tokens {
        let mut next = vec![false; name.len() + 1];
        let mut run = false;
        for at in 0..=name.len() {
            let here = reach.get(at).copied().unwrap_or(false);
            let c = name.get(at);
            let before = at.checked_sub(1).and_then(|i| name.get(i));
            let taken = match token {
                Token::Star => {
                    run = here || (run && before != Some(&'/'));
                    if let (true, Some(slot)) = (run, next.get_mut(at)) {
                        *slot = true;
                    }
                    continue;
                }
                Token::DoubleStar => {
                    run |= here;
                    if let (true, Some(slot)) = (run, next.get_mut(at)) {
                        *slot = true;
                    }
                    continue;
                }
                Token::Char(wanted) => c == Some(wanted),
                Token::Any => c.is_some_and(|c| *c != '/'),
                Token::Class(class) => c.is_some_and(|c| {
                    *c != '/' && class.negated != class.ranges.iter().any(|(low, high)| low <= c && c <= high)
                }),
            };
            if let (true, true, Some(slot)) = (here, taken, next.get_mut(at + 1)) {
                *slot = true;
            }
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

/// The rules of a `.helmignore`. Source: Helm 3.20, with its treatment of `!`.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    glob: Glob,
    negated: bool,
    directories_only: bool,
    whole_path: bool,
}

/// A rule that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoreFault {
    /// Byte range of the rule in the text.
    pub start: usize,
    /// End of the range.
    pub end: usize,
    /// What is wrong.
    pub message: &'static str,
}

impl IgnoreRules {
    /// Reads the text of a `.helmignore`; the rule that Helm always adds is there too.
    pub fn parse(text: &str) -> (Self, Vec<IgnoreFault>) {
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        let mut at = 0;
        for line in text.split('\n') {
            let rule = line.trim();
            let start = at + (line.len() - line.trim_start().len());
            match rule_of(rule) {
                Ok(rule) => rules.extend(rule),
                Err(message) => faults.push(IgnoreFault { start, end: start + rule.len(), message }),
            }
            at += line.len() + 1;
        }
        rules.extend(rule_of("templates/.?*").unwrap_or_default());
        (Self { rules }, faults)
    }

    /// Says whether a path (relative to the chart) is left out.
    pub fn ignores(&self, path: &str, is_directory: bool) -> bool {
        let base = path.rsplit('/').next().unwrap_or(path);
        for rule in &self.rules {
            let matched = || rule.glob.matches(if rule.whole_path { path } else { base });
            let excluded_kind = rule.directories_only && !is_directory;
            if rule.negated {
                if excluded_kind || !matched() {
                    return true;
                }
            } else if !excluded_kind && matched() {
                return true;
            }
        }
        false
    }
}

fn rule_of(rule: &str) -> Result<Option<Rule>, &'static str> {
    if rule.is_empty() || rule.starts_with('#') {
        return Ok(None);
    }
    if rule.contains("**") {
        return Err("`**` is not supported in .helmignore");
    }
    let (negated, rule) = rule.strip_prefix('!').map_or((false, rule), |rest| (true, rest));
    let (directories_only, rule) = rule.strip_suffix('/').map_or((false, rule), |rest| (true, rest));
    let whole_path = rule.contains('/');
    let glob = Glob::go_path(rule.strip_prefix('/').unwrap_or(rule)).ok_or("the pattern is malformed")?;
    Ok(Some(Rule { glob, negated, directories_only, whole_path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(pattern: &str, name: &str) -> bool {
        Glob::go_path(pattern).unwrap().matches(name)
    }

    #[test]
    fn go_patterns() {
        assert!(go("*.swp", "a.swp") && !go("*.swp", "d/a.swp"));
        assert!(go("a?c", "abc") && !go("a?c", "a/c"));
        assert!(go("[a-c]x", "bx") && !go("[^a-c]x", "bx") && go(r"\*x", "*x"));
        assert!(go("a*b*c", "aXbYbc") && !go("a*b", "aXc"));
        assert!(Glob::go_path("[a").is_none() && Glob::go_path("a\\").is_none() && Glob::go_path("[]").is_none());
    }

    #[test]
    fn file_globs() {
        let is = |pattern: &str, name: &str| Glob::files(pattern).unwrap().matches(name);
        assert!(is("config/*.yaml", "config/a.yaml") && !is("config/*.yaml", "config/d/a.yaml"));
        assert!(is("config/**", "config/d/a.yaml") && is("**.yaml", "config/d/a.yaml"));
        assert!(is("{a,b{c,d}}.txt", "bd.txt") && !is("{a,b}.txt", "c.txt") && is("[!a]x", "bx"));
        assert!(Glob::files("{a").is_none());
        assert!(Glob::files(&"{a,b}".repeat(30)).is_none());
    }

    #[test]
    fn a_hostile_pattern_is_cheap() {
        assert!(!go(&"*a".repeat(50), &"a".repeat(40)));
    }

    #[test]
    fn helmignore_rules() {
        let (rules, faults) = IgnoreRules::parse("# c\n*.bak\n/secret\n.git/\ndocs/*.md\n**/x\n");
        assert_eq!(faults.len(), 1);
        assert!(rules.ignores("a/b.bak", false) && rules.ignores("secret", false) && !rules.ignores("a/secret", false));
        assert!(rules.ignores("x/.git", true) && !rules.ignores(".git", false));
        assert!(rules.ignores("docs/a.md", false) && !rules.ignores("x/docs/a.md", false));
        assert!(rules.ignores("templates/.hidden", false) && !rules.ignores("templates/a.yaml", false));
        let (rules, _) = IgnoreRules::parse("!keep.txt\n*.txt\n");
        assert!(rules.ignores("other.yaml", false) && rules.ignores("keep.txt", false));
    }
}
