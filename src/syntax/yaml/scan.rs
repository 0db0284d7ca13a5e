//! From text to tokens: the scanner of YAML 1.1 as libyaml and go-yaml v2 read it.
//!
//! The one idea: whether a scalar is a mapping key is known only when its `:` comes. So a place where a key may stand is
//! remembered ([`SimpleKey`]), and the tokens that begin the mapping are put into the queue before it, later.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::compose::MAX_DEPTH;
use super::event::{Mark, SyntaxError};
use super::tree::Style;

/// A key must end within so many characters. Source: YAML 1.1.
const LONGEST_KEY: usize = 1_024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    StreamEnd,
    VersionDirective { major: u32, minor: u32 },
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag { handle: String, suffix: String },
    Scalar { value: Cow<'a, str>, style: Style },
}

#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) start: Mark,
    pub(super) end: Mark,
}

/// A place where a key may have begun.
#[derive(Clone, Copy, Debug)]
struct SimpleKey {
    possible: bool,
    /// Nothing but a key can stand there.
    required: bool,
    /// The number of the token, counted from the start of the text.
    number: usize,
    mark: Mark,
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: Mark,
    queue: VecDeque<Token<'a>>,
    /// How many tokens were taken.
    taken: usize,
    /// The head of the queue is final.
    ready: bool,
    ended: bool,
    /// Column of the open block collection; -1 outside.
    indent: i64,
    indents: Vec<i64>,
    key_allowed: bool,
    /// One for the block context, and one for each open flow collection; numbers grow.
    keys: Vec<SimpleKey>,
}

type Step = Result<(), SyntaxError>;

/// Says whether a byte may stand in anchors, tag handles and directive names.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of a text without control characters.
    pub(super) fn new(text: &'a str) -> Self {
        let mark = Mark::default();
        Self {
            text,
            at: mark,
            queue: VecDeque::with_capacity(8),
            taken: 0,
            ready: false,
            ended: false,
            indent: -1,
            indents: Vec::new(),
            key_allowed: true,
            keys: vec![SimpleKey { possible: false, required: false, number: 0, mark }],
        }
    }

    /// Returns the next token without taking it. After the end of the stream it stays there.
    pub(super) fn peek(&mut self) -> Result<&mut Token<'a>, SyntaxError> {
        if !self.ready {
            self.fetch_more()?;
        }
        let end = Token { kind: TokenKind::StreamEnd, start: self.at, end: self.at };
        if self.queue.is_empty() {
            self.queue.push_back(end);
        }
        Ok(self.queue.front_mut().expect("a token was put there"))
    }

    /// Takes the token that was looked at.
    pub(super) fn skip(&mut self) {
        self.ready = false;
        self.taken += 1;
        self.queue.pop_front();
    }

    fn fetch_more(&mut self) -> Step {
        loop {
            if !self.queue.is_empty() {
                let found = self.keys.binary_search_by_key(&self.taken, |k| k.number);
                let Ok(index) = found else { break };
                if !self.key_is_valid(index)? {
                    break;
                }
            }
            if self.ended {
                break;
            }
            self.fetch()?;
        }
        self.ready = true;
        Ok(())
    }

    // ---- characters

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at.offset + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at.offset..).unwrap_or("")
    }

    fn is_end(&self) -> bool {
        self.at.offset >= self.text.len()
    }

    fn break_at(&self, ahead: usize) -> bool {
        match self.byte(ahead) {
            b'\n' | b'\r' => true,
            0xc2 => self.byte(ahead + 1) == 0x85,
            0xe2 => self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xa8 | 0xa9),
            _ => false,
        }
    }

    fn is_break(&self) -> bool {
        self.break_at(0)
    }

    fn is_blank(&self) -> bool {
        matches!(self.byte(0), b' ' | b'\t')
    }

    /// Says whether there is white space, a line break or the end.
    fn blank_or_end_at(&self, ahead: usize) -> bool {
        let end = self.at.offset + ahead >= self.text.len();
        end || matches!(self.byte(ahead), b' ' | b'\t') || self.break_at(ahead)
    }

    /// Takes one character that is no line break.
    fn advance(&mut self) {
        let width = match self.byte(0) {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..=0xff => 4,
        };
        self.at.offset = (self.at.offset + width).min(self.text.len());
        self.at.column += 1;
        self.at.index += 1;
    }

    fn advance_by(&mut self, ascii: usize) {
        self.at.offset += ascii;
        self.at.column += ascii;
        self.at.index += ascii;
    }

    fn skip_line(&mut self) {
        let width = match self.byte(0) {
            b'\r' if self.byte(1) == b'\n' => 2,
            b'\r' | b'\n' => 1,
            0xc2 => 2,
            _ => 3,
        };
        self.at.index += if width == 2 && self.byte(0) == b'\r' { 2 } else { 1 };
        self.at.offset += width;
        self.at.column = 0;
        self.at.line += 1;
    }

    /// Takes a line break, if there is one, and writes it: U+2028 and U+2029 stay, the others become a line feed.
    fn read_line(&mut self, out: &mut String) {
        if !self.is_break() {
            return;
        }
        match (self.byte(0), self.byte(2)) {
            (0xe2, 0xa8) => out.push('\u{2028}'),
            (0xe2, _) => out.push('\u{2029}'),
            _ => out.push('\n'),
        }
        self.skip_line();
    }

    fn fault(&self, context: &'static str, start: Mark, problem: &'static str) -> SyntaxError {
        let context = if context.is_empty() { None } else { Some((context, start)) };
        SyntaxError { problem, mark: self.at, context, scanner: true }
    }

    fn is_document_mark(&self) -> bool {
        self.at.column == 0
            && matches!(self.text.as_bytes().get(self.at.offset..self.at.offset + 3), Some(b"---" | b"..."))
            && self.blank_or_end_at(3)
    }

    // ---- structure

    fn push(&mut self, kind: TokenKind<'a>, start: Mark) {
        self.queue.push_back(Token { kind, start, end: self.at });
    }

    fn in_flow(&self) -> bool {
        self.keys.len() > 1
    }

    fn key_is_valid(&mut self, index: usize) -> Result<bool, SyntaxError> {
        let (line, position) = (self.at.line, self.at.index);
        let Some(key) = self.keys.get_mut(index) else { return Ok(false) };
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < line || key.mark.index + LONGEST_KEY < position {
            if key.required {
                let mark = key.mark;
                return Err(self.fault("while scanning a simple key", mark, "could not find expected ':'"));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_key(&mut self) -> Step {
        if self.key_allowed {
            self.remove_key()?;
            let required = !self.in_flow() && self.indent == self.at.column as i64;
            let number = self.taken + self.queue.len();
            let mark = self.at;
            if let Some(key) = self.keys.last_mut() {
                *key = SimpleKey { possible: true, required, number, mark };
            }
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Step {
        let Some(key) = self.keys.last_mut() else { return Ok(()) };
        if key.possible && key.required {
            let mark = key.mark;
            return Err(self.fault("while scanning a simple key", mark, "could not find expected ':'"));
        }
        key.possible = false;
        Ok(())
    }

    fn roll_indent(&mut self, column: usize, number: Option<usize>, kind: TokenKind<'a>, mark: Mark) -> Step {
        let column = column as i64;
        if self.in_flow() || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_DEPTH as usize {
            return Err(self.fault("while increasing indent level", mark, "exceeded max depth of 1000"));
        }
        let token = Token { kind, start: mark, end: mark };
        match number {
            Some(number) => self.queue.insert((number - self.taken).min(self.queue.len()), token),
            None => self.queue.push_back(token),
        }
        Ok(())
    }

    fn unroll_indent(&mut self, column: i64) {
        if self.in_flow() {
            return;
        }
        while self.indent > column {
            self.push(TokenKind::BlockEnd, self.at);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn fetch(&mut self) -> Step {
        self.skip_to_token();
        self.unroll_indent(self.at.column as i64);
        if self.is_end() {
            return self.fetch_end();
        }
        if self.at.column == 0 && self.byte(0) == b'%' {
            return self.fetch_directive();
        }
        if self.is_document_mark() {
            return self.fetch_document_mark();
        }
        let (flow, spaced) = (self.in_flow(), self.blank_or_end_at(1));
        match self.byte(0) {
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => {
                self.remove_key()?;
                self.key_allowed = true;
                self.take_indicator(TokenKind::FlowEntry);
                Ok(())
            }
            b'-' if spaced => self.fetch_block_entry(),
            b'?' if flow || spaced => self.fetch_key(),
            b':' if flow || spaced => self.fetch_value(),
            b'*' | b'&' => self.fetch_anchor(),
            b'!' => self.fetch_tag(),
            b'|' if !flow => self.fetch_block_scalar(Style::Literal),
            b'>' if !flow => self.fetch_block_scalar(Style::Folded),
            b'\'' => self.fetch_quoted(Style::SingleQuoted),
            b'"' => self.fetch_quoted(Style::DoubleQuoted),
            b'?' | b':' if !flow => self.fetch_plain(),
            b' ' | b'\t' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => Err(self.fault(
                "while scanning for the next token",
                self.at,
                "found character that cannot start any token",
            )),
            _ => self.fetch_plain(),
        }
    }

    /// Skips white space, comments and line breaks.
    fn skip_to_token(&mut self) {
        loop {
            while self.byte(0) == b' ' || (self.byte(0) == b'\t' && (self.in_flow() || !self.key_allowed)) {
                self.advance_by(1);
            }
            if self.byte(0) == b'#' {
                self.skip_comment();
            }
            if !self.is_break() {
                return;
            }
            self.skip_line();
            if !self.in_flow() {
                self.key_allowed = true;
            }
        }
    }

    fn skip_comment(&mut self) {
        while !self.is_end() && !self.is_break() {
            self.advance();
        }
    }

    fn fetch_end(&mut self) -> Step {
        if self.at.column != 0 {
            self.at.column = 0;
            self.at.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_key()?;
        self.key_allowed = false;
        self.ended = true;
        self.push(TokenKind::StreamEnd, self.at);
        Ok(())
    }

    fn take_indicator(&mut self, kind: TokenKind<'a>) {
        let start = self.at;
        self.advance();
        self.push(kind, start);
    }

    fn fetch_document_mark(&mut self) -> Step {
        self.unroll_indent(-1);
        self.remove_key()?;
        self.key_allowed = false;
        let kind = if self.byte(0) == b'-' { TokenKind::DocumentStart } else { TokenKind::DocumentEnd };
        let start = self.at;
        self.advance_by(3);
        self.push(kind, start);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind<'a>) -> Step {
        self.save_key()?;
        if self.keys.len() > MAX_DEPTH as usize {
            return Err(self.fault("while increasing flow level", self.at, "exceeded max depth of 1000"));
        }
        let number = self.taken + self.queue.len() + 1;
        self.keys.push(SimpleKey { possible: false, required: false, number, mark: self.at });
        self.key_allowed = true;
        self.take_indicator(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind<'a>) -> Step {
        self.remove_key()?;
        if self.in_flow() {
            self.keys.pop();
        }
        self.key_allowed = false;
        self.take_indicator(kind);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Step {
        if !self.in_flow() {
            if !self.key_allowed {
                let problem = "block sequence entries are not allowed in this context";
                return Err(self.fault("", self.at, problem));
            }
            self.roll_indent(self.at.column, None, TokenKind::BlockSequenceStart, self.at)?;
        }
        self.remove_key()?;
        self.key_allowed = true;
        self.take_indicator(TokenKind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Step {
        if !self.in_flow() {
            if !self.key_allowed {
                return Err(self.fault("", self.at, "mapping keys are not allowed in this context"));
            }
            self.roll_indent(self.at.column, None, TokenKind::BlockMappingStart, self.at)?;
        }
        self.remove_key()?;
        self.key_allowed = !self.in_flow();
        self.take_indicator(TokenKind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Step {
        let last = self.keys.len() - 1;
        if self.key_is_valid(last)?
            && let Some(key) = self.keys.get_mut(last)
        {
            key.possible = false;
            let SimpleKey { number, mark, .. } = *key;
            let token = Token { kind: TokenKind::Key, start: mark, end: mark };
            self.queue.insert((number - self.taken).min(self.queue.len()), token);
            self.roll_indent(mark.column, Some(number), TokenKind::BlockMappingStart, mark)?;
            self.key_allowed = false;
        } else {
            if !self.in_flow() {
                if !self.key_allowed {
                    return Err(self.fault("", self.at, "mapping values are not allowed in this context"));
                }
                self.roll_indent(self.at.column, None, TokenKind::BlockMappingStart, self.at)?;
            }
            self.key_allowed = !self.in_flow();
        }
        self.take_indicator(TokenKind::Value);
        Ok(())
    }

    // ---- directives, anchors, tags

    fn skip_words(&mut self) -> &'a str {
        let length = self.rest().bytes().take_while(|b| is_word(*b)).count();
        let word = self.rest().get(..length).unwrap_or("");
        self.advance_by(length);
        word
    }

    fn skip_blanks(&mut self) {
        while self.is_blank() {
            self.advance_by(1);
        }
    }

    fn fetch_directive(&mut self) -> Step {
        const CONTEXT: &str = "while scanning a directive";
        self.unroll_indent(-1);
        self.remove_key()?;
        self.key_allowed = false;
        let start = self.at;
        self.advance_by(1);
        let name = self.skip_words();
        if name.is_empty() {
            return Err(self.fault(CONTEXT, start, "could not find expected directive name"));
        }
        if !self.blank_or_end_at(0) {
            return Err(self.fault(CONTEXT, start, "found unexpected non-alphabetical character"));
        }
        self.skip_blanks();
        let kind = match name {
            "YAML" => {
                let major = self.version_number(start)?;
                if self.byte(0) != b'.' {
                    let problem = "did not find expected digit or '.' character";
                    return Err(self.fault("while scanning a %YAML directive", start, problem));
                }
                self.advance_by(1);
                TokenKind::VersionDirective { major, minor: self.version_number(start)? }
            }
            "TAG" => {
                const CONTEXT: &str = "while scanning a %TAG directive";
                let handle = self.tag_handle(true, start)?;
                if !self.is_blank() {
                    return Err(self.fault(CONTEXT, start, "did not find expected whitespace"));
                }
                self.skip_blanks();
                let prefix = self.tag_uri("", true, start)?;
                if !self.blank_or_end_at(0) {
                    return Err(self.fault(CONTEXT, start, "did not find expected whitespace or line break"));
                }
                TokenKind::TagDirective { handle, prefix }
            }
            _ => return Err(self.fault(CONTEXT, start, "found unknown directive name")),
        };
        self.push(kind, start);
        self.skip_blanks();
        if self.byte(0) == b'#' {
            self.skip_comment();
        }
        if !self.is_end() && !self.is_break() {
            return Err(self.fault(CONTEXT, start, "did not find expected comment or line break"));
        }
        if self.is_break() {
            self.skip_line();
        }
        Ok(())
    }

    fn version_number(&mut self, start: Mark) -> Result<u32, SyntaxError> {
        const CONTEXT: &str = "while scanning a %YAML directive";
        let length = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.rest().get(..length).unwrap_or("");
        match length {
            0 => Err(self.fault(CONTEXT, start, "did not find expected version number")),
            1..=9 => {
                self.advance_by(length);
                Ok(digits.parse().unwrap_or(0))
            }
            _ => Err(self.fault(CONTEXT, start, "found extremely long version number")),
        }
    }

    fn fetch_anchor(&mut self) -> Step {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.at;
        let is_alias = self.byte(0) == b'*';
        self.advance_by(1);
        let name = self.skip_words();
        let ended =
            self.blank_or_end_at(0) || matches!(self.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ended {
            let context = if is_alias { "while scanning an alias" } else { "while scanning an anchor" };
            return Err(self.fault(context, start, "did not find expected alphabetic or numeric character"));
        }
        self.push(if is_alias { TokenKind::Alias(name) } else { TokenKind::Anchor(name) }, start);
        Ok(())
    }

    fn fetch_tag(&mut self) -> Step {
        const CONTEXT: &str = "while scanning a tag";
        self.save_key()?;
        self.key_allowed = false;
        let start = self.at;
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.advance_by(2);
            let suffix = self.tag_uri("", false, start)?;
            if self.byte(0) != b'>' {
                return Err(self.fault(CONTEXT, start, "did not find the expected '>'"));
            }
            self.advance_by(1);
            (String::new(), suffix)
        } else {
            let handle = self.tag_handle(false, start)?;
            if handle.len() > 1 && handle.ends_with('!') {
                let suffix = self.tag_uri("", false, start)?;
                (handle, suffix)
            } else {
                let suffix = self.tag_uri(&handle, false, start)?;
                if suffix.is_empty() { (String::new(), "!".to_owned()) } else { ("!".to_owned(), suffix) }
            }
        };
        if !self.blank_or_end_at(0) {
            return Err(self.fault(CONTEXT, start, "did not find expected whitespace or line break"));
        }
        self.push(TokenKind::Tag { handle, suffix }, start);
        Ok(())
    }

    fn tag_handle(&mut self, directive: bool, start: Mark) -> Result<String, SyntaxError> {
        let context = if directive { "while scanning a %TAG directive" } else { "while scanning a tag" };
        if self.byte(0) != b'!' {
            return Err(self.fault(context, start, "did not find expected '!'"));
        }
        self.advance_by(1);
        let mut handle = format!("!{}", self.skip_words());
        if self.byte(0) == b'!' {
            self.advance_by(1);
            handle.push('!');
        } else if directive && handle != "!" {
            return Err(self.fault("while parsing a %TAG directive", start, "did not find expected '!'"));
        }
        Ok(handle)
    }

    /// Reads the rest of a tag that began with `head`.
    fn tag_uri(&mut self, head: &str, directive: bool, start: Mark) -> Result<String, SyntaxError> {
        let context = if directive { "while parsing a %TAG directive" } else { "while parsing a tag" };
        let mut bytes = head.as_bytes().get(1..).unwrap_or(&[]).to_vec();
        let mut seen = !head.is_empty();
        loop {
            let byte = self.byte(0);
            if byte == b'%' {
                let hex = |b: u8| char::from(b).to_digit(16);
                let (Some(high), Some(low)) = (hex(self.byte(1)), hex(self.byte(2))) else {
                    return Err(self.fault(context, start, "did not find URI escaped octet"));
                };
                bytes.push((high * 16 + low) as u8);
                self.advance_by(3);
            } else if is_word(byte) || (byte != 0 && b";/?:@&=+$.,!~*'()[]".contains(&byte)) {
                bytes.push(byte);
                self.advance_by(1);
            } else {
                break;
            }
            seen = true;
        }
        if !seen {
            return Err(self.fault(context, start, "did not find expected tag URI"));
        }
        String::from_utf8(bytes).map_err(|_| self.fault(context, start, "found an incorrect leading UTF-8 octet"))
    }

    // ---- scalars

    fn fetch_block_scalar(&mut self, style: Style) -> Step {
        const CONTEXT: &str = "while scanning a block scalar";
        self.remove_key()?;
        self.key_allowed = true;
        let start = self.at;
        self.advance_by(1);
        let (mut keep, mut strip, mut increment) = (false, false, 0);
        for _ in 0..2 {
            match self.byte(0) {
                b'+' if !keep && !strip => keep = true,
                b'-' if !keep && !strip => strip = true,
                b'0' if increment == 0 => {
                    return Err(self.fault(CONTEXT, start, "found an indentation indicator equal to 0"));
                }
                digit @ b'1'..=b'9' if increment == 0 => increment = usize::from(digit - b'0'),
                _ => break,
            }
            self.advance_by(1);
        }
        self.skip_blanks();
        if self.byte(0) == b'#' {
            self.skip_comment();
        }
        if !self.is_end() && !self.is_break() {
            return Err(self.fault(CONTEXT, start, "did not find expected comment or line break"));
        }
        if self.is_break() {
            self.skip_line();
        }
        let mut end = self.at;
        let parent = usize::try_from(self.indent).unwrap_or(0);
        let mut indent = if increment > 0 { parent + increment } else { 0 };
        let (mut out, mut leading, mut trailing) = (String::new(), String::new(), String::new());
        self.block_breaks(&mut indent, &mut trailing, start, &mut end)?;
        let mut after_blank = false;
        while self.at.column == indent && !self.is_end() {
            let blank = self.is_blank();
            if style == Style::Folded && !after_blank && !blank && leading.starts_with('\n') {
                if trailing.is_empty() {
                    out.push(' ');
                }
            } else {
                out.push_str(&leading);
            }
            leading.clear();
            out.push_str(&trailing);
            trailing.clear();
            after_blank = blank;
            let line = self.at.offset;
            while !self.is_end() && !self.is_break() {
                self.advance();
            }
            out.push_str(self.text.get(line..self.at.offset).unwrap_or(""));
            self.read_line(&mut leading);
            self.block_breaks(&mut indent, &mut trailing, start, &mut end)?;
        }
        if !strip {
            out.push_str(&leading);
        }
        if keep {
            out.push_str(&trailing);
        }
        self.queue.push_back(Token { kind: TokenKind::Scalar { value: Cow::Owned(out), style }, start, end });
        Ok(())
    }

    /// Takes indentation and empty lines; finds out the indentation when it is not known yet.
    fn block_breaks(&mut self, indent: &mut usize, breaks: &mut String, start: Mark, end: &mut Mark) -> Step {
        *end = self.at;
        let mut widest = 0;
        loop {
            while (*indent == 0 || self.at.column < *indent) && self.byte(0) == b' ' {
                self.advance_by(1);
            }
            widest = widest.max(self.at.column);
            if (*indent == 0 || self.at.column < *indent) && self.byte(0) == b'\t' {
                let problem = "found a tab character where an indentation space is expected";
                return Err(self.fault("while scanning a block scalar", start, problem));
            }
            if !self.is_break() {
                break;
            }
            self.read_line(breaks);
            *end = self.at;
        }
        if *indent == 0 {
            *indent = widest.max(usize::try_from(self.indent + 1).unwrap_or(0)).max(1);
        }
        Ok(())
    }

    fn fetch_quoted(&mut self, style: Style) -> Step {
        const CONTEXT: &str = "while scanning a quoted scalar";
        self.save_key()?;
        self.key_allowed = false;
        let start = self.at;
        let single = style == Style::SingleQuoted;
        let quote = if single { b'\'' } else { b'"' };
        self.advance_by(1);
        if let Some(value) = self.simple_quoted(quote) {
            self.push(TokenKind::Scalar { value: Cow::Borrowed(value), style }, start);
            return Ok(());
        }
        let (mut out, mut blanks) = (String::new(), String::new());
        let mut folding = Folding::default();
        loop {
            if self.is_document_mark() {
                return Err(self.fault(CONTEXT, start, "found unexpected document indicator"));
            }
            if self.is_end() {
                return Err(self.fault(CONTEXT, start, "found unexpected end of stream"));
            }
            folding.active = false;
            while !self.blank_or_end_at(0) {
                let byte = self.byte(0);
                if byte == quote {
                    if !(single && self.byte(1) == quote) {
                        break;
                    }
                    out.push('\'');
                    self.advance_by(2);
                } else if byte == b'\\' && !single {
                    if self.break_at(1) {
                        self.advance_by(1);
                        self.skip_line();
                        folding.active = true;
                        break;
                    }
                    out.push(self.escape(start)?);
                } else {
                    let from = self.at.offset;
                    self.advance();
                    out.push_str(self.text.get(from..self.at.offset).unwrap_or(""));
                }
            }
            if self.byte(0) == quote {
                break;
            }
            loop {
                if self.is_blank() {
                    if !folding.active {
                        blanks.push(char::from(self.byte(0)));
                    }
                    self.advance_by(1);
                } else if self.is_break() {
                    if !folding.active {
                        blanks.clear();
                    }
                    self.fold_line(&mut folding);
                } else {
                    break;
                }
            }
            if folding.active {
                folding.write(&mut out);
            } else {
                out.push_str(&blanks);
            }
            blanks.clear();
        }
        self.advance_by(1);
        self.push(TokenKind::Scalar { value: Cow::Owned(out), style }, start);
        Ok(())
    }

    /// Takes a quoted scalar that stands on one line without any escape, the closing quote included.
    fn simple_quoted(&mut self, quote: u8) -> Option<&'a str> {
        let bytes = self.rest().as_bytes();
        let special = |b: &u8| *b == quote || matches!(b, b'\\' | b'\n' | b'\r' | 0x80..);
        let length = bytes.iter().position(|b| special(b) && !(quote == b'\'' && *b == b'\\'))?;
        if *bytes.get(length)? != quote || (quote == b'\'' && bytes.get(length + 1) == Some(&quote)) {
            return None;
        }
        let value = self.rest().get(..length)?;
        self.advance_by(length + 1);
        Some(value)
    }

    fn fold_line(&mut self, folding: &mut Folding) {
        if folding.active {
            self.read_line(&mut folding.trailing);
        } else {
            self.read_line(&mut folding.leading);
            folding.active = true;
        }
    }

    fn escape(&mut self, start: Mark) -> Result<char, SyntaxError> {
        const CONTEXT: &str = "while parsing a quoted scalar";
        let digits = match self.byte(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            other => {
                let character = match other {
                    b'0' => '\0',
                    b'a' => '\x07',
                    b'b' => '\x08',
                    b't' | b'\t' => '\t',
                    b'n' => '\n',
                    b'v' => '\x0b',
                    b'f' => '\x0c',
                    b'r' => '\r',
                    b'e' => '\x1b',
                    b' ' => ' ',
                    b'"' => '"',
                    b'\'' => '\'',
                    b'\\' => '\\',
                    b'N' => '\u{85}',
                    b'_' => '\u{a0}',
                    b'L' => '\u{2028}',
                    b'P' => '\u{2029}',
                    _ => return Err(self.fault(CONTEXT, start, "found unknown escape character")),
                };
                self.advance_by(2);
                return Ok(character);
            }
        };
        self.advance_by(2);
        let mut code = 0u32;
        for ahead in 0..digits {
            let Some(digit) = char::from(self.byte(ahead)).to_digit(16) else {
                return Err(self.fault(CONTEXT, start, "did not find expected hexdecimal number"));
            };
            code = code << 4 | digit;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(self.fault(CONTEXT, start, "found invalid Unicode character escape code"));
        };
        self.advance_by(digits);
        Ok(character)
    }

    fn fetch_plain(&mut self) -> Step {
        self.save_key()?;
        self.key_allowed = false;
        let start = self.at;
        let mut end = self.at;
        let indent = self.indent + 1;
        let flow = self.in_flow();
        let mut out = PlainText::One(start.offset, start.offset);
        let mut folding = Folding::default();
        let mut blanks = 0;
        loop {
            if self.is_document_mark() || self.byte(0) == b'#' {
                break;
            }
            let piece = self.at.offset;
            loop {
                match self.byte(0) {
                    b' ' | b'\t' | b'\n' | b'\r' => break,
                    b':' if self.blank_or_end_at(1) => break,
                    b',' | b'?' | b'[' | b']' | b'{' | b'}' if flow => break,
                    0 if self.is_end() => break,
                    0xc2 | 0xe2 if self.is_break() => break,
                    0..0x80 => self.advance_by(1),
                    0x80..=0xff => self.advance(),
                }
            }
            if self.at.offset > piece {
                out.add(self.text, piece, self.at.offset, blanks, &mut folding);
                end = self.at;
            }
            if !self.is_blank() && !self.is_break() {
                break;
            }
            blanks = 0;
            while self.is_blank() || self.is_break() {
                if self.is_break() {
                    self.fold_line(&mut folding);
                    continue;
                }
                if folding.active && (self.at.column as i64) < indent && self.byte(0) == b'\t' {
                    let problem = "found a tab character that violates indentation";
                    return Err(self.fault("while scanning a plain scalar", start, problem));
                }
                if !folding.active {
                    blanks += 1;
                }
                self.advance_by(1);
            }
            if !flow && (self.at.column as i64) < indent {
                break;
            }
        }
        let value = match out {
            PlainText::One(from, to) => Cow::Borrowed(self.text.get(from..to).unwrap_or("")),
            PlainText::Many(text) => Cow::Owned(text),
        };
        if folding.active {
            self.key_allowed = true;
        }
        self.queue.push_back(Token { kind: TokenKind::Scalar { value, style: Style::Plain }, start, end });
        Ok(())
    }
}

/// Line breaks inside a scalar, until it is known what they become.
#[derive(Default)]
struct Folding {
    active: bool,
    leading: String,
    trailing: String,
}

impl Folding {
    /// Writes what the breaks become: a space for one, one less for several.
    fn write(&mut self, out: &mut String) {
        if self.leading.starts_with('\n') {
            if self.trailing.is_empty() {
                out.push(' ');
            } else {
                out.push_str(&self.trailing);
            }
        } else {
            out.push_str(&self.leading);
            out.push_str(&self.trailing);
        }
        self.leading.clear();
        self.trailing.clear();
    }
}

/// The text of a plain scalar: a piece of the source while it stands on one line.
enum PlainText {
    One(usize, usize),
    Many(String),
}

impl PlainText {
    /// Adds the piece `from..to`, before which `blanks` bytes of white space or line breaks stand.
    fn add(&mut self, text: &str, from: usize, to: usize, blanks: usize, folding: &mut Folding) {
        if folding.active {
            let mut joined = match std::mem::replace(self, Self::One(0, 0)) {
                Self::One(start, end) => text.get(start..end).unwrap_or("").to_owned(),
                Self::Many(joined) => joined,
            };
            folding.write(&mut joined);
            folding.active = false;
            joined.push_str(text.get(from..to).unwrap_or(""));
            *self = Self::Many(joined);
            return;
        }
        match self {
            Self::One(_, end) => *end = to,
            Self::Many(joined) => joined.push_str(text.get(from - blanks..to).unwrap_or("")),
        }
    }
}
