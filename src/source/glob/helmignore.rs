//! `.helmignore`: which files of a chart directory are no part of the chart.

use super::{BadPattern, ShellPattern};

/// A compiled `.helmignore` with Helm's own last rule.
#[derive(Clone, Debug)]
pub struct HelmIgnore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    negated: bool,
    directories_only: bool,
    /// Whether the whole path is looked at, not the last component alone.
    whole: bool,
    pattern: ShellPattern,
}

impl Default for HelmIgnore {
    fn default() -> Self {
        Self::parse("").expect("Helm's own rule is well formed")
    }
}

impl HelmIgnore {
    /// Reads a file. Source: Helm 3 and 4, package ignore.
    ///
    /// # Errors
    /// A line holds `**` or is malformed.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let rules = lines.chain(["templates/.?*"]).map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Says whether a path, relative to the chart, is ignored. Nothing below an ignored directory is looked at.
    pub fn ignores(&self, path: &str, is_directory: bool) -> bool {
        if path.is_empty() || path == "." {
            return false;
        }
        for rule in &self.rules {
            let applies = (!rule.directories_only || is_directory) && rule.matches(path);
            // A negated rule ignores everything that it does not match: so does Helm.
            if applies != rule.negated {
                return true;
            }
        }
        false
    }
}

impl Rule {
    fn new(line: &str) -> Result<Self, BadPattern> {
        if line.contains("**") {
            return Err(BadPattern { pattern: line.to_owned(), problem: "`**` is not supported" });
        }
        let negated = line.starts_with('!');
        let rest = line.strip_prefix('!').unwrap_or(line);
        let directories_only = rest.ends_with('/');
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let whole = rest.contains('/');
        let pattern = ShellPattern::new(rest.strip_prefix('/').unwrap_or(rest))?;
        Ok(Self { negated, directories_only, whole, pattern })
    }

    fn matches(&self, path: &str) -> bool {
        let base = path.rsplit('/').next().unwrap_or(path);
        self.pattern.matches(if self.whole { path } else { base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_ignore_as_helm_does() {
        let ignore = HelmIgnore::parse("# note\n*.txt\n/root.md\nsub/*.yaml\nbuild/\n").unwrap();
        for (path, directory, expected) in [
            ("a.txt", false, true),
            ("d/a.txt", false, true),
            ("root.md", false, true),
            ("d/root.md", false, false),
            ("sub/a.yaml", false, true),
            ("sub/x/a.yaml", false, false),
            ("build", true, true),
            ("build", false, false),
            ("templates/.x", false, true),
            ("templates/x", false, false),
            ("", true, false),
        ] {
            assert_eq!(ignore.ignores(path, directory), expected, "{path}");
        }
        assert!(HelmIgnore::parse("a/**").is_err());
    }

    #[test]
    fn a_negated_rule_ignores_what_it_does_not_match() {
        let ignore = HelmIgnore::parse("!a.txt").unwrap();
        assert!(ignore.ignores("b", false));
        assert!(!ignore.ignores("a.txt", false));
    }
}
