//! Events of the libyaml parser.

use libyaml_safer::{Error, ErrorKind, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use super::event::{Event, EventKind, Properties, SyntaxError};
use super::tree::Style;

pub(super) struct Events<'a> {
    parser: Parser<&'a [u8]>,
    length: usize,
}

impl<'a> Events<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes());
        Self { parser, length: text.len() }
    }

    pub(super) fn next(&mut self) -> Result<Event, SyntaxError> {
        loop {
            let event = self.parser.parse().map_err(|e| self.fault(&e))?;
            let bytes = event.start_mark.index as usize..event.end_mark.index as usize;
            let kind = match event.data {
                EventData::StreamStart { .. } => continue,
                EventData::StreamEnd => EventKind::StreamEnd,
                EventData::DocumentStart { .. } => EventKind::DocumentStart,
                EventData::DocumentEnd { .. } => EventKind::DocumentEnd,
                EventData::Alias { anchor } => EventKind::Alias(anchor),
                EventData::Scalar { anchor, tag, value, style, .. } => {
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

    fn fault(&self, error: &Error) -> SyntaxError {
        let at = |index: u64| (index as usize).min(self.length)..(index as usize).min(self.length);
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
