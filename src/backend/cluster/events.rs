//! What is said of the objects of a namespace: listed once, and followed from there.
//!
//! The one idea: an open watch tells what is new. Until it is open, and where there is none, all is listed each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;

use super::api::{Api, word};
use super::objects::metadata;
use super::text;
use crate::backend::runtime::{Task, spawn};

/// How long a watch is asked for; then it is opened again. Unit: seconds.
const WATCH_S: u64 = 300;
/// A watch that ends sooner, and told nothing, has failed.
const LASTING: Duration = Duration::from_secs(10);
/// After so many failed watches in a row there is none.
const MOST_FAILURES: u32 = 3;

/// The events of namespaces that were asked about.
#[derive(Default)]
pub struct Followed(Mutex<BTreeMap<String, Arc<Namespace>>>);

/// The events of one namespace.
#[derive(Default)]
pub struct Namespace {
    said: Mutex<Said>,
    /// Who follows; it ends with this.
    task: Mutex<Option<Task>>,
}

#[derive(Default)]
struct Said {
    /// By the object that they are about, and their names.
    events: BTreeMap<String, BTreeMap<String, Value>>,
    watch: Watch,
    failures: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Watch {
    #[default]
    None,
    /// It was asked for, and not answered yet: what stands between may keep the answer until it is whole.
    Asked,
    Open,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Followed {
    /// Returns the events of a namespace as of now; what may not be seen is not there.
    pub async fn of(&self, api: &Api, namespace: &str) -> Arc<Namespace> {
        let found = held(&self.0).entry(namespace.to_owned()).or_default().clone();
        if held(&found.said).watch == Watch::Open {
            return found;
        }
        let address = format!("/api/v1/namespaces/{}/events", word(namespace));
        let Ok(Some(mut list)) = api.get(&address).await else { return found };
        let version = metadata(&list, "resourceVersion").to_owned();
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else { return found };
        if found.take(items) {
            let (client, place) = (api.client().clone(), Arc::downgrade(&found));
            let address = format!("{address}?watch=true&timeoutSeconds={WATCH_S}&resourceVersion={}", word(&version));
            let task = spawn(async move {
                let since = Instant::now();
                let told = follow(client, &address, |event| {
                    let Some(place) = place.upgrade() else { return };
                    held(&place.said).hear(event);
                });
                let told = told.await;
                let Some(place) = place.upgrade() else { return };
                let mut said = held(&place.said);
                said.watch = Watch::None;
                said.failures = if told || since.elapsed() >= LASTING { 0 } else { said.failures + 1 };
            });
            *held(&found.task) = Some(task);
        }
        found
    }
}

/// Passes on what a watch tells, until it ends; the first is that it is open. Says whether anything else was told.
async fn follow(client: Client, address: &str, tell: impl Fn(Option<WatchEvent<Value>>)) -> bool {
    let Ok(request) = Request::builder().uri(address).body(Vec::new()) else { return false };
    let Ok(stream) = client.request_events::<Value>(request).await else { return false };
    tell(None);
    let mut stream = std::pin::pin!(stream);
    let mut told = false;
    while let Ok(Some(event)) = stream.try_next().await {
        // Where it is too old, it is listed again.
        if matches!(event, WatchEvent::Error(_)) {
            break;
        }
        told = true;
        tell(Some(event));
    }
    told
}

impl Said {
    fn hear(&mut self, event: Option<WatchEvent<Value>>) {
        match event {
            None => self.watch = Watch::Open,
            Some(WatchEvent::Added(event) | WatchEvent::Modified(event)) => self.put(event, true),
            Some(WatchEvent::Deleted(event)) => {
                if let Some(events) = self.events.get_mut(about(&event)) {
                    events.remove(metadata(&event, "name"));
                }
            }
            Some(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) => {}
        }
    }

    fn put(&mut self, mut event: Value, is_newer: bool) {
        if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
        }
        let events = self.events.entry(about(&event).to_owned()).or_default();
        let name = metadata(&event, "name").to_owned();
        if is_newer || !events.contains_key(&name) {
            events.insert(name, event);
        }
    }
}

impl Namespace {
    /// Takes over a list; says whether it is to be followed.
    fn take(&self, items: Vec<Value>) -> bool {
        let mut said = held(&self.said);
        // A watch that was opened meanwhile knows better.
        let is_newer = said.watch != Watch::Open;
        if is_newer {
            said.events.clear();
        }
        for event in items {
            said.put(event, is_newer);
        }
        let begins = said.watch == Watch::None && said.failures < MOST_FAILURES;
        if begins {
            said.watch = Watch::Asked;
        }
        begins
    }

    /// Returns what is said of objects, oldest first.
    pub fn about(&self, uids: &BTreeSet<String>) -> Vec<Value> {
        let said = held(&self.said);
        let mut found: Vec<Value> =
            uids.iter().filter_map(|uid| said.events.get(uid)).flat_map(BTreeMap::values).cloned().collect();
        drop(said);
        found.sort_by_cached_key(|event| {
            let of = |key: &str| text(event, key).to_owned();
            Some(of("lastTimestamp")).filter(|time| !time.is_empty()).unwrap_or_else(|| of("eventTime"))
        });
        found
    }
}

/// The uid of the object that an event is about.
fn about(event: &Value) -> &str {
    event.pointer("/involvedObject/uid").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, uid: &str, time: &str, count: u64) -> Value {
        json!({"metadata": {"name": name, "managedFields": []}, "involvedObject": {"uid": uid}, "lastTimestamp": time,
            "count": count})
    }

    fn told(namespace: &Namespace, uids: &[&str]) -> Vec<(String, u64)> {
        let uids = uids.iter().map(|uid| (*uid).to_owned()).collect();
        let told = |event: &Value| (metadata(event, "name").to_owned(), event["count"].as_u64().unwrap());
        namespace.about(&uids).iter().map(told).collect()
    }

    #[test]
    fn a_list_is_followed_by_what_a_watch_tells() {
        let namespace = Namespace::default();
        assert!(namespace.take(vec![event("b", "1", "3", 1), event("a", "2", "2", 1), event("x", "9", "1", 1)]));
        assert_eq!(told(&namespace, &["1", "2"]), [("a".into(), 1), ("b".into(), 1)]);
        // Until it is open, a list replaces the one before.
        assert!(!namespace.take(vec![event("b", "1", "4", 2)]), "it was asked for already");
        assert_eq!(told(&namespace, &["1", "2"]), [("b".into(), 2)]);
        held(&namespace.said).hear(None);
        held(&namespace.said).hear(Some(WatchEvent::Modified(event("b", "1", "5", 3))));
        held(&namespace.said).hear(Some(WatchEvent::Added(event("c", "1", "6", 1))));
        assert!(!namespace.take(vec![event("b", "1", "4", 2), event("d", "1", "1", 1)]), "a list that is older");
        assert_eq!(told(&namespace, &["1"]), [("d".into(), 1), ("b".into(), 3), ("c".into(), 1)]);
        held(&namespace.said).hear(Some(WatchEvent::Deleted(event("b", "1", "5", 3))));
        assert_eq!(told(&namespace, &["1"]), [("d".into(), 1), ("c".into(), 1)]);
    }

    #[test]
    fn where_watches_fail_it_is_listed_each_time() {
        let namespace = Namespace::default();
        held(&namespace.said).failures = MOST_FAILURES;
        assert!(!namespace.take(vec![event("a", "1", "1", 1)]));
        assert!(!namespace.take(vec![event("a", "1", "2", 2)]));
        assert_eq!(told(&namespace, &["1"]), [("a".into(), 2)]);
    }
}
