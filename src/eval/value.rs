//! The values a template works on: Go's values as far as a chart can tell them apart.
//!
//! What lives here: [`Value`], byte strings ([`Str`]), [`List`], [`Dict`], the trait of built-in objects
//! ([`Object`]). What does not: printing (`print`), functions (`functions`), reading YAML (`syntax`).
//!
//! The one idea: a value is 16 bytes and cheap to clone; lists never change, maps are shared and change in
//! place, as in Go. Values belong to one rendering thread (`Rc`); what crosses threads is plain data.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Ref, RefCell};
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use super::function::{Ctx, FuncError};
use super::origins::Origins;

/// A value of a template.
#[derive(Clone, Default)]
pub enum Value {
    /// No value: null, a missing key, `nil`.
    #[default]
    Nil,
    /// Go `bool`.
    Bool(bool),
    /// Go `int`: integer literals, `len`, `until` elements, range indexes.
    Int(i64),
    /// Go `int64`: `add`, `int64`, `--set`.
    Int64(i64),
    /// Go `uint64`: fields of a version.
    Uint64(u64),
    /// Go `uint8`: a byte of a string or of bytes.
    Byte(u8),
    /// Go `float64`: every number that comes from values, YAML or JSON.
    Float(f64),
    /// Go `string`; any bytes.
    Str(Str),
    /// Go `[]uint8`.
    Bytes(Str),
    /// A Go slice.
    List(Rc<List>),
    /// A Go map with string keys.
    Dict(Rc<Dict>),
    /// Anything with fields or methods of its own.
    Object(ObjectRef),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.type_name(), String::from_utf8_lossy(&super::print::text(self)))
    }
}

impl Value {
    /// Makes a string value.
    pub fn str(text: impl Into<Str>) -> Self {
        Self::Str(text.into())
    }

    /// Makes a `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(List::new(items)))
    }

    /// Makes a `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(|s| Value::Str(s.into())).collect();
        Self::List(Rc::new(List { items, elem: Elem::Str, nil: false }))
    }

    /// Makes a nil `[]interface {}` (prints `[]`, JSON `null`).
    pub fn nil_list() -> Self {
        Self::List(Rc::new(List { items: Vec::new(), elem: Elem::Any, nil: true }))
    }

    /// Makes a `map[string]interface {}`.
    pub fn dict(entries: impl IntoIterator<Item = (Str, Value)>) -> Self {
        Self::Dict(Rc::new(Dict::from_entries(DictKind::Any, entries)))
    }

    /// Wraps a built-in object.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(ObjectRef(Rc::new(Box::new(object))))
    }

    /// Returns the name of the Go kind, as `kindOf` tells it.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint64(_) => "uint64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::Bytes(_) | Self::List(_) => "slice",
            Self::Dict(_) => "map",
            Self::Object(object) => object.kind(),
        }
    }

    /// Returns the name of the Go type, as `typeOf` and `%T` tell it.
    pub fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint64(_) => "uint64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::Bytes(_) => "[]uint8",
            Self::List(list) => list.elem.list_type(),
            Self::Dict(dict) => dict.kind.type_name(),
            Self::Object(object) => return object.type_name(),
        })
    }

    /// Says whether it counts as true: not nil, false, zero or empty.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) | Self::Int64(n) => *n != 0,
            Self::Uint64(n) => *n != 0,
            Self::Byte(n) => *n != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) | Self::Bytes(s) => !s.is_empty(),
            Self::List(l) => !l.items.is_empty(),
            Self::Dict(d) => !d.is_empty(),
            Self::Object(o) => o.truth(),
        }
    }

    /// Returns the bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Str(s) = self { Some(s) } else { None }
    }

    /// Returns the items of a list that stores them (not of `Bytes`).
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(l) = self { Some(&l.items) } else { None }
    }

    /// Returns the map.
    pub fn as_dict(&self) -> Option<&Rc<Dict>> {
        if let Self::Dict(d) = self { Some(d) } else { None }
    }

    /// Returns the object when it is of the type `T`.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        if let Self::Object(o) = self { o.as_any().downcast_ref() } else { None }
    }

    /// Compares as Go's `reflect.DeepEqual`: strict about types; nil and empty lists differ.
    pub fn deep_equal(&self, other: &Self) -> bool {
        deep_equal(self, other, 0)
    }

    /// Copies maps and lists all the way down; other things are shared.
    pub fn deep_copy(&self) -> Self {
        deep_copy(self, 0)
    }
}

/// How deep values may nest before the engine stops following them.
pub const MAX_DEPTH: usize = 1000;

fn deep_equal(a: &Value, b: &Value, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Int64(a), Value::Int64(b)) => a == b,
        (Value::Uint64(a), Value::Uint64(b)) => a == b,
        (Value::Byte(a), Value::Byte(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) | (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            Rc::ptr_eq(a, b) || {
                let same = a.elem == b.elem && a.nil == b.nil && a.items.len() == b.items.len();
                same && a.items.iter().zip(&b.items).all(|(a, b)| deep_equal(a, b, depth + 1))
            }
        }
        (Value::Dict(a), Value::Dict(b)) => {
            Rc::ptr_eq(a, b) || {
                let (x, y) = (a.entries(), b.entries());
                let same = a.kind == b.kind && a.nil == b.nil && x.len() == y.len();
                let equal = |(a, b): (&Entry, &Entry)| a.key == b.key && deep_equal(&a.value, &b.value, depth + 1);
                same && x.iter().zip(y.iter()).all(equal)
            }
        }
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(&a.0, &b.0) || a.equal(b),
        _ => false,
    }
}

fn deep_copy(value: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return value.clone();
    }
    match value {
        Value::List(list) => {
            let items = list.items.iter().map(|v| deep_copy(v, depth + 1)).collect();
            Value::List(Rc::new(List { items, elem: list.elem, nil: list.nil }))
        }
        Value::Dict(dict) => {
            let copy = |e: &Entry| Entry { head: e.head, key: e.key.clone(), value: deep_copy(&e.value, depth + 1) };
            let entries = dict.entries().iter().map(copy).collect();
            Value::Dict(Rc::new(Dict {
                kind: dict.kind,
                nil: dict.nil,
                mark: dict.mark,
                entries: RefCell::new(entries),
            }))
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Bytes(_)
        | Value::Object(_) => value.clone(),
    }
}

/// A shared byte string, as Go's: usually UTF-8, but any bytes are legal.
///
/// In tracking mode a string may carry the origins of its pieces; equality ignores them.
#[derive(Clone)]
pub struct Str(Rc<Text>);

struct Text {
    bytes: Vec<u8>,
    origins: Option<Rc<Origins>>,
}

impl Str {
    /// Makes a string of bytes without copying them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Rc::new(Text { bytes, origins: None }))
    }

    /// Makes a string whose pieces have origins.
    pub fn with_origins(bytes: Vec<u8>, origins: Option<Rc<Origins>>) -> Self {
        Self(Rc::new(Text { bytes, origins }))
    }

    /// Returns where the pieces come from, when that is tracked.
    pub fn origins(&self) -> Option<&Rc<Origins>> {
        self.0.origins.as_ref()
    }

    /// Returns the text when it is UTF-8.
    pub fn as_utf8(&self) -> Option<&str> {
        std::str::from_utf8(&self.0.bytes).ok()
    }

    /// Returns the text with U+FFFD for what is not UTF-8.
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.bytes)
    }

    /// Says whether both are the same allocation.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl std::ops::Deref for Str {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl From<Vec<u8>> for Str {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<&[u8]> for Str {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.0.bytes == other.0.bytes
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.bytes.cmp(&other.0.bytes)
    }
}

impl std::hash::Hash for Str {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.bytes.hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.lossy())
    }
}

/// What the elements of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Str,
    /// `[]int`
    Int,
    /// `[][]interface {}`
    Lists,
    /// `[]*T` or a named type; the whole name of the list's type.
    Named(&'static str),
}

impl Elem {
    /// Returns the name of the list's type.
    pub fn list_type(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Str => "[]string",
            Self::Int => "[]int",
            Self::Lists => "[][]interface {}",
            Self::Named(name) => name,
        }
    }
}

/// A list; it never changes.
#[derive(Clone, Debug)]
pub struct List {
    /// The elements.
    pub items: Vec<Value>,
    /// Their static type.
    pub elem: Elem,
    /// Whether it is Go's nil slice (then empty).
    pub nil: bool,
}

/// Takes the values apart one by one, so that values nested without end do not exhaust the stack.
fn take_apart(mut rest: Vec<Value>) {
    while let Some(value) = rest.pop() {
        match value {
            Value::List(list) => {
                if let Ok(mut list) = Rc::try_unwrap(list) {
                    rest.append(&mut list.items);
                }
            }
            Value::Dict(dict) => {
                if let Ok(dict) = Rc::try_unwrap(dict) {
                    rest.extend(dict.entries.take().into_iter().map(|e| e.value));
                }
            }
            Value::Nil
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Int64(_)
            | Value::Uint64(_)
            | Value::Byte(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Object(_) => {}
        }
    }
}

fn nests(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Dict(_))
}

impl Drop for List {
    fn drop(&mut self) {
        if self.items.iter().any(nests) {
            take_apart(std::mem::take(&mut self.items));
        }
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        if self.entries.get_mut().iter().any(|e| nests(&e.value)) {
            take_apart(self.entries.take().into_iter().map(|e| e.value).collect());
        }
    }
}

impl List {
    /// Makes a `[]interface {}`.
    pub fn new(items: Vec<Value>) -> Self {
        Self { items, elem: Elem::Any, nil: false }
    }
}

/// The static type of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictKind {
    /// `map[string]interface {}`
    Any,
    /// `chartutil.Values`: `.`, `.Values`, `.Template`.
    Values,
    /// `common.Values`: the same in Helm 4.
    Values4,
    /// `map[string]string`
    Strings,
    /// `map[interface {}]interface {}` (nested maps of werf's own `fromYaml`).
    AnyKeys,
}

impl DictKind {
    /// Says whether maps of this type have the methods of Helm's values.
    pub fn is_values(self) -> bool {
        matches!(self, Self::Values | Self::Values4)
    }

    /// Returns the name of the type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "map[string]interface {}",
            Self::Values => "chartutil.Values",
            Self::Values4 => "common.Values",
            Self::Strings => "map[string]string",
            Self::AnyKeys => "map[interface {}]interface {}",
        }
    }
}

/// One entry of a map.
#[derive(Clone)]
pub struct Entry {
    head: u64,
    /// The key.
    pub key: Str,
    /// The value.
    pub value: Value,
}

/// The first eight bytes of a key as a number that sorts alike.
pub(super) fn head(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0u8; 8];
    bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(bytes)
}

/// A map with string keys, shared and mutable in place; always ordered by the bytes of its keys.
pub struct Dict {
    /// The static type.
    pub kind: DictKind,
    /// Whether it is Go's nil map (then empty for ever).
    pub nil: bool,
    /// Names the place in the values tree whose reads are tracked; 0: none.
    pub mark: u32,
    entries: RefCell<Vec<Entry>>,
}

impl Dict {
    /// Makes an empty map.
    pub fn new(kind: DictKind) -> Self {
        Self { kind, nil: false, mark: 0, entries: RefCell::default() }
    }

    /// Makes Go's nil map.
    pub fn nil() -> Self {
        let mut dict = Self::new(DictKind::Any);
        dict.nil = true;
        dict
    }

    /// Makes a map of entries in any order; of equal keys the last one stays.
    pub fn from_entries(kind: DictKind, entries: impl IntoIterator<Item = (Str, Value)>) -> Self {
        let entry = |(key, value): (Str, Value)| Entry { head: head(&key), key, value };
        let mut list: Vec<Entry> = entries.into_iter().map(entry).collect();
        let ordered = |a: &Entry, b: &Entry| (a.head, &*a.key) < (b.head, &*b.key);
        if !list.is_sorted_by(ordered) {
            list.sort_by(|a, b| (a.head, &*a.key).cmp(&(b.head, &*b.key)));
            let mut unique: Vec<Entry> = Vec::with_capacity(list.len());
            for entry in list {
                match unique.last_mut() {
                    Some(last) if last.key == entry.key => *last = entry,
                    _ => unique.push(entry),
                }
            }
            list = unique;
        }
        Self { kind, nil: false, mark: 0, entries: RefCell::new(list) }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Says whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(entries: &[Entry], head: u64, key: &[u8]) -> Result<usize, usize> {
        entries.binary_search_by(|e| e.head.cmp(&head).then_with(|| (*e.key).cmp(key)))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.get_headed(head(key), key)
    }

    pub(super) fn get_headed(&self, head: u64, key: &[u8]) -> Option<Value> {
        let entries = self.entries.borrow();
        let index = Self::find(&entries, head, key).ok()?;
        entries.get(index).map(|e| e.value.clone())
    }

    /// Says whether there is such a key.
    pub fn contains(&self, key: &[u8]) -> bool {
        Self::find(&self.entries.borrow(), head(key), key).is_ok()
    }

    /// Sets a key in place; does nothing to Go's nil map (ask `nil` first).
    pub fn insert(&self, key: Str, value: Value) {
        if self.nil {
            return;
        }
        let head = head(&key);
        let mut entries = self.entries.borrow_mut();
        let old = match Self::find(&entries, head, &key) {
            Ok(index) => entries.get_mut(index).map(|e| std::mem::replace(&mut e.value, value)),
            Err(index) => {
                entries.insert(index, Entry { head, key, value });
                None
            }
        };
        drop(entries);
        drop(old);
    }

    /// Removes a key in place.
    pub fn remove(&self, key: &[u8]) -> Option<Value> {
        let mut entries = self.entries.borrow_mut();
        let index = Self::find(&entries, head(key), key).ok()?;
        Some(entries.remove(index).value)
    }

    /// Returns the entries, ordered by key. Do not call back into templates while holding them.
    pub fn entries(&self) -> Ref<'_, [Entry]> {
        Ref::map(self.entries.borrow(), Vec::as_slice)
    }

    /// Returns a copy of the entries, ordered by key.
    pub fn snapshot(&self) -> Vec<(Str, Value)> {
        self.entries.borrow().iter().map(|e| (e.key.clone(), e.value.clone())).collect()
    }

    /// Makes a map of another static type with the same entries.
    pub fn copied_as(&self, kind: DictKind) -> Self {
        Self { kind, nil: false, mark: self.mark, entries: self.entries.clone() }
    }

    /// Gives the map a mark, so that reads of it are told.
    pub fn marked(mut self, mark: u32) -> Self {
        self.mark = mark;
        self
    }
}

/// A built-in object: something with fields, methods or a printed form of its own.
///
/// Everything but the type name has a default; an object answers what it can.
#[expect(clippy::len_without_is_empty, reason = "`truth` is what templates ask")]
pub trait Object {
    /// Returns the Go type, for example `time.Time`.
    fn type_name(&self) -> Cow<'static, str>;

    /// Returns itself for a downcast.
    fn as_any(&self) -> &dyn Any;

    /// Returns the Go kind: `struct`, `ptr`, `map`, `slice`.
    fn kind(&self) -> &'static str {
        "struct"
    }

    /// Says whether it counts as true.
    fn truth(&self) -> bool {
        true
    }

    /// Returns a field (of a `struct`) or an element (of a `map`); `None` when there is none.
    fn field(&self, _name: &[u8]) -> Option<Value> {
        None
    }

    /// Returns the description of a method; it is called through [`Object::call`].
    fn method(&self, _name: &[u8]) -> Option<&'static Method> {
        None
    }

    /// Calls a method whose arguments were checked against its description.
    fn call(&self, _ctx: &mut Ctx<'_>, method: &'static Method, _args: &[Value]) -> Result<Value, FuncError> {
        Err(FuncError::new(format!("{} cannot be called", method.name)))
    }

    /// Writes the form that `{{ }}` and `%v` print.
    fn print(&self, out: &mut Vec<u8>);

    /// Writes the form that `{{ }}` prints where it differs from `%v`.
    fn print_action(&self, out: &mut Vec<u8>) {
        self.print(out);
    }

    /// Says whether `%s` and `%q` take the printed form (Go: it has a `String` or `Error` method).
    fn is_stringer(&self) -> bool {
        false
    }

    /// Returns what `range` goes over; `None` when it cannot.
    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        None
    }

    /// Returns the number `len` tells; `None` when it cannot.
    fn len(&self) -> Option<usize> {
        None
    }

    /// Returns the plain value that YAML encodes, and JSON where there are no `fields`.
    fn plain(&self) -> Value {
        Value::Nil
    }

    /// Returns the fields of a struct in the order in which JSON writes them.
    fn fields(&self) -> Option<Vec<(&'static str, Value)>> {
        None
    }

    /// Compares with another object as Go's `reflect.DeepEqual`.
    fn equal(&self, _other: &ObjectRef) -> bool {
        false
    }
}

/// A method of an object.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// The parameters it must have.
    pub params: &'static [super::function::Param],
    /// What further parameters are.
    pub rest: Option<super::function::Param>,
}

/// A shared built-in object.
#[derive(Clone)]
pub struct ObjectRef(Rc<Box<dyn Object>>);

impl ObjectRef {
    /// Returns where it lies: two objects that live at one time differ in it.
    pub fn address(&self) -> usize {
        Rc::as_ptr(&self.0).cast::<()>() as usize
    }
}

impl std::ops::Deref for ObjectRef {
    type Target = dyn Object;
    fn deref(&self) -> &(dyn Object + 'static) {
        &**self.0
    }
}
