//! Texts that must not be shown, and what is printed in their place.
//!
//! What lives here: [`Mask`], which finds them in any text, also encoded and escaped. What does not: where they come from
//! (`chart::secret`), and what of a plan is sealed (`plan`).
//!
//! The one idea: a secret is shown by a name that is made of it with a key, `(secret 1f0c6a2b9e)`: whether it is the same
//! as before can be seen, and what it is cannot be tried out without the key.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// Shorter texts are not looked for: they are everywhere. Unit: characters. Source: werf 2.x.
const SHORTEST: usize = 4;
/// The shortest piece of a longer encoded text that is looked for. Unit: characters.
const SHORTEST_ENCODED: usize = 6;
/// Longer texts are looked for in pieces of this length. Unit: bytes.
const PIECE: usize = 128;
/// Of longer texts only the beginning is looked for; no log has so long a line. Unit: bytes.
const LONGEST: usize = 64 << 10;
/// The lines of longer texts are looked for as they are, not encoded: the text is, as a whole.
const MANY_LINES: usize = 64;
/// How many digits of a keyed digest make a name.
const DIGITS: usize = 10;
/// What stands for a secret where there is no key.
const NAMELESS: &str = "(secret)";

/// Texts that must not be shown. Copies share them.
#[derive(Clone, Default)]
pub struct Mask(Arc<Inner>);

#[derive(Default)]
struct Inner {
    key: Option<[u8; 32]>,
    secrets: BTreeSet<String>,
    finder: Option<AhoCorasick>,
    /// What stands for each pattern of the finder.
    names: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({})", self.0.secrets.len())
    }
}

impl Mask {
    /// Returns the mask with a key of its own, made of a secret key.
    #[must_use]
    pub fn keyed(&self, secret_key: &[u8]) -> Self {
        let key: [u8; 32] = keyed_digest(secret_key, b"stagewright mask");
        if self.0.key == Some(key) { self.clone() } else { Self::made(Some(key), self.0.secrets.clone()) }
    }

    /// Returns the mask with more texts, also those within them: lines, and the texts of JSON.
    #[must_use]
    pub fn with<S: AsRef<str>>(&self, secrets: impl IntoIterator<Item = S>) -> Self {
        let mut all = self.0.secrets.clone();
        for secret in secrets {
            add(&mut all, secret.as_ref());
        }
        if all.len() == self.0.secrets.len() { self.clone() } else { Self::made(self.0.key, all) }
    }

    /// Returns the mask that hides what both hide, with the key of the other one where it has one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let key = other.0.key.or(self.0.key);
        let known = |mask: &Self, of: &Self| mask.0.key == key && of.0.secrets.is_subset(&mask.0.secrets);
        match (known(other, self), known(self, other)) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            (false, false) => Self::made(key, self.0.secrets.union(&other.0.secrets).cloned().collect()),
        }
    }

    fn made(key: Option<[u8; 32]>, secrets: BTreeSet<String>) -> Self {
        let mut patterns: BTreeMap<String, &str> = BTreeMap::new();
        let many_lines = secrets.iter().filter(|secret| secret.lines().nth(MANY_LINES).is_some());
        let many_lines: BTreeSet<&str> = many_lines.flat_map(|secret| secret.lines().map(str::trim)).collect();
        for secret in &secrets {
            for form in forms(secret, !many_lines.contains(secret.as_str())) {
                // Of two secrets with a form in common the longer one tells more.
                let known = patterns.entry(form).or_insert(secret);
                if known.len() < secret.len() {
                    *known = secret;
                }
            }
        }
        let names = patterns.values().map(|secret| name(key, secret)).collect();
        let finder = AhoCorasick::new(patterns.keys()).ok().filter(|_| !patterns.is_empty());
        Self(Arc::new(Inner { key, secrets, finder, names }))
    }

    /// Says whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.finder.is_none()
    }

    /// Returns the texts in clear, for what is sealed.
    pub fn reveal(&self) -> impl Iterator<Item = &str> {
        self.0.secrets.iter().map(String::as_str)
    }

    /// Says whether one of the texts stands in a text.
    pub fn finds(&self, text: &str) -> bool {
        self.0.finder.as_ref().is_some_and(|finder| finder.is_match(text))
    }

    /// Returns a text with names in the place of secrets.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replaced(text, |name, _| name.to_owned())
    }

    /// Returns a text with stars in the place of secrets, as many as they have bytes: places in it stay.
    pub fn stars<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replaced(text, |_, secret| {
            let lines = secret.split('\n').map(|line| "*".repeat(line.len()));
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    fn replaced<'t>(&self, text: &'t str, make: impl Fn(&str, &str) -> String) -> Cow<'t, str> {
        let found = self.found(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for (range, pattern) in found {
            out.push_str(text.get(end..range.start).unwrap_or_default());
            let name = self.0.names.get(pattern).map_or(NAMELESS, String::as_str);
            out.push_str(&make(name, text.get(range.clone()).unwrap_or_default()));
            end = range.end;
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Returns where secrets stand, in order and apart from each other; each with the pattern of its longest match.
    fn found(&self, text: &str) -> Vec<(Range<usize>, usize)> {
        let Some(finder) = &self.0.finder else { return Vec::new() };
        let mut matches: Vec<(Range<usize>, usize)> =
            finder.find_overlapping_iter(text).map(|m| (m.range(), m.pattern().as_usize())).collect();
        matches.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let mut merged: Vec<(Range<usize>, usize, usize)> = Vec::new();
        for (range, pattern) in matches {
            let length = range.len();
            match merged.last_mut() {
                Some((last, known, longest))
                    if range.start < last.end || self.continues(last, *known, &range, pattern) =>
                {
                    last.end = last.end.max(range.end);
                    if length > *longest {
                        (*known, *longest) = (pattern, length);
                    }
                }
                Some(_) | None => merged.push((range, pattern, length)),
            }
        }
        merged.into_iter().map(|(range, pattern, _)| (range, pattern)).collect()
    }

    /// Says whether a match is the next piece of the same secret.
    fn continues(&self, last: &Range<usize>, known: usize, next: &Range<usize>, pattern: usize) -> bool {
        last.end == next.start && self.0.names.get(known) == self.0.names.get(pattern)
    }

    /// Returns the name of a text that is secret as a whole; `None` without a key.
    pub fn name_of(&self, text: &str) -> Option<String> {
        self.0.key.map(|key| name(Some(key), text))
    }
}

fn keyed_digest(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn name(key: Option<[u8; 32]>, secret: &str) -> String {
    let Some(key) = key else { return NAMELESS.to_owned() };
    let digest = hex::encode(keyed_digest(&key, secret.as_bytes()));
    format!("(secret {})", digest.get(..DIGITS).unwrap_or_default())
}

fn is_long_enough(text: &str) -> bool {
    text.chars().nth(SHORTEST - 1).is_some()
}

/// Adds a text, its lines, and the texts of the JSON that it may be. Source: werf 2.x, what its logs hide.
fn add(all: &mut BTreeSet<String>, secret: &str) {
    let secret = secret.get(..secret.floor_char_boundary(LONGEST)).unwrap_or_default();
    if !is_long_enough(secret) || !all.insert(secret.to_owned()) {
        return;
    }
    let lines = secret.lines().map(str::trim).filter(|line| is_long_enough(line));
    all.extend(lines.map(str::to_owned));
    if secret.trim_start().starts_with(['{', '[', '"'])
        && let Ok(json) = serde_json::from_str::<serde_json::Value>(secret)
    {
        add_texts(all, &json);
    }
}

/// Bounded: a JSON text that nests deeper is refused by its reader.
fn add_texts(all: &mut BTreeSet<String>, json: &serde_json::Value) {
    match json {
        serde_json::Value::String(text) => add(all, text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| add_texts(all, item)),
        serde_json::Value::Object(map) => map.values().for_each(|item| add_texts(all, item)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// Returns the forms in which a text may stand in another one.
fn forms(secret: &str, encoded: bool) -> BTreeSet<String> {
    let base64 = if encoded { base64_forms(secret.as_bytes()) } else { Vec::new() };
    if secret.trim().contains('\n') {
        // Its lines are looked for by themselves.
        return base64.iter().flat_map(|form| pieces(form)).map(str::to_owned).collect();
    }
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    // As Go writes JSON.
    let html_safe = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted_html = html.replace('"', "&#34;").replace('\'', "&#39;");
    let other_html = html.replace('"', "&quot;").replace('\'', "&#x27;").replace('/', "&#x2f;");
    let mut whole = vec![secret.to_owned(), secret.replace('\'', "''"), json, html_safe, html, quoted_html, other_html];
    whole.extend(percent_encoded(secret));
    whole.extend(base64);
    whole.iter().flat_map(|form| pieces(form)).map(str::to_owned).collect()
}

/// As queries and as paths have it.
fn percent_encoded(text: &str) -> [String; 2] {
    let mut query = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => query.push(char::from(byte)),
            b' ' => query.push('+'),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    let path = query.replace('+', "%20");
    [query, path]
}

/// Returns what base64 of a text is, and of a longer text that it stands in: at each of the three places in a group.
fn base64_forms(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for encode in [|t: &[u8]| STANDARD_NO_PAD.encode(t), |t: &[u8]| URL_SAFE_NO_PAD.encode(t)] {
        found.push(encode(text));
        for before in 0..3_usize {
            let mut padded = vec![0; before];
            padded.extend_from_slice(text);
            let encoded = encode(&padded);
            // Characters that hold bits of neighbours are left out.
            let (start, end) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
            found.extend(encoded.get(start..end).filter(|core| core.len() >= SHORTEST_ENCODED).map(str::to_owned));
        }
    }
    found
}

/// Cuts a long text: all of it is found by its pieces.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while rest.len() >= 2 * PIECE {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(PIECE));
        found.push(piece);
        rest = after;
    }
    found.push(rest);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::default().keyed(b"key").with(secrets)
    }

    #[test]
    fn two_masks_together_hide_what_either_hides() {
        let (one, other) = (Mask::default().with(["hunter2"]), Mask::default().keyed(b"key").with(["swordfish"]));
        let both = one.and(&other);
        assert!(both.finds("hunter2") && both.finds("swordfish"));
        assert_eq!(both.name_of("x"), other.name_of("x"), "the key stays");
        assert!(one.and(&Mask::default()).finds("hunter2") && Mask::default().and(&one).finds("hunter2"));
        assert!(other.and(&one).name_of("x").is_some());
    }

    #[test]
    fn a_secret_is_shown_by_a_name_that_only_the_key_makes() {
        let shown = mask(&["hunter2"]).hide("user:hunter2@host").into_owned();
        assert!(shown.starts_with("user:(secret ") && shown.ends_with(")@host"), "{shown}");
        assert_eq!(shown, mask(&["hunter2", "other-one"]).hide("user:hunter2@host"));
        assert_ne!(shown, Mask::default().keyed(b"other").with(["hunter2"]).hide("user:hunter2@host"));
        assert_ne!(mask(&["hunter2"]).hide("hunter2"), mask(&["hunter3"]).hide("hunter3"));
        assert_eq!(Mask::default().with(["hunter2"]).hide("hunter2"), "(secret)");
        assert_eq!(format!("{:?}", mask(&["hunter2"])), "Mask(1)");
    }

    #[test]
    fn encoded_and_escaped_forms_are_found() {
        let secret = "p\"<ä&'s /1\tz";
        let mask = mask(&[secret]);
        let json = serde_json::to_string(secret).unwrap();
        let go = json.replace('<', "\\u003c").replace('&', "\\u0026");
        let forms = [
            secret.to_owned(),
            json,
            go,
            format!("'{}'", secret.replace('\'', "''")),
            "p%22%3C%C3%A4%26%27s+%2F1%09z".to_owned(),
            "p%22%3C%C3%A4%26%27s%20%2F1%09z".to_owned(),
            "p&#34;&lt;ä&amp;&#39;s /1\tz".to_owned(),
            base64::engine::general_purpose::STANDARD.encode(secret),
            base64::engine::general_purpose::URL_SAFE.encode(secret),
        ];
        for form in forms {
            assert!(mask.finds(&form), "{form}");
            assert!(!mask.hide(&form).contains(&form), "{form}");
        }
        for before in ["", "u", "us", "use", "user:"] {
            let text = base64::engine::general_purpose::STANDARD.encode(format!("{before}{secret}:more"));
            assert!(mask.finds(&text), "{before}: {text}");
        }
        assert!(!mask.finds("nothing of it"));
    }

    #[test]
    fn lines_and_texts_of_json_are_secrets_too_and_short_texts_are_not() {
        let mask = mask(&["first line\n  second line\nx", "{\"token\": \"abcdef\", \"n\": [\"ghijkl\", 5]}", "abc"]);
        for hidden in ["second line", "abcdef", "ghijkl"] {
            assert!(mask.finds(&format!("-- {hidden} --")), "{hidden}");
        }
        assert!(!mask.finds("abc") && !mask.finds("x"));
    }

    #[test]
    fn long_texts_are_found_in_pieces_and_shown_by_one_name() {
        let secret: String = (0..200).map(|n| format!("{n:04}")).collect();
        let mask = mask(&[&secret]);
        let shown = mask.hide(&secret).into_owned();
        assert_eq!(shown, mask.name_of(&secret).unwrap());
    }

    #[test]
    fn a_certificate_is_found_by_its_lines_and_encoded_as_a_whole() {
        let secret: String = (0..200).map(|n| format!("{n:032}\n")).collect();
        let mask = mask(&[&secret]);
        let encoded = base64::engine::general_purpose::STANDARD.encode(&secret);
        let shown = mask.hide(&encoded).into_owned();
        assert!(shown.len() < 60, "{shown}");
        for line in secret.lines() {
            assert!(mask.finds(line));
        }
        let json = serde_json::to_string(&secret).unwrap();
        assert!(!mask.hide(&json).contains("0000"));
    }

    #[test]
    fn secrets_within_each_other_leave_nothing_over() {
        let mask = mask(&["abcdef", "defghi", "cdef"]);
        let shown = mask.hide("<abcdefghi>").into_owned();
        assert!(!shown.contains("abc") && !shown.contains("ghi"), "{shown}");
        assert_eq!(mask.stars("<abcdefghi>"), "<*********>");
    }
}
