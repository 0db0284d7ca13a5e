//! A change of a cluster: writes, deletions, and the record that says when all are done.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::api::{ApiError, outdated};
use super::fields::{adopted, replicas_left};
use super::objects::{is_going, metadata};
use super::preview::{discreet, is_about_schema};
use super::releases::{HookRuns, Opened};
use super::{ClusterTarget, Place, kind_of, read_manifest, text};
use crate::backend::runtime::block_on;
use crate::plan::Propagation;
use crate::ports::{Over, TargetError, TargetSession};

/// How long a definition may take until the server serves its kind.
const ESTABLISHED: Duration = Duration::from_mins(1);
/// How long a server may go on with a definition as it was.
const SERVED: Duration = Duration::from_secs(10);
/// How often something is tried that others may change meanwhile.
const MOST_TRIES: usize = 5;
/// How long an object may take until it is gone.
const GONE: Duration = Duration::from_mins(5);

/// A change of a cluster: each write is seen at once, and the record says when all are done.
pub struct ClusterSession<'a> {
    target: &'a ClusterTarget,
    /// The release and revision that are under way.
    opened: Mutex<Option<(String, u64)>>,
    /// Its record, as it was written.
    record: Mutex<Option<Opened>>,
    /// What became of its hooks.
    hooks: Mutex<HookRuns>,
    /// The kinds whose definitions were written, by group.
    defined: Mutex<BTreeSet<(String, String)>>,
}

impl<'a> ClusterSession<'a> {
    /// Nothing is sent yet.
    pub fn new(target: &'a ClusterTarget) -> Self {
        Self {
            target,
            opened: Mutex::default(),
            record: Mutex::default(),
            hooks: Mutex::default(),
            defined: Mutex::default(),
        }
    }
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
                // What is on its way out is made anew, whoever set its fields.
                Err(ApiError::Outdated(error)) if *over == Over::Nothing => {
                    let live = api.get(&address).await?;
                    let Some(going) = live.filter(is_going) else {
                        return Err(discreet(ApiError::Outdated(error), &object));
                    };
                    self.wait_until_gone(&address, metadata(&going, "uid")).await?;
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
            if *over == Over::Nothing {
                return Err(another());
            }
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
    async fn take_over(&self, path: &str, content: &[u8], over: &Over) -> Result<Over, ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let object = read_manifest(&String::from_utf8_lossy(content))?;
        let kind = kind_of(api, &object).await?;
        let address = place.address(&kind);
        let Some(live) = api.get(&address).await? else { return Ok(over.clone()) };
        if matches!(over, Over::Object { id, .. } if id != metadata(&live, "uid")) {
            return Err(another());
        }
        let Some(managers) = adopted(&live) else { return Ok(over.clone()) };
        let version = match over {
            Over::Object { version: Some(version), .. } => version,
            Over::Anything | Over::Nothing | Over::Object { version: None, .. } => metadata(&live, "resourceVersion"),
        };
        let taken = api.set_managers(&address, version, &managers).await;
        taken.map(|taken| Over::of(&taken)).map_err(|error| discreet(outdated(error), &object))
    }

    async fn delete_only(&self, path: &str, over: &Over) -> Result<(), ApiError> {
        let api = &self.target.api;
        let place = Place::parse(path)?;
        let Some(kind) = api.preferred(place.group, place.kind).await? else { return Ok(()) };
        let address = place.address(&kind);
        let Some(object) = api.get(&address).await?.filter(|object| !is_going(object)) else { return Ok(()) };
        if *over == Over::Nothing {
            return Err(another());
        }
        let propagation = Propagation::of(&object).unwrap_or(Propagation::Background);
        api.delete_over(&address, metadata(&object, "uid"), over, propagation.name()).await
    }
}

impl TargetSession for ClusterSession<'_> {
    fn open(&self, release: &str, revision: u64, payload: &str) -> Result<(), TargetError> {
        let failed = self.target.failed(format!("record that revision {revision} of {release} is under way"));
        let opened = block_on(async {
            let wrong = |e| ApiError::Unexpected(format!("the record of the plan is no JSON: {e}"));
            let payload: Value = serde_json::from_str(payload).map_err(wrong)?;
            *self.hooks() = HookRuns::of(&payload);
            let records = self.target.records_of(release);
            // No record is made that would be in the way of who came between.
            if is_uninstalling(&payload) {
                self.target.recent.forget();
            }
            let earlier = self.target.recent.of(&records).await?;
            let opened = records.open(revision, payload, earlier).await;
            self.target.recent.forget();
            opened
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
        if !is_uninstalling(&payload) {
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

    fn write(&self, path: &str, content: &[u8], over: &Over) -> Result<(), TargetError> {
        let written = self.noted(path, || block_on(self.apply(path, content, over)));
        written.map_err(self.target.failed(format!("apply {path}")))
    }

    fn adopt(&self, path: &str, content: &[u8], over: &Over) -> Result<Over, TargetError> {
        let taken = block_on(self.take_over(path, content, over));
        taken.map_err(self.target.failed(format!("take over the fields of {path}")))
    }

    fn leave_replicas(&self, path: &str, content: &[u8]) -> Result<(), TargetError> {
        let left = block_on(self.give_up_replicas(path, content));
        left.map_err(self.target.failed(format!("leave the replicas of {path} to others")))
    }

    fn replace(&self, path: &str, content: &[u8], over: &Over) -> Result<(), TargetError> {
        let replaced = self.noted(path, || {
            block_on(async {
                self.remove(path, content, over).await?;
                self.apply(path, content, &Over::Nothing).await
            })
        });
        replaced.map_err(self.target.failed(format!("replace {path}")))
    }

    fn delete(&self, path: &str, over: &Over) -> Result<(), TargetError> {
        block_on(self.delete_only(path, over)).map_err(self.target.failed(format!("delete {path}")))
    }

    fn commit(&self, release: &str, revision: u64, _: &Value) -> Result<(), TargetError> {
        let (record, hooks) = (self.record().take(), self.hooks());
        let finished = block_on(self.target.records_of(release).finish(revision, record, &hooks));
        self.target.recent.forget();
        finished.map_err(self.target.failed(format!("record revision {revision} of {release} as deployed")))?;
        *self.opened() = None;
        Ok(())
    }

    fn forget(&self, release: &str) -> Result<(), TargetError> {
        let forgotten = block_on(self.target.records_of(release).forget());
        self.target.recent.forget();
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
        self.target.recent.forget();
    }
}

/// Says whether a record is to say that its release is being deleted.
fn is_uninstalling(payload: &Value) -> bool {
    payload.pointer("/info/status").is_some_and(|status| status == "uninstalling")
}

fn another() -> ApiError {
    ApiError::Outdated(Box::new(ApiError::Unexpected("it was made meanwhile".to_owned())))
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
