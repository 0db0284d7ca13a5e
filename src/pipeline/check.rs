//! Checking: everything that can be found without a store or a target; `lint` and the editor call the same.

use std::sync::Arc;
use std::time::Duration;

use crate::chart::strvals::SetKind;
use crate::chart::tree::TreeMap;
use crate::chart::{self, Capabilities, LoadOptions, RenderOptions, ValuesInput};
use crate::diag::{Diagnostics, Severity};
use crate::eval::Host;
use crate::source::{Files, Sources};

use super::load::{ProjectInputs, load};
use super::render::{RenderChoice, render};

/// Loads, signs and renders a project and reports every fault that can be found.
///
/// Returns how many of the findings come from loading and rendering: with an error among them nothing can be planned.
pub fn check(diagnostics: &mut Diagnostics, sources: &Sources, inputs: &ProjectInputs, host: &dyn Host) -> usize {
    if let Some(project) = load(diagnostics, sources, inputs) {
        let choice = RenderChoice { track: true, lint: true, ..RenderChoice::default() };
        render(diagnostics, sources, &project, inputs, host, choice);
    }
    diagnostics.as_slice().len()
}

/// A chart without a project.
pub struct ChartInputs<'a> {
    /// The files around the chart.
    pub files: &'a Files,
    /// The chart's folder in them.
    pub path: &'a str,
    /// `-f`: name and content.
    pub values_files: Vec<(String, Arc<[u8]>)>,
    /// `--set` and its family, in order.
    pub sets: Vec<(SetKind, String)>,
    /// Reads what `--set-file` names.
    pub read_file: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// `.Capabilities`.
    pub capabilities: Capabilities,
    /// The time. Unit: since the Unix epoch, UTC.
    pub now: Duration,
}

/// Loads a chart and renders it with its defaults and with each `ci/*-values.yaml`; reports every fault.
///
/// That the defaults alone are refused by `required` or `fail` is a note: such a chart wants values.
///
/// Returns how many of the findings come from loading and rendering.
pub fn check_chart(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    inputs: &ChartInputs<'_>,
    host: &dyn Host,
) -> usize {
    let Some(chart) = chart::load(diagnostics, sources, inputs.files, inputs.path, &LoadOptions::default()) else {
        return diagnostics.as_slice().len();
    };
    if chart.metadata.is_library() {
        return diagnostics.as_slice().len();
    }
    let is_example = |name: &str| name.starts_with("ci/") && name.ends_with("-values.yaml");
    let examples = chart.files.iter().filter(|f| is_example(&f.name)).map(|f| {
        let name = if inputs.path.is_empty() { f.name.clone() } else { format!("{}/{}", inputs.path, f.name) };
        vec![(name, f.bytes.clone())]
    });
    let is_bare = inputs.values_files.is_empty() && inputs.sets.is_empty();
    let mut renderings = Vec::new();
    for (number, files) in std::iter::once(inputs.values_files.clone()).chain(examples).enumerate() {
        let values = ValuesInput {
            files,
            sets: if number == 0 { inputs.sets.clone() } else { Vec::new() },
            read_file: inputs.read_file,
            ..ValuesInput::default()
        };
        let mut found = Diagnostics::new();
        let composed = chart::compose(&mut found, sources, &chart, &values);
        let options = RenderOptions {
            capabilities: inputs.capabilities.clone(),
            host,
            now: inputs.now,
            track: true,
            ..RenderOptions::default()
        };
        let rendered = composed.map(|mut composed| {
            let rendered = chart::render(&mut found, sources, &composed, &options);
            if number > 0 {
                composed.user = TreeMap::new();
            }
            (composed, rendered)
        });
        for mut diagnostic in found.into_sorted(sources) {
            let refused = matches!(diagnostic.rule.name, "template-error" | "values-invalid");
            if number == 0 && is_bare && refused {
                diagnostic.severity = Severity::Note;
                diagnostic.message += " (rendered with the defaults of the chart)";
            }
            diagnostics.push(diagnostic);
        }
        renderings.extend(rendered);
    }
    let needed = diagnostics.as_slice().len();
    chart::check_values(diagnostics, sources, &renderings);
    needed
}
