//! Hooks of a release in a cluster: which of them run, in which order, and what is recorded of them.
//!
//! The one idea: a hook belongs to no release. It is made anew each time, waited for, and deleted as it says itself.
//! Source: Helm 3.20.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{cluster_path, leaves_replicas, release_key, written};
use super::diff::is_sensitive;
use super::directives::read_directives;
use super::helm::recorded_text;
use super::model::{Risk, RiskLevel};
use super::operation::{Operation, Work};
use super::release::{DesiredResource, ReleaseRecord, without_run};
use super::sensitive::Sensitive;
use super::tracking::{Tracking, Until};
use crate::chart::{Hook, HookEvent, HookPolicy};
use crate::source::Place;

/// A hook as the project wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredHook {
    /// What is made.
    pub resource: DesiredResource,
    /// When, and what becomes of it.
    pub hook: Hook,
    /// Order within an event, ascending.
    pub weight: i64,
    /// The file that made it, as Helm names it.
    pub source: String,
}

/// A hook that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookPlan {
    /// The event, as Helm names it: `pre-upgrade`, …
    pub event: String,
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; absent for cluster-scoped resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Order within the event, ascending.
    pub weight: i64,
    /// The template that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Place>,
}

impl HookPlan {
    /// Returns `namespace/kind/name`, with `-` as the namespace of a cluster-scoped resource.
    pub fn address(&self) -> String {
        format!("{}/{}/{}", self.namespace.as_deref().unwrap_or("-"), self.kind, self.name)
    }
}

/// The hooks of one event, and what is done: one after the other, then what is deleted.
#[derive(Debug, Default)]
pub(super) struct HookRun {
    pub plans: Vec<HookPlan>,
    pub operations: Vec<Operation>,
}

/// Plans the hooks of an event; the first operation needs nothing yet.
pub(super) fn run_hooks(hooks: &[DesiredHook], event: HookEvent, record: &ReleaseRecord) -> HookRun {
    let mut due: Vec<&DesiredHook> = hooks.iter().filter(|h| h.hook.events.contains(&event)).collect();
    due.sort_by(|a, b| (a.weight, &a.resource.name).cmp(&(b.weight, &b.resource.name)));
    let mut run = HookRun::default();
    // Of several of one path each is made in the place of the last; Helm runs them all.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for hook in &due {
        run.plans.push(hook_plan(hook, event));
        let mut operations = operations(hook, event, record);
        let nth = seen.entry(cluster_path(&hook.resource)).or_default();
        *nth += 1;
        if *nth > 1 {
            operations.iter_mut().for_each(|operation| operation.id += &format!("#{nth}"));
        }
        run.operations.extend(operations);
    }
    // What deletes itself cannot be seen later, and what runs for another event too is not told from that.
    let vanishes = |h: &&DesiredHook| policy_of(h, HookPolicy::HookSucceeded) && may_go(h);
    if due.iter().any(|h| vanishes(h) || recurs(h, event)) {
        let covers = run.operations.iter().map(|operation| operation.id.clone()).collect();
        run.operations.push(Operation {
            id: format!("record-hooks:{}", event.name()),
            needs: Vec::new(),
            guards: Vec::new(),
            work: Work::RecordHooks {
                release: release_key(&record.namespace, &record.release),
                revision: record.revision,
                event: event.name().to_owned(),
                covers,
            },
        });
    }
    // Once all have succeeded, in reverse order.
    for hook in due.iter().rev().filter(|h| vanishes(h)) {
        let path = cluster_path(&hook.resource);
        if seen.remove(&path).is_none() {
            continue;
        }
        run.operations.push(Operation {
            id: format!("delete:{}:{path}", event.name()),
            needs: Vec::new(),
            guards: Vec::new(),
            work: Work::DeleteResource { address: hook.resource.address(), path },
        });
    }
    let mut before: Option<String> = None;
    for operation in &mut run.operations {
        operation.needs.extend(before.replace(operation.id.clone()));
    }
    run
}

/// Tells the hooks of an event that do not run though they are due.
pub(super) fn left_hooks(hooks: &[DesiredHook], event: HookEvent) -> impl Iterator<Item = Risk> {
    let due = hooks.iter().filter(move |hook| hook.hook.events.contains(&event));
    due.map(move |hook| Risk {
        code: "no-hooks".to_owned(),
        level: RiskLevel::Warning,
        address: hook.resource.address(),
        path: None,
        message: format!("the hook does not run at {} (--no-hooks)", event.name()),
    })
}

fn policy_of(hook: &DesiredHook, policy: HookPolicy) -> bool {
    hook.hook.delete_policies.contains(&policy)
}

/// Says whether a hook runs both before and after in one deploy.
fn recurs(hook: &DesiredHook, event: HookEvent) -> bool {
    const BOTH: [(HookEvent, HookEvent); 4] = [
        (HookEvent::PreInstall, HookEvent::PostInstall),
        (HookEvent::PreUpgrade, HookEvent::PostUpgrade),
        (HookEvent::PreRollback, HookEvent::PostRollback),
        (HookEvent::PreDelete, HookEvent::PostDelete),
    ];
    let runs = |event: &HookEvent| hook.hook.events.contains(event);
    BOTH.iter().any(|(before, after)| (*before == event || *after == event) && runs(before) && runs(after))
}

fn hook_plan(hook: &DesiredHook, event: HookEvent) -> HookPlan {
    let resource = &hook.resource;
    HookPlan {
        event: event.name().to_owned(),
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        weight: hook.weight,
        source: resource.place.clone(),
    }
}

/// The annotation of a hook that is made anew: the revision that it runs for.
const REVISION: &str = "stagewright/revision";

/// Says whether a field tells for which revision a hook was made.
pub(super) fn is_revision(path: &str) -> bool {
    path.strip_prefix("metadata.annotations[").and_then(|rest| rest.strip_suffix(']')) == Some(REVISION)
}

/// Takes the revision out of the manifest of a hook that is made anew, where it is in.
pub(super) fn take_revision(manifest: &mut Value) -> Option<String> {
    let annotations = manifest.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    annotations.shift_remove(REVISION)?.as_str().map(str::to_owned)
}

/// Puts the revision into the manifest of a hook that is made anew.
pub(super) fn put_revision(manifest: &mut Value, revision: &str) {
    annotate(manifest, REVISION, revision);
}
/// The annotation of one that runs more than once for it: the event.
const EVENT: &str = "stagewright/event";

fn annotate(manifest: &mut Value, key: &str, text: &str) {
    let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.to_owned(), text.into());
    }
}

/// A definition that goes takes all its objects along.
fn may_go(hook: &DesiredHook) -> bool {
    hook.resource.kind != "CustomResourceDefinition"
}

fn operations(hook: &DesiredHook, event: HookEvent, record: &ReleaseRecord) -> Vec<Operation> {
    let resource = &hook.resource;
    let (path, address) = (cluster_path(resource), resource.address());
    let runs = matches!(resource.kind.as_str(), "Job" | "Pod");
    let policies = &hook.hook.delete_policies;
    // What has run does not run again by being applied.
    let anew = may_go(hook) && (runs || policies.is_empty() || policies.contains(&HookPolicy::BeforeHookCreation));
    let secret = resource.hidden || is_sensitive(&resource.kind);
    let mut manifest = written(resource, record);
    if anew {
        // One that an earlier revision left is not taken for this one, by who goes on after an interruption either.
        annotate(&mut manifest, REVISION, &record.revision.to_string());
        if recurs(hook, event) {
            annotate(&mut manifest, EVENT, event.name());
        }
    }
    let leaves_replicas = leaves_replicas(&manifest);
    let manifest = manifest.to_string();
    let mut found = vec![Operation {
        id: format!("hook:{}:{path}", event.name()),
        needs: Vec::new(),
        guards: Vec::new(),
        work: Work::WriteResource {
            address: address.clone(),
            path: path.clone(),
            manifest: (!secret).then(|| manifest.clone()),
            sealed: if secret { Sensitive::new(manifest) } else { Sensitive::default() },
            replace: anew,
            adopt: false,
            leaves_replicas,
        },
    }];
    if runs {
        let (directives, _) = read_directives(&resource.data);
        let tracking = Tracking {
            until: Until::Finished,
            delete_failed: policies.contains(&HookPolicy::HookFailed),
            ..directives.tracking.unwrap_or_default()
        };
        found.push(Operation {
            id: format!("await:{}:{path}", event.name()),
            needs: Vec::new(),
            guards: Vec::new(),
            work: Work::AwaitResource { address, path, tracking },
        });
    }
    found
}

/// Returns what a record in Helm's form says of the hooks.
pub(super) fn hook_records(hooks: &[DesiredHook]) -> Value {
    let policy = |policy: &HookPolicy| policy.name();
    let record = |hook: &DesiredHook| {
        json!({
            "name": hook.resource.name,
            "kind": hook.resource.kind,
            "path": hook.source,
            "manifest": hook.resource.text.trim_end(),
            "events": hook.hook.events.iter().map(|event| event.name()).collect::<Vec<_>>(),
            "last_run": {"started_at": "", "completed_at": "", "phase": ""},
            "weight": hook.weight,
            "delete_policies": hook.hook.delete_policies.iter().map(policy).collect::<Vec<_>>(),
            "output_log_policies": hook.hook.log_policies.iter().map(policy).collect::<Vec<_>>(),
        })
    };
    hooks.iter().map(record).collect()
}

/// Says whether the last record holds these very hooks.
pub(super) fn are_recorded(hooks: &[DesiredHook], last: Option<&Value>) -> bool {
    let recorded = last.and_then(|l| l.get("hooks")?.as_array()).into_iter().flatten();
    let text = |text: &str| without_run(&recorded_text(text)).into_owned();
    let mut recorded: Vec<String> = recorded.filter_map(|hook| hook.get("manifest")?.as_str()).map(text).collect();
    let mut wanted: Vec<String> = hooks.iter().map(|hook| text(&hook.resource.text)).collect();
    recorded.sort_unstable();
    wanted.sort_unstable();
    recorded == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(kind: &str, name: &str, weight: i64, policies: &[HookPolicy]) -> DesiredHook {
        let version = if kind == "Job" { "batch/v1" } else { "v1" };
        let hook = Hook { events: vec![HookEvent::PreUpgrade], delete_policies: policies.to_vec(), ..Hook::default() };
        DesiredHook {
            resource: DesiredResource {
                api_version: version.into(),
                kind: kind.into(),
                namespace: Some("shop".into()),
                name: name.into(),
                text: format!("kind: {kind}\nname: {name}\n"),
                data: json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}}),
                hidden: false,
                place: None,
                belongs: false,
            },
            hook,
            weight,
            source: "shop/templates/hook.yaml".into(),
        }
    }

    #[test]
    fn hooks_run_one_after_the_other_and_are_deleted_at_the_end() {
        let hooks = [
            hook("Job", "z", 0, &[HookPolicy::HookSucceeded]),
            hook("ConfigMap", "b", -5, &[HookPolicy::HookSucceeded, HookPolicy::BeforeHookCreation]),
            hook("Job", "a", 0, &[HookPolicy::HookFailed]),
        ];
        let record = ReleaseRecord { revision: 7, ..ReleaseRecord::default() };
        let run = run_hooks(&hooks, HookEvent::PreUpgrade, &record);
        let ids: Vec<&str> = run.operations.iter().map(|o| o.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "hook:pre-upgrade:shop/ConfigMap/b",
                "hook:pre-upgrade:shop/Job.batch/a",
                "await:pre-upgrade:shop/Job.batch/a",
                "hook:pre-upgrade:shop/Job.batch/z",
                "await:pre-upgrade:shop/Job.batch/z",
                "record-hooks:pre-upgrade",
                "delete:pre-upgrade:shop/Job.batch/z",
                "delete:pre-upgrade:shop/ConfigMap/b",
            ]
        );
        let chained = run.operations.windows(2).all(|pair| pair[1].needs == [pair[0].id.clone()]);
        assert!(chained && run.operations[0].needs.is_empty());
        let Work::RecordHooks { covers, revision: 7, .. } = &run.operations[5].work else { panic!("it is recorded") };
        assert_eq!(*covers, ids[..5], "before the first of them is deleted");
        let Work::AwaitResource { tracking, .. } = &run.operations[2].work else { panic!("a job is waited for") };
        let made = |at: usize| {
            let Work::WriteResource { manifest: Some(text), .. } = &run.operations[at].work else {
                panic!("it is written")
            };
            text.contains("\"stagewright/revision\":\"7\"")
        };
        assert!(made(0) && made(1) && made(3), "each is told from what an earlier revision left");
        assert!(tracking.delete_failed && tracking.until == Until::Finished && tracking.failures_allowed == 0);
        assert!(run_hooks(&hooks, HookEvent::PreInstall, &ReleaseRecord::default()).operations.is_empty());
    }

    #[test]
    fn hooks_of_one_path_run_one_after_the_other() {
        let hooks =
            [hook("Job", "a", 0, &[HookPolicy::HookSucceeded]), hook("Job", "a", 1, &[HookPolicy::HookSucceeded])];
        let run = run_hooks(&hooks, HookEvent::PreUpgrade, &ReleaseRecord::default());
        let ids: Vec<&str> = run.operations.iter().map(|o| o.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "hook:pre-upgrade:shop/Job.batch/a",
                "await:pre-upgrade:shop/Job.batch/a",
                "hook:pre-upgrade:shop/Job.batch/a#2",
                "await:pre-upgrade:shop/Job.batch/a#2",
                "record-hooks:pre-upgrade",
                "delete:pre-upgrade:shop/Job.batch/a",
            ]
        );
        assert!(run.operations.windows(2).all(|pair| pair[1].needs == [pair[0].id.clone()]));
        assert_eq!(run.plans.len(), 2);
    }

    #[test]
    fn a_hook_of_two_events_is_told_apart_and_others_need_no_record() {
        let record = ReleaseRecord { revision: 7, ..ReleaseRecord::default() };
        let ids = |hooks: &[DesiredHook]| -> Vec<String> {
            run_hooks(hooks, HookEvent::PreUpgrade, &record).operations.into_iter().map(|o| o.id).collect()
        };
        let once = hook("Job", "a", 0, &[]);
        let both = DesiredHook {
            hook: Hook { events: vec![HookEvent::PreUpgrade, HookEvent::PostUpgrade], ..Hook::default() },
            ..once.clone()
        };
        let own = ["hook:pre-upgrade:shop/Job.batch/a", "await:pre-upgrade:shop/Job.batch/a"];
        assert_eq!(ids(&[once]), own, "it stands there, and is seen");
        assert_eq!(ids(std::slice::from_ref(&both)), [own[0], own[1], "record-hooks:pre-upgrade"]);
        let text = |event| {
            let run = run_hooks(std::slice::from_ref(&both), event, &record);
            let Work::WriteResource { manifest: Some(text), .. } = &run.operations[0].work else {
                panic!("it is written")
            };
            text.clone()
        };
        assert!(text(HookEvent::PostUpgrade).contains("\"stagewright/event\":\"post-upgrade\""));
        assert!(text(HookEvent::PreUpgrade).contains("\"stagewright/event\":\"pre-upgrade\""));
        let events = vec![HookEvent::PreDelete, HookEvent::PostDelete];
        let ends = DesiredHook { hook: Hook { events, ..Hook::default() }, ..both };
        let run = run_hooks(&[ends], HookEvent::PostDelete, &record);
        assert_eq!(run.operations.last().unwrap().id, "record-hooks:post-delete");
    }

    #[test]
    fn a_record_holds_hooks_as_helm_has_them() {
        let hooks = [hook("Job", "a", 3, &[HookPolicy::HookFailed])];
        let record = json!({"hooks": hook_records(&hooks)});
        assert_eq!(record["hooks"][0]["events"], json!(["pre-upgrade"]));
        assert_eq!(record["hooks"][0]["delete_policies"], json!(["hook-failed"]));
        assert!(are_recorded(&hooks, Some(&record)));
        assert!(!are_recorded(&[], Some(&record)) && !are_recorded(&hooks, None) && are_recorded(&[], None));
        let helms = json!({"hooks": [{"manifest": "# Source: x.yaml\nkind: Job\nname: a"}]});
        assert!(are_recorded(&hooks, Some(&helms)));
    }
}
