//! The order of a release in a cluster: what waits for what.
//!
//! What lives here: edges between the operations of a release. What does not: which operations there are (`cluster`, `hooks`).
//!
//! The one idea: kinds and weights order whatever says nothing else; a declared dependency takes a resource, what it waits
//! for and what uses it out of the order of kinds, so that a cycle is one that the user wrote.
//!
//! Order: namespaces, definitions, hooks before, resources by weight and within it by kind, deletions, hooks after.
//! Source: Helm's order of kinds, Nelm's weights and dependencies; deletions come last, as in Helm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::cluster_path;
use super::directives::{DeletePolicy, DependencyState, DeployStage, Directives, External};
use super::operation::{Operation, Work};
use super::release::{DesiredResource, Problem};
use super::tracking::{Tracking, Until};
use crate::graph::Dag;

/// How long something outside the release is waited for. Unit: seconds. Source: Nelm.
const EXTERNAL_S: u64 = 300;

/// The gate that what goes, and hooks after, wait for: all is ready.
pub const READY_GATE: &str = "gate:ready";

/// The gate that hooks after wait for: all that goes was deleted, and is gone where something waits for that.
pub const GONE_GATE: &str = "gate:gone";

/// A resource of the release.
pub(super) struct Node<'a> {
    pub resource: &'a DesiredResource,
    pub directives: Directives,
    /// Before, among or after the others.
    pub stage: DeployStage,
    /// 0 for namespaces, 1 for definitions, 2 for the rest.
    pub phase: u8,
    /// Its write, where it changes.
    pub write: Option<Operation>,
    /// Whether it is waited for though nothing is written.
    pub watch: bool,
}

impl Node<'_> {
    fn path(&self) -> String {
        cluster_path(self.resource)
    }
}

/// All that is ordered.
pub(super) struct Parts<'a> {
    /// What everything waits for.
    pub open: String,
    /// In Helm's order of kinds.
    pub nodes: Vec<Node<'a>>,
    pub deletes: Vec<Operation>,
    pub hooks_before: Vec<Operation>,
    pub hooks_after: Vec<Operation>,
    /// The namespace of the release.
    pub namespace: &'a str,
}

/// Orders the operations of a release.
pub(super) fn arrange(mut parts: Parts<'_>) -> (Vec<Operation>, Vec<Problem>) {
    let mut problems = Vec::new();
    let targets = declared_targets(&parts.nodes, &mut problems);
    check_deletions(&parts.nodes, &mut problems);
    let awaits = awaits(&parts.nodes, &targets);
    let free = free_nodes(&parts.nodes, &targets);
    let needs = needs_of_free(&parts, &free, &targets, &awaits);

    let mut line = Line { operations: Vec::new(), needs: vec![parts.open.clone()] };
    let mut externals = externals(&parts);
    for phase in 0..=1 {
        let group = parts.nodes.iter_mut().filter(|n| n.phase == phase).filter_map(|n| n.write.take()).collect();
        line.group(group);
    }
    line.chain(std::mem::take(&mut parts.hooks_before));
    let before = std::mem::take(&mut line.needs);
    line.gate("gate:before all others", before);
    let start = line.needs.clone();

    let mut classes: BTreeMap<(DeployStage, i64), Vec<usize>> = BTreeMap::new();
    let mut unweighted = Vec::new();
    for (i, node) in parts.nodes.iter().enumerate().filter(|(_, n)| n.phase == 2) {
        let depends = !node.directives.dependencies.is_empty() && node.stage == DeployStage::Main;
        if node.write.is_some() && depends {
            unweighted.push(i);
        } else if node.write.is_some() || awaits.contains_key(&i) {
            classes.entry((node.stage, node.directives.weight)).or_default().push(i);
        }
    }
    let last = classes.keys().next_back().copied();
    let mut all: Vec<String> = Vec::new();
    for ((stage, weight), members) in classes {
        let begin = line.needs.clone();
        let mut over = Vec::new();
        let mut group: (String, Vec<Operation>) = Default::default();
        let mut loose = Vec::new();
        for i in members {
            let Some(node) = parts.nodes.get_mut(i) else { continue };
            let written = node.write.as_ref().map(|w| w.id.clone());
            if let Some(mut write) = node.write.take() {
                add_needs(&mut write, externals.needs.remove(&i).unwrap_or_default());
                if free.contains(&i) {
                    add_needs(&mut write, begin.clone());
                    add_needs(&mut write, needs.get(&i).cloned().unwrap_or_default());
                    over.push(write.id.clone());
                    loose.push(write);
                } else {
                    let kind = node.resource.kind.clone();
                    if group.0 != kind {
                        line.group(std::mem::replace(&mut group, (kind, Vec::new())).1);
                    }
                    group.1.push(write);
                }
            }
            let done = after(node, awaits.get(&i), written.map_or_else(|| begin.clone(), |id| vec![id]));
            over.extend(done.iter().map(|o| o.id.clone()));
            loose.extend(done);
        }
        line.group(group.1);
        line.operations.extend(loose);
        if line.needs != begin {
            over.extend(line.needs.clone());
        }
        if Some((stage, weight)) == last {
            all = over;
        } else if !over.is_empty() {
            let before = match stage {
                DeployStage::Pre => "pre-",
                DeployStage::Main => "",
                DeployStage::Post => "post-",
            };
            line.gate(&format!("gate:{before}weight {weight}"), over);
        }
    }
    for i in unweighted {
        let Some(node) = parts.nodes.get_mut(i) else { continue };
        let Some(mut write) = node.write.take() else { continue };
        add_needs(&mut write, start.clone());
        add_needs(&mut write, externals.needs.remove(&i).unwrap_or_default());
        add_needs(&mut write, needs.get(&i).cloned().unwrap_or_default());
        let written = write.id.clone();
        all.push(written.clone());
        line.operations.push(write);
        let done = after(node, awaits.get(&i), vec![written]);
        all.extend(done.iter().map(|o| o.id.clone()));
        line.operations.extend(done);
    }
    if (!parts.deletes.is_empty() || !parts.hooks_after.is_empty()) && !all.is_empty() {
        line.gate(READY_GATE, all);
    }
    line.group(parts.deletes);
    if !parts.hooks_after.is_empty() {
        let deleted = std::mem::take(&mut line.needs);
        line.gate(GONE_GATE, deleted);
    }
    line.chain(parts.hooks_after);
    externals.operations.append(&mut line.operations);
    let operations = externals.operations;
    match in_order(operations, !targets.is_empty()) {
        Ok(operations) => (operations, problems),
        Err((operations, cycle)) => {
            problems.push(cycle);
            (operations, problems)
        }
    }
}

/// Operations one after the other, in groups.
struct Line {
    operations: Vec<Operation>,
    /// What the next group waits for.
    needs: Vec<String>,
}

impl Line {
    /// Operations at once. Many that wait for many wait for a gate, so that edges stay few.
    fn group(&mut self, mut group: Vec<Operation>) {
        let Some(first) = group.first() else { return };
        if group.len() > 1 {
            let before = std::mem::take(&mut self.needs);
            self.gate(&format!("gate:before {}", first.id), before);
        }
        for operation in &mut group {
            let mut needs = self.needs.clone();
            needs.append(&mut operation.needs);
            operation.needs = needs;
        }
        self.needs = group.iter().map(|o| o.id.clone()).collect();
        self.operations.append(&mut group);
    }

    /// Operations that are chained already.
    fn chain(&mut self, mut chain: Vec<Operation>) {
        let Some(first) = chain.first_mut() else { return };
        let mut needs = self.needs.clone();
        needs.append(&mut first.needs);
        first.needs = needs;
        self.needs = chain.last().map(|o| vec![o.id.clone()]).unwrap_or_default();
        self.operations.append(&mut chain);
    }

    /// What comes later waits for all of these.
    fn gate(&mut self, id: &str, mut over: Vec<String>) {
        over.dedup();
        if over.len() > 1 {
            let gate = Operation { id: id.to_owned(), needs: over, guards: Vec::new(), work: Work::Gate };
            self.needs = vec![gate.id.clone()];
            self.operations.push(gate);
        } else {
            self.needs = over;
        }
    }
}

fn add_needs(operation: &mut Operation, needs: Vec<String>) {
    for need in needs {
        if !operation.needs.contains(&need) {
            operation.needs.push(need);
        }
    }
}

/// Says whether there is anything to wait for once a resource is written.
pub(super) fn is_awaited(resource: &DesiredResource) -> bool {
    let group = resource.api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, resource.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "Pod" | "ReplicationController" | "PersistentVolumeClaim")
        | ("apiregistration.k8s.io", "APIService") => true,
        ("", "Service") => resource.data.pointer("/spec/type").is_some_and(|t| t == "LoadBalancer"),
        // Resources of Kubernetes itself are ready when they are there; of others, their controllers say it.
        ("" | "apps" | "batch" | "autoscaling" | "policy" | "extensions", _) => false,
        (group, _) => !group.ends_with(".k8s.io"),
    }
}

/// What a node waits for after its write: that it is ready, and then that it is deleted where it says so.
fn after(node: &Node<'_>, tracking: Option<&Tracking>, needs: Vec<String>) -> Vec<Operation> {
    let path = node.path();
    let address = node.resource.address();
    let Some(tracking) = tracking else { return Vec::new() };
    let operation = |id: String, needs: Vec<String>, work: Work| Operation { id, needs, guards: Vec::new(), work };
    let id = format!("await:{path}");
    let work = Work::AwaitResource { address: address.clone(), path: path.clone(), tracking: tracking.clone() };
    let mut found = vec![operation(id.clone(), needs, work)];
    if node.directives.delete_policies.contains(&DeletePolicy::Succeeded) {
        let work = Work::DeleteResource { address, path: path.clone() };
        found.push(operation(format!("delete:{path}"), vec![id], work));
    }
    found
}

/// For each node with dependencies: the nodes that each of them means.
type Targets = BTreeMap<usize, Vec<(usize, DependencyState)>>;

fn declared_targets(nodes: &[Node<'_>], problems: &mut Vec<Problem>) -> Targets {
    let mut targets: Targets = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| n.write.is_some()) {
        for dependency in &node.directives.dependencies {
            let matches =
                |r: &DesiredResource| dependency.matches(&r.api_version, &r.kind, r.namespace.as_deref(), &r.name);
            let found = nodes.iter().enumerate().filter(|(j, other)| *j != i && matches(other.resource));
            let found: Vec<(usize, DependencyState)> = found.map(|(j, _)| (j, dependency.state)).collect();
            if found.is_empty() {
                problems.push(Problem {
                    address: node.resource.address(),
                    place: node.resource.place.clone(),
                    message: format!("`{}` names nothing of the release", dependency.key),
                });
            }
            targets.entry(i).or_default().extend(found);
        }
    }
    targets
}

/// What is to be gone before another is deleted is checked as long as it can be mended: when it is deployed.
fn check_deletions(nodes: &[Node<'_>], problems: &mut Vec<Problem>) {
    let mut dag = Dag::new(nodes.len());
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| n.write.is_some()) {
        for dependency in &node.directives.delete_dependencies {
            let matches =
                |r: &DesiredResource| dependency.matches(&r.api_version, &r.kind, r.namespace.as_deref(), &r.name);
            let mut found = nodes.iter().enumerate().filter(|(j, other)| *j != i && matches(other.resource)).peekable();
            if found.peek().is_none() {
                problems.push(Problem {
                    address: node.resource.address(),
                    place: node.resource.place.clone(),
                    message: format!("`{}` names nothing of the release", dependency.key),
                });
            }
            found.for_each(|(j, _)| dag.add(j, i));
        }
    }
    let Err(cycle) = dag.order() else { return };
    let found: Vec<&DesiredResource> = cycle.iter().filter_map(|i| nodes.get(*i)).map(|n| n.resource).collect();
    let Some(first) = found.first() else { return };
    let mut names: Vec<String> = found.iter().map(|resource| resource.address()).collect();
    if names.last() != names.first() || names.len() == 1 {
        names.push(first.address());
    }
    problems.push(Problem {
        address: first.address(),
        place: first.place.clone(),
        message: format!("its deletion would wait for itself: {}", names.join(" waits for ")),
    });
}

/// Which nodes are waited for, and how.
fn awaits(nodes: &[Node<'_>], targets: &Targets) -> BTreeMap<usize, Tracking> {
    let is_ready = |(_, state): &&(usize, DependencyState)| *state == DependencyState::Ready;
    let needed: BTreeSet<usize> = targets.values().flatten().filter(is_ready).map(|(i, _)| *i).collect();
    let mut found = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| n.phase == 2) {
        let wanted = node.write.is_some() || node.watch || needed.contains(&i);
        if !wanted || !is_awaited(node.resource) {
            continue;
        }
        // Somebody waits for it to be ready: that is stronger than that it is not tracked.
        let own = node.directives.tracking.clone();
        if let Some(tracking) = own.or_else(|| needed.contains(&i).then(Tracking::default)) {
            let delete_failed = node.directives.delete_policies.contains(&DeletePolicy::Failed);
            found.insert(i, Tracking { delete_failed, ..tracking });
        }
    }
    found
}

/// Nodes that leave the order of kinds: those with dependencies, what these wait for, and whatever uses one of them.
fn free_nodes(nodes: &[Node<'_>], targets: &Targets) -> BTreeSet<usize> {
    let mut free: BTreeSet<usize> = targets.keys().copied().collect();
    free.extend(targets.values().flatten().map(|(i, _)| *i));
    if free.is_empty() {
        return free;
    }
    let users = users(nodes);
    let mut todo: Vec<usize> = free.iter().copied().collect();
    while let Some(used) = todo.pop() {
        for user in users.get(&used).into_iter().flatten() {
            if free.insert(*user) {
                todo.push(*user);
            }
        }
    }
    free
}

/// For each node, those that name it.
fn users(nodes: &[Node<'_>]) -> BTreeMap<usize, Vec<usize>> {
    let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, used) in uses(nodes) {
        for used in used {
            users.entry(used).or_default().push(i);
        }
    }
    users
}

/// For each node, those that it names.
fn uses(nodes: &[Node<'_>]) -> BTreeMap<usize, Vec<usize>> {
    let of = |r: &DesiredResource| (r.kind.clone(), r.namespace.clone().unwrap_or_default(), r.name.clone());
    let index: BTreeMap<_, usize> = nodes.iter().enumerate().map(|(i, n)| (of(n.resource), i)).collect();
    let mut found = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        let namespace = node.resource.namespace.clone().unwrap_or_default();
        let named = references(&node.resource.data);
        let at = |(kind, name): (&str, String)| {
            let cluster = index.get(&(kind.to_owned(), String::new(), name.clone()));
            cluster.or_else(|| index.get(&(kind.to_owned(), namespace.clone(), name))).copied()
        };
        let named: BTreeSet<usize> = named.into_iter().filter_map(at).filter(|j| *j != i).collect();
        found.insert(i, named.into_iter().collect());
    }
    found
}

/// Returns the resources that a manifest names: kind and name.
fn references(data: &Value) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut add = |kind: &'static str, value: Option<&Value>| {
        found.extend(value.and_then(Value::as_str).map(|name| (kind, name.to_owned())));
    };
    let pod = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"];
    let has_pod = |spec: &&Value| spec.get("containers").is_some();
    if let Some(spec) = pod.iter().filter_map(|p| data.pointer(p)).find(has_pod) {
        of_pod(spec, &mut add);
    }
    let list = |pointer: &str| data.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    match data.get("kind").and_then(Value::as_str) {
        Some("StatefulSet") => add("Service", data.pointer("/spec/serviceName")),
        Some("Ingress") => {
            for path in list("/spec/rules").filter_map(|r| r.pointer("/http/paths")?.as_array()).flatten() {
                add("Service", path.pointer("/backend/service/name").or(path.pointer("/backend/serviceName")));
            }
            for tls in list("/spec/tls") {
                add("Secret", tls.get("secretName"));
            }
        }
        Some("RoleBinding" | "ClusterRoleBinding") => {
            let is_cluster = data.pointer("/roleRef/kind").is_some_and(|k| k == "ClusterRole");
            add(if is_cluster { "ClusterRole" } else { "Role" }, data.pointer("/roleRef/name"));
            for subject in list("/subjects").filter(|s| s.get("kind").is_some_and(|k| k == "ServiceAccount")) {
                add("ServiceAccount", subject.get("name"));
            }
        }
        Some("HorizontalPodAutoscaler") => {
            let kinds = ["Deployment", "StatefulSet", "ReplicaSet"];
            let kind = data.pointer("/spec/scaleTargetRef/kind");
            if let Some(kind) = kinds.into_iter().find(|k| kind.is_some_and(|found| found == k)) {
                add(kind, data.pointer("/spec/scaleTargetRef/name"));
            }
        }
        Some(_) | None => {}
    }
    found
}

fn of_pod(spec: &Value, add: &mut impl FnMut(&'static str, Option<&Value>)) {
    let list = |of: &'_ Value, pointer: &str| -> Vec<Value> {
        of.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let is_optional = |source: &Value| source.get("optional").is_some_and(|o| o == true);
    let mut named = |kind: &'static str, source: Option<&Value>, key: &str| {
        let source = source.filter(|s| !is_optional(s));
        add(kind, source.and_then(|s| s.get(key)));
    };
    for key in ["serviceAccountName", "serviceAccount"] {
        named("ServiceAccount", Some(spec), key);
    }
    named("PriorityClass", Some(spec), "priorityClassName");
    for secret in list(spec, "/imagePullSecrets") {
        named("Secret", Some(&secret), "name");
    }
    for containers in ["/containers", "/initContainers"] {
        for container in list(spec, containers) {
            for env in list(&container, "/env") {
                named("ConfigMap", env.pointer("/valueFrom/configMapKeyRef"), "name");
                named("Secret", env.pointer("/valueFrom/secretKeyRef"), "name");
            }
            for source in list(&container, "/envFrom") {
                named("ConfigMap", source.get("configMapRef"), "name");
                named("Secret", source.get("secretRef"), "name");
            }
        }
    }
    for volume in list(spec, "/volumes") {
        named("ConfigMap", volume.get("configMap"), "name");
        named("Secret", volume.get("secret"), "secretName");
        named("PersistentVolumeClaim", volume.get("persistentVolumeClaim"), "claimName");
        for source in list(&volume, "/projected/sources") {
            named("ConfigMap", source.get("configMap"), "name");
            named("Secret", source.get("secret"), "name");
        }
    }
}

/// What each free node waits for: what it declares, and what it names.
fn needs_of_free(
    parts: &Parts<'_>,
    free: &BTreeSet<usize>,
    targets: &Targets,
    awaits: &BTreeMap<usize, Tracking>,
) -> BTreeMap<usize, Vec<String>> {
    if free.is_empty() {
        return BTreeMap::new();
    }
    let written = |i: usize| parts.nodes.get(i).and_then(|n| n.write.as_ref()).map(|w| w.id.clone());
    let ready = |i: usize| {
        let node = parts.nodes.get(i)?;
        if awaits.contains_key(&i) { Some(format!("await:{}", node.path())) } else { written(i) }
    };
    let uses = uses(&parts.nodes);
    let of = |i: &usize| {
        let declared = targets.get(i).into_iter().flatten().filter_map(|(target, state)| match state {
            DependencyState::Ready => ready(*target),
            DependencyState::Present => written(*target),
        });
        let named = uses.get(i).into_iter().flatten().filter_map(|used| written(*used));
        (*i, declared.chain(named).collect())
    };
    free.iter().map(of).collect()
}

/// Operations that wait for what is outside the release.
struct Externals {
    operations: Vec<Operation>,
    /// Which of them each node waits for.
    needs: BTreeMap<usize, Vec<String>>,
}

fn externals(parts: &Parts<'_>) -> Externals {
    let mut found = Externals { operations: Vec::new(), needs: BTreeMap::new() };
    for (i, node) in parts.nodes.iter().enumerate().filter(|(_, n)| n.write.is_some()) {
        for external in &node.directives.external {
            let operation = await_external(external, node.resource, parts);
            found.needs.entry(i).or_default().push(operation.id.clone());
            if found.operations.iter().all(|known| known.id != operation.id) {
                found.operations.push(operation);
            }
        }
    }
    found
}

fn await_external(external: &External, waits: &DesiredResource, parts: &Parts<'_>) -> Operation {
    let namespace = external.namespace.as_deref().or(waits.namespace.as_deref()).unwrap_or(parts.namespace);
    let dot = if external.group.is_empty() { "" } else { "." };
    let path = format!("{namespace}/{}{dot}{}/{}", external.kind, external.group, external.name);
    let until = match external.state {
        DependencyState::Present => Until::Present,
        DependencyState::Ready => Until::Ready,
    };
    let tracking = Tracking { until, timeout_s: Some(EXTERNAL_S), waits: Some(waits.address()), ..Tracking::default() };
    let address = format!("{namespace}/{}/{}", external.kind, external.name);
    Operation {
        id: format!("await:external:{path}"),
        needs: vec![parts.open.clone()],
        guards: Vec::new(),
        work: Work::AwaitResource { address, path, tracking },
    }
}

/// Puts operations behind what they need; a cycle is told by its path.
pub(super) fn in_order(
    operations: Vec<Operation>,
    declared: bool,
) -> Result<Vec<Operation>, (Vec<Operation>, Problem)> {
    if !declared {
        return Ok(operations);
    }
    let index: BTreeMap<&str, usize> = operations.iter().enumerate().map(|(i, o)| (o.id.as_str(), i)).collect();
    let mut dag = Dag::new(operations.len());
    for (i, operation) in operations.iter().enumerate() {
        for needed in operation.needs.iter().filter_map(|id| index.get(id.as_str())) {
            dag.add(*needed, i);
        }
    }
    match dag.order() {
        Ok(order) => {
            let mut slots: Vec<Option<Operation>> = operations.into_iter().map(Some).collect();
            Ok(order.into_iter().filter_map(|i| slots.get_mut(i)?.take()).collect())
        }
        Err(cycle) => {
            let mut names: Vec<&str> = Vec::new();
            for name in cycle.iter().filter_map(|i| operations.get(*i)).filter_map(address) {
                if names.last() != Some(&name) {
                    names.push(name);
                }
            }
            let first = names.first().copied().unwrap_or_default();
            if names.last() != Some(&first) || names.len() == 1 {
                names.push(first);
            }
            let message = format!("its dependencies lead back to it: {}", names.join(" waits for "));
            let problem = Problem { address: first.to_owned(), place: None, message };
            Err((operations, problem))
        }
    }
}

fn address(operation: &Operation) -> Option<&str> {
    match &operation.work {
        Work::WriteResource { address, .. }
        | Work::DeleteResource { address, .. }
        | Work::AwaitResource { address, .. } => Some(address),
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::OpenRelease { .. }
        | Work::RecordRelease { .. }
        | Work::ForgetRelease { .. }
        | Work::RecordHooks { .. }
        | Work::Gate => None,
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::super::directives::{DeployType, read_directives};
    use super::*;
    use serde_json::json;

    fn resource(version: &str, kind: &str, name: &str, annotations: Value, spec: Value) -> DesiredResource {
        DesiredResource {
            api_version: version.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
            text: String::new(),
            data: json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "annotations": annotations}, "spec": spec}),
            hidden: false,
            place: None,
            belongs: true,
        }
    }

    fn deployment(name: &str, annotations: Value) -> DesiredResource {
        resource("apps/v1", "Deployment", name, annotations, json!({}))
    }

    fn map(name: &str, annotations: Value) -> DesiredResource {
        resource("v1", "ConfigMap", name, annotations, json!({}))
    }

    fn job(name: &str, annotations: Value) -> DesiredResource {
        resource("batch/v1", "Job", name, annotations, json!({}))
    }

    fn write(resource: &DesiredResource) -> Operation {
        let path = cluster_path(resource);
        let work = Work::WriteResource {
            address: resource.address(),
            path: path.clone(),
            manifest: None,
            sealed: super::super::Sensitive::default(),
            replace: false,
            adopt: false,
            leaves_replicas: false,
        };
        Operation { id: format!("write:{path}"), needs: Vec::new(), guards: Vec::new(), work }
    }

    fn parts<'a>(resources: &'a [DesiredResource], unchanged: &[&str]) -> Parts<'a> {
        let node = |resource: &'a DesiredResource| Node {
            resource,
            stage: read_directives(&resource.data).0.stage(DeployType::Install).unwrap_or_default(),
            directives: read_directives(&resource.data).0,
            phase: 2,
            write: (!unchanged.contains(&resource.name.as_str())).then(|| write(resource)),
            watch: false,
        };
        Parts {
            open: "open".into(),
            nodes: resources.iter().map(node).collect(),
            deletes: Vec::new(),
            hooks_before: Vec::new(),
            hooks_after: Vec::new(),
            namespace: "shop",
        }
    }

    fn told(operations: &[Operation]) -> Vec<String> {
        let short = |id: &str| id.replace("shop/", "").replace(".apps", "").replace(".batch", "");
        let line = |o: &Operation| {
            let needs: Vec<String> = o.needs.iter().map(|n| short(n)).collect();
            format!("{} <- {}", short(&o.id), needs.join(" "))
        };
        operations.iter().map(line).collect()
    }

    #[test]
    fn weights_follow_each_other_when_all_is_ready() {
        let resources = [
            map("a", json!({"werf.io/weight": "10"})),
            deployment("web", json!({})),
            deployment("db", json!({"werf.io/weight": "-5"})),
            job("load", json!({"werf.io/weight": "-5"})),
        ];
        let (operations, problems) = arrange(parts(&resources, &[]));
        assert_eq!(problems, []);
        assert_eq!(
            told(&operations),
            [
                "write:Deployment/db <- open",
                "write:Job/load <- write:Deployment/db",
                "await:Deployment/db <- write:Deployment/db",
                "await:Job/load <- write:Job/load",
                "gate:weight -5 <- await:Deployment/db await:Job/load write:Job/load",
                "write:Deployment/web <- gate:weight -5",
                "await:Deployment/web <- write:Deployment/web",
                "gate:weight 0 <- await:Deployment/web write:Deployment/web",
                "write:ConfigMap/a <- gate:weight 0",
            ]
        );
    }

    #[test]
    fn stages_follow_each_other_whatever_the_weights() {
        let on = |stage: &str, weight: &str| json!({"werf.io/deploy-on": stage, "werf.io/weight": weight});
        let resources = [
            map("late", on("post-install", "-9")),
            map("main", json!({})),
            map("early", on("pre-install,upgrade", "9")),
        ];
        let (operations, _) = arrange(parts(&resources, &[]));
        assert_eq!(
            told(&operations),
            [
                "write:ConfigMap/early <- open",
                "write:ConfigMap/main <- write:ConfigMap/early",
                "write:ConfigMap/late <- write:ConfigMap/main",
            ]
        );
    }

    #[test]
    fn a_dependency_beats_the_order_of_kinds_and_weights() {
        let waits = json!({"werf.io/deploy-dependency-m": "state=ready,kind=Job,name=m", "werf.io/weight": "-9"});
        let resources = [map("a", waits), deployment("web", json!({})), job("m", json!({}))];
        let mut resources = resources;
        resources[1].data["spec"]["template"]["spec"] =
            json!({"containers": [{"envFrom": [{"configMapRef": {"name": "a"}}]}]});
        let (operations, problems) = arrange(parts(&resources, &[]));
        assert_eq!(problems, []);
        assert_eq!(
            told(&operations),
            [
                "write:Job/m <- open",
                "await:Job/m <- write:Job/m",
                "write:ConfigMap/a <- open await:Job/m",
                "write:Deployment/web <- open write:ConfigMap/a",
                "await:Deployment/web <- write:Deployment/web",
            ]
        );
    }

    #[test]
    fn what_is_there_already_is_looked_at_and_nothing_more() {
        let waits = json!({"werf.io/deploy-dependency-db": "state=ready,kind=StatefulSet,name=db"});
        let resources = [
            deployment("web", waits),
            resource("apps/v1", "StatefulSet", "db", json!({}), json!({})),
            job("x", json!({})),
        ];
        let (operations, _) = arrange(parts(&resources, &["db", "x"]));
        assert_eq!(
            told(&operations),
            [
                "await:StatefulSet/db <- open",
                "write:Deployment/web <- open await:StatefulSet/db",
                "await:Deployment/web <- write:Deployment/web",
            ]
        );
        assert!(arrange(parts(&resources, &["web", "db", "x"])).0.is_empty(), "nobody waits");
    }

    #[test]
    fn a_cycle_is_told_by_its_path_and_a_dependency_on_nothing_too() {
        let on = |kind: &str, name: &str| json!({"werf.io/deploy-dependency-x": format!("state=ready,kind={kind},name={name}")});
        let resources = [map("a", on("Job", "b")), job("b", on("ConfigMap", "a")), map("c", on("Job", "none"))];
        let (_, problems) = arrange(parts(&resources, &[]));
        let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`werf.io/deploy-dependency-x` names nothing of the release",
                "its dependencies lead back to it: shop/ConfigMap/a waits for shop/Job/b waits for shop/ConfigMap/a",
            ]
        );
    }

    #[test]
    fn deletions_that_could_never_be_done_are_told_when_they_are_declared() {
        let on = |kind: &str, name: &str| json!({"werf.io/delete-dependency-x": format!("state=absent,kind={kind},name={name}")});
        let resources = [
            map("a", on("Job", "b")),
            job("b", on("ConfigMap", "a")),
            map("c", on("Job", "none")),
            map("d", on("Job", "b")),
        ];
        let (operations, problems) = arrange(parts(&resources, &[]));
        let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages[0], "`werf.io/delete-dependency-x` names nothing of the release");
        assert!(messages[1].starts_with("its deletion would wait for itself: shop/"), "{messages:?}");
        assert_eq!((messages.len(), operations.len() > 3), (2, true));
        assert_eq!(arrange(parts(&resources, &["a", "b", "c", "d"])).1, [], "what is as it was is not looked at");
    }

    #[test]
    fn others_are_waited_for_once_and_by_name() {
        let external = json!({"auth.external-dependency.werf.io/resource": "deployments.v1.apps/auth",
            "auth.external-dependency.werf.io/namespace": "common"});
        let resources = [deployment("a", external.clone()), deployment("b", external)];
        let (operations, _) = arrange(parts(&resources, &[]));
        assert_eq!(
            told(&operations),
            [
                "await:external:common/deployments/auth <- open",
                "write:Deployment/a <- open await:external:common/deployments/auth",
                "write:Deployment/b <- open await:external:common/deployments/auth",
                "await:Deployment/a <- write:Deployment/a",
                "await:Deployment/b <- write:Deployment/b",
            ]
        );
        let Work::AwaitResource { tracking, .. } = &operations[0].work else { panic!("it is waited for") };
        assert_eq!((tracking.timeout_s, tracking.waits.as_deref()), (Some(300), Some("shop/Deployment/a")));
    }

    #[test]
    fn kinds_follow_each_other_and_those_of_a_kind_go_at_once() {
        let resources = [map("a", json!({})), map("b", json!({})), job("c", json!({})), job("d", json!({}))];
        let (operations, _) = arrange(parts(&resources, &[]));
        assert_eq!(
            told(&operations)[..5],
            [
                "write:ConfigMap/a <- open",
                "write:ConfigMap/b <- open",
                "gate:before write:Job/c <- write:ConfigMap/a write:ConfigMap/b",
                "write:Job/c <- gate:before write:Job/c",
                "write:Job/d <- gate:before write:Job/c",
            ]
        );
    }

    #[test]
    fn what_goes_goes_when_the_rest_is_ready() {
        let resources = [deployment("b", json!({})), job("once", json!({"werf.io/delete-policy": "succeeded"}))];
        let gone = deployment("a", json!({}));
        let delete = Work::DeleteResource { address: gone.address(), path: cluster_path(&gone) };
        let operation = |id: &str, work| Operation { id: id.into(), needs: Vec::new(), guards: Vec::new(), work };
        let mut parts = parts(&resources, &[]);
        parts.deletes = vec![operation("delete:a", delete)];
        parts.hooks_before = vec![operation("hook:before", Work::Gate)];
        parts.hooks_after = vec![operation("hook:after", Work::Gate)];
        let (operations, _) = arrange(parts);
        assert_eq!(
            told(&operations),
            [
                "hook:before <- open",
                "write:Deployment/b <- hook:before",
                "write:Job/once <- write:Deployment/b",
                "await:Deployment/b <- write:Deployment/b",
                "await:Job/once <- write:Job/once",
                "delete:Job/once <- await:Job/once",
                "gate:ready <- await:Deployment/b await:Job/once delete:Job/once write:Job/once",
                "delete:a <- gate:ready",
                "hook:after <- delete:a",
            ]
        );
    }

    #[test]
    fn hooks_after_wait_for_a_gate_of_all_that_goes() {
        let gone = [map("a", json!({})), map("b", json!({}))];
        let operation = |id: &str, work| Operation { id: id.into(), needs: Vec::new(), guards: Vec::new(), work };
        let delete = |r: &DesiredResource| Work::DeleteResource { address: r.address(), path: cluster_path(r) };
        let mut parts = parts(&[], &[]);
        parts.deletes = gone.iter().map(|r| operation(&format!("delete:{}", r.name), delete(r))).collect();
        parts.hooks_after = vec![operation("hook:after", Work::Gate)];
        assert_eq!(
            told(&arrange(parts).0),
            ["delete:a <- open", "delete:b <- open", "gate:gone <- delete:a delete:b", "hook:after <- gate:gone"]
        );
    }
}
