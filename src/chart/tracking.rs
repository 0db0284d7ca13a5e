//! Rules about values: keys that nothing reads, reads of what nothing defines, defaults that always hold, results
//! that differ from run to run.
//!
//! What lives here: the findings. What does not: what templates read (`reads`), where lines come from (`origins`).
//!
//! The one idea: a finding must be true. What is not known (a subchart that is off, a table that users fill, a key that
//! a comment or the schema documents) is no finding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diag::rules::{
    ALWAYS_DEFAULT, CLUSTER_DEPENDENT, OVERRIDE_NOT_READ, SCIENTIFIC_NUMBER, UNDEFINED_VALUE, UNSTABLE_MANIFEST,
    VALUE_NOT_READ,
};
use crate::diag::{Diagnostic, Diagnostics, Severity, did_you_mean};
use crate::source::{FileId, Sources, Span};
use crate::syntax::yaml;

use super::load::Chart;
use super::manifest::Manifest;
use super::metadata::ImportValues;
use super::reads::{ANY, Bare, Path, Reads, reads};
use super::render::Rendered;
use super::tree::{Data, Tree, TreeMap};
use super::values::ChartValues;

/// How many fields a finding names.
const MAX_FIELDS: usize = 6;

/// Reports what is wrong between a chart's templates and its values. Every rendering is one with tracking, the first
/// one of what the user gives, the others of further examples.
pub fn check_values(diagnostics: &mut Diagnostics, sources: &Sources, renderings: &[(ChartValues, Rendered)]) {
    let Some((first, _)) = renderings.first() else { return };
    if first.chart.metadata.is_library() {
        return;
    }
    let mut tracking = Tracking::new(sources, renderings, first);
    if renderings.iter().all(|(_, rendered)| rendered.jsonnet_read.is_empty()) {
        tracking.unread(diagnostics, first);
    }
    tracking.undefined(diagnostics);
    tracking.defaults(diagnostics);
    tracking.unstable(diagnostics, renderings);
    tracking.scientific(diagnostics, renderings);
}

struct Tracking<'t> {
    sources: &'t Sources,
    reads: Reads,
    /// Paths that renderings read, with dots.
    dynamic: BTreeSet<String>,
    values: Vec<&'t Tree>,
    /// The templates of the chart itself, not of its subcharts.
    own: BTreeSet<FileId>,
    /// Paths of the values of subcharts that are not on.
    unknown: BTreeSet<Path>,
    /// Words before a colon in comments of values.yaml, and names in the schema.
    documented: BTreeSet<String>,
}

impl<'t> Tracking<'t> {
    fn new(sources: &'t Sources, renderings: &'t [(ChartValues, Rendered)], first: &ChartValues) -> Self {
        let mut found = Reads::default();
        let mut seen: BTreeSet<Vec<Path>> = BTreeSet::new();
        let mut unknown: Option<BTreeSet<Path>> = None;
        for (values, _) in renderings {
            let (mut on, mut off) = (Vec::new(), BTreeSet::new());
            switches(&values.chart, &mut Vec::new(), &mut on, &mut off, &mut found);
            unknown = Some(match unknown {
                None => off,
                Some(before) => before.intersection(&off).cloned().collect(),
            });
            if seen.insert(on) {
                found.join(reads(sources, &values.chart, &values.values));
            }
        }
        let dynamic = renderings.iter().flat_map(|(_, rendered)| rendered.values_read.iter().cloned()).collect();
        let own = first.chart.templates.iter().filter_map(|t| t.source).collect();
        Self {
            sources,
            reads: found,
            dynamic,
            values: renderings.iter().map(|(values, _)| &values.values).collect(),
            own,
            unknown: unknown.unwrap_or_default(),
            documented: documented(sources, &first.chart),
        }
    }

    // ---- keys that nothing reads

    fn unread(&mut self, diagnostics: &mut Diagnostics, values: &ChartValues) {
        if let Some(map) = values.chart.values.as_map() {
            self.unread_below(diagnostics, map, &mut Vec::new(), false);
        }
        self.unread_below(diagnostics, &values.user, &mut Vec::new(), true);
    }

    fn unread_below(&self, diagnostics: &mut Diagnostics, map: &TreeMap, path: &mut Path, is_user: bool) {
        for (key, tree) in map {
            path.push(key.clone());
            if !self.is_exempt(path, tree) {
                if !self.is_read(path) {
                    diagnostics.extend(self.not_read(path, tree, is_user));
                } else if let Data::Map(below) = &tree.data {
                    self.unread_below(diagnostics, below, path, is_user);
                }
            }
            path.pop();
        }
    }

    fn is_exempt(&self, path: &[Arc<str>], tree: &Tree) -> bool {
        let [first, ..] = path else { return true };
        let unknown_globals = &**first == "global" && !self.unknown.is_empty();
        let is_shared = tree.key.is_some_and(|key| {
            let file = self.sources.get(key.file);
            let rest = file.text().get(key.end as usize..).unwrap_or("");
            rest.lines().next().is_some_and(|line| line.trim_start_matches(':').trim_start().starts_with('&'))
        });
        unknown_globals
            || is_shared
            || matches!(&**first, "werf" | "global") && path.len() == 1 && tree.as_map().is_none()
            || first.starts_with("x-")
            || self.unknown.iter().any(|off| path.starts_with(off))
    }

    fn is_read(&self, path: &[Arc<str>]) -> bool {
        let global = path.iter().position(|key| &**key == "global");
        let path = path.get(global.unwrap_or(0)..).unwrap_or(path);
        let Some(last) = path.last() else { return true };
        // the table of globals, and of each subchart, is there for whoever reads it
        if path.len() == 1 && matches!(&**last, "global" | "werf") {
            return true;
        }
        let dotted = path.join(".");
        let below = format!("{dotted}.");
        let next = self.dynamic.range(below.clone()..).next();
        self.reads.reads(path)
            || self.dynamic.contains(&dotted)
            || next.is_some_and(|p| p.starts_with(&below))
            || (self.reads.lost && self.reads.words.contains(last))
    }

    fn not_read(&self, path: &[Arc<str>], tree: &Tree, is_user: bool) -> Diagnostics {
        let mut found = Diagnostics::new();
        let Some(span) = tree.key.or(tree.span) else { return found };
        let dotted = path.join(".");
        let rule = if is_user { &OVERRIDE_NOT_READ } else { &VALUE_NOT_READ };
        let mut diagnostic = Diagnostic::at(rule, span, format!("no template reads `{dotted}`"));
        if let Some(near) = self.near_read(path) {
            diagnostic.severity = Severity::Warning;
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        } else if is_user {
            diagnostic = diagnostic.hint("take it away, or read it in a template");
        }
        found.push(diagnostic);
        found
    }

    /// Returns a key beside this one that templates read and nothing defines, or one of that name elsewhere.
    fn near_read(&self, path: &[Arc<str>]) -> Option<String> {
        let (last, parent) = path.split_last()?;
        let beside = self.reads.keys_below(parent);
        if let Some(near) = did_you_mean(last, beside.into_iter().filter(|key| **key != **last)) {
            let full: Vec<&str> = parent.iter().map(|k| &**k).chain([near]).collect();
            return Some(full.join("."));
        }
        let elsewhere =
            self.reads.paths.iter().filter(|p| p.last() == Some(last) && p.len() > 1 && p.len() != path.len());
        let mut missing = elsewhere.filter(|p| !p.iter().any(|k| &**k == ANY) && self.missing(p).is_some());
        match (missing.next(), missing.next()) {
            (Some(one), None) => Some(one.join(".")),
            _ => None,
        }
    }

    // ---- reads of what nothing defines

    /// Returns the shortest part of a path that no values define; `None` when it is defined or cannot be told.
    fn missing(&self, path: &[Arc<str>]) -> Option<Path> {
        let mut depths = Vec::new();
        for tree in &self.values {
            let mut at = *tree;
            let mut depth = 0;
            for key in path {
                let Data::Map(map) = &at.data else { return None };
                match map.get(key) {
                    Some(next) => at = next,
                    // a table without keys is there for users to fill
                    None if map.is_empty() && depth > 0 => return None,
                    None => break,
                }
                depth += 1;
            }
            if depth == path.len() {
                return None;
            }
            depths.push(depth);
        }
        let deepest = depths.into_iter().max()?;
        path.get(..=deepest).map(<[_]>::to_vec)
    }

    /// Says whether a path cannot be judged.
    fn is_open(&self, path: &[Arc<str>]) -> bool {
        let special = path.first().is_some_and(|key| matches!(&**key, "global" | "werf" | "tags"));
        special || path.iter().any(|key| &**key == ANY) || self.unknown.iter().any(|off| path.starts_with(off))
    }

    fn documents(&self, path: &[Arc<str>]) -> bool {
        path.last().is_some_and(|key| self.documented.contains(&**key))
    }

    fn undefined(&self, diagnostics: &mut Diagnostics) {
        for Bare { path, span } in self.reads.bare.iter().filter(|bare| self.own.contains(&bare.span.file)) {
            if self.is_open(path) {
                continue;
            }
            let Some(missing) = self.missing(path) else { continue };
            // what is read on the way to a longer path is told with that path
            if self.reads.asks(&missing) || self.documents(&missing) || missing.len() != path.len() {
                continue;
            }
            let key = self.sources.get(span.file);
            let start =
                span.start as usize + usize::from(key.text().get(span.range()).is_some_and(|t| t.starts_with('.')));
            let place = Span::new(span.file, start, span.end as usize);
            let message = format!("no file of values defines `{}`", path.join("."));
            let mut diagnostic = Diagnostic::at(&UNDEFINED_VALUE, place, message);
            diagnostic = match self.near_defined(path) {
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None => diagnostic.hint("define it in values.yaml, or give it a `default`"),
            };
            diagnostics.push(diagnostic);
        }
    }

    fn near_defined(&self, path: &[Arc<str>]) -> Option<String> {
        let (last, parent) = path.split_last()?;
        let tables = self.values.iter().filter_map(|tree| tree.get(parent.iter().map(|k| &**k))?.as_map());
        let keys: BTreeSet<&str> = tables.flat_map(|map| map.keys().map(|k| &**k)).collect();
        let near = did_you_mean(last, keys)?;
        Some(parent.iter().map(|k| &**k).chain([near]).collect::<Vec<_>>().join("."))
    }

    // ---- defaults

    fn defaults(&self, diagnostics: &mut Diagnostics) {
        let mut told: BTreeSet<&Path> = BTreeSet::new();
        for Bare { path, span } in self.reads.defaulted.iter().filter(|bare| self.own.contains(&bare.span.file)) {
            if self.is_open(path) || self.documents(path) || self.reads.set.iter().any(|s| path.starts_with(s)) {
                continue;
            }
            let Some(missing) = self.missing(path) else { continue };
            // the first place tells of all
            if missing.len() != path.len() || self.documents(&missing) || !told.insert(path) {
                continue;
            }
            let message = format!("no file of values sets `{}`, so its default always holds", path.join("."));
            let mut diagnostic = Diagnostic::at(&ALWAYS_DEFAULT, *span, message);
            if let Some(near) = self.near_defined(path) {
                diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
            }
            diagnostics.push(diagnostic);
        }
    }

    // ---- numbers that are printed as Go has them

    fn scientific(&self, diagnostics: &mut Diagnostics, renderings: &[(ChartValues, Rendered)]) {
        let mut told: BTreeSet<(Span, &str)> = BTreeSet::new();
        for manifest in renderings.iter().flat_map(|(_, r)| r.manifests.iter().chain(&r.hooks)) {
            for (text, line) in manifest.text.lines().zip(&manifest.lines) {
                let (Some(printed), Some(span)) = (scientific(text), line.span) else { continue };
                let value = line.values.iter().find(|value| !value.varies);
                let Some(value) = value.filter(|_| self.own.contains(&span.file)) else { continue };
                if told.insert((span, &value.path)) {
                    let message = format!("`{}` is printed as {printed}", value.path);
                    let d = Diagnostic::at(&SCIENTIFIC_NUMBER, span, message);
                    diagnostics.push(d.hint("write `| int`, or `toYaml`"));
                }
            }
        }
    }

    // ---- results that differ from run to run

    fn unstable(&self, diagnostics: &mut Diagnostics, renderings: &[(ChartValues, Rendered)]) {
        let mut fields: BTreeMap<(Span, String), BTreeSet<String>> = BTreeMap::new();
        for manifest in renderings.iter().flat_map(|(_, r)| r.manifests.iter().chain(&r.hooks)) {
            let varies = |line: &super::LineOrigin| line.values.iter().any(|v| v.varies);
            if !manifest.lines.iter().any(varies) {
                continue;
            }
            let names = fields_of_lines(manifest);
            for (number, line) in manifest.lines.iter().enumerate() {
                for value in line.values.iter().filter(|v| v.varies) {
                    let Some(span) = value.span else { continue };
                    let field = names.get(&number).map_or("", String::as_str);
                    let text = format!("{}/{}: {field}", manifest.kind, manifest.name);
                    fields.entry((span, value.path.clone())).or_default().insert(text);
                }
            }
        }
        let lookups: BTreeSet<FileId> =
            self.reads.calls.iter().filter(|(name, _)| *name == "lookup").map(|(_, span)| span.file).collect();
        for ((span, function), fields) in fields {
            let message = format!("`{function}` gives another result in every run");
            let mut diagnostic = Diagnostic::at(&UNSTABLE_MANIFEST, span, message);
            let more = fields.len().saturating_sub(MAX_FIELDS);
            let mut shown: Vec<String> = fields.into_iter().take(MAX_FIELDS).collect();
            shown.extend((more > 0).then(|| format!("and {more} more")));
            diagnostic = diagnostic.label(format!("it stands in {}", shown.join(", ")));
            if lookups.contains(&span.file) {
                diagnostic.severity = Severity::Note;
                diagnostic = diagnostic.hint("this file uses `lookup`: make sure that it keeps what the cluster has");
            } else if !self.own.contains(&span.file) {
                diagnostic.severity = Severity::Note;
                diagnostic = diagnostic.hint("give the subchart a value in its place, or an existing Secret");
            } else {
                diagnostic = diagnostic.hint(
                    "take the value from an existing object with `lookup`, from secret values, or from a fixed value",
                );
            }
            diagnostics.push(diagnostic);
        }
        let outside = |(name, span): &&(&'static str, Span)| {
            matches!(*name, "lookup" | "getHostByName") && self.own.contains(&span.file)
        };
        let calls: BTreeSet<(&'static str, Span)> = self.reads.calls.iter().filter(outside).copied().collect();
        for (name, span) in calls {
            let asked = if name == "lookup" { "cluster" } else { "network" };
            let message = format!("the result of `{name}` depends on the {asked}");
            let hint =
                "check that the manifests are right where nothing answers: without a cluster the result is empty";
            diagnostics.push(Diagnostic::at(&CLUSTER_DEPENDENT, span, message).hint(hint));
        }
    }
}

/// Returns the number in a line that Go prints with an exponent: `1e+06`.
fn scientific(line: &str) -> Option<&str> {
    line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | ']' | '{' | '}' | '=')).find(
        |word| {
            let Some((mantissa, exponent)) = word.split_once("e+") else { return false };
            let is_number = mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            is_number
                && mantissa.starts_with(|c: char| c.is_ascii_digit())
                && !exponent.is_empty()
                && exponent.bytes().all(|b| b.is_ascii_digit())
        },
    )
}

/// Collects which subcharts are on and which are not; what Chart.yaml says of switches and imports counts as read.
fn switches(chart: &Chart, path: &mut Path, on: &mut Vec<Path>, off: &mut BTreeSet<Path>, found: &mut Reads) {
    let full = |keys: &str| -> Path {
        path.iter().cloned().chain(keys.trim().split('.').filter(|k| !k.is_empty()).map(Arc::from)).collect()
    };
    for dependency in &chart.metadata.dependencies {
        let name = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
        if !chart.subcharts.iter().any(|sub| sub.name() == name) {
            off.insert(full(name));
        }
        for condition in dependency.condition.split(',').filter(|c| !c.trim().is_empty()) {
            found.paths.insert(full(condition));
        }
        for tag in &dependency.tags {
            found.whole.insert(vec!["tags".into(), tag.as_str().into()]);
        }
        for import in &dependency.import_values {
            let (child, parent) = match import {
                ImportValues::Export(name) => (format!("{name}.exports"), String::new()),
                ImportValues::Table { child, parent } => (child.clone(), parent.clone()),
            };
            let below = match import {
                ImportValues::Export(export) => format!("{name}.exports.{export}"),
                ImportValues::Table { .. } => format!("{name}.{child}"),
            };
            found.whole.insert(full(&below));
            // what is imported is laid below values that the parent may not read at all
            found.whole.extend((!parent.is_empty()).then(|| full(&parent)));
        }
    }
    for subchart in &chart.subcharts {
        path.push(subchart.name().into());
        on.push(path.clone());
        // a table for a subchart is read by it
        found.paths.insert(path.clone());
        switches(subchart, path, on, off, found);
        path.pop();
    }
}

/// Returns the names that comments of values.yaml and the schema mention as keys.
fn documented(sources: &Sources, chart: &Chart) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let file = chart.values.as_map().and_then(|map| map.iter().find_map(|(_, tree)| tree.key.or(tree.span)));
    if let Some(span) = file {
        let text = sources.get(span.file).text().clone();
        for line in text.lines().filter_map(|line| line.split_once('#').map(|(_, comment)| comment)) {
            let words = line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')));
            for word in words.filter_map(|w| w.strip_suffix(':')) {
                names.extend(word.rsplit('.').next().map(str::to_owned));
            }
            // `@param image.tag text`
            if let Some(param) = line.split_once("@param ").and_then(|(_, rest)| rest.split_whitespace().next()) {
                names.extend(param.rsplit('.').next().map(str::to_owned));
            }
        }
    }
    let schema = chart.schema.as_ref().and_then(|s| serde_json::from_slice(s.content.bytes()).ok());
    schema_names(&schema.unwrap_or_default(), &mut names, 0);
    names
}

fn schema_names(schema: &serde_json::Value, names: &mut BTreeSet<String>, depth: usize) {
    if depth > 60 {
        return;
    }
    match schema {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if let (true, Some(properties)) = (key == "properties", value.as_object()) {
                    names.extend(properties.keys().cloned());
                }
                schema_names(value, names, depth + 1);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| schema_names(item, names, depth + 1)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Returns the paths of the fields of a manifest by the line they begin on, from 0.
fn fields_of_lines(manifest: &Manifest) -> BTreeMap<usize, String> {
    let mut fields = BTreeMap::new();
    let Ok(node) = yaml::decode(&manifest.text, FileId(u32::MAX), 0, yaml::Options::HELM) else { return fields };
    let starts: Vec<usize> =
        std::iter::once(0).chain(manifest.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line = |span: Span| starts.partition_point(|start| *start <= span.start as usize).saturating_sub(1);
    let mut todo = vec![(&node, String::new())];
    while let Some((node, path)) = todo.pop() {
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match &node.data {
            yaml::Data::Mapping(mapping) => {
                for entry in mapping.iter() {
                    let path = join(&entry.name);
                    let last =
                        line(Span { start: entry.value.span.end.max(entry.key.span.end + 1) - 1, ..entry.value.span });
                    let is_scalar = entry.value.as_mapping().is_none() && entry.value.as_sequence().is_none();
                    let first = line(entry.key.span);
                    for number in first..=if is_scalar { last.max(first) } else { first } {
                        fields.insert(number, path.clone());
                    }
                    todo.push((&entry.value, path));
                }
            }
            yaml::Data::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = join(&index.to_string());
                    if item.as_mapping().is_none() {
                        fields.insert(line(item.span), path.clone());
                    }
                    todo.push((item, path));
                }
            }
            yaml::Data::Null
            | yaml::Data::Bool(_)
            | yaml::Data::Int(_)
            | yaml::Data::Uint(_)
            | yaml::Data::Float(_)
            | yaml::Data::String(_) => {}
        }
    }
    fields
}
