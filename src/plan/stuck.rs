//! Pods that hold a `StatefulSet` up.
//!
//! What lives here: which pods they are, and what a plan says of them. What does not: deleting them, when their `StatefulSet`
//! is waited for (`exec`).
//!
//! The one idea: a `StatefulSet` that replaces its pods in order waits until each is ready, also where a pod is of an older
//! template that never will be (kubernetes#67250). Who changes the template means to mend that pod. So the plan names it, and
//! those alone are deleted that it names, if they are broken still.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::path_of;
use super::model::{ResourceAction, ResourcePlan, Risk, RiskLevel};
use super::operation::Work;
use super::release::ReleaseSection;
use super::tracking::StuckPod;
use crate::observed::{Preview, UnreadyPods};

impl StuckPod {
    /// Reasons for which a container waits that time alone does not mend.
    pub const REASONS: [&str; 12] = [
        "CrashLoopBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PostStartHookError",
    ];
}

/// Says what is wrong with a pod that its node or the scheduler says is broken. One that runs, and is not ready yet, may be
/// busy with its data: it is not.
pub fn broken(pod: &Value) -> Option<String> {
    let conditions = || pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let is = |kind: &str, status: &str| conditions().find(|c| text(c, "/type") == kind && text(c, "/status") == status);
    if !text(pod, "/metadata/deletionTimestamp").is_empty() || is("Ready", "True").is_some() {
        return None;
    }
    if is("PodScheduled", "False").is_some_and(|c| text(c, "/reason") == "Unschedulable") {
        return Some("Unschedulable".to_owned());
    }
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"].map(|list| pod.pointer(list));
    lists.into_iter().flatten().filter_map(Value::as_array).flatten().find_map(|status| {
        let reason = Some(text(status, "/state/waiting/reason")).filter(|reason| StuckPod::REASONS.contains(reason));
        let code = status.pointer("/state/terminated/exitCode").and_then(Value::as_i64).filter(|code| *code != 0);
        let why = reason.map(str::to_owned).or_else(|| code.map(|code| format!("exit code {code}")))?;
        Some(format!("container `{}`: {why}", text(status, "/name")))
    })
}

/// Says whether a container of a pod was ever started: one that waits for its volumes was not.
fn has_started(pod: &Value) -> bool {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"].map(|list| pod.pointer(list));
    let mut statuses = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let states = ["/state/running", "/state/terminated", "/lastState/terminated"];
    statuses.any(|status| states.iter().any(|state| status.pointer(state).is_some()))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> Option<u64> {
    object.pointer(pointer).and_then(Value::as_u64)
}

/// What becomes of a `StatefulSet`, and what it is then.
struct Ordered<'a> {
    plan: &'a ResourcePlan,
    path: String,
    becomes: &'a Value,
    is_awaited: bool,
}

impl Ordered<'_> {
    /// Says whether it replaces a pod: those below the partition stay as they are, and those above the replicas go.
    fn replaces(&self, pod: &Value) -> bool {
        let of = |pointer: &str| number(self.becomes, pointer);
        let name = text(pod, "/metadata/name").strip_prefix(&*self.plan.name).and_then(|rest| rest.strip_prefix('-'));
        let place = name
            .and_then(|n| n.parse::<u64>().ok())
            .and_then(|n| n.checked_sub(of("/spec/ordinals/start").unwrap_or(0)));
        let first = of("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        place.is_some_and(|place| (first..of("/spec/replicas").unwrap_or(1)).contains(&place))
    }

    /// Returns the pods that are not ready and are to be replaced.
    fn held_by<'a>(&'a self, seen: &'a UnreadyPods) -> impl Iterator<Item = &'a Value> {
        // Without another template those of the newest one are what they shall be.
        let newest = seen.newest.iter().filter(|_| self.plan.restart.is_some());
        newest.chain(&seen.older).filter(|pod| self.replaces(pod))
    }
}

/// Returns the `StatefulSet`s that replace their pods in order, and are changed or waited for.
fn ordered<'a>(section: &'a ReleaseSection, previews: &'a BTreeMap<String, Preview>) -> Vec<Ordered<'a>> {
    let awaited: BTreeSet<&str> = section
        .operations
        .iter()
        .filter_map(
            |operation| if let Work::AwaitResource { path, .. } = &operation.work { Some(path.as_str()) } else { None },
        )
        .collect();
    let meant = |plan: &'a ResourcePlan| {
        let path = path_of("apps", &plan.kind, plan.namespace.as_deref(), &plan.name);
        let preview = previews.get(&path)?;
        let becomes = preview.after.as_ref().or(preview.live.as_ref()).filter(|_| preview.live.is_some())?;
        let is_awaited = awaited.contains(path.as_str());
        let changes = plan.action == ResourceAction::Update && plan.restart.is_some();
        let is_in_order = text(becomes, "/spec/podManagementPolicy") != "Parallel"
            && text(becomes, "/spec/updateStrategy/type") != "OnDelete";
        let stays = matches!(plan.action, ResourceAction::Update | ResourceAction::Noop);
        (is_in_order && stays && (is_awaited || changes)).then_some(Ordered { plan, path, becomes, is_awaited })
    };
    let sets = section.resources.iter().filter(|p| p.kind == "StatefulSet" && p.api_version.starts_with("apps/"));
    sets.filter_map(meant).collect()
}

/// Returns the paths of the `StatefulSet`s of which it matters whether pods hold them up: only these are asked about.
pub fn ordered_sets(section: &ReleaseSection, previews: &BTreeMap<String, Preview>) -> BTreeSet<String> {
    ordered(section, previews).into_iter().map(|set| set.path).collect()
}

/// Names the pods that hold `StatefulSet`s up: among the risks, and in the operations that wait, which delete them.
pub fn name_stuck(
    section: &mut ReleaseSection,
    previews: &BTreeMap<String, Preview>,
    seen: &BTreeMap<String, UnreadyPods>,
) {
    let mut stuck: BTreeMap<String, Vec<StuckPod>> = BTreeMap::new();
    let mut risks = Vec::new();
    for set in ordered(section, previews) {
        let Some(seen) = seen.get(&set.path) else { continue };
        for pod in set.held_by(seen) {
            risks.push(risk(&set, pod));
            let of = |pointer: &str| text(pod, pointer).to_owned();
            stuck
                .entry(set.path.clone())
                .or_default()
                .push(StuckPod { name: of("/metadata/name"), uid: of("/metadata/uid") });
        }
    }
    section.risks.extend(risks);
    for operation in &mut section.operations {
        if let Work::AwaitResource { path, tracking, .. } = &mut operation.work
            && let Some(pods) = stuck.remove(path)
        {
            tracking.stuck = pods;
        }
    }
}

fn risk(set: &Ordered<'_>, pod: &Value) -> Risk {
    let (name, namespace) = (text(pod, "/metadata/name"), text(pod, "/metadata/namespace"));
    let why = broken(pod);
    let is = why.as_ref().map_or_else(|| "is not ready".to_owned(), |why| format!("is broken ({why})"));
    let held = format!("pod {name} {is}, and a StatefulSet replaces no pod that is not ready");
    let meanwhile = if has_started(pod) { "while it runs" } else { "while none of its containers was started" };
    let by_hand = format!("kubectl delete pod {name} -n {namespace}");
    let cure = match (set.is_awaited, &why) {
        (false, _) => format!("nobody waits for it, so delete it once it is applied: {by_hand}"),
        (true, Some(_)) => {
            "apply deletes it once the change is seen, if it is broken still; its claims stay".to_owned()
        }
        (true, None) => format!(
            "apply deletes it once the change is seen if it is broken then, and its claims stay; {meanwhile}, only {by_hand} replaces it"
        ),
    };
    Risk {
        code: "stuck-pod".to_owned(),
        level: if why.is_some() { RiskLevel::Warning } else { RiskLevel::Info },
        address: set.plan.address(),
        path: None,
        message: format!("{held}: {cure}"),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::super::model::Restart;
    use super::super::operation::Operation;
    use super::super::release::{RecordedResource, deleted};
    use super::super::tracking::Tracking;
    use super::*;
    use serde_json::json;

    const PATH: &str = "shop/StatefulSet.apps/db";

    fn pod(name: &str, state: Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("uid of {name}")},
            "status": {"containerStatuses": [{"name": "db", "state": state}]}})
    }

    fn waits(name: &str) -> Value {
        pod(name, json!({"waiting": {"reason": "ImagePullBackOff"}}))
    }

    fn section(restarts: bool, is_awaited: bool) -> ReleaseSection {
        let recorded = RecordedResource { address: "shop/StatefulSet/db".into(), digest: String::new() };
        let restart = Restart { pods: Some(3), of: Some(3), strategy: "RollingUpdate".into(), downtime: false };
        let plan = ResourcePlan {
            api_version: "apps/v1".into(),
            action: if restarts { ResourceAction::Update } else { ResourceAction::Noop },
            restart: restarts.then_some(restart),
            ..deleted(&recorded, &Value::Null)
        };
        let work = Work::AwaitResource { address: plan.address(), path: PATH.into(), tracking: Tracking::default() };
        let wait = Operation { id: "await".into(), needs: Vec::new(), guards: Vec::new(), work };
        let operations = is_awaited.then_some(wait).into_iter().collect();
        ReleaseSection { resources: vec![plan], operations, ..ReleaseSection::default() }
    }

    fn previews(spec: Value) -> BTreeMap<String, Preview> {
        let object = Some(json!({"spec": spec}));
        BTreeMap::from([(PATH.to_owned(), Preview { live: object.clone(), after: object, ..Preview::default() })])
    }

    fn named(section: &mut ReleaseSection, spec: Value, seen: UnreadyPods) -> (Vec<String>, Vec<(RiskLevel, String)>) {
        name_stuck(section, &previews(spec), &BTreeMap::from([(PATH.to_owned(), seen)]));
        let of = |operation: &Operation| -> Vec<String> {
            let Work::AwaitResource { tracking, .. } = &operation.work else { panic!("{operation:?}") };
            tracking.stuck.iter().map(|pod| pod.name.clone()).collect()
        };
        let names = section.operations.first().map(of).unwrap_or_default();
        (names, section.risks.iter().map(|risk| (risk.level, risk.message.clone())).collect())
    }

    #[test]
    fn what_is_broken_is_told_from_what_may_yet_be_ready() {
        assert_eq!(broken(&waits("db-0")).as_deref(), Some("container `db`: ImagePullBackOff"));
        let unsigned = pod("db-0", json!({"waiting": {"reason": "SignatureValidationFailed"}}));
        assert_eq!(broken(&unsigned).as_deref(), Some("container `db`: SignatureValidationFailed"));
        let ended = |code: u32| broken(&pod("db-0", json!({"terminated": {"exitCode": code}})));
        assert_eq!((ended(7).as_deref(), ended(0)), (Some("container `db`: exit code 7"), None));
        assert_eq!(broken(&pod("db-0", json!({"running": {}}))), None, "it may be busy with its data");
        assert_eq!(broken(&pod("db-0", json!({"waiting": {"reason": "ContainerCreating"}}))), None);
        let with = |condition: Value| {
            let mut pod = waits("db-0");
            pod["status"]["conditions"] = json!([condition]);
            broken(&pod)
        };
        assert_eq!(with(json!({"type": "Ready", "status": "True"})), None);
        let lost = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        assert_eq!(with(lost).as_deref(), Some("Unschedulable"));
        let mut going = waits("db-0");
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(broken(&going), None);
    }

    #[test]
    fn a_broken_pod_is_named_where_its_set_is_waited_for_and_by_hand_where_it_is_not() {
        let seen = || UnreadyPods { newest: vec![waits("db-2")], older: Vec::new() };
        let (names, told) = named(&mut section(true, true), json!({"replicas": 3}), seen());
        let is = "pod db-2 is broken (container `db`: ImagePullBackOff), and a StatefulSet replaces no pod that is not ready";
        let cure = "apply deletes it once the change is seen, if it is broken still; its claims stay";
        assert_eq!((names, told), (vec!["db-2".to_owned()], vec![(RiskLevel::Warning, format!("{is}: {cure}"))]));
        let (names, told) = named(&mut section(true, false), json!({"replicas": 3}), seen());
        assert!(names.is_empty() && told[0].1.ends_with("kubectl delete pod db-2 -n shop"), "{told:?}");
        let runs = UnreadyPods { newest: vec![pod("db-2", json!({"running": {}}))], older: Vec::new() };
        let (names, told) = named(&mut section(true, true), json!({"replicas": 3}), runs);
        assert_eq!((names.len(), told[0].0), (1, RiskLevel::Info), "it may break");
        assert!(told[0].1.contains("; while it runs, only"), "{told:?}");
        let begins = pod("db-2", json!({"waiting": {"reason": "ContainerCreating"}}));
        let begins = UnreadyPods { newest: vec![begins], older: Vec::new() };
        let (_, told) = named(&mut section(true, true), json!({"replicas": 3}), begins);
        assert!(told[0].1.contains("; while none of its containers was started, only"), "{told:?}");
    }

    #[test]
    fn only_pods_that_are_replaced_hold_a_set_up() {
        let seen =
            || UnreadyPods { newest: ["db-0", "db-2", "db-5", "db-x"].map(waits).to_vec(), older: vec![waits("db-1")] };
        let names = |section: &mut ReleaseSection, spec: Value| named(section, spec, seen()).0;
        assert_eq!(names(&mut section(true, true), json!({"replicas": 3})), ["db-0", "db-2", "db-1"]);
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        assert_eq!(
            names(&mut section(true, true), json!({"replicas": 3, "updateStrategy": strategy})),
            ["db-2", "db-1"]
        );
        let from_two = json!({"replicas": 3, "ordinals": {"start": 2}});
        assert_eq!(names(&mut section(true, true), from_two), ["db-2"], "the fifth is no more");
        assert_eq!(
            names(&mut section(false, true), json!({"replicas": 3})),
            ["db-1"],
            "the newest are as they shall be"
        );
        for spec in [json!({"podManagementPolicy": "Parallel"}), json!({"updateStrategy": {"type": "OnDelete"}})] {
            assert!(ordered_sets(&section(true, true), &previews(spec)).is_empty());
        }
        assert!(ordered_sets(&section(false, false), &previews(json!({}))).is_empty(), "nobody asks");
    }
}
