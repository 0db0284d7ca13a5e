//! Taking secrets out of the resources' part of a plan, before anybody can read it.
//!
//! What lives here: [`conceal`], for values of Secrets and for decrypted values wherever they stand, and what of a plan in
//! clear an apply must not repeat ([`sealed_texts`]). What does not: finding secrets in texts (`source::Mask`), sealing
//! (`saved`).
//!
//! The one idea: a value that must not be shown becomes the name that the mask makes of it, so that a change can still be
//! seen; a manifest that holds one goes to the sealed part.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::diff::is_sensitive;
use super::model::{FieldChange, FieldOp, Plan};
use super::operation::{Guard, Operation, Work};
use super::reason::Reason;
use super::release::ReleaseSection;
use super::sensitive::Sensitive;
use crate::source::{FileId, Mask};
use crate::syntax::yaml;

/// Shorter values of Secrets stand everywhere (`admin`, `5432`). Unit: bytes.
const SHORTEST: usize = 8;

/// Longer values with a secret in them are secret as a whole. Unit: bytes.
const LONG: usize = 32 << 10;

/// What is secret in a release.
pub struct Concealing<'a> {
    /// What must not be shown.
    pub mask: &'a Mask,
    /// The resources that are in the target, by path, where it tells them.
    pub live: &'a BTreeMap<String, String>,
    /// The addresses of resources that held secret values that nobody knows any more: of them nothing old is shown.
    pub lost: &'a BTreeSet<String>,
}

/// Puts names in the place of all secret values, and manifests that hold them in the sealed part.
pub fn conceal(section: &mut ReleaseSection, with: &Concealing<'_>) {
    let mask = with.mask;
    for resource in &mut section.resources {
        let lost = with.lost.contains(&resource.address());
        for field in resource.fields.iter_mut().chain(&mut resource.drift).chain(&mut resource.kept) {
            conceal_field(mask, field, lost);
        }
        conceal_reasons(mask, &mut resource.reasons);
    }
    for operation in &mut section.operations {
        conceal_operation(operation, with);
    }
}

/// Causes are a few steps deep.
fn conceal_reasons(mask: &Mask, reasons: &mut [Reason]) {
    for reason in reasons {
        if let Reason::Value { before, after, .. } = reason {
            hide_value(mask, before);
            hide_value(mask, after);
        } else if let Reason::UsesConfig { because, .. } = reason {
            conceal_reasons(mask, because);
        }
    }
}

fn conceal_field(mask: &Mask, field: &mut FieldChange, lost: bool) {
    if field.sensitive {
        for value in [&mut field.before, &mut field.after] {
            *value = named(mask, &field.path, value);
        }
        return;
    }
    let had = hide_value(mask, &mut field.before);
    let has = hide_value(mask, &mut field.after);
    // What a secret takes the place of may be an older one.
    if (lost || has && !had && field.op == FieldOp::Change) && !field.before.is_null() {
        field.before = named(mask, &field.path, &field.before);
        // Without a key there are no names: then nothing of the field is shown.
        if field.before.is_null() {
            field.sensitive = true;
            field.after = Value::Null;
        }
    }
}

/// Returns the name of a value that is secret as a whole; null where there is no key to make one.
fn named(mask: &Mask, path: &str, value: &Value) -> Value {
    let text = match value {
        Value::Null => return Value::Null,
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    };
    // The same secret has the same name everywhere.
    let decoded = STANDARD.decode(text.as_bytes()).ok().filter(|_| path.starts_with("data"));
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    mask.name_of(decoded.as_deref().unwrap_or(&text)).map_or(Value::Null, Value::String)
}

/// Hides secrets in a value; says whether there were any. Depth is bounded by the readers of manifests.
fn hide_value(mask: &Mask, value: &mut Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => {
            let text = number.to_string();
            let Cow::Owned(hidden) = mask.hide(&text) else { return false };
            *value = Value::String(hidden);
            true
        }
        Value::String(text) => {
            let Cow::Owned(hidden) = mask.hide(text) else { return false };
            // Of a long secret only the beginning is found.
            let whole = (text.len() > LONG).then(|| mask.name_of(text)).flatten();
            *text = whole.unwrap_or(hidden);
            true
        }
        Value::Array(items) => items.iter_mut().map(|item| hide_value(mask, item)).filter(|any| *any).count() > 0,
        Value::Object(map) => map.values_mut().map(|item| hide_value(mask, item)).filter(|any| *any).count() > 0,
    }
}

fn conceal_operation(operation: &mut Operation, with: &Concealing<'_>) {
    let mut address = "";
    match &mut operation.work {
        Work::WriteResource { manifest, sealed, address: of, .. } => {
            if manifest.as_ref().is_some_and(|text| with.mask.finds(text)) {
                *sealed = manifest.take().map(Sensitive::new).unwrap_or_default();
            }
            address = of;
        }
        Work::DeleteResource { address: of, .. } => address = of,
        Work::RecordRelease { record, .. } => conceal_record(record),
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::OpenRelease { .. }
        | Work::AwaitResource { .. }
        | Work::ForgetRelease { .. }
        | Work::RecordHooks { .. }
        | Work::Gate => {}
    }
    let lost = with.lost.contains(address);
    for guard in &mut operation.guards {
        conceal_guard(guard, lost, with);
    }
}

/// Not even a digest is told of what holds secrets: weak ones could be tried out.
fn conceal_guard(guard: &mut Guard, lost: bool, with: &Concealing<'_>) {
    let Guard::ResourceContent { path, digest } = guard else { return };
    let is_secret = |text: &String| lost || with.lost.contains(&address_of(path)) || with.mask.finds(text);
    if digest.is_some() && with.live.get(path).is_some_and(is_secret) {
        let digest = digest.take().map(Sensitive::new).unwrap_or_default();
        *guard = Guard::SecretContent { path: std::mem::take(path), digest };
    }
}

/// Returns the address of what stands under a path of a cluster.
pub fn address_of(path: &str) -> String {
    let mut parts = path.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let (namespace, kind, name) = (part(), part(), part());
    format!("{namespace}/{}/{name}", kind.split('.').next().unwrap_or(kind))
}

/// Takes the digests of what holds secrets out of the record.
fn conceal_record(record: &mut Value) {
    let list = record.get("hidden").and_then(Value::as_array);
    let hidden: BTreeSet<String> = list.into_iter().flatten().filter_map(|v| Some(v.as_str()?.to_owned())).collect();
    let resources = record.get_mut("resources").and_then(Value::as_object_mut);
    for resource in resources.into_iter().flat_map(|map| map.values_mut()) {
        let is_hidden = resource.get("address").and_then(Value::as_str).is_some_and(|a| hidden.contains(a));
        if let Some(digest) = resource.get_mut("digest").filter(|_| is_hidden) {
            *digest = Value::String(String::new());
        }
    }
}

/// Returns what an apply of a plan must not repeat: the secret texts it was made with, and the values of its Secrets.
pub fn sealed_texts(plan: &Plan) -> Vec<String> {
    let mut texts: Vec<String> = plan.hidden.reveal().cloned().unwrap_or_default();
    for operation in &plan.operations {
        let Work::WriteResource { sealed, .. } = &operation.work else { continue };
        let Some(manifest) = sealed.reveal().and_then(|text| read(text)) else { continue };
        if !manifest.get("kind").and_then(Value::as_str).is_some_and(is_sensitive) {
            continue;
        }
        for (key, is_encoded) in [("data", true), ("stringData", false)] {
            let values = manifest.get(key).and_then(Value::as_object);
            for text in values.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str) {
                let decoded = STANDARD.decode(text).ok().filter(|_| is_encoded);
                let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                texts.push(decoded.unwrap_or_else(|| text.to_owned()));
            }
        }
    }
    let known = plan.hidden.reveal().map_or(0, Vec::len);
    let mut rest = texts.split_off(known);
    rest.retain(|text| text.len() >= SHORTEST);
    texts.extend(rest);
    texts
}

fn read(text: &str) -> Option<Value> {
    yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{RecordedResource, ReleaseRecord, ResourceAction, ResourcePlan};
    use serde_json::json;

    fn mask() -> Mask {
        Mask::default().keyed(b"key").with(["hunter2", "54321"])
    }

    fn field(path: &str, before: Value, after: Value, sensitive: bool) -> FieldChange {
        FieldChange { path: path.into(), op: FieldOp::Change, before, after, sensitive }
    }

    fn concealed(fields: Vec<FieldChange>, lost: bool) -> Vec<FieldChange> {
        concealed_by(&mask(), fields, lost)
    }

    fn concealed_by(mask: &Mask, fields: Vec<FieldChange>, lost: bool) -> Vec<FieldChange> {
        let resource = ResourcePlan {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("n".into()),
            name: "c".into(),
            previous_address: None,
            action: ResourceAction::Update,
            source: None,
            fields,
            replace_paths: Vec::new(),
            drift: Vec::new(),
            kept: Vec::new(),
            restart: None,
            reasons: Vec::new(),
        };
        let mut section = ReleaseSection { resources: vec![resource], ..ReleaseSection::default() };
        let lost: BTreeSet<String> = lost.then(|| "n/ConfigMap/c".to_owned()).into_iter().collect();
        conceal(&mut section, &Concealing { mask, live: &BTreeMap::new(), lost: &lost });
        section.resources.remove(0).fields
    }

    #[test]
    fn the_same_secret_has_the_same_name_wherever_it_stands() {
        let name = mask().name_of("hunter2").unwrap();
        let fields = concealed(
            vec![
                field("data.url", json!("x"), json!("db://app:hunter2@db"), false),
                field("data.port", json!(54321), json!(1), false),
                field("data.password", json!("b2xkIG9uZQ=="), json!("aHVudGVyMg=="), true),
                field("stringData.password", Value::Null, json!("hunter2"), true),
                field("spec.x", json!(true), json!("plain"), false),
            ],
            false,
        );
        assert_eq!(fields[0].after, json!(format!("db://app:{name}@db")));
        assert_eq!(fields[0].before, json!(mask().name_of("x").unwrap()), "it may be an older secret");
        assert_eq!((&fields[1].before, &fields[1].after), (&json!(mask().name_of("54321").unwrap()), &json!(1)));
        assert_eq!((&fields[2].after, &fields[3].after), (&json!(name), &json!(name)));
        assert_eq!(fields[2].before, json!(mask().name_of("old one").unwrap()));
        assert_eq!((&fields[4].before, &fields[4].after), (&json!(true), &json!("plain")));
    }

    #[test]
    fn nothing_old_is_shown_where_old_secrets_are_lost() {
        let fields = concealed(vec![field("data.a", json!("older"), json!("plain"), false)], true);
        assert_eq!(fields[0].before, json!(mask().name_of("older").unwrap()));
        assert_eq!(fields[0].after, json!("plain"));
        let fields = vec![field("data.a", json!("older"), json!("plain"), false)];
        let fields = concealed_by(&Mask::default(), fields, true);
        assert!(fields[0].sensitive && fields[0].before.is_null() && fields[0].after.is_null());
    }

    #[test]
    fn manifests_with_secrets_are_sealed_and_their_digests_are_not_told() {
        let write = |path: &str, text: &str| Operation {
            id: format!("write:{path}"),
            needs: Vec::new(),
            guards: vec![Guard::ResourceContent { path: path.into(), digest: Some("d".into()) }],
            work: Work::WriteResource {
                address: format!("n/ConfigMap/{path}"),
                path: path.into(),
                manifest: Some(text.into()),
                sealed: Sensitive::default(),
                replace: false,
                adopt: false,
                leaves_replicas: false,
            },
        };
        let recorded = |address: &str| RecordedResource { address: address.into(), digest: "d".into() };
        let record = ReleaseRecord {
            hidden: ["n/ConfigMap/a".to_owned()].into(),
            resources: [("a".to_owned(), recorded("n/ConfigMap/a")), ("b".to_owned(), recorded("n/ConfigMap/b"))]
                .into(),
            ..ReleaseRecord::default()
        };
        let records = Operation {
            id: "release".into(),
            needs: Vec::new(),
            guards: Vec::new(),
            work: Work::RecordRelease {
                release: "r".into(),
                revision: 1,
                record: serde_json::to_value(&record).unwrap(),
            },
        };
        let mut section = ReleaseSection {
            operations: vec![write("a", "x: hunter2"), write("b", "x: plain"), records],
            ..ReleaseSection::default()
        };
        let live = [("a".to_owned(), "x: aHVudGVyMg==".to_owned()), ("b".to_owned(), "x: y".to_owned())].into();
        conceal(&mut section, &Concealing { mask: &mask(), live: &live, lost: &BTreeSet::new() });
        let public = serde_json::to_string(&section.operations).unwrap();
        assert!(!public.contains("hunter2") && public.contains("x: plain"), "{public}");
        let guards: Vec<&Guard> = section.operations.iter().flat_map(|o| &o.guards).collect();
        let hidden = Guard::SecretContent { path: "a".into(), digest: Sensitive::new("d".to_owned()) };
        assert_eq!(guards, [&hidden, &Guard::ResourceContent { path: "b".into(), digest: Some("d".into()) }]);
        let Work::RecordRelease { record, .. } = &section.operations[2].work else { panic!() };
        let digests = [record["resources"]["a"]["digest"].as_str(), record["resources"]["b"]["digest"].as_str()];
        assert_eq!(digests, [Some(""), Some("d")]);
        let Work::WriteResource { sealed, .. } = &section.operations[0].work else { panic!() };
        assert_eq!(sealed.reveal().map(String::as_str), Some("x: hunter2"));
    }
}
