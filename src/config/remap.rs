//! Moving places from rendered text to the templates that wrote it, and telling which call and which turn of a loop did.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::diag::{Diagnostics, Fix, TraceFrame};
use crate::eval::{OriginId, OriginTable, Origins};
use crate::source::{FileId, Sources, Span};
use crate::syntax::gotemplate::{Delims, Keyword, TokenKind, lex};
use crate::syntax::yaml::{Data, Entry, Mapping, Node};

/// Calls in calls are told no deeper than this.
const MAX_CALLS: usize = 32;

/// So many findings are told with the way to them; it is as long as the text that was rendered.
const MAX_TRACED: usize = 100;

/// From places in one rendered text to places in templates.
pub(super) struct Places {
    rendered: FileId,
    pieces: Vec<Piece>,
    origins: OriginTable,
}

/// A part of the rendered text that one text or action of a template wrote.
struct Piece {
    start: u32,
    id: OriginId,
    origin: Span,
    /// How often it is the literal text at `origin`: once, perhaps with white space around it, or (by a loop) several
    /// times; 0 when it is something else.
    times: u32,
    /// So much white space stands before the text.
    lead: u32,
}

impl Places {
    /// Prepares the pieces of a rendered, registered text; `table` tells the text or action behind each.
    pub fn new(sources: &Sources, rendered: FileId, origins: &Origins, table: OriginTable) -> Self {
        let text = sources.get(rendered);
        let text = text.text();
        let ends = origins.pieces.iter().skip(1).map(|(at, _)| *at).chain([text.len() as u32]);
        let mut pieces = Vec::new();
        for ((start, id), end) in origins.pieces.iter().zip(ends) {
            let Some(span) = table.origin(*id).and_then(|origin| origin.span) else { continue };
            let source = sources.get(span.file);
            let written = source.text().get(span.range()).unwrap_or("").as_bytes();
            let made = text.as_bytes().get(*start as usize..end as usize).unwrap_or_default();
            let repeated = !written.is_empty() && made.chunks(written.len()).all(|chunk| chunk == written);
            let times = if repeated {
                made.len() / written.len()
            } else {
                usize::from(!written.is_empty() && made.trim_ascii() == written)
            };
            let lead = if repeated { 0 } else { made.len() - made.trim_ascii_start().len() };
            let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (times, lead) = (narrow(times), narrow(lead));
            pieces.push(Piece { start: *start, id: *id, origin: span, times, lead });
        }
        Self { rendered, pieces, origins: table }
    }

    /// Returns the place in a template; a place in other text stays.
    pub fn place(&self, span: Span) -> Span {
        if span.file != self.rendered {
            return span;
        }
        let Some(start) = self.offset(span.start) else { return span };
        if span.end <= span.start + 1 {
            let end = if start.exact { start.end.min(start.start + (span.end - span.start)) } else { start.end };
            return Span { file: start.file, start: start.start, end };
        }
        match self.offset(span.end - 1) {
            // The byte before the end is literal text of the same template, further on.
            Some(end) if end.file == start.file && end.start >= start.start => {
                let last = if end.exact { end.end.min(end.start + 1) } else { end.end };
                Span { file: start.file, start: start.start, end: last.max(start.start) }
            }
            Some(_) | None => Span { file: start.file, start: start.start, end: start.end },
        }
    }

    /// Returns where a byte was written: exactly for literal text, else the action.
    fn offset(&self, offset: u32) -> Option<Found> {
        let index = self.pieces.partition_point(|p| p.start <= offset).checked_sub(1)?;
        let Piece { start, origin, times, lead, .. } = self.pieces.get(index)?;
        let length = (origin.end - origin.start).max(1);
        let within = match times {
            0 => 0,
            // After it is its end, which is no byte of it.
            1 => (offset - start).saturating_sub(*lead).min(origin.end - origin.start),
            _ => (offset - start) % length,
        };
        Some(Found { file: origin.file, start: origin.start + within, end: origin.end, exact: *times > 0 })
    }

    /// Moves the places of a tree.
    pub fn node(&self, node: &Node) -> Node {
        let data = match &node.data {
            Data::Sequence(items) => Data::Sequence(items.iter().map(|n| self.node(n)).collect::<Vec<_>>().into()),
            Data::Mapping(mapping) => {
                let mut moved = Mapping::new();
                for entry in &**mapping {
                    let (key, value) = (self.node(&entry.key), self.node(&entry.value));
                    moved.insert(Entry { name: entry.name.clone(), key, value });
                }
                Data::Mapping(Arc::new(moved))
            }
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) => {
                node.data.clone()
            }
        };
        Node { span: self.place(node.span), data, style: node.style, literal: node.literal.clone() }
    }

    /// Moves findings to the templates, each with the loops and calls that wrote its place. What a loop writes again
    /// and again is told once.
    pub fn tell(&self, d: &mut Diagnostics, sources: &Sources, found: &Diagnostics) {
        let mut loops = Loops { sources, by_file: BTreeMap::new() };
        let mut told: BTreeSet<(&str, Option<Span>, String)> = BTreeSet::new();
        for diagnostic in found.as_slice() {
            let mut moved = diagnostic.clone();
            for label in moved.primary.iter_mut().chain(&mut moved.secondary) {
                label.span = self.place(label.span);
            }
            let place = moved.primary.as_ref().map(|label| label.span);
            if !told.insert((moved.rule.name, place, moved.message.clone())) {
                continue;
            }
            moved.fix = diagnostic.fix.as_ref().and_then(|fix| self.fix(sources, fix, &mut loops));
            let written = diagnostic.primary.as_ref().filter(|_| told.len() <= MAX_TRACED);
            let trace = written.map(|label| self.trace(label.span, &mut loops));
            d.push(moved.traced(trace.unwrap_or_default()));
        }
    }

    /// Returns a fix of the template: of text that it wrote as it stands, and once.
    fn fix(&self, sources: &Sources, fix: &Fix, loops: &mut Loops<'_>) -> Option<Fix> {
        if fix.span.file != self.rendered {
            return Some(fix.clone());
        }
        let span = self.place(fix.span);
        let (file, rendered) = (sources.get(span.file), sources.get(fix.span.file));
        let same = file.text().get(span.range()) == rendered.text().get(fix.span.range());
        (same && self.trace(fix.span, loops).is_empty()).then(|| Fix { span, text: fix.text.clone() })
    }

    /// Returns the loops and calls that wrote a place of the rendered text, innermost first.
    fn trace(&self, span: Span, loops: &mut Loops<'_>) -> Vec<TraceFrame> {
        if span.file != self.rendered {
            return Vec::new();
        }
        let Some(index) = self.pieces.partition_point(|p| p.start <= span.start).checked_sub(1) else {
            return Vec::new();
        };
        let Some(piece) = self.pieces.get(index) else { return Vec::new() };
        let (mut at, mut id) = (piece.origin, piece.id);
        let mut way: Vec<(Span, Option<(Span, OriginId)>)> = Vec::new();
        for _ in 0..MAX_CALLS {
            let Some(caller) = self.origins.origin(id).map(|origin| origin.caller) else { break };
            way.extend(loops.around(at).into_iter().map(|(head, whole)| (head, Some((whole, caller)))));
            let Some(call) = self.origins.origin(caller).and_then(|origin| origin.span) else { break };
            way.push((call, None));
            (at, id) = (call, caller);
        }
        // From the outside in: the turns of a loop in a loop begin anew with each turn of the outer one.
        let mut first = Some(0);
        let mut frames = Vec::new();
        for (place, whole) in way.into_iter().rev() {
            let text = loops.text(place);
            let turn = whole.zip(first).and_then(|(whole, first)| self.turn(whole, loops, first..=index, span.start));
            if whole.is_some() {
                first = turn.map(|(_, first)| first);
            }
            let text = match (whole, turn) {
                (None, _) => format!("`{text}`"),
                (Some(_), None) => format!("in `{text}`"),
                (Some(_), Some((turn, _))) => format!("turn {turn} of `{text}`"),
            };
            frames.push(TraceFrame { span: place, text });
        }
        frames.reverse();
        frames
    }

    /// Returns how often a loop had begun its body when a byte was written, and the piece that began it last; `None`
    /// when that cannot be told, since it writes nothing itself. The text that it wrote most tells.
    fn turn(
        &self,
        (whole, caller): (Span, OriginId),
        loops: &mut Loops<'_>,
        range: RangeInclusive<usize>,
        offset: u32,
    ) -> Option<(u32, usize)> {
        let mut times: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        for index in range {
            let Some(piece) = self.pieces.get(index) else { continue };
            let own = piece.origin.file == whole.file
                && self.origins.origin(piece.id).is_some_and(|origin| origin.caller == caller)
                && loops.around(piece.origin).first().is_some_and(|(_, inner)| *inner == whole);
            if !own {
                continue;
            }
            let end = self.pieces.get(index + 1).map_or(u32::MAX, |next| next.start);
            let length = (piece.origin.end - piece.origin.start).max(1);
            let written = end.min(offset + 1).saturating_sub(piece.start);
            let entry = times.entry(piece.id.0).or_default();
            entry.0 += if piece.times > 1 { written.div_ceil(length) } else { 1 };
            entry.1 = index;
        }
        times.into_values().max_by_key(|(count, last)| (*count, Reverse(*last)))
    }
}

/// The loops of templates, read when they are asked for.
struct Loops<'s> {
    sources: &'s Sources,
    /// By file: the head of a loop and the whole of it, in the order of their ends.
    by_file: BTreeMap<FileId, Vec<(Span, Span)>>,
}

impl Loops<'_> {
    /// Returns the heads of the loops around a place with the whole loops, innermost first.
    fn around(&mut self, place: Span) -> Vec<(Span, Span)> {
        let sources = self.sources;
        let loops = self.by_file.entry(place.file).or_insert_with(|| loops_of(sources, place.file));
        let holds = |whole: &Span| whole.start <= place.start && place.end <= whole.end;
        loops.iter().filter(|(_, whole)| holds(whole)).copied().collect()
    }

    fn text(&self, span: Span) -> String {
        let source = self.sources.get(span.file);
        let text = source.text().get(span.range()).unwrap_or("");
        let text = text.trim_start_matches("{{").trim_start_matches('-').trim_end_matches("}}").trim_end_matches('-');
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the head of each `range` of a template and all that stands between its mark and its `end`.
fn loops_of(sources: &Sources, file: FileId) -> Vec<(Span, Span)> {
    let text = sources.get(file).text().clone();
    let lexed = lex(file, &text, Delims::default());
    let mut open: Vec<Option<(u32, u32)>> = Vec::new();
    let mut found = Vec::new();
    let mut last = None;
    for token in &lexed.tokens {
        let first = matches!(last, Some(TokenKind::LeftDelim));
        if !matches!(token.kind, TokenKind::Space) {
            last = Some(token.kind);
        }
        match token.kind {
            TokenKind::Keyword(Keyword::Range) if first => open.push(Some((token.start, token.end))),
            TokenKind::Keyword(Keyword::If | Keyword::With | Keyword::Define | Keyword::Block) if first => {
                open.push(None);
            }
            TokenKind::RightDelim => {
                // The head of a loop ends with its action.
                if let Some(Some((start, end))) = open.last_mut()
                    && text.get(*start as usize..*end as usize) == Some("range")
                {
                    *end = token.start;
                }
            }
            TokenKind::Keyword(Keyword::End) if first => {
                if let Some(Some((start, end))) = open.pop() {
                    let span = |start, end| Span { file, start, end };
                    found.push((span(start, end), span(start, token.end)));
                }
            }
            TokenKind::Keyword(_)
            | TokenKind::Fault(_)
            | TokenKind::Text
            | TokenKind::LeftDelim
            | TokenKind::Space
            | TokenKind::Identifier
            | TokenKind::Field
            | TokenKind::Dot
            | TokenKind::Variable
            | TokenKind::Bool
            | TokenKind::Number
            | TokenKind::Complex
            | TokenKind::CharConstant
            | TokenKind::Quoted
            | TokenKind::RawQuoted
            | TokenKind::Declare
            | TokenKind::Assign
            | TokenKind::Pipe
            | TokenKind::LeftParen
            | TokenKind::RightParen
            | TokenKind::Char
            | TokenKind::Eof => {}
        }
    }
    found
}

struct Found {
    file: FileId,
    start: u32,
    end: u32,
    exact: bool,
}
