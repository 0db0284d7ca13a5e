//! Runs every project below `testdata/projects` through the real binary and compares what it prints.
//!
//! A case is a folder: the files of a small repository, `case.toml` (steps: what is edited, typed, and the exit code) and
//! `expect/N.out`, what step N prints to stdout and stderr; `expect.out` holds all of them where the steps share the
//! arguments of the case. `BLESS=1` writes the expectations; they are reviewed
//! as text. A step that fails must have written nothing: the tree is compared before and after.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The behaviour, in a sentence.
    about: String,
    /// `commit` (the default), `none`, `unborn` or `bare`.
    #[serde(default)]
    git: Option<String>,
    /// Variables of the process.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Texts that no step may print.
    #[serde(default)]
    forbid: Vec<String>,
    /// What each step types that has no `args`.
    #[serde(default)]
    args: Vec<String>,
    /// The entries of `accept.rs` that this case shows.
    #[serde(default)]
    pub accept: Vec<u32>,
    /// The errors of `accept.rs` that this case shows.
    #[serde(default)]
    pub errors: Vec<String>,
    step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The text of werf.yaml, changed and committed.
    #[serde(default)]
    werf: Option<String>,
    /// The documents of werf.yaml after a plain meta document, changed and committed.
    #[serde(default)]
    images: Option<String>,
    /// Symbolic links that are made and committed, with their targets.
    #[serde(default)]
    link: BTreeMap<String, String>,
    /// Variables of the process, for this step.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Files that are changed and committed.
    #[serde(default)]
    edit: BTreeMap<String, String>,
    /// Files of other repositories, which lie beside the project: the first part of a path is the repository. Committed.
    #[serde(default)]
    other: BTreeMap<String, String>,
    /// Commands of git that are run in the project before anything is edited; `;` ends one.
    #[serde(default)]
    git: Option<String>,
    /// Commands of git that are run in the project after everything was edited.
    #[serde(default)]
    git_last: Option<String>,
    /// Files that are removed and committed.
    #[serde(default)]
    remove: Vec<String>,
    /// Files that become executable, committed.
    #[serde(default)]
    executable: Vec<String>,
    /// Files that are changed and not committed.
    #[serde(default)]
    write: BTreeMap<String, String>,
    /// Files that are taken off the disk and stay in the commit.
    #[serde(default)]
    lose: Vec<String>,
    #[serde(default)]
    args: Option<Vec<String>>,
    /// The exit code; any that means no error where it is not given: it is then part of what is expected.
    #[serde(default)]
    exit: Option<i32>,
    /// Whether the output is compared.
    #[serde(default = "yes")]
    show: bool,
}

fn yes() -> bool {
    true
}

fn git(dir: &Path, args: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|k| (k, "author")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|k| (k, "author@example.org")))
        .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|k| (k, "2026-01-02T03:04:05+0000")))
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "case.toml" || name == "expect" || name == "expect.out" {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[cfg(unix)]
fn link(dir: &Path, links: &BTreeMap<String, String>) {
    for (path, target) in links {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).unwrap();
    }
}

#[cfg(not(unix))]
fn link(_: &Path, _: &BTreeMap<String, String>) {}

/// Runs commands of git; `;` ends one. A word `[OTHER]` is where other repositories lie.
fn git_script(dir: &Path, script: Option<&String>) {
    let other = dir.parent().unwrap().to_string_lossy().into_owned();
    for line in script.iter().flat_map(|text| text.split(';')).map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<String> = line.split_whitespace().map(|word| word.replace("[OTHER]", &other)).collect();
        let allow = ["-c", "protocol.file.allow=always"];
        git(dir, &allow.into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>());
    }
}

/// Writes files of other repositories and commits them: branch `main`, and a tag for each commit: `v1`, `v2`, …
fn put_other(beside: &Path, files: &BTreeMap<String, String>) {
    let names: std::collections::BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    put(beside, files);
    for name in names {
        let dir = beside.join(name);
        if !dir.join(".git").exists() {
            git(&dir, &["init", "-q"]);
        }
        git(&dir, &["add", "-A"]);
        git(&dir, &["commit", "-q", "-m", "other"]);
        let tag =
            (1..1000).map(|n| format!("v{n}")).find(|tag| !dir.join(".git/refs/tags").join(tag).exists()).unwrap();
        git(&dir, &["tag", &tag]);
    }
}

fn put(dir: &Path, files: &BTreeMap<String, String>) {
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("[OTHER]", &dir.parent().unwrap().to_string_lossy())).unwrap();
    }
}

/// Returns every file with its content, `.git` aside.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".git" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.insert(entry.path(), std::fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, &mut found);
    found
}

/// Replaces what differs from run to run: folders, digests, times.
fn stable(text: &str, dir: &Path) -> String {
    let canonical = dir.canonicalize().unwrap();
    let text = text.replace(&*canonical.to_string_lossy(), "[DIR]").replace(&*dir.to_string_lossy(), "[DIR]");
    let beside = dir.parent().map(|parent| parent.to_string_lossy().into_owned()).unwrap_or_default();
    let text = text.replace(&format!("{beside}/"), "[OTHER]/");
    let seconds = regex::Regex::new(r"\b\d+(\.\d+)?(ms|s)\b").unwrap();
    let stage = regex::Regex::new(r"\b([0-9a-f]{12,56})-\d{13}\b").unwrap();
    let text = seconds.replace_all(&text, "[TIME]");
    let waited = regex::Regex::new(r"after \d+ ms").unwrap();
    let text = waited.replace_all(&text, "after [TIME]");
    stage.replace_all(&text, "$1-[MS]").into_owned()
}

/// Runs one case and returns what differs from the expectations.
fn run(name: &str, folder: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(folder.join("case.toml")).map_err(|e| format!("case.toml: {e}"))?;
    let case: Case = toml::from_str(&text).map_err(|e| format!("case.toml: {e}"))?;
    assert!(!case.about.is_empty() && !case.step.is_empty(), "{name}: a case has a sentence and a step");
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("project");
    std::fs::create_dir(&dir).unwrap();
    copy(folder, &dir);
    match case.git.as_deref() {
        Some("none") => {}
        Some("unborn") => git(&dir, &["init", "-q"]),
        Some("bare") => {
            std::fs::remove_dir_all(&dir).unwrap();
            std::fs::create_dir(&dir).unwrap();
            git(&dir, &["init", "-q", "--bare"]);
        }
        _ => {
            git(&dir, &["init", "-q"]);
            git(&dir, &["add", "-A", "-f"]);
            git(&dir, &["commit", "-q", "--allow-empty", "-m", "first"]);
        }
    }
    let mut problems = String::new();
    let together = !case.args.is_empty();
    let mut all = String::new();
    for (index, step) in case.step.iter().enumerate() {
        let number = index + 1;
        put_other(temp.path(), &step.other);
        git_script(&dir, step.git.as_ref());
        put(&dir, &step.edit);
        let images = step.images.as_ref().map(|text| format!("configVersion: 1\nproject: p\n---\n{text}"));
        let werf = step.werf.clone().or(images);
        put(&dir, &werf.iter().map(|text| ("werf.yaml".to_owned(), text.clone())).collect());
        link(&dir, &step.link);
        for path in &step.remove {
            std::fs::remove_file(dir.join(path)).unwrap();
        }
        #[cfg(unix)]
        for path in &step.executable {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(dir.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let edits = step.edit.len() + step.remove.len() + step.executable.len() + step.link.len();
        if edits > 0 || werf.is_some() {
            git(&dir, &["add", "-A"]);
            git(&dir, &["commit", "-q", "--allow-empty", "-m", "edit"]);
        }
        put(&dir, &step.write);
        for path in &step.lose {
            std::fs::remove_file(dir.join(path)).unwrap();
        }
        git_script(&dir, step.git_last.as_ref());
        let args = step.args.as_ref().unwrap_or(&case.args);
        let typed = args.iter().map(|word| word.replace("[DIR]", &dir.to_string_lossy()));
        // What took longest the last time would begin first.
        let _ = std::fs::remove_file(dir.join(".stagewright/store/.stagewright/durations.json"));
        let before = snapshot(&dir);
        let output = Command::new(env!("CARGO_BIN_EXE_stagewright"))
            .args(typed)
            .current_dir(&dir)
            .env_clear()
            .env("HOME", temp.path())
            .env("COLUMNS", "100")
            // One at a time, so that events come in one order.
            .env("STAGEWRIGHT_PARALLEL_TASKS_LIMIT", "1")
            .envs(&case.env)
            .envs(&step.env)
            .output()
            .expect("the binary runs");
        let code = output.status.code().unwrap_or(-1);
        let shown = format!(
            "$ stagewright {}\n{}{}[exit {code}]\n",
            args.join(" "),
            stable(&String::from_utf8_lossy(&output.stdout), &dir),
            stable(&String::from_utf8_lossy(&output.stderr), &dir)
        );
        if let Some(word) = case.forbid.iter().find(|word| shown.contains(*word)) {
            let _ = writeln!(problems, "step {number} prints `{word}`, which must not be seen");
        }
        if step.exit.is_some_and(|exit| exit != code) || shown.contains("panicked") || code == -1 {
            let _ = writeln!(problems, "step {number}: exit code {code}, expected {:?}\n{shown}", step.exit);
        }
        let writes = matches!(args.first().map(String::as_str), Some("apply" | "build")) && code == 0
            || args.iter().any(|a| a == "--out" || a == "--fix");
        if !writes && snapshot(&dir) != before {
            let _ = writeln!(problems, "step {number} wrote files, though it does not apply or failed");
        }
        if step.show && together {
            let _ = writeln!(all, "[{number}] {shown}");
        } else if step.show {
            let expected = folder.join(format!("expect/{number}.out"));
            problems.push_str(&compare(&expected, &shown));
        }
    }
    if together {
        problems.push_str(&compare(&folder.join("expect.out"), &all));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn compare(expected: &Path, shown: &str) -> String {
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(expected.parent().unwrap()).unwrap();
        std::fs::write(expected, shown).unwrap();
        return String::new();
    }
    let want = std::fs::read_to_string(expected).unwrap_or_default();
    if want == shown {
        return String::new();
    }
    let diff = similar::TextDiff::from_lines(want.as_str(), shown);
    format!("{}:\n{}", expected.display(), diff.unified_diff().header("expected", "printed"))
}

/// Returns every case below `testdata/projects`.
pub fn all() -> Vec<Case> {
    let mut found = Vec::new();
    cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/projects"), &mut found);
    found.iter().map(|c| toml::from_str(&std::fs::read_to_string(c.join("case.toml")).unwrap()).unwrap()).collect()
}

fn cases(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries.into_iter().filter(|e| e.is_dir()) {
        if entry.join("case.toml").exists() {
            found.push(entry);
        } else {
            cases(&entry, found);
        }
    }
}

#[test]
fn every_project_prints_what_is_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/projects");
    let mut found = Vec::new();
    cases(&root, &mut found);
    assert!(found.len() >= 60, "{} projects", found.len());
    let bad = found.iter().filter(|c| !c.parent().is_some_and(|p| p.ends_with("projects"))).count();
    assert!(bad * 2 >= found.len(), "at least half of the projects are about bad input");
    let only = std::env::var("CASE").ok();
    let wanted = |case: &&PathBuf| only.as_ref().is_none_or(|o| case.to_string_lossy().contains(o.as_str()));
    let todo: Vec<&PathBuf> = found.iter().filter(wanted).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let problems = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = todo.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let name = case.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    if let Err(problem) = run(&name, case) {
                        problems.lock().unwrap().insert(name, problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    let list: Vec<String> = problems.iter().map(|(name, problem)| format!("== {name}\n{problem}")).collect();
    assert!(list.is_empty(), "{} of {} projects differ\n{}", list.len(), todo.len(), list.join("\n"));
}
