//! A Kubernetes cluster as target.
//!
//! What lives here: [`ClusterTarget`], which answers what the server would make of manifests, and writes them. What does
//! not: which of them are written, in which order and what guards them (`plan`, `exec`).
//!
//! The one idea: server-side apply. A plan is a dry run of the same request that is sent later in earnest.
#![expect(clippy::disallowed_methods, reason = "what the server takes long for is waited for")]

mod api;
mod changes;
mod client;
mod connect;
mod discovery;
mod events;
mod fields;
mod limit;
mod lives;
mod lock;
mod login;
mod objects;
mod releases;
mod retry;
mod tracker;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use self::api::{Api, ApiError, ApiKind, Over, is_mistyped, word};
use self::connect::configuration;
pub use self::connect::{ClusterOptions, ConnectError};
use self::fields::{adopted, has_predecessor, is_taken_over, merged, replicas_left, stands, without_leftovers};
use self::lives::{Lives, Namespaces};
use self::objects::{cleaned, guarded, is_going, left, metadata, set, with_data_encoded, with_protocols};
use self::releases::{HookRuns, Opened, Records, all_revisions, read_records, read_summaries};
pub use self::releases::{RecordDriver, RecordRules};
use self::retry::{Retries, has_no_account, is_webhook};
use super::runtime::block_on;
use crate::observed::{Preview, ReleaseFact, WantedResource};
use crate::plan::{ClusterName, Layout, Propagation, RevisionSummary, Secrecy};
use crate::ports::{
    Lock, OUTDATED, ObjectQuery, ReleaseStore, RevisionFact, Standing, Target, TargetError, TargetSession, Values,
    shown_url,
};

/// Requests at once while planning.
const PARALLEL: usize = 16;
/// How long a definition may take until the server serves its kind.
const ESTABLISHED: Duration = Duration::from_mins(1);
/// How long a server may go on with a definition as it was.
const SERVED: Duration = Duration::from_secs(10);
/// How often something is tried that others may change meanwhile.
const MOST_TRIES: usize = 5;
/// How long an object may take until it is gone.
const GONE: Duration = Duration::from_mins(5);

/// A cluster that holds the resources of releases, and their records.
pub struct ClusterTarget {
    api: Arc<Api>,
    name: ClusterName,
    /// The proxy between, without its user.
    proxy: Option<String>,
    rules: RecordRules,
    /// Which cluster it is, once it was asked.
    uid: OnceLock<Option<String>>,
    /// The locks of others that were seen.
    sightings: Arc<lock::Sightings>,
    /// What is known of resources that become ready.
    looks: tracker::Looks,
}

impl ClusterTarget {
    /// Finds the cluster; nothing is sent yet.
    ///
    /// # Errors
    /// No kubeconfig, or it cannot be used.
    pub fn connect(options: &ClusterOptions) -> Result<Self, ConnectError> {
        block_on(async {
            let (config, name) = configuration(options).await?;
            let proxy = config.proxy_url.as_ref().map(|proxy| shown_url(proxy.to_string().trim_end_matches('/')));
            let (client, login) = client::client(config, &name.server)?;
            let retries = Retries::new(options.retry.unwrap_or(retry::LIMIT), options.tell.clone());
            let (api, rules) =
                (Arc::new(Api::new(client, login, retries, options.limit, options.validation)), options.records);
            Ok(Self {
                api,
                name,
                proxy,
                rules,
                uid: OnceLock::new(),
                sightings: Arc::default(),
                looks: tracker::Looks::default(),
            })
        })
    }

    /// Returns the records of a release, by the name that the plan has for it.
    fn records_of<'a>(&'a self, release: &'a str) -> Records<'a> {
        let (namespace, release) = split_release(release);
        Records { api: &self.api, rules: self.rules, namespace, release }
    }

    /// Names the cluster wherever it is reached: by its oldest namespace. `None` where that may not be seen.
    async fn ask_uid(&self) -> Result<Option<String>, ApiError> {
        let found = match self.api.get("/api/v1/namespaces/kube-system").await {
            Err(error) if error.refusal().is_some() => None,
            found => found?,
        };
        Ok(found.map(|found| metadata(&found, "uid").to_owned()).filter(|uid| !uid.is_empty()))
    }

    fn failed(&self, attempt: impl Into<String>) -> impl FnOnce(ApiError) -> TargetError {
        let attempt = format!("{} in the cluster {}", attempt.into(), self.name);
        move |error: ApiError| {
            let proxy = self.proxy.as_ref().filter(|_| error.is_of_connection());
            let attempt = proxy.map_or_else(|| attempt.clone(), |proxy| format!("{attempt} through the proxy {proxy}"));
            let kind = match &error {
                ApiError::Outdated(_) => OUTDATED,
                error if error.status().is_some_and(|status| status.code == 403) => {
                    std::io::ErrorKind::PermissionDenied
                }
                _ => std::io::ErrorKind::Other,
            };
            TargetError { attempt, source: std::io::Error::new(kind, error) }
        }
    }
}

/// A path of the plan: `NAMESPACE/KIND.GROUP/NAME`.
struct Place<'a> {
    namespace: Option<&'a str>,
    kind: &'a str,
    group: &'a str,
    name: &'a str,
}

impl<'a> Place<'a> {
    fn parse(path: &'a str) -> Result<Self, ApiError> {
        let wrong = || ApiError::Unexpected(format!("`{path}` names no resource of a cluster"));
        let mut parts = path.splitn(3, '/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or_else(wrong);
        let (namespace, kind, name) = (part()?, part()?, part()?);
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        Ok(Self { namespace: Some(namespace).filter(|n| *n != "-"), kind, group, name })
    }

    fn address(&self, kind: &ApiKind) -> String {
        kind.address(self.namespace, self.name)
    }
}

fn read_manifest(text: &str) -> Result<Value, ApiError> {
    let object =
        serde_json::from_str(text).map_err(|e| ApiError::Unexpected(format!("the manifest is no JSON: {e}")))?;
    Ok(with_protocols(with_data_encoded(object)))
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Finds the kind that a manifest names.
async fn kind_of(api: &Api, object: &Value) -> Result<ApiKind, ApiError> {
    let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    let no_kind = || ApiError::NoKind { kind: kind.to_owned(), group_version: version.to_owned() };
    api.kind(version, kind).await?.ok_or_else(no_kind)
}

/// Discovers the kinds of manifests ahead of those who need them. Who is not answered asks again, and says so.
async fn learn_kinds(wanted: &[WantedResource], api: &Api) {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "apiVersion")]
        version: String,
    }
    let head = |wanted: &WantedResource| serde_json::from_str::<Head>(wanted.manifest.as_ref()?).ok();
    let versions: BTreeSet<String> = wanted.iter().filter_map(|wanted| Some(head(wanted)?.version)).collect();
    let asked = stream::iter(versions.iter().map(|version| api.kinds_of(version)));
    asked.buffer_unordered(PARALLEL).for_each(|_| async {}).await;
}

/// What one question is answered in view of: the definitions and namespaces that are made in the same plan.
struct Made {
    kinds: BTreeSet<(String, String)>,
    definitions: Vec<Value>,
    namespaces: Namespaces,
}

impl Made {
    /// Nothing is asked.
    fn of(wanted: &[WantedResource]) -> (Self, BTreeSet<String>) {
        let (mut kinds, mut definitions, mut namespaces) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for resource in wanted {
            let manifest = resource.manifest.as_ref().filter(|_| {
                resource.path.contains("/Namespace/") || resource.path.contains("/CustomResourceDefinition.")
            });
            let Some(object) = manifest.and_then(|m| serde_json::from_str::<Value>(m).ok()) else { continue };
            if text(&object, "kind") == "Namespace" {
                namespaces.insert(metadata(&object, "name").to_owned());
            } else {
                let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                kinds.insert((of("/spec/group"), of("/spec/names/kind")));
                definitions.push(object);
            }
        }
        (Self { kinds, definitions, namespaces: Namespaces::default() }, namespaces)
    }

    /// Looks which of the namespaces are there.
    async fn look(wanted: &[WantedResource], api: &Api) -> Result<Self, ApiError> {
        let (mut made, namespaces) = Self::of(wanted);
        let look = |namespace: String| async move {
            let found = api.get(&format!("/api/v1/namespaces/{}", word(&namespace))).await;
            (namespace, found)
        };
        let looks = namespaces.into_iter().map(look).collect::<Vec<_>>();
        for (name, found) in stream::iter(looks).buffered(PARALLEL).collect::<Vec<_>>().await {
            match found {
                Ok(found) => drop(made.namespaces.insert(name, found)),
                // Who may not look at namespaces works within those that are there.
                Err(error) if error.refusal().is_some_and(|status| status.code == 403) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Says whether a namespace is not there yet: nothing is in it, and the server says no more of what comes.
    fn is_missing(&self, namespace: Option<&str>) -> bool {
        namespace.is_some_and(|namespace| self.namespaces.get(namespace) == Some(&None))
    }
}

/// Says whether a manifest says nothing but that there is an object: as of the namespace of a release.
fn is_only_named(object: &Value) -> bool {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    text(object, "kind") == "Namespace" && count("") == 3 && count("/metadata") == 1
}

/// Says whether it is a namespace of which nothing is wanted but that it is there.
fn is_bare_namespace(wanted: &WantedResource) -> bool {
    let object = wanted.manifest.as_ref().map(|manifest| serde_json::from_str::<Value>(manifest).unwrap_or_default());
    wanted.path.starts_with("-/Namespace/") && object.is_none_or(|object| is_only_named(&object))
}

async fn preview(api: &Api, wanted: &WantedResource, lives: &Lives, made: &Made) -> Result<Preview, ApiError> {
    let place = Place::parse(&wanted.path)?;
    let Some(manifest) = &wanted.manifest else {
        let live = lives.get(api, &wanted.path).await?;
        let content = live.as_ref().map(|live| guarded(live, None));
        return Ok(Preview { live: live.as_ref().map(cleaned), content, ..Preview::default() });
    };
    let object = read_manifest(manifest)?;
    let kind = match kind_of(api, &object).await {
        Ok(kind) => kind,
        Err(error @ ApiError::NoKind { .. }) => {
            let comes = made.kinds.contains(&(place.group.to_owned(), place.kind.to_owned()));
            if comes {
                // Nothing of the kind is there, or it is of an older version.
                let Some(live) = lives.get(api, &wanted.path).await? else { return Ok(Preview::default()) };
                return Ok(Preview {
                    after: Some(cleaned(&merged(Some(&live), &object))),
                    content: Some(guarded(&live, Some(&object))),
                    stays: Some(guarded(&live, None)),
                    live: Some(cleaned(&live)),
                    ..Preview::default()
                });
            }
            let other = api.preferred(place.group, place.kind).await?;
            let other = other.map(|kind| format!("; it serves {} in {}", place.kind, kind.group_version));
            let refused = Some(format!("{error}{}", other.unwrap_or_default()));
            return Ok(Preview { refused, ..Preview::default() });
        }
        Err(error) => return Err(error),
    };
    if kind.namespaced && made.is_missing(place.namespace) {
        return Ok(Preview::default());
    }
    let address = place.address(&kind);
    // A guard compares what stands there in the version that the server prefers.
    let preferred = match lives.get(api, &wanted.path).await {
        // A name that the server cannot even look for.
        Err(ApiError::Status(status)) if status.code == 400 => {
            return Ok(Preview { refused: Some(status.message), ..Preview::default() });
        }
        found => found?,
    };
    let content = preferred.as_ref().map(|live| guarded(live, Some(&object)));
    let stays = preferred.as_ref().map(|live| guarded(live, None));
    let found = match preferred {
        Some(_) if api.preferred(place.group, place.kind).await?.as_ref() != Some(&kind) => api.get(&address).await?,
        preferred => preferred,
    };
    let mut preview = Preview { live: found.as_ref().map(cleaned), content, stays, ..Preview::default() };
    preview.failed = found.as_ref().and_then(failure);
    if let Some(managers) = found.as_ref().and_then(|live| live.pointer("/metadata/managedFields")) {
        preview.managers = managers.clone();
    }
    if found.as_ref().is_some_and(|live| stands(live, &object) || is_only_named(&object)) {
        preview.after.clone_from(&preview.live);
        return Ok(preview);
    }
    let mut warnings = Vec::new();
    let mut answer = api.try_apply(&address, &object, false, &mut warnings).await;
    if let Err(error) = &answer
        && let Some(taken) = conflicts(error)
    {
        preview.taken = taken;
        answer = api.try_apply(&address, &object, true, &mut warnings).await;
    }
    // What the server says of what holds secrets may repeat them.
    preview.warnings = if is_discreet(&object) { Vec::new() } else { warnings };
    if let (Some(live), Ok(after)) = (&found, &answer)
        && has_predecessor(live)
    {
        preview.adopts = true;
        if let Some(mut object) = without_leftovers(live, after) {
            set(&mut object, &["metadata", "resourceVersion"], metadata(live, "resourceVersion").into());
            match api.try_update(&address, &object).await {
                Ok(after) => answer = Ok(after),
                // What cannot be removed stays, and stays theirs.
                Err(error) if error.refusal().is_some() => preview.adopts = false,
                Err(error) => return Err(error),
            }
        }
    }
    if let Err(error) = &answer
        && let Some(why) = no_dry_run(error)
    {
        let after = Some(cleaned(&merged(found.as_ref(), &object)));
        // Where nothing is to be written, nothing is missing.
        preview.blind = (preview.live != after).then_some(why);
        preview.after = after;
        return Ok(preview);
    }
    if let Err(error) = &answer
        && error.refusal().is_some_and(is_about_schema)
        && made.kinds.contains(&(place.group.to_owned(), place.kind.to_owned()))
        && definition_changes(api, &place, made).await?
    {
        // What the new definition says, only a server knows that has it.
        preview.after = Some(cleaned(&merged(found.as_ref(), &object)));
        return Ok(preview);
    }
    match answer {
        // One that is on its way out is made anew.
        Ok(after) if is_going(&after) => {}
        Ok(after) => preview.after = Some(cleaned(&after)),
        Err(error) => {
            let Some(status) = error.refusal() else { return Err(error) };
            let immutable = if found.is_some() { immutable_fields(status) } else { Vec::new() };
            if immutable.is_empty() {
                preview.refused = Some(refusal(status, &object));
            } else {
                preview.immutable = immutable;
            }
        }
    }
    Ok(preview)
}

/// Says why a Job has failed for good.
fn failure(live: &Value) -> Option<String> {
    let is_job = text(live, "kind") == "Job" && text(live, "apiVersion").starts_with("batch/");
    let conditions = live.pointer("/status/conditions").filter(|_| is_job)?.as_array()?;
    let failed = conditions.iter().find(|c| text(c, "type") == "Failed" && text(c, "status") == "True")?;
    Some(text(failed, "reason").to_owned())
}

/// Says why there can be no dry run, where that says nothing against the write itself.
fn no_dry_run(error: &ApiError) -> Option<String> {
    let status = error.status()?;
    let says = |text: &str| status.message.contains(text);
    // Source: Kubernetes, admission of webhooks with side effects, and RBAC.
    let unable = status.code == 400 && says("does not support dry run");
    let may_not = status.code == 403 && (says("cannot patch resource") || says("cannot create resource"));
    // Without the name of the object, so that one cause is told once.
    let message = status.message.split_once(" is forbidden: ").map_or(status.message.as_str(), |(_, why)| why);
    (unable || may_not || is_webhook(status) || has_no_account(status)).then(|| message.to_owned())
}

/// Returns the fields that others set, where that is why the server refuses.
fn conflicts(error: &ApiError) -> Option<Vec<(String, String)>> {
    let status = error.refusal().filter(|status| status.code == 409)?;
    let causes = &status.details.as_ref()?.causes;
    let fields: Vec<(String, String)> = causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
            (cause.field.trim_start_matches('.').to_owned(), manager.to_owned())
        })
        .collect();
    (!fields.is_empty()).then_some(fields)
}

/// Texts by which the server says that a field cannot be changed in place. Source: Kubernetes API validation.
const IMMUTABLE: [&str; 8] = [
    "immutable",
    "updates to statefulset spec for fields other than",
    "updates to parameters are forbidden",
    "cannot change roleRef",
    "pod updates may not change fields other than",
    "may not be changed",
    "may not change once set",
    "updates to provisioner are forbidden",
];

/// Returns the fields that stand in the way of an update in place, where nothing else does.
fn immutable_fields(status: &kube::core::Status) -> Vec<String> {
    if status.code != 422 {
        return Vec::new();
    }
    let causes: Vec<_> = status.details.iter().flat_map(|d| &d.causes).collect();
    if causes.is_empty() {
        return if is_immutable(&status.message) { vec!["spec".to_owned()] } else { Vec::new() };
    }
    // What is at fault for another reason is at fault in a new object, too.
    let is_meant = |cause: &kube::core::response::StatusCause| {
        matches!(cause.reason.as_str(), "FieldValueInvalid" | "FieldValueForbidden") && is_immutable(&cause.message)
    };
    if !causes.iter().all(|cause| is_meant(cause)) {
        return Vec::new();
    }
    let mut fields: Vec<String> = causes.iter().map(|cause| cause.field.clone()).collect();
    fields.dedup();
    fields
}

/// Says whether a message ends with one of the texts; what is before may be a value of the user.
fn is_immutable(message: &str) -> bool {
    let first = message.lines().next().unwrap_or_default();
    let said = if first.starts_with("Forbidden: ") { first } else { first.rsplit(": ").next().unwrap_or_default() };
    IMMUTABLE.iter().any(|known| said.contains(known))
}

/// Says whether the server refuses an object for what its kind is said to be. Source: Kubernetes, server-side apply and
/// validation of custom resources.
fn is_about_schema(status: &kube::core::Status) -> bool {
    is_mistyped(status) || status.code == 400 && status.message.contains("strict decoding error") || status.code == 422
}

/// Says whether the definition of a kind is written otherwise than it stands.
async fn definition_changes(api: &Api, place: &Place<'_>, made: &Made) -> Result<bool, ApiError> {
    let Some(definition) = made.definitions.iter().find(|definition| {
        let of = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
        of("/spec/group") == Some(place.group) && of("/spec/names/kind") == Some(place.kind)
    }) else {
        return Ok(false);
    };
    let kind = kind_of(api, definition).await?;
    let live = api.get(&kind.address(None, metadata(definition, "name"))).await?;
    Ok(live.is_none_or(|live| !stands(&live, definition)))
}

/// Says whether the server must not be quoted about an object: what it says may repeat values.
fn is_discreet(object: &Value) -> bool {
    text(object, "kind") == "Secret" || !Secrecy::of(object).is_empty()
}

/// Says that the server refuses, and why. Of what holds secrets, only the fields are told.
fn refusal(status: &kube::core::Status, object: &Value) -> String {
    if !is_discreet(object) {
        return format!("the API server refuses it: {}", status.message);
    }
    let fields: Vec<&str> = status.details.iter().flat_map(|d| &d.causes).map(|c| c.field.as_str()).collect();
    format!("the API server refuses it: {} {}", status.reason, fields.join(", ")).trim_end().to_owned()
}

/// Hides what the server says of what holds secrets.
fn discreet(error: ApiError, object: &Value) -> ApiError {
    if let ApiError::Outdated(error) = error {
        return ApiError::Outdated(Box::new(discreet(*error, object)));
    }
    match error.status() {
        Some(status) if is_discreet(object) => ApiError::Unexpected(refusal(status, object)),
        _ => error,
    }
}

fn version_of(object: &Value) -> Over {
    Over::Version(metadata(object, "uid").to_owned(), metadata(object, "resourceVersion").to_owned())
}

/// Says what keeps an object that is deleted.
fn holders(object: &Value) -> String {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = list.filter_map(Value::as_str).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("it waits for its finalizer {one}, which somebody must remove"),
        many => format!("it waits for its finalizers {}, which somebody must remove", many.join(", ")),
    }
}

/// Splits the name under which the plan knows a release in a cluster: `NAMESPACE/RELEASE`.
fn split_release(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("default", key))
}

impl Target for ClusterTarget {
    fn observe(&self, release: &str) -> Result<ReleaseFact, TargetError> {
        let records = self.records_of(release);
        // Which cluster it is will be asked, too; not before there is a connection.
        let uid = async { if self.uid.get().is_none() { self.ask_uid().await.ok() } else { None } };
        let (history, uid) = block_on(join(records.history(), uid));
        if let Some(uid) = uid {
            self.uid.get_or_init(|| uid);
        }
        let history = history.map_err(self.failed(format!("read the records of the release {release}")))?;
        let (history, last_revision) = history;
        Ok(ReleaseFact { history, last_revision, ..ReleaseFact::default() })
    }

    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let live = block_on(lives::live(&self.api, path)).map_err(self.failed(format!("read {path}")))?;
        Ok(live.as_ref().map(|live| guarded(live, None)))
    }

    fn standings(&self, wanted: &[WantedResource]) -> Result<Vec<Standing>, TargetError> {
        let found = block_on(async {
            let paths: Vec<String> = wanted.iter().map(|w| w.path.clone()).collect();
            let lives = Lives::read(&self.api, &paths, &Namespaces::default()).await?;
            let asked = stream::iter(paths.iter().map(|path| lives.get(&self.api, path)));
            asked.buffered(PARALLEL).collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()
        });
        let found = found.map_err(self.failed("read the resources"))?;
        let standing = |(wanted, live): (&WantedResource, &Option<Value>)| {
            let Some(live) = live else { return Ok(Standing::default()) };
            let manifest = wanted.manifest.as_ref().map(|manifest| read_manifest(manifest)).transpose()?;
            let parts = [metadata(live, "uid"), metadata(live, "resourceVersion")];
            // Servers of others may keep no versions.
            let version = parts.iter().all(|part| !part.is_empty()).then(|| parts.join("/"));
            Ok(Standing { content: Some(guarded(live, manifest.as_ref())), version })
        };
        let standings = wanted.iter().zip(&found).map(standing);
        standings.collect::<Result<_, ApiError>>().map_err(self.failed("read the manifests of the plan"))
    }

    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError> {
        let revisions = block_on(self.records_of(release).revisions());
        let revisions = revisions.map_err(self.failed(format!("list the records of the release {release}")))?;
        Ok(revisions.last().filter(|r| r.status != "uninstalled").map(|r| r.number))
    }

    fn preview(&self, wanted: &[WantedResource]) -> Result<Option<BTreeMap<String, Preview>>, TargetError> {
        let api = &self.api;
        let (made, ()) = block_on(join(Made::look(wanted, api), learn_kinds(wanted, api)));
        let made = &made.map_err(self.failed("read the namespaces"))?;
        let paths: Vec<String> = wanted.iter().map(|w| w.path.clone()).collect();
        let lives = block_on(Lives::read(api, &paths, &made.namespaces)).map_err(self.failed("read the resources"))?;
        let lives = &lives;
        let asked = stream::iter(wanted.iter().map(|w| async move { (w, preview(api, w, lives, made).await) }));
        let answers = block_on(asked.buffer_unordered(PARALLEL).collect::<Vec<_>>());
        let mut found = BTreeMap::new();
        for (wanted, answer) in answers {
            // Who may not look at the namespace of the release works within the one that is there.
            if answer.as_ref().is_err_and(|error| error.refusal().is_some_and(|status| status.code == 403))
                && is_bare_namespace(wanted)
            {
                continue;
            }
            let answer = answer.map_err(self.failed(format!("ask for a dry run of {}", wanted.path)))?;
            found.insert(wanted.path.clone(), answer);
        }
        Ok(Some(found))
    }

    fn budgets(&self, namespaces: &BTreeSet<String>) -> Result<Vec<Value>, TargetError> {
        block_on(discovery::budgets(&self.api, namespaces)).map_err(self.failed("list the budgets of disruption"))
    }

    fn holds(&self, path: &str, content: &[u8]) -> Result<bool, TargetError> {
        let mut manifest = String::from_utf8_lossy(content).into_owned();
        // Once they are left to others, others may have changed them.
        if let Ok(object) = serde_json::from_str::<Value>(&manifest)
            && let Cow::Owned(others) = left(&object)
            && self.are_replicas_left(path)?
        {
            manifest = others.to_string();
        }
        let wanted = WantedResource { path: path.to_owned(), manifest: Some(manifest) };
        let (made, _) = Made::of(std::slice::from_ref(&wanted));
        let preview = block_on(preview(&self.api, &wanted, &Lives::default(), &made));
        let preview = preview.map_err(self.failed(format!("ask for a dry run of {path}")))?;
        Ok(preview.live.is_some() && preview.live == preview.after)
    }

    fn is_opened(&self, release: &str, revision: u64, payload: &str) -> Result<bool, TargetError> {
        let Ok(payload) = serde_json::from_str::<Value>(payload) else { return Ok(false) };
        let opened = block_on(self.records_of(release).is_opened(revision, &payload));
        opened.map_err(self.failed(format!("read the records of the release {release}")))
    }

    fn is_recorded(&self, release: &str, revision: u64) -> Result<bool, TargetError> {
        let revisions = block_on(self.records_of(release).revisions());
        let revisions = revisions.map_err(self.failed(format!("list the records of the release {release}")))?;
        let deployed = |r: &releases::Revision| r.status == "deployed";
        // Those before it are superseded after it is deployed.
        Ok(revisions.iter().filter(|r| deployed(r)).count() == 1
            && revisions.last().is_some_and(|r| r.number == revision && deployed(r)))
    }

    fn have_hooks_run(&self, release: &str, revision: u64, event: &str) -> Result<bool, TargetError> {
        let found = block_on(self.records_of(release).have_hooks_run(revision, event));
        found.map_err(self.failed(format!("read the record of revision {revision} of {release}")))
    }

    fn layout(&self) -> Layout {
        Layout::Cluster
    }

    fn cluster(&self) -> Result<Option<ClusterName>, TargetError> {
        let uid = if let Some(known) = self.uid.get() {
            known.clone()
        } else {
            let asked = block_on(self.ask_uid()).map_err(self.failed("ask which one it is"))?;
            self.uid.get_or_init(|| asked).clone()
        };
        Ok(Some(ClusterName { uid, ..self.name.clone() }))
    }

    fn lock(&self) -> Option<&dyn Lock> {
        Some(self)
    }

    fn heed(&self, interrupted: &Arc<AtomicBool>, deadline: Option<Instant>) {
        self.api.retries().heed(interrupted, deadline);
    }

    fn is_taken_over(&self, path: &str) -> Result<bool, TargetError> {
        let live = block_on(lives::live(&self.api, path)).map_err(self.failed(format!("read {path}")))?;
        Ok(live.as_ref().is_some_and(is_taken_over))
    }

    fn are_replicas_left(&self, path: &str) -> Result<bool, TargetError> {
        let live = block_on(lives::live(&self.api, path)).map_err(self.failed(format!("read {path}")))?;
        Ok(live.is_some_and(|live| replicas_left(&live).is_none()))
    }

    fn kube_version(&self) -> Result<Option<String>, TargetError> {
        let version = block_on(discovery::kube_version(&self.api));
        version.map(Some).map_err(self.failed("ask for the version"))
    }

    fn api_versions(&self) -> Result<Option<Vec<String>>, TargetError> {
        let apis = block_on(discovery::api_versions(&self.api));
        apis.map(Some).map_err(self.failed("ask what is served"))
    }

    fn lookup(&self, query: &ObjectQuery<'_>) -> Result<Option<Value>, TargetError> {
        let ObjectQuery { api_version, kind, namespace, name } = *query;
        let found = block_on(discovery::lookup(&self.api, query));
        found.map_err(self.failed(format!("look up {kind} `{name}` of {api_version} in the namespace `{namespace}`")))
    }

    fn last_change(&self, path: &str, values: Values) -> Result<Option<String>, TargetError> {
        let live = block_on(lives::live(&self.api, path)).map_err(self.failed(format!("read {path}")))?;
        Ok(live.as_ref().and_then(|live| changes::last_change(live, values)))
    }

    fn tracker(&self) -> Option<&dyn crate::ports::Tracker> {
        Some(self)
    }

    fn release_driver(&self) -> Option<&'static str> {
        match self.rules.driver {
            RecordDriver::Secret => None,
            RecordDriver::ConfigMap => Some("configmap"),
        }
    }

    fn releases(&self) -> Option<&dyn ReleaseStore> {
        Some(self)
    }

    fn begin(&self) -> Result<Box<dyn TargetSession + '_>, TargetError> {
        Ok(Box::new(ClusterSession {
            target: self,
            opened: Mutex::default(),
            record: Mutex::default(),
            hooks: Mutex::default(),
            defined: Mutex::default(),
            seen: Mutex::default(),
        }))
    }
}

impl ReleaseStore for ClusterTarget {
    fn revisions(&self, namespace: &str, release: &str) -> Result<Vec<RevisionFact>, TargetError> {
        let records = Records { api: &self.api, rules: self.rules, namespace, release };
        let found = block_on(records.revisions());
        let found = found.map_err(self.failed(format!("list the records of the release {namespace}/{release}")))?;
        let fact = |revision: releases::Revision| RevisionFact {
            namespace: namespace.to_owned(),
            release: release.to_owned(),
            revision: revision.number,
            status: revision.status,
        };
        Ok(found.into_iter().map(fact).collect())
    }

    fn all_revisions(&self, namespace: Option<&str>) -> Result<Vec<RevisionFact>, TargetError> {
        let found = block_on(all_revisions(&self.api, self.rules.driver, namespace));
        let place = namespace.map_or("of all namespaces".to_owned(), |n| format!("of the namespace {n}"));
        found.map_err(self.failed(format!("list the releases {place}")))
    }

    fn records(&self, wanted: &[RevisionFact]) -> Result<Vec<Option<Value>>, TargetError> {
        block_on(read_records(&self.api, self.rules, wanted)).map_err(self.failed("read the records of releases"))
    }

    fn summaries(&self, wanted: &[RevisionFact]) -> Result<Vec<Option<RevisionSummary>>, TargetError> {
        block_on(read_summaries(&self.api, self.rules, wanted)).map_err(self.failed("read the records of releases"))
    }
}

/// A change of a cluster: each write is seen at once, and the record says when all are done.
struct ClusterSession<'a> {
    target: &'a ClusterTarget,
    /// The release and revision that are under way.
    opened: Mutex<Option<(String, u64)>>,
    /// Its record, as it was written.
    record: Mutex<Option<Opened>>,
    /// What became of its hooks.
    hooks: Mutex<HookRuns>,
    /// The kinds whose definitions were written, by group.
    defined: Mutex<BTreeSet<(String, String)>>,
    /// What was seen of resources of which something is to become, by path.
    seen: Mutex<BTreeMap<String, Over>>,
}

impl ClusterSession<'_> {
    fn opened(&self) -> std::sync::MutexGuard<'_, Option<(String, u64)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn defined(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.defined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Option<Opened>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Over>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was seen under a path; what is done there changes it.
    fn over(&self, path: &str) -> Over {
        self.seen().remove(path).unwrap_or_default()
    }

    fn hooks(&self) -> std::sync::MutexGuard<'_, HookRuns> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was written, which may be a hook.
    fn noted<T>(&self, path: &str, write: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
        let started = jiff::Timestamp::now().to_string();
        let written = write();
        if let Ok(place) = Place::parse(path) {
            self.hooks().written(place.kind, place.name, started, written.is_ok());
        }
        written
    }

    async fn apply(&self, path: &str, content: &[u8], over: &Over) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let object = read_manifest(&String::from_utf8_lossy(content))?;
        // A definition that was written a moment ago is not served yet.
        let start = Instant::now();
        let kind = loop {
            match kind_of(api, &object).await {
                Err(ApiError::NoKind { .. }) if start.elapsed() < ESTABLISHED && !api.retries().is_ending() => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    api.forget_kinds();
                }
                found => break found?,
            }
        };
        let address = place.address(&kind);
        let is_new = self.defined().contains(&(place.group.to_owned(), place.kind.to_owned()));
        let written = loop {
            match api.apply(&address, &object, over).await {
                // The server goes by the old definition for a moment.
                Err(error)
                    if is_new
                        && error.refusal().is_some_and(is_about_schema)
                        && start.elapsed() < SERVED
                        && !api.retries().is_ending() =>
                {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                written => break written.map_err(|error| discreet(error, &object))?,
            }
        };
        if is_going(&written) {
            self.wait_until_gone(&address, metadata(&written, "uid")).await?;
            api.apply(&address, &object, &Over::Nothing).await.map_err(|error| discreet(error, &object))?;
        }
        if place.kind == "CustomResourceDefinition" {
            let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            self.defined().insert((of("/spec/group"), of("/spec/names/kind")));
            self.wait_until_established(&address).await?;
        }
        Ok(())
    }

    async fn wait_until_established(&self, address: &str) -> Result<(), ApiError> {
        let start = Instant::now();
        while start.elapsed() < ESTABLISHED && !self.target.api.retries().is_ending() {
            let definition = self.target.api.get(address).await?.unwrap_or(Value::Null);
            let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
            let mut all = conditions.into_iter().flatten();
            let is = |c: &Value, kind: &str, status: &str| text(c, "type") == kind && text(c, "status") == status;
            if all.clone().any(|c| is(c, "Established", "True")) {
                self.target.api.forget_kinds();
                return Ok(());
            }
            if let Some(refused) = all.find(|c| is(c, "NamesAccepted", "False")) {
                let (reason, message) = (text(refused, "reason"), text(refused, "message"));
                return Err(ApiError::Unexpected(format!("its names are not accepted ({reason}): {message}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(ApiError::Late(format!("the definition is not established after {} s", start.elapsed().as_secs())))
    }

    /// Makes the replicas that were just set those of nobody in particular.
    async fn give_up_replicas(&self, path: &str, content: &[u8]) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let kind = kind_of(api, &read_manifest(&String::from_utf8_lossy(content))?).await?;
        let address = place.address(&kind);
        for _ in 0..MOST_TRIES {
            let Some(live) = api.get(&address).await? else { return Ok(()) };
            let Some(managers) = replicas_left(&live) else { return Ok(()) };
            // A controller may have written its status meanwhile.
            match api.set_managers(&address, metadata(&live, "resourceVersion"), &managers).await {
                Err(error) if error.is_conflict() => {}
                done => return done.map(drop),
            }
        }
        Err(ApiError::Late(format!("it was changed {MOST_TRIES} times while its replicas were left to others")))
    }

    /// Deletes what stands under a path, and waits until it is gone. What becomes of its own says the object that follows,
    /// or it itself.
    async fn remove(&self, path: &str, next: &[u8], over: &Over) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let Some(kind) = api.preferred(place.group, place.kind).await? else { return Ok(()) };
        let address = place.address(&kind);
        let Some(object) = api.get(&address).await? else { return Ok(()) };
        let uid = metadata(&object, "uid");
        if !is_going(&object) {
            let next = serde_json::from_slice(next).unwrap_or(Value::Null);
            let propagation = Propagation::of(&next).or_else(|| Propagation::of(&object));
            api.delete_over(&address, uid, over, propagation.unwrap_or(Propagation::Foreground).name()).await?;
        }
        self.wait_until_gone(&address, uid).await
    }

    async fn wait_until_gone(&self, address: &str, uid: &str) -> Result<(), ApiError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let Some(now) = self.target.api.get(address).await?.filter(|now| metadata(now, "uid") == uid) else {
                return Ok(());
            };
            if start.elapsed() >= GONE || self.target.api.retries().is_ending() {
                let held = holders(&now);
                let told = format!("it is not gone after {} s", start.elapsed().as_secs());
                return Err(ApiError::Late(if held.is_empty() { told } else { format!("{told}: {held}") }));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    /// Makes the fields ours that predecessors set.
    async fn take_over(&self, path: &str, content: &[u8]) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let object = read_manifest(&String::from_utf8_lossy(content))?;
        let kind = kind_of(api, &object).await?;
        let address = place.address(&kind);
        let Some(live) = api.get(&address).await? else { return Ok(()) };
        let Some(managers) = adopted(&live) else { return Ok(()) };
        let version = match self.over(path) {
            Over::Version(_, version) => version,
            Over::Anything | Over::Nothing => metadata(&live, "resourceVersion").to_owned(),
        };
        match api.set_managers(&address, &version, &managers).await {
            Err(error) if error.is_conflict() => Err(ApiError::Outdated(Box::new(discreet(error, &object)))),
            Err(error) => Err(discreet(error, &object)),
            Ok(taken) => {
                self.seen().insert(path.to_owned(), version_of(&taken));
                Ok(())
            }
        }
    }

    async fn delete_only(&self, path: &str) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let Some(kind) = api.preferred(place.group, place.kind).await? else { return Ok(()) };
        let address = place.address(&kind);
        let Some(object) = api.get(&address).await?.filter(|object| !is_going(object)) else { return Ok(()) };
        let propagation = Propagation::of(&object).unwrap_or(Propagation::Background);
        api.delete_over(&address, metadata(&object, "uid"), &self.over(path), propagation.name()).await
    }
}

impl TargetSession for ClusterSession<'_> {
    fn open(&self, release: &str, revision: u64, payload: &str) -> Result<(), TargetError> {
        let failed = self.target.failed(format!("record that revision {revision} of {release} is under way"));
        let opened = block_on(async {
            let wrong = |e| ApiError::Unexpected(format!("the record of the plan is no JSON: {e}"));
            let payload: Value = serde_json::from_str(payload).map_err(wrong)?;
            *self.hooks() = HookRuns::of(&payload);
            self.target.records_of(release).open(revision, payload).await
        });
        // What is being deleted stays so until it is gone.
        if let Some(record) = opened.map_err(failed)? {
            *self.opened() = Some((release.to_owned(), revision));
            *self.record() = Some(record);
        }
        Ok(())
    }

    fn reopen(&self, release: &str, revision: u64, payload: &str) {
        let payload: Value = serde_json::from_str(payload).unwrap_or(Value::Null);
        *self.hooks() = HookRuns::of(&payload);
        if payload.pointer("/info/status").is_none_or(|status| status != "uninstalling") {
            *self.opened() = Some((release.to_owned(), revision));
        }
    }

    fn record_hooks(&self, release: &str, revision: u64, event: &str) -> Result<(), TargetError> {
        let known = self.record().take();
        let noted = block_on(self.target.records_of(release).note_hooks(revision, known, event, &self.hooks()));
        let failed = self.target.failed(format!("record that the hooks {event} of {release} have run"));
        *self.record() = noted.map_err(failed)?;
        Ok(())
    }

    fn expect(&self, path: &str, seen: &Standing) {
        let version = seen.version.as_ref().and_then(|version| version.split_once('/'));
        let over = match (version, &seen.content) {
            (Some((uid, version)), _) => Over::Version(uid.to_owned(), version.to_owned()),
            (None, None) => Over::Nothing,
            (None, Some(_)) => Over::Anything,
        };
        self.seen().insert(path.to_owned(), over);
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<(), TargetError> {
        let over = self.over(path);
        let written = self.noted(path, || block_on(self.apply(path, content, &over)));
        written.map_err(self.target.failed(format!("apply {path}")))
    }

    fn adopt(&self, path: &str, content: &[u8]) -> Result<(), TargetError> {
        block_on(self.take_over(path, content)).map_err(self.target.failed(format!("take over the fields of {path}")))
    }

    fn leave_replicas(&self, path: &str, content: &[u8]) -> Result<(), TargetError> {
        let left = block_on(self.give_up_replicas(path, content));
        left.map_err(self.target.failed(format!("leave the replicas of {path} to others")))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), TargetError> {
        let replaced = self.noted(path, || {
            block_on(async {
                self.remove(path, content, &self.over(path)).await?;
                self.apply(path, content, &Over::Nothing).await
            })
        });
        replaced.map_err(self.target.failed(format!("replace {path}")))
    }

    fn delete(&self, path: &str) -> Result<(), TargetError> {
        block_on(self.delete_only(path)).map_err(self.target.failed(format!("delete {path}")))
    }

    fn commit(&self, release: &str, revision: u64, _: &Value) -> Result<(), TargetError> {
        let (record, hooks) = (self.record().take(), self.hooks());
        let finished = block_on(self.target.records_of(release).finish(revision, record, &hooks));
        finished.map_err(self.target.failed(format!("record revision {revision} of {release} as deployed")))?;
        *self.opened() = None;
        Ok(())
    }

    fn forget(&self, release: &str) -> Result<(), TargetError> {
        let forgotten = block_on(self.target.records_of(release).forget());
        forgotten.map_err(self.target.failed(format!("remove the records of {release}")))?;
        // The lock of the release goes with the namespace that was its own.
        self.target.api.fence(None);
        Ok(())
    }

    fn settled(&self, path: &str, succeeded: bool) {
        if let Ok(place) = Place::parse(path) {
            self.hooks().settled(place.kind, place.name, succeeded);
        }
    }

    fn abandon(&self, why: &str) {
        let Some((release, revision)) = self.opened().take() else { return };
        // The run has failed, and says why. A record that stays under way is marked by the next run.
        let _ = block_on(self.target.records_of(&release).fail(revision, why, &self.hooks()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(causes: &[(&str, &str, &str)]) -> Vec<String> {
        let cause = |(reason, message, field): &(&str, &str, &str)| json!({"reason": reason, "message": message, "field": field});
        let causes: Vec<Value> = causes.iter().map(cause).collect();
        let status =
            json!({"code": 422, "reason": "Invalid", "message": "it is invalid", "details": {"causes": causes}});
        immutable_fields(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn only_what_is_immutable_and_nothing_else_is_a_replacement() {
        let selector = ("FieldValueInvalid", "Invalid value: {\"a\": \"b\"}: field is immutable", "spec.selector");
        let missing =
            ("FieldValueNotFound", "Not found: \"cache\"", "spec.template.spec.containers[0].volumeMounts[0].name");
        assert_eq!(refused(&[selector]), ["spec.selector"]);
        assert_eq!(refused(&[selector, missing]), Vec::<String>::new());
        let named = ("FieldValueNotFound", "Not found: \"immutable-cache\"", "spec.containers[0].volumeMounts[0].name");
        assert_eq!(refused(&[named]), Vec::<String>::new());
        let value =
            ("FieldValueInvalid", "Invalid value: \"immutable: x\": must be a DNS label", "spec.containers[0].name");
        assert_eq!(refused(&[value]), Vec::<String>::new());
        let pods =
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`\n diff: \"x\": 1";
        assert_eq!(refused(&[("FieldValueForbidden", pods, "spec")]), ["spec"]);
    }
}
