//! Which findings are shown and how bad they are: `stagewright-lint.yaml`, the command line, and comments.
//!
//! The one idea: what keeps a project from being planned cannot be talked away; everything else can, with a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::rules::{ALL, INVALID_VALUE, UNKNOWN_KEY, UNKNOWN_RULE, UNUSED_SUPPRESSION, WRONG_TYPE};
use crate::diag::{Diagnostic, Diagnostics, Severity, did_you_mean};
use crate::source::glob::PathMatcher;
use crate::source::{FileId, Files, Sources, Span};
use crate::syntax::yaml::{self, Node};

/// The settings of a project, beside werf.yaml.
pub const SETTINGS_FILE: &str = "stagewright-lint.yaml";
/// What a comment starts with.
const MARK: &str = "stagewright: ignore";

/// Settings of `lint`.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Severities by rule; `None` switches a rule off.
    severities: BTreeMap<String, Option<Severity>>,
    /// Paths whose findings are left out: of all rules, or of one.
    ignored: Vec<(PathMatcher, Option<String>)>,
}

impl Policy {
    /// Reads the settings of a project; without the file nothing is changed.
    pub fn read(diagnostics: &mut Diagnostics, sources: &Sources, files: &Files) -> Self {
        let mut policy = Self::default();
        let Ok(bytes) = files.read(SETTINGS_FILE) else { return policy };
        let file = sources.add(SETTINGS_FILE, String::from_utf8_lossy(&bytes));
        let nodes = yaml::parse_documents(diagnostics, sources, file, yaml::Options::WERF);
        if let Some(node) = nodes.first().filter(|n| !n.is_null()) {
            policy.settings(diagnostics, node);
        }
        policy
    }

    fn settings(&mut self, d: &mut Diagnostics, node: &Node) {
        let Some(map) = node.as_mapping() else {
            d.push(Diagnostic::at(&WRONG_TYPE, node.span, "the settings take a mapping").hint("write `rules:`"));
            return;
        };
        for entry in map {
            match &*entry.name {
                "rules" => self.rules(d, &entry.value),
                "ignore" => self.ignores(d, &entry.value),
                name => {
                    let found =
                        Diagnostic::at(&UNKNOWN_KEY, entry.key.span, format!("the settings have no key `{name}`"));
                    d.push(found.hint("there are `rules` and `ignore`"));
                }
            }
        }
    }

    fn rules(&mut self, d: &mut Diagnostics, node: &Node) {
        let Some(map) = node.as_mapping() else {
            let found = Diagnostic::at(&WRONG_TYPE, node.span, "`rules` takes a mapping of rules to severities");
            return d.push(found.hint("write for example `untagged-base: error`"));
        };
        for entry in map {
            if let Some(unknown) = unknown_rule(&entry.name, entry.key.span) {
                d.push(unknown);
                continue;
            }
            match severity(entry.value.scalar_text().unwrap_or("")) {
                Ok(severity) => drop(self.severities.insert(entry.name.to_string(), severity)),
                Err(()) => d.push(
                    Diagnostic::at(&INVALID_VALUE, entry.value.span, "this is no severity")
                        .hint("take `off`, `note`, `warning` or `error`"),
                ),
            }
        }
    }

    fn ignores(&mut self, d: &mut Diagnostics, node: &Node) {
        let bad = |span| {
            Diagnostic::at(&WRONG_TYPE, span, "an entry of `ignore` takes a `path`, and a `rule` if only one is meant")
                .hint("write for example `- {path: \"charts/vendor/**\", rule: value-not-read}`")
        };
        let Some(list) = node.as_sequence() else { return d.push(bad(node.span)) };
        for item in list {
            let Some(path) = item.get("path").and_then(Node::as_str) else {
                d.push(bad(item.span));
                continue;
            };
            let others = item.as_mapping().into_iter().flatten().filter(|e| !["path", "rule"].contains(&&*e.name));
            for entry in others {
                let found =
                    Diagnostic::at(&UNKNOWN_KEY, entry.key.span, format!("`ignore` has no key `{}`", entry.name));
                d.push(found.hint("there are `path` and `rule`"));
            }
            let rule = item.get("rule").map(|rule| (rule.scalar_text().unwrap_or("").to_owned(), rule.span));
            if let Some(unknown) = rule.as_ref().and_then(|(name, span)| unknown_rule(name, *span)) {
                d.push(unknown);
                continue;
            }
            match PathMatcher::only([path]) {
                Ok(matcher) => self.ignored.push((matcher, rule.map(|(name, _)| name))),
                Err(error) => d.push(Diagnostic::at(&INVALID_VALUE, item.span, error.to_string())),
            }
        }
    }

    /// Takes a setting of the command line: `RULE=SEVERITY`.
    ///
    /// # Errors
    /// The rule or the severity does not exist; the text says so.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let (name, level) = text.split_once('=').ok_or_else(|| format!("`{text}` is not RULE=SEVERITY"))?;
        if !ALL.iter().any(|rule| rule.name == name) {
            let near = did_you_mean(name, ALL.iter().map(|rule| rule.name));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("there is no rule `{name}`{near}"));
        }
        let severity = severity(level).map_err(|()| format!("`{level}` is not off, note, warning or error"))?;
        self.severities.insert(name.to_owned(), severity);
        Ok(())
    }

    /// Gives findings their severities and leaves out those that are not wanted.
    ///
    /// The first `needed` findings come from loading and rendering: errors among them stay as they are.
    pub fn apply(&self, found: &Diagnostics, needed: usize, sources: &Sources) -> Diagnostics {
        let mut comments = Comments::new(sources);
        let mut kept = Diagnostics::new();
        for (index, mut finding) in found.as_slice().iter().cloned().enumerate() {
            if index < needed && finding.severity == Severity::Error {
                kept.push(finding);
                continue;
            }
            match self.severities.get(finding.rule.name) {
                Some(None) => continue,
                Some(Some(severity)) => finding.severity = *severity,
                None => {}
            }
            if !self.ignores_path(&finding, sources) && !comments.ignore(&finding, sources) {
                kept.push(finding);
            }
        }
        for finding in comments.faults() {
            match self.severities.get(finding.rule.name) {
                Some(None) => {}
                Some(Some(severity)) => kept.push(Diagnostic { severity: *severity, ..finding }),
                None => kept.push(finding),
            }
        }
        kept
    }

    fn ignores_path(&self, finding: &Diagnostic, sources: &Sources) -> bool {
        if self.ignored.is_empty() {
            return false;
        }
        let file = finding.primary.as_ref().map(|label| sources.get(label.span.file));
        let Some(path) = file.as_ref().map(|f| f.path()).or(finding.path.as_deref()) else { return false };
        let of_rule = |rule: &Option<String>| rule.as_deref().is_none_or(|rule| rule == finding.rule.name);
        self.ignored.iter().any(|(paths, rule)| of_rule(rule) && paths.matches(path))
    }
}

/// Reads a severity; `Ok(None)` switches a rule off.
fn severity(text: &str) -> Result<Option<Severity>, ()> {
    Ok(match text {
        "off" | "false" => None,
        "note" | "info" => Some(Severity::Note),
        "warning" => Some(Severity::Warning),
        "error" => Some(Severity::Error),
        _ => return Err(()),
    })
}

fn unknown_rule(name: &str, span: Span) -> Option<Diagnostic> {
    if ALL.iter().any(|rule| rule.name == name) {
        return None;
    }
    let found = Diagnostic::at(&UNKNOWN_RULE, span, format!("there is no rule `{name}`"));
    Some(match did_you_mean(name, ALL.iter().map(|rule| rule.name)) {
        Some(near) => found.hint(format!("did you mean `{near}`?")),
        None => found.hint("docs/rules/README.md lists the rules"),
    })
}

/// A comment that ignores rules.
struct Comment {
    span: Span,
    /// From 1.
    line: u32,
    whole_file: bool,
    /// Nothing but the comment stands on its line, so it speaks of the line below.
    alone: bool,
    rules: Vec<(String, Span)>,
    has_reason: bool,
    used: bool,
}

/// The comments of all files that were read, by path: a file may have been read more than once.
struct Comments {
    by_path: BTreeMap<String, Vec<Comment>>,
}

impl Comments {
    fn new(sources: &Sources) -> Self {
        let mut by_path = BTreeMap::new();
        for (id, file) in sources.all() {
            if file.text().contains(MARK) && !by_path.contains_key(file.path()) {
                by_path.insert(file.path().to_owned(), comments_of(id, file.text()));
            }
        }
        Self { by_path }
    }

    fn ignore(&mut self, finding: &Diagnostic, sources: &Sources) -> bool {
        if self.by_path.is_empty() {
            return false;
        }
        let Some(label) = &finding.primary else { return false };
        let (path, at) = sources.locate(label.span);
        let Some(comments) = self.by_path.get_mut(&path) else { return false };
        // Comments above may stand on several lines.
        let mut above = at.line;
        let mut lines = BTreeSet::from([at.line]);
        while above > 1 && comments.iter().any(|c| c.alone && c.line == above - 1) {
            above -= 1;
            lines.insert(above);
        }
        let fits = |c: &&mut Comment| {
            (c.whole_file || lines.contains(&c.line)) && c.rules.iter().any(|(rule, _)| rule == finding.rule.name)
        };
        match comments.iter_mut().find(fits) {
            Some(comment) => {
                comment.used = true;
                true
            }
            None => false,
        }
    }

    fn faults(self) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        for comment in self.by_path.into_values().flatten() {
            let unknown: Vec<_> = comment.rules.iter().filter_map(|(name, span)| unknown_rule(name, *span)).collect();
            if !unknown.is_empty() {
                faults.extend(unknown);
            } else if !comment.used {
                let found = Diagnostic::at(&UNUSED_SUPPRESSION, comment.span, "this comment ignores nothing");
                faults.push(found.hint("take it out"));
            } else if !comment.has_reason {
                let found = Diagnostic::at(&UNUSED_SUPPRESSION, comment.span, "this comment gives no reason");
                faults.push(found.hint("say behind the bracket why the finding is ignored"));
            }
        }
        faults
    }
}

/// Finds `stagewright: ignore[RULE, …] REASON` and `stagewright: ignore-file[…] REASON` in any kind of comment.
fn comments_of(file: FileId, text: &str) -> Vec<Comment> {
    let mut comments = Vec::new();
    let mut start = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        if let Some(comment) = comment_in(file, content, start, line as u32 + 1) {
            comments.push(comment);
        }
        start += content.len();
    }
    comments
}

fn comment_in(file: FileId, line: &str, start: usize, number: u32) -> Option<Comment> {
    let at = line.find(MARK)?;
    let before = line.get(..at)?.trim();
    let opened = ["#", "//", "/*", "{{/*", "{{- /*", "--"].iter().find(|open| before.ends_with(*open))?;
    let rest = line.get(at + MARK.len()..)?;
    let (whole_file, rest) = match rest.strip_prefix("-file") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (names, reason) = rest.strip_prefix('[')?.split_once(']')?;
    let mut rules = Vec::new();
    let mut offset = start + line.len() - rest.len() + 1;
    for name in names.split(',') {
        let lead = name.len() - name.trim_start().len();
        let span = Span::new(file, offset + lead, offset + lead + name.trim().len());
        rules.push((name.trim().to_owned(), span));
        offset += name.len() + 1;
    }
    let reason = reason.trim().trim_end_matches("}}").trim_end_matches('-').trim().trim_end_matches("*/").trim();
    let end = start + line.trim_end().len();
    Some(Comment {
        span: Span::new(file, start + at, end),
        line: number,
        whole_file,
        alone: before == *opened,
        rules,
        has_reason: !reason.is_empty(),
        used: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::rules::{DEPRECATED_KEY, UNTAGGED_BASE};
    use crate::source::MemoryObjects;

    fn shown(found: &Diagnostics) -> Vec<String> {
        found.as_slice().iter().map(|d| format!("{}: {}", d.rule.name, d.message)).collect()
    }

    fn applied(text: &str, at: &[&str], needed: usize) -> Vec<String> {
        let sources = Sources::new();
        let file = sources.add("werf.yaml", text);
        let mut found = Diagnostics::new();
        for word in at {
            let start = text.find(word).expect("the word is there");
            found.push(Diagnostic::at(&UNTAGGED_BASE, Span::new(file, start, start + word.len()), *word));
        }
        shown(&Policy::default().apply(&found, needed, &sources))
    }

    #[test]
    fn a_comment_ignores_its_line_or_the_one_below_it() {
        let text = "a: x # stagewright: ignore[untagged-base] built here\n\
                    {{/* stagewright: ignore[deprecated-key, untagged-base] old */}}\nb: y\nc: z\n";
        assert_eq!(applied(text, &["x", "y", "z"], 0), ["untagged-base: z"]);
        assert_eq!(applied("// stagewright: ignore-file[untagged-base] why\na\nb\n", &["b"], 0), [] as [&str; 0]);
    }

    #[test]
    fn comments_without_use_reason_or_rule_are_found() {
        assert_eq!(
            applied("# stagewright: ignore[untagged-base]\nzz\n", &["zz"], 0),
            ["unused-suppression: this comment gives no reason"]
        );
        assert_eq!(
            applied("# stagewright: ignore[untagged-base] why\n\nzz\n", &["zz"], 0),
            ["untagged-base: zz", "unused-suppression: this comment ignores nothing"]
        );
        assert_eq!(
            applied("# stagewright: ignore[untaged-base] why\nzz\n", &["zz"], 0),
            ["untagged-base: zz", "unknown-rule: there is no rule `untaged-base`"]
        );
    }

    #[test]
    fn what_keeps_a_project_from_being_planned_stays() {
        let sources = Sources::new();
        let file = sources.add("werf.yaml", "a # stagewright: ignore[unknown-key] no\n");
        let mut found = Diagnostics::new();
        found.push(Diagnostic::at(&UNKNOWN_KEY, Span::new(file, 0, 1), "key"));
        let mut policy = Policy::default();
        policy.set("unknown-key=off").expect("a rule");
        assert_eq!(shown(&policy.apply(&found, 1, &sources))[0], "unknown-key: key");
        assert!(shown(&policy.apply(&found, 0, &sources)).iter().all(|f| !f.contains("key: key")));
    }

    #[test]
    fn settings_change_severities_and_leave_paths_out() {
        let text = "rules: {deprecated-key: error, untagged-base: off, nope: error}\n\
                    ignore:\n- path: vendor/**\n- {path: \"*.yaml\", rule: unread}\n";
        let files = MemoryObjects::files([(SETTINGS_FILE, text)]);
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let policy = Policy::read(&mut d, &sources, &files);
        assert_eq!(shown(&d), ["unknown-rule: there is no rule `nope`", "unknown-rule: there is no rule `unread`"]);
        let mut found = Diagnostics::new();
        for (rule, path) in
            [(&DEPRECATED_KEY, "werf.yaml"), (&UNTAGGED_BASE, "werf.yaml"), (&DEPRECATED_KEY, "vendor/a")]
        {
            found.push(Diagnostic::in_file(rule, path, path));
        }
        let applied = policy.apply(&found, 0, &sources);
        assert_eq!(shown(&applied), ["deprecated-key: werf.yaml"]);
        assert!(applied.has_errors());
        let mut policy = Policy::default();
        assert_eq!(
            policy.set("untaged-base=off").unwrap_err(),
            "there is no rule `untaged-base`; did you mean `untagged-base`?"
        );
        assert_eq!(policy.set("untagged-base=loud").unwrap_err(), "`loud` is not off, note, warning or error");
    }
}
