//! Flags of instructions and the keys of `--mount`.

use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::Span;

use super::lines::Logical;
use super::tree::{Flag, Mount, MountKind, Word};
use super::words::unquote;

/// What a flag may carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One value.
    Text,
    /// Values of several flags of that name.
    Texts,
    /// Nothing, `true` or `false`.
    Switch,
}

/// The flags that an instruction knows. Source: Dockerfile reference.
fn known(keyword: &str) -> &'static [(&'static str, Shape)] {
    match keyword {
        "FROM" => &[("platform", Shape::Text)],
        "ADD" => &[
            ("keep-git-dir", Shape::Switch),
            ("checksum", Shape::Text),
            ("chown", Shape::Text),
            ("chmod", Shape::Text),
            ("link", Shape::Switch),
            ("exclude", Shape::Texts),
            ("unpack", Shape::Switch),
        ],
        "COPY" => &[
            ("from", Shape::Text),
            ("chown", Shape::Text),
            ("chmod", Shape::Text),
            ("link", Shape::Switch),
            ("parents", Shape::Switch),
            ("exclude", Shape::Texts),
        ],
        "RUN" => {
            &[("mount", Shape::Texts), ("network", Shape::Text), ("security", Shape::Text), ("device", Shape::Texts)]
        }
        "HEALTHCHECK" => &[
            ("interval", Shape::Text),
            ("timeout", Shape::Text),
            ("start-period", Shape::Text),
            ("start-interval", Shape::Text),
            ("retries", Shape::Text),
        ],
        _ => &[],
    }
}

/// Reads the flags at the start of `within`; returns them and where the rest begins.
pub(super) fn read(
    diagnostics: &mut Diagnostics,
    line: &Logical,
    keyword: &str,
    within: Range<usize>,
    escape: char,
) -> (Vec<Flag>, usize) {
    let mut flags: Vec<Flag> = Vec::new();
    let mut at = within.start;
    loop {
        let rest = line.text.get(at..within.end).unwrap_or("");
        at += rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, at);
        }
        let length = word_length(rest, escape);
        if length == 2 {
            return (flags, at + 2 + rest.get(2..).map_or(0, |r| r.len() - r.trim_start().len()));
        }
        let flag = read_one(line, at..at + length, escape);
        check(diagnostics, keyword, &flag, &flags);
        flags.push(flag);
        at += length;
    }
}

/// Returns the length of the word at the start, quotes and escapes held together.
fn word_length(rest: &str, escape: char) -> usize {
    let mut quote: Option<char> = None;
    let mut chars = rest.char_indices();
    while let Some((i, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return i,
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ if c == escape => {
                chars.next();
            }
            None | Some(_) => {}
        }
    }
    rest.len()
}

fn read_one(line: &Logical, range: Range<usize>, escape: char) -> Flag {
    let raw = line.text.get(range.start + 2..range.end).unwrap_or("");
    let span = line.span(range.clone());
    match raw.split_once('=') {
        None => Flag { name: unquote(raw, escape), value: None, span },
        Some((name, value)) => {
            let start = range.end - value.len();
            let value = Word { text: unquote(value, escape), span: line.span(start..range.end) };
            Flag { name: name.to_owned(), value: Some(value), span }
        }
    }
}

fn check(diagnostics: &mut Diagnostics, keyword: &str, flag: &Flag, before: &[Flag]) {
    let known = known(keyword);
    let Some((_, shape)) = known.iter().find(|(name, _)| *name == flag.name) else {
        let mut d = Diagnostic::at(
            &rules::DOCKERFILE_SYNTAX,
            flag.span,
            format!("{keyword} does not know the flag `--{}`", flag.name),
        );
        if let Some(near) = did_you_mean(&flag.name, known.iter().map(|(name, _)| *name)) {
            d = d.hint(format!("did you mean `--{near}`?"));
        }
        diagnostics.push(d);
        return;
    };
    let fault = match (shape, &flag.value) {
        (Shape::Text | Shape::Texts, None) => Some(format!("`--{}` needs a value", flag.name)),
        (Shape::Switch, Some(v)) if !matches!(v.text.to_ascii_lowercase().as_str(), "true" | "false" | "") => {
            Some(format!("`--{}` is `true` or `false`", flag.name))
        }
        (Shape::Text | Shape::Switch, _) if before.iter().any(|f| f.name == flag.name) => {
            Some(format!("`--{}` is given twice", flag.name))
        }
        (Shape::Text | Shape::Texts | Shape::Switch, _) => None,
    };
    if let Some(fault) = fault {
        diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, flag.span, fault));
    }
}

/// The keys of `--mount`. Source: Dockerfile reference, RUN --mount.
const MOUNT_KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "env",
];

/// The keys that may stand without a value.
const MOUNT_SWITCHES: &[&str] = &["readonly", "ro", "readwrite", "rw", "required"];

const MOUNT_KINDS: &[(&str, MountKind)] = &[
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

/// Reads every `--mount` among the flags.
pub(super) fn mounts(diagnostics: &mut Diagnostics, flags: &[Flag]) -> Vec<Mount> {
    let values = flags.iter().filter(|f| f.name == "mount").filter_map(|f| Some((f, f.value.as_ref()?)));
    values.map(|(flag, value)| mount(diagnostics, flag, value)).collect()
}

fn mount(diagnostics: &mut Diagnostics, flag: &Flag, value: &Word) -> Mount {
    let mut mount = Mount {
        span: flag.span,
        kind: MountKind::Bind,
        from: None,
        source: None,
        target: None,
        id: None,
        options: Vec::new(),
    };
    for (offset, field) in csv_fields(&value.text) {
        // The value's text has lost its quotes; only an unquoted one has places inside.
        let exact = value.span.end - value.span.start == value.text.len() as u32;
        let base = value.span.start as usize + offset;
        let place = |from: usize, len: usize| {
            if exact { Span::new(value.span.file, base + from, base + from + len) } else { value.span }
        };
        let (key, text) = field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v)));
        let lower = key.trim().to_ascii_lowercase();
        let at = place(0, field.len());
        let word = Word {
            text: text.unwrap_or("true").to_owned(),
            span: text.map_or(at, |t| place(field.len() - t.len(), t.len())),
        };
        if text.is_none() && !MOUNT_SWITCHES.contains(&lower.as_str()) && MOUNT_KEYS.contains(&lower.as_str()) {
            let message = format!("the mount key `{lower}` needs a value");
            diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, at, message));
            continue;
        }
        match lower.as_str() {
            "type" => mount.kind = mount_kind(diagnostics, &word),
            "from" => mount.from = Some(word),
            "source" | "src" => mount.source = Some(word),
            "target" | "dst" | "destination" => mount.target = Some(word),
            "id" => mount.id = Some(word),
            known if MOUNT_KEYS.contains(&known) => mount.options.push((lower, word)),
            _ => {
                let message = format!("a mount has no key `{key}`");
                let mut d = Diagnostic::at(&rules::DOCKERFILE_SYNTAX, at, message);
                if let Some(near) = did_you_mean(&lower, MOUNT_KEYS.iter().copied()) {
                    d = d.hint(format!("did you mean `{near}`?"));
                }
                diagnostics.push(d);
            }
        }
    }
    check_mount(diagnostics, &mount);
    mount
}

fn mount_kind(diagnostics: &mut Diagnostics, word: &Word) -> MountKind {
    if let Some((_, kind)) = MOUNT_KINDS.iter().find(|(name, _)| *name == word.text.to_ascii_lowercase()) {
        return *kind;
    }
    let message = format!("`{}` is not a type of mount", word.text);
    let mut d = Diagnostic::at(&rules::DOCKERFILE_SYNTAX, word.span, message);
    d = match did_you_mean(&word.text, MOUNT_KINDS.iter().map(|(name, _)| *name)) {
        Some(near) => d.hint(format!("did you mean `{near}`?")),
        None => d.hint("use bind, cache, tmpfs, secret or ssh"),
    };
    diagnostics.push(d);
    MountKind::Bind
}

fn check_mount(diagnostics: &mut Diagnostics, mount: &Mount) {
    let needs_target = match mount.kind {
        MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => true,
        MountKind::Secret | MountKind::Ssh => false,
    };
    if needs_target && mount.target.is_none() {
        diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, mount.span, "the mount has no `target`"));
    }
}

/// Returns the comma-separated fields with their offsets; a field may be quoted as in CSV.
fn csv_fields(text: &str) -> Vec<(usize, String)> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut start = 0;
    let mut quoted = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                fields.push((start, std::mem::take(&mut field)));
                start = i + 1;
            }
            other => field.push(other),
        }
    }
    fields.push((start, field));
    fields
}
