//! Heredocs: finding `<<NAME` in a logical line and reading the lines up to `NAME`.

use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::Span;

use super::lines::{Lines, Logical};
use super::tree::Heredoc;
use super::words::{split_quoted, unquote};

/// Reads the heredocs that the words of `within` announce, in order.
pub(super) fn read(
    diagnostics: &mut Diagnostics,
    line: &Logical,
    within: Range<usize>,
    lines: &mut Lines<'_>,
) -> Vec<Heredoc> {
    if !line.text.get(within.clone()).is_some_and(|t| t.contains("<<")) {
        return Vec::new();
    }
    let words = split_quoted(&line.text, within, '\\');
    words.into_iter().filter_map(|range| read_one(diagnostics, line, range, lines)).collect()
}

fn read_one(
    diagnostics: &mut Diagnostics,
    line: &Logical,
    range: Range<usize>,
    lines: &mut Lines<'_>,
) -> Option<Heredoc> {
    let word = line.text.get(range.clone())?;
    let head = announced(word)?;
    let from = lines.offset();
    let mut content = String::new();
    let mut to = from;
    while let Some(next) = lines.next() {
        let text = if head.strip_tabs { next.text.trim_start_matches('\t') } else { next.text };
        if text == head.name {
            let content_span = Span::new(line.file, from, to);
            return Some(head.into_heredoc(content, line.span(range), content_span));
        }
        content.push_str(if head.strip_tabs { next.whole.trim_start_matches('\t') } else { next.whole });
        to = next.start + next.whole.len();
    }
    let span = line.span(range);
    diagnostics.push(
        Diagnostic::at(&rules::DOCKERFILE_SYNTAX, span, format!("the heredoc `{}` has no end", head.name))
            .label(format!("no later line is exactly `{}`", head.name)),
    );
    Some(head.into_heredoc(content, span, Span::new(line.file, from, to)))
}

struct Head {
    name: String,
    expand: bool,
    strip_tabs: bool,
    descriptor: Option<u32>,
}

impl Head {
    fn into_heredoc(self, content: String, span: Span, content_span: Span) -> Heredoc {
        Heredoc {
            name: self.name,
            content,
            expand: self.expand,
            strip_tabs: self.strip_tabs,
            descriptor: self.descriptor,
            span,
            content_span,
        }
    }
}

/// Reads `N<<-"NAME"`; `None` when the word is something else.
fn announced(word: &str) -> Option<Head> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = word.get(digits..)?.strip_prefix("<<")?;
    let strip_tabs = rest.starts_with('-');
    let raw = rest.strip_prefix('-').unwrap_or(rest);
    if raw.contains('<') {
        return None;
    }
    let name = unquote(raw, '\\');
    if name.is_empty() {
        return None;
    }
    let descriptor = word.get(..digits).and_then(|d| d.parse().ok());
    Some(Head { expand: name == raw, name, strip_tabs, descriptor })
}

/// Says whether the word announces a heredoc.
pub(super) fn is_heredoc(word: &str) -> bool {
    announced(word).is_some()
}
