//! `--target cluster` through the program: each scenario on a loopback server, and on a real control plane where there is one.

mod annotations;
mod beside;
mod between;
#[cfg(feature = "registry")]
mod bundles;
mod connection;
mod exact;
mod exact_releases;
mod faults;
mod going;
mod guards;
mod helm;
mod hostile;
mod kills;
mod kills_of_releases;
mod kubeconfigs;
mod logs;
mod loopback;
mod many;
mod order;
mod proxy;
mod refusals;
mod releases;
mod reports;
mod saved;
mod scenarios;
mod secrets;
mod stateful;
mod templates;
mod tracking;
mod webhooks;
mod werf;

use serde_json::{Value, json};

use self::loopback::Loopback;
use crate::cli::{Ran, Sandbox};
use crate::services;

/// A cluster to deploy to.
enum Ground {
    Loopback(Loopback),
    Real(&'static services::Cluster),
}

/// A project that is deployed to a namespace of its own.
struct Deploy {
    sandbox: Sandbox,
    ground: Ground,
    namespace: String,
    kubeconfig: String,
    /// How many requests were made before.
    seen: std::cell::Cell<usize>,
}

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\ndata:\n  greeting: {{ .Values.greeting | quote }}\n";
const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {app: {{ .Values.app }}}\n  template:\n    metadata:\n      labels: {app: {{ .Values.app }}}\n    spec:\n      containers:\n      - name: web\n        image: example/web:1\n";
const MARK: &str = "hunter2-marked-secret";

/// Runs a scenario on every ground there is.
fn everywhere(scenario: &str, run: impl Fn(&Deploy)) {
    run(&Deploy::new(scenario, Ground::Loopback(Loopback::start())));
    if let Some(cluster) = services::Cluster::shared() {
        run(&Deploy::new(scenario, Ground::Real(cluster)));
    }
}

/// A kubeconfig for a server without TLS.
fn kubeconfig(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: test, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: me, user: {{}}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: me}}}}]\n"
    )
}

impl Deploy {
    fn new(namespace: &str, ground: Ground) -> Self {
        let deploy = Self::bare(namespace, ground);
        let sandbox = &deploy.sandbox;
        sandbox.write(".helm/values.yaml", "greeting: hello\napp: web\n");
        sandbox.write(".helm/templates/a.yaml", &CONFIG.replace("NAME", "a"));
        sandbox.write(".helm/templates/b.yaml", &CONFIG.replace("NAME", "b"));
        sandbox.write(".helm/templates/web.yaml", WEB);
        sandbox.write(
            ".helm/templates/secret.yaml",
            &format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  token: {MARK}\n"),
        );
        sandbox.commit("the shop");
        deploy
    }

    /// A chart without templates.
    fn bare(namespace: &str, ground: Ground) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("werf.yaml", "configVersion: 1\nproject: shop\n");
        sandbox.write(".helm/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\n");
        let kubeconfig = match &ground {
            Ground::Loopback(server) => {
                let file = sandbox.home().join("kubeconfig");
                std::fs::write(&file, kubeconfig(&server.address)).unwrap();
                file
            }
            Ground::Real(cluster) => cluster.kubeconfig(),
        };
        let kubeconfig = kubeconfig.display().to_string();
        Self { sandbox, ground, namespace: namespace.to_owned(), kubeconfig, seen: std::cell::Cell::new(0) }
    }

    fn run(&self, expected: i32, args: &[&str]) -> Ran {
        let own = [
            "--target",
            "cluster",
            "--namespace",
            &self.namespace,
            "--release",
            "shop",
            "--kubeconfig",
            &self.kubeconfig,
        ];
        let saved = args.iter().any(|a| a.ends_with(".plan") && args.first() == Some(&"apply"));
        let takes_back = matches!(args.first(), Some(&"release" | &"dismiss"));
        let own = &own[if saved { 6 } else { 2 * usize::from(takes_back) }..];
        let ran = self.sandbox.run(&[args, own].concat());
        assert_eq!(ran.code, expected, "{args:?}\n{}\n{}", ran.out, ran.err);
        assert!(!(ran.out.clone() + &ran.err).contains(MARK), "a secret is shown: {}{}", ran.out, ran.err);
        ran
    }

    fn plan(&self, expected: i32) -> Value {
        let plan = serde_json::from_str(&self.run(expected, &["plan", "--exit-code", "-o", "json"]).out).unwrap();
        scenarios::assert_published(&plan);
        plan
    }

    fn apply(&self) {
        self.run(0, &["apply", "--auto-approve"]);
    }

    fn edit(&self, path: &str, old: &str, new: &str) {
        let file = self.sandbox.project().join(path);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old));
        std::fs::write(file, text.replace(old, new)).unwrap();
        self.sandbox.commit("an edit");
    }

    /// The requests since the last call that write: those of records, and the others.
    fn writes(&self) -> (Vec<String>, Vec<String>) {
        let all = match &self.ground {
            Ground::Loopback(server) => server.requests(),
            Ground::Real(cluster) => cluster.writes(),
        };
        let new = all[self.seen.replace(all.len()).min(all.len())..].to_vec();
        let reads = ["get", "list", "watch"];
        let writes = new.iter().filter(|(verb, address)| {
            !reads.contains(&verb.to_lowercase().as_str())
                && !address.contains("dryRun=All")
                && address.contains(&self.namespace)
                && !is_lock(verb, address)
        });
        let told = writes.map(|(verb, address)| {
            let verb = match verb.to_lowercase().as_str() {
                "patch" => "apply",
                "delete" => "delete",
                _ => "record",
            };
            format!("{verb} {}", address.split('?').next().unwrap())
        });
        let (records, mut writes): (Vec<_>, Vec<_>) = told.partition(|w| w.starts_with("record"));
        writes.sort();
        (records, writes)
    }

    fn address(&self, kind: &str, name: &str) -> String {
        let root = if kind == "deployments" { "apis/apps/v1" } else { "api/v1" };
        match kind {
            "namespaces" => format!("/{root}/namespaces/{name}"),
            _ => format!("/{root}/namespaces/{}/{kind}/{name}", self.namespace),
        }
    }

    fn object(&self, kind: &str, name: &str) -> Option<Value> {
        match &self.ground {
            Ground::Loopback(server) => server.object(&self.address(kind, name)),
            Ground::Real(cluster) => cluster.object(&self.address(kind, name)),
        }
    }

    /// Sets a field as somebody else.
    fn tamper(&self, kind: &str, name: &str, pointer: &str, value: Value) {
        match &self.ground {
            Ground::Loopback(server) => server.edit(&self.address(kind, name), pointer, value),
            Ground::Real(cluster) => {
                let patch = json!([{"op": "replace", "path": pointer, "value": value}]).to_string();
                let args = ["patch", kind, name, "-n", &self.namespace, "--type=json", "-p", &patch];
                cluster.kubectl(&args);
            }
        }
    }

    fn records(&self) -> Vec<String> {
        let of = |n: u32| self.object("secrets", &format!("sh.helm.release.v1.shop.v{n}"));
        let status = |secret: Value| {
            assert_eq!(
                (&secret["type"], &secret["metadata"]["labels"]["owner"]),
                (&json!("helm.sh/release.v1"), &json!("helm"))
            );
            secret["metadata"]["labels"]["status"].as_str().unwrap().to_owned()
        };
        (1..40).filter_map(of).map(status).collect()
    }

    fn assert_no_changes(&self) {
        let plan = self.plan(0);
        assert_eq!(plan["operations"], json!([]), "{:#}", plan["resources"]);
    }
}

/// Says whether a request is about the lock of a release: that is no operation of a plan.
fn is_lock(verb: &str, address: &str) -> bool {
    let path = address.split('?').next().unwrap();
    let makes = matches!(verb.to_lowercase().as_str(), "post" | "create");
    path.contains("/leases/stagewright-lock-")
        || (makes && path.ends_with("/leases"))
        || path.ends_with("/configmaps/werf-synchronization")
}

/// The writes of a plan's operations, as addresses.
fn planned(plan: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for operation in plan["operations"].as_array().unwrap() {
        let verb = match operation["work"]["action"].as_str().unwrap() {
            "write_resource" => "apply",
            "delete_resource" => "delete",
            _ => continue,
        };
        let mut parts = operation["work"]["path"].as_str().unwrap().splitn(3, '/');
        let (namespace, kind, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let root = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
        let plural = kind.to_lowercase() + "s";
        found.push(match namespace {
            "-" => format!("{verb} {root}/{plural}/{name}"),
            _ => format!("{verb} {root}/namespaces/{namespace}/{plural}/{name}"),
        });
    }
    found.sort();
    found
}

fn actions(plan: &Value) -> Vec<String> {
    let changed = plan["resources"].as_array().unwrap().iter().filter(|r| r["action"] != "noop");
    let mut all: Vec<String> =
        changed.map(|r| format!("{} {}", r["action"].as_str().unwrap(), r["name"].as_str().unwrap())).collect();
    all.sort();
    all
}

#[test]
fn a_release_is_installed_changed_and_set_right() {
    everywhere("life", |deploy| {
        let plan = deploy.plan(2);
        assert_eq!(plan["fidelity"], "live");
        assert_eq!(plan["inputs"]["cluster"]["context"], "test");
        assert_eq!(actions(&plan), ["create a", "create b", "create life", "create s", "create web"]);
        assert_eq!(deploy.writes(), (vec![], vec![]), "a plan reads and asks for dry runs");
        let text = deploy.run(0, &["plan"]).out;
        assert!(text.contains("cluster test (http") && text.contains("namespace life"), "{text}");

        deploy.apply();
        let (records, writes) = deploy.writes();
        assert_eq!((writes, records.len()), (planned(&plan), 2));
        assert_eq!(deploy.records(), ["deployed"]);
        assert_eq!(
            deploy.object("deployments", "web").unwrap()["metadata"]["annotations"]["meta.helm.sh/release-name"],
            "shop"
        );
        deploy.assert_no_changes();

        // a change
        deploy.edit(".helm/values.yaml", "hello", "goodbye");
        let plan = deploy.plan(2);
        assert_eq!(actions(&plan), ["update a", "update b"]);
        let fields = plan["resources"].as_array().unwrap().iter().find(|r| r["name"] == "a").unwrap()["fields"].clone();
        assert_eq!(fields, json!([{"path": "data.greeting", "op": "change", "before": "hello", "after": "goodbye"}]));
        deploy.writes();
        deploy.apply();
        assert_eq!(deploy.writes().1, planned(&plan));
        assert_eq!(deploy.records(), ["superseded", "deployed"]);
        deploy.assert_no_changes();

        // a resource that is gone
        deploy.sandbox.write(".helm/templates/b.yaml", "").commit("without b");
        let plan = deploy.plan(2);
        assert_eq!(actions(&plan), ["delete b"]);
        deploy.apply();
        assert!(deploy.object("configmaps", "b").is_none());
        deploy.assert_no_changes();

        // somebody else's change
        deploy.tamper("deployments", "web", "/spec/replicas", json!(5));
        let plan = deploy.plan(2);
        assert_eq!((actions(&plan), &plan["summary"]["drift"]), (vec!["update web".to_owned()], &json!(1)));
        deploy.apply();
        assert_eq!(deploy.object("deployments", "web").unwrap()["spec"]["replicas"], 2);
        deploy.assert_no_changes();
        assert_eq!(deploy.records(), ["superseded", "superseded", "superseded", "deployed"]);
    });
}

#[test]
fn a_plan_for_a_cluster_that_changed_stops_before_the_first_write() {
    everywhere("stale", |deploy| {
        deploy.apply();
        deploy.edit(".helm/values.yaml", "hello", "goodbye");
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        let file = std::fs::read_to_string(deploy.sandbox.project().join("shop.plan")).unwrap();
        assert!(!file.contains(MARK));
        deploy.tamper("configmaps", "a", "/data/greeting", json!("salut"));
        deploy.writes();
        let ran = deploy.run(4, &["apply", "shop.plan", "--auto-approve"]);
        assert!(ran.err.contains("ConfigMap/a"), "{}", ran.err);
        assert_eq!(deploy.writes(), (vec![], vec![]));
        // What is not ours may change.
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
        deploy.assert_no_changes();
    });
}

#[test]
fn what_cannot_be_changed_in_place_is_replaced() {
    everywhere("replaced", |deploy| {
        deploy.apply();
        let before = deploy.object("deployments", "web").unwrap()["metadata"]["uid"].clone();
        deploy.edit(".helm/values.yaml", "app: web", "app: site");
        let plan = deploy.plan(2);
        assert_eq!(actions(&plan), ["replace web"]);
        let web = plan["resources"].as_array().unwrap().iter().find(|r| r["name"] == "web").unwrap().clone();
        assert_eq!(web["replace_paths"], json!(["spec.selector.matchLabels.app"]));
        let risks = plan["risks"].as_array().unwrap().iter().filter(|r| r["address"] == "replaced/Deployment/web");
        let risks: Vec<&Value> = risks.map(|r| &r["code"]).collect();
        assert_eq!(risks, ["replace", "downtime"], "S32");
        deploy.apply();
        assert_ne!(deploy.object("deployments", "web").unwrap()["metadata"]["uid"], before);
        deploy.assert_no_changes();
    });
}

#[test]
fn what_the_server_refuses_is_an_error_at_its_template() {
    everywhere("refused", |deploy| {
        deploy.apply();
        deploy.edit(".helm/templates/web.yaml", "replicas: 2", "replicas: -1");
        let ran = deploy.run(1, &["plan"]);
        assert!(
            ran.err.contains("error[resource-refused]") && ran.err.contains(".helm/templates/web.yaml"),
            "{}",
            ran.err
        );
        deploy.writes();
        deploy.run(1, &["apply", "--auto-approve"]);
        assert_eq!(deploy.writes(), (vec![], vec![]));
    });
}

#[test]
fn the_object_of_somebody_else_is_not_taken() {
    everywhere("foreign", |deploy| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "foreign"}, "data": {}});
        match &deploy.ground {
            Ground::Loopback(server) => {
                server.put(
                    "/api/v1/namespaces/foreign",
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foreign"}}),
                );
                server.put(&deploy.address("configmaps", "a"), object);
            }
            Ground::Real(cluster) => {
                cluster.kubectl(&["create", "namespace", "foreign"]);
                cluster.kubectl(&["create", "configmap", "a", "-n", "foreign"]);
            }
        }
        let ran = deploy.run(5, &["plan"]);
        assert!(ran.err.contains("no part of the release `shop`"), "{}", ran.err);
        assert!(ran.err.contains("error[resource-blocked]") && ran.err.contains("--force-adoption"), "{}", ran.err);
    });
}

#[test]
fn a_cluster_that_is_not_there_is_said() {
    let deploy = Deploy::new("nowhere", Ground::Loopback(Loopback::start()));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(&deploy.kubeconfig).unwrap();
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    std::fs::write(&deploy.kubeconfig, text.replace(&server.address, &format!("127.0.0.1:{port}"))).unwrap();
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains(&format!("test (http://127.0.0.1:{port})")), "{}", ran.err);
    let ran = deploy.run(1, &["plan", "--kube-context", "prod"]);
    assert!(ran.err.contains("no context `prod`; it has test"), "{}", ran.err);
    let ran = deploy.sandbox.run(&["plan", "--target", "cluster"]);
    assert!(ran.code == 1 && ran.err.contains("there is no kubeconfig"), "{}", ran.err);
}

#[test]
fn a_release_that_failed_is_recorded_so_and_the_next_goes_on() {
    let deploy = Deploy::new("failed", Ground::Loopback(Loopback::start()));
    deploy.apply();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    server.break_writes_of(Some(&deploy.address("configmaps", "a")));
    deploy.run(1, &["apply", "--auto-approve", "--kube-retry-time", "1"]);
    assert_eq!(deploy.records(), ["deployed", "failed"]);
    server.break_writes_of(None);
    deploy.apply();
    assert_eq!(deploy.records(), ["superseded", "failed", "deployed"]);
    server.remove(&deploy.address("configmaps", "a"));
    assert_eq!(actions(&deploy.plan(2)), ["create a"]);
}
