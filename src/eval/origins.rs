//! Where the bytes of rendered text come from.
//!
//! What lives here: [`Origins`], a table from offsets of a text to [`Origin`]s, and its arithmetic under
//! concatenation and line-wise change. What does not: recording (the evaluator does, in tracking mode only).
//!
//! The one idea: a table is a sorted list of (offset, origin id); a piece reaches to the next offset.

use rustc_hash::{FxHashMap, FxHashSet};

use super::value::Str;
use crate::source::Span;

/// Names an origin within one rendering; `OriginId(0)` is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginId(pub u32);

/// The text or action that wrote a piece, and the call that led there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The text or action.
    pub span: Span,
    /// The origin of the `include`, `template` or `tpl` call around it; `OriginId(0)` at the top.
    pub caller: OriginId,
}

/// The pieces of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// (offset of the first byte, origin), ascending.
    pub pieces: Vec<(u32, OriginId)>,
}

impl Origins {
    /// Notes that what is written from `offset` on comes from `origin`.
    pub fn mark(&mut self, offset: usize, origin: OriginId) {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        match self.pieces.last_mut() {
            Some((_, last)) if *last == origin => {}
            Some((at, last)) if *at == offset => *last = origin,
            _ => self.pieces.push((offset, origin)),
        }
    }

    /// Appends the pieces of a text that was written at `offset`.
    pub fn append(&mut self, offset: usize, other: &Self) {
        for (at, origin) in &other.pieces {
            self.mark(offset + *at as usize, *origin);
        }
    }

    /// Returns the origin of the byte at `offset`.
    pub fn at(&self, offset: usize) -> OriginId {
        let index = self.pieces.partition_point(|(at, _)| *at as usize <= offset);
        index.checked_sub(1).and_then(|i| self.pieces.get(i)).map_or(OriginId(0), |p| p.1)
    }
}

impl Origins {
    /// Moves the pieces after `length` bytes were cut out at each of `cuts` (ascending offsets).
    pub fn cut(&mut self, cuts: &[usize], length: usize) {
        let pieces = std::mem::take(&mut self.pieces);
        for (at, origin) in pieces {
            let at = at as usize;
            let before = cuts.partition_point(|cut| *cut < at);
            let inside = before.checked_sub(1).and_then(|i| cuts.get(i)).is_some_and(|cut| at < cut + length);
            let whole = if inside { before - 1 } else { before };
            let partial = if inside { at - cuts.get(before - 1).copied().unwrap_or(at) } else { 0 };
            self.mark(at - whole * length - partial, origin);
        }
    }

    /// Returns origins for a text that a function made of `source`: a line of it that, without the white space
    /// around, is also a line of the source comes from there; any other line comes from where the one before does.
    pub fn follow_lines(&self, source: &[u8], made: &[u8]) -> Self {
        let mut origins = Self::default();
        let mut lines = Lines::of(source);
        let mut last = self.at(0);
        for (offset, line) in Lines::of(made) {
            let found = lines.clone().find(|(_, other)| other.trim_ascii() == line.trim_ascii());
            if let Some((at, other)) = found.filter(|_| !line.trim_ascii().is_empty()) {
                let indent = other.len() - other.trim_ascii_start().len();
                last = self.at(at + indent);
                lines.skip_to(at + other.len() + 1);
            }
            origins.mark(offset, last);
        }
        origins
    }
}

/// The lines of a text with their offsets.
#[derive(Clone)]
struct Lines<'t> {
    text: &'t [u8],
    next: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t [u8]) -> Self {
        Self { text, next: 0 }
    }

    fn skip_to(&mut self, offset: usize) {
        self.next = offset;
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.next..).filter(|_| self.next < self.text.len().max(1))?;
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let start = self.next;
        self.next += length + 1;
        Some((start, rest.get(..length).unwrap_or_default()))
    }
}

/// What a rendering in tracking mode records.
#[derive(Debug, Default)]
pub struct Track {
    origins: Vec<Origin>,
    ids: FxHashMap<Origin, OriginId>,
    current: Origins,
    caller: OriginId,
    reads: FxHashSet<(u32, Str)>,
}

impl Track {
    fn id(&mut self, origin: Origin) -> OriginId {
        let origins = &mut self.origins;
        *self.ids.entry(origin).or_insert_with(|| {
            origins.push(origin);
            OriginId(u32::try_from(origins.len()).unwrap_or(u32::MAX))
        })
    }

    /// Notes that what is written at `offset` of the current text comes from `span`.
    pub fn mark(&mut self, offset: usize, span: Span) {
        let id = self.id(Origin { span, caller: self.caller });
        self.current.mark(offset, id);
    }

    /// Takes over the origins of a text written at `offset`.
    pub fn append(&mut self, offset: usize, origins: &Origins) {
        self.current.append(offset, origins);
    }

    /// Begins a text of its own; returns what is to be given back to [`Track::leave`].
    pub fn enter(&mut self) -> Origins {
        std::mem::take(&mut self.current)
    }

    /// Ends a text; returns its origins.
    pub fn leave(&mut self, outer: Origins) -> Origins {
        std::mem::replace(&mut self.current, outer)
    }

    /// Makes `span` the caller of what is written next; returns the caller before.
    pub fn enter_call(&mut self, span: Span) -> OriginId {
        let id = self.id(Origin { span, caller: self.caller });
        std::mem::replace(&mut self.caller, id)
    }

    /// Restores a caller.
    pub fn set_caller(&mut self, caller: OriginId) {
        self.caller = caller;
    }

    /// Returns the origin behind an id.
    pub fn origin(&self, id: OriginId) -> Option<Origin> {
        self.origins.get((id.0 as usize).checked_sub(1)?).copied()
    }

    /// Notes a read of a key.
    pub fn read(&mut self, mark: u32, key: &[u8]) {
        self.reads.insert((mark, Str::from(key)));
    }

    /// Returns the reads, sorted.
    pub fn reads(&self) -> Vec<(u32, Str)> {
        let mut reads: Vec<_> = self.reads.iter().cloned().collect();
        reads.sort();
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::{OriginId, Origins};

    #[test]
    fn a_piece_reaches_to_the_next_one() {
        let mut origins = Origins::default();
        origins.mark(0, OriginId(1));
        origins.mark(4, OriginId(1));
        origins.mark(6, OriginId(2));
        assert_eq!(origins.pieces.len(), 2);
        assert_eq!((origins.at(5), origins.at(6), origins.at(99)), (OriginId(1), OriginId(2), OriginId(2)));
    }
}
