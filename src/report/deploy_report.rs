//! The report of a deploy, for programs that run after it.
//!
//! The one idea: it adds names to the outcome of a run and describes nothing anew; what werf writes into such a report stands
//! in it under the names of werf.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::pretty_json;
use super::progress::masked;
use crate::exec::{Outcome, Subject};
use crate::plan::{ClusterName, HookPlan, Operation, Plan, ResourceAction, ResourcePlan, Work};
use crate::source::Mask;

/// The version of werf's report that this one can be read as. Source: Nelm 1.30.
const VERSION: u32 = 3;

/// What became of a release. Source: the statuses of Helm, and `skipped` of Nelm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Deployed,
    Uninstalled,
    Failed,
    Skipped,
}

/// What became of a resource or hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Done,
    /// It is not ready, which does not count.
    Ignored,
    Skipped,
    Failed,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    release: Option<&'a str>,
    namespace: Option<&'a str>,
    revision: Option<u64>,
    status: Status,
    #[serde(rename = "completedOperations")]
    completed: Vec<String>,
    #[serde(rename = "canceledOperations")]
    canceled: Vec<String>,
    #[serde(rename = "failedOperations")]
    failed: Vec<String>,
    project: &'a str,
    commit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'a str>,
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterName>,
    /// Why nothing was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    images: BTreeMap<&'a str, &'a str>,
    resources: Vec<Reported<'a>>,
    hooks: Vec<Reported<'a>>,
    outcome: Outcome,
    /// The automatic rollback that followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<RolledBack>,
}

/// What became of a release that failed and was to be rolled back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The revision that it goes back to, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The revision that the rollback made, where it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Whether the release is as it was.
    pub is_done: bool,
    /// What became of it, in words.
    pub message: String,
    /// The outcome of the rollback, where it was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A resource that changes, or a hook that runs.
#[derive(Serialize)]
struct Reported<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    api_version: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ResourceAction>,
    result: Fate,
}

/// Returns the report of a run, without what must not be shown. `error` says why none was begun.
pub fn deploy_report_json(
    plan: &Plan,
    (outcome, rollback): (&Outcome, Option<&RolledBack>),
    error: Option<&str>,
    mask: &Mask,
) -> String {
    let fates = Fates::of(plan, outcome);
    let named = |wanted: Fate| {
        let of = plan.operations.iter().filter(|operation| fates.listed(operation) == wanted);
        of.filter(|operation| operation.work != Work::Gate).map(words).collect()
    };
    let changed = plan.resources.iter().filter(|resource| resource.action != ResourceAction::Noop);
    let report = Report {
        version: VERSION,
        release: plan.inputs.release.as_deref(),
        namespace: plan.inputs.namespace.as_deref(),
        revision: revision(plan),
        status: status(plan, outcome, error),
        completed: named(Fate::Done),
        canceled: named(Fate::Skipped),
        failed: named(Fate::Failed),
        project: &plan.project,
        commit: &plan.commit,
        env: plan.inputs.env.as_deref(),
        target: plan.inputs.target.as_deref(),
        cluster: plan.inputs.cluster.as_ref(),
        error: error.map(|text| mask.hide(text).into_owned()),
        images: plan
            .images
            .iter()
            .filter(|image| image.is_final)
            .map(|i| (i.name.as_str(), i.reference.as_str()))
            .collect(),
        resources: changed.map(|resource| of_resource(resource, &fates)).collect(),
        hooks: plan.hooks.iter().map(|hook| of_hook(hook, &fates)).collect(),
        outcome: masked(outcome, mask),
        rollback: rollback.map(|back| RolledBack {
            message: mask.hide(&back.message).into_owned(),
            outcome: back.outcome.as_ref().map(|outcome| masked(outcome, mask)),
            ..back.clone()
        }),
    };
    pretty_json(&report)
}

fn status(plan: &Plan, outcome: &Outcome, error: Option<&str>) -> Status {
    let any = |is_it: &dyn Fn(&Work) -> bool| plan.operations.iter().any(|operation| is_it(&operation.work));
    if error.is_some() || !outcome.is_success() {
        Status::Failed
    } else if any(&|work| matches!(work, Work::ForgetRelease { .. })) {
        Status::Uninstalled
    } else if any(&|work| matches!(work, Work::RecordRelease { .. })) {
        Status::Deployed
    } else if any(&|work| matches!(work, Work::DeleteResource { .. })) {
        // What a release left is dismissed without its records.
        Status::Uninstalled
    } else {
        Status::Skipped
    }
}

/// Returns the revision that a plan makes, or else the one that there is.
pub fn revision(plan: &Plan) -> Option<u64> {
    let made = plan.operations.iter().find_map(|operation| match &operation.work {
        Work::RecordRelease { revision, .. } => Some(*revision),
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::OpenRelease { .. }
        | Work::WriteResource { .. }
        | Work::DeleteResource { .. }
        | Work::AwaitResource { .. }
        | Work::RecordHooks { .. }
        | Work::ForgetRelease { .. }
        | Work::Gate => None,
    });
    made.or(plan.inputs.revision)
}

/// `write shop/Deployment/web`
fn words(operation: &Operation) -> String {
    let subject = Subject::of(operation);
    let verb = serde_json::to_value(subject.verb).unwrap_or_default();
    format!("{} {}", verb.as_str().unwrap_or_default(), subject.name)
}

/// What became of each operation.
struct Fates<'a> {
    plan: &'a Plan,
    done: BTreeSet<&'a str>,
    ignored: BTreeSet<&'a str>,
    failed: BTreeSet<&'a str>,
}

impl<'a> Fates<'a> {
    fn of(plan: &'a Plan, outcome: &'a Outcome) -> Self {
        Self {
            plan,
            done: outcome.done.iter().map(String::as_str).collect(),
            ignored: outcome.ignored.iter().map(|failure| failure.subject.operation.as_str()).collect(),
            failed: outcome.failed.iter().map(|failure| failure.subject.operation.as_str()).collect(),
        }
    }

    /// What it is listed as: what was ignored counts as done.
    fn listed(&self, operation: &Operation) -> Fate {
        match self.fate(operation) {
            Fate::Ignored => Fate::Done,
            fate @ (Fate::Done | Fate::Skipped | Fate::Failed) => fate,
        }
    }

    fn fate(&self, operation: &Operation) -> Fate {
        let id = operation.id.as_str();
        if self.failed.contains(id) {
            Fate::Failed
        } else if self.ignored.contains(id) {
            Fate::Ignored
        } else if self.done.contains(id) {
            Fate::Done
        } else {
            Fate::Skipped
        }
    }

    /// The worst of the operations with this address; done where there is none to be done.
    fn worst(&self, address: &str, is_of_it: impl Fn(&Operation) -> bool) -> Fate {
        let is_at = |work: &Work| match work {
            Work::WriteResource { address: at, .. }
            | Work::DeleteResource { address: at, .. }
            | Work::AwaitResource { address: at, .. } => at == address,
            Work::BuildStage { .. }
            | Work::TagImage { .. }
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::OpenRelease { .. }
            | Work::RecordHooks { .. }
            | Work::RecordRelease { .. }
            | Work::ForgetRelease { .. }
            | Work::Gate => false,
        };
        let own = self.plan.operations.iter().filter(|operation| is_at(&operation.work) && is_of_it(operation));
        own.map(|operation| self.fate(operation)).max().unwrap_or(Fate::Done)
    }
}

fn of_resource<'a>(resource: &'a ResourcePlan, fates: &Fates<'_>) -> Reported<'a> {
    Reported {
        event: None,
        api_version: &resource.api_version,
        kind: &resource.kind,
        namespace: resource.namespace.as_deref(),
        name: &resource.name,
        action: Some(resource.action),
        result: fates.worst(&resource.address(), |operation| is_of(resource, operation)),
    }
}

/// Says whether an operation is one of a resource with its address: hooks, and kinds of other groups, may have the same.
fn is_of(resource: &ResourcePlan, operation: &Operation) -> bool {
    let (Work::WriteResource { path, .. } | Work::DeleteResource { path, .. } | Work::AwaitResource { path, .. }) =
        &operation.work
    else {
        return false;
    };
    let group = resource.api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = path.split('/').nth(1).and_then(|kind| kind.strip_prefix(resource.kind.as_str()));
    // Paths of folders say no group.
    !operation.id.starts_with("hook:") && kind.is_none_or(|rest| rest.strip_prefix('.').unwrap_or(rest) == group)
}

fn of_hook<'a>(hook: &'a HookPlan, fates: &Fates<'_>) -> Reported<'a> {
    let event = format!(":{}:", hook.event);
    let is_of_event = |operation: &Operation| operation.id.contains(&event);
    Reported {
        event: Some(&hook.event),
        api_version: &hook.api_version,
        kind: &hook.kind,
        namespace: hook.namespace.as_deref(),
        name: &hook.name,
        action: None,
        result: fates.worst(&hook.address(), is_of_event),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::exec::{Failure, Skip, Skipped};
    use serde_json::Value;

    fn report(plan: &Plan, outcome: &Outcome, error: Option<&str>) -> Value {
        let mask = Mask::default().with(["hunter2-x"]);
        serde_json::from_str(&deploy_report_json(plan, (outcome, None), error, &mask)).unwrap()
    }

    #[test]
    fn a_report_says_what_became_of_every_resource() {
        let plan = fixture::shop();
        let all = || plan.operations.iter().map(|operation| operation.id.clone()).collect::<Vec<String>>();
        let done = report(&plan, &Outcome { done: all(), ..Outcome::default() }, None);
        assert_eq!((&done["version"], &done["status"]), (&3.into(), &"deployed".into()));
        let results = |report: &Value| -> BTreeSet<String> {
            let list = report["resources"].as_array().unwrap().iter();
            list.map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["result"].as_str().unwrap())).collect()
        };
        assert!(results(&done).iter().all(|result| result.ends_with(" done")), "{done:#}");
        assert!(done["failedOperations"].as_array().unwrap().is_empty());
        // One is refused, and what comes after it is not begun.
        let of = |work: &Work| matches!(work, Work::WriteResource { .. });
        let at = plan.operations.iter().position(|operation| of(&operation.work)).unwrap();
        let subject = |at: usize| Subject::of(&plan.operations[at]);
        let failure = Failure {
            subject: subject(at),
            causes: vec!["the server says hunter2-x".into()],
            place: None,
            stale: None,
        };
        let skipped = (at + 1..plan.operations.len()).map(|at| Skipped { subject: subject(at), skip: Skip::Stopped });
        let outcome = Outcome {
            done: all()[..at].to_vec(),
            failed: vec![failure],
            skipped: skipped.collect(),
            ignored: Vec::new(),
            freed: Vec::new(),
        };
        let failed = report(&plan, &outcome, None);
        assert_eq!(failed["status"], "failed");
        let name = format!("write {}", subject(at).name);
        assert_eq!(failed["failedOperations"], serde_json::json!([name]));
        assert!(results(&failed).iter().any(|result| result.ends_with(" failed")), "{failed:#}");
        let text = failed.to_string();
        assert!(text.contains("the server says (secret)") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_run_that_did_nothing_is_skipped_and_one_that_could_not_begin_failed() {
        let unchanged = report(&fixture::unchanged(), &Outcome::default(), None);
        assert_eq!((&unchanged["status"], &unchanged["resources"]), (&"skipped".into(), &Value::Array(Vec::new())));
        let stale = report(&fixture::shop(), &Outcome::default(), Some("error: stale, hunter2-x"));
        assert_eq!((&stale["status"], &stale["error"]), (&"failed".into(), &"error: stale, (secret)".into()));
        assert!(stale["completedOperations"].as_array().unwrap().is_empty());
    }
}
