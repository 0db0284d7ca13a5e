//! Files of the disk that join the build contexts of images (`contextAddFiles`).
//!
//! What lives here: the tree of the repository with the files that an image adds. What does not: whether giterminism
//! allows them (`config`), and what an image copies of them (`stage`).
//!
//! The one idea: with its files laid over the commit, such an image is made as any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::ProjectInputs;
use crate::config::{Config, DockerfileImage};
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::ports::{WorkTree, WorkTreeError};
use crate::source::{FilesError, MemoryObjects, ObjectId, Objects, normalize_path};

/// What images add to the repository.
pub(super) struct Added {
    /// The objects of the repository, and those of the files that are added.
    pub objects: Arc<dyn Objects>,
    /// By image: the repository with its files; `None` where they could not be read.
    pub roots: BTreeMap<String, Option<ObjectId>>,
    /// The paths in the repository that images add, one list for each different one, sorted.
    pub paths: Vec<Vec<String>>,
}

/// Lays the files that images add over the repository; what is not there is reported.
pub(super) fn add_files(
    d: &mut Diagnostics,
    inputs: &ProjectInputs,
    config: &Config,
    objects: Arc<dyn Objects>,
) -> Added {
    let mut roots = BTreeMap::new();
    let mut lists = Vec::new();
    let adding = |docker: &&DockerfileImage| !docker.context_add_files.is_empty();
    let overlay = MemoryObjects::over(objects.clone());
    for (image, docker) in config.images.iter().filter_map(|i| Some((i, i.dockerfile().filter(adding)?))) {
        let paths = paths(d, inputs, docker);
        let root = paths.as_ref().and_then(|paths| {
            let made = lay_over(&overlay, inputs.repository.root(), inputs.work_tree.as_ref(), paths);
            let span = docker.context_add_files.first()?.span;
            made.map_err(|e| d.push(Diagnostic::at(&rules::REPOSITORY_UNREADABLE, span, e.to_string()))).ok()
        });
        roots.insert(image.name.value.clone(), root);
        lists.extend(paths);
    }
    lists.sort();
    lists.dedup();
    let objects = if roots.is_empty() { objects } else { Arc::new(overlay) };
    Added { objects, roots, paths: lists }
}

/// Returns the paths in the repository that an image adds; `None` when one is not there.
fn paths(d: &mut Diagnostics, inputs: &ProjectInputs, docker: &DockerfileImage) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    let mut are_there = true;
    for file in &docker.context_add_files {
        let path = normalize_path(&format!("{}/{}/{}", inputs.project_dir, docker.context.value, file.value))?;
        match inputs.work_tree.below(&path) {
            Ok(found) if found.is_empty() => {
                are_there = false;
                let found = Diagnostic::at(&rules::FILE_NOT_FOUND, file.span, format!("there is no file `{path}`"));
                let mut found = found.hint("`contextAddFiles` takes files of the disk: make it before the build");
                // what makes the file may run later
                if inputs.checks_only {
                    found.severity = Severity::Warning;
                }
                d.push(found);
            }
            Ok(_) => paths.push(path),
            Err(error) => {
                are_there = false;
                d.push(Diagnostic::at(&rules::REPOSITORY_UNREADABLE, file.span, error.to_string()));
            }
        }
    }
    paths.sort();
    paths.dedup();
    are_there.then_some(paths)
}

/// Why files could not be laid over a tree.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The work tree failed.
    #[error(transparent)]
    WorkTree(#[from] WorkTreeError),
    /// The repository failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Returns the tree with the files of the disk at and below some paths; its objects are kept in `overlay`.
///
/// # Errors
/// The work tree or the repository cannot be read.
pub fn lay_over(
    overlay: &MemoryObjects,
    root: ObjectId,
    work_tree: &dyn WorkTree,
    paths: &[String],
) -> Result<ObjectId, AddError> {
    let mut changes = BTreeMap::new();
    for path in paths {
        changes.extend(work_tree.below(path)?.into_iter().map(|(path, file)| (path, Some(file))));
    }
    Ok(overlay.with_changes(Some(root), &changes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Commit;
    use crate::pipeline::load;
    use crate::ports::MemoryWorkTree;
    use crate::source::Sources;

    const CONFIG: &str = "configVersion: 1\nproject: shop\n---\nimage: web\ndockerfile: Dockerfile\n\
                          context: app\ncontextAddFiles: [bin, one]\n";
    const RULE: &str = "giterminismConfigVersion: 1\nconfig: {dockerfile: {allowContextAddFiles: [app/**]}}\n";

    fn inputs(disk: &[(&str, &str)]) -> ProjectInputs {
        let files = MemoryObjects::files([
            ("werf.yaml", CONFIG),
            ("werf-giterminism.yaml", RULE),
            ("app/Dockerfile", "FROM scratch\nCOPY bin /bin\nCOPY kept /\n"),
            ("app/kept", "kept"),
        ]);
        let mut inputs = ProjectInputs::new(files, Commit::default());
        inputs.work_tree = Arc::new(MemoryWorkTree(Some(MemoryObjects::files(disk.iter().copied()))));
        inputs
    }

    fn signature(disk: &[(&str, &str)]) -> String {
        let mut d = Diagnostics::new();
        let project = load(&mut d, &Sources::new(), &inputs(disk)).expect("a project");
        assert!(d.is_empty(), "{d:?}");
        project.images[0].signature.to_string()
    }

    #[test]
    fn what_is_copied_of_added_files_is_signed_and_the_rest_is_not() {
        let one = signature(&[("app/bin/tool", "1"), ("app/one", "1")]);
        assert_eq!(one, signature(&[("app/bin/tool", "1"), ("app/one", "2"), ("app/kept", "changed")]));
        assert_ne!(one, signature(&[("app/bin/tool", "2"), ("app/one", "1")]));
        assert_ne!(one, signature(&[("app/bin/tool", "1"), ("app/bin/more", ""), ("app/one", "1")]));
    }

    #[test]
    fn the_builder_finds_added_files_among_the_objects_and_a_saved_plan_their_paths() {
        let inputs = inputs(&[("app/bin/tool", "1"), ("app/one", "1")]);
        let project = load(&mut Diagnostics::new(), &Sources::new(), &inputs).expect("a project");
        assert_eq!(project.added, [["app/bin", "app/one"]]);
        let overlay = MemoryObjects::over(inputs.repository.objects().clone());
        let root = lay_over(&overlay, inputs.repository.root(), inputs.work_tree.as_ref(), &project.added[0]);
        let files = crate::source::Files::new(project.objects, root.expect("a tree"));
        assert_eq!(&*files.read("app/bin/tool").expect("a file"), b"1");
        assert_eq!(&*files.read("app/kept").expect("a file"), b"kept");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_and_in_a_mere_check_a_warning() {
        let mut inputs = inputs(&[("app/bin/tool", "1")]);
        for (checks_only, severity) in [(false, Severity::Error), (true, Severity::Warning)] {
            inputs.checks_only = checks_only;
            let mut d = Diagnostics::new();
            load(&mut d, &Sources::new(), &inputs);
            let told: Vec<_> = d.as_slice().iter().map(|d| (d.message.as_str(), d.severity)).collect();
            assert_eq!(told, [("there is no file `app/one`", severity)]);
        }
    }
}
