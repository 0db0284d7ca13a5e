//! Compares a manifest with the fields of its kind: unknown and missing ones, types, enumerations, forms of texts.
//!
//! What lives here: the walk over the table of `api`. What does not: rules that look at several fields (`rules`).
//!
//! The one idea: null is nothing, as it is to the API server; and what the API server takes is never an error.

use serde_json::{Map, Value};

use super::api::{Api, Field, Type};
use super::forms::{self, wanted};
use super::place::{Finding, Path};
use crate::diag::rules::{MANIFEST_INVALID_VALUE, MANIFEST_MISSING_FIELD, MANIFEST_UNKNOWN_FIELD, MANIFEST_WRONG_TYPE};
use crate::diag::{Severity, did_you_mean};

/// Fields that the API calls required and the API server does without.
const NOT_ENFORCED: &[(&str, &str)] = &[
    ("apps/v1.StatefulSetSpec", "serviceName"),
    ("apps/v1beta1.StatefulSetSpec", "serviceName"),
    ("apps/v1beta2.StatefulSetSpec", "serviceName"),
    ("rbac/v1.Role", "rules"),
    ("rbac/v1.ClusterRole", "rules"),
    ("rbac/v1.RoleRef", "apiGroup"),
    ("rbac/v1beta1.RoleRef", "apiGroup"),
    ("discovery/v1.EndpointSlice", "endpoints"),
    ("discovery/v1.EndpointSlice", "ports"),
    ("core/v1.TypedLocalObjectReference", "apiGroup"),
    ("meta/v1.LabelSelectorRequirement", "values"),
    ("batch/v1.PodFailurePolicyRule", "onPodConditions"),
    ("core/v1.LimitRangeSpec", "limits"),
    ("core/v1.PreferredSchedulingTerm", "preference"),
    ("scheduling/v1.PriorityClass", "value"),
    ("storage/v1.CSIDriver", "spec"),
];

/// How deep a manifest is followed.
const MAX_DEPTH: usize = 200;

/// A walk over one manifest.
pub struct Walk<'a> {
    api: &'a Api,
    /// Unit: the minor release.
    release: u32,
    /// Whether the user named the release.
    release_is_given: bool,
    /// `Deployment (apps/v1)`.
    subject: String,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    /// Begins a walk over a manifest of `subject`.
    pub fn new(api: &'a Api, release: u32, release_is_given: bool, subject: String) -> Self {
        Self { api, release, release_is_given, subject, findings: Vec::new() }
    }

    /// Compares a value with a type and returns what was found.
    pub fn run(mut self, type_name: &str, value: &Value) -> Vec<Finding> {
        self.named(type_name, value, &Path::ROOT, 0);
        self.findings
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn named(&mut self, name: &str, value: &Value, path: &Path<'_>, depth: usize) {
        let Some(found) = self.api.type_named(name).filter(|_| depth < MAX_DEPTH) else { return };
        match &*found {
            Type::Values(values) => self.enumeration(values, value, path),
            Type::Fields(fields) => {
                let Some(object) = self.object(value, path) else { return };
                for (key, value) in object {
                    let path = path.key(key);
                    match found.field(key) {
                        Some(field) => {
                            self.note_release(field, &path);
                            self.value(name, field.type_text, value, &path, depth);
                        }
                        None => self.unknown(fields, key, &path),
                    }
                }
                // a boolean that is missing is false
                let missing =
                    |f: &&Field| f.required && f.type_text != "b" && object.get(f.name).is_none_or(Value::is_null);
                for field in fields.iter().filter(missing) {
                    if !NOT_ENFORCED.contains(&(name, field.name)) {
                        let message = format!("`{}` is missing{}", path.key(field.name), self.of_subject());
                        self.add(Finding::new(&MANIFEST_MISSING_FIELD, path, message));
                    }
                }
            }
        }
    }

    fn of_subject(&self) -> String {
        format!(" in the {}", self.subject)
    }

    fn note_release(&mut self, field: &Field, path: &Path<'_>) {
        let release = self.release;
        if field.first > release && self.release_is_given {
            let message = format!("`{path}` comes with Kubernetes 1.{}, the release is for 1.{release}", field.first);
            self.add(Finding::new(&MANIFEST_UNKNOWN_FIELD, path, message).severity(Severity::Warning));
        } else if field.last < release {
            let gone = field.last + 1;
            let message = format!("`{path}` is no field since Kubernetes 1.{gone}: it has no effect");
            self.add(Finding::new(&MANIFEST_UNKNOWN_FIELD, path, message).severity(Severity::Warning));
        }
    }

    fn unknown(&mut self, fields: &[Field], key: &str, path: &Path<'_>) {
        let near = did_you_mean(key, fields.iter().map(|f| f.name));
        let message = format!("`{path}` is not a field of the {}", self.subject);
        let hint = near.map(|n| format!("did you mean `{n}`?"));
        self.add(Finding::new(&MANIFEST_UNKNOWN_FIELD, path, message).hint_if(hint));
    }

    fn wrong_type(&mut self, expected: &str, value: &Value, path: &Path<'_>) {
        let quotes = matches!((expected, value), ("a string", Value::Number(_) | Value::Bool(_)));
        let bare = matches!((expected, value), ("an integer", Value::String(t)) if t.parse::<i64>().is_ok())
            || matches!((expected, value), ("a boolean", Value::String(t)) if t == "true" || t == "false");
        let hint = match (quotes, bare) {
            (true, _) => Some("put it in quotes: in a template, `| quote`".to_owned()),
            (false, true) => Some("write it without quotes".to_owned()),
            (false, false) => None,
        };
        let message = format!("`{path}` must be {expected}, not {}", kind_of(value));
        self.add(Finding::new(&MANIFEST_WRONG_TYPE, path, message).hint_if(hint));
    }

    fn object<'v>(&mut self, value: &'v Value, path: &Path<'_>) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Object(object) => Some(object),
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.wrong_type("a mapping", value, path);
                None
            }
        }
    }

    /// Compares a value with a type written as in the table; `owner` is the type that has the field.
    fn value(&mut self, owner: &str, type_text: &str, value: &Value, path: &Path<'_>, depth: usize) {
        if value.is_null() {
            return;
        }
        let (sort, inner) = split(type_text);
        match sort {
            Sort::List => {
                let Some(items) = value.as_array() else { return self.wrong_type("a list", value, path) };
                for (index, item) in items.iter().enumerate() {
                    self.value(owner, inner, item, &path.index(index), depth + 1);
                }
            }
            Sort::Map => {
                let Some(object) = self.object(value, path) else { return };
                for (key, value) in object {
                    self.value(owner, inner, value, &path.key(key), depth + 1);
                }
                self.keys(owner, object, path);
            }
            Sort::Scalar(sort) => self.scalar(sort, value, path),
            Sort::Named => {
                let name = reference(owner, inner).unwrap_or_default();
                self.named(&name, value, path, depth + 1);
            }
        }
    }

    fn scalar(&mut self, sort: u8, value: &Value, path: &Path<'_>) {
        let expected = match sort {
            b's' | b't' | b'd' | b'y' => (!value.is_string()).then_some("a string"),
            b'b' => (!value.is_boolean()).then_some("a boolean"),
            b'n' => (!value.is_number()).then_some("a number"),
            b'i' | b'I' => (!is_integer(value)).then_some("an integer"),
            b'o' => (!value.is_object()).then_some("a mapping"),
            b'x' => (!is_integer(value) && !value.is_string()).then_some("an integer or a string"),
            b'q' => (!value.is_number() && !value.is_string()).then_some("a quantity"),
            _ => None,
        };
        if let Some(expected) = expected {
            return self.wrong_type(expected, value, path);
        }
        let text = value.as_str().unwrap_or_default();
        match sort {
            b'i' if value.as_f64().is_some_and(|n| n.abs() > 2_147_483_648.0) => {
                self.invalid(path, format!("`{path}` is {value}: it does not fit into 32 bits"));
            }
            b'q' if value.is_string() && forms::quantity(text).is_none() => {
                let message = format!("`{path}` is `{text}`, which is not a quantity: {}", wanted::QUANTITY);
                self.invalid(path, message);
            }
            b'd' if !forms::is_duration(text) => {
                self.invalid(path, format!("`{path}` is `{text}`, which is not a duration: {}", wanted::DURATION));
            }
            b'y' if !forms::is_base64(text) => {
                let message = format!("`{path}` is not base64");
                let finding = Finding::new(&MANIFEST_INVALID_VALUE, path, message);
                self.add(finding.hint("encode it (in a template, `| b64enc`), or put the text under `stringData`"));
            }
            _ => {}
        }
    }

    fn invalid(&mut self, path: &Path<'_>, message: String) {
        self.add(Finding::new(&MANIFEST_INVALID_VALUE, path, message));
    }

    fn enumeration(&mut self, values: &[&str], value: &Value, path: &Path<'_>) {
        match value {
            Value::String(text) if text.is_empty() || values.is_empty() || values.contains(&text.as_str()) => {}
            Value::String(text) => {
                let list: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
                let message = format!("`{path}` is `{text}`; it is one of {}", list.join(", "));
                let near = did_you_mean(text, values.iter().copied()).map(|n| format!("did you mean `{n}`?"));
                self.add(Finding::new(&MANIFEST_INVALID_VALUE, path, message).hint_if(near));
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.wrong_type("a string", value, path);
            }
        }
    }

    /// Looks at the keys and values of maps that have a form.
    fn keys(&mut self, owner: &str, object: &Map<String, Value>, path: &Path<'_>) {
        let labels = match (owner, path.last_key()) {
            ("meta/v1.ObjectMeta", Some("labels"))
            | ("meta/v1.LabelSelector", Some("matchLabels"))
            | ("core/v1.PodSpec", Some("nodeSelector")) => true,
            ("meta/v1.ObjectMeta", Some("annotations")) => false,
            ("core/v1.ConfigMap" | "core/v1.Secret", Some("data" | "binaryData" | "stringData")) => {
                for key in object.keys().filter(|key| !forms::is_config_key(key)) {
                    let at = path.key(key);
                    self.invalid(&at, format!("the key `{key}` is not allowed: {}", wanted::CONFIG_KEY));
                }
                return;
            }
            _ => return,
        };
        for (key, value) in object {
            let at = path.key(key);
            // annotations are compared in lower case
            let is_key = if labels { forms::is_label_key(key) } else { forms::is_label_key(&key.to_lowercase()) };
            if !is_key {
                self.invalid(&at, format!("the key `{key}` is not allowed: {}", wanted::LABEL_KEY));
            }
            let text = value.as_str().filter(|text| labels && !forms::is_label_value(text));
            if let Some(text) = text {
                self.invalid(&at, format!("`{at}` is `{text}`, which is no label: {}", wanted::LABEL_VALUE));
            }
        }
    }
}

enum Sort {
    List,
    Map,
    Scalar(u8),
    Named,
}

/// Splits a type of the table into its outermost sort and what is within.
fn split(type_text: &str) -> (Sort, &str) {
    let bytes = type_text.as_bytes();
    let rest = type_text.get(1..).unwrap_or_default();
    match bytes {
        [b'[' | b'(', ..] => (Sort::List, rest),
        [b'{', ..] => (Sort::List, type_text.split_once('}').map_or("", |(_, inner)| inner)),
        [b'<', ..] => (Sort::Map, rest),
        [sort] => (Sort::Scalar(*sort), ""),
        _ => (Sort::Named, type_text),
    }
}

/// Strips lists and maps from a type.
#[cfg(test)]
pub(super) fn innermost(type_text: &str) -> &str {
    let mut text = type_text;
    while let (Sort::List | Sort::Map, inner) = split(text) {
        text = inner;
    }
    text
}

/// Returns the whole name of a type that is named by `owner`; `None` for scalars.
pub(super) fn reference(owner: &str, text: &str) -> Option<String> {
    match text.strip_prefix('.') {
        Some(name) => Some(format!("{}.{name}", owner.split('.').next().unwrap_or_default())),
        None => text.contains('.').then(|| text.to_owned()),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

pub(super) fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => format!("the boolean `{b}`"),
        Value::Number(n) => format!("the number `{n}`"),
        Value::String(text) if text.len() <= 40 && !text.contains('\n') => format!("the string `{text}`"),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}
