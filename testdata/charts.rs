//! Charts of `testdata/charts`, compared byte for byte with what Helm renders. See VOUCHED.md there.
#![expect(clippy::disallowed_methods, reason = "tests read their fixtures")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use stagewright::chart::strvals::SetKind;
use stagewright::chart::{
    Capabilities, Helm, LoadOptions, PrintOptions, Release, RenderOptions, Rendered, ValuesInput, compose, load, render,
};
use stagewright::diag::{Diagnostics, Severity};
use stagewright::source::{Files, MemoryObjects, Mode, Sources};

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: String,
    values: Vec<String>,
    set: Vec<String>,
    /// The values that Helm was given in place of `set`.
    same_as: String,
    release: Option<String>,
    namespace: Option<String>,
    kube_version: Option<String>,
    api_versions: Vec<String>,
    include_crds: bool,
    no_hooks: bool,
    skip_tests: bool,
    /// 4 for Helm 4.
    helm: Option<u8>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/charts")
}

/// Reads a folder of the disk into memory.
fn folder(path: &Path) -> Files {
    fn walk(at: &Path, prefix: &str, found: &mut BTreeMap<String, Option<(Mode, Vec<u8>)>>) {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name, Some((Mode::File, std::fs::read(entry.path()).unwrap())));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(path, "", &mut found);
    let store = MemoryObjects::new();
    let root = store.with_changes(None, &found).unwrap();
    Files::new(Arc::new(store), root)
}

fn render_case(chart: &str, case: &Case, track: bool) -> Result<Rendered, Vec<String>> {
    let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
    let files = folder(&root().join(chart).join("chart"));
    let helm = if case.helm == Some(4) { Helm::V4 } else { Helm::V3 };
    let options = LoadOptions { helm, ..LoadOptions::default() };
    let rendered = load(&mut diagnostics, &sources, &files, "", &options).and_then(|loaded| {
        let file = |name: &String| (name.clone(), std::fs::read(root().join(chart).join(name)).unwrap().into());
        let input = ValuesInput {
            files: case.values.iter().map(file).collect(),
            sets: case.set.iter().map(|argument| (SetKind::Typed, argument.clone())).collect(),
            ..ValuesInput::default()
        };
        let values = compose(&mut diagnostics, &sources, &loaded, &input)?;
        let mut options =
            RenderOptions { lenient: true, include_crds: case.include_crds, track, ..RenderOptions::default() };
        options.capabilities = Capabilities::of(helm);
        let default = Release::default();
        options.release = Release {
            name: case.release.clone().unwrap_or(default.name),
            namespace: case.namespace.clone().unwrap_or(default.namespace),
            ..Release::default()
        };
        if let Some(version) = &case.kube_version {
            options.capabilities = Capabilities::of(helm).with_kube_version(version).unwrap();
        }
        options.capabilities.api_versions.extend(case.api_versions.iter().cloned());
        Some(render(&mut diagnostics, &sources, &values, &options))
    });
    let faults: Vec<String> = diagnostics
        .into_sorted(&sources)
        .into_iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| {
            let place = d.primary.map(|l| sources.locate(l.span)).map(|(file, at)| format!("{file}:{}: ", at.line));
            place.unwrap_or_default() + &d.message
        })
        .collect();
    match rendered {
        Some(rendered) if faults.is_empty() => Ok(rendered),
        _ => Err(faults),
    }
}

fn difference(expected: &str, actual: &str) -> String {
    similar::TextDiff::from_lines(expected, actual).unified_diff().context_radius(2).to_string()
}

#[test]
fn charts_render_as_helm_renders_them() {
    let mut failures = Vec::new();
    let mut count = 0;
    let mut charts: Vec<_> = std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()).collect();
    charts.sort();
    for chart in charts.iter().filter(|path| path.is_dir()) {
        let name = chart.file_name().unwrap().to_str().unwrap();
        let cases: Cases = toml::from_str(&std::fs::read_to_string(chart.join("cases.toml")).unwrap()).unwrap();
        for case in &cases.case {
            count += 1;
            assert_eq!(case.set.is_empty(), case.same_as.is_empty(), "{name}/{}", case.name);
            let expected = std::fs::read_to_string(chart.join(format!("{}.expected", case.name))).unwrap();
            let notes = std::fs::read_to_string(chart.join(format!("{}.notes", case.name))).ok();
            match render_case(name, case, count % 2 == 0) {
                Ok(rendered) => {
                    let options = PrintOptions {
                        no_hooks: case.no_hooks,
                        skip_tests: case.skip_tests,
                        ..PrintOptions::default()
                    };
                    let printed = rendered.print(&options);
                    if printed != expected {
                        failures.push(format!("{name}/{}\n{}", case.name, difference(&expected, &printed)));
                    }
                    if rendered.notes != notes {
                        failures.push(format!("notes of {name}/{}: {:?}", case.name, rendered.notes));
                    }
                }
                Err(faults) => failures.push(format!("{name}/{}: {}", case.name, faults.join("\n"))),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases differ\n{}", failures.len(), failures.join("\n\n"));
    assert!(count >= 20, "only {count} cases were found");
}
