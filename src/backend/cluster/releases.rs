//! Records of releases: Secrets or `ConfigMaps` as Helm writes and reads them. Source: Helm 3, drivers `secret` and `configmap`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Map, Value, json};

use super::PARALLEL;
use super::api::{Api, ApiError, word};
use super::objects::metadata;
use crate::plan::{RevisionSummary, is_record_of, pack_record, unpack_record, unpack_summary};
use crate::ports::RevisionFact;

/// How many revisions are kept when nobody says otherwise. Source: Helm 3.
const KEPT: usize = 10;
/// Names and labels alone: records may be large.
pub const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// The labels that are Helm's; others are the user's, and carried on.
const LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];
/// The annotation of a record that we wrote last, with its revision. Helm copies labels, and the chart with all that is in
/// it; what it writes has no annotations.
const OURS: &str = "stagewright/revision";
/// How many records are read to plan by: each may be large.
const MOST_READ: usize = 16;
/// So long what was listed under the lock is not listed again. Who comes between makes the record that we would make.
const RECENT: Duration = Duration::from_secs(1);
/// How long a record of somebody else counts as under way. Unit: seconds.
const FRESH_S: i64 = 180;
/// How the record of a release that is being deleted is described. Source: Helm 3.
const DELETION: &str = "Deletion in progress (or silently failed)";

/// The kind of objects that hold records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordDriver {
    /// Secrets.
    #[default]
    Secret,
    /// `ConfigMaps`.
    ConfigMap,
}

/// How records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRules {
    /// What holds them.
    pub driver: RecordDriver,
    /// How many revisions are kept; 0: all.
    pub most: usize,
}

impl Default for RecordRules {
    fn default() -> Self {
        Self { driver: RecordDriver::default(), most: KEPT }
    }
}

/// The records of one release.
pub struct Records<'a> {
    /// Where they are kept.
    pub api: &'a Api,
    /// How.
    pub rules: RecordRules,
    /// The namespace of the release.
    pub namespace: &'a str,
    /// The release.
    pub release: &'a str,
}

/// A record as we wrote it: the object, and the release in it.
pub struct Opened {
    object: Value,
    release: Map<String, Value>,
}

/// What the labels of a record say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counted from 1.
    pub number: u64,
    /// `deployed`, `failed`, …
    pub status: String,
    uid: String,
    /// Whether it was us who wrote it last.
    ours: bool,
    /// When it was written last. Unit: seconds since the Unix epoch.
    touched: i64,
    /// The user's own labels.
    labels: BTreeMap<String, String>,
}

/// The revisions of a release, as they were listed a moment ago.
#[derive(Default)]
pub struct Recent(Mutex<Option<(String, Instant, Vec<Revision>)>>);

impl Recent {
    fn known(&self) -> MutexGuard<'_, Option<(String, Instant, Vec<Revision>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are listed again: somebody else, or we, may have changed them.
    pub fn forget(&self) {
        *self.known() = None;
    }

    /// Returns the revisions of a release.
    pub async fn of(&self, records: &Records<'_>) -> Result<Vec<Revision>, ApiError> {
        let key = format!("{}/{}", records.namespace, records.release);
        let is_recent = |(of, at, _): &&(String, Instant, Vec<Revision>)| *of == key && at.elapsed() < RECENT;
        if let Some((_, _, known)) = self.known().as_ref().filter(is_recent) {
            return Ok(known.clone());
        }
        let listed = Instant::now();
        let found = records.revisions().await?;
        *self.known() = Some((key, listed, found.clone()));
        Ok(found)
    }
}

impl Records<'_> {
    fn list_address(&self) -> String {
        list_address(self.rules.driver, Some(self.namespace))
    }

    fn name(&self, revision: u64) -> String {
        format!("sh.helm.release.v1.{}.v{revision}", self.release)
    }

    fn address(&self, revision: u64) -> String {
        format!("{}/{}", self.list_address(), word(&self.name(revision)))
    }

    /// Returns all revisions, oldest first.
    pub async fn revisions(&self) -> Result<Vec<Revision>, ApiError> {
        let selector = word(&format!("owner=helm,name={}", self.release));
        let address = format!("{}?labelSelector={selector}", self.list_address());
        let list = self.api.request(http::Method::GET, &address, None, METADATA_ONLY).await?;
        let revision = |item: &Value| {
            let label = |key: &str| item.pointer("/metadata/labels")?.get(key)?.as_str();
            // A label alone makes no record.
            label("version").filter(|number| metadata(item, "name").ends_with(&format!(".v{number}")))?;
            let labels = item.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
            let own = labels.filter(|(key, _)| !LABELS.contains(&key.as_str()));
            let number = label("version")?.parse().ok()?;
            Some(Revision {
                number,
                ours: is_ours(item, number),
                status: label("status").unwrap_or_default().to_owned(),
                uid: metadata(item, "uid").to_owned(),
                touched: label("modifiedAt").or(label("createdAt")).and_then(|time| time.parse().ok()).unwrap_or(0),
                labels: own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
            })
        };
        let mut found: Vec<Revision> = items(&list).filter_map(revision).collect();
        found.sort_by_key(|r| r.number);
        Ok(found)
    }

    /// Returns the records since the last that was deployed, oldest first, and the number of the last of all, 0 where
    /// there is none.
    pub async fn history(&self) -> Result<(Vec<Value>, u64), ApiError> {
        let revisions = self.revisions().await?;
        // What was uninstalled left nothing.
        let gone = revisions.iter().rposition(|r| r.status == "uninstalled").map_or(0, |at| at + 1);
        let since = revisions.iter().rposition(|r| r.status == "deployed").unwrap_or(0).max(gone);
        // That which was deployed, and the last of those that failed after it.
        let left_out = revisions.len().saturating_sub(MOST_READ).max(since + 1);
        let read = revisions.iter().enumerate().filter(|(at, _)| *at == since || *at >= left_out);
        let records = read.map(|(_, revision)| self.record(revision.number)).collect::<Vec<_>>();
        let found = stream::iter(records).buffered(PARALLEL).collect::<Vec<_>>().await;
        let found = found.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok((found, revisions.last().map_or(0, |last| last.number)))
    }

    /// Returns one record; `None` where there is none.
    pub async fn record(&self, revision: u64) -> Result<Option<Value>, ApiError> {
        let object = self.api.get(&self.address(revision)).await?;
        object.map(|object| self.decode(&object, revision).map(Value::Object)).transpose()
    }

    /// Says whether it was us who opened a revision, with this payload.
    pub async fn is_opened(&self, revision: u64, payload: &Value) -> Result<bool, ApiError> {
        let Some(object) = self.api.get(&self.address(revision)).await?.filter(|object| is_ours(object, revision))
        else {
            return Ok(false);
        };
        Ok(is_record_of(&self.decode(&object, revision)?.into(), payload))
    }

    /// Returns what a list shows of a record; `None` where there is none, or what is there cannot be read.
    async fn summary(&self, revision: u64) -> Result<Option<RevisionSummary>, ApiError> {
        let object = self.api.get(&self.address(revision)).await?;
        Ok(object.and_then(|object| unpack_summary(&self.payload(&object)?)))
    }

    fn payload<'a>(&self, object: &'a Value) -> Option<Cow<'a, [u8]>> {
        let data = object.pointer("/data/release").and_then(Value::as_str).unwrap_or_default();
        match self.rules.driver {
            RecordDriver::Secret => STANDARD.decode(data).ok().map(Cow::Owned),
            RecordDriver::ConfigMap => Some(Cow::Borrowed(data.as_bytes())),
        }
    }

    fn decode(&self, object: &Value, revision: u64) -> Result<Map<String, Value>, ApiError> {
        let release = self.payload(object).and_then(|payload| unpack_record(&payload));
        if let Some(Value::Object(release)) = release {
            return Ok(release);
        }
        Err(ApiError::Unexpected(format!("the record `{}` is not one of a release", self.name(revision))))
    }

    fn encode(&self, release: &Map<String, Value>) -> Value {
        let packed = pack_record(release);
        match self.rules.driver {
            RecordDriver::Secret => STANDARD.encode(packed).into(),
            RecordDriver::ConfigMap => String::from_utf8_lossy(&packed).into_owned().into(),
        }
    }

    /// Creates the record of a new revision; or, where the release is to be deleted, says that of the last one. What
    /// others left under way is marked as failed: nobody runs it.
    pub async fn open(
        &self,
        revision: u64,
        release: Value,
        earlier: Vec<Revision>,
    ) -> Result<Option<Opened>, ApiError> {
        let Value::Object(mut release) = release else {
            return Err(ApiError::Unexpected("the record of the plan is no object".into()));
        };
        let info = |key: &str| release.get("info").and_then(|info| info.get(key)?.as_str()).map(str::to_owned);
        let left = |r: &&Revision| r.status.starts_with("pending-") || r.status == "uninstalling";
        for left in earlier.iter().filter(left) {
            self.refuse_others(left)?;
        }
        if info("status").as_deref() == Some("uninstalling") {
            self.set_status(revision, "uninstalling", DELETION).await?;
            return Ok(None);
        }
        for left in earlier.iter().filter(left) {
            self.set_status(left.number, "failed", "was interrupted").await?;
        }
        self.prune(&earlier).await?;
        let last = earlier.last().filter(|last| last.status != "uninstalled");
        let before = match last {
            Some(last) => self.record(last.number).await?,
            None => None,
        };
        let now = now();
        let installs = !since_gone(&earlier).iter().any(was_deployed);
        let (status, description) = if installs {
            ("pending-install", "Initial install underway")
        } else {
            ("pending-upgrade", "Preparing upgrade")
        };
        let status = info("status").unwrap_or_else(|| status.to_owned());
        let description = info("description").unwrap_or_else(|| description.to_owned());
        let first = before.and_then(|before| before.pointer("/info/first_deployed").cloned());
        let info = part(&mut release, "info");
        info.insert("first_deployed".into(), first.unwrap_or_else(|| now.to_string().into()));
        info.insert("last_deployed".into(), now.to_string().into());
        info.insert("deleted".into(), "".into());
        info.insert("description".into(), description.into());
        info.insert("status".into(), status.clone().into());
        let mut labels: Map<String, Value> = last
            .into_iter()
            .flat_map(|last| &last.labels)
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let own = [
            ("name", self.release.to_owned()),
            ("owner", "helm".to_owned()),
            ("status", status),
            ("version", revision.to_string()),
            ("createdAt", now.as_second().to_string()),
        ];
        labels.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name(revision), "namespace": self.namespace, "labels": labels,
                "annotations": {OURS: revision.to_string()}},
            "data": {"release": self.encode(&release)},
        });
        if let (RecordDriver::Secret, Some(object)) = (self.rules.driver, object.as_object_mut()) {
            object.insert("kind".into(), "Secret".into());
            object.insert("type".into(), "helm.sh/release.v1".into());
        }
        let object = self.api.create(&self.list_address(), &object).await?;
        Ok(Some(Opened { object, release }))
    }

    /// Helm takes no lock, nor does who may not: what they began a moment ago may still be under way.
    fn refuse_others(&self, pending: &Revision) -> Result<(), ApiError> {
        let age = now().as_second().saturating_sub(pending.touched);
        // What we began, nobody works on who has the lock.
        if pending.ours && self.api.is_fenced() || age > FRESH_S {
            return Ok(());
        }
        Err(ApiError::Unexpected(format!(
            "somebody else{} began revision {} of {} {} s ago ({}); try again when it is done, or in {} s if nobody \
             works on it any more",
            if pending.ours { "" } else { ", perhaps Helm," },
            pending.number,
            self.release,
            age.max(0),
            pending.status,
            FRESH_S - age.max(0)
        )))
    }

    /// Makes room for a new revision: the oldest go, but never the last that was deployed. Source: Helm 3.
    async fn prune(&self, earlier: &[Revision]) -> Result<(), ApiError> {
        if self.rules.most == 0 {
            return Ok(());
        }
        let too_many = (earlier.len() + 1).saturating_sub(self.rules.most);
        let deployed = earlier.iter().rev().find(|r| r.status == "deployed").map(|r| r.number);
        for old in earlier.iter().filter(|r| Some(r.number) != deployed).take(too_many) {
            self.api.delete(&self.address(old.number), &old.uid, "Background").await?;
        }
        Ok(())
    }

    /// Marks a revision as done: those before it are superseded.
    pub async fn finish(&self, revision: u64, opened: Option<Opened>, hooks: &HookRuns) -> Result<(), ApiError> {
        let done = |first: bool| {
            move |release: &mut Map<String, Value>| {
                hooks.note(release);
                let info = part(release, "info");
                // That of a rollback names the revision that it went back to.
                if info.get("status").and_then(Value::as_str) != Some("pending-rollback") {
                    let description = if first { "Install complete" } else { "Upgrade complete" };
                    info.insert("description".into(), description.into());
                }
            }
        };
        // In this order, so that one revision is deployed at any time; of two, the later counts.
        let all = if let Some(opened) = opened {
            let status = opened.release.get("info").and_then(|info| info.get("status")?.as_str());
            let done = done(status == Some("pending-install"));
            let (all, written) = join(self.revisions(), self.change(revision, Some(opened), "deployed", done)).await;
            written?;
            // What is deployed is not to be told as failed because of one look.
            match all {
                Ok(all) => all,
                Err(_) => self.revisions().await?,
            }
        } else {
            let all = self.revisions().await?;
            if !all.iter().any(|r| r.number == revision && r.status == "deployed") {
                let first = !since_gone(&all).iter().any(|r| r.number != revision && was_deployed(r));
                self.change(revision, None, "deployed", done(first)).await?;
            }
            all
        };
        for old in all.iter().filter(|r| r.number < revision && r.status == "deployed") {
            self.change(old.number, None, "superseded", |_| {}).await?;
        }
        Ok(())
    }

    /// Marks a revision as failed.
    pub async fn fail(&self, revision: u64, description: &str, hooks: &HookRuns) -> Result<(), ApiError> {
        let failed = |release: &mut Map<String, Value>| {
            hooks.note(release);
            part(release, "info").insert("description".into(), description.into());
        };
        // What somebody else made of it meanwhile stands, and so does what was deployed before the run failed.
        let all = self.revisions().await?;
        let is_under_way = |r: &Revision| r.number == revision && r.ours && r.status.starts_with("pending-");
        if all.iter().any(is_under_way) { self.change(revision, None, "failed", failed).await } else { Ok(()) }
    }

    /// Removes all records, the last of them at the end: as long as it is there, the release is.
    pub async fn forget(&self) -> Result<(), ApiError> {
        for revision in self.revisions().await? {
            self.api.delete(&self.address(revision.number), &revision.uid, "Background").await?;
        }
        Ok(())
    }

    /// Notes what became of hooks, and that all of an event have run; returns the record as it is then. `None` where it is
    /// gone: nobody goes on with it.
    pub async fn note_hooks(
        &self,
        revision: u64,
        known: Option<Opened>,
        event: &str,
        hooks: &HookRuns,
    ) -> Result<Option<Opened>, ApiError> {
        let address = self.address(revision);
        let mut known = known;
        loop {
            let is_fresh = known.is_none();
            let Opened { mut object, mut release } = match known.take() {
                Some(known) => known,
                None => match self.api.get(&address).await? {
                    Some(object) => Opened { release: self.decode(&object, revision)?, object },
                    None => return Ok(None),
                },
            };
            hooks.note(&mut release);
            let Some(all) = object.as_object_mut() else { return Ok(None) };
            part(all, "data").insert("release".into(), self.encode(&release));
            let annotations = part(part(all, "metadata"), "annotations");
            let others = events_run(annotations).filter(|known| *known != event);
            let events: Vec<&str> = others.chain([event]).collect();
            let events = events.join(",");
            annotations.insert(HOOKS.into(), events.into());
            match self.api.update(&address, &object).await {
                // It is not as we wrote it any more: it is read.
                Err(error) if !is_fresh && (error.is_conflict() || error.is_not_found()) => {}
                done => return done.map(|object| Some(Opened { object, release })),
            }
        }
    }

    /// Says whether it was noted that all hooks of an event have run.
    pub async fn have_hooks_run(&self, revision: u64, event: &str) -> Result<bool, ApiError> {
        let object = self.api.get(&self.address(revision)).await?.unwrap_or(Value::Null);
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        Ok(annotations.is_some_and(|annotations| events_run(annotations).any(|known| known == event)))
    }

    async fn set_status(&self, revision: u64, status: &str, description: &str) -> Result<(), ApiError> {
        let described = |release: &mut Map<String, Value>| {
            part(release, "info").insert("description".into(), description.into());
        };
        self.change(revision, None, status, described).await
    }

    /// Changes a record and sets its status; what we do not know of it stays as it is. It is read, unless it is known as we
    /// wrote it and nobody changed it since.
    async fn change(
        &self,
        revision: u64,
        known: Option<Opened>,
        status: &str,
        change: impl Fn(&mut Map<String, Value>),
    ) -> Result<(), ApiError> {
        if let Some(known) = known {
            match self.write(revision, known, status, &change).await {
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                done => return done,
            }
        }
        let Some(object) = self.api.get(&self.address(revision)).await? else {
            return Err(ApiError::Unexpected(format!("the record `{}` is gone", self.name(revision))));
        };
        let release = self.decode(&object, revision)?;
        self.write(revision, Opened { object, release }, status, &change).await
    }

    async fn write(
        &self,
        revision: u64,
        known: Opened,
        status: &str,
        change: impl Fn(&mut Map<String, Value>),
    ) -> Result<(), ApiError> {
        let Opened { mut object, mut release } = known;
        change(&mut release);
        part(&mut release, "info").insert("status".into(), status.into());
        let Some(all) = object.as_object_mut() else {
            return Err(ApiError::Unexpected(format!("the record `{}` is no object", self.name(revision))));
        };
        part(all, "data").insert("release".into(), self.encode(&release));
        part(part(all, "metadata"), "annotations").insert(OURS.into(), revision.to_string().into());
        let labels = part(part(all, "metadata"), "labels");
        labels.insert("status".into(), status.into());
        labels.insert("modifiedAt".into(), now().as_second().to_string().into());
        labels.shift_remove("createdAt");
        self.api.update(&self.address(revision), &object).await.map(drop)
    }
}

/// Says whether it was us who wrote a record last.
fn is_ours(object: &Value, revision: u64) -> bool {
    let mark = object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(OURS)?.as_str());
    mark == Some(&revision.to_string())
}

/// Returns the revisions since the release was uninstalled last: what was before is no release any more.
fn since_gone(all: &[Revision]) -> &[Revision] {
    let gone = all.iter().rposition(|r| r.status == "uninstalled").map_or(0, |at| at + 1);
    all.get(gone..).unwrap_or_default()
}

fn was_deployed(revision: &Revision) -> bool {
    matches!(revision.status.as_str(), "deployed" | "superseded")
}

/// The annotation of a record that names the events whose hooks have all run.
const HOOKS: &str = "stagewright/hooks-run";

fn events_run(annotations: &Map<String, Value>) -> impl Iterator<Item = &str> {
    annotations.get(HOOKS).and_then(Value::as_str).unwrap_or_default().split(',').filter(|event| !event.is_empty())
}

/// Lists the revisions of every release: in a namespace, or in all.
pub async fn all_revisions(
    api: &Api,
    driver: RecordDriver,
    namespace: Option<&str>,
) -> Result<Vec<RevisionFact>, ApiError> {
    let address = format!("{}?labelSelector={}", list_address(driver, namespace), word("owner=helm"));
    let list = api.request(http::Method::GET, &address, None, METADATA_ONLY).await?;
    let fact = |item: &Value| {
        let label = |key: &str| item.pointer("/metadata/labels")?.get(key)?.as_str();
        Some(RevisionFact {
            release: label("name")?.to_owned(),
            namespace: metadata(item, "namespace").to_owned(),
            revision: label("version")?.parse().ok()?,
            status: label("status").unwrap_or_default().to_owned(),
        })
    };
    let mut found: Vec<RevisionFact> = items(&list).filter_map(fact).collect();
    found.sort();
    Ok(found)
}

/// Reads records, in their order.
pub async fn read_records(
    api: &Api,
    rules: RecordRules,
    wanted: &[RevisionFact],
) -> Result<Vec<Option<Value>>, ApiError> {
    let read = |fact: &RevisionFact| {
        let (namespace, release, revision) = (fact.namespace.clone(), fact.release.clone(), fact.revision);
        async move { Records { api, rules, namespace: &namespace, release: &release }.record(revision).await }
    };
    let found = stream::iter(wanted.iter().map(read)).buffered(PARALLEL).collect::<Vec<_>>().await;
    found.into_iter().collect()
}

/// Reads what lists show of records, in their order; `None` where one is not there, or cannot be read.
pub async fn read_summaries(
    api: &Api,
    rules: RecordRules,
    wanted: &[RevisionFact],
) -> Result<Vec<Option<RevisionSummary>>, ApiError> {
    let read = |fact: &RevisionFact| {
        let (namespace, release, revision) = (fact.namespace.clone(), fact.release.clone(), fact.revision);
        async move { Records { api, rules, namespace: &namespace, release: &release }.summary(revision).await }
    };
    let found = stream::iter(wanted.iter().map(read)).buffered(PARALLEL).collect::<Vec<_>>().await;
    found.into_iter().collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn list_address(driver: RecordDriver, namespace: Option<&str>) -> String {
    let plural = match driver {
        RecordDriver::Secret => "secrets",
        RecordDriver::ConfigMap => "configmaps",
    };
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{}/{plural}", word(namespace)),
        None => format!("/api/v1/{plural}"),
    }
}

/// Returns the part of an object, which is made where it is none.
fn part<'a>(object: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = object.entry(key.to_owned()).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

/// The time of records. Nothing is decided by it.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// What became of the hooks of a release in a run.
#[derive(Default)]
pub struct HookRuns {
    /// The hooks of the release, by kind and name.
    known: BTreeSet<(String, String)>,
    runs: BTreeMap<(String, String), HookRun>,
}

struct HookRun {
    started: String,
    completed: String,
    phase: &'static str,
}

impl HookRuns {
    /// Reads which hooks a release has.
    pub fn of(release: &Value) -> Self {
        let text = |hook: &Value, key: &str| hook.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let hooks = release.get("hooks").and_then(Value::as_array).into_iter().flatten();
        Self { known: hooks.map(|hook| (text(hook, "kind"), text(hook, "name"))).collect(), runs: BTreeMap::new() }
    }

    /// Notes that something was written, which may be a hook.
    pub fn written(&mut self, kind: &str, name: &str, started: String, succeeded: bool) {
        let key = (kind.to_owned(), name.to_owned());
        if !self.known.contains(&key) {
            return;
        }
        let run = HookRun { started, completed: String::new(), phase: "Running" };
        self.runs.insert(key, run);
        // What runs is told about later.
        if !succeeded || !matches!(kind, "Job" | "Pod") {
            self.settled(kind, name, succeeded);
        }
    }

    /// Notes that it ran to its end.
    pub fn settled(&mut self, kind: &str, name: &str, succeeded: bool) {
        if let Some(run) = self.runs.get_mut(&(kind.to_owned(), name.to_owned())) {
            run.completed = now().to_string();
            run.phase = if succeeded { "Succeeded" } else { "Failed" };
        }
    }

    fn note(&self, release: &mut Map<String, Value>) {
        for hook in release.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten() {
            let text = |key: &str| hook.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let run = self.runs.get(&(text("kind"), text("name")));
            if let (Some(run), Some(hook)) = (run, hook.as_object_mut()) {
                let last = json!({"started_at": run.started, "completed_at": run.completed, "phase": run.phase});
                hook.insert("last_run".into(), last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_uninstalled_does_not_count() {
        let revision = |number: u64, status: &str| Revision {
            number,
            status: status.to_owned(),
            uid: String::new(),
            ours: false,
            touched: 0,
            labels: BTreeMap::new(),
        };
        let all = [revision(1, "superseded"), revision(2, "uninstalled"), revision(3, "pending-install")];
        let counted: Vec<u64> = since_gone(&all).iter().map(|r| r.number).collect();
        assert_eq!((counted, since_gone(&all[..2]).len(), since_gone(&all[..1]).len()), (vec![3], 0, 1));
    }

    #[test]
    fn what_became_of_hooks_is_noted_in_their_record() {
        let release = json!({"hooks": [{"kind": "Job", "name": "a"}, {"kind": "Secret", "name": "b"}, {"kind": "Job", "name": "c"}]});
        let mut runs = HookRuns::of(&release);
        runs.written("Job", "a", "1".into(), true);
        runs.written("Secret", "b", "2".into(), true);
        runs.written("ConfigMap", "x", "3".into(), true);
        runs.settled("ConfigMap", "x", true);
        runs.settled("Job", "a", false);
        let Value::Object(mut release) = release else { unreachable!() };
        runs.note(&mut release);
        let phase = |n: usize| release["hooks"][n]["last_run"]["phase"].clone();
        assert_eq!([phase(0), phase(1), phase(2)], [json!("Failed"), json!("Succeeded"), Value::Null]);
        assert_eq!(release["hooks"][0]["last_run"]["started_at"], "1");
    }
}
