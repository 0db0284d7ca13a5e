//! What manifests risk: rights over the host, rights over the cluster, floating images, no bounds, no probes.
//!
//! What lives here: hazards of single fields, which `plan` tells of changes and `lint` of whole manifests, and those of
//! containers. What does not: what the API server refuses (`kubernetes`).

use serde_json::{Map, Value};

use super::kubernetes::{Finding, Path, items, pod_of, with_path};
use crate::chart::Manifest;
use crate::diag::rules::{BROAD_RIGHTS, FLOATING_IMAGE, GENERATED_NAME, HOST_ACCESS, NO_READINESS_PROBE, NO_RESOURCES};

/// What a value of a field risks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// Whether the whole cluster is at stake.
    pub grave: bool,
    /// What it means.
    pub message: String,
}

/// Returns what a field risks; `path` is written with dots.
pub fn field_hazard(kind: &str, path: &str, value: &Value) -> Option<Hazard> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let is_true = *value == Value::Bool(true);
    let some = |grave: bool, message: String| Some(Hazard { grave, message });
    match (kind, last) {
        (_, "privileged") if is_true => some(false, "the container has all privileges of the host".into()),
        (_, "hostNetwork" | "hostPID" | "hostIPC") if is_true => {
            some(false, format!("pods share the host's namespace ({last})"))
        }
        (_, "path") if path.contains("hostPath") => some(false, format!("a directory of the host is mounted: {value}")),
        ("ClusterRoleBinding", "name") if path == "roleRef.name" && value == "cluster-admin" => {
            some(true, "all rights in the cluster are granted".into())
        }
        _ => None,
    }
}

/// Looks at one manifest.
pub fn check(manifest: &Manifest) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some((keys, pod)) = pod_of(manifest) {
        with_path(keys, &Path::ROOT, &mut |path| check_pod(manifest, pod, path, &mut found));
    }
    if manifest.group() == "rbac.authorization.k8s.io" {
        check_rights(manifest, &mut found);
    }
    if let Some(prefix) = generated_name(&manifest.data) {
        let message =
            format!("`metadata.generateName` ({prefix}) without `metadata.name`: a deploy to a cluster refuses it");
        let metadata = Path::ROOT.key("metadata");
        let finding = Finding::new(&GENERATED_NAME, &metadata.key("generateName"), message);
        found.push(finding.hint(name_instead(prefix)));
    }
    found
}

/// Returns what a name begins with that only the API server would know.
pub fn generated_name(data: &Value) -> Option<&str> {
    let of = |key: &str| data.get("metadata")?.get(key)?.as_str().filter(|text| !text.is_empty());
    of("generateName").filter(|_| of("name").is_none())
}

/// Says how to name what shall have another name each time.
pub fn name_instead(prefix: &str) -> String {
    format!(
        "name it: `name: {}` (a hook is made anew each time), or `name: {prefix}{{{{ .Release.Revision }}}}` for another one with each revision",
        prefix.trim_end_matches('-')
    )
}

fn check_rights(manifest: &Manifest, found: &mut Vec<Finding>) {
    let role = Path::ROOT.key("roleRef");
    let path = role.key("name");
    if let Some(name) = manifest.data.pointer("/roleRef/name")
        && let Some(hazard) = field_hazard(&manifest.kind, "roleRef.name", name)
    {
        found.push(Finding::new(&BROAD_RIGHTS, &path, hazard.message));
    }
    let all = |rule: &Map<String, Value>, key: &str| {
        rule.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().any(|v| v == "*"))
    };
    let list = Path::ROOT.key("rules");
    for (index, rule) in items(&manifest.data, "rules") {
        let wide: Vec<&str> = ["apiGroups", "resources", "verbs"].into_iter().filter(|key| all(rule, key)).collect();
        if wide.contains(&"resources") || wide.contains(&"verbs") {
            let at = list.index(index);
            let message = format!("the rule grants everything (`*`) in {}", wide.join(", "));
            found.push(Finding::new(&BROAD_RIGHTS, &at.key(wide.last().unwrap_or(&"verbs")), message));
        }
    }
}

fn check_pod(manifest: &Manifest, pod: &Value, path: &Path<'_>, found: &mut Vec<Finding>) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let at = path.key("spec");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if let Some(hazard) = spec.get(key).and_then(|value| field_hazard(&manifest.kind, key, value)) {
            found.push(Finding::new(&HOST_ACCESS, &at.key(key), hazard.message));
        }
    }
    let volumes = at.key("volumes");
    for (index, volume) in items(spec, "volumes") {
        let path = volume.get("hostPath").and_then(|h| h.get("path"));
        if let Some(hazard) = path.and_then(|p| field_hazard(&manifest.kind, "hostPath.path", p)) {
            let place = volumes.index(index);
            found.push(Finding::new(&HOST_ACCESS, &place.key("hostPath").key("path"), hazard.message));
        }
    }
    let root = spec.pointer("/securityContext/runAsUser").and_then(Value::as_i64) == Some(0);
    if root {
        let message = "the containers run as root".to_owned();
        let context = at.key("securityContext");
        found.push(Finding::new(&HOST_ACCESS, &context.key("runAsUser"), message));
    }
    let serves =
        matches!(manifest.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet") && manifest.hook.is_none();
    let (mut unbounded, mut first) = (Vec::new(), None);
    for list in ["initContainers", "containers"] {
        let all = at.key(list);
        for (index, container) in items(spec, list) {
            let place = all.index(index);
            check_container(manifest, container, &place, found);
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let resources = container.get("resources");
            let has = |key: &str| {
                resources.and_then(|r| r.get(key)).and_then(Value::as_object).is_some_and(|r| !r.is_empty())
            };
            if serves && list == "containers" && !has("requests") && !has("limits") {
                unbounded.push(format!("`{name}`"));
                first.get_or_insert(index);
            }
            let asks = |key: &str| container.get(key).is_some_and(|v| !v.is_null());
            let ports = container.get("ports").and_then(Value::as_array).is_some_and(|p| !p.is_empty());
            if serves && list == "containers" && ports && asks("livenessProbe") && !asks("readinessProbe") {
                let message = format!("the container `{name}` says when it is alive, and not when it is ready");
                found.push(Finding::new(&NO_READINESS_PROBE, &place.key("livenessProbe"), message));
            }
        }
    }
    if let Some(index) = first {
        let (all, is) = (at.key("containers"), if unbounded.len() == 1 { "has" } else { "have" });
        let message = format!("{} {is} neither requests nor limits of resources", unbounded.join(", "));
        found.push(Finding::new(&NO_RESOURCES, &all.index(index), message));
    }
}

/// Capabilities that reach beyond the container.
const STRONG: &[&str] =
    &["ALL", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "SYS_BOOT"];

fn check_container(manifest: &Manifest, container: &Map<String, Value>, path: &Path<'_>, found: &mut Vec<Finding>) {
    let context = container.get("securityContext").unwrap_or(&Value::Null);
    let at = path.key("securityContext");
    if let Some(hazard) = context.get("privileged").and_then(|v| field_hazard(&manifest.kind, "privileged", v)) {
        found.push(Finding::new(&HOST_ACCESS, &at.key("privileged"), hazard.message));
    }
    if context.get("runAsUser").and_then(Value::as_i64) == Some(0) {
        found.push(Finding::new(&HOST_ACCESS, &at.key("runAsUser"), "the container runs as root".to_owned()));
    }
    let added = context.pointer("/capabilities/add").and_then(Value::as_array);
    let capabilities = at.key("capabilities");
    let list = capabilities.key("add");
    for (index, name) in added.into_iter().flatten().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if STRONG.contains(&name.trim_start_matches("CAP_")) {
            let message = format!("the container is given the capability {name}");
            found.push(Finding::new(&HOST_ACCESS, &list.index(index), message));
        }
    }
    if let Some(image) = container.get("image").and_then(Value::as_str)
        && let Some(fault) = floating(image)
    {
        found.push(Finding::new(&FLOATING_IMAGE, &path.key("image"), format!("the image `{image}` {fault}")));
    }
}

/// Says how a reference leaves open which image it means.
fn floating(image: &str) -> Option<&'static str> {
    if image.is_empty() || image.contains('@') {
        return None;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None => Some("has neither tag nor digest: what runs changes with `latest`"),
        Some((_, "latest" | "")) => Some("has a tag that moves: what runs changes with it"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_fixed_tag_floats() {
        assert!(floating("nginx").is_some() && floating("localhost:5000/a/b").is_some());
        assert!(floating("nginx:latest").is_some());
        assert!(floating("nginx:1.27").is_none() && floating("localhost:5000/a@sha256:00").is_none());
    }

    #[test]
    fn hazards_of_fields_are_told() {
        let yes = Value::Bool(true);
        assert!(field_hazard("Pod", "spec.hostPID", &yes).is_some());
        assert!(field_hazard("Pod", "spec.hostPID", &Value::Bool(false)).is_none());
        let admin = Value::from("cluster-admin");
        assert!(field_hazard("ClusterRoleBinding", "roleRef.name", &admin).unwrap().grave);
        assert!(field_hazard("RoleBinding", "roleRef.name", &admin).is_none());
    }
}
