//! Include and exclude lists with `**` and `{a,b}`, where a pattern also takes everything below what it matches.
//!
//! Source: werf, `includePaths`, `excludePaths` and `stageDependencies`; patterns are those of doublestar 4.

use crate::source::{PathFilter, Verdict};

use super::BadPattern;
use super::components::{Components, Standing};

/// The most alternatives that the braces of one pattern may stand for.
const MAX_ALTERNATIVES: usize = 1_000;

/// Takes paths that some include pattern and no exclude pattern matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMatcher {
    /// Alternatives; `None` takes all.
    include: Option<Vec<Components>>,
    exclude: Vec<Components>,
}

impl PathMatcher {
    /// Compiles the lists; an empty include list takes everything.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn new<'a>(
        include: impl IntoIterator<Item = &'a str>,
        exclude: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, BadPattern> {
        let compile = |patterns: &mut dyn Iterator<Item = &'a str>| -> Result<Vec<Components>, BadPattern> {
            let lists: Result<Vec<_>, _> = patterns.map(compile).collect();
            Ok(lists?.into_iter().flatten().collect())
        };
        let include = compile(&mut include.into_iter())?;
        let exclude = compile(&mut exclude.into_iter())?;
        Ok(Self { include: (!include.is_empty()).then_some(include), exclude })
    }

    /// Compiles a list of which an empty one takes nothing, as in lists of permissions.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn only<'a>(include: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let matcher = Self::new(include, [])?;
        Ok(Self { include: Some(matcher.include.unwrap_or_default()), ..matcher })
    }

    /// Says whether a path is taken. The empty path is the root of the patterns.
    pub fn matches(&self, path: &str) -> bool {
        let matched = |list: &[Components]| list.iter().any(|c| c.standing(path) == Standing::Matched);
        self.include.as_deref().is_none_or(matched) && !matched(&self.exclude)
    }
}

impl PathFilter for PathMatcher {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        if !is_directory {
            return if self.matches(path) { Verdict::All } else { Verdict::None };
        }
        let include = self.include.as_deref().map_or(Standing::Matched, |list| strongest(list, path));
        match (include, strongest(&self.exclude, path)) {
            (Standing::Never, _) | (_, Standing::Matched) => Verdict::None,
            (Standing::Matched, Standing::Never) => Verdict::All,
            (Standing::Matched | Standing::MayMatchBelow, Standing::MayMatchBelow | Standing::Never) => {
                Verdict::Descend
            }
        }
    }
}

fn strongest(list: &[Components], path: &str) -> Standing {
    let mut best = Standing::Never;
    for components in list {
        match components.standing(path) {
            Standing::Matched => return Standing::Matched,
            Standing::MayMatchBelow => best = Standing::MayMatchBelow,
            Standing::Never => {}
        }
    }
    best
}

/// Compiles one pattern into the alternatives of its braces. Trailing components of stars alone add nothing, since
/// a pattern takes everything below what it matches.
fn compile(pattern: &str) -> Result<Vec<Components>, BadPattern> {
    let cleaned = clean_path(pattern);
    let bad = |problem| BadPattern { pattern: pattern.to_owned(), problem };
    let mut compiled = Vec::new();
    for alternative in braces(&cleaned).map_err(bad)? {
        let mut text = alternative.trim_start_matches('/');
        loop {
            let (head, tail) = text.rsplit_once('/').unwrap_or(("", text));
            if tail.is_empty() || !tail.bytes().all(|b| b == b'*') {
                break;
            }
            text = head;
        }
        compiled.push(Components::new(text, true, &['^', '!']).map_err(|e| bad(e.problem))?);
    }
    Ok(compiled)
}

/// Cleans a path lexically, as Go's `path.Clean`, except that `.` and `/` become the empty path.
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    if rooted && !joined.is_empty() { format!("/{joined}") } else { joined }
}

/// Expands `{a,b}`, nested ones too.
fn braces(pattern: &str) -> Result<Vec<String>, &'static str> {
    let mut done = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    while let Some(text) = todo.pop() {
        match first_brace(&text)? {
            None => done.push(text),
            Some((open, commas, close)) => {
                let mut from = open + 1;
                let mut alternatives = Vec::new();
                for end in commas.into_iter().chain([close]) {
                    let parts = [text.get(..open), text.get(from..end), text.get(close + 1..)];
                    alternatives.push(parts.into_iter().flatten().collect::<String>());
                    from = end + 1;
                }
                todo.extend(alternatives.into_iter().rev());
            }
        }
        if todo.len() + done.len() > MAX_ALTERNATIVES {
            return Err("too many alternatives");
        }
    }
    Ok(done)
}

/// The offsets of a `{`, of the commas of its level and of its `}`.
type Brace = (usize, Vec<usize>, usize);

/// Finds the first brace.
fn first_brace(text: &str) -> Result<Option<Brace>, &'static str> {
    let mut open = None;
    let mut depth = 0_usize;
    let mut commas = Vec::new();
    let mut in_class = false;
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class => {
                depth += 1;
                open.get_or_insert(i);
            }
            ',' if depth == 1 && !in_class => commas.push(i),
            '}' if !in_class && depth > 0 => {
                depth -= 1;
                if let (0, Some(open)) = (depth, open) {
                    return Ok(Some((open, commas, i)));
                }
            }
            _ => {}
        }
    }
    if open.is_some() { Err("an unclosed `{`") } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn include(pattern: &str) -> PathMatcher {
        PathMatcher::new([pattern], []).unwrap()
    }

    // accept: 82
    #[test]
    fn patterns_take_what_is_below() {
        for (patterns, taken, refused) in [
            (vec!["src", "src/", "./src", "src/**", "src/**/*", "/src"], vec!["src", "src/a", "src/a/b"], vec!["srcx"]),
            (vec!["*", "**", "**/*", ".", "", "/"], vec!["", "a", "a/b/c", ".x"], vec![]),
            (vec!["a/*"], vec!["a", "a/b", "a/b/c"], vec!["b"]),
            (vec!["*.go"], vec!["a.go", ".a.go", "x.go/y"], vec!["d/a.go"]),
            (vec!["**/*.go"], vec!["a.go", "d/e/a.go"], vec!["a.gox"]),
            (vec!["a*"], vec!["abc/x/y"], vec!["b"]),
            (vec!["a/*/c"], vec!["a/b/c", "a/b/c/d"], vec!["a/c"]),
            (vec!["a/**/c"], vec!["a/c", "a/x/y/c/z"], vec!["a/x"]),
            (vec!["{a,b/{c,d}}/x", "[ab]/**/x"], vec!["a/x"], vec!["c/x"]),
            (vec!["a[!x]", "a[^x]"], vec!["ab"], vec!["ax"]),
            (vec!["a/b/../c"], vec!["a/c"], vec!["a/b"]),
            (vec!["file.txt"], vec!["file.txt"], vec![""]),
        ] {
            for pattern in patterns {
                for path in &taken {
                    assert!(include(pattern).matches(path), "{pattern} takes {path}");
                }
                for path in &refused {
                    assert!(!include(pattern).matches(path), "{pattern} refuses {path}");
                }
            }
        }
        assert!(include("{a,b/{c,d}}/x").matches("b/d/x"));
        assert!(PathMatcher::new(["["], []).is_err());
        assert!(PathMatcher::new(["{a"], []).is_err());
    }

    #[test]
    fn an_exclude_wins_over_an_include() {
        let matcher = PathMatcher::new(["src"], ["**/*.md"]).unwrap();
        assert!(matcher.matches("src/a.go"));
        assert!(!matcher.matches("src/d/a.md"));
        assert!(!PathMatcher::new([], ["*"]).unwrap().matches("x"));
        assert!(!PathMatcher::only([]).unwrap().matches("x"));
    }

    #[test]
    fn whole_directories_are_decided_where_that_is_certain() {
        let matcher = PathMatcher::new(["src", "docs/*.md"], ["src/gen"]).unwrap();
        let verdict = |path: &str| matcher.verdict(path, true);
        assert_eq!(verdict("src"), Verdict::Descend);
        assert_eq!(verdict("src/lib"), Verdict::All);
        assert_eq!(verdict("src/gen"), Verdict::None);
        assert_eq!(verdict("docs"), Verdict::Descend);
        assert_eq!(verdict("other"), Verdict::None);
        assert_eq!(matcher.verdict("docs/x.md", false), Verdict::All);
        assert_eq!(PathMatcher::new([], ["**/*.md"]).unwrap().verdict("a", true), Verdict::Descend);
        assert_eq!(PathMatcher::new([], ["b"]).unwrap().verdict("a", true), Verdict::All);
    }
}
