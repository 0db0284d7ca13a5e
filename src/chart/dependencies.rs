//! Decides which subcharts are on: versions, aliases, tags, conditions and imported values.
//!
//! Source: Helm 3.20. What is declared comes first in Chart.yaml's words, what is not declared is always on.

use std::sync::Arc;

use crate::diag::rules::{CHART_DEPENDENCY, CHART_DEPENDENCY_SWITCH};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;

use super::constraint::{Constraint, parse_version};
use super::load::Chart;
use super::metadata::{Dependency, ImportValues};
use super::tree::{Data, Tree, TreeMap};
use super::values::{Warnings, coalesce, lay_over};

/// How many charts a tree may have; aliases multiply them.
const MAX_CHARTS: usize = 2_000;

/// Returns the chart with the subcharts that are on; faults go to `diagnostics`.
pub(super) fn resolve(diagnostics: &mut Diagnostics, chart: &Chart, user: &TreeMap) -> Option<Chart> {
    let mut chart = chart.clone();
    if !check_present(diagnostics, &chart) {
        return None;
    }
    let mut charts = 0;
    let switched =
        switch(diagnostics, &mut chart, user, "", &mut charts).and_then(|()| import_values(diagnostics, &mut chart));
    switched.map_err(|error| diagnostics.push(*error)).ok()?;
    Some(chart)
}

/// Checks that every declared dependency of the root chart is there. Source: `helm template`, before rendering.
fn check_present(diagnostics: &mut Diagnostics, chart: &Chart) -> bool {
    let mut complete = true;
    for dependency in &chart.metadata.dependencies {
        if chart.subcharts.iter().any(|c| c.name() == dependency.name) {
            continue;
        }
        complete = false;
        let message = format!("the dependency `{}` is declared but missing in charts/", dependency.name);
        let diagnostic = at(&CHART_DEPENDENCY, dependency.span, &chart.place, message);
        diagnostics.push(diagnostic.hint(format!(
            "fetch it with `stagewright chart dependency build {}`, and commit the charts/ folder",
            if chart.place.is_empty() { "." } else { &chart.place }
        )));
    }
    complete
}

fn at(rule: &'static crate::diag::Rule, span: Option<Span>, place: &str, message: String) -> Diagnostic {
    match span {
        Some(span) => Diagnostic::at(rule, span, message),
        None => Diagnostic::in_file(rule, place, message),
    }
}

fn is_meant(dependency: &Dependency, chart: &Chart) -> bool {
    let in_range = || {
        let version = parse_version(&chart.metadata.version)?;
        Some(Constraint::parse(&dependency.version)?.allows(&version))
    };
    chart.name() == dependency.name && in_range().unwrap_or(false)
}

fn switch(
    diagnostics: &mut Diagnostics,
    chart: &mut Chart,
    values: &TreeMap,
    path: &str,
    charts: &mut usize,
) -> Result<(), Box<Diagnostic>> {
    *charts += 1;
    if *charts > MAX_CHARTS {
        let message = format!("aliases make more than {MAX_CHARTS} charts");
        return Err(Box::new(at(&CHART_DEPENDENCY, chart.metadata.span, &chart.place, message)));
    }
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let loaded = std::mem::take(&mut chart.subcharts);
    let undeclared = |sub: &&Chart| !chart.metadata.dependencies.iter().any(|d| is_meant(d, sub));
    let mut subcharts: Vec<Chart> = loaded.iter().filter(undeclared).cloned().collect();
    for dependency in &mut chart.metadata.dependencies {
        if let Some(meant) = loaded.iter().find(|sub| is_meant(dependency, sub)) {
            let mut copy = meant.clone();
            if !dependency.alias.is_empty() {
                copy.metadata.name.clone_from(&dependency.alias);
            }
            subcharts.push(copy);
        }
        if !dependency.alias.is_empty() {
            dependency.name.clone_from(&dependency.alias);
        }
        dependency.enabled = true;
    }
    chart.subcharts = subcharts;
    let mut all = values.clone();
    coalesce(&mut Warnings::Off, chart, &mut all, false)?;
    let place = chart.place.clone();
    for dependency in &mut chart.metadata.dependencies {
        by_tags(diagnostics, dependency, &all, &place);
        by_condition(diagnostics, dependency, &all, path, &place);
    }
    let declared = std::mem::take(&mut chart.metadata.dependencies);
    let off: Vec<String> = declared.iter().filter(|d| !d.enabled).map(|d| d.name.clone()).collect();
    chart.metadata.dependencies = declared.into_iter().filter(|d| !off.contains(&d.name)).collect();
    chart.subcharts.retain(|sub| !off.contains(&sub.metadata.name));
    for sub in &mut chart.subcharts {
        let below = format!("{path}{}.", sub.metadata.name);
        switch(diagnostics, sub, &all, &below, charts)?;
    }
    Ok(())
}

fn by_tags(diagnostics: &mut Diagnostics, dependency: &mut Dependency, values: &TreeMap, place: &str) {
    let Some(tags) = values.get("tags").and_then(Tree::as_map) else { return };
    let (mut on, mut off) = (false, false);
    for tag in &dependency.tags {
        match tags.get(tag.as_str()).map(|value| (&value.data, value.span)) {
            None => {}
            Some((Data::Bool(true), _)) => on = true,
            Some((Data::Bool(false), _)) => off = true,
            Some((_, span)) => {
                let message = format!("the tag `{tag}` of `{}` must be a boolean", dependency.name);
                diagnostics.push(at(&CHART_DEPENDENCY_SWITCH, span, place, message));
            }
        }
    }
    dependency.enabled = on || !off;
}

fn by_condition(diagnostics: &mut Diagnostics, dependency: &mut Dependency, values: &TreeMap, path: &str, place: &str) {
    for condition in dependency.condition.trim().split(',').filter(|c| !c.is_empty()) {
        match value_at(values, &format!("{path}{condition}")).map(|value| (&value.data, value.span)) {
            None => {}
            Some((Data::Bool(enabled), _)) => {
                dependency.enabled = *enabled;
                return;
            }
            Some((_, span)) => {
                let message = format!("the condition `{condition}` of `{}` must be a boolean", dependency.name);
                diagnostics.push(at(&CHART_DEPENDENCY_SWITCH, span, place, message));
            }
        }
    }
}

/// Finds a value that is no table.
fn value_at<'v>(values: &'v TreeMap, path: &str) -> Option<&'v Tree> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = values.get(first)?;
    let found = match rest {
        None => value,
        Some(rest) => rest.split('.').try_fold(value, |at, key| at.as_map()?.get(key))?,
    };
    found.as_map().is_none().then_some(found)
}

fn table_at<'v>(values: &'v TreeMap, path: &str) -> Option<&'v TreeMap> {
    path.split('.').try_fold(values, |at, key| at.get(key)?.as_map())
}

/// Makes the defaults of every chart hold those of its subcharts and what it imports from them.
fn import_values(diagnostics: &mut Diagnostics, chart: &mut Chart) -> Result<(), Box<Diagnostic>> {
    for sub in &mut chart.subcharts {
        import_values(diagnostics, sub)?;
    }
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let mut defaults = TreeMap::new();
    coalesce(&mut Warnings::Off, chart, &mut defaults, true)?;
    let mut imported = TreeMap::new();
    for dependency in &mut chart.metadata.dependencies {
        for import in &mut dependency.import_values {
            let (child, parent) = match import {
                ImportValues::Export(name) => (format!("exports.{name}"), ".".to_owned()),
                ImportValues::Table { child, parent } => (child.clone(), parent.clone()),
            };
            let Some(table) = table_at(&defaults, &format!("{}.{child}", dependency.name)) else {
                let message = format!("`{}` has no table `{child}` to import", dependency.name);
                diagnostics.push(at(&CHART_DEPENDENCY_SWITCH, dependency.span, &chart.place, message));
                continue;
            };
            let table = at_path(&parent, table.clone());
            lay_over(&mut Warnings::Off, &mut imported, &table, "", true);
            *import = ImportValues::Table { child, parent };
        }
    }
    lay_over(&mut Warnings::Off, &mut defaults, &imported, "", true);
    chart.values = Tree { data: Data::Map(defaults), span: chart.values.span, key: None };
    Ok(())
}

/// Puts a table at a path; `.` is the root.
fn at_path(path: &str, table: TreeMap) -> TreeMap {
    if path == "." {
        return table;
    }
    path.rsplit('.').fold(table, |inner, key| TreeMap::from([(Arc::from(key), Tree::from(inner))]))
}

#[cfg(test)]
mod tests {
    use super::super::load::{LoadOptions, load};
    use super::*;
    use crate::source::{MemoryObjects, Sources};
    use crate::syntax::yaml;

    fn on(dependencies: &str, values: &'static str, user: &str) -> (Vec<String>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let meta = format!("apiVersion: v2\nname: p\nversion: 0.1.0\ndependencies:\n{dependencies}");
        let meta: &'static str = Box::leak(meta.into_boxed_str());
        let files = MemoryObjects::files([
            ("p/Chart.yaml", meta),
            ("p/values.yaml", values),
            ("p/charts/a/Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.2.0\n"),
            ("p/charts/b/Chart.yaml", "apiVersion: v2\nname: b\nversion: 2.0.0\n"),
        ]);
        let chart = load(&mut diagnostics, &sources, &files, "p", &LoadOptions::default()).unwrap();
        let node = yaml::decode(user, crate::source::FileId(0), 0, yaml::Options::HELM).unwrap();
        let user = node.as_mapping().map(Tree::map_of).unwrap_or_default();
        let chart = resolve(&mut diagnostics, &chart, &user);
        let names = chart.iter().flat_map(|c| &c.subcharts).map(|c| c.metadata.name.clone()).collect();
        (names, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    #[test]
    fn tags_and_conditions_switch_subcharts() {
        let deps = "- {name: a, version: ^1, condition: 'a.up,a.other', tags: [x]}\n- {name: b, version: '>=2', tags: [x, w]}\n";
        assert_eq!(on(deps, "", "").0, ["a", "b"]);
        assert_eq!(on(deps, "", "tags: {x: false}").0, [] as [String; 0]);
        assert_eq!(on(deps, "", "tags: {x: false, w: true}").0, ["b"]);
        assert_eq!(on(deps, "tags: {x: false}", "a: {up: true}").0, ["a"]);
        assert_eq!(on(deps, "a: {other: false}", "").0, ["b"]);
        let (names, messages) = on(deps, "a: {up: 5, other: false}", "");
        assert_eq!(
            (names, messages),
            (vec!["b".to_owned()], vec!["the condition `a.up` of `a` must be a boolean".to_owned()])
        );
    }

    #[test]
    fn aliases_copy_and_ranges_choose() {
        assert_eq!(
            on("- {name: a, version: '1', alias: one}\n- {name: a, version: '1', alias: two}\n", "", "").0,
            ["b", "one", "two"]
        );
        assert_eq!(on("- {name: a, version: ^3}\n", "", "").0, ["a", "b"]);
        let (names, messages) = on("- {name: c, version: ^3}\n", "", "");
        assert_eq!((names.len(), messages.len()), (0, 1));
    }
}
