//! `import`: files of another image.

use crate::source::{Span, Spanned};

use super::{ImageReference, Slot, Text, UserStage};

/// Files of another image that are put into a Stapel image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The entry.
    pub span: Span,
    /// The image.
    pub from: ImageReference,
    /// The stage of that image; `None` means the last.
    pub stage: Option<Spanned<UserStage>>,
    /// Where it enters.
    pub slot: Slot,
    /// File or directory of that image; cleaned, begins with `/`.
    pub add: Text,
    /// Where it goes; cleaned, begins with `/`.
    pub to: Text,
    /// Owner, by name or number.
    pub owner: Option<Text>,
    /// Group, by name or number.
    pub group: Option<Text>,
    /// Patterns relative to `add`; empty takes all.
    pub include: Vec<Text>,
    /// Patterns relative to `add`.
    pub exclude: Vec<Text>,
}
