//! Texts of others on a terminal: whatever they hold, nothing but text is shown.

use std::borrow::Cow;

/// Control characters could move the cursor of a reviewer's terminal: they are shown as escapes.
pub fn printable(text: &str) -> String {
    if !text.chars().any(is_unseen) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\t' => "    ".to_owned(),
            c if is_unseen(c) => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

/// Says whether a character shows nothing, and changes how others are shown: also those that turn the direction of writing.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text of several lines, which may have colours, in a form that does nothing else to a terminal, whoever wrote
/// parts of it.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unseen(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour(rest);
        let end = if rest.starts_with("\r\n") { 1 } else { colour.map_or(c.len_utf8(), str::len) };
        match (c, colour) {
            (_, Some(colour)) => out.push_str(colour),
            ('\r', _) if end < rest.len() && rest.starts_with("\r\n") => {}
            ('\n' | '\t', _) => out.push(c),
            (c, _) if is_unseen(c) => out.extend(c.escape_default()),
            (c, _) => out.push(c),
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// Returns the colour that a text begins with; what conceals is none.
fn colour(text: &str) -> Option<&str> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let length = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    let (codes, end) = codes.split_at(length);
    let is_colour = end.starts_with('m') && codes.split(';').all(|code| code != "8");
    is_colour.then(|| text.get(..length + 3)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_moves_no_cursor_sets_no_title_and_turns_no_text_around() {
        assert_eq!(printable("a\tb\u{1b}[2Jc\u{202e}d"), "a    b\\u{1b}[2Jc\\u{202e}d");
        let hostile = "one\r\ntwo\n\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[8mgone\u{9b}2J\rover\u{2066}";
        let shown = "one\ntwo\n\\u{1b}]0;title\\u{7}\\u{1b}[2J\\u{1b}[8mgone\\u{9b}2J\\rover\\u{2066}";
        assert_eq!(harmless(hostile), shown);
        let ours = "\u{1b}[31m\u{1b}[1merror\u{1b}[0m: é\n\t\u{1b}[38;5;12mblue\u{1b}[0m";
        assert!(matches!(harmless(ours), Cow::Owned(text) if text == ours));
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
        assert_eq!(harmless("\u{1b}[31"), "\\u{1b}[31");
    }
}
