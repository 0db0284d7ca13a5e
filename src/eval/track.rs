//! Recording where rendered text comes from, and what was read.
//!
//! What lives here: [`Track`], which an evaluator in tracking mode tells what it does, [`ValueIndex`], the places of the
//! values it works on, and what becomes of origins when a function makes one value of others. What does not: the
//! arithmetic of pieces (`origins`).
//!
//! The one idea: texts carry their origins with them. Numbers and flags cannot; where one is written, the values
//! that were read on the way there are asked which of them it is.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::error::ReadValue;
use super::function::Function;
use super::origins::{Lines, Origin, OriginId, OriginTable, Origins, ValueId, ValuePlace};
use super::print;
use super::run::find;
use super::value::{Dict, List, MAX_DEPTH, ObjectRef, Str, Value};
use crate::source::{FileId, Span};
use crate::syntax::yaml;

/// How many values read on the way are asked where a number comes from.
const MAX_ASKED: usize = 256;

/// So many lines of a file that is read have places of their own; what follows is told with the last of them.
const MAX_LINES: usize = 10_000;

/// The places of the values that templates work on.
#[derive(Default)]
pub struct ValueIndex {
    places: Vec<ValuePlace>,
    /// The tables by their mark, less one.
    tables: Vec<ValueId>,
    entries: FxHashMap<(u32, Str), (ValueId, Value)>,
    /// The lists by address; they are kept, so an address means one list.
    lists: FxHashMap<usize, (Rc<List>, Vec<ValueId>)>,
}

impl ValueIndex {
    /// Adds a place.
    pub fn place(&mut self, path: impl Into<String>, span: Option<Span>) -> ValueId {
        self.places.push(ValuePlace { path: path.into(), span, varies: false });
        ValueId(u32::try_from(self.places.len()).unwrap_or(0))
    }

    /// Makes a text whose pieces stand at places: (offset, place).
    pub fn text(&self, text: &str, pieces: &[(usize, ValueId)]) -> Value {
        let mut origins = Origins::default();
        // the origin of a place has the number of the place, see `Track::new`
        pieces.iter().for_each(|(at, place)| origins.mark(*at, OriginId(place.0)));
        Value::Str(Str::with_origins(text.as_bytes().to_vec(), Some(Rc::new(origins))))
    }

    /// Adds a table; returns its mark.
    pub fn table(&mut self, place: ValueId) -> u32 {
        self.tables.push(place);
        u32::try_from(self.tables.len()).unwrap_or(0)
    }

    /// Adds an entry of a table.
    pub fn entry(&mut self, mark: u32, key: Str, place: ValueId, value: Value) {
        self.entries.insert((mark, key), (place, value));
    }

    /// Makes a list of items and their places.
    pub fn list(&mut self, items: Vec<Value>, places: Vec<ValueId>) -> Value {
        let list = Rc::new(List::new(items));
        self.lists.insert(Rc::as_ptr(&list) as usize, (list.clone(), places));
        Value::List(list)
    }

    /// Returns the path of an entry of a table, present or not.
    pub fn path(&self, mark: u32, key: &[u8]) -> Option<String> {
        let table = self.tables.get((mark as usize).checked_sub(1)?)?;
        let table = self.places.get((table.0 as usize).checked_sub(1)?).map_or("", |p| p.path.as_str());
        let key = String::from_utf8_lossy(key);
        Some(if table.is_empty() { key.into_owned() } else { format!("{table}.{key}") })
    }

    fn item(&self, list: &Rc<List>, index: usize) -> ValueId {
        let known = self.lists.get(&(Rc::as_ptr(list) as usize));
        known.and_then(|(_, places)| places.get(index)).copied().unwrap_or_default()
    }

    /// Returns the place of an entry while it is still what was written there.
    fn entry_of(&self, mark: u32, key: &[u8], value: &Value) -> Option<ValueId> {
        if mark == 0 {
            return None;
        }
        let (place, written) = self.entries.get(&(mark, Str::from(key)))?;
        let same = match (written, value) {
            (Value::Dict(_), Value::Dict(_)) | (Value::List(_), Value::List(_)) => true,
            (written, value) => written.deep_equal(value),
        };
        same.then_some(*place)
    }

    fn table_of(&self, mark: u32) -> Option<ValueId> {
        self.tables.get((mark as usize).checked_sub(1)?).copied()
    }
}

/// A value that was read, and where.
#[derive(Clone)]
struct Read {
    place: ValueId,
    value: Value,
}

/// What a rendering in tracking mode records.
#[derive(Default)]
pub struct Track {
    index: ValueIndex,
    origins: Vec<Origin>,
    ids: FxHashMap<Origin, OriginId>,
    current: Origins,
    caller: OriginId,
    reads: FxHashSet<(u32, Str)>,
    /// The scalars read for what is being written, outermost first.
    pending: Vec<Read>,
    /// The entry that was read last, present or not, since something was asked for how many reads are pending.
    last: Option<(u32, Str)>,
    /// What was read for the value of a variable, by slot.
    variables: FxHashMap<usize, Vec<Read>>,
    /// Objects that hold results of varying functions, by address; they are kept, so an address means one object.
    varying: FxHashMap<usize, (ObjectRef, OriginId)>,
    /// The tables that were merged into a map, by its address; kept like `varying`.
    merged: FxHashMap<usize, (Rc<Dict>, Vec<u32>)>,
    /// Texts that were values before they were parsed.
    texts: FxHashMap<FileId, Rc<Origins>>,
}

impl Track {
    /// Starts to record; the first origins are those of the places of the values.
    pub fn new(index: ValueIndex) -> Self {
        let ids = (1..).map(ValueId).take(index.places.len());
        let origins = ids.map(|value| Origin { value, ..Origin::default() }).collect();
        Self { index, origins, ..Self::default() }
    }

    fn id(&mut self, origin: Origin) -> OriginId {
        if origin.span.is_none() && !origin.derived && (origin.value.0 as usize) <= self.origins.len() {
            let id = OriginId(origin.value.0);
            if self.origin(id) == Some(origin) {
                return id;
            }
        }
        let origins = &mut self.origins;
        *self.ids.entry(origin).or_insert_with(|| {
            origins.push(origin);
            OriginId(u32::try_from(origins.len()).unwrap_or(u32::MAX))
        })
    }

    /// Returns the origin behind an id.
    pub fn origin(&self, id: OriginId) -> Option<Origin> {
        self.origins.get((id.0 as usize).checked_sub(1)?).copied()
    }

    /// Returns what ids mean.
    pub fn table(&self) -> OriginTable {
        OriginTable { origins: self.origins.clone(), values: self.index.places.clone() }
    }

    /// Returns the paths of the values that were read, present or not.
    pub fn read_paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.reads.iter().filter_map(|(mark, key)| self.index.path(*mark, key)).collect();
        paths.sort();
        paths
    }

    /// Forgets what an earlier rendering left.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.caller = OriginId(0);
        self.current = Origins::default();
    }

    // ---- pieces

    /// Returns the origin of what an action or text at `span` writes. What stands in a text that was a value is
    /// written by the call that rendered that text.
    fn writer(&self, span: Span) -> Origin {
        let plain = Origin { span: Some(span), caller: self.caller, ..Origin::default() };
        let Some(text) = self.texts.get(&span.file) else { return plain };
        let call = self.origin(self.caller).unwrap_or(plain);
        let written = self.origin(text.at(span.start as usize)).unwrap_or_default();
        match (written.span, call.span) {
            (None, Some(_)) => Origin { value: written.value, derived: written.derived, ..call },
            (Some(_), _) => Origin { caller: self.caller, ..written },
            (None, None) => plain,
        }
    }

    /// Notes that what is written at `offset` of the current text comes from `span`, as far as nothing else is said.
    pub fn mark(&mut self, offset: usize, span: Span) {
        let origin = self.writer(span);
        let id = self.id(origin);
        self.current.mark(offset, id);
    }

    /// Notes a text of a template, written at `offset`.
    pub fn text(&mut self, offset: usize, span: Span) {
        self.mark(offset, span);
        let Some(text) = self.texts.get(&span.file).cloned() else { return };
        let first = text.pieces.partition_point(|(at, _)| *at <= span.start);
        for (at, _) in text.pieces.iter().skip(first).take_while(|(at, _)| *at < span.end) {
            self.mark(offset + (at - span.start) as usize, Span { start: *at, ..span });
        }
    }

    /// Notes that the action at `span` writes a value at `offset`.
    pub fn written(&mut self, offset: usize, span: Span, value: &Value) {
        let action = self.writer(span);
        if let Value::Str(text) = value
            && let Some(origins) = text.origins().cloned()
        {
            for (at, id) in &origins.pieces {
                let origin = match self.origin(*id) {
                    Some(origin) if origin.span.is_some() => *id,
                    Some(value) => self.id(Origin { value: value.value, derived: value.derived, ..action }),
                    None => self.id(action),
                };
                self.current.mark(offset + *at as usize, origin);
            }
            return;
        }
        let place = self.place_of(value);
        let value = if place == ValueId(0) { action.value } else { place };
        let id = self.id(Origin { value, ..action });
        self.current.mark(offset, id);
    }

    /// Begins a text of its own; returns what is to be given back to [`Track::leave`].
    pub fn enter(&mut self) -> Origins {
        std::mem::take(&mut self.current)
    }

    /// Ends a text; returns its origins.
    pub fn leave(&mut self, outer: Origins) -> Origins {
        std::mem::replace(&mut self.current, outer)
    }

    /// Makes `span` the caller of what is written next; returns the caller before.
    pub fn enter_call(&mut self, span: Span) -> OriginId {
        let origin = self.writer(span);
        let id = self.id(origin);
        std::mem::replace(&mut self.caller, id)
    }

    /// Restores a caller.
    pub fn set_caller(&mut self, caller: OriginId) {
        self.caller = caller;
    }

    /// Notes that a text that is rendered now is (part of) a value.
    pub fn enter_text(&mut self, text: &Str) {
        let value = text.origins().and_then(|o| o.pieces.iter().find_map(|(_, id)| self.origin(*id)));
        if let (Some(value), Some(call)) = (value.filter(|v| v.span.is_none()), self.origin(self.caller)) {
            self.caller = self.id(Origin { value: value.value, ..call });
        }
    }

    /// Gives the text of a file the places of its lines; the call at `span` read it.
    pub fn file_text(&mut self, span: Span, file: FileId, text: &str) -> Str {
        let call = self.writer(span);
        let caller = self.id(call);
        let mut origins = Origins::default();
        for (at, line) in Lines::of(text.as_bytes()).take(MAX_LINES) {
            let trimmed = line.trim_ascii();
            if trimmed.is_empty() {
                continue;
            }
            let start = at + (line.len() - line.trim_ascii_start().len());
            let span = Span::new(file, start, start + trimmed.len());
            let id = self.id(Origin { span: Some(span), caller, ..Origin::default() });
            origins.mark(if origins.pieces.is_empty() { 0 } else { start }, id);
        }
        let origins = (!origins.pieces.is_empty()).then(|| Rc::new(origins));
        Str::with_origins(text.as_bytes().to_vec(), origins)
    }

    /// Notes that a text was registered as a file to be parsed.
    pub fn parsed(&mut self, file: FileId, text: &Str) {
        if let Some(origins) = text.origins() {
            self.texts.insert(file, origins.clone());
        }
    }

    // ---- reads

    /// Notes a read of a key.
    pub fn read(&mut self, dict: &Dict, key: &[u8]) {
        if dict.mark != 0 {
            self.reads.insert((dict.mark, Str::from(key)));
            self.last = Some((dict.mark, Str::from(key)));
        }
        if let Some(value) = dict.get(key) {
            self.push(self.entry(dict, key, &value), value);
        }
    }

    /// Notes a read of an item of a list.
    pub fn read_item(&mut self, list: &Rc<List>, index: usize) {
        let place = self.index.item(list, index);
        if let Some(value) = list.items.get(index) {
            self.push(place, value.clone());
        }
    }

    fn push(&mut self, place: ValueId, value: Value) {
        if place != ValueId(0) && is_scalar(&value) {
            self.pending.push(Read { place, value });
        }
    }

    /// Begins something that reads: returns how many reads are remembered.
    pub fn pending(&mut self) -> usize {
        self.last = None;
        self.pending.len()
    }

    /// Returns the entry that was read last by what is running.
    pub fn last_read(&self) -> Option<ReadValue> {
        let (mark, key) = self.last.as_ref()?;
        let path = self.index.path(*mark, key)?;
        let entry = self.index.entries.get(&(*mark, key.clone())).map(|(place, _)| *place);
        let place = entry.or_else(|| self.index.table_of(*mark)).and_then(|id| self.table_value(id));
        Some(ReadValue { path, span: place.and_then(|p| p.span), is_set: entry.is_some() })
    }

    /// Forgets the reads after the first `kept`.
    pub fn forget(&mut self, kept: usize) {
        self.pending.truncate(kept);
    }

    /// Notes that a variable got a value that was made of the reads after the first `from`.
    pub fn assign(&mut self, slot: usize, from: usize) {
        match self.pending.get(from..) {
            Some(reads) if !reads.is_empty() => self.variables.insert(slot, reads.to_vec()),
            _ => self.variables.remove(&slot),
        };
    }

    /// Notes a read of a variable.
    pub fn recall(&mut self, slot: usize) {
        if let Some(reads) = self.variables.get(&slot) {
            self.pending.extend_from_slice(reads);
        }
    }

    fn entry(&self, dict: &Dict, key: &[u8], value: &Value) -> ValueId {
        let own = self.index.entry_of(dict.mark, key, value);
        let merged = || {
            let (_, marks) = self.merged.get(&(std::ptr::from_ref(dict) as usize))?;
            marks.iter().find_map(|mark| self.index.entry_of(*mark, key, value))
        };
        own.or_else(merged).unwrap_or_default()
    }

    /// Returns the place of a scalar without origins of its own: the last value read that looks like it.
    fn place_of(&self, value: &Value) -> ValueId {
        if !is_scalar(value) || matches!(value, Value::Nil) || self.pending.is_empty() {
            return ValueId(0);
        }
        let text = plain(value);
        let mut asked = self.pending.iter().rev().take(MAX_ASKED);
        asked.find(|read| plain(&read.value) == text).map(|read| read.place).unwrap_or_default()
    }

    // ---- functions

    /// Gives the result of a function the origins of what it was made of.
    pub fn derive(&mut self, function: &Function, span: Span, args: &[Value], result: Value) -> Value {
        if function.varies || matches!(function.name, "lookup" | "getHostByName") {
            return self.vary(function.name, span, result);
        }
        match result {
            Value::Str(text) if text.origins().is_some() => Value::Str(text),
            Value::Str(text) => self.made_text(function.name, args, text),
            Value::Object(object) => {
                let from = args.iter().find_map(|arg| self.varying_object(arg));
                if let Some(origin) = from {
                    self.varying.insert(object.address(), (object.clone(), origin));
                }
                Value::Object(object)
            }
            Value::Dict(dict) if function.name.to_ascii_lowercase().contains("merge") => {
                self.note_merge(&dict, args);
                Value::Dict(dict)
            }
            value @ (Value::Dict(_) | Value::List(_)) if function.name.starts_with("fromYaml") => {
                read_text(args, value)
            }
            Value::List(list) => self.made_list(args, list),
            value => value,
        }
    }

    fn vary(&mut self, name: &'static str, span: Span, result: Value) -> Value {
        let origin = self.writer(span);
        self.index.places.push(ValuePlace { path: name.to_owned(), span: origin.span, varies: true });
        let value = ValueId(u32::try_from(self.index.places.len()).unwrap_or(0));
        let id = self.id(Origin { value, ..origin });
        match result {
            Value::Str(text) => whole(&text, id),
            Value::Object(object) => {
                self.varying.insert(object.address(), (object.clone(), id));
                Value::Object(object)
            }
            other => {
                self.push(value, other.clone());
                other
            }
        }
    }

    fn varying_object(&self, value: &Value) -> Option<OriginId> {
        let Value::Object(object) = value else { return None };
        self.varying.get(&object.address()).map(|(_, origin)| *origin)
    }

    /// Gives the field of an object the origin of the object.
    pub fn field(&self, object: &ObjectRef, value: Value) -> Value {
        match (value, self.varying.get(&object.address())) {
            (Value::Str(text), Some((_, origin))) => whole(&text, *origin),
            (value, _) => value,
        }
    }

    fn note_merge(&mut self, target: &Rc<Dict>, args: &[Value]) {
        let mut marks = Vec::new();
        for dict in args.iter().filter_map(Value::as_dict) {
            marks.extend((dict.mark != 0).then_some(dict.mark));
            marks.extend(self.merged.get(&(Rc::as_ptr(dict) as usize)).into_iter().flat_map(|(_, m)| m.clone()));
        }
        marks.sort_unstable();
        marks.dedup();
        if !marks.is_empty() {
            self.merged.insert(Rc::as_ptr(target) as usize, (target.clone(), marks));
        }
    }

    fn made_text(&mut self, name: &str, args: &[Value], text: Str) -> Value {
        let first = args.first();
        let nests = first.is_some_and(|v| matches!(v, Value::Dict(_) | Value::List(_)));
        if nests && name.to_ascii_lowercase().contains("toyaml") {
            let value = first.cloned().unwrap_or_default();
            return match self.yaml(&value, &text) {
                Some(origins) => Value::Str(Str::with_origins(text.to_vec(), Some(Rc::new(origins)))),
                None => Value::Str(text),
            };
        }
        let mut parts = Vec::new();
        for arg in args {
            self.collect(arg, &mut parts, 0);
        }
        if parts.is_empty() {
            return match args.iter().find_map(|arg| self.varying_object(arg)) {
                Some(origin) => self.derived(&text, origin),
                None => Value::Str(text),
            };
        }
        let lines = parts.iter().filter(|(part, _)| part.contains(&b'\n')).max_by_key(|(part, _)| part.len());
        let origins = match lines {
            Some((source, origins)) => origins.follow_lines(source, &text),
            None => place_parts(&parts, &text),
        };
        if let Some(origins) = origins {
            return Value::Str(Str::with_origins(text.to_vec(), Some(Rc::new(origins))));
        }
        let pieces = || parts.iter().flat_map(|(_, origins)| origins.pieces.iter().map(|(_, id)| *id));
        let value = |id: OriginId| self.origin(id).map_or(ValueId(0), |o| o.value);
        let varies = |id: &OriginId| self.table_value(value(*id)).is_some_and(|v| v.varies);
        let chosen = pieces().find(varies).or_else(|| pieces().find(|id| value(*id) != ValueId(0)));
        match chosen.or_else(|| pieces().next()) {
            Some(origin) => self.derived(&text, origin),
            None => Value::Str(text),
        }
    }

    fn table_value(&self, id: ValueId) -> Option<&ValuePlace> {
        self.index.places.get((id.0 as usize).checked_sub(1)?)
    }

    /// Returns a text that was made of something from `origin` and does not show it.
    fn derived(&mut self, text: &Str, origin: OriginId) -> Value {
        let origin = self.origin(origin).unwrap_or_default();
        let id = self.id(Origin { derived: origin.value != ValueId(0), ..origin });
        whole(text, id)
    }

    /// Collects the texts that an argument gives to a result.
    fn collect(&mut self, arg: &Value, parts: &mut Vec<(Vec<u8>, Rc<Origins>)>, depth: usize) {
        match arg {
            Value::Str(text) => {
                if let Some(origins) = text.origins() {
                    parts.push((text.to_vec(), origins.clone()));
                }
            }
            Value::List(list) if depth < 3 => list.items.iter().for_each(|v| self.collect(v, parts, depth + 1)),
            Value::Dict(dict) => {
                let place = self.index.table_of(dict.mark).filter(|place| *place != ValueId(0));
                if let (Some(place), 0) = (place, depth) {
                    parts.push((Vec::new(), single(OriginId(place.0))));
                }
            }
            scalar => {
                let place = self.place_of(scalar);
                if place != ValueId(0) {
                    let origin = self.id(Origin { value: place, ..Origin::default() });
                    parts.push((plain(scalar), single(origin)));
                }
            }
        }
    }

    fn made_list(&mut self, args: &[Value], list: Rc<List>) -> Value {
        let mut parts = Vec::new();
        for arg in args {
            self.collect(arg, &mut parts, 0);
        }
        let bare = |v: &Value| matches!(v, Value::Str(s) if s.origins().is_none());
        if parts.is_empty() || !list.items.iter().any(bare) {
            return Value::List(list);
        }
        let item = |value: &Value| match value {
            Value::Str(text) if text.origins().is_none() => match place_parts(&parts, text) {
                Some(origins) => Value::Str(Str::with_origins(text.to_vec(), Some(Rc::new(origins)))),
                None => value.clone(),
            },
            other => other.clone(),
        };
        let items = list.items.iter().map(item).collect();
        Value::List(Rc::new(List { items, elem: list.elem, nil: list.nil }))
    }

    // ---- YAML

    /// Returns the origins of a text that a value was written as.
    fn yaml(&mut self, value: &Value, text: &Str) -> Option<Origins> {
        let node = yaml::decode(text.as_utf8()?, FileId(u32::MAX), 0, yaml::Options::HELM).ok()?;
        let mut points = Vec::new();
        self.walk(&node, value, text, &mut points, 0);
        points.sort_by_key(|(at, _)| *at);
        let mut origins = Origins::default();
        for (at, origin) in points {
            let before = text.get(..at).unwrap_or_default();
            let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
            let lead = before.get(start..).unwrap_or_default();
            let at = if lead.iter().all(|b| matches!(b, b' ' | b'-')) { start } else { at };
            let last = origins.pieces.last().map_or(0, |p| p.0 as usize);
            origins.mark(at.max(last), origin);
        }
        (!origins.pieces.is_empty()).then_some(origins)
    }

    fn walk(
        &mut self,
        node: &yaml::Node,
        value: &Value,
        made: &Str,
        points: &mut Vec<(usize, OriginId)>,
        depth: usize,
    ) {
        if depth > MAX_DEPTH {
            return;
        }
        match (&node.data, value) {
            (yaml::Data::Mapping(mapping), Value::Dict(dict)) => {
                for entry in mapping.iter() {
                    let Some(child) = dict.get(entry.name.as_bytes()) else { continue };
                    let place = self.entry(dict, entry.name.as_bytes(), &child);
                    points.push((entry.key.span.start as usize, self.own_place(&child, place)));
                    self.walk(&entry.value, &child, made, points, depth + 1);
                }
            }
            (yaml::Data::Sequence(nodes), Value::List(list)) => {
                for (index, (node, item)) in nodes.iter().zip(&list.items).enumerate() {
                    let place = self.index.item(list, index);
                    if !matches!(item, Value::Dict(_)) {
                        points.push((node.span.start as usize, self.own_place(item, place)));
                    }
                    self.walk(node, item, made, points, depth + 1);
                }
            }
            (_, Value::Str(text)) if text.contains(&b'\n') => {
                let written = made.get(node.span.range()).unwrap_or_default();
                let lines = text.origins().and_then(|origins| origins.follow_lines(text, written));
                let pieces = lines.into_iter().flat_map(|lines| lines.pieces);
                points.extend(pieces.map(|(at, origin)| (node.span.start as usize + at as usize, origin)));
            }
            _ => {}
        }
    }

    /// Returns the origin of a value: of a text its own, else the place it was found at.
    fn own_place(&mut self, value: &Value, place: ValueId) -> OriginId {
        if let Value::Str(text) = value
            && let Some((_, origin)) = text.origins().and_then(|o| o.pieces.first())
        {
            return *origin;
        }
        let place = match (place, value) {
            (ValueId(0), Value::Dict(table)) => self.index.table_of(table.mark).unwrap_or_default(),
            (ValueId(0), other) => self.place_of(other),
            (place, _) => place,
        };
        if place == ValueId(0) { OriginId(0) } else { self.id(Origin { value: place, ..Origin::default() }) }
    }
}

/// Gives the texts of a value that was read from a text the origins of that text.
fn read_text(args: &[Value], value: Value) -> Value {
    let Some(Value::Str(text)) = args.first() else { return value };
    let Some(origins) = text.origins() else { return value };
    let node = text.as_utf8().and_then(|t| yaml::decode(t, FileId(u32::MAX), 0, yaml::Options::HELM).ok());
    node.map_or(value.clone(), |node| read_node(&node, &value, origins, 0))
}

fn read_node(node: &yaml::Node, value: &Value, origins: &Origins, depth: usize) -> Value {
    match (&node.data, value) {
        _ if depth > MAX_DEPTH => value.clone(),
        (yaml::Data::Mapping(mapping), Value::Dict(dict)) => {
            let entry = |(key, value): (Str, Value)| {
                let node = key.as_utf8().and_then(|k| mapping.get(k));
                let value = node.map_or(value.clone(), |node| read_node(node, &value, origins, depth + 1));
                (key, value)
            };
            let read = Dict::from_entries(dict.kind, dict.snapshot().into_iter().map(entry));
            Value::Dict(Rc::new(read.marked(dict.mark)))
        }
        (yaml::Data::Sequence(nodes), Value::List(list)) => {
            let item = |(index, value): (usize, &Value)| {
                nodes.get(index).map_or(value.clone(), |node| read_node(node, value, origins, depth + 1))
            };
            let items = list.items.iter().enumerate().map(item).collect();
            Value::List(Rc::new(List { items, elem: list.elem, nil: list.nil }))
        }
        (_, Value::Str(text)) => {
            let mut made = Origins::default();
            let (start, end) = (node.span.start as usize, node.span.end as usize);
            if text.contains(&b'\n') {
                made.mark(0, origins.at(start));
            } else {
                made.append_part(0, origins, start, end);
            }
            Value::Str(Str::with_origins(text.to_vec(), Some(Rc::new(made))))
        }
        _ => value.clone(),
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Dict(_) | Value::List(_) | Value::Object(_) | Value::Bytes(_))
}

/// Returns the text of a scalar, alike for all types of numbers.
fn plain(value: &Value) -> Vec<u8> {
    match value {
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 9.0e15 => (*n as i64).to_string().into_bytes(),
        other => print::text(other),
    }
}

fn single(origin: OriginId) -> Rc<Origins> {
    Rc::new(Origins { pieces: vec![(0, origin)] })
}

fn whole(text: &Str, origin: OriginId) -> Value {
    Value::Str(Str::with_origins(text.to_vec(), Some(single(origin))))
}

/// Finds texts again in the text that was made of them; `None` when none is found.
fn place_parts(parts: &[(Vec<u8>, Rc<Origins>)], made: &[u8]) -> Option<Origins> {
    let mut found: Vec<(usize, usize, &Rc<Origins>, usize)> = Vec::new();
    let mut from = 0;
    for (part, origins) in parts.iter().filter(|(part, _)| !part.is_empty()) {
        let next = made.get(from..).and_then(|rest| find(rest, part)).map(|at| at + from);
        let (start, length, skipped) = match next.or_else(|| find(made, part)) {
            Some(start) => (start, part.len(), 0),
            // the part was cut: what was made is within it
            None => match find(part, made.trim_ascii()).filter(|_| !made.trim_ascii().is_empty()) {
                Some(skipped) => (0, made.len(), skipped),
                None => continue,
            },
        };
        from = start + length;
        found.push((start, length, origins, skipped));
    }
    found.sort_by_key(|(start, ..)| *start);
    let mut made_of = Origins::default();
    let mut end = 0;
    for (start, length, origins, skipped) in found {
        if start < end {
            continue;
        }
        if start > end {
            made_of.mark(end, OriginId(0));
        }
        made_of.append_part(start, origins, skipped, skipped + length);
        end = start + length;
    }
    if end > 0 && end < made.len() {
        made_of.mark(end, OriginId(0));
    }
    (end > 0).then_some(made_of)
}
