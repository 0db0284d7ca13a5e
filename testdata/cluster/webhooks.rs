//! Webhooks that change what is written: what they add is theirs, and no change of a plan.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Deploy, Ground, actions};
use crate::services::Cluster;

/// A webhook that marks maps and puts a container beside those of Deployments, in one namespace; it goes with this value.
struct Webhook {
    cluster: &'static Cluster,
    name: String,
    /// How often it was called in earnest.
    calls: Arc<AtomicUsize>,
}

const LIST: &str = "/apis/admissionregistration.k8s.io/v1beta1/mutatingwebhookconfigurations";

impl Webhook {
    fn start(cluster: &'static Cluster, namespace: &str, side_effects: &str) -> Self {
        cluster.kubectl(&["create", "namespace", namespace]);
        cluster.kubectl(&["label", "namespace", namespace, &format!("marked-by={namespace}")]);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (certificate, key) = cluster.authority.issue("webhook", "webhooks", &["127.0.0.1"]);
        let certificate = pem(&certificate).into();
        let key = rustls::pki_types::PrivateKeyDer::try_from(pem(&key)).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, counted) = (config.clone(), counted.clone());
                std::thread::spawn(move || serve(stream, config, &counted));
            }
        });
        let name = format!("marks-{namespace}");
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{
                "name": "marks.example.org", "failurePolicy": "Fail", "sideEffects": side_effects, "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": format!("https://{address}/mark"), "caBundle": STANDARD.encode(&cluster.authority.certificate)},
                "namespaceSelector": {"matchLabels": {"marked-by": namespace}},
                "rules": [{"apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["configmaps", "deployments"]}],
            }],
        });
        cluster.call("POST", LIST, Some(("application/json", configuration.to_string())));
        let hook = Self { cluster, name, calls };
        hook.wait(namespace);
        hook
    }

    /// The server takes a moment to know of it.
    fn wait(&self, namespace: &str) {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}).to_string();
        let address = format!("/api/v1/namespaces/{namespace}/configmaps");
        for _ in 0..300 {
            let made = self.cluster.call("POST", &address, Some(("application/json", map.clone())));
            self.cluster.call("DELETE", &format!("{address}/probe"), None);
            if made["metadata"]["annotations"]["marks.example.org/by"] == "webhook" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the webhook is not called");
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.cluster.call("DELETE", &format!("{LIST}/{}", self.name), None);
    }
}

fn pem(text: &str) -> Vec<u8> {
    let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).unwrap()
}

fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, calls: &AtomicUsize) -> Option<()> {
    let tls = rustls::ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(rustls::StreamOwned::new(tls, stream));
    loop {
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).ok()?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let review: Value = serde_json::from_slice(&body).ok()?;
        if review["request"]["dryRun"] != true {
            calls.fetch_add(1, Ordering::SeqCst);
        }
        let patch = STANDARD.encode(patch(&review["request"]["object"]).to_string());
        let response =
            json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
        let answer =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all((head + &answer).as_bytes()).ok()?;
    }
}

/// What it adds, where it is not there yet.
fn patch(object: &Value) -> Value {
    let annotations = &object["metadata"]["annotations"];
    let mut steps = Vec::new();
    if annotations["marks.example.org/by"].is_null() {
        if annotations.is_null() {
            steps.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        steps.push(json!({"op": "add", "path": "/metadata/annotations/marks.example.org~1by", "value": "webhook"}));
    }
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    if containers.is_some_and(|all| all.iter().all(|c| c["name"] != "proxy")) {
        let value = json!({"name": "proxy", "image": "example/proxy:1", "args": ["--beside"]});
        steps.push(json!({"op": "add", "path": "/spec/template/spec/containers/-", "value": value}));
    }
    steps.into()
}

fn marked(namespace: &str, side_effects: &str) -> Option<(Deploy, Webhook)> {
    let cluster = Cluster::shared()?;
    let webhook = Webhook::start(cluster, namespace, side_effects);
    let deploy = Deploy::new(namespace, Ground::Real(cluster));
    Some((deploy, webhook))
}

/// What is in the cluster is what the chart says, and what the webhook adds.
fn assert_marked(deploy: &Deploy, greeting: &str) {
    let map = deploy.object("configmaps", "a").unwrap();
    assert_eq!(
        (&map["data"]["greeting"], &map["metadata"]["annotations"]["marks.example.org/by"]),
        (&json!(greeting), &json!("webhook"))
    );
    let web = deploy.object("deployments", "web").unwrap();
    let names: Vec<&Value> =
        web["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["web", "proxy"]);
}

#[test]
fn what_a_webhook_adds_is_no_change_of_the_next_plan() {
    let Some((deploy, webhook)) = marked("webhooked", "None") else { return };
    deploy.apply();
    assert_marked(&deploy, "hello");
    deploy.assert_no_changes();
    let called = webhook.calls.load(Ordering::SeqCst);
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.edit(".helm/templates/web.yaml", "example/web:1", "example/web:2");
    let plan = deploy.plan(2);
    assert_eq!(webhook.calls.load(Ordering::SeqCst), called, "a plan calls it for dry runs alone");
    assert_eq!(actions(&plan), ["update a", "update b", "update web"]);
    // Its fields are silent.
    let fields: Vec<&Value> = plan["resources"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|r| r["fields"].as_array().unwrap())
        .map(|f| &f["path"])
        .collect();
    let image = "spec.template.spec.containers[name=web].image";
    assert_eq!(fields, ["data.greeting", "data.greeting", image], "{:#}", plan["resources"]);
    deploy.apply();
    assert_marked(&deploy, "goodbye");
    deploy.assert_no_changes();
}

#[test]
fn a_webhook_that_allows_no_dry_run_is_named_and_planned_without() {
    let Some((deploy, webhook)) = marked("unrehearsed", "Some") else { return };
    let called = webhook.calls.load(Ordering::SeqCst);
    let ran = deploy.run(0, &["plan"]);
    assert!(ran.err.contains("no-dry-run") && ran.err.contains("marks.example.org"), "{}", ran.err);
    assert_eq!(webhook.calls.load(Ordering::SeqCst), called, "a plan changes nothing");
    deploy.apply();
    assert_marked(&deploy, "hello");
    deploy.assert_no_changes();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    let plan = deploy.plan(2);
    assert_eq!(actions(&plan), ["update a", "update b"], "{:#}", plan["resources"]);
    deploy.apply();
    assert_marked(&deploy, "goodbye");
    deploy.assert_no_changes();
}
