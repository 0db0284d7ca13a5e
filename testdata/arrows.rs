//! The law of the house: a room uses only the rooms listed above it in `src/lib.rs`.
//!
//! The test reads source text, not the compiler's mind: comments and literals are blanked, then every
//! `crate::ROOM`, every `super::` chain that leaves its room and every name of a guest crate is an arrow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that see less than what stands above them, and what they do see.
const SEES_ONLY: [(&str, &[&str]); 1] =
    [("backend", &["source", "diag", "digest", "stage", "plan", "observed", "ports", "backend"])];

/// Rooms that must not be seen from a room, though they stand above it.
const FENCES: [(&str, &str, &str); 2] = [
    ("exec", "config", "apply walks operations and is blind to what the user wrote"),
    ("exec", "chart", "apply walks operations and is blind to what the user wrote"),
];

/// Crates that stay in the rooms named here.
const GUESTS: [(&str, &[&str]); 29] = [
    ("jrsonnet_evaluator", &["eval"]),
    ("jrsonnet_stdlib", &["eval"]),
    ("jrsonnet_ir", &["eval"]),
    ("jrsonnet_ir_parser", &["eval"]),
    ("jrsonnet_gcmodule", &["eval"]),
    ("rcgen", &["eval"]),
    ("rsa", &["eval"]),
    ("bcrypt", &["eval"]),
    ("scrypt", &["eval"]),
    ("petgraph", &["graph"]),
    ("git2", &["backend"]),
    ("bollard", &["backend"]),
    ("kube", &["backend"]),
    ("k8s_openapi", &["backend"]),
    ("oci_client", &["backend"]),
    ("reqwest", &["backend"]),
    ("hyper", &["backend"]),
    ("rustix", &["backend", "cli"]),
    ("tempfile", &["backend", "cli"]),
    // A packaged chart is a gzipped tar: `chart` reads it as a value, from bytes.
    ("tar", &["backend", "chart"]),
    ("flate2", &["backend", "chart", "plan"]),
    ("annotate_snippets", &["report"]),
    ("indicatif", &["report"]),
    ("minijinja", &["report"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("lsp_types", &["lsp"]),
    ("lsp_server", &["lsp"]),
    ("tokio", &["ports", "exec", "lsp", "backend", "cli"]),
];

#[test]
fn every_arrow_points_up() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = rooms(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let mut faults = Vec::new();
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).unwrap().to_str().unwrap().replace('\\', "/");
        if !["lib.rs", "main.rs"].contains(&path.as_str()) {
            faults.extend(faults_in(&path, &fs::read_to_string(&file).unwrap(), &rooms));
        }
    }
    assert!(faults.is_empty(), "{} arrows break the law of the house:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_architecture_page_has_a_paragraph_for_every_room_in_their_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let told: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(told, rooms(&fs::read_to_string(root.join("src/lib.rs")).unwrap()));
}

/// Returns the `pub mod` lines of `lib.rs`, in order.
fn rooms(lib: &str) -> Vec<String> {
    let name = |line: &str| Some(line.trim().strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    lib.lines().filter_map(name).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns what is wrong with the arrows of one file; `path` is relative to `src`.
fn faults_in(path: &str, text: &str, rooms: &[String]) -> Vec<String> {
    let parts: Vec<_> = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let room = parts[0];
    let Some(at) = rooms.iter().position(|r| r == room) else {
        return vec![format!("src/{path}:1: `{room}` is no room: src/lib.rs has no line `pub mod {room};`")];
    };
    let mut faults = Vec::new();
    for arrow in arrows(&tokens(text), parts.len(), rooms) {
        let why = match &arrow.to {
            To::Room(to) => match rooms.iter().position(|r| r == to) {
                Some(there) => refusal(room, at, to, there),
                None => Some(format!("`{to}` is no room of src/lib.rs")),
            },
            To::Guest(to) => {
                let homes = GUESTS.iter().find(|(guest, _)| guest == to).unwrap().1;
                (!homes.contains(&room)).then(|| format!("the crate `{to}` stays in {}", homes.join(", ")))
            }
        };
        faults.extend(why.map(|why| format!("src/{path}:{}: {room} -> {}: {why}", arrow.line, arrow.to.name())));
    }
    faults
}

/// Says why one room must not use another; `None` when it may.
fn refusal(room: &str, at: usize, to: &str, there: usize) -> Option<String> {
    if there > at {
        return Some(format!("`{to}` stands below `{room}` in src/lib.rs"));
    }
    if let Some((_, seen)) = SEES_ONLY.iter().find(|(who, seen)| *who == room && !seen.contains(&to)) {
        return Some(format!("`{room}` sees only {}", seen.join(", ")));
    }
    let fence = FENCES.iter().find(|(who, what, _)| *who == room && *what == to);
    fence.map(|(_, _, why)| format!("a fence stands between them: {why}"))
}

#[derive(Debug, PartialEq)]
enum To {
    Room(String),
    Guest(String),
}

impl To {
    fn name(&self) -> &str {
        match self {
            Self::Room(name) | Self::Guest(name) => name,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Arrow {
    line: usize,
    to: To,
}

/// Finds the arrows of a file whose module stands `depth` below the crate.
fn arrows(tokens: &[(usize, String)], depth: usize, rooms: &[String]) -> Vec<Arrow> {
    let text = |i: usize| tokens.get(i).map_or("", |(_, t)| t.as_str());
    let mut found = Vec::new();
    for (i, (line, token)) in tokens.iter().enumerate() {
        let starts_path = i == 0 || text(i - 1) != "::";
        let mut after = i + 1;
        if token == "crate" && text(after) == "::" {
            found.extend(heads(tokens, after + 1).map(|(line, room)| Arrow { line, to: To::Room(room) }));
        } else if token == "super" && starts_path {
            let mut chain = 1;
            while text(after) == "::" && text(after + 1) == "super" {
                (chain, after) = (chain + 1, after + 2);
            }
            // A chain this long may still end in the room (nested modules): only a room's name is an arrow.
            let leaves = chain >= depth && text(after) == "::";
            let heads = heads(tokens, after + 1).filter(|(_, name)| leaves && rooms.contains(name));
            found.extend(heads.map(|(line, room)| Arrow { line, to: To::Room(room) }));
        } else if starts_path && GUESTS.iter().any(|(guest, _)| guest == token) {
            let named = text(after) == "::" || (i > 0 && text(i - 1) == "use");
            found.extend(named.then(|| Arrow { line: *line, to: To::Guest(token.clone()) }));
        }
    }
    found
}

/// Returns the first names of a path, or of each path of a group `{a::b, c}`.
fn heads(tokens: &[(usize, String)], start: usize) -> impl Iterator<Item = (usize, String)> {
    let mut heads = Vec::new();
    let mut nesting = 0;
    let mut expected = true;
    for (line, token) in tokens.iter().skip(start) {
        match token.as_str() {
            "{" => nesting += 1,
            "}" => nesting -= 1,
            "," => expected = nesting == 1,
            _ if expected => {
                heads.push((*line, token.clone()));
                expected = false;
            }
            _ => {}
        }
        if nesting == 0 {
            break;
        }
    }
    heads.into_iter()
}

/// Returns names, `::` and single signs with their lines; comments and literals are left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut i, mut line, mut found) = (0, 1, Vec::new());
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => i = skip_until(&chars, i, |rest| rest.first() == Some(&'\n')),
            '/' if at(i + 1) == '*' => i = skip_until(&chars, i + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
            'r' | 'b' | 'c' if raw_string(&chars, i).is_some() => i = raw_string(&chars, i).unwrap(),
            '"' => i = quoted(&chars, i),
            // A character literal, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => i = quoted(&chars, i),
            c if c.is_alphanumeric() || c == '_' => {
                i = skip_until(&chars, i, |rest| !rest.first().is_some_and(|c| c.is_alphanumeric() || *c == '_'));
                found.push((line, chars[start..i].iter().collect()));
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                found.push((line, "::".to_owned()));
            }
            c => {
                i += 1;
                found.extend((!c.is_whitespace()).then(|| (line, c.to_string())));
            }
        }
        i = i.min(chars.len());
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn skip_until(chars: &[char], start: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (start..chars.len()).find(|i| stop(&chars[*i..])).unwrap_or(chars.len())
}

/// Returns the end of the literal that starts with the quote at `start`.
fn quoted(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != chars[start] {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Returns the end of the raw string (`r"…"`, `br#"…"#`) that starts at `start`, if one does.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let prefix = chars[start..].iter().take(2).take_while(|c| "brc".contains(**c)).count();
    let hashes = chars[start + prefix..].iter().take_while(|c| **c == '#').count();
    let open = start + prefix + hashes;
    let is_raw = chars[start..start + prefix].contains(&'r') && chars.get(open) == Some(&'"');
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    is_raw.then(|| skip_until(chars, open + 1, |rest| rest.starts_with(&close)) + close.len())
}

/// What the reader finds in an example, by room and name.
fn faults_of(path: &str, text: &str) -> BTreeMap<usize, String> {
    let rooms: Vec<String> =
        ["source", "digest", "config", "plan", "ports", "exec", "backend", "cli"].map(str::to_owned).into();
    let split = |fault: String| {
        let (place, rest) = fault.split_once(": ").unwrap();
        (place.rsplit_once(':').unwrap().1.parse().unwrap(), rest.to_owned())
    };
    faults_in(path, text, &rooms).into_iter().map(split).collect()
}

#[test]
fn an_arrow_down_is_found_in_every_way_to_write_it() {
    let text = "use crate::{\n source::Span,\n exec::{run, plan},\n};\nfn f() { crate::backend::x() }\nuse super::super::cli;\n";
    let faults = faults_of("plan/model.rs", text);
    assert_eq!(faults.keys().copied().collect::<Vec<_>>(), [3, 5, 6]);
    assert_eq!(faults[&3], "plan -> exec: `exec` stands below `plan` in src/lib.rs");
    assert_eq!(faults_of("plan.rs", "use super::ports;").len(), 1);
    assert_eq!(faults_of("plan/mod.rs", "use super::{source, ports};").len(), 1);
}

#[test]
fn fences_and_guests_hold() {
    assert!(faults_of("exec/run.rs", "use crate::config::Config;")[&1].contains("a fence stands between them"));
    assert!(faults_of("backend/git.rs", "\nuse crate::exec::run;")[&2].contains("`backend` sees only source"));
    assert!(
        faults_of("plan/x.rs", "fn f() { git2::Repository::open() }")[&1].contains("the crate `git2` stays in backend")
    );
    assert!(faults_of("plan/x.rs", "use clap;")[&1].contains("stays in cli"));
    assert!(faults_of("util/x.rs", "")[&1].contains("`util` is no room"));
}

#[test]
fn comments_literals_and_own_names_are_no_arrows() {
    let text = "//! crate::cli\n/* crate::cli */ let a = \"crate::cli \\\" crate::exec\";\nlet b = r#\"crate::cli\"\"#;\n\
                let c = '\"'; fn f<'a>(x: &'a str) {} use crate::plan::Plan; use crate::source; let clap = 1; x.git2();";
    assert_eq!(faults_of("plan/model.rs", text), BTreeMap::new());
    assert_eq!(
        faults_of("plan/a/b.rs", "use super::super::exec_order; mod tests { use super::super::exec; }"),
        BTreeMap::new()
    );
}
