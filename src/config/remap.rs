//! Moving places from rendered text to the templates that wrote it.

use std::sync::Arc;

use crate::diag::Diagnostic;
use crate::eval::{Origin, OriginId, Origins};
use crate::source::{FileId, Sources, Span};
use crate::syntax::yaml::{Data, Entry, Mapping, Node};

/// From places in one rendered text to places in templates.
pub(super) struct Places {
    rendered: FileId,
    pieces: Vec<Piece>,
}

/// A part of the rendered text that one text or action of a template wrote.
struct Piece {
    start: u32,
    origin: Span,
    /// It is the literal text at `origin`, once or (by a loop) several times.
    literal: bool,
}

impl Places {
    /// Prepares the pieces of a rendered, registered text; `find` tells the text or action behind one.
    pub fn new(
        sources: &Sources,
        rendered: FileId,
        origins: &Origins,
        find: &dyn Fn(OriginId) -> Option<Origin>,
    ) -> Self {
        let text = sources.get(rendered);
        let text = text.text();
        let ends = origins.pieces.iter().skip(1).map(|(at, _)| *at).chain([text.len() as u32]);
        let mut pieces = Vec::new();
        for ((start, id), end) in origins.pieces.iter().zip(ends) {
            let Some(span) = find(*id).and_then(|origin| origin.span) else { continue };
            let source = sources.get(span.file);
            let written = source.text().get(span.range()).unwrap_or("").as_bytes();
            let made = text.as_bytes().get(*start as usize..end as usize).unwrap_or_default();
            let literal = !written.is_empty() && made.chunks(written.len()).all(|chunk| chunk == written);
            pieces.push(Piece { start: *start, origin: span, literal });
        }
        Self { rendered, pieces }
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
                let last = if end.exact { end.start + 1 } else { end.end };
                Span { file: start.file, start: start.start, end: last.max(start.start) }
            }
            Some(_) | None => Span { file: start.file, start: start.start, end: start.end },
        }
    }

    /// Returns where a byte was written: exactly for literal text, else the action.
    fn offset(&self, offset: u32) -> Option<Found> {
        let index = self.pieces.partition_point(|p| p.start <= offset).checked_sub(1)?;
        let Piece { start, origin, literal } = self.pieces.get(index)?;
        let within = if *literal { (offset - start) % (origin.end - origin.start).max(1) } else { 0 };
        Some(Found { file: origin.file, start: origin.start + within, end: origin.end, exact: *literal })
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

    /// Moves the places of a diagnostic.
    pub fn diagnostic(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        for label in diagnostic.primary.iter_mut().chain(&mut diagnostic.secondary) {
            label.span = self.place(label.span);
        }
        diagnostic
    }
}

struct Found {
    file: FileId,
    start: u32,
    end: u32,
    exact: bool,
}
