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
use super::objects::set;

/// How long our lease lasts that nobody renews, seconds.
const LASTS: i64 = 30;
/// How long one is watched that says of itself that it is over, and any other.
const WATCHED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// Clocks that somebody looks after differ by less, seconds.
const SKEW: i64 = 300;
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
    /// It is ours, or there is none any more that werf could take.
    Held,
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
    /// Our lease, and the config map as it was written last.
    held: Mutex<Option<(String, Value)>>,
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

    /// Notes that a lease was seen, so that it is known later for how long nobody renewed it.
    pub fn note(&self, seen: Option<&Value>) {
        if let Some(lease) = seen.and_then(|map| self.lease(map)) {
            self.is_free(&lease);
        }
    }

    /// Takes the lock in the config map that was seen, where nobody living has it.
    pub async fn take(&self, mut seen: Option<Value>) -> Result<(), Refusal> {
        for _ in 0..MOST_TRIES {
            let Some(mut map) = seen else { return Ok(()) };
            let lease = self.lease(&map);
            if let Some(lease) = &lease
                && !self.is_free(lease)
            {
                return Err(held_by(lease));
            }
            let queue = lease.and_then(|mut lease| lease.remove("QueueMembers")).filter(Value::is_object);
            let id = uuid::Uuid::new_v4().to_string();
            let ours = self.ours(&id, queue, &Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
            self.write(&mut map, Some(&ours));
            match self.api.update(&self.address, &map).await {
                Ok(written) => {
                    *locked(&self.held) = Some((id, written));
                    return Ok(());
                }
                // Whom werf would wait for cannot be said by an account that only reads.
                Err(error) if error.code() == Some(403) => return Ok(()),
                Err(error) if error.is_conflict() || error.is_not_found() => seen = self.look().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Held { holder: "somebody who takes it again and again".to_owned(), since: None })
    }

    /// Renews the lease, where we have one.
    pub async fn renew(&self) -> Result<Renewed, ApiError> {
        let Some((id, mut map)) = locked(&self.held).clone() else { return Ok(Renewed::Held) };
        for _ in 0..MOST_TRIES {
            let lease = self.lease(&map);
            let Some(mut lease) = lease.filter(|lease| lease.get("uuid").is_some_and(|own| *own == *id)) else {
                return Ok(Renewed::Lost("werf, or whoever cleaned up after it, took its lock".to_owned()));
            };
            lease.insert("ExpireAtTimestamp".to_owned(), (Timestamp::now().as_second() + LASTS).into());
            self.write(&mut map, Some(&lease));
            match self.api.update(&self.address, &map).await {
                Ok(written) => {
                    *locked(&self.held) = Some((id, written));
                    return Ok(Renewed::Held);
                }
                Err(error) if error.is_conflict() || error.is_not_found() => {
                    let Some(found) = self.look().await? else {
                        *locked(&self.held) = None;
                        return Ok(Renewed::Held);
                    };
                    map = found;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Renewed::Lost(format!("werf's lock was changed {MOST_TRIES} times while it was renewed")))
    }

    /// Takes our lease away; who waits in line is let in. One that stays is over after a while.
    pub async fn give_back(&self) {
        let Some((id, mut map)) = locked(&self.held).take() else { return };
        for _ in 0..MOST_TRIES {
            let lease = self.lease(&map);
            let Some(mut lease) = lease.filter(|lease| lease.get("uuid").is_some_and(|own| *own == *id)) else {
                return;
            };
            let now = Timestamp::now().as_second();
            let waits =
                |member: &Value| member.get("ExpireAtTimestamp").and_then(Value::as_i64).is_some_and(|at| at >= now);
            let queue = lease.get("QueueMembers").and_then(Value::as_object);
            if queue.is_some_and(|queue| queue.values().any(waits)) {
                lease.insert("ExpireAtTimestamp".to_owned(), (now - 1).into());
                lease.shift_remove(OURS);
                self.write(&mut map, Some(&lease));
            } else {
                self.write(&mut map, None);
            }
            match self.api.update(&self.address, &map).await {
                Err(error) if error.is_conflict() => {}
                _ => return,
            }
            match self.look().await {
                Ok(Some(found)) => map = found,
                _ => return,
            }
        }
    }

    /// Our lease. The queue is never null: werf puts itself into it.
    fn ours(&self, id: &str, queue: Option<Value>, since: &str) -> Map<String, Value> {
        let ours = json!({
            "uuid": id,
            "lockName": self.name,
            "ExpireAtTimestamp": Timestamp::now().as_second() + LASTS,
            "SharedHoldersCount": 1,
            "IsShared": false,
            "QueueMembers": queue.unwrap_or_else(|| json!({})),
            OURS: {"holder": self.holder, "since": since, "process": process::own()},
        });
        if let Value::Object(ours) = ours { ours } else { Map::new() }
    }

    /// Reads the lease in a config map. What cannot be read is one that says nothing of itself.
    fn lease(&self, map: &Value) -> Option<Map<String, Value>> {
        let text = map.get("metadata")?.get("annotations")?.get(&self.key)?.as_str()?;
        (!text.is_empty()).then(|| serde_json::from_str(text).unwrap_or_default())
    }

    fn write(&self, map: &mut Value, lease: Option<&Map<String, Value>>) {
        if let Some(lease) = lease {
            let text = serde_json::to_string(lease).unwrap_or_default();
            set(map, &["metadata", "annotations", &self.key], text.into());
        } else if let Some(annotations) = map.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(&self.key);
        }
    }

    /// Says whether nobody living holds a lease. Clocks of machines differ: one that is over by its own is watched until
    /// nobody was seen to renew it for as long as werf's lasts; any other one three times as long.
    fn is_free(&self, lease: &Map<String, Value>) -> bool {
        let text = |key: &str| lease.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours = lease.get(OURS).and_then(|ours| ours.get("process")?.as_str());
        if ours.is_some_and(process::is_dead) {
            return true;
        }
        let expires = lease.get("ExpireAtTimestamp").and_then(Value::as_i64);
        let over = expires.map_or(0, |at| Timestamp::now().as_second().saturating_sub(at));
        if over > SKEW {
            return true;
        }
        let seen = (format!("{} {}", self.address, self.key), format!("{} {expires:?}", text("uuid")));
        let first = *locked(&self.sightings).entry(seen).or_insert_with(Instant::now);
        first.elapsed() > if over > 0 { WATCHED.0 } else { WATCHED.1 }
    }
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
