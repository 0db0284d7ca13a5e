//! Decides which subcharts are on: versions, aliases, tags, conditions and imported values.
//!
//! Source: Helm 3.20. What is declared comes first in Chart.yaml's words, what is not declared is always on.
//!
//! The one idea: copies of a chart (aliases make them) share the charts below it, and each chart knows one parent,
//! which names its templates. So the tree is a graph here ([`Forest`]) and becomes a tree again at the end.

use std::sync::Arc;

use crate::diag::rules::{CHART_DEPENDENCY, CHART_DEPENDENCY_SWITCH};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;

use super::constraint::{Constraint, parse_version};
use super::helm::Helm;
use super::load::Chart;
use super::metadata::{Dependency, ImportValues};
use super::nulls::{Nulls, without_nulls};
use super::tree::{Data, Tree, TreeMap};
use super::values::{Warnings, coalesce, lay_over};

/// How many charts a tree may have; aliases multiply them.
const MAX_CHARTS: usize = 2_000;

/// Returns the chart with the subcharts that are on; faults go to `diagnostics`.
pub(super) fn resolve(diagnostics: &mut Diagnostics, chart: &Chart, user: &TreeMap, nulls: Nulls) -> Option<Chart> {
    if !check_present(diagnostics, chart) {
        return None;
    }
    let mut forest = Forest { nodes: Vec::new(), declared: Vec::new(), visits: 0, nulls };
    let root = forest.add(chart.clone(), None);
    let resolved = switch(diagnostics, &mut forest, root, user, "")
        .and_then(|()| import_values(diagnostics, &mut forest, root))
        .and_then(|()| forest.tree(root));
    resolved.map_err(|error| diagnostics.push(*error)).ok()
}

/// The charts of a tree while its dependencies are decided.
struct Forest {
    nodes: Vec<Node>,
    declared: Vec<Declared>,
    /// How many charts were decided.
    visits: usize,
    nulls: Nulls,
}

/// What a Chart.yaml declares: once for all charts that share it.
struct Declared {
    dependencies: Vec<Dependency>,
    /// Whether values were imported; Helm does it for the first chart only.
    imported: bool,
}

#[derive(Clone)]
struct Node {
    /// The chart without its subcharts and dependencies.
    chart: Chart,
    /// Its index in [`Forest::declared`].
    declared: usize,
    /// Its subcharts; those of copies are the same.
    below: Vec<usize>,
    /// The chart that took it last.
    parent: Option<usize>,
}

impl Forest {
    fn add(&mut self, mut chart: Chart, parent: Option<usize>) -> usize {
        let id = self.nodes.len();
        let subcharts = std::mem::take(&mut chart.subcharts);
        let dependencies = std::mem::take(&mut chart.metadata.dependencies);
        let declared = self.declare(dependencies);
        self.nodes.push(Node { chart, declared, below: Vec::new(), parent });
        let below = subcharts.into_iter().map(|sub| self.add(sub, Some(id))).collect();
        self.node_mut(id).below = below;
        id
    }

    fn declare(&mut self, dependencies: Vec<Dependency>) -> usize {
        self.declared.push(Declared { dependencies, imported: false });
        self.declared.len() - 1
    }

    fn declared(&mut self, id: usize) -> &mut Declared {
        let declared = self.node(id).declared;
        self.declared.get_mut(declared).expect("nodes hold indexes of declarations")
    }

    fn node(&self, id: usize) -> &Node {
        self.nodes.get(id).expect("ids are indexes of nodes")
    }

    fn node_mut(&mut self, id: usize) -> &mut Node {
        self.nodes.get_mut(id).expect("ids are indexes of nodes")
    }

    fn chart(&self, id: usize) -> &Chart {
        &self.node(id).chart
    }

    /// Copies a chart and what it declares. Helm 4 copies the subcharts too, but neither what they declare nor
    /// what is below them.
    fn copy(&mut self, id: usize) -> Result<usize, Box<Diagnostic>> {
        if self.nodes.len() > MAX_CHARTS * 8 {
            return Err(too_many(self.chart(id)));
        }
        let dependencies = self.declared(id).dependencies.clone();
        let declared = self.declare(dependencies);
        let copy = self.nodes.len();
        let mut node = Node { declared, ..self.node(id).clone() };
        if node.chart.helm == Helm::V4 {
            let below = node.below.iter().map(|sub| Node { parent: Some(copy), ..self.node(*sub).clone() });
            let below: Vec<Node> = below.collect();
            node.below = (copy + 1..=copy + below.len()).collect();
            self.nodes.push(node);
            self.nodes.extend(below);
        } else {
            self.nodes.push(node);
        }
        Ok(copy)
    }

    fn set_below(&mut self, id: usize, below: Vec<usize>) {
        for sub in &below {
            self.node_mut(*sub).parent = Some(id);
        }
        self.node_mut(id).below = below;
    }

    /// Returns how templates of a chart are named.
    fn path(&self, id: usize) -> String {
        let Node { chart, parent, .. } = self.node(id);
        match parent {
            Some(parent) => format!("{}/charts/{}", self.path(*parent), chart.name()),
            None => chart.name().to_owned(),
        }
    }

    /// Returns the tree of charts below and with a chart.
    fn tree(&self, id: usize) -> Result<Chart, Box<Diagnostic>> {
        let mut left = MAX_CHARTS;
        self.tree_of(id, &mut left).ok_or_else(|| too_many(self.chart(id)))
    }

    fn tree_of(&self, id: usize, left: &mut usize) -> Option<Chart> {
        *left = left.checked_sub(1)?;
        let below = self.node(id).below.iter().map(|sub| self.tree_of(*sub, left)).collect::<Option<Vec<Chart>>>()?;
        let mut chart = Chart { subcharts: below, path: self.path(id), ..self.chart(id).clone() };
        let declared = self.declared.get(self.node(id).declared);
        chart.metadata.dependencies = declared.map(|d| d.dependencies.clone()).unwrap_or_default();
        Some(chart)
    }
}

fn too_many(chart: &Chart) -> Box<Diagnostic> {
    let message = format!("aliases make more than {MAX_CHARTS} charts");
    Box::new(at(&CHART_DEPENDENCY, chart.metadata.span, &chart.place, message))
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
    forest: &mut Forest,
    id: usize,
    values: &TreeMap,
    path: &str,
) -> Result<(), Box<Diagnostic>> {
    forest.visits += 1;
    if forest.visits > MAX_CHARTS {
        return Err(too_many(forest.chart(id)));
    }
    let mut declared = forest.declared(id).dependencies.clone();
    if declared.is_empty() {
        return Ok(());
    }
    let loaded = forest.node(id).below.clone();
    let undeclared = |sub: &&usize| !declared.iter().any(|d| is_meant(d, forest.chart(**sub)));
    let mut below: Vec<usize> = loaded.iter().filter(undeclared).copied().collect();
    for dependency in &mut declared {
        if let Some(meant) = loaded.iter().find(|sub| is_meant(dependency, forest.chart(**sub))) {
            let copy = forest.copy(*meant)?;
            if !dependency.alias.is_empty() {
                forest.node_mut(copy).chart.metadata.name.clone_from(&dependency.alias);
            }
            below.push(copy);
        }
        if !dependency.alias.is_empty() {
            dependency.name.clone_from(&dependency.alias);
        }
        dependency.enabled = true;
    }
    forest.set_below(id, below.clone());
    let mut all = values.clone();
    coalesce(&mut Warnings::Off, &forest.tree(id)?, &mut all, Some(forest.nulls))?;
    let place = forest.chart(id).place.clone();
    let seen = if forest.nulls == Nulls::Strict { without_nulls(&all) } else { all.clone() };
    for dependency in &mut declared {
        by_tags(diagnostics, dependency, &seen, &place);
        by_condition(diagnostics, dependency, &seen, path, &place);
    }
    let off: Vec<String> = declared.iter().filter(|d| !d.enabled).map(|d| d.name.clone()).collect();
    declared.retain(|d| !off.contains(&d.name));
    forest.declared(id).dependencies = declared;
    below.retain(|sub| !off.iter().any(|name| name == forest.chart(*sub).name()));
    for sub in &below {
        let path = format!("{path}{}.", forest.chart(*sub).name());
        switch(diagnostics, forest, *sub, &all, &path)?;
    }
    forest.set_below(id, below);
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
fn import_values(diagnostics: &mut Diagnostics, forest: &mut Forest, id: usize) -> Result<(), Box<Diagnostic>> {
    for sub in forest.node(id).below.clone() {
        import_values(diagnostics, forest, sub)?;
    }
    if forest.declared(id).dependencies.is_empty() {
        return Ok(());
    }
    let mut defaults = TreeMap::new();
    let nulls = Some(forest.nulls).filter(|nulls| *nulls == Nulls::Strict);
    coalesce(&mut Warnings::Off, &forest.tree(id)?, &mut defaults, nulls)?;
    let mut imported = TreeMap::new();
    let place = forest.chart(id).place.clone();
    let declared = forest.declared(id);
    let first = !std::mem::replace(&mut declared.imported, true);
    for dependency in declared.dependencies.iter_mut().filter(|_| first) {
        for import in &mut dependency.import_values {
            let (child, parent) = match import {
                ImportValues::Export(name) => (format!("exports.{name}"), ".".to_owned()),
                ImportValues::Table { child, parent } => (child.clone(), parent.clone()),
            };
            let Some(table) = table_at(&defaults, &format!("{}.{child}", dependency.name)) else {
                let message = format!("`{}` has no table `{child}` to import", dependency.name);
                diagnostics.push(at(&CHART_DEPENDENCY_SWITCH, dependency.span, &place, message));
                continue;
            };
            let table = at_path(&parent, table.clone());
            lay_over(&mut Warnings::Off, &mut imported, &table, "", None);
            *import = ImportValues::Table { child, parent };
        }
    }
    lay_over(&mut Warnings::Off, &mut defaults, &imported, "", None);
    let chart = &mut forest.node_mut(id).chart;
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
        let user = Tree::from_node(node).into_map().unwrap_or_default();
        let chart = resolve(&mut diagnostics, &chart, &user, Nulls::Helm);
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
