//! Why a rendering stopped: structured, with the place, the calls that led there and the cause.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::diag::{Diagnostic, TraceFrame, rules};
use crate::source::{Sources, Span};

/// How the name of a text ends that a template gave to `tpl`.
pub(super) const TPL_MARK: &str = " (tpl)";

/// A failed rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// What is wrong, without the place: `nil pointer evaluating interface {}.x`.
    pub message: String,
    /// Whether the author of the template said it (`fail`, `required`).
    pub refused: bool,
    /// Where it happened and the calls that led there, innermost first.
    pub levels: Vec<Level>,
    /// The value that was read last at that place; told when reads are tracked.
    pub read: Option<ReadValue>,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

/// A value that a failing action had read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadValue {
    /// Its path.
    pub path: String,
    /// Where it, or the table that lacks it, was written.
    pub span: Option<Span>,
    /// Whether it is there.
    pub is_set: bool,
}

/// A place in a running template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The template that was running: a path or the name of a `define`.
    pub template: Arc<str>,
    /// The node, as Go would print it: `.Values.nope.x`.
    pub node: String,
    /// The node.
    pub span: Span,
    /// The offset that Go names for the node.
    pub position: u32,
    /// What this level did when a level below failed, in Go's words: `error calling include: `; empty innermost.
    pub via: String,
}

impl RenderError {
    /// Makes an error that knows no place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: false, levels: Vec::new(), read: None, hint: None }
    }

    /// Returns the diagnostic that tells it, with the calls as its trace.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let mut levels = self.levels.iter();
        let diagnostic = match levels.next() {
            Some(level) => Diagnostic::at(&rules::TEMPLATE_ERROR, level.span, self.message.clone()),
            None => Diagnostic::in_file(&rules::TEMPLATE_ERROR, "", self.message.clone()),
        };
        let hint = self.hint.clone().or_else(|| hints(&self.message));
        let diagnostic = hint.into_iter().fold(diagnostic, Diagnostic::hint);
        let calls = levels.map(|level| TraceFrame { span: level.span, text: level.node.clone() });
        let value = self.read.iter().filter_map(|read| {
            let text = match (read.is_set, read.path.rsplit_once('.')) {
                (true, _) => format!("value `{}`", read.path),
                (false, Some((table, key))) => format!("value `{table}`, which has no `{key}`,"),
                (false, None) => return None,
            };
            Some(TraceFrame { span: read.span?, text })
        });
        diagnostic.traced(calls.chain(value))
    }

    /// Returns the words of Helm 3 for it.
    pub fn helm_text(&self, sources: &Sources) -> String {
        let place = |level: &Level| {
            let file = sources.get(level.span.file);
            let before = file.text().get(..level.position as usize).unwrap_or("");
            let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1);
            let name = if file.path().ends_with(TPL_MARK) { "gotpl" } else { file.path() };
            format!("{name}:{}:{column}", before.matches('\n').count() + 1)
        };
        let mut out = String::new();
        if self.refused {
            let outermost = self.levels.last().map(place).unwrap_or_default();
            return format!("execution error at ({outermost}): {}", self.message);
        }
        for level in self.levels.iter().rev() {
            let (place, template) = (place(level), &level.template);
            let _ = write!(out, "template: {place}: executing {template:?} at <{}>: {}", level.node, level.via);
        }
        out + &self.message
    }
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.levels.first() {
            Some(level) if !self.refused => {
                write!(f, "in {:?} at <{}>: {}", level.template, level.node, self.message)
            }
            _ => write!(f, "{}", self.message),
        }
    }
}

impl std::error::Error for RenderError {}

/// Says what is there instead of a function of werf that these templates do not have.
pub(super) fn instead_of(function: &str) -> Option<&'static str> {
    match function {
        "werf_container_image" | "werf_image" => {
            Some("that is of werf 1.1: write `image: {{ .Values.werf.image.NAME }}`")
        }
        "werf_container_env" => Some("that is of werf 1.1: it is not needed any more, take the line out"),
        "werf_secret_file" => Some("secret files are known to the charts of projects: use `stagewright render`"),
        _ => None,
    }
}

/// Returns what to do, where the words of an error say it.
fn hints(message: &str) -> Option<String> {
    let undefined = message.split_once("function \"").and_then(|(_, rest)| rest.split_once("\" not defined"));
    if let Some(instead) = undefined.and_then(|(name, _)| instead_of(name)) {
        return Some(instead.to_owned());
    }
    if message.ends_with("expected string; got interface {}") || message.ends_with("invalid value; expected string") {
        return Some("the value is not set: set it in the values or with `--set`, or give it a `default`".to_owned());
    }
    let (_, field) = message.split_once("nil pointer evaluating interface {}.")?;
    Some(format!(
        "what stands before `.{field}` is not set: set it in the values, or guard it with `if`, `with` or `default`"
    ))
}

/// Prints the source of a node as Go prints the node: one space between operands, none inside parentheses.
pub(super) fn canonical(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars();
    let mut space = false;
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            space = true;
            continue;
        }
        let tight = out.is_empty() || out.ends_with('(') || matches!(c, ')' | ',');
        if (space || c == '|' || out.ends_with('|')) && !tight {
            out.push(' ');
        }
        space = false;
        out.push(c);
        if matches!(c, '"' | '`' | '\'') {
            while let Some(inner) = chars.next() {
                out.push(inner);
                if inner == '\\' && c != '`' {
                    out.extend(chars.next());
                } else if inner == c {
                    break;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn nodes_are_printed_as_go_prints_them() {
        assert_eq!(canonical("( a  \"x  y\"|b )"), "(a \"x  y\" | b)");
    }
}
