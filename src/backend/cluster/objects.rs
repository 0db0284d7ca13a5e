//! Objects as values: what of them is compared, and what a guard compares.

use serde_json::{Map, Value, json};

use super::api::FIELD_MANAGER;

/// What the server alone writes into the metadata of an object.
const OF_THE_SERVER: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];

/// Returns an object without what the server alone writes.
pub fn cleaned(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.shift_remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in OF_THE_SERVER {
                metadata.shift_remove(key);
            }
        }
    }
    object
}

/// Returns a text of an object's metadata.
pub fn metadata<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(key)?.as_str()).unwrap_or_default()
}

/// Returns what a guard compares: which object it is, and the values of the fields that we set. What others set is theirs to
/// change. Of a Secret nothing is told but its version.
pub fn guarded(object: &Value) -> Vec<u8> {
    let uid = metadata(object, "uid");
    let value = if object.get("kind").is_some_and(|kind| kind == "Secret") {
        json!({"uid": uid, "version": metadata(object, "resourceVersion")})
    } else {
        match owned_fields(object) {
            Some(fields) => json!({"uid": uid, "owned": values(fields, object)}),
            None => json!({"uid": uid, "object": cleaned(object)}),
        }
    };
    value.to_string().into_bytes()
}

fn owned_fields(object: &Value) -> Option<&Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is = |entry: &Value, key: &str, text: &str| entry.get(key).is_some_and(|v| v == text);
    let ours = |e: &&Value| {
        is(e, "manager", FIELD_MANAGER)
            && is(e, "operation", "Apply")
            && e.get("subresource").is_none_or(Value::is_null)
    };
    entries.iter().find(ours)?.get("fieldsV1")
}

/// Returns the values of a set of fields. Source: Kubernetes, `FieldsV1`.
fn values(fields: &Value, object: &Value) -> Value {
    let mut found = Map::new();
    for (key, below) in fields.as_object().into_iter().flatten() {
        let value = match key.split_once(':') {
            Some(("f", name)) => object.get(name),
            Some(("k", keys)) => item(object, keys),
            Some(("v", value)) => set_member(object, value),
            Some(("i", index)) => index.parse().ok().and_then(|i: usize| object.get(i)),
            Some(_) | None => continue,
        };
        let is_leaf = below.as_object().is_none_or(|b| b.keys().all(|k| k == "."));
        let value = match value {
            Some(value) if is_leaf && !key.starts_with("k:") => value.clone(),
            Some(value) => values(below, value),
            None => Value::Null,
        };
        found.insert(key.clone(), value);
    }
    Value::Object(found)
}

fn item<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    list.as_array()?.iter().find(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

fn set_member<'a>(list: &'a Value, value: &str) -> Option<&'a Value> {
    let value: Value = serde_json::from_str(value).ok()?;
    list.as_array()?.iter().find(|member| **member == value)
}

/// Writes `stringData` of a Secret as `data`: a server keeps no record of who set the former.
pub fn with_data_encoded(mut object: Value) -> Value {
    use base64::Engine as _;
    let Some(map) = object.as_object_mut().filter(|m| m.get("kind").is_some_and(|k| k == "Secret")) else {
        return object;
    };
    let Some(Value::Object(texts)) = map.shift_remove("stringData") else { return object };
    let data = map.entry("data").or_insert(Value::Null);
    if !data.is_object() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: u64, paused: bool) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "web", "uid": "u1", "resourceVersion": "7", "labels": {"app": "web", "other": "x"},
                "managedFields": [{"manager": "stagewright", "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}},
                }}]},
            "spec": {"replicas": replicas, "paused": paused,
                "containers": [{"name": "b", "image": "y"}, {"name": "a", "image": "x:1", "tty": true}]},
            "status": {"replicas": replicas},
        })
    }

    #[test]
    fn a_guard_sees_the_fields_that_we_set_and_no_others() {
        assert_eq!(guarded(&deployment(1, false)), guarded(&deployment(1, true)));
        assert_ne!(guarded(&deployment(1, false)), guarded(&deployment(2, false)));
        let mut other = deployment(1, false);
        other["spec"]["containers"][1]["image"] = "x:2".into();
        assert_ne!(guarded(&deployment(1, false)), guarded(&other));
        other = deployment(1, false);
        other["spec"]["containers"][0]["image"] = "z".into();
        assert_eq!(guarded(&deployment(1, false)), guarded(&other));
        other["metadata"]["uid"] = "u2".into();
        assert_ne!(guarded(&deployment(1, false)), guarded(&other));
    }

    #[test]
    fn a_guard_of_a_secret_tells_nothing_of_it() {
        let secret =
            json!({"kind": "Secret", "metadata": {"uid": "u", "resourceVersion": "3"}, "data": {"k": "czNjcmV0"}});
        assert_eq!(String::from_utf8(guarded(&secret)).unwrap(), r#"{"uid":"u","version":"3"}"#);
    }

    #[test]
    fn texts_of_secrets_are_encoded() {
        let secret = json!({"kind": "Secret", "data": {"a": "eA=="}, "stringData": {"b": "y"}});
        assert_eq!(with_data_encoded(secret), json!({"kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}));
        let map = json!({"kind": "ConfigMap", "stringData": {"b": "y"}});
        assert_eq!(with_data_encoded(map.clone()), map);
    }
}
