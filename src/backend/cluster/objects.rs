//! Objects as values: what of them is compared, and what a guard compares.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::fields::{owned, values};
use crate::plan::Secrecy;

/// Where a manifest says how many replicas it is made with.
const REPLICAS_ON_CREATION: &str = "/metadata/annotations/werf.io~1replicas-on-creation";

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

/// Sets a value of an object under a path of keys; maps on the way are made where they are missing.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    if let Some(map) = object.as_object_mut() {
        set(map.entry(*key).or_insert(Value::Null), rest, value);
    }
}

/// Says whether an object is on its way out.
pub fn is_going(object: &Value) -> bool {
    !metadata(object, "deletionTimestamp").is_empty()
}

/// Returns what a guard compares: which object it is, and the values of the fields that we set, and of those that a
/// manifest wants. What others set besides is theirs to change. Of a Secret nothing is told but its version, of a namespace
/// that nobody of us made only which one it is.
pub fn guarded(object: &Value, wanted: Option<&Value>) -> Vec<u8> {
    let uid = metadata(object, "uid");
    let is = |kind: &str| object.get("kind").is_some_and(|k| k == kind);
    let fields = owned(object);
    let is_secret = is("Secret") || !Secrecy::of(object).is_empty();
    // The generation of an object stays when its status changes.
    let generation = object.pointer("/metadata/generation").filter(|_| !is("Secret"));
    let value = if is_secret {
        let version = || metadata(object, "resourceVersion").into();
        json!({"uid": uid, "version": generation.cloned().unwrap_or_else(version)})
    } else if !fields.is_empty() {
        json!({"uid": uid, "owned": values(&fields, object), "wanted": wanted.map(|wanted| within(object, &left(wanted)))})
    } else if is("Namespace") {
        json!({"uid": uid})
    } else {
        json!({"uid": uid, "object": cleaned(object)})
    };
    value.to_string().into_bytes()
}

/// Returns a manifest without replicas that are set once and then left to others.
pub fn left(wanted: &Value) -> Cow<'_, Value> {
    let mut wanted = Cow::Borrowed(wanted);
    if wanted.pointer(REPLICAS_ON_CREATION).is_some()
        && wanted.pointer("/spec/replicas").is_some()
        && let Some(spec) = wanted.to_mut().get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.shift_remove("replicas");
    }
    wanted
}

/// Returns the values of an object where a manifest has some; lists are taken whole.
fn within(object: &Value, wanted: &Value) -> Value {
    let (Value::Object(object), Value::Object(wanted)) = (object, wanted) else { return object.clone() };
    let value = |key: &String, wanted: &Value| within(object.get(key).unwrap_or(&Value::Null), wanted);
    Value::Object(wanted.iter().map(|(key, wanted)| (key.clone(), value(key, wanted))).collect())
}

/// Writes the protocol of ports, which older servers want where ports are told apart by it.
pub fn with_protocols(mut object: Value) -> Value {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let pods = match kind {
        "Service" => {
            set_protocols(object.pointer_mut("/spec/ports"));
            return object;
        }
        "Pod" => "/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            "/spec/template/spec"
        }
        _ => return object,
    };
    for list in ["containers", "initContainers"] {
        let containers = object.pointer_mut(&format!("{pods}/{list}")).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(|container| set_protocols(container.get_mut("ports")));
    }
    object
}

fn set_protocols(ports: Option<&mut Value>) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("protocol").or_insert_with(|| "TCP".into());
    }
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
            // Nothing is an empty text. Source: Kubernetes, which reads it so.
            let text = match text {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text,
                serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => text.to_string(),
            };
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
        assert_eq!(guarded(&deployment(1, false), None), guarded(&deployment(1, true), None));
        assert_ne!(guarded(&deployment(1, false), None), guarded(&deployment(2, false), None));
        let mut other = deployment(1, false);
        other["spec"]["containers"][1]["image"] = "x:2".into();
        assert_ne!(guarded(&deployment(1, false), None), guarded(&other, None));
        other = deployment(1, false);
        other["spec"]["containers"][0]["image"] = "z".into();
        assert_eq!(guarded(&deployment(1, false), None), guarded(&other, None));
        other["metadata"]["uid"] = "u2".into();
        assert_ne!(guarded(&deployment(1, false), None), guarded(&other, None));
    }

    #[test]
    fn a_guard_sees_what_is_wanted_and_is_there_already() {
        let wanted = json!({"metadata": {"labels": {"other": "y"}}});
        let guard = |object: &Value| guarded(object, Some(&wanted));
        let mut other = deployment(1, true);
        assert_eq!(guard(&deployment(1, false)), guard(&other));
        other["metadata"]["labels"]["other"] = "y".into();
        assert_ne!(guard(&deployment(1, false)), guard(&other));
    }

    #[test]
    fn ports_have_a_protocol() {
        let pods = json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]}, {}]}});
        let object = with_protocols(json!({"kind": "Deployment", "spec": {"template": pods}}));
        let ports = &object["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!((&ports[0]["protocol"], &ports[1]["protocol"]), (&json!("TCP"), &json!("UDP")));
        let service = with_protocols(json!({"kind": "Service", "spec": {"ports": [{"port": 1}]}}));
        assert_eq!(service["spec"]["ports"][0]["protocol"], "TCP");
    }

    #[test]
    fn a_guard_of_a_secret_tells_nothing_of_it() {
        let secret =
            json!({"kind": "Secret", "metadata": {"uid": "u", "resourceVersion": "3"}, "data": {"k": "czNjcmV0"}});
        assert_eq!(String::from_utf8(guarded(&secret, None)).unwrap(), r#"{"uid":"u","version":"3"}"#);
    }

    #[test]
    fn nothing_is_an_empty_text() {
        let secret = json!({"kind": "Secret", "stringData": {"a": null, "b": "x", "c": 1}});
        assert_eq!(with_data_encoded(secret)["data"], json!({"a": "", "b": "eA==", "c": "MQ=="}));
    }

    #[test]
    fn texts_of_secrets_are_encoded() {
        let secret = json!({"kind": "Secret", "data": {"a": "eA=="}, "stringData": {"b": "y"}});
        assert_eq!(with_data_encoded(secret), json!({"kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}));
        let map = json!({"kind": "ConfigMap", "stringData": {"b": "y"}});
        assert_eq!(with_data_encoded(map.clone()), map);
    }
}
