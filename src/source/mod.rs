//! Files as values: texts with positions, and read-only trees of git objects.
//!
//! What lives here: [`Sources`] (every text that was read, addressable by [`Span`]), [`Files`] (a
//! read-only tree), [`MemoryObjects`] (an in-memory object store, also the overlay over another one) and
//! [`filter_tree`], the commits behind a tree ([`History`]), texts that must not be shown ([`Mask`]), and pattern languages over paths ([`glob`]). What does not: reading a disk or a repository (`backend`).
//!
//! The one idea: a project tree is a git tree, wherever it comes from. A file is named by the id that
//! git would give it, so a work tree, a commit and a fixture with equal content have equal ids.

mod filter;
mod gap;
pub mod glob;
mod history;
mod mask;
mod objects;
mod text;

pub use filter::{FilterError, PathFilter, Verdict, filter_tree};
pub use gap::{Gap, GapKind};
pub use history::{Asked, CommitNode, CommitNote, History, LastChange, MemoryHistory, last_change};
pub use mask::Mask;
pub use objects::{
    Entry, Files, FilesError, JoinedObjects, MemoryObjects, Mode, ObjectId, Objects, Tree, TreeEntry, normalize_path,
};
pub use text::{FileId, Place, Position, SourceFile, Sources, Span, Spanned};
