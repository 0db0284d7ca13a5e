//! What a cluster says of resources while they become ready: objects, their pods, events and lines of containers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::Value;

use super::api::{Api, ApiError, word};
use super::objects::metadata;
use super::{ClusterTarget, PARALLEL, Place, text};
use crate::backend::runtime::block_on;
use crate::ports::{LogSource, Sight, TargetError, Tracker};

/// How long the lines of a container are waited for: a node may not answer.
const LINES: Duration = Duration::from_secs(3);
/// Lines are at most so long together. Unit: bytes.
const MOST_LINES: usize = 256 * 1024;
/// Where less than this is left of [`MOST_LINES`], there may be more lines. Unit: bytes.
const LONGEST_LINE: usize = 16 * 1024;

impl Tracker for ClusterTarget {
    fn look(&self, paths: &[&str]) -> Vec<Result<Sight, TargetError>> {
        let api = &self.api;
        let look = |path: &str| {
            let path = path.to_owned();
            async move { (object(api, &path).await, path) }
        };
        let asked = stream::iter(paths.iter().map(|path| look(path)));
        let found = block_on(asked.buffered(PARALLEL).collect::<Vec<_>>());
        let sight = |(object, path): (Result<Option<Value>, ApiError>, String)| {
            let object = object.map_err(self.failed(format!("look at {path}")))?;
            Ok(Sight { object, ..Sight::default() })
        };
        found.into_iter().map(sight).collect()
    }

    fn look_closely(&self, objects: &[&Value]) -> Vec<Sight> {
        block_on(async {
            let namespaces: BTreeSet<&str> = objects.iter().map(|o| metadata(o, "namespace")).collect();
            let events =
                namespaces.into_iter().map(|namespace| async move { (namespace, self.events(namespace).await) });
            let events: BTreeMap<&str, Vec<Value>> = stream::iter(events).buffered(PARALLEL).collect().await;
            let none = Vec::new();
            let looks = objects.iter().map(|object| {
                let events = events.get(metadata(object, "namespace")).unwrap_or(&none);
                self.closely(object, events)
            });
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

    fn lines_since(&self, source: &LogSource, mark: Option<&str>) -> (Vec<String>, Option<String>) {
        let since = mark.map_or(String::new(), |mark| format!("&sinceTime={}", word(mark)));
        let text = block_on(self.read_lines(source, &format!("timestamps=true{since}"))).unwrap_or_default();
        let is_cut = text.len() + LONGEST_LINE >= MOST_LINES;
        newer(&text, mark, is_cut)
    }
}

/// Returns the lines after a mark, and the next mark: times as the node of a pod tells them, in UTC. `is_cut` says that there
/// are more lines than these.
fn newer(text: &str, mark: Option<&str>, is_cut: bool) -> (Vec<String>, Option<String>) {
    let seen: Option<Timestamp> = mark.and_then(|mark| mark.parse().ok());
    let mut last = seen;
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((time, line)) = line.split_once(' ') else { continue };
        let Ok(time) = time.parse::<Timestamp>() else { continue };
        // The server knows whole seconds only: what was seen of the second is left out.
        if seen.is_none_or(|seen| time > seen) {
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

impl ClusterTarget {
    /// Returns what was said in a namespace, oldest first; what may not be seen is not there.
    async fn events(&self, namespace: &str) -> Vec<Value> {
        let Ok(Some(list)) = self.api.get(&format!("/api/v1/namespaces/{}/events", word(namespace))).await else {
            return Vec::new();
        };
        let mut found = items(list);
        let time = |e: &Value| {
            let of = |key: &str| text(e, key).to_owned();
            Some(of("lastTimestamp")).filter(|t| !t.is_empty()).unwrap_or_else(|| of("eventTime"))
        };
        found.sort_by_cached_key(time);
        found
    }

    async fn list(&self, address: &str, namespace: &str, selector: &str) -> Vec<Value> {
        let root = if address.contains('/') { "apis" } else { "api" };
        let (version, plural) = address.rsplit_once('/').unwrap_or(("v1", address));
        let root = if version == "v1" { "api" } else { root };
        let query = if selector.is_empty() { String::new() } else { format!("?labelSelector={}", word(selector)) };
        let address = format!("/{root}/{version}/namespaces/{}/{plural}{query}", word(namespace));
        self.api.get(&address).await.ok().flatten().map(items).unwrap_or_default()
    }

    async fn closely(&self, object: &Value, events: &[Value]) -> Sight {
        if !is_seen(object) {
            // What there is was made of an older template.
            return Sight { object: Some(object.clone()), ..Sight::default() };
        }
        let (namespace, uid) = (metadata(object, "namespace"), metadata(object, "uid"));
        let mut owners: BTreeSet<String> = BTreeSet::from([uid.to_owned()]);
        let mut pods = Vec::new();
        match text(object, "kind") {
            "Pod" => pods.push(object.clone()),
            "Deployment" => {
                let selector = selector(object);
                let sets = self.list("apps/v1/replicasets", namespace, &selector).await;
                let ours = sets.into_iter().filter(|set| is_owned(set, &owners));
                let revision = |set: &Value| -> u64 {
                    let text = set.pointer("/metadata/annotations/deployment.kubernetes.io~1revision");
                    text.and_then(Value::as_str).and_then(|r| r.parse().ok()).unwrap_or(0)
                };
                if let Some(newest) = ours.max_by_key(revision) {
                    owners.insert(metadata(&newest, "uid").to_owned());
                    pods = self.list("v1/pods", namespace, &selector).await;
                }
            }
            "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "ReplicationController" => {
                pods = self.list("v1/pods", namespace, &selector(object)).await;
            }
            _ => {}
        }
        if text(object, "kind") != "Pod" {
            pods.retain(|pod| is_owned(pod, &owners) && is_new(pod, object));
        }
        owners.extend(pods.iter().map(|pod| metadata(pod, "uid").to_owned()));
        let about =
            |e: &&Value| e.pointer("/involvedObject/uid").and_then(Value::as_str).is_some_and(|u| owners.contains(u));
        Sight { object: Some(object.clone()), events: events.iter().filter(about).cloned().collect(), pods }
    }

    async fn read_lines(&self, source: &LogSource, query: &str) -> Option<String> {
        let LogSource { namespace, pod, container, previous } = source;
        let address = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&previous={previous}&limitBytes={MOST_LINES}&{query}",
            word(namespace),
            word(pod),
            word(container)
        );
        tokio::time::timeout(LINES, self.api.text(&address)).await.ok()?.ok()
    }
}

impl Api {
    /// Reads an address as text.
    pub async fn text(&self, address: &str) -> Result<String, ApiError> {
        let request =
            Request::builder().method(Method::GET).uri(address).body(Vec::new()).map_err(ApiError::Address)?;
        self.turn().await;
        Ok(self.client().request_text(request).await?)
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

/// Writes the selector of a workload as a query.
fn selector(object: &Value) -> String {
    let labels = object.pointer("/spec/selector/matchLabels").or(object.pointer("/spec/selector"));
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = labels.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    pairs.join(",")
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
        let (_, next) = newer(text, mark.as_deref(), true);
        assert_eq!(next.as_deref(), Some("2026-01-01T00:00:01Z"));
    }
}
