//! The lock that werf takes for a release: an annotation of a config map in its namespace.
//!
//! What lives here: taking, renewing and giving back that lock, where the config map is there. What does not: our own lock,
//! which is taken before (`lock`).
//!
//! The one idea: werf makes the config map when it deploys to a namespace for the first time. Where it never did, nothing is
//! written for it. Source: lockgate, `LockLeaseRecord`; werf's lease lasts 10 s and is renewed every 3.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha3::{Digest as _, Sha3_224};

use super::api::{Api, ApiError, WERF_LOCKS};
use super::lock::{Sightings, locked, process};
use super::objects::metadata;

/// How long our lease lasts that nobody renews, seconds.
const LASTS: i64 = 30;
/// How long one is watched that says of itself that it is over, and any other.
const WATCHED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// Clocks differ by less, whatever time zone somebody took for another, seconds.
const LONG_AGO: i64 = 26 * 3600;
/// How often an object is tried that others write at the same time.
const MOST_TRIES: usize = 5;
/// What we say of ourselves in a lease; werf does not know it.
const OURS: &str = "Stagewright";

/// Why werf's lock was not taken.
pub enum Refusal {
    /// Somebody has it.
    Held {
        /// Who.
        holder: String,
        /// Since when, where that is known.
        since: Option<String>,
    },
    /// The server refused.
    Api(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// Whose the lock is that was renewed.
pub enum Renewed {
    /// It is ours.
    Held,
    /// There is no config map any more.
    Gone,
    /// It is not ours any more, for this reason.
    Lost(String),
}

/// The lock of one release.
pub struct WerfLock {
    api: Arc<Api>,
    sightings: Arc<Sightings>,
    address: String,
    /// The annotation.
    key: String,
    /// What it is called in there.
    name: String,
    /// Who we are, for people.
    holder: String,
    /// The id of our lease, and the lease as it was written last.
    held: Mutex<Option<(String, String)>>,
}

impl WerfLock {
    pub fn new(api: Arc<Api>, sightings: Arc<Sightings>, namespace: &str, release: &str, holder: &str) -> Self {
        let name = format!("release/{release}");
        Self {
            api,
            sightings,
            address: format!("/api/v1/namespaces/{}{WERF_LOCKS}", super::api::word(namespace)),
            key: key(&name),
            name,
            holder: holder.to_owned(),
            held: Mutex::default(),
        }
    }

    /// Returns the config map; `None` where there is none, or where this account does not see it.
    pub async fn look(&self) -> Result<Option<Value>, ApiError> {
        match self.api.get(&self.address).await {
            Err(error) if error.code() == Some(403) => Ok(None),
            found => found,
        }
    }

    /// Says whether somebody else was seen to have the lock.
    pub fn was_held(&self) -> bool {
        let (seen, _) = self.sighting(&Map::new());
        locked(&self.sightings).keys().any(|(of, _)| *of == seen)
    }

    /// Says who has the lock in the config map that was seen, where somebody living has it.
    pub fn held_in(&self, seen: Option<&Value>) -> Option<Refusal> {
        let lease = read(self.text(seen?)?);
        (!self.is_free(&lease)).then(|| held_by(&lease))
    }

    /// Takes the lock in the config map that was seen, where nobody living has it. `false` where there can be none.
    pub async fn take(&self, seen: Option<Value>) -> Result<bool, Refusal> {
        let taken = self.try_take(seen).await;
        // What was not answered may have been done.
        if !matches!(taken, Ok(true)) {
            self.give_back().await;
        }
        taken
    }

    async fn try_take(&self, mut seen: Option<Value>) -> Result<bool, Refusal> {
        let id = uuid::Uuid::new_v4().to_string();
        let since = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        for _ in 0..MOST_TRIES {
            let Some(map) = seen else { return Ok(false) };
            let lease = self.text(&map).map(read);
            // An answer that was lost may have been one that we have it.
            if let Some(lease) = lease.as_ref().filter(|lease| !is_of(lease, &id))
                && !self.is_free(lease)
            {
                return Err(held_by(lease));
            }
            let queue = lease.and_then(|mut lease| lease.remove("QueueMembers")).filter(Value::is_object);
            let ours = self.ours(&id, queue, &since).to_string();
            let mut operations = vec![
                json!({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata(&map, "resourceVersion")}),
            ];
            if map.pointer("/metadata/annotations").is_none() {
                operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
            }
            operations.push(json!({"op": "add", "path": self.path(), "value": ours}));
            *locked(&self.held) = Some((id.clone(), ours));
            match self.api.patch(&self.address, &operations).await {
                Ok(_) => return Ok(true),
                Err(error) if error.code() == Some(403) => {
                    let why = error.status().map(|status| status.message.clone()).unwrap_or_default();
                    self.api
                        .retries()
                        .say(&format!("warning: werf does not wait for this run, its lock cannot be taken: {why}"));
                    return Ok(false);
                }
                Err(error) if is_changed(&error) => seen = self.look().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Held { holder: "somebody who takes it again and again".to_owned(), since: None })
    }

    /// Renews the lease, where we have one. Only that is written: other releases have theirs beside it.
    ///
    /// # Errors
    /// It was not renewed; it may be ours still.
    pub async fn renew(&self) -> Result<Renewed, ApiError> {
        let Some((id, mut text)) = locked(&self.held).clone() else { return Ok(Renewed::Held) };
        let mut last = None;
        for _ in 0..MOST_TRIES {
            let mut lease = read(&text);
            lease.insert("ExpireAtTimestamp".to_owned(), (Timestamp::now().as_second() + LASTS).into());
            let renewed = Value::Object(lease).to_string();
            match self.exchange(&text, Some(&renewed)).await {
                Ok(_) => {
                    // It may be given back by now.
                    if let Some((_, text)) = locked(&self.held).as_mut().filter(|(own, _)| *own == id) {
                        *text = renewed;
                    }
                    return Ok(Renewed::Held);
                }
                Err(error) if !is_changed(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
            let Some(map) = self.look().await? else { return Ok(Renewed::Gone) };
            match self.text(&map).filter(|found| is_of(&read(found), &id)) {
                Some(found) => found.clone_into(&mut text),
                None => return Ok(Renewed::Lost("werf, or whoever cleaned up after it, took its lock".to_owned())),
            }
        }
        last.map_or(Ok(Renewed::Held), Err)
    }

    /// Takes our lease away; who waits in line is let in. One that stays is over after a while.
    pub async fn give_back(&self) {
        let Some((id, mut text)) = locked(&self.held).take() else { return };
        for _ in 0..MOST_TRIES {
            let mut lease = read(&text);
            let now = Timestamp::now().as_second();
            let waits =
                |member: &Value| member.get("ExpireAtTimestamp").and_then(Value::as_i64).is_some_and(|at| at >= now);
            let queue = lease.get("QueueMembers").and_then(Value::as_object);
            let is_waited_for = queue.is_some_and(|queue| queue.values().any(waits));
            lease.insert("ExpireAtTimestamp".to_owned(), (now - 1).into());
            lease.shift_remove(OURS);
            let over = is_waited_for.then(|| Value::Object(lease).to_string());
            match self.exchange(&text, over.as_deref()).await {
                Err(error) if is_changed(&error) => {}
                _ => return,
            }
            let Ok(Some(map)) = self.look().await else { return };
            match self.text(&map).filter(|found| is_of(&read(found), &id)) {
                Some(found) => found.clone_into(&mut text),
                None => return,
            }
        }
    }

    /// Writes another lease in the place of this one, or none.
    async fn exchange(&self, old: &str, new: Option<&str>) -> Result<Value, ApiError> {
        let path = self.path();
        let change = match new {
            Some(new) => json!({"op": "replace", "path": path, "value": new}),
            None => json!({"op": "remove", "path": path}),
        };
        self.api.patch(&self.address, &[json!({"op": "test", "path": path, "value": old}), change]).await
    }

    /// Where the lease is, as a patch names it.
    fn path(&self) -> String {
        format!("/metadata/annotations/{}", self.key.replace('/', "~1"))
    }

    /// Our lease. The queue is never null: werf puts itself into it.
    fn ours(&self, id: &str, queue: Option<Value>, since: &str) -> Value {
        json!({
            "uuid": id,
            "lockName": self.name,
            "ExpireAtTimestamp": Timestamp::now().as_second() + LASTS,
            "SharedHoldersCount": 1,
            "IsShared": false,
            "QueueMembers": queue.unwrap_or_else(|| json!({})),
            OURS: {"holder": self.holder, "since": since, "process": process::own()},
        })
    }

    /// Returns the lease in a config map.
    fn text<'a>(&self, map: &'a Value) -> Option<&'a str> {
        map.get("metadata")?.get("annotations")?.get(&self.key)?.as_str().filter(|text| !text.is_empty())
    }

    /// Says whether nobody living holds a lease. Clocks of machines differ: one that is over by its own is watched until
    /// nobody was seen to renew it for as long as werf's lasts; any other one three times as long.
    fn is_free(&self, lease: &Map<String, Value>) -> bool {
        let ours = lease.get(OURS).and_then(|ours| ours.get("process")?.as_str());
        if ours.is_some_and(process::is_dead) {
            return true;
        }
        let expires = lease.get("ExpireAtTimestamp").and_then(Value::as_i64);
        let over = expires.map_or(0, |at| Timestamp::now().as_second().saturating_sub(at));
        if over > LONG_AGO {
            return true;
        }
        let first = *locked(&self.sightings).entry(self.sighting(lease)).or_insert_with(Instant::now);
        first.elapsed() > if over > 0 { WATCHED.0 } else { WATCHED.1 }
    }

    /// Under which name it is kept when a lease was seen first.
    fn sighting(&self, lease: &Map<String, Value>) -> (String, String) {
        let version = format!("{:?} {:?}", lease.get("uuid"), lease.get("ExpireAtTimestamp"));
        (format!("{} {}", self.address, self.key), version)
    }
}

/// Reads a lease. What cannot be read is one that says nothing of itself.
fn read(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn is_of(lease: &Map<String, Value>, id: &str) -> bool {
    lease.get("uuid").is_some_and(|own| *own == *id)
}

/// Says whether something else stands there than what was to be changed.
fn is_changed(error: &ApiError) -> bool {
    matches!(error.code(), Some(404 | 409 | 422))
}

/// Returns the annotation of a lock. Source: lockgate.
fn key(name: &str) -> String {
    format!("lockgate.io/{}", hex::encode(Sha3_224::digest(name)))
}

fn held_by(lease: &Map<String, Value>) -> Refusal {
    let of_ours = |key: &str| Some(lease.get(OURS)?.get(key)?.as_str()?.to_owned());
    let holder = of_ours("holder").unwrap_or_else(|| "werf (ConfigMap werf-synchronization)".to_owned());
    Refusal::Held { holder, since: of_ours("since") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_the_annotation_that_werf_gives_it() {
        // printf release/shop | openssl dgst -sha3-224
        assert_eq!(key("release/shop"), "lockgate.io/bf6bf3980ecdf8e1e4d747ef0d87e60fd91c57f8f48c3e1953c1f625");
    }
}
