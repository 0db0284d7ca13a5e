//! What changed in a chart since the last apply: files by their object ids, values by their keys.

use std::collections::BTreeMap;

use serde_json::Value;

use super::images::file_reason;
use super::release::ChartChanges;
use crate::signature::{Origin, compare_trees};
use crate::source::{FileId, Files, Mode, ObjectId, Objects, Place, Sources, Span};
use crate::stage::FilterSpec;
use crate::syntax::yaml;

/// Compares the chart and the given values files of two trees of the project.
///
/// What cannot be read any more (a shallow clone, uncommitted files of back then) is left out.
pub fn chart_changes(
    objects: &std::sync::Arc<dyn Objects>,
    sources: &Sources,
    trees: (ObjectId, ObjectId),
    chart_dir: &str,
    values_files: &[String],
) -> ChartChanges {
    let (old, new) = trees;
    let origin = |root, path: &str| Origin {
        root,
        prefix: String::new(),
        path: path.to_owned(),
        filter: FilterSpec::All,
        mode: Mode::Directory,
    };
    let mut changes = ChartChanges::default();
    let chart_values = format!("{chart_dir}/values.yaml");
    for path in std::iter::once(chart_dir).chain(values_files.iter().map(String::as_str)) {
        let compared = compare_trees(&**objects, &origin(old, path), &origin(new, path));
        for (path, before, after) in compared.unwrap_or_default() {
            changes.files.push(file_reason(path, before, after, &**objects));
        }
    }
    let (old, new) = (Files::new(objects.clone(), old), Files::new(objects.clone(), new));
    for path in std::iter::once(&chart_values).chain(values_files) {
        let (before, after) = (flat_values(&old, sources, path), flat_values(&new, sources, path));
        for (key, (value, span)) in &after {
            let old_value = before.get(key).map_or(&Value::Null, |(v, _)| v);
            if old_value != value {
                let place = Place { file: path.clone(), ..sources.place(*span) };
                changes.values.push((key.clone(), Some(place), old_value.clone(), value.clone()));
            }
        }
        for (key, (value, _)) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            changes.values.push((key.clone(), Some(Place::file(path.clone())), value.clone(), Value::Null));
        }
    }
    changes
}

type Flat = BTreeMap<String, (Value, Span)>;

/// Reads the leaves of a values file; nothing when it is absent or broken.
fn flat_values(files: &Files, sources: &Sources, path: &str) -> Flat {
    let mut flat = Flat::new();
    let Ok(bytes) = files.read(path) else { return flat };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let file: FileId = sources.add(path, text.as_str());
    if let Ok(node) = yaml::decode(&text, file, 0, yaml::Options::HELM) {
        flatten(&node, String::new(), &mut flat);
    }
    flat
}

fn flatten(node: &yaml::Node, key: String, flat: &mut Flat) {
    match node.as_mapping() {
        Some(mapping) if !mapping.is_empty() => {
            for entry in mapping {
                let below = if key.is_empty() { entry.name.to_string() } else { format!("{key}.{}", entry.name) };
                flatten(&entry.value, below, flat);
            }
        }
        _ => {
            flat.insert(key, (node.to_plain(), node.span));
        }
    }
}
