//! Custom resources against the definitions that the chart itself brings.
//!
//! What lives here: finding the definition of a kind, and its `openAPIV3Schema`. What does not: expressions
//! (`x-kubernetes-validations`), which only a cluster decides.
//!
//! The one idea: a definition is read when a resource of its group is met, and never before. Where schemas are joined by
//! `anyOf`, `oneOf` or `not`, a value is wrong only if nothing that this file does not know could make it right.

use regex::Regex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::Release;
use super::fields::kind_of;
use super::place::{Finding, Path};
use crate::chart::Manifest;
use crate::diag::rules::{
    MANIFEST_INVALID_VALUE, MANIFEST_MISSING_FIELD, MANIFEST_UNKNOWN_FIELD, MANIFEST_UNKNOWN_KIND, MANIFEST_WRONG_TYPE,
};
use crate::diag::{Severity, did_you_mean};
use crate::source::FileId;
use crate::syntax::yaml;

/// How deep a schema is followed.
const MAX_DEPTH: usize = 100;

/// The definitions of a chart.
pub struct Customs<'a> {
    /// Texts of crds/ that were not read yet.
    texts: Vec<&'a str>,
    /// Definitions by group and kind.
    known: FxHashMap<(String, String), Value>,
    patterns: FxHashMap<String, Option<Regex>>,
}

impl<'a> Customs<'a> {
    /// Notes the definitions of a release.
    pub fn new(release: &Release<'a>) -> Self {
        let texts = release.crds.iter().map(|(_, text)| text.as_str()).collect();
        let mut customs = Self { texts, known: FxHashMap::default(), patterns: FxHashMap::default() };
        let all = release.manifests.iter().chain(release.hooks);
        for manifest in all.filter(|m| m.kind == "CustomResourceDefinition") {
            customs.learn(&manifest.data);
        }
        customs
    }

    fn learn(&mut self, definition: &Value) {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("/kind") == "CustomResourceDefinition" {
            self.known.entry((text("/spec/group"), text("/spec/names/kind"))).or_insert_with(|| definition.clone());
        }
    }

    /// Reads the files that may define a group.
    fn read(&mut self, group: &str) {
        let (wanted, rest) = std::mem::take(&mut self.texts).into_iter().partition(|text: &&str| text.contains(group));
        self.texts = rest;
        let wanted: Vec<&str> = wanted;
        for text in wanted {
            let nodes = yaml::decode_all(text, FileId(u32::MAX), 0, yaml::Options::HELM).unwrap_or_default();
            nodes.iter().for_each(|node| self.learn(&node.to_plain()));
        }
    }

    /// Compares a custom resource with its definition, if the chart has it.
    pub fn check(&mut self, manifest: &Manifest) -> Vec<Finding> {
        self.read(manifest.group());
        let Some(definition) = self.known.get(&(manifest.group().to_owned(), manifest.kind.clone())) else {
            return Vec::new();
        };
        let version = manifest.api_version.rsplit('/').next().unwrap_or_default();
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        let versions = versions.map(Vec::as_slice).unwrap_or_default();
        let is_named = |v: &&Value| v.get("name").and_then(Value::as_str) == Some(version);
        let root = Path::ROOT;
        let Some(found) = versions.iter().find(is_named) else {
            if versions.is_empty() {
                return Vec::new();
            }
            let names: Vec<&str> = versions.iter().filter_map(|v| v.get("name")?.as_str()).collect();
            let message = format!(
                "the chart defines {} of {} in {}, not in {version}",
                manifest.kind,
                manifest.group(),
                names.join(", ")
            );
            return vec![Finding::new(&MANIFEST_UNKNOWN_KIND, &root.key("apiVersion"), message)];
        };
        let Some(schema) = found.pointer("/schema/openAPIV3Schema").and_then(Value::as_object) else {
            return Vec::new();
        };
        let mut walk = Walk::new(&mut self.patterns, &manifest.kind, true);
        walk.value(schema, &manifest.data, &root, 0);
        walk.found
    }
}

/// What joined schemas may hold that is checked here, or that checks nothing. Source: structural schemas, Kubernetes.
const KNOWN_KEYS: &[&str] = &[
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];

/// Alternatives whose faults are told.
const ALTERNATIVES_TOLD: usize = 3;

struct Walk<'a> {
    patterns: &'a mut FxHashMap<String, Option<Regex>>,
    found: Vec<Finding>,
    kind: &'a str,
    /// Whether the schema describes the whole value; one of several that are joined does not.
    whole: bool,
    /// Whether something was met that cannot be judged here.
    unsure: bool,
}

/// What one of several joined schemas says of a value.
enum Verdict {
    Fits,
    Unsure,
    /// The first fault.
    Fails(String),
}

fn is_set(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

impl<'a> Walk<'a> {
    fn new(patterns: &'a mut FxHashMap<String, Option<Regex>>, kind: &'a str, whole: bool) -> Self {
        Self { patterns, found: Vec::new(), kind, whole, unsure: false }
    }

    fn value(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path<'_>, depth: usize) {
        if value.is_null() || depth > MAX_DEPTH {
            self.unsure = true;
            return;
        }
        self.unsure |= !schema.keys().all(|key| KNOWN_KEYS.contains(&key.as_str()));
        let is_integer = || value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0);
        if is_set(schema, "x-kubernetes-int-or-string") {
            if !is_integer() && !value.is_string() {
                self.wrong("an integer or a string", value, path);
            }
            return;
        }
        let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        let (fits, article) = match expected {
            "object" => (value.is_object(), "a mapping"),
            "array" => (value.is_array(), "a list"),
            "string" => (value.is_string(), "a string"),
            "boolean" => (value.is_boolean(), "a boolean"),
            "integer" => (is_integer(), "an integer"),
            "number" => (value.is_number(), "a number"),
            _ => (true, ""),
        };
        if !fits {
            return self.wrong(article, value, path);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            let list: Vec<String> = values.iter().map(|v| format!("`{}`", bare(v))).collect();
            let message = format!("`{path}` is `{}`; it is one of {}", bare(value), list.join(", "));
            let texts = values.iter().filter_map(Value::as_str);
            let near = did_you_mean(&bare(value), texts).map(|n| format!("did you mean `{n}`?"));
            self.found.push(Finding::new(&MANIFEST_INVALID_VALUE, path, message).hint_if(near));
        }
        match value {
            Value::Object(object) => self.object(schema, object, path, depth),
            Value::Array(list) => self.list(schema, list, path, depth),
            Value::String(text) => self.text(schema, text, path),
            Value::Number(_) => self.number(schema, value, path),
            Value::Null | Value::Bool(_) => {}
        }
        if ["allOf", "anyOf", "oneOf", "not"].iter().any(|key| schema.contains_key(*key)) {
            self.joined(schema, &defaulted(schema, value, depth), path, depth);
        }
    }

    /// Checks the schemas that are joined to one; what they say of a value is decided one by one.
    fn joined(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path<'_>, depth: usize) {
        let branches = |key: &str| -> Vec<&Map<String, Value>> {
            let list = schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_object).collect()
        };
        for branch in branches("allOf") {
            let mut walk = Walk::new(self.patterns, self.kind, false);
            walk.value(branch, value, path, depth);
            let (found, unsure) = (walk.found, walk.unsure);
            self.unsure |= unsure;
            self.found.extend(found);
        }
        for (key, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let verdicts: Vec<Verdict> =
                branches(key).into_iter().map(|branch| self.verdict(branch, value, path, depth)).collect();
            self.alternatives(&verdicts, most, path);
        }
        if let Some(branch) = schema.get("not").and_then(Value::as_object) {
            match self.verdict(branch, value, path, depth) {
                Verdict::Fits => self.invalid(path, format!("`{path}` has a form that the {} forbids", self.kind)),
                Verdict::Unsure => self.unsure = true,
                Verdict::Fails(_) => {}
            }
        }
    }

    /// Tells when a value fits none of several schemas, or more than `most`.
    fn alternatives(&mut self, verdicts: &[Verdict], most: usize, path: &Path<'_>) {
        let faults: Vec<&str> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Fails(fault) => Some(fault.as_str()),
                Verdict::Fits | Verdict::Unsure => None,
            })
            .collect();
        let fit = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Fits)).count();
        self.unsure |= fit + faults.len() < verdicts.len();
        if !verdicts.is_empty() && faults.len() == verdicts.len() {
            let more = if faults.len() > ALTERNATIVES_TOLD { "; …" } else { "" };
            let told: Vec<&str> = faults.into_iter().take(ALTERNATIVES_TOLD).collect();
            self.invalid(path, format!("`{path}` fits no alternative of the {}: {}{more}", self.kind, told.join("; ")));
        } else if fit > most {
            self.invalid(path, format!("`{path}` fits {fit} alternatives of the {}, which wants just one", self.kind));
        }
    }

    fn verdict(&mut self, branch: &Map<String, Value>, value: &Value, path: &Path<'_>, depth: usize) -> Verdict {
        let mut walk = Walk::new(self.patterns, self.kind, false);
        walk.value(branch, value, path, depth);
        match (walk.found.into_iter().next(), walk.unsure) {
            (Some(fault), _) => Verdict::Fails(fault.message),
            (None, true) => Verdict::Unsure,
            (None, false) => Verdict::Fits,
        }
    }

    fn wrong(&mut self, expected: &str, value: &Value, path: &Path<'_>) {
        let message = format!("`{path}` must be {expected}, not {}", kind_of(value));
        self.found.push(Finding::new(&MANIFEST_WRONG_TYPE, path, message));
    }

    fn invalid(&mut self, path: &Path<'_>, message: String) {
        self.found.push(Finding::new(&MANIFEST_INVALID_VALUE, path, message));
    }

    fn object(&mut self, schema: &Map<String, Value>, object: &Map<String, Value>, path: &Path<'_>, depth: usize) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let other = schema.get("additionalProperties");
        let is_resource = depth == 0 || is_set(schema, "x-kubernetes-embedded-resource");
        let open = is_set(schema, "x-kubernetes-preserve-unknown-fields") || other == Some(&Value::Bool(true));
        for (key, value) in object {
            // what a controller writes is not the chart's
            if is_resource && matches!(key.as_str(), "apiVersion" | "kind" | "metadata")
                || depth == 0 && key == "status"
            {
                self.unsure |= properties.is_some_and(|p| p.contains_key(key));
                continue;
            }
            let at = path.key(key);
            let known = properties.and_then(|p| p.get(key)).or(other.filter(|o| o.is_object()));
            match known.and_then(Value::as_object) {
                Some(schema) => self.value(schema, value, &at, depth + 1),
                None if open || known.is_some() || !self.whole => {}
                None if properties.is_none() && other.is_none() && depth == 0 => {}
                None => {
                    let message = format!("`{at}` is not a field of the {} that the chart defines", self.kind);
                    let names = properties.into_iter().flat_map(|p| p.keys().map(String::as_str));
                    let near = did_you_mean(key, names).map(|n| format!("did you mean `{n}`?"));
                    let finding = Finding::new(&MANIFEST_UNKNOWN_FIELD, &at, message);
                    self.found.push(finding.severity(Severity::Warning).hint_if(near));
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for name in required.iter().filter_map(Value::as_str) {
            let has_default = properties.and_then(|p| p.get(name)).is_some_and(|p| p.get("default").is_some());
            let is_skipped = depth == 0 && matches!(name, "status" | "metadata");
            self.unsure |= is_skipped;
            if object.get(name).is_none_or(Value::is_null) && !has_default && !is_skipped {
                let message = format!("`{}` is missing in the {}", path.key(name), self.kind);
                self.found.push(Finding::new(&MANIFEST_MISSING_FIELD, path, message));
            }
        }
    }

    fn list(&mut self, schema: &Map<String, Value>, list: &[Value], path: &Path<'_>, depth: usize) {
        self.size(schema, ("minItems", "maxItems"), list.len(), "items", path);
        if let Some(inner) = schema.get("items").and_then(Value::as_object) {
            for (index, item) in list.iter().enumerate() {
                self.value(inner, item, &path.index(index), depth + 1);
            }
        }
    }

    fn text(&mut self, schema: &Map<String, Value>, text: &str, path: &Path<'_>) {
        self.size(schema, ("minLength", "maxLength"), text.chars().count(), "characters", path);
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return };
        let known = self.patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        self.unsure |= known.is_none();
        if known.as_ref().is_some_and(|p| !p.is_match(text)) {
            self.invalid(path, format!("`{path}` is `{text}`, which does not match `{pattern}`"));
        }
    }

    fn size(
        &mut self,
        schema: &Map<String, Value>,
        (least, most): (&str, &str),
        size: usize,
        what: &str,
        path: &Path<'_>,
    ) {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if let Some(least) = limit(least).filter(|n| size < *n) {
            self.invalid(path, format!("`{path}` has {size} {what}; at least {least} are needed"));
        }
        if let Some(most) = limit(most).filter(|n| size > *n) {
            self.invalid(path, format!("`{path}` has {size} {what}; at most {most} are allowed"));
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path<'_>) {
        let Some(number) = value.as_f64() else { return };
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let below = limit("minimum").filter(|n| number < *n || (is_set(schema, "exclusiveMinimum") && number <= *n));
        let above = limit("maximum").filter(|n| number > *n || (is_set(schema, "exclusiveMaximum") && number >= *n));
        if let Some(least) = below {
            self.invalid(path, format!("`{path}` is {value}; it is too small, the least is {least}"));
        }
        if let Some(most) = above {
            self.invalid(path, format!("`{path}` is {value}; it is too large, the most is {most}"));
        }
    }
}

/// Returns a value with the defaults of its schema, as the API server sets them before it looks at joined schemas.
fn defaulted(schema: &Map<String, Value>, value: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return value.clone();
    }
    match value {
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let other = schema.get("additionalProperties").and_then(Value::as_object);
            let of = |key: &String| properties.and_then(|p| p.get(key)).and_then(Value::as_object).or(other);
            let is_open = |key: &String| of(key).is_none_or(|schema| is_set(schema, "nullable"));
            let kept = object.iter().filter(|(key, value)| !value.is_null() || is_open(key));
            let mut made: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
            for (key, schema) in properties.into_iter().flatten() {
                if let Some(default) = schema.get("default").filter(|_| !made.contains_key(key)) {
                    made.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in &mut made {
                if let Some(schema) = of(key) {
                    *value = defaulted(schema, value, depth + 1);
                }
            }
            Value::Object(made)
        }
        Value::Array(list) => match schema.get("items").and_then(Value::as_object) {
            Some(items) => Value::Array(list.iter().map(|item| defaulted(items, item, depth + 1)).collect()),
            None => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
