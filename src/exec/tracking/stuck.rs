//! Pods that hold a `StatefulSet` up, and that the plan names: they are deleted, for nothing else replaces them.
//!
//! The one idea: what the plan names is deleted only where it is still as the plan says. A pod that recovered, was replaced
//! meanwhile, or is of the newest template stays; and what is deleted is the pod as it was seen, and no other.

use serde_json::Value;

use super::ready::text;
use super::{Masks, Watch};
use crate::exec::event::{Event, FreedPod, Subject, causes};
use crate::exec::run::Walk;
use crate::exec::work::WorkError;
use crate::plan::{StuckPod, Tracking, broken};
use crate::ports::{Over, Sight};

impl Walk<'_> {
    /// Deletes the pods that hold up what is watched, each once.
    pub(super) fn free(&self, watch: &mut Watch, sight: &Sight, masks: &Masks) {
        let Some(operation) = self.operations.get(watch.index) else { return };
        for (StuckPod { name, uid }, pod) in to_free(&watch.tracking, sight) {
            if watch.freed.contains(&uid) {
                continue;
            }
            let namespace = text(pod, "/metadata/namespace").unwrap_or_default().to_owned();
            let error = self.workshop.delete_seen(&format!("{namespace}/Pod/{name}"), &Over::of(pod)).err();
            let why = error.as_ref().map(|error| causes(error).iter().map(|cause| masks.hide(cause)).collect());
            let Some(line) = told(&name, error, masks) else { continue };
            let (subject, causes) = (Subject::of(operation), why.unwrap_or_default());
            watch.freed.insert(uid.clone());
            self.state().freed.push(FreedPod { subject: subject.clone(), pod: name, namespace, uid, causes });
            (self.events)(Event::Output { subject, line });
        }
    }
}

/// Says what became of a pod; nothing where it has changed since: it is looked at again.
fn told(name: &str, error: Option<WorkError>, masks: &Masks) -> Option<String> {
    let why = "it is broken, and of the revision before";
    let line = match error {
        None => format!("pod {name} is deleted: {why}"),
        Some(WorkError::Target(error)) if error.is_outdated() => return None,
        Some(error) => format!("pod {name} cannot be deleted, though {why}: {}", causes(&error).join(": ")),
    };
    Some(masks.hide(&line))
}

/// Returns the pods that the plan names and that are broken still.
fn to_free<'a>(tracking: &Tracking, sight: &'a Sight) -> Vec<(StuckPod, &'a Value)> {
    let named =
        |pod: &Value| tracking.stuck.iter().find(|stuck| text(pod, "/metadata/uid") == Some(stuck.uid.as_str()));
    let broken = sight.older.iter().filter(|pod| broken(pod).is_some());
    broken.filter_map(|pod| Some((named(pod)?.clone(), pod))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Operation, Sensitive, Work};
    use serde_json::json;

    fn pod(uid: &str, state: &str) -> Value {
        let state = if state == "running" { json!({"running": {}}) } else { json!({"waiting": {"reason": state}}) };
        json!({"metadata": {"name": "db-2", "namespace": "shop", "uid": uid},
            "status": {"containerStatuses": [{"name": "db", "state": state}]}})
    }

    fn freed(sight: &Sight) -> Vec<String> {
        let stuck = vec![StuckPod { name: "db-2".into(), uid: "u".into() }];
        to_free(&Tracking { stuck, ..Tracking::default() }, sight).into_iter().map(|(pod, _)| pod.name).collect()
    }

    #[test]
    fn what_a_server_says_of_a_pod_hides_secrets() {
        let sealed = r#"{"kind":"Secret","stringData":{"t":"s3cret"}}"#;
        let work = Work::WriteResource {
            address: "s".into(),
            path: "s".into(),
            manifest: None,
            sealed: Sensitive::new(sealed.into()),
            replace: false,
            adopt: false,
            leaves_replicas: false,
        };
        let masks = Masks::of(&[Operation { id: "s".into(), needs: Vec::new(), guards: Vec::new(), work }]);
        let told = told("db-2", Some(WorkError::NoTarget("s3cret".into())), &masks).unwrap();
        assert!(told.starts_with("pod db-2 cannot be deleted") && told.ends_with("write (hidden) to"), "{told}");
    }

    #[test]
    fn what_the_plan_names_is_deleted_while_it_is_broken_and_old() {
        let older = |pod: Value| Sight { older: vec![pod], ..Sight::default() };
        assert_eq!(freed(&older(pod("u", "ImagePullBackOff"))), ["db-2"]);
        assert_eq!(freed(&older(pod("u", "running"))), [""; 0], "it recovers");
        assert_eq!(freed(&older(pod("other", "ImagePullBackOff"))), [""; 0], "it was replaced meanwhile");
        let newest = Sight { pods: vec![pod("u", "ImagePullBackOff")], ..Sight::default() };
        assert_eq!(freed(&newest), [""; 0], "it is of the newest template");
    }
}
