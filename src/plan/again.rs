//! A plan that was made again: does it do what was approved?
//!
//! What lives here: [`departures`], which says what it would do differently, and [`rest_anew`]. What does not: making it
//! (`pipeline`).
//!
//! The one idea: what is carried out is the approved plan, byte by byte. The one made again only says that it still fits, and
//! what it rests on now: what there is in the target, and the number of the last revision.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::hooks::{is_revision, put_revision, take_revision};
use super::model::{FieldChange, Plan, ResourceAction, ResourcePlan};
use super::operation::{Guard, Operation, Work};
use super::sensitive::Sensitive;
use super::tracking::Tracking;

/// What a plan does to a release.
#[derive(Clone, Copy)]
pub struct Deeds<'a> {
    /// What happens to each resource.
    pub resources: &'a [ResourcePlan],
    /// What is done.
    pub operations: &'a [Operation],
}

impl<'a> Deeds<'a> {
    /// Returns those of a plan.
    pub fn of(plan: &'a Plan) -> Self {
        Self { resources: &plan.resources, operations: &plan.operations }
    }

    /// Returns the operations that change the target, by their names.
    fn in_target(self) -> BTreeMap<&'a str, &'a Operation> {
        self.operations.iter().filter(|o| !is_of_images(&o.work)).map(|o| (o.id.as_str(), o)).collect()
    }

    fn changed(self) -> BTreeMap<String, &'a ResourcePlan> {
        self.resources.iter().filter(|r| r.action != ResourceAction::Noop).map(|r| (r.address(), r)).collect()
    }
}

fn is_of_images(work: &Work) -> bool {
    match work {
        Work::BuildStage { .. } | Work::TagImage { .. } | Work::TagIndex { .. } | Work::CopyImage { .. } => true,
        Work::OpenRelease { .. }
        | Work::WriteResource { .. }
        | Work::DeleteResource { .. }
        | Work::AwaitResource { .. }
        | Work::ForgetRelease { .. }
        | Work::Gate
        | Work::RecordHooks { .. }
        | Work::RecordRelease { .. } => false,
    }
}

/// Says what another plan would do to the target that was not approved, or would not do that was; empty where it does
/// the same. Numbers of revisions, and what is recorded of the release, are no deeds.
pub fn departures(approved: Deeds<'_>, again: Deeds<'_>) -> Vec<String> {
    let guards = (content_guards(approved.operations), content_guards(again.operations));
    let (before, now) = (approved.changed(), again.changed());
    let all: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut told: Vec<String> = all
        .into_iter()
        .filter_map(|address| {
            let why = match (before.get(address), now.get(address)) {
                (Some(before), Some(now)) => changed_otherwise(before, now, &guards)?,
                (Some(before), None) => format!("{} was approved, and there is nothing to do any more", word(before)),
                (None, Some(now)) => format!("{} was not approved", word(now)),
                (None, None) => return None,
            };
            Some(format!("{address}: {why}"))
        })
        .collect();
    if !told.is_empty() {
        return told;
    }
    // What is not seen in the resources: hooks, the order, what is waited for.
    let (before, now) = (approved.in_target(), again.in_target());
    let all: BTreeSet<&&str> = before.keys().chain(now.keys()).collect();
    told.extend(all.into_iter().filter_map(|id| match (before.get(id), now.get(id)) {
        (Some(before), Some(now)) if does_same(before, now) => None,
        (Some(_), Some(_)) => Some(format!("{id}: what is done, or when, is not what was approved")),
        (Some(_), None) => Some(format!("{id}: there is nothing to do any more")),
        (None, _) => Some(format!("{id}: it was not approved")),
    }));
    told
}

fn word(plan: &ResourcePlan) -> &'static str {
    match plan.action {
        ResourceAction::Create => "to create it",
        ResourceAction::Update => "to update it",
        ResourceAction::Replace => "to replace it",
        ResourceAction::Delete => "to delete it",
        ResourceAction::Noop => "to leave it",
    }
}

/// The digests that guards compare, by path.
type Digests<'a> = BTreeMap<&'a str, Option<&'a String>>;

fn content_guards(operations: &[Operation]) -> Digests<'_> {
    operations.iter().flat_map(|o| &o.guards).filter_map(content_guard).collect()
}

fn content_guard(guard: &Guard) -> Option<(&str, Option<&String>)> {
    match guard {
        Guard::ResourceContent { path, digest } => Some((path, digest.as_ref())),
        Guard::SecretContent { path, digest } => Some((path, digest.reveal())),
        Guard::StageAbsent { .. }
        | Guard::ImagePresent { .. }
        | Guard::FinalImagePresent { .. }
        | Guard::StagePresent { .. }
        | Guard::BasePresent { .. }
        | Guard::ReleaseRevision { .. }
        | Guard::Cluster { .. } => None,
    }
}

fn changed_otherwise(before: &ResourcePlan, now: &ResourcePlan, guards: &(Digests<'_>, Digests<'_>)) -> Option<String> {
    if before.action != now.action {
        return Some(format!("{} was approved, and now it would be {}", word(before), word(now)));
    }
    // A value that is not shown is the same where the whole object is.
    let group = before.api_version.split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    let namespace = before.namespace.as_deref().unwrap_or("-");
    let path = format!("{namespace}/{}{dot}{group}/{}", before.kind, before.name);
    let found = (guards.0.get(path.as_str()), guards.1.get(path.as_str()));
    let is_as_it_was = found.0.is_some() && found.0 == found.1;
    // Hooks are told apart by the revision that made them.
    let told = |fields: &[FieldChange]| -> Vec<FieldChange> {
        fields.iter().filter(|field| !is_revision(&field.path)).cloned().collect()
    };
    let (fields, now_fields) = (told(&before.fields), told(&now.fields));
    let differs = |(before, now): (&FieldChange, &FieldChange)| {
        let is_told = !is_concealed(before) && !is_concealed(now);
        let same = (&before.path, before.op) == (&now.path, now.op)
            && if is_told { (&before.before, &before.after) == (&now.before, &now.after) } else { is_as_it_was };
        (!same).then(|| now.path.clone())
    };
    let mut paths: Vec<String> = fields.iter().zip(&now_fields).filter_map(differs).collect();
    let common = fields.len().min(now_fields.len());
    paths.extend(fields.iter().skip(common).map(|field| field.path.clone()));
    paths.extend(now_fields.iter().skip(common).map(|field| field.path.clone()));
    (!paths.is_empty()).then(|| format!("it changes otherwise than was approved: {}", paths.join(", ")))
}

/// Says whether a value is not shown, or in part.
fn is_concealed(field: &FieldChange) -> bool {
    let is_hidden = |value: &Value| value.to_string().contains("(secret");
    field.sensitive || is_hidden(&field.before) || is_hidden(&field.after)
}

fn does_same(before: &Operation, now: &Operation) -> bool {
    let needs = |o: &Operation| o.needs.iter().cloned().collect::<BTreeSet<String>>();
    let is_same = match (&before.work, &now.work) {
        (Work::OpenRelease { release, .. }, Work::OpenRelease { release: other, .. })
        | (Work::RecordRelease { release, .. }, Work::RecordRelease { release: other, .. }) => release == other,
        (
            Work::WriteResource { address, path, manifest, sealed, replace, adopt, leaves_replicas },
            Work::WriteResource {
                address: address2,
                path: path2,
                manifest: manifest2,
                sealed: sealed2,
                replace: replace2,
                adopt: adopt2,
                leaves_replicas: leaves2,
            },
        ) => {
            let parsed = |text: Option<&String>| {
                let mut manifest = serde_json::from_str::<Value>(text?).ok()?;
                take_revision(&mut manifest);
                Some(manifest)
            };
            let one = parsed(manifest.as_ref().or(sealed.reveal()));
            (address, path, replace, adopt, leaves_replicas) == (address2, path2, replace2, adopt2, leaves2)
                && one.is_some()
                && one == parsed(manifest2.as_ref().or(sealed2.reveal()))
        }
        (
            Work::RecordHooks { release, event, covers, .. },
            Work::RecordHooks { release: other, event: event2, covers: covers2, .. },
        ) => (release, event, covers) == (other, event2, covers2),
        (
            Work::AwaitResource { address, path, tracking },
            Work::AwaitResource { address: address2, path: path2, tracking: tracking2 },
        ) => (address, path) == (address2, path2) && waits_the_same(tracking, tracking2),
        (before, now) => before == now,
    };
    is_same && needs(before) == needs(now)
}

/// Says whether it is waited for in the same way: pods that hold it up may have recovered since, and none may have come.
fn waits_the_same(before: &Tracking, now: &Tracking) -> bool {
    let without = |tracking: &Tracking| Tracking { stuck: Vec::new(), ..tracking.clone() };
    now.stuck.iter().all(|pod| before.stuck.contains(pod)) && without(before) == without(now)
}

/// Returns the approved plan with what it rests on now: guards and the number of its revision. `again` does the same.
pub fn rest_anew(approved: &Plan, again: &[Operation]) -> Plan {
    let mut plan = approved.clone();
    let now: BTreeMap<&str, &Operation> = again.iter().map(|o| (o.id.as_str(), o)).collect();
    for operation in &mut plan.operations {
        let Some(now) = now.get(operation.id.as_str()).filter(|_| !is_of_images(&operation.work)) else { continue };
        number(&mut operation.work, &now.work);
        let guards = std::mem::take(&mut operation.guards);
        let secret: BTreeSet<&str> = guards.iter().filter_map(secret_path).collect();
        let fresh: Vec<Guard> = now.guards.iter().map(|guard| hidden_as(guard, &secret)).collect();
        let known: BTreeSet<&str> = fresh.iter().filter_map(content_guard).map(|(path, _)| path).collect();
        // What the other one knows nothing of stays as it was approved.
        let is_kept = |guard: &&Guard| match content_guard(guard) {
            Some((path, _)) => !known.contains(path),
            None => !matches!(guard, Guard::ReleaseRevision { .. }),
        };
        let kept: Vec<Guard> = guards.iter().filter(is_kept).cloned().collect();
        operation.guards = fresh.into_iter().chain(kept).collect();
        for guard in &operation.guards {
            if let Guard::ReleaseRevision { revision, .. } = guard {
                plan.inputs.revision = *revision;
            }
        }
    }
    plan
}

fn secret_path(guard: &Guard) -> Option<&str> {
    if let Guard::SecretContent { path, .. } = guard { Some(path) } else { None }
}

/// Returns a guard that tells no more than that which was approved.
fn hidden_as(guard: &Guard, secret: &BTreeSet<&str>) -> Guard {
    if let Guard::ResourceContent { path, digest: Some(digest) } = guard
        && secret.contains(path.as_str())
    {
        return Guard::SecretContent { path: path.clone(), digest: Sensitive::new(digest.clone()) };
    }
    guard.clone()
}

/// Gives what is recorded, and hooks that are made anew, the number that comes next now.
fn number(work: &mut Work, now: &Work) {
    match (work, now) {
        (Work::OpenRelease { revision, payload, .. }, Work::OpenRelease { revision: next, .. }) => {
            *revision = *next;
            let parsed = payload.reveal().and_then(|text| serde_json::from_str::<Value>(text).ok());
            // What deletes a release records no version of it.
            if let Some(Value::Object(mut record)) = parsed.filter(|record| record.get("version").is_some()) {
                record.insert("version".into(), (*next).into());
                *payload = Sensitive::new(Value::Object(record).to_string());
            }
        }
        (Work::RecordHooks { revision, .. }, Work::RecordHooks { revision: next, .. }) => *revision = *next,
        (Work::RecordRelease { revision, record, .. }, Work::RecordRelease { revision: next, .. }) => {
            *revision = *next;
            if let Some(record) = record.as_object_mut() {
                record.insert("revision".into(), (*next).into());
            }
        }
        (
            Work::WriteResource { manifest, sealed, .. },
            Work::WriteResource { manifest: manifest2, sealed: sealed2, .. },
        ) => {
            let next = manifest2.as_ref().or(sealed2.reveal()).and_then(|text| {
                let mut hook = serde_json::from_str::<Value>(text).ok()?;
                take_revision(&mut hook)
            });
            let Some(next) = next else { return };
            let renumbered = |text: &String| {
                let mut hook = serde_json::from_str::<Value>(text).ok()?;
                put_revision(&mut hook, &next);
                Some(hook.to_string())
            };
            if let Some(text) = manifest.as_ref().and_then(renumbered) {
                *manifest = Some(text);
            }
            if let Some(text) = sealed.reveal().and_then(renumbered) {
                *sealed = Sensitive::new(text);
            }
        }
        (_, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FieldOp;
    use crate::plan::StuckPod;
    use serde_json::json;

    fn resource(name: &str, action: ResourceAction, fields: Vec<FieldChange>) -> ResourcePlan {
        ResourcePlan {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("n".into()),
            name: name.into(),
            previous_address: None,
            action,
            source: None,
            fields,
            replace_paths: Vec::new(),
            drift: Vec::new(),
            kept: Vec::new(),
            restart: None,
            reasons: Vec::new(),
        }
    }

    fn field(before: &str, after: &str) -> FieldChange {
        FieldChange {
            path: "data.a".into(),
            op: FieldOp::Change,
            before: before.into(),
            after: after.into(),
            sensitive: false,
        }
    }

    fn write(name: &str, text: &str, guard: &str) -> Operation {
        let path = format!("n/ConfigMap/{name}");
        Operation {
            id: format!("write:{path}"),
            needs: vec!["open:r".into()],
            guards: vec![Guard::ResourceContent { path: path.clone(), digest: Some(guard.into()) }],
            work: Work::WriteResource {
                address: path.clone(),
                path,
                manifest: Some(json!({"data": {"a": text}}).to_string()),
                sealed: Sensitive::default(),
                replace: false,
                adopt: false,
                leaves_replicas: false,
            },
        }
    }

    fn open(revision: u64) -> Operation {
        let payload = json!({"name": "r", "version": revision, "manifest": "m"}).to_string();
        Operation {
            id: "open:r".into(),
            needs: Vec::new(),
            guards: vec![Guard::ReleaseRevision { release: "n/r".into(), revision: Some(revision - 1) }],
            work: Work::OpenRelease { release: "n/r".into(), revision, payload: Sensitive::new(payload) },
        }
    }

    type Parts = (Vec<ResourcePlan>, Vec<Operation>);

    fn parts(revision: u64, before: &str, after: &str, guard: &str) -> Parts {
        let resources = vec![resource("a", ResourceAction::Update, vec![field(before, after)])];
        (resources, vec![open(revision), write("a", after, guard)])
    }

    fn between(approved: &Parts, again: &Parts) -> Vec<String> {
        let deeds = |(resources, operations): &'static Parts| Deeds { resources, operations };
        let leak = |parts: &Parts| -> &'static Parts { Box::leak(Box::new(parts.clone())) };
        departures(deeds(leak(approved)), deeds(leak(again)))
    }

    #[test]
    fn another_revision_with_the_same_changes_is_the_same() {
        assert_eq!(between(&parts(2, "x", "y", "d"), &parts(5, "x", "y", "d")), [""; 0]);
        // The rest of the object is not what was approved.
        assert_eq!(between(&parts(2, "x", "y", "d"), &parts(5, "x", "y", "e")), [""; 0]);
    }

    #[test]
    fn other_values_other_resources_and_other_manifests_are_not() {
        let approved = parts(2, "x", "y", "d");
        let told = between(&approved, &parts(2, "z", "y", "e"));
        assert_eq!(told, ["n/ConfigMap/a: it changes otherwise than was approved: data.a"]);
        let told = between(&approved, &(Vec::new(), vec![open(2)]));
        assert_eq!(told, ["n/ConfigMap/a: to update it was approved, and there is nothing to do any more"]);
        let mut more = approved.clone();
        more.0.push(resource("b", ResourceAction::Delete, Vec::new()));
        assert_eq!(between(&approved, &more), ["n/ConfigMap/b: to delete it was not approved"]);
        let mut other = approved.clone();
        other.1[1] = write("a", "other", "d");
        assert_eq!(between(&approved, &other).len(), 1);
        let mut other = approved.clone();
        other.1[1].needs.clear();
        assert_eq!(between(&approved, &other).len(), 1);
        let mut other = approved.clone();
        other.1.remove(0);
        assert_eq!(between(&approved, &other), ["open:r: there is nothing to do any more"]);
    }

    #[test]
    fn a_pod_that_holds_up_no_more_is_no_difference_and_another_one_is() {
        let waits = |uids: &[&str], failures_allowed: u64| {
            let stuck = |uid: &&str| StuckPod { name: "db-0".into(), uid: (*uid).to_owned() };
            let tracking =
                Tracking { stuck: uids.iter().map(stuck).collect(), failures_allowed, ..Tracking::default() };
            let path = "n/StatefulSet.apps/db".to_owned();
            let work = Work::AwaitResource { address: path.clone(), path, tracking };
            (Vec::new(), vec![Operation { id: "await".into(), needs: Vec::new(), guards: Vec::new(), work }])
        };
        let approved = waits(&["a", "b"], 1);
        for same in [&["a", "b"][..], &["b", "a"], &["b"], &[]] {
            assert_eq!(between(&approved, &waits(same, 1)), [""; 0], "{same:?}");
        }
        assert_eq!(between(&approved, &waits(&["a", "c"], 1)).len(), 1, "it was not approved");
        assert_eq!(between(&approved, &waits(&["a"], 2)).len(), 1, "it is waited for otherwise");
    }

    #[test]
    fn the_revision_that_a_hook_was_made_for_is_no_difference() {
        let left = |revision: &str| {
            let path = "metadata.annotations[stagewright/revision]".to_owned();
            let field = FieldChange { path, op: FieldOp::Remove, after: Value::Null, ..field(revision, "") };
            (vec![resource("a", ResourceAction::Delete, vec![field])], vec![open(2)])
        };
        assert_eq!(between(&left("2"), &left("6")), [""; 0]);
    }

    #[test]
    fn what_is_not_shown_is_the_same_only_where_the_object_is() {
        let hidden = |guard: &str| parts(2, "(secret 0123456789)", "y", guard);
        assert_eq!(between(&hidden("d"), &parts(3, "hunter2", "y", "d")), [""; 0]);
        assert_eq!(between(&hidden("d"), &parts(3, "hunter2", "y", "e")).len(), 1);
    }

    #[test]
    fn the_approved_plan_rests_on_what_there_is_now() {
        let (resources, mut operations) = parts(2, "x", "y", "d");
        let digest = Sensitive::new("d".to_owned());
        operations[1].guards = vec![
            Guard::SecretContent { path: "n/ConfigMap/a".into(), digest },
            Guard::ResourceContent { path: "-/CustomResourceDefinition.x/y".into(), digest: Some("crd".into()) },
        ];
        operations[0].guards.push(Guard::Cluster { uid: "u".into() });
        let plan = Plan {
            resources,
            operations,
            ..crate::plan::assemble(
                "p".into(),
                String::new(),
                crate::plan::Fidelity::Live,
                crate::plan::Inputs::default(),
                crate::plan::ImageSection::default(),
                crate::plan::ReleaseSection::default(),
            )
        };
        let fresh = rest_anew(&plan, &parts(7, "x", "y", "e").1);
        assert_eq!(fresh.inputs.revision, Some(6));
        let Work::OpenRelease { revision, payload, .. } = &fresh.operations[0].work else { panic!() };
        let record: Value = serde_json::from_str(payload.reveal().unwrap()).unwrap();
        assert_eq!((*revision, &record["version"], &record["manifest"]), (7, &json!(7), &json!("m")));
        assert_eq!(
            fresh.operations[0].guards,
            [Guard::ReleaseRevision { release: "n/r".into(), revision: Some(6) }, Guard::Cluster { uid: "u".into() }]
        );
        let digest = Sensitive::new("e".to_owned());
        assert_eq!(
            fresh.operations[1].guards,
            [
                Guard::SecretContent { path: "n/ConfigMap/a".into(), digest },
                Guard::ResourceContent { path: "-/CustomResourceDefinition.x/y".into(), digest: Some("crd".into()) }
            ]
        );
    }
}
