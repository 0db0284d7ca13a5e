//! The difference of two manifests, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::{FieldChange, FieldOp};
use super::secrecy::Secrecy;

/// Keys that name the items of a list, the first that all items have wins. Source: Kubernetes list-map keys.
const ITEM_KEYS: [&str; 7] = ["name", "containerPort", "port", "mountPath", "ip", "key", "host"];

/// Returns the changed fields, sorted by path. An added or removed subtree is listed leaf by leaf.
pub fn diff(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk("", Some(before).filter(|v| !v.is_null()), Some(after).filter(|v| !v.is_null()), &mut changes);
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = |v: Option<&Value>| v.is_none();
    let fits = |v: Option<&Value>, object: bool| match v {
        None => true,
        Some(v) => {
            if object {
                v.is_object()
            } else {
                v.is_array()
            }
        }
    };
    let both_are = |object: bool| fits(before, object) && fits(after, object);
    let any_items = |v: Option<&Value>| match v {
        Some(Value::Object(m)) => !m.is_empty(),
        Some(Value::Array(a)) => !a.is_empty(),
        _ => false,
    };
    let open = any_items(before) || any_items(after);
    if open && both_are(true) && !(empty(before) && empty(after)) {
        let items = |v: Option<&Value>| v.and_then(Value::as_object).map(|m| m.keys().cloned().collect::<Vec<_>>());
        let mut keys = items(before).unwrap_or_default();
        keys.extend(items(after).unwrap_or_default());
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let below = join(path, &key);
            walk(&below, before.and_then(|v| v.get(&key)), after.and_then(|v| v.get(&key)), changes);
        }
    } else if open && both_are(false) {
        let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
        walk_list(path, &list(before), &list(after), changes);
    } else {
        changes.push(FieldChange {
            path: path.to_owned(),
            op: match (before, after) {
                (None, _) => FieldOp::Add,
                (_, None) => FieldOp::Remove,
                _ => FieldOp::Change,
            },
            before: before.cloned().unwrap_or(Value::Null),
            after: after.cloned().unwrap_or(Value::Null),
            sensitive: false,
        });
    }
}

fn walk_list(path: &str, before: &[Value], after: &[Value], changes: &mut Vec<FieldChange>) {
    let key = ITEM_KEYS.into_iter().find(|key| {
        let mut all = before.iter().chain(after);
        all.all(|v| v.get(key).is_some_and(|k| k.is_string() || k.is_number()))
            && unique(before, key)
            && unique(after, key)
    });
    let Some(key) = key else {
        for index in 0..before.len().max(after.len()) {
            walk(&format!("{path}[{index}]"), before.get(index), after.get(index), changes);
        }
        return;
    };
    let id_of = |item: &Value| item.get(key).map(Value::to_string).unwrap_or_default();
    let by_id = |list: &[Value]| -> BTreeMap<String, usize> {
        list.iter().enumerate().map(|(at, item)| (id_of(item), at)).collect()
    };
    let (old, new) = (by_id(before), by_id(after));
    let mut seen = BTreeSet::new();
    for item in before.iter().chain(after) {
        let id = id_of(item);
        let shown = item.get(key).and_then(Value::as_str).map_or_else(|| id.clone(), str::to_owned);
        let old = old.get(&id).and_then(|at| before.get(*at));
        let new = new.get(&id).and_then(|at| after.get(*at));
        if seen.insert(id) {
            walk(&format!("{path}[{key}={shown}]"), old, new, changes);
        }
    }
}

fn unique(list: &[Value], key: &str) -> bool {
    let mut ids: Vec<String> = list.iter().filter_map(|v| v.get(key)).map(Value::to_string).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ids.len() == count
}

fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let key = if plain { key.to_owned() } else { format!("[{key}]") };
    match (path.is_empty(), plain) {
        (true, _) => key,
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}{key}"),
    }
}

/// Says whether the values of a kind must not be shown.
pub fn is_sensitive(kind: &str) -> bool {
    kind == "Secret"
}

/// Marks the fields whose values must not be shown; [`conceal`](super::conceal) takes them away.
pub fn redact(kind: &str, fields: &mut [FieldChange]) {
    for field in fields.iter_mut().filter(|f| is_sensitive(kind) && is_secret_field(&f.path)) {
        field.sensitive = true;
    }
}

/// Marks the fields whose values must not be shown, as objects say themselves: the new one, and the live one.
pub fn hide_fields(objects: &[&Value], fields: &mut [FieldChange]) {
    for secrecy in objects.iter().map(|object| Secrecy::of(object)).filter(|secrecy| !secrecy.is_empty()) {
        let hides = |f: &FieldChange| {
            secrecy.hides(&f.path) || secrecy.reaches_into(&f.before) || secrecy.reaches_into(&f.after)
        };
        for field in fields.iter_mut() {
            field.sensitive = field.sensitive || hides(field);
        }
    }
}

fn is_secret_field(path: &str) -> bool {
    let first = path.split(['.', '[']).next().unwrap_or("");
    matches!(first, "data" | "stringData") || path.contains("last-applied-configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn list_items_are_matched_by_their_name() {
        let before = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}});
        let after = json!({"spec": {"containers": [{"name": "b", "image": "y:1"}, {"name": "a", "image": "x:2"}]}});
        let changes = diff(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].path, "spec.containers[name=a].image");
        assert_eq!((&changes[0].before, &changes[0].after), (&json!("x:1"), &json!("x:2")));
    }

    #[test]
    fn an_added_tree_is_listed_leaf_by_leaf() {
        let changes = diff(&json!({}), &json!({"a": {"b": 1, "c": []}}));
        let shown: Vec<(&str, FieldOp)> = changes.iter().map(|c| (c.path.as_str(), c.op)).collect();
        assert_eq!(shown, [("a.b", FieldOp::Add), ("a.c", FieldOp::Add)]);
    }

    #[test]
    fn keys_with_dots_are_bracketed() {
        let changes = diff(&json!({"metadata": {"labels": {"a.b/c": "1"}}}), &json!({"metadata": {"labels": {}}}));
        assert_eq!(changes[0].path, "metadata.labels[a.b/c]");
    }

    #[test]
    fn values_of_secrets_are_marked() {
        let mut changes = diff(&json!({"data": {"k": "old"}}), &json!({"data": {"k": "new"}, "type": "x"}));
        redact("Secret", &mut changes);
        assert_eq!(changes.iter().map(|c| c.sensitive).collect::<Vec<_>>(), [true, false]);
    }
}
