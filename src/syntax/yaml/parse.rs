//! From tokens to events: the parser of YAML 1.1 as libyaml reads it.
#![allow(clippy::wildcard_enum_match_arm, reason = "a state names the tokens it wants; every other one is the fault")]

use std::borrow::Cow;

use super::event::{Event, EventKind, Mark, Properties, SyntaxError};
use super::scan::{Scanner, Token, TokenKind};
use super::tree::Style;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceFirstEntry,
    BlockSequenceEntry,
    IndentlessSequenceEntry,
    BlockMappingFirstKey,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceFirstEntry,
    FlowSequenceEntry,
    FlowSequenceEntryMappingKey,
    FlowSequenceEntryMappingValue,
    FlowSequenceEntryMappingEnd,
    FlowMappingFirstKey,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

pub(super) struct Events<'a> {
    scanner: Scanner<'a>,
    state: State,
    states: Vec<State>,
    /// Where the open collections began.
    marks: Vec<Mark>,
    /// Tag handles of the document and what they stand for.
    handles: Vec<(String, String)>,
}

type Outcome<'a> = Result<Event<'a>, SyntaxError>;

fn event(kind: EventKind<'_>, start: Mark, end: Mark) -> Event<'_> {
    Event { kind, bytes: start.offset..end.offset }
}

fn fault(problem: &'static str, mark: Mark, context: Option<(&'static str, Mark)>) -> SyntaxError {
    SyntaxError { problem, mark, context, scanner: false }
}

impl<'a> Events<'a> {
    /// Starts at the beginning of a text without control characters.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            scanner: Scanner::new(text),
            state: State::ImplicitDocumentStart,
            states: Vec::with_capacity(16),
            marks: Vec::with_capacity(16),
            handles: Vec::new(),
        }
    }

    /// Returns the next event; after the end of the stream it stays there.
    pub(super) fn next(&mut self) -> Outcome<'a> {
        match self.state {
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceFirstEntry => self.block_sequence_entry(true),
            State::BlockSequenceEntry => self.block_sequence_entry(false),
            State::IndentlessSequenceEntry => self.indentless_entry(),
            State::BlockMappingFirstKey => self.block_mapping_key(true),
            State::BlockMappingKey => self.block_mapping_key(false),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceFirstEntry => self.flow_sequence_entry(true),
            State::FlowSequenceEntry => self.flow_sequence_entry(false),
            State::FlowSequenceEntryMappingKey => self.flow_pair_key(),
            State::FlowSequenceEntryMappingValue => self.flow_pair_value(),
            State::FlowSequenceEntryMappingEnd => self.flow_pair_end(),
            State::FlowMappingFirstKey => self.flow_mapping_key(true),
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
            State::End => {
                let mark = self.scanner.peek()?.start;
                Ok(event(EventKind::StreamEnd, mark, mark))
            }
        }
    }

    fn pop_state(&mut self) -> State {
        self.states.pop().unwrap_or(State::End)
    }

    fn pop_mark(&mut self) -> Mark {
        self.marks.pop().unwrap_or_default()
    }

    fn peek(&mut self) -> Result<&Token<'a>, SyntaxError> {
        Ok(self.scanner.peek()?)
    }

    fn skip(&mut self) {
        self.scanner.skip();
    }

    fn document_start(&mut self, implicit: bool) -> Outcome<'a> {
        if !implicit {
            while self.peek()?.kind == TokenKind::DocumentEnd {
                self.skip();
            }
        }
        let token = self.peek()?;
        let start = token.start;
        let explicit = matches!(
            token.kind,
            TokenKind::VersionDirective { .. } | TokenKind::TagDirective { .. } | TokenKind::DocumentStart
        );
        if token.kind == TokenKind::StreamEnd {
            let end = token.end;
            self.state = State::End;
            self.skip();
            return Ok(event(EventKind::StreamEnd, start, end));
        }
        if implicit && !explicit {
            self.directives()?;
            self.states.push(State::DocumentEnd);
            self.state = State::BlockNode;
            return Ok(event(EventKind::DocumentStart, start, start));
        }
        self.directives()?;
        let token = self.peek()?;
        let end = token.end;
        if token.kind != TokenKind::DocumentStart {
            return Err(fault("did not find expected <document start>", token.start, None));
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        self.skip();
        Ok(event(EventKind::DocumentStart, start, end))
    }

    fn directives(&mut self) -> Result<(), SyntaxError> {
        let mut versioned = false;
        self.handles.clear();
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            match &mut token.kind {
                TokenKind::VersionDirective { major, minor } => {
                    if versioned {
                        return Err(fault("found duplicate %YAML directive", mark, None));
                    }
                    if (*major, *minor) != (1, 1) {
                        return Err(fault("found incompatible YAML document", mark, None));
                    }
                    versioned = true;
                }
                TokenKind::TagDirective { handle, prefix } => {
                    let pair = (std::mem::take(handle), std::mem::take(prefix));
                    if self.handles.iter().any(|(h, _)| *h == pair.0) {
                        return Err(fault("found duplicate %TAG directive", mark, None));
                    }
                    self.handles.push(pair);
                }
                _ => return Ok(()),
            }
            self.skip();
        }
    }

    fn document_content(&mut self) -> Outcome<'a> {
        let token = self.peek()?;
        let mark = token.start;
        if matches!(
            token.kind,
            TokenKind::VersionDirective { .. }
                | TokenKind::TagDirective { .. }
                | TokenKind::DocumentStart
                | TokenKind::DocumentEnd
                | TokenKind::StreamEnd
        ) {
            self.state = self.pop_state();
            return Ok(empty_scalar(mark));
        }
        self.node(true, false)
    }

    fn document_end(&mut self) -> Outcome<'a> {
        let token = self.peek()?;
        let (start, mut end) = (token.start, token.start);
        if token.kind == TokenKind::DocumentEnd {
            end = token.end;
            self.skip();
        }
        self.handles.clear();
        self.state = State::DocumentStart;
        Ok(event(EventKind::DocumentEnd, start, end))
    }

    fn node(&mut self, block: bool, indentless: bool) -> Outcome<'a> {
        let token = self.scanner.peek()?;
        let (start, mut end) = (token.start, token.start);
        if let TokenKind::Alias(name) = token.kind {
            let end = token.end;
            self.state = self.pop_state();
            self.skip();
            return Ok(event(EventKind::Alias(name), start, end));
        }
        let mut properties = Properties::default();
        let mut tag = None;
        loop {
            let token = self.scanner.peek()?;
            match &mut token.kind {
                TokenKind::Anchor(name) if properties.anchor.is_none() => properties.anchor = Some(*name),
                TokenKind::Tag { handle, suffix } if tag.is_none() => {
                    tag = Some((std::mem::take(handle), std::mem::take(suffix), token.start));
                }
                _ => break,
            }
            end = token.end;
            self.skip();
        }
        if let Some((handle, suffix, mark)) = tag {
            properties.tag = Some(self.resolve_tag(&handle, suffix, start, mark)?);
        }
        let token = self.scanner.peek()?;
        let bare = properties.anchor.is_none() && properties.tag.is_none();
        let sequence = |properties, style| EventKind::SequenceStart { properties, style };
        let mapping = |properties, style| EventKind::MappingStart { properties, style };
        let (state, kind, end) = match &mut token.kind {
            TokenKind::BlockEntry if indentless => {
                (State::IndentlessSequenceEntry, sequence(properties, Style::Block), token.end)
            }
            TokenKind::Scalar { value, style } => {
                let (value, style, end) = (std::mem::take(value), *style, token.end);
                self.state = self.pop_state();
                self.skip();
                return Ok(event(EventKind::Scalar { properties, value, style }, start, end));
            }
            TokenKind::FlowSequenceStart => {
                (State::FlowSequenceFirstEntry, sequence(properties, Style::Flow), token.end)
            }
            TokenKind::FlowMappingStart => (State::FlowMappingFirstKey, mapping(properties, Style::Flow), token.end),
            TokenKind::BlockSequenceStart if block => {
                (State::BlockSequenceFirstEntry, sequence(properties, Style::Block), token.end)
            }
            TokenKind::BlockMappingStart if block => {
                (State::BlockMappingFirstKey, mapping(properties, Style::Block), token.end)
            }
            _ if !bare => {
                self.state = self.pop_state();
                let value = Cow::Borrowed("");
                return Ok(event(EventKind::Scalar { properties, value, style: Style::Plain }, start, end));
            }
            _ => {
                let context = if block { "while parsing a block node" } else { "while parsing a flow node" };
                return Err(fault("did not find expected node content", token.start, Some((context, start))));
            }
        };
        self.state = state;
        Ok(event(kind, start, end))
    }

    fn resolve_tag(&self, handle: &str, suffix: String, start: Mark, mark: Mark) -> Result<String, SyntaxError> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let known = self.handles.iter().find(|(h, _)| h == handle).map(|(_, prefix)| prefix.as_str());
        let prefix = known.or(match handle {
            "!" => Some("!"),
            "!!" => Some("tag:yaml.org,2002:"),
            _ => None,
        });
        match prefix {
            Some(prefix) => Ok(format!("{prefix}{suffix}")),
            None => Err(fault("found undefined tag handle", mark, Some(("while parsing a node", start)))),
        }
    }

    /// Opens a collection: its first token is taken and its place remembered.
    fn enter(&mut self) -> Result<(), SyntaxError> {
        let mark = self.peek()?.start;
        self.marks.push(mark);
        self.skip();
        Ok(())
    }

    /// Closes the collection that the head of the queue ends.
    fn leave(&mut self, kind: EventKind<'a>) -> Outcome<'a> {
        let token = self.peek()?;
        let (start, end) = (token.start, token.end);
        self.state = self.pop_state();
        self.pop_mark();
        self.skip();
        Ok(event(kind, start, end))
    }

    fn block_sequence_entry(&mut self, first: bool) -> Outcome<'a> {
        if first {
            self.enter()?;
        }
        let token = self.peek()?;
        match token.kind {
            TokenKind::BlockEntry => {
                let mark = token.end;
                self.skip();
                if matches!(self.peek()?.kind, TokenKind::BlockEntry | TokenKind::BlockEnd) {
                    self.state = State::BlockSequenceEntry;
                    return Ok(empty_scalar(mark));
                }
                self.states.push(State::BlockSequenceEntry);
                self.node(true, false)
            }
            TokenKind::BlockEnd => self.leave(EventKind::SequenceEnd),
            _ => {
                let mark = token.start;
                let context = Some(("while parsing a block collection", self.pop_mark()));
                Err(fault("did not find expected '-' indicator", mark, context))
            }
        }
    }

    fn indentless_entry(&mut self) -> Outcome<'a> {
        let token = self.peek()?;
        if token.kind != TokenKind::BlockEntry {
            let mark = token.start;
            self.state = self.pop_state();
            return Ok(event(EventKind::SequenceEnd, mark, mark));
        }
        let mark = token.end;
        self.skip();
        if matches!(self.peek()?.kind, TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd)
        {
            self.state = State::IndentlessSequenceEntry;
            return Ok(empty_scalar(mark));
        }
        self.states.push(State::IndentlessSequenceEntry);
        self.node(true, false)
    }

    fn block_mapping_key(&mut self, first: bool) -> Outcome<'a> {
        if first {
            self.enter()?;
        }
        let token = self.peek()?;
        match token.kind {
            TokenKind::Key => {
                let mark = token.end;
                self.skip();
                if matches!(self.peek()?.kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd) {
                    self.state = State::BlockMappingValue;
                    return Ok(empty_scalar(mark));
                }
                self.states.push(State::BlockMappingValue);
                self.node(true, true)
            }
            TokenKind::BlockEnd => self.leave(EventKind::MappingEnd),
            _ => {
                let mark = token.start;
                let context = Some(("while parsing a block mapping", self.pop_mark()));
                Err(fault("did not find expected key", mark, context))
            }
        }
    }

    fn block_mapping_value(&mut self) -> Outcome<'a> {
        let token = self.peek()?;
        if token.kind != TokenKind::Value {
            let mark = token.start;
            self.state = State::BlockMappingKey;
            return Ok(empty_scalar(mark));
        }
        let mark = token.end;
        self.skip();
        if matches!(self.peek()?.kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd) {
            self.state = State::BlockMappingKey;
            return Ok(empty_scalar(mark));
        }
        self.states.push(State::BlockMappingKey);
        self.node(true, true)
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Outcome<'a> {
        if first {
            self.enter()?;
        }
        let mut token = self.peek()?;
        if token.kind != TokenKind::FlowSequenceEnd {
            if !first {
                if token.kind != TokenKind::FlowEntry {
                    let mark = token.start;
                    let context = Some(("while parsing a flow sequence", self.pop_mark()));
                    return Err(fault("did not find expected ',' or ']'", mark, context));
                }
                self.skip();
                token = self.peek()?;
            }
            let (start, end) = (token.start, token.end);
            if token.kind == TokenKind::Key {
                self.state = State::FlowSequenceEntryMappingKey;
                self.skip();
                let kind = EventKind::MappingStart { properties: Properties::default(), style: Style::Flow };
                return Ok(event(kind, start, end));
            }
            if token.kind != TokenKind::FlowSequenceEnd {
                self.states.push(State::FlowSequenceEntry);
                return self.node(false, false);
            }
        }
        self.leave(EventKind::SequenceEnd)
    }

    fn flow_pair_key(&mut self) -> Outcome<'a> {
        let token = self.peek()?;
        if matches!(token.kind, TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd) {
            let mark = token.end;
            self.skip();
            self.state = State::FlowSequenceEntryMappingValue;
            return Ok(empty_scalar(mark));
        }
        self.states.push(State::FlowSequenceEntryMappingValue);
        self.node(false, false)
    }

    fn flow_pair_value(&mut self) -> Outcome<'a> {
        if self.peek()?.kind == TokenKind::Value {
            self.skip();
            if !matches!(self.peek()?.kind, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd) {
                self.states.push(State::FlowSequenceEntryMappingEnd);
                return self.node(false, false);
            }
        }
        let mark = self.peek()?.start;
        self.state = State::FlowSequenceEntryMappingEnd;
        Ok(empty_scalar(mark))
    }

    fn flow_pair_end(&mut self) -> Outcome<'a> {
        let mark = self.peek()?.start;
        self.state = State::FlowSequenceEntry;
        Ok(event(EventKind::MappingEnd, mark, mark))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Outcome<'a> {
        if first {
            self.enter()?;
        }
        let mut token = self.peek()?;
        if token.kind != TokenKind::FlowMappingEnd {
            if !first {
                if token.kind != TokenKind::FlowEntry {
                    let mark = token.start;
                    let context = Some(("while parsing a flow mapping", self.pop_mark()));
                    return Err(fault("did not find expected ',' or '}'", mark, context));
                }
                self.skip();
                token = self.peek()?;
            }
            if token.kind == TokenKind::Key {
                self.skip();
                let token = self.peek()?;
                if !matches!(token.kind, TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                    self.states.push(State::FlowMappingValue);
                    return self.node(false, false);
                }
                let mark = token.start;
                self.state = State::FlowMappingValue;
                return Ok(empty_scalar(mark));
            }
            if token.kind != TokenKind::FlowMappingEnd {
                self.states.push(State::FlowMappingEmptyValue);
                return self.node(false, false);
            }
        }
        self.leave(EventKind::MappingEnd)
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Outcome<'a> {
        let token = self.peek()?;
        let mark = token.start;
        if !empty && token.kind == TokenKind::Value {
            self.skip();
            let token = self.peek()?;
            if !matches!(token.kind, TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey);
                return self.node(false, false);
            }
            let mark = token.start;
            self.state = State::FlowMappingKey;
            return Ok(empty_scalar(mark));
        }
        self.state = State::FlowMappingKey;
        Ok(empty_scalar(mark))
    }
}

fn empty_scalar<'a>(mark: Mark) -> Event<'a> {
    let properties = Properties::default();
    event(EventKind::Scalar { properties, value: Cow::Borrowed(""), style: Style::Plain }, mark, mark)
}
