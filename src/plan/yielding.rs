//! Fields that are left to those who set them: `--yield-conflicts`.
//!
//! The one idea: what is not in the manifest that is sent, nobody takes. The chart and its record stay as they are.

use serde_json::Value;

use super::decide::may_be_taken_from;
use super::model::{Risk, RiskLevel};
use super::release::DesiredResource;
use crate::observed::Preview;

/// Takes out of a resource what others than people set meanwhile, and says what.
pub fn yield_fields(resource: &mut DesiredResource, preview: &Preview) -> Option<Risk> {
    let theirs = preview.taken.iter().filter(|(_, manager)| !may_be_taken_from(manager));
    let mut told: Vec<String> = Vec::new();
    for (field, manager) in theirs {
        if take_field(&mut resource.data, field).is_some() {
            told.push(format!("`{field}` to `{manager}`"));
        }
    }
    let message = format!("left, as --yield-conflicts says: {}", told.join(", "));
    let (code, address) = ("yielded".to_owned(), resource.address());
    (!told.is_empty()).then_some(Risk { code, level: RiskLevel::Info, address, path: None, message })
}

/// Takes a field out of a manifest, as the API server names it, and returns what the manifest says there.
pub(super) fn take_field(manifest: &mut Value, field: &str) -> Option<Value> {
    // The server keeps the texts of a Secret as data.
    let is_secret = manifest.get("kind").is_some_and(|kind| kind == "Secret");
    let text = field.strip_prefix("data.").filter(|_| is_secret).map(|key| format!(".stringData.{key}"));
    let text = text.and_then(|text| take(manifest, &text));
    let data = take(manifest, &format!(".{field}"));
    // Where both say it, the text counts.
    text.or(data)
}

/// Takes out what stands under a path as the API server writes it: `.spec.containers[name="app"].image`. Keys may hold dots.
/// Bounded: each step takes a part of the path away.
fn take(value: &mut Value, path: &str) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let rest = path.strip_prefix('.')?;
            if let Some(taken) = map.shift_remove(rest) {
                return Some(taken);
            }
            let mut keys: Vec<String> = map.keys().filter(|key| rest.starts_with(key.as_str())).cloned().collect();
            // The longest first: of `a` and `a.b` the latter is meant by `a.b.c`.
            keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
            keys.iter().find_map(|key| {
                let rest = rest.get(key.len()..).filter(|rest| rest.starts_with(['.', '[']))?;
                take(map.get_mut(key)?, rest)
            })
        }
        Value::Array(items) => {
            let (selector, rest) = selector(path)?;
            let at = items.iter().position(|item| is_meant(item, selector))?;
            if rest.is_empty() { Some(items.remove(at)) } else { take(items.get_mut(at)?, rest) }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Splits `[…]` from the beginning of a path; brackets in texts count for nothing.
fn selector(path: &str) -> Option<(&str, &str)> {
    let inner = path.strip_prefix('[')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some((inner.get(..at)?, inner.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Says whether an item of a list has the keys of a selector: `name="app"`, `port=80,protocol="TCP"`, or `="v"`, the item itself.
fn is_meant(item: &Value, selector: &str) -> bool {
    let mut rest = selector;
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else { return false };
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
        let Some(Ok(wanted)) = values.next() else { return false };
        let found = if key.is_empty() { Some(item) } else { item.get(key) };
        // What nobody says has its default. Source: Kubernetes, ports.
        let is_default = found.is_none() && key == "protocol" && wanted == "TCP";
        if found != Some(&wanted) && !is_default {
            return false;
        }
        rest = after.get(values.byte_offset()..).unwrap_or_default().trim_start_matches(',');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_the_server_name_one_field() {
        let removed = |mut value: Value, path: &str| take(&mut value, path).map(|_| value);
        let webhook =
            json!({"webhooks": [{"name": "a.b"}, {"name": "x]", "clientConfig": {"caBundle": "", "url": "u"}}]});
        assert_eq!(
            removed(webhook.clone(), ".webhooks[name=\"x]\"].clientConfig.caBundle"),
            Some(json!({"webhooks": [{"name": "a.b"}, {"name": "x]", "clientConfig": {"url": "u"}}]}))
        );
        assert_eq!(removed(webhook, ".webhooks[name=\"none\"].clientConfig"), None);
        let annotations = json!({"metadata": {"annotations": {"example.com": "x", "example.com/a.b": "y"}}});
        assert_eq!(
            removed(annotations, ".metadata.annotations.example.com/a.b"),
            Some(json!({"metadata": {"annotations": {"example.com": "x"}}}))
        );
        let ports = json!({"ports": [{"port": 80, "targetPort": 1}, {"port": 80, "protocol": "UDP", "targetPort": 2}]});
        assert_eq!(
            removed(ports, ".ports[port=80,protocol=\"UDP\"].targetPort"),
            Some(json!({"ports": [{"port": 80, "targetPort": 1}, {"port": 80, "protocol": "UDP"}]}))
        );
        let finalizers = json!({"finalizers": ["a/b", "c"]});
        assert_eq!(removed(finalizers, ".finalizers[=\"a/b\"]"), Some(json!({"finalizers": ["c"]})));
        for broken in
            ["", ".", "finalizers", ".finalizers[", ".finalizers[=]", ".finalizers[x]", ".finalizers[=\"c\"].x"]
        {
            assert_eq!(removed(json!({"finalizers": ["c"]}), broken), None, "{broken}");
        }
    }

    #[test]
    fn what_people_set_is_not_yielded() {
        let resource = || DesiredResource {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("n".into()),
            name: "c".into(),
            text: String::new(),
            data: json!({"data": {"a": "1"}}),
            place: None,
            hidden: false,
            belongs: true,
        };
        let preview = |who: &str| Preview { taken: vec![("data.a".into(), who.into())], ..Preview::default() };
        let (mut one, mut two) = (resource(), resource());
        let mut secret = resource();
        (secret.kind, secret.data) = ("Secret".into(), json!({"kind": "Secret", "stringData": {"a": "1", "b": "2"}}));
        assert!(yield_fields(&mut secret, &preview("injector")).is_some());
        assert_eq!(secret.data, json!({"kind": "Secret", "stringData": {"b": "2"}}));
        assert!(yield_fields(&mut one, &preview("kubectl-edit")).is_none());
        let told = yield_fields(&mut two, &preview("injector")).unwrap();
        assert_eq!((&one.data, &two.data), (&json!({"data": {"a": "1"}}), &json!({"data": {}})));
        assert_eq!(told.message, "left, as --yield-conflicts says: `data.a` to `injector`");
    }
}
