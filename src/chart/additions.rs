//! Annotations and labels that are added to every resource of a chart: `--add-annotation`, `--add-label`.
//!
//! What lives here: reading the arguments, and putting them into manifests. What does not: files of `crds/`, which are no
//! resources of the release.
//!
//! The one idea: a manifest keeps its text. Lines are put in where that is plain; only elsewhere (flow style, lists, keys that
//! are there already) the text is written anew.

use serde_json::{Map, Value};

use crate::diag::rules::METADATA_ARGUMENT;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, Sources, Span};
use crate::syntax::yaml::{self, Node};

use super::manifest::Manifest;
use super::origins::LineOrigin;

/// What is added. Source: the options of werf 2.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddedKind {
    /// `--add-annotation`.
    Annotation,
    /// `--add-label`.
    Label,
}

impl AddedKind {
    /// Returns the name of the option.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Annotation => "--add-annotation",
            Self::Label => "--add-label",
        }
    }

    /// The field of `metadata`.
    fn field(self) -> &'static str {
        match self {
            Self::Annotation => "annotations",
            Self::Label => "labels",
        }
    }
}

#[derive(Clone, Debug)]
struct Added {
    kind: AddedKind,
    key: String,
    value: String,
    /// The argument.
    span: Span,
}

/// Annotations and labels for all resources, each key once.
#[derive(Clone, Debug, Default)]
pub struct Additions(Vec<Added>);

/// The longest name of a key, and value of a label. Unit: bytes. Source: Kubernetes.
const LONGEST: usize = 63;
/// The longest prefix of a key. Unit: bytes. Source: Kubernetes.
const LONGEST_PREFIX: usize = 253;

impl Additions {
    /// Reads arguments; of one key the last counts. Faults go to `diagnostics`.
    pub fn read(diagnostics: &mut Diagnostics, sources: &Sources, typed: &[(AddedKind, String)]) -> Self {
        let mut all = Self::default();
        for (kind, argument) in typed {
            let file = sources.add(kind.flag(), argument.as_str());
            let span = Span::new(file, 0, argument.len());
            match read(*kind, argument) {
                Ok((key, value)) => {
                    all.0.retain(|added| (added.kind, added.key.as_str()) != (*kind, key));
                    all.0.push(Added { kind: *kind, key: key.to_owned(), value: value.to_owned(), span });
                }
                Err((message, hint)) => {
                    diagnostics.push(Diagnostic::at(&METADATA_ARGUMENT, span, message).hint(hint));
                }
            }
        }
        all
    }

    /// Says whether nothing is added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves the annotations out whose keys are meant.
    pub fn leave_out(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.0.retain(|added| added.kind != AddedKind::Annotation || !is_meant(&added.key));
    }

    /// Adds them to a manifest.
    pub fn add_to(&self, manifest: &mut Manifest) {
        if self.0.is_empty() || manifest.data.is_null() {
            return;
        }
        match items_of(&mut manifest.data) {
            Some(items) => items.iter_mut().for_each(|item| self.put(item)),
            None => self.put(&mut manifest.data),
        }
        let put_in = self.put_into_text(&manifest.text);
        if let Some((text, new)) = put_in.filter(|(text, _)| means(text).as_ref() == Some(&manifest.data)) {
            manifest.text = text;
            if !manifest.lines.is_empty() {
                for (at, span) in new {
                    let line = LineOrigin { span: Some(span), ..LineOrigin::default() };
                    manifest.lines.insert(at.min(manifest.lines.len()), line);
                }
            }
        } else {
            yaml::manifest_yaml(&manifest.data).trim_end().clone_into(&mut manifest.text);
            if let Some(first) = manifest.lines.first().cloned() {
                manifest.lines = vec![first; manifest.text.lines().count()];
            }
        }
    }

    fn put(&self, object: &mut Value) {
        for added in &self.0 {
            put(object, added.kind, &added.key, &added.value);
        }
    }

    /// Returns the text with more lines, and which lines are new, in their order; `None` where that is not plain.
    fn put_into_text(&self, text: &str) -> Option<(String, Vec<(usize, Span)>)> {
        let node = yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok()?;
        let metadata = entry(&node, "metadata")?;
        let mut pieces: Vec<(usize, Vec<(String, Span)>)> = Vec::new();
        for kind in [AddedKind::Annotation, AddedKind::Label] {
            let added: Vec<&Added> = self.0.iter().filter(|added| added.kind == kind).collect();
            let Some(first) = added.first() else { continue };
            let (at, indent, head) = if let Some(table) = entry(metadata, kind.field()) {
                if added.iter().any(|added| entry(table, &added.key).is_some()) {
                    return None;
                }
                let (at, indent) = first_line(text, table)?;
                (at, indent, None)
            } else {
                let (at, indent) = first_line(text, metadata)?;
                (at, format!("{indent}  "), Some(format!("{indent}{}:", kind.field())))
            };
            let line =
                |added: &&Added| (format!("{indent}{}: {}", scalar(&added.key), scalar(&added.value)), added.span);
            let lines = head.map(|head| (head, first.span)).into_iter().chain(added.iter().map(line)).collect();
            pieces.push((at, lines));
        }
        pieces.sort_by_key(|(at, _)| *at);
        let (mut out, mut new, mut end) = (String::with_capacity(text.len() + 64), Vec::new(), 0);
        for (at, lines) in pieces {
            out.push_str(text.get(end..at)?);
            end = at;
            for (line, span) in lines {
                new.push((out.matches('\n').count(), span));
                out.push_str(&line);
                out.push('\n');
            }
        }
        out.push_str(text.get(end..)?);
        Some((out, new))
    }
}

/// The objects of a list, as `kubectl get` prints them.
fn items_of(data: &mut Value) -> Option<&mut Vec<Value>> {
    let is_list = data.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let is_named = data.pointer("/metadata/name").is_some();
    data.get_mut("items").and_then(Value::as_array_mut).filter(|_| is_list && !is_named)
}

fn put(object: &mut Value, kind: AddedKind, key: &str, value: &str) {
    let metadata = object.as_object_mut().and_then(|object| table_in(object, "metadata"));
    if let Some(table) = metadata.and_then(|metadata| table_in(metadata, kind.field())) {
        table.insert(key.to_owned(), value.into());
    }
}

/// Returns a table, made where there is none; what is something else stays as it is, and is told by who reads it.
fn table_in<'m>(map: &'m mut Map<String, Value>, key: &str) -> Option<&'m mut Map<String, Value>> {
    let value = map.entry(key.to_owned()).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

fn means(text: &str) -> Option<Value> {
    yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.as_mapping()?.iter().find(|entry| &*entry.name == key).map(|entry| &entry.value)
}

/// Returns where the first line of a table in block style begins, and its indent.
fn first_line<'t>(text: &'t str, table: &Node) -> Option<(usize, String)> {
    let first = table.as_mapping()?.iter().map(|entry| entry.key.span.start as usize).min()?;
    let start = text.get(..first)?.rfind('\n')? + 1;
    let indent: &'t str = text.get(start..first)?;
    (!indent.is_empty() && indent.bytes().all(|b| b == b' ')).then(|| (start, indent.to_owned()))
}

/// Writes a text as YAML on one line.
fn scalar(text: &str) -> String {
    let value = Value::String(text.to_owned());
    match yaml::to_yaml(&value) {
        Ok(short) if !text.contains('\n') => short.trim_end().to_owned(),
        Ok(_) | Err(_) => value.to_string(),
    }
}

/// Splits an argument, or says what is wrong with it and what to do.
fn read(kind: AddedKind, argument: &str) -> Result<(&str, &str), (String, &'static str)> {
    let flag = kind.flag();
    let Some((key, value)) = argument.split_once('=') else {
        return Err((format!("{flag} `{argument}` has no value"), "write KEY=VALUE"));
    };
    let (key, value) = (key.trim(), value.trim());
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if !is_name(name) || prefix.is_some_and(|prefix| !is_domain(prefix)) {
        return Err((
            format!("{flag}: `{key}` is no key"),
            "a key is a name of letters, digits, `-`, `_` and `.`, at most 63 long, with a domain and `/` before it or none",
        ));
    }
    if is_of_release(kind, key) {
        return Err((
            format!("{flag}: `{key}` is not for all resources"),
            "it says what a resource is to its release, or when it is written; write it into a template",
        ));
    }
    if kind == AddedKind::Label && !value.is_empty() && !is_name(value) {
        return Err((
            format!("{flag}: `{value}` is no value of a label"),
            "it has letters, digits, `-`, `_` and `.`, and at most 63 of them; an annotation may have any value",
        ));
    }
    Ok((key, value))
}

/// What marks a resource as part of a release, or as a hook.
fn is_of_release(kind: AddedKind, key: &str) -> bool {
    match kind {
        AddedKind::Annotation => {
            key.starts_with("meta.helm.sh/") || key.starts_with("helm.sh/hook") || key == "werf.io/weight"
        }
        AddedKind::Label => key == "app.kubernetes.io/managed-by",
    }
}

fn is_name(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let within = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= LONGEST && ends(text.bytes().next()) && ends(text.bytes().next_back()) && text.bytes().all(within)
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let within = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ends(part.bytes().next()) && ends(part.bytes().next_back()) && part.bytes().all(within)
    };
    text.len() <= LONGEST_PREFIX && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn additions(typed: &[(AddedKind, &str)]) -> (Additions, Vec<String>) {
        let (mut d, sources) = (Diagnostics::new(), Sources::new());
        let typed: Vec<(AddedKind, String)> = typed.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
        let read = Additions::read(&mut d, &sources, &typed);
        (read, d.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    fn manifest(text: &str) -> Manifest {
        let data = means(text).unwrap();
        let field = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Manifest {
            api_version: field("/apiVersion"),
            kind: field("/kind"),
            namespace: None,
            name: field("/metadata/name"),
            source: "c/templates/a.yaml".into(),
            text: text.to_owned(),
            span: None,
            lines: vec![LineOrigin::default(); text.lines().count()],
            hook: None,
            weight: 0,
            data,
        }
    }

    const BOTH: [(AddedKind, &str); 2] =
        [(AddedKind::Annotation, "example.org/team=web, mobile"), (AddedKind::Label, "tier=1")];

    fn added(text: &str) -> String {
        let mut manifest = manifest(text);
        additions(&BOTH).0.add_to(&mut manifest);
        assert_eq!(means(&manifest.text).as_ref(), Some(&manifest.data), "{}", manifest.text);
        assert_eq!(manifest.lines.len(), manifest.text.lines().count(), "{}", manifest.text);
        manifest.text
    }

    #[test]
    fn lines_are_put_in_and_all_else_stays_as_it_was() {
        let plain = "# a comment\napiVersion: v1\nkind: A\nmetadata:\n  # another\n  name: a # a third\nspec:   {a: 1}";
        let expected = "# a comment\napiVersion: v1\nkind: A\nmetadata:\n  # another\n  annotations:\n    \
             example.org/team: web, mobile\n  labels:\n    tier: \"1\"\n  name: a # a third\nspec:   {a: 1}";
        assert_eq!(added(plain), expected);
        let with =
            "kind: A\nmetadata:\n    name: a\n    labels:\n      app: x\n    annotations:\n        b: |\n          c\n";
        let expected = "kind: A\nmetadata:\n    name: a\n    labels:\n      tier: \"1\"\n      app: x\n    annotations:\n        \
             example.org/team: web, mobile\n        b: |\n          c\n";
        assert_eq!(added(with), expected);
    }

    #[test]
    fn what_is_not_plain_is_written_anew() {
        let flow = added("kind: A\nmetadata: {name: a}");
        assert!(
            flow.contains("  annotations:\n    example.org/team: web, mobile\n") && flow.contains("name: a"),
            "{flow}"
        );
        let replaced = added("kind: A\nmetadata:\n  name: a\n  labels:\n    tier: old");
        assert!(replaced.contains("tier: \"1\"") && !replaced.contains("old"), "{replaced}");
        for text in
            ["kind: A", "kind: A\nmetadata:\n  name: a\n  labels:", "kind: A\nmetadata:\n  name: a\n  labels: {}"]
        {
            assert!(added(text).contains("tier: \"1\""), "{text}");
        }
        let list = added("kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n- kind: B\n  metadata: {name: b}");
        assert_eq!(list.matches("tier: \"1\"").count(), 2, "{list}");
    }

    #[test]
    fn the_last_of_a_key_counts_and_what_is_none_is_told() {
        let twice = [(AddedKind::Label, "a=1"), (AddedKind::Annotation, "a=2"), (AddedKind::Label, "a=3")];
        let (all, faults) = additions(&twice);
        let mut data = serde_json::json!({});
        all.put(&mut data);
        assert_eq!(
            (data, faults.len()),
            (serde_json::json!({"metadata": {"annotations": {"a": "2"}, "labels": {"a": "3"}}}), 0)
        );
        let bad = [
            (AddedKind::Annotation, "team"),
            (AddedKind::Annotation, "-team=x"),
            (AddedKind::Annotation, "Example.org/team=x"),
            (AddedKind::Annotation, "a/b/c=x"),
            (AddedKind::Label, "tier=a b"),
            (AddedKind::Annotation, "helm.sh/hook=test"),
            (AddedKind::Label, "app.kubernetes.io/managed-by=me"),
        ];
        let expected = [
            "--add-annotation `team` has no value",
            "--add-annotation: `-team` is no key",
            "--add-annotation: `Example.org/team` is no key",
            "--add-annotation: `a/b/c` is no key",
            "--add-label: `a b` is no value of a label",
            "--add-annotation: `helm.sh/hook` is not for all resources",
            "--add-label: `app.kubernetes.io/managed-by` is not for all resources",
        ];
        assert_eq!(additions(&bad).1, expected);
        assert_eq!(additions(&[(AddedKind::Label, "a="), (AddedKind::Annotation, "b=c=d e")]).1, [""; 0]);
    }

    #[test]
    fn annotations_can_be_left_out() {
        let (mut all, _) =
            additions(&[(AddedKind::Annotation, "ci.example.org/x=1"), (AddedKind::Label, "ci.example.org/x=2")]);
        all.leave_out(|key| key.starts_with("ci."));
        assert_eq!(all.0.iter().map(|added| added.kind).collect::<Vec<_>>(), [AddedKind::Label]);
    }
}
