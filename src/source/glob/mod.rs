//! Pattern languages over paths, each as its tool defines it.
//!
//! What lives here: [`ShellPattern`] (Go's `path.Match`), [`PathMatcher`] (include and exclude lists with `**`),
//! [`DockerIgnore`], [`CopySources`] (sources of COPY), [`HelmIgnore`] and [`FilesGlob`] (Helm's `.Files.Glob`).
//!
//! The one idea: patterns are compiled once, faults surface then; a matcher of trees is a
//! [`super::PathFilter`], so it can take or refuse whole directories without looking into them.

mod components;
mod copy_sources;
mod dockerignore;
mod files_glob;
mod helmignore;
mod path_matcher;
mod shell;

pub use copy_sources::CopySources;
pub use dockerignore::DockerIgnore;
pub use files_glob::FilesGlob;
pub use helmignore::HelmIgnore;
pub use path_matcher::{PathMatcher, clean_path};
pub use shell::ShellPattern;

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in the pattern `{pattern}`")]
pub struct BadPattern {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}
