//! Why a rendering stopped: structured, with the place, the calls that led there and the cause.

use crate::diag::{Diagnostic, TraceFrame, rules};
use crate::source::Span;

/// A failed rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// What is wrong, without the place: `nil pointer evaluating interface {}.x`.
    pub message: String,
    /// The node that failed, as the template engine of Go would print it: `.Values.nope.x`.
    pub node: String,
    /// The template that was running: a path or the name of a `define`.
    pub template: String,
    /// The place.
    pub span: Option<Span>,
    /// Whether the author of the template said it (`fail`, `required`).
    pub refused: bool,
    /// The calls that led there, innermost first.
    pub trace: Vec<TraceFrame>,
}

impl RenderError {
    /// Makes an error that knows no place yet.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            node: String::new(),
            template: String::new(),
            span: None,
            refused: false,
            trace: Vec::new(),
        }
    }

    /// Returns the diagnostic that tells it.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let diagnostic = match self.span {
            Some(span) => Diagnostic::at(&rules::TEMPLATE_ERROR, span, self.message.clone()),
            None => Diagnostic::in_file(&rules::TEMPLATE_ERROR, self.template.clone(), self.message.clone()),
        };
        diagnostic.traced(self.trace.iter().cloned())
    }
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.refused {
            return write!(f, "{}", self.message);
        }
        write!(f, "in {:?} at <{}>: {}", self.template, self.node, self.message)
    }
}

impl std::error::Error for RenderError {}
