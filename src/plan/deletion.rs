//! Deletions that wait for others: `werf.io/delete-dependency-ID`.
//!
//! The one idea: what goes is what a record or a live object says, which nobody can mend any more. What of it means nothing,
//! or leads back to itself, counts as not written; of what is deployed now it is a fault (`order`). Source: Nelm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::directives::{Dependency, read_directives};
use super::model::ResourcePlan;
use super::operation::{Operation, Work};
use super::tracking::{Tracking, Until};
use crate::graph::Dag;

/// How long an object may take until it is gone that another deletion waits for. Unit: seconds.
pub(super) const GONE_S: u64 = 300;

/// A resource that is deleted.
pub(super) struct Going {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    /// What must be gone before.
    after: Vec<Dependency>,
}

impl Going {
    /// Reads what the record and the live object say of a resource.
    pub fn new(plan: &ResourcePlan, recorded: Option<&Value>, live: Option<&Value>) -> Self {
        let said = [recorded, live].into_iter().flatten();
        let mut after: Vec<Dependency> = said.flat_map(|data| read_directives(data).0.delete_dependencies).collect();
        after.dedup();
        Self {
            api_version: plan.api_version.clone(),
            kind: plan.kind.clone(),
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            after,
        }
    }
}

/// Returns the resources in the order in which they may go, and for each of them those that must be gone before.
pub(super) fn turns(going: &[Going]) -> (Vec<usize>, BTreeMap<usize, Vec<usize>>) {
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, holder) in going.iter().enumerate().filter(|(_, g)| !g.after.is_empty()) {
        let is_meant = |other: &Going| {
            let (namespace, name) = (other.namespace.as_deref(), &*other.name);
            holder.after.iter().any(|d| d.matches(&other.api_version, &other.kind, namespace, name))
        };
        let found: Vec<usize> =
            going.iter().enumerate().filter(|(j, other)| *j != i && is_meant(other)).map(|(j, _)| j).collect();
        if !found.is_empty() {
            after.insert(i, found);
        }
    }
    loop {
        let mut dag = Dag::new(going.len());
        for (i, before) in &after {
            before.iter().for_each(|j| dag.add(*j, *i));
        }
        match dag.order() {
            Ok(order) => return (order, after),
            // Who waits for itself waits for nothing of it; each round takes edges away.
            Err(cycle) => {
                for i in &cycle {
                    if let Some(before) = after.get_mut(i) {
                        before.retain(|j| !cycle.contains(j));
                    }
                }
            }
        }
    }
}

/// What is deleted besides waits for it: operators are there until what they keep is gone.
const CUSTOM_GATE: &str = "gate:gone custom resources";

/// Returns those that go before all others: resources of others, whose finalizers somebody has to answer. None where one of
/// them waits for something else.
fn first_of(going: &[Going], after: &BTreeMap<usize, Vec<usize>>) -> BTreeSet<usize> {
    let is_custom = |going: &Going| {
        let group = going.api_version.split_once('/').map_or("", |(group, _)| group);
        group.contains('.') && !group.ends_with(".k8s.io")
    };
    let custom: BTreeSet<usize> =
        going.iter().enumerate().filter(|(_, going)| is_custom(going)).map(|(i, _)| i).collect();
    let waits = |i: &usize| after.get(i).is_some_and(|before| before.iter().any(|j| !custom.contains(j)));
    if custom.len() == going.len() || custom.iter().any(waits) { BTreeSet::new() } else { custom }
}

/// Puts deletions behind what they wait for; `going` tells of each of them.
pub(super) fn in_turn(deletes: Vec<Operation>, going: &[Going]) -> Vec<Operation> {
    let (order, after) = turns(going);
    let first = first_of(going, &after);
    if after.is_empty() && first.is_empty() {
        return deletes;
    }
    let (early, late): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|i| first.contains(i));
    let gate = early.len();
    let order = early.into_iter().chain(late);
    let ids: Vec<String> = deletes.iter().map(gone_id).collect();
    let mut slots: Vec<Option<Operation>> = deletes.into_iter().map(Some).collect();
    let mut found = Vec::new();
    for (turn, i) in order.enumerate() {
        if turn == gate && gate > 0 {
            let needs = first.iter().filter_map(|i| ids.get(*i).cloned()).collect();
            found.push(Operation { id: CUSTOM_GATE.into(), needs, guards: Vec::new(), work: Work::Gate });
        }
        let Some(mut delete) = slots.get_mut(i).and_then(Option::take) else { continue };
        delete.needs.extend(after.get(&i).into_iter().flatten().filter_map(|j| ids.get(*j).cloned()));
        if turn >= gate && gate > 0 {
            delete.needs.push(CUSTOM_GATE.into());
        }
        let is_waited_for = first.contains(&i) || after.values().flatten().any(|j| *j == i);
        let gone = is_waited_for.then(|| gone(&delete)).flatten();
        found.push(delete);
        found.extend(gone);
    }
    found
}

fn gone_id(delete: &Operation) -> String {
    let path = if let Work::DeleteResource { path, .. } = &delete.work { path } else { &delete.id };
    format!("gone:{path}")
}

/// Returns what waits until something that is deleted is gone.
pub(super) fn gone(delete: &Operation) -> Option<Operation> {
    let Work::DeleteResource { address, path } = &delete.work else { return None };
    let tracking = Tracking { until: Until::Gone, timeout_s: Some(GONE_S), ..Tracking::default() };
    let work = Work::AwaitResource { address: address.clone(), path: path.clone(), tracking };
    Some(Operation { id: gone_id(delete), needs: vec![delete.id.clone()], guards: Vec::new(), work })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::super::release::{RecordedResource, deleted};
    use super::*;
    use serde_json::json;

    fn going(kind: &str, name: &str, recorded: &[&str], live: Value) -> (Operation, Going) {
        let address = format!("shop/{kind}/{name}");
        let annotations: BTreeMap<String, &str> =
            recorded.iter().enumerate().map(|(n, text)| (format!("werf.io/delete-dependency-{n}"), *text)).collect();
        let recorded = json!({"metadata": {"annotations": annotations}});
        let plan = deleted(&RecordedResource { address: address.clone(), digest: String::new() }, &Value::Null);
        let plan = ResourcePlan { api_version: "v1".into(), ..plan };
        let work = Work::DeleteResource { address: address.clone(), path: address.clone() };
        let delete = Operation { id: format!("delete:{address}"), needs: Vec::new(), guards: Vec::new(), work };
        (delete, Going::new(&plan, Some(&recorded), Some(&live)))
    }

    #[test]
    fn an_operator_is_there_until_what_it_keeps_is_gone() {
        let of = |version: &str, kind: &str, name: &str, recorded: &[&str]| {
            let (delete, mut going) = going(kind, name, recorded, Value::Null);
            going.api_version = version.into();
            (delete, going)
        };
        let all = || {
            vec![
                of("apps/v1", "Deployment", "operator", &[]),
                of("kafka.example.org/v1", "Kafka", "k", &[]),
                of("rbac.authorization.k8s.io/v1", "Role", "r", &[]),
            ]
        };
        assert_eq!(
            told(all()),
            [
                "delete:shop/Kafka/k <- ",
                "gone:shop/Kafka/k <- delete:shop/Kafka/k",
                "gate:gone custom resources <- gone:shop/Kafka/k",
                "delete:shop/Deployment/operator <- gate:gone custom resources",
                "delete:shop/Role/r <- gate:gone custom resources",
            ]
        );
        // Who says otherwise is heard; and what stands alone waits for nobody.
        let mut said = all();
        said[1] = of("kafka.example.org/v1", "Kafka", "k", &["state=absent,kind=Role,name=r"]);
        assert!(!told(said).iter().any(|line| line.contains("custom")));
        assert_eq!(told(vec![all().swap_remove(1)]), ["delete:shop/Kafka/k <- "]);
    }

    fn told(all: Vec<(Operation, Going)>) -> Vec<String> {
        let (deletes, going): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let line = |o: &Operation| format!("{} <- {}", o.id, o.needs.join(" ")).replace("shop/ConfigMap/", "");
        in_turn(deletes, &going).iter().map(line).collect()
    }

    #[test]
    fn a_deletion_waits_until_what_it_names_is_gone() {
        let on = |name: &str| format!("state=absent,kind=ConfigMap,name={name}");
        let all = vec![
            going("ConfigMap", "a", &[&on("b"), &on("none")], Value::Null),
            going("ConfigMap", "b", &[], Value::Null),
            going("ConfigMap", "c", &[], Value::Null),
        ];
        let lines = told(all);
        let at = |line: &str| lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("{line}: {lines:?}"));
        assert!(at("delete:b <- ") < at("gone:b <- delete:b") && at("gone:b <- delete:b") < at("delete:a <- gone:b"));
        assert_eq!((lines.len(), at("delete:c <- ") < 4), (4, true));
    }

    #[test]
    fn what_a_live_object_says_never_holds_anything_up() {
        let hostile = |text: &str| json!({"metadata": {"annotations": {"werf.io/delete-dependency-x": text}}});
        let all = vec![
            going("ConfigMap", "a", &[], hostile("state=absent,kind=ConfigMap")),
            going("ConfigMap", "b", &[], hostile("state=absent,kind=ConfigMap")),
            going("ConfigMap", "c", &[], hostile("state=never,,=,\"")),
            going("ConfigMap", "d", &[], hostile("state=ready,name=a")),
        ];
        let lines = told(all);
        let deletes = lines.iter().filter(|line| line.starts_with("delete:")).count();
        assert_eq!(deletes, 4, "{lines:?}");
        let waits = |name: &str| lines.iter().any(|line| line.starts_with(&format!("delete:{name} <- gone")));
        assert!(
            !(waits("a")
                && waits("b")
                && lines.iter().any(|l| l.starts_with("delete:a <- ") && l.contains("gone:b"))
                && lines.iter().any(|l| l.starts_with("delete:b <- ") && l.contains("gone:a")))
        );
        assert!(!waits("c") && !waits("d"), "{lines:?}");
    }
}
