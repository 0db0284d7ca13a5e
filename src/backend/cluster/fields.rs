//! Who set which field: sets of fields as the API server keeps them.
//!
//! What lives here: union, difference and removal over such sets, and what other tools of releases leave to us. What does
//! not: requests.
//!
//! The one idea: what Helm, werf or `kubectl apply` set in an object of ours counts as set by us. What of it is not in
//! the manifest any more is removed, as if we had written it.

use serde_json::{Map, Value, json};

use super::api::FIELD_MANAGER;
use super::objects::set;

/// A set of fields. Source: Kubernetes, `FieldsV1`: names after `f:`, keys of list items after `k:`, members of sets after
/// `v:`; `.` is the field itself, and so is an empty map.
pub type Fields = Map<String, Value>;

/// Beginnings of the names of those whose fields become ours: Helm and what has it in itself, werf, `kubectl apply`.
const PREDECESSORS: [&str; 7] =
    ["helm", "Helm", "werf", "nelm", "kubectl-client-side-apply", "before-first-apply", "terraform-provider-helm"];
/// Controllers with such names: those of Flux.
const CONTROLLERS: [&str; 2] = ["helm-controller", "helm-operator"];

/// Says whether an entry tells what we applied.
fn is_ours(entry: &Value) -> bool {
    text(entry, "manager") == FIELD_MANAGER && text(entry, "operation") == "Apply" && is_whole(entry)
}

/// Says whether an entry tells what a predecessor set.
fn is_predecessor(entry: &Value) -> bool {
    let manager = text(entry, "manager");
    let is_tool = PREDECESSORS.iter().any(|name| manager.starts_with(name)) && !CONTROLLERS.contains(&manager);
    (manager == FIELD_MANAGER || is_tool) && is_whole(entry) && !is_ours(entry)
}

/// Says whether an entry tells of the object, and not of its status or scale.
fn is_whole(entry: &Value) -> bool {
    text(entry, "subresource").is_empty()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// Returns the fields of all entries that are meant, as one set.
fn fields_of(object: &Value, is_meant: impl Fn(&Value) -> bool) -> Fields {
    let mut all = Fields::new();
    for entry in entries(object).filter(|entry| is_meant(entry)) {
        if let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) {
            unite(&mut all, fields);
        }
    }
    all
}

/// Returns the fields of an object that are ours or become ours; empty where nobody of us set any.
pub fn owned(object: &Value) -> Fields {
    fields_of(object, |entry| is_ours(entry) || is_predecessor(entry))
}

/// Says whether predecessors set fields of an object.
pub fn has_predecessor(object: &Value) -> bool {
    entries(object).any(is_predecessor)
}

/// Returns the fields of a set that an object has.
fn present(fields: &Fields, object: &Value) -> Fields {
    let mut found = Fields::new();
    for (key, below) in fields {
        let value = match key.split_once(':') {
            Some(("f", name)) => object.get(name),
            Some(("k", keys)) => object.as_array().and_then(|list| list.iter().find(|item| has_keys(item, keys))),
            Some(("v", member)) => set_member(object, member),
            Some(("i", index)) => index.parse().ok().and_then(|i: usize| object.get(i)),
            Some(_) | None => Some(object),
        };
        let (Some(value), Some(below)) = (value, below.as_object()) else { continue };
        let left = present(below, value);
        if is_member(below) || !left.is_empty() {
            found.insert(key.clone(), Value::Object(left));
        }
    }
    found
}

/// Returns the list of who set what with the fields of predecessors as ours; `None` where there are none. The object is in
/// the version of the manifest, and so is our entry: in another one the server would not find a field that is to go. Of what
/// was set in other versions those fields count that there are in this one.
pub fn adopted(object: &Value) -> Option<Value> {
    let of_predecessor = entries(object).find(|entry| is_predecessor(entry))?;
    let mut ours = entries(object).find(|entry| is_ours(entry)).unwrap_or(of_predecessor).clone();
    set(&mut ours, &["manager"], FIELD_MANAGER.into());
    set(&mut ours, &["operation"], "Apply".into());
    let version = text(object, "apiVersion");
    let in_version = |entry: &Value| version.is_empty() || text(entry, "apiVersion") == version;
    let is_known = |entry: &Value| is_ours(entry) || is_predecessor(entry);
    let mut fields = fields_of(object, |entry| is_known(entry) && in_version(entry));
    let others = fields_of(object, |entry| is_known(entry) && !in_version(entry));
    unite(&mut fields, &present(&others, object));
    set(&mut ours, &["fieldsV1"], Value::Object(fields));
    if !version.is_empty() {
        set(&mut ours, &["apiVersion"], version.into());
    }
    // The server keeps the time that it is given.
    set(&mut ours, &["time"], jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    let others = entries(object).filter(|entry| !is_ours(entry) && !is_predecessor(entry)).cloned();
    Some(std::iter::once(ours).chain(others).collect())
}

/// Says whether the fields of predecessors were taken over and nobody wrote anything since.
pub fn is_taken_over(object: &Value) -> bool {
    let time = |entry: &Value| text(entry, "time").parse::<jiff::Timestamp>().ok();
    let Some(taken) = entries(object).find(|entry| is_ours(entry)).map(time) else { return false };
    !has_predecessor(object) && entries(object).filter(|entry| !is_ours(entry)).all(|entry| time(entry) <= taken)
}

/// Who holds the replicas that we set once.
const ON_CREATION: &str = "stagewright-on-creation";

/// Returns the list of who set what with the replicas as those of nobody in particular; `None` where they are not ours.
pub fn replicas_left(object: &Value) -> Option<Value> {
    let mut all: Vec<Value> = entries(object).cloned().collect();
    let ours = all.iter_mut().find(|entry| is_ours(entry))?;
    ours.pointer_mut("/fieldsV1/f:spec")?.as_object_mut()?.shift_remove("f:replicas")?;
    let mut other = ours.clone();
    set(&mut other, &["manager"], ON_CREATION.into());
    set(&mut other, &["operation"], "Update".into());
    set(&mut other, &["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    all.retain(|entry| text(entry, "manager") != ON_CREATION);
    all.push(other);
    Some(all.into())
}

/// Returns an object that was applied without what predecessors set and nobody else has; `None` where there is no such
/// field. `live` is the object before.
pub fn without_leftovers(live: &Value, applied: &Value) -> Option<Value> {
    let kept = fields_of(applied, |entry| !is_predecessor(entry));
    let leftovers = without(&fields_of(live, is_predecessor), &kept);
    if leftovers.is_empty() {
        return None;
    }
    let mut object = applied.clone();
    remove(&mut object, &leftovers, &kept);
    Some(object)
}

/// Returns what an object would be after an apply, as far as that can be told without the server: what we set before and
/// do not want any more is gone, and what we want is there. Items of lists go by the keys that the server keeps account of.
pub fn merged(live: Option<&Value>, wanted: &Value) -> Value {
    let Some(live) = live else { return wanted.clone() };
    let mut object = live.clone();
    let ours = owned(live);
    let kept = fields_of(live, |entry| !is_ours(entry) && !is_predecessor(entry));
    drop_unwanted(&mut object, &ours, wanted, &kept);
    let all = fields_of(live, |_| true);
    merge(&mut object, wanted, &all);
    object
}

/// Returns what others set over what is wanted, as the server tells it of a dry run that takes nothing over: the field, and
/// who set it.
pub fn taken(live: &Value, wanted: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in entries(live).filter(|entry| !is_ours(entry) && text(entry, "subresource") != "status") {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else { continue };
        differing(fields, live, wanted, "", &mut |field| {
            found.push((field.trim_start_matches('.').to_owned(), text(entry, "manager").to_owned()));
        });
    }
    found
}

/// Names the fields of a set that have another value than what is wanted, where that has any.
fn differing(fields: &Fields, live: &Value, wanted: &Value, path: &str, found: &mut dyn FnMut(&str)) {
    for (key, below) in fields {
        let at = |object| -> Option<(String, &Value)> {
            let object: &Value = object;
            match key.split_once(':')? {
                ("f", name) => Some((format!("{path}.{name}"), object.get(name)?)),
                ("k", keys) => {
                    let item = object.as_array()?.iter().find(|item| has_keys(item, keys))?;
                    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
                    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    Some((format!("{path}[{}]", keys.join(",")), item))
                }
                _ => None,
            }
        };
        let (Some((path, live)), Some((_, wanted)), Some(below)) = (at(live), at(wanted), below.as_object()) else {
            continue;
        };
        if below.keys().any(|key| key != ".") {
            differing(below, live, wanted, &path, found);
        } else if live != wanted && !live.is_object() {
            found(&path);
        }
    }
}

/// Removes what is in a set and not in what is wanted, nor kept by others.
fn drop_unwanted(object: &mut Value, fields: &Fields, wanted: &Value, kept: &Fields) {
    let none = Fields::new();
    for (key, value) in fields.iter().filter(|(key, _)| *key != ".") {
        let below = value.as_object().unwrap_or(&none);
        let kept_below = kept.get(key).and_then(Value::as_object);
        let found = match key.split_once(':') {
            Some(("f", name)) => wanted.get(name),
            Some(("k", keys)) => wanted.as_array().and_then(|list| list.iter().find(|item| has_keys(item, keys))),
            Some(("v", member)) => set_member(wanted, member),
            Some(_) | None => continue,
        };
        let Some(found) = found else {
            if kept_below.is_none() {
                let only = Fields::from_iter([(key.clone(), json!({}))]);
                remove(object, &only, &none);
            }
            continue;
        };
        let inner = match key.split_once(':') {
            Some(("f", name)) => object.get_mut(name),
            Some(("k", keys)) => {
                object.as_array_mut().and_then(|list| list.iter_mut().find(|item| has_keys(item, keys)))
            }
            Some(_) | None => None,
        };
        if let Some(inner) = inner {
            drop_unwanted(inner, below, found, kept_below.unwrap_or(&none));
        }
    }
}

/// Puts what is wanted into an object; `fields` tells which lists have items with keys.
fn merge(object: &mut Value, wanted: &Value, fields: &Fields) {
    let none = Fields::new();
    let below = |key: &str| fields.get(key).and_then(Value::as_object).unwrap_or(&none);
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => {
            for (key, wanted) in wanted {
                match object.get_mut(key) {
                    Some(inner) => merge(inner, wanted, below(&format!("f:{key}"))),
                    None => drop(object.insert(key.clone(), wanted.clone())),
                }
            }
        }
        (Value::Array(object), Value::Array(wanted)) if fields.keys().any(|key| key.starts_with("k:")) => {
            for item in wanted {
                let key = fields.keys().find(|key| key.strip_prefix("k:").is_some_and(|keys| has_keys(item, keys)));
                let keys = key.and_then(|key| key.strip_prefix("k:"));
                let same = keys.and_then(|keys| object.iter_mut().find(|found| has_keys(found, keys)));
                match (same, key) {
                    (Some(same), Some(key)) => merge(same, item, below(key)),
                    (_, _) => object.push(item.clone()),
                }
            }
        }
        (Value::Array(object), Value::Array(wanted)) if fields.keys().any(|key| key.starts_with("v:")) => {
            for item in wanted {
                if !object.contains(item) {
                    object.push(item.clone());
                }
            }
        }
        (object, wanted) => *object = wanted.clone(),
    }
}

/// Says whether an object is already as an apply of a manifest would leave it: we set exactly the fields that the manifest
/// has, and they have its values. Where this cannot be told without the server, it is `false`.
pub fn stands(live: &Value, wanted: &Value) -> bool {
    let mut ours = entries(live).filter(|entry| is_ours(entry));
    let (Some(entry), None) = (ours.next(), ours.next()) else { return false };
    if has_predecessor(live) || text(entry, "apiVersion") != text(wanted, "apiVersion") {
        return false;
    }
    let (Some(fields), Some(wanted)) = (entry.get("fieldsV1").and_then(Value::as_object), wanted.as_object()) else {
        return false;
    };
    // What names an object is no field that anybody sets.
    let mut wanted = wanted.clone();
    wanted.shift_remove("apiVersion");
    wanted.shift_remove("kind");
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("name");
        metadata.shift_remove("namespace");
        if metadata.is_empty() {
            wanted.shift_remove("metadata");
        }
    }
    maps_agree(fields, &wanted, live)
}

fn agrees(fields: &Fields, wanted: &Value, live: &Value) -> bool {
    match wanted {
        // A leaf, or one that is set as a whole.
        _ if fields.keys().all(|key| key == ".") => wanted == live,
        Value::Object(wanted) => maps_agree(fields, wanted, live),
        Value::Array(wanted) => lists_agree(fields, wanted, live),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn maps_agree(fields: &Fields, wanted: &Map<String, Value>, live: &Value) -> bool {
    let count = fields.keys().filter(|key| *key != ".").count();
    count == wanted.len()
        && wanted.iter().all(|(key, wanted)| {
            let below = fields.get(&format!("f:{key}")).and_then(Value::as_object);
            below.zip(live.get(key)).is_some_and(|(below, live)| agrees(below, wanted, live))
        })
}

/// Lists whose items have keys or are members of a set; an apply may change their order.
fn lists_agree(fields: &Fields, wanted: &[Value], live: &Value) -> bool {
    let Some(live) = live.as_array() else { return false };
    let keys: Vec<(Item, &Value)> =
        fields.iter().filter(|(key, _)| *key != ".").map(|(key, below)| (Item::of(key), below)).collect();
    let (mut from, mut next) = (0, 0);
    keys.len() == wanted.len()
        && wanted.iter().all(|wanted| {
            // Most lists stand in the order of their keys, or nearly so.
            let (before, after) = keys.split_at_checked(next).unwrap_or((&[], &keys));
            let turned = after.iter().chain(before).position(|(key, _)| key.is(wanted));
            let Some(at) = turned.map(|turned| (next + turned) % keys.len()) else { return false };
            next = at + 1;
            let Some((key, below)) = keys.get(at) else { return false };
            let Some(at) = live.iter().skip(from).position(|item| key.is(item)) else { return false };
            let item = live.get(from + at);
            from += at + 1;
            matches!(key, Item::Member(_))
                || item.zip(below.as_object()).is_some_and(|(item, below)| agrees(below, wanted, item))
        })
}

/// An item of a list, as a set of fields names it.
enum Item {
    Keys(Map<String, Value>),
    Member(Value),
    /// It names none.
    Nothing,
}

impl Item {
    fn of(key: &str) -> Self {
        match key.split_once(':') {
            Some(("k", keys)) => serde_json::from_str(keys).map_or(Self::Nothing, Self::Keys),
            Some(("v", member)) => serde_json::from_str(member).map_or(Self::Nothing, Self::Member),
            Some(_) | None => Self::Nothing,
        }
    }

    fn is(&self, item: &Value) -> bool {
        match self {
            Self::Keys(keys) => keys.iter().all(|(key, value)| item.get(key) == Some(value)),
            Self::Member(member) => member == item,
            Self::Nothing => false,
        }
    }
}

/// Says whether a field itself is in a set, and not only what is below it.
fn is_member(below: &Fields) -> bool {
    below.is_empty() || below.contains_key(".")
}

fn unite(into: &mut Fields, from: &Fields) {
    for (key, value) in from {
        let Some(Value::Object(below)) = into.get_mut(key) else {
            into.insert(key.clone(), value.clone());
            continue;
        };
        let Some(from) = value.as_object() else { continue };
        let member = is_member(below) || is_member(from);
        unite(below, from);
        if member && !below.is_empty() {
            below.insert(".".into(), json!({}));
        }
    }
}

fn without(fields: &Fields, other: &Fields) -> Fields {
    let mut left = Fields::new();
    for (key, value) in fields.iter().filter(|(key, _)| *key != ".") {
        let Some(below) = value.as_object() else { continue };
        let other = other.get(key).and_then(Value::as_object);
        let member = is_member(below) && !other.is_some_and(is_member);
        let mut rest = other.map_or_else(|| below.clone(), |other| without(below, other));
        rest.shift_remove(".");
        if member && !rest.is_empty() {
            rest.insert(".".into(), json!({}));
        }
        if member || !rest.is_empty() {
            left.insert(key.clone(), Value::Object(rest));
        }
    }
    left
}

/// Removes fields from an object, but nothing that holds what is kept.
fn remove(object: &mut Value, fields: &Fields, kept: &Fields) {
    let none = Fields::new();
    for (key, value) in fields.iter().filter(|(key, _)| *key != ".") {
        let below = value.as_object().unwrap_or(&none);
        let kept = kept.get(key).and_then(Value::as_object).unwrap_or(&none);
        let holds = kept.keys().any(|key| key != ".");
        let goes = is_member(below) && !holds;
        match (key.split_once(':'), object.as_object_mut().is_some()) {
            (Some(("f", name)), true) => {
                let Some(map) = object.as_object_mut() else { continue };
                let Some(field) = map.get_mut(name) else { continue };
                remove(field, below, kept);
                let is_empty =
                    field.as_object().is_some_and(Map::is_empty) || field.as_array().is_some_and(Vec::is_empty);
                if goes && (below.is_empty() || is_empty) {
                    map.shift_remove(name);
                }
            }
            (Some(("k", keys)), false) => {
                let Some(list) = object.as_array_mut() else { continue };
                let Some(at) = list.iter().position(|item| has_keys(item, keys)) else { continue };
                if goes {
                    list.remove(at);
                } else if let Some(item) = list.get_mut(at) {
                    remove(item, below, kept);
                }
            }
            (Some(("v", member)), false) => {
                let (Some(list), Ok(member)) = (object.as_array_mut(), serde_json::from_str::<Value>(member)) else {
                    continue;
                };
                list.retain(|item| *item != member);
            }
            (Some(_) | None, _) => {}
        }
    }
}

/// Says whether an item of a list has these keys, written as JSON.
pub fn has_keys(item: &Value, keys: &str) -> bool {
    let keys: Option<Map<String, Value>> = serde_json::from_str(keys).ok();
    keys.is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

/// Returns the values of a set of fields.
pub fn values(fields: &Fields, object: &Value) -> Value {
    let none = Fields::new();
    let mut found = Map::new();
    for (key, below) in fields {
        let below = below.as_object().unwrap_or(&none);
        let value = match key.split_once(':') {
            Some(("f", name)) => object.get(name),
            Some(("k", keys)) => object.as_array().and_then(|list| list.iter().find(|item| has_keys(item, keys))),
            Some(("v", member)) => set_member(object, member),
            Some(("i", index)) => index.parse().ok().and_then(|i: usize| object.get(i)),
            Some(_) | None => continue,
        };
        let is_leaf = below.keys().all(|key| key == ".");
        let value = match value {
            Some(value) if is_leaf && !key.starts_with("k:") => value.clone(),
            Some(value) => values(below, value),
            None => Value::Null,
        };
        found.insert(key.clone(), value);
    }
    found.sort_keys();
    Value::Object(found)
}

fn set_member<'a>(list: &'a Value, value: &str) -> Option<&'a Value> {
    let value: Value = serde_json::from_str(value).ok()?;
    list.as_array()?.iter().find(|member| **member == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn fields_that_were_set_in_another_version_become_ours_in_that_of_the_manifest() {
        let backend = |keys: Value| json!({"f:spec": {"f:backend": keys}});
        let old = json!({"manager": "helm", "operation": "Update", "apiVersion": "networking.k8s.io/v1beta1",
            "fieldsV1": backend(json!({"f:serviceName": {}, "f:resource": {".": {}, "f:kind": {}}}))});
        let new = json!({"manager": "helm", "operation": "Update", "apiVersion": "networking.k8s.io/v1",
            "fieldsV1": backend(json!({"f:service": {"f:name": {}}}))});
        let ours = json!({"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "networking.k8s.io/v1beta1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}});
        let live = json!({"apiVersion": "networking.k8s.io/v1", "metadata": {"labels": {"a": "1"}, "managedFields": [old, new, ours]},
            "spec": {"backend": {"service": {"name": "web"}, "resource": {"kind": "X"}}}});
        let managers = adopted(&live).unwrap();
        assert_eq!(managers.as_array().unwrap().len(), 1);
        assert_eq!(managers[0]["apiVersion"], "networking.k8s.io/v1");
        let expected = json!({"f:spec": {"f:backend": {"f:service": {"f:name": {}}, "f:resource": {".": {}, "f:kind": {}}}},
            "f:metadata": {"f:labels": {"f:a": {}}}});
        assert_eq!(managers[0]["fieldsV1"], expected, "there is no `serviceName` in the version of the manifest");
    }

    #[test]
    fn sets_of_fields_are_united_and_subtracted() {
        let mut all = fields(&json!({"f:a": {}, "f:b": {"f:c": {}}}));
        unite(&mut all, &fields(&json!({"f:a": {"f:x": {}}, "f:b": {".": {}, "f:d": {}}})));
        let expected = json!({"f:a": {".": {}, "f:x": {}}, "f:b": {".": {}, "f:c": {}, "f:d": {}}});
        assert_eq!(Value::Object(all.clone()), expected);
        let left = without(&all, &fields(&json!({"f:a": {}, "f:b": {"f:c": {}}})));
        assert_eq!(Value::Object(left), json!({"f:a": {"f:x": {}}, "f:b": {".": {}, "f:d": {}}}));
        assert_eq!(without(&all, &all), Fields::new());
    }

    #[test]
    fn what_a_predecessor_set_and_nobody_wants_goes() {
        let before = json!({
            "metadata": {"managedFields": [
                entry("helm", "Update", &json!({"f:data": {".": {}, "f:a": {}, "f:old": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}})),
                entry("kubectl-edit", "Update", &json!({"f:data": {"f:mine": {}}})),
            ]},
            "data": {"a": "1", "old": "2", "mine": "3"},
        });
        let mut applied = before.clone();
        applied["metadata"]["labels"] = json!({"l": "1"});
        applied["metadata"]["managedFields"].as_array_mut().unwrap().push(entry(
            FIELD_MANAGER,
            "Apply",
            &json!({"f:data": {"f:a": {}}}),
        ));
        let gone = without_leftovers(&before, &applied).unwrap();
        assert_eq!(gone["data"], json!({"a": "1", "mine": "3"}));
        assert_eq!(gone["metadata"].get("labels"), None);
        let adopted = adopted(&applied).unwrap();
        assert_eq!(adopted.as_array().unwrap().len(), 2);
        assert_eq!(adopted[0]["fieldsV1"]["f:data"], json!({".": {}, "f:a": {}, "f:old": {}}));
    }

    #[test]
    fn an_object_stands_when_we_set_what_is_wanted_and_nothing_else() {
        let wanted = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"x": "y"}},
            "spec": {"ports": [{"port": 1, "protocol": "TCP"}], "selector": {"a": "b"}, "tags": ["t"]}});
        let fields = json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:selector": {},
            "f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}, "f:tags": {"v:\"t\"": {}}}});
        let mut live = wanted.clone();
        live["metadata"]["managedFields"] = json!([entry(FIELD_MANAGER, "Apply", &fields)]);
        live["spec"]["type"] = "ClusterIP".into();
        live["spec"]["ports"][0]["targetPort"] = json!(1);
        assert!(stands(&live, &wanted));
        let differs = |change: &dyn Fn(&mut Value, &mut Value)| {
            let (mut live, mut wanted) = (live.clone(), wanted.clone());
            change(&mut live, &mut wanted);
            !stands(&live, &wanted)
        };
        assert!(differs(&|live, _| live["spec"]["selector"]["a"] = "c".into()));
        assert!(differs(&|live, _| live["spec"]["tags"] = json!([])));
        assert!(differs(&|_, wanted| wanted["spec"]["type"] = "ClusterIP".into()));
        assert!(differs(&|_, wanted| wanted["metadata"]["labels"] = json!({})));
        assert!(differs(&|_, wanted| drop(wanted["spec"].as_object_mut().unwrap().shift_remove("tags"))));
        assert!(differs(&|_, wanted| wanted["spec"]["ports"][0]["port"] = json!(2)));
        assert!(differs(&|_, wanted| wanted["apiVersion"] = "v2".into()));
        assert!(differs(&|live, _| live["metadata"]["managedFields"][0]["operation"] = "Update".into()));
    }

    #[test]
    fn a_merge_without_the_server_is_what_the_server_would_make() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:paused": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}, "f:tty": {}}}}});
        let live = json!({
            "metadata": {"name": "w", "managedFields": [
                entry(FIELD_MANAGER, "Apply", &fields),
                entry("hpa", "Update", &json!({"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"side\"}": {".": {}, "f:name": {}}}}})),
            ]},
            "spec": {"replicas": 3, "paused": true, "defaulted": "x", "containers": [
                {"name": "a", "image": "a:1", "tty": true, "pull": "Always"}, {"name": "side"}]},
        });
        let wanted = json!({"metadata": {"name": "w"}, "spec": {"containers": [{"name": "a", "image": "a:2"}]}});
        let after = merged(Some(&live), &wanted);
        assert_eq!(
            after["spec"],
            json!({"replicas": 3, "defaulted": "x", "containers": [
            {"name": "a", "image": "a:2", "pull": "Always"}, {"name": "side"}]})
        );
        assert_eq!(merged(None, &wanted), wanted);
        let same = json!({"metadata": {"name": "w"}, "spec": {"replicas": 3, "paused": true,
            "containers": [{"name": "a", "image": "a:1", "tty": true}]}});
        assert_eq!(merged(Some(&live), &same), live, "what is there is no change");
    }

    #[test]
    fn what_others_set_over_a_manifest_is_found_without_the_server() {
        let live = json!({
            "metadata": {"managedFields": [
                entry(FIELD_MANAGER, "Apply", &json!({"f:spec": {"f:paused": {}}})),
                entry("kubectl-edit", "Update", &json!({"f:spec": {"f:replicas": {}, "f:mine": {}, "f:same": {}, "f:ports":
                    {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:targetPort": {}}}}})),
            ]},
            "spec": {"replicas": 5, "paused": true, "mine": 1, "same": 2, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 9}]},
        });
        let wanted = json!({"spec": {"replicas": 3, "paused": false, "same": 2,
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 1}]}});
        let by = |field: &str| (field.to_owned(), "kubectl-edit".to_owned());
        let expected = [by("spec.replicas"), by("spec.ports[port=80,protocol=\"TCP\"].targetPort")];
        assert_eq!(taken(&live, &wanted), expected);
    }

    #[test]
    fn it_is_seen_that_fields_were_taken_over_and_nothing_written_since() {
        let mut live = json!({"metadata": {"managedFields": [entry("helm", "Update", &json!({"f:data": {"f:a": {}}}))]}, "data": {"a": "1"}});
        live["metadata"]["managedFields"][0]["time"] = "2020-01-01T00:00:00Z".into();
        assert!(!is_taken_over(&live));
        let managers = adopted(&live).unwrap();
        live["metadata"]["managedFields"] = managers;
        assert!(is_taken_over(&live));
        let mut later = entry("kubectl-edit", "Update", &json!({"f:data": {"f:b": {}}}));
        later["time"] = "2200-01-01T00:00:00Z".into();
        live["metadata"]["managedFields"].as_array_mut().unwrap().push(later);
        assert!(!is_taken_over(&live));
    }

    #[test]
    fn replicas_are_left_to_others() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let mut object = json!({"metadata": {"managedFields": [entry(FIELD_MANAGER, "Apply", &fields)]}});
        let managers = replicas_left(&object).unwrap();
        assert_eq!(managers[0]["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(managers[1], entry(ON_CREATION, "Update", &json!({"f:spec": {"f:replicas": {}}})));
        object["metadata"]["managedFields"] = managers;
        assert_eq!(replicas_left(&object), None);
        assert!(!is_predecessor(&object["metadata"]["managedFields"][1]));
    }

    #[test]
    fn items_and_members_of_lists_go_by_their_keys() {
        let mut object = json!({"ports": [{"port": 1, "x": 1}, {"port": 2}], "set": ["a", "b"], "own": {"k": 1}});
        let set =
            fields(&json!({"f:ports": {"k:{\"port\":2}": {".": {}, "f:port": {}}, "k:{\"port\":1}": {"f:x": {}}},
            "f:set": {"v:\"a\"": {}}, "f:own": {}}));
        remove(&mut object, &set, &fields(&json!({"f:own": {"f:k": {}}})));
        assert_eq!(object, json!({"ports": [{"port": 1}], "set": ["b"], "own": {"k": 1}}));
    }
}
