//! `.dockerignore` as `docker build` reads it today: a pattern that matches a directory at any depth
//! ignores all below, and the last pattern that matches decides.

use regex::Regex;

use crate::source::{PathFilter, Verdict};

use super::components::{Components, Standing};
use super::{BadPattern, clean_path};

/// A compiled `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct DockerIgnore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `!`: takes back.
    exception: bool,
    /// Of what is ignored, and of all below.
    regex: Regex,
    /// The components before the first that holds `**`, and whether there is such a one.
    reach: Option<Components>,
    endless: bool,
}

impl DockerIgnore {
    /// Reads the lines of a file: comments, blanks and a byte order mark aside.
    pub fn lines(text: &str) -> Vec<String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|l| !l.starts_with('#')).map(str::trim);
        lines.filter(|l| !l.is_empty()).map(normalize).collect()
    }

    /// Compiles patterns; exceptions begin with `!`.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let patterns = patterns.into_iter().map(str::trim).filter(|p| !p.is_empty());
        Ok(Self { rules: patterns.map(Rule::new).collect::<Result<_, _>>()? })
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        Self::new(Self::lines(text).iter().map(String::as_str))
    }

    /// Says whether a path, relative to the context, is ignored.
    pub fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for rule in self.rules.iter().filter(|_| !path.is_empty()) {
            if rule.exception == ignored && rule.regex.is_match(path) {
                ignored = !rule.exception;
            }
        }
        ignored
    }
}

impl PathFilter for DockerIgnore {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        let ignored = self.ignores(path);
        // Below an ignored directory only an exception changes something, and the other way round.
        let changes = is_directory && self.rules.iter().any(|r| r.exception == ignored && r.may_match_below(path));
        match (changes, ignored) {
            (true, _) => Verdict::Descend,
            (false, true) => Verdict::None,
            (false, false) => Verdict::All,
        }
    }
}

/// Cleans a line: `/x` and `./x/` are `x`; `!` stays in front.
fn normalize(line: &str) -> String {
    let (mark, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    let cleaned = clean_path(pattern);
    let cleaned = cleaned.strip_prefix('/').unwrap_or(&cleaned);
    format!("{mark}{}", if cleaned.is_empty() { "." } else { cleaned })
}

impl Rule {
    fn new(line: &str) -> Result<Self, BadPattern> {
        let line = normalize(line);
        let bad = |problem| BadPattern { pattern: line.clone(), problem };
        let exception = line.starts_with('!');
        let pattern = line.strip_prefix('!').unwrap_or(&line);
        if exception && pattern == "." {
            return Err(bad("nothing follows `!`"));
        }
        let regex = Regex::new(&to_regex(pattern)).map_err(|_| bad("a malformed class `[…]`"))?;
        let head: Vec<&str> = pattern.split('/').take_while(|p| !p.contains("**")).collect();
        let endless = pattern.contains("**");
        let reach = Components::new(&head.join("/"), false, &['^']).ok();
        Ok(Self { exception, regex, reach, endless })
    }

    /// Says whether something strictly below a directory may match; never wrongly `false`.
    fn may_match_below(&self, directory: &str) -> bool {
        match self.reach.as_ref().map(|r| r.standing(directory)) {
            None | Some(Standing::MayMatchBelow) => true,
            Some(Standing::Matched) => self.endless,
            Some(Standing::Never) => false,
        }
    }
}

/// Translates a pattern to a regular expression of paths at and below what it matches, step by step as moby's `patternmatcher` does.
fn to_regex(pattern: &str) -> String {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '*' if in_class => out.push('*'),
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                match chars.peek() {
                    None => out.push_str(".*"),
                    Some(_) => out.push_str("(?:.*/)?"),
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' if !in_class => out.push_str("[^/]"),
            '\\' => match chars.next() {
                Some(next) => out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                None => out.push_str("\\\\"),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '-' | '^' if in_class => out.push(c),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str("(?:/.*)?$");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(patterns: &str, path: &str) -> bool {
        DockerIgnore::parse(patterns).unwrap().ignores(path)
    }

    // accept: 83
    #[test]
    fn patterns_ignore_as_docker_does_today() {
        for (patterns, path, expected) in [
            ("*.md", "a.md", true),
            ("*.md", "d/a.md", false),
            ("**/*.md", "d/a.md", true),
            ("**/*.md", "a.md", true),
            ("node_modules", "node_modules/x", true),
            ("node_modules", "a/node_modules/x", false),
            ("*\n!src", "b", true),
            ("*\n!src", "src/a", false),
            ("d\n!d/keep", "d/x", true),
            ("d\n!d/keep", "d/keep/y", false),
            ("d/**", "d", false),
            ("d/**", "d/x", true),
            ("**/foo", "a/foo/x", true),
            ("**/foo", "a/b/foo/x", true),
            ("**/foo", "foo/x", true),
            ("!x", "x", false),
            ("!x", "y", false),
            ("\u{feff}# note\n\n  /a/ ", "a/b", true),
            (" # no comment", "# no comment", true),
            ("**", "a/b", true),
            ("a?c", "abc", true),
            ("a[b-c]d", "acd", true),
            ("a.b", "axb", false),
            ("foo**", "foo", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z/y", true),
        ] {
            assert_eq!(ignores(patterns, path), expected, "{patterns:?} {path}");
        }
        assert!(DockerIgnore::parse("[z-a]").is_err());
        assert!(DockerIgnore::parse("!").is_err());
    }

    #[test]
    fn whole_directories_are_decided_where_that_is_certain() {
        let verdict = |patterns: &str, path: &str| DockerIgnore::parse(patterns).unwrap().verdict(path, true);
        assert_eq!(verdict("node_modules", "node_modules"), Verdict::None);
        assert_eq!(verdict("node_modules", "src"), Verdict::All);
        assert_eq!(verdict("*\n!src/keep", "src"), Verdict::Descend);
        assert_eq!(verdict("*\n!src/keep", "doc"), Verdict::None);
        assert_eq!(verdict("*\n!src/keep", "src/keep"), Verdict::All);
        assert_eq!(verdict("**/*.md", "src"), Verdict::Descend);
        assert_eq!(verdict("d/**", "d"), Verdict::Descend);
        assert_eq!(verdict("d/**", "d/e"), Verdict::None);
    }
}
