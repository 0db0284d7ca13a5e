//! Runs the cases of `testdata/templates`: what Helm 3.20 and 4.1 rendered, or why they refused.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::objects::{FilesObject, chart_object, release_object, to_dict};
use super::{Capabilities, Helm, LoadOptions, Release, ValuesInput, compose, load};
use crate::diag::Diagnostics;
use crate::eval::{Dict, DictKind, FunctionSet, RenderEnv, SetOptions, Str, TemplateSet, Value, on_deep_stack};
use crate::source::{Files, MemoryObjects, Mode, Sources};

const CASES: &str = include_str!("../../testdata/templates/cases.jsonl");
/// Cases that were once wrong, as scripts/compare-expressions.py writes them.
const FOUND: &str = include_str!("../../testdata/templates/found.jsonl");
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
fn data(diagnostics: &mut Diagnostics, sources: &Sources, case: &Json, helm: Helm) -> Value {
    let user = match (case.get("values"), case.get("values_yaml").and_then(Json::as_str)) {
        (Some(json), _) => json.to_string(),
        (None, Some(yaml)) => yaml.to_owned(),
        (None, None) => String::new(),
    };
    let chart = load(diagnostics, sources, &chart_files(case), "", &LoadOptions { helm, ..LoadOptions::default() })
        .expect("a chart");
    let input =
        ValuesInput { files: vec![("user.yaml".to_owned(), user.into_bytes().into())], ..ValuesInput::default() };
    let composed = compose(diagnostics, sources, &chart, &input).expect("values");
    let values = composed.values.as_map().cloned().unwrap_or_default();
    let capabilities = Capabilities { helm_version: "v3.20".to_owned(), ..Capabilities::of(helm) };
    let dict = |kind, entries: &[(&str, Value)]| {
        let entries = entries.iter().map(|(k, v)| (Str::from(*k), v.clone()));
        Value::Dict(Rc::new(Dict::from_entries(kind, entries)))
    };
    let template = [("Name", Value::str(NAME)), ("BasePath", Value::str("eval/templates"))];
    let kind = if helm == Helm::V3 { DictKind::Values } else { DictKind::Values4 };
    dict(
        kind,
        &[
            ("Values", Value::Dict(Rc::new(to_dict(&values, kind)))),
            ("Release", release_object(&Release::default())),
            ("Chart", chart_object(&chart.metadata, true, chart.helm)),
            ("Capabilities", capabilities.object(chart.helm)),
            ("Files", FilesObject::all(&chart.files)),
            ("Subcharts", dict(DictKind::Any, &[])),
            ("Template", dict(kind, &template)),
        ],
    )
}

/// Renders a case; an error is told in the words of Helm.
fn render(case: &Json, helm: Helm, track: bool, now: Duration) -> Result<String, String> {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let text = case.get("t").and_then(Json::as_str).unwrap_or("");
    let file = sources.add(NAME, text);
    let functions = if helm == Helm::V3 { FunctionSet::helm() } else { FunctionSet::helm4() };
    let mut set = TemplateSet::new(SetOptions { functions, ..SetOptions::helm() });
    set.parse(&mut diagnostics, &sources, NAME, file);
    if let Some(first) = diagnostics.as_slice().first() {
        let line = first.primary.as_ref().map_or(0, |l| sources.locate(l.span).1.line);
        let message = first.message.rsplit(": ").next().unwrap_or("").to_owned();
        return Err(format!("parse error at ({NAME}:{line}): {message}"));
    }
    let env = RenderEnv { now, track, ..RenderEnv::bare(&sources) };
    let data = data(&mut diagnostics, &sources, case, helm);
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

/// What Helm answered; Helm 4 lays its errors out otherwise, so of them only the end counts.
fn wanted(case: &Json, helm: Helm) -> Result<String, String> {
    let case = match (helm, case.get("v4")) {
        (Helm::V4, Some(other)) => other,
        _ => case,
    };
    match case.get("error").and_then(Json::as_str) {
        Some(error) if helm == Helm::V4 => Err(last_words(error)),
        Some(error) => Err(error.to_owned()),
        None => Ok(case.get("out").and_then(Json::as_str).unwrap_or("").to_owned()),
    }
}

fn last_words(error: &str) -> String {
    let line = error.rsplit('\n').next().unwrap_or(error);
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}

fn failures(helm: Helm) -> (usize, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in CASES.lines().chain(FOUND.lines()) {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        count += 1;
        let wanted = wanted(&case, helm);
        let caught = std::panic::catch_unwind(|| {
            let got = render(&case, helm, false, Duration::ZERO);
            assert_eq!(got, render(&case, helm, true, Duration::ZERO), "tracking changes nothing");
            got
        });
        let mut got = caught.unwrap_or_else(|_| Err("panic".to_owned()));
        if helm == Helm::V4 {
            got = got.map_err(|error| last_words(&error));
        }
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
fn templates_render_as_helm_4_renders_them() {
    compare(Helm::V4);
}

#[test]
fn templates_render_as_helm_renders_them() {
    compare(Helm::V3);
}

fn compare(helm: Helm) {
    let (count, failures) = on_deep_stack(move || failures(helm));
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

/// One half of scripts/compare-expressions.py: writes the table of functions to the file that `EXPRESSIONS_TABLE`
/// names, and answers the cases of `EXPRESSIONS_IN` (the format of cases.jsonl) in `EXPRESSIONS_OUT`.
#[test]
#[ignore = "asked for by scripts/compare-expressions.py"]
#[expect(clippy::disallowed_methods, reason = "speaks to the script by files and variables")]
fn expressions_are_answered_for_the_script() {
    if let Ok(path) = std::env::var("EXPRESSIONS_TABLE") {
        let line = |f: &crate::eval::Function| {
            let params: Vec<_> = f.params.iter().map(|p| p.type_name()).collect();
            let rest = f.rest.map(crate::eval::Param::type_name);
            serde_json::json!({"name": f.name, "params": params, "rest": rest, "varies": f.varies}).to_string() + "\n"
        };
        std::fs::write(path, FunctionSet::helm().iter().map(line).collect::<String>()).expect("a file to write");
    }
    let Ok(path) = std::env::var("EXPRESSIONS_IN") else { return };
    let cases = std::fs::read_to_string(path).expect("a file of cases");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock that goes");
    let answer = |line: &str| {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        let caught = std::panic::catch_unwind(|| render(&case, Helm::V3, false, now));
        let answer = match caught.unwrap_or_else(|_| Err("panic".to_owned())) {
            Ok(text) => serde_json::json!({"out": text}),
            Err(error) => serde_json::json!({"error": error}),
        };
        answer.to_string() + "\n"
    };
    let answers: String = on_deep_stack(|| cases.lines().map(answer).collect());
    std::fs::write(std::env::var("EXPRESSIONS_OUT").expect("EXPRESSIONS_OUT"), answers).expect("a file to write");
}
