//! What the annotations of a resource say of its deploy: order, dependencies, tracking, deletion.
//!
//! What lives here: [`Directives`], read from a manifest, with a [`Fault`] for each value that means nothing. What does not:
//! the order that follows (`order`), and the tracking itself (`exec`).
//!
//! The one idea: a directive that cannot be read is a fault at plan time, and then counts as not written.
//! Source: Nelm 1.30, Helm 3.20.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secrecy::{Secrecy, read_paths};
use super::tracking::{FailMode, Tracking};
use crate::diag::did_you_mean;

/// What the annotations of a resource say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// Order among others, ascending.
    pub weight: i64,
    /// What must be there, or ready, before it is written.
    pub dependencies: Vec<Dependency>,
    /// What must be gone before it is deleted.
    pub delete_dependencies: Vec<Dependency>,
    /// The same as `dependencies`, of what is not part of the release.
    pub external: Vec<External>,
    /// How it is tracked; `None` where it is not.
    pub tracking: Option<Tracking>,
    /// What becomes of it before and after.
    pub delete_policies: BTreeSet<DeletePolicy>,
    /// What is never done with it.
    pub resource_policies: BTreeSet<ResourcePolicy>,
    /// Replicas of a new workload, where others set them later.
    pub replicas_on_creation: Option<u64>,
    /// When it is deployed, and in which stage; empty where nothing is said.
    pub deploy_on: BTreeSet<(DeployType, DeployStage)>,
    /// How what it owns goes along with it.
    pub propagation: Option<Propagation>,
    /// Which of its values are not shown.
    pub secrecy: Secrecy,
}

impl Directives {
    /// Returns the stage in which it is deployed by an install or upgrade; `None` where it is not.
    pub fn stage(&self, now: DeployType) -> Option<DeployStage> {
        if self.deploy_on.is_empty() {
            return Some(DeployStage::Main);
        }
        self.deploy_on.iter().find(|(on, _)| *on == now).map(|(_, stage)| *stage)
    }
}

/// What a deploy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are werf's")]
pub enum DeployType {
    Install,
    Upgrade,
    Rollback,
    Delete,
    Test,
}

/// Parts of a deploy, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are werf's")]
pub enum DeployStage {
    Pre,
    #[default]
    Main,
    Post,
}

/// What becomes of the objects that an object owns when it is deleted. Source: Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go afterwards.
    Background,
    /// They stay, and may be adopted.
    Orphan,
}

impl Propagation {
    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreground => "Foreground",
            Self::Background => "Background",
            Self::Orphan => "Orphan",
        }
    }

    /// Reads what an object says of itself.
    pub fn of(object: &Value) -> Option<Self> {
        let text = object.get("metadata")?.get("annotations")?.get("werf.io/delete-propagation")?.as_str()?;
        PROPAGATIONS.iter().find(|(name, _)| *name == text.trim()).map(|(_, found)| *found)
    }
}

/// Until when a dependency is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependencyState {
    /// It is there.
    Present,
    /// It is ready.
    #[default]
    Ready,
}

/// A dependency on resources of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// The annotation that says so.
    pub key: String,
    /// Until when it is waited for.
    pub state: DependencyState,
    /// The kind.
    pub kind: Option<String>,
    /// The API group.
    pub group: Option<String>,
    /// The version of the group.
    pub version: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
}

impl Dependency {
    /// Says whether a resource is meant.
    pub fn matches(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(found));
        is(&self.kind, kind)
            && is(&self.group, group)
            && is(&self.version, version)
            && is(&self.name, name)
            && is(&self.namespace, namespace.unwrap_or_default())
    }
}

/// A dependency on a resource outside the release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// The annotation that says so.
    pub key: String,
    /// Until when it is waited for.
    pub state: DependencyState,
    /// The kind, as written: `deployments`, `Deployment`, `dp`.
    pub kind: String,
    /// The API group; empty where the kind alone says it.
    pub group: String,
    /// The name.
    pub name: String,
    /// The namespace; that of the release where nothing is said.
    pub namespace: Option<String>,
}

/// What becomes of an object before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    /// It is deleted before it is created.
    BeforeCreation,
    /// It is deleted and created where it cannot be changed in place.
    BeforeCreationIfImmutable,
    /// It is deleted once it is ready.
    Succeeded,
    /// It is deleted when it failed.
    Failed,
}

/// What is never done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are werf's")]
pub enum ResourcePolicy {
    SkipCreate,
    SkipUpdate,
    SkipRecreate,
    SkipDelete,
}

/// An annotation whose value means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The annotation.
    pub key: String,
    /// What is wrong with its value.
    pub message: String,
    /// What it takes; of one that is not known, what may be meant.
    pub takes: String,
    /// Whether nobody knows an annotation of this name.
    pub is_unknown: bool,
}

/// Says whether an object belongs to no release though one makes it: it carries no marks, and is never deleted.
pub fn is_of_anyone(data: &Value) -> bool {
    let annotation = data.pointer("/metadata/annotations").and_then(|a| a.get("werf.io/ownership")?.as_str());
    annotation.is_some_and(|text| text.trim() == "anyone")
}

/// The names after `werf.io/` that are known, and beginnings of names. Source: werf 2 and Nelm.
const NAMES: [&str; 33] = [
    "weight",
    "ownership",
    "deploy-dependency-",
    "delete-dependency-",
    "delete-policy",
    "resource-policy",
    "replicas-on-creation",
    "deploy-on",
    "delete-propagation",
    "sensitive",
    "sensitive-paths",
    "track-termination-mode",
    "fail-mode",
    "failures-allowed-per-replica",
    "no-activity-timeout",
    "skip-logs",
    "show-service-messages",
    "skip-logs-for-containers",
    "show-logs-only-for-containers",
    "show-logs-only-for-number-of-replicas",
    "log-regex",
    "log-regex-skip",
    "log-regex-for-",
    "log-regex-skip-for-",
    "ignore-readiness-probe-fails-for-",
    // What werf writes itself, or wrote.
    "version",
    "release-channel",
    "recreate",
    "set-replicas-only-on-creation",
    "logs-color",
    "log-watch-regex",
    "log-watch-regex-for-",
    "enable-debug",
];

/// A resource whose controller is not one of Kubernetes itself may never say that it is ready. Unit: seconds.
const SILENT_S: u64 = 240;
/// Many clusters give no addresses to Services. Unit: seconds.
const NO_ADDRESS_S: u64 = 60;

const DELETE_POLICIES: &[(&str, DeletePolicy)] = &[
    ("before-creation", DeletePolicy::BeforeCreation),
    ("before-creation-if-immutable", DeletePolicy::BeforeCreationIfImmutable),
    ("succeeded", DeletePolicy::Succeeded),
    ("failed", DeletePolicy::Failed),
];

const RESOURCE_POLICIES: &[(&str, ResourcePolicy)] = &[
    ("skip-create", ResourcePolicy::SkipCreate),
    ("skip-update", ResourcePolicy::SkipUpdate),
    ("skip-recreate", ResourcePolicy::SkipRecreate),
    ("skip-delete", ResourcePolicy::SkipDelete),
    ("keep", ResourcePolicy::SkipDelete),
];

const PROPAGATIONS: &[(&str, Propagation)] = &[
    ("Foreground", Propagation::Foreground),
    ("Background", Propagation::Background),
    ("Orphan", Propagation::Orphan),
];

const DEPLOY_TYPES: &[(&str, DeployType)] = &[
    ("install", DeployType::Install),
    ("upgrade", DeployType::Upgrade),
    ("rollback", DeployType::Rollback),
    ("delete", DeployType::Delete),
    ("uninstall", DeployType::Delete),
    ("test", DeployType::Test),
];

const FAIL_MODES: &[(&str, FailMode)] = &[
    ("FailWholeDeployProcessImmediately", FailMode::Stop),
    ("IgnoreAndContinueDeployProcess", FailMode::Ignore),
    ("HopeUntilEndOfDeployProcess", FailMode::Hope),
];

/// Kinds whose pods may fail once: they are started again. Source: Nelm.
const RESTARTED: &[&str] = &["Deployment", "StatefulSet", "DaemonSet", "Canary"];

/// Reads the annotations of a manifest.
pub fn read_directives(data: &Value) -> (Directives, Vec<Fault>) {
    let mut reader = Reader {
        directives: Directives::default(),
        tracking: Tracking::default(),
        untracked: false,
        faults: Vec::new(),
    };
    let kind = data.get("kind").and_then(Value::as_str).unwrap_or_default();
    reader.tracking.failures_allowed = u64::from(RESTARTED.contains(&kind));
    let version = data.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if group.contains('.') && !group.ends_with(".k8s.io") {
        reader.tracking.no_activity_s = Some(SILENT_S);
    }
    if (version, kind) == ("v1", "Service") && data.pointer("/spec/type").is_some_and(|of| of == "LoadBalancer") {
        (reader.tracking.no_activity_s, reader.tracking.fail_mode) = (Some(NO_ADDRESS_S), FailMode::Ignore);
    }
    let mut externals: BTreeMap<String, External> = BTreeMap::new();
    let annotations = data.pointer("/metadata/annotations").and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        reader.annotation(key, value, &mut externals);
    }
    let never_restarted = data.pointer("/spec/template/spec/restartPolicy").is_some_and(|p| p == "Never");
    if kind == "Job" || never_restarted {
        reader.tracking.failures_allowed = 0;
    }
    for external in externals.into_values() {
        if external.kind.is_empty() {
            let takes =
                format!("a second annotation `{}/resource`: kind/name", external.key.trim_end_matches("/namespace"));
            reader.fault(&external.key, "it names no resource", &takes);
        } else {
            reader.directives.external.push(external);
        }
    }
    if matches!(kind, "CustomResourceDefinition" | "Namespace") {
        reader.directives.weight = 0;
    }
    let mut directives = reader.directives;
    if !reader.untracked {
        directives.tracking = Some(reader.tracking);
    }
    (directives, reader.faults)
}

struct Reader {
    directives: Directives,
    tracking: Tracking,
    untracked: bool,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, key: &str, message: &str, takes: &str) {
        let (key, message, takes) = (key.to_owned(), message.to_owned(), takes.to_owned());
        self.faults.push(Fault { key, message, takes, is_unknown: false });
    }

    fn annotation(&mut self, key: &str, value: &str, externals: &mut BTreeMap<String, External>) {
        if let Some((id, rest)) = key.split_once(".external-dependency.werf.io") {
            return self.external(id, rest, key, value, externals);
        }
        if let Some(id) = key.strip_suffix(".dependency.werf.io") {
            return self.legacy_dependency(id, key, value);
        }
        match key {
            "helm.sh/resource-policy" => match value.trim() {
                "keep" => drop(self.directives.resource_policies.insert(ResourcePolicy::SkipDelete)),
                _ => self.fault(key, &format!("`{value}` is no resource policy of Helm"), "keep"),
            },
            _ => {
                if let Some(name) = key.strip_prefix("werf.io/") {
                    self.werf(name, key, value);
                }
            }
        }
    }

    /// Notes an annotation that means nothing to anybody.
    fn unknown(&mut self, name: &str, key: &str) {
        let is_known = |known: &&str| name == *known || known.ends_with('-') && name.starts_with(*known);
        if NAMES.iter().any(is_known) {
            return;
        }
        let near = did_you_mean(name, NAMES);
        let takes = near.map_or_else(String::new, |near| format!("is `werf.io/{near}` meant?"));
        let (key, message) = (key.to_owned(), "nothing knows it, and nothing comes of it".to_owned());
        self.faults.push(Fault { key, message, takes, is_unknown: true });
    }

    fn werf(&mut self, name: &str, key: &str, value: &str) {
        if name.starts_with("deploy-dependency-") {
            return self.dependency(key, value, false);
        }
        if name.starts_with("delete-dependency-") {
            return self.dependency(key, value, true);
        }
        let list = |value: &str| -> BTreeSet<String> {
            value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        };
        match name {
            "weight" => match value.trim().parse() {
                Ok(weight) => self.directives.weight = weight,
                Err(_) => self.fault(key, &format!("`{value}` is no whole number"), "a whole number"),
            },
            // Read where manifests become resources.
            "ownership" => drop(self.words(key, value, &[("release", ()), ("anyone", ())])),
            "delete-policy" => {
                self.directives.delete_policies = self.words(key, value, DELETE_POLICIES).into_iter().collect();
            }
            "resource-policy" => {
                let policies = self.words(key, value, RESOURCE_POLICIES);
                self.directives.resource_policies.extend(policies);
            }
            "replicas-on-creation" => self.directives.replicas_on_creation = self.count(key, value),
            "deploy-on" => self.deploy_on(key, value),
            "delete-propagation" => {
                self.directives.propagation = self.words(key, value, PROPAGATIONS).first().copied();
            }
            "sensitive" => {
                if self.flag(key, value) {
                    self.directives.secrecy.all = true;
                }
            }
            "sensitive-paths" => match read_paths(value) {
                Ok(paths) => self.directives.secrecy.paths = paths,
                Err(path) => {
                    // What was meant to be hidden is hidden.
                    self.directives.secrecy.all = true;
                    self.fault(key, &format!("`{path}` is no path"), "paths such as $.data.token, $.spec.env[*].value");
                }
            },
            "track-termination-mode" => match value.trim() {
                "WaitUntilResourceReady" => self.untracked = false,
                "NonBlocking" => self.untracked = true,
                _ => self.fault(
                    key,
                    &format!("`{value}` is no mode of tracking"),
                    "WaitUntilResourceReady or NonBlocking",
                ),
            },
            "fail-mode" => {
                if let Some(mode) = self.words(key, value, FAIL_MODES).first() {
                    self.tracking.fail_mode = *mode;
                }
            }
            "failures-allowed-per-replica" => {
                if let Some(count) = self.count(key, value) {
                    self.tracking.failures_allowed = count;
                }
            }
            "no-activity-timeout" => self.tracking.no_activity_s = self.duration(key, value),
            "skip-logs" => self.tracking.logs.skip = self.flag(key, value),
            "show-service-messages" => self.tracking.events = self.flag(key, value),
            "skip-logs-for-containers" => self.tracking.logs.skip_containers = list(value),
            "show-logs-only-for-containers" => self.tracking.logs.only_containers = list(value),
            "show-logs-only-for-number-of-replicas" => {
                if let Some(count) = self.count(key, value) {
                    self.tracking.logs.replicas = count;
                }
            }
            "log-regex" => self.tracking.logs.only = self.regex(key, value),
            "log-regex-skip" => self.tracking.logs.hide = self.regex(key, value),
            _ => {
                if let Some(container) = name.strip_prefix("log-regex-for-") {
                    if let Some(regex) = self.regex(key, value) {
                        self.tracking.logs.only_of.insert(container.to_owned(), regex);
                    }
                } else if let Some(container) = name.strip_prefix("log-regex-skip-for-") {
                    if let Some(regex) = self.regex(key, value) {
                        self.tracking.logs.hide_of.insert(container.to_owned(), regex);
                    }
                } else if let Some(container) = name.strip_prefix("ignore-readiness-probe-fails-for-")
                    && let Some(seconds) = self.duration(key, value)
                {
                    self.tracking.ignore_readiness_s.insert(container.to_owned(), seconds);
                } else {
                    self.unknown(name, key);
                }
            }
        }
    }

    fn deploy_on(&mut self, key: &str, value: &str) {
        for word in value.split(',').map(str::trim) {
            let (stage, name) = match word.split_once('-') {
                Some(("pre", rest)) => (DeployStage::Pre, rest),
                Some(("post", rest)) => (DeployStage::Post, rest),
                Some(_) | None => (DeployStage::Main, word),
            };
            if let Some((_, on)) = DEPLOY_TYPES.iter().find(|(known, _)| *known == name) {
                self.directives.deploy_on.insert((*on, stage));
            } else {
                let takes = "install, upgrade, rollback, delete, each also with pre- and post-, and test";
                self.fault(key, &format!("`{word}` is none of what it takes"), takes);
            }
        }
    }

    fn words<T: Copy>(&mut self, key: &str, value: &str, known: &[(&str, T)]) -> Vec<T> {
        let mut found = Vec::new();
        for word in value.split(',').map(str::trim) {
            if let Some((_, policy)) = known.iter().find(|(name, _)| *name == word) {
                found.push(*policy);
            } else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                self.fault(key, &format!("`{word}` is none of what it takes"), &names.join(", "));
            }
        }
        found
    }

    fn count(&mut self, key: &str, value: &str) -> Option<u64> {
        let count = value.trim().parse().ok();
        if count.is_none() {
            self.fault(key, &format!("`{value}` is no count"), "a whole number from 0");
        }
        count
    }

    fn flag(&mut self, key: &str, value: &str) -> bool {
        match value.trim() {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => true,
            "false" | "0" | "f" | "F" | "FALSE" | "False" => false,
            _ => {
                self.fault(key, &format!("`{value}` is neither true nor false"), "true or false");
                false
            }
        }
    }

    fn duration(&mut self, key: &str, value: &str) -> Option<u64> {
        let seconds = go_duration(value.trim());
        if seconds.is_none() {
            self.fault(key, &format!("`{value}` is no duration"), "a duration, for example 4m or 1h30m");
        }
        seconds
    }

    fn regex(&mut self, key: &str, value: &str) -> Option<String> {
        let is_regex = regex::Regex::new(value).is_ok();
        if !is_regex {
            self.fault(key, "it is no regular expression", "a regular expression, as of RE2");
        }
        is_regex.then(|| value.to_owned())
    }

    fn dependency(&mut self, key: &str, value: &str, of_deletion: bool) {
        let states = if of_deletion { "state=absent" } else { "state=ready or state=present" };
        let mut found = Dependency { key: key.to_owned(), ..Dependency::default() };
        let mut said = false;
        for (name, value) in pairs(value) {
            let text = Some(value.clone());
            match name.to_ascii_lowercase().as_str() {
                "state" => match value.as_str() {
                    "ready" if !of_deletion => (found.state, said) = (DependencyState::Ready, true),
                    "present" if !of_deletion => (found.state, said) = (DependencyState::Present, true),
                    "absent" if of_deletion => said = true,
                    _ => return self.fault(key, &format!("`{value}` is no state of it"), states),
                },
                "kind" => found.kind = text,
                "group" => found.group = text,
                "version" => found.version = text,
                "name" => found.name = text,
                "namespace" => found.namespace = text,
                _ => {
                    let message = format!("`{name}` says nothing of a resource");
                    return self.fault(key, &message, "state, kind, group, version, name, namespace");
                }
            }
        }
        let any = [&found.kind, &found.group, &found.version, &found.name, &found.namespace];
        if !said {
            self.fault(key, "it does not say until when to wait", states);
        } else if any.iter().all(|part| part.is_none()) {
            self.fault(key, "it names no resource", "at least one of kind, group, version, name, namespace");
        } else if of_deletion {
            self.directives.delete_dependencies.push(found);
        } else {
            self.directives.dependencies.push(found);
        }
    }

    /// `ID.dependency.werf.io: apiVersion:kind[:namespace]:name`
    fn legacy_dependency(&mut self, id: &str, key: &str, value: &str) {
        let Some((api_version, kind, namespace, name)) = short_form(value) else {
            return self.fault(key, &format!("`{value}` names no resource"), "apiVersion:kind[:namespace]:name");
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.directives.dependencies.push(Dependency {
            key: format!("{id}.dependency.werf.io"),
            state: DependencyState::Present,
            kind: Some(kind.to_owned()),
            group: Some(group.to_owned()),
            version: Some(version.to_owned()),
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
        });
    }

    fn external(&mut self, id: &str, rest: &str, key: &str, value: &str, externals: &mut BTreeMap<String, External>) {
        let mut external = externals.remove(id).unwrap_or_default();
        key.clone_into(&mut external.key);
        match rest {
            "" => {
                let Some((api_version, kind, namespace, name)) = short_form(value) else {
                    return self.fault(
                        key,
                        &format!("`{value}` names no resource"),
                        "apiVersion:kind[:namespace]:name",
                    );
                };
                api_version.split_once('/').map_or("", |(group, _)| group).clone_into(&mut external.group);
                (external.kind, external.name) = (kind.to_owned(), name.to_owned());
                external.namespace = namespace.map(str::to_owned).or(external.namespace);
            }
            "/resource" => {
                let Some((kind, name)) = value.trim().split_once('/').filter(|(k, n)| !k.is_empty() && !n.is_empty())
                else {
                    return self.fault(key, &format!("`{value}` names no resource"), "kind[.version.group]/name");
                };
                let mut parts = kind.splitn(3, '.');
                parts.next().unwrap_or_default().clone_into(&mut external.kind);
                let (version, group) = (parts.next(), parts.next());
                // `deployments.apps` has no version, `deployments.v1.apps` has.
                group.or(version).unwrap_or_default().clone_into(&mut external.group);
                name.clone_into(&mut external.name);
            }
            "/namespace" | "/name" => external.namespace = Some(value.trim().to_owned()),
            "/state" => match value.trim() {
                "ready" => external.state = DependencyState::Ready,
                "present" => external.state = DependencyState::Present,
                _ => self.fault(key, &format!("`{value}` is no state"), "ready or present"),
            },
            _ => self.fault(key, "no such annotation of an external dependency", "resource, namespace, state"),
        }
        externals.insert(id.to_owned(), external);
    }
}

fn short_form(value: &str) -> Option<(&str, &str, Option<&str>, &str)> {
    let parts: Vec<&str> = value.trim().split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    match parts.as_slice() {
        [api_version, kind, name] => Some((api_version, kind, None, name)),
        [api_version, kind, namespace, name] => Some((api_version, kind, Some(namespace), name)),
        _ => None,
    }
}

/// Splits `a=1,b="x,y"`; a part without `=` is a name with an empty value.
fn pairs(text: &str) -> Vec<(String, String)> {
    let (mut found, mut part, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars().chain([',']) {
        match (c, quote) {
            (',', None) => {
                let (name, value) = part.split_once('=').unwrap_or((&part, ""));
                if !name.trim().is_empty() {
                    found.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                part.clear();
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (c, _) => part.push(c),
        }
    }
    found
}

/// Reads a duration of Go: `4m`, `1h30m`, `1.5s`. Unit of the result: seconds, rounded up.
pub(super) fn go_duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0.0_f64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let number: f64 = number.parse().ok()?;
        total += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = next;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and saturates")]
    let seconds = total.ceil() as u64;
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, annotations: &Value) -> (Directives, Vec<Fault>) {
        read_directives(&json!({"kind": kind, "metadata": {"annotations": annotations}}))
    }

    #[test]
    fn everything_is_read() {
        let (found, faults) = read(
            "Deployment",
            &json!({
                "werf.io/weight": "-5",
                "werf.io/deploy-dependency-db": "state=ready,kind=StatefulSet,name=\"db\"",
                "a.external-dependency.werf.io/resource": "deployments.v1.apps/auth",
                "a.external-dependency.werf.io/namespace": "common",
                "b.external-dependency.werf.io": "v1:Secret:token",
                "werf.io/fail-mode": "IgnoreAndContinueDeployProcess",
                "werf.io/failures-allowed-per-replica": "3",
                "werf.io/log-regex": "^E",
                "werf.io/log-regex-for-side": "x+",
                "werf.io/skip-logs-for-containers": "a, b",
                "werf.io/delete-policy": "succeeded,failed",
                "werf.io/resource-policy": "keep",
                "werf.io/no-activity-timeout": "1h30m",
                "werf.io/replicas-on-creation": "4",
                "werf.io/deploy-on": "pre-install, upgrade",
                "werf.io/delete-propagation": "Orphan",
                "werf.io/sensitive-paths": "$.data.token",
            }),
        );
        assert_eq!(faults, []);
        assert_eq!(found.weight, -5);
        let dependency = &found.dependencies[0];
        assert_eq!(dependency.state, DependencyState::Ready);
        assert!(dependency.matches("apps/v1", "StatefulSet", Some("shop"), "db"));
        assert!(!dependency.matches("apps/v1", "StatefulSet", Some("shop"), "db2"));
        let externals: Vec<(&str, &str, &str, Option<&str>)> = found
            .external
            .iter()
            .map(|e| (e.kind.as_str(), e.group.as_str(), e.name.as_str(), e.namespace.as_deref()))
            .collect();
        assert_eq!(externals, [("deployments", "apps", "auth", Some("common")), ("Secret", "", "token", None)]);
        let tracking = found.tracking.clone().unwrap();
        assert_eq!((tracking.fail_mode, tracking.failures_allowed), (FailMode::Ignore, 3));
        assert_eq!(tracking.no_activity_s, Some(5400));
        assert_eq!(tracking.logs.skip_containers.len(), 2);
        assert_eq!(found.replicas_on_creation, Some(4));
        let stages = [DeployType::Install, DeployType::Upgrade, DeployType::Rollback].map(|on| found.stage(on));
        assert_eq!(stages, [Some(DeployStage::Pre), Some(DeployStage::Main), None]);
        assert_eq!(found.propagation, Some(Propagation::Orphan));
        assert!(found.secrecy.hides("data.token") && !found.secrecy.hides("data.other"));
        assert!(found.resource_policies.contains(&ResourcePolicy::SkipDelete));
    }

    #[test]
    fn what_means_nothing_is_a_fault_and_counts_as_not_written() {
        let (found, faults) = read(
            "ConfigMap",
            &json!({
                "werf.io/weight": "heavy",
                "werf.io/deploy-dependency-a": "kind=Job",
                "werf.io/deploy-dependency-b": "state=done,kind=Job",
                "werf.io/deploy-dependency-c": "state=ready",
                "werf.io/fail-mode": "Never",
                "werf.io/skip-logs": "maybe",
                "werf.io/log-regex": "(",
                "werf.io/no-activity-timeout": "4 minutes",
                "werf.io/track-termination-mode": "Never",
                "werf.io/delete-policy": "sometimes",
                "helm.sh/resource-policy": "delete",
                "werf.io/deploy-on": "pre-instal",
                "werf.io/delete-propagation": "Nothing",
                "a.external-dependency.werf.io/namespace": "common",
            }),
        );
        assert_eq!(faults.len(), 14, "{faults:?}");
        assert_eq!(found, Directives { tracking: Some(Tracking::default()), ..Directives::default() });
    }

    #[test]
    fn jobs_and_pods_that_are_not_restarted_may_not_fail() {
        let allowed = |kind: &str, annotations: Value| read(kind, &annotations).0.tracking.unwrap().failures_allowed;
        assert_eq!(allowed("Deployment", json!({})), 1);
        assert_eq!(allowed("ReplicaSet", json!({})), 0);
        assert_eq!(allowed("Job", json!({"werf.io/failures-allowed-per-replica": "5"})), 0);
        assert_eq!(read("Job", &json!({"werf.io/track-termination-mode": "NonBlocking"})).0.tracking, None);
    }

    #[test]
    fn durations_are_those_of_go() {
        let read = ["4m", "1h30m", "1.5s", "250ms", "0"].map(go_duration);
        assert_eq!(read, [Some(240), Some(5400), Some(2), Some(1), Some(0)]);
        assert_eq!(["", "4", "m", "4x", "-4m"].map(go_duration), [None; 5]);
    }

    #[test]
    fn what_nothing_knows_is_told_and_what_is_near_is_named() {
        let told = |name: &str| {
            let data = serde_json::json!({"metadata": {"annotations": {name: "x"}}});
            let (_, faults) = read_directives(&data);
            faults.into_iter().find(|fault| fault.is_unknown).map(|fault| fault.takes)
        };
        assert_eq!(told("werf.io/wieght").unwrap(), "is `werf.io/weight` meant?");
        assert_eq!(told("werf.io/nothing-of-the-kind").unwrap(), "");
        for known in
            ["werf.io/log-regex-for-web", "werf.io/version", "ci.werf.io/any", "helm.sh/any", "example.org/any"]
        {
            assert_eq!(told(known), None, "{known}");
        }
    }

    #[test]
    fn what_may_never_be_ready_is_not_waited_for_without_an_end() {
        let tracking = |data: Value| read_directives(&data).0.tracking.unwrap();
        let balancer = serde_json::json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}});
        assert_eq!(
            (tracking(balancer.clone()).no_activity_s, tracking(balancer).fail_mode),
            (Some(60), FailMode::Ignore)
        );
        let other = tracking(serde_json::json!({"apiVersion": "example.org/v1", "kind": "Thing"}));
        assert_eq!((other.no_activity_s, other.fail_mode), (Some(240), FailMode::Stop));
        assert_eq!(tracking(serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment"})).no_activity_s, None);
    }
}
