//! Images that are built from a Dockerfile.

use indexmap::IndexMap;

use crate::source::Spanned;

use super::Text;

/// The part of an image that tells of its Dockerfile.
#[derive(Clone, Debug)]
pub struct DockerfileImage {
    /// Path of the Dockerfile, relative to `context`; never empty.
    pub dockerfile: Text,
    /// Path of the context, relative to the project directory; empty for the project directory itself.
    pub context: Text,
    /// Files added from the disk, relative to `context`.
    pub context_add_files: Vec<Text>,
    /// The stage of the Dockerfile; `None` means the last.
    pub target: Option<Text>,
    /// Build arguments in the order of the file.
    pub args: IndexMap<String, ArgValue>,
    /// `--add-host` entries.
    pub add_host: Vec<Text>,
    /// `--ssh`.
    pub ssh: Option<Text>,
    /// Whether each instruction is a stage of its own.
    pub staged: Spanned<bool>,
}

/// The value of a build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgValue {
    /// The value as the build gets it: YAML's value in Go's default formatting.
    pub value: Text,
    /// The place of the key.
    pub key: crate::source::Span,
}
