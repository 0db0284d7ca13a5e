//! Regular expressions as Go understands them, run by the `regex` crate.
//!
//! What lives here: the translation of a pattern ([`GoRegex::new`]) with the errors of Go, a cache of compiled
//! patterns ([`compiled`]), and the expansion of `$name` in replacements. What does not: template functions.
//!
//! The one idea: both engines find the leftmost-first match, so only the syntax differs. The pattern is read by Go's
//! rules and written again in a form that means the same to the crate. Groups lose their names on the way; we keep them.

use std::cell::RefCell;
use std::rc::Rc;

use regex::bytes::{Captures, Match, Regex, RegexBuilder};
use rustc_hash::FxHashMap;

/// A compiled pattern.
#[derive(Debug)]
pub struct GoRegex {
    regex: Regex,
    /// Names of the groups from 1 on.
    names: Vec<Option<String>>,
}

/// The largest compiled program. Unit: bytes.
const SIZE_LIMIT: usize = 64 << 20;
/// The largest repeat count, nested counts multiplied. Source: Go.
const MAX_REPEAT: u64 = 1_000;
/// The deepest nesting of groups. Source: Go.
const MAX_NESTING: usize = 1_000;

impl GoRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Go's message, for example ``error parsing regexp: missing closing ): `(` ``.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut translator = Translator {
            pattern,
            at: 0,
            out: String::with_capacity(pattern.len() + 16),
            names: Vec::new(),
            groups: vec![Group::default()],
            last_repeat: None,
        };
        translator.run().map_err(|e| format!("error parsing regexp: {e}"))?;
        let Translator { out, names, .. } = translator;
        let regex = RegexBuilder::new(&out).size_limit(SIZE_LIMIT).nest_limit(2_100).build();
        let regex = regex.map_err(|_| "error parsing regexp: expression too large".to_owned())?;
        Ok(Self { regex, names })
    }

    /// Returns the compiled pattern; its groups have no names.
    pub fn inner(&self) -> &Regex {
        &self.regex
    }

    /// Finds all matches, one after the other; an empty one never lies inside a character.
    pub fn matches<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = Match<'t>> {
        self.regex.find_iter(text).filter(|found| !splits_character(text, found))
    }

    /// Replaces every match; `$name` and `${name}` in `with` stand for groups.
    pub fn replace_all(&self, text: &[u8], with: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut last = 0;
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0).filter(|found| !splits_character(text, found)) else { continue };
            out.extend_from_slice(text.get(last..whole.start()).unwrap_or(&[]));
            self.expand(&mut out, with, &captures);
            last = whole.end();
        }
        out.extend_from_slice(text.get(last..).unwrap_or(&[]));
        out
    }

    fn expand(&self, out: &mut Vec<u8>, mut with: &[u8], captures: &Captures<'_>) {
        while let Some(dollar) = with.iter().position(|b| *b == b'$') {
            let (before, after) = with.split_at_checked(dollar).unwrap_or((with, &[]));
            out.extend_from_slice(before);
            with = after.get(1..).unwrap_or(&[]);
            if let [b'$', rest @ ..] = with {
                out.push(b'$');
                with = rest;
                continue;
            }
            let Some((name, rest)) = group_name(with) else {
                out.push(b'$');
                continue;
            };
            with = rest;
            if let Some(index) = self.group(name)
                && let Some(found) = captures.get(index)
            {
                out.extend_from_slice(found.as_bytes());
            }
        }
        out.extend_from_slice(with);
    }

    fn group(&self, name: &str) -> Option<usize> {
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return name.parse().ok();
        }
        self.names.iter().position(|n| n.as_deref() == Some(name)).map(|i| i + 1)
    }
}

fn splits_character(text: &[u8], found: &Match<'_>) -> bool {
    found.is_empty() && text.get(found.start()).is_some_and(|b| matches!(b, 0x80..0xc0))
}

/// Reads the group name after a `$`; returns it and what follows.
fn group_name(text: &[u8]) -> Option<(&str, &[u8])> {
    let braced = text.first() == Some(&b'{');
    let body = if braced { text.get(1..)? } else { text };
    let valid = body.utf8_chunks().next().map_or("", |c| c.valid());
    let length = valid.find(|c: char| !(c.is_alphabetic() || c.is_numeric() || c == '_')).unwrap_or(valid.len());
    if length == 0 {
        return None;
    }
    let name = valid.get(..length)?;
    let rest = body.get(length..)?;
    if !braced {
        return Some((name, rest));
    }
    Some((name, rest.strip_prefix(b"}")?))
}

/// Returns a compiled pattern, from the cache of this thread where it is there.
///
/// # Errors
/// Go's message.
pub fn compiled(pattern: &[u8]) -> Result<Rc<GoRegex>, String> {
    /// A template with more patterns than this computes them. Unit: patterns.
    const CACHED: usize = 512;
    type Cache = FxHashMap<Box<[u8]>, Result<Rc<GoRegex>, String>>;
    thread_local! {
        static CACHE: RefCell<Cache> = RefCell::default();
    }
    CACHE.with_borrow_mut(|cache| {
        if let Some(found) = cache.get(pattern) {
            return found.clone();
        }
        let made = match std::str::from_utf8(pattern) {
            Ok(text) => GoRegex::new(text).map(Rc::new),
            Err(_) => Err(format!("error parsing regexp: invalid UTF-8: `{}`", super::json::lossy(pattern))),
        };
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(pattern.into(), made.clone());
        made
    })
}

/// Returns the words of a panic of Go's `MustCompile`.
pub fn must_compile_message(pattern: &[u8], message: &str) -> String {
    let text = super::json::lossy(pattern);
    let plain = !text.chars().any(|c| c == '`' || (c.is_control() && c != '\t') || c == '\u{feff}');
    let quoted = if plain { format!("`{text}`") } else { format!("{text:?}") };
    format!("regexp: Compile({quoted}): {message}")
}

/// What is known of the open group.
#[derive(Default)]
struct Group {
    /// Something stands before that an operator can repeat.
    repeatable: bool,
    /// The repeat count of that, nested counts multiplied.
    cost: u64,
    /// The largest of the counts in the group so far.
    highest: u64,
}

struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    names: Vec<Option<String>>,
    groups: Vec<Group>,
    /// Where the repetition began that has just been read.
    last_repeat: Option<usize>,
}

type Step = Result<(), String>;

impl Translator<'_> {
    fn rest(&self) -> &str {
        self.pattern.get(self.at..).unwrap_or("")
    }

    fn take(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn since(&self, start: usize) -> &str {
        self.pattern.get(start..self.at).unwrap_or("")
    }

    fn atom(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            group.repeatable = true;
            group.cost = 1;
            group.highest = group.highest.max(1);
        }
    }

    fn run(&mut self) -> Step {
        loop {
            let start = self.at;
            let repeated = self.last_repeat.take();
            let Some(character) = self.take() else { break };
            match character {
                '(' => self.open(start)?,
                ')' => self.close()?,
                '|' => {
                    self.out.push('|');
                    if let Some(group) = self.groups.last_mut() {
                        group.repeatable = false;
                    }
                }
                '[' => self.class(start)?,
                '*' | '+' | '?' => self.repeat(start, repeated, None)?,
                '{' => match self.counts() {
                    Some(counts) => self.repeat(start, repeated, Some(counts))?,
                    None => self.literal('{'),
                },
                '\\' => self.escape(start)?,
                '^' | '$' | '.' => {
                    self.out.push(character);
                    self.atom();
                }
                other => self.literal(other),
            }
        }
        if self.groups.len() > 1 { Err(format!("missing closing ): `{}`", self.pattern)) } else { Ok(()) }
    }

    fn literal(&mut self, character: char) {
        if matches!(
            character,
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&' | '-' | '~'
        ) {
            self.out.push('\\');
        }
        self.out.push(character);
        self.atom();
    }

    fn open(&mut self, start: usize) -> Step {
        if !self.rest().starts_with('?') {
            self.names.push(None);
            self.out.push('(');
            return self.enter();
        }
        let named = [("?P<", 3), ("?<", 2)].into_iter().find(|(p, _)| self.rest().starts_with(p));
        if let Some((_, prefix)) = named {
            let Some(end) = self.rest().find('>') else {
                return Err(format!("invalid named capture: `{}`", self.pattern.get(start..).unwrap_or("")));
            };
            let name = self.rest().get(prefix..end).unwrap_or("").to_owned();
            self.at += end + 1;
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(format!("invalid named capture: `{}`", self.since(start)));
            }
            self.names.push(Some(name));
            self.out.push('(');
            return self.enter();
        }
        self.at += 1;
        let (mut negative, mut seen, mut flags) = (false, false, String::new());
        loop {
            match self.take() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    flags.push(flag);
                    seen = true;
                }
                Some('-') if !negative => {
                    flags.push('-');
                    (negative, seen) = (true, false);
                }
                Some(end @ (':' | ')')) if !negative || seen => {
                    if end == ':' {
                        self.out.push_str(&format!("(?{flags}:"));
                        return self.enter();
                    }
                    if !flags.is_empty() {
                        self.out.push_str(&format!("(?{flags})"));
                    }
                    return Ok(());
                }
                None => return Err(format!("missing closing ): `{}`", self.pattern)),
                Some(_) => return Err(format!("invalid or unsupported Perl syntax: `{}`", self.since(start))),
            }
        }
    }

    fn enter(&mut self) -> Step {
        self.groups.push(Group::default());
        if self.groups.len() > MAX_NESTING {
            return Err(format!("expression nests too deeply: `{}`", self.pattern));
        }
        Ok(())
    }

    fn close(&mut self) -> Step {
        if self.groups.len() < 2 {
            return Err(format!("unexpected ): `{}`", self.pattern));
        }
        self.out.push(')');
        let inner = self.groups.pop().unwrap_or_default();
        self.atom();
        if let Some(group) = self.groups.last_mut() {
            group.cost = inner.highest.max(1);
            group.highest = group.highest.max(group.cost);
        }
        Ok(())
    }

    /// Reads `n}`, `n,}` or `n,m}` after a brace; `None` leaves everything as it was.
    fn counts(&mut self) -> Option<(u64, Option<u64>)> {
        let rest = self.rest();
        let end = rest.find('}')?;
        let body = rest.get(..end)?;
        let number = |text: &str| {
            let well = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            (well && (text.len() == 1 || !text.starts_with('0'))).then(|| text.parse().unwrap_or(u64::MAX))
        };
        let counts = match body.split_once(',') {
            None => number(body).map(|n| (n, Some(n)))?,
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        self.at += end + 1;
        Some(counts)
    }

    fn repeat(&mut self, start: usize, repeated: Option<usize>, counts: Option<(u64, Option<u64>)>) -> Step {
        let operator = self.since(start).to_owned();
        if let Some((least, most)) = counts
            && (least > MAX_REPEAT || most.is_some_and(|m| m > MAX_REPEAT || m < least))
        {
            return Err(format!("invalid repeat count: `{operator}`"));
        }
        let lazy = self.rest().starts_with('?');
        if lazy {
            self.at += 1;
        }
        if let Some(first) = repeated {
            return Err(format!("invalid nested repetition operator: `{}`", self.since(first)));
        }
        let whole = self.since(start).to_owned();
        let Some(group) = self.groups.last_mut().filter(|g| g.repeatable) else {
            return Err(format!("missing argument to repetition operator: `{whole}`"));
        };
        if let Some((least, most)) = counts {
            group.cost = group.cost.saturating_mul(most.unwrap_or(least).max(1));
            group.highest = group.highest.max(group.cost);
            if group.cost > MAX_REPEAT {
                return Err(format!("invalid repeat count: `{whole}`"));
            }
        }
        self.out.push_str(&operator);
        if lazy {
            self.out.push('?');
        }
        self.last_repeat = Some(start);
        Ok(())
    }

    fn escape(&mut self, start: usize) -> Step {
        let Some(character) = self.rest().chars().next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        match character {
            'A' | 'z' => {
                self.at += 1;
                self.out.push_str(self.pattern.get(start..self.at).unwrap_or(""));
                self.atom();
            }
            'b' | 'B' => {
                self.at += 1;
                self.out.push_str(if character == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
                self.atom();
            }
            'Q' => {
                self.at += 1;
                let quoted = self.rest().split(r"\E").next().unwrap_or("").to_owned();
                self.at = (self.at + quoted.len() + 2).min(self.pattern.len());
                quoted.chars().for_each(|c| self.literal(c));
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.at += 1;
                let negated = if character.is_ascii_uppercase() { "^" } else { "" };
                self.out.push_str(&format!("[{negated}{}]", perl_class(character)));
                self.atom();
            }
            'p' | 'P' => {
                let class = self.unicode_class(start)?;
                self.out.push_str(&class);
                self.atom();
            }
            _ => {
                let character = self.escaped_character(start)?;
                self.out.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
                self.atom();
            }
        }
        Ok(())
    }

    /// Reads `\p{Greek}`, `\pL`, `\P…` from the letter on.
    fn unicode_class(&mut self, start: usize) -> Result<String, String> {
        let bad = |text: &str| Err(format!("invalid character class range: `{text}`"));
        let mut negated = self.take() == Some('P');
        let name = match self.take() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    return bad(self.pattern.get(start..).unwrap_or(""));
                };
                let name = self.rest().get(..end).unwrap_or("").to_owned();
                self.at += end + 1;
                name
            }
            Some(letter) => letter.to_string(),
            None => return bad(self.since(start)),
        };
        let plain = name.strip_prefix('^').unwrap_or(&name);
        negated ^= plain.len() != name.len();
        if plain == "Any" {
            return Ok(if negated { r"[^\x00-\x{10FFFF}]" } else { r"[\x00-\x{10FFFF}]" }.to_owned());
        }
        let class = format!("\\{}{{{plain}}}", if negated { 'P' } else { 'p' });
        let shaped = plain.starts_with(|c: char| c.is_ascii_uppercase())
            && plain.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
            && (plain.len() <= 2 || is_script(plain))
            && Regex::new(&class).is_ok();
        if shaped { Ok(class) } else { bad(self.since(start)) }
    }

    /// Reads an escape that stands for one character, from after the backslash on.
    fn escaped_character(&mut self, start: usize) -> Result<char, String> {
        let invalid = |this: &Self| format!("invalid escape sequence: `{}`", this.since(start));
        let Some(character) = self.take() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let octal = |c: &char| matches!(c, '0'..='7');
        Ok(match character {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '0'..='7' => {
                if character != '0' && !self.rest().starts_with(|c| octal(&c)) {
                    return Err(invalid(self));
                }
                let mut code = character.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest().chars().next().filter(octal) else { break };
                    code = code * 8 + digit.to_digit(8).unwrap_or(0);
                    self.at += 1;
                }
                char::from_u32(code).unwrap_or('\0')
            }
            'x' => {
                let braced = self.rest().strip_prefix('{').and_then(|r| r.split_once('}')).map(|(d, _)| d.to_owned());
                let (digits, length) = match &braced {
                    Some(digits) => (digits.as_str(), digits.len() + 2),
                    None => (self.rest().get(..2).unwrap_or(""), 2),
                };
                let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| hex).and_then(char::from_u32);
                self.at = (self.at + length).min(self.pattern.len());
                while !self.pattern.is_char_boundary(self.at) {
                    self.at += 1;
                }
                code.ok_or_else(|| invalid(self))?
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            _ => return Err(invalid(self)),
        })
    }

    fn class(&mut self, start: usize) -> Step {
        let missing = format!("missing closing ]: `{}`", self.pattern.get(start..).unwrap_or(""));
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if self.rest().is_empty() {
                return Err(missing);
            }
            if !first && self.rest().starts_with(']') {
                self.at += 1;
                break;
            }
            first = false;
            if self.rest().starts_with("[:")
                && let Some(end) = self.rest().find(":]")
            {
                let name = self.rest().get(..end + 2).unwrap_or("").to_owned();
                self.at += end + 2;
                if !is_posix_class(&name) {
                    return Err(format!("invalid character class range: `{name}`"));
                }
                self.out.push_str(&name);
                continue;
            }
            let item = self.at;
            let mut ahead = self.rest().chars();
            match (ahead.next(), ahead.next()) {
                (Some('\\'), Some('p' | 'P')) => {
                    self.at += 1;
                    let class = self.unicode_class(item)?;
                    self.out.push_str(&class);
                }
                (Some('\\'), Some(class @ ('d' | 's' | 'w'))) => {
                    self.at += 2;
                    self.out.push_str(perl_class(class));
                }
                (Some('\\'), Some(class @ ('D' | 'S' | 'W'))) => {
                    self.at += 2;
                    self.out.push_str(&format!("[^{}]", perl_class(class)));
                }
                _ => self.range(item, &missing)?,
            }
        }
        self.out.push(']');
        self.atom();
        Ok(())
    }

    fn class_character(&mut self, missing: &str) -> Result<char, String> {
        let start = self.at;
        match self.take() {
            None => Err(missing.to_owned()),
            Some('\\') => self.escaped_character(start),
            Some(other) => Ok(other),
        }
    }

    fn range(&mut self, item: usize, missing: &str) -> Step {
        let low = self.class_character(missing)?;
        let mut high = low;
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
            self.at += 1;
            high = self.class_character(missing)?;
            if high < low {
                return Err(format!("invalid character class range: `{}`", self.since(item)));
            }
        }
        self.out.push_str(&format!("\\x{{{:X}}}", u32::from(low)));
        if high != low {
            self.out.push_str(&format!("-\\x{{{:X}}}", u32::from(high)));
        }
        Ok(())
    }
}

/// Says whether a long class name is a script's; binary properties have long names too.
fn is_script(name: &str) -> bool {
    let script = format!("\\p{{Script={name}}}");
    Regex::new(&script).is_ok()
}

fn is_posix_class(text: &str) -> bool {
    let name = text.trim_start_matches("[:").trim_end_matches(":]");
    let name = name.strip_prefix('^').unwrap_or(name);
    matches!(
        name,
        "alnum"
            | "alpha"
            | "ascii"
            | "blank"
            | "cntrl"
            | "digit"
            | "graph"
            | "lower"
            | "print"
            | "punct"
            | "space"
            | "upper"
            | "word"
            | "xdigit"
    )
}

fn perl_class(letter: char) -> &'static str {
    match letter {
        'd' | 'D' => "0-9",
        's' | 'S' => r"\t\n\x0C\r ",
        _ => "0-9A-Za-z_",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, text: &str) -> String {
        match GoRegex::new(pattern) {
            Ok(regex) => {
                let found = regex.inner().find(text.as_bytes());
                found.map_or("-".to_owned(), |m| String::from_utf8_lossy(m.as_bytes()).into_owned())
            }
            Err(message) => message.trim_start_matches("error parsing regexp: ").to_owned(),
        }
    }

    #[test]
    fn what_the_crate_reads_otherwise_is_translated() {
        for (pattern, text, wanted) in [
            (r"\d+", "٣12", "12"),
            (r"\w+", "é_a", "_a"),
            ("a{,2}", "xa{,2}", "a{,2}"),
            ("a{", "a{", "a{"),
            ("[a&&b]+", "&b", "&b"),
            ("[a[b]+", "[b", "[b"),
            (r"\<a\>", "<a>", "<a>"),
            (r"\Qa.b\E+", "a.bb", "a.bb"),
            (r"\101", "A", "A"),
            (r"[\D]+", "12ab3", "ab"),
            (r"\p{^Greek}", "αb", "b"),
            (r"\bé", "aé", "é"),
            ("(?i)straSSE", "strasse", "strasse"),
            ("x*?y??", "xy", ""),
            ("[]a]+", "]a", "]a"),
            ("[^]a]", "]b", "b"),
            ("[a-]+", "-a", "-a"),
            ("[[:alpha:]_]+", "1a_", "a_"),
            (r"\pL+", "1é", "é"),
        ] {
            assert_eq!(find(pattern, text), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (pattern, wanted) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){100}", "invalid repeat count: `{100}`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\k", r"invalid escape sequence: `\k`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[a--b]", "invalid character class range: `a--`"),
            ("[a[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
            (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?P<a.b>a)", "invalid named capture: `(?P<a.b>`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ] {
            assert_eq!(find(pattern, ""), wanted, "{pattern}");
        }
    }

    #[test]
    fn replacements_expand_groups_as_go_does() {
        let replace = |p: &str, t: &str, w: &str| {
            String::from_utf8(GoRegex::new(p).unwrap().replace_all(t.as_bytes(), w.as_bytes())).unwrap()
        };
        assert_eq!(replace("a(x*)b", "-ab-axxb-", "${1}W"), "-W-xxW-");
        assert_eq!(replace("a(x*)b", "-ab-axxb-", "$1W"), "---");
        assert_eq!(replace("(?P<n>a)(?P<n>b)", "ab", "$n$$${n"), "a$${n");
        assert_eq!(replace("a*", "baaac", "X"), "XbXcX");
        assert_eq!(replace("", "abc", "-"), "-a-b-c-");
        assert_eq!(replace("b*", "abc", "-"), "-a-c-");
    }
}
