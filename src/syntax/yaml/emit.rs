//! Writing YAML as the emitters of go-yaml do: v2 behind Helm's `toYaml`, v3 behind `toYamlPretty`.
//!
//! The one idea: [`Writer`] is told a tree from outside in, piece by piece, so every kind of tree can be written
//! without a copy. It keeps the state of libyaml's emitter (column, "after white space", "only indentation so far"),
//! because the layout follows from that state.

use super::number::{json_number, write_float_g, write_integer};
use super::order::sort_naturally;
use super::resolve::{is_timestamp, resolve_plain};
use super::tree::{Data, Node, Plain};

/// Whose layout is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// go-yaml v2: lists are not indented under their key, long lines are folded at column 80.
    V2,
    /// go-yaml v3: lists are indented, nothing is folded.
    V3,
    /// Our own files: lists as v2, nothing is folded.
    Manifest,
}

/// The value cannot be written: a string holds a character that YAML refuses, or a number is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be written as YAML")]
pub struct Unwritable;

/// Writes one document.
///
/// Of a collection that is not empty: begin, then `key` and a value (or `item` and a value) each, then `end`.
#[derive(Debug)]
pub struct Writer {
    out: String,
    layout: Layout,
    column: usize,
    /// The last thing written was white space or the start of a line.
    whitespace: bool,
    /// Nothing but indentation and dashes stands on the line.
    indention: bool,
    /// The column of the open collection; `None` before the first.
    indent: Option<usize>,
    outer: Vec<Option<usize>>,
    in_mapping: bool,
    bad: bool,
}

/// After this column a line is folded at the next space.
const WIDTH: usize = 80;
/// A longer key is written in the explicit form. Unit: bytes.
const LONGEST_SIMPLE_KEY: usize = 128;
/// A longer key cannot be read back between the two steps of Helm's `toYaml`. Unit: characters of JSON, quotes included.
const LONGEST_JSON_KEY: usize = 1024;

impl Writer {
    /// Starts a document.
    pub fn new(layout: Layout) -> Self {
        Self {
            out: String::new(),
            layout,
            column: 0,
            whitespace: true,
            indention: true,
            indent: None,
            outer: Vec::new(),
            in_mapping: false,
            bad: false,
        }
    }

    /// Returns the layout that is written.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Ends the document and returns its text, which ends in a line break.
    ///
    /// # Errors
    /// Something was written that YAML cannot hold.
    pub fn finish(mut self) -> Result<String, Unwritable> {
        self.line();
        if self.bad { Err(Unwritable) } else { Ok(self.out) }
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.word("null");
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.word(if value { "true" } else { "false" });
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        let mut text = String::new();
        write_integer(&mut text, value.unsigned_abs(), value < 0);
        self.word(&text);
    }

    /// Writes an integer.
    pub fn uint(&mut self, value: u64) {
        let mut text = String::new();
        write_integer(&mut text, value, false);
        self.word(&text);
    }

    /// Writes a float that took the way through JSON: without fraction it is an integer again.
    pub fn json_float(&mut self, value: f64) {
        match json_number(value) {
            Some(text) => self.word(&text),
            None => self.bad = true,
        }
    }

    /// Writes a float as Go prints it: `1e+06`, `.inf`.
    pub fn go_float(&mut self, value: f64) {
        let mut text = String::new();
        if value.is_finite() {
            write_float_g(&mut text, value);
        } else {
            text.push_str(if value.is_nan() {
                ".nan"
            } else if value > 0.0 {
                ".inf"
            } else {
                "-.inf"
            });
        }
        self.word(&text);
    }

    /// Writes a string in the style that keeps it a string.
    pub fn string(&mut self, text: &str) {
        self.scalar(text, false);
    }

    /// Begins a list; an empty one is complete with this.
    pub fn begin_sequence(&mut self, empty: bool) {
        if empty {
            self.indicator("[]", true);
            return;
        }
        let unindented = self.layout != Layout::V3 && self.in_mapping && !self.indention;
        self.outer.push(self.indent);
        self.indent = Some(match self.indent {
            None => 0,
            Some(column) if unindented => column,
            Some(column) => column + 2,
        });
    }

    /// Begins an element of the open list.
    pub fn item(&mut self) {
        self.line();
        self.mark('-');
        self.in_mapping = false;
    }

    /// Begins a mapping; an empty one is complete with this.
    pub fn begin_mapping(&mut self, empty: bool) {
        if empty {
            self.indicator("{}", true);
            return;
        }
        self.outer.push(self.indent);
        self.indent = Some(self.indent.map_or(0, |column| column + 2));
    }

    /// Writes a key of the open mapping; its value follows.
    pub fn key(&mut self, key: &str) {
        self.line();
        self.in_mapping = true;
        let folded;
        let mut key = key;
        if self.layout == Layout::V2 {
            self.bad |= key.len() > LONGEST_JSON_KEY / 6 && json_length(key) > LONGEST_JSON_KEY;
            if key.contains('\u{85}') {
                folded = fold_next_lines(key);
                key = &folded;
            }
        }
        if key.len() <= LONGEST_SIMPLE_KEY && !key.contains(is_break) {
            self.scalar(key, true);
            self.indicator(":", false);
        } else {
            self.mark('?');
            self.scalar(key, false);
            self.line();
            self.mark(':');
        }
    }

    /// Ends the open collection.
    pub fn end(&mut self) {
        self.indent = self.outer.pop().flatten();
    }

    /// Starts a new line at the indentation of the open collection, unless it stands there already.
    fn line(&mut self) {
        let indent = self.indent.unwrap_or(0);
        self.line_at(indent);
    }

    fn line_at(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.out.push('\n');
            self.column = 0;
        }
        const SPACES: &str = "                                                                ";
        while self.column < indent {
            let piece = SPACES.get(..indent - self.column).unwrap_or(SPACES);
            self.out.push_str(piece);
            self.column += piece.len();
        }
        self.whitespace = true;
        self.indention = true;
    }

    /// Writes `-`, `?` or `:` where they stand for structure.
    fn mark(&mut self, mark: char) {
        if !self.whitespace {
            self.put(' ');
        }
        self.put(mark);
        self.whitespace = false;
    }

    fn indicator(&mut self, text: &str, spaced: bool) {
        if spaced && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = false;
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    /// Writes a plain scalar that needs no thought.
    fn word(&mut self, text: &str) {
        self.indicator(text, true);
    }

    fn scalar(&mut self, text: &str, simple_key: bool) {
        if self.layout == Layout::V2 && text.contains('\u{85}') {
            self.styled(&fold_next_lines(text), simple_key);
        } else {
            self.styled(text, simple_key);
        }
    }

    fn styled(&mut self, text: &str, simple_key: bool) {
        let shape = Shape::of(text, self.layout);
        self.bad |= shape.refused && self.layout == Layout::V2;
        let indent = self.indent.map_or(2, |column| column + 2);
        let fold = !simple_key && self.layout == Layout::V2;
        match shape.style(text, simple_key, self.layout) {
            Style::Plain => self.plain(text, fold, indent),
            Style::Single => self.single_quoted(text, fold, indent),
            Style::Double => self.double_quoted(text, fold, indent),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, text: &str, fold: bool, indent: usize) {
        if !text.is_empty() && !self.whitespace {
            self.put(' ');
        }
        self.folded(text, fold, indent, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, fold: bool, indent: usize) {
        self.indicator("'", true);
        self.folded(text, fold, indent, true);
        self.indicator("'", false);
    }

    /// Writes the text of a plain or single-quoted scalar.
    fn folded(&mut self, text: &str, fold: bool, indent: usize, quoted: bool) {
        let simple = text.is_ascii() && !(quoted && text.contains('\''));
        if simple && (!fold || self.column + text.len() <= WIDTH) {
            self.out.push_str(text);
            self.column += text.len();
            return;
        }
        let (mut spaces, mut breaks) = (false, false);
        let mut rest = text.chars().peekable();
        let mut first = true;
        while let Some(character) = rest.next() {
            if character == ' ' {
                let inside = !quoted || (!first && rest.peek().is_some());
                if fold && !spaces && self.column > WIDTH && inside && rest.peek() != Some(&' ') {
                    self.line_at(indent);
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(character) {
                self.out.push(character);
                self.column = 0;
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line_at(indent);
                }
                if quoted && character == '\'' {
                    self.put('\'');
                }
                self.put(character);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
            first = false;
        }
    }

    fn double_quoted(&mut self, text: &str, fold: bool, indent: usize) {
        self.indicator("\"", true);
        let mut spaces = false;
        let mut rest = text.chars().peekable();
        let mut first = true;
        while let Some(character) = rest.next() {
            let raw = is_printable(character) || (self.layout == Layout::Manifest && character > '\u{ffff}');
            if !raw || is_break(character) || matches!(character, '"' | '\\') {
                self.escaped(character);
                spaces = false;
            } else if character == ' ' {
                if fold && !spaces && self.column > WIDTH && !first && rest.peek().is_some() {
                    self.line_at(indent);
                    if rest.peek() == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(character);
                spaces = false;
            }
            first = false;
        }
        self.indicator("\"", false);
    }

    fn escaped(&mut self, character: char) {
        let short = match character {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            other => {
                let code = u32::from(other);
                let text = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.out.push_str(&text);
                self.column += text.len();
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true);
        let tab = self.layout == Layout::Manifest && text.starts_with('\t');
        if tab || text.starts_with([' ', '\n', '\u{2028}', '\u{2029}', '\u{85}']) {
            self.put('2');
        }
        let mut backwards = text.chars().rev();
        match (backwards.next().is_some_and(is_break), backwards.next().map(is_break)) {
            (false, _) => self.put('-'),
            (true, None | Some(true)) => self.put('+'),
            (true, Some(false)) => {}
        }
        self.out.push('\n');
        self.column = 0;
        self.indention = true;
        self.whitespace = true;
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.find(is_break).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            if !line.is_empty() {
                self.line_at(indent);
                self.out.push_str(line);
                self.column += line.chars().count();
                self.indention = false;
            }
            rest = after;
            if let Some(found) = rest.chars().next() {
                self.out.push(found);
                self.column = 0;
                self.indention = true;
                rest = rest.get(found.len_utf8()..).unwrap_or("");
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What a string's characters allow.
#[derive(Default)]
struct Shape {
    /// A line feed: the literal style is wanted.
    line_feed: bool,
    /// Any line break.
    line_break: bool,
    plain: bool,
    single: bool,
    literal: bool,
    /// It cannot be read back by Helm.
    refused: bool,
}

impl Shape {
    fn of(text: &str, layout: Layout) -> Self {
        let bytes = text.as_bytes();
        let simple = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'.' | b'-' | b'=' | b'$');
        let starts_simply = bytes.first().is_none_or(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'$'));
        if starts_simply && bytes.iter().all(simple) {
            return Self { plain: true, single: true, literal: true, ..Self::default() };
        }
        let mut shape = Self { plain: true, single: true, literal: true, ..Self::default() };
        let mut special = false;
        let mut rest = text.chars().peekable();
        let mut before: Option<char> = None;
        if text.starts_with("---") || text.starts_with("...") {
            shape.plain = false;
        }
        while let Some(character) = rest.next() {
            let next = rest.peek().copied();
            let followed = next.is_none_or(|c| matches!(c, ' ' | '\t'));
            let indicator = match (before, character) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
                ) => true,
                (None, '?' | '-') | (_, ':') => followed,
                (Some(b), '#') => matches!(b, ' ' | '\t' | '\0') || is_break(b),
                _ => false,
            };
            if indicator {
                shape.plain = false;
            }
            if character == '\t' && layout != Layout::V2 {
                (shape.plain, shape.single) = (false, false);
            } else if !(is_printable(character) || layout == Layout::Manifest && character > '\u{ffff}') {
                special = true;
                shape.refused |= is_refused(character);
            }
            if character == ' ' {
                if before.is_none() || next.is_none() {
                    shape.plain = false;
                }
                if next.is_none() {
                    shape.literal = false;
                }
                if before.is_some_and(is_break) {
                    (shape.plain, shape.single) = (false, false);
                }
            } else if is_break(character) {
                shape.line_break = true;
                shape.line_feed |= character == '\n';
                shape.plain = false;
                if before == Some(' ') {
                    special = true;
                }
            }
            before = Some(character);
        }
        if special {
            (shape.plain, shape.single, shape.literal) = (false, false, false);
        }
        shape
    }

    fn style(&self, text: &str, simple_key: bool, layout: Layout) -> Style {
        let wanted = if self.line_feed {
            Style::Literal
        } else if reads_as_another_type(text, layout) {
            Style::Double
        } else {
            Style::Plain
        };
        match wanted {
            Style::Literal if !self.literal || simple_key => Style::Double,
            Style::Plain if simple_key && self.line_break => Style::Double,
            Style::Plain if self.plain => Style::Plain,
            Style::Plain | Style::Single if self.single => Style::Single,
            Style::Plain | Style::Single | Style::Double => Style::Double,
            Style::Literal => Style::Literal,
        }
    }
}

fn reads_as_another_type(text: &str, layout: Layout) -> bool {
    if resolve_plain(text).is_some() {
        return true;
    }
    let number_like = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    number_like && (is_timestamp(text) || is_base_60(text)) || (layout == Layout::Manifest && text == "<<")
}

/// Says whether a text matches `[-+]?d[d_]*(:[0-5]?d)+(\.[d_]*)?`, the base 60 numbers of YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digit = |b: u8| b.is_ascii_digit() || b == b'_';
    let mut groups = whole.split(':');
    let first = groups.next().unwrap_or("");
    let group = |g: &str| match g.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
        _ => false,
    };
    whole.contains(':')
        && first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(digit)
        && groups.all(group)
        && fraction.bytes().all(digit)
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && character != '\u{feff}'
}

/// Folds U+0085 as the double-quoted scalar does in which Helm's `toYaml` passes the text on.
fn fold_next_lines(text: &str) -> String {
    let mut pieces = text.split('\u{85}').peekable();
    let mut out = pieces.next().unwrap_or("").trim_end_matches(' ').to_owned();
    while let Some(piece) = pieces.next() {
        let mut breaks = 1;
        let mut piece = piece;
        while piece.trim_matches(' ').is_empty() && pieces.peek().is_some() {
            piece = pieces.next().unwrap_or("");
            breaks += 1;
        }
        out.push_str(&if breaks == 1 { " ".to_owned() } else { "\n".repeat(breaks - 1) });
        let piece = piece.trim_start_matches(' ');
        out.push_str(if pieces.peek().is_some() { piece.trim_end_matches(' ') } else { piece });
    }
    out
}

/// Returns the number of characters of a string in Go's JSON, quotes included.
fn json_length(text: &str) -> usize {
    let width = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        _ => 1,
    };
    2 + text.chars().map(width).sum::<usize>()
}

/// Says whether Helm cannot read the character back between the two steps of `toYaml`.
fn is_refused(character: char) -> bool {
    matches!(character, '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
}

/// Writes a tree without positions as Helm's `toYaml` does, with the final line break.
///
/// # Errors
/// A string holds a character that YAML refuses.
pub fn to_yaml(value: &Plain) -> Result<String, Unwritable> {
    let mut writer = Writer::new(Layout::V2);
    write_plain(&mut writer, value, false);
    writer.finish()
}

/// Writes a manifest for people and for comparison: `apiVersion`, `kind` and `metadata` first, then by name.
///
/// The same data gives the same bytes, and long lines stay whole. Characters that YAML refuses are escaped.
pub fn manifest_yaml(value: &Plain) -> String {
    let mut writer = Writer::new(Layout::Manifest);
    write_plain(&mut writer, value, true);
    writer.finish().unwrap_or_default()
}

fn write_plain(writer: &mut Writer, value: &Plain, manifest: bool) {
    match value {
        Plain::Null => writer.null(),
        Plain::Bool(flag) => writer.bool(*flag),
        Plain::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(int), _, _) => writer.int(int),
            (None, Some(uint), _) => writer.uint(uint),
            (None, None, float) => writer.json_float(float.unwrap_or(f64::NAN)),
        },
        Plain::String(text) => writer.string(text),
        Plain::Array(items) => {
            writer.begin_sequence(items.is_empty());
            for item in items {
                writer.item();
                write_plain(writer, item, false);
            }
            if !items.is_empty() {
                writer.end();
            }
        }
        Plain::Object(entries) => {
            writer.begin_mapping(entries.is_empty());
            let mut sorted: Vec<(&str, &Plain)> = entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
            sort_naturally(writer.layout, &mut sorted, |(key, _)| key);
            if manifest {
                let rank = |key: &str| match key {
                    "apiVersion" => 0,
                    "kind" => 1,
                    "metadata" => 2,
                    _ => 3,
                };
                sorted.sort_by_key(|(key, _)| rank(key));
            }
            for (key, value) in sorted {
                writer.key(key);
                write_plain(writer, value, false);
            }
            if !entries.is_empty() {
                writer.end();
            }
        }
    }
}

/// Writes a parsed node as Helm's `toYaml` does, with the final line break.
///
/// # Errors
/// A number is not finite.
pub fn node_to_yaml(node: &Node) -> Result<String, Unwritable> {
    let mut writer = Writer::new(Layout::V2);
    write_node(&mut writer, node);
    writer.finish()
}

fn write_node(writer: &mut Writer, node: &Node) {
    match &node.data {
        Data::Null => writer.null(),
        Data::Bool(flag) => writer.bool(*flag),
        Data::Int(value) => writer.int(*value),
        Data::Uint(value) => writer.uint(*value),
        Data::Float(value) => writer.json_float(*value),
        Data::String(text) => writer.string(text),
        Data::Sequence(items) => {
            writer.begin_sequence(items.is_empty());
            for item in items.iter() {
                writer.item();
                write_node(writer, item);
            }
            if !items.is_empty() {
                writer.end();
            }
        }
        Data::Mapping(mapping) => {
            writer.begin_mapping(mapping.is_empty());
            let mut sorted: Vec<(&str, &Node)> = mapping.iter().map(|e| (&*e.name, &e.value)).collect();
            sort_naturally(writer.layout, &mut sorted, |(key, _)| key);
            for (key, value) in sorted {
                writer.key(key);
                write_node(writer, value);
            }
            if !mapping.is_empty() {
                writer.end();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Helm v3.20.0 (`toYaml`) and v4.1.1 (`toYamlPretty`) print, one value a line.
    const CASES: &str = include_str!("../../../testdata/syntax/yaml/emit.jsonl");

    #[test]
    fn values_are_written_as_helm_writes_them() {
        for line in CASES.lines() {
            let case: Plain = serde_json::from_str(line).unwrap();
            for (layout, wanted) in [(Layout::V2, &case["yaml"]), (Layout::V3, &case["pretty"])] {
                let mut writer = Writer::new(layout);
                write_floats(&mut writer, &case["value"]);
                let text = writer.finish().unwrap_or_default();
                let text = text.strip_suffix('\n').unwrap_or(&text);
                assert_eq!(text, wanted.as_str().unwrap(), "{layout:?} of {}", case["value"]);
            }
        }
    }

    /// Writes every number as the float that it is in Helm.
    fn write_floats(writer: &mut Writer, value: &Plain) {
        match value {
            Plain::Number(number) if writer.layout == Layout::V3 => writer.go_float(number.as_f64().unwrap()),
            Plain::Number(number) => writer.json_float(number.as_f64().unwrap()),
            Plain::Array(items) => {
                writer.begin_sequence(items.is_empty());
                for item in items {
                    writer.item();
                    write_floats(writer, item);
                }
                if !items.is_empty() {
                    writer.end();
                }
            }
            Plain::Object(entries) => {
                writer.begin_mapping(entries.is_empty());
                let mut sorted: Vec<(&str, &Plain)> = entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
                sort_naturally(writer.layout, &mut sorted, |(key, _)| key);
                for (key, value) in sorted {
                    writer.key(key);
                    write_floats(writer, value);
                }
                if !entries.is_empty() {
                    writer.end();
                }
            }
            Plain::Null | Plain::Bool(_) | Plain::String(_) => write_plain(writer, value, false),
        }
    }

    #[test]
    fn a_manifest_begins_with_what_it_is_and_keeps_long_lines() {
        let long = "word ".repeat(40) + "end";
        let value = serde_json::json!({"spec": {"b": [1], "a": long}, "metadata": {"name": "x"}, "kind": "K", "apiVersion": "v1"});
        let wanted = format!("apiVersion: v1\nkind: K\nmetadata:\n  name: x\nspec:\n  a: {long}\n  b:\n  - 1\n");
        assert_eq!(manifest_yaml(&value), wanted);
    }
}
