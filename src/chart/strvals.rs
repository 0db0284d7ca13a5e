//! The arguments of `--set` and its family: `a.b[0]=x,c={y,z}` laid into a tree of values.
//!
//! An argument is registered as a text of its own, so a fault is marked inside it and every value set knows
//! its argument. The one idea: read an assignment whole (path, then value), then lay it into the tree.
//! Source: Helm 3.20, `--set`, `--set-string`, `--set-file`, `--set-json`, `--set-literal`.

use super::tree::{Data, Tree, TreeMap};
use std::sync::Arc;

use crate::diag::rules::{VALUES_ARGUMENT, VALUES_ARGUMENT_EMPTY_KEY};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, Sources, Span};

/// Which flag of the family an argument belongs to; Helm applies them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `--set-json`: values are JSON.
    Json,
    /// `--set`: values are typed by their look.
    Typed,
    /// `--set-string`: values are strings.
    String,
    /// `--set-file`: values are contents of files.
    File,
    /// `--set-literal`: everything after the first `=` is the value.
    Literal,
}

impl SetKind {
    /// Returns the name of the flag.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Json => "--set-json",
            Self::Typed => "--set",
            Self::String => "--set-string",
            Self::File => "--set-file",
            Self::Literal => "--set-literal",
        }
    }
}

/// Reads a file named by `--set-file`; the error is one sentence.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// The largest list index. Source: Helm's `MaxIndex`.
const MAX_INDEX: usize = 65_536;
/// How many `.` a path may have. Source: Helm's `MaxNestedNameLevel`.
const MAX_DOTS: usize = 30;
/// How many steps a path may have in all; Helm has no bound, a stack does.
const MAX_STEPS: usize = 200;

/// Lays one argument into `values`. Faults go to `diagnostics`; what stands before a fault is kept.
pub fn apply(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    kind: SetKind,
    argument: &str,
    values: &mut TreeMap,
    read_file: ReadFile<'_>,
) {
    let file = sources.add(kind.flag(), argument);
    if kind == SetKind::Json && argument.trim_start().starts_with('{') {
        merge_object(diagnostics, file, argument, values);
        return;
    }
    let mut parser = Parser { text: argument, at: 0, file, kind, read_file };
    while parser.at < argument.len() {
        match parser.assignment() {
            Ok(assignment) if assignment.path.iter().any(Step::is_empty) => {
                let span = parser.span(assignment.start, assignment.end);
                let message = "the argument has an empty key, so it sets nothing";
                diagnostics.push(Diagnostic::at(&VALUES_ARGUMENT_EMPTY_KEY, span, message));
            }
            Ok(assignment) => {
                let (start, end) = (assignment.start, assignment.end);
                if let Err(message) = lay(values, assignment) {
                    diagnostics.push(Diagnostic::at(&VALUES_ARGUMENT, parser.span(start, end), message));
                    return;
                }
            }
            Err(fault) => {
                let span = parser.span(fault.start, fault.end);
                let mut diagnostic = Diagnostic::at(&VALUES_ARGUMENT, span, fault.message).label(fault.label);
                diagnostic.hints.extend(fault.hint.map(str::to_owned));
                diagnostics.push(diagnostic);
                return;
            }
        }
    }
}

fn merge_object(diagnostics: &mut Diagnostics, file: FileId, argument: &str, values: &mut TreeMap) {
    match serde_json::from_str::<serde_json::Value>(argument) {
        Ok(json) => {
            let tree = Tree::from_json(&json, Some(Span::new(file, 0, argument.len())));
            super::values::merge(values, tree.into_map().unwrap_or_default());
        }
        Err(error) => {
            let at = error.column().saturating_sub(1).min(argument.len());
            let span = Span::new(file, floor(argument, at), argument.len());
            diagnostics.push(Diagnostic::at(&VALUES_ARGUMENT, span, format!("the value is not JSON: {error}")));
        }
    }
}

/// Moves an offset back to a character boundary.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One step of a path: a key of a table or an index of a list.
#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Key(key) if key.is_empty())
    }
}

struct Assignment {
    path: Vec<Step>,
    value: Tree,
    start: usize,
    /// End of the path.
    end: usize,
}

struct Fault {
    start: usize,
    end: usize,
    message: String,
    label: String,
    hint: Option<&'static str>,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    file: FileId,
    kind: SetKind,
    read_file: ReadFile<'a>,
}

impl Parser<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn fault(&self, start: usize, message: impl Into<String>, label: impl Into<String>) -> Fault {
        Fault { start, end: self.at.max(start), message: message.into(), label: label.into(), hint: None }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Reads to one of the stops, which is consumed; a backslash takes the next character as it is.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(c) = self.next() {
            if stops.contains(&c) {
                return (text, Some(c));
            }
            if c == '\\' && self.kind != SetKind::Literal {
                text.extend(self.next());
            } else {
                text.push(c);
            }
        }
        (text, None)
    }

    fn assignment(&mut self) -> Result<Assignment, Fault> {
        let start = self.at;
        let path = self.path()?;
        let end = self.at.saturating_sub(1).max(start);
        let value = self.value()?;
        Ok(Assignment { path, value, start, end })
    }

    fn path(&mut self) -> Result<Vec<Step>, Fault> {
        let start = self.at;
        let key_stops: &[char] = if self.kind == SetKind::Literal { &['=', '[', '.'] } else { &['=', '[', '.', ','] };
        let mut path = Vec::new();
        let mut dots = 0;
        'key: loop {
            let key_start = self.at;
            let (key, mut stop) = self.until(key_stops);
            path.push(Step::Key(key));
            loop {
                if path.len() > MAX_STEPS {
                    return Err(self.fault(start, format!("a path has at most {MAX_STEPS} steps"), "too deep"));
                }
                match stop {
                    Some('=') => return Ok(path),
                    Some('.') => {
                        dots += 1;
                        if dots > MAX_DOTS {
                            let message = format!("a path has at most {MAX_DOTS} levels of `.`");
                            return Err(self.fault(start, message, "too deep"));
                        }
                        continue 'key;
                    }
                    Some('[') => {
                        path.push(Step::Index(self.index()?));
                        let tail = self.at;
                        let (rest, next) = self.until(&['[', '.', '=']);
                        if !rest.is_empty() || next.is_none() {
                            return Err(self.fault(tail, "`.`, `[` or `=` is expected after an index", "here"));
                        }
                        stop = next;
                    }
                    // a comma or the end
                    Some(_) | None => {
                        let key = self.text.get(start..self.at).unwrap_or("").trim_end_matches(',');
                        let mut fault = self.fault(key_start, format!("key `{key}` has no value"), "no `=` follows");
                        fault.end = start + key.len();
                        fault.start = fault.start.min(fault.end);
                        fault.hint = Some("write KEY=VALUE, and `\\,` for a comma inside a value");
                        return Err(fault);
                    }
                }
            }
        }
    }

    fn index(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        let (digits, stop) = self.until(&[']']);
        if stop.is_none() {
            return Err(self.fault(start, "a list index has no closing `]`", "the index begins here"));
        }
        let end = self.at - 1;
        let fault = |message: String| Fault { start, end, message, label: String::new(), hint: None };
        match digits.parse::<i64>() {
            Ok(i) if i < 0 => Err(fault("a list index cannot be negative".into())),
            Ok(i) => match usize::try_from(i) {
                Ok(i) if i <= MAX_INDEX => Ok(i),
                Ok(_) | Err(_) => Err(fault(format!("the largest list index is {MAX_INDEX}"))),
            },
            Err(_) => Err(fault(format!("`{digits}` is no list index"))),
        }
    }

    fn value(&mut self) -> Result<Tree, Fault> {
        let start = self.at;
        match self.kind {
            SetKind::Literal => {
                self.at = self.text.len();
                let text = self.text.get(start..).unwrap_or("");
                Ok(Tree::at(Data::String(text.into()), self.span(start, self.at)))
            }
            SetKind::Json => self.json(),
            SetKind::Typed | SetKind::String | SetKind::File => {
                if self.rest().starts_with('{') {
                    return self.list();
                }
                let (text, stop) = self.until(&[',']);
                let end = self.at - usize::from(stop.is_some());
                self.scalar(text, start, end)
            }
        }
    }

    fn list(&mut self) -> Result<Tree, Fault> {
        let start = self.at;
        self.next();
        let mut items = Vec::new();
        loop {
            let item = self.at;
            let (text, stop) = self.until(&[',', '}']);
            if stop.is_none() {
                return Err(self.fault(start, "a list must end with `}`", "the list begins here"));
            }
            items.push(self.scalar(text, item, self.at - 1)?);
            if stop == Some('}') {
                let span = self.span(start, self.at);
                if self.rest().starts_with(',') {
                    self.next();
                }
                return Ok(Tree::at(Data::List(items.into()), span));
            }
        }
    }

    fn scalar(&self, text: String, start: usize, end: usize) -> Result<Tree, Fault> {
        let data = match self.kind {
            SetKind::Typed => typed(text),
            SetKind::File => {
                let fault = |message| Fault { start, end, message, label: String::new(), hint: None };
                let bytes = (self.read_file)(&text).map_err(fault)?;
                let content = String::from_utf8(bytes);
                let content = content.map_err(|_| fault(format!("the file `{text}` is not UTF-8 text")))?;
                Data::String(content.into())
            }
            SetKind::String | SetKind::Literal | SetKind::Json => Data::String(text.into()),
        };
        Ok(Tree::at(data, self.span(start, end)))
    }

    fn json(&mut self) -> Result<Tree, Fault> {
        if self.blank_value() {
            return Ok(Tree::at(Data::Null, self.span(self.at, self.at)));
        }
        let start = self.at;
        let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<serde_json::Value>();
        match stream.next() {
            Some(Ok(json)) => {
                self.at += stream.byte_offset();
                let tree = Tree::from_json(&json, Some(self.span(start, self.at)));
                self.blank_value();
                Ok(tree)
            }
            Some(Err(error)) => {
                self.at = self.text.len();
                Err(self.fault(start, format!("the value is not JSON: {error}"), ""))
            }
            None => Ok(Tree::at(Data::Null, self.span(self.at, self.at))),
        }
    }

    /// Skips white space and one comma; says whether there was nothing else.
    fn blank_value(&mut self) -> bool {
        while let Some(c) = self.rest().chars().next() {
            if c != ',' && !c.is_whitespace() {
                return false;
            }
            self.next();
            if c == ',' {
                return true;
            }
        }
        true
    }
}

/// Types a text as `--set` does: booleans, null and integers without leading zero; the rest are strings.
fn typed(text: String) -> Data {
    if text.eq_ignore_ascii_case("true") {
        return Data::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Data::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Data::Null;
    }
    if text == "0" {
        return Data::Int(0);
    }
    match text.parse::<i64>() {
        Ok(number) if !text.starts_with('0') => Data::Int(number),
        Ok(_) | Err(_) => Data::String(text.into()),
    }
}

/// Lays an assignment into the tree; the error says what stands in its way.
fn lay(values: &mut TreeMap, assignment: Assignment) -> Result<(), String> {
    let span = assignment.value.span;
    let mut steps = assignment.path.into_iter().peekable();
    let Some(Step::Key(first)) = steps.next() else { return Ok(()) };
    let mut path = first.clone();
    let mut is_new = !values.contains_key(first.as_str());
    let mut at = values.get_or_insert_with(&first, Tree::default);
    while let Some(step) = steps.next() {
        let blocked = |at: &Tree, wanted: &str, path: &str| {
            let place = if path.is_empty() { "the value" } else { path };
            format!("`{place}` is {} already, so it cannot be set as {wanted}", at.kind())
        };
        match step {
            Step::Key(key) => {
                if is_new {
                    *at = Tree { data: Data::Map(TreeMap::new()), span, key: None };
                }
                let kind = blocked(at, "a table", &path);
                let map = at.as_map_mut().ok_or(kind)?;
                path = format!("{path}.{key}");
                is_new = !map.contains_key(key.as_str());
                at = map.get_or_insert_with(&key, Tree::default);
            }
            Step::Index(index) => {
                if is_new {
                    *at = Tree { data: Data::List(Arc::default()), span, key: None };
                }
                let kind = blocked(at, "a list", &path);
                let Data::List(list) = &mut at.data else { return Err(kind) };
                let list = Arc::make_mut(list);
                if list.len() <= index {
                    list.resize_with(index + 1, || Tree { data: Data::Null, span, key: None });
                }
                path = format!("{path}[{index}]");
                let next_is_key = matches!(steps.peek(), Some(Step::Key(_)));
                let item = list.get_mut(index).ok_or("a list has the length it was given")?;
                // as in Helm, an element in the way of a table gives way; one in the way of a list only if null
                is_new = item.is_null() || (next_is_key && item.as_map().is_none());
                at = item;
            }
        }
    }
    *at = assignment.value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_all(list: &[(SetKind, &str)]) -> (serde_json::Value, Vec<(String, String)>) {
        let (mut diagnostics, sources, mut values) = (Diagnostics::new(), Sources::new(), TreeMap::new());
        let read = |path: &str| {
            if path == "a.txt" { Ok(b"text\n".to_vec()) } else { Err(format!("`{path}` does not exist")) }
        };
        for (kind, argument) in list {
            apply(&mut diagnostics, &sources, *kind, argument, &mut values, &read);
        }
        let found = diagnostics.as_slice().iter().map(|d| {
            let span = d.primary.as_ref().unwrap().span;
            (sources.get(span.file).text()[span.range()].to_owned(), d.message.clone())
        });
        (Tree::from(values).to_json(), found.collect())
    }

    fn set(argument: &str) -> serde_json::Value {
        let (values, faults) = set_all(&[(SetKind::Typed, argument)]);
        assert_eq!(faults, [], "{argument}");
        values
    }

    fn fault(kind: SetKind, argument: &str) -> (String, String) {
        set_all(&[(kind, argument)]).1.into_iter().next().expect("a fault")
    }

    #[test]
    fn values_are_typed_by_their_look() {
        let json = set("a=1,b=true,c=NULL,d=1.5,e=007,f=0,g=,h=-5,i=1e3,j=FALSE");
        let expected = serde_json::json!({"a": 1, "b": true, "c": null, "d": "1.5", "e": "007", "f": 0, "g": "",
            "h": -5, "i": "1e3", "j": false});
        assert_eq!(json, expected);
    }

    #[test]
    fn paths_and_lists_and_escapes() {
        assert_eq!(
            set(r"a.b[1].c=x,f\.g=1,h=a\,b"),
            serde_json::json!(
            {"a": {"b": [null, {"c": "x"}]}, "f.g": 1, "h": "a,b"})
        );
        assert_eq!(set("a[0][1]=x"), serde_json::json!({"a": [[null, "x"]]}));
        assert_eq!(set("a={x,1,},b={}"), serde_json::json!({"a": ["x", 1, ""], "b": [""]}));
        assert_eq!(set("a=1,"), serde_json::json!({"a": 1}));
        assert_eq!(set("a[0]=,b=2"), serde_json::json!({"a": [""], "b": 2}));
        assert_eq!(set("a={x}b=2"), serde_json::json!({"a": ["x"], "b": 2}));
    }

    #[test]
    fn later_arguments_change_earlier_ones() {
        let (values, faults) = set_all(&[(SetKind::Typed, "l={a,b}"), (SetKind::Typed, "l[1]=c,l[3].k=d")]);
        assert_eq!((values, faults.len()), (serde_json::json!({"l": ["a", "c", null, {"k": "d"}]}), 0));
        let (values, _) = set_all(&[(SetKind::Typed, "l[0]=a"), (SetKind::Typed, "l[0].b=c")]);
        assert_eq!(values, serde_json::json!({"l": [{"b": "c"}]}));
    }

    #[test]
    fn the_other_kinds_of_values() {
        let (values, faults) = set_all(&[
            (SetKind::String, "a=1,b={true,null}"),
            (SetKind::Json, r#"c=[1, {"x": null}],d="q",e=,f=1.5"#),
            (SetKind::Json, r#"{"m": {"n": 1}}"#),
            (SetKind::File, "g=a.txt"),
            (SetKind::Literal, r"h.i={a,b},c=\d"),
        ]);
        let expected = serde_json::json!({"a": "1", "b": ["true", "null"], "c": [1, {"x": null}], "d": "q", "e": null,
            "f": 1.5, "m": {"n": 1}, "g": "text\n", "h": {"i": r"{a,b},c=\d"}});
        assert_eq!((values, faults), (expected, vec![]));
    }

    #[test]
    fn faults_are_marked_inside_the_argument() {
        let text = |t: &str, m: &str| (t.to_owned(), m.to_owned());
        assert_eq!(fault(SetKind::Typed, "a=1,web.image"), text("image", "key `web.image` has no value"));
        assert_eq!(fault(SetKind::Typed, "a,b=1"), text("a", "key `a` has no value"));
        assert_eq!(fault(SetKind::Typed, "a=1,b[x]=1"), text("x", "`x` is no list index"));
        assert_eq!(fault(SetKind::Typed, "b[-1]=1"), text("-1", "a list index cannot be negative"));
        assert_eq!(fault(SetKind::Typed, "b[65537]=1"), text("65537", "the largest list index is 65536"));
        assert_eq!(fault(SetKind::Typed, "b[1=1"), text("1=1", "a list index has no closing `]`"));
        assert_eq!(fault(SetKind::Typed, "b={a,c"), text("{a,c", "a list must end with `}`"));
        assert_eq!(fault(SetKind::Typed, "b=1,b.c=2").0, "b.c");
        assert_eq!(fault(SetKind::Typed, "b[0]x=2"), text("x=", "`.`, `[` or `=` is expected after an index"));
        assert_eq!(fault(SetKind::File, "k=nope"), text("nope", "`nope` does not exist"));
        assert_eq!(fault(SetKind::Json, "k={x}").0, "{x}");
        assert_eq!(fault(SetKind::Typed, &format!("{}b=1", "a.".repeat(31))).1, "a path has at most 30 levels of `.`");
        assert_eq!(fault(SetKind::Typed, &format!("a{}=1", "[0]".repeat(300))).1, "a path has at most 200 steps");
        assert_eq!(fault(SetKind::Typed, "=1").1, "the argument has an empty key, so it sets nothing");
    }

    proptest::proptest! {
        #[test]
        fn no_argument_panics(text in "[a-c.,=\\[\\]{}0-9\\\\é\"-]{0,30}") {
            for kind in [SetKind::Json, SetKind::Typed, SetKind::String, SetKind::File, SetKind::Literal] {
                set_all(&[(kind, &text), (kind, "a=1"), (kind, &text)]);
            }
        }
    }

    #[test]
    fn a_value_knows_its_argument() {
        let (mut diagnostics, sources, mut values) = (Diagnostics::new(), Sources::new(), TreeMap::new());
        apply(&mut diagnostics, &sources, SetKind::Typed, "a.b=1,c=xyz", &mut values, &|_| Err(String::new()));
        let span = values.get("c").and_then(|v| v.span).unwrap();
        assert_eq!(sources.locate(span), ("--set".to_owned(), crate::source::Position { line: 1, column: 9 }));
    }
}
