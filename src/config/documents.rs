//! From rendered text to YAML documents and their kinds. The text is split before any YAML is read.

use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics, Severity, did_you_mean, rules};
use crate::source::{FileId, Sources, Span};
use crate::syntax::yaml::{self, Data, Node};

/// What a document declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `configVersion`.
    Meta,
    /// `dockerfile`.
    Dockerfile,
    /// `image` or `artifact`.
    Stapel,
}

/// The keys that decide, in the order in which they are looked for.
const DECIDING: &[(&str, Kind)] = &[
    ("configVersion", Kind::Meta),
    ("dockerfile", Kind::Dockerfile),
    ("image", Kind::Stapel),
    ("artifact", Kind::Stapel),
];

/// Splits, parses and classifies.
pub(super) fn read(d: &mut Diagnostics, sources: &Sources, file: FileId) -> Vec<(Kind, Node)> {
    let text = sources.get(file).text().clone();
    let mut documents = Vec::new();
    for range in split(&text) {
        let end = first_end(&text, range.clone());
        if text.get(end..range.end).is_some_and(|rest| has_content(rest.trim_start_matches('.'))) {
            let line = text.get(end..).and_then(|t| t.lines().next()).map_or(0, str::len);
            let at = Span::new(file, end, end + line);
            let found =
                Diagnostic::at(&rules::IGNORED_YAML, at, "what follows would be ignored: the document ends here");
            d.push(found.hint("separate documents by a line that is exactly `---`"));
        }
        let mut faults = Diagnostics::new();
        let nodes = yaml::parse_range(&mut faults, sources, file, range.start..end, yaml::Options::WERF);
        let first = nodes.into_iter().next();
        for fault in faults.as_slice() {
            d.push(soften(fault.clone(), first.as_ref()));
        }
        documents.extend(first.and_then(|node| Some((classify(d, &node)?, node))));
    }
    documents
}

fn classify(d: &mut Diagnostics, node: &Node) -> Option<Kind> {
    if let Some((_, kind)) = DECIDING.iter().find(|(key, _)| node.get(key).is_some()) {
        return Some(*kind);
    }
    if node.is_null() {
        return None;
    }
    let entries = node.as_mapping().map(|m| m.iter().collect::<Vec<_>>()).unwrap_or_default();
    let near = entries.iter().find_map(|e| Some((e, did_you_mean(&e.name, DECIDING.iter().map(|(key, _)| *key))?)));
    let at = near.map_or_else(|| entries.first().map_or(node.span, |e| e.key.span), |(e, _)| e.key.span);
    let found = Diagnostic::at(&rules::UNKNOWN_DOCUMENT, at, "the document is neither meta nor an image");
    d.push(match near {
        Some((_, near)) => found.hint(format!("did you mean `{near}`?")),
        None => found.hint("a document has `configVersion`, `dockerfile`, `image` or `artifact`"),
    });
    None
}

/// Returns the ranges between separators that hold more than blanks and comments.
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_separator(line) {
            ranges.push(start..at);
            start = at + line.len();
        }
        at += line.len();
    }
    ranges.push(start..text.len());
    ranges.retain(|r| text.get(r.clone()).is_some_and(has_content));
    ranges
}

/// Makes a warning of a key that overrides a merged one: werf refuses it, but it is clear what is meant.
fn soften(mut fault: Diagnostic, document: Option<&Node>) -> Diagnostic {
    if fault.rule == &rules::YAML_DUPLICATE_KEY
        && let (Some(again), Some(first)) = (&fault.primary, fault.secondary.first())
        && document.is_some_and(|node| !is_in_one_mapping(node, first.span, again.span))
    {
        fault.severity = Severity::Warning;
        return fault.hint("werf refuses a key that is merged by `<<` and set again");
    }
    fault
}

/// Says whether both keys are written in one mapping, and not merged into it.
fn is_in_one_mapping(node: &Node, first: Span, again: Span) -> bool {
    let holds = |span: Span| node.span.start <= span.start && span.end <= node.span.end;
    match &node.data {
        Data::Mapping(mapping) => {
            let here = holds(first) && holds(again) && mapping.iter().any(|e| e.key.span == again);
            here || mapping.iter().any(|e| is_in_one_mapping(&e.value, first, again))
        }
        Data::Sequence(items) => items.iter().any(|n| is_in_one_mapping(n, first, again)),
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) => false,
    }
}

/// Returns where the first YAML document of a part ends: at a line `...`, or at `--- text` after some content.
fn first_end(text: &str, part: Range<usize>) -> usize {
    let mut at = part.start;
    for line in text.get(part.clone()).unwrap_or("").split_inclusive('\n') {
        let rest = line.strip_prefix("...").or_else(|| line.strip_prefix("---"));
        let marks = rest.is_some_and(|r| r.is_empty() || r.starts_with([' ', '\t', '\r', '\n']));
        if marks && text.get(part.start..at).is_some_and(has_content) {
            return at;
        }
        at += line.len();
    }
    part.end
}

fn is_separator(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim_start_matches([' ', '\t', '\r']);
        rest.is_empty() || rest == "\n" || rest.starts_with('#')
    })
}

fn has_content(chunk: &str) -> bool {
    let lines = chunk.trim_start_matches('\u{feff}').lines();
    lines.map(str::trim).any(|l| !l.is_empty() && !l.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_split_and_blank_parts_vanish() {
        let parts = |text: &str| split(text).into_iter().map(|r| text[r].trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(parts("---\na: 1\n--- \t\nb: 2\n---#c\r\n# x\n---\r\nc: 3\n---"), ["a: 1", "b: 2", "c: 3"]);
        assert_eq!(parts("a: 1\n ---\n---- \n--- foo\n").len(), 1);
        assert_eq!(parts("\u{feff}---\na: 1\n"), ["a: 1"]);
        assert_eq!(parts("# only\n\n---\n"), Vec::<String>::new());
    }
}
