//! Reports: diagnostics, plans, events and outcomes as text, JSON, Markdown and HTML.
//!
//! What lives here: functions from a value to text. What does not: printing it (`cli`), and any thought about
//! what the value should have been. The one idea: a report is a pure function of its value and a [`Look`].

mod build_report;
mod deploy_report;
pub mod diagnostics;
mod live;
mod origins;
mod plan_document;
mod plan_json;
mod plan_text;
mod plan_words;
mod progress;
mod terminal;
mod value_layers;
mod why;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
pub(crate) mod golden;

pub use build_report::{BuildReport, ReportedImage, ReportedStage, report_seconds};
pub use deploy_report::{RolledBack, deploy_report_json, revision};
pub use origins::{OriginCounts, OriginLine, OriginValue, origin_lines, origins_json, origins_text};
pub use plan_document::{Forge, plan_comment, plan_html, plan_markdown};
pub use plan_json::{plan_json, plan_schema};
pub use plan_text::plan_text;
pub use plan_words::place as place_text;
pub use progress::{Progress, Telling, event_line, outcome_json, outcome_line};
pub use terminal::harmless;
pub use value_layers::{ValueLayer, ValueLayers, value_layers_json, value_layers_text};
pub use why::{Answer, why_json, why_text};

/// How text is drawn for one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used; everything reads without them.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether what stays as it is, is shown too.
    pub verbose: bool,
}

impl Look {
    /// Returns the look of a file or a pipe: no colours, 120 columns.
    pub fn plain() -> Self {
        Self { color: false, width: 120, verbose: false }
    }
}

impl Default for Look {
    fn default() -> Self {
        Self::plain()
    }
}

/// Returns `1 image`, `2 images`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Returns JSON for people and for diffs: pretty printed, in a stable order, with a newline at the end.
pub fn pretty_json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("reports are plain data with string keys");
    text.push('\n');
    text
}
