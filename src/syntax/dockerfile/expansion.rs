//! Variables: the expansion of a raw word as Docker does it, and the scope that gives the values.
//!
//! A pure function of the word and a lookup. Source: Dockerfile reference, *Environment replacement*.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// A word after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text, quotes and escapes removed.
    pub text: String,
    /// The variables that were looked up, in order, each once.
    pub used: Vec<String>,
    /// Those of them that have no value.
    pub unset: Vec<String>,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is not closed.
    #[error("the quote {0} is not closed")]
    Quote(char),
    /// A `${` is not closed.
    #[error("`${{` has no `}}`")]
    Brace,
    /// A `${` without a name.
    #[error("`${{` is not followed by a name")]
    Name,
    /// A modifier that Docker does not know.
    #[error("`{0}` is not a modifier of a variable")]
    Modifier(String),
    /// `${x:?message}` of an unset variable.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the author says.
        message: String,
    },
}

/// Expands one word.
///
/// # Errors
/// The word is malformed, or a required variable is not set.
pub fn expand(raw: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ExpandError> {
    let mut expander = Expander::new(raw, escape, lookup);
    let text = expander.until(None, Escapes::Removed)?;
    Ok(Expanded { text, used: expander.used, unset: expander.unset })
}

/// Expands one word; `defer` is asked first wherever a modifier depends on a value: the variable, the modifier (`:-`, `#`,
/// …) and its word. What it returns stands for the whole.
///
/// # Errors
/// As [`expand`].
pub fn expand_deferring(
    raw: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
    defer: &dyn Fn(&str, &str, &str) -> Option<String>,
) -> Result<Expanded, ExpandError> {
    let mut expander = Expander { defer, ..Expander::new(raw, escape, lookup) };
    let text = expander.until(None, Escapes::Removed)?;
    Ok(Expanded { text, used: expander.used, unset: expander.unset })
}

/// Expands a word and splits the result at blanks that came from outside quotes.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(
    raw: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    let mut expander = Expander::new(raw, escape, lookup);
    expander.words = Some(Words::default());
    expander.until(None, Escapes::Removed)?;
    Ok(expander.words.take().map(Words::finish).unwrap_or_default())
}

/// Words under construction.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    open: Option<String>,
}

impl Words {
    fn raw(&mut self, text: &str) {
        self.open.get_or_insert_default().push_str(text);
    }

    fn splitting(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.done.extend(self.open.take());
            } else {
                self.open.get_or_insert_default().push(c);
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.done.extend(self.open.take());
        self.done
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Removed,
    Kept,
}

/// Modifiers nest: `${a:-${b:-…}}`. Deeper than this a word is malformed.
const MAX_DEPTH: usize = 64;

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    used: Vec<String>,
    unset: Vec<String>,
    words: Option<Words>,
    depth: usize,
    defer: Defer<'a>,
}

/// Takes a variable, a modifier and its word; returns what stands for them until the value is known.
type Defer<'a> = &'a dyn Fn(&str, &str, &str) -> Option<String>;

impl<'a> Expander<'a> {
    fn new(raw: &'a str, escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let chars = raw.chars().peekable();
        Self {
            chars,
            escape,
            lookup,
            used: Vec::new(),
            unset: Vec::new(),
            words: None,
            depth: 0,
            defer: &|_, _, _| None,
        }
    }

    /// Adds to the words of the outermost level.
    fn note(&mut self, text: &str, split: bool) {
        if self.depth == 1
            && let Some(words) = &mut self.words
        {
            if split { words.splitting(text) } else { words.raw(text) }
        }
    }

    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<String, ExpandError> {
        self.depth += 1;
        let result = if self.depth > MAX_DEPTH { Err(ExpandError::Brace) } else { self.until_stop(stop, escapes) };
        self.depth -= 1;
        result
    }

    fn until_stop(&mut self, stop: Option<char>, escapes: Escapes) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            if Some(c) == stop {
                return Ok(out);
            }
            if c == '$' {
                let text = self.dollar()?;
                self.note(&text, true);
                out.push_str(&text);
            } else if c == '\'' || c == '"' {
                let text = if c == '"' { self.double_quoted(escapes)? } else { self.single_quoted()? };
                self.note(&text, false);
                out.push_str(&text);
            } else if c == self.escape {
                if escapes == Escapes::Kept {
                    out.push(c);
                }
                if let Some(next) = self.chars.next() {
                    self.note(next.encode_utf8(&mut [0; 4]), false);
                    out.push(next);
                }
            } else {
                self.note(c.encode_utf8(&mut [0; 4]), true);
                out.push(c);
            }
        }
        if stop.is_some() { Err(ExpandError::Brace) } else { Ok(out) }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::Quote('\'')),
                Some('\'') => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn double_quoted(&mut self, escapes: Escapes) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::Quote('"')),
                Some('"') => return Ok(out),
                Some('$') => out.push_str(&self.dollar()?),
                Some(c) if c == self.escape => match self.chars.peek().copied() {
                    None => {}
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        if escapes == Escapes::Kept {
                            out.push(c);
                        }
                        self.chars.next();
                        out.push(next);
                    }
                    Some(_) => out.push(c),
                },
                Some(c) => out.push(c),
            }
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if !self.used.iter().any(|u| u == name) {
            self.used.push(name.to_owned());
            if value.is_none() {
                self.unset.push(name.to_owned());
            }
        }
        value
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.peek().copied() {
            let special = c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!');
            if name.is_empty() && special {
                self.chars.next();
                return c.to_string();
            }
            if !(c.is_alphanumeric() || c == '_') {
                break;
            }
            name.push(c);
            self.chars.next();
        }
        name
    }

    /// Expands what follows a `$`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err(ExpandError::Brace),
            Some('{' | '}' | ':') => return Err(ExpandError::Name),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            None => Err(ExpandError::Brace),
            Some('}') => Ok(self.value(&name).unwrap_or_default()),
            Some(':') => match self.chars.next() {
                None => Err(ExpandError::Brace),
                Some(c @ ('+' | '-' | '?')) => self.modified(&name, c, true),
                Some(c @ ('#' | '%')) => self.trimmed(&name, c),
                Some(c) => Err(ExpandError::Modifier(format!(":{c}"))),
            },
            Some(c @ ('+' | '-' | '?')) => self.modified(&name, c, false),
            Some(c @ ('#' | '%')) => self.trimmed(&name, c),
            Some('/') => self.replaced(&name),
            Some(c) => Err(ExpandError::Modifier(c.to_string())),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, empty_is_unset: bool) -> Result<String, ExpandError> {
        let word = self.until(Some('}'), Escapes::Removed)?;
        let colon = if empty_is_unset { ":" } else { "" };
        if let Some(text) = (self.defer)(name, &format!("{colon}{modifier}"), &escaped(&word)) {
            return Ok(text);
        }
        let value = self.value(name).filter(|v| !(empty_is_unset && v.is_empty()));
        match (modifier, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let message = if word.is_empty() { "is not allowed to be unset".to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, ExpandError> {
        let word = self.until(Some('}'), Escapes::Kept)?;
        if let Some(text) = (self.defer)(name, &modifier.to_string(), &word) {
            return Ok(text);
        }
        let longest = word.starts_with(modifier);
        let pattern = if longest { word.get(1..).unwrap_or("") } else { &word };
        let value = self.value(name).unwrap_or_default();
        let pieces = pattern_pieces(pattern, self.escape);
        if modifier == '#' {
            return Ok(without_prefix(&value, &pieces, longest));
        }
        let reversed: String = value.chars().rev().collect();
        let pieces: Vec<Piece> = pieces.into_iter().rev().collect();
        Ok(without_prefix(&reversed, &pieces, longest).chars().rev().collect())
    }

    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.until(Some('/'), Escapes::Kept)?;
        let replacement = self.until(Some('}'), Escapes::Removed)?;
        let modifier = if all { "//" } else { "/" };
        if let Some(text) = (self.defer)(name, modifier, &format!("{pattern}/{}", escaped(&replacement))) {
            return Ok(text);
        }
        let value = self.value(name).unwrap_or_default();
        let Some(pattern) = compile(&pattern_pieces(&pattern, self.escape), true, false) else { return Ok(value) };
        let limit = usize::from(!all); // 0 means all
        Ok(pattern.replacen(&value, limit, regex::NoExpand(&replacement)).into_owned())
    }
}

/// Returns a text that expands to this one where the escape character is a backslash.
///
/// What stands between the marks `U+0002` and `U+0003` is deferred, and raw already.
pub fn escaped(text: &str) -> String {
    let mut raw = String::with_capacity(text.len());
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '\u{2}' => depth += 1,
            '\u{3}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && !c.is_alphanumeric() && !c.is_control() {
            raw.push('\\');
        }
        raw.push(c);
    }
    raw
}

/// One step of a shell pattern.
#[derive(Clone, Copy)]
enum Piece {
    Literal(char),
    Any,
    Many,
}

fn pattern_pieces(pattern: &str, escape: char) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => pieces.push(Piece::Many),
            '?' => pieces.push(Piece::Any),
            c if c == escape => pieces.extend(chars.next().map(Piece::Literal)),
            c => pieces.push(Piece::Literal(c)),
        }
    }
    pieces
}

fn without_prefix(value: &str, pieces: &[Piece], longest: bool) -> String {
    let end = compile(pieces, longest, true).and_then(|r| r.find(value)).map_or(0, |m| m.end());
    value.get(end..).unwrap_or("").to_owned()
}

/// Compiles a pattern; `None` only when it is too large to compile.
fn compile(pieces: &[Piece], longest: bool, anchored: bool) -> Option<Regex> {
    let mut text = String::from(if anchored { "(?s)^" } else { "(?s)" });
    for piece in pieces {
        match piece {
            Piece::Literal(c) => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Piece::Any => text.push('.'),
            Piece::Many => text.push_str(if longest { ".*" } else { ".*?" }),
        }
    }
    Regex::new(&text).ok()
}

/// The variables of a stage (or of the lines before the first FROM) while its instructions go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    args: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Scope {
    /// Makes a scope with these ARG values, for example the platform arguments.
    pub fn new(args: BTreeMap<String, String>) -> Self {
        Self { args, env: BTreeMap::new() }
    }

    /// Returns the value of a variable; of ENV and ARG, the last one wins.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.args.get(name).or_else(|| self.env.get(name)).map(String::as_str)
    }

    /// Declares an ARG; without a value it is declared but not set.
    pub fn set_arg(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.args.insert(name.to_owned(), value);
        }
    }

    /// Sets an ENV.
    pub fn set_env(&mut self, name: &str, value: String) {
        self.args.remove(name);
        self.env.insert(name.to_owned(), value);
    }

    /// Returns the environment.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Returns the ARGs that have a value and no later ENV.
    pub fn args(&self) -> &BTreeMap<String, String> {
        &self.args
    }

    /// Expands a raw word with these variables.
    ///
    /// # Errors
    /// As [`expand`].
    pub fn expand(&self, raw: &str, escape: char) -> Result<Expanded, ExpandError> {
        expand(raw, escape, &|name| self.get(name).map(str::to_owned))
    }
}

/// Returns the platform arguments that every Dockerfile may use. Platforms are `os/arch[/variant]`.
///
/// Source: Dockerfile reference, *Automatic platform ARGs in the global scope*.
pub fn platform_args(target: &str, build: &str) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", build)] {
        let mut parts = platform.splitn(3, '/');
        args.insert(format!("{prefix}PLATFORM"), platform.to_owned());
        for part in ["OS", "ARCH", "VARIANT"] {
            args.insert(format!("{prefix}{part}"), parts.next().unwrap_or("").to_owned());
        }
    }
    args
}

/// Says whether `--build-arg NAME` reaches commands without an ARG line and stays out of the cache key.
///
/// Source: Dockerfile reference, *Predefined ARGs*.
pub fn is_predefined_arg(name: &str) -> bool {
    const NAMES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    NAMES.iter().any(|known| *known == name || known.to_ascii_lowercase() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "x" => Some("foobarfoo".to_owned()),
            "empty" => Some(String::new()),
            "path" => Some("/a/b/c.tar.gz".to_owned()),
            "spaced" => Some("p q".to_owned()),
            _ => None,
        }
    }

    fn ok(raw: &str) -> String {
        expand(raw, '\\', &lookup).unwrap().text
    }

    #[test]
    fn variables_and_modifiers_expand_as_docker_does() {
        for (raw, expected) in [
            ("$x", "foobarfoo"),
            ("${x}y", "foobarfooy"),
            ("$xy", ""),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("${none:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${none-d}", "d"),
            ("${x:+a}", "a"),
            ("${empty:+a}", ""),
            ("${empty+a}", "a"),
            ("${none+a}", ""),
            ("${none:-${x}}", "foobarfoo"),
            ("${none:-a b}", "a b"),
            ("${path#*/}", "a/b/c.tar.gz"),
            ("${path##*/}", "c.tar.gz"),
            ("${path%.*}", "/a/b/c.tar"),
            ("${path%%.*}", "/a/b/c"),
            ("${x#nope}", "foobarfoo"),
            ("${x/foo/a}", "abarfoo"),
            ("${x//foo/a}", "abara"),
            ("${x//o?/-}", "f-barf-"),
            ("${x/b*/}", "foo"),
        ] {
            assert_eq!(ok(raw), expected, "{raw}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_removed() {
        for (raw, expected) in [
            (r"\$x", "$x"),
            ("'$x'", "$x"),
            ("\"$x\"", "foobarfoo"),
            (r#""\$x \" \\ \n""#, r#"$x " \ \n"#),
            (r"a\ b", "a b"),
            ("a'b'\"c\"", "abc"),
        ] {
            assert_eq!(ok(raw), expected, "{raw}");
        }
        assert_eq!(expand("`$x", '`', &lookup).unwrap().text, "$x");
    }

    #[test]
    fn malformed_words_are_errors() {
        let err = |raw: &str| expand(raw, '\\', &lookup).unwrap_err();
        assert_eq!(err("'a"), ExpandError::Quote('\''));
        assert_eq!(err("\"a"), ExpandError::Quote('"'));
        assert_eq!(err("${x"), ExpandError::Brace);
        assert_eq!(err("${}"), ExpandError::Name);
        assert_eq!(err("${x^}"), ExpandError::Modifier("^".to_owned()));
        let required = ExpandError::Required { name: "none".to_owned(), message: "set it".to_owned() };
        assert_eq!(err("${none:?set it}"), required);
        assert_eq!(err(&"${a:-".repeat(500)), ExpandError::Brace);
    }

    #[test]
    fn used_and_unset_variables_are_told() {
        let expanded = expand("$x${none:-$x}${other}", '\\', &lookup).unwrap();
        assert_eq!(expanded.used, ["x", "none", "other"]);
        assert_eq!(expanded.unset, ["none", "other"]);
    }

    #[test]
    fn words_split_outside_quotes_only() {
        assert_eq!(expand_words("$spaced \"$spaced\" c", '\\', &lookup).unwrap(), ["p", "q", "p q", "c"]);
        assert_eq!(expand_words("''", '\\', &lookup).unwrap(), [""]);
    }

    #[test]
    fn platforms_become_arguments() {
        let args = platform_args("linux/arm/v7", "linux/amd64");
        assert_eq!(args["TARGETVARIANT"], "v7");
        assert_eq!(args["BUILDVARIANT"], "");
        assert!(is_predefined_arg("http_proxy") && !is_predefined_arg("proxy"));
    }
}
