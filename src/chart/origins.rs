//! Where the lines of a rendered file come from.
//!
//! What lives here: [`LineOrigin`], and how the pieces that a rendering recorded become one for each line. What does
//! not: recording (`eval`), drawing (`report`).
//!
//! The one idea: a line is named by what wrote its first visible byte; its values are those of all its pieces.

use crate::diag::TraceFrame;
use crate::eval::{Origin, OriginId, ValueId};
use crate::source::{Sources, Span};

use super::manifest::RenderedFile;

/// How many values a line names.
const MAX_VALUES: usize = 8;

/// Where a rendered line comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineOrigin {
    /// The place in a template that wrote it.
    pub span: Option<Span>,
    /// The `include`, `template` and `tpl` calls around that place, innermost first.
    pub calls: Vec<Span>,
    /// The values that stand in it, in their order.
    pub values: Vec<ValueOrigin>,
}

/// A value that stands in a rendered line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueOrigin {
    /// Its path, `web.ports.0`; of a call the name of the function.
    pub path: String,
    /// Where it was written; `None` for service values and tables that no file has.
    pub span: Option<Span>,
    /// Whether the line shows something made of the value and not its text.
    pub derived: bool,
    /// Whether it is no value but a call whose result differs from run to run.
    pub varies: bool,
}

impl LineOrigin {
    /// Returns the calls and the values as a trace.
    pub fn trace(&self, sources: &Sources) -> Vec<TraceFrame> {
        let call = |span: &Span| TraceFrame { span: *span, text: first_line(sources, *span) };
        let value = |value: &ValueOrigin| {
            let what = if value.varies { "result of" } else { "value" };
            Some(TraceFrame { span: value.span?, text: format!("{what} `{}`", value.path) })
        };
        self.calls.iter().map(call).chain(self.values.iter().filter_map(value)).collect()
    }
}

fn first_line(sources: &Sources, span: Span) -> String {
    let file = sources.get(span.file);
    file.text().get(span.range()).and_then(|text| text.lines().next()).unwrap_or("").trim().to_owned()
}

impl RenderedFile {
    /// Returns where the line of the text at `start` comes from.
    pub(super) fn line_origin(&self, sources: &Sources, start: usize) -> LineOrigin {
        let line = self.text.get(start..).unwrap_or("").split('\n').next().unwrap_or("");
        let at = start + (line.len() - line.trim_start_matches([' ', '\t']).len());
        let end = start + line.trim_end().len();
        let first = self.table.origin(self.pieces.at(at));
        let mut origin = LineOrigin { span: self.span_of_line(sources, start), ..LineOrigin::default() };
        if let Some(first) = first {
            origin.calls = self.calls(first);
        }
        let ids = if at < end { self.ids_within(at, end) } else { Vec::new() };
        for id in ids {
            let Some(piece) = self.table.origin(id) else { continue };
            for (value, derived) in self.values_of(piece) {
                let Some(place) = self.table.value(value) else { continue };
                let value = ValueOrigin { path: place.path.clone(), span: place.span, derived, varies: place.varies };
                if origin.values.len() < MAX_VALUES && !origin.values.contains(&value) && !value.path.is_empty() {
                    origin.values.push(value);
                }
            }
        }
        origin
    }

    /// Returns the ids of the pieces within a line.
    fn ids_within(&self, at: usize, end: usize) -> Vec<OriginId> {
        let next = self.pieces.pieces.partition_point(|(offset, _)| *offset as usize <= at);
        let within = self.pieces.pieces.iter().skip(next).take_while(|(offset, _)| (*offset as usize) < end);
        std::iter::once(self.pieces.at(at)).chain(within.map(|(_, id)| *id)).collect()
    }

    /// The value of a piece, and the values whose text was rendered on the way there.
    fn values_of(&self, piece: Origin) -> Vec<(ValueId, bool)> {
        let mut values = Vec::new();
        let mut next = Some(piece);
        while let Some(origin) = next {
            if origin.value != ValueId(0) {
                values.push((origin.value, origin.derived));
            }
            next = self.table.origin(origin.caller);
        }
        values
    }

    fn calls(&self, first: Origin) -> Vec<Span> {
        let mut calls: Vec<Span> = Vec::new();
        let mut next = self.table.origin(first.caller);
        while let Some(origin) = next {
            let last = calls.last().copied().or(first.span);
            calls.extend(origin.span.filter(|span| last != Some(*span)));
            next = self.table.origin(origin.caller);
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use crate::chart::{LoadOptions, Manifest, RenderOptions, ValuesInput, compose, load, render};
    use crate::diag::Diagnostics;
    use crate::source::{MemoryObjects, Sources, Span};

    const CHART: &[(&str, &str)] = &[
        ("c/Chart.yaml", include_str!("../../testdata/chart/origins/Chart.yaml")),
        ("c/values.yaml", include_str!("../../testdata/chart/origins/values.yaml")),
        ("c/templates/_labels.tpl", include_str!("../../testdata/chart/origins/templates/_labels.tpl")),
        ("c/templates/components.yaml", include_str!("../../testdata/chart/origins/templates/components.yaml")),
    ];

    fn manifests(sources: &Sources) -> Vec<Manifest> {
        let mut diagnostics = Diagnostics::new();
        let files = MemoryObjects::files(CHART.iter().copied());
        let chart = load(&mut diagnostics, sources, &files, "c", &LoadOptions::default()).expect("a chart");
        let values = compose(&mut diagnostics, sources, &chart, &ValuesInput::default()).expect("values");
        let options = RenderOptions { track: true, ..RenderOptions::default() };
        let rendered = render(&mut diagnostics, sources, &values, &options);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        rendered.manifests
    }

    /// Every value of the chart is unlike all others, so the text of a line tells where it must come from.
    #[test]
    fn lines_of_a_large_chart_name_their_template_and_their_values() {
        let sources = Sources::new();
        let token = ::regex::Regex::new("tok-[0-9]+|70[0-9]{3}").unwrap();
        let values_line = |span: Span| {
            let file = sources.get(span.file);
            let line = file.position(span.start).line as usize;
            file.text().lines().nth(line - 1).unwrap_or("").to_owned()
        };
        let (mut lines, mut mapped, mut tokens, mut found) = (0, 0, 0, 0);
        let mut wrong = Vec::new();
        for manifest in manifests(&sources) {
            for (text, origin) in manifest.text.split('\n').zip(&manifest.lines) {
                if text.trim().is_empty() || text.ends_with(':') {
                    continue;
                }
                lines += 1;
                mapped += usize::from(origin.span.is_some_and(|span| span.start < span.end));
                for value in token.find_iter(text) {
                    tokens += 1;
                    let places = origin.values.iter().filter_map(|v| v.span).map(values_line);
                    if places.into_iter().any(|line| line.contains(value.as_str())) {
                        found += 1;
                    } else {
                        wrong.push(text.to_owned());
                    }
                }
            }
        }
        assert!(lines > 200 && tokens > 150, "{lines} lines, {tokens} values");
        assert!(mapped * 100 >= lines * 99, "{mapped} of {lines} lines");
        assert!(found * 100 >= tokens * 99, "{found} of {tokens} values; not {wrong:?}");
    }
}
