//! The ports of a run, made from URIs. Only this file knows which back ends there are.

use std::path::{Path, PathBuf};

use super::error::CliError;

/// The stage store that is used when none is named.
pub const DEFAULT_REPO: &str = "oci:.stagewright/store";
/// The target that is used when none is named.
pub const DEFAULT_TARGET: &str = "dir:.stagewright/manifests";
/// The builder that is used when none is named.
pub const DEFAULT_BUILDER: &str = "native";

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
