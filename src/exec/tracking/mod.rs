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
mod watch;

use self::logs::Logs;
pub use self::masks::Masks;
use self::pods::{Tally, Trouble, Verdict, last_failure, note, unready, warnings};
use self::ready::{Stand, judge, text};
pub(super) use self::watch::watched;
use crate::plan::{FailMode, Tracking};
use crate::ports::{Sight, Tracker};

/// How many lines of a container that failed are told.
const LAST_LINES: usize = 20;
/// How many warnings are told of what failed.
const LAST_WARNINGS: usize = 8;
/// How long a resource is waited for that cannot be looked at. Unit: milliseconds.
const BLIND_MS: u64 = 60_000;
/// After so long it is told again what is waited for: whoever reads a log sees that it goes on. Unit: milliseconds.
const SILENT_MS: u64 = 30_000;
/// How often a resource is looked at: at first, and after a while. Unit: milliseconds.
const PAUSES_MS: (u64, u64) = (100, 2_000);

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
}

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
        }
    }

    /// Says when it is looked at again.
    fn rest(&mut self, now_ms: u64) {
        self.due_ms = now_ms + self.pause_ms;
        self.pause_ms = (self.pause_ms * 3 / 2).min(PAUSES_MS.1);
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
        let hoped = self.hopes.take().is_some();
        let verdict = self.tally.take(sight, &self.tracking, now_ms);
        let step = match (judge(sight, self.tracking.until), verdict) {
            (Stand::Ready(note), _) => return Step::Ready(note),
            (Stand::Failed(why), verdict) => failed(&why, verdict, sight, tracker),
            (Stand::Waiting { .. }, Verdict::Failed(trouble)) => {
                Step::Failed(told(&trouble.text, Some(&trouble), sight, tracker))
            }
            (Stand::Waiting { of, why }, verdict) => {
                let trouble = if let Verdict::Troubled(trouble) = verdict { Some(trouble) } else { None };
                self.waits(of, why, trouble, sight, tracker, now_ms)
            }
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
        let why = match trouble {
            Some(trouble) => trouble.short,
            None if why.is_empty() => note(sight).unwrap_or_default(),
            None => why,
        };
        let progress = Progress { of, why };
        let is_told = |(told, at): &(Progress, u64)| *told == progress && now_ms.saturating_sub(*at) < SILENT_MS;
        let is_news = !self.told.as_ref().is_some_and(is_told);
        if is_news {
            self.told = Some((progress.clone(), now_ms));
        }
        Step::Waits(is_news.then_some(progress))
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
    use serde_json::{Value, json};

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
        let sight = Sight { object: Some(failed), pods: vec![pod()], events: vec![event] };
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
    fn what_cannot_be_looked_at_for_long_fails() {
        let mut watch = watch(Tracking::default());
        assert_eq!(watch.is_blind("no answer".into(), 0), Step::Waits(None));
        assert_eq!(watch.is_blind("no answer".into(), BLIND_MS - 1), Step::Waits(None));
        assert!(matches!(watch.is_blind("no answer".into(), BLIND_MS), Step::Failed(why) if why.cause == "no answer"));
    }
}
