//! Diagnostics for people: message, place, excerpt, trace and hints.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Padding, Renderer, Snippet};

use super::super::Look;
use crate::diag::{Diagnostic, Label, Severity};
use crate::source::{FileId, Mask, SourceFile, Sources};

/// A marked text longer than this many lines is shown by its first line.
const LONGEST_EXCERPT: usize = 5;

/// Draws every diagnostic, each followed by an empty line.
pub fn text(diagnostics: &[Diagnostic], sources: &Sources, look: Look) -> String {
    let renderer = if look.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(look.width.max(40));
    let mut out = String::new();
    for diagnostic in diagnostics {
        out += &renderer.render(&[group(diagnostic, sources)]);
        out += "\n\n";
    }
    out
}

/// Returns `2 errors, 1 warning`, or nothing when there is neither.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let parts =
        [(count(Severity::Error), "error"), (count(Severity::Warning), "warning"), (count(Severity::Note), "note")];
    let words = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| super::super::count(*n, word));
    words.collect::<Vec<_>>().join(", ")
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.rule.name);
    let mut elements: Vec<Element<'a>> = Vec::new();
    if let Some(primary) = &diagnostic.primary {
        for file in files(primary, &diagnostic.secondary) {
            let labels = marks(file, primary, &diagnostic.secondary);
            elements.push(excerpt(&sources.get(file), &labels, &sources.mask()).into());
        }
    } else if let Some(path) = &diagnostic.path {
        elements.push(Origin::path(path.as_str()).into());
    }
    let notes = notes(diagnostic, sources);
    if elements.len() == 1 && !notes.is_empty() && diagnostic.primary.is_some() {
        elements.push(Padding.into());
    }
    elements.extend(notes);
    Group::with_title(title).elements(elements)
}

fn notes<'a>(diagnostic: &'a Diagnostic, sources: &Sources) -> Vec<Element<'a>> {
    let trace = diagnostic.trace.iter().map(|frame| {
        let (file, at) = sources.locate(frame.span);
        Level::NOTE.with_name("trace").message(format!("{} at {file}:{}:{}", frame.text, at.line, at.column)).into()
    });
    let hints = diagnostic.hints.iter().map(|hint| Level::HELP.with_name("hint").message(hint.as_str()).into());
    // Every error says what to do; where the finder knew nothing better, the rule's page does.
    let page = diagnostic.hints.is_empty() && diagnostic.severity == Severity::Error;
    let page = page.then(|| {
        let text = format!("`stagewright explain {}` tells what to do", diagnostic.rule.name);
        Level::HELP.with_name("hint").message(text).into()
    });
    trace.chain(hints).chain(page).collect()
}

/// The file of the primary label first, the others in the order they come.
fn files(primary: &Label, secondary: &[Label]) -> Vec<FileId> {
    let mut files = vec![primary.span.file];
    for label in secondary {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    files
}

fn marks<'a>(file: FileId, primary: &'a Label, secondary: &'a [Label]) -> Vec<(AnnotationKind, &'a Label)> {
    let first = std::iter::once((AnnotationKind::Primary, primary));
    let others = secondary.iter().map(|label| (AnnotationKind::Context, label));
    first.chain(others).filter(|(_, label)| label.span.file == file).collect()
}

/// An excerpt holds only the lines between the first and the last mark, so its cost is that of what is shown.
fn excerpt<'a>(
    file: &SourceFile,
    marks: &[(AnnotationKind, &'a Label)],
    mask: &Mask,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let text = file.text();
    let ranges: Vec<Range<usize>> = marks.iter().map(|(_, label)| clip(text, label.span.range())).collect();
    let first = ranges.iter().map(|r| r.start).min().unwrap_or(0);
    let last = ranges.iter().map(|r| r.end).max().unwrap_or(0);
    let start = text.get(..first).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
    let end = text.get(last..).and_then(|t| t.find('\n')).map_or(text.len(), |at| last + at);
    let line = file.position(u32::try_from(start).unwrap_or(u32::MAX)).line as usize;
    let shown = without_passwords(&mask.stars(text.get(start..end).unwrap_or("")));
    let ranges = ranges.into_iter().map(|range| {
        let place = |at: usize| at - start - returns_before(text.get(start..at).unwrap_or(""));
        place(range.start)..place(range.end)
    });
    let shown = shown.trim_end_matches('\r').replace("\r\n", "\n");
    let annotations = marks.iter().zip(ranges).map(|((kind, label), range)| {
        let annotation = kind.span(range);
        if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
    });
    Snippet::source(shown).line_start(line).path(file.path().to_owned()).annotations(annotations.collect::<Vec<_>>())
}

/// Counts the carriage returns of the ends of lines; a text that was cut within such an end has it too.
fn returns_before(text: &str) -> usize {
    text.matches("\r\n").count() + usize::from(text.ends_with('\r'))
}

/// Writes stars over the passwords of addresses, as many as they have bytes: marks stay where they are.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'));
        let (authority, after) = after.split_at_checked(end.unwrap_or(after.len())).unwrap_or((after, ""));
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?, host))) {
            Some(((user, password), host)) => {
                shown.push_str(&format!("{user}:{}@{host}", "*".repeat(password.len())));
            }
            None => shown.push_str(authority),
        }
        rest = after;
    }
    shown + rest
}

/// Brings a range onto character boundaries inside the text, and a long one to its first line.
fn clip(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start);
    let end = text.ceil_char_boundary(range.end).max(start);
    let marked = text.get(start..end).unwrap_or("").trim_end_matches(['\r', '\n']);
    let mut lines = marked.match_indices('\n').map(|(at, _)| at);
    let first = lines.next();
    match (first, lines.nth(LONGEST_EXCERPT - 2)) {
        (Some(first), Some(_)) => start..start + marked.get(..first).unwrap_or("").trim_end_matches('\r').len(),
        _ => start..start + marked.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;
    use crate::diag::rules;
    use crate::source::Span;

    #[test]
    fn passwords_of_addresses_are_not_shown() {
        assert_eq!(without_passwords("url: https://u:geheim@h/x"), "url: https://u:******@h/x");
        assert_eq!(without_passwords("'ssh://git@h/a' https://h:80/a@b"), "'ssh://git@h/a' https://h:80/a@b");
        assert_eq!(without_passwords("git://a:b@c git://d:é@f?x"), "git://a:*@c git://d:**@f?x");
    }

    #[test]
    fn a_diagnostic_shows_place_excerpt_trace_and_hints() {
        let (sources, diagnostics) = fixture();
        crate::report::golden::check("diagnostics.txt", &text(&diagnostics, &sources, Look::plain()));
    }

    #[test]
    fn every_ci_format_names_the_place() {
        let (sources, diagnostics) = fixture();
        let all = [
            super::super::json(&diagnostics, &sources),
            super::super::github(&diagnostics, &sources),
            super::super::gitlab(&diagnostics, &sources),
        ];
        crate::report::golden::check("diagnostics-ci.txt", &all.join("----\n"));
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let (sources, diagnostics) = fixture();
        let colored = text(&diagnostics, &sources, Look { color: true, ..Look::plain() });
        let plain = text(&diagnostics, &sources, Look::plain());
        assert!(colored.contains("\u{1b}["));
        assert_eq!(console::strip_ansi_codes(&colored), plain);
    }

    #[test]
    fn a_long_or_impossible_mark_is_brought_into_the_text() {
        let text = "one\ntwo\nthree\nfour\nfive\nsix\nsevén\n";
        assert_eq!(clip(text, 0..text.len()), 0..3);
        assert_eq!(clip(text, 4..13), 4..13);
        assert_eq!(clip(text, 400..900), text.len()..text.len());
        let accent = text.find('é').unwrap();
        assert_eq!(clip(text, accent + 1..accent + 1).start, accent);
    }

    #[test]
    fn only_the_lines_between_the_marks_are_handed_to_the_renderer() {
        let sources = Sources::new();
        let text: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
        let at = text.find("line 500").unwrap();
        let file = sources.add("long.yaml", text);
        let drawn = super::text(
            &[Diagnostic::at(&rules::YAML_SYNTAX, Span::new(file, at, at + 4), "wrong")],
            &sources,
            Look::plain(),
        );
        assert!(drawn.contains("long.yaml:500:1"), "{drawn}");
        assert!(!drawn.contains("line 499"), "{drawn}");
    }

    #[test]
    fn ends_of_lines_with_carriage_returns_are_neither_shown_nor_marked() {
        let draw = |text: &str, mark: &str| {
            let sources = Sources::new();
            let start = text.find(mark).unwrap();
            let file = sources.add("x.yaml", text);
            let span = Span::new(file, start, start + mark.len());
            super::text(&[Diagnostic::at(&rules::YAML_SYNTAX, span, "wrong")], &sources, Look::plain())
        };
        let unix = "a: 1\nb: 2\nc: 3\n";
        let windows = unix.replace('\n', "\r\n");
        assert_eq!(draw(&windows, "b: 2\r\n"), draw(unix, "b: 2\n"));
        assert_eq!(draw(&windows, "b: 2\r"), draw(unix, "b: 2"));
        assert_eq!(draw(&windows, "1\r\nb: 2\r\nc"), draw(unix, "1\nb: 2\nc"));
    }

    #[test]
    fn the_summary_counts_by_severity() {
        let (_, diagnostics) = fixture();
        assert_eq!(summary(&diagnostics), "2 errors");
        assert_eq!(summary(&[]), "");
    }
}
