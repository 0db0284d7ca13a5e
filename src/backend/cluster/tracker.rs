//! What a cluster says of resources while they become ready: objects, their pods, events and lines of containers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::io::AsyncReadExt as _;
use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::Value;

use super::api::{Api, ApiError, word};
use super::events::{Followed, Namespace};
use super::lives::Kind;
use super::objects::{is_going, metadata, set};
use super::releases::METADATA_ONLY;
use super::{ClusterTarget, PARALLEL, Place, text};
use crate::backend::runtime::block_on;
use crate::ports::{Closer, Lines, LogSource, Sight, TargetError, Tracker};

const JSON: &str = "application/json";
/// How long the lines of containers are waited for: a node may not answer.
const LINES: Duration = Duration::from_secs(3);
/// Lines are at most so long together. Unit: bytes.
const MOST_LINES: usize = 256 * 1024;
/// Where less than this is left of [`MOST_LINES`], there may be more lines. Unit: bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// From how many on objects are listed, and not read one by one.
const MANY: usize = 8;
/// How long a list may be: where there are more, or many more than are looked at, most of them are not ours.
const PAGE: usize = 500;
/// How many pages are read of what a selector finds.
const MOST_PAGES: usize = 20;
const FOREIGN: usize = 8;
/// The same of what workloads own: replica sets of earlier revisions, pods.
const OWNED: usize = 32;

/// What is known from one look to the next.
#[derive(Default)]
pub struct Looks {
    events: Followed,
    /// The lists that hold mostly what is not ours.
    crowds: Mutex<BTreeSet<String>>,
}

impl Tracker for ClusterTarget {
    fn look(&self, paths: &[&str]) -> Vec<Result<Sight, TargetError>> {
        let found = block_on(async {
            let listed = self.list_objects(paths).await;
            let look = |path: &str| {
                let (path, known) = (path.to_owned(), listed.get(path).cloned());
                async move {
                    match known {
                        Some(known) => (Ok(known), path),
                        None => (object(&self.api, &path).await, path),
                    }
                }
            };
            let looks = paths.iter().map(|path| look(path)).collect::<Vec<_>>();
            stream::iter(looks).buffered(PARALLEL).collect::<Vec<_>>().await
        });
        let sight = |(object, path): (Result<Option<Value>, ApiError>, String)| {
            let object = object.map_err(self.failed(format!("look at {path}")))?;
            Ok(Sight { object, ..Sight::default() })
        };
        found.into_iter().map(sight).collect()
    }

    fn look_closely(&self, objects: &[Closer<'_>]) -> Vec<Sight> {
        block_on(async {
            let around = self.look_around(objects).await;
            let looks = objects.iter().map(|closer| self.closely(*closer, &around));
            stream::iter(looks).buffered(PARALLEL).collect().await
        })
    }

    fn lines(&self, source: &LogSource, last: usize) -> Vec<String> {
        let wanted = |previous| LogSource { previous, ..source.clone() };
        let query = format!("tailLines={last}");
        let text = block_on(async {
            match self.read_lines(&wanted(source.previous), &query).await {
                // A run before is forgotten sooner than it is told.
                None if source.previous => self.read_lines(&wanted(false), &query).await,
                found => found,
            }
        });
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn lines_since(&self, sources: &[(LogSource, Option<String>)]) -> Vec<Option<Lines>> {
        // All of them together take no longer than one that does not answer.
        let end = tokio::time::Instant::now() + LINES;
        let read = |(source, mark): &(LogSource, Option<String>)| {
            let (source, mark) = (source.clone(), mark.clone());
            async move {
                let unread = Lines { lines: Vec::new(), mark: mark.clone() };
                if tokio::time::Instant::now() >= end {
                    // It is not to blame.
                    return Some(unread);
                }
                let since = mark.as_ref().map_or(String::new(), |mark| format!("&sinceTime={}", word(mark)));
                let query = format!("timestamps=true{since}");
                let read = tokio::time::timeout_at(end, self.read_lines(&source, &query)).await.ok()?;
                let Some(text) = read else { return Some(unread) };
                let is_cut = text.len() + LONGEST_LINE >= MOST_LINES;
                let (lines, mark) = newer(&text, mark.as_deref(), is_cut);
                Some(Lines { lines, mark })
            }
        };
        let reads = sources.iter().map(read).collect::<Vec<_>>();
        block_on(stream::iter(reads).buffered(PARALLEL).collect())
    }
}

/// Returns the lines after a mark, and the next mark: times as the node of a pod tells them, in UTC. `is_cut` says that there
/// are more lines than these.
fn newer(text: &str, mark: Option<&str>, is_cut: bool) -> (Vec<String>, Option<String>) {
    let seen: Option<Timestamp> = mark.and_then(|mark| mark.parse().ok());
    let mut last = seen;
    let mut lines = Vec::new();
    // The last line may be cut off in its middle: it is read again, unless nothing else is new.
    let (whole, rest) = text.rsplit_once('\n').map_or(("", text), |(whole, rest)| (whole, rest));
    let all = whole.split('\n').map(|line| (line, true)).chain(Some((rest, !is_cut)));
    for (line, is_whole) in all {
        let Some((time, line)) = line.trim_end_matches('\r').split_once(' ') else { continue };
        let Ok(time) = time.parse::<Timestamp>() else { continue };
        // The server knows whole seconds only: what was seen of the second is left out.
        if seen.is_none_or(|seen| time > seen) {
            if !is_whole && !lines.is_empty() {
                break;
            }
            lines.push(line.to_owned());
            last = Some(last.map_or(time, |last| last.max(time)));
        }
    }
    if lines.is_empty() && is_cut {
        // The same part of the same second would come for ever.
        last = last.and_then(|last| Timestamp::from_second(last.as_second() + 1).ok());
    }
    (lines, last.map(|last| last.to_string()))
}

/// Reads what stands under a path; the kind may be written as in an address, as of a resource that is not ours.
async fn object(api: &Api, path: &str) -> Result<Option<Value>, ApiError> {
    let place = Place::parse(path)?;
    match api.find_kind(place.group, place.kind).await? {
        Some(kind) => api.get(&place.address(&kind)).await,
        None => Ok(None),
    }
}

/// What stands in a namespace around what is looked at.
#[derive(Default)]
struct Around {
    events: Option<Arc<Namespace>>,
    /// All pods by the uids of their owners, where they were listed.
    pods: Option<BTreeMap<String, Vec<Value>>>,
    /// All replica sets in the same way, their metadata alone.
    sets: Option<BTreeMap<String, Vec<Value>>>,
}

impl ClusterTarget {
    /// Lists the objects of kinds of which many are looked at; the others are not there.
    async fn list_objects(&self, paths: &[&str]) -> BTreeMap<String, Option<Value>> {
        let mut kinds: BTreeMap<Kind<'_>, Vec<(&str, &str)>> = BTreeMap::new();
        for path in paths {
            let Ok(place) = Place::parse(path) else { continue };
            kinds.entry((place.namespace, place.group, place.kind)).or_default().push((place.name, path));
        }
        let mut found = BTreeMap::new();
        for ((namespace, group, kind), wanted) in kinds.into_iter().filter(|(_, wanted)| wanted.len() >= MANY) {
            // What cannot be listed is read one by one, and fails there.
            let Ok(Some(api_kind)) = self.api.preferred(group, kind).await else { continue };
            let address = api_kind.list_address(namespace);
            let Some(items) = self.page(&address, JSON, wanted.len() * FOREIGN).await else { continue };
            let mut items: BTreeMap<String, Value> =
                items.into_iter().map(|item| (metadata(&item, "name").to_owned(), item)).collect();
            for (name, path) in wanted {
                let mut item = items.remove(name);
                if let Some(item) = &mut item {
                    // The items of a list do not say what they are.
                    set(item, &["apiVersion"], api_kind.group_version.clone().into());
                    set(item, &["kind"], kind.into());
                }
                found.insert(path.to_owned(), item);
            }
        }
        found
    }

    /// Lists what stands around the pods of many workloads: events, and in namespaces of many workloads all pods.
    async fn look_around<'a>(&self, objects: &[Closer<'a>]) -> BTreeMap<&'a str, Around> {
        let mut counts: BTreeMap<&'a str, (usize, usize, bool)> = BTreeMap::new();
        for Closer { object, events } in objects {
            let (all, deployments, told) = counts.entry(metadata(object, "namespace")).or_default();
            *all += usize::from(text(object, "kind") != "Pod" && is_seen(object));
            *deployments += usize::from(text(object, "kind") == "Deployment" && is_seen(object));
            *told |= *events;
        }
        let looks = counts.into_iter().map(|(namespace, (all, deployments, told))| async move {
            let mut around = Around::default();
            if told && !namespace.is_empty() {
                around.events = Some(self.looks.events.of(&self.api, namespace).await);
            }
            let place = format!("namespaces/{}", word(namespace));
            if all >= MANY {
                around.pods = self.page(&format!("/api/v1/{place}/pods"), JSON, all * OWNED).await.map(by_owner);
            }
            if deployments >= MANY {
                let address = format!("/apis/apps/v1/{place}/replicasets");
                around.sets = self.page(&address, METADATA_ONLY, deployments * OWNED).await.map(by_owner);
            }
            (namespace, around)
        });
        stream::iter(looks.collect::<Vec<_>>()).buffered(PARALLEL).collect().await
    }

    /// Lists what stands under an address, where it is no more than `most`; `None` where it is better to read one by one.
    async fn page(&self, address: &str, accept: &str, most: usize) -> Option<Vec<Value>> {
        let crowds = || self.looks.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        if crowds().contains(address) {
            return None;
        }
        let list = self.api.request(Method::GET, &format!("{address}?limit={PAGE}"), None, accept).await;
        let is_whole = |list: &Value| metadata(list, "continue").is_empty();
        let found = list.ok().filter(is_whole).map(items);
        if found.as_ref().is_none_or(|found| found.len() > most) {
            crowds().insert(address.to_owned());
        }
        found
    }

    async fn list(&self, address: &str, namespace: &str, selector: &str, accept: &str) -> Vec<Value> {
        let root = if address.contains('/') { "apis" } else { "api" };
        let (version, plural) = address.rsplit_once('/').unwrap_or(("v1", address));
        let root = if version == "v1" { "api" } else { root };
        let query = if selector.is_empty() { String::new() } else { format!("&labelSelector={}", word(selector)) };
        let address = format!("/{root}/{version}/namespaces/{}/{plural}?limit={PAGE}{query}", word(namespace));
        let (mut found, mut next) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let Ok(list) = self.api.request(Method::GET, &format!("{address}{next}"), None, accept).await else {
                break;
            };
            let mark = metadata(&list, "continue").to_owned();
            found.extend(items(list));
            if mark.is_empty() {
                break;
            }
            next = format!("&continue={}", word(&mark));
        }
        found
    }

    async fn closely(&self, closer: Closer<'_>, around: &BTreeMap<&str, Around>) -> Sight {
        let object = closer.object;
        if !is_seen(object) {
            // What there is was made of an older template.
            return Sight { object: Some(object.clone()), ..Sight::default() };
        }
        let (namespace, uid) = (metadata(object, "namespace"), metadata(object, "uid"));
        let around = around.get(namespace);
        let listed = |all: Option<&BTreeMap<String, Vec<Value>>>, owner: &str| -> Option<Vec<Value>> {
            all.map(|all| all.get(owner).cloned().unwrap_or_default())
        };
        let all_pods = around.and_then(|around| around.pods.as_ref());
        let pods_of = |owner: String, selector: String| async move {
            match listed(all_pods, &owner) {
                Some(found) => found,
                None => self.list("v1/pods", namespace, &selector, JSON).await,
            }
        };
        let mut owners: BTreeSet<String> = BTreeSet::from([uid.to_owned()]);
        let mut pods = Vec::new();
        match text(object, "kind") {
            "Pod" => pods.push(object.clone()),
            "Deployment" => {
                let selector = selector(object);
                let sets = match listed(around.and_then(|around| around.sets.as_ref()), uid) {
                    Some(found) => found,
                    None => self.list("apps/v1/replicasets", namespace, &selector, METADATA_ONLY).await,
                };
                let ours = sets.into_iter().filter(|set| is_owned(set, &owners));
                let revision = |set: &Value| -> u64 {
                    let text = set.pointer("/metadata/annotations/deployment.kubernetes.io~1revision");
                    text.and_then(Value::as_str).and_then(|r| r.parse().ok()).unwrap_or(0)
                };
                if let Some(newest) = ours.max_by_key(revision) {
                    let owner = metadata(&newest, "uid").to_owned();
                    owners.insert(owner.clone());
                    pods = pods_of(owner, selector).await;
                }
            }
            "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "ReplicationController" => {
                pods = pods_of(uid.to_owned(), selector(object)).await;
            }
            _ => {}
        }
        let mut older = Vec::new();
        if text(object, "kind") != "Pod" {
            pods.retain(|pod| is_owned(pod, &owners));
            (pods, older) = pods.into_iter().partition(|pod| is_new(pod, object));
            older.retain(|pod| is_going(pod) || !is_ready(pod));
        }
        owners.extend(pods.iter().chain(&older).map(|pod| metadata(pod, "uid").to_owned()));
        let events = match around.and_then(|around| around.events.as_ref()).filter(|_| closer.events) {
            Some(events) => events.about(&self.api, &owners).await,
            None => Vec::new(),
        };
        Sight { object: Some(object.clone()), events, pods, older }
    }

    async fn read_lines(&self, source: &LogSource, query: &str) -> Option<String> {
        let LogSource { namespace, pod, container, previous } = source;
        let address = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&previous={previous}&limitBytes={MOST_LINES}&{query}",
            word(namespace),
            word(pod),
            word(container)
        );
        tokio::time::timeout(LINES, self.api.text(&address, MOST_LINES)).await.ok()?.ok()
    }
}

impl Api {
    /// Reads lines at an address: no more than `most` bytes, and of an answer that breaks off those that came whole. What is
    /// no text becomes `\u{fffd}`.
    async fn text(&self, address: &str, most: usize) -> Result<String, ApiError> {
        let request =
            Request::builder().method(Method::GET).uri(address).body(Vec::new()).map_err(ApiError::Address)?;
        self.turn().await;
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        let mut lines = self.client().request_stream(request).await?.take(limit);
        let mut bytes = Vec::new();
        if lines.read_to_end(&mut bytes).await.is_err() {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            bytes.truncate(whole);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Finds a kind by its name, or by its name in addresses: `Deployment`, `deployments`, `deployment`. A group that is not
    /// said is looked for among those of Kubernetes itself.
    async fn find_kind(&self, group: &str, kind: &str) -> Result<Option<super::api::ApiKind>, ApiError> {
        let groups = if group.is_empty() { vec!["", "apps", "batch", "networking.k8s.io"] } else { vec![group] };
        for group in groups {
            if let Some(found) = self.preferred(group, kind).await? {
                return Ok(Some(found));
            }
            for version in self.versions(group).await?.iter() {
                let lower = kind.to_ascii_lowercase();
                let is_meant = |name: &str, plural: &str| name.to_ascii_lowercase() == lower || plural == lower;
                if let Some(found) = self.kinds_of(version).await?.iter().find(|(name, k)| is_meant(name, &k.plural)) {
                    return Ok(Some(found.1.clone()));
                }
            }
        }
        Ok(None)
    }
}

fn items(mut list: Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Sorts objects by the uids of their owners.
fn by_owner(objects: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in objects {
        let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let owners: BTreeSet<String> = references.map(|r| text(r, "uid").to_owned()).collect();
        for owner in owners {
            found.entry(owner).or_default().push(object.clone());
        }
    }
    found
}

/// Writes the selector of a workload as a query.
fn selector(object: &Value) -> String {
    let labels = object.pointer("/spec/selector/matchLabels").or(object.pointer("/spec/selector"));
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs = labels.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let expressions = object.pointer("/spec/selector/matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let expressions = expressions.filter_map(|expression| {
        let key = Some(text(expression, "key")).filter(|key| !key.is_empty())?;
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<&str> = values.filter_map(Value::as_str).collect();
        let values = values.join(",");
        match text(expression, "operator") {
            "In" => Some(format!("{key} in ({values})")),
            "NotIn" => Some(format!("{key} notin ({values})")),
            "Exists" => Some(key.to_owned()),
            "DoesNotExist" => Some(format!("!{key}")),
            // What is not known leaves nothing out.
            _ => None,
        }
    });
    pairs.chain(expressions).collect::<Vec<_>>().join(",")
}

/// Says whether a pod is ready, as its node says.
fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.any(|c| text(c, "type") == "Ready" && text(c, "status") == "True")
}

fn is_owned(object: &Value, owners: &BTreeSet<String>) -> bool {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    references.into_iter().any(|r| owners.contains(text(r, "uid")))
}

/// Says whether the controller of an object has seen its newest generation.
fn is_seen(object: &Value) -> bool {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let says_it = matches!(
        text(object, "kind"),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController"
    );
    !says_it || generation.is_none_or(|generation| observed.is_some_and(|observed| observed >= generation))
}

/// Says whether a pod is of the newest template of a `StatefulSet` or `DaemonSet`; of others, its owner says it.
fn is_new(pod: &Value, owner: &Value) -> bool {
    let (of_owner, of_pod) = match text(owner, "kind") {
        "StatefulSet" => ("/status/updateRevision", "/metadata/labels/controller-revision-hash"),
        "DaemonSet" => (
            "/metadata/annotations/deprecated.daemonset.template.generation",
            "/metadata/labels/pod-template-generation",
        ),
        _ => return true,
    };
    let wanted = owner.pointer(of_owner).and_then(Value::as_str);
    wanted.is_none() || wanted == pod.pointer(of_pod).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_queries() {
        let object = json!({"spec": {"selector": {"matchLabels": {"app": "web", "tier": "x"}}}});
        assert_eq!(selector(&object), "app=web,tier=x");
        assert_eq!(selector(&json!({"spec": {"selector": {"app": "web"}}})), "app=web");
        let expressions = json!([{"key": "app", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"},
            {"key": "y", "operator": "DoesNotExist"}, {"key": "z", "operator": "NotIn", "values": ["c"]}]);
        let object = json!({"spec": {"selector": {"matchExpressions": expressions}}});
        assert_eq!(selector(&object), "app in (a,b),x,!y,z notin (c)");
    }

    #[test]
    fn pods_of_older_templates_are_left_out() {
        let set = json!({"kind": "StatefulSet", "status": {"updateRevision": "b"}});
        let pod = |revision: &str| json!({"metadata": {"labels": {"controller-revision-hash": revision}}});
        assert!(is_new(&pod("b"), &set) && !is_new(&pod("a"), &set));
        assert!(is_new(&pod("a"), &json!({"kind": "DaemonSet"})));
        let annotations = json!({"deprecated.daemonset.template.generation": "2"});
        let daemon = json!({"kind": "DaemonSet", "metadata": {"annotations": annotations}});
        let pod = |generation: &str| json!({"metadata": {"labels": {"pod-template-generation": generation}}});
        assert!(is_new(&pod("2"), &daemon) && !is_new(&pod("1"), &daemon));
    }

    #[test]
    fn what_a_controller_has_not_seen_has_no_new_pods() {
        let object = |kind: &str, status: Value| json!({"kind": kind, "metadata": {"generation": 2}, "status": status});
        assert!(!is_seen(&object("Deployment", json!({"observedGeneration": 1}))));
        assert!(!is_seen(&object("DaemonSet", json!({}))));
        assert!(is_seen(&object("Deployment", json!({"observedGeneration": 2}))));
        assert!(is_seen(&object("Job", json!({}))));
    }

    #[test]
    fn lines_are_read_on_from_where_they_ended() {
        let text = "2026-01-01T08:00:00.1+08:00 a\n2026-01-01T08:00:00.2+08:00 b\n";
        let (lines, mark) = newer(text, None, false);
        assert_eq!((lines, mark.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("2026-01-01T00:00:00.2Z")));
        let (lines, again) = newer(text, mark.as_deref(), false);
        assert_eq!((lines, &again), (vec![], &mark));
        // A second that holds more than is read at once ends there.
        // A line that is cut off is read again, where there is another one before it.
        let cut = format!("{text}2026-01-01T00:00:00.3Z beginn");
        let (lines, next) = newer(&cut, None, true);
        assert_eq!((lines.len(), next.as_deref()), (2, Some("2026-01-01T00:00:00.2Z")));
        let (lines, next) = newer(&cut, next.as_deref(), true);
        assert_eq!((lines, next.as_deref()), (vec!["beginn".to_owned()], Some("2026-01-01T00:00:00.3Z")));
        let (_, next) = newer(text, mark.as_deref(), true);
        assert_eq!(next.as_deref(), Some("2026-01-01T00:00:01Z"));
    }
}
