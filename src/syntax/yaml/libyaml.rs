//! Events of the libyaml parser.

use std::io::{Chain, Read};

use libyaml_safer::{Error, ErrorKind, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use super::event::{Event, EventKind, Properties, SyntaxError};
use super::tree::Style;

pub(super) struct Events<'a> {
    parser: Parser<Chain<&'a [u8], &'static [u8]>>,
    text: &'a str,
    /// Whether the parser is shown a last line break that the text does not have.
    completed: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // The parser panics on a block scalar whose last line has no line break: it is shown one.
        let completed = !text.ends_with('\n') && text.contains(['|', '>']);
        let end: &[u8] = if completed { b"\n" } else { b"" };
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes().chain(end));
        Self { parser, text, completed }
    }

    pub(super) fn next(&mut self) -> Result<Event, SyntaxError> {
        loop {
            let event = self.parser.parse().map_err(|e| self.fault(&e))?;
            let length = self.text.len();
            let bytes = (event.start_mark.index as usize).min(length)..(event.end_mark.index as usize).min(length);
            let kind = match event.data {
                EventData::StreamStart { .. } => continue,
                EventData::StreamEnd => EventKind::StreamEnd,
                EventData::DocumentStart { .. } => EventKind::DocumentStart,
                EventData::DocumentEnd { .. } => EventKind::DocumentEnd,
                EventData::Alias { anchor } => EventKind::Alias(anchor),
                EventData::Scalar { anchor, tag, mut value, style, .. } => {
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    if self.completed && is_block && bytes.end == length && self.ends_in(bytes.start) {
                        value.truncate(value.strip_suffix('\n').map_or(value.len(), str::len));
                    }
                    let style = match style {
                        ScalarStyle::SingleQuoted => Style::SingleQuoted,
                        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                        ScalarStyle::Literal => Style::Literal,
                        ScalarStyle::Folded => Style::Folded,
                        _ => Style::Plain,
                    };
                    EventKind::Scalar { properties: Properties { anchor, tag }, value, style }
                }
                EventData::SequenceStart { anchor, tag, style, .. } => {
                    let style = if style == SequenceStyle::Flow { Style::Flow } else { Style::Block };
                    EventKind::SequenceStart { properties: Properties { anchor, tag }, style }
                }
                EventData::SequenceEnd => EventKind::SequenceEnd,
                EventData::MappingStart { anchor, tag, style, .. } => {
                    let style = if style == MappingStyle::Flow { Style::Flow } else { Style::Block };
                    EventKind::MappingStart { properties: Properties { anchor, tag }, style }
                }
                EventData::MappingEnd => EventKind::MappingEnd,
            };
            return Ok(Event { kind, bytes });
        }
    }

    /// Says whether the added line break became part of the block scalar at `start`, which reaches to the end.
    fn ends_in(&self, start: usize) -> bool {
        let scalar = self.text.get(start..).unwrap_or("");
        let last = scalar.rsplit('\n').next().unwrap_or("");
        if !last.trim_matches(' ').is_empty() {
            return true;
        }
        let header = scalar.lines().next().unwrap_or("");
        let content = scalar.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or("");
        let indent = content.len() - content.trim_start_matches(' ').len();
        header.contains('+') || last.len() > indent
    }

    fn fault(&self, error: &Error) -> SyntaxError {
        let length = self.text.len();
        let at = |index: u64| (index as usize).min(length)..(index as usize).min(length);
        let scanner = usize::from(error.kind() == ErrorKind::Scanner);
        let lines = [error.context_mark(), error.problem_mark()].into_iter().flatten();
        let line = lines.map(|m| m.line as usize).find(|l| *l != 0).map_or(0, |l| l + scanner);
        SyntaxError {
            problem: error.problem(),
            bytes: at(error.problem_mark().map_or(0, |m| m.index)),
            context: error.context().zip(error.context_mark()).map(|(c, m)| (c, at(m.index))),
            go_line: line,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::FileId;
    use crate::syntax::yaml::{Options, decode};

    /// Vouched for by Helm 3.20.0, `fromYaml`.
    #[test]
    fn a_block_scalar_may_end_without_a_line_break() {
        let cases = [
            ("a: |\n  x", "x"),
            ("a: |\n  x\n  ", "x\n"),
            ("a: |\n  x\n     ", "x\n   "),
            ("a: |+\n  x", "x"),
            ("a: >\n  x\n  y", "x y"),
            ("a: |+\n  x\n  ", "x\n"),
            ("a: |-\n  x", "x"),
            ("a: |\n  ", ""),
            ("a: |", ""),
        ];
        for (text, expected) in cases {
            let node = decode(text, FileId(0), 0, Options::HELM).unwrap();
            assert_eq!(node.get("a").and_then(|a| a.as_str()), Some(expected), "{text:?}");
            assert!(node.span.end as usize <= text.len());
        }
    }
}
