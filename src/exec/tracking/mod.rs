//! Tracking: resources are watched until they are ready, all at once.
//!
//! What lives here: the rules by which an object is ready (`ready`), what is wrong with its pods (`pods`), and [`Watch`], which
//! puts both together over time. What does not: requests (`backend`), and the order of operations (`run`).
//!
//! The one idea: what is seen is data, and what follows from it is a function of that data, the time and what was seen before.

mod logs;
mod masks;
mod pods;
mod ready;
mod stuck;
mod watch;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use self::logs::Logs;
pub use self::masks::Masks;
use self::pods::{Tally, Trouble, Verdict, awaited, last_failure, note, unready, warnings};
use self::ready::{Stand, by_convention, is, judge, passed_deadline, text, without_deadline};
pub(super) use self::watch::watched;
use crate::plan::{FailMode, Tracking, Until};
use crate::ports::{Sight, Tracker};

/// How many lines of a container that failed are told.
const LAST_LINES: usize = 20;
/// How many warnings are told of what failed.
const LAST_WARNINGS: usize = 8;
/// How long a resource is waited for that cannot be looked at. Unit: milliseconds.
const BLIND_MS: u64 = 60_000;
/// After so long it is told again what is waited for: whoever reads a log sees that it goes on. Unit: milliseconds.
const SILENT_MS: u64 = 30_000;
/// After so long it is told which pod is waited for, and that there is no limit. Unit: milliseconds.
const HINT_MS: u64 = 180_000;
/// How often a resource is looked at: at first, and after a while. Unit: milliseconds.
const PAUSES_MS: (u64, u64) = (100, 2_000);
/// How often a Job is looked at that goes as soon as it ends. Unit: milliseconds.
const SHORT_PAUSE_MS: u64 = 250;
/// A Job that is cleaned up so soon after its end may be gone before that was seen. Unit: seconds.
const SOON_S: u64 = 10;

/// Why a resource is not ready and will not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct NotReady {
    /// The root cause.
    pub cause: String,
    /// The last lines of the container that failed.
    pub lines: Vec<String>,
    /// The warnings about it and its pods.
    pub warnings: Vec<String>,
}

impl NotReady {
    fn told(&self) -> String {
        let mut told = self.cause.clone();
        let mut part = |head: &str, lines: &[String]| {
            if !lines.is_empty() {
                told += &format!("\n  {head}:");
                for line in lines {
                    told += &format!("\n  │ {line}");
                }
            }
        };
        part("its last lines", &self.lines);
        part("warnings", &self.warnings);
        told
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is not ready yet; told where that is news.
    Waits(Option<Progress>),
    /// It is ready.
    Ready(Option<String>),
    /// It will not be.
    Failed(NotReady),
}

/// How far a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    of: Option<(u64, u64)>,
    why: String,
}

/// A resource that is watched.
struct Watch {
    index: usize,
    path: String,
    tracking: Tracking,
    tally: Tally,
    since_ms: u64,
    due_ms: u64,
    pause_ms: u64,
    /// What was told last, and when.
    told: Option<(Progress, u64)>,
    /// The version of the object that was seen last, and when.
    version: (String, u64),
    /// Since when it cannot be looked at, and why.
    blind: Option<(u64, String)>,
    /// The lines of its containers.
    logs: Logs,
    /// How many warnings were shown already.
    shown: Vec<String>,
    /// It failed, and may yet be ready at the end.
    hopes: Option<NotReady>,
    /// When its deadline was said to have passed before it was looked at first; empty where it had not.
    stale: Option<String>,
    /// Whether the run has a limit.
    is_bounded: bool,
    /// The pods that were deleted, by uid, or could not be: it is tried once.
    freed: BTreeSet<String>,
    /// What it was when it was there, and since when it is not.
    last: Option<Last>,
    gone_ms: Option<u64>,
}

/// What is remembered of a resource that may vanish.
struct Last {
    /// So soon after its end it is cleaned up. Unit: seconds.
    cleaned_s: Option<u64>,
    /// Whether as many of its pods had succeeded as were wanted.
    has_succeeded: bool,
}

impl Last {
    fn of(object: &Value, sight: &Sight) -> Self {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
        let pods = sight.pods.iter().filter(|pod| is(pod, "/status/phase", "Succeeded")).count();
        let succeeded = number("/status/succeeded").unwrap_or(0).max(u64::try_from(pods).unwrap_or(u64::MAX));
        let is_job = is(object, "/kind", "Job");
        Self {
            cleaned_s: number("/spec/ttlSecondsAfterFinished").filter(|ttl| is_job && *ttl < SOON_S),
            has_succeeded: is_job && succeeded >= number("/spec/completions").unwrap_or(1),
        }
    }
}

/// What did not change for so long holds up nobody else. Unit: milliseconds.
const STILL_MS: u64 = 240_000;

impl Watch {
    fn new(index: usize, path: &str, tracking: &Tracking, now_ms: u64) -> Self {
        Self {
            index,
            path: path.to_owned(),
            tracking: tracking.clone(),
            tally: Tally::default(),
            since_ms: now_ms,
            due_ms: now_ms,
            pause_ms: PAUSES_MS.0,
            told: None,
            version: (String::new(), now_ms),
            blind: None,
            logs: Logs::new(&tracking.logs),
            shown: Vec::new(),
            hopes: None,
            stale: None,
            is_bounded: false,
            freed: BTreeSet::new(),
            last: None,
            gone_ms: None,
        }
    }

    /// Says whether it is waited for without regard to how long nothing happens to it, is no failure so far, and moves.
    fn is_patient(&self, now_ms: u64) -> bool {
        let counts = self.hopes.is_none() && self.tracking.fail_mode != FailMode::Ignore;
        // Where nothing moves any more, nothing comes of it either.
        counts && self.tracking.no_activity_s.is_none() && now_ms.saturating_sub(self.version.1) < STILL_MS
    }

    /// Something happened in the release that may be what it waits for.
    fn stirs(&mut self, now_ms: u64) {
        // Whose failure counts for nothing holds nobody up.
        if self.tracking.fail_mode != FailMode::Ignore && self.tracking.no_activity_s.is_some() {
            self.version.1 = self.version.1.max(now_ms);
        }
    }

    /// The time of the run is over: it is looked at once more, to tell why it is not ready.
    fn ends(&mut self, now_ms: u64) {
        self.due_ms = now_ms;
        self.tracking.timeout_s = Some(now_ms.saturating_sub(self.since_ms) / 1000);
        // The time is over for hope too, and for pods that would be made anew.
        self.tracking.fail_mode = FailMode::Stop;
        self.tracking.stuck.clear();
    }

    /// Says when it is looked at again.
    fn rest(&mut self, now_ms: u64) {
        self.due_ms = now_ms + self.pause_ms;
        let goes_soon = self.last.as_ref().is_some_and(|last| last.cleaned_s.is_some());
        self.pause_ms = (self.pause_ms * 3 / 2).min(if goes_soon { SHORT_PAUSE_MS } else { PAUSES_MS.1 });
    }

    /// It was written, and is gone: it was cleaned up, or somebody deleted it. What is no part of the release may yet come.
    fn vanished(&mut self, sight: &Sight, now_ms: u64) -> Option<Step> {
        if matches!(self.tracking.until, Until::Gone | Until::Present) {
            return None;
        }
        if let Some(object) = &sight.object {
            (self.last, self.gone_ms) = (Some(Last::of(object, sight)), None);
            return None;
        }
        if self.tracking.waits.is_some() {
            return None;
        }
        let since = *self.gone_ms.get_or_insert(now_ms);
        let is_long = now_ms.saturating_sub(since) >= BLIND_MS;
        let failed = |cause: String| Step::Failed(NotReady { cause, ..NotReady::default() });
        let Some(last) = &self.last else {
            return is_long.then(|| failed("it was gone before it was seen".into()));
        };
        match last.cleaned_s {
            Some(_) if last.has_succeeded => Some(Step::Ready(Some("it has succeeded, and was cleaned up".into()))),
            Some(ttl) => Some(failed(format!(
                "it is gone, and how it ended was not seen: its `ttlSecondsAfterFinished` is {ttl}; with 60 it can be seen"
            ))),
            None if is_long => Some(failed("it is gone: somebody deleted it".into())),
            None => None,
        }
    }

    /// It cannot be looked at now; that may pass.
    fn is_blind(&mut self, why: String, now_ms: u64) -> Step {
        let (since, why) = self.blind.get_or_insert((now_ms, why));
        if now_ms.saturating_sub(*since) < BLIND_MS {
            return Step::Waits(None);
        }
        Step::Failed(NotReady { cause: why.clone(), ..NotReady::default() })
    }

    /// Draws the conclusion from what is seen.
    fn conclude(&mut self, sight: &Sight, tracker: &dyn Tracker, now_ms: u64) -> Step {
        self.blind = None;
        let sight = &*self.since_watched(sight, now_ms);
        let hoped = self.hopes.take().is_some();
        let verdict = self.tally.take(sight, &self.tracking, now_ms);
        let step = match self.vanished(sight, now_ms) {
            Some(step) => step,
            None => self.follows(verdict, sight, tracker, now_ms),
        };
        match (step, self.tracking.fail_mode) {
            (Step::Failed(why), FailMode::Hope) => {
                let progress = Progress { of: None, why: format!("{}; it may recover until the end", why.cause) };
                self.hopes = Some(why);
                Step::Waits((!hoped).then_some(progress))
            }
            (step, FailMode::Stop | FailMode::Ignore | FailMode::Hope) => step,
        }
    }

    /// Says what follows from where it stands, and from what is wrong with its pods.
    fn follows(&mut self, verdict: Verdict, sight: &Sight, tracker: &dyn Tracker, now_ms: u64) -> Step {
        match (judge(sight, self.tracking.until), verdict) {
            (Stand::Ready(note), _) => Step::Ready(note),
            (Stand::Failed(why), verdict) => failed(&why, verdict, sight, tracker),
            (Stand::Waiting { .. } | Stand::Silent(_), Verdict::Failed(trouble)) => {
                Step::Failed(told(&trouble.text, Some(&trouble), sight, tracker))
            }
            (Stand::Waiting { of, why }, verdict) => {
                let trouble = if let Verdict::Troubled(trouble) = verdict { Some(trouble) } else { None };
                self.waits(of, why, trouble, sight, tracker, now_ms)
            }
            (Stand::Silent(why), _) => {
                let by_convention = || sight.object.as_ref().map(by_convention);
                match self.waits(None, why.clone(), None, sight, tracker, now_ms) {
                    Step::Failed(_) if self.is_idle(now_ms) && matches!(by_convention(), Some(Stand::Ready(_))) => {
                        Step::Ready(Some(why))
                    }
                    step @ (Step::Waits(_) | Step::Ready(_) | Step::Failed(_)) => step,
                }
            }
        }
    }

    /// A deadline that passed before it was watched counts anew: what it failed for may have been mended since.
    fn since_watched<'a>(&mut self, sight: &'a Sight, now_ms: u64) -> Cow<'a, Sight> {
        let Some(object) = &sight.object else { return Cow::Borrowed(sight) };
        let passed = passed_deadline(object);
        let stale = self.stale.get_or_insert_with(|| passed.map_or_else(String::new, |(said, _)| said.to_owned()));
        match passed {
            Some((said, limit_s))
                if !said.is_empty()
                    && stale == said
                    && now_ms.saturating_sub(self.since_ms) < limit_s.saturating_mul(1000) =>
            {
                Cow::Owned(Sight { object: Some(without_deadline(object)), ..sight.clone() })
            }
            Some(_) | None => Cow::Borrowed(sight),
        }
    }

    /// It is not ready: that may have lasted too long, or be news.
    fn waits(
        &mut self,
        of: Option<(u64, u64)>,
        why: String,
        trouble: Option<Trouble>,
        sight: &Sight,
        tracker: &dyn Tracker,
        now_ms: u64,
    ) -> Step {
        let count = of.map(|(ready, all)| format!("{ready} of {all} ready"));
        let state = [count.as_deref().unwrap_or_default(), &why];
        let state: Vec<&str> = state.into_iter().filter(|part| !part.is_empty()).collect();
        if let Some(cause) = self.late(sight, &state.join(", "), now_ms) {
            let trouble = trouble.or_else(|| unready(sight));
            let cause = trouble.as_ref().map_or(cause.clone(), |t| format!("{cause}; {}", t.text));
            return Step::Failed(told(&cause, trouble.as_ref(), sight, tracker));
        }
        let is_long = now_ms.saturating_sub(self.since_ms) >= HINT_MS;
        let why = match trouble {
            Some(trouble) if is_long => trouble.text,
            Some(trouble) => trouble.short,
            None if is_long => {
                let parts = [why, awaited(sight).or_else(|| note(sight)).unwrap_or_default()];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
            }
            None if why.is_empty() => note(sight).unwrap_or_default(),
            None => why,
        };
        let why = if is_long && self.is_endless() {
            format!("{why}; it is waited for without a limit: --timeout SECONDS sets one")
                .trim_start_matches("; ")
                .to_owned()
        } else {
            why
        };
        let progress = Progress { of, why };
        let is_told = |(told, at): &(Progress, u64)| *told == progress && now_ms.saturating_sub(*at) < SILENT_MS;
        let is_news = !self.told.as_ref().is_some_and(is_told);
        if is_news {
            self.told = Some((progress.clone(), now_ms));
        }
        Step::Waits(is_news.then_some(progress))
    }

    /// Says whether nothing ends the wait but that it is ready.
    fn is_endless(&self) -> bool {
        // It need not be there.
        let kind = self.path.split('/').nth(1).unwrap_or_default();
        let is_of_these = ["DaemonSet.apps", "StatefulSet.apps", "Job.batch"].contains(&kind);
        is_of_these && !self.is_bounded && self.tracking.timeout_s.is_none() && self.tracking.no_activity_s.is_none()
    }

    /// Says whether nothing happened to it for too long, and that alone ends the wait.
    fn is_idle(&self, now_ms: u64) -> bool {
        let passed = |since: u64, limit_s: u64| now_ms.saturating_sub(since) >= limit_s.saturating_mul(1000);
        self.tracking.timeout_s.is_none_or(|limit| !passed(self.since_ms, limit))
            && self.tracking.no_activity_s.is_some_and(|limit| passed(self.version.1, limit))
    }

    /// Says that it took too long.
    fn late(&mut self, sight: &Sight, why: &str, now_ms: u64) -> Option<String> {
        let version = sight.object.as_ref().and_then(|o| text(o, "/metadata/resourceVersion")).unwrap_or_default();
        if version != self.version.0 {
            self.version = (version.to_owned(), now_ms);
        }
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let waits = self.tracking.waits.as_ref().map(|who| format!("; {who} waits for it")).unwrap_or_default();
        let passed = |since: u64, limit_s: u64| now_ms.saturating_sub(since) >= limit_s.saturating_mul(1000);
        if let Some(limit) = self.tracking.timeout_s.filter(|limit| passed(self.since_ms, *limit)) {
            return Some(format!("it is not ready after {limit} s{why}{waits}"));
        }
        let idle = self.tracking.no_activity_s.filter(|limit| passed(self.version.1, *limit));
        idle.map(|limit| format!("nothing happened to it for {limit} s{why}"))
    }

    /// Returns the warnings that are new, where they are wanted.
    fn news(&mut self, sight: &Sight) -> Vec<String> {
        if !self.tracking.events {
            return Vec::new();
        }
        let all = warnings(sight, usize::MAX);
        let new: Vec<String> = all.into_iter().filter(|line| !self.shown.contains(line)).collect();
        self.shown.extend(new.iter().cloned());
        new
    }
}

/// The object says itself that it failed: of its pods it is asked why.
fn failed(why: &str, verdict: Verdict, sight: &Sight, tracker: &dyn Tracker) -> Step {
    let trouble = match verdict {
        Verdict::Troubled(trouble) | Verdict::Failed(trouble) => Some(trouble),
        Verdict::Well => last_failure(sight),
    };
    let cause = trouble.as_ref().map_or(why.to_owned(), |t| format!("{}; {why}", t.text));
    Step::Failed(told(&cause, trouble.as_ref(), sight, tracker))
}

fn told(cause: &str, trouble: Option<&Trouble>, sight: &Sight, tracker: &dyn Tracker) -> NotReady {
    let source = trouble.and_then(|t| t.source.as_ref());
    let lines = source.map(|source| tracker.lines(source, LAST_LINES)).unwrap_or_default();
    NotReady { cause: cause.to_owned(), lines, warnings: warnings(sight, LAST_WARNINGS) }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use crate::ports::{Closer, Lines, LogSource, TargetError};
    use serde_json::json;

    struct Said;

    impl Tracker for Said {
        fn look(&self, _: &[&str]) -> Vec<Result<Sight, TargetError>> {
            Vec::new()
        }

        fn look_closely(&self, _: &[Closer<'_>]) -> Vec<Sight> {
            Vec::new()
        }

        fn lines(&self, source: &LogSource, last: usize) -> Vec<String> {
            vec![format!("{} {last} {}", source.container, source.previous)]
        }

        fn lines_since(&self, _: &[(LogSource, Option<String>)]) -> Vec<Option<Lines>> {
            Vec::new()
        }
    }

    fn job(status: Value) -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "j", "resourceVersion": "1"}, "status": status})
    }

    fn pod() -> Value {
        json!({"metadata": {"name": "m-1", "namespace": "shop", "uid": "p"}, "status": {"containerStatuses": [
            {"name": "m", "state": {"terminated": {"exitCode": 3}}}]}})
    }

    fn watch(tracking: Tracking) -> Watch {
        Watch::new(0, "shop/Job.batch/m", &tracking, 0)
    }

    #[test]
    fn a_job_that_failed_tells_its_container_lines_and_warnings() {
        let failed =
            job(json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}));
        let event = json!({"type": "Warning", "reason": "BackoffLimitExceeded", "message": "too often",
            "involvedObject": {"kind": "Job", "name": "m", "uid": "j"}});
        let sight = Sight { object: Some(failed), pods: vec![pod()], events: vec![event], ..Sight::default() };
        let Step::Failed(why) = watch(Tracking::default()).conclude(&sight, &Said, 0) else { panic!("it failed") };
        assert_eq!(
            why.to_string(),
            "container `m` of pod m-1: exit code 3; BackoffLimitExceeded\n  its last lines:\n  │ m 20 false\n  \
             warnings:\n  │ Job/m BackoffLimitExceeded: too often"
        );
    }

    #[test]
    fn progress_is_told_when_it_is_news() {
        let mut watch = watch(Tracking::default());
        let sight = Sight { object: Some(job(json!({}))), ..Sight::default() };
        let progress = Progress { of: Some((0, 1)), why: String::new() };
        assert_eq!(watch.conclude(&sight, &Said, 0), Step::Waits(Some(progress)));
        assert_eq!(watch.conclude(&sight, &Said, 1), Step::Waits(None));
        assert!(matches!(watch.conclude(&sight, &Said, SILENT_MS), Step::Waits(Some(_))));
        let more = Sight { object: Some(job(json!({"failed": 1}))), ..Sight::default() };
        assert!(matches!(watch.conclude(&more, &Said, 1), Step::Waits(Some(_))));
    }

    #[test]
    fn a_limit_is_kept_and_names_who_waits() {
        let mut watch =
            watch(Tracking { timeout_s: Some(300), waits: Some("shop/Deployment/web".into()), ..Tracking::default() });
        assert!(matches!(watch.conclude(&Sight::default(), &Said, 299_999), Step::Waits(_)));
        let Step::Failed(why) = watch.conclude(&Sight::default(), &Said, 300_000) else { panic!("it is late") };
        assert_eq!(why.cause, "it is not ready after 300 s: it is not there; shop/Deployment/web waits for it");
    }

    #[test]
    fn what_may_recover_is_waited_for() {
        let mut watch = watch(Tracking { fail_mode: FailMode::Hope, ..Tracking::default() });
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "R"}]});
        let sight = Sight { object: Some(job(failed)), ..Sight::default() };
        assert!(matches!(watch.conclude(&sight, &Said, 0), Step::Waits(Some(_))));
        assert!(watch.hopes.is_some());
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        let sight = Sight { object: Some(job(done)), ..Sight::default() };
        assert_eq!(watch.conclude(&sight, &Said, 0), Step::Ready(None));
    }

    #[test]
    fn a_deadline_that_passed_before_counts_anew() {
        let late = |said: &str| {
            let condition = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "lastUpdateTime": said});
            let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 1},
                "spec": {"progressDeadlineSeconds": 60}, "status": {"observedGeneration": 1, "conditions": [condition]}});
            Sight { object: Some(object), ..Sight::default() }
        };
        let look = |at_ms: u64, said: &str| {
            let mut watch = watch(Tracking::default());
            watch.conclude(&late("2026-01-01T00:00:00Z"), &Said, 0);
            matches!(watch.conclude(&late(said), &Said, at_ms), Step::Failed(_))
        };
        assert!(!look(59_999, "2026-01-01T00:00:00Z"), "what it failed for may be mended");
        assert!(look(60_000, "2026-01-01T00:00:00Z"));
        assert!(look(1, "2026-01-01T00:01:00Z"), "it has passed again");
        let mut fresh = watch(Tracking::default());
        fresh.conclude(&Sight { object: Some(job(json!({}))), ..Sight::default() }, &Said, 0);
        assert!(matches!(fresh.conclude(&late("2026-01-01T00:00:00Z"), &Said, 1), Step::Failed(_)));
    }

    #[test]
    fn what_is_waited_for_long_is_told_with_its_pod_and_that_there_is_no_limit() {
        let pod = json!({"metadata": {"name": "m-1"}, "spec": {"nodeName": "n7"}, "status": {"phase": "Pending"}});
        let sight = Sight { object: Some(job(json!({}))), pods: vec![pod], ..Sight::default() };
        let told = |is_bounded: bool| {
            let mut watch = Watch { is_bounded, ..watch(Tracking::default()) };
            assert!(matches!(watch.conclude(&sight, &Said, 0), Step::Waits(Some(p)) if p.why.is_empty()));
            let Step::Waits(Some(progress)) = watch.conclude(&sight, &Said, HINT_MS) else { panic!("it is news") };
            progress.why
        };
        let why = "pod m-1 on node n7 was not begun by its node: is n7 ready?";
        assert_eq!(told(false), format!("{why}; it is waited for without a limit: --timeout SECONDS sets one"));
        assert_eq!(told(true), why);
    }

    fn custom(status: Value) -> Sight {
        let object = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"resourceVersion": "1"},
            "status": status});
        Sight { object: Some(object), ..Sight::default() }
    }

    #[test]
    fn what_never_says_whether_it_is_ready_is_judged_by_convention_after_a_while() {
        let end = |status: Value| {
            let mut watch = watch(Tracking { no_activity_s: Some(240), ..Tracking::default() });
            assert!(matches!(watch.conclude(&custom(status.clone()), &Said, 0), Step::Waits(_)));
            watch.conclude(&custom(status), &Said, 240_000)
        };
        assert_eq!(end(json!({"revision": 1})), Step::Ready(Some("it does not say whether it is ready".into())));
        assert!(matches!(end(json!({})), Step::Failed(_)), "nobody looks at it");
    }

    #[test]
    fn nothing_happens_to_a_resource_only_while_nothing_happens_in_its_release() {
        let mut watch = watch(Tracking { no_activity_s: Some(240), ..Tracking::default() });
        watch.conclude(&custom(json!({})), &Said, 0);
        watch.stirs(200_000);
        assert!(matches!(watch.conclude(&custom(json!({})), &Said, 439_999), Step::Waits(_)));
        assert!(matches!(watch.conclude(&custom(json!({})), &Said, 440_000), Step::Failed(_)));
    }

    #[test]
    fn what_moves_no_more_holds_up_nobody_else() {
        let mut patient = watch(Tracking::default());
        patient.conclude(&custom(json!({})), &Said, 0);
        assert!(patient.is_patient(STILL_MS - 1) && !patient.is_patient(STILL_MS));
        patient.stirs(STILL_MS);
        assert!(!patient.is_patient(STILL_MS), "only what happens to it itself counts");
        assert!(!watch(Tracking { fail_mode: FailMode::Ignore, ..Tracking::default() }).is_patient(0));
    }

    #[test]
    fn a_job_that_is_cleaned_up_before_its_end_was_seen_is_judged_by_its_pods() {
        let with = |ttl: Value, phase: &str| {
            let mut object = job(json!({}));
            object["spec"] = json!({"ttlSecondsAfterFinished": ttl});
            Sight { object: Some(object), pods: vec![json!({"status": {"phase": phase}})], ..Sight::default() }
        };
        let end = |ttl: Value, phase: &str, at_ms: u64| {
            let mut watch = watch(Tracking { until: Until::Finished, ..Tracking::default() });
            assert!(matches!(watch.conclude(&with(ttl, phase), &Said, 0), Step::Waits(_)));
            watch.conclude(&Sight::default(), &Said, 1);
            watch.conclude(&Sight::default(), &Said, at_ms)
        };
        assert_eq!(end(json!(0), "Succeeded", 1), Step::Ready(Some("it has succeeded, and was cleaned up".into())));
        let Step::Failed(why) = end(json!(0), "Running", 1) else { panic!("nobody knows how it ended") };
        assert!(why.cause.contains("its `ttlSecondsAfterFinished` is 0"), "{why}");
        for (ttl, phase) in [(json!(3600), "Succeeded"), (Value::Null, "Running")] {
            assert!(matches!(end(ttl.clone(), phase, BLIND_MS), Step::Waits(_)), "it may be made again");
            let Step::Failed(why) = end(ttl, phase, BLIND_MS + 1) else { panic!("it comes no more") };
            assert_eq!(why.cause, "it is gone: somebody deleted it");
        }
        let mut quick = watch(Tracking::default());
        quick.conclude(&with(json!(0), "Running"), &Said, 0);
        (0..9).for_each(|_| quick.rest(0));
        assert_eq!(quick.pause_ms, SHORT_PAUSE_MS);
    }

    #[test]
    fn what_was_gone_before_it_was_seen_is_not_waited_for() {
        let end = |tracking: Tracking| {
            let mut watch = watch(tracking);
            assert!(matches!(watch.conclude(&Sight::default(), &Said, 0), Step::Waits(_)));
            assert!(matches!(watch.conclude(&Sight::default(), &Said, BLIND_MS - 1), Step::Waits(_)), "it may come");
            watch.conclude(&Sight::default(), &Said, BLIND_MS)
        };
        let Step::Failed(why) = end(Tracking { until: Until::Finished, ..Tracking::default() }) else {
            panic!("never")
        };
        assert_eq!(why.cause, "it was gone before it was seen");
        assert!(matches!(end(Tracking { until: Until::Present, ..Tracking::default() }), Step::Waits(_)));
        let external = || Tracking { waits: Some("shop/Deployment/web".into()), ..Tracking::default() };
        assert!(matches!(end(external()), Step::Waits(_)), "it is made by others");
        let mut watch = watch(external());
        watch.conclude(&Sight::default(), &Said, 0);
        let Step::Waits(Some(told)) = watch.conclude(&Sight::default(), &Said, HINT_MS) else { panic!("it is news") };
        assert!(told.why.ends_with("it is waited for without a limit: --timeout SECONDS sets one"), "{}", told.why);
    }

    #[test]
    fn what_others_make_may_go_and_come_again() {
        let mut watch = watch(Tracking { waits: Some("shop/Deployment/web".into()), ..Tracking::default() });
        let seen = Sight { object: Some(job(json!({}))), ..Sight::default() };
        assert!(matches!(watch.conclude(&seen, &Said, 0), Step::Waits(_)));
        assert!(matches!(watch.conclude(&Sight::default(), &Said, 1), Step::Waits(_)));
        assert!(matches!(watch.conclude(&Sight::default(), &Said, 9 * BLIND_MS), Step::Waits(_)));
        let done = job(json!({"conditions": [{"type": "Complete", "status": "True"}]}));
        let done = Sight { object: Some(done), ..Sight::default() };
        assert_eq!(watch.conclude(&done, &Said, 9 * BLIND_MS + 1), Step::Ready(None));
    }

    #[test]
    fn what_is_too_late_is_told_why_and_frees_nothing() {
        let stuck = vec![crate::plan::StuckPod { name: "m-1".into(), uid: "p".into() }];
        let mut watch = watch(Tracking { fail_mode: FailMode::Hope, stuck, ..Tracking::default() });
        watch.ends(5_000);
        assert!(watch.tracking.stuck.is_empty());
        let Step::Failed(why) = watch.conclude(&Sight::default(), &Said, 5_000) else { panic!("the time is over") };
        assert_eq!(why.cause, "it is not ready after 5 s: it is not there");
    }

    #[test]
    fn what_cannot_be_looked_at_for_long_fails() {
        let mut watch = watch(Tracking::default());
        assert_eq!(watch.is_blind("no answer".into(), 0), Step::Waits(None));
        assert_eq!(watch.is_blind("no answer".into(), BLIND_MS - 1), Step::Waits(None));
        assert!(matches!(watch.is_blind("no answer".into(), BLIND_MS), Step::Failed(why) if why.cause == "no answer"));
    }
}
