//! An API server within the test: what of the protocol the program uses, over HTTP, with objects in memory.
//!
//! It merges what is applied, remembers who set which field, refuses conflicts and changes of selectors, and adds defaults,
//! as far as the scenarios need it. The same scenarios run on a real control plane where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

/// Group and version, kind, plural, and whether it has namespaces.
const KINDS: [(&str, &str, &str, bool); 6] = [
    ("v1", "Namespace", "namespaces", false),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("batch/v1", "Job", "jobs", true),
];

#[derive(Default)]
struct State {
    /// By address.
    objects: BTreeMap<String, Value>,
    /// What was applied last, by address.
    applied: BTreeMap<String, Value>,
    /// Who set which field besides, by address: manager by pointer.
    others: BTreeMap<String, BTreeMap<String, String>>,
    requests: Vec<(String, String)>,
    broken: Option<String>,
    count: u64,
}

/// The server; it ends with the process.
#[derive(Clone)]
pub struct Loopback {
    state: Arc<Mutex<State>>,
    pub address: String,
}

impl Loopback {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { state: Arc::default(), address: listener.local_addr().unwrap().to_string() };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = own.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn object(&self, address: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(address).cloned()
    }

    /// Writes of an address fail from now on.
    pub fn break_writes_of(&self, address: Option<&str>) {
        self.state.lock().unwrap().broken = address.map(str::to_owned);
    }

    pub fn remove(&self, address: &str) {
        self.state.lock().unwrap().objects.remove(address).unwrap();
    }

    pub fn put(&self, address: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        let object = state.stamped(object, None);
        state.objects.insert(address.to_owned(), object);
    }

    /// Sets a field as somebody else.
    pub fn edit(&self, address: &str, pointer: &str, value: Value) {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        let version = state.count.to_string();
        let object = state.objects.get_mut(address).unwrap();
        *object.pointer_mut(pointer).unwrap() = value;
        object["metadata"]["resourceVersion"] = version.into();
        state.others.entry(address.to_owned()).or_default().insert(pointer.to_owned(), "kubectl-edit".into());
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                if header.trim().is_empty() {
                    break;
                }
                if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (code, answer) = self.answer(&method, &target, &body);
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let mut writer = stream;
            if writer.write_all((head + &answer).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, target: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        state.requests.push((method.to_owned(), target.to_owned()));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, path.split('/').skip(1).collect::<Vec<_>>().as_slice()) {
            ("GET", ["version"]) => (200, json!({"gitVersion": "v1.30.1"})),
            ("GET", ["apis"]) => {
                let groups: BTreeSet<&str> = KINDS.iter().filter(|(v, ..)| *v != "v1").map(|(v, ..)| *v).collect();
                let groups = groups.into_iter().map(|v| json!({"versions": [{"groupVersion": v}]}));
                (200, json!({"kind": "APIGroupList", "groups": groups.collect::<Vec<_>>()}))
            }
            ("GET", ["apis", group]) => {
                let version = json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
                (200, json!({"kind": "APIGroup", "name": group, "versions": [version], "preferredVersion": version}))
            }
            ("GET", ["api" | "apis", version @ ..]) if version.len() < 3 => {
                let version = version.join("/");
                let kinds = KINDS.iter().filter(|(v, ..)| *v == version);
                let kinds: Vec<Value> =
                    kinds.map(|(_, k, p, n)| json!({"name": p, "kind": k, "namespaced": n, "verbs": []})).collect();
                if kinds.is_empty() {
                    status(404, "NotFound", "not found", &[])
                } else {
                    (200, json!({"resources": kinds}))
                }
            }
            ("GET", _) if query.contains("labelSelector") => (200, state.records(path, query)),
            ("GET", _) => state.objects.get(path).map_or_else(not_found, |o| (200, o.clone())),
            ("PATCH", _) if state.broken.as_deref() == Some(path) && !query.contains("dryRun=All") => {
                status(500, "InternalError", "the disk is full", &[])
            }
            ("PATCH", _) => state.apply(path, body, query),
            ("POST", _) => {
                let address = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if state.objects.contains_key(&address) {
                    return status(409, "AlreadyExists", "already exists", &[]);
                }
                let object = state.stamped(body, None);
                state.objects.insert(address, object.clone());
                (201, object)
            }
            ("PUT", _) => {
                let Some(old) = state.objects.get(path).cloned() else { return not_found() };
                if old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return status(409, "Conflict", "the object has been modified", &[]);
                }
                let object = state.stamped(body, Some(&old));
                state.objects.insert(path.to_owned(), object.clone());
                (200, object)
            }
            ("DELETE", _) => {
                let Some(old) = state.objects.get(path) else { return not_found() };
                assert_eq!(old["metadata"]["uid"], body["preconditions"]["uid"], "an object is deleted by its uid");
                state.applied.remove(path);
                state.others.remove(path);
                (200, state.objects.remove(path).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

impl State {
    fn stamped(&mut self, mut object: Value, old: Option<&Value>) -> Value {
        self.count += 1;
        let own = format!("uid-{}", self.count);
        let uid = old.and_then(|o| o["metadata"]["uid"].as_str()).unwrap_or(&own).to_owned();
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["resourceVersion"] = self.count.to_string().into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        object
    }

    fn records(&self, path: &str, query: &str) -> Value {
        let name = query.split("name%3D").nth(1);
        let inside = self.objects.iter().filter(|(address, _)| address.starts_with(&format!("{path}/")));
        let items = inside.filter(|(_, o)| {
            name.is_none_or(|name| o["metadata"]["labels"]["name"] == name) && o["type"] == "helm.sh/release.v1"
        });
        json!({"items": items.map(|(_, o)| json!({"metadata": o["metadata"]})).collect::<Vec<_>>()})
    }

    fn apply(&mut self, path: &str, body: Value, query: &str) -> (u16, Value) {
        let dry_run = query.contains("dryRun=All");
        if let Some((_, rest)) = path.split_once("/namespaces/")
            && let Some((namespace, _)) = rest.split_once('/')
            && !self.objects.contains_key(&format!("/api/v1/namespaces/{namespace}"))
        {
            return status(404, "NotFound", &format!("namespaces \"{namespace}\" not found"), &[]);
        }
        let old = self.objects.get(path).cloned();
        let others = self.others.get(path).cloned().unwrap_or_default();
        let taken = others.iter().filter(|(pointer, _)| {
            let live = old.as_ref().and_then(|o| o.pointer(pointer));
            body.pointer(pointer).is_some_and(|wanted| Some(wanted) != live)
        });
        let taken: Vec<Value> = taken
            .map(|(pointer, manager)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{manager}\" using v1"),
                    "field": pointer.replace('/', ".")})
            })
            .collect();
        if !taken.is_empty() && query.contains("force=false") {
            return status(409, "Conflict", "Apply failed with conflicts", &taken);
        }
        let mut object = old.clone().unwrap_or_else(|| json!({}));
        if let Some(before) = self.applied.get(path) {
            remove_dropped(&mut object, before, &body);
        }
        merge(&mut object, &body);
        if object["kind"] == "Deployment" {
            if old.as_ref().is_some_and(|o| o["spec"]["selector"] != object["spec"]["selector"]) {
                let cause = json!({"reason": "FieldValueInvalid", "message": "Invalid value: field is immutable", "field": "spec.selector"});
                return status(422, "Invalid", "Deployment is invalid: spec.selector: field is immutable", &[cause]);
            }
            let spec = object["spec"].as_object_mut().unwrap();
            if spec.get("replicas").is_some_and(|r| r.as_i64() < Some(0)) {
                return status(
                    422,
                    "Invalid",
                    "Deployment is invalid: spec.replicas: must be greater than or equal to 0",
                    &[],
                );
            }
            spec.entry("replicas").or_insert(json!(1));
            spec.entry("revisionHistoryLimit").or_insert(json!(10));
            let n = spec["replicas"].clone();
            object["metadata"]["generation"] = 1.into();
            object["status"] =
                json!({"observedGeneration": 1, "replicas": n, "updatedReplicas": n, "availableReplicas": n});
        }
        if object["kind"] == "Job" {
            let fails = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("broken"));
            let end = if fails { "Failed" } else { "Complete" };
            object["status"] = json!({"conditions": [{"type": end, "status": "True", "reason": "TheEnd"}]});
        }
        object["metadata"]["managedFields"] =
            json!([{"manager": "stagewright", "operation": "Apply", "fieldsV1": fields(&body)}]);
        let object = self.stamped(object, old.as_ref());
        if !dry_run {
            self.objects.insert(path.to_owned(), object.clone());
            self.applied.insert(path.to_owned(), body);
            self.others.remove(path);
        }
        (if old.is_some() { 200 } else { 201 }, object)
    }
}

fn fields(value: &Value) -> Value {
    let Some(map) = value.as_object() else { return json!({}) };
    let inner = map.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "name" | "namespace"));
    Value::Object(inner.map(|(key, value)| (format!("f:{key}"), fields(value))).collect::<Map<_, _>>())
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(json!({})), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Removes what was applied before and is not applied now.
fn remove_dropped(object: &mut Value, before: &Value, now: &Value) {
    let (Some(map), Some(before)) = (object.as_object_mut(), before.as_object()) else { return };
    for (key, value) in before {
        match (now.get(key), map.get_mut(key)) {
            (None, Some(_)) => drop(map.shift_remove(key)),
            (Some(now), Some(inner)) => remove_dropped(inner, value, now),
            (_, None) => {}
        }
    }
}

fn not_found() -> (u16, Value) {
    status(404, "NotFound", "not found", &[])
}

fn status(code: u16, reason: &str, message: &str, causes: &[Value]) -> (u16, Value) {
    let details = json!({"causes": causes});
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": message, "details": details}),
    )
}
