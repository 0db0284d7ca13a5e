//! `imageSpec`: changes of the image configuration.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{Span, Spanned};

use super::Text;
use super::decode::Section;
use super::directives;

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

/// Whose section it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `build.imageSpec`.
    Global,
    /// That of one image.
    Image,
}

impl ImageSpec {
    /// Reads the section under `imageSpec`.
    pub(super) fn decode(d: &mut Diagnostics, parent: &Section<'_>, scope: Scope) -> Option<Self> {
        let (shape, config) = match scope {
            Scope::Global => (&directives::GLOBAL_IMAGE_SPEC, &directives::GLOBAL_SPEC_CONFIG),
            Scope::Image => (&directives::IMAGE_SPEC, &directives::SPEC_CONFIG),
        };
        let section = parent.section(d, "imageSpec", shape)?;
        let mut spec = Self::empty(section.span);
        spec.author = section.filled(d, "author");
        spec.clear_history = section.flag_or(d, "clearHistory", false);
        let Some(config) = section.section(d, "config", config) else {
            return Some(spec);
        };
        spec.labels = config.map(d, "labels").unwrap_or_default();
        spec.remove_labels = config.texts(d, "removeLabels").unwrap_or_default();
        spec.keep_essential_labels = config.flag_or(d, "keepEssentialWerfLabels", false);
        config.flag(d, "clearWerfLabels");
        if scope == Scope::Image {
            spec.decode_image(d, &config);
        }
        for pattern in spec.remove_labels.iter().chain(&spec.remove_env) {
            check_expression(d, pattern);
        }
        Some(spec)
    }

    fn decode_image(&mut self, d: &mut Diagnostics, config: &Section<'_>) {
        self.env = config.map(d, "env").unwrap_or_default();
        self.remove_env = config.texts(d, "removeEnv").unwrap_or_default();
        self.volumes = config.texts(d, "volumes").unwrap_or_default();
        self.remove_volumes = config.texts(d, "removeVolumes").unwrap_or_default();
        self.expose = config.texts(d, "expose");
        self.cmd = config.texts(d, "cmd");
        self.entrypoint = config.texts(d, "entrypoint");
        self.user = config.filled(d, "user");
        self.working_dir = config.filled(d, "workingDir");
        self.stop_signal = config.filled(d, "stopSignal");
        self.clear_cmd = config.flag_or(d, "clearCmd", false);
        self.clear_entrypoint = config.flag_or(d, "clearEntrypoint", false);
        self.clear_user = config.flag_or(d, "clearUser", false);
        self.clear_working_dir = config.flag_or(d, "clearWorkingDir", false);
        if let Some(check) = config.section(d, "healthcheck", &directives::HEALTHCHECK) {
            let start = if check.node("startperiod").is_some() { "startperiod" } else { "startPeriod" };
            self.healthcheck = Some(Healthcheck {
                span: check.span,
                test: check.texts(d, "test").unwrap_or_default(),
                interval: seconds(d, &check, "interval"),
                timeout: seconds(d, &check, "timeout"),
                start_period: seconds(d, &check, start),
                retries: check.int(d, "retries").map_or(0, |n| n.value),
            });
        }
    }

    fn empty(span: Span) -> Self {
        let no = Spanned::new(false, span);
        Self {
            span,
            author: None,
            clear_history: no.clone(),
            labels: BTreeMap::new(),
            remove_labels: Vec::new(),
            env: BTreeMap::new(),
            remove_env: Vec::new(),
            volumes: Vec::new(),
            remove_volumes: Vec::new(),
            expose: None,
            cmd: None,
            entrypoint: None,
            user: None,
            working_dir: None,
            stop_signal: None,
            healthcheck: None,
            clear_cmd: no.clone(),
            clear_entrypoint: no.clone(),
            clear_user: no.clone(),
            clear_working_dir: no.clone(),
            keep_essential_labels: no,
        }
    }

    /// Merges the global section into that of a final image. The global value wins for the author and for equal
    /// labels; switches are joined; labels to remove are those of the image, then the global ones. Source: werf 2.x.
    pub(super) fn merged(own: Option<Self>, global: Option<&Self>) -> Option<Self> {
        let Some(global) = global else { return own };
        let mut spec = own.unwrap_or_else(|| Self::empty(global.span));
        if global.author.is_some() {
            spec.author.clone_from(&global.author);
        }
        for (switch, other) in [
            (&mut spec.clear_history, &global.clear_history),
            (&mut spec.keep_essential_labels, &global.keep_essential_labels),
        ] {
            if other.value && !switch.value {
                switch.clone_from(other);
            }
        }
        spec.labels.extend(global.labels.iter().map(|(k, v)| (k.clone(), v.clone())));
        let new = global.remove_labels.iter().filter(|l| !spec.remove_labels.iter().any(|o| o.value == l.value));
        let new: Vec<Text> = new.cloned().collect();
        spec.remove_labels.extend(new);
        Some(spec)
    }
}

/// Reads a number of seconds, or a duration.
fn seconds(d: &mut Diagnostics, section: &Section<'_>, key: &str) -> i64 {
    if section.node(key).is_some_and(|n| n.as_i64().is_some()) {
        return section.int(d, key).map_or(0, |n| n.value);
    }
    section.duration(d, key).map_or(0, |n| n.value / 1_000_000_000)
}

/// Reports a `/text/` that is no regular expression.
fn check_expression(d: &mut Diagnostics, pattern: &Text) {
    let body = pattern.value.strip_prefix('/').and_then(|p| p.strip_suffix('/'));
    if body.is_some_and(|b| regex::Regex::new(b).is_err()) {
        let message = format!("`{}` is not a regular expression", pattern.value);
        d.push(Diagnostic::at(&rules::INVALID_PATTERN, pattern.span, message));
    }
}
