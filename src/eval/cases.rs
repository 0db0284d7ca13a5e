//! Runs `testdata/templates/cases.jsonl`: what Helm v3.20.0 rendered, or why it refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::functions::yaml::read_yaml;
use super::objects::{CapabilitiesInfo, ChartFiles, ChartInfo, capabilities_object, chart_object};
use super::value::{Dict, DictKind, Str, Value};
use super::{RenderEnv, SetOptions, TemplateSet, on_deep_stack};
use crate::diag::Diagnostics;
use crate::source::Sources;

const CASES: &str = include_str!("../../testdata/templates/cases.jsonl");
const DEVIATIONS: &str = include_str!("../../testdata/templates/deviations.toml");
const NAME: &str = "eval/templates/eval.yaml";

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Float(n.as_f64().unwrap_or(0.0)),
        Json::String(s) => Value::str(s.as_str()),
        Json::Array(items) => Value::list(items.iter().map(of_json).collect()),
        Json::Object(map) => Value::dict(map.iter().map(|(k, v)| (Str::from(k.as_str()), of_json(v)))),
    }
}

fn as_values(value: &Value) -> Value {
    match value {
        Value::Dict(dict) => Value::Dict(std::rc::Rc::new(dict.copied_as(DictKind::Values))),
        _ => Value::Dict(std::rc::Rc::new(Dict::new(DictKind::Values))),
    }
}

fn entry(name: &str, value: Value) -> (Str, Value) {
    (Str::from(name), value)
}

fn chart_info(yaml: Option<&str>) -> ChartInfo {
    let read = yaml.and_then(|y| read_yaml(y.as_bytes()).ok()).unwrap_or_default();
    let get = |key: &str| read.as_dict().and_then(|d| d.get(key.as_bytes())).unwrap_or_default();
    let text = |key: &str| match get(key) {
        Value::Nil => String::new(),
        other => String::from_utf8_lossy(&super::print::text(&other)).into_owned(),
    };
    let list = |key: &str| -> Vec<String> {
        let value = get(key);
        let items = value.as_list().unwrap_or_default();
        items.iter().map(|v| String::from_utf8_lossy(&super::print::text(v)).into_owned()).collect()
    };
    if yaml.is_none() {
        let (name, version, api) = ("eval", "0.1.0", "v2");
        let [name, version, api_version] = [name, version, api].map(str::to_owned);
        return ChartInfo { name, version, api_version, is_root: true, ..ChartInfo::default() };
    }
    let maintainer = |v: &Value| {
        let part = |key: &str| v.as_dict().and_then(|d| d.get(key.as_bytes())).map(|v| super::print::text(&v));
        ["name", "email", "url"].map(|k| String::from_utf8_lossy(&part(k).unwrap_or_default()).into_owned())
    };
    let annotations = get("annotations");
    let annotations = annotations.as_dict().map(|d| d.snapshot()).unwrap_or_default();
    let pair =
        |(k, v): (Str, Value)| (k.lossy().into_owned(), String::from_utf8_lossy(&super::print::text(&v)).into_owned());
    ChartInfo {
        name: text("name"),
        home: text("home"),
        sources: list("sources"),
        version: text("version"),
        description: text("description"),
        keywords: list("keywords"),
        maintainers: get("maintainers").as_list().unwrap_or_default().iter().map(maintainer).collect(),
        icon: text("icon"),
        api_version: text("apiVersion"),
        app_version: text("appVersion"),
        annotations: annotations.into_iter().map(pair).collect(),
        kube_version: text("kubeVersion"),
        chart_type: text("type"),
        is_root: true,
        ..ChartInfo::default()
    }
}

fn data(case: &Json) -> Value {
    let values = match (case.get("values"), case.get("values_yaml").and_then(Json::as_str)) {
        (Some(json), _) => of_json(json),
        (None, Some(yaml)) => read_yaml(yaml.as_bytes()).unwrap_or_default(),
        (None, None) => Value::Nil,
    };
    let empty = serde_json::Map::new();
    let files = case.get("files").and_then(Json::as_object).unwrap_or(&empty);
    let info = chart_info(files.get("Chart.yaml").and_then(Json::as_str));
    let kept = files.iter().filter(|(name, _)| !["Chart.yaml", "values.yaml"].contains(&name.as_str()));
    let bytes = |text: &Json| Arc::from(text.as_str().unwrap_or("").as_bytes());
    let files = ChartFiles::new(kept.map(|(name, text)| (name.clone(), bytes(text))));
    let release = [
        entry("Name", Value::str("release-name")),
        entry("Namespace", Value::str("default")),
        entry("Revision", Value::Int(1)),
        entry("IsInstall", Value::Bool(true)),
        entry("IsUpgrade", Value::Bool(false)),
        entry("Service", Value::str("Helm")),
    ];
    let template = [entry("Name", Value::str(NAME)), entry("BasePath", Value::str("eval/templates"))];
    let capabilities = CapabilitiesInfo { helm_version: "v3.20".to_owned(), ..CapabilitiesInfo::default() };
    as_values(&Value::dict([
        entry("Values", as_values(&values)),
        entry("Release", Value::dict(release)),
        entry("Chart", chart_object(&info)),
        entry("Capabilities", capabilities_object(&capabilities)),
        entry("Files", Value::object(files)),
        entry("Subcharts", Value::dict([])),
        entry("Template", as_values(&Value::dict(template))),
    ]))
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
    match set.render(NAME, data(case), env) {
        Ok(rendered) => {
            assert_eq!(rendered.origins.is_some(), track);
            Ok(String::from_utf8_lossy(&rendered.text).into_owned())
        }
        Err(error) => Err(error.helm_text(&sources)),
    }
}

/// The functions that a template names, for the report.
fn functions(text: &str) -> BTreeSet<&'static str> {
    let set = super::FunctionSet::helm();
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
        let overlaid = case.pointer("/files/values.yaml").is_some();
        if overlaid {
            // How layers of values are laid over each other is tested in the room of charts.
            continue;
        }
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
    let lasting: BTreeSet<String> = known.iter().filter(|d| d.get("pending").is_none()).map(named).collect();
    let known: BTreeSet<String> = known.iter().map(named).collect();
    let differing: BTreeSet<String> = failures.iter().map(|f| f.template.clone()).collect();
    let news: Vec<Failure> = failures.into_iter().filter(|f| !known.contains(&f.template)).collect();
    assert!(news.is_empty(), "{}", report(count, &news));
    let mended: Vec<_> = lasting.difference(&differing).collect();
    assert!(mended.is_empty(), "no longer deviations: {mended:?}");
}
