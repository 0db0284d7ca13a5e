//! `git`: mappings of repositories into Stapel images.

use std::collections::BTreeMap;

use crate::source::Span;

use super::{Text, UserStage};

/// Files of a repository that are put into an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitMapping {
    /// The entry.
    pub span: Span,
    /// The repository; `None` for the project's own.
    pub remote: Option<RemoteGit>,
    /// File or directory, from the root of the repository; cleaned, begins with `/`.
    pub add: Text,
    /// Where it goes; cleaned, begins with `/`.
    pub to: Text,
    /// Owner, by name or number.
    pub owner: Option<Text>,
    /// Group, by name or number.
    pub group: Option<Text>,
    /// Patterns relative to `add`; empty takes all.
    pub include: Vec<Text>,
    /// Patterns relative to `add`, with those that keep mappings apart at the end (their place is what they make way for).
    pub exclude: Vec<Text>,
    /// Patterns relative to `add`: a change of a matching file runs the stage again. Never `BeforeInstall`.
    pub stage_dependencies: BTreeMap<UserStage, Vec<Text>>,
}

/// Another repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteGit {
    /// Its address.
    pub url: Text,
    /// Its short name: the last two components of the address, without `.git`.
    pub name: String,
    /// What is taken.
    pub reference: GitReference,
    /// How to log in.
    pub basic_auth: Option<BasicAuth>,
}

/// What is taken of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitReference {
    /// Whatever its HEAD is.
    Default,
    /// A branch.
    Branch(Text),
    /// A tag.
    Tag(Text),
    /// A commit.
    Commit(Text),
}

/// A user name and where its password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The section.
    pub span: Span,
    /// The user.
    pub username: Option<Text>,
    /// The password.
    pub password: Option<PasswordSource>,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// An environment variable.
    Env(Text),
    /// A file of the host.
    File(Text),
    /// The text in werf.yaml itself.
    Value(Text),
}
