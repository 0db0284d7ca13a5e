//! What the manifests of one release say of each other: selectors of services, names of what pods and bindings need.
//!
//! What lives here: links within the release. What does not: what a cluster has beside it, which is why nothing here is
//! an error.

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Map, Value};

use super::Release;
use super::api::Api;
use super::place::{Finding, Path};
use super::rules::{items, items_of, pod_of, with_path};
use crate::chart::Manifest;
use crate::diag::rules::{MANIFEST_REFERENCE, SERVICE_WITHOUT_PODS};
use crate::diag::{Severity, did_you_mean};

/// Group, kind, namespace and name, borrowed.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

struct Known<'a> {
    keys: FxHashSet<Key<'a>>,
    names: FxHashMap<(&'a str, &'a str, &'a str), Vec<&'a str>>,
}

impl<'a> Known<'a> {
    fn has(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        self.keys.contains(&(group, kind, namespace, name))
    }

    fn near(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&'a str> {
        let names = self.names.get(&(group, kind, namespace))?;
        did_you_mean(name, names.iter().copied())
    }
}

/// Adds what is found to the findings of each manifest.
pub fn check(api: &Api, release: &Release<'_>, found: &mut [(&Manifest, Vec<Finding>)]) {
    let all = || release.manifests.iter().chain(release.hooks);
    let mut known = Known { keys: FxHashSet::default(), names: FxHashMap::default() };
    for manifest in all() {
        let namespace = manifest.namespace.as_deref().unwrap_or_default();
        known.keys.insert((manifest.group(), &manifest.kind, namespace, &manifest.name));
        known.names.entry((manifest.group(), &manifest.kind, namespace)).or_default().push(&manifest.name);
    }
    // custom resources make pods, secrets and accounts of their own
    let has_customs = all().any(|m| !api.has_group(m.group()));
    let pods: Vec<(&str, &Map<String, Value>)> = all().filter_map(labels_of_pod).collect();
    for (manifest, findings) in found {
        let namespace = manifest.namespace.as_deref().unwrap_or_default();
        if (manifest.group(), manifest.kind.as_str()) == ("", "Service") && !has_customs {
            findings.extend(service_without_pods(manifest, &pods));
        }
        if let Some((keys, pod)) = pod_of(manifest) {
            with_path(keys, &Path::ROOT, &mut |path| {
                let spec = path.key("spec");
                let pod = pod.get("spec").unwrap_or(&Value::Null);
                let mut needs = Needs { known: &known, namespace, found: findings };
                needs.of_pod(pod, &spec);
            });
        }
    }
}

fn labels_of_pod(manifest: &Manifest) -> Option<(&str, &Map<String, Value>)> {
    let (_, pod) = pod_of(manifest)?;
    let namespace = manifest.namespace.as_deref().unwrap_or_default();
    Some((namespace, pod.pointer("/metadata/labels").and_then(Value::as_object)?))
}

fn service_without_pods(manifest: &Manifest, pods: &[(&str, &Map<String, Value>)]) -> Option<Finding> {
    let spec = manifest.data.get("spec")?;
    let selector = spec.get("selector").and_then(Value::as_object).filter(|s| !s.is_empty())?;
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") || pods.is_empty() {
        return None;
    }
    let namespace = manifest.namespace.as_deref().unwrap_or_default();
    let selects = |labels: &Map<String, Value>| selector.iter().all(|(k, v)| v.is_null() || labels.get(k) == Some(v));
    if pods.iter().any(|(within, labels)| *within == namespace && selects(labels)) {
        return None;
    }
    let missed = |labels: &Map<String, Value>| selector.iter().filter(|(k, v)| labels.get(*k) != Some(*v)).count();
    let nearest = pods.iter().filter(|(within, _)| *within == namespace).min_by_key(|(_, labels)| missed(labels));
    let differs = nearest.filter(|(_, labels)| missed(labels) < selector.len()).and_then(|(_, labels)| {
        let (key, value) = selector.iter().find(|(k, v)| labels.get(*k) != Some(*v))?;
        let is = labels.get(key).and_then(Value::as_str);
        let wanted = value.as_str().unwrap_or_default();
        Some(match is {
            Some(other) => format!("the nearest pods have `{key}: {other}`, not `{key}: {wanted}`"),
            None => format!("the nearest pods have no label `{key}`"),
        })
    });
    let root = Path::ROOT.key("spec");
    let message = "the Service selects no pods of the release".to_owned();
    Some(Finding::new(&SERVICE_WITHOUT_PODS, &root.key("selector"), message).hint_if(differs))
}

/// What pods need of the same namespace.
struct Needs<'a, 'k> {
    known: &'a Known<'k>,
    namespace: &'a str,
    found: &'a mut Vec<Finding>,
}

impl Needs<'_, '_> {
    fn of_pod(&mut self, pod: &Value, path: &Path<'_>) {
        let account = pod.get("serviceAccountName").or_else(|| pod.get("serviceAccount"));
        if account.and_then(Value::as_str) != Some("default") {
            self.need("ServiceAccount", account, None, &path.key("serviceAccountName"));
        }
        let volumes = path.key("volumes");
        for (index, volume) in items(pod, "volumes") {
            let at = volumes.index(index);
            let sources = [
                ("configMap", "name", "ConfigMap"),
                ("secret", "secretName", "Secret"),
                ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
            ];
            for (source, name, kind) in sources {
                let Some(value) = volume.get(source) else { continue };
                self.need(kind, value.get(name), value.get("optional"), &at.key(source).key(name));
            }
            let projected = volume.get("projected").unwrap_or(&Value::Null);
            let place = at.key("projected");
            let list = place.key("sources");
            for (index, source) in items(projected, "sources") {
                let at = list.index(index);
                for (key, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
                    let Some(value) = source.get(key) else { continue };
                    self.need(kind, value.get("name"), value.get("optional"), &at.key(key).key("name"));
                }
            }
        }
        for list in ["initContainers", "containers"] {
            let all = path.key(list);
            for (index, container) in items(pod, list) {
                self.of_container(container, &all.index(index));
            }
        }
    }

    fn of_container(&mut self, container: &Map<String, Value>, path: &Path<'_>) {
        let env = path.key("env");
        for (index, variable) in items_of(container.get("env")) {
            let at = env.index(index);
            let source = variable.get("valueFrom").unwrap_or(&Value::Null);
            for (key, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                let Some(value) = source.get(key) else { continue };
                let place = at.key("valueFrom");
                self.need(kind, value.get("name"), value.get("optional"), &place.key(key).key("name"));
            }
        }
        let env = path.key("envFrom");
        for (index, source) in items_of(container.get("envFrom")) {
            let at = env.index(index);
            for (key, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                let Some(value) = source.get(key) else { continue };
                self.need(kind, value.get("name"), value.get("optional"), &at.key(key).key("name"));
            }
        }
    }

    fn need(&mut self, kind: &str, name: Option<&Value>, optional: Option<&Value>, path: &Path<'_>) {
        let Some(name) = name.and_then(Value::as_str).filter(|n| !n.is_empty()) else { return };
        let made_by_cluster = kind == "ConfigMap" && name == "kube-root-ca.crt";
        let is_optional = optional == Some(&Value::Bool(true)) || made_by_cluster;
        if is_optional || self.known.has("", kind, self.namespace, name) {
            return;
        }
        let message = format!("the {kind} `{name}` is not part of the release: the cluster must have it");
        let near = self.known.near("", kind, self.namespace, name);
        let severity = if near.is_some() { Severity::Warning } else { MANIFEST_REFERENCE.severity };
        let finding = Finding::new(&MANIFEST_REFERENCE, path, message).severity(severity);
        self.found.push(finding.hint_if(near.map(|n| format!("did you mean `{n}`, which is part of the release?"))));
    }
}
