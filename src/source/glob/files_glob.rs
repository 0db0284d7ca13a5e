//! The glob of Helm's `.Files.Glob`: `*` stops at `/`, `**` does not; `?`, `[a-z]`, `[!a]`, `{a,b}`, `\`.

use regex::Regex;

use super::BadPattern;

/// A compiled glob. Source: gobwas/glob with the separator `/`.
#[derive(Clone, Debug)]
pub struct FilesGlob(Regex);

impl FilesGlob {
    /// Compiles a glob.
    ///
    /// # Errors
    /// A class or brace is malformed.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let bad = |problem| BadPattern { pattern: pattern.to_owned(), problem };
        let text = to_regex(pattern).map_err(bad)?;
        Regex::new(&text).map(Self).map_err(|_| bad("a malformed class `[…]`"))
    }

    /// Says whether a path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

fn to_regex(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::from("(?s)^");
    let mut depth = 0_usize;
    let mut chars = pattern.chars().peekable();
    let literal = |c: char| regex::escape(c.encode_utf8(&mut [0; 4]));
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => out.push_str(".*"),
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '\\' => out.push_str(&literal(chars.next().unwrap_or('\\'))),
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '[' => {
                out.push_str(if chars.next_if_eq(&'!').is_some() { "[^" } else { "[" });
                loop {
                    match chars.next().ok_or("an unclosed `[`")? {
                        ']' => break,
                        '-' => out.push('-'),
                        '\\' => out.push_str(&literal(chars.next().unwrap_or('\\'))),
                        c => out.push_str(&literal(c)),
                    }
                }
                out.push(']');
            }
            c => out.push_str(&literal(c)),
        }
    }
    if depth > 0 {
        return Err("an unclosed `{`");
    }
    out.push('$');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_charts() {
        for (pattern, path, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "d/a.yaml", false),
            ("**.yaml", "d/a.yaml", true),
            ("conf/**", "conf/a/b", true),
            ("conf/**/x", "conf/x", false),
            ("{a,b}.{x,y}", "b.x", true),
            ("[!a]?", "bc", true),
            ("[!a]?", "ac", false),
            ("[a-c]", "b", true),
            ("a.b", "axb", false),
            ("\\*", "*", true),
            ("a,b", "a,b", true),
        ] {
            assert_eq!(FilesGlob::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        assert!(FilesGlob::new("[").is_err() && FilesGlob::new("{a").is_err() && FilesGlob::new("[z-a]").is_err());
    }
}
