//! The events between the parser and the composer, and places in the parsed text.

use std::borrow::Cow;
use std::ops::Range;

use super::tree::Style;

/// A place in the parsed text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes from the start.
    pub(super) offset: usize,
    /// Characters from the start.
    pub(super) index: usize,
    /// Line, from 0.
    pub(super) line: usize,
    /// Characters from the start of the line.
    pub(super) column: usize,
}

/// One step of the parse, with the bytes it covers (relative to the parsed text).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) kind: EventKind<'a>,
    pub(super) bytes: Range<usize>,
}

/// Anchor and tag of a node; the tag is resolved (`tag:yaml.org,2002:int`, `!local`, `!`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Properties<'a> {
    pub(super) anchor: Option<&'a str>,
    pub(super) tag: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum EventKind<'a> {
    StreamEnd,
    DocumentStart,
    DocumentEnd,
    Alias(&'a str),
    Scalar { properties: Properties<'a>, value: Cow<'a, str>, style: Style },
    SequenceStart { properties: Properties<'a>, style: Style },
    SequenceEnd,
    MappingStart { properties: Properties<'a>, style: Style },
    MappingEnd,
}

/// A fault of the text's syntax.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SyntaxError {
    /// The words of libyaml.
    pub(super) problem: &'static str,
    /// The place.
    pub(super) mark: Mark,
    /// What was being read and where it began.
    pub(super) context: Option<(&'static str, Mark)>,
    /// The scanner found it, not the parser.
    pub(super) scanner: bool,
}

impl SyntaxError {
    /// Returns the line that go-yaml names, from 1; `None` when it names none.
    pub(super) fn go_line(&self) -> Option<usize> {
        if self.mark.line != 0 {
            return Some(self.mark.line + usize::from(self.scanner));
        }
        self.context.map(|(_, mark)| mark.line).filter(|line| *line != 0)
    }
}
