//! The lock of a release in a cluster: a Lease beside its records.
//!
//! What lives here: taking, renewing and giving back a Lease, and how one is told whose holder is dead. What does not:
//! who waits for it, and for how long (`cli`).
//!
//! The one idea: clocks of machines differ, so a Lease is over when nobody was seen to renew it for as long as it says,
//! by our own clock, which may be set but not stand still. A holder on this very machine is simply looked for, where the processes of all users are seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, ApiError};
use super::objects::{metadata, set};
use super::releases::Recent;
use super::werf_lock::{self, Renewed, WerfLock};
use super::{ClusterTarget, split_release};
use crate::backend::runtime::block_on;
use crate::ports::{Hold, Lock, LockError, LockGuard};

/// How long a Lease lasts that nobody renews.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is renewed.
const BEAT: Duration = Duration::from_secs(5);
/// When it was not renewed for so long, nothing new is begun.
const UNSURE: Duration = Duration::from_secs(20);
/// No Lease lasts longer, whatever it says.
const LONGEST: Duration = Duration::from_hours(1);
/// Clocks differ by less, whatever time zone somebody took for another.
const LONG_AGO: Duration = Duration::from_hours(26);
/// Clocks that somebody looks after differ by less.
const SKEW: Duration = Duration::from_mins(5);
/// How often a Lease is tried that others write at the same time.
const MOST_TRIES: usize = 5;
/// How often a Lease is looked at that somebody else holds, and for how long, once the run is under way.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// The annotation that names the process, for others on the same machine.
const PROCESS: &str = "stagewright/process";

/// The name of a release's Lease.
pub fn lease_name(release: &str) -> String {
    format!("stagewright-lock-{release}")
}

fn address(namespace: &str, release: &str) -> (String, String) {
    let list = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", super::api::word(namespace));
    let object = format!("{list}/{}", super::api::word(&lease_name(release)));
    (list, object)
}

/// When a Lease was seen first, by address and version.
pub(super) type Sightings = Mutex<BTreeMap<(String, String), Instant>>;

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lock for ClusterTarget {
    fn try_lock(&self, name: &str, holder: &str) -> Result<Box<dyn LockGuard>, LockError> {
        let (namespace, release) = split_release(name.strip_prefix("release ").unwrap_or(name));
        let (list, object) = address(namespace, release);
        let lease = Lease {
            api: self.api.clone(),
            sightings: self.sightings.clone(),
            recent: self.recent.clone(),
            name: name.to_owned(),
            holder: holder.to_owned(),
            namespace: namespace.to_owned(),
            release: release.to_owned(),
            attempt: format!("take the lock {object} in the cluster {}", self.name),
            list,
            address: object,
            state: Mutex::new(State::Pending),
            changed: Condvar::new(),
            werf: WerfLock::new(self.api.clone(), self.sightings.clone(), namespace, release, holder),
        };
        // Its namespace may come with the release; the lock is taken then. The server takes long to refuse it before.
        if !self.api.was_absent(&format!("/api/v1/namespaces/{}", super::api::word(namespace))) {
            match lease.take() {
                Ok(()) | Err(Refusal::NoNamespace) => {}
                Err(Refusal::Lock(error)) => return Err(error),
            }
        }
        let lease = Arc::new(lease);
        let beating = lease.clone();
        let begun = std::thread::Builder::new().spawn(move || beating.beat());
        let unable = |source| LockError::Io { attempt: "begin to renew the lock".to_owned(), source };
        begun.map_err(unable)?;
        let fence = lease.clone();
        self.api.fence(Some(Arc::new(move || fence.hold())));
        Ok(Box::new(Guard(lease)))
    }
}

/// Gives the Lease back when it is dropped.
struct Guard(Arc<Lease>);

/// Whose a Lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// There is no place for it yet.
    Pending,
    /// It is ours.
    Ours(Own),
    /// There can be none; but we have werf's lock, which was renewed then.
    OfWerf(Moment),
    /// The lock is not ours any more, for this reason; the Lease may be.
    Lost(String, Option<Own>),
    /// It is given back.
    Over,
}

/// What a Lease of ours is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own {
    uid: String,
    version: String,
    acquired: String,
    renewed: Moment,
}

/// A moment by two clocks: one that nobody sets, and one that goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(Instant, Timestamp);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), Timestamp::now())
    }

    /// Returns how long it is past, by the clock that says more.
    fn elapsed(self) -> Duration {
        let set = Duration::try_from(Timestamp::now().duration_since(self.1)).unwrap_or_default();
        self.0.elapsed().max(set)
    }
}

/// Why a Lease was not taken.
enum Refusal {
    NoNamespace,
    Lock(LockError),
}

struct Lease {
    api: Arc<Api>,
    sightings: Arc<Sightings>,
    /// What was listed before the lock was taken is listed again.
    recent: Arc<Recent>,
    name: String,
    holder: String,
    namespace: String,
    release: String,
    attempt: String,
    list: String,
    address: String,
    state: Mutex<State>,
    changed: Condvar,
    /// The same lock as werf takes it.
    werf: WerfLock,
}

impl Lease {
    fn hold(&self) -> Hold {
        match &*locked(&self.state) {
            State::Ours(Own { renewed, .. }) | State::OfWerf(renewed) if renewed.elapsed() >= UNSURE => Hold::Unsure,
            State::Ours(_) | State::OfWerf(_) | State::Pending | State::Over => Hold::Sure,
            State::Lost(why, _) => Hold::Lost(why.clone()),
        }
    }

    /// Takes the Lease, where nobody living has it, and werf's lock.
    fn take(&self) -> Result<(), Refusal> {
        for _ in 0..MOST_TRIES {
            let acquired = micros(Timestamp::now());
            let renewed = Moment::now();
            let wanted = self.object(&acquired, &acquired);
            // Who has werf's lock is looked at first where it is known to be held, and beside the Lease else.
            let look = self.werf.look();
            let (made, seen) = if self.werf.was_held() {
                let seen = block_on(look);
                if let Some(refusal) = self.werf.held_in(seen.as_ref().ok().and_then(Option::as_ref)) {
                    return Err(self.refused_by_werf(refusal));
                }
                (block_on(self.api.create(&self.list, &wanted)), seen)
            } else {
                block_on(join(self.api.create(&self.list, &wanted), look))
            };
            let taken = match made {
                Err(error) if error.is_conflict() => {
                    // It is known from now on for how long nobody renews it.
                    self.werf.held_in(seen.as_ref().ok().and_then(Option::as_ref));
                    self.take_over(&acquired)?
                }
                Err(error) => return self.take_of_werf_alone(seen, self.refused(error)),
                Ok(made) => Some(made),
            };
            if let Some(taken) = taken {
                let of = |key: &str| metadata(&taken, key).to_owned();
                let (uid, version) = (of("uid"), of("resourceVersion"));
                *locked(&self.state) = State::Ours(Own { uid, version, acquired, renewed });
                self.recent.forget();
                return self.take_of_werf(seen);
            }
        }
        let holder = "somebody who takes it again and again".to_owned();
        Err(Refusal::Lock(LockError::Held { name: self.name.clone(), holder, since: None }))
    }

    /// Takes werf's lock in the config map that was seen; where somebody has it, the Lease is given back.
    fn take_of_werf(&self, seen: Result<Option<Value>, ApiError>) -> Result<(), Refusal> {
        let taken = seen.map_err(Into::into).and_then(|seen| block_on(self.werf.take(seen)));
        let Err(refusal) = taken else { return Ok(()) };
        self.leave();
        Err(self.refused_by_werf(refusal))
    }

    /// Takes werf's lock where the Lease was refused, as to an account that may have none.
    fn take_of_werf_alone(&self, seen: Result<Option<Value>, ApiError>, refusal: Refusal) -> Result<(), Refusal> {
        let Refusal::Lock(LockError::Unable(why)) = &refusal else { return Err(refusal) };
        self.recent.forget();
        let renewed = Moment::now();
        let taken = seen.map_err(Into::into).and_then(|seen| block_on(self.werf.take(seen)));
        if !taken.map_err(|refusal| self.refused_by_werf(refusal))? {
            return Err(refusal);
        }
        self.api.retries().say(&format!("warning: the release is locked by werf's lock alone: {why}"));
        *locked(&self.state) = State::OfWerf(renewed);
        Ok(())
    }

    fn refused_by_werf(&self, refusal: werf_lock::Refusal) -> Refusal {
        Refusal::Lock(match refusal {
            werf_lock::Refusal::Held { holder, since } => LockError::Held { name: self.name.clone(), holder, since },
            werf_lock::Refusal::Api(error) => {
                let attempt = format!("take werf's lock of the release, too: {}", self.attempt);
                LockError::Io { attempt, source: std::io::Error::other(error) }
            }
        })
    }

    /// Takes the Lease that is there, where its holder is dead; `None` where it changed meanwhile.
    fn take_over(&self, acquired: &str) -> Result<Option<Value>, Refusal> {
        let found = block_on(self.api.get(&self.address)).map_err(|error| self.refused(error))?;
        let Some(found) = found else { return Ok(None) };
        if !self.is_free(&found) {
            let text = |key: &str| spec(&found, key).and_then(Value::as_str).map(str::to_owned);
            let holder = text("holderIdentity").unwrap_or_else(|| "somebody".to_owned());
            let since = text("acquireTime").map(|at| seconds_of(&at));
            return Err(Refusal::Lock(LockError::Held { name: self.name.clone(), holder, since }));
        }
        let mut wanted = self.object(acquired, acquired);
        set(&mut wanted, &["metadata", "resourceVersion"], metadata(&found, "resourceVersion").into());
        let changes = spec(&found, "leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        set(&mut wanted, &["spec", "leaseTransitions"], (changes + 1).into());
        match block_on(self.api.update(&self.address, &wanted)) {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn object(&self, acquired: &str, renewed: &str) -> Value {
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": lease_name(&self.release), "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": LASTS.as_secs(),
                "acquireTime": acquired,
                "renewTime": renewed,
            },
        });
        if let Some(process) = process::own() {
            set(&mut object, &["metadata", "annotations"], json!({PROCESS: process}));
        }
        object
    }

    fn refused(&self, error: ApiError) -> Refusal {
        let status = error.status();
        if status.is_some_and(|s| s.code == 404 && s.message.contains("namespaces")) {
            return Refusal::NoNamespace;
        }
        if status.is_some_and(|s| s.code == 404 || s.code == 403 && s.message.contains("leases")) {
            let why = status.map(|s| s.message.clone()).unwrap_or_default();
            return Refusal::Lock(LockError::Unable(why));
        }
        Refusal::Lock(LockError::Io { attempt: self.attempt.clone(), source: std::io::Error::other(error) })
    }

    /// Says whether nobody living holds a Lease.
    fn is_free(&self, lease: &Value) -> bool {
        let holder = spec(lease, "holderIdentity").and_then(Value::as_str).unwrap_or_default();
        let process = lease.pointer("/metadata/annotations").and_then(|a| a.get(PROCESS)?.as_str());
        if holder.is_empty() || process.is_some_and(process::is_dead) {
            return true;
        }
        let lasts = spec(lease, "leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(LASTS.as_secs());
        let lasts = Duration::from_secs(lasts).min(LONGEST);
        let renewed = spec(lease, "renewTime").and_then(|at| at.as_str()?.parse::<Timestamp>().ok());
        let age = renewed.and_then(|at| Duration::try_from(Timestamp::now().duration_since(at)).ok());
        if age.is_some_and(|age| age > lasts + LONG_AGO) {
            return true;
        }
        // By its own clock it is over; but this clock may be wrong, and whoever lives renews it.
        let lasts = if age.is_some_and(|age| age > lasts + SKEW) { lasts.min(LASTS) } else { lasts };
        let seen = (self.address.clone(), metadata(lease, "resourceVersion").to_owned());
        let first = *locked(&self.sightings).entry(seen).or_insert_with(Instant::now);
        first.elapsed() > lasts
    }

    /// Renews the lock until it is given back or lost.
    fn beat(&self) {
        let mut state = locked(&self.state);
        loop {
            state = self.changed.wait_timeout(state, BEAT).unwrap_or_else(PoisonError::into_inner).0;
            let before = match &*state {
                State::Ours(Own { renewed, .. }) | State::OfWerf(renewed) if renewed.elapsed() >= BEAT => state.clone(),
                State::Pending | State::Ours(_) | State::OfWerf(_) => continue,
                State::Lost(..) | State::Over => return,
            };
            drop(state);
            let renewed = block_on(self.renewed(&before));
            state = locked(&self.state);
            // It may have been given back meanwhile, or taken anew.
            if *state == before {
                *state = renewed;
            }
        }
    }

    /// Renews what is held once, and says what is then. That werf's lock cannot be renewed for a while ends nothing as long
    /// as we have the Lease: that somebody took it is seen once it can.
    async fn renewed(&self, before: &State) -> State {
        let at = Moment::now();
        let of_werf = async { tokio::time::timeout(BEAT, self.werf.renew()).await.ok().and_then(Result::ok) };
        match before {
            State::Ours(own) => match join(self.renew(own), of_werf).await {
                (State::Ours(own), Some(Renewed::Lost(why))) => State::Lost(why, Some(own)),
                (state, _) => state,
            },
            State::OfWerf(_) => match of_werf.await {
                Some(Renewed::Held) => State::OfWerf(at),
                Some(Renewed::Gone) => State::Lost("somebody deleted it".to_owned(), None),
                Some(Renewed::Lost(why)) => State::Lost(why, None),
                None => before.clone(),
            },
            State::Pending | State::Lost(..) | State::Over => before.clone(),
        }
    }

    /// Renews the Lease once, and says whose it is.
    async fn renew(&self, own: &Own) -> State {
        let lost = |why: String| State::Lost(why, None);
        let mut version = own.version.clone();
        for _ in 0..MOST_TRIES {
            let at = Moment::now();
            let mut wanted = self.object(&own.acquired, &micros(Timestamp::now()));
            set(&mut wanted, &["metadata", "resourceVersion"], version.clone().into());
            // One that was given back meanwhile is not made anew.
            set(&mut wanted, &["metadata", "uid"], own.uid.clone().into());
            let error = match self.api.update(&self.address, &wanted).await {
                Ok(found) => {
                    let version = metadata(&found, "resourceVersion").to_owned();
                    return State::Ours(Own { version, renewed: at, ..own.clone() });
                }
                Err(error) => error,
            };
            if !error.is_conflict() && !error.is_not_found() {
                return lost(format!("it could not be renewed: {error}"));
            }
            match self.api.get(&self.address).await {
                Ok(Some(found)) if self.is_ours(&found, own) => {
                    metadata(&found, "resourceVersion").clone_into(&mut version);
                }
                Ok(Some(found)) => {
                    let other = spec(&found, "holderIdentity").and_then(Value::as_str).unwrap_or("somebody");
                    return lost(format!("{other} has it now"));
                }
                Ok(None) => return lost("somebody deleted it".to_owned()),
                Err(error) => return lost(format!("it could not be renewed: {error}")),
            }
        }
        lost(format!("it was changed {MOST_TRIES} times while it was renewed"))
    }

    fn is_ours(&self, lease: &Value, own: &Own) -> bool {
        let is = |key: &str, value: &str| spec(lease, key).and_then(Value::as_str) == Some(value);
        is("holderIdentity", &self.holder) && is("acquireTime", &own.acquired)
    }

    /// Gives back what was taken.
    fn give_back(&self) {
        let before = std::mem::replace(&mut *locked(&self.state), State::Over);
        self.changed.notify_all();
        block_on(self.werf.give_back());
        self.delete(before);
    }

    /// Gives the Lease back; another one may be taken.
    fn leave(&self) {
        let before = std::mem::replace(&mut *locked(&self.state), State::Pending);
        self.delete(before);
    }

    /// Deletes the Lease, as long as it is ours.
    fn delete(&self, state: State) {
        let (State::Ours(own) | State::Lost(_, Some(own))) = state else { return };
        let mut version = own.version.clone();
        for _ in 0..MOST_TRIES {
            let conditions = json!({"uid": own.uid, "resourceVersion": version});
            match block_on(self.api.delete_if(&self.address, conditions, "Background")) {
                Err(error) if error.is_conflict() => {}
                // One that stays is over after a while.
                _ => return,
            }
            match block_on(self.api.get(&self.address)) {
                Ok(Some(found)) if self.is_ours(&found, &own) => {
                    metadata(&found, "resourceVersion").clone_into(&mut version);
                }
                _ => return,
            }
        }
    }
}

impl LockGuard for Guard {
    fn hold(&self) -> Hold {
        self.0.hold()
    }

    fn confirm(&self) -> Result<(), LockError> {
        let start = Instant::now();
        while *locked(&self.0.state) == State::Pending {
            match self.0.take() {
                Ok(()) => {}
                Err(Refusal::NoNamespace) => {
                    let why = format!("the namespace {} is gone again", self.0.namespace);
                    return Err(LockError::Io { attempt: self.0.attempt.clone(), source: std::io::Error::other(why) });
                }
                // Then the record of the release alone tells two runs apart, as long as it is fresh.
                Err(Refusal::Lock(LockError::Unable(_))) => {
                    self.0.api.fence(None);
                    return Ok(());
                }
                Err(Refusal::Lock(error @ LockError::Held { .. })) => {
                    if start.elapsed() > LOOK.1 || self.0.api.retries().is_ending() {
                        return Err(error);
                    }
                    std::thread::sleep(LOOK.0);
                }
                Err(Refusal::Lock(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.api.fence(None);
        self.0.give_back();
    }
}

fn spec<'a>(lease: &'a Value, key: &str) -> Option<&'a Value> {
    lease.get("spec")?.get(key)
}

/// Writes a time as Leases have it. Source: Kubernetes, `MicroTime`.
fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Returns a time without parts of seconds, for people.
fn seconds_of(time: &str) -> String {
    let (whole, _) = time.split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{} UTC", whole.replace('T', " "))
}

/// Processes of this machine. Source: Linux, `proc(5)`; elsewhere nothing is known of them.
pub(super) mod process {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::Path;

    const PROC: &str = "/proc";

    /// Names this process: the machine and its boot, what it counts its processes by, its number and when it began.
    pub fn own() -> Option<String> {
        let id = std::process::id();
        let (_, began) = read(Path::new(PROC), id).ok().flatten()?;
        Some(format!("{}/{id}/{began}", machine(Path::new(PROC))?))
    }

    /// Says whether a process of this machine is not there any more. Of others nothing is known.
    pub fn is_dead(name: &str) -> bool {
        is_dead_in(Path::new(PROC), name)
    }

    pub(super) fn is_dead_in(proc: &Path, name: &str) -> bool {
        let mut parts = name.rsplitn(3, '/');
        let (began_then, id, machine_then) = (parts.next(), parts.next(), parts.next());
        let Some(id) = id.and_then(|id| id.parse().ok()) else { return false };
        if machine_then.is_none() || machine_then != machine(proc).as_deref() {
            return false;
        }
        match read(proc, id) {
            Ok(Some((state, began))) => matches!(state.as_str(), "Z" | "X") || Some(began.as_str()) != began_then,
            // What cannot be seen may be there all the same.
            Ok(None) => shows_all(proc),
            Err(_) => false,
        }
    }

    pub(super) fn machine(proc: &Path) -> Option<String> {
        let boot = fs::read_to_string(proc.join("sys/kernel/random/boot_id")).ok()?;
        // Machines that were copied while they ran have a boot in common.
        let host = fs::read_to_string(proc.join("sys/kernel/hostname")).ok()?;
        let processes = fs::read_link(proc.join("self/ns/pid")).ok()?;
        Some(format!("{}/{}/{}", host.trim(), boot.trim(), processes.display()))
    }

    /// Returns the state of a process and when it began, counted since the boot; `None` where it is not there.
    fn read(proc: &Path, id: u32) -> std::io::Result<Option<(String, String)>> {
        let text = match fs::read_to_string(proc.join(format!("{id}/stat"))) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The name before may hold anything.
        let (_, fields) = text.rsplit_once(')').ok_or(ErrorKind::InvalidData)?;
        let mut fields = fields.split_whitespace();
        let (state, began) = (fields.next(), fields.nth(18));
        Ok(Some((state.ok_or(ErrorKind::InvalidData)?.to_owned(), began.ok_or(ErrorKind::InvalidData)?.to_owned())))
    }

    /// Says whether the processes of all users are seen: `/proc` may hide them (its option `hidepid`).
    fn shows_all(proc: &Path) -> bool {
        let Ok(mounts) = fs::read_to_string(proc.join("self/mountinfo")) else { return false };
        // The fifth field is where it is mounted, the last one how; what was mounted last counts.
        let own = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(PROC));
        let Some(options) = own.and_then(|line| line.rsplit(' ').next()) else { return false };
        let mut hides = options.split(',').filter_map(|option| option.strip_prefix("hidepid="));
        hides.all(|how| matches!(how, "0" | "off")) && proc.join("1/stat").exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_server_reads_it() {
        let time: Timestamp = "2026-11-22T18:02:11.5Z".parse().unwrap();
        assert_eq!(micros(time), "2026-11-22T18:02:11.500000Z");
        assert_eq!(seconds_of(&micros(time)), "2026-11-22 18:02:11 UTC");
    }

    /// A `/proc` with a process 1, and the name of one that is not there.
    #[cfg(target_os = "linux")]
    fn proc_with(options: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("sys/kernel/random/boot_id", "boot\n");
        write("sys/kernel/hostname", "host\n");
        write("1/stat", "1 (init) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 0");
        write("self/mountinfo", &format!("22 27 0:21 / /proc rw,nosuid shared:12 - proc proc rw{options}\n"));
        std::fs::create_dir_all(dir.path().join("self/ns")).unwrap();
        std::os::unix::fs::symlink("pid:[4026531836]", dir.path().join("self/ns/pid")).unwrap();
        let name = format!("{}/4711/12", process::machine(dir.path()).unwrap());
        (dir, name)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_may_be_hidden_is_not_taken_for_dead() {
        for (options, dead) in
            [("", true), (",hidepid=0", true), (",hidepid=2", false), (",gid=4,hidepid=invisible", false)]
        {
            let (dir, name) = proc_with(options);
            assert_eq!(process::is_dead_in(dir.path(), &name), dead, "{options}");
            // One that is seen is known.
            let first = name.replace("/4711/12", "/1/7");
            assert!(!process::is_dead_in(dir.path(), &first), "{options}");
            assert!(process::is_dead_in(dir.path(), &first.replace("/1/7", "/1/8")), "another one of that number");
        }
        let (dir, name) = proc_with("");
        std::fs::remove_file(dir.path().join("self/mountinfo")).unwrap();
        assert!(!process::is_dead_in(dir.path(), &name));
        let (dir, name) = proc_with("");
        std::fs::remove_file(dir.path().join("1/stat")).unwrap();
        assert!(!process::is_dead_in(dir.path(), &name), "not even the first one is seen");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_of_this_machine_is_known_to_be_dead() {
        let own = process::own().unwrap();
        assert!(!process::is_dead(&own));
        let (rest, _) = own.rsplit_once('/').unwrap();
        assert!(process::is_dead(&format!("{rest}/1")), "another one of that number");
        assert!(!process::is_dead(&format!("other{own}")), "of another machine nothing is known");
        assert!(!process::is_dead("nonsense"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = own.replace(&format!("/{}/", std::process::id()), &format!("/{}/", child.id()));
        child.wait().unwrap();
        assert!(process::is_dead(&name));
    }
}
