//! Planning the end of a release in a cluster: what is deleted, in which order, and what stays.
//!
//! What lives here: the plan over the records of a release and what the API server has of it. What does not: what belongs to
//! a release (`helm`), and requests (`backend`).
//!
//! The one idea: what others depend on goes last, and each group is gone before the next one goes: custom resources before
//! those who look after them and before their definitions, workloads before their accounts, namespaces at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cluster::{
    cluster_path, guard, hook_problems, is_ours, namespace_resource, release_key, served_path, written,
};
use super::decide::is_kept;
use super::deletion::{self, Going, turns};
use super::helm::{RecordedRelease, parse_manifest, read_release, recorded_manifests};
use super::hooks::run_hooks;
use super::model::{ResourceAction, ResourcePlan, Risk, RiskLevel};
use super::operation::{Guard, Operation, Work};
use super::order::in_order;
use super::reason::Reason;
use super::release::{RecordedResource, ReleaseSection, deleted};
use super::sensitive::Sensitive;
use crate::chart::{HookEvent, HookPolicy};
use crate::observed::{Preview, WantedResource};

/// What goes besides the resources of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dismissal {
    /// The namespace, with all that is in it.
    pub namespace: bool,
    /// What its hooks left.
    pub hooks: bool,
}

/// A release that ends.
pub struct Dismissed<'a> {
    /// Its records, oldest first.
    pub history: &'a [Value],
    /// Its name.
    pub release: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// What goes besides.
    pub with: Dismissal,
}

impl Dismissed<'_> {
    fn last(&self) -> RecordedRelease {
        self.history.last().and_then(read_release).unwrap_or_default()
    }

    /// Its manifests, by the paths under which servers serve them now.
    fn manifests(&self) -> BTreeMap<String, (RecordedResource, String)> {
        let recorded = recorded_manifests(self.history).into_iter();
        recorded.map(|(path, found)| (served_path(&path), found)).collect()
    }

    /// Returns what the target is asked about.
    pub fn wanted(&self) -> Vec<WantedResource> {
        let last = self.last();
        let mut wanted: BTreeMap<String, Option<String>> =
            self.manifests().into_keys().map(|path| (path, None)).collect();
        wanted.insert(cluster_path(&namespace_resource(self.namespace)), None);
        for hook in &last.hooks {
            let runs = hook.hook.events.iter().any(is_of_deletion);
            let manifest = runs.then(|| written(&hook.resource, &last.record).to_string());
            wanted.insert(cluster_path(&hook.resource), manifest);
        }
        wanted.into_iter().map(|(path, manifest)| WantedResource { path, manifest }).collect()
    }

    /// Plans the deletion over what the API server says.
    pub fn plan(&self, previews: &BTreeMap<String, Preview>) -> ReleaseSection {
        let mut section = ReleaseSection::default();
        let last = self.last();
        let mut chain = Chain::default();
        let key = release_key(self.namespace, self.release);
        if !self.history.is_empty() {
            let revision = last.record.revision;
            let payload = json!({"info": {"status": "uninstalling"}, "hooks": []}).to_string();
            chain.push(Operation {
                id: format!("open:{}", self.release),
                needs: Vec::new(),
                guards: vec![Guard::ReleaseRevision { release: key.clone(), revision: Some(revision) }],
                work: Work::OpenRelease { release: key.clone(), revision, payload: Sensitive::new(payload) },
            });
        }
        let before = run_hooks(&last.hooks, HookEvent::PreDelete, &last.record);
        let after = run_hooks(&last.hooks, HookEvent::PostDelete, &last.record);
        section.hooks.extend(before.plans.into_iter().chain(after.plans));
        section.problems.extend(hook_problems(&section.hooks, &last.hooks, previews));
        before.operations.into_iter().for_each(|operation| chain.push(operation));
        self.delete_resources(&last, previews, &mut section, &mut chain);
        after.operations.into_iter().for_each(|operation| chain.push(operation));
        self.delete_hooks(&last, previews, &mut section, &mut chain);
        if !self.history.is_empty() {
            let work = Work::ForgetRelease { release: key };
            let id = format!("forget:{}", self.release);
            chain.push(Operation { id, needs: Vec::new(), guards: Vec::new(), work });
        }
        self.delete_namespace(previews, &mut section, &mut chain);
        section.operations = chain.in_order();
        section
    }

    fn delete_resources(
        &self,
        last: &RecordedRelease,
        previews: &BTreeMap<String, Preview>,
        section: &mut ReleaseSection,
        chain: &mut Chain,
    ) {
        let own = cluster_path(&namespace_resource(self.namespace));
        let mut deletes: Vec<(u8, Operation)> = Vec::new();
        let mut going: Vec<Going> = Vec::new();
        for (path, (recorded, text)) in self.manifests() {
            let preview = previews.get(&path);
            let Some(live) = preview.and_then(|p| p.live.as_ref()).filter(|live| is_ours(live, &last.record)) else {
                continue;
            };
            let manifest = parse_manifest(&text);
            // The records are in it.
            if is_kept(live) || manifest.as_ref().is_some_and(is_kept) || path == own {
                section.resources.push(kept(&recorded, live));
                continue;
            }
            let plan = deleted(&recorded, live);
            section.risks.extend((!self.with.namespace).then(|| claims_stay(&plan, live)).flatten());
            let content = preview.and_then(|p| p.content.as_ref());
            deletes.push((group_of(&plan), delete(&plan, &path, vec![guard(&path, content)])));
            going.push(Going::new(&plan, manifest.as_ref(), Some(live)));
            section.resources.push(plan);
        }
        let (order, after) = turns(&going);
        let gone: Vec<Option<String>> = deletes.iter().map(|(_, o)| deletion::gone(o).map(|gone| gone.id)).collect();
        for holder in order {
            let Some(before) = after.get(&holder) else { continue };
            let latest = before.iter().filter_map(|i| deletes.get(*i)).map(|(group, _)| *group).max();
            let Some((group, operation)) = deletes.get_mut(holder) else { continue };
            *group = (*group).max(latest.unwrap_or(0));
            operation.needs = before.iter().filter_map(|i| gone.get(*i).cloned().flatten()).collect();
        }
        let mut groups: BTreeMap<u8, Vec<Operation>> = BTreeMap::new();
        for (group, operation) in deletes {
            groups.entry(group).or_default().push(operation);
        }
        for (number, group) in groups {
            chain.group(&format!("gate:gone {number}"), group);
        }
    }

    /// Hooks belong to no release: they carry no marks, and are known by their names alone.
    fn delete_hooks(
        &self,
        last: &RecordedRelease,
        previews: &BTreeMap<String, Preview>,
        section: &mut ReleaseSection,
        chain: &mut Chain,
    ) {
        if !self.with.hooks {
            return;
        }
        let known: BTreeSet<String> = self.manifests().into_keys().collect();
        let mut group = Vec::new();
        let mut seen = BTreeSet::new();
        for hook in last.hooks.iter().filter(|h| h.resource.kind != "CustomResourceDefinition") {
            let path = cluster_path(&hook.resource);
            if known.contains(&path) || !seen.insert(path.clone()) {
                continue;
            }
            let preview = previews.get(&path);
            let live = preview.and_then(|p| p.live.as_ref());
            let recorded = RecordedResource { address: hook.resource.address(), digest: String::new() };
            if is_kept(&hook.resource.data) || live.is_some_and(is_kept) {
                section.resources.extend(live.map(|live| kept(&recorded, live)));
                continue;
            }
            let plan = deleted(&recorded, live.unwrap_or(&Value::Null));
            // One that runs now is another object afterwards.
            let runs = hook.hook.events.iter().any(is_of_deletion);
            let content = preview.and_then(|p| p.stays.as_ref().or(p.content.as_ref()));
            let guards = if runs { Vec::new() } else { vec![guard(&path, content)] };
            // One that succeeds now deletes itself.
            let vanishes = runs && hook.hook.delete_policies.contains(&HookPolicy::HookSucceeded);
            if (live.is_some() || runs) && !vanishes {
                group.push(delete(&plan, &path, guards));
            }
            if live.is_some() {
                section.resources.push(plan);
            }
        }
        chain.group("gate:gone hooks", group);
    }

    fn delete_namespace(&self, previews: &BTreeMap<String, Preview>, section: &mut ReleaseSection, chain: &mut Chain) {
        let namespace = namespace_resource(self.namespace);
        let path = cluster_path(&namespace);
        let Some(preview) = previews.get(&path).filter(|_| self.with.namespace) else { return };
        let Some(live) = &preview.live else { return };
        section.resources.retain(|r| r.address() != namespace.address());
        let plan = deleted(&RecordedResource { address: namespace.address(), digest: String::new() }, live);
        let mut guards = vec![guard(&path, preview.stays.as_ref().or(preview.content.as_ref()))];
        if self.history.is_empty() {
            // A release that is made meanwhile would go with it.
            guards.push(Guard::ReleaseRevision { release: release_key(self.namespace, self.release), revision: None });
        }
        chain.group("gate:gone namespace", vec![delete(&plan, &path, guards)]);
        section.resources.push(plan);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is asked of the items of a list")]
fn is_of_deletion(event: &HookEvent) -> bool {
    matches!(event, HookEvent::PreDelete | HookEvent::PostDelete)
}

fn kept(recorded: &RecordedResource, live: &Value) -> ResourcePlan {
    let mut plan = deleted(recorded, live);
    (plan.action, plan.fields) = (ResourceAction::Noop, Vec::new());
    plan.reasons = vec![Reason::NotDeclared, Reason::Kept];
    plan
}

/// The claims that a `StatefulSet` made are nobody's.
fn claims_stay(plan: &ResourcePlan, live: &Value) -> Option<Risk> {
    let claims = live.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array)?;
    let names: Vec<&str> = claims.iter().filter_map(|c| c.pointer("/metadata/name")?.as_str()).collect();
    (plan.kind == "StatefulSet" && !names.is_empty()).then(|| Risk {
        code: "claims-stay".into(),
        level: RiskLevel::Info,
        address: plan.address(),
        path: None,
        message: format!("the volume claims that it made stay in the namespace: {}", names.join(", ")),
    })
}

fn delete(plan: &ResourcePlan, path: &str, guards: Vec<Guard>) -> Operation {
    let work = Work::DeleteResource { address: plan.address(), path: path.to_owned() };
    Operation { id: format!("delete:{path}"), needs: Vec::new(), guards, work }
}

/// Says how late something goes.
fn group_of(plan: &ResourcePlan) -> u8 {
    let group = plan.api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, plan.kind.as_str()) {
        // They would refuse what comes next once those who answer them are gone.
        ("admissionregistration.k8s.io", _) => 0,
        (_, "Namespace") => 5,
        ("apiextensions.k8s.io", _) => 4,
        ("apps" | "batch" | "autoscaling" | "policy" | "extensions", _)
        | ("", "Pod" | "ReplicationController" | "Service")
        | ("networking.k8s.io", "Ingress") => 2,
        ("", _) => 3,
        (group, _) if group.ends_with(".k8s.io") => 3,
        _ => 1,
    }
}

/// Operations one after the other, and groups of them.
#[derive(Default)]
struct Chain {
    operations: Vec<Operation>,
    needs: Vec<String>,
}

impl Chain {
    fn push(&mut self, mut operation: Operation) {
        for need in std::mem::take(&mut self.needs) {
            if !operation.needs.contains(&need) {
                operation.needs.push(need);
            }
        }
        self.needs = vec![operation.id.clone()];
        self.operations.push(operation);
    }

    /// Puts what waits behind what it waits for.
    fn in_order(self) -> Vec<Operation> {
        in_order(self.operations, true).unwrap_or_else(|(operations, _)| operations)
    }

    /// All of a group go at once, but for what says itself what it waits for; what comes later waits until they are gone.
    fn group(&mut self, gate: &str, group: Vec<Operation>) {
        let mut gone = Vec::new();
        for mut operation in group {
            gone.extend(deletion::gone(&operation));
            let own = std::mem::replace(&mut operation.needs, self.needs.clone());
            operation.needs.extend(own);
            self.operations.push(operation);
        }
        let ids: Vec<String> = gone.iter().map(|o| o.id.clone()).collect();
        self.operations.append(&mut gone);
        match ids.len() {
            0 => {}
            1 => self.needs = ids,
            _ => {
                self.needs = vec![gate.to_owned()];
                self.operations.push(Operation {
                    id: gate.to_owned(),
                    needs: ids,
                    guards: Vec::new(),
                    work: Work::Gate,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(manifest: &str) -> Vec<Value> {
        vec![json!({"name": "shop", "namespace": "shop", "version": 3, "manifest": manifest,
            "info": {"status": "deployed"}, "hooks": [
                {"name": "bye", "kind": "Job", "path": "bye.yaml", "events": ["pre-delete"], "weight": 0,
                 "manifest": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: bye}"},
                {"name": "left", "kind": "ConfigMap", "path": "l.yaml", "events": ["pre-install"],
                 "manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: left}"}]})]
    }

    fn live(api_version: &str, kind: &str, name: &str, policy: &str) -> Preview {
        let marks = json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "shop",
            "helm.sh/resource-policy": policy});
        let metadata = json!({"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": marks});
        let live = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        Preview { live: Some(live), content: Some(vec![1]), ..Preview::default() }
    }

    const MANIFEST: &str = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: cats.example.org}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\napiVersion: example.org/v1\nkind: Cat\nmetadata: {name: tom}\n";

    fn previews() -> BTreeMap<String, Preview> {
        let all = [
            ("shop/ServiceAccount/web", live("v1", "ServiceAccount", "web", "")),
            ("shop/PersistentVolumeClaim/data", live("v1", "PersistentVolumeClaim", "data", "keep")),
            (
                "-/CustomResourceDefinition.apiextensions.k8s.io/cats.example.org",
                live("apiextensions.k8s.io/v1", "CustomResourceDefinition", "cats.example.org", ""),
            ),
            ("shop/Deployment.apps/web", live("apps/v1", "Deployment", "web", "")),
            ("shop/Cat.example.org/tom", live("example.org/v1", "Cat", "tom", "")),
            ("shop/ConfigMap/left", live("v1", "ConfigMap", "left", "")),
            ("-/Namespace/shop", live("v1", "Namespace", "shop", "")),
        ];
        all.into_iter().map(|(path, preview)| (path.to_owned(), preview)).collect()
    }

    fn dismissed(history: &[Value], with: Dismissal) -> ReleaseSection {
        Dismissed { history, release: "shop", namespace: "shop", with }.plan(&previews())
    }

    #[test]
    fn what_others_depend_on_goes_last_and_what_is_kept_is_listed() {
        let section = dismissed(&history(MANIFEST), Dismissal { namespace: true, hooks: true });
        let ids: Vec<&str> = section.operations.iter().map(|o| o.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "open:shop",
                "hook:pre-delete:shop/Job.batch/bye",
                "await:pre-delete:shop/Job.batch/bye",
                "delete:shop/Cat.example.org/tom",
                "gone:shop/Cat.example.org/tom",
                "delete:shop/Deployment.apps/web",
                "gone:shop/Deployment.apps/web",
                "delete:shop/ServiceAccount/web",
                "gone:shop/ServiceAccount/web",
                "delete:-/CustomResourceDefinition.apiextensions.k8s.io/cats.example.org",
                "gone:-/CustomResourceDefinition.apiextensions.k8s.io/cats.example.org",
                "delete:shop/Job.batch/bye",
                "delete:shop/ConfigMap/left",
                "gone:shop/Job.batch/bye",
                "gone:shop/ConfigMap/left",
                "gate:gone hooks",
                "forget:shop",
                "delete:-/Namespace/shop",
                "gone:-/Namespace/shop",
            ]
        );
        let claim = section.resources.iter().find(|r| r.kind == "PersistentVolumeClaim").unwrap();
        assert_eq!((claim.action, claim.reasons.contains(&Reason::Kept)), (ResourceAction::Noop, true));
        let namespace = section.operations.iter().find(|o| o.id == "delete:-/Namespace/shop").unwrap();
        assert_eq!(namespace.guards, [guard("-/Namespace/shop", Some(&vec![1]))], "another one of that name stays");
        let needs = |id: &str| section.operations.iter().find(|o| o.id == id).unwrap().needs.clone();
        assert_eq!(needs("delete:shop/Deployment.apps/web"), ["gone:shop/Cat.example.org/tom"]);
    }

    #[test]
    fn without_more_the_namespace_and_what_hooks_left_stay() {
        let section = dismissed(&history(MANIFEST), Dismissal::default());
        let last = section.operations.last().unwrap();
        assert_eq!(last.id, "forget:shop");
        assert!(!section.operations.iter().any(|o| o.id.contains("Namespace") || o.id.contains("left")));
    }

    #[test]
    fn a_release_that_is_not_there_leaves_nothing_but_its_namespace() {
        assert_eq!(dismissed(&[], Dismissal { namespace: false, hooks: true }).operations, vec![]);
        let operations = dismissed(&[], Dismissal { namespace: true, hooks: true }).operations;
        let ids: Vec<&str> = operations.iter().map(|o| o.id.as_str()).collect();
        assert_eq!(ids, ["delete:-/Namespace/shop", "gone:-/Namespace/shop"]);
        let none = Guard::ReleaseRevision { release: "shop/shop".into(), revision: None };
        assert!(operations[0].guards.contains(&none), "one that is made meanwhile stays");
    }
}
