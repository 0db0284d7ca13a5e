//! Deeds: carrying out a plan over ports.
//!
//! What lives here: [`check_guards`], [`run`], [`Event`] and [`Outcome`]. What does not: any decision that planning
//! could have made, and any knowledge of werf.yaml or charts.
//!
//! The one idea: a run walks operations, blind to what kind of plan they form. The scheduler (`run.rs`) owns order,
//! concurrency and failure; one operation (`work.rs`) is one call of one port.

mod event;
mod forecast;
mod guards;
mod index;
mod observe;
mod run;
#[cfg(test)]
mod tests;
mod tracking;
mod work;

pub use event::{Event, Failure, FreedPod, Outcome, Skip, Skipped, Subject, Verb};
pub use forecast::{Durations, Forecast};
pub use guards::{Checked, Violation, check_guards, check_revisions};
pub use observe::{World, observe, unready_pods};
pub use run::{OnFailure, Options, run};
pub use tracking::NotReady;
pub use work::WorkError;

use std::sync::Arc;

use crate::ports::{Builder, Clock, StageStore, Target};
use crate::source::{History, Objects};

/// What a run acts on.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// The repository's objects.
    pub objects: &'a Arc<dyn Objects>,
    /// The stage store.
    pub store: &'a dyn StageStore,
    /// The repository that final images are copied to; absent when they stay in the stage store alone.
    pub final_store: Option<&'a dyn StageStore>,
    /// The builder.
    pub builder: &'a dyn Builder,
    /// The target; absent when nothing is deployed.
    pub target: Option<&'a dyn Target>,
    /// The commits that led to the one that is read.
    pub history: &'a dyn History,
    /// The clock.
    pub clock: &'a dyn Clock,
}
