//! Logical lines: physical lines joined at the escape character, comments taken out, places kept.

use std::ops::Range;

use crate::source::{FileId, Span};

/// The physical lines of a text, one after the other.
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
}

/// One physical line.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Offset of its first byte.
    pub start: usize,
    /// Its text without the line end.
    pub text: &'a str,
    /// Its text with the line end.
    pub whole: &'a str,
}

impl Line<'_> {
    pub fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    /// Returns the offset of the next line.
    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn peek(&self) -> Option<Line<'a>> {
        let rest = self.text.get(self.at..).filter(|r| !r.is_empty())?;
        let whole = rest.split_inclusive('\n').next()?;
        Some(Line { start: self.at, text: whole.trim_end_matches(['\r', '\n']), whole })
    }

    pub fn next(&mut self) -> Option<Line<'a>> {
        let line = self.peek()?;
        self.at += line.whole.len();
        Some(line)
    }
}

/// One instruction on one line, and where each of its bytes came from.
pub(super) struct Logical {
    pub file: FileId,
    pub text: String,
    /// Start in `text`, start in the source; ascending.
    pieces: Vec<(usize, usize)>,
    /// The bytes of the source that it covers.
    pub source: Range<usize>,
    /// The source offset of the first blank line inside, if any.
    pub blank: Option<Range<usize>>,
}

impl Logical {
    /// Reads the next instruction; skips comments and blank lines before it.
    pub fn read(file: FileId, lines: &mut Lines<'_>, escape: char) -> Option<Self> {
        loop {
            let line = lines.next()?;
            if line.is_comment() || line.text.trim().is_empty() {
                continue;
            }
            let lead = line.text.len() - line.text.trim_start().len();
            let start = line.start + lead;
            let mut logical = Self { file, text: String::new(), pieces: Vec::new(), source: start..start, blank: None };
            let mut more = logical.push(start, line.text.trim_start(), escape);
            while more {
                let Some(line) = lines.next() else { break };
                if line.is_comment() {
                    continue;
                }
                if line.text.trim().is_empty() {
                    logical.blank.get_or_insert(line.start..line.start + line.text.len());
                    continue;
                }
                more = logical.push(line.start, line.text, escape);
            }
            if !logical.text.trim().is_empty() {
                return Some(logical);
            }
        }
    }

    /// Adds a physical line; says whether it goes on.
    fn push(&mut self, start: usize, line: &str, escape: char) -> bool {
        let (kept, more) = match continued(line, escape) {
            Some(kept) => (kept, true),
            None => (line, false),
        };
        self.pieces.push((self.text.len(), start));
        self.text.push_str(kept);
        self.source.end = start + kept.trim_end().len();
        more
    }

    /// Returns the place of a range of `text`.
    pub fn span(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        let end = if range.is_empty() { start } else { self.source_offset(range.end - 1) + 1 };
        Span::new(self.file, start, end)
    }

    fn source_offset(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(logical, _)| *logical <= at);
        match self.pieces.get(index.saturating_sub(1)) {
            Some((logical, source)) => source + (at - logical),
            None => self.source.start,
        }
    }
}

/// Returns the line without its continuation mark, or `None` when it has none. An escaped escape is no mark.
fn continued(line: &str, escape: char) -> Option<&str> {
    let kept = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!kept.ends_with(escape)).then_some(kept)
}
