//! Letter cases: one character at a time, as Go maps them, and the word-joining styles of Sprig.
//!
//! Source: xstrings 1.5.0 (`ToSnakeCase`, `ToKebabCase`, `ToCamelCase`).

/// Maps one character to upper case; characters with a longer form stay.
pub fn upper(c: char) -> char {
    match c {
        // Greek letters with iota subscript: the single character is the title form.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shift(c, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shift(c, 9),
        _ => single(c, c.to_uppercase()),
    }
}

fn shift(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Maps one character to lower case.
pub fn lower(c: char) -> char {
    if c == 'İ' { 'i' } else { single(c, c.to_lowercase()) }
}

/// Maps one character to title case.
pub fn title(c: char) -> char {
    match c {
        'Ǆ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǳ' => 'ǲ',
        c if is_title(c) => c,
        c => upper(c),
    }
}

/// Says whether a character is of title case itself.
pub fn is_title(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}')
        || matches!(c, '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Connector,
    Punct,
    Upper,
    Alpha,
    Number,
    Other,
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// Unicode punctuation (P*) as far as it occurs in names; ASCII is exact.
fn is_punct(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c);
    }
    matches!(
        u32::from(c),
        0xa1 | 0xa7 | 0xab | 0xb6 | 0xb7 | 0xbb | 0xbf | 0x37e | 0x387 | 0x55a..=0x55f | 0x589 | 0x58a
            | 0x5be | 0x5c0 | 0x5c3 | 0x5c6 | 0x5f3 | 0x5f4 | 0x60c | 0x60d | 0x61b | 0x61d..=0x61f | 0x66a..=0x66d
            | 0x6d4 | 0x964 | 0x965 | 0x970 | 0xe4f | 0xe5a | 0xe5b | 0x2010..=0x2027 | 0x2030..=0x2043
            | 0x2045..=0x2051 | 0x2053..=0x205e | 0x207d | 0x207e | 0x208d | 0x208e | 0x2308..=0x230b | 0x2329
            | 0x232a | 0x2768..=0x2775 | 0x27e6..=0x27ef | 0x2983..=0x2998 | 0x29d8..=0x29db | 0x29fc | 0x29fd
            | 0x2e00..=0x2e2e | 0x2e30..=0x2e4f | 0x3001..=0x3003 | 0x3008..=0x3011 | 0x3014..=0x301f | 0x3030
            | 0x303d | 0x30a0 | 0x30fb | 0xfe10..=0xfe19 | 0xfe30..=0xfe52 | 0xfe54..=0xfe61 | 0xfe63 | 0xfe68
            | 0xfe6a | 0xfe6b | 0xff01..=0xff03 | 0xff05..=0xff0a | 0xff0c..=0xff0f | 0xff1a | 0xff1b | 0xff1f
            | 0xff20 | 0xff3b..=0xff3d | 0xff3f | 0xff5b | 0xff5d | 0xff5f..=0xff65
    )
}

fn take(rest: &[char], test: impl Fn(char) -> bool) -> usize {
    rest.iter().position(|c| !test(*c)).unwrap_or(rest.len())
}

/// Tells the kind and the length of the word that a text begins with.
fn word(rest: &[char]) -> (Word, usize) {
    let first = rest.first().copied().unwrap_or(' ');
    if is_connector(first) {
        return (Word::Connector, take(rest, is_connector));
    }
    if is_punct(first) {
        return (Word::Punct, take(rest, is_punct));
    }
    if first.is_uppercase() {
        let capitals = take(rest, char::is_uppercase);
        let tail = rest.get(capitals..).unwrap_or_default();
        let small = |c: char| c.is_alphabetic() && !c.is_uppercase();
        let letters = take(tail, small);
        return match (capitals, letters) {
            (1, letters) => (Word::Upper, 1 + letters),
            (_, 0) => (Word::Upper, capitals),
            _ => (Word::Upper, capitals - 1),
        };
    }
    if first.is_alphabetic() {
        return (Word::Alpha, take(rest, |c| c.is_alphabetic() && !c.is_uppercase()));
    }
    if first.is_numeric() {
        return (Word::Number, take(rest, char::is_numeric));
    }
    let other = |c: char| !is_connector(c) && !is_punct(c) && !c.is_alphabetic() && !c.is_numeric();
    (Word::Other, take(rest, other))
}

/// Writes words in lower case joined by `connector`.
pub fn connected(text: &str, connector: char) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut words: Vec<(Word, &[char])> = Vec::new();
    let mut rest = chars.as_slice();
    while !rest.is_empty() {
        let (kind, length) = word(rest);
        let (head, tail) = rest.split_at(length.clamp(1, rest.len()));
        words.push((kind, head));
        rest = tail;
    }
    join_words(&words, connector)
}

fn join_words(words: &[(Word, &[char])], connector: char) -> String {
    let kind = |i: usize| words.get(i).map(|w| w.0);
    let mut out = String::new();
    let push = |out: &mut String, i: usize| {
        let Some((kind, chars)) = words.get(i) else { return };
        out.extend(chars.iter().map(|c| match kind {
            Word::Connector => connector,
            Word::Upper => lower(*c),
            Word::Punct | Word::Alpha | Word::Number | Word::Other => *c,
        }));
    };
    let barrier = |k: Option<Word>| matches!(k, None | Some(Word::Connector | Word::Punct));
    let mut i = 0;
    while i < words.len() {
        push(&mut out, i);
        match kind(i) {
            Some(Word::Number) => i = after_number(words, i, &mut out, &push, connector),
            Some(Word::Upper | Word::Alpha | Word::Other) => {
                if kind(i + 1) == Some(Word::Number) {
                    if i + 2 >= words.len() {
                        push(&mut out, i + 1);
                        i += 2;
                    } else if kind(i + 2) == Some(Word::Alpha) {
                        out.push(connector);
                        push(&mut out, i + 1);
                        i = after_number(words, i + 1, &mut out, &push, connector);
                    } else {
                        push(&mut out, i + 1);
                        if !barrier(kind(i + 2)) {
                            out.push(connector);
                        }
                        i += 2;
                    }
                } else {
                    if !barrier(kind(i + 1)) {
                        out.push(connector);
                    }
                    i += 1;
                }
            }
            Some(Word::Connector | Word::Punct) | None => i += 1,
        }
    }
    out
}

/// Writes the words that cling to a number at `i`; returns the index of the next word.
fn after_number(
    words: &[(Word, &[char])],
    i: usize,
    out: &mut String,
    push: &impl Fn(&mut String, usize),
    connector: char,
) -> usize {
    let kind = |i: usize| words.get(i).map(|w| w.0);
    let mut next = i + 1;
    while matches!(kind(next), Some(Word::Alpha | Word::Number)) {
        push(out, next);
        next += 1;
    }
    if !matches!(kind(next), None | Some(Word::Connector | Word::Punct)) {
        out.push(connector);
    }
    next
}

/// Writes words together, each with a capital.
pub fn camel(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next_if(|c| is_connector(*c)) {
        out.push(c);
    }
    let Some(first) = chars.next() else {
        // Of connectors alone the last one is written twice.
        out.extend(out.chars().next_back());
        return out;
    };
    out.push(upper(first));
    let mut was_upper = first.is_uppercase();
    let mut pending = None;
    for c in chars {
        if is_connector(c) {
            out.extend(pending.replace(c));
            continue;
        }
        if pending.take().is_some() {
            was_upper = c.is_uppercase();
            out.push(upper(c));
        } else if was_upper && c.is_uppercase() {
            out.push(lower(c));
        } else {
            was_upper = false;
            out.push(c);
        }
    }
    out.extend(pending);
    out
}

#[cfg(test)]
mod tests {
    use super::{camel, connected, lower, upper};

    #[test]
    fn words_are_joined_as_sprig_joins_them() {
        let cases = [
            ("FirstName", "first_name", "FirstName"),
            ("HTTPServer", "http_server", "Httpserver"),
            ("NoHTTPS", "no_https", "NoHTTPS"),
            ("GO_PATH", "go_path", "GoPath"),
            ("http2xx", "http_2xx", "Http2xx"),
            ("HTTP20xOK", "http_20x_ok", "Http20xOK"),
            ("Duration2m3s", "duration_2m3s", "Duration2m3s"),
            ("Bld4Floor3rd", "bld4_floor_3rd", "Bld4Floor3rd"),
            ("a1B2", "a1_b2", "A1B2"),
            ("_a", "_a", "_A"),
            ("a__b", "a__b", "A_B"),
            ("ab_", "ab_", "Ab_"),
            ("foo.barBaz", "foo.bar_baz", "Foo.barBaz"),
            (" a b ", "_a_b_", " AB "),
            ("x9Y", "x9_y", "X9Y"),
            ("a.-b", "a.-b", "A.B"),
            ("--", "__", "---"),
            ("_complex__case_", "_complex__case_", "_Complex_Case_"),
        ];
        for (text, snake, wide) in cases {
            assert_eq!(connected(text, '_'), snake, "{text}");
            assert_eq!(camel(text), wide, "{text}");
        }
    }

    #[test]
    fn letters_map_one_to_one() {
        assert_eq!(("ßŉé".chars().map(upper).collect::<String>()).as_str(), "ßŉÉ");
        assert_eq!(("İΣ".chars().map(lower).collect::<String>()).as_str(), "iσ");
    }
}
