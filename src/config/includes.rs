//! werf-includes.yaml and its lock: which files of other repositories the project reads as if they were its own.
//!
//! What does not live here: reading those repositories (`pipeline` asks a port), and who sees the files (`included`).
//! Source: werf 2.x.

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::glob::PathMatcher;
use crate::source::{ObjectId, Sources, Span};
use crate::syntax::yaml::{self, Node};

use super::decode::{Section, absolute, conflict, missing, patterns};
use super::git::basic_auth;
use super::giterminism::Setting;
use super::load::{self, read_text};
use super::project_files::{ProjectFiles, ReadFault};
use super::{BasicAuth, GitReference, Giterminism, Inputs, Text, directives};

/// The file of includes, in the project directory.
pub const INCLUDES_FILE: &str = "werf-includes.yaml";
/// Its lock, beside it.
pub const INCLUDES_LOCK: &str = "werf-includes.lock";

/// An entry of werf-includes.yaml.
#[derive(Clone, Debug)]
pub struct Include {
    /// The entry.
    pub span: Span,
    /// Address of the repository, or a folder.
    pub git: Text,
    /// Branch, tag or commit; never the default.
    pub reference: GitReference,
    /// File or folder in the repository, without slashes around it; empty for its root.
    pub add: Text,
    /// Where it comes to be in the project, in the same form.
    pub to: Text,
    /// Which files below `add` are taken.
    pub matcher: PathMatcher,
    /// How to log in.
    pub basic_auth: Option<BasicAuth>,
}

impl Include {
    /// Returns the key and the text of the reference.
    fn reference(&self) -> (&'static str, &str) {
        match &self.reference {
            GitReference::Branch(name) => ("branch", &name.value),
            GitReference::Tag(name) => ("tag", &name.value),
            GitReference::Commit(hash) => ("commit", &hash.value),
            GitReference::Default => ("branch", "HEAD"),
        }
    }

    /// Returns branch, tag or commit as text.
    pub fn reference_text(&self) -> &str {
        self.reference().1
    }

    fn is_as(&self, other: &Self) -> bool {
        self.git.value == other.git.value && self.reference() == other.reference()
    }
}

/// Reads werf-includes.yaml; nothing for a project without it. `None` when it has faults, which are reported.
pub fn read_includes(d: &mut Diagnostics, sources: &Sources, inputs: &Inputs<'_>) -> Option<Vec<Include>> {
    let files = files(inputs);
    if let Err(ReadFault::NotFound { .. }) = files.read(INCLUDES_FILE, &|_| false) {
        return Some(Vec::new());
    }
    let mut found = Diagnostics::new();
    let includes = decode_file(&mut found, sources, &files);
    let failed = found.has_errors();
    d.extend(found);
    includes.filter(|_| !failed)
}

fn files(inputs: &Inputs<'_>) -> ProjectFiles {
    ProjectFiles {
        committed: inputs.files.clone(),
        disk: inputs.disk.clone(),
        loose: inputs.loose,
        project_dir: inputs.project_dir.to_owned(),
        included: None,
        gaps: inputs.gaps.into(),
    }
}

fn decode_file(d: &mut Diagnostics, sources: &Sources, files: &ProjectFiles) -> Option<Vec<Include>> {
    let node = read_yaml(d, sources, files, INCLUDES_FILE)?;
    let Some(section) = Section::open(d, &node, &directives::INCLUDES) else { return Some(Vec::new()) };
    let items = section.items(d, "includes").unwrap_or_default();
    let mut includes = Vec::with_capacity(items.len());
    for item in items {
        includes.extend(decode(d, item));
    }
    Some(includes)
}

fn read_yaml(d: &mut Diagnostics, sources: &Sources, files: &ProjectFiles, path: &str) -> Option<Node> {
    let file = read_text(d, sources, files, path, &Giterminism::strict("", false), Setting::Never)?;
    let node = yaml::parse_documents(d, sources, file, yaml::Options::WERF).into_iter().next();
    Some(node.unwrap_or_else(|| Node::null(Span::new(file, 0, 0))))
}

fn decode(d: &mut Diagnostics, node: &Node) -> Option<Include> {
    if node.is_null() {
        missing(d, node.span, "an include is empty", "give it `git`, `add`, `to` and a branch, tag or commit");
        return None;
    }
    let section = Section::open(d, node, &directives::INCLUDE)?;
    let git = needed(d, &section, "git");
    let reference = reference(d, &section);
    let path = |d: &mut Diagnostics, key: &str| {
        let written = needed(d, &section, key)?;
        let path = absolute(d, &written, key)?;
        Some(path.map(|p| p.trim_matches('/').to_owned()))
    };
    let (add, to) = (path(d, "add"), path(d, "to"));
    let include = patterns(d, &section, "includePaths", "`add`");
    let exclude = patterns(d, &section, "excludePaths", "`add`");
    let texts = |list: &[Text]| list.iter().map(|t| t.value.clone()).collect::<Vec<_>>();
    let (include, exclude) = (texts(&include), texts(&exclude));
    let matcher = PathMatcher::new(include.iter().map(String::as_str), exclude.iter().map(String::as_str)).ok();
    let auth = basic_auth(d, &section);
    if let Some(auth) = &auth {
        if auth.username.is_none() {
            missing(d, auth.span, "`basicAuth` needs `username`", "write `username: NAME`");
        }
        if section.node("basicAuth").and_then(|n| n.as_mapping()).is_some_and(|m| m.get("password").is_none()) {
            missing(d, auth.span, "`basicAuth` needs `password`", "write `password: {env: VARIABLE}`");
        }
    }
    Some(Include {
        span: section.span,
        git: git?,
        reference: reference?,
        add: add?,
        to: to?,
        matcher: matcher?,
        basic_auth: auth,
    })
}

fn needed(d: &mut Diagnostics, section: &Section<'_>, key: &str) -> Option<Text> {
    let found = section.filled(d, key);
    let is_list_or_map = section.node(key).is_some_and(|n| n.scalar_text().is_none());
    if found.is_none() && !is_list_or_map {
        let hint = match key {
            "git" => "write `git: URL`, or a folder",
            "add" => "write `add: /` for the whole repository",
            _ => "write `to: /` for the root of the project",
        };
        missing(d, section.key_span(key), format!("an include needs `{key}`"), hint);
    }
    found
}

fn reference(d: &mut Diagnostics, section: &Section<'_>) -> Option<GitReference> {
    let given: Vec<&str> = ["branch", "tag", "commit"]
        .into_iter()
        .filter(|k| section.filled(&mut Diagnostics::new(), k).is_some())
        .collect();
    match given.as_slice() {
        ["branch"] => section.filled(d, "branch").map(GitReference::Branch),
        ["tag"] => section.filled(d, "tag").map(GitReference::Tag),
        ["commit"] => {
            let hash = section.filled(d, "commit")?;
            if ObjectId::from_hex(&hash.value).is_none() {
                let found =
                    Diagnostic::at(&rules::INVALID_VALUE, hash.span, "`commit` is not the full name of a commit");
                d.push(found.hint("write all 40 hexadecimal digits, as `git log` prints them"));
                return None;
            }
            Some(GitReference::Commit(hash))
        }
        [one, other, ..] => {
            conflict(d, section, one, other);
            None
        }
        [] | [_] => {
            missing(d, section.span, "an include needs `branch`, `tag` or `commit`", "write `branch: NAME`");
            None
        }
    }
}

/// Says whether the rules of giterminism allow `--allow-includes-update`.
pub fn allows_includes_update(sources: &Sources, inputs: &Inputs<'_>) -> bool {
    // Faults of the rules are reported where werf.yaml is loaded.
    let rules = load::giterminism(&mut Diagnostics::new(), sources, inputs, &files(inputs));
    rules.loose || rules.includes_update
}

/// Reads the lock and returns the commit of each include. `None` when it does not fit, which is reported.
pub fn read_includes_lock(
    d: &mut Diagnostics,
    sources: &Sources,
    inputs: &Inputs<'_>,
    includes: &[Include],
) -> Option<Vec<String>> {
    let files = files(inputs);
    if let Err(ReadFault::NotFound { .. }) = files.read(INCLUDES_LOCK, &|_| false) {
        let place = includes.first()?.span;
        d.push(update_hint(Diagnostic::at(
            &rules::INCLUDE_LOCK,
            place,
            format!("`{INCLUDES_LOCK}` does not exist: the commits of the includes are not fixed"),
        )));
        return None;
    }
    let mut found = Diagnostics::new();
    let commits = locked(&mut found, sources, &files, includes);
    let failed = found.has_errors();
    d.extend(found);
    commits.filter(|_| !failed)
}

fn update_hint(found: Diagnostic) -> Diagnostic {
    found.hint("run `stagewright includes update`, and commit the lock")
}

/// An entry of the lock: repository, key and text of the reference, commit.
struct Locked {
    git: String,
    reference: (&'static str, String),
    commit: String,
}

fn locked(d: &mut Diagnostics, sources: &Sources, files: &ProjectFiles, includes: &[Include]) -> Option<Vec<String>> {
    let node = read_yaml(d, sources, files, INCLUDES_LOCK)?;
    let section = Section::any(d, &node, INCLUDES_LOCK);
    let items = section.and_then(|s| s.items(d, "includes")).unwrap_or_default();
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        entries.extend(locked_entry(d, item));
    }
    if d.has_errors() {
        return None;
    }
    let mut commits = Vec::with_capacity(includes.len());
    for include in includes {
        let (key, text) = include.reference();
        let fits = |e: &&Locked| e.git == include.git.value && (e.reference.0, e.reference.1.as_str()) == (key, text);
        if let Some(entry) = entries.iter().find(fits) {
            commits.push(entry.commit.clone());
            continue;
        }
        let message = format!("`{INCLUDES_LOCK}` has no commit for {key} `{text}` of this repository");
        d.push(update_hint(Diagnostic::at(&rules::INCLUDE_LOCK, include.git.span, message)));
    }
    Some(commits)
}

fn locked_entry(d: &mut Diagnostics, node: &Node) -> Option<Locked> {
    let section = Section::any(d, node, "an entry of the lock")?;
    let git = section.filled(d, "git");
    let commit = section.filled(d, "commit").filter(|c| ObjectId::from_hex(&c.value).is_some());
    let (Some(git), Some(commit)) = (git, commit) else {
        let message = "an entry of the lock needs `git` and a full `commit`";
        d.push(update_hint(Diagnostic::at(&rules::INCLUDE_LOCK, section.span, message)));
        return None;
    };
    let named = |d: &mut Diagnostics, key: &'static str| section.filled(d, key).map(|t| (key, t.value));
    let reference = named(d, "tag").or_else(|| named(d, "branch"));
    let reference = reference.unwrap_or_else(|| ("commit", commit.value.clone()));
    Some(Locked { git: git.value, reference, commit: commit.value })
}

/// Writes the lock: one entry for each repository and reference, in the order of the includes.
pub fn write_includes_lock<'a>(includes: impl IntoIterator<Item = (&'a Include, &'a str)>) -> String {
    let mut written: Vec<&Include> = Vec::new();
    let mut text = "includes:\n".to_owned();
    for (include, commit) in includes {
        if written.iter().any(|w| w.is_as(include)) {
            continue;
        }
        written.push(include);
        text += &format!("  - git: {}\n", scalar(&include.git.value));
        match include.reference() {
            ("commit", _) => {}
            (key, name) => text += &format!("    {key}: {}\n", scalar(name)),
        }
        text += &format!("    commit: {}\n", scalar(commit));
    }
    if written.is_empty() { "includes: []\n".to_owned() } else { text }
}

/// A plain scalar where that is read back as the same text, else a quoted one.
fn scalar(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '/';
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '@' | '+');
    let address = text.replace("://", "").replace(':', "");
    let is_plain = text.starts_with(first) && address.chars().all(plain) && !text.ends_with(':');
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    let is_hash = ObjectId::from_hex(text).is_some() && text.contains(|c: char| matches!(c, 'a'..='d' | 'f'));
    if (is_plain && !is_word) || is_hash {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::Commit;
    use super::*;
    use crate::source::MemoryObjects;
    use std::collections::BTreeMap;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(files: &[(&str, &str)]) -> (Option<Vec<Include>>, Vec<String>) {
        let (commit, environment) = (Commit::default(), BTreeMap::new());
        let inputs = Inputs::new(MemoryObjects::files(files.iter().copied()), &commit, &environment);
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let includes = read_includes(&mut d, &sources, &inputs);
        if let Some(includes) = &includes
            && !includes.is_empty()
        {
            read_includes_lock(&mut d, &sources, &inputs, includes);
        }
        let found = d.into_sorted(&sources).into_iter().map(|x| {
            let (path, at) = sources.locate(x.primary.as_ref().unwrap().span);
            format!("{} {path}:{}:{} {}", x.rule.name, at.line, at.column, x.message)
        });
        (includes, found.collect())
    }

    fn faults(entry: &str) -> Vec<String> {
        read(&[(INCLUDES_FILE, &format!("includes:\n- {}\n", entry.replace('\n', "\n  ")))]).1
    }

    #[test]
    fn every_fault_of_an_include_has_its_place() {
        assert_eq!(
            faults("branch: a\ntag: b"),
            [
                "missing-key werf-includes.yaml:2:3 an include needs `add`",
                "missing-key werf-includes.yaml:2:3 an include needs `git`",
                "missing-key werf-includes.yaml:2:3 an include needs `to`",
                "conflicting-keys werf-includes.yaml:3:3 `tag` cannot stand beside `branch`",
            ]
        );
        assert_eq!(
            faults("git: /r\nadd: docs\nto: x\nincludePaths: [/.helm]\nbasicAuth: {password: {env: A, value: b}}"),
            [
                "missing-key werf-includes.yaml:2:3 an include needs `branch`, `tag` or `commit`",
                "invalid-path werf-includes.yaml:3:8 `add` takes an absolute path",
                "invalid-path werf-includes.yaml:4:7 `to` takes an absolute path",
                "invalid-path werf-includes.yaml:5:18 the path is absolute",
                "missing-key werf-includes.yaml:6:14 `basicAuth` needs `username`",
                "conflicting-keys werf-includes.yaml:6:34 `value` cannot stand beside `env`",
            ]
        );
        assert_eq!(
            faults("git: /r\ncommit: abc\nadd: /\nto: /\nexcludePath: [a]\nbasicAuth: {username: a}"),
            [
                "invalid-value werf-includes.yaml:3:11 `commit` is not the full name of a commit",
                "unknown-key werf-includes.yaml:6:3 an include has no key `excludePath`",
                "missing-key werf-includes.yaml:7:14 `basicAuth` needs `password`",
            ]
        );
        assert_eq!(faults("git: /r\ngit: /r\nbranch: a\nadd: /\nto: /").len(), 1);
    }

    #[test]
    fn a_lock_that_is_missing_stale_or_malformed_is_told_and_what_to_do() {
        let config = (INCLUDES_FILE, "includes:\n- {git: /r, branch: main, add: /, to: /}\n");
        let with = |lock: &str| read(&[config, (INCLUDES_LOCK, lock)]).1;
        let missing = "include-lock werf-includes.yaml:2:3 `werf-includes.lock` does not exist: the commits of the includes are not fixed";
        assert_eq!(read(&[config]).1, [missing]);
        let stale = "include-lock werf-includes.yaml:2:9 `werf-includes.lock` has no commit for branch `main` of this repository";
        assert_eq!(with(&format!("includes:\n- {{git: /r, tag: main, commit: {HASH}}}\n")), [stale]);
        assert_eq!(with("includes: []\n"), [stale]);
        assert_eq!(with("includes:\n- {git: /r, branch: main, commit: abc}\n").len(), 1);
        assert_eq!(with(&format!("includes:\n- {{git: /r, branch: main, commit: {HASH}}}\n")), Vec::<String>::new());
    }

    #[test]
    fn a_written_lock_is_read_again() {
        let text = format!(
            "includes:\n- {{git: 'https://h/a b', branch: '1.0', add: /, to: /}}\n\
             - {{git: 'git@h:a/b.git', tag: v1, add: /, to: /}}\n- {{git: /r, commit: {HASH}, add: /, to: /}}\n\
             - {{git: /r, commit: {HASH}, add: /x, to: /y}}\n"
        );
        let (includes, _) = read(&[(INCLUDES_FILE, &text)]);
        let includes = includes.unwrap();
        let lock = write_includes_lock(includes.iter().map(|i| (i, HASH)));
        assert_eq!(
            lock,
            format!(
                "includes:\n  - git: 'https://h/a b'\n    branch: '1.0'\n    commit: {HASH}\n\
                 \x20 - git: git@h:a/b.git\n    tag: v1\n    commit: {HASH}\n  - git: /r\n    commit: {HASH}\n"
            )
        );
        assert_eq!(read(&[(INCLUDES_FILE, &text), (INCLUDES_LOCK, &lock)]).1, Vec::<String>::new());
    }
}
