//! The events between the parser and the composer.

use std::ops::Range;

use super::tree::Style;

/// One step of the parse, with the bytes it covers (relative to the parsed text).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) bytes: Range<usize>,
}

/// Anchor and tag of a node; the tag is resolved (`tag:yaml.org,2002:int`, `!local`, `!`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Properties {
    pub(super) anchor: Option<String>,
    pub(super) tag: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum EventKind {
    StreamEnd,
    DocumentStart,
    DocumentEnd,
    Alias(String),
    Scalar { properties: Properties, value: String, style: Style },
    SequenceStart { properties: Properties, style: Style },
    SequenceEnd,
    MappingStart { properties: Properties, style: Style },
    MappingEnd,
}

/// A fault of the text's syntax.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SyntaxError {
    /// The words of libyaml.
    pub(super) problem: &'static str,
    /// The bytes at fault.
    pub(super) bytes: Range<usize>,
    /// What was being read and where it began.
    pub(super) context: Option<(&'static str, Range<usize>)>,
    /// The line that go-yaml would name, from 1; 0 when it names none.
    pub(super) go_line: usize,
}
