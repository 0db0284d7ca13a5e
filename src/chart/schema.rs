//! values.schema.json: checks the values of every chart of a tree, JSON Schema draft 4 to 2020-12.
//!
//! Source: Helm 3.20; the words of a fault are those that Helm prints. References reach other files of the chart.
//! The network is never asked: what a reference to it says allows everything, and a warning tells so. What werf adds
//! to the values is not the author's and is not checked.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use boon::{Compiler, ErrorKind, InstanceToken, Schemas, UrlLoader, ValidationError};
use serde_json::Value as Json;

use crate::diag::rules::{VALUES_INVALID, VALUES_SCHEMA};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::source::Span;

use super::load::{Chart, ChartFile};
use super::tree::{Tree, TreeMap};

/// The address that a schema has for its references.
const ADDRESS: &str = "file:///values.schema.json";
/// How many parts a pointer into a document of the network may have.
const MAX_POINTER: usize = 64;

/// Checks the values of a chart and of its subcharts; keys of `service` are left out.
pub(super) fn check(diagnostics: &mut Diagnostics, chart: &Chart, values: &TreeMap, service: &TreeMap) {
    if let Some(file) = &chart.schema {
        check_chart(diagnostics, chart, file, values, service);
    }
    for subchart in &chart.subcharts {
        if let Some(below) = values.get(subchart.name()).and_then(Tree::as_map) {
            check(diagnostics, subchart, below, service);
        }
    }
}

fn check_chart(diagnostics: &mut Diagnostics, chart: &Chart, file: &ChartFile, values: &TreeMap, service: &TreeMap) {
    let at_schema = |message: String| match file.source {
        Some(id) => Diagnostic::at(&VALUES_SCHEMA, Span::new(id, 0, 0), message),
        None => Diagnostic::in_file(&VALUES_SCHEMA, &chart.place, message),
    };
    let schema: Json = match serde_json::from_slice(file.content.bytes()) {
        Ok(schema) => schema,
        Err(error) => {
            diagnostics.push(at_schema(format!("the schema is not JSON: {error}")));
            return;
        }
    };
    let mut compiler = Compiler::new();
    let remote = Rc::new(RefCell::new(BTreeSet::new()));
    let loader = ChartFiles { files: chart.files.clone(), stand_in: stand_in(&schema), remote: remote.clone() };
    compiler.use_loader(Box::new(loader));
    let mut schemas = Schemas::new();
    let unusable = |error: boon::CompileError| at_schema(format!("the schema cannot be used: {error:#}"));
    if let Err(error) = compiler.add_resource(ADDRESS, schema) {
        diagnostics.push(unusable(error));
        return;
    }
    let index = match compiler.compile(ADDRESS, &mut schemas) {
        Ok(index) => index,
        Err(error) => {
            diagnostics.push(unusable(error));
            return;
        }
    };
    if let Some(first) = remote.borrow().first() {
        let more = remote.borrow().len() - 1;
        let others = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!("`{first}`{others} is not fetched: what it says of the values is not checked");
        let mut diagnostic = at_schema(message).hint("copy the schema into the chart, and refer to that file");
        diagnostic.severity = Severity::Warning;
        diagnostics.push(diagnostic);
    }
    let instance = without_service(values, service);
    if let Err(error) = schemas.validate(&instance, index) {
        let mut faults = Faults { diagnostics, chart, values };
        error.causes.iter().for_each(|cause| faults.add(cause));
    }
}

/// Serves references to files of the chart; there is no network and no disk.
struct ChartFiles {
    files: Arc<[ChartFile]>,
    /// Stands for every document of the network.
    stand_in: Json,
    /// The addresses in the network that were asked for.
    remote: Rc<RefCell<BTreeSet<String>>>,
}

impl UrlLoader for ChartFiles {
    fn load(&self, url: &str) -> Result<Json, Box<dyn Error>> {
        if url.starts_with("https://") || url.starts_with("http://") {
            self.remote.borrow_mut().insert(url.to_owned());
            return Ok(self.stand_in.clone());
        }
        let name = url.strip_prefix("file:///").ok_or("only files of the chart can be referred to")?;
        let file = self.files.iter().find(|f| f.name == name).ok_or("the chart has no such file")?;
        Ok(serde_json::from_slice(file.content.bytes())?)
    }
}

/// Makes a schema that allows everything, with a part at every place that a reference of `schema` names.
fn stand_in(schema: &Json) -> Json {
    let mut parts = Json::Object(serde_json::Map::new());
    let mut left = vec![schema];
    while let Some(next) = left.pop() {
        match next {
            Json::Array(items) => left.extend(items),
            Json::Object(map) => {
                left.extend(map.values());
                let fragment = map.get("$ref").and_then(Json::as_str).and_then(|reference| reference.split_once("#/"));
                if let Some((_, pointer)) = fragment {
                    add_part(&mut parts, pointer);
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
    parts
}

fn add_part(parts: &mut Json, pointer: &str) {
    let mut at = parts;
    for token in pointer.split('/').take(MAX_POINTER) {
        let name = token.replace("%24", "$").replace("~1", "/").replace("~0", "~");
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry(name).or_insert_with(|| Json::Object(serde_json::Map::new()));
    }
}

fn without_service(values: &TreeMap, service: &TreeMap) -> Json {
    let mut map = serde_json::Map::new();
    for (key, value) in values {
        match (service.get(key).map(|s| s.as_map()), value.as_map()) {
            (None, _) => {
                map.insert(key.to_string(), value.to_json());
            }
            (Some(Some(service)), Some(values)) if &**key == "global" => {
                let left = without_service(values, service);
                if left.as_object().is_some_and(|o| !o.is_empty()) {
                    map.insert(key.to_string(), left);
                }
            }
            (Some(_), _) => {}
        }
    }
    Json::Object(map)
}

struct Faults<'a> {
    diagnostics: &'a mut Diagnostics,
    chart: &'a Chart,
    values: &'a TreeMap,
}

impl Faults<'_> {
    fn add(&mut self, error: &ValidationError<'_, '_>) {
        let passes_on = matches!(
            error.kind,
            ErrorKind::Group | ErrorKind::AllOf | ErrorKind::Schema { .. } | ErrorKind::Reference { .. }
        );
        if passes_on && !error.causes.is_empty() {
            error.causes.iter().for_each(|cause| self.add(cause));
            return;
        }
        let message = format!("values of chart `{}`: {}", self.chart.name(), text_of(error));
        let mut diagnostic = match self.place(error) {
            Some(span) => Diagnostic::at(&VALUES_INVALID, span, message),
            None => Diagnostic::in_file(&VALUES_INVALID, &self.chart.place, message),
        };
        let mut causes = Vec::new();
        leaves(error, &mut causes);
        diagnostic.hints.extend(causes);
        self.diagnostics.push(diagnostic);
    }

    /// Returns the place of the nearest value that has one.
    fn place(&self, error: &ValidationError<'_, '_>) -> Option<Span> {
        let mut place = None;
        let mut at: Option<&Tree> = None;
        for token in &error.instance_location.tokens {
            let next = match (at, token) {
                (None, InstanceToken::Prop(name)) => self.values.get(name),
                (Some(tree), InstanceToken::Prop(name)) => tree.as_map().and_then(|map| map.get(name)),
                (Some(tree), InstanceToken::Item(index)) => tree.get([index.to_string().as_str()]),
                (None, InstanceToken::Item(_)) => None,
            };
            let Some(next) = next else { break };
            place = next.span.or(place);
            at = Some(next);
        }
        let schema = || self.chart.schema.as_ref().and_then(|f| f.source).map(|id| Span::new(id, 0, 0));
        place.or_else(schema)
    }
}

fn leaves(error: &ValidationError<'_, '_>, found: &mut Vec<String>) {
    for cause in &error.causes {
        if cause.causes.is_empty() {
            found.push(text_of(cause));
        } else {
            leaves(cause, found);
        }
    }
}

fn text_of(error: &ValidationError<'_, '_>) -> String {
    format!("at '{}': {}", error.instance_location, words(&error.kind))
}

/// Says what is wrong in Helm's words.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign and grows; other kinds have their own words")]
fn words(kind: &ErrorKind<'_, '_>) -> String {
    let quoted = |names: &[&str]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
    let value = |value: &Json| value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"));
    let bound = |name: &str, got: &dyn std::fmt::Display, want: &dyn std::fmt::Display| {
        format!("{name}: got {got}, want {want}")
    };
    match kind {
        ErrorKind::Type { got, want } => {
            let names: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            format!("got {got}, want {}", names.join(" or "))
        }
        ErrorKind::Required { want } => {
            let word = if want.len() == 1 { "property" } else { "properties" };
            format!("missing {word} {}", quoted(want))
        }
        ErrorKind::AdditionalProperties { got } => {
            let mut names: Vec<&str> = got.iter().map(|n| &**n).collect();
            names.sort_unstable();
            format!("additional properties {} not allowed", quoted(&names))
        }
        ErrorKind::Enum { want } => {
            format!("value must be one of {}", want.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        ErrorKind::Const { want } => format!("value must be {}", value(want)),
        ErrorKind::Minimum { got, want } => bound("minimum", got, want),
        ErrorKind::Maximum { got, want } => bound("maximum", got, want),
        ErrorKind::ExclusiveMinimum { got, want } => bound("exclusiveMinimum", got, want),
        ErrorKind::ExclusiveMaximum { got, want } => bound("exclusiveMaximum", got, want),
        ErrorKind::MultipleOf { got, want } => bound("multipleOf", got, want),
        ErrorKind::MinLength { got, want } => bound("minLength", got, want),
        ErrorKind::MaxLength { got, want } => bound("maxLength", got, want),
        ErrorKind::MinItems { got, want } => bound("minItems", got, want),
        ErrorKind::MaxItems { got, want } => bound("maxItems", got, want),
        ErrorKind::MinProperties { got, want } => bound("minProperties", got, want),
        ErrorKind::MaxProperties { got, want } => bound("maxProperties", got, want),
        ErrorKind::Pattern { got, want } => format!("'{got}' does not match pattern '{want}'"),
        ErrorKind::UniqueItems { got: [first, second] } => format!("items at {first} and {second} are equal"),
        ErrorKind::PropertyName { prop } => format!("invalid propertyName '{prop}'"),
        ErrorKind::Dependency { prop, missing } | ErrorKind::DependentRequired { prop, missing } => {
            let word = if missing.len() == 1 { "property" } else { "properties" };
            format!("{word} {} required, if '{prop}' exists", quoted(missing))
        }
        ErrorKind::Not => "'not' failed".to_owned(),
        ErrorKind::AnyOf => "'anyOf' failed".to_owned(),
        ErrorKind::AllOf => "'allOf' failed".to_owned(),
        ErrorKind::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
        ErrorKind::OneOf(Some((first, second))) => format!("'oneOf' failed, subschemas {first}, {second} matched"),
        ErrorKind::Contains => "no items match contains schema".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{LoadOptions, load};
    use crate::source::{MemoryObjects, Sources};
    use serde_json::json;

    fn faults(schema: &'static str, values: &Json) -> Vec<String> {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files([
            ("s/Chart.yaml", "apiVersion: v2\nname: s\nversion: 0.1.0\n"),
            ("s/values.schema.json", schema),
            ("s/other.json", r#"{"type": "boolean"}"#),
        ]);
        let chart = load(&mut diagnostics, &sources, &files, "s", &LoadOptions::default()).unwrap();
        let values = Tree::from_json(values, None).into_map().unwrap();
        let service = TreeMap::from([
            ("werf".into(), Tree::empty_map()),
            ("global".into(), Tree::from([("werf", Tree::empty_map())])),
        ]);
        check(&mut diagnostics, &chart, &values, &service);
        let text = |d: &Diagnostic| d.message.replace("values of chart `s`: ", "") + &d.hints.join("|");
        let mut texts: Vec<String> = diagnostics.as_slice().iter().map(text).collect();
        texts.sort();
        texts
    }

    /// Vouched for by Helm 3.20.0.
    #[test]
    fn faults_speak_as_helm_does() {
        let schema = r##"{"type":"object","required":["zz","yy"],"additionalProperties":false,
            "properties":{"a":{"type":"string"},"b":{"type":["integer","null"]},"c":{"enum":["x","y",1]},
            "e":{"minLength":3,"pattern":"^a"},"f":{"uniqueItems":true},"g":{"anyOf":[{"type":"string"},{"type":"object"}]},
            "k":{"allOf":[{"$ref":"#/definitions/k"}]},"m":{"maximum":3}},
            "definitions":{"k":{"type":"object","properties":{"z":{"type":"boolean"}}}}}"##;
        let values = json!({"a":1,"b":2.5,"c":"z","e":"b","f":[1,1],"g":5,"k":{"z":1},"m":5,"extra":1,
            "werf": {"x": 1}, "global": {"werf": 1}});
        assert_eq!(
            faults(schema, &values),
            [
                "at '': additional properties 'extra' not allowed",
                "at '': missing properties 'zz', 'yy'",
                "at '/a': got number, want string",
                "at '/b': got number, want null or integer",
                "at '/c': value must be one of 'x', 'y', 1",
                "at '/e': 'b' does not match pattern '^a'",
                "at '/e': minLength: got 1, want 3",
                "at '/f': items at 0 and 1 are equal",
                "at '/g': 'anyOf' failedat '/g': got number, want string|at '/g': got number, want object",
                "at '/k/z': got number, want boolean",
                "at '/m': maximum: got 5, want 3",
            ]
        );
    }

    #[test]
    fn references_stay_in_the_chart() {
        let schema = r#"{"properties":{"a":{"$ref":"other.json"}}}"#;
        assert_eq!(faults(schema, &json!({"a": 1})), ["at '/a': got number, want boolean"]);
        let other = faults(r#"{"$ref":"ftp://example.com/x.json"}"#, &json!({}));
        assert!(other[0].contains("only files of the chart"), "{other:?}");
        let disk = faults(r#"{"$ref":"file:///etc/passwd"}"#, &json!({}));
        assert!(disk[0].contains("the chart has no such file"), "{disk:?}");
        assert!(faults("{", &json!({}))[0].starts_with("the schema is not JSON"));
    }

    #[test]
    fn what_the_network_would_say_allows_everything_with_a_warning() {
        let schema = r##"{"properties":{"a":{"$ref":"https://example.com/x.json"},"b":{"type":"string"},
            "c":{"items":{"$ref":"https://example.com/y.json#/definitions/a~1b/properties/k"}},
            "d":{"$ref":"#/definitions/d"}},"definitions":{"d":{"$ref":"https://example.com/y.json#/$defs/d"}}}"##;
        let told = "`https://example.com/x.json` and 1 more is not fetched: what it says of the values is not \
                    checkedcopy the schema into the chart, and refer to that file";
        assert_eq!(faults(schema, &json!({"a": 1, "b": "x", "c": [1], "d": {}})), [told]);
        assert_eq!(faults(schema, &json!({"b": 1})), [told, "at '/b': got number, want string"]);
        let known = r#"{"$ref":"http://json-schema.org/draft-07/schema#"}"#;
        assert_eq!(faults(known, &json!({"type": 1})).len(), 1);
    }
}
