//! From events to the tree: anchors, merge keys, duplicate keys, tags, and the bounds on all of them.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::source::{FileId, Sources, Span};

use super::event::{Event, EventKind, Properties, SyntaxError};
use super::parse::Events;
use super::resolve::resolve_plain;
use super::tree::{Data, Entry, Mapping, Node, Style};

/// The deepest nesting that is read; deeper input is refused.
pub const MAX_DEPTH: u32 = 1_000;

/// How many short texts are remembered, how long they are, and in what texts that pays. Unit: texts, bytes, bytes.
const WORDS: usize = 512;
const LONGEST_WORD: usize = 24;
const WORTH_WORDS: usize = 4096;

/// How many documents of a stream are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// The first; what follows is not even looked at. Source: yaml.Unmarshal of Go.
    First,
    /// All.
    All,
}

/// How a key that is no string becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It is resolved and printed again: `on` is `true`, `0x10` is `16`, `1.50` is `1.5`. Source: sigs.k8s.io/yaml.
    Resolved,
    /// Its source text is taken. Source: go-yaml v2 decoding into structs, as werf does.
    Literal,
}

/// What dialect is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many documents are read.
    pub documents: Documents,
    /// How keys become text.
    pub keys: Keys,
    /// The severity of a key that occurs twice in a mapping; `None` does not report it. The last one wins.
    pub duplicates: Option<Severity>,
}

impl Options {
    /// Values files, `Chart.yaml`, `fromYaml`: what sigs.k8s.io/yaml accepts.
    pub const HELM: Self = Self { documents: Documents::First, keys: Keys::Resolved, duplicates: None };
    /// Rendered manifests: as [`Self::HELM`], all documents.
    pub const MANIFESTS: Self = Self { documents: Documents::All, keys: Keys::Resolved, duplicates: None };
    /// Documents of werf.yaml: go-yaml v2 in strict mode.
    pub const WERF: Self = Self { documents: Documents::First, keys: Keys::Literal, duplicates: Some(Severity::Error) };
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What Helm says, for example `yaml: line 1: did not find expected node content`.
    pub message: String,
    /// The same without prefix and line.
    pub problem: String,
    /// The place.
    pub span: Span,
    /// What was being read there, and where it began.
    pub context: Option<(&'static str, Span)>,
}

/// A key that occurs twice in one mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub name: Arc<str>,
    /// The earlier place, which loses.
    pub first: Span,
    /// The later place.
    pub again: Span,
}

/// Parses a registered text. The documents before a fault are returned.
pub fn parse_documents(diagnostics: &mut Diagnostics, sources: &Sources, file: FileId, options: Options) -> Vec<Node> {
    let text = sources.get(file).text().clone();
    report(diagnostics, &text, file, 0, options)
}

/// Parses a part of a registered text, for example one document of several.
///
/// Unit: byte offsets. A range outside the text or inside a character gives no document.
pub fn parse_range(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    file: FileId,
    range: Range<usize>,
    options: Options,
) -> Vec<Node> {
    let text = sources.get(file).text().clone();
    let start = range.start;
    text.get(range).map(|part| report(diagnostics, part, file, start, options)).unwrap_or_default()
}

fn report(diagnostics: &mut Diagnostics, text: &str, file: FileId, offset: usize, options: Options) -> Vec<Node> {
    let mut composer = Composer::new(text, file, offset, options);
    let outcome = composer.run();
    if let Some(severity) = options.duplicates {
        for twice in &composer.duplicates {
            let message = format!("the key `{}` is set twice", twice.name);
            let mut found = Diagnostic::at(&rules::YAML_DUPLICATE_KEY, twice.again, message)
                .label("this one wins")
                .also(twice.first, "set here first");
            found.severity = severity;
            diagnostics.push(found);
        }
    }
    if let Err(error) = outcome {
        let mut found = Diagnostic::at(&rules::YAML_SYNTAX, error.span, error.problem);
        if let Some((context, span)) = error.context {
            found = found.also(span, context);
        }
        diagnostics.push(found);
    }
    composer.done
}

/// Reads the first document of a text that is registered as `file`, from byte `offset` on; an empty text is null.
///
/// # Errors
/// The text is no YAML of this dialect.
pub fn decode(text: &str, file: FileId, offset: usize, options: Options) -> Result<Node, YamlError> {
    let options = Options { documents: Documents::First, ..options };
    let mut nodes = decode_all(text, file, offset, options)?;
    Ok(nodes.pop().unwrap_or_else(|| Node::null(Span::new(file, offset, offset))))
}

/// Reads the documents of a text that is registered as `file`, from byte `offset` on.
///
/// # Errors
/// The text is no YAML of this dialect.
pub fn decode_all(text: &str, file: FileId, offset: usize, options: Options) -> Result<Vec<Node>, YamlError> {
    let mut composer = Composer::new(text, file, offset, options);
    composer.run()?;
    if let (Some(_), Some(twice)) = (options.duplicates, composer.duplicates.first()) {
        let problem = format!("key {:?} already set in map", twice.name);
        return Err(YamlError { message: format!("yaml: {problem}"), problem, span: twice.again, context: None });
    }
    Ok(composer.done)
}

/// Turns the bytes of a file into text: UTF-8 or UTF-16, with or without byte order mark (which is kept off).
///
/// # Errors
/// The offset of the first byte that is neither.
pub fn text_of_bytes(bytes: &[u8]) -> Result<String, usize> {
    let wide = |rest: &[u8], pair: fn([u8; 2]) -> u16| {
        let units =
            rest.chunks_exact(2).map(|c| pair([c.first().copied().unwrap_or(0), c.get(1).copied().unwrap_or(0)]));
        let mut text = String::with_capacity(rest.len() / 2);
        for (index, unit) in char::decode_utf16(units).enumerate() {
            text.push(unit.map_err(|_| 2 + index * 2)?);
        }
        if rest.len() % 2 == 1 { Err(bytes.len() - 1) } else { Ok(text) }
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest).map_err(|at| at + 3),
        rest => utf8(rest),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, usize> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|e| e.valid_up_to())
}

/// A finished node and what it counts for.
#[derive(Clone)]
struct Built {
    node: Node,
    /// Nodes in it, aliases expanded.
    size: u64,
    /// Levels of nesting in it, aliases expanded.
    height: u32,
    /// It is an unquoted, untagged `<<`, or one tagged as merge key.
    merge: bool,
}

/// A collection that is being read.
struct Frame<'a> {
    start: usize,
    style: Style,
    anchor: Option<&'a str>,
    size: u64,
    height: u32,
    parts: Parts,
}

enum Parts {
    Sequence(Vec<Node>),
    Mapping { mapping: Mapping, key: Option<Built> },
}

struct Composer<'a> {
    events: Events<'a>,
    text: &'a str,
    file: FileId,
    offset: usize,
    options: Options,
    stack: Vec<Frame<'a>>,
    /// Anchored values of this document; `None` while the value is being read.
    anchors: FxHashMap<&'a str, Option<Built>>,
    /// Short texts that occurred before, by their hash: most keys, and many values.
    words: Vec<Option<Arc<str>>>,
    /// Nodes so far in this document, aliases expanded; and those that came from aliases.
    nodes: u64,
    aliased: u64,
    duplicates: Vec<Duplicate>,
    /// The first fault of each kind that is told only when the whole document has been read.
    later: [Option<YamlError>; 2],
    done: Vec<Node>,
}

/// Faults that Go finds after the parse: while it decodes, and while it turns the result into JSON.
#[derive(Clone, Copy)]
enum Later {
    Decode = 0,
    Json = 1,
}

impl<'a> Composer<'a> {
    fn new(text: &'a str, file: FileId, offset: usize, options: Options) -> Self {
        let (text, offset) = match text.strip_prefix('\u{feff}') {
            Some(rest) => (rest, offset + '\u{feff}'.len_utf8()),
            None => (text, offset),
        };
        Self {
            events: Events::new(text),
            text,
            file,
            offset,
            options,
            stack: Vec::new(),
            anchors: FxHashMap::default(),
            words: if text.len() < WORTH_WORDS { Vec::new() } else { vec![None; WORDS] },
            nodes: 0,
            aliased: 0,
            duplicates: Vec::new(),
            later: [None, None],
            done: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), YamlError> {
        if let Some((at, found)) = control_character(self.text) {
            let bytes = at..at + found.len_utf8();
            return Err(self.fault("control characters are not allowed".to_owned(), &bytes));
        }
        loop {
            let event = self.events.next().map_err(|e| self.syntax(&e))?;
            match event.kind {
                EventKind::StreamEnd => return Ok(()),
                EventKind::DocumentStart => {
                    self.anchors.clear();
                    (self.nodes, self.aliased) = (0, 0);
                }
                EventKind::DocumentEnd => {
                    if let Some(fault) = self.later.iter_mut().find_map(Option::take) {
                        self.done.pop();
                        return Err(fault);
                    }
                    if self.options.documents == Documents::First {
                        return Ok(());
                    }
                }
                EventKind::Alias(_)
                | EventKind::Scalar { .. }
                | EventKind::SequenceStart { .. }
                | EventKind::SequenceEnd
                | EventKind::MappingStart { .. }
                | EventKind::MappingEnd => self.node_event(event)?,
            }
        }
    }

    fn node_event(&mut self, Event { kind, bytes }: Event<'a>) -> Result<(), YamlError> {
        match kind {
            EventKind::Alias(name) => {
                let built = self.alias(name, &bytes)?;
                self.attach(built);
                Ok(())
            }
            EventKind::Scalar { properties, value, style } => {
                let built = self.scalar(&properties, value, style, &bytes);
                self.nodes += 1;
                if let Some(anchor) = properties.anchor {
                    self.anchors.insert(anchor, Some(built.clone()));
                }
                self.attach(built);
                Ok(())
            }
            EventKind::SequenceStart { properties, style } => {
                self.open(&properties, style, &bytes, Parts::Sequence(Vec::new()))
            }
            EventKind::MappingStart { properties, style } => {
                self.open(&properties, style, &bytes, Parts::Mapping { mapping: Mapping::new(), key: None })
            }
            EventKind::SequenceEnd | EventKind::MappingEnd => {
                self.close(&bytes);
                Ok(())
            }
            EventKind::StreamEnd | EventKind::DocumentStart | EventKind::DocumentEnd => Ok(()),
        }
    }

    fn open(
        &mut self,
        properties: &Properties<'a>,
        style: Style,
        bytes: &Range<usize>,
        parts: Parts,
    ) -> Result<(), YamlError> {
        if self.stack.len() >= MAX_DEPTH as usize {
            return Err(self.fault(format!("exceeded max depth of {MAX_DEPTH}"), bytes));
        }
        self.nodes += 1;
        if let Some(anchor) = properties.anchor {
            self.anchors.insert(anchor, None);
        }
        self.stack.push(Frame { start: bytes.start, style, anchor: properties.anchor, size: 1, height: 1, parts });
        Ok(())
    }

    fn close(&mut self, bytes: &Range<usize>) {
        let frame = self.stack.pop().expect("an end event follows its start event");
        let (data, end) = match frame.parts {
            Parts::Sequence(items) => {
                let end = items.last().map(|n| n.span.end);
                (Data::Sequence(items.into()), end)
            }
            Parts::Mapping { mapping, .. } => {
                let end = mapping.iter().map(|e| e.value.span.end).max();
                (Data::Mapping(Arc::new(mapping)), end)
            }
        };
        let mut span = self.span(&(frame.start..bytes.end));
        if let (Style::Block, Some(end)) = (frame.style, end) {
            span.end = end.max(span.start);
        }
        let node = Node { span, data, style: frame.style, literal: None };
        let built = Built { node, size: frame.size, height: frame.height, merge: false };
        if let Some(anchor) = frame.anchor {
            self.anchors.insert(anchor, Some(built.clone()));
        }
        self.attach(built);
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or among the documents.
    fn attach(&mut self, built: Built) {
        let keys = self.options.keys;
        let Some(frame) = self.stack.last_mut() else {
            self.done.push(built.node);
            return;
        };
        frame.size += built.size;
        frame.height = frame.height.max(built.height + 1);
        let fault = match &mut frame.parts {
            Parts::Sequence(items) => {
                let fault = no_json(&built.node, keys);
                items.push(built.node);
                fault
            }
            Parts::Mapping { mapping, key } => match key.take() {
                None => {
                    let fault = collection_key(&built.node);
                    *key = Some(built);
                    fault
                }
                Some(key) if key.merge => merge(mapping, &built.node, &mut self.duplicates).err(),
                Some(key) => match key_name(&key.node, &built.node, keys) {
                    Ok(name) => {
                        let fault = no_json(&built.node, keys);
                        put(mapping, Entry { name, key: key.node, value: built.node }, &mut self.duplicates);
                        fault
                    }
                    Err(fault) => fault,
                },
            },
        };
        if let Some((kind, message, span)) = fault {
            let problem = message.strip_prefix("yaml: ").unwrap_or(&message).to_owned();
            self.postpone(kind, YamlError { message, problem, span, context: None });
        }
    }

    fn alias(&mut self, name: &str, bytes: &Range<usize>) -> Result<Built, YamlError> {
        let built = match self.anchors.get(name) {
            Some(Some(built)) => built.clone(),
            Some(None) => {
                self.postpone(Later::Decode, self.fault(format!("anchor '{name}' value contains itself"), bytes));
                let node = Node::null(self.span(bytes));
                return Ok(Built { node, size: 1, height: 0, merge: false });
            }
            None => return Err(self.fault(format!("unknown anchor '{name}' referenced"), bytes)),
        };
        if self.stack.len() + built.height as usize > MAX_DEPTH as usize {
            return Err(self.fault(format!("exceeded max depth of {MAX_DEPTH}"), bytes));
        }
        self.nodes = self.nodes.saturating_add(built.size);
        self.aliased = self.aliased.saturating_add(built.size);
        if self.aliased > 100 && self.nodes > 1_000 && self.aliased as f64 / self.nodes as f64 > alias_ratio(self.nodes)
        {
            return Err(self.fault("document contains excessive aliasing".to_owned(), bytes));
        }
        Ok(Built { node: Node { span: self.span(bytes), ..built.node }, merge: false, ..built })
    }

    fn scalar(
        &mut self,
        properties: &Properties<'_>,
        value: Cow<'_, str>,
        style: Style,
        bytes: &Range<usize>,
    ) -> Built {
        let tag = properties.tag.as_deref();
        let plain = tag.is_none() && style == Style::Plain;
        let merge = value == "<<" && (plain || matches!(tag, Some("!" | "tag:yaml.org,2002:merge")));
        let (data, literal) = if tag.is_none() {
            match if style == Style::Plain { resolve_plain(&value) } else { None } {
                None => (Data::String(self.shared(value)), None),
                Some(data) if value.is_empty() => (data, None),
                Some(data) => (data, Some(self.shared(value))),
            }
        } else {
            let data = tagged(tag.unwrap_or(""), &value).unwrap_or_else(|problem| {
                self.postpone(Later::Decode, self.fault(problem, bytes));
                Data::Null
            });
            let same = matches!(&data, Data::String(text) if **text == *value);
            (data, Some(value).filter(|_| !same).map(Arc::from))
        };
        let node = Node { span: self.span(bytes), data, style, literal };
        Built { node, size: 1, height: 0, merge }
    }

    /// Returns a text that is shared with an equal one before, where that is short and not long ago.
    fn shared(&mut self, text: Cow<'_, str>) -> Arc<str> {
        let hash = if text.len() > LONGEST_WORD { 0 } else { FxBuildHasher.hash_one(text.as_bytes()) };
        match self.words.get_mut((hash >> 32) as usize % WORDS) {
            Some(Some(word)) if **word == *text => word.clone(),
            Some(slot) if text.len() <= LONGEST_WORD => {
                let word: Arc<str> = text.into();
                *slot = Some(word.clone());
                word
            }
            Some(_) | None => text.into(),
        }
    }

    /// Keeps a fault until the document has been read.
    fn postpone(&mut self, kind: Later, fault: YamlError) {
        if let Some(slot) = self.later.get_mut(kind as usize) {
            slot.get_or_insert(fault);
        }
    }

    fn span(&self, bytes: &Range<usize>) -> Span {
        Span::new(self.file, self.offset + bytes.start, self.offset + bytes.end)
    }

    fn fault(&self, problem: String, bytes: &Range<usize>) -> YamlError {
        YamlError { message: format!("yaml: {problem}"), problem, span: self.span(bytes), context: None }
    }

    fn syntax(&self, error: &SyntaxError) -> YamlError {
        let line = error.go_line().map_or_else(String::new, |line| format!("line {line}: "));
        let message = format!("yaml: {line}{}", error.problem);
        let start = error.mark.offset.min(self.text.len());
        let width = self.text.get(start..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8);
        let context = error.context.map(|(text, mark)| (text, self.span(&(mark.offset..mark.offset))));
        YamlError { message, problem: error.problem.to_owned(), span: self.span(&(start..start + width)), context }
    }
}

/// Finds the first character that YAML 1.1 does not allow in a text.
fn control_character(text: &str) -> Option<(usize, char)> {
    // Most texts have none of the bytes that such a character begins with.
    let suspect = |b: u8| matches!(b, 0..=8 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f | 0xc2 | 0xef);
    if !text.bytes().any(suspect) {
        return None;
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    text.char_indices().find(|(_, c)| !allowed(*c))
}

/// Returns the share of a document that aliases may make up. Source: go-yaml v2.4.
fn alias_ratio(nodes: u64) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let nodes = nodes as f64;
    if nodes <= LOW {
        0.99
    } else if nodes >= HIGH {
        0.10
    } else {
        0.99 - 0.89 * ((nodes - LOW) / (HIGH - LOW))
    }
}

type Fault = (Later, String, Span);

fn put(mapping: &mut Mapping, entry: Entry, duplicates: &mut Vec<Duplicate>) {
    let (name, again) = (entry.name.clone(), entry.key.span);
    if let Some(old) = mapping.insert(entry) {
        duplicates.push(Duplicate { name, first: old.key.span, again });
    }
}

/// Applies a merge key: a mapping, or a list of mappings of which the first wins.
fn merge(into: &mut Mapping, value: &Node, duplicates: &mut Vec<Duplicate>) -> Result<(), Fault> {
    let wrong = |node: &Node| {
        let message = "yaml: map merge requires map or sequence of maps as the value".to_owned();
        (Later::Decode, message, node.span)
    };
    match &value.data {
        Data::Mapping(from) => from.iter().for_each(|e| put(into, e.clone(), duplicates)),
        Data::Sequence(items) => {
            for item in items.iter().rev() {
                let from = item.as_mapping().ok_or_else(|| wrong(item))?;
                from.iter().for_each(|e| put(into, e.clone(), duplicates));
            }
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) => {
            return Err(wrong(value));
        }
    }
    Ok(())
}

/// Refuses numbers that JSON does not have, where Helm makes JSON of what it reads.
fn no_json(node: &Node, keys: Keys) -> Option<Fault> {
    let Data::Float(number) = &node.data else { return None };
    if number.is_finite() || keys == Keys::Literal {
        return None;
    }
    let name = match (number.is_nan(), *number > 0.0) {
        (true, _) => "NaN",
        (false, true) => "+Inf",
        (false, false) => "-Inf",
    };
    Some((Later::Json, format!("json: unsupported value: {name}"), node.span))
}

/// Refuses a list or a mapping as key.
fn collection_key(key: &Node) -> Option<Fault> {
    let collection = matches!(key.data, Data::Sequence(_) | Data::Mapping(_));
    collection.then(|| (Later::Decode, format!("yaml: invalid map key: {}", go_syntax(key)), key.span))
}

/// Returns the text of a key. A fault that was told already is not told again.
fn key_name(key: &Node, value: &Node, keys: Keys) -> Result<Arc<str>, Option<Fault>> {
    let unsupported = |kind: &str, shown: &str| {
        let value = if value.is_null() { "<nil>".to_owned() } else { go_syntax(value) };
        let message = format!("unsupported map key of type: {kind}, key: {shown}, value: {value}");
        Err(Some((Later::Json, message, key.span)))
    };
    match (&key.data, keys) {
        (Data::String(text), Keys::Resolved) => Ok(text.clone()),
        (Data::Sequence(_) | Data::Mapping(_), _) => Err(None),
        (_, Keys::Literal) => Ok(key.scalar_text().unwrap_or("").into()),
        (Data::Bool(flag), _) => Ok(if *flag { "true" } else { "false" }.into()),
        (Data::Int(number), _) => Ok(number.to_string().into()),
        (Data::Float(number), _) => Ok(super::number::float_key(*number).into()),
        (Data::Null, _) => unsupported("%!s(<nil>)", "<nil>"),
        (Data::Uint(number), _) => unsupported("uint64", &format!("{number:#x}")),
    }
}

/// Prints a value as Go's `%#v` does, for messages.
fn go_syntax(node: &Node) -> String {
    match &node.data {
        Data::Null => "interface {}(nil)".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Uint(value) => format!("{value:#x}"),
        Data::Float(value) => super::number::float_key(*value),
        Data::String(text) => format!("{text:?}"),
        Data::Sequence(items) => {
            let items: Vec<String> = items.iter().take(100).map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Data::Mapping(mapping) => {
            let entry = |e: &Entry| format!("{}:{}", go_syntax(&e.key), go_syntax(&e.value));
            let entries: Vec<String> = mapping.iter().take(100).map(entry).collect();
            format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}

/// Resolves a scalar with an explicit tag. Source: go-yaml v2.4.
fn tagged(tag: &str, value: &str) -> Result<Data, String> {
    let text = || Data::String(value.into());
    let short = tag.strip_prefix("tag:yaml.org,2002:");
    let cannot = |found: &str| Err(format!("cannot decode !!{found} `{value}` as a !!{}", short.unwrap_or("")));
    let data = match short {
        Some("timestamp") if super::resolve::is_timestamp(value) => return Ok(text()),
        Some("bool" | "int" | "float" | "null" | "timestamp") => resolve_plain(value).unwrap_or_else(text),
        Some("binary") => {
            let compact: String = value.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(compact);
            let bytes = bytes.map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
            return Ok(Data::String(String::from_utf8_lossy(&bytes).into()));
        }
        _ => return Ok(text()),
    };
    match (short, &data) {
        (Some("float"), Data::Int(value)) => Ok(Data::Float(*value as f64)),
        (Some("float"), Data::Uint(value)) => Ok(Data::Float(*value as f64)),
        (Some("bool"), Data::Bool(_))
        | (Some("int"), Data::Int(_) | Data::Uint(_))
        | (Some("float"), Data::Float(_))
        | (Some("null"), Data::Null) => Ok(data),
        (_, Data::Null) => cannot("null"),
        (_, Data::Bool(_)) => cannot("bool"),
        (_, Data::Int(_) | Data::Uint(_)) => cannot("int"),
        (_, Data::Float(_)) => cannot("float"),
        (_, Data::String(_) | Data::Sequence(_) | Data::Mapping(_)) => cannot("str"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::yaml::{Plain, to_yaml};
    use proptest::prelude::*;

    /// What Helm v3.20.0 makes of a text (`fromYaml`), one a line.
    const CASES: &str = include_str!("../../../testdata/syntax/yaml/parse.jsonl");
    const FILE: FileId = FileId(0);

    fn read(text: &str) -> Result<Node, YamlError> {
        decode(text, FILE, 0, Options::HELM)
    }

    /// Returns the JSON that Helm makes of a text, or its message.
    fn helm(text: &str) -> Plain {
        let failed = |message: String| serde_json::json!({ "Error": message });
        let convert = |message: String| failed(format!("error converting YAML to JSON: {message}"));
        let decoding = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal";
        match read(text) {
            Err(error) => convert(error.message),
            Ok(node) => match &node.data {
                Data::Null => serde_json::json!({}),
                Data::Mapping(_) => floats(node.to_plain()),
                Data::Sequence(_) => {
                    failed(format!("{decoding} array into Go value of type map[string]interface {{}}"))
                }
                Data::Bool(_) => failed(format!("{decoding} bool into Go value of type map[string]interface {{}}")),
                Data::String(_) => failed(format!("{decoding} string into Go value of type map[string]interface {{}}")),
                Data::Int(_) | Data::Uint(_) | Data::Float(_) => {
                    failed(format!("{decoding} number into Go value of type map[string]interface {{}}"))
                }
            },
        }
    }

    fn floats(value: Plain) -> Plain {
        match value {
            Plain::Number(number) => Plain::from(number.as_f64().unwrap()),
            Plain::Array(items) => items.into_iter().map(floats).collect(),
            Plain::Object(entries) => Plain::Object(entries.into_iter().map(|(k, v)| (k, floats(v))).collect()),
            Plain::Null | Plain::Bool(_) | Plain::String(_) => value,
        }
    }

    #[test]
    fn texts_are_read_as_helm_reads_them() {
        for line in CASES.lines() {
            let case: Plain = serde_json::from_str(line).unwrap();
            assert_eq!(helm(case["yaml"].as_str().unwrap()), floats(case["json"].clone()), "{}", case["yaml"]);
        }
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused() {
        let told = |text: &str| read(text).map(|_| ()).map_err(|error| error.message);
        for (text, name) in [("a: .inf", "+Inf"), ("- b: [-.Inf]", "-Inf"), ("a: {b: .NaN}", "NaN")] {
            assert_eq!(told(text), Err(format!("json: unsupported value: {name}")));
        }
        assert_eq!(told(".inf: x\na: '.inf'\nb: 1e999x"), Ok(()));
        assert!(decode("a: .inf", FILE, 0, Options::WERF).is_ok());
    }

    #[test]
    fn nodes_know_their_places_and_their_source_text() {
        let text = "\u{feff}é: 1.10\nlist:\n- 'a'\n- {on: yes}\nblock: |\n  x\nend:\n";
        let node = read(text).unwrap();
        let slice = |n: &Node| text.get(n.span.range()).unwrap().to_owned();
        assert_eq!(slice(node.get("é").unwrap()), "1.10");
        assert_eq!(node.get("é").unwrap().scalar_text(), Some("1.10"));
        let items = node.get("list").unwrap().as_sequence().unwrap();
        assert_eq!(items.iter().map(slice).collect::<Vec<_>>(), ["'a'", "{on: yes}"]);
        assert_eq!(slice(node.get("list").unwrap()), "- 'a'\n- {on: yes}");
        assert_eq!(items[1].get("true").unwrap().as_bool(), Some(true));
        assert_eq!(items[1].as_mapping().unwrap().entry("true").unwrap().key.scalar_text(), Some("on"));
        assert_eq!(node.get("block").unwrap().as_str(), Some("x\n"));
        assert!(node.get("end").unwrap().is_null());
    }

    #[test]
    fn a_part_of_a_text_keeps_its_places() {
        let sources = Sources::new();
        let text = "a: 1\n---\nb: [2\n";
        let file = sources.add("x.yaml", text);
        let mut diagnostics = Diagnostics::new();
        let first = parse_range(&mut diagnostics, &sources, file, 0..5, Options::WERF);
        assert_eq!(first[0].get("a").unwrap().as_i64(), Some(1));
        assert!(diagnostics.is_empty());
        assert!(parse_range(&mut diagnostics, &sources, file, 9..text.len(), Options::WERF).is_empty());
        let found = diagnostics.as_slice();
        assert_eq!(found[0].message, "did not find expected ',' or ']'");
        assert_eq!(sources.locate(found[0].secondary[0].span).1.line, 3);
    }

    #[test]
    fn keys_of_werf_keep_their_text_and_may_not_repeat() {
        let sources = Sources::new();
        let file = sources.add("werf.yaml", "on: 1\n1.50: 2\nbase: &b {x: 1}\nuse: {<<: *b, x: 2}\non: 3\n");
        let mut diagnostics = Diagnostics::new();
        let nodes = parse_documents(&mut diagnostics, &sources, file, Options::WERF);
        let names: Vec<&str> = nodes[0].as_mapping().unwrap().iter().map(|e| &*e.name).collect();
        assert_eq!(names, ["on", "1.50", "base", "use"]);
        let messages: Vec<&str> = diagnostics.as_slice().iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["the key `x` is set twice", "the key `on` is set twice"]);
    }

    #[test]
    fn all_documents_are_read_on_request() {
        let texts = |options| decode_all("a\n---\nb\n--- {c: d\n", FILE, 0, options);
        assert_eq!(texts(Options::HELM).unwrap().len(), 1);
        assert!(texts(Options::MANIFESTS).is_err());
        assert_eq!(decode_all("a\n---\n---\nb\n", FILE, 0, Options::MANIFESTS).unwrap().len(), 3);
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert_eq!(read(&text).unwrap_err().message, "yaml: document contains excessive aliasing");
        for opening in ["[", "{a: ", "- ", "? ", "[[a, "] {
            let message = read(&opening.repeat(100_000)).unwrap_err().message;
            assert!(message.ends_with("exceeded max depth of 1000"), "{opening}: {message}");
        }
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&deep(1_000)).is_ok());
        let chained = format!("a: &a {}\nb: {}*a{}", deep(900), "[".repeat(200), "]".repeat(200));
        assert_eq!(read(&chained).unwrap_err().message, "yaml: exceeded max depth of 1000");
    }

    #[test]
    fn long_texts_take_linear_time() {
        for piece in
            ["x ", "a: b\n", "- a\n", "'a' ", "\n", "# c\n", "[a]: ", "a:", "\"a\" ", "!a ", "é", "*a ", "{},\n"]
        {
            let _ = read(&piece.repeat(20_000));
            let _ = read(&format!("[{}", piece.repeat(20_000)));
            let _ = read(&format!("\"{}", piece.repeat(20_000)));
        }
    }

    #[test]
    fn bytes_become_text_in_any_encoding() {
        let wide: Vec<u8> = "\u{feff}é: 😀".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text_of_bytes(&wide).unwrap(), "é: 😀");
        let wide: Vec<u8> = "\u{feff}é".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(text_of_bytes(&wide).unwrap(), "é");
        assert_eq!(text_of_bytes(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(text_of_bytes(b"ab\xff"), Err(2));
    }

    fn values() -> impl Strategy<Value = Plain> {
        let text = "[ -~é\u{2028}\u{1f600}\n\t]{0,40}|[a-z: #'\"\\n-]{0,30}|[ -~]{100}";
        let leaf = prop_oneof![
            Just(Plain::Null),
            any::<bool>().prop_map(Plain::Bool),
            any::<i64>().prop_map(Plain::from),
            any::<u64>().prop_map(Plain::from),
            text.prop_map(Plain::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Plain::Array),
                prop::collection::vec(("[a-z0-9: ]{0,6}", inner), 0..6)
                    .prop_map(|entries| Plain::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parsing_never_panics_and_spans_lie_in_the_text(
            text in "([-a:?&*!|>'\"%@`{}\\[\\],# \n\t\r\\\\<~.0-9éx\u{85}\u{2028}\u{feff}]|: |- |\n  |--- |!!str ){0,60}"
        ) {
            match decode_all(&text, FILE, 0, Options::MANIFESTS) {
                Ok(nodes) => nodes.iter().for_each(|n| assert!(text.get(n.span.range()).is_some())),
                Err(error) => assert!(text.get(error.span.range()).is_some()),
            }
        }

        #[test]
        fn what_is_written_is_read_back(value in values()) {
            let text = to_yaml(&value).unwrap();
            let node = read(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(node.to_plain(), value);
            prop_assert_eq!(read(&crate::syntax::yaml::manifest_yaml(&node.to_plain())).unwrap().to_plain(), node.to_plain());
        }
    }
}
