//! Cutting a logical line: words with quotes, blanks, flags, JSON lists. Everything is a byte range.

use std::ops::Range;

/// Returns the words between blanks; quotes mean nothing.
pub(super) fn split_blank(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let slice = text.get(within.clone()).unwrap_or("");
    let mut words = Vec::new();
    let mut start = None;
    for (i, c) in slice.char_indices() {
        match (c.is_whitespace(), start) {
            (true, Some(s)) => {
                words.push(within.start + s..within.start + i);
                start = None;
            }
            (false, None) => start = Some(i),
            (true, None) | (false, Some(_)) => {}
        }
    }
    if let Some(s) = start {
        words.push(within.start + s..within.end);
    }
    words
}

/// Returns the words between blanks, where quotes and escapes hold a word together; both stay in it.
pub(super) fn split_quoted(text: &str, within: Range<usize>, escape: char) -> Vec<Range<usize>> {
    let slice = text.get(within.clone()).unwrap_or("");
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut chars = slice.char_indices();
    while let Some((i, c)) = chars.next() {
        if start.is_none() && c.is_whitespace() {
            continue;
        }
        let begin = *start.get_or_insert(i);
        match quote {
            None if c.is_whitespace() => {
                words.push(within.start + begin..within.start + i);
                start = None;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ if c == escape && quote != Some('\'') => {
                chars.next();
            }
            None | Some(_) => {}
        }
    }
    if let Some(begin) = start {
        words.push(within.start + begin..within.end);
    }
    words
}

/// Removes quotes and escapes, as flags do.
pub(super) fn unquote(raw: &str, escape: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut quote: Option<char> = None;
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ if c == escape && quote != Some('\'') => out.extend(chars.next()),
            None | Some(_) => out.push(c),
        }
    }
    out
}

/// What a text that may be a JSON list turned out to be.
pub(super) enum JsonList {
    /// A list of strings: each decoded, with the range of the quoted text.
    Strings(Vec<(String, Range<usize>)>),
    /// A JSON list with something else in it.
    NotStrings,
    /// No JSON list.
    No,
}

/// Reads the JSON list that fills the range, blanks around it aside.
pub(super) fn json_list(text: &str, within: Range<usize>) -> JsonList {
    let slice = text.get(within.clone()).unwrap_or("");
    if !slice.trim_start().starts_with('[') {
        return JsonList::No;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(slice) {
        Err(_) => JsonList::No,
        Ok(values) => {
            let strings: Option<Vec<String>> = values.iter().map(|v| v.as_str().map(str::to_owned)).collect();
            match strings {
                None => JsonList::NotStrings,
                Some(strings) => {
                    JsonList::Strings(strings.into_iter().zip(string_ranges(slice, within.start)).collect())
                }
            }
        }
    }
}

/// Returns the ranges of the quoted strings of a valid JSON list of strings.
fn string_ranges(slice: &str, base: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut open: Option<usize> = None;
    let mut bytes = slice.bytes().enumerate();
    while let Some((i, b)) = bytes.next() {
        match (b, open) {
            (b'"', None) => open = Some(i),
            (b'"', Some(start)) => {
                ranges.push(base + start..base + i + 1);
                open = None;
            }
            (b'\\', Some(_)) => {
                bytes.next();
            }
            _ => {}
        }
    }
    ranges
}
