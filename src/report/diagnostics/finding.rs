//! A diagnostic with its places resolved: the public JSON, and what the other formats are made from.

use serde::Serialize;

use crate::diag::{Diagnostic, Severity};
use crate::source::{Position, Sources, Span};

/// A diagnostic with its places resolved. Unit: lines and columns from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// Path relative to the project; absent when the finding has no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// One past the last column.
    pub end_column: u32,
    /// One sentence: what is wrong.
    pub message: String,
    /// The words beside the marked place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What to do.
    pub hints: Vec<String>,
    /// The calls that led there, innermost first.
    pub trace: Vec<Frame>,
}

/// A place on the way to a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Path relative to the project.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// What was called.
    pub text: String,
}

/// Resolves the places of diagnostics.
pub fn findings(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<Finding> {
    diagnostics.iter().map(|d| finding(d, sources)).collect()
}

/// Returns a JSON array of findings, pretty printed, with a newline at the end.
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    super::super::pretty_json(&findings(diagnostics, sources))
}

fn finding(diagnostic: &Diagnostic, sources: &Sources) -> Finding {
    let primary = diagnostic.primary.as_ref();
    let (file, start, end) = primary.map_or_else(
        || (diagnostic.path.clone(), Position { line: 1, column: 1 }, Position { line: 1, column: 1 }),
        |label| ends(label.span, sources),
    );
    Finding {
        rule: diagnostic.rule.name,
        severity: diagnostic.severity,
        file,
        line: start.line,
        column: start.column,
        end_line: end.line,
        end_column: end.column,
        message: diagnostic.message.clone(),
        label: primary.map(|l| l.text.clone()).unwrap_or_default(),
        hints: diagnostic.hints.clone(),
        trace: diagnostic.trace.iter().map(|f| frame(f.span, &f.text, sources)).collect(),
    }
}

fn ends(span: Span, sources: &Sources) -> (Option<String>, Position, Position) {
    let file = sources.get(span.file);
    (Some(file.path().to_owned()), file.position(span.start), file.position(span.end))
}

fn frame(span: Span, text: &str, sources: &Sources) -> Frame {
    let (file, at) = sources.locate(span);
    Frame { file, line: at.line, column: at.column, text: text.to_owned() }
}
