//! Where the bytes of rendered text come from.
//!
//! What lives here: [`Origins`], a table from offsets of a text to [`Origin`]s, and its arithmetic under
//! concatenation and line-wise change. What does not: recording (the evaluator does, in tracking mode only).
//!
//! The one idea: a table is a sorted list of (offset, origin id); a piece reaches to the next offset.

use crate::source::Span;

/// Names an origin within one rendering; `OriginId(0)` is "not known".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
