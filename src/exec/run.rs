//! The scheduler: bounded, cancellable, deterministic among equals.
//!
//! The one idea: of what may begin, that begins first which most work waits for ([`Forecast`]). A build is two deeds,
//! making and storing: while a stage is being stored, another one is made.

use std::any::Any;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Ports;
use super::event::{Event, Failure, FreedPod, Outcome, Skip, Skipped, Subject, causes};
use super::forecast::{Forecast, dag};
use super::guards::Checked;
use super::tracking::watched;
use super::work::{Done, WorkError, Workshop};
use crate::plan::{GONE_GATE, Operation, Plan, READY_GATE, Until, Work};
use crate::ports::{BuildError, Hold, LockGuard};

/// Requests to the target at once: they wait for others, and take nothing of this machine.
const REQUESTS: usize = 16;
/// How many operations act at once at most, whatever is asked for: each needs a thread.
const THREADS: usize = 256;

/// What a failure means for operations that do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They go on.
    #[default]
    Continue,
    /// Nothing new is begun.
    Stop,
}

/// How a plan is run.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Operations at once; at least 1. Unless it is 1, stages that are being stored are not counted, which are as many at
    /// most, nor are requests to the target ([`REQUESTS`]).
    pub parallel: usize,
    /// What a failure means for the others.
    pub on_failure: OnFailure,
    /// Accepts what an interrupted run of the same plan left behind.
    pub resume: bool,
    /// Opens a shell in the state that a failed command left.
    pub introspect: bool,
    /// What matters most.
    pub forecast: &'a Forecast,
    /// Once true, nothing new is begun, and commands that run are killed.
    pub cancelled: &'a AtomicBool,
    /// After so long nothing new is begun, and nothing is waited for. Unit: milliseconds.
    pub timeout_ms: Option<u64>,
    /// Does not wait for what nothing but the end of the run waits for; hooks are always waited for.
    pub no_wait: bool,
    /// What was seen when the guards were checked.
    pub checked: Option<&'a Checked>,
    /// The lock that the run is held under: once it is lost, nothing new is begun.
    pub lock: Option<&'a dyn LockGuard>,
}

impl<'a> Options<'a> {
    /// Returns a run of one operation at a time that goes on after failures.
    pub fn new(forecast: &'a Forecast, cancelled: &'a AtomicBool) -> Self {
        let on_failure = OnFailure::default();
        Self {
            parallel: 1,
            on_failure,
            resume: false,
            introspect: false,
            forecast,
            cancelled,
            timeout_ms: None,
            no_wait: false,
            checked: None,
            lock: None,
        }
    }
}

/// Carries out a plan. Call [`super::check_guards`] first: a run checks each operation again before it acts, or acts only over
/// what was seen then.
///
/// No operation begins before all it needs are done; what needs a failed one is skipped. Among operations that may
/// begin, the one with the longest chain behind it begins first, and of equals the first of the plan.
///
/// # Errors
/// It cannot be seen what an interrupted run has behind it, or no thread is to be had; nothing was begun.
pub fn run<'a>(
    plan: &'a Plan,
    ports: &'a Ports<'a>,
    options: &'a Options<'a>,
    events: &'a (dyn Fn(Event) + Sync),
) -> Result<Outcome, WorkError> {
    let walk = Walk {
        operations: &plan.operations,
        users: dag(&plan.operations).users(),
        ranks: plan.operations.iter().map(|o| Reverse(options.forecast.remaining(&o.id))).collect(),
        workshop: Workshop::new(plan, *ports, options, events)?,
        ports,
        options,
        events,
        builds: ports.builder.concurrency().max(1),
        began_ms: options.timeout_ms.map_or(0, |_| ports.clock.now_ms()),
        state: Mutex::default(),
        changed: Condvar::new(),
        forgotten: AtomicBool::new(false),
    };
    walk.prepare();
    // Twice as many as act: the others store.
    let most = if options.parallel > 1 { options.parallel.min(THREADS).saturating_mul(2) + REQUESTS } else { 1 };
    std::thread::scope(|scope| {
        if plan.operations.iter().any(|o| watched(o).is_some()) {
            std::thread::Builder::new().spawn_scoped(scope, || walk.watch()).map_err(WorkError::NoThread)?;
        }
        if most == 1 {
            walk.work(None);
            return Ok(());
        }
        // A thread is begun when no other waits: one that is just done may leave a thread too many, which is idle.
        for _ in 0..most {
            let Some(first) = walk.take(true) else { break };
            let walk = &walk;
            let begun = std::thread::Builder::new().spawn_scoped(scope, move || walk.work(Some(first)));
            // No more threads are given: this one helps.
            if begun.is_err() {
                walk.work(Some(first));
                break;
            }
        }
        Ok::<(), WorkError>(())
    })?;
    Ok(walk.finish())
}

/// What became of one operation.
pub(super) enum Fate {
    Waiting(usize),
    Running,
    Done,
    Failed(Box<Failure>),
    Skipped(Skip),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) fates: Vec<Fate>,
    /// What may begin, by rank and place in the plan.
    pub(super) ready: BTreeSet<(Rank, usize)>,
    /// Threads that wait for an operation.
    idle: usize,
    /// Operations under way.
    pub(super) running: usize,
    /// Those of them that are not just being stored, and are no requests to the target.
    acting: usize,
    /// Those of them that are requests to the target.
    asking: usize,
    /// Those of them that occupy the builder.
    building: usize,
    pub(super) failed: bool,
    /// A failure that ends the run.
    pub(super) halted: bool,
    /// Failures that are told, and count for nothing.
    ignored: Vec<Failure>,
    /// Pods that held what is waited for up.
    pub(super) freed: Vec<FreedPod>,
    panic: Option<Box<dyn Any + Send>>,
}

impl State {
    /// Returns the count that an operation is in while it is under way.
    fn place_of(&mut self, operation: &Operation) -> &mut usize {
        if is_request(operation) { &mut self.asking } else { &mut self.acting }
    }
}

/// The longest chain first.
type Rank = Reverse<u64>;

pub(super) struct Walk<'a> {
    pub(super) operations: &'a [Operation],
    /// For each operation, those that need it.
    users: Vec<Vec<usize>>,
    ranks: Vec<Rank>,
    pub(super) workshop: Workshop<'a>,
    pub(super) ports: &'a Ports<'a>,
    pub(super) options: &'a Options<'a>,
    pub(super) events: &'a (dyn Fn(Event) + Sync),
    builds: usize,
    began_ms: u64,
    state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Whether the records of the release were deleted: nobody else can spoil it any more.
    forgotten: AtomicBool,
}

impl Walk<'_> {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare(&self) {
        let mut state = self.state();
        for (i, operation) in self.operations.iter().enumerate() {
            // A need that is no operation of the plan counts too: what has it stays waiting, and is skipped at the end.
            let needs: BTreeSet<&str> = operation.needs.iter().map(String::as_str).collect();
            if needs.is_empty() {
                state.ready.insert((self.rank(i), i));
            }
            state.fates.push(Fate::Waiting(needs.len()));
        }
    }

    fn rank(&self, index: usize) -> Rank {
        self.ranks.get(index).copied().unwrap_or(Reverse(0))
    }

    /// Carries out one operation after the other until none is left.
    fn work<'s>(&'s self, first: Option<(usize, &'s Operation)>) {
        let mut next = first.or_else(|| self.take(false));
        while let Some((index, operation)) = next {
            (self.events)(Event::Started(Subject::of(operation)));
            let from = self.ports.clock.now_ms();
            let holds = Cell::new(true);
            let made = |bytes| self.stores(operation, bytes, &holds);
            let result = catch_unwind(AssertUnwindSafe(|| self.workshop.carry_out(operation, &made)));
            match result {
                Ok(result) => self.settle(index, operation, from, holds.get(), result),
                Err(payload) => self.panicked(payload),
            }
            self.changed.notify_all();
            next = self.take(false);
        }
        self.changed.notify_all();
    }

    /// A stage is made: while it is being stored, another operation may begin.
    fn stores(&self, operation: &Operation, bytes: u64, holds: &Cell<bool>) {
        (self.events)(Event::Storing { subject: Subject::of(operation), bytes });
        if self.options.parallel > 1 && holds.replace(false) {
            let mut state = self.state();
            state.acting -= 1;
            state.building -= usize::from(is_build(operation));
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for an operation that may begin; `None` when none ever will. For another thread only what no thread waits for
    /// is taken.
    fn take(&self, for_another: bool) -> Option<(usize, &Operation)> {
        let mut state = self.state();
        loop {
            if self.stops(&state) {
                return None;
            }
            let unsure = self.hold() == Hold::Unsure;
            let is_left = !for_another || state.idle == 0;
            if is_left
                && !unsure
                && let Some(next) = state.ready.iter().copied().find(|(_, i)| self.may_begin(*i, &state))
            {
                let (_, index) = next;
                let operation = self.operations.get(index)?;
                state.ready.remove(&next);
                state.running += 1;
                *state.place_of(operation) += 1;
                state.building += usize::from(is_build(operation));
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Running;
                }
                // Who begins threads hears of what no thread waits for.
                if state.idle == 0 && !for_another {
                    self.changed.notify_all();
                }
                return Some((index, operation));
            }
            let waits = |i: usize| unsure || !is_left || self.is_watched(i);
            if state.running == 0 && !state.ready.iter().any(|(_, i)| waits(*i)) {
                return None;
            }
            // The timeout only matters for cancellation and locks, which notify nobody.
            state.idle += usize::from(!for_another);
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= usize::from(!for_another);
        }
    }

    pub(super) fn stops(&self, state: &State) -> bool {
        state.panic.is_some()
            || state.halted
            || self.is_cancelled()
            || (state.failed && self.stops_at_failures())
            || self.is_late()
            || matches!(self.hold(), Hold::Lost(_))
    }

    /// Says how firmly the lock is held.
    pub(super) fn hold(&self) -> Hold {
        // The lock of a release goes with the namespace that was its own.
        let is_forgotten = self.forgotten.load(Ordering::Relaxed);
        self.options.lock.filter(|_| !is_forgotten).map_or(Hold::Sure, LockGuard::hold)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.options.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn stops_at_failures(&self) -> bool {
        self.options.on_failure == OnFailure::Stop
    }

    /// Says whether the time of the run is over.
    pub(super) fn is_late(&self) -> bool {
        let passed = || self.ports.clock.now_ms().saturating_sub(self.began_ms);
        self.options.timeout_ms.is_some_and(|limit| passed() >= limit)
    }

    /// Says whether the lock of the release goes with what an operation does: with its records, or, where it has none, with
    /// a namespace.
    fn forgets(&self, operation: &Operation) -> bool {
        let has_records = || self.operations.iter().any(|o| matches!(o.work, Work::OpenRelease { .. }));
        match &operation.work {
            Work::ForgetRelease { .. } => true,
            Work::DeleteResource { path, .. } => path.starts_with("-/Namespace/") && !has_records(),
            Work::BuildStage { .. }
            | Work::TagImage { .. }
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::OpenRelease { .. }
            | Work::WriteResource { .. }
            | Work::AwaitResource { .. }
            | Work::Gate
            | Work::RecordHooks { .. }
            | Work::RecordRelease { .. } => false,
        }
    }

    fn is_watched(&self, index: usize) -> bool {
        self.operations.get(index).is_some_and(|o| watched(o).is_some())
    }

    fn may_begin(&self, index: usize, state: &State) -> bool {
        let is = |of: fn(&Operation) -> bool| self.operations.get(index).is_some_and(of);
        let builder_is_free = state.building < self.builds || !is(is_build);
        let place_is_free = match self.options.parallel {
            0 | 1 => state.acting + state.asking == 0,
            parallel if is(is_request) => state.asking < REQUESTS.max(parallel),
            parallel => state.acting < parallel,
        };
        // What is only watched takes nobody's place, and has a thread of its own.
        builder_is_free && place_is_free && !self.is_watched(index)
    }

    pub(super) fn settle(
        &self,
        index: usize,
        operation: &Operation,
        from: u64,
        holds: bool,
        result: Result<Done, WorkError>,
    ) {
        let subject = Subject::of(operation);
        self.workshop.tell_settled(operation, result.is_ok());
        let event = match &result {
            Ok(Done::Now) => Some(Event::Done { subject, ms: self.ports.clock.now_ms().saturating_sub(from) }),
            Ok(Done::Already) => Some(Event::Reused(subject)),
            // It is told at the end, with what was never begun.
            Err(WorkError::Build(BuildError::Cancelled(_))) => None,
            Err(error) => {
                let introspectable = error.is_command() && !self.options.introspect;
                Some(Event::Failed { subject, causes: causes(error), place: error.place().cloned(), introspectable })
            }
        };
        if result.is_ok() && self.forgets(operation) {
            self.forgotten.store(true, Ordering::Relaxed);
        }
        // Told before dependants may begin, so that events come in the order of the deeds.
        if let Some(event) = event {
            (self.events)(event);
        }
        let mut guard = self.state();
        let state = &mut *guard;
        state.running -= 1;
        *state.place_of(operation) -= usize::from(holds);
        state.building -= usize::from(holds && is_build(operation));
        match result {
            Ok(_) => self.release_users(index, state),
            Err(WorkError::Build(BuildError::Cancelled(_))) => {
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Skipped(Skip::Cancelled);
                }
            }
            Err(error) => {
                let (subject, causes, place) = (Subject::of(operation), causes(&error), error.place().cloned());
                let failure = Failure { subject, causes, place, stale: stale(error) };
                state.failed = true;
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Failed(Box::new(failure));
                }
            }
        }
    }

    /// A failure that counts for nothing: what waited for it goes on.
    pub(super) fn ignore(&self, index: usize, operation: &Operation, error: &WorkError) {
        let (subject, causes) = (Subject::of(operation), causes(error));
        (self.events)(Event::Ignored { subject: subject.clone(), causes: causes.clone() });
        let mut state = self.state();
        state.running -= 1;
        state.ignored.push(Failure { subject, causes, place: None, stale: None });
        self.release_users(index, &mut state);
    }

    /// Says whether nothing but the end of the run waits for a resource, and nobody wants to wait for that.
    pub(super) fn is_left_alone(&self, index: usize) -> bool {
        let at = |i: usize| self.operations.get(i).map(|o| &o.work);
        let Some(Work::AwaitResource { path, tracking, .. }) = at(index) else { return false };
        let runs = tracking.until == Until::Finished;
        let is_end = |user: &usize| match self.operations.get(*user).map(|o| (&o.work, o.id.as_str())) {
            Some(
                (Work::RecordRelease { .. } | Work::ForgetRelease { .. }, _) | (Work::Gate, READY_GATE | GONE_GATE),
            ) => true,
            Some((Work::DeleteResource { path: other, .. }, _)) => other != path,
            Some(_) | None => false,
        };
        self.options.no_wait && !runs && self.users.get(index).is_some_and(|users| users.iter().all(is_end))
    }

    pub(super) fn release_users(&self, index: usize, state: &mut State) {
        if let Some(fate) = state.fates.get_mut(index) {
            *fate = Fate::Done;
        }
        for user in self.users.get(index).into_iter().flatten() {
            if let Some(Fate::Waiting(left)) = state.fates.get_mut(*user) {
                *left -= 1;
                if *left == 0 {
                    state.ready.insert((self.rank(*user), *user));
                }
            }
        }
    }

    pub(super) fn panicked(&self, payload: Box<dyn Any + Send>) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
        state.panic.get_or_insert(payload);
    }

    /// Says why the rest was not begun, and sums up.
    fn finish(self) -> Outcome {
        let rest = self.rest(&self.state());
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = state.panic {
            resume_unwind(payload);
        }
        skip_users_of_failures(self.operations, &mut state.fates);
        let (ignored, freed) = (std::mem::take(&mut state.ignored), std::mem::take(&mut state.freed));
        let mut outcome = Outcome { ignored, freed, ..Outcome::default() };
        for (operation, fate) in self.operations.iter().zip(state.fates) {
            let skip = match fate {
                // What is passed or not is told of nobody: those that wait for it are.
                Fate::Done | Fate::Skipped(_) | Fate::Waiting(_) if operation.work == Work::Gate => continue,
                Fate::Done => {
                    outcome.done.push(operation.id.clone());
                    continue;
                }
                Fate::Failed(failure) => {
                    outcome.failed.push(*failure);
                    continue;
                }
                Fate::Skipped(skip) => skip,
                Fate::Waiting(_) | Fate::Running => rest.clone(),
            };
            let subject = Subject::of(operation);
            (self.events)(Event::Skipped { subject: subject.clone(), skip: skip.clone() });
            outcome.skipped.push(Skipped { subject, skip });
        }
        outcome
    }
}

/// Marks everything that needs a failed or unknown operation, however far away; the nearest need is named, beyond gates.
fn skip_users_of_failures(operations: &[Operation], fates: &mut [Fate]) {
    let mut lost: BTreeSet<&str> = BTreeSet::new();
    let known: BTreeSet<&str> = operations.iter().map(|o| o.id.as_str()).collect();
    for (operation, fate) in operations.iter().zip(fates.iter()) {
        if matches!(fate, Fate::Failed(_)) {
            lost.insert(&operation.id);
        }
        lost.extend(operation.needs.iter().map(String::as_str).filter(|id| !known.contains(id)));
    }
    let mut todo: Vec<&str> = lost.iter().copied().collect();
    let by_need = by_need(operations);
    while let Some(id) = todo.pop() {
        for index in by_need.get(id).into_iter().flatten() {
            let Some(operation) = operations.get(*index) else { continue };
            if matches!(fates.get(*index), Some(Fate::Waiting(_))) && lost.insert(&operation.id) {
                todo.push(&operation.id);
            }
        }
    }
    let gates: BTreeMap<&str, &Operation> =
        operations.iter().filter(|o| o.work == Work::Gate).map(|o| (o.id.as_str(), o)).collect();
    let lost_need = |operation: &Operation| operation.needs.iter().find(|id| lost.contains(id.as_str())).cloned();
    for (operation, fate) in operations.iter().zip(fates.iter_mut()) {
        let mut need = lost_need(operation);
        // Gates may need each other in a plan that was tampered with.
        for _ in 0..gates.len() {
            let Some(gate) = need.as_ref().and_then(|id| gates.get(id.as_str())) else { break };
            need = lost_need(gate).or(need);
        }
        if let (Fate::Waiting(_), Some(need)) = (&*fate, need) {
            *fate = Fate::Skipped(Skip::Needs { operation: need });
        }
    }
}

fn by_need(operations: &[Operation]) -> BTreeMap<&str, Vec<usize>> {
    let mut map: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, operation) in operations.iter().enumerate() {
        for need in &operation.needs {
            map.entry(need).or_default().push(i);
        }
    }
    map
}

/// Says whether an operation is a request to the target, and not the work of this machine.
fn is_request(operation: &Operation) -> bool {
    matches!(operation.work, Work::WriteResource { .. } | Work::DeleteResource { .. })
}

fn is_build(operation: &Operation) -> bool {
    matches!(operation.work, Work::BuildStage { .. })
}

fn stale(error: WorkError) -> Option<super::Violation> {
    if let WorkError::Stale(guard) = error { Some(guard.0) } else { None }
}
