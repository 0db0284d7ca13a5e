//! `imageSpec`: changes of the image configuration.

use std::collections::BTreeMap;

use crate::source::{Span, Spanned};

use super::Text;

/// Changes of the configuration of an image. A switch that is not written has the place of the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The section.
    pub span: Span,
    /// The author.
    pub author: Option<Text>,
    /// Removes the history.
    pub clear_history: Spanned<bool>,
    /// Labels to set; `%image%` and `%project%` in keys and values are templates.
    pub labels: BTreeMap<String, Text>,
    /// Labels to remove: names or `/regular expressions/`.
    pub remove_labels: Vec<Text>,
    /// Variables to set; `${NAME}` is a variable of the image.
    pub env: BTreeMap<String, Text>,
    /// Variables to remove: names or `/regular expressions/`.
    pub remove_env: Vec<Text>,
    /// Volumes to add.
    pub volumes: Vec<Text>,
    /// Volumes to remove.
    pub remove_volumes: Vec<Text>,
    /// Ports; they replace those of the image. `None` leaves them.
    pub expose: Option<Vec<Text>>,
    /// The command. `None` leaves it.
    pub cmd: Option<Vec<Text>>,
    /// The entry point. `None` leaves it.
    pub entrypoint: Option<Vec<Text>>,
    /// The user.
    pub user: Option<Text>,
    /// The working directory.
    pub working_dir: Option<Text>,
    /// The signal that stops a container.
    pub stop_signal: Option<Text>,
    /// The health check.
    pub healthcheck: Option<Healthcheck>,
    /// Removes the command.
    pub clear_cmd: Spanned<bool>,
    /// Removes the entry point.
    pub clear_entrypoint: Spanned<bool>,
    /// Removes the user.
    pub clear_user: Spanned<bool>,
    /// Removes the working directory.
    pub clear_working_dir: Spanned<bool>,
    /// Silences the warning about labels that are kept anyway.
    pub keep_essential_labels: Spanned<bool>,
}

/// A health check. Unit: seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// The section.
    pub span: Span,
    /// The test: `CMD`, `CMD-SHELL` or `NONE` and its words.
    pub test: Vec<Text>,
    /// Time between checks.
    pub interval: i64,
    /// Time that a check may take.
    pub timeout: i64,
    /// Time before failures count.
    pub start_period: i64,
    /// Failures before the container is unhealthy.
    pub retries: i64,
}
