//! A Kubernetes cluster as target.
//!
//! What lives here: [`ClusterTarget`], which answers what the server would make of manifests (`preview`), and writes them
//! (`session`). What does not: which of them are written, in which order and what guards them (`plan`, `exec`).
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
mod preview;
mod releases;
mod retry;
mod session;
mod tracker;
mod werf_lock;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use self::api::{Api, ApiError, ApiKind};
use self::connect::configuration;
pub use self::connect::{ClusterOptions, ConnectError};
use self::fields::{is_taken_over, replicas_left};
use self::lives::{Lives, Namespaces};
use self::objects::{guarded, left, metadata, with_data_encoded, with_protocols};
use self::preview::{Made, is_bare_namespace, learn_kinds, preview};
use self::releases::{Recent, Records, all_revisions, read_records, read_summaries};
pub use self::releases::{RecordDriver, RecordRules};
use self::retry::Retries;
use self::session::ClusterSession;
use super::runtime::block_on;
use crate::observed::{Preview, ReleaseFact, WantedResource};
use crate::plan::{ClusterName, Layout, RevisionSummary};
use crate::ports::{
    Lock, OUTDATED, ObjectQuery, Over, ReleaseStore, RevisionFact, Standing, Target, TargetError, TargetSession,
    Values, shown_url,
};

/// Requests at once while planning.
const PARALLEL: usize = 16;

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
    /// The revisions of the release that was looked at last.
    recent: Arc<Recent>,
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
            let (api, rules) = (Arc::new(Api::new(client, login, retries, options.limit)), options.records);
            Ok(Self {
                api,
                name,
                proxy,
                rules,
                uid: OnceLock::new(),
                sightings: Arc::default(),
                recent: Arc::default(),
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
            let is_denied = error.status().is_some_and(|status| status.code == 403);
            let kind = if matches!(error, ApiError::Outdated(_)) {
                OUTDATED
            } else if is_denied {
                std::io::ErrorKind::PermissionDenied
            } else {
                std::io::ErrorKind::Other
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

/// Splits the name under which the plan knows a release in a cluster: `NAMESPACE/RELEASE`.
fn split_release(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("default", key))
}

impl Target for ClusterTarget {
    fn observe(&self, release: &str) -> Result<ReleaseFact, TargetError> {
        let records = self.records_of(release);
        self.recent.forget();
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
            let Some(live) = live else { return Ok(Standing { content: None, over: Over::Nothing }) };
            let manifest = wanted.manifest.as_ref().map(|manifest| read_manifest(manifest)).transpose()?;
            Ok(Standing { content: Some(guarded(live, manifest.as_ref())), over: Over::of(live) })
        };
        let standings = wanted.iter().zip(&found).map(standing);
        standings.collect::<Result<_, ApiError>>().map_err(self.failed("read the manifests of the plan"))
    }

    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError> {
        let revisions = block_on(self.recent.of(&self.records_of(release)));
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
        Ok(Box::new(ClusterSession::new(self)))
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
