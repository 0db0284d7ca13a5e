//! Helm's record of a release: what is written in it, what is read out of it, and how large it may be.
//!
//! What lives here: records as JSON, and the texts that they are packed into. What does not: where they are kept
//! (`backend`), status and times (`backend`), and what follows from them (`cluster`, `dismiss`).
//!
//! The one idea: a record stays JSON from end to end, so that what a newer Helm or another tool wrote in it is carried
//! along. Source: Helm 3.20 and 4.1.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cluster::cluster_path;
use super::hooks::{DesiredHook, hook_records};
use super::model::{Risk, RiskLevel};
use super::release::{DesiredResource, Problem, RecordedResource, ReleaseRecord, record_digest};
use super::sensitive::Sensitive;
use crate::chart::kinds::is_cluster_scoped;
use crate::chart::{Hook, HookEvent, HookPolicy};
use crate::source::FileId;
use crate::syntax::yaml;

/// What a record says of the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterChart {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of what it deploys.
    pub app_version: Option<String>,
    /// Its default values.
    pub values: Value,
    /// The values that the user gave, without decrypted ones.
    pub config: Sensitive<Value>,
    /// Its notes, rendered.
    pub notes: Sensitive<String>,
}

/// The annotation of the recorded chart that holds what Helm has no place for. Helm carries it along when it rewrites a record.
const EXTRAS: &str = "stagewright/record";
/// The most that a packed record may take: what the API server takes as one Secret. Unit: bytes.
const LIMIT: usize = 1 << 20;
/// From where on the size of a record is told, and from where on it is a warning. Unit: bytes.
const TOLD: (usize, usize) = (LIMIT / 4, LIMIT * 3 / 4);
/// How many of the largest manifests are named where a record is too large.
const NAMED: usize = 3;
/// How large a record may become when it is unpacked. Unit: bytes.
const MOST: u64 = 256 << 20;

/// Packs a release as Helm keeps it: JSON, compressed, in base64.
pub fn pack_record(release: &impl serde::Serialize) -> Vec<u8> {
    let text = serde_json::to_string(release).expect("JSON can be written");
    let packed = |level| {
        let mut packed = GzEncoder::new(Vec::new(), level);
        let written = packed.write_all(text.as_bytes()).and_then(|()| packed.finish());
        STANDARD.encode(written.expect("memory takes what is written")).into_bytes()
    };
    let quick = packed(Compression::default());
    // The best that can be done takes many times longer, and matters near the limit alone.
    if quick.len() < TOLD.0 { quick } else { packed(Compression::best()) }
}

/// Unpacks what Helm keeps; very old records are not compressed. `None` where it is no record.
pub fn unpack_record(payload: &[u8]) -> Option<Value> {
    let bytes = STANDARD.decode(payload).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).ok();
    }
    let mut text = Vec::new();
    GzDecoder::new(bytes.as_slice()).take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What became of a record so that it can be kept.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    pub risk: Option<Risk>,
    pub problem: Option<Problem>,
}

/// Sees to it that a record can be kept: where it is too large, what Helm only shows is left out.
pub(super) fn fit(payload: &mut Value, record: &ReleaseRecord, desired: &[DesiredResource]) -> Fitted {
    // Most records are far from any limit whatever they pack to.
    if payload.to_string().len() < TOLD.0 / 2 {
        return Fitted::default();
    }
    let address = format!("release {}", record.release);
    let kib = |bytes: usize| bytes.div_ceil(1024);
    let told = |size: usize| format!("release record {} KiB of {} KiB", kib(size), kib(LIMIT));
    let risk = |level, message| {
        let risk = Risk { code: "record-size".into(), level, address: address.clone(), path: None, message };
        Fitted { risk: Some(risk), problem: None }
    };
    let size = pack_record(payload).len();
    if size < TOLD.0 {
        return Fitted::default();
    }
    if size <= LIMIT {
        return risk(if size < TOLD.1 { RiskLevel::Info } else { RiskLevel::Warning }, told(size));
    }
    leave_out(payload);
    let size = pack_record(payload).len();
    if size <= LIMIT {
        let what = "without the notes, default values and templates of the chart, which would not fit";
        return risk(RiskLevel::Warning, format!("{}, {what}", told(size)));
    }
    let mut largest: Vec<&DesiredResource> = desired.iter().collect();
    largest.sort_by_key(|resource| std::cmp::Reverse(resource.text.len()));
    let named = largest.iter().take(NAMED).map(|r| format!("{}/{} {} KiB", r.kind, r.name, kib(r.text.len())));
    let message = format!(
        "its record takes {} KiB, and the API server keeps {} KiB; split the chart into several releases, or put large files \
         into an image or a volume (the largest manifests: {})",
        kib(size),
        kib(LIMIT),
        named.collect::<Vec<_>>().join(", ")
    );
    Fitted { risk: None, problem: Some(Problem { address, place: None, message }) }
}

/// Leaves out what Helm shows and never deploys.
fn leave_out(payload: &mut Value) {
    if let Some(info) = payload.get_mut("info").and_then(Value::as_object_mut) {
        info.shift_remove("notes");
    }
    if let Some(chart) = payload.get_mut("chart").and_then(Value::as_object_mut) {
        for (key, nothing) in
            [("templates", json!([])), ("files", json!([])), ("values", json!({})), ("schema", Value::Null)]
        {
            chart.insert(key.to_owned(), nothing);
        }
    }
}

/// Makes Helm's record of a release, but for times and status.
pub(super) fn helm_record(
    desired: &[DesiredResource],
    hooks: &[DesiredHook],
    record: &ReleaseRecord,
    chart: &ClusterChart,
) -> Value {
    let mut manifest = String::new();
    for resource in desired.iter().filter(|r| r.belongs) {
        let source = resource.place.as_ref().map_or("manifest", |place| place.file.as_str());
        manifest += &format!("---\n# Source: {source}\n{}\n", resource.text.trim_end());
    }
    let extras = ReleaseRecord { resources: BTreeMap::new(), ..record.clone() };
    let extras = serde_json::to_string(&extras).expect("a record is plain data");
    let or_empty = |value: Option<&Value>| value.filter(|v| v.is_object()).cloned().unwrap_or_else(|| json!({}));
    json!({
        "name": record.release,
        "namespace": record.namespace,
        "version": record.revision,
        "info": {"notes": chart.notes.reveal().cloned().unwrap_or_default()},
        "chart": {
            "metadata": {
                "apiVersion": "v2",
                "name": chart.name,
                "version": chart.version,
                "appVersion": chart.app_version.clone().unwrap_or_default(),
                "annotations": {EXTRAS: extras},
            },
            "lock": null,
            "templates": [],
            "values": or_empty(Some(&chart.values)),
            "schema": null,
            "files": [],
        },
        "config": or_empty(chart.config.reveal()),
        "manifest": manifest,
        "hooks": hook_records(hooks),
        "apply_method": "csa",
    })
}

/// Makes the record of a revision that deploys a recorded one again.
pub(super) fn rollback_record(recorded: &Value, record: &ReleaseRecord) -> Value {
    let mut all = recorded.as_object().cloned().unwrap_or_default();
    let to = recorded.get("version").and_then(integer).unwrap_or(0);
    let mut info = Map::new();
    info.extend(recorded.pointer("/info/notes").map(|notes| ("notes".to_owned(), notes.clone())));
    info.insert("status".into(), "pending-rollback".into());
    info.insert("description".into(), format!("Rollback to {to}").into());
    info.insert("rollback_revision".into(), to.into());
    all.insert("info".into(), info.into());
    all.insert("version".into(), record.revision.into());
    all.insert("apply_method".into(), "csa".into());
    for hook in all.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(hook) = hook.as_object_mut() {
            hook.insert("last_run".into(), json!({"started_at": "", "completed_at": "", "phase": ""}));
        }
    }
    all.into()
}

/// Says whether the last record has these notes; a record of Helm's may have them of another revision.
pub(super) fn are_notes_recorded(chart: &ClusterChart, last: Option<&Value>) -> bool {
    let recorded = last.and_then(|last| last.pointer("/info/notes")?.as_str()).unwrap_or_default();
    recorded == chart.notes.reveal().map_or("", String::as_str)
}

/// Reads a number that some tools write as `3.0`.
fn integer(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just looked at")]
    let whole = |number: f64| ((0.0..1e15).contains(&number) && number.fract() == 0.0).then_some(number as u64);
    value.as_u64().or_else(|| whole(value.as_f64()?))
}

/// Reads what we record and Helm has no place for.
fn extras(release: &Value) -> ReleaseRecord {
    let text = release.pointer("/chart/metadata/annotations").and_then(|a| a.get(EXTRAS)?.as_str());
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Reads Helm's records of a release, oldest first, as one: what any of them may have left in the cluster is in it.
pub fn read_history(history: &[Value]) -> Option<ReleaseRecord> {
    let last = history.last()?;
    let record = extras(last);
    let text = |key: &str| last.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(ReleaseRecord {
        version: 1,
        release: text("name"),
        namespace: text("namespace"),
        revision: last.get("version").and_then(integer)?,
        resources: recorded_manifests(history)
            .into_iter()
            .map(|(path, (r, _))| (path, without_digest(r, &record)))
            .collect(),
        ..record
    })
}

/// What holds secrets is recorded without a digest: weak ones could be tried out.
fn without_digest(recorded: RecordedResource, record: &ReleaseRecord) -> RecordedResource {
    let hidden = record.hidden.contains(&recorded.address);
    RecordedResource { digest: if hidden { String::new() } else { recorded.digest }, ..recorded }
}

pub(super) fn is_unfinished(history: &[Value]) -> bool {
    let status = history.last().and_then(|r| r.pointer("/info/status")?.as_str());
    status.is_some_and(|status| status != "deployed")
}

/// Returns the manifests of Helm's records by path, the last of each.
pub(super) fn recorded_manifests(history: &[Value]) -> BTreeMap<String, (RecordedResource, String)> {
    let mut found = BTreeMap::new();
    for release in history {
        let text = release.get("manifest").and_then(Value::as_str).unwrap_or_default();
        for resource in documents(text).iter().flat_map(|text| resources(text, release)) {
            let is_secret = super::diff::is_sensitive(&resource.kind);
            let digest = if is_secret { String::new() } else { record_digest(&resource.text) };
            let recorded = RecordedResource { address: resource.address(), digest };
            found.insert(cluster_path(&resource), (recorded, resource.text));
        }
    }
    found
}

/// Returns the objects of a list, as `kubectl get` prints them; `None` for what is no list.
pub fn items_of(data: &Value) -> Option<&Vec<Value>> {
    let is_list = data.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let is_named = data.pointer("/metadata/name").is_some();
    data.get("items").and_then(Value::as_array).filter(|_| is_list && !is_named)
}

/// Reads a document of a record: one manifest, or a list of some.
fn resources(text: &str, release: &Value) -> Vec<DesiredResource> {
    let list = parse_manifest(text);
    match list.as_ref().and_then(items_of) {
        Some(items) => items.iter().filter_map(|item| resource(&yaml::manifest_yaml(item), release)).collect(),
        None => resource(text, release).into_iter().collect(),
    }
}

/// Reads a manifest of a record.
fn resource(text: &str, release: &Value) -> Option<DesiredResource> {
    let data = parse_manifest(text)?;
    let field = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (field("/apiVersion"), field("/kind"), field("/metadata/name"));
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let of_release = || release.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace = Some(field("/metadata/namespace")).filter(|n| !n.is_empty()).or_else(|| Some(of_release()));
    let namespace = namespace.filter(|_| !is_cluster_scoped(group, &kind));
    let text = text.to_owned();
    Some(DesiredResource { api_version, kind, namespace, name, text, data, place: None, hidden: false, belongs: true })
}

/// A recorded release, as it would be deployed again.
#[derive(Clone, Debug, Default)]
pub struct RecordedRelease {
    /// What was recorded, its resources left out.
    pub record: ReleaseRecord,
    /// Its manifests, in their order.
    pub resources: Vec<DesiredResource>,
    /// Its hooks.
    pub hooks: Vec<DesiredHook>,
}

/// Reads one record of Helm's.
pub fn read_release(release: &Value) -> Option<RecordedRelease> {
    let text = |key: &str| release.get(key).and_then(Value::as_str).unwrap_or_default();
    let extras = extras(release);
    let is_hidden = |resource: DesiredResource| {
        let hidden = extras.hidden.contains(&resource.address());
        DesiredResource { hidden, ..resource }
    };
    let manifests = documents(text("manifest"));
    let resources = manifests.iter().flat_map(|text| resources(text, release)).map(is_hidden).collect();
    let hooks = release.get("hooks").and_then(Value::as_array).into_iter().flatten();
    let hooks = hooks.filter_map(|recorded| hook(recorded, release)).collect();
    let revision = release.get("version").and_then(integer)?;
    let (name, namespace) = (text("name").to_owned(), text("namespace").to_owned());
    let record = ReleaseRecord { version: 1, release: name, namespace, revision, resources: BTreeMap::new(), ..extras };
    Some(RecordedRelease { record, resources, hooks })
}

fn hook(recorded: &Value, release: &Value) -> Option<DesiredHook> {
    let text = recorded.get("manifest")?.as_str()?;
    let resource = resource(&recorded_text(text), release)?;
    let names = |key: &str| {
        let list = recorded.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let policies = |key: &str| names(key).iter().filter_map(|name| HookPolicy::named(name)).collect();
    let weight = recorded.get("weight").and_then(Value::as_i64).unwrap_or(0);
    let hook = Hook {
        events: names("events").iter().filter_map(|name| HookEvent::named(name)).collect(),
        weight,
        delete_policies: policies("delete_policies"),
        log_policies: policies("output_log_policies"),
    };
    let source = recorded.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(DesiredHook { resource: DesiredResource { belongs: false, ..resource }, hook, weight, source })
}

/// One revision of a release, as lists show it; the names of the fields are Helm's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RevisionSummary {
    /// The release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Counted from 1.
    pub revision: u64,
    /// When it was deployed.
    pub updated: String,
    /// `deployed`, `failed`, …
    pub status: String,
    /// Name and version of the chart.
    pub chart: String,
    /// The version of what it deploys.
    pub app_version: String,
    /// What became of it.
    pub description: String,
}

/// Sums up one record of Helm's.
pub fn summarize_record(release: &Value) -> RevisionSummary {
    let text = |pointer: &str| release.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (chart, version) = (text("/chart/metadata/name"), text("/chart/metadata/version"));
    RevisionSummary {
        name: text("/name"),
        namespace: text("/namespace"),
        revision: release.get("version").and_then(integer).unwrap_or(0),
        updated: text("/info/last_deployed"),
        status: text("/info/status"),
        chart: if version.is_empty() { chart } else { format!("{chart}-{version}") },
        app_version: text("/chart/metadata/appVersion"),
        description: text("/info/description"),
    }
}

/// Returns the number of the revision that a rollback without a number goes to: the last that was ever deployed before the
/// current one. Revisions come oldest first, by number and status. Source: Nelm; Helm takes the one before, failed or not.
pub fn revision_to_go_back_to(revisions: &[(u64, &str)]) -> Option<u64> {
    let (_, before) = revisions.split_last()?;
    let was_deployed = |(_, status): &&(u64, &str)| matches!(*status, "deployed" | "superseded");
    before.iter().rev().find(was_deployed).map(|(number, _)| *number)
}

/// Returns a record as it may be shown: without what Secrets hold, and without resources that hold secret values.
pub fn discreet_record(release: &Value) -> Value {
    let hidden = extras(release).hidden;
    let mut shown = release.clone();
    let Some(all) = shown.as_object_mut() else { return Value::Null };
    if let Some(Value::String(manifest)) = all.get_mut("manifest") {
        let is_hidden = |resource: &DesiredResource| hidden.contains(&resource.address());
        *manifest = discreet_text(manifest, release, &is_hidden);
    }
    for hook in all.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(manifest)) = hook.as_object_mut().and_then(|hook| hook.get_mut("manifest")) {
            // Nobody knows which of them hold secret values.
            *manifest = discreet_text(manifest, release, &|_| !hidden.is_empty());
        }
    }
    shown
}

/// Hides what must not be shown in a text of manifests; the others stay as they are.
fn discreet_text(manifest: &str, release: &Value, is_hidden: &dyn Fn(&DesiredResource) -> bool) -> String {
    let mut out = String::new();
    let mut piece = String::new();
    let mut flush = |piece: &mut String| {
        let known = documents(piece).first().and_then(|text| resource(text, release));
        match known.filter(|r| super::diff::is_sensitive(&r.kind) || is_hidden(r)) {
            None => out += piece,
            Some(resource) => {
                let head = piece.lines().filter(|line| line.starts_with("---") || line.starts_with("# Source: "));
                head.for_each(|line| out += &format!("{line}\n"));
                out += &discreet_manifest(&resource);
            }
        }
        piece.clear();
    };
    for line in manifest.split_inclusive('\n') {
        if line.starts_with("---") {
            flush(&mut piece);
        }
        piece += line;
    }
    flush(&mut piece);
    out
}

fn discreet_manifest(resource: &DesiredResource) -> String {
    let mut data = resource.data.clone();
    if super::diff::is_sensitive(&resource.kind) {
        for key in ["data", "stringData"] {
            let values = data.get_mut(key).and_then(Value::as_object_mut).into_iter().flatten();
            values.for_each(|(_, value)| *value = "(secret)".into());
        }
        // What kubectl noted may repeat them.
        if let Some(metadata) = data.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("annotations");
        }
        return format!("{}\n", yaml::to_yaml(&data).unwrap_or_default());
    }
    let head = json!({"apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": resource.name, "namespace": resource.namespace}});
    format!("# the rest holds secret values: --show-secrets shows it\n{}\n", yaml::to_yaml(&head).unwrap_or_default())
}

/// Returns a manifest's text as it is read out of a record again.
pub(super) fn recorded_text(text: &str) -> String {
    documents(text).join("---\n")
}

/// Splits a recorded manifest; the line that names the template of each document is no part of it.
fn documents(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = String::new();
    for line in manifest.lines().chain(["---"]) {
        if line.starts_with("---") {
            if !text.trim().is_empty() {
                found.push(format!("{}\n", text.trim()));
            }
            text.clear();
        } else if !(text.is_empty() && line.starts_with("# Source: ")) {
            text += line;
            text.push('\n');
        }
    }
    found
}

/// Reads the text of a manifest; `None` where it is none.
pub(super) fn parse_manifest(text: &str) -> Option<Value> {
    yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(text: &str) -> DesiredResource {
        resource(text, &json!({"namespace": "shop"})).unwrap()
    }

    fn config(name: &str, data: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  x: {data}\n")
    }

    /// Text that cannot be compressed much.
    fn noise(length: usize) -> String {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
        };
        (0..length).map(|_| next()).filter(|c| !matches!(c, '"' | '\'' | '\\')).collect()
    }

    fn fitted(length: usize, notes: usize) -> (Value, Fitted) {
        let record = ReleaseRecord { release: "shop".into(), ..ReleaseRecord::default() };
        let desired = [desired(&config("a", &format!("'{}'", noise(length))))];
        let chart = ClusterChart { notes: Sensitive::new(noise(notes)), ..ClusterChart::default() };
        let mut payload = helm_record(&desired, &[], &record, &chart);
        let fitted = fit(&mut payload, &record, &desired);
        (payload, fitted)
    }

    #[test]
    fn a_recorded_list_is_what_is_in_it() {
        let list = "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n\
                    - {apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: other}}\n";
        let release = json!({"namespace": "shop", "manifest": format!("---\n{list}")});
        let paths: Vec<String> = recorded_manifests(&[release]).into_keys().collect();
        assert_eq!(paths, ["other/ConfigMap/b", "shop/Secret/a"]);
    }

    #[test]
    fn a_record_is_read_as_it_was_packed() {
        let release = json!({"name": "shop", "version": 3, "manifest": "---\nkind: ConfigMap\n"});
        assert_eq!(unpack_record(&pack_record(&release)), Some(release.clone()));
        assert_eq!(unpack_record(STANDARD.encode(release.to_string()).as_bytes()), Some(release));
        assert_eq!(unpack_record(b"nothing"), None);
    }

    #[test]
    fn records_of_helm_are_split_into_their_documents() {
        let text = "---\n# Source: shop/templates/a.yaml\nkind: A\nx: |\n  ---\n\n---\n# Source: b\n# kept\nkind: B\n";
        assert_eq!(documents(text), ["kind: A\nx: |\n  ---\n", "# kept\nkind: B\n"]);
    }

    /// S50
    #[test]
    fn the_size_of_a_large_record_is_told_and_one_that_is_too_large_is_a_problem() {
        let small = fitted(10_000, 0).1;
        assert!(small.risk.is_none() && small.problem.is_none());
        let told = fitted(400_000, 0).1.risk.unwrap();
        assert!(told.level == RiskLevel::Info && told.message.ends_with("KiB of 1024 KiB"), "{}", told.message);
        assert_eq!(fitted(800_000, 0).1.risk.unwrap().level, RiskLevel::Warning);
        let (payload, shrunk) = fitted(700_000, 600_000);
        assert!(shrunk.problem.is_none() && payload["info"].get("notes").is_none());
        assert!(shrunk.risk.unwrap().message.contains("without the notes"));
        let too_large = fitted(1_300_000, 0).1.problem.unwrap();
        assert!(too_large.message.contains("ConfigMap/a"), "{}", too_large.message);
    }

    /// S79
    #[test]
    fn numbers_may_be_written_as_fractions_and_parts_may_be_missing() {
        let release = json!({"name": "shop", "namespace": "shop", "version": 3.0, "config": {"replicas": 2.0},
            "info": {"status": "deployed", "deleted": "", "first_deployed": null},
            "chart": {"metadata": {"name": "shop", "version": "1.2.3"}, "lock": null, "schema": null}, "hooks": null,
            "manifest": config("a", "1")});
        let read = read_history(std::slice::from_ref(&release)).unwrap();
        assert_eq!((read.revision, read.resources.len()), (3, 1));
        let summary = summarize_record(&release);
        assert_eq!((summary.revision, summary.chart.as_str()), (3, "shop-1.2.3"));
        assert_eq!(read_release(&release).unwrap().resources.len(), 1);
        assert!(read_release(&json!({"version": 1.5})).is_none());
    }

    #[test]
    fn a_rollback_carries_on_what_was_recorded() {
        let recorded = json!({"name": "shop", "namespace": "shop", "version": 2, "strange": 1, "config": {"a": 1},
            "info": {"status": "superseded", "notes": "hello", "first_deployed": "x"}, "manifest": config("a", "1"),
            "hooks": [{"name": "h", "last_run": {"phase": "Succeeded"}}]});
        let record = ReleaseRecord { revision: 5, ..ReleaseRecord::default() };
        let payload = rollback_record(&recorded, &record);
        let expected = json!({"notes": "hello", "status": "pending-rollback", "description": "Rollback to 2",
            "rollback_revision": 2});
        assert_eq!((&payload["info"], &payload["version"], &payload["strange"]), (&expected, &json!(5), &json!(1)));
        assert_eq!((&payload["config"], &payload["manifest"]), (&recorded["config"], &recorded["manifest"]));
        assert_eq!(payload["hooks"][0]["last_run"]["phase"], "");
    }

    #[test]
    fn a_rollback_goes_to_the_last_revision_that_was_good() {
        let back = |list: &[(u64, &str)]| revision_to_go_back_to(list);
        assert_eq!(back(&[(1, "superseded"), (2, "deployed")]), Some(1));
        assert_eq!(back(&[(1, "superseded"), (2, "deployed"), (3, "failed")]), Some(2));
        assert_eq!(back(&[(1, "superseded"), (2, "failed"), (3, "deployed")]), Some(1));
        assert_eq!((back(&[(1, "failed"), (2, "failed")]), back(&[])), (None, None));
    }

    #[test]
    fn what_secrets_hold_is_not_shown_and_the_rest_stays_as_it_is() {
        let secret =
            "---\n# Source: s.yaml\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hunter2}\n";
        let plain = "---\n# Source: a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a} # kept\n";
        let holds = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {url: hunter2}\n";
        let extras = json!({"hidden": ["shop/ConfigMap/b"], "version": 1, "release": "", "namespace": "", "revision": 1,
            "project": "", "commit": "", "tree": "", "images": {}, "resources": {}, "values": ""});
        let release = json!({"name": "shop", "namespace": "shop", "version": 1,
            "manifest": format!("{secret}{plain}{holds}"),
            "chart": {"metadata": {"annotations": {EXTRAS: extras.to_string()}}},
            "hooks": [{"name": "h", "manifest": "kind: Job\nmetadata: {name: h}\nx: hunter2"}]});
        let shown = discreet_record(&release);
        let manifest = shown["manifest"].as_str().unwrap();
        assert!(!shown.to_string().contains("hunter2"), "{shown:#}");
        assert!(manifest.contains(plain) && manifest.contains("# Source: s.yaml\n"), "{manifest}");
        assert!(manifest.contains("a: (secret)") && manifest.contains("name: b"), "{manifest}");
    }

    #[test]
    fn hooks_come_back_as_they_were_recorded() {
        let hook = json!({"name": "h", "kind": "Job", "path": "shop/templates/h.yaml", "events": ["pre-rollback"],
            "manifest": "# Source: shop/templates/h.yaml\napiVersion: batch/v1\nkind: Job\nmetadata: {name: h}",
            "delete_policies": ["hook-succeeded"], "weight": -5});
        let release = json!({"name": "shop", "namespace": "shop", "version": 1, "hooks": [hook]});
        let hooks = read_release(&release).unwrap().hooks;
        assert_eq!((hooks[0].weight, hooks[0].resource.address().as_str()), (-5, "shop/Job/h"));
        assert_eq!(hooks[0].hook.events, [HookEvent::PreRollback]);
        assert_eq!(hooks[0].hook.delete_policies, [HookPolicy::HookSucceeded]);
    }
}
