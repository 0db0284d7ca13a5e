//! What is still to come of a run: the longest chain of operations, by the time they took before.
//!
//! The one idea: an operation matters as much as all that waits for it. The unit is milliseconds where earlier runs
//! recorded any, else operations; the order of a run depends on nothing else.

use std::collections::BTreeMap;

use super::event::Subject;
use crate::graph::Dag;
use crate::plan::{Operation, OperationId, Work};

/// How long operations took in earlier runs, by [`Subject::name`] of a build. Unit: milliseconds.
pub type Durations = BTreeMap<String, u64>;

/// What an operation that builds nothing is taken for. Unit: milliseconds.
const QUICK_MS: u64 = 10;

/// The weight of what is still to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// For each operation, the weight of the longest chain that begins with it.
    remaining: BTreeMap<OperationId, u64>,
    /// Whether the unit is milliseconds.
    timed: bool,
}

impl Forecast {
    /// Computes the chains of a plan. A build that was never timed weighs as much as the mean of those that were.
    pub fn new(operations: &[Operation], durations: &Durations) -> Self {
        let took = |operation: &Operation| {
            let builds = matches!(operation.work, Work::BuildStage { .. });
            builds.then(|| durations.get(&Subject::of(operation).name).copied()).flatten()
        };
        let known: Vec<u64> = operations.iter().filter_map(took).collect();
        let timed = !known.is_empty();
        let mean = known.iter().sum::<u64>().checked_div(known.len() as u64).unwrap_or(1);
        let weight = |operation: &Operation| match &operation.work {
            Work::Gate => 0,
            _ if !timed => 1,
            Work::BuildStage { .. } => took(operation).unwrap_or(mean).max(1),
            Work::TagImage { .. }
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::WriteResource { .. }
            | Work::DeleteResource { .. }
            | Work::OpenRelease { .. }
            | Work::AwaitResource { .. }
            | Work::RecordHooks { .. }
            | Work::ForgetRelease { .. }
            | Work::RecordRelease { .. } => QUICK_MS,
        };
        let mut chains: Vec<u64> = operations.iter().map(weight).collect();
        let dag = dag(operations);
        // Operations of a cycle never begin: it does not matter what they weigh.
        let order = dag.order().unwrap_or_default();
        let users = dag.users();
        for node in order.into_iter().rev() {
            let longest = users.get(node).into_iter().flatten().filter_map(|user| chains.get(*user).copied()).max();
            if let Some(chain) = chains.get_mut(node) {
                *chain = chain.saturating_add(longest.unwrap_or(0));
            }
        }
        Self { remaining: operations.iter().map(|o| o.id.clone()).zip(chains).collect(), timed }
    }

    /// Returns the weight of the longest chain that begins with an operation; 0 for one of another plan.
    pub fn remaining(&self, operation: &str) -> u64 {
        self.remaining.get(operation).copied().unwrap_or(0)
    }

    /// Returns the longest chain of what is left. `spent` tells how long an operation has been running, and nothing
    /// of one that is over. Unit: milliseconds if [`Forecast::is_timed`], else operations.
    pub fn critical_path(&self, spent: impl Fn(&str) -> Option<u64>) -> u64 {
        let left = |(id, chain): (&OperationId, &u64)| {
            let spent = spent(id)?;
            Some(if self.timed { chain.saturating_sub(spent) } else { *chain })
        };
        self.remaining.iter().filter_map(left).max().unwrap_or(0)
    }

    /// Says whether the unit is milliseconds: earlier runs recorded how long they took.
    pub fn is_timed(&self) -> bool {
        self.timed
    }
}

/// What needs what; a need that is no operation of the plan is left out.
pub(super) fn dag(operations: &[Operation]) -> Dag {
    let index: BTreeMap<&str, usize> = operations.iter().enumerate().map(|(i, o)| (o.id.as_str(), i)).collect();
    let mut dag = Dag::new(operations.len());
    for (i, operation) in operations.iter().enumerate() {
        for needed in operation.needs.iter().filter_map(|id| index.get(id.as_str())) {
            dag.add(*needed, i);
        }
    }
    dag
}
