//! Where the bytes of rendered text come from.
//!
//! What lives here: [`Origins`], a table from offsets of a text to [`Origin`]s, and its arithmetic under
//! concatenation and line-wise change. What does not: recording (`track` does, in tracking mode only).
//!
//! The one idea: a table is a sorted list of (offset, origin id); a piece reaches to the next offset.

use rustc_hash::FxHashMap;

use crate::source::Span;

/// Names an origin within one rendering; `OriginId(0)` is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginId(pub u32);

/// Names a [`ValuePlace`] of one rendering; `ValueId(0)` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueId(pub u32);

/// The text or action that wrote a piece, the call that led there, and the value that stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The text or action; `None` of a value that nothing has written yet.
    pub span: Option<Span>,
    /// The origin of the `include`, `template` or `tpl` call around it; `OriginId(0)` at the top.
    pub caller: OriginId,
    /// The value whose text it is, or of which it was made.
    pub value: ValueId,
    /// Whether it was made of the value and is not its text.
    pub derived: bool,
}

/// A value that templates read, or a call whose result differs from run to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePlace {
    /// The path, `web.ports.0`; of a call the name of the function.
    pub path: String,
    /// Where it was written; `None` for what no file says.
    pub span: Option<Span>,
    /// Whether it is a call of a function whose result differs from run to run.
    pub varies: bool,
}

/// What the ids of [`Origins`] mean: plain data that outlives the rendering.
#[derive(Clone, Debug, Default)]
pub struct OriginTable {
    /// By [`OriginId`], less one.
    pub origins: Vec<Origin>,
    /// By [`ValueId`], less one.
    pub values: Vec<ValuePlace>,
}

impl OriginTable {
    /// Returns the origin behind an id.
    pub fn origin(&self, id: OriginId) -> Option<Origin> {
        self.origins.get((id.0 as usize).checked_sub(1)?).copied()
    }

    /// Returns the value behind an id.
    pub fn value(&self, id: ValueId) -> Option<&ValuePlace> {
        self.values.get((id.0 as usize).checked_sub(1)?)
    }
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
    /// `None` when no line is found.
    pub fn follow_lines(&self, source: &[u8], made: &[u8]) -> Option<Self> {
        let mut places: FxHashMap<&[u8], Vec<usize>> = FxHashMap::default();
        for (at, line) in Lines::of(source) {
            let text = line.trim_ascii();
            if !text.is_empty() {
                places.entry(text).or_default().push(at + (line.len() - line.trim_ascii_start().len()));
            }
        }
        let mut origins = Self::default();
        let (mut last, mut reached, mut any) = (self.at(0), 0, false);
        for (offset, line) in Lines::of(made) {
            let found = places.get(line.trim_ascii());
            // lines keep their order, as far as functions leave it
            let next = found.and_then(|p| p.get(p.partition_point(|at| *at < reached)).or(p.first()));
            let Some(start) = next.copied() else {
                origins.mark(offset, last);
                continue;
            };
            any = true;
            reached = start + 1;
            last = self.at(start);
            origins.mark(offset, last);
            let indent = line.len() - line.trim_ascii_start().len();
            origins.append_part(offset + indent, self, start, start + line.trim_ascii().len());
            last = origins.pieces.last().map_or(last, |piece| piece.1);
        }
        any.then_some(origins)
    }

    /// Appends the pieces of the bytes `from..to` of another text, which are written at `offset`.
    pub fn append_part(&mut self, offset: usize, other: &Self, from: usize, to: usize) {
        if from < to {
            self.mark(offset, other.at(from));
        }
        let first = other.pieces.partition_point(|(at, _)| *at as usize <= from);
        for (at, origin) in other.pieces.iter().skip(first).take_while(|(at, _)| (*at as usize) < to) {
            self.mark(offset + (*at as usize - from), *origin);
        }
    }
}

/// The lines of a text with their offsets.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    next: usize,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self { text, next: 0 }
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

    #[test]
    fn a_line_that_moves_keeps_its_origin() {
        let mut origins = Origins::default();
        origins.mark(0, OriginId(1));
        origins.mark(2, OriginId(2));
        origins.mark(3, OriginId(3));
        let made = origins.follow_lines(b"a=x\nb", b"\n  a=x\n  b\n").unwrap();
        let at = |offset| made.at(offset).0;
        assert_eq!((at(0), at(3), at(5), at(9)), (1, 1, 2, 3));
        assert_eq!(origins.follow_lines(b"a=x", b"other"), None);
    }
}
