//! What people changed by hand and what stays of it: `--no-remove-manual-changes`.
//!
//! The one idea: as with `yielding`, what is not in the manifest that is sent, nobody takes. It stays only where the chart
//! says what it said in all records since the last deploy: what the chart changes in this release is wanted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::{cluster_path, served_path};
use super::decide::setters;
use super::diff::{diff, hide_fields, redact};
use super::helm::read_release;
use super::model::{FieldChange, ResourceAction, ResourcePlan};
use super::reason::{DriftOutcome, Reason, Setter};
use super::release::DesiredResource;
use super::yielding::take_field;
use crate::observed::{Preview, WantedResource};

/// Names under which people change objects: browsers and consoles, besides `kubectl` and its commands.
const BY_HAND: [&str; 7] =
    ["oc", "k9s", "Mozilla", "dashboard", "GoogleCloudConsole", "node-fetch", "kubernetes-dashboard"];
/// What `kubectl apply` writes to an object is a manifest of its own, and goes over to the release.
const OF_MANIFESTS: [&str; 2] = ["kubectl-client-side-apply", "kubectl-last-applied"];

/// Says whether changes of a manager are made by hand.
pub(super) fn is_by_hand(manager: &str) -> bool {
    let is_kubectl = manager == "kubectl" || manager.starts_with("kubectl-") && !OF_MANIFESTS.contains(&manager);
    is_kubectl || BY_HAND.contains(&manager)
}

/// Says whether an entry of those who set fields tells of an apply: of a manifest, and of no change by hand.
fn is_apply(entry: &Value) -> bool {
    entry.get("operation").is_some_and(|operation| operation == "Apply")
}

/// Returns the fields that a write would take over and that people changed by hand.
fn by_hand(preview: &Preview) -> impl Iterator<Item = &str> {
    let taken = preview.taken.iter().filter(|(_, manager)| {
        let named = |entry: &&Value| entry.get("manager").is_some_and(|name| name == manager);
        let mut entries = preview.managers.as_array().into_iter().flatten().filter(named).peekable();
        // Where nobody tells of it, the name alone does.
        is_by_hand(manager) && (entries.peek().is_none() || !entries.all(is_apply))
    });
    taken.map(|(field, _)| field.as_str())
}

/// What stays of what people changed by hand; by default nothing does.
#[derive(Debug, Default)]
pub struct Kept {
    is_wanted: bool,
    resources: BTreeMap<String, KeptResource>,
    /// The fields of resources that would stay if somebody wanted that.
    offered: BTreeMap<String, Vec<String>>,
}

/// What stays of one resource.
#[derive(Debug, Default)]
struct KeptResource {
    /// The fields, as the server names them.
    fields: Vec<String>,
    /// As they are, and as the chart says.
    stays: Vec<FieldChange>,
    /// What a guard compares where the whole manifest is written.
    content: Option<Vec<u8>>,
}

impl Kept {
    /// Finds what stays of resources where that is wanted, and else what could, over what the server says of their whole
    /// manifests.
    pub fn of(
        is_wanted: bool,
        desired: &[DesiredResource],
        history: &[Value],
        previews: &BTreeMap<String, Preview>,
    ) -> Self {
        if !previews.values().any(|preview| by_hand(preview).next().is_some()) {
            return Self { is_wanted, ..Self::default() };
        }
        let records: Vec<BTreeMap<String, Value>> = history.iter().map(recorded).collect();
        let mut found = BTreeMap::new();
        for resource in desired {
            let path = cluster_path(resource);
            // What is made anew is made as the chart says.
            let Some(preview) = previews.get(&path).filter(|preview| preview.after.is_some()) else { continue };
            let old: Option<Vec<&Value>> = records.iter().map(|record| record.get(&served_path(&path))).collect();
            let Some(old) = old.filter(|old| !old.is_empty()) else { continue };
            let says = |data: &Value, field: &str| take_field(&mut data.clone(), field);
            let stays = |field: &str| {
                let now = says(&resource.data, field);
                now.is_some() && old.iter().all(|old| says(old, field) == now)
            };
            let fields: Vec<String> = by_hand(preview).filter(|field| stays(field)).map(str::to_owned).collect();
            if !fields.is_empty() {
                found.insert(path, fields);
            }
        }
        if !is_wanted {
            return Self { offered: found, ..Self::default() };
        }
        let resources =
            found.into_iter().map(|(path, fields)| (path, KeptResource { fields, ..KeptResource::default() }));
        Self { is_wanted, resources: resources.collect(), ..Self::default() }
    }

    /// Says whether a field would stay if that were wanted.
    pub(super) fn offers(&self, path: &str, field: &str) -> bool {
        self.offered.get(path).is_some_and(|fields| fields.iter().any(|offered| offered == field))
    }

    /// Says whether nothing stays.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Returns the resources without what stays.
    pub fn without(&self, desired: &[DesiredResource]) -> Vec<DesiredResource> {
        desired.iter().map(|resource| self.sent(resource).unwrap_or_else(|| resource.clone())).collect()
    }

    /// Returns what a target is asked anew, of what is wanted without what stays: the resources of which something does, and the
    /// namespaces and definitions over which it answers.
    pub fn asked_anew(&self, wanted: Vec<WantedResource>) -> Vec<WantedResource> {
        let is_base = |path: &str| path.starts_with("-/Namespace/") || path.starts_with("-/CustomResourceDefinition.");
        let is_asked = |wanted: &WantedResource| self.resources.contains_key(&wanted.path) || is_base(&wanted.path);
        wanted.into_iter().filter(is_asked).collect()
    }

    /// Learns what stays: what a write of the whole manifests would change, and of those without it would not.
    pub fn compare(&mut self, whole: &BTreeMap<String, Preview>, without: &BTreeMap<String, Preview>) {
        for (path, kept) in &mut self.resources {
            let Some(Preview { live: Some(live), after: Some(after), content, .. }) = whole.get(path) else { continue };
            kept.content.clone_from(content);
            let changes = without.get(path).and_then(|preview| preview.after.as_ref()).map(|after| diff(live, after));
            let goes = |field: &FieldChange| changes.iter().flatten().any(|change| change.path == field.path);
            kept.stays = diff(live, after);
            kept.stays.retain(|field| !goes(field));
        }
    }

    /// Returns a resource without what stays of it; `None` where nothing does.
    pub(super) fn sent(&self, resource: &DesiredResource) -> Option<DesiredResource> {
        let kept = self.resources.get(&cluster_path(resource))?;
        let mut sent = resource.clone();
        for field in &kept.fields {
            take_field(&mut sent.data, field);
        }
        Some(sent)
    }

    /// Returns what the guard of a resource compares that is written whole though something of it would have stayed.
    pub(super) fn whole_content(&self, path: &str) -> Option<&Vec<u8>> {
        self.resources.get(path)?.content.as_ref()
    }

    /// Tells in the plan of a resource what stays of it, and what does not: the chart changes it, it is made anew, or there is no
    /// record of it.
    pub(super) fn tell(
        &self,
        plan: &mut ResourcePlan,
        (resource, is_recorded): (&DesiredResource, bool),
        preview: &Preview,
    ) {
        let Some(live) = preview.live.as_ref().filter(|_| self.is_wanted) else { return };
        let kept = self.resources.get(&cluster_path(resource));
        let mut stays = kept.map(|kept| kept.stays.clone()).unwrap_or_default();
        redact(&plan.kind, &mut stays);
        hide_fields(&[&resource.data, live], &mut stays);
        match plan.action {
            ResourceAction::Update => {
                // What the chart changed, only a record tells.
                let outcome = if is_recorded { DriftOutcome::Overwritten } else { DriftOutcome::Reverted };
                follow_chart(plan, &preview.managers, outcome);
                keep(plan, stays, &preview.managers);
            }
            ResourceAction::Noop if plan.reasons.contains(&Reason::Unchanged) => keep(plan, stays, &preview.managers),
            ResourceAction::Replace if !stays.is_empty() => {
                plan.reasons.push(drift(&stays, hands(&preview.managers, &stays, DriftOutcome::Reverted)));
                plan.fields.extend(stays.iter().cloned());
                plan.fields.sort_by(|a, b| a.path.cmp(&b.path));
                plan.drift.append(&mut stays);
            }
            ResourceAction::Noop | ResourceAction::Create | ResourceAction::Replace | ResourceAction::Delete => {}
        }
    }
}

/// Returns the manifests of a record, by the paths under which servers serve them.
fn recorded(release: &Value) -> BTreeMap<String, Value> {
    let all = read_release(release).map(|release| release.resources).unwrap_or_default();
    all.into_iter().map(|resource| (served_path(&cluster_path(&resource)), resource.data)).collect()
}

fn hands(managers: &Value, fields: &[FieldChange], outcome: DriftOutcome) -> Vec<Setter> {
    let updates = managers.as_array().into_iter().flatten().filter(|entry| !is_apply(entry)).cloned().collect();
    let all = setters(&updates, fields).into_iter().filter(|setter| is_by_hand(&setter.manager));
    all.map(|setter| Setter { outcome, ..setter }).collect()
}

fn drift(fields: &[FieldChange], by: Vec<Setter>) -> Reason {
    Reason::Drift { paths: fields.iter().map(|field| field.path.clone()).collect(), by }
}

fn keep(plan: &mut ResourcePlan, stays: Vec<FieldChange>, managers: &Value) {
    if !stays.is_empty() {
        plan.reasons.push(drift(&stays, hands(managers, &stays, DriftOutcome::Kept)));
        plan.kept = stays;
    }
}

/// Where what the chart says, and no drift, goes over what somebody set by hand, that one is told.
fn follow_chart(plan: &mut ResourcePlan, managers: &Value, outcome: DriftOutcome) {
    let mut changed = plan.fields.clone();
    changed.retain(|field| !plan.drift.contains(field));
    let by = hands(managers, &changed, outcome);
    changed.retain(|field| by.iter().any(|setter| setter.paths.contains(&field.path)));
    if !changed.is_empty() {
        plan.reasons.push(drift(&changed, by));
        plan.drift.append(&mut changed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn by_hand_is_what_people_type_and_click() {
        for person in ["kubectl", "kubectl-edit", "kubectl-patch", "kubectl-scale", "kubectl-set", "Mozilla", "k9s"] {
            assert!(is_by_hand(person), "{person}");
        }
        for program in ["kubectl-client-side-apply", "kube-controller-manager", "helm", "werf", "kubectlx", "node"] {
            assert!(!is_by_hand(program), "{program}");
        }
    }

    #[test]
    fn what_somebody_applied_is_no_change_by_hand() {
        let preview = |operation: &str| Preview {
            taken: vec![("data.a".into(), "kubectl".into()), ("data.b".into(), "helm".into())],
            managers: json!([{"manager": "kubectl", "operation": operation, "fieldsV1": {"f:data": {"f:a": {}}}}]),
            ..Preview::default()
        };
        assert_eq!(by_hand(&preview("Update")).collect::<Vec<_>>(), ["data.a"]);
        assert_eq!(by_hand(&preview("Apply")).count(), 0);
        assert_eq!(by_hand(&Preview { managers: Value::Null, ..preview("Apply") }).count(), 1);
        let changed = diff(&json!({"data": {"a": "1"}}), &json!({"data": {"a": "2"}}));
        let told = |operation: &str| hands(&preview(operation).managers, &changed, DriftOutcome::Kept).len();
        assert_eq!((told("Update"), told("Apply")), (1, 0));
    }

    #[test]
    fn a_target_is_asked_anew_of_what_stays_alone() {
        let fields = vec!["data.a".to_owned()];
        let kept = Kept {
            is_wanted: true,
            resources: [("n/ConfigMap/a".to_owned(), KeptResource { fields, ..KeptResource::default() })].into(),
            offered: BTreeMap::new(),
        };
        let crd = "-/CustomResourceDefinition.apiextensions.k8s.io/x";
        let paths = ["-/Namespace/n", crd, "n/ConfigMap/a", "n/ConfigMap/b", "n/Namespace.example.org/c"];
        let wanted = paths.map(|path| WantedResource { path: path.to_owned(), manifest: None });
        let asked: Vec<String> = kept.asked_anew(wanted.into()).into_iter().map(|wanted| wanted.path).collect();
        assert_eq!(asked, ["-/Namespace/n", crd, "n/ConfigMap/a"]);
    }
}
