//! Keeping git mappings and imports apart that write below each other. Source: werf 2.x, automatic exclusion.
//!
//! Where one entry writes below another, the outer one gets an exclude pattern; where neither can give way, that
//! is a fault. The comparison is of texts: patterns are not evaluated.

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::Span;

use super::{GitMapping, Import, Text};

/// What the rule needs to know of an entry.
struct Entry<'e> {
    span: Span,
    to: String,
    to_span: Span,
    include: Vec<String>,
    exclude: &'e mut Vec<Text>,
}

impl<'e> Entry<'e> {
    fn new(span: Span, to: &Text, include: &[Text], exclude: &'e mut Vec<Text>) -> Self {
        let include = include.iter().map(|p| join(&to.value, &p.value)).collect();
        Self { span, to: to.value.clone(), to_span: to.span, include, exclude }
    }

    /// Returns the places that it writes; none means everywhere.
    fn included(&self) -> Vec<String> {
        match self.include.is_empty() {
            true if self.to == "/" => Vec::new(),
            true => vec![self.to.clone()],
            false => self.include.clone(),
        }
    }
}

/// Adds the exclude patterns that keep the entries of one image apart; reports those that cannot be.
pub(super) fn keep_apart(d: &mut Diagnostics, git: &mut [GitMapping], imports: &mut [Import]) {
    let (local, remote): (Vec<_>, Vec<_>) = git.iter_mut().partition(|g| g.remote.is_none());
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for mapping in local.into_iter().chain(remote) {
        entries.push(Entry::new(mapping.span, &mapping.to, &mapping.include, &mut mapping.exclude));
    }
    for import in imports {
        entries.push(Entry::new(import.span, &import.to, &import.include, &mut import.exclude));
    }
    let mut reported: Vec<(usize, usize)> = Vec::new();
    for outer in 0..entries.len() {
        for inner in (0..entries.len()).filter(|i| *i != outer) {
            let Some(change) = compare(&entries, outer, inner) else {
                if !reported.contains(&(inner, outer)) {
                    report(d, &entries, outer, inner);
                }
                reported.push((outer, inner));
                continue;
            };
            if let Some(entry) = entries.get_mut(outer) {
                entry.exclude.extend(change);
            }
        }
    }
}

/// Returns the patterns that the outer entry must exclude for the inner one; `None` when that does not help.
fn compare(entries: &[Entry<'_>], outer: usize, inner: usize) -> Option<Vec<Text>> {
    let (Some(a), Some(b)) = (entries.get(outer), entries.get(inner)) else { return Some(Vec::new()) };
    if !is_at_or_below(&b.to, &a.to) {
        return Some(Vec::new());
    }
    let (a_included, b_included) = (a.included(), b.included());
    if a_included.is_empty() && b_included.is_empty() {
        return None;
    }
    let mut a_all: Vec<String> = a.exclude.iter().map(|p| join(&a.to, &p.value)).collect();
    let mut added = Vec::new();
    for path in b_included {
        if a_included.contains(&path) {
            return None;
        }
        if a_included.iter().chain(&a_all).any(|p| is_at_or_below(p, &path)) {
            continue;
        }
        let relative = path.strip_prefix(a.to.trim_end_matches('/')).unwrap_or(&path).trim_start_matches('/');
        added.push(Text::new(relative.to_owned(), b.to_span));
        a_all.push(path);
    }
    Some(added)
}

fn report(d: &mut Diagnostics, entries: &[Entry<'_>], outer: usize, inner: usize) {
    let (Some(a), Some(b)) = (entries.get(outer), entries.get(inner)) else { return };
    d.push(
        Diagnostic::at(&rules::OVERLAPPING_PATHS, b.to_span, format!("`{}` is written by two entries", b.to))
            .also(a.span, "the other entry")
            .hint("set different destinations, or `includePaths` and `excludePaths` that do not meet"),
    );
}

fn join(to: &str, path: &str) -> String {
    match path {
        "." | "" => to.to_owned(),
        path => format!("{}/{path}", to.trim_end_matches('/')),
    }
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
