//! The program as a user runs it: texts, exit codes and files, in a cleared environment.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests run the program and look at its files")]

mod basics;
#[cfg(feature = "registry")]
pub mod bundles;
pub mod hidden;
mod includes;
mod lint;
#[cfg(feature = "registry")]
mod chart_server;
#[cfg(feature = "registry")]
mod dependencies;
mod deploying;
mod project;
#[cfg(feature = "registry")]
mod registry;
mod saved_plan;
mod secret;
mod template;
mod values;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with a home of its own in which the program runs.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        Self { dir }
    }

    /// The folder in which the program runs.
    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.project().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    /// Commits everything that lies in the project.
    pub fn commit(&self, message: &str) -> &Self {
        let dir = self.project();
        let repo = git2::Repository::open(&dir).or_else(|_| git2::Repository::init(&dir)).unwrap();
        let mut index = repo.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
        let author =
            git2::Signature::new("somebody", "somebody@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let head = repo.head().ok().map(|h| h.peel_to_commit().unwrap());
        repo.commit(Some("HEAD"), &author, &author, message, &tree, &head.iter().collect::<Vec<_>>()).unwrap();
        self
    }

    /// The program with a cleared environment: no terminal, no colours, no user settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
        command.args(args).current_dir(self.project()).env_clear().env("HOME", self.home());
        command.env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = self.command(args).envs(env.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Every path below a folder, with its content: two listings are equal when nothing was written.
pub fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut list = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            if path.is_dir() {
                todo.push(path.clone());
            }
            list.push((path, content));
        }
    }
    list.sort();
    list
}
