//! Tokens of Go templates.
//!
//! What lives here: [`lex`], which cuts a whole text into tokens and never fails. What does not: what they
//! mean (`parser`). After a fault the rest of the action is given up and lexing goes on behind it.
//!
//! Source: Go `text/template/parse`, version 1.25.

use crate::source::{FileId, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Bytes that cannot be a token; the index of the message in [`Lexed::faults`].
    Fault(u32),
    /// Text outside actions, already trimmed.
    Text,
    /// `{{` or `{{- `
    LeftDelim,
    /// `}}` or ` -}}`
    RightDelim,
    /// White space inside an action.
    Space,
    /// The name of a function.
    Identifier,
    /// A word of the grammar.
    Keyword(Keyword),
    /// `.name`
    Field,
    /// `.`
    Dot,
    /// `$` or `$name`
    Variable,
    /// `true` or `false`
    Bool,
    /// A number without imaginary part.
    Number,
    /// A number with imaginary part.
    Complex,
    /// `'a'`
    CharConstant,
    /// `"a"`
    Quoted,
    /// `` `a` ``
    RawQuoted,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `|`
    Pipe,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// Any other printable ASCII character.
    Char,
    /// The end of the text.
    Eof,
}

/// A word of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// The words of the grammar, as written.
pub const KEYWORDS: &[(&str, Keyword)] = &[
    ("block", Keyword::Block),
    ("break", Keyword::Break),
    ("continue", Keyword::Continue),
    ("define", Keyword::Define),
    ("else", Keyword::Else),
    ("end", Keyword::End),
    ("if", Keyword::If),
    ("nil", Keyword::Nil),
    ("range", Keyword::Range),
    ("template", Keyword::Template),
    ("with", Keyword::With),
];

/// A token and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// The tokens of a text.
#[derive(Debug, Default)]
pub struct Lexed {
    /// All tokens but comments; the last one is [`TokenKind::Eof`].
    pub tokens: Vec<Token>,
    /// The comments, with their `/*` and `*/`.
    pub comments: Vec<Span>,
    /// Messages of the faults.
    pub faults: Vec<String>,
}

/// The marks that open and close an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delims<'d> {
    /// Opens, usually `{{`.
    pub left: &'d str,
    /// Closes, usually `}}`.
    pub right: &'d str,
}

impl Default for Delims<'_> {
    fn default() -> Self {
        Self { left: "{{", right: "}}" }
    }
}

/// Cuts a text into tokens.
pub fn lex(file: FileId, text: &str, delims: Delims<'_>) -> Lexed {
    let mut lexer = Lexer { file, text, delims, pos: 0, start: 0, depth: 0, out: Lexed::default() };
    lexer.run();
    lexer.out
}

struct Lexer<'t> {
    file: FileId,
    text: &'t str,
    delims: Delims<'t>,
    pos: usize,
    start: usize,
    depth: u32,
    out: Lexed,
}

/// A token could not be finished.
struct Fault(String);

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn emit(&mut self, kind: TokenKind) {
        self.out.tokens.push(Token { kind, start: narrow(self.start), end: narrow(self.pos) });
        self.start = self.pos;
    }

    fn run(&mut self) {
        loop {
            let more = self.text_token();
            if !more {
                break;
            }
            if let Err(Fault(message)) = self.action() {
                self.recover(message);
            }
        }
        self.start = self.pos;
        self.emit(TokenKind::Eof);
    }

    /// Notes a fault and goes on behind the end of the action.
    fn recover(&mut self, message: String) {
        let kind = TokenKind::Fault(narrow(self.out.faults.len()));
        self.out.faults.push(message);
        if self.pos == self.start {
            self.next();
        }
        self.emit(kind);
        // The end is looked for up to the next action only: many faults in one text take no longer than the text is.
        let open = self.rest().find(self.delims.left);
        let part = self.rest().get(..open.unwrap_or(self.rest().len())).unwrap_or("");
        match (part.find(self.delims.right), open) {
            (Some(close), _) => self.pos += close + self.delims.right.len(),
            (None, Some(open)) => self.pos += open,
            (None, None) => self.pos = self.text.len(),
        }
        self.start = self.pos;
        self.emit(TokenKind::RightDelim);
    }

    /// Emits the text up to the next action; says whether there is one.
    fn text_token(&mut self) -> bool {
        let Some(length) = self.rest().find(self.delims.left) else {
            self.pos = self.text.len();
            if self.pos > self.start {
                self.emit(TokenKind::Text);
            }
            return false;
        };
        let open = self.pos + length;
        let after = self.text.get(open + self.delims.left.len()..).unwrap_or("");
        self.pos = open;
        if starts_with_trim(after) {
            let text = self.text.get(self.start..open).unwrap_or("");
            self.pos = self.start + text.trim_end_matches(is_space).len();
        }
        if self.pos > self.start {
            self.emit(TokenKind::Text);
        }
        self.pos = open;
        self.start = open;
        true
    }

    fn action(&mut self) -> Result<(), Fault> {
        let after = self.start + self.delims.left.len();
        let rest = self.text.get(after..).unwrap_or("");
        let marker = if starts_with_trim(rest) { 2 } else { 0 };
        if rest.get(marker..).is_some_and(|r| r.starts_with("/*")) {
            self.pos = after + marker;
            self.start = self.pos;
            return self.comment();
        }
        self.pos = after;
        self.emit(TokenKind::LeftDelim);
        self.pos = after + marker;
        self.start = self.pos;
        self.depth = 0;
        while !self.inside()? {}
        Ok(())
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let length = self.rest().get(2..).and_then(|r| r.find("*/"));
        let Some(length) = length else {
            self.pos = self.text.len();
            return Err(Fault("unclosed comment".to_owned()));
        };
        self.pos += length + 4;
        if self.right_delim().is_none() {
            return Err(Fault("comment ends before closing delimiter".to_owned()));
        }
        self.out.comments.push(Span::new(self.file, self.start, self.pos));
        self.close();
        Ok(())
    }

    /// Says whether an action ends here, and with which trim.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if chars.next().is_some_and(is_space)
            && chars.next() == Some('-')
            && chars.as_str().starts_with(self.delims.right)
        {
            return Some(true);
        }
        rest.starts_with(self.delims.right).then_some(false)
    }

    /// Passes over the closing mark and the white space it trims; `start` is left on the mark.
    fn close(&mut self) {
        let trim = self.right_delim().unwrap_or(false);
        self.pos += self.delims.right.len() + if trim { 2 } else { 0 };
        if trim {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
        }
        self.start = self.pos;
    }

    /// Lexes one token inside an action; says whether the action is over.
    fn inside(&mut self) -> Result<bool, Fault> {
        if let Some(trim) = self.right_delim() {
            if self.depth > 0 {
                return Err(Fault("unclosed left paren".to_owned()));
            }
            let end = self.pos + self.delims.right.len() + if trim { 2 } else { 0 };
            self.out.tokens.push(Token { kind: TokenKind::RightDelim, start: narrow(self.pos), end: narrow(end) });
            self.close();
            return Ok(true);
        }
        let Some(c) = self.next() else { return Err(Fault("unclosed action".to_owned())) };
        match c {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.emit(TokenKind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return Err(Fault("expected :=".to_owned()));
                }
                self.emit(TokenKind::Declare);
            }
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted('"', "unterminated quoted string", TokenKind::Quoted)?,
            '\'' => self.quoted('\'', "unterminated character constant", TokenKind::CharConstant)?,
            '`' => self.raw_quoted()?,
            '$' => self.word(TokenKind::Variable, TokenKind::Variable)?,
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.word(TokenKind::Field, TokenKind::Dot)?,
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = self.start;
                self.number()?;
            }
            '(' => {
                self.depth += 1;
                self.emit(TokenKind::LeftParen);
            }
            ')' if self.depth == 0 => return Err(Fault("unexpected right paren".to_owned())),
            ')' => {
                self.depth -= 1;
                self.emit(TokenKind::RightParen);
            }
            c if is_word(c) => self.identifier()?,
            c if c.is_ascii_graphic() => self.emit(TokenKind::Char),
            c => return Err(Fault(format!("unrecognized character in action: {}", unicode_name(c)))),
        }
        Ok(false)
    }

    fn space(&mut self) {
        while self.right_delim() != Some(true) && self.peek().is_some_and(is_space) {
            self.next();
        }
        // ` -}}` owns the white-space character before its minus; when that is all there was, no token is left.
        let last = self.pos - 1;
        let trims = self.text.get(last..).is_some_and(|t| t.get(1..).is_some_and(|t| t.starts_with('-')))
            && self.text.get(last + 2..).is_some_and(|t| t.starts_with(self.delims.right));
        if trims {
            self.pos = last;
        }
        if self.pos > self.start {
            self.emit(TokenKind::Space);
        }
    }

    fn quoted(&mut self, quote: char, fault: &str, kind: TokenKind) -> Result<(), Fault> {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return Err(Fault(fault.to_owned()));
                    }
                }
                None | Some('\n') => return Err(Fault(fault.to_owned())),
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw_quoted(&mut self) -> Result<(), Fault> {
        let Some(length) = self.rest().find('`') else {
            self.pos = self.text.len();
            return Err(Fault("unterminated raw quoted string".to_owned()));
        };
        self.pos += length + 1;
        self.emit(TokenKind::RawQuoted);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => is_space(c) || self.rest().starts_with(self.delims.right),
        }
    }

    fn word(&mut self, kind: TokenKind, alone: TokenKind) -> Result<(), Fault> {
        if self.at_terminator() {
            self.emit(alone);
            return Ok(());
        }
        self.take_word()?;
        self.emit(kind);
        Ok(())
    }

    fn take_word(&mut self) -> Result<(), Fault> {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
        if self.at_terminator() {
            return Ok(());
        }
        let c = self.peek().unwrap_or('\0');
        Err(Fault(format!("bad character {}", unicode_name(c))))
    }

    fn identifier(&mut self) -> Result<(), Fault> {
        self.take_word()?;
        let word = self.text.get(self.start..self.pos).unwrap_or("");
        let keyword = KEYWORDS.iter().find(|(name, _)| *name == word);
        self.emit(match keyword {
            Some((_, keyword)) => TokenKind::Keyword(*keyword),
            None if word == "true" || word == "false" => TokenKind::Bool,
            None => TokenKind::Identifier,
        });
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if !self.scan_number() {
            return Err(self.bad_number());
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.text.get(..self.pos).is_some_and(|t| t.ends_with('i')) {
                return Err(self.bad_number());
            }
            self.emit(TokenKind::Complex);
        } else {
            self.emit(TokenKind::Number);
        }
        Ok(())
    }

    fn bad_number(&self) -> Fault {
        Fault(format!("bad number syntax: {:?}", self.text.get(self.start..self.pos).unwrap_or("")))
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEX: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEX;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = (digits == DECIMAL && self.accept("eE")) || (digits == HEX && self.accept("pP"));
        if exponent {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.next();
            return false;
        }
        true
    }
}

fn starts_with_trim(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// Names a character as Go's `%#U` does.
fn unicode_name(c: char) -> String {
    let code = u32::from(c);
    if c.is_control() || matches!(c, '\u{a0}' | '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{feff}') {
        format!("U+{code:04X}")
    } else {
        format!("U+{code:04X} '{c}'")
    }
}

#[cfg(test)]
mod tests {
    use super::{Delims, TokenKind, lex};
    use crate::source::FileId;

    fn kinds(text: &str) -> Vec<TokenKind> {
        lex(FileId(0), text, Delims::default()).tokens.iter().map(|t| t.kind).collect()
    }

    #[test]
    fn trim_markers_belong_to_the_delimiters() {
        let lexed = lex(FileId(0), "a \n{{- 1 -}}\n b", Delims::default());
        let texts: Vec<_> =
            lexed.tokens.iter().filter(|t| t.kind == TokenKind::Text).map(|t| (t.start, t.end)).collect();
        assert_eq!(texts, vec![(0, 1), (14, 15)]);
        assert!(!lexed.tokens.iter().any(|t| t.kind == TokenKind::Space));
    }

    #[test]
    fn a_minus_without_white_space_is_a_sign() {
        use TokenKind::{Eof, LeftDelim, Number, RightDelim};
        assert_eq!(kinds("{{-1}}"), vec![LeftDelim, Number, RightDelim, Eof]);
        assert_eq!(lex(FileId(0), "{{1-}}", Delims::default()).faults, vec!["bad number syntax: \"1-\""]);
    }

    #[test]
    fn after_a_fault_the_next_action_is_lexed() {
        let lexed = lex(FileId(0), "{{ .a-b }} {{ .c }}", Delims::default());
        assert_eq!(lexed.faults, vec!["bad character U+002D '-'"]);
        assert!(lexed.tokens.iter().filter(|t| t.kind == TokenKind::Field).count() == 1);
    }

    #[test]
    fn other_delimiters_are_honoured() {
        let lexed = lex(FileId(0), "{{ x }}[[ .a ]]", Delims { left: "[[", right: "]]" });
        assert_eq!(lexed.tokens.first().map(|t| (t.start, t.end)), Some((0, 7)));
    }
}
