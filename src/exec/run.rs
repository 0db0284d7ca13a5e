//! The scheduler: bounded, cancellable, deterministic among equals.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Ports;
use super::event::{Event, Failure, Outcome, Skip, Skipped, Subject, causes};
use super::work::{Done, WorkError, Workshop};
use crate::graph::Dag;
use crate::plan::{Operation, Plan, Work};
use crate::ports::BuildError;

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
    /// Operations at once; at least 1.
    pub parallel: usize,
    /// What a failure means for the others.
    pub on_failure: OnFailure,
    /// Accepts what an interrupted run of the same plan left behind.
    pub resume: bool,
    /// Opens a shell in the state that a failed command left.
    pub introspect: bool,
    /// Once true, nothing new is begun, and commands that run are killed.
    pub cancelled: &'a AtomicBool,
}

/// Carries out a plan. Call [`super::check_guards`] first: a run checks each operation again before it acts.
///
/// No operation begins before all it needs are done; what needs a failed one is skipped. Among operations that may
/// begin, the first of the plan begins first.
pub fn run<'a>(
    plan: &'a Plan,
    ports: &'a Ports<'a>,
    options: &'a Options<'a>,
    events: &'a (dyn Fn(Event) + Sync),
) -> Outcome {
    let walk = Walk {
        operations: &plan.operations,
        users: users(&plan.operations),
        workshop: Workshop::new(*ports, options, events),
        ports,
        options,
        events,
        builds: ports.builder.concurrency().max(1),
        state: Mutex::new(State::new(&plan.operations)),
        changed: Condvar::new(),
    };
    let workers = options.parallel.clamp(1, plan.operations.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| walk.work());
        }
        walk.work();
    });
    walk.finish()
}

/// What became of one operation.
enum Fate {
    Waiting(usize),
    Running,
    Done,
    Failed(Failure),
    Skipped(Skip),
}

struct State {
    fates: Vec<Fate>,
    ready: BTreeSet<usize>,
    running: usize,
    building: usize,
    failed: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl State {
    fn new(operations: &[Operation]) -> Self {
        let mut fates = Vec::with_capacity(operations.len());
        let mut ready = BTreeSet::new();
        for (i, operation) in operations.iter().enumerate() {
            // A need that is no operation of the plan counts too: what has it stays waiting, and is skipped at the end.
            let needs: BTreeSet<&str> = operation.needs.iter().map(String::as_str).collect();
            if needs.is_empty() {
                ready.insert(i);
            }
            fates.push(Fate::Waiting(needs.len()));
        }
        Self { fates, ready, running: 0, building: 0, failed: false, panic: None }
    }
}

/// For each operation, those that need it.
fn users(operations: &[Operation]) -> Vec<Vec<usize>> {
    let index: BTreeMap<&str, usize> = operations.iter().enumerate().map(|(i, o)| (o.id.as_str(), i)).collect();
    let mut dag = Dag::new(operations.len());
    for (i, operation) in operations.iter().enumerate() {
        for needed in operation.needs.iter().filter_map(|id| index.get(id.as_str())) {
            dag.add(*needed, i);
        }
    }
    dag.users()
}

struct Walk<'a> {
    operations: &'a [Operation],
    users: Vec<Vec<usize>>,
    workshop: Workshop<'a>,
    ports: &'a Ports<'a>,
    options: &'a Options<'a>,
    events: &'a (dyn Fn(Event) + Sync),
    builds: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Walk<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one operation after the other until none is left.
    fn work(&self) {
        while let Some((index, operation)) = self.take() {
            (self.events)(Event::Started(Subject::of(operation)));
            let from = self.ports.clock.now_ms();
            let result = catch_unwind(AssertUnwindSafe(|| self.workshop.carry_out(operation)));
            match result {
                Ok(result) => self.settle(index, operation, from, result),
                Err(payload) => self.panicked(payload),
            }
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// Waits for an operation that may begin; `None` when none ever will.
    fn take(&self) -> Option<(usize, &Operation)> {
        let mut state = self.state();
        loop {
            if self.stops(&state) {
                return None;
            }
            if let Some(index) = state.ready.iter().copied().find(|i| self.may_begin(*i, &state)) {
                let operation = self.operations.get(index)?;
                state.ready.remove(&index);
                state.running += 1;
                state.building += usize::from(is_build(operation));
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Running;
                }
                return Some((index, operation));
            }
            if state.running == 0 {
                return None;
            }
            // The timeout only matters for cancellation, which notifies nobody.
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stops(&self, state: &State) -> bool {
        state.panic.is_some()
            || self.options.cancelled.load(Ordering::Relaxed)
            || (state.failed && self.options.on_failure == OnFailure::Stop)
    }

    fn may_begin(&self, index: usize, state: &State) -> bool {
        state.building < self.builds || !self.operations.get(index).is_some_and(is_build)
    }

    fn settle(&self, index: usize, operation: &Operation, from: u64, result: Result<Done, WorkError>) {
        let subject = Subject::of(operation);
        let event = match &result {
            Ok(Done::Now) => Some(Event::Done { subject, ms: self.ports.clock.now_ms().saturating_sub(from) }),
            Ok(Done::Already) => Some(Event::Reused(subject)),
            // It is told at the end, with what was never begun.
            Err(WorkError::Build(BuildError::Cancelled(_))) => None,
            Err(error) => Some(Event::Failed { subject, causes: causes(error) }),
        };
        // Told before dependants may begin, so that events come in the order of the deeds.
        if let Some(event) = event {
            (self.events)(event);
        }
        let mut guard = self.state();
        let state = &mut *guard;
        state.running -= 1;
        state.building -= usize::from(is_build(operation));
        match result {
            Ok(_) => self.release_users(index, state),
            Err(WorkError::Build(BuildError::Cancelled(_))) => {
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Skipped(Skip::Cancelled);
                }
            }
            Err(error) => {
                let failure = Failure { subject: Subject::of(operation), causes: causes(&error), stale: stale(error) };
                state.failed = true;
                if let Some(fate) = state.fates.get_mut(index) {
                    *fate = Fate::Failed(failure);
                }
            }
        }
    }

    fn release_users(&self, index: usize, state: &mut State) {
        if let Some(fate) = state.fates.get_mut(index) {
            *fate = Fate::Done;
        }
        for user in self.users.get(index).into_iter().flatten() {
            if let Some(Fate::Waiting(left)) = state.fates.get_mut(*user) {
                *left -= 1;
                if *left == 0 {
                    state.ready.insert(*user);
                }
            }
        }
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) {
        let mut state = self.state();
        state.running -= 1;
        state.panic.get_or_insert(payload);
    }

    /// Says why the rest was not begun, and sums up.
    fn finish(self) -> Outcome {
        let cancelled = self.options.cancelled.load(Ordering::Relaxed);
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = state.panic {
            resume_unwind(payload);
        }
        skip_users_of_failures(self.operations, &mut state.fates);
        let rest = if cancelled {
            Skip::Cancelled
        } else if state.failed && self.options.on_failure == OnFailure::Stop {
            Skip::Stopped
        } else {
            Skip::Cycle
        };
        let mut outcome = Outcome::default();
        for (operation, fate) in self.operations.iter().zip(state.fates) {
            let skip = match fate {
                Fate::Done => {
                    outcome.done.push(operation.id.clone());
                    continue;
                }
                Fate::Failed(failure) => {
                    outcome.failed.push(failure);
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

/// Marks everything that needs a failed or unknown operation, however far away; the nearest need is named.
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
    for (operation, fate) in operations.iter().zip(fates.iter_mut()) {
        let need = operation.needs.iter().find(|id| lost.contains(id.as_str()));
        if let (Fate::Waiting(_), Some(need)) = (&*fate, need) {
            *fate = Fate::Skipped(Skip::Needs { operation: need.clone() });
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

fn is_build(operation: &Operation) -> bool {
    matches!(operation.work, Work::BuildStage { .. })
}

fn stale(error: WorkError) -> Option<super::Violation> {
    if let WorkError::Stale(guard) = error { Some(guard.0) } else { None }
}
