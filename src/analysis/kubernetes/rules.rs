//! What the API server refuses though every field has its type: names, ports, pods, workloads, services.
//!
//! What lives here: rules over several fields of one manifest, each one of the API server's own. What does not: types
//! (`fields`), other manifests (`links`), what is merely unwise (`hazards`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::forms::{self, wanted};
use super::place::{Finding, Path};
use crate::chart::Manifest;
use crate::diag::Severity;
use crate::diag::rules::{
    MANIFEST_CONFLICT, MANIFEST_INVALID_VALUE, MANIFEST_MISSING_FIELD, MANIFEST_SELECTOR, MANIFEST_TWIN,
};

/// Kinds whose pods come from a template.
const WORKLOADS: &[&str] =
    &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "PodTemplate"];

/// Returns the part of a manifest that is a pod, with its keys from the root.
pub fn pod_of(manifest: &Manifest) -> Option<(&'static [&'static str], &Value)> {
    let keys: &'static [&'static str] = match (manifest.group(), manifest.kind.as_str()) {
        ("", "Pod") => &[],
        ("", "PodTemplate") => &["template"],
        ("" | "apps" | "batch" | "extensions", kind) if WORKLOADS.contains(&kind) => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    let pod = keys.iter().try_fold(&manifest.data, |value, key| value.get(key))?;
    Some((keys, pod))
}

/// Calls `then` with the path that keys make.
pub fn with_path(keys: &[&str], path: &Path<'_>, then: &mut dyn FnMut(&Path<'_>)) {
    match keys.split_first() {
        Some((key, rest)) => with_path(rest, &path.key(key), then),
        None => then(path),
    }
}

/// Returns the items of a list, with their indices.
pub fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (usize, &'v Map<String, Value>)> {
    items_of(value.get(key))
}

/// Returns the mappings of a list that may be missing, with their indices.
pub fn items_of(list: Option<&Value>) -> impl Iterator<Item = (usize, &Map<String, Value>)> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().filter_map(|(i, item)| Some((i, item.as_object()?)))
}

fn text<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    object.get(key).and_then(Value::as_str)
}

fn is_there(object: &Value, key: &str) -> bool {
    object.get(key).is_some_and(|v| !v.is_null())
}

/// Looks at one manifest of a kind that Kubernetes itself has.
pub fn check(manifest: &Manifest) -> Vec<Finding> {
    let mut found = Vec::new();
    check_name(manifest, &mut found);
    if let Some((keys, pod)) = pod_of(manifest) {
        with_path(keys, &Path::ROOT, &mut |path| check_pod(manifest, pod, path, &mut found));
    }
    let data = &manifest.data;
    let spec = data.get("spec").unwrap_or(&Value::Null);
    let at = Path::ROOT.key("spec");
    match (manifest.group(), manifest.kind.as_str()) {
        ("", "Service") => check_service(spec, &at, &mut found),
        ("apps" | "extensions", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
            check_workload(manifest, spec, &at, &mut found);
        }
        ("batch", "Job") => {
            let template = spec.get("template").unwrap_or(&Value::Null);
            check_job(template, &at.key("template"), &mut found);
        }
        ("batch", "CronJob") => {
            check_schedule(spec, &at, &mut found);
            let template = spec.pointer("/jobTemplate/spec/template").unwrap_or(&Value::Null);
            let job = at.key("jobTemplate");
            check_job(template, &job.key("spec").key("template"), &mut found);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let number = |key: &str| spec.get(key).and_then(Value::as_f64);
            if let (Some(least), Some(most)) = (number("minReplicas"), number("maxReplicas"))
                && least > most
            {
                let message = format!("`spec.minReplicas` ({least}) is greater than `spec.maxReplicas` ({most})");
                found.push(Finding::new(&MANIFEST_CONFLICT, &at.key("minReplicas"), message));
            }
        }
        ("policy", "PodDisruptionBudget") if is_there(spec, "minAvailable") && is_there(spec, "maxUnavailable") => {
            let message = "`spec.minAvailable` and `spec.maxUnavailable` exclude each other".to_owned();
            found.push(Finding::new(&MANIFEST_CONFLICT, &at.key("maxUnavailable"), message));
        }
        ("networking.k8s.io", "Ingress") => check_ingress(spec, &at, &mut found),
        _ => {}
    }
    found
}

fn check_name(manifest: &Manifest, found: &mut Vec<Finding>) {
    let name = manifest.name.as_str();
    if name.is_empty() {
        return;
    }
    let metadata = Path::ROOT.key("metadata");
    let path = metadata.key("name");
    let (fits, wanted) = match (manifest.group(), manifest.kind.as_str()) {
        ("apiregistration.k8s.io", "APIService") | ("networking.k8s.io", "IPAddress") => return,
        ("rbac.authorization.k8s.io", _) => (forms::is_path_segment(name), "no `/` and no `%`"),
        ("", "Namespace" | "Service") => (forms::is_dns_label(name), wanted::DNS_LABEL),
        _ => (forms::is_dns_subdomain(name), wanted::DNS_SUBDOMAIN),
    };
    if !fits {
        let message = format!("the name `{name}` is not allowed: {wanted}");
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &path, message));
    } else if manifest.kind == "CronJob" && name.len() > 52 {
        let message = format!("the name `{name}` has {} characters; a CronJob may have 52", name.len());
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &path, message));
    }
    let namespace = manifest.data.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    if !namespace.is_empty() && !forms::is_dns_label(namespace) {
        let message = format!("the namespace `{namespace}` is not allowed: {}", wanted::DNS_LABEL);
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &metadata.key("namespace"), message));
    }
}

fn check_workload(manifest: &Manifest, spec: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let labels = spec.pointer("/template/metadata/labels").and_then(Value::as_object);
    let selector = spec.pointer("/selector/matchLabels").and_then(Value::as_object);
    let empty = Map::new();
    for (key, value) in selector.unwrap_or(&empty) {
        let has = labels.and_then(|l| l.get(key));
        if value.is_string() && has != Some(value) {
            let value = value.as_str().unwrap_or_default();
            let is = match has.and_then(Value::as_str) {
                Some(other) => format!("the pod template has `{key}: {other}`"),
                None => "the pod template has no such label".to_owned(),
            };
            let message = format!("the selector asks for `{key}: {value}`, but {is}");
            let place = path.key("selector");
            found.push(Finding::new(&MANIFEST_SELECTOR, &place.key("matchLabels").key(key), message));
        }
    }
    let template = spec.pointer("/template/spec").unwrap_or(&Value::Null);
    if let Some(policy) = template.get("restartPolicy").and_then(Value::as_str)
        && !matches!(policy, "Always" | "")
    {
        let message = format!("pods of a {} always restart: `restartPolicy` cannot be `{policy}`", manifest.kind);
        let place = path.key("template");
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &place.key("spec").key("restartPolicy"), message));
    }
    let strategy = spec.get("strategy").unwrap_or(&Value::Null);
    if strategy.get("type").and_then(Value::as_str) == Some("Recreate") && is_there(strategy, "rollingUpdate") {
        let message = "`rollingUpdate` cannot stand beside the strategy `Recreate`".to_owned();
        found.push(Finding::new(&MANIFEST_CONFLICT, &path.key("strategy").key("rollingUpdate"), message));
    }
}

fn check_job(template: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let policy = template.pointer("/spec/restartPolicy").and_then(Value::as_str).unwrap_or("Always");
    if matches!(policy, "Always" | "") && template.is_object() {
        let message = "pods of a Job need a `restartPolicy`: `OnFailure` or `Never`".to_owned();
        let spec = path.key("spec");
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &spec.key("restartPolicy"), message));
    }
}

fn check_schedule(spec: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let Some(schedule) = spec.get("schedule").and_then(Value::as_str) else { return };
    if !forms::is_schedule(schedule) {
        let message = format!("the schedule `{schedule}` cannot be read: {}", wanted::SCHEDULE);
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, &path.key("schedule"), message));
    }
}

fn check_ingress(spec: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    for (index, rule) in items(spec, "rules") {
        let (rules, http) = (path.key("rules"), rule.get("http").unwrap_or(&Value::Null));
        let at = rules.index(index);
        for (index, entry) in items(http, "paths") {
            let kind = text(entry, "pathType").unwrap_or_default();
            let value = text(entry, "path").unwrap_or_default();
            if matches!(kind, "Exact" | "Prefix") && !value.starts_with('/') {
                let message = format!("the path `{value}` of type `{kind}` must begin with `/`");
                let (http, paths) = (at.key("http"), "paths");
                let list = http.key(paths);
                found.push(Finding::new(&MANIFEST_INVALID_VALUE, &list.index(index).key("path"), message));
            }
        }
    }
}

fn check_port(value: &Value, least: i64, path: &Path<'_>, found: &mut Vec<Finding>) {
    if let Some(number) = value.as_i64().filter(|n| !(least..=65535).contains(n)) {
        let message = format!("`{path}` is {number}; a port is a number from {least} to 65535");
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, path, message));
    }
    if let Some(name) = value.as_str().filter(|name| !forms::is_port_name(name)) {
        let message = format!("`{path}` is `{name}`, which is no name of a port: {}", wanted::PORT_NAME);
        found.push(Finding::new(&MANIFEST_INVALID_VALUE, path, message));
    }
}

fn check_service(spec: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let external = spec.get("type").and_then(Value::as_str) == Some("ExternalName");
    if external && spec.get("externalName").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let message = "a Service of type `ExternalName` needs `spec.externalName`".to_owned();
        found.push(Finding::new(&MANIFEST_MISSING_FIELD, &path.key("type"), message));
    }
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    let count = items(spec, "ports").count();
    if count == 0 && !external && !headless && spec.is_object() {
        let message = "a Service needs `spec.ports`, unless it is headless or an external name".to_owned();
        found.push(Finding::new(&MANIFEST_MISSING_FIELD, path, message));
    }
    let list = path.key("ports");
    let (mut names, mut numbers) = (Twins::new("port name"), Twins::new("port"));
    for (index, port) in items(spec, "ports") {
        let at = list.index(index);
        if let Some(value) = port.get("port") {
            check_port(value, 1, &at.key("port"), found);
        }
        if let Some(value) = port.get("targetPort") {
            check_port(value, 1, &at.key("targetPort"), found);
        }
        match text(port, "name").filter(|n| !n.is_empty()) {
            Some(name) if !forms::is_dns_label(name) => {
                let message = format!("`{}` is `{name}`, which is not allowed: {}", at.key("name"), wanted::DNS_LABEL);
                found.push(Finding::new(&MANIFEST_INVALID_VALUE, &at.key("name"), message));
            }
            Some(name) => names.note(name.to_owned(), &at.key("name"), Severity::Error, found),
            None if count > 1 => {
                let message = format!("`{at}` needs a name: the Service has {count} ports");
                found.push(Finding::new(&MANIFEST_MISSING_FIELD, &at, message));
            }
            None => {}
        }
        if let Some(number) = port.get("port").and_then(Value::as_i64) {
            let protocol = text(port, "protocol").unwrap_or("TCP");
            numbers.note(format!("{number}/{protocol}"), &at.key("port"), Severity::Error, found);
        }
    }
}

/// Notices what is given twice in one list.
struct Twins {
    what: &'static str,
    seen: BTreeMap<String, usize>,
}

impl Twins {
    fn new(what: &'static str) -> Self {
        Self { what, seen: BTreeMap::new() }
    }

    fn note(&mut self, name: String, path: &Path<'_>, severity: Severity, found: &mut Vec<Finding>) {
        let shown = format!("`{name}`");
        let count = self.seen.entry(name).or_default();
        *count += 1;
        if *count == 2 {
            let message = format!("the {} {shown} is given twice", self.what);
            found.push(Finding::new(&MANIFEST_TWIN, path, message).severity(severity));
        }
    }
}

fn check_pod(manifest: &Manifest, pod: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let Some(spec) = pod.get("spec").filter(|s| s.is_object()) else { return };
    let at = path.key("spec");
    let mut volumes = Twins::new("volume");
    for (index, volume) in items(spec, "volumes") {
        let list = at.key("volumes");
        let place = list.index(index);
        if let Some(name) = text(volume, "name") {
            if forms::is_dns_label(name) {
                volumes.note(name.to_owned(), &place.key("name"), Severity::Error, found);
            } else {
                let message = format!("the volume name `{name}` is not allowed: {}", wanted::DNS_LABEL);
                found.push(Finding::new(&MANIFEST_INVALID_VALUE, &place.key("name"), message));
            }
        }
        let sources: Vec<&str> =
            volume.iter().filter(|(k, v)| *k != "name" && !v.is_null()).map(|(k, _)| k.as_str()).collect();
        if sources.len() > 1 {
            let message = format!("a volume has one source, not {}: {}", sources.len(), sources.join(", "));
            found.push(Finding::new(&MANIFEST_CONFLICT, &place, message));
        }
    }
    let claims = manifest.data.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let claimed = claims.into_iter().flatten().filter_map(|c| c.pointer("/metadata/name")?.as_str());
    let mut known: Vec<&str> = claimed.collect();
    known.extend(volumes.seen.keys().map(String::as_str));
    let mut names = Twins::new("container name");
    for list in ["initContainers", "containers"] {
        let all = at.key(list);
        for (index, container) in items(spec, list) {
            let place = all.index(index);
            if let Some(name) = text(container, "name") {
                if forms::is_dns_label(name) {
                    names.note(name.to_owned(), &place.key("name"), Severity::Error, found);
                } else {
                    let message = format!("the container name `{name}` is not allowed: {}", wanted::DNS_LABEL);
                    found.push(Finding::new(&MANIFEST_INVALID_VALUE, &place.key("name"), message));
                }
            }
            let container = Container { fields: container, path: &place, volumes: &known };
            container.check(found);
        }
    }
}

struct Container<'a> {
    fields: &'a Map<String, Value>,
    path: &'a Path<'a>,
    volumes: &'a [&'a str],
}

impl Container<'_> {
    fn list(&self, key: &str) -> impl Iterator<Item = (usize, &Map<String, Value>)> {
        items_of(self.fields.get(key))
    }

    fn check(&self, found: &mut Vec<Finding>) {
        if text(self.fields, "image").is_none_or(str::is_empty) {
            let name = text(self.fields, "name").unwrap_or_default();
            let message = format!("the container `{name}` has no image");
            found.push(Finding::new(&MANIFEST_MISSING_FIELD, &self.path.key("image"), message));
        }
        self.ports(found);
        self.env(found);
        self.mounts(found);
        self.resources(found);
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            self.probe(probe, found);
        }
    }

    fn ports(&self, found: &mut Vec<Finding>) {
        let list = self.path.key("ports");
        let (mut names, mut numbers) = (Twins::new("port name"), Twins::new("container port"));
        for (index, port) in self.list("ports") {
            let at = list.index(index);
            let number = port.get("containerPort");
            if let Some(value) = number.filter(|v| v.is_number()) {
                check_port(value, 1, &at.key("containerPort"), found);
            }
            if let Some(value) = port.get("hostPort").filter(|v| v.as_i64() != Some(0)) {
                check_port(value, 1, &at.key("hostPort"), found);
            }
            if let Some(name) = text(port, "name").filter(|n| !n.is_empty()) {
                check_port(&Value::String(name.to_owned()), 1, &at.key("name"), found);
                names.note(name.to_owned(), &at.key("name"), Severity::Error, found);
            }
            if let Some(number) = number.and_then(Value::as_i64) {
                let protocol = text(port, "protocol").unwrap_or("TCP");
                let name = format!("{number}/{protocol}");
                numbers.note(name, &at.key("containerPort"), Severity::Warning, found);
            }
        }
    }

    fn env(&self, found: &mut Vec<Finding>) {
        let list = self.path.key("env");
        let mut names = Twins::new("variable");
        for (index, variable) in self.list("env") {
            let at = list.index(index);
            let name = text(variable, "name").unwrap_or_default();
            if !name.is_empty() {
                names.note(name.to_owned(), &at.key("name"), Severity::Warning, found);
            }
            if name.contains('=') {
                let message = format!("the name of the variable `{name}` has a `=`");
                found.push(Finding::new(&MANIFEST_INVALID_VALUE, &at.key("name"), message));
            }
            let has_source = variable.get("valueFrom").and_then(Value::as_object).is_some_and(|s| !s.is_empty());
            if has_source && text(variable, "value").is_some_and(|v| !v.is_empty()) {
                let message = format!("the variable `{name}` has both `value` and `valueFrom`");
                found.push(Finding::new(&MANIFEST_CONFLICT, &at.key("valueFrom"), message));
            }
        }
    }

    fn mounts(&self, found: &mut Vec<Finding>) {
        let list = self.path.key("volumeMounts");
        let mut paths = Twins::new("mount path");
        for (index, mount) in self.list("volumeMounts") {
            let at = list.index(index);
            if let Some(name) = text(mount, "name").filter(|n| !n.is_empty() && !self.volumes.contains(n)) {
                let message = format!("the volume `{name}` is mounted, but the pod has none of that name");
                let near = crate::diag::did_you_mean(name, self.volumes.iter().copied());
                let finding = Finding::new(&MANIFEST_INVALID_VALUE, &at.key("name"), message);
                found.push(finding.hint_if(near.map(|n| format!("did you mean `{n}`?"))));
            }
            if let Some(path) = text(mount, "mountPath").filter(|p| !p.is_empty()) {
                paths.note(path.to_owned(), &at.key("mountPath"), Severity::Error, found);
            }
        }
    }

    /// A request may not be above its limit.
    fn resources(&self, found: &mut Vec<Finding>) {
        let Some(resources) = self.fields.get("resources") else { return };
        let requests = resources.get("requests").and_then(Value::as_object);
        for (name, request) in requests.into_iter().flatten() {
            let limit = resources.get("limits").and_then(|l| l.get(name));
            let (Some(least), Some(most)) = (amount(Some(request)), amount(limit)) else { continue };
            if least > most * 1.000_000_1 {
                let (request, limit) = (bare(request), limit.map(bare).unwrap_or_default());
                let message = format!("the request of {name} (`{request}`) is above its limit (`{limit}`)");
                let at = self.path.key("resources");
                found.push(Finding::new(&MANIFEST_CONFLICT, &at.key("requests").key(name), message));
            }
        }
    }

    fn probe(&self, name: &str, found: &mut Vec<Finding>) {
        let Some(probe) = self.fields.get(name).and_then(Value::as_object) else { return };
        let at = self.path.key(name);
        let is_handler = |key: &&str| probe.get(*key).is_some_and(|v| !v.is_null());
        let handlers: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc"].iter().copied().filter(is_handler).collect();
        match handlers.as_slice() {
            [] => {
                let message = format!("`{at}` does not say what it asks: `exec`, `httpGet`, `tcpSocket` or `grpc`");
                found.push(Finding::new(&MANIFEST_MISSING_FIELD, &at, message));
            }
            [handler] => {
                let port = probe.get(*handler).and_then(|h| h.get("port")).filter(|_| *handler != "grpc");
                if let Some(port) = port {
                    check_port(port, 1, &at.key(handler).key("port"), found);
                }
            }
            several => {
                let message = format!("`{at}` asks in more than one way: {}", several.join(", "));
                found.push(Finding::new(&MANIFEST_CONFLICT, &at, message));
            }
        }
        let successes = probe.get("successThreshold").and_then(Value::as_i64).unwrap_or(1);
        if name != "readinessProbe" && !matches!(successes, 0 | 1) {
            let message = format!("`{}` can only be 1", at.key("successThreshold"));
            found.push(Finding::new(&MANIFEST_INVALID_VALUE, &at.key("successThreshold"), message));
        }
    }
}

fn amount(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => forms::quantity(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
