//! The plan: one value that is printed, saved, reviewed and executed.
//!
//! What lives here: [`Plan`] and everything in it, and the planners that make it. What does not: how it is
//! drawn (`report`), how it is carried out (`exec`). A plan is plain data: no closures, handles or colours.
//!
//! The one idea: apply decides nothing that planning could have decided. Whatever may change in between is
//! written down as a [`Guard`].

mod again;
mod assemble;
mod budgets;
mod causes;
mod chart_changes;
mod cluster;
mod conceal;
mod consequences;
mod decide;
mod deletion;
mod diff;
mod directives;
mod dismiss;
mod images;
mod helm;
mod hooks;
mod instructions;
mod keeping;
mod model;
mod operation;
mod order;
mod platforms;
mod reason;
mod release;
mod risk;
mod secrecy;
mod selection;
pub mod saved;
mod sensitive;
mod shown_values;
mod stuck;
mod tracking;
mod yielding;
mod triggers;

pub use again::{Deeds, departures, rest_anew};
pub use assemble::assemble;
pub use budgets::{budget_risks, endangered};
pub use causes::{Cause, CauseContext, Reached, image_causes, reached, resource_causes};
pub use chart_changes::chart_changes;
pub use cluster::{Layout, cluster_path, release_key, wanted_resources, was_ever_deployed};
pub use conceal::{Concealing, address_of, conceal, sealed_texts};
pub use diff::{diff, is_sensitive};
pub use directives::{
    DeletePolicy, Dependency, DependencyState, DeployStage, DeployType, Directives, External, Fault, Propagation,
    ResourcePolicy, is_of_anyone, read_directives,
};
pub use dismiss::{Dismissal, Dismissed};
pub use helm::{
    ClusterChart, RecordedRelease, RevisionSummary, discreet_record, is_record_of, items_of, pack_record, read_release,
    revision_to_go_back_to, summarize_record, unpack_record, unpack_summary,
};
pub use hooks::{DesiredHook, HookPlan};
pub use images::{ImageContext, ImageSection, differences, missing_bases, plan_images};
pub use keeping::Kept;
pub use model::{
    CleanupItem, ClusterName, Fidelity, FieldChange, FieldOp, ImageAction, ImagePlan, Inputs, Plan, RecordReason,
    RejectedStage, ResourceAction, ResourcePlan, Restart, Risk, RiskLevel, StageAction, StagePlan, Summary,
    TakenRepository,
};
pub use operation::{Guard, Operation, OperationId, Work};
pub use order::{GONE_GATE, READY_GATE};
pub use reason::{DriftOutcome, FileChange, Reason, Setter};
pub use release::{
    ChartChanges, DesiredResource, Problem, RecordedResource, ReleaseContext, ReleaseRecord, ReleaseSection,
    is_of_the_run, plan_release, read_record, resource_path,
};
pub use secrecy::{Secrecy, Step as SecretStep};
pub use selection::{Binding, StageSelection, Unsuitable, judge};
pub use sensitive::Sensitive;
pub use shown_values::SecretTexts;
pub use stuck::{broken, name_stuck, ordered_sets};
pub use tracking::{FailMode, LogRules, StuckPod, Tracking, Until};
pub use triggers::{UndeclaredTriggers, carry_out_triggers};
pub use yielding::yield_fields;

/// The version of the plan's JSON; additions only within a major.
pub const FORMAT_VERSION: &str = "1.0";
