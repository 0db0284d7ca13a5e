//! Helm's record of a release: what is written in it, what is read out of it, and how large it may be.
//!
//! What lives here: records as JSON, and the texts that they are packed into. What does not: where they are kept
//! (`backend`), status and times (`backend`), and what follows from them (`cluster`, `dismiss`).
//!
//! The one idea: a record stays JSON from end to end, so that what a newer Helm or another tool wrote in it is carried
//! along. Source: Helm 3.20 and 4.1.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cluster::cluster_path;
use super::hooks::{DesiredHook, hook_records};
use super::model::{Risk, RiskLevel};
use super::release::{DesiredResource, Problem, RecordedResource, ReleaseRecord, record_digest};
use super::sensitive::Sensitive;
use super::shown_values::conceal_values;
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
const MOST: u64 = 64 << 20;

/// How large a record may become of which only a line is shown: many are read at once. Unit: bytes.
const MOST_OF_A_LINE: u64 = 32 << 20;

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

/// Unpacks what a list shows of a record, and keeps nothing else of it. `None` where it is no record.
pub fn unpack_summary(payload: &[u8]) -> Option<RevisionSummary> {
    summary_within(payload, MOST_OF_A_LINE)
}

fn summary_within(payload: &[u8], most: u64) -> Option<RevisionSummary> {
    /// What is asked of a record; the rest is skipped.
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        name: Value,
        #[serde(default)]
        namespace: Value,
        version: Value,
        #[serde(default)]
        info: Value,
        chart: Option<Chart>,
    }
    #[derive(Deserialize)]
    struct Chart {
        #[serde(default)]
        metadata: Value,
    }
    let bytes = STANDARD.decode(payload).ok()?;
    let part: Part = if bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        let unpacked = GzDecoder::new(bytes.as_slice()).take(most);
        serde_json::from_reader(std::io::BufReader::new(unpacked)).ok()?
    } else {
        serde_json::from_slice(&bytes).ok()?
    };
    let metadata = part.chart.map(|chart| chart.metadata);
    let release = json!({"name": part.name, "namespace": part.namespace, "version": part.version, "info": part.info,
        "chart": {"metadata": metadata}});
    Some(summarize_record(&release))
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
    let extras = ReleaseRecord { hides_hooks: true, resources: BTreeMap::new(), ..record.clone() };
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

/// Says whether a record is the one that the payload of a plan made: somebody else may have made one of the same number.
/// Status, times and what became of hooks change while a release is under way.
pub fn is_record_of(recorded: &Value, payload: &Value) -> bool {
    let status = |of: &Value| of.pointer("/info/status").and_then(Value::as_str).map(str::to_owned);
    if status(payload).as_deref() == Some("uninstalling") {
        return status(recorded) == status(payload);
    }
    let hooks = |of: &Value| -> Vec<Option<String>> {
        let list = of.get("hooks").and_then(Value::as_array).into_iter().flatten();
        list.map(|hook| Some(hook.get("manifest")?.as_str()?.to_owned())).collect()
    };
    let version = |of: &Value| of.get("version").and_then(integer);
    version(recorded) == version(payload)
        && hooks(recorded) == hooks(payload)
        && ["name", "namespace", "chart", "config", "manifest"].iter().all(|key| recorded.get(key) == payload.get(key))
}

/// Says whether the last record has these notes; a record of Helm's may have them of another revision.
pub(super) fn are_notes_recorded(chart: &ClusterChart, last: Option<&Value>) -> bool {
    let recorded = last.and_then(|last| last.pointer("/info/notes")?.as_str()).unwrap_or_default();
    recorded == chart.notes.reveal().map_or("", String::as_str)
}

/// Says whether the last record has these values of the user.
pub(super) fn are_values_recorded(chart: &ClusterChart, last: Option<&Value>) -> bool {
    let some = |value: Option<&Value>| value.and_then(Value::as_object).filter(|map| !map.is_empty()).cloned();
    some(last.and_then(|last| last.get("config"))) == some(chart.config.reveal())
}

/// Reads a number that some tools write as `3.0`.
fn integer(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just looked at")]
    let whole = |number: f64| ((0.0..1e15).contains(&number) && number.fract() == 0.0).then_some(number as u64);
    value.as_u64().or_else(|| whole(value.as_f64()?))
}

/// Returns what we record and Helm has no place for, as it was written; `None` in a record of Helm's own.
fn extras_text(release: &Value) -> Option<&str> {
    release.pointer("/chart/metadata/annotations").and_then(|a| a.get(EXTRAS)?.as_str())
}

/// Reads what we record and Helm has no place for.
fn extras(release: &Value) -> ReleaseRecord {
    extras_text(release).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What of a record must not be shown. Where that is not known, it is much.
#[derive(Default)]
struct Discretion {
    /// Resources that hold secret values, by their addresses.
    hidden: BTreeSet<String>,
    manifests: bool,
    hooks: bool,
    notes: bool,
}

impl Discretion {
    fn of(release: &Value) -> Self {
        let Some(text) = extras_text(release) else { return Self::default() };
        match serde_json::from_str::<ReleaseRecord>(text) {
            Err(_) => Self { manifests: true, hooks: true, notes: true, ..Self::default() },
            Ok(record) => Self {
                manifests: false,
                // An older record does not say which of them hold secret values.
                hooks: !record.hides_hooks,
                notes: record.hides_notes || !record.hides_hooks,
                hidden: record.hidden,
            },
        }
    }

    fn hides(&self, resource: &DesiredResource) -> bool {
        self.manifests || self.hidden.contains(&resource.address())
    }

    fn hides_hook(&self, resource: &DesiredResource) -> bool {
        self.hooks || self.hidden.contains(&resource.address())
    }
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
    resource_of(parse_manifest(text)?, text, release)
}

fn resource_of(data: Value, text: &str, release: &Value) -> Option<DesiredResource> {
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
    let discretion = Discretion::of(release);
    let is_hidden = |resource: DesiredResource| {
        let hidden = discretion.hides(&resource);
        DesiredResource { hidden, ..resource }
    };
    let manifests = documents(text("manifest"));
    let resources = manifests.iter().flat_map(|text| resources(text, release)).map(is_hidden).collect();
    let hooks = release.get("hooks").and_then(Value::as_array).into_iter().flatten();
    let is_hidden = |mut hook: DesiredHook| {
        hook.resource.hidden = discretion.hides_hook(&hook.resource);
        hook
    };
    let hooks = hooks.filter_map(|recorded| hook(recorded, release)).map(is_hidden).collect();
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

/// Returns a record as it may be shown: without what Secrets hold and the values they are filled with, and without resources
/// and notes that hold secret values.
pub fn discreet_record(release: &Value) -> Value {
    let discretion = Discretion::of(release);
    let mut shown = release.clone();
    let Some(all) = shown.as_object_mut() else { return Value::Null };
    if let Some(Value::String(manifest)) = all.get_mut("manifest") {
        *manifest = discreet_text(manifest, release, &|resource| discretion.hides(resource));
    }
    for hook in all.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(manifest)) = hook.as_object_mut().and_then(|hook| hook.get_mut("manifest")) {
            *manifest = discreet_text(manifest, release, &|resource| discretion.hides_hook(resource));
        }
    }
    let info = all.get_mut("info").and_then(Value::as_object_mut);
    if let Some(Value::String(notes)) = info.and_then(|info| info.get_mut("notes"))
        && discretion.notes
        && !notes.is_empty()
    {
        "(the notes hold secret values: --show-secrets shows them)\n".clone_into(notes);
    }
    conceal_values(&mut shown, release);
    shown
}

/// Hides what must not be shown in a text of manifests; the others stay as they are.
fn discreet_text(manifest: &str, release: &Value, is_hidden: &dyn Fn(&DesiredResource) -> bool) -> String {
    let mut out = String::new();
    let mut piece = String::new();
    let mut flush = |piece: &mut String| {
        match discreet_document(piece, release, is_hidden) {
            None => out += piece,
            Some(text) => {
                let head = piece.lines().filter(|line| line.starts_with("---") || line.starts_with("# Source: "));
                head.for_each(|line| out += &format!("{line}\n"));
                out += &text;
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

/// What stands above what is not shown whole.
const LEFT_OUT: &str = "# the rest holds secret values: --show-secrets shows it\n";

/// Returns what is shown in the place of a document; `None` where it is shown as it is. What cannot be read is not shown:
/// nobody knows what is in it.
fn discreet_document(piece: &str, release: &Value, is_hidden: &dyn Fn(&DesiredResource) -> bool) -> Option<String> {
    let text = documents(piece).into_iter().next()?;
    let Some(mut data) = parse_manifest(&text) else {
        return Some("# this cannot be read, and may hold secret values: --show-secrets shows it\n".to_owned());
    };
    if data.is_null() {
        return None;
    }
    if is_list(&data) {
        let mut any = false;
        for item in data.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(shown) = discreet_object(item, release, is_hidden) {
                (*item, any) = (shown, true);
            }
        }
        return any.then(|| format!("{LEFT_OUT}{}\n", yaml::to_yaml(&data).unwrap_or_default()));
    }
    let shown = discreet_object(&data, release, is_hidden)?;
    // Of a Secret it is seen.
    let told = if shown.get("kind").and_then(Value::as_str) == Some("Secret") { "" } else { LEFT_OUT };
    Some(format!("{told}{}\n", yaml::to_yaml(&shown).unwrap_or_default()))
}

/// Says whether there are objects in an object, as Helm sees it: whatever else it holds.
pub(super) fn is_list(data: &Value) -> bool {
    data.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
        && data.get("items").is_some_and(Value::is_array)
}

/// Returns what is shown in the place of an object; `None` where it is shown as it is.
fn discreet_object(data: &Value, release: &Value, is_hidden: &dyn Fn(&DesiredResource) -> bool) -> Option<Value> {
    let Some(resource) = resource_of(data.clone(), "", release) else {
        let of = |key: &str| data.get(key).filter(|value| value.is_string()).cloned().unwrap_or_default();
        return Some(json!({"apiVersion": of("apiVersion"), "kind": of("kind")}));
    };
    if !is_list(data) && !resource.is_secret() && !is_hidden(&resource) {
        return None;
    }
    if !super::diff::is_sensitive(&resource.kind) {
        let metadata = json!({"name": resource.name, "namespace": resource.namespace});
        return Some(json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}));
    }
    let mut shown = resource.data;
    for key in ["data", "stringData"] {
        match shown.get_mut(key) {
            Some(Value::Object(values)) => values.values_mut().for_each(|value| *value = "(secret)".into()),
            Some(value) => *value = "(secret)".into(),
            None => {}
        }
    }
    // What kubectl noted may repeat them.
    if let Some(metadata) = shown.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("annotations");
    }
    Some(shown)
}

/// Returns a manifest's text as it is read out of a record again.
pub(super) fn recorded_text(text: &str) -> String {
    documents(text).join("---\n")
}

/// Splits a recorded manifest; the line that names the template of each document is no part of it.
pub(super) fn documents(manifest: &str) -> Vec<String> {
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

    fn recorded(extras: &Value, rest: &Value) -> Value {
        let mut release = json!({"name": "shop", "namespace": "shop", "version": 1, "info": {"notes": "hunter2\n"},
            "chart": {"metadata": {"annotations": {EXTRAS: extras.to_string()}}}});
        release.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        release
    }

    fn our_extras(more: &Value) -> Value {
        let mut extras = serde_json::to_value(ReleaseRecord { version: 1, ..ReleaseRecord::default() }).unwrap();
        extras.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        extras
    }

    #[test]
    fn hooks_and_notes_are_hidden_as_the_record_says_and_where_it_does_not_say_it() {
        let hook = |name: &str| json!({"manifest": format!("kind: Job\nmetadata: {{name: {name}}}\nx: hunter2\n")});
        let hooks = json!({"hooks": [hook("holds"), hook("plain")]});
        let hidden = |release: &Value| -> Vec<bool> {
            read_release(release).unwrap().hooks.iter().map(|hook| hook.resource.hidden).collect()
        };
        let shown = |release: &Value| discreet_record(release).to_string().matches("hunter2").count();
        let knows = our_extras(&json!({"hides_hooks": true, "hides_notes": true, "hidden": ["shop/Job/holds"]}));
        let knows = recorded(&knows, &hooks);
        assert_eq!((hidden(&knows), shown(&knows)), (vec![true, false], 1));
        let older = recorded(&our_extras(&json!({})), &hooks);
        assert_eq!((hidden(&older), shown(&older)), (vec![true, true], 0));
        let mut of_helm = older.clone();
        of_helm["chart"]["metadata"]["annotations"] = Value::Null;
        assert_eq!((hidden(&of_helm), shown(&of_helm)), (vec![false, false], 3));
        // What we write knows it.
        let hidden_hook = ["shop/Job/holds".to_owned()].into();
        let record = ReleaseRecord { namespace: "shop".into(), hidden: hidden_hook, ..ReleaseRecord::default() };
        let hooks = read_release(&of_helm).unwrap().hooks;
        let ours = helm_record(&[], &hooks, &record, &ClusterChart::default());
        assert_eq!(hidden(&recorded(&extras_text(&ours).unwrap().parse().unwrap(), &ours)), [true, false]);
    }

    #[test]
    fn what_is_in_lists_or_cannot_be_read_is_not_shown() {
        let extras = our_extras(&json!({"hides_hooks": true, "hidden": ["shop/ConfigMap/b"]}));
        let shown = |text: &str| {
            let release = recorded(&extras, &json!({"manifest": text}));
            discreet_record(&release)["manifest"].as_str().unwrap().to_owned()
        };
        let list = "---\nkind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}, \
                    stringData: {x: hunter2}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {x: hunter2}}\n\
                    - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {x: seen}}\n- {x: hunter2}\n";
        let text = shown(list);
        assert!(!text.contains("hunter2") && text.contains("x: seen") && text.contains("x: (secret)"), "{text}");
        let text = shown(&list.replace("kind: List\n", "kind: SecretList\nmetadata: {name: x}\n"));
        assert!(!text.contains("hunter2") && text.contains("x: seen"), "{text}");
        for text in
            ["---\nkind: Secret\n  x: [hunter2\n", "---\nkind: Secret\nstringData: {x: hunter2}\n", "---\nhunter2\n"]
        {
            assert!(!shown(text).contains("hunter2"), "{}", shown(text));
        }
        let plain = "---\n# Source: a\n# nothing\n---\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}} # kept\n";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn a_record_of_somebody_else_with_our_number_is_not_ours() {
        let record = ReleaseRecord { release: "shop".into(), revision: 2, ..ReleaseRecord::default() };
        let made = |text: &str| helm_record(&[desired(&config("a", text))], &[], &record, &ClusterChart::default());
        let (ours, mut opened) = (made("1"), made("1"));
        opened["info"] = json!({"status": "pending-upgrade", "first_deployed": "x"});
        opened["strange"] = 1.into();
        assert!(is_record_of(&opened, &ours) && !is_record_of(&made("2"), &ours));
        opened["version"] = 3.into();
        assert!(!is_record_of(&opened, &ours));
        let mut of_helm = made("1");
        of_helm["chart"]["metadata"].as_object_mut().unwrap().shift_remove("annotations");
        assert!(!is_record_of(&of_helm, &ours));
        let gone = json!({"info": {"status": "uninstalling"}, "hooks": []});
        assert!(!is_record_of(&ours, &gone));
        opened["info"]["status"] = "uninstalling".into();
        assert!(is_record_of(&opened, &gone));
    }

    #[test]
    fn a_line_of_a_list_is_read_without_the_rest_and_a_bomb_is_no_record() {
        let release = json!({"name": "shop", "namespace": "n", "version": 3.0, "manifest": noise(1000),
            "info": {"status": "deployed", "description": "d"}, "config": {"a": [1]},
            "chart": {"metadata": {"name": "c", "version": "1"}, "templates": [{"data": "x"}]}});
        assert_eq!(unpack_summary(&pack_record(&release)), Some(summarize_record(&release)));
        assert_eq!(unpack_summary(STANDARD.encode(release.to_string()).as_bytes()), Some(summarize_record(&release)));
        let bomb = json!({"name": "", "version": 1, "info": {"status": "deployed"}, "manifest": "x".repeat(100_000)});
        let bomb = pack_record(&bomb);
        assert!(summary_within(&bomb, 200_000).is_some() && summary_within(&bomb, 50_000).is_none());
        assert!(unpack_summary(b"nothing").is_none() && unpack_summary(b"").is_none());
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
