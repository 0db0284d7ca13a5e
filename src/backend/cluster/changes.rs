//! Who changed an object last, as the API server keeps account of it.

use serde_json::Value;

use super::fields::{Fields, has_keys};
use super::text;
use crate::ports::Values;

/// How many fields are named.
const MOST: usize = 4;
/// How much of a value is shown. Unit: characters.
const LONGEST: usize = 60;
/// What controllers write beside the status.
const BOOKKEEPING: &str = "deployment.kubernetes.io/revision";

/// Says in words what was set last in an object, by whom, and when; its status does not count. Of a Secret no values are
/// told. `None` where the server keeps no account.
pub fn last_change(object: &Value, values: Values) -> Option<String> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let told = entries.iter().filter_map(|entry| {
        let mut fields = entry.get("fieldsV1")?.as_object()?.clone();
        fields.shift_remove("f:status");
        let mut found = Vec::new();
        leaves(&fields, object, "", &mut found);
        found.retain(|(path, _)| !path.contains(BOOKKEEPING));
        (!found.is_empty()).then(|| (text(entry, "time"), text(entry, "manager"), found))
    });
    let (time, manager, found) = told.max_by_key(|(time, ..)| *time)?;
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let is_sensitive = annotations.is_some_and(|all| all.keys().any(|key| key.starts_with("werf.io/sensitive")));
    let hides = values == Values::Hidden || is_sensitive || text(object, "kind") == "Secret";
    let word = |(path, value): &(String, Option<&Value>)| match value {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) if !hides => {
            let text = value.to_string();
            let is_long = text.chars().count() > LONGEST;
            if is_long { path.clone() } else { format!("{path}: {text}") }
        }
        Some(_) | None => path.clone(),
    };
    let mut words: Vec<String> = found.iter().take(MOST).map(word).collect();
    if found.len() > MOST {
        words.push(format!("{} more", found.len() - MOST));
    }
    Some(format!("last written by {manager} at {time}: {}", words.join(", ")))
}

/// Lists the fields of a set by their paths, as plans write them, with their values.
fn leaves<'o>(fields: &Fields, object: &'o Value, path: &str, found: &mut Vec<(String, Option<&'o Value>)>) {
    for (key, below) in fields {
        let Some((kind, name)) = key.split_once(':') else { continue };
        let (path, value) = match kind {
            "f" if path.is_empty() => (name.to_owned(), object.get(name)),
            "f" if name.contains(['.', '/']) => (format!("{path}[{name}]"), object.get(name)),
            "f" => (format!("{path}.{name}"), object.get(name)),
            "k" => {
                let item = object.as_array().and_then(|list| list.iter().find(|item| has_keys(item, name)));
                (format!("{path}[{}]", keys(name)), item)
            }
            _ => (path.to_owned(), Some(object)),
        };
        let Some(value) = value else { continue };
        let below = below.as_object().filter(|below| below.keys().any(|key| key != "."));
        match below {
            Some(below) => leaves(below, value, &path, found),
            None => found.push((path, Some(value))),
        }
    }
}

/// Writes the keys of an item of a list: `name=web`.
fn keys(json: &str) -> String {
    let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(json) else { return json.to_owned() };
    let word = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            format!("{key}={other}")
        }
    };
    keys.iter().map(word).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str) -> Value {
        let entry =
            |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
        json!({
            "kind": kind,
            "metadata": {"labels": {"a.b/c": "d"}, "managedFields": [
                entry("stagewright", "2026-01-01T00:00:00Z", json!({"f:data": {"f:a": {}}})),
                entry("kubectl-edit", "2026-01-02T00:00:00Z", json!({
                    "f:data": {"f:a": {}},
                    "f:metadata": {"f:labels": {"f:a.b/c": {}}},
                    "f:ports": {"k:{\"name\":\"web\"}": {".": {}, "f:port": {}}},
                })),
                entry("kubelet", "2026-01-03T00:00:00Z", json!({"f:status": {"f:phase": {}}})),
            ]},
            "data": {"a": "hunter2"},
            "ports": [{"name": "web", "port": 80}],
            "status": {"phase": "x"},
        })
    }

    #[test]
    fn the_last_change_is_told_with_who_when_and_what() {
        assert_eq!(
            last_change(&object("ConfigMap"), Values::Shown).unwrap(),
            "last written by kubectl-edit at 2026-01-02T00:00:00Z: data.a: \"hunter2\", metadata.labels[a.b/c]: \"d\", \
             ports[name=web].port: 80"
        );
        assert!(!last_change(&object("Secret"), Values::Shown).unwrap().contains("hunter2"));
        let hidden = last_change(&object("ConfigMap"), Values::Hidden).unwrap();
        assert!(!hidden.contains("hunter2") && hidden.contains("data.a"), "{hidden}");
        assert_eq!(last_change(&json!({"metadata": {}}), Values::Shown), None);
    }
}
