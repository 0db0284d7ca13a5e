//! Runs `testdata/templates/cases.jsonl`: what Helm v3.20.0 rendered, or why it refused.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::objects::{FilesObject, chart_object, release_object, to_dict};
use super::{Capabilities, LoadOptions, Release, ValuesInput, compose, load};
use crate::diag::Diagnostics;
use crate::eval::{Dict, DictKind, FunctionSet, RenderEnv, SetOptions, Str, TemplateSet, Value, on_deep_stack};
use crate::source::{Files, MemoryObjects, Mode, Sources};

const CASES: &str = include_str!("../../testdata/templates/cases.jsonl");
const DEVIATIONS: &str = include_str!("../../testdata/templates/deviations.toml");
const NAME: &str = "eval/templates/eval.yaml";

/// The chart of a case as files.
fn chart_files(case: &Json) -> Files {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, text: &str| {
        files.insert(name.to_owned(), Some((Mode::File, text.as_bytes().to_vec())));
    };
    add("Chart.yaml", "apiVersion: v2\nname: eval\nversion: 0.1.0\n");
    let empty = serde_json::Map::new();
    for (name, text) in case.get("files").and_then(Json::as_object).unwrap_or(&empty) {
        add(name, text.as_str().unwrap_or(""));
    }
    let store = MemoryObjects::new();
    let root = store.with_changes(None, &files).expect("a tree of files");
    Files::new(Arc::new(store), root)
}

/// The root object of a case.
fn data(diagnostics: &mut Diagnostics, sources: &Sources, case: &Json) -> Value {
    let user = match (case.get("values"), case.get("values_yaml").and_then(Json::as_str)) {
        (Some(json), _) => json.to_string(),
        (None, Some(yaml)) => yaml.to_owned(),
        (None, None) => String::new(),
    };
    let chart = load(diagnostics, sources, &chart_files(case), "", &LoadOptions::default()).expect("a chart");
    let input =
        ValuesInput { files: vec![("user.yaml".to_owned(), user.into_bytes().into())], ..ValuesInput::default() };
    let composed = compose(diagnostics, sources, &chart, &input).expect("values");
    let values = composed.values.as_map().cloned().unwrap_or_default();
    let capabilities = Capabilities { helm_version: "v3.20".to_owned(), ..Capabilities::default() };
    let dict = |kind, entries: &[(&str, Value)]| {
        let entries = entries.iter().map(|(k, v)| (Str::from(*k), v.clone()));
        Value::Dict(Rc::new(Dict::from_entries(kind, entries)))
    };
    let template = [("Name", Value::str(NAME)), ("BasePath", Value::str("eval/templates"))];
    dict(
        DictKind::Values,
        &[
            ("Values", Value::Dict(Rc::new(to_dict(&values, DictKind::Values)))),
            ("Release", release_object(&Release::default())),
            ("Chart", chart_object(&chart.metadata, true)),
            ("Capabilities", capabilities.object()),
            ("Files", FilesObject::all(&chart.files)),
            ("Subcharts", dict(DictKind::Any, &[])),
            ("Template", dict(DictKind::Values, &template)),
        ],
    )
}

/// Renders a case; an error is told in the words of Helm.
fn render(case: &Json, track: bool) -> Result<String, String> {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let text = case.get("t").and_then(Json::as_str).unwrap_or("");
    let file = sources.add(NAME, text);
    let mut set = TemplateSet::new(SetOptions::helm());
    set.parse(&mut diagnostics, &sources, NAME, file);
    if let Some(first) = diagnostics.as_slice().first() {
        let line = first.primary.as_ref().map_or(0, |l| sources.locate(l.span).1.line);
        let message = first.message.rsplit(": ").next().unwrap_or("").to_owned();
        return Err(format!("parse error at ({NAME}:{line}): {message}"));
    }
    let env = RenderEnv { track, ..RenderEnv::bare(&sources) };
    let data = data(&mut diagnostics, &sources, case);
    match set.render(NAME, data, env) {
        Ok(rendered) => {
            assert_eq!(rendered.origins.is_some(), track);
            Ok(String::from_utf8_lossy(&rendered.text).into_owned())
        }
        Err(error) => Err(error.helm_text(&sources)),
    }
}

/// The functions that a template names, for the report.
fn functions(text: &str) -> BTreeSet<&'static str> {
    let set = FunctionSet::helm();
    let names: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    set.iter().map(|f| f.name).filter(|n| names.contains(n)).collect()
}

struct Failure {
    template: String,
    wanted: Result<String, String>,
    got: Result<String, String>,
}

fn failures() -> (usize, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in CASES.lines() {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        count += 1;
        let wanted = match case.get("error").and_then(Json::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(case.get("out").and_then(Json::as_str).unwrap_or("").to_owned()),
        };
        let caught = std::panic::catch_unwind(|| {
            let got = render(&case, false);
            assert_eq!(got, render(&case, true), "tracking changes nothing");
            got
        });
        let got = caught.unwrap_or_else(|_| Err("panic".to_owned()));
        if got != wanted {
            let template = case.get("t").and_then(Json::as_str).unwrap_or("").to_owned();
            failures.push(Failure { template, wanted, got });
        }
    }
    (count, failures)
}

fn report(count: usize, failures: &[Failure]) -> String {
    let mut by_function: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = String::new();
    for failure in failures {
        for name in functions(&failure.template) {
            *by_function.entry(name).or_default() += 1;
        }
        out += &format!("T {}\n  want {:?}\n  got  {:?}\n", failure.template, failure.wanted, failure.got);
    }
    out + &format!("{count} cases, {} differ; by function: {by_function:?}\n", failures.len())
}

#[test]
fn templates_render_as_helm_renders_them() {
    let (count, failures) = on_deep_stack(failures);
    let known: toml::Value = toml::from_str(DEVIATIONS).expect("deviations are TOML");
    let known = known.get("deviation").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let named = |d: &toml::Value| d.get("template").and_then(toml::Value::as_str).unwrap_or("").to_owned();
    let known: BTreeSet<String> = known.iter().map(named).collect();
    let differing: BTreeSet<String> = failures.iter().map(|f| f.template.clone()).collect();
    let news: Vec<Failure> = failures.into_iter().filter(|f| !known.contains(&f.template)).collect();
    assert!(news.is_empty(), "{}", report(count, &news));
    let mended: Vec<_> = known.difference(&differing).collect();
    assert!(mended.is_empty(), "no longer deviations: {mended:?}");
}
