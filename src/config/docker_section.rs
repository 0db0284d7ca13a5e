//! The deprecated `docker` section of Stapel images.

use std::collections::BTreeMap;

use crate::diag::Diagnostics;
use crate::source::{Span, Spanned};

use super::Text;
use super::decode::Section;
use super::directives;

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

impl DockerSection {
    /// Reads the section under `docker`.
    pub(super) fn decode(d: &mut Diagnostics, image: &Section<'_>) -> Option<Self> {
        let section = image.section(d, "docker", &directives::DOCKER)?;
        let entrypoint = command(d, &section, "ENTRYPOINT");
        let cmd = command(d, &section, "CMD").or_else(|| entrypoint.as_ref().map(|_| CommandValue::Exec(Vec::new())));
        Some(Self {
            span: section.span,
            volume: section.strings(d, "VOLUME").unwrap_or_default(),
            expose: section.strings(d, "EXPOSE").unwrap_or_default(),
            env: section.map(d, "ENV").unwrap_or_default(),
            label: section.map(d, "LABEL").unwrap_or_default(),
            cmd,
            entrypoint,
            workdir: section.filled(d, "WORKDIR"),
            user: section.filled(d, "USER"),
            healthcheck: section.filled(d, "HEALTHCHECK"),
            exact_values: section.flag_or(d, "exactValues", false),
        })
    }
}

fn command(d: &mut Diagnostics, section: &Section<'_>, key: &str) -> Option<CommandValue> {
    let list = section.node(key)?.as_sequence().is_some();
    let words = section.strings(d, key)?;
    if list { Some(CommandValue::Exec(words)) } else { words.into_iter().next().map(CommandValue::Shell) }
}
