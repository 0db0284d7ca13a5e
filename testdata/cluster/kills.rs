//! The program is killed after each write in turn; what resumes ends as if nothing had happened, and writes nothing twice.
//!
//! What stands between the program and the API server is a proxy that counts writes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Deploy, Ground};
use crate::services::{Cluster, PROGRAM};

/// What the proxy does when a write was carried out.
#[derive(Default)]
struct State {
    /// The writes so far: method and address.
    writes: Vec<String>,
    /// After this many, nothing is answered any more.
    stops_after: Option<usize>,
}

#[derive(Clone)]
struct Proxy {
    cluster: &'static Cluster,
    state: Arc<Mutex<State>>,
    address: String,
}

impl Proxy {
    fn start(cluster: &'static Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { cluster, state: Arc::default(), address: listener.local_addr().unwrap().to_string() };
        let own = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let proxy = own.clone();
                std::thread::spawn(move || proxy.serve(&stream));
            }
        });
        proxy
    }

    /// Passes requests on, one after the other; `None` ends the connection.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, target) = (words.next()?, words.next()?);
            let (mut length, mut kind, mut accept) = (0, String::new(), String::new());
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                let Some((name, value)) = header.trim().split_once(':') else { break };
                let value = value.trim().to_owned();
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.parse().ok()?,
                    "content-type" => kind = value,
                    "accept" => accept = value,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let is_write = method != "GET" && !target.contains("dryRun=All");
            // A write is alone: what was not counted before the stop is not carried out.
            let mut state = self.state.lock().unwrap();
            if state.stops_after.is_some_and(|most| state.writes.len() >= most) {
                return None;
            }
            let body = (!body.is_empty()).then(|| (kind.as_str(), String::from_utf8(body).unwrap()));
            let (code, answer) = self.cluster.send_as(PROGRAM, &method, &target, body, &accept);
            if is_write {
                state.writes.push(format!("{method} {}", target.split('?').next().unwrap()));
            }
            if state.stops_after.is_some_and(|most| state.writes.len() >= most) {
                return None;
            }
            drop(state);
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let mut writer = stream;
            writer.write_all((head + &answer).as_bytes()).ok()?;
        }
    }

    fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    fn stop_after(&self, writes: Option<usize>) {
        let mut state = self.state.lock().unwrap();
        state.stops_after = writes;
        state.writes.clear();
    }
}

/// How many records are kept.
const KEPT: u32 = 10;

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// Everything a run may do: a definition with an object, new ones, changes, a replacement, a deletion.
fn write_version(deploy: &Deploy, version: u32) {
    let sandbox = &deploy.sandbox;
    let namespace = &deploy.namespace;
    let config = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: 'v{version}'}}\n")
    };
    sandbox.write(".helm/templates/a.yaml", &config("a"));
    sandbox.write(".helm/templates/new.yaml", &config(&format!("new{version}")));
    sandbox.write(
        ".helm/templates/s.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{v: 'v{version}'}}\n"),
    );
    sandbox.write(".helm/templates/web.yaml", &format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{replicas: 0, selector: {{matchLabels: {{v: 'v{version}'}}}}, template: {{metadata: {{labels: {{v: 'v{version}'}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}}}\n"));
    sandbox.write(".helm/templates/role.yaml", &format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {namespace}-r{version}}}\nrules: []\n"));
    sandbox.commit("a version");
}

#[test]
fn a_run_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = Proxy::start(cluster);
    let mut deploy = Deploy::bare("killed", Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();

    // From the eleventh revision on the oldest record goes, too.
    for version in 0..KEPT {
        write_version(&deploy, version);
        deploy.apply();
    }
    deploy.assert_no_changes();
    // The writes of one change, undisturbed. Each later change has the same, but for the numbers in names.
    let shape = |writes: &[String]| -> Vec<String> {
        sorted(writes.iter().map(|w| w.chars().filter(|c| !c.is_ascii_digit()).collect()).collect())
    };
    proxy.stop_after(None);
    write_version(&deploy, KEPT);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let expected = shape(&proxy.writes());
    assert!(expected.len() >= 10, "{expected:?}");
    for kill in 1..=expected.len() {
        write_version(&deploy, KEPT + kill as u32);
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        proxy.stop_after(Some(kill));
        let args = ["apply", "shop.plan", "--auto-approve", "--kubeconfig", &deploy.kubeconfig];
        let mut child = deploy
            .sandbox
            .command(&args)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while proxy.writes().len() < kill {
            assert!(start.elapsed() < Duration::from_mins(2), "{kill} writes are not reached: {:?}", proxy.writes());
            assert!(
                child.try_wait().unwrap().is_none(),
                "the program ended before {kill} writes: {:?}",
                proxy.writes()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL
        child.kill().unwrap();
        child.wait().unwrap();
        let before = proxy.writes();
        proxy.stop_after(None);
        deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        let all = [before.clone(), proxy.writes()].concat();
        assert_eq!(shape(&all), expected, "killed after {kill}: {before:?}, then {:?}", proxy.writes());
        deploy.assert_no_changes();
    }
    let mut last = deploy.records();
    assert_eq!(last.pop().as_deref(), Some("deployed"));
    assert!(last.len() == 9 && last.iter().all(|status| status == "superseded"), "{last:?}");
}
