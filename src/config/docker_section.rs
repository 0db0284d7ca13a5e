//! The deprecated `docker` section of Stapel images.

use std::collections::BTreeMap;

use crate::source::{Span, Spanned};

use super::Text;

/// Changes of the image configuration, as an older werf spelled them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSection {
    /// The section.
    pub span: Span,
    /// `VOLUME`.
    pub volume: Vec<Text>,
    /// `EXPOSE`.
    pub expose: Vec<Text>,
    /// `ENV`, by name.
    pub env: BTreeMap<String, Text>,
    /// `LABEL`, by name.
    pub label: BTreeMap<String, Text>,
    /// `CMD`; an empty list where ENTRYPOINT is set and CMD is not.
    pub cmd: Option<CommandValue>,
    /// `ENTRYPOINT`.
    pub entrypoint: Option<CommandValue>,
    /// `WORKDIR`.
    pub workdir: Option<Text>,
    /// `USER`.
    pub user: Option<Text>,
    /// `HEALTHCHECK`, as after the keyword of a Dockerfile.
    pub healthcheck: Option<Text>,
    /// `exactValues`.
    pub exact_values: Spanned<bool>,
}

/// A command: words, or a text for the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandValue {
    /// A list: the exec form.
    Exec(Vec<Text>),
    /// A text: the shell form.
    Shell(Text),
}
