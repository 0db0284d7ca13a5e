//! The functions of templates as data: `grammar/functions/helm.toml` is written from the table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use stagewright::diag::Diagnostics;
use stagewright::eval::{Family, Function, FunctionSet, NoHost, RenderEnv, SetOptions, TemplateSet, Value};
use stagewright::source::Sources;

/// Writes one entry.
fn entry(function: &Function) -> String {
    let mut params: Vec<String> = function.params.iter().map(|p| format!("{:?}", p.type_name())).collect();
    if let Some(rest) = function.rest {
        params.push(format!("{:?}", format!("...{}", rest.type_name())));
    }
    let mut out = format!("[{}]\n", function.name);
    let _ = writeln!(out, "family = {:?}", format!("{:?}", function.family).to_lowercase());
    let _ = writeln!(out, "parameters = [{}]", params.join(", "));
    let _ = writeln!(out, "doc = {:?}", function.doc);
    out
}

#[test]
fn the_functions_of_charts_are_those_of_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/functions/helm.toml");
    let head =
        "# The functions of Helm charts. Written from the table in src/eval/functions: `make bless`.\n".to_owned();
    let set = FunctionSet::helm();
    let entries: Vec<String> = set.iter().map(entry).collect();
    let expected = format!("{head}\n{}", entries.join("\n"));
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(&file, expected).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "grammar/functions/helm.toml is stale: run `make bless`");
}

#[test]
fn every_function_has_a_sentence_and_one_meaning() {
    let tables = stagewright::eval::functions::TABLES.iter().copied().flatten();
    let mut names = BTreeSet::new();
    for function in tables {
        assert!(names.insert(function.name), "{} is in two tables", function.name);
        assert!(function.doc.ends_with('.') && !function.doc.is_empty(), "{} has no sentence", function.name);
    }
}

/// The chapters of the page, in its order.
const FAMILIES: &[(Family, &str)] = &[
    (Family::Builtin, "Go's own"),
    (Family::Helm, "Helm"),
    (Family::Yaml, "YAML and TOML"),
    (Family::Json, "JSON"),
    (Family::Strings, "Strings"),
    (Family::Regex, "Regular expressions"),
    (Family::Lists, "Lists"),
    (Family::Dicts, "Dictionaries"),
    (Family::Logic, "Defaults and conditions"),
    (Family::Numbers, "Numbers"),
    (Family::Dates, "Dates and durations"),
    (Family::Encoding, "Encodings and sums"),
    (Family::Crypto, "Keys, certificates and chance"),
    (Family::Versions, "Versions"),
    (Family::Paths, "Paths"),
    (Family::Urls, "URLs"),
    (Family::Network, "Network"),
];

/// What an example prints, as it is shown in a table.
fn result_of(template: &str) -> String {
    let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
    let file = sources.add("example", template);
    let options = SetOptions { functions: FunctionSet::helm4(), ..SetOptions::helm() };
    let mut set = TemplateSet::new(options);
    set.parse(&mut diagnostics, &sources, "example", file);
    assert!(!diagnostics.has_errors(), "{template}: {:?}", diagnostics.as_slice());
    let env = RenderEnv { host: &NoHost, now: Duration::ZERO, sources: &sources, track: false };
    match set.render("example", Value::dict([]), env) {
        Ok(rendered) => cell(&String::from_utf8(rendered.text).unwrap()),
        Err(error) => format!("error: {}", error.message),
    }
}

/// A text as code in a cell of a table; lines become ones of HTML.
fn cell(text: &str) -> String {
    if text.is_empty() {
        return "*(nothing)*".to_owned();
    }
    let code = |line: &str| {
        let line = line.replace('|', "\\|");
        if line.trim().is_empty() { String::new() } else { format!("<code>{}</code>", escape(&line)) }
    };
    text.split('\n').map(code).collect::<Vec<_>>().join("<br>")
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let indent = text.len() - text.trim_start_matches(' ').len();
    format!("{}{}", "&nbsp;".repeat(indent), text.trim_start_matches(' '))
}

#[test]
fn the_reference_of_functions_is_written_from_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_to_string(root.join("grammar/functions/examples.toml")).unwrap();
    let examples: toml::Table = toml::from_str(&examples).unwrap();
    let (set, helm3) = (FunctionSet::helm4(), FunctionSet::helm());
    let known: BTreeSet<&str> = set.iter().map(|f| f.name).collect();
    let unknown: Vec<&String> = examples.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "examples of functions that do not exist: {unknown:?}");
    let werf = stagewright::config::template_functions();
    let mut out = format!(
        "# Template functions\n\n\
         Written from the table in `src/eval/functions` and the examples in `grammar/functions/examples.toml`: `make bless`.\n\n\
         The {} functions of Helm 3.20 and 4.1, as charts see them. `…` marks what may be repeated. A function marked ¹ is not \
         there in `werf.yaml`; one marked ² may answer differently in every call, so that a plan of a chart with it \
         is never empty; ³ needs `--helm-version 4`. Types are Go's: `any` is `interface {{}}`.\n",
        known.len()
    );
    for (family, title) in FAMILIES {
        let of_family: Vec<&Function> = set.iter().filter(|f| f.family == *family).collect();
        if of_family.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {title}\n\n| function | does | example | prints |\n|---|---|---|---|\n");
        for function in of_family {
            let mut call: Vec<String> = function.params.iter().map(|p| short(p.type_name())).collect();
            call.extend(function.rest.map(|rest| format!("{}…", short(rest.type_name()))));
            let marks = format!(
                "{}{}{}",
                if werf.index(function.name).is_none() { "¹" } else { "" },
                if function.varies { "²" } else { "" },
                if helm3.index(function.name).is_none() { "³" } else { "" }
            );
            let example = examples.get(function.name).and_then(toml::Value::as_str);
            let shown = example.map(cell).unwrap_or_default();
            let result = example.map(result_of).unwrap_or_default();
            let call = if call.is_empty() { String::new() } else { format!(" {}", call.join(" ")) };
            let _ = writeln!(out, "| `{}{call}`{marks} | {} | {shown} | {result} |", function.name, function.doc);
        }
    }
    let _ = write!(out, "\n## Only in werf projects\n\n| function | does |\n|---|---|\n");
    let own = |set: &FunctionSet| set.iter().filter(|f| !known.contains(f.name)).collect::<Vec<_>>();
    let charts = own(&FunctionSet::werf_chart());
    for function in &charts {
        let also = if werf.index(function.name).is_some() { " and in `werf.yaml`" } else { "" };
        let _ = writeln!(out, "| `{}` | {} In charts{also}. |", function.name, function.doc);
    }
    for function in own(&werf).iter().filter(|f| charts.iter().all(|c| c.name != f.name)) {
        let _ = writeln!(out, "| `{}` | {} In `werf.yaml`. |", function.name, function.doc);
    }
    let file = root.join("docs/reference/template-functions.md");
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        return fs::write(&file, out).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == out, "docs/reference/template-functions.md is stale: run `make bless`");
}

/// A Go type in few letters.
fn short(name: &str) -> String {
    match name {
        "interface {}" | "reflect.Value" => "any".to_owned(),
        "map[string]interface {}" => "dict".to_owned(),
        "[]interface {}" => "list".to_owned(),
        "[]string" => "strings".to_owned(),
        other => other.to_owned(),
    }
}
