//! The thread of a run that watches: it takes every resource that is waited for, and looks at all of them in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use super::logs::Wanted;
use super::{Masks, NotReady, Stand, Step, Watch, judge};
use crate::exec::event::{Event, Skip, Subject, causes};
use crate::exec::run::{Fate, Walk};
use crate::exec::work::{Done, WorkError};
use crate::plan::{FailMode, Operation, Until, Work};
use crate::ports::{Closer, Sight, Tracker};

/// How long the thread sleeps at most. Unit: milliseconds.
const NAP_MS: u64 = if cfg!(test) { 1 } else { 100 };

impl Walk<'_> {
    /// Watches until nothing is left to do.
    pub(in crate::exec) fn watch(&self) {
        let masks = Masks::of(self.operations);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.watch_all(&masks))) {
            self.panicked(payload);
        }
        self.changed.notify_all();
    }

    fn watch_all(&self, masks: &Masks) {
        let mut watches: Vec<Watch> = Vec::new();
        // When something happened in the release last: what others wait for may come of it.
        let mut stirred_ms = 0;
        loop {
            let now_ms = self.ports.clock.now_ms();
            let is_late = self.is_late();
            let Some(new) = self.take_watches(&mut watches, is_late) else { return };
            if self.is_busy(&watches, now_ms) {
                stirred_ms = now_ms;
            }
            for watch in &mut watches {
                watch.stirs(stirred_ms);
            }
            for operation in new {
                (self.events)(Event::Started(Subject::of(operation)));
            }
            if is_late {
                for watch in &mut watches {
                    watch.ends(now_ms);
                }
            }
            let mut left = Vec::with_capacity(watches.len());
            // What is due soon is looked at together with what is due: many at once are asked for with few requests.
            let is_round = watches.iter().any(|w| w.due_ms <= now_ms);
            let is_due = |w: &Watch| is_round && w.due_ms <= now_ms + w.pause_ms / 2;
            let (due, rest): (Vec<Watch>, Vec<Watch>) = watches.into_iter().partition(is_due);
            let steps = self.look(due, now_ms, masks);
            for (mut watch, step) in steps {
                match step {
                    Step::Waits(progress) => {
                        if let Some(progress) = progress {
                            self.tell_progress(&watch, &progress, masks);
                        }
                        watch.rest(now_ms);
                        left.push(watch);
                    }
                    Step::Ready(note) => {
                        stirred_ms = now_ms;
                        self.is_ready(&watch, note);
                    }
                    Step::Failed(why) => self.has_failed(&watch, why, masks),
                }
            }
            left.extend(rest);
            watches = self.end_of_hope(left, masks);
            let next = watches.iter().map(|w| w.due_ms).min().unwrap_or(u64::MAX);
            let nap = next.saturating_sub(self.ports.clock.now_ms()).clamp(1, NAP_MS);
            let state = self.state();
            drop(self.changed.wait_timeout(state, Duration::from_millis(nap)).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Takes what is to be watched now; `None` when the run is over. What is watched when it stops is skipped.
    fn take_watches(&self, watches: &mut Vec<Watch>, is_late: bool) -> Option<Vec<&Operation>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let stops = self.stops(state);
        // What is late is told once more why.
        if stops && !(is_late && !state.halted && !watches.is_empty()) {
            let skip = self.rest(state);
            for watch in watches.drain(..) {
                state.running -= 1;
                if let Some(fate) = state.fates.get_mut(watch.index) {
                    *fate = Fate::Skipped(skip.clone());
                }
            }
            return None;
        }
        let is_await = |i: &usize| self.operations.get(*i).is_some_and(|o| watched(o).is_some());
        let found: Vec<_> = state.ready.iter().copied().filter(|(_, i)| !stops && is_await(i)).collect();
        if found.is_empty() && watches.is_empty() && state.running == 0 && state.ready.is_empty() {
            return None;
        }
        let mut new = Vec::with_capacity(found.len());
        for next in found {
            state.ready.remove(&next);
            let Some(operation) = self.operations.get(next.1) else { continue };
            if self.workshop.has_behind(operation) || self.is_left_alone(next.1) {
                self.release_users(next.1, state);
                self.changed.notify_all();
                continue;
            }
            let Work::AwaitResource { path, tracking, .. } = &operation.work else { continue };
            state.running += 1;
            if let Some(fate) = state.fates.get_mut(next.1) {
                *fate = Fate::Running;
            }
            let is_bounded = self.options.timeout_ms.is_some();
            watches.push(Watch { is_bounded, ..Watch::new(next.1, path, tracking, self.ports.clock.now_ms()) });
            new.push(operation);
        }
        Some(new)
    }

    /// Says whether something else is under way than what waits for something to happen.
    fn is_busy(&self, watches: &[Watch], now_ms: u64) -> bool {
        let state = self.state();
        !state.ready.is_empty() || state.running > watches.len() || watches.iter().any(|watch| watch.is_patient(now_ms))
    }

    /// Looks at all that is due.
    fn look(&self, mut due: Vec<Watch>, now_ms: u64, masks: &Masks) -> Vec<(Watch, Step)> {
        let Some(tracker) = self.ports.target.and_then(crate::ports::Target::tracker) else {
            // Such a target takes what it is given: there is nothing to wait for.
            return due.into_iter().map(|watch| (watch, Step::Ready(None))).collect();
        };
        if due.is_empty() {
            return Vec::new();
        }
        let paths: Vec<&str> = due.iter().map(|w| w.path.as_str()).collect();
        let mut sights = tracker.look(&paths);
        sights.resize_with(due.len(), || Ok(Sight::default()));
        look_closely(tracker, &mut sights, &due);
        self.tell_lines(&mut due, &sights, tracker, masks);
        for (watch, sight) in due.iter_mut().zip(&sights) {
            if let Ok(sight) = sight {
                self.free(watch, sight, masks);
            }
        }
        due.into_iter()
            .zip(sights)
            .map(|(mut watch, sight)| {
                let step = match sight {
                    Ok(sight) => watch.conclude(&sight, tracker, now_ms),
                    Err(error) => watch.is_blind(causes(&error).join(": "), now_ms),
                };
                (watch, step)
            })
            .collect()
    }

    /// Tells what containers printed and what is said of resources since the last look; all containers are read at once.
    fn tell_lines(
        &self,
        due: &mut [Watch],
        sights: &[Result<Sight, crate::ports::TargetError>],
        tracker: &dyn Tracker,
        masks: &Masks,
    ) {
        let now_ms = self.ports.clock.now_ms();
        let wanted = |(watch, sight): (&mut Watch, &Result<Sight, _>)| match sight {
            Ok(sight) => {
                let is_last = matches!(judge(sight, watch.tracking.until), Stand::Ready(_));
                watch.logs.wanted(sight, now_ms, is_last)
            }
            Err(_) => Vec::new(),
        };
        let wanted: Vec<Vec<Wanted>> = due.iter_mut().zip(sights).map(wanted).collect();
        let sources: Vec<_> = wanted.iter().flatten().map(|w| (w.source.clone(), w.mark.clone())).collect();
        let found = if sources.is_empty() { Vec::new() } else { tracker.lines_since(&sources) };
        let mut found = found.into_iter();
        for ((watch, sight), wanted) in due.iter_mut().zip(sights).zip(wanted) {
            let (Some(operation), Ok(sight)) = (self.operations.get(watch.index), sight) else { continue };
            let mut lines = Vec::new();
            for wanted in wanted {
                lines.extend(watch.logs.take(wanted, found.next().flatten(), now_ms));
            }
            lines.extend(watch.news(sight));
            for line in lines {
                (self.events)(Event::Output { subject: Subject::of(operation), line: masks.hide(&line) });
            }
        }
    }

    fn tell_progress(&self, watch: &Watch, progress: &super::Progress, masks: &Masks) {
        let Some(operation) = self.operations.get(watch.index) else { return };
        let (ready, want) = progress.of.unzip();
        let why = masks.hide(&progress.why);
        (self.events)(Event::Waiting { subject: Subject::of(operation), ready, want, why });
    }

    fn is_ready(&self, watch: &Watch, note: Option<String>) {
        let Some(operation) = self.operations.get(watch.index) else { return };
        if let Some(line) = note {
            (self.events)(Event::Output { subject: Subject::of(operation), line });
        }
        self.settle(watch.index, operation, watch.since_ms, false, Ok(Done::Now));
        self.changed.notify_all();
    }

    fn has_failed(&self, watch: &Watch, why: NotReady, masks: &Masks) {
        let Some(operation) = self.operations.get(watch.index) else { return };
        let hide = |lines: Vec<String>| lines.iter().map(|line| masks.hide(line)).collect();
        let NotReady { cause, lines, warnings } = why;
        let why = NotReady { cause: masks.hide(&cause), lines: hide(lines), warnings: hide(warnings) };
        if watch.tracking.delete_failed {
            // Whether it can be deleted or not: that it failed is what counts.
            let _ = self.workshop.delete(&watch.path);
        }
        let error = WorkError::NotReady(Box::new(why));
        if watch.tracking.fail_mode == FailMode::Ignore {
            self.ignore(watch.index, operation, &error);
        } else {
            self.state().halted = true;
            self.settle(watch.index, operation, watch.since_ms, false, Err(error));
        }
        self.changed.notify_all();
    }

    /// Once nothing else is under way, what failed and has not recovered has failed.
    fn end_of_hope(&self, watches: Vec<Watch>, masks: &Masks) -> Vec<Watch> {
        let over = {
            let state = self.state();
            state.ready.is_empty() && state.running == watches.len()
        };
        if !over || watches.is_empty() || watches.iter().any(|w| w.hopes.is_none()) {
            return watches;
        }
        for mut watch in watches {
            let why = watch.hopes.take().unwrap_or_default();
            self.has_failed(&watch, why, masks);
        }
        Vec::new()
    }

    /// Says why the rest is not begun.
    pub(in crate::exec) fn rest(&self, state: &crate::exec::run::State) -> Skip {
        if self.is_cancelled() {
            Skip::Cancelled
        } else if state.failed && (state.halted || self.stops_at_failures()) {
            Skip::Stopped
        } else if matches!(self.hold(), crate::ports::Hold::Lost(_)) {
            Skip::Unlocked
        } else if self.is_late() {
            Skip::Late
        } else {
            Skip::Cycle
        }
    }
}

/// Asks for pods and events of what is not simply ready.
fn look_closely(tracker: &dyn Tracker, sights: &mut [Result<Sight, crate::ports::TargetError>], due: &[Watch]) {
    let mut asked: Vec<(usize, Value, bool)> = Vec::new();
    for (i, (sight, watch)) in sights.iter_mut().zip(due).enumerate() {
        let (Ok(sight), until) = (sight, watch.tracking.until) else { continue };
        if matches!(until, Until::Present | Until::Gone) {
            continue;
        }
        let is_ready = matches!(judge(sight, until), Stand::Ready(_));
        // What printed something tells it to the end; of the others nothing is asked any more.
        let has_lines = sight.object.as_ref().is_some_and(|o| o.get("kind").is_some_and(|k| k == "Job" || k == "Pod"));
        if (!is_ready || has_lines)
            && let Some(object) = sight.object.take()
        {
            asked.push((i, object, !is_ready || watch.tracking.events));
        }
    }
    let objects: Vec<Closer<'_>> = asked.iter().map(|(_, object, events)| Closer { object, events: *events }).collect();
    let mut found = if objects.is_empty() { Vec::new() } else { tracker.look_closely(&objects) };
    found.resize_with(asked.len(), Sight::default);
    for ((i, object, _), closer) in asked.into_iter().zip(found) {
        if let Some(sight) = sights.get_mut(i) {
            *sight = Ok(Sight { object: Some(object), ..closer });
        }
    }
}

/// Returns what an operation watches.
pub(in crate::exec) fn watched(operation: &Operation) -> Option<&str> {
    if let Work::AwaitResource { path, .. } = &operation.work { Some(path) } else { None }
}
