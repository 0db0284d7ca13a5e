//! The ports of a run, made from URIs. Only this file knows which back ends there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{BuildArgs, DeployArgs};
use super::charts::cache_dir;
use super::error::CliError;
use super::project::now;
use crate::backend::manifest_folder::ManifestFolder;
use crate::backend::{FileLock, NativeBuilder, OciLayout};
use crate::plan::Inputs;
use crate::ports::{Builder, Clock, Lock, StageStore, Target};

/// The stage store that is used when none is named.
pub const DEFAULT_REPO: &str = "oci:.stagewright/store";
/// The target that is used when none is named.
pub const DEFAULT_TARGET: &str = "dir:.stagewright/manifests";
/// The builder that is used when none is named.
pub const DEFAULT_BUILDER: &str = "native";

/// How the back ends of a run are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The stage store.
    pub repo: String,
    /// The target; absent when nothing is deployed.
    pub target: Option<String>,
    /// The builder.
    pub builder: String,
}

impl Names {
    /// Returns the names that options give; without the options of a release there is no target.
    pub fn of_options(build: &BuildArgs, deploy: Option<&DeployArgs>) -> Self {
        let or = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
        Self {
            repo: or(&build.repo, DEFAULT_REPO),
            target: deploy.map(|d| or(&d.target, DEFAULT_TARGET)),
            builder: or(&build.builder, DEFAULT_BUILDER),
        }
    }

    /// Returns the names that a plan was made with.
    pub fn of_plan(inputs: &Inputs) -> Self {
        Self { repo: inputs.repo.clone(), target: inputs.target.clone(), builder: inputs.builder.clone() }
    }
}

/// The back ends of a run.
pub struct BackEnds {
    /// The stage store.
    pub store: Box<dyn StageStore>,
    /// The builder.
    pub builder: Box<dyn Builder>,
    /// Whether it runs commands.
    pub runs_commands: bool,
    /// The target; absent when nothing is deployed.
    pub target: Option<Box<dyn Target>>,
    /// The locks.
    pub lock: Box<dyn Lock>,
    /// The folders that a run may write to.
    pub folders: Vec<PathBuf>,
}

/// Makes the back ends. Nothing is written yet.
pub fn wire(names: &Names, project: &Path, env: &BTreeMap<String, String>) -> Result<BackEnds, CliError> {
    check_builder(&names.builder)?;
    let store = repo_dir(&names.repo, project)?;
    let target = names.target.as_deref().map(|uri| target_dir(uri, project)).transpose()?;
    let runner = cache_dir(env, "native").zip(std::env::current_exe().ok()).filter(|_| cfg!(target_os = "linux"));
    let runs_commands = runner.is_some();
    let builder = runner.map(|(cache, program)| NativeBuilder::running(program, cache));
    Ok(BackEnds {
        store: Box::new(OciLayout::new(&store)),
        builder: Box::new(builder.unwrap_or_default()),
        runs_commands,
        target: target.clone().map(|dir| Box::new(ManifestFolder::new(dir)) as Box<dyn Target>),
        lock: Box::new(FileLock::new(store.join(".stagewright/locks"))),
        folders: target.into_iter().chain([store]).collect(),
    })
}

/// The clock of the operating system.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads `--repo`: the folder of an OCI layout.
pub fn repo_dir(uri: &str, project: &Path) -> Result<PathBuf, CliError> {
    let not_yet = |what: &str| {
        CliError::user(format!("--repo {uri}: {what} cannot be used as a stage store yet"))
            .hint("what works now is an OCI image layout on disk: --repo oci:DIR")
    };
    match uri.split_once(':') {
        Some(("oci", dir)) => folder("--repo", uri, dir, project),
        Some(("docker", _)) => Err(not_yet("the local Docker engine")),
        Some(_) | None => Err(not_yet("a registry")),
    }
}

/// Reads `--target`: the folder that manifests are written to.
pub fn target_dir(uri: &str, project: &Path) -> Result<PathBuf, CliError> {
    match uri.split_once(':') {
        Some(("dir", dir)) => folder("--target", uri, dir, project),
        Some(_) | None if uri == "cluster" || uri.starts_with("cluster:") => {
            Err(CliError::user(format!("--target {uri}: a cluster cannot be used as a target yet"))
                .hint("what works now is a folder of manifests: --target dir:PATH"))
        }
        Some(_) | None => {
            Err(CliError::user(format!("--target {uri} is not a target")).hint("write --target dir:PATH"))
        }
    }
}

/// Reads `--builder`.
pub fn check_builder(name: &str) -> Result<(), CliError> {
    match name {
        "native" => Ok(()),
        "docker" | "kubernetes" => {
            Err(CliError::user(format!("--builder {name} cannot be used yet")).hint("what works now: --builder native"))
        }
        _ => Err(CliError::user(format!("--builder {name} is not a builder")).hint("write --builder native")),
    }
}

fn folder(option: &str, uri: &str, dir: &str, project: &Path) -> Result<PathBuf, CliError> {
    if dir.is_empty() {
        return Err(CliError::user(format!("{option} {uri} names no folder")));
    }
    Ok(project.join(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_relative_to_the_project() {
        let project = Path::new("/shop");
        assert_eq!(repo_dir(DEFAULT_REPO, project).unwrap(), Path::new("/shop/.stagewright/store"));
        assert_eq!(target_dir("dir:/gitops", project).unwrap(), Path::new("/gitops"));
    }

    #[test]
    fn what_does_not_work_yet_says_what_does() {
        let project = Path::new("/shop");
        for uri in ["registry.example:5000/shop", "registry.example/shop", "docker:shop", "oci:"] {
            assert!(repo_dir(uri, project).is_err(), "{uri}");
        }
        let told = repo_dir("registry.example/shop", project).unwrap_err().text(false);
        assert!(told.contains("a registry cannot be used") && told.contains("oci:DIR"), "{told}");
        assert!(target_dir("cluster", project).unwrap_err().text(false).contains("dir:PATH"));
        assert!(check_builder("docker").unwrap_err().text(false).contains("native"));
        assert!(check_builder("native").is_ok());
    }
}
