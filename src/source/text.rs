//! Texts with positions: every diagnostic names bytes of a text that is registered here.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::Mask;

/// Names one registered text of a [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct FileId(pub u32);

/// A range of bytes of one source text.
///
/// Unit: byte offsets, `start <= end`, both on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The text.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Returns the span of the bytes `start..end` of `file`.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { file, start: clamp(start), end: clamp(end.max(start)) }
    }

    /// Returns the smallest span that covers both; `other` is ignored when it lies in another text.
    pub fn to(self, other: Self) -> Self {
        if self.file != other.file {
            return self;
        }
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Returns the byte range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts a value and its place together.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Changes the value and keeps the place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A place in a text. Unit: line and column from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A place in the project's files. Unit: lines from 1, both inclusive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Place {
    /// Path relative to the project.
    pub file: String,
    /// First line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Last line, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
}

impl Place {
    /// Returns the file as a whole.
    pub fn file(path: impl Into<String>) -> Self {
        Self { file: path.into(), line: None, end_line: None }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.end_line) {
            (Some(line), Some(end)) if end != line => write!(f, ":{line}-{end}"),
            (Some(line), _) => write!(f, ":{line}"),
            (None, _) => Ok(()),
        }
    }
}

/// One registered text: its path as the user knows it, and its content.
#[derive(Debug)]
pub struct SourceFile {
    path: String,
    text: Arc<str>,
    lines: OnceLock<Vec<u32>>,
}

impl SourceFile {
    /// Returns the path, relative to the project where it lies in it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the whole text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    fn line_starts(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0).chain(ends.map(|(i, _)| u32::try_from(i + 1).unwrap_or(u32::MAX))).collect()
        })
    }

    /// Returns the line and column of a byte offset; an offset past the end gives the end.
    pub fn position(&self, offset: u32) -> Position {
        let starts = self.line_starts();
        let line = starts.partition_point(|s| *s <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0) as usize;
        let end = (offset as usize).min(self.text.len());
        let columns = self.text.get(start..end).map_or(0, |t| t.chars().count());
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: narrow(line), column: narrow(columns + 1) }
    }

    /// Returns the byte offset of a line and a column, both from 1; the column counts characters.
    pub fn offset(&self, line: u32, column: u32) -> u32 {
        let starts = self.line_starts();
        let index = (line.max(1) - 1) as usize;
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let Some(start) = starts.get(index).copied() else { return end };
        let rest = self.text.get(start as usize..).unwrap_or("");
        let within: usize = rest.chars().take((column.max(1) - 1) as usize).map(char::len_utf8).sum();
        (start + u32::try_from(within).unwrap_or(0)).min(end)
    }
}

/// Every text that was read in this run; append-only and shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Arc<RwLock<Vec<Arc<SourceFile>>>>,
    names: Arc<RwLock<BTreeMap<String, String>>>,
    texts: Arc<RwLock<BTreeMap<u64, FileId>>>,
    mask: Arc<RwLock<Mask>>,
}

/// Texts are known again by this.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Sources {
    /// Returns an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a text under the path that diagnostics shall show.
    pub fn add(&self, path: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let path = path.into();
        let shown = self.names.read().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let id = FileId(u32::try_from(files.len()).unwrap_or(u32::MAX));
        files.push(Arc::new(SourceFile { path: shown.unwrap_or(path), text: text.into(), lines: OnceLock::new() }));
        id
    }

    /// Says how texts of these paths, which are registered from now on, are shown: files of another repository.
    pub fn show_as(&self, names: BTreeMap<String, String>) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Says what must not be shown of texts, whoever draws them; called again with a mask that hides more.
    pub fn hide(&self, mask: Mask) {
        *self.mask.write().unwrap_or_else(PoisonError::into_inner) = mask;
    }

    /// Returns what must not be shown.
    pub fn mask(&self) -> Mask {
        self.mask.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers a text as the content of a file that templates read, and perhaps parse; once, while no file of the
    /// same content is read.
    pub fn note_file(&self, path: &str, text: &str) -> FileId {
        if let Some(known) = self.file_of(text).filter(|known| self.get(*known).path() == path) {
            return known;
        }
        let file = self.add(path, text);
        self.texts.write().unwrap_or_else(PoisonError::into_inner).insert(fingerprint(text), file);
        file
    }

    /// Returns the file that a text is the content of, if that was noted.
    pub fn file_of(&self, text: &str) -> Option<FileId> {
        let known = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&fingerprint(text)).copied();
        known.filter(|known| **self.get(*known).text() == *text)
    }

    /// Returns a registered text.
    ///
    /// Panics: when `id` comes from another table, which is a fault of the caller.
    pub fn get(&self, id: FileId) -> Arc<SourceFile> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.get(id.0 as usize).expect("a FileId is made by the table that resolves it").clone()
    }

    /// Returns every registered text, in the order they came.
    pub fn all(&self) -> Vec<(FileId, Arc<SourceFile>)> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let id = |index: usize| FileId(u32::try_from(index).unwrap_or(u32::MAX));
        files.iter().enumerate().map(|(index, file)| (id(index), file.clone())).collect()
    }

    /// Returns the file and the lines of a span.
    pub fn place(&self, span: Span) -> Place {
        let file = self.get(span.file);
        let line = file.position(span.start).line;
        let end = file.position(span.end.max(span.start + 1) - 1).line;
        Place { file: file.path().to_owned(), line: Some(line), end_line: (end != line).then_some(end) }
    }

    /// Returns the span of the lines of a place, where its text was registered; the last one of that path counts.
    pub fn span_of(&self, place: &Place) -> Option<Span> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let (index, file) = files.iter().enumerate().rev().find(|(_, f)| f.path() == place.file)?;
        let start = file.offset(place.line?, 1);
        let rest = file.text.get(start as usize..).unwrap_or("");
        let end = start as usize + rest.find('\n').unwrap_or(rest.len());
        Some(Span::new(FileId(u32::try_from(index).ok()?), start as usize, end))
    }

    /// Returns `path:line:column` of the start of a span.
    pub fn locate(&self, span: Span) -> (String, Position) {
        let file = self.get(span.file);
        (file.path().to_owned(), file.position(span.start))
    }
}
