//! What is planned is what is written, by the API server's own account; and a plan for a cluster that changed meanwhile
//! writes nothing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Deploy, Ground, is_lock};
use crate::services::Cluster;

/// A kind, what of it changes in place, and what does not.
struct Kind {
    /// `KIND.GROUP`, as paths of plans write it.
    path: &'static str,
    /// API version and plural, as addresses write it.
    address: &'static str,
    /// Whether its objects have namespaces.
    namespaced: bool,
    /// The manifest, but for its name.
    manifest: &'static str,
    /// A change in place.
    update: (&'static str, &'static str),
    /// A change that is none in place.
    replace: Option<(&'static str, &'static str)>,
}

const fn kind(
    path: &'static str,
    address: &'static str,
    manifest: &'static str,
    update: (&'static str, &'static str),
    replace: Option<(&'static str, &'static str)>,
) -> Kind {
    Kind { path, address, namespaced: true, manifest, update, replace }
}

const fn of_cluster(kind: &Kind) -> Kind {
    Kind { namespaced: false, ..*kind }
}

/// The first is the kind of which there is always one.
const KINDS: [Kind; 26] = [
    kind("ConfigMap", "api/v1/configmaps", "data: {a: '1', b: '2'}\nimmutable: false", ("a: '1'", "c: '1'"), None),
    kind(
        "Secret",
        "api/v1/secrets",
        "stringData: {a: hidden-one}\ntype: Opaque",
        ("one", "two"),
        Some(("Opaque", "example.org/other")),
    ),
    kind(
        "Service",
        "api/v1/services",
        "spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80, name: a}, {port: 81, name: b}]}",
        ("{port: 81, name: b}", "{port: 82, name: c}"),
        None,
    ),
    kind(
        "Deployment.apps",
        "apis/apps/v1/deployments",
        "spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: a, image: 'a:1', env: [{name: X, value: '1'}]}]}}}",
        ("image: 'a:1', env: [{name: X, value: '1'}]", "image: 'a:2'"),
        Some(("matchLabels: {a: b}", "matchLabels: {c: d}")),
    ),
    kind(
        "StatefulSet.apps",
        "apis/apps/v1/statefulsets",
        "spec: {serviceName: a, replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'a:1'}]}}}",
        ("a:1", "a:2"),
        Some(("serviceName: a", "serviceName: b")),
    ),
    kind(
        "DaemonSet.apps",
        "apis/apps/v1/daemonsets",
        "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, c: d}}, spec: {nodeSelector: {none: such}, containers: [{name: a, image: 'a:1'}]}}}",
        ("a:1", "a:2"),
        Some(("matchLabels: {a: b}", "matchLabels: {c: d}")),
    ),
    kind(
        "ReplicaSet.apps",
        "apis/apps/v1/replicasets",
        "spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'a:1'}]}}}",
        ("a:1", "a:2"),
        None,
    ),
    kind(
        "Job.batch",
        "apis/batch/v1/jobs",
        "spec: {parallelism: 0, backoffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: a, image: 'a:1'}]}}}",
        ("backoffLimit: 1", "backoffLimit: 2"),
        Some(("a:1", "a:2")),
    ),
    kind(
        "CronJob.batch",
        "apis/batch/v1beta1/cronjobs",
        "spec: {schedule: '0 0 1 1 *', suspend: true, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: 'a:1'}]}}}}}",
        ("0 0 1 1 *", "0 0 2 1 *"),
        None,
    ),
    kind(
        "Ingress.networking.k8s.io",
        "apis/networking.k8s.io/v1/ingresses",
        "spec: {rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}}]}",
        ("a.example", "b.example"),
        None,
    ),
    kind(
        "NetworkPolicy.networking.k8s.io",
        "apis/networking.k8s.io/v1/networkpolicies",
        "spec: {podSelector: {matchLabels: {a: b}}, policyTypes: [Ingress]}",
        ("{a: b}", "{a: c}"),
        None,
    ),
    kind("ServiceAccount", "api/v1/serviceaccounts", "automountServiceAccountToken: false", ("false", "true"), None),
    kind(
        "Role.rbac.authorization.k8s.io",
        "apis/rbac.authorization.k8s.io/v1/roles",
        "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]",
        ("verbs: [get]", "verbs: [get, list]"),
        None,
    ),
    kind(
        "RoleBinding.rbac.authorization.k8s.io",
        "apis/rbac.authorization.k8s.io/v1/rolebindings",
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}\nsubjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: me}]",
        ("name: me", "name: you"),
        Some(("kind: Role, name: a", "kind: Role, name: b")),
    ),
    kind(
        "PersistentVolumeClaim",
        "api/v1/persistentvolumeclaims",
        "spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}",
        ("spec:", "# labelled\nspec:"),
        Some(("ReadWriteOnce", "ReadWriteMany")),
    ),
    kind("ResourceQuota", "api/v1/resourcequotas", "spec: {hard: {pods: '100'}}", ("'100'", "'101'"), None),
    kind(
        "LimitRange",
        "api/v1/limitranges",
        "spec: {limits: [{type: Container, max: {cpu: '100'}}]}",
        ("'100'", "'101'"),
        None,
    ),
    kind(
        "Endpoints",
        "api/v1/endpoints",
        "subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 1}]}]",
        ("192.0.2.1", "192.0.2.2"),
        None,
    ),
    kind(
        "HorizontalPodAutoscaler.autoscaling",
        "apis/autoscaling/v1/horizontalpodautoscalers",
        "spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}}",
        ("maxReplicas: 2", "maxReplicas: 3"),
        None,
    ),
    kind(
        "PodDisruptionBudget.policy",
        "apis/policy/v1beta1/poddisruptionbudgets",
        "spec: {minAvailable: 1, selector: {matchLabels: {none: such}}}",
        ("minAvailable: 1", "minAvailable: 2"),
        None,
    ),
    kind(
        "Lease.coordination.k8s.io",
        "apis/coordination.k8s.io/v1/leases",
        "spec: {holderIdentity: a}",
        ("holderIdentity: a", "holderIdentity: b"),
        None,
    ),
    of_cluster(&kind(
        "ClusterRole.rbac.authorization.k8s.io",
        "apis/rbac.authorization.k8s.io/v1/clusterroles",
        "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]",
        ("verbs: [get]", "verbs: [list]"),
        None,
    )),
    of_cluster(&kind(
        "ClusterRoleBinding.rbac.authorization.k8s.io",
        "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a}\nsubjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: me}]",
        ("name: me", "name: you"),
        Some(("kind: ClusterRole, name: a", "kind: ClusterRole, name: b")),
    )),
    of_cluster(&kind(
        "StorageClass.storage.k8s.io",
        "apis/storage.k8s.io/v1/storageclasses",
        "provisioner: example.org/none\nparameters: {a: b}\nallowVolumeExpansion: false",
        ("allowVolumeExpansion: false", "allowVolumeExpansion: true"),
        Some(("{a: b}", "{a: c}")),
    )),
    of_cluster(&kind(
        "PriorityClass.scheduling.k8s.io",
        "apis/scheduling.k8s.io/v1/priorityclasses",
        "value: 10\ndescription: one",
        ("description: one", "description: two"),
        Some(("value: 10", "value: 11")),
    )),
    of_cluster(&kind("Namespace", "api/v1/namespaces", "# nothing", ("# nothing", "# labelled"), None)),
];

impl Kind {
    fn name(&self) -> String {
        self.path.split('.').next().unwrap().to_lowercase()
    }

    /// Cluster-scoped names hold the namespace, so that tests do not meet.
    fn object(&self, namespace: &str) -> String {
        format!("{namespace}-{}", self.name())
    }

    fn text(&self, namespace: &str, body: &str) -> String {
        let (version, _) = self.address.split_once('/').unwrap().1.rsplit_once('/').unwrap();
        let mut more = if body.contains("# labelled") { "\n  labels: {new: label}" } else { "" }.to_owned();
        if ["StatefulSet.apps", "PersistentVolumeClaim"].contains(&self.path) {
            // What holds data is replaced only where that is allowed.
            more += "\n  annotations: {werf.io/delete-policy: before-creation-if-immutable}";
        }
        let kind = self.path.split('.').next().unwrap();
        format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}{more}\n{body}\n", self.object(namespace))
    }

    fn updated(&self) -> String {
        assert!(self.manifest.contains(self.update.0), "{}", self.path);
        self.manifest.replacen(self.update.0, self.update.1, 1)
    }

    fn address(&self, namespace: &str, name: &str) -> String {
        let (root, plural) = self.address.rsplit_once('/').unwrap();
        let within = if self.namespaced { format!("namespaces/{namespace}/") } else { String::new() };
        format!("/{root}/{within}{plural}/{name}")
    }
}

/// The address of a path of a plan.
pub(super) fn address_of(path: &str) -> String {
    let mut parts = path.splitn(3, '/');
    let (namespace, kind, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    if let Some(known) = KINDS.iter().find(|k| k.path == kind) {
        return known.address(namespace, name);
    }
    let within = if namespace == "-" { String::new() } else { format!("namespaces/{namespace}/") };
    match kind.split_once('.') {
        Some(("CustomResourceDefinition", group)) => format!("/apis/{group}/v1/customresourcedefinitions/{name}"),
        Some(("Gadget", group)) => format!("/apis/{group}/v1/{within}gadgets/{name}"),
        _ => panic!("{path}"),
    }
}

/// The writes that a plan announces, in any order.
fn announced(plan: &Value, namespace: &str, deployed: Option<u64>) -> Vec<String> {
    let mut found = Vec::new();
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let record = |revision: u64| format!("{secrets}/sh.helm.release.v1.shop.v{revision}");
    for operation in plan["operations"].as_array().unwrap() {
        let work = &operation["work"];
        let address = || address_of(work["path"].as_str().unwrap());
        let is = |flag: &str| work[flag] == true;
        match work["action"].as_str().unwrap() {
            "write_resource" => {
                found.extend(is("replace").then(|| format!("delete {}", address())));
                found.extend(is("adopt").then(|| format!("patch {}", address())));
                found.push(format!("patch {}", address()));
            }
            "delete_resource" => found.push(format!("delete {}", address())),
            "open_release" => found.push(format!("create {secrets}")),
            "record_release" => {
                let revision = work["revision"].as_u64().unwrap();
                found.push(format!("update {}", record(revision)));
                found.extend(deployed.map(|old| format!("update {}", record(old))));
                found.extend(
                    revision.checked_sub(10).filter(|old| *old > 0).map(|old| format!("delete {}", record(old))),
                );
            }
            // Nothing is written while something is waited for.
            "await_resource" | "gate" => {}
            other => panic!("{other}"),
        }
    }
    found.sort();
    found
}

/// A project of which each step is planned, saved, applied and counted.
pub(super) struct Steps {
    pub(super) deploy: Deploy,
    pub(super) cluster: &'static Cluster,
    /// All writes so far that were announced.
    pub(super) expected: Vec<String>,
    deployed: Option<u64>,
    pub(super) count: usize,
}

impl Steps {
    pub(super) fn new(cluster: &'static Cluster, namespace: &str) -> Self {
        let deploy = Deploy::bare(namespace, Ground::Real(cluster));
        Self { deploy, cluster, expected: Vec::new(), deployed: None, count: 0 }
    }

    /// The writes that the API server saw of the program in this namespace.
    pub(super) fn written(&self) -> Vec<String> {
        let namespace = &self.deploy.namespace;
        let is_mine = |address: &str| {
            address.split(['/', '?']).any(|word| word == namespace || word.starts_with(&format!("{namespace}-")))
                || address.contains(&format!(".{namespace}.example"))
        };
        let all = self.cluster.writes().into_iter();
        // A lock is no operation: it is taken and given back around them.
        let mine = all.filter(|(verb, address)| is_mine(address) && !is_lock(verb, address));
        let mut found: Vec<String> =
            mine.map(|(verb, address)| format!("{verb} {}", address.split('?').next().unwrap())).collect();
        found.sort();
        found
    }

    /// The account of a request comes a moment after its answer.
    pub(super) fn assert_written(&self, what: &str) {
        let start = std::time::Instant::now();
        while self.written() != self.expected && start.elapsed().as_secs() < 10 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(self.written(), self.expected, "{what}");
    }

    /// Plans and saves; each plan is as the published schema says (S84).
    pub(super) fn plan(&self, what: &str) -> Value {
        self.deploy.sandbox.commit(what);
        let plan = self.deploy.run(0, &["plan", "--out", "shop.plan", "-o", "json"]).out;
        let plan = serde_json::from_str(&plan).unwrap();
        super::scenarios::assert_published(&plan);
        plan
    }

    /// Plans, applies the saved plan, and compares what was written with what was announced.
    fn step(&mut self, what: &str, expected: &[(&str, &str)]) {
        let plan = self.plan(what);
        let actions: Vec<(&str, &str)> = plan["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| (r["action"].as_str().unwrap(), r["kind"].as_str().unwrap()))
            .filter(|(action, _)| *action != "noop")
            .collect();
        for action in expected {
            assert!(actions.contains(action), "{what}: {action:?} is not planned: {actions:?}");
        }
        assert_eq!(actions.len(), expected.len(), "{what}: {actions:?}\n{:#}", plan["resources"]);
        self.assert_written(&format!("planning writes nothing: {what}"));
        self.deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
        let announced = announced(&plan, &self.deploy.namespace, self.deployed);
        assert!(!announced.is_empty(), "{what}");
        self.expected.extend(announced);
        self.expected.sort();
        self.assert_written(what);
        self.deployed = plan["operations"].as_array().unwrap().last().unwrap()["work"]["revision"].as_u64();
        self.deploy.assert_no_changes();
        self.count += 1;
    }

    fn write(&self, kind: &Kind, body: &str) {
        let text = kind.text(&self.deploy.namespace, body);
        self.deploy.sandbox.write(&format!(".helm/templates/{}.yaml", kind.name()), &text);
    }

    fn remove(&self, kind: &Kind) {
        let file = self.deploy.sandbox.project().join(format!(".helm/templates/{}.yaml", kind.name()));
        std::fs::remove_file(file).unwrap();
    }
}

fn word(kind: &Kind) -> &'static str {
    kind.path.split('.').next().unwrap()
}

/// Runs tasks on several threads, and returns what they return.
fn in_parallel<T: Send>(tasks: Vec<Box<dyn FnOnce() -> T + Send + '_>>) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn what_is_planned_is_what_the_server_saw() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut tasks: Vec<Box<dyn FnOnce() -> usize + Send>> = Vec::new();
    for (n, kinds) in KINDS.chunks(9).enumerate() {
        tasks.push(Box::new(move || one_after_the_other(cluster, &format!("exact{n}"), kinds)));
    }
    tasks.push(Box::new(move || many_at_once(cluster)));
    let steps: usize = in_parallel(tasks).iter().sum();
    assert!(steps >= 40, "{steps} scenarios");
}

/// Each kind is created, changed, replaced where that is possible, and deleted; the next begins as the last one goes.
fn one_after_the_other(cluster: &'static Cluster, namespace: &str, kinds: &[Kind]) -> usize {
    let mut steps = Steps::new(cluster, namespace);
    let mut last: Option<&Kind> = None;
    for kind in kinds {
        steps.write(kind, kind.manifest);
        let mut expected = vec![("create", word(kind))];
        if steps.count == 0 {
            expected.push(("create", "Namespace"));
        }
        if let Some(last) = last {
            steps.remove(last);
            expected.push(("delete", word(last)));
        }
        steps.step(&format!("create {}", kind.path), &expected);
        steps.write(kind, &kind.updated());
        steps.step(&format!("update {}", kind.path), &[("update", word(kind))]);
        if let Some((old, new)) = kind.replace {
            assert!(kind.updated().contains(old), "{}", kind.path);
            steps.write(kind, &kind.updated().replacen(old, new, 1));
            steps.step(&format!("replace {}", kind.path), &[("replace", word(kind))]);
        }
        last = Some(kind);
    }
    steps.count
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.NS.example}\nspec:\n  group: NS.example\n  scope: Namespaced\n  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n";

/// Definitions with their objects, and many changes in one plan.
fn many_at_once(cluster: &'static Cluster) -> usize {
    let namespace = "exactall";
    let mut steps = Steps::new(cluster, namespace);
    let sandbox = |steps: &Steps, file: &str, text: &str| {
        steps.deploy.sandbox.write(&format!(".helm/templates/{file}"), &text.replace("NS", namespace));
    };
    let gadget = |size: u32| {
        format!(
            "apiVersion: NS.example/v1\nkind: Gadget\nmetadata: {{name: g}}\nspec: {{size: {size}, list: [1, {{a: b}}]}}\n"
        )
    };
    sandbox(&steps, "crd.yaml", DEFINITION);
    let crd = "CustomResourceDefinition";
    sandbox(&steps, "gadget.yaml", &gadget(1));
    steps.step("a definition with an object of it", &[("create", "Namespace"), ("create", crd), ("create", "Gadget")]);
    sandbox(&steps, "gadget.yaml", &gadget(2));
    steps.step("a change of an object of it", &[("update", "Gadget")]);
    // All kinds at once.
    KINDS.iter().for_each(|kind| steps.write(kind, kind.manifest));
    let all = |action: &'static str| KINDS.iter().map(move |kind| (action, word(kind)));
    steps.step("create all", &all("create").collect::<Vec<_>>());
    KINDS.iter().for_each(|kind| steps.write(kind, &kind.updated()));
    steps.step("update all", &all("update").collect::<Vec<_>>());
    let mut expected = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.replace.is_some()) {
        let (old, new) = kind.replace.unwrap();
        steps.write(kind, &kind.updated().replacen(old, new, 1));
        expected.push(("replace", word(kind)));
    }
    sandbox(&steps, "gadget.yaml", &gadget(3));
    expected.push(("update", "Gadget"));
    steps.step("replace all that can be", &expected);
    // Many of one kind.
    let mut many = String::new();
    for n in 0..30 {
        let _ = write!(many, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata: {{n: '{n}'}}\n");
    }
    sandbox(&steps, "many.yaml", &many);
    steps.step("create many", &[("create", "ConfigMap"); 30]);
    sandbox(&steps, "many.yaml", &many.replace("n: '1", "n: 'x1"));
    steps.step("update some of many", &[("update", "ConfigMap"); 11]);
    sandbox(&steps, "many.yaml", "");
    let mut expected: Vec<(&str, &str)> = all("delete").filter(|(_, kind)| *kind != "ConfigMap").collect();
    KINDS.iter().skip(1).for_each(|kind| steps.remove(kind));
    sandbox(&steps, "gadget.yaml", "");
    expected.push(("delete", "Gadget"));
    expected.extend([("delete", "ConfigMap"); 30]);
    steps.step("delete nearly all", &expected);
    steps.deploy.sandbox.write(".helm/values.yaml", "unused: true\n");
    steps.count
}

/// A change between a plan and its apply.
type Change = (&'static str, Box<dyn Fn(&Changes) + Send>);

/// Where changes are made.
struct Changes<'a> {
    cluster: &'static Cluster,
    namespace: &'a str,
}

impl Changes<'_> {
    fn address(&self, kind: &str) -> String {
        let kind = KINDS.iter().find(|k| k.path.split('.').next() == Some(kind)).unwrap();
        kind.address(self.namespace, &kind.object(self.namespace))
    }

    fn patch(&self, kind: &str, patch: &Value) {
        self.cluster.call("PATCH", &self.address(kind), Some(("application/merge-patch+json", patch.to_string())));
    }

    fn delete(&self, kind: &str) {
        let address = self.address(kind);
        self.cluster.call("DELETE", &address, Some(("application/json", json!({"gracePeriodSeconds": 0}).to_string())));
        let start = std::time::Instant::now();
        while self.cluster.object(&address).is_some() {
            assert!(start.elapsed().as_secs() < 60, "{address} does not go");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Deletes an object and makes it again, with the same content.
    fn again(&self, kind: &str) {
        let mut object = self.cluster.object(&self.address(kind)).unwrap();
        self.delete(kind);
        for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
            object["metadata"].as_object_mut().unwrap().shift_remove(key);
        }
        object.as_object_mut().unwrap().shift_remove("status");
        let address = self.address(kind);
        let (list, _) = address.rsplit_once('/').unwrap();
        self.cluster.call("POST", list, Some(("application/json", object.to_string())));
    }

    /// The newest record of the release, and its number.
    fn newest_record(&self) -> (String, u64, Value) {
        let list = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let all = self.cluster.call("GET", &format!("{list}?labelSelector=owner%3Dhelm"), None);
        let number = |r: &Value| r["metadata"]["labels"]["version"].as_str().unwrap().parse::<u64>().unwrap();
        let newest = all["items"].as_array().unwrap().iter().max_by_key(|r| number(r)).unwrap();
        (format!("{list}/{}", newest["metadata"]["name"].as_str().unwrap()), number(newest), newest.clone())
    }
}

/// The changes of the objects that a plan changes, or leaves as they are.
fn changes() -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    let mut patch = |what: &'static str, kind: &'static str, patch: Value| {
        all.push((what, Box::new(move |c: &Changes| c.patch(kind, &patch))));
    };
    // Values of ours, in objects that are changed and in objects that stay.
    patch("an edit", "ConfigMap", json!({"data": {"b": "3"}}));
    patch("an edit of what changes", "ConfigMap", json!({"data": {"a": "9"}}));
    patch("somebody sets what the plan adds", "ConfigMap", json!({"data": {"c": "9"}}));
    patch("a field of ours is removed", "ConfigMap", json!({"data": {"b": null}}));
    patch("what the plan wants is there already", "ConfigMap", json!({"data": {"c": "1", "a": null}}));
    patch("data of a Secret", "Secret", json!({"data": {"a": "eA=="}}));
    patch("a label of a Secret", "Secret", json!({"metadata": {"labels": {"x": "y"}}}));
    patch("a port", "Service", json!({"spec": {"ports": [{"port": 99, "name": "z"}]}}));
    patch("a selector", "Service", json!({"spec": {"selector": {"a": "c"}}}));
    patch("another type", "Service", json!({"spec": {"selector": {"a": null, "c": "d"}}}));
    patch("scaled up", "Deployment", json!({"spec": {"replicas": 1}}));
    patch(
        "another image",
        "Deployment",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:9"}]}}}}),
    );
    patch("a label of the template", "Deployment", json!({"spec": {"template": {"metadata": {"labels": {"c": "e"}}}}}));
    patch("scaled", "StatefulSet", json!({"spec": {"replicas": 2}}));
    patch(
        "an image of a StatefulSet",
        "StatefulSet",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:9"}]}}}}),
    );
    patch(
        "an image of a DaemonSet",
        "DaemonSet",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:9"}]}}}}),
    );
    patch("scaled sets", "ReplicaSet", json!({"spec": {"replicas": 1}}));
    patch("parallelism", "Job", json!({"spec": {"parallelism": 1}}));
    patch("a backoff limit", "Job", json!({"spec": {"backoffLimit": 5}}));
    patch("a schedule", "CronJob", json!({"spec": {"schedule": "0 0 9 9 *"}}));
    patch("resumed", "CronJob", json!({"spec": {"suspend": false}}));
    patch("a host", "Ingress", json!({"spec": {"rules": [{"host": "z.example"}]}}));
    patch("policy types", "NetworkPolicy", json!({"spec": {"policyTypes": ["Ingress", "Egress"]}}));
    patch("mounting tokens", "ServiceAccount", json!({"automountServiceAccountToken": null}));
    patch("a rule", "Role", json!({"rules": []}));
    patch("subjects", "RoleBinding", json!({"subjects": []}));
    patch("hard limits", "ResourceQuota", json!({"spec": {"hard": {"pods": "7"}}}));
    patch("limits", "LimitRange", json!({"spec": {"limits": []}}));
    patch("addresses", "Endpoints", json!({"subsets": []}));
    patch("more replicas", "HorizontalPodAutoscaler", json!({"spec": {"maxReplicas": 9}}));
    patch("a budget", "PodDisruptionBudget", json!({"spec": {"minAvailable": 9}}));
    patch("a holder", "Lease", json!({"spec": {"holderIdentity": "z"}}));
    patch("rules of the cluster", "ClusterRole", json!({"rules": []}));
    patch("subjects of the cluster", "ClusterRoleBinding", json!({"subjects": []}));
    patch("expansion", "StorageClass", json!({"allowVolumeExpansion": true}));
    patch("a description", "PriorityClass", json!({"description": "z"}));
    // Owners.
    patch("another release", "ConfigMap", json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}}));
    patch(
        "another namespace of the release",
        "Deployment",
        json!({"metadata": {"annotations": {"meta.helm.sh/release-namespace": "other"}}}),
    );
    patch("no owner", "Service", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}));
    patch("no release", "ClusterRole", json!({"metadata": {"annotations": {"meta.helm.sh/release-name": null}}}));
    for (what, kind) in [
        ("deleted", "ConfigMap"),
        ("a Secret is deleted", "Secret"),
        ("a Deployment is deleted", "Deployment"),
        ("a Role is deleted", "Role"),
        ("one of the cluster is deleted", "ClusterRole"),
        ("a claim is deleted", "PersistentVolumeClaim"),
    ] {
        all.push((what, Box::new(move |c: &Changes| c.delete(kind))));
    }
    for (what, kind) in
        [("made again", "ConfigMap"), ("a Service is made again", "Service"), ("a Role is made again", "Role")]
    {
        all.push((what, Box::new(move |c: &Changes| c.again(kind))));
    }
    all.push((
        "another revision of the release",
        Box::new(|c: &Changes| {
            let (address, number, newest) = c.newest_record();
            let name = format!("sh.helm.release.v1.shop.v{}", number + 1);
            let mut labels = newest["metadata"]["labels"].clone();
            labels["version"] = (number + 1).to_string().into();
            let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "data": newest["data"],
                "metadata": {"name": name, "labels": labels}});
            let (list, _) = address.rsplit_once('/').unwrap();
            c.cluster.call("POST", list, Some(("application/json", object.to_string())));
        }),
    ));
    all
}

#[test]
fn a_plan_for_a_cluster_that_changed_meanwhile_writes_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let all = changes();
    assert!(all.len() >= 48, "{} kinds of change", all.len());
    let mut parts: Vec<Vec<Change>> = (0..4).map(|_| Vec::new()).collect();
    for (n, change) in all.into_iter().enumerate() {
        parts[n % 4].push(change);
    }
    let tasks = parts.into_iter().enumerate().map(|(n, part)| -> Box<dyn FnOnce() -> usize + Send> {
        Box::new(move || stops(cluster, &format!("stops{n}"), part))
    });
    let stops: usize = in_parallel(tasks.collect()).iter().sum();
    assert!(stops >= 50, "{stops} stops");
}

/// Makes a plan, changes the cluster, and applies; what the stop left alone is set right by the next plan.
fn stops(cluster: &'static Cluster, namespace: &str, changes: Vec<Change>) -> usize {
    let mut steps = Steps::new(cluster, namespace);
    KINDS.iter().for_each(|kind| steps.write(kind, kind.manifest));
    steps.deploy.sandbox.commit("all kinds");
    steps.deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    let mut count = 0;
    let changes =
        changes.into_iter().map(|(what, change)| (what, Some(change))).chain([("the namespace is made again", None)]);
    for (what, change) in changes {
        // Something to do besides: a new object, and a change of the first one.
        steps.deploy.sandbox.write(
            ".helm/templates/new.yaml",
            &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: new{count}}}\n"),
        );
        let config = &KINDS[0];
        steps.write(config, &config.updated());
        steps.plan(what);
        let place = Changes { cluster, namespace };
        match &change {
            Some(change) => change(&place),
            None => make_namespace_again(cluster, namespace),
        }
        steps.expected = steps.written();
        let ran = steps.deploy.run(4, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
        assert!(ran.err.contains("expected") || ran.err.contains("stale"), "{what}: {}", ran.err);
        steps.assert_written(what);
        count += 1;
        if change.is_some() {
            // People change back what they changed; where that is not enough, the next plan does.
            if what.contains("owner") || what.contains("release") {
                restore_marks(&place);
            }
            if what.contains("revision") {
                cluster.call("DELETE", &place.newest_record().0, None);
            }
            steps.deploy.sandbox.write(".helm/templates/new.yaml", "");
            steps.write(config, config.manifest);
            steps.deploy.sandbox.commit("back");
            steps.deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
            steps.deploy.assert_no_changes();
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    count
}

fn restore_marks(place: &Changes) {
    for kind in ["ConfigMap", "Deployment", "Service", "ClusterRole"] {
        let marks = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": place.namespace}}});
        place.patch(kind, &marks);
    }
}

pub fn make_namespace_again(cluster: &Cluster, namespace: &str) {
    let address = format!("/api/v1/namespaces/{namespace}");
    cluster.call("DELETE", &address, None);
    let start = std::time::Instant::now();
    while cluster.object(&address).is_some() {
        assert!(start.elapsed().as_secs() < 120, "{address} does not go");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    cluster.call("POST", "/api/v1/namespaces", Some(("application/json", object.to_string())));
}
