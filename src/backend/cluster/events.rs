//! What is said of the objects of a namespace: listed once, and followed from there.
//!
//! The one idea: an open watch tells what is new. Where there can be none, what is said of each object is asked for alone. No
//! more is kept than is needed of an event, and of so many events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::{Value, json};

use super::api::{Api, word};
use super::objects::metadata;
use super::{PARALLEL, text};
use crate::backend::runtime::{Task, spawn};

/// How long a watch is asked for; then it is opened again. Unit: seconds.
const WATCH_S: u64 = 300;
/// A watch that ends sooner, and told nothing, has failed.
const LASTING: Duration = Duration::from_secs(10);
/// After so many failed watches in a row there is none.
const MOST_FAILURES: u32 = 3;

/// How many events are asked for at once, and how often for more.
const PAGE: usize = 500;
const MOST_PAGES: usize = 20;
/// How many events of a namespace are kept, those of objects that nobody asked about the shortest.
const MOST_KEPT: usize = 10_000;
/// How many are passed over at the most to find one that nobody asked about.
const SPARED: usize = 64;
/// A message is cut off after so many characters.
const LONGEST_MESSAGE: usize = 4_096;
/// Without a watch: of how many objects it is asked at once, of how many events of each, and how often.
const ALONE: usize = 16;
const PAGE_ALONE: usize = 100;
const PAUSE_ALONE: Duration = Duration::from_secs(5);

/// The events of namespaces that were asked about.
#[derive(Default)]
pub struct Followed(Mutex<BTreeMap<String, Arc<Namespace>>>);

/// The events of one namespace.
#[derive(Default)]
pub struct Namespace {
    name: String,
    said: Mutex<Said>,
    /// Who follows; it ends with this.
    task: Mutex<Option<Task>>,
}

#[derive(Default)]
struct Said {
    /// By the object that they are about, and their names.
    events: BTreeMap<String, BTreeMap<String, Value>>,
    /// Which events are kept, in the order they came: objects and names.
    order: VecDeque<(String, String)>,
    /// The objects that were asked about, and when they were asked about alone last.
    asked: BTreeMap<String, Option<Instant>>,
    watch: Watch,
    /// When the watch was asked for.
    since: Option<Instant>,
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
        let new = || Arc::new(Namespace { name: namespace.to_owned(), ..Namespace::default() });
        let found = held(&self.0).entry(namespace.to_owned()).or_insert_with(new).clone();
        let is_known = {
            let said = held(&found.said);
            said.watch == Watch::Open || said.is_unwatched()
        };
        if is_known {
            return found;
        }
        let address = found.address();
        let Some((items, version)) = list(api, &address).await else { return found };
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

/// Lists events, and says as of which version.
async fn list(api: &Api, address: &str) -> Option<(Vec<Value>, String)> {
    let (mut found, mut version, mut next) = (Vec::new(), None, String::new());
    for _ in 0..MOST_PAGES {
        // Of a list that is read for long the rest may be forgotten: what there is counts.
        let Ok(Some(mut page)) = api.get(&format!("{address}?limit={PAGE}{next}")).await else { break };
        version.get_or_insert_with(|| metadata(&page, "resourceVersion").to_owned());
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            found.extend(items.iter().map(kept));
        }
        let mark = metadata(&page, "continue");
        if mark.is_empty() {
            break;
        }
        next = format!("&continue={}", word(mark));
    }
    version.map(|version| (found, version))
}

/// Returns what is needed of an event.
fn kept(event: &Value) -> Value {
    let message: String = text(event, "message").chars().take(LONGEST_MESSAGE).collect();
    let mut kept = json!({"metadata": {"name": metadata(event, "name")}, "message": message});
    for key in ["type", "reason", "count", "lastTimestamp", "eventTime", "involvedObject"] {
        if let (Some(kept), Some(value)) = (kept.as_object_mut(), event.get(key)) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    kept
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
            Some(WatchEvent::Added(event) | WatchEvent::Modified(event)) => self.put(kept(&event), true),
            Some(WatchEvent::Deleted(event)) => {
                let (uid, name) = (about(&event), metadata(&event, "name"));
                self.order.retain(|(of, event)| (of.as_str(), event.as_str()) != (uid, name));
                self.drop_event(uid, name);
            }
            Some(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) => {}
        }
    }

    fn put(&mut self, event: Value, is_newer: bool) {
        let (uid, name) = (about(&event).to_owned(), metadata(&event, "name").to_owned());
        let events = self.events.entry(uid.clone()).or_default();
        let is_new = !events.contains_key(&name);
        if is_newer || is_new {
            events.insert(name.clone(), event);
        }
        if is_new {
            self.order.push_back((uid, name));
        }
        while self.order.len() > MOST_KEPT {
            self.forget_one();
        }
    }

    /// Forgets the oldest event of an object that nobody asked about, or the oldest at all.
    fn forget_one(&mut self) {
        for nth in 0..=SPARED {
            let Some((uid, name)) = self.order.pop_front() else { return };
            if nth < SPARED && self.asked.contains_key(&uid) {
                self.order.push_back((uid, name));
                continue;
            }
            self.drop_event(&uid, &name);
            return;
        }
    }

    fn drop_event(&mut self, uid: &str, name: &str) {
        let Some(events) = self.events.get_mut(uid) else { return };
        events.remove(name);
        if events.is_empty() {
            self.events.remove(uid);
        }
    }

    /// Says whether nothing is told by a watch: there is no right to one, or what stands between keeps its answer back.
    fn is_unwatched(&self) -> bool {
        self.failures >= MOST_FAILURES
            || self.watch == Watch::Asked && self.since.is_some_and(|since| since.elapsed() >= LASTING)
    }

    /// Says about which of these objects it is to be asked now, those first that wait the longest.
    fn due(&mut self, uids: &BTreeSet<String>) -> Vec<String> {
        if self.asked.len() > MOST_KEPT {
            self.asked.clear();
        }
        for uid in uids {
            self.asked.entry(uid.clone()).or_default();
        }
        if !self.is_unwatched() {
            return Vec::new();
        }
        let mut due: Vec<(Option<Instant>, &String)> =
            uids.iter().map(|uid| (self.asked.get(uid).copied().flatten(), uid)).collect();
        due.retain(|(at, _)| at.is_none_or(|at| at.elapsed() >= PAUSE_ALONE));
        due.sort_unstable();
        let due: Vec<String> = due.into_iter().take(ALONE).map(|(_, uid)| uid.clone()).collect();
        for uid in &due {
            self.asked.insert(uid.clone(), Some(Instant::now()));
        }
        due
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
            said.order.clear();
        }
        for event in items {
            said.put(event, is_newer);
        }
        let begins = said.watch == Watch::None && said.failures < MOST_FAILURES;
        if begins {
            said.watch = Watch::Asked;
            said.since = Some(Instant::now());
        }
        begins
    }

    fn address(&self) -> String {
        format!("/api/v1/namespaces/{}/events", word(&self.name))
    }

    /// Returns what is said of objects, oldest first; where no watch tells it, it is asked for.
    pub async fn about(&self, api: &Api, uids: &BTreeSet<String>) -> Vec<Value> {
        let due = held(&self.said).due(uids);
        let reads = due.into_iter().map(|uid| async move {
            let selector = word(&format!("involvedObject.uid={uid}"));
            let address = format!("{}?limit={PAGE_ALONE}&fieldSelector={selector}", self.address());
            let found = api.get(&address).await.ok().flatten();
            let items = found.as_ref().and_then(|list| list.get("items")?.as_array());
            items.into_iter().flatten().map(kept).collect::<Vec<_>>()
        });
        let found: Vec<_> = stream::iter(reads.collect::<Vec<_>>()).buffered(PARALLEL).collect().await;
        for event in found.into_iter().flatten() {
            held(&self.said).put(event, true);
        }
        self.known(uids)
    }

    /// Returns what is known to be said of objects, oldest first.
    fn known(&self, uids: &BTreeSet<String>) -> Vec<Value> {
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
        namespace.known(&uids).iter().map(told).collect()
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

    fn uids(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|&uid| uid.to_owned()).collect()
    }

    #[test]
    fn where_watches_fail_it_is_asked_about_each_object_alone_and_not_too_often() {
        let mut said = Said::default();
        assert_eq!(said.due(&uids(&["1", "2"])), Vec::<String>::new(), "a watch tells it");
        said.failures = MOST_FAILURES;
        assert_eq!(said.due(&uids(&["1", "2"])), ["1", "2"]);
        assert_eq!(said.due(&uids(&["1", "2", "3"])), ["3"]);
        let many: BTreeSet<String> = (0..100).map(|n| format!("p{n}")).collect();
        assert_eq!(said.due(&many).len(), ALONE);
        let mut kept_back = Said { watch: Watch::Asked, since: Some(Instant::now()), ..Said::default() };
        assert!(!kept_back.is_unwatched());
        kept_back.since = Instant::now().checked_sub(LASTING);
        assert!(kept_back.since.is_none() || kept_back.is_unwatched());
    }

    #[test]
    fn of_many_events_those_are_kept_that_were_asked_about() {
        let mut said = Said::default();
        said.due(&uids(&["ours"]));
        said.put(event("mine", "ours", "1", 1), true);
        for n in 0..MOST_KEPT + 10 {
            said.put(event(&n.to_string(), &format!("foreign-{}", n % 7), "2", 1), true);
        }
        assert_eq!(said.order.len(), MOST_KEPT);
        assert_eq!(said.events.values().map(BTreeMap::len).sum::<usize>(), MOST_KEPT);
        assert!(said.events["ours"].contains_key("mine"), "{:?}", said.events["ours"]);
        let long = json!({"metadata": {"name": "e", "managedFields": [1]}, "message": "x".repeat(9_000), "source": {}});
        let kept = kept(&long);
        assert_eq!(kept["message"].as_str().unwrap().len(), LONGEST_MESSAGE);
        assert!(kept.get("source").is_none() && kept["metadata"].get("managedFields").is_none());
    }
}
