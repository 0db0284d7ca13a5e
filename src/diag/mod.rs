//! Diagnostics: what is wrong with the user's files, where, why, and what to do.
//!
//! What lives here: [`Diagnostic`], the sink [`Diagnostics`] and the table of [`rules`]. What does not: how
//! they are drawn (`report`). A diagnostic speaks of files; a failed deed is an error of its own room.

mod rule_table;
pub mod rules;

pub use rule_table::Rule;

use std::borrow::Cow;

use crate::source::{Mask, Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably wrong.
    Warning,
    /// Nothing is planned or applied while it stands.
    Error,
}

/// A marked place with words of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
}

/// One call on the way to the fault, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFrame {
    /// Where the call stands.
    pub span: Span,
    /// What was called, for example ``include "app.labels"``.
    pub text: String,
}

/// A finding about the user's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// Its severity here.
    pub severity: Severity,
    /// One sentence: what is wrong.
    pub message: String,
    /// The file, where no span can be given.
    pub path: Option<String>,
    /// The place; `None` only when `path` says all there is.
    pub primary: Option<Label>,
    /// Further places.
    pub secondary: Vec<Label>,
    /// The calls that led there, innermost first.
    pub trace: Vec<TraceFrame>,
    /// What to do, one action each.
    pub hints: Vec<String>,
    /// A change that mends it and cannot do harm.
    pub fix: Option<Fix>,
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub text: String,
}

impl Diagnostic {
    /// Starts a diagnostic at a place.
    pub fn at(rule: &'static Rule, span: Span, message: impl Into<String>) -> Self {
        let primary = Some(Label { span, text: String::new() });
        Self { primary, ..Self::bare(rule, message) }
    }

    /// Starts a diagnostic about a file as a whole.
    pub fn in_file(rule: &'static Rule, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..Self::bare(rule, message) }
    }

    fn bare(rule: &'static Rule, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            message: message.into(),
            path: None,
            primary: None,
            secondary: Vec::new(),
            trace: Vec::new(),
            hints: Vec::new(),
            fix: None,
        }
    }

    /// Puts words beside the marked place.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(primary) = &mut self.primary {
            primary.text = text.into();
        }
        self
    }

    /// Marks a further place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds an action to take.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Says what mends it: the marked place becomes this text.
    pub fn fixed(mut self, text: impl Into<String>) -> Self {
        self.fix = self.primary.as_ref().map(|label| Fix { span: label.span, text: text.into() });
        self
    }

    /// Hides what must not be shown. What mends it stays: it goes to the user's file, not to a reader.
    fn hide(&mut self, mask: &Mask) {
        let labels = self.primary.iter_mut().chain(&mut self.secondary).map(|label| &mut label.text);
        let frames = self.trace.iter_mut().map(|frame| &mut frame.text);
        for text in labels.chain(frames).chain(&mut self.hints).chain([&mut self.message]) {
            if let Cow::Owned(hidden) = mask.hide(text) {
                *text = hidden;
            }
        }
    }

    /// Adds the calls that led here, innermost first.
    pub fn traced(mut self, frames: impl IntoIterator<Item = TraceFrame>) -> Self {
        self.trace.extend(frames);
        self
    }
}

/// Collects diagnostics; parsers and checkers write to it and go on.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Returns an empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all findings of another sink.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Says whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Says whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the findings in the order they came.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Returns the findings sorted by file, place and rule, without duplicates and without what must not be shown.
    pub fn into_sorted(mut self, sources: &Sources) -> Vec<Diagnostic> {
        let mask = sources.mask();
        if !mask.is_empty() {
            self.list.iter_mut().for_each(|diagnostic| diagnostic.hide(&mask));
        }
        let mut keyed: Vec<_> = self.list.into_iter().map(|d| (sort_key(&d, sources), d)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        let mut told: Vec<(_, Diagnostic)> = Vec::with_capacity(keyed.len());
        for (key, found) in keyed {
            let mut alike = told.iter().rev().take_while(|(other, _)| *other == key);
            if !alike.any(|(_, other)| says_the_same(other, &found, sources)) {
                told.push((key, found));
            }
        }
        told.into_iter().map(|(_, found)| found).collect()
    }
}

/// Says whether two findings of one place and message read the same. A file that is read twice is the same file.
fn says_the_same(a: &Diagnostic, b: &Diagnostic, sources: &Sources) -> bool {
    let at = |span: Span| (sources.get(span.file).path().to_owned(), span.start, span.end);
    let labels = |a: &Label, b: &Label| a.text == b.text && at(a.span) == at(b.span);
    let frames = |a: &TraceFrame, b: &TraceFrame| a.text == b.text && at(a.span) == at(b.span);
    a.severity == b.severity
        && a.hints == b.hints
        && a.primary.as_ref().map(|label| &label.text) == b.primary.as_ref().map(|label| &label.text)
        && a.secondary.len() == b.secondary.len()
        && a.secondary.iter().zip(&b.secondary).all(|(a, b)| labels(a, b))
        && a.trace.len() == b.trace.len()
        && a.trace.iter().zip(&b.trace).all(|(a, b)| frames(a, b))
}

fn sort_key(diagnostic: &Diagnostic, sources: &Sources) -> (String, u32, u32, &'static str, String) {
    let (path, start, end) = match &diagnostic.primary {
        Some(label) => (sources.get(label.span.file).path().to_owned(), label.span.start, label.span.end),
        None => (diagnostic.path.clone().unwrap_or_default(), 0, 0),
    };
    (path, start, end, diagnostic.rule.name, diagnostic.message.clone())
}

/// Returns the candidate nearest to a misspelt word, or `None` when none is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).max(1);
    let lower = word.to_lowercase();
    // Words of too different lengths cannot be near.
    let fitting = candidates.into_iter().filter(|c| c.chars().count().abs_diff(length) <= limit);
    let scored = fitting.map(|c| (distance(&lower, &c.to_lowercase()), c));
    scored.filter(|(d, _)| *d <= limit && *d < length).min_by_key(|(d, c)| (*d, *c)).map(|(_, c)| c)
}

/// Edit distance with transposition of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at =
                |r: usize, c: usize| rows.get(r).and_then(|x: &Vec<usize>| x.get(c)).copied().unwrap_or(usize::MAX);
            let left = row.last().copied().unwrap_or(usize::MAX);
            let mut best = (at(i, j) + usize::from(ca != cb)).min(at(i, j + 1) + 1).min(left + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                best = best.min(at(i - 1, j - 1) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|r| r.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readings_of_a_file_find_is_told_once() {
        let sources = Sources::new();
        let files = [sources.add("Dockerfile", "FROM a\n"), sources.add("Dockerfile", "FROM a\n")];
        let mut found = Diagnostics::new();
        for file in files {
            let finding = |hint: &str| Diagnostic::at(&rules::NOT_YET, Span::new(file, 0, 4), "no").hint(hint);
            found.push(finding("wait"));
            found.push(finding("wait longer"));
        }
        assert_eq!(found.into_sorted(&sources).len(), 4 / 2);
    }

    #[test]
    fn a_near_word_is_proposed_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("imagee", ["image", "from"]), Some("image"));
        assert_eq!(did_you_mean("replica", ["replicas", "web"]), Some("replicas"));
        assert_eq!(did_you_mean("xyz", ["image", "from"]), None);
    }
}
