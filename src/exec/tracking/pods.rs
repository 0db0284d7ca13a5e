//! What is wrong with the pods of a resource, and whether it is too much.
//!
//! The one idea: a fault is counted once: by pod, container, reason and number of the restart. Source: kubedog; of what it
//! counts after several tries, that fails at once which no further try mends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ready::{condition, is, number, text, told};
use crate::plan::{StuckPod, Tracking};
use crate::ports::{LogSource, Sight};

/// How long a pod may find no node, or a volume not be mounted. Unit: milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// The same where it is mended elsewhere, or tried again after minutes: the longest pause of a kubelet is five. Unit: milliseconds.
const LONG_PATIENCE_MS: u64 = 330_000;

/// Something that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Tells it from others: the same is counted once.
    key: String,
    /// What is wrong.
    pub text: String,
    /// In short, for a line of progress.
    pub short: String,
    /// Whose lines tell more.
    pub source: Option<LogSource>,
    weight: Weight,
    /// It stays told when it is over: what was told before is not counted.
    lingers: bool,
}

/// How much a trouble counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// No further try mends it.
    Final,
    /// It is one failure.
    One,
    /// It is a failure when it lasts.
    Lasting,
    /// It is a failure when it lasts for minutes.
    Slow,
    /// It is worth telling.
    Nothing,
}

/// What was wrong so far with one resource.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What was counted.
    seen: BTreeSet<String>,
    /// Since when each trouble has lasted that is there now. Unit: milliseconds.
    since: BTreeMap<String, u64>,
    failures: u64,
    /// What the object itself had to say before it was tracked.
    before: Option<BTreeMap<String, u64>>,
    /// Images that could not be pulled before it was tracked: they are asked for again after a pause.
    pauses: Option<BTreeSet<String>>,
    /// What was told of pods when they were seen first, and may be over.
    lingering: Option<BTreeSet<String>>,
}

/// What the pods mean for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Well,
    /// Something is wrong, and may yet be mended.
    Troubled(Trouble),
    /// It is too much.
    Failed(Trouble),
}

impl Tally {
    /// Takes over what is seen now.
    pub fn take(&mut self, sight: &Sight, tracking: &Tracking, now_ms: u64) -> Verdict {
        let Some(object) = &sight.object else { return Verdict::Well };
        let mut troubles: Vec<Trouble> =
            sight.pods.iter().flat_map(|pod| of_pod(pod, object, sight, tracking)).collect();
        if !sight.pods.is_empty() {
            let lingering = self.lingering.get_or_insert_with(|| {
                troubles.iter().filter(|trouble| trouble.lingers).map(|trouble| trouble.key.clone()).collect()
            });
            troubles.retain(|trouble| !lingering.contains(&trouble.key));
        }
        troubles.extend(of_older(object, sight, tracking));
        troubles.extend(self.of_events(object, sight));
        let pauses = self.pauses.get_or_insert_with(|| {
            let paused = troubles.iter().filter(|t| t.key.ends_with(PULL_PAUSE));
            paused.map(|t| t.key.clone()).collect()
        });
        for trouble in troubles.iter_mut().filter(|t| pauses.contains(&t.key)) {
            trouble.weight = Weight::Slow;
        }
        // What passed and comes again lasts since then, and so does what was no fault until now.
        let counting = troubles.iter().filter(|trouble| trouble.weight != Weight::Nothing);
        let lasting: BTreeSet<String> = counting.map(Trouble::lasts_as).collect();
        self.since.retain(|key, _| lasting.contains(key));
        for key in lasting {
            self.since.entry(key).or_insert(now_ms);
        }
        let allowed = tracking.failures_allowed.saturating_mul(replicas(object).max(1));
        let mut worst: Option<Trouble> = None;
        for trouble in troubles {
            let since = self.since.get(&trouble.lasts_as()).copied().unwrap_or(now_ms);
            let is_final = match trouble.weight {
                Weight::Final => true,
                Weight::One => {
                    self.failures += u64::from(self.seen.insert(trouble.key.clone()));
                    self.failures > allowed
                }
                Weight::Lasting => now_ms.saturating_sub(since) >= PATIENCE_MS,
                Weight::Slow => now_ms.saturating_sub(since) >= LONG_PATIENCE_MS,
                Weight::Nothing => false,
            };
            if is_final {
                return Verdict::Failed(trouble);
            }
            if worst.as_ref().is_none_or(|w| w.weight == Weight::Nothing) {
                worst = Some(trouble);
            }
        }
        worst.map_or(Verdict::Well, Verdict::Troubled)
    }

    /// Events of the object and of what stands between it and its pods: no pod could be made.
    fn of_events(&mut self, object: &Value, sight: &Sight) -> Vec<Trouble> {
        let uid = text(object, "/metadata/uid").unwrap_or_default();
        let key = |e: &Value| {
            let of = |p: &str| text(e, p).unwrap_or_default().to_owned();
            format!("{} {} {}", of("/involvedObject/uid"), of("/reason"), of("/metadata/name"))
        };
        let failures = sight.events.iter().filter(|e| {
            let (reason, message) = (text(e, "/reason").unwrap_or_default(), text(e, "/message").unwrap_or_default());
            is(e, "/type", "Warning")
                && !is(e, "/involvedObject/kind", "Pod")
                && reason.contains("Failed")
                && !["RecreatingFailedPod", "FailedDelete", "FailedScheduling", "FailedMount", "FailedAttachVolume"]
                    .contains(&reason)
                && !reason.starts_with("FailedGet")
                && !PASSES.iter().any(|text| message.contains(text))
                && !(waits_for_webhook(message) && is_made_since(sight, e))
        });
        let failures: Vec<&Value> = failures.collect();
        // The object lives longer than this run: what it said before is not new. What stands between is as new as the change.
        let before = self.before.get_or_insert_with(|| {
            let old = failures.iter().filter(|e| is(e, "/involvedObject/uid", uid));
            old.map(|e| (key(e), number(e, "/count"))).collect()
        });
        let is_new = |e: &&&Value| before.get(&key(e)).is_none_or(|count| number(e, "/count") > *count);
        let new = failures.iter().filter(is_new);
        let version = text(object, "/apiVersion").unwrap_or_default();
        let makes_pods = version.starts_with("apps/") || version.starts_with("batch/");
        new.map(|e| {
            let message = text(e, "/message").unwrap_or_default();
            let reason = text(e, "/reason").unwrap_or_default();
            // Who serves the webhook may be replaced at this moment.
            let passes = waits_for_webhook(message);
            Trouble {
                key: if makes_pods && !passes { format!("{} {}", key(e), number(e, "/count")) } else { key(e) },
                text: if makes_pods { format!("no pod can be made: {message}") } else { message.to_owned() },
                short: reason.to_owned(),
                source: None,
                weight: match makes_pods {
                    true if passes => Weight::Slow,
                    true => Weight::One,
                    // Load balancers are made in minutes, after more than one try.
                    false if is(object, "/kind", "Service") => Weight::Slow,
                    false => Weight::Lasting,
                },
                lingers: false,
            }
        })
        .collect()
    }
}

impl Trouble {
    /// Tells it from others for how long it lasts: an image that cannot be had is told in turns.
    fn lasts_as(&self) -> String {
        match self.key.rsplitn(3, ' ').nth(2) {
            Some(of) if is_pull(self) => format!("{of} image"),
            Some(_) | None => self.key.clone(),
        }
    }
}

fn replicas(object: &Value) -> u64 {
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64);
    wanted.unwrap_or_else(|| number(object, "/status/desiredNumberScheduled"))
}

/// Pods of older templates: a `StatefulSet` that replaces its pods in order waits for one that is not ready, and never makes
/// it anew. Source: kubernetes#67250.
fn of_older(object: &Value, sight: &Sight, tracking: &Tracking) -> Vec<Trouble> {
    let waits_for_them = is(object, "/kind", "StatefulSet")
        && !is(object, "/spec/podManagementPolicy", "Parallel")
        && !is(object, "/spec/updateStrategy/type", "OnDelete");
    if !waits_for_them {
        return Vec::new();
    }
    let stands = sight.older.iter().filter(|pod| text(pod, "/metadata/deletionTimestamp").is_none());
    stands
        .map(|pod| {
            let of = |p: &str| text(pod, p).unwrap_or_default();
            let (name, namespace) = (of("/metadata/name"), of("/metadata/namespace"));
            let mut found = of_pod(pod, object, sight, tracking);
            found.sort_by_key(|trouble| trouble.weight == Weight::Nothing);
            let found = found.into_iter().next().unwrap_or_else(|| {
                trouble(pod, None, "NotReady", 0, "it is not ready yet", Weight::Nothing)
            });
            let weight = match found.weight {
                Weight::Final | Weight::One | Weight::Lasting => Weight::Lasting,
                weight @ (Weight::Slow | Weight::Nothing) => weight,
            };
            Trouble {
                // Reasons come and go in turn.
                key: format!("older {}", of("/metadata/uid")),
                text: format!(
                    "{}; pod {name} is of the revision before, and a StatefulSet does not replace a pod before it is ready: \
                     delete it (kubectl delete pod {name} -n {namespace})",
                    found.text
                ),
                short: format!("{}, of the revision before: the StatefulSet waits for it", found.short),
                weight,
                source: found.source,
                lingers: false,
            }
        })
        .collect()
}

fn of_pod(pod: &Value, owner: &Value, sight: &Sight, tracking: &Tracking) -> Vec<Trouble> {
    if text(pod, "/metadata/deletionTimestamp").is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let of_job = is(owner, "/kind", "Job");
    for (list, init) in [("/status/initContainerStatuses", true), ("/status/containerStatuses", false)] {
        for status in pod.pointer(list).and_then(Value::as_array).into_iter().flatten() {
            let mut troubles = of_container(pod, status, (init || of_job) && !is_sidecar(pod, status), of_job);
            if of_job || is(owner, "/kind", "Pod") {
                // They may not fail once, and a registry may.
                troubles
                    .iter_mut()
                    .filter(|t| t.weight == Weight::One && is_pull(t))
                    .for_each(|t| t.weight = Weight::Lasting);
            }
            if is_killed(pod, status, sight) {
                // That its probe failed is counted already.
                troubles.iter_mut().filter(|t| t.weight == Weight::One).for_each(|t| t.weight = Weight::Nothing);
            }
            found.extend(troubles);
        }
    }
    found.extend(unscheduled(pod, sight));
    let mut told = of_pod_events(pod, sight, tracking);
    if of_job {
        // Its controller counts the failures.
        told.iter_mut().filter(|t| t.weight == Weight::One).for_each(|t| t.weight = Weight::Nothing);
    }
    found.extend(told);
    if is(pod, "/status/phase", "Failed") && !is(owner, "/kind", "Job") && !is(owner, "/kind", "Pod") {
        let why = text(pod, "/status/message").or(text(pod, "/status/reason")).unwrap_or("it failed");
        // What is said of it besides is the same once more; it may lie there since long.
        found.retain(|trouble| !trouble.lingers);
        found.push(of_end(pod, "Failed", why));
    }
    found
}

/// Says whether a container waits to be started anew because a probe had its last run killed.
fn is_killed(pod: &Value, status: &Value, sight: &Sight) -> bool {
    let name = text(status, "/name").unwrap_or_default();
    let time = |object: &Value, p: &str| text(object, p).and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let run = ["startedAt", "finishedAt"].map(|at| time(status, &format!("/lastState/terminated/{at}")));
    let [Some(started), Some(finished)] = run else { return false };
    let of_run = |e: &Value| time(e, "/lastTimestamp").is_some_and(|at| started <= at && at <= finished);
    let uid = text(pod, "/metadata/uid");
    is(status, "/state/waiting/reason", "CrashLoopBackOff")
        && sight
            .events
            .iter()
            .any(|e| text(e, "/involvedObject/uid") == uid && is_kill(e) && container_of(e) == Some(name) && of_run(e))
}

/// Says whether a probe makes a container start anew.
fn is_kill(event: &Value) -> bool {
    let message = text(event, "/message").unwrap_or_default();
    is(event, "/reason", "Killing")
        && ["failed liveness probe", "failed startup probe"].iter().any(|words| message.contains(words))
}

/// Returns the container that an event speaks of.
fn container_of(event: &Value) -> Option<&str> {
    let (_, name) = text(event, "/involvedObject/fieldPath")?.split_once('{')?;
    Some(name.trim_end_matches('}'))
}

/// A pod is done with: its events say so, and later its phase.
fn of_end(pod: &Value, reason: &str, why: &str) -> Trouble {
    let found = trouble(pod, None, reason, 0, why, Weight::One);
    let uid = text(pod, "/metadata/uid").or(text(pod, "/metadata/name")).unwrap_or_default();
    Trouble { key: format!("{uid} gone"), lingers: true, ..found }
}

/// Says whether an image could not be had so far.
fn is_pull(trouble: &Trouble) -> bool {
    ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"].iter().any(|reason| trouble.short.ends_with(reason))
}

fn trouble(pod: &Value, container: Option<&str>, reason: &str, nth: u64, why: &str, weight: Weight) -> Trouble {
    let name = text(pod, "/metadata/name").unwrap_or_default();
    let uid = text(pod, "/metadata/uid").unwrap_or(name);
    let of = container.map(|c| format!("container `{c}` of ")).unwrap_or_default();
    Trouble {
        key: format!("{uid} {} {reason} {nth}", container.unwrap_or_default()),
        text: format!("{of}pod {name}: {why}"),
        short: format!("{name}: {reason}"),
        source: None,
        weight,
        lingers: false,
    }
}

/// Says whether a container goes on beside the others though it is begun before them. Source: Kubernetes 1.28.
fn is_sidecar(pod: &Value, status: &Value) -> bool {
    let name = text(status, "/name").unwrap_or_default();
    let inits = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    inits.into_iter().any(|c| is(c, "/name", name) && is(c, "/restartPolicy", "Always"))
}

/// Finds what a pod says of a container, be it one of those that are begun first.
fn spec_of<'a>(pod: &'a Value, container: Option<&str>) -> Option<&'a Value> {
    let lists = ["/spec/containers", "/spec/initContainers"].map(|list| pod.pointer(list).and_then(Value::as_array));
    lists.into_iter().flatten().flatten().find(|c| container.is_none_or(|name| is(c, "/name", name)))
}

/// Finds what is said of a container.
fn status_of<'a>(pod: &'a Value, container: Option<&str>) -> Option<&'a Value> {
    let lists =
        ["/status/containerStatuses", "/status/initContainerStatuses"].map(|list| pod.pointer(list)?.as_array());
    lists.into_iter().flatten().flatten().find(|s| container.is_none_or(|name| is(s, "/name", name)))
}

/// What a controller is told that tries again by itself.
const PASSES: &[&str] =
    &["try again", "request timed out", "context deadline exceeded", "the object has been modified"];

/// What it is told while a webhook that checks pods does not answer.
fn waits_for_webhook(message: &str) -> bool {
    ["failed calling webhook", "failed to call webhook"].iter().any(|text| message.contains(text))
}

/// Says whether a pod was made after an event said that none could be.
fn is_made_since(sight: &Sight, event: &Value) -> bool {
    let time = |object: &Value, p: &str| text(object, p).and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let Some(said) = time(event, "/lastTimestamp").or_else(|| time(event, "/eventTime")) else { return false };
    let made = |pod: &Value| time(pod, "/metadata/creationTimestamp").is_some_and(|made| made >= said);
    sight.pods.iter().any(made)
}

/// How the key of an image ends that is not pulled before a pause is over.
const PULL_PAUSE: &str = " ImagePullBackOff 0";

/// Says whether a further try may mend what a container waits for; nothing where it is not broken, or crashes.
fn weight_of(waiting: &str) -> Option<Weight> {
    match waiting {
        "CrashLoopBackOff" => None,
        "ErrImageNeverPull" | "InvalidImageName" | "CreateContainerConfigError" => Some(Weight::Final),
        // A node that is slow, or has not cleaned up yet, gets over it.
        "CreateContainerError" => Some(Weight::Slow),
        reason => StuckPod::REASONS.contains(&reason).then_some(Weight::One),
    }
}

/// What a registry or runtime says where no further try helps.
const HOPELESS: &[&str] = &[
    "manifest unknown",
    "not found: manifest",
    "pull access denied",
    "repository does not exist",
    "unauthorized",
    "denied: ",
    "no basic auth credentials",
    "name unknown",
];

/// What is wrong with a container; where its end counts, that it failed.
fn of_container(pod: &Value, status: &Value, counts_end: bool, of_job: bool) -> Vec<Trouble> {
    let name = text(status, "/name").unwrap_or_default();
    let nth = number(status, "/restartCount");
    let waiting = text(status, "/state/waiting/reason").unwrap_or_default();
    let message = text(status, "/state/waiting/message").unwrap_or_default();
    let image = text(status, "/image").unwrap_or_default();
    if let Some(weight) = weight_of(waiting) {
        let reason = waiting;
        let lower = message.to_lowercase();
        // What containerd says of a tag that is not there; of its own layers it says the first alone.
        let is_unknown = reason.contains("ImagePull")
            && ["code = notfound", "failed to resolve reference"].iter().all(|words| lower.contains(words));
        let hopeless = is_unknown || HOPELESS.iter().any(|known| lower.contains(known));
        // What it refers to may come: an operator makes it of something else.
        let may_come = ["not found", "couldn't find key"].iter().any(|words| message.contains(words));
        let weight = match weight {
            _ if hopeless => Weight::Final,
            Weight::Final if reason == "CreateContainerConfigError" && may_come => Weight::Lasting,
            weight @ (Weight::Final | Weight::One | Weight::Lasting | Weight::Slow | Weight::Nothing) => weight,
        };
        let about = if reason.contains("Image") || reason.starts_with("Registry") {
            format!("the image {image} cannot be pulled ({reason})")
        } else {
            format!("it cannot be started ({reason})")
        };
        let why = if message.is_empty() { about } else { format!("{about}: {message}") };
        return vec![trouble(pod, Some(name), reason, 0, &why, weight)];
    }
    let source = |previous| LogSource {
        namespace: text(pod, "/metadata/namespace").unwrap_or_default().to_owned(),
        pod: text(pod, "/metadata/name").unwrap_or_default().to_owned(),
        container: name.to_owned(),
        previous,
    };
    // Of a job, its controller counts the failures.
    let weight = if of_job { Weight::Nothing } else { Weight::One };
    if waiting == "CrashLoopBackOff" {
        let last = status.pointer("/lastState/terminated");
        let why = last.map_or_else(|| "it crashes".to_owned(), |end| format!("it crashes: {}", ended(end, pod, name)));
        let found = trouble(pod, Some(name), "CrashLoopBackOff", nth, &why, weight);
        return vec![Trouble { source: Some(source(true)), ..found }];
    }
    match status.pointer("/state/terminated") {
        Some(end) if number(end, "/exitCode") != 0 && counts_end => {
            let found = trouble(pod, Some(name), "Error", nth, &ended(end, pod, name), weight);
            vec![Trouble { source: Some(source(false)), ..found }]
        }
        _ => Vec::new(),
    }
}

/// Says how a container ended.
fn ended(end: &Value, pod: &Value, container: &str) -> String {
    let code = number(end, "/exitCode");
    let meaning = match code {
        126 => ", the command cannot be executed",
        127 => ", there is no such command",
        137 => ", it was killed",
        139 => ", a segmentation fault",
        143 => ", it was told to stop",
        _ => "",
    };
    let reason = text(end, "/reason").unwrap_or_default();
    let mut told = if reason == "OOMKilled" {
        let limit = spec_of(pod, Some(container)).and_then(|c| text(c, "/resources/limits/memory"));
        format!("it needs more memory than {}, exit code {code}", limit.unwrap_or("its node has"))
    } else {
        format!("exit code {code}{meaning}")
    };
    if let Some(message) = text(end, "/message").filter(|m| !m.trim().is_empty()) {
        told += &format!(": {}", message.trim());
    }
    told
}

fn unscheduled(pod: &Value, sight: &Sight) -> Option<Trouble> {
    let scheduled = condition(pod, "PodScheduled")?;
    if !is(scheduled, "/status", "False") || !is(scheduled, "/reason", "Unschedulable") {
        return None;
    }
    let uid = text(pod, "/metadata/uid");
    // The cluster autoscaler, and Karpenter.
    let grows = |e: &Value| is(e, "/reason", "TriggeredScaleUp") || is(e, "/reason", "Nominated");
    let comes = |e: &Value| text(e, "/involvedObject/uid") == uid && grows(e);
    // Or others make room for it.
    let is_promised = text(pod, "/status/nominatedNodeName").is_some_and(|node| !node.is_empty());
    let waits = is_promised || sight.events.iter().any(comes);
    let weight = if waits { Weight::Nothing } else { Weight::Lasting };
    let why = format!("no node takes it: {}", text(scheduled, "/message").unwrap_or_default());
    Some(trouble(pod, None, "Unschedulable", 0, why.trim_end_matches(": "), weight))
}

/// Says whether a pod has its volumes and its network: its containers are started after that, or their images pulled.
fn is_set_up(pod: &Value, sight: &Sight) -> bool {
    let on_the_host = pod.pointer("/spec/hostNetwork").is_some_and(|of| of == true);
    let has_address = text(pod, "/status/podIP").is_some_and(|ip| !ip.is_empty()) && !on_the_host;
    let is_told = condition(pod, "PodReadyToStartContainers").is_some_and(|c| is(c, "/status", "True"));
    let uid = text(pod, "/metadata/uid");
    let goes_on = |e: &Value| {
        let reason = text(e, "/reason").unwrap_or_default();
        text(e, "/involvedObject/uid") == uid && ["Pulling", "Pulled", "Created", "Started"].contains(&reason)
    };
    has_address || is_told || has_started(pod) || sight.events.iter().any(goes_on)
}

/// Says whether a container of a pod was started.
fn has_started(pod: &Value) -> bool {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"].map(|list| pod.pointer(list));
    let mut statuses = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    statuses.any(|s| {
        ["/state/running", "/state/terminated", "/lastState/terminated"].iter().any(|p| s.pointer(p).is_some())
    })
}

fn of_pod_events(pod: &Value, sight: &Sight, tracking: &Tracking) -> Vec<Trouble> {
    let uid = text(pod, "/metadata/uid");
    // That a probe makes a container start anew is no warning.
    let counts = |e: &Value| is(e, "/type", "Warning") || is_kill(e);
    let of_it = |e: &&Value| uid.is_some() && text(e, "/involvedObject/uid") == uid && counts(e);
    let mut found = Vec::new();
    for event in sight.events.iter().filter(of_it) {
        let message = text(event, "/message").unwrap_or_default();
        let reason = text(event, "/reason").unwrap_or_default();
        let container = container_of(event);
        let count = number(event, "/count");
        let lingers = |trouble: Trouble| Trouble { lingers: true, ..trouble };
        match reason {
            // The event stays when the trouble is over.
            "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" if !is_set_up(pod, sight) => {
                found.push(trouble(pod, None, reason, 0, message, Weight::Lasting));
            }
            // The same: it is ready since.
            "Unhealthy" if status_of(pod, container).is_some_and(|s| s.get("ready") == Some(&Value::Bool(true))) => {}
            "Unhealthy" if message.starts_with("Readiness") => {
                let patience = container.and_then(|c| tracking.ignore_readiness_s.get(c).copied());
                let patience = patience.unwrap_or_else(|| readiness_patience(pod, container));
                let weight = if running_s(pod, container, event) > patience { Weight::One } else { Weight::Nothing };
                let nth = if weight == Weight::One { count } else { 0 };
                let found_now = trouble(pod, container, "NotReady", nth, message, weight);
                found.push(if weight == Weight::One { lingers(found_now) } else { found_now });
            }
            "Killing" if is_kill(event) => {
                found.push(lingers(trouble(pod, container, reason, count, message, Weight::One)));
            }
            "Evicted" => found.push(of_end(pod, reason, message)),
            _ => {}
        }
    }
    found
}

/// Finds a container that runs, and is not ready.
pub fn unready(sight: &Sight) -> Option<Trouble> {
    sight.pods.iter().find_map(|pod| {
        let of = |list: &str| pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
        // Those that are begun first run, and are never ready.
        let sidecars = of("/status/initContainerStatuses").filter(|status| is_sidecar(pod, status));
        let mut statuses = of("/status/containerStatuses").chain(sidecars);
        let status =
            statuses.find(|s| s.pointer("/state/running").is_some() && s.get("ready") == Some(&Value::Bool(false)))?;
        let container = text(status, "/name")?;
        let (name, namespace) = (text(pod, "/metadata/name")?, text(pod, "/metadata/namespace")?);
        Some(Trouble {
            key: format!("{name}/{container} is not ready"),
            text: format!("container `{container}` of pod {name} runs, and its readiness probe has not passed"),
            short: "its readiness probe has not passed".to_owned(),
            source: Some(LogSource {
                namespace: namespace.to_owned(),
                pod: name.to_owned(),
                container: container.to_owned(),
                previous: false,
            }),
            weight: Weight::Nothing,
            lingers: false,
        })
    })
}

/// How long a container may be not ready after it was started. Unit: seconds. Source: kubedog.
fn readiness_patience(pod: &Value, container: Option<&str>) -> u64 {
    let Some(spec) = spec_of(pod, container) else { return 0 };
    let Some(probe) = spec.get("readinessProbe") else { return 0 };
    let of = |probe: &Value, key: &str, default: u64| probe.get(key).and_then(Value::as_u64).unwrap_or(default);
    let (period, timeout) = (of(probe, "periodSeconds", 10), of(probe, "timeoutSeconds", 1));
    let (failures, successes) = (of(probe, "failureThreshold", 3), of(probe, "successThreshold", 1));
    if failures == 1 {
        return 0;
    }
    let start = match spec.get("startupProbe") {
        Some(startup) => {
            let (period, delay) = (of(startup, "periodSeconds", 10), of(startup, "initialDelaySeconds", 0));
            delay + period * of(startup, "failureThreshold", 3)
        }
        None => of(probe, "initialDelaySeconds", 0) + period,
    };
    (start + 2 * timeout + period / 2 + (failures + successes) * period).saturating_sub(3 * period)
}

/// How long a container had been running when an event came; unknown counts as long. Unit: seconds.
fn running_s(pod: &Value, container: Option<&str>, event: &Value) -> u64 {
    let status = status_of(pod, container);
    let started =
        status.and_then(|s| text(s, "/state/running/startedAt")).and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let came = text(event, "/lastTimestamp").and_then(|t| t.parse::<jiff::Timestamp>().ok());
    match (started, came) {
        (Some(started), Some(came)) => u64::try_from(came.as_second() - started.as_second()).unwrap_or(0),
        _ => 0,
    }
}

/// Finds the container whose end made a job fail, and how it ended.
pub fn last_failure(sight: &Sight) -> Option<Trouble> {
    let by_age = |pod: &&Value| text(pod, "/metadata/creationTimestamp").unwrap_or_default().to_owned();
    let mut pods: Vec<&Value> = sight.pods.iter().collect();
    pods.sort_by_key(by_age);
    pods.into_iter().rev().find_map(|pod| {
        let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
        let statuses = || lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
        // Those that go on beside the others are told to stop when these have ended.
        let (last, first): (Vec<&Value>, Vec<&Value>) = statuses().partition(|status| is_sidecar(pod, status));
        let mut all = first.into_iter().chain(last).flat_map(|status| of_container(pod, status, true, true));
        all.next()
    })
}

/// Returns the warnings among what is seen, the last first cut off at `most`, in the order they came.
pub fn warnings(sight: &Sight, most: usize) -> Vec<String> {
    let warnings = sight.events.iter().filter(|e| is(e, "/type", "Warning"));
    let mut told: Vec<String> = Vec::new();
    for event in warnings {
        let of = |p: &str| text(event, p).unwrap_or_default();
        let line = format!(
            "{}/{} {}: {}",
            of("/involvedObject/kind"),
            of("/involvedObject/name"),
            of("/reason"),
            of("/message").trim()
        );
        told.retain(|known| *known != line);
        told.push(line);
    }
    told.split_off(told.len().saturating_sub(most))
}

/// Says what a pod that has not started waits for, in short.
pub fn note(sight: &Sight) -> Option<String> {
    let pod = sight.pods.iter().find(|pod| !is(pod, "/status/phase", "Running"))?;
    let scheduled = condition(pod, "PodScheduled").filter(|c| is(c, "/status", "False"));
    scheduled.map(told)
}

/// Names a pod that is waited for, and where it is: nothing need be wrong with it.
pub fn awaited(sight: &Sight) -> Option<String> {
    let is_done = |pod: &Value| {
        condition(pod, "Ready").is_some_and(|c| is(c, "/status", "True")) || is(pod, "/status/phase", "Succeeded")
    };
    let goes = |pod: &Value| text(pod, "/metadata/deletionTimestamp").is_some();
    let named = |pod: &Value, of: &str, what: &str| {
        let name = text(pod, "/metadata/name").unwrap_or_default();
        let on = text(pod, "/spec/nodeName").map(|node| format!(" on node {node}")).unwrap_or_default();
        format!("pod {name}{of}{on} {what}")
    };
    if let Some(pod) = sight.pods.iter().find(|pod| !is_done(pod) && !goes(pod)) {
        return Some(named(pod, "", &stage(pod)));
    }
    let going = |pods: &[Value], of: &str| {
        let pod = pods.iter().find(|pod| goes(pod))?;
        Some(named(pod, of, "has not stopped yet"))
    };
    let before = " of the revision before";
    let not_ready = || sight.older.first().map(|pod| named(pod, before, "is not ready"));
    // One that is not wanted any more is of the newest revision too.
    going(&sight.older, before).or_else(|| going(&sight.pods, "")).or_else(not_ready)
}

/// Says how far a pod is that is not ready.
fn stage(pod: &Value) -> String {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let mut statuses = lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    let waits = |status: &Value| {
        let (name, reason) = (text(status, "/name")?, text(status, "/state/waiting/reason")?);
        Some(format!("waits: container `{name}` is {reason}"))
    };
    if let Some(told) = statuses.find_map(waits) {
        return told;
    }
    let node = text(pod, "/spec/nodeName");
    match (text(pod, "/status/phase").unwrap_or("Pending"), node) {
        ("Pending", None) => "has no node yet".to_owned(),
        ("Pending", Some(node)) => format!("was not begun by its node: is {node} ready?"),
        ("Running", _) => {
            if let Some(gate) = closed_gate(pod) {
                return gate;
            }
            let reason = text(pod, "/status/reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("runs, and is not done or ready{reason}")
        }
        (phase, _) => format!("is {}", phase.to_lowercase()),
    }
}

/// Says by which of its readiness gates a pod is not ready, though its containers are.
fn closed_gate(pod: &Value) -> Option<String> {
    let gates = pod.pointer("/spec/readinessGates").and_then(Value::as_array)?;
    let is_true = |kind: &str| condition(pod, kind).is_some_and(|c| is(c, "/status", "True"));
    let mut gates = gates.iter().filter_map(|gate| text(gate, "/conditionType"));
    let gate = gates.find(|gate| !is_true(gate)).filter(|_| is_true("ContainersReady"))?;
    let why = condition(pod, gate).map(|c| format!(" ({})", told(c))).unwrap_or_default();
    Some(format!("runs, and waits for its readiness gate {gate}{why}"))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(replicas: u64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"uid": "d"}, "spec": {"replicas": replicas}})
    }

    fn pod(state: Value, restarts: u64) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "p"},
            "spec": {"containers": [{"name": "web", "resources": {"limits": {"memory": "64Mi"}}}]},
            "status": {"containerStatuses": [{"name": "web", "image": "example/web:1", "restartCount": restarts,
                "state": state, "lastState": {"terminated": {"exitCode": 2}}}]}})
    }

    fn sight(object: Value, pods: Vec<Value>) -> Sight {
        Sight { object: Some(object), pods, ..Sight::default() }
    }

    fn allowing(failures_allowed: u64) -> Tracking {
        Tracking { failures_allowed, ..Tracking::default() }
    }

    fn crash() -> Value {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    }

    #[test]
    fn the_first_crash_is_borne_and_the_second_is_not() {
        let mut tally = Tally::default();
        let first = sight(deployment(1), vec![pod(crash(), 1)]);
        for _ in 0..3 {
            assert!(matches!(tally.take(&first, &allowing(1), 0), Verdict::Troubled(_)));
        }
        let running = sight(deployment(1), vec![pod(json!({"running": {}}), 2)]);
        assert_eq!(tally.take(&running, &allowing(1), 1), Verdict::Well);
        let Verdict::Failed(trouble) = tally.take(&sight(deployment(1), vec![pod(crash(), 2)]), &allowing(1), 2) else {
            panic!("it is too much")
        };
        assert_eq!(trouble.text, "container `web` of pod web-1: it crashes: exit code 2");
        assert!(trouble.source.is_some_and(|s| s.previous && s.container == "web"));
        let mut more = Tally::default();
        more.take(&first, &allowing(1), 0);
        let second = sight(deployment(2), vec![pod(crash(), 2)]);
        assert!(matches!(more.take(&second, &allowing(1), 1), Verdict::Troubled(_)), "each replica may fail once");
    }

    #[test]
    fn images_that_cannot_be_had_fail_at_once_where_no_try_helps() {
        let pull = |message: &str| json!({"waiting": {"reason": "ErrImagePull", "message": message}});
        let take = |state: Value| Tally::default().take(&sight(deployment(1), vec![pod(state, 0)]), &allowing(1), 0);
        assert!(matches!(take(pull("i/o timeout")), Verdict::Troubled(_)));
        let Verdict::Failed(trouble) = take(pull("manifest unknown")) else { panic!("no try helps") };
        assert_eq!(
            trouble.text,
            "container `web` of pod web-1: the image example/web:1 cannot be pulled (ErrImagePull): manifest unknown"
        );
        let config = |message: &str| json!({"waiting": {"reason": "CreateContainerConfigError", "message": message}});
        assert!(
            matches!(take(config("image will run as root")), Verdict::Failed(t) if t.text.ends_with("run as root"))
        );
        assert!(matches!(take(config("secret \"s\" not found")), Verdict::Troubled(_)), "it may come");
        assert!(matches!(take(json!({"waiting": {"reason": "ErrImageNeverPull"}})), Verdict::Failed(_)));
        assert!(matches!(take(json!({"waiting": {"reason": "ContainerCreating"}})), Verdict::Well));
    }

    #[test]
    fn ends_are_told_in_words() {
        let end = |end: Value| ended(&end, &pod(json!({}), 0), "web");
        assert_eq!(
            end(json!({"exitCode": 137, "reason": "OOMKilled"})),
            "it needs more memory than 64Mi, exit code 137"
        );
        assert_eq!(
            end(json!({"exitCode": 127, "message": "sh: no"})),
            "exit code 127, there is no such command: sh: no"
        );
    }

    #[test]
    fn a_pod_without_a_node_is_waited_for_and_then_no_more() {
        let mut lost = pod(json!({}), 0);
        lost["status"] = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available"}]});
        let mut tally = Tally::default();
        let mut seen = sight(deployment(1), vec![lost]);
        assert!(matches!(tally.take(&seen, &allowing(1), 0), Verdict::Troubled(_)));
        assert!(matches!(tally.take(&seen, &allowing(1), PATIENCE_MS), Verdict::Failed(_)));
        seen.events = vec![json!({"reason": "TriggeredScaleUp", "involvedObject": {"uid": "p"}})];
        assert!(matches!(tally.take(&seen, &allowing(1), PATIENCE_MS), Verdict::Troubled(_)));
    }

    #[test]
    fn what_was_said_before_is_not_counted() {
        let event = |uid: &str, count: u64| {
            json!({"type": "Warning", "reason": "FailedCreate", "count": count, "metadata": {"name": "e"},
                "message": "pods \"x\" is forbidden: exceeded quota: q",
                "involvedObject": {"kind": "StatefulSet", "uid": uid}})
        };
        let with = |events: Vec<Value>| Sight { events, ..sight(deployment(1), Vec::new()) };
        let mut tally = Tally::default();
        assert_eq!(tally.take(&with(vec![event("d", 5)]), &allowing(0), 0), Verdict::Well);
        let Verdict::Failed(trouble) = tally.take(&with(vec![event("d", 6)]), &allowing(0), 0) else {
            panic!("it is said again")
        };
        assert!(trouble.text.contains("exceeded quota"), "{}", trouble.text);
        let mut other = Tally::default();
        assert!(matches!(other.take(&with(vec![event("rs", 1)]), &allowing(1), 0), Verdict::Troubled(_)));
        assert!(matches!(other.take(&with(vec![event("rs", 2)]), &allowing(1), 0), Verdict::Failed(_)));
    }

    #[test]
    fn what_a_controller_tries_again_is_no_failure() {
        let event = |message: &str| {
            json!({"type": "Warning", "reason": "FailedCreate", "count": 9, "message": message, "metadata": {"name": message},
                "involvedObject": {"kind": "StatefulSet", "uid": "rs"}})
        };
        let seen = |message: &str| Sight { events: vec![event(message)], ..sight(deployment(1), vec![]) };
        let failures =
            |message: &str| Tally::default().of_events(&json!({"apiVersion": "apps/v1"}), &seen(message)).len();
        assert_eq!(failures("exceeded quota: pods"), 1);
        assert_eq!(
            failures("The POST operation against Pod could not be completed at this time, please try again."),
            0
        );
    }

    fn set(policy: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"uid": "s"},
            "spec": {"replicas": 1, "podManagementPolicy": policy}})
    }

    #[test]
    fn a_broken_pod_of_an_older_revision_holds_a_stateful_set_up_and_is_named() {
        let broken = pod(json!({"waiting": {"reason": "ImagePullBackOff"}}), 0);
        let seen = |policy: &str, pod: &Value| Sight { older: vec![pod.clone()], ..sight(set(policy), vec![]) };
        let mut tally = Tally::default();
        let Verdict::Troubled(trouble) = tally.take(&seen("OrderedReady", &broken), &allowing(1), 0) else {
            panic!("it is told at once")
        };
        assert_eq!(trouble.short, "web-1: ImagePullBackOff, of the revision before: the StatefulSet waits for it");
        let Verdict::Failed(trouble) = tally.take(&seen("OrderedReady", &broken), &allowing(1), PATIENCE_MS) else {
            panic!("nothing replaces it")
        };
        assert!(trouble.text.contains("the image example/web:1 cannot be pulled"), "{}", trouble.text);
        assert!(trouble.text.ends_with("delete it (kubectl delete pod web-1 -n shop)"), "{}", trouble.text);
        let late = |policy: &str, pod: &Value| {
            let mut tally = Tally::default();
            tally.take(&seen(policy, pod), &allowing(1), 0);
            tally.take(&seen(policy, pod), &allowing(1), 10 * PATIENCE_MS)
        };
        assert_eq!(late("Parallel", &broken), Verdict::Well, "it is replaced though it is not ready");
        let mut going = broken.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(late("OrderedReady", &going), Verdict::Well);
        let starts = pod(json!({"running": {}}), 0);
        assert!(matches!(late("OrderedReady", &starts), Verdict::Troubled(_)), "it may yet become ready");
        let mut tally = Tally::default();
        tally.take(&seen("OrderedReady", &starts), &allowing(1), 0);
        let fails = tally.take(&seen("OrderedReady", &broken), &allowing(1), 2 * PATIENCE_MS);
        assert!(matches!(fails, Verdict::Troubled(_)), "it has failed since a moment");
    }

    #[test]
    fn an_image_that_was_missing_before_is_asked_for_again_after_a_pause() {
        let waits = |reason: &str| {
            let state = json!({"waiting": {"reason": reason, "message": "manifest unknown"}});
            sight(deployment(1), vec![pod(state, 0)])
        };
        let paused = waits("ImagePullBackOff");
        let mut tally = Tally::default();
        assert!(matches!(tally.take(&paused, &allowing(1), 0), Verdict::Troubled(_)));
        assert!(matches!(tally.take(&paused, &allowing(1), LONG_PATIENCE_MS - 1), Verdict::Troubled(_)));
        let mut again = tally.clone();
        assert!(matches!(again.take(&waits("ErrImagePull"), &allowing(1), 9), Verdict::Failed(_)));
        assert!(matches!(tally.take(&paused, &allowing(1), LONG_PATIENCE_MS), Verdict::Failed(_)));
        let mut fresh = Tally::default();
        fresh.take(&sight(deployment(1), vec![]), &allowing(1), 0);
        assert!(matches!(fresh.take(&paused, &allowing(1), 1), Verdict::Failed(_)));
    }

    #[test]
    fn a_pod_without_a_network_is_waited_for_until_it_has_one() {
        let event = |count: u64| {
            json!({"type": "Warning", "reason": "FailedCreatePodSandBox", "count": count,
                "message": "failed to assign an IP address", "involvedObject": {"kind": "Pod", "uid": "p"}})
        };
        let mut begins = pod(json!({"waiting": {"reason": "ContainerCreating"}}), 0);
        begins["status"]["containerStatuses"][0]["lastState"] = json!({});
        let seen =
            |pod: &Value, count: u64| Sight { events: vec![event(count)], ..sight(deployment(1), vec![pod.clone()]) };
        let mut tally = Tally::default();
        for count in 1..9 {
            assert!(matches!(tally.take(&seen(&begins, count), &allowing(1), count), Verdict::Troubled(_)));
        }
        let mut pulls = begins.clone();
        pulls["status"]["podIP"] = "10.0.0.7".into();
        let mut sets_up = tally.clone();
        assert_eq!(sets_up.take(&seen(&pulls, 9), &allowing(1), 2 * PATIENCE_MS), Verdict::Well, "it pulls an image");
        assert!(matches!(tally.take(&seen(&begins, 9), &allowing(1), 2 * PATIENCE_MS), Verdict::Failed(_)));
    }

    #[test]
    fn a_webhook_that_is_replaced_is_waited_for() {
        let event = |count: u64| {
            json!({"type": "Warning", "reason": "FailedCreate", "count": count, "metadata": {"name": "e"},
                "lastTimestamp": "2026-01-01T00:00:10Z",
                "message": "Internal error occurred: failed calling webhook \"x\": no endpoints available for service \"y\"",
                "involvedObject": {"kind": "ReplicaSet", "uid": "rs"}})
        };
        let seen = |count: u64, pods: Vec<Value>| Sight { events: vec![event(count)], ..sight(deployment(1), pods) };
        let mut tally = Tally::default();
        for count in 1..9 {
            assert!(matches!(tally.take(&seen(count, vec![]), &allowing(0), count), Verdict::Troubled(_)));
        }
        let mut made = pod(json!({"waiting": {"reason": "ContainerCreating"}}), 0);
        made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:12Z".into();
        assert_eq!(tally.clone().take(&seen(9, vec![made]), &allowing(0), LONG_PATIENCE_MS + 9), Verdict::Well);
        assert!(matches!(tally.take(&seen(9, vec![]), &allowing(0), LONG_PATIENCE_MS + 9), Verdict::Failed(_)));
    }

    #[test]
    fn a_pod_that_is_waited_for_is_named_with_its_node() {
        let told = |pods: Vec<Value>, older: Vec<Value>| awaited(&Sight { pods, older, ..Sight::default() });
        let on_node =
            |status: Value| json!({"metadata": {"name": "ds-1"}, "spec": {"nodeName": "n7"}, "status": status});
        let ready = on_node(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
        let pending = on_node(json!({"phase": "Pending"}));
        assert_eq!(told(vec![ready.clone()], vec![]), None);
        assert_eq!(
            told(vec![ready.clone(), pending], vec![]).as_deref(),
            Some("pod ds-1 on node n7 was not begun by its node: is n7 ready?")
        );
        let mut going = ready.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(
            told(vec![ready.clone()], vec![going]).as_deref(),
            Some("pod ds-1 of the revision before on node n7 has not stopped yet")
        );
        let mut surplus = ready.clone();
        surplus["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(told(vec![ready, surplus], vec![]).as_deref(), Some("pod ds-1 on node n7 has not stopped yet"));
    }

    #[test]
    fn a_job_fails_by_its_controller_and_says_by_which_container() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "j"}});
        let ended = pod(json!({"terminated": {"exitCode": 3}}), 0);
        let seen = sight(job, vec![ended]);
        assert!(matches!(Tally::default().take(&seen, &allowing(0), 0), Verdict::Troubled(_)));
        let last = last_failure(&seen).unwrap();
        assert_eq!(last.text, "container `web` of pod web-1: exit code 3");
    }

    fn said(kind: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "reason": reason, "count": 1, "message": message, "lastTimestamp": "2026-01-01T01:00:00Z",
            "involvedObject": {"kind": "Pod", "uid": "p", "fieldPath": "spec.containers{web}"}})
    }

    #[test]
    fn what_is_said_of_the_pods_of_a_job_is_no_failure() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "j"}});
        let runs = || pod(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), 0);
        let take = |owner: &Value, event: Value| {
            let mut tally = Tally::default();
            tally.take(&sight(owner.clone(), vec![runs()]), &allowing(0), 0);
            tally.take(&Sight { events: vec![event], ..sight(owner.clone(), vec![runs()]) }, &allowing(0), 1)
        };
        for event in [
            said("Warning", "Evicted", "The node was low on resource: memory"),
            said("Warning", "Unhealthy", "Readiness probe failed: no"),
            said("Normal", "Killing", "Container web failed liveness probe, will be restarted"),
        ] {
            assert!(matches!(take(&job, event.clone()), Verdict::Troubled(_)), "its controller counts: {event}");
            assert!(matches!(take(&deployment(1), event), Verdict::Failed(_)));
        }
        let stops = said("Normal", "Killing", "Stopping container web");
        assert_eq!(take(&deployment(1), stops), Verdict::Well);
    }

    #[test]
    fn an_eviction_is_one_failure_though_it_is_told_twice() {
        let runs = pod(json!({"running": {}}), 0);
        let mut tally = Tally::default();
        tally.take(&sight(deployment(1), vec![runs.clone()]), &allowing(1), 0);
        let events = vec![said("Warning", "Evicted", "The node was low on resource: memory")];
        let first = Sight { events: events.clone(), ..sight(deployment(1), vec![runs]) };
        assert!(matches!(tally.take(&first, &allowing(1), 1), Verdict::Troubled(_)));
        let ended =
            json!({"metadata": {"name": "web-1", "uid": "p"}, "status": {"phase": "Failed", "reason": "Evicted"}});
        let then = Sight { events, ..sight(deployment(1), vec![ended]) };
        assert!(matches!(tally.clone().take(&then, &allowing(1), 2), Verdict::Troubled(_)));
        let silent = Sight { events: vec![], ..then };
        assert!(matches!(tally.take(&silent, &allowing(1), 2), Verdict::Troubled(_)), "events are forgotten");
    }

    #[test]
    fn a_container_that_its_probe_had_killed_crashes_by_that() {
        let mut waits = pod(crash(), 1);
        waits["status"]["containerStatuses"][0]["lastState"]["terminated"] = json!({"exitCode": 137,
            "startedAt": "2026-01-01T00:59:00Z", "finishedAt": "2026-01-01T01:00:30Z"});
        let killed = said("Normal", "Killing", "Container web failed liveness probe, will be restarted");
        let seen = |pod: &Value| Sight { events: vec![killed.clone()], ..sight(deployment(1), vec![pod.clone()]) };
        let mut tally = Tally::default();
        tally.take(&sight(deployment(1), vec![pod(json!({"running": {}}), 1)]), &allowing(1), 0);
        assert!(matches!(tally.take(&seen(&waits), &allowing(1), 1), Verdict::Troubled(_)), "that is one failure");
        waits["status"]["containerStatuses"][0]["lastState"]["terminated"]["startedAt"] = "2026-01-01T01:00:10Z".into();
        assert!(matches!(tally.take(&seen(&waits), &allowing(1), 2), Verdict::Failed(_)), "it crashed besides");
    }

    #[test]
    fn what_passed_and_comes_again_lasts_anew() {
        let lost = |promised: &str| {
            let mut pod = pod(json!({}), 0);
            pod["status"] = json!({"nominatedNodeName": promised, "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
            sight(deployment(1), vec![pod])
        };
        let mut tally = Tally::default();
        let mut take = |seen: Sight, at_ms: u64| tally.take(&seen, &allowing(1), at_ms);
        assert!(matches!(take(lost(""), 0), Verdict::Troubled(_)));
        let runs = || sight(deployment(1), vec![pod(json!({"running": {}}), 0)]);
        assert_eq!(take(runs(), 1), Verdict::Well);
        assert!(matches!(take(lost("n1"), 2), Verdict::Troubled(_)), "others make room for it");
        assert!(matches!(take(lost(""), 2 * PATIENCE_MS), Verdict::Troubled(_)), "it was promised a node so far");
        assert!(matches!(take(lost(""), 3 * PATIENCE_MS - 1), Verdict::Troubled(_)));
        assert!(matches!(take(lost(""), 3 * PATIENCE_MS), Verdict::Failed(_)));
        let create = || sight(deployment(1), vec![pod(json!({"waiting": {"reason": "CreateContainerError"}}), 0)]);
        let mut tally = Tally::default();
        let mut take = |seen: Sight, at_ms: u64| tally.take(&seen, &allowing(1), at_ms);
        take(create(), 0);
        take(runs(), 1);
        assert!(matches!(take(create(), LONG_PATIENCE_MS), Verdict::Troubled(_)));
        assert!(matches!(take(create(), 2 * LONG_PATIENCE_MS), Verdict::Failed(_)));
    }

    #[test]
    fn every_reason_that_a_plan_calls_broken_is_one_here() {
        for reason in StuckPod::REASONS {
            let seen = sight(deployment(1), vec![pod(json!({"waiting": {"reason": reason}}), 0)]);
            assert_ne!(Tally::default().take(&seen, &allowing(1), 0), Verdict::Well, "{reason}");
        }
    }

    #[test]
    fn a_container_that_runs_and_is_not_ready_is_named() {
        let pod = |ready: bool, state: &str| {
            let status = json!({"name": "web", "ready": ready, "state": {state: {}}});
            json!({"metadata": {"name": "web-1", "namespace": "shop"}, "status": {"containerStatuses": [status]}})
        };
        let named = |pods: Vec<Value>| unready(&Sight { pods, ..Sight::default() }).map(|trouble| trouble.text);
        let expected = "container `web` of pod web-1 runs, and its readiness probe has not passed";
        assert_eq!(named(vec![pod(true, "running"), pod(false, "running")]).as_deref(), Some(expected));
        assert_eq!(named(vec![pod(true, "running"), pod(false, "waiting")]), None);
    }

    #[test]
    fn a_readiness_probe_may_fail_for_a_while() {
        let mut young = pod(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), 0);
        young["spec"]["containers"][0]["readinessProbe"] = json!({"periodSeconds": 10});
        let event = |at: &str, count: u64| {
            json!({"type": "Warning", "reason": "Unhealthy", "count": count, "message": "Readiness probe failed: no",
                "lastTimestamp": at, "involvedObject": {"kind": "Pod", "uid": "p", "fieldPath": "spec.containers{web}"}})
        };
        let mut tally = Tally::default();
        let mut take = |at: &str, count| {
            let seen = Sight { events: vec![event(at, count)], ..sight(deployment(1), vec![young.clone()]) };
            tally.take(&seen, &allowing(1), 0)
        };
        assert!(matches!(take("2026-01-01T00:00:10Z", 1), Verdict::Troubled(_)));
        assert!(matches!(take("2026-01-01T00:01:10Z", 2), Verdict::Troubled(_)));
        assert!(matches!(take("2026-01-01T00:01:20Z", 3), Verdict::Failed(_)));
    }

    #[test]
    fn a_sidecar_may_end_and_be_ready_late() {
        let mut with = pod(json!({"terminated": {"exitCode": 3}}), 0);
        with["spec"]["initContainers"] =
            json!([{"name": "proxy", "restartPolicy": "Always", "readinessProbe": {"periodSeconds": 10}}]);
        let proxy = |state: Value| json!([{"name": "proxy", "restartCount": 1, "ready": false, "state": state}]);
        with["status"]["initContainerStatuses"] = proxy(json!({"terminated": {"exitCode": 143}}));
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "j"}});
        let last = last_failure(&sight(job, vec![with.clone()])).unwrap();
        assert_eq!(last.text, "container `web` of pod web-1: exit code 3", "it was told to stop then");
        with["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
        let seen = |pod: &Value| sight(deployment(1), vec![pod.clone()]);
        assert_eq!(Tally::default().take(&seen(&with), &allowing(0), 0), Verdict::Well, "it is begun again");
        with["status"]["initContainerStatuses"] = proxy(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}));
        let told = unready(&seen(&with)).unwrap().text;
        assert_eq!(told, "container `proxy` of pod web-1 runs, and its readiness probe has not passed");
        let event = json!({"type": "Warning", "reason": "Unhealthy", "count": 1, "message": "Readiness probe failed: no",
            "lastTimestamp": "2026-01-01T00:00:10Z",
            "involvedObject": {"kind": "Pod", "uid": "p", "fieldPath": "spec.initContainers{proxy}"}});
        let mut tally = Tally::default();
        assert_eq!(tally.take(&seen(&with), &allowing(0), 0), Verdict::Well);
        let seen = Sight { events: vec![event], ..seen(&with) };
        assert!(matches!(tally.take(&seen, &allowing(0), 0), Verdict::Troubled(_)), "its probe may fail for a while");
    }

    #[test]
    fn what_was_told_of_pods_before_is_not_counted() {
        let event = |reason: &str, message: &str, count: u64| {
            json!({"type": if reason == "Killing" { "Normal" } else { "Warning" }, "reason": reason, "count": count,
                "message": message,
                "involvedObject": {"kind": "Pod", "uid": "p", "fieldPath": "spec.containers{web}"}})
        };
        let killed = |count: u64| event("Killing", "Container web failed liveness probe, will be restarted", count);
        let running = pod(json!({"running": {}}), 3);
        let seen = |events: Vec<Value>| Sight { events, ..sight(deployment(1), vec![running.clone()]) };
        let mut tally = Tally::default();
        assert_eq!(tally.take(&seen(vec![killed(2)]), &allowing(0), 0), Verdict::Well);
        assert_eq!(tally.take(&seen(vec![killed(2)]), &allowing(0), 1), Verdict::Well);
        assert!(matches!(tally.take(&seen(vec![killed(3)]), &allowing(0), 2), Verdict::Failed(_)), "it is told again");
        // A pod that lies there since an eviction, and one that is evicted now: that is one failure, told twice.
        let evicted = |uid: &str| json!({"metadata": {"name": uid, "uid": uid}, "status": {"phase": "Failed", "reason": "Evicted"}});
        let mut tally = Tally::default();
        let old = || sight(deployment(1), vec![evicted("old")]);
        assert_eq!(tally.take(&old(), &allowing(0), 0), Verdict::Well);
        let mut both = sight(deployment(1), vec![evicted("old"), evicted("p")]);
        both.events = vec![event("Evicted", "The node was low on resource: memory", 1)];
        assert!(matches!(tally.clone().take(&both, &allowing(1), 1), Verdict::Troubled(_)));
        assert!(matches!(tally.take(&both, &allowing(0), 1), Verdict::Failed(_)));
        // What failed its probe and is ready since is well.
        let mut ready = running.clone();
        ready["status"]["containerStatuses"][0]["ready"] = true.into();
        let mut tally = Tally::default();
        tally.take(&seen(vec![]), &allowing(0), 0);
        let probe = event("Unhealthy", "Readiness probe failed: no", 9);
        let seen = Sight { events: vec![probe], ..sight(deployment(1), vec![ready]) };
        assert_eq!(tally.take(&seen, &allowing(0), 1), Verdict::Well);
    }

    #[test]
    fn a_pod_for_which_others_make_room_is_waited_for() {
        let mut pod = pod(json!({}), 0);
        pod["status"] = json!({"nominatedNodeName": "n1", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
        let seen = sight(deployment(1), vec![pod]);
        let mut tally = Tally::default();
        tally.take(&seen, &allowing(0), 0);
        assert!(matches!(tally.take(&seen, &allowing(0), PATIENCE_MS), Verdict::Troubled(_)));
    }

    #[test]
    fn a_tag_that_is_not_there_is_hopeless_in_the_words_of_containerd() {
        let take = |reason: &str, message: &str| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            Tally::default().take(&sight(deployment(9), vec![pod(state, 0)]), &allowing(1), 0)
        };
        let message = "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/a:1\": failed to resolve \
                       reference \"docker.io/a:1\": docker.io/a:1: not found";
        assert!(matches!(take("ErrImagePull", message), Verdict::Failed(_)));
        let message = "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/a:1\": failed to extract \
                       layer: content digest sha256:0: not found";
        assert!(matches!(take("ErrImagePull", message), Verdict::Troubled(_)), "its node has lost a layer");
        let message = "rpc error: code = NotFound desc = failed to create containerd task";
        assert!(matches!(take("CreateContainerError", message), Verdict::Troubled(_)));
    }

    #[test]
    fn the_registry_of_a_job_may_fail_for_a_while() {
        let waits = |reason: &str, message: &str| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "j"}});
            sight(job, vec![pod(state, 0)])
        };
        let mut tally = Tally::default();
        let mut take = |reason: &str, at_ms: u64| tally.take(&waits(reason, "i/o timeout"), &allowing(0), at_ms);
        assert!(matches!(take("ErrImagePull", 0), Verdict::Troubled(_)));
        assert!(matches!(take("ImagePullBackOff", 9), Verdict::Troubled(_)));
        assert!(matches!(take("ErrImagePull", PATIENCE_MS - 1), Verdict::Troubled(_)));
        assert!(matches!(take("ErrImagePull", PATIENCE_MS), Verdict::Failed(_)));
        let denied = waits("ErrImagePull", "manifest unknown");
        assert!(matches!(Tally::default().take(&denied, &allowing(0), 0), Verdict::Failed(_)));
    }

    #[test]
    fn a_pod_that_waits_for_a_readiness_gate_says_which() {
        let pod = |gate: Value| {
            json!({"metadata": {"name": "web-1"}, "spec": {"nodeName": "n7", "readinessGates": [{"conditionType": "lb.example/up"}]},
                "status": {"phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}, gate]}})
        };
        let told = |gate: Value| awaited(&Sight { pods: vec![pod(gate)], ..Sight::default() }).unwrap();
        let is = "pod web-1 on node n7 runs, and waits for its readiness gate lb.example/up";
        assert_eq!(told(json!({})), is);
        let gate = json!({"type": "lb.example/up", "status": "False", "reason": "Unhealthy"});
        assert_eq!(told(gate), format!("{is} (Unhealthy)"));
    }

    #[test]
    fn a_load_balancer_may_take_more_than_one_try() {
        let event = json!({"type": "Warning", "reason": "SyncLoadBalancerFailed", "count": 1, "metadata": {"name": "e"},
            "message": "quota", "involvedObject": {"kind": "Service", "uid": "s"}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"uid": "s"}});
        let mut tally = Tally::default();
        tally.take(&sight(service.clone(), vec![]), &allowing(0), 0);
        let seen = Sight { events: vec![event], ..sight(service, vec![]) };
        assert!(matches!(tally.take(&seen, &allowing(0), 1), Verdict::Troubled(_)));
        assert!(matches!(tally.take(&seen, &allowing(0), PATIENCE_MS + 1), Verdict::Troubled(_)));
        assert!(matches!(tally.take(&seen, &allowing(0), LONG_PATIENCE_MS + 1), Verdict::Failed(_)));
    }

    #[test]
    fn warnings_are_told_once_the_last_at_the_end() {
        let event = |reason: &str| json!({"type": "Warning", "reason": reason, "message": "m", "involvedObject": {"kind": "Pod", "name": "p"}});
        let events = vec![event("A"), event("B"), event("A"), json!({"type": "Normal"})];
        let seen = Sight { events, ..Sight::default() };
        assert_eq!(warnings(&seen, 5), ["Pod/p B: m", "Pod/p A: m"]);
        assert_eq!(warnings(&seen, 1), ["Pod/p A: m"]);
    }
}
