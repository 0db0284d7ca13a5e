//! Manifests beside the schemas of Kubernetes.

use super::*;
use crate::syntax::yaml;

fn manifest(text: &str) -> Manifest {
    let data = yaml::decode(text, crate::source::FileId(0), 0, yaml::Options::HELM).unwrap().to_plain();
    let at = |pointer: &str| data.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    Manifest {
        api_version: at("/apiVersion"),
        kind: at("/kind"),
        namespace: Some("ns".into()),
        name: at("/metadata/name"),
        source: "c/templates/a.yaml".into(),
        text: text.into(),
        span: None,
        lines: Vec::new(),
        hook: None,
        weight: 0,
        data,
    }
}

/// Checks documents and returns `severity rule message` of each finding.
fn check_at(kube_version: &str, given: bool, text: &str) -> Vec<String> {
    let manifests: Vec<Manifest> = text.split("---\n").map(manifest).collect();
    let release = Release {
        manifests: &manifests,
        hooks: &[],
        crds: &[],
        kube_version: kube_version.into(),
        version_is_given: given,
    };
    let told = |f: &Finding| format!("{:?} {}: {}", f.severity, f.rule.name, f.message);
    findings(&release, Extent::All).iter().flat_map(|(_, list)| list.iter().map(told)).collect()
}

/// Returns the errors only, without their severity.
fn errors(text: &str) -> Vec<String> {
    let all = check_at("v1.35.0", false, text);
    all.iter().filter_map(|line| line.strip_prefix("Error ")).map(str::to_owned).collect()
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        EXTRA
";

fn container(extra: &str) -> Vec<String> {
    errors(&DEPLOYMENT.replace("EXTRA", extra))
}

const AT: &str = "spec.template.spec.containers[0]";

#[test]
fn a_right_manifest_has_no_errors() {
    assert_eq!(container(""), [] as [&str; 0]);
    let all = "resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {cpu: 1}}\n        \
               ports: [{name: http, containerPort: 80}]\n        env: [{name: A, value: ''}]\n        \
               livenessProbe: {httpGet: {port: http, path: /}, periodSeconds: 5}";
    assert_eq!(container(all), [] as [&str; 0]);
}

#[test]
fn an_unknown_field_is_an_error() {
    let told = container("imagePullpolicy: Always");
    assert_eq!(
        told,
        [format!("manifest-unknown-field: `{AT}.imagePullpolicy` is not a field of the Deployment (apps/v1)")]
    );
}

#[test]
fn types_are_those_of_the_field() {
    assert_eq!(
        container("env: [{name: A, value: 5}]"),
        [format!("manifest-wrong-type: `{AT}.env[0].value` must be a string, not the number `5`")]
    );
    assert_eq!(container("args: a"), [format!("manifest-wrong-type: `{AT}.args` must be a list, not the string `a`")]);
    assert_eq!(
        container("tty: 'true'"),
        [format!("manifest-wrong-type: `{AT}.tty` must be a boolean, not the string `true`")]
    );
    assert_eq!(container("args: null"), [] as [&str; 0]);
}

#[test]
fn values_have_the_form_of_the_field() {
    assert!(container("imagePullPolicy: always")[0].contains("it is one of `Always`, `IfNotPresent`, `Never`"));
    assert!(container("resources: {limits: {memory: 5gb}}")[0].contains("is `5gb`, which is not a quantity"));
    assert!(container("ports: [{containerPort: 70000}]")[0].contains("a port is a number from 1 to 65535"));
    assert!(container("ports: [{containerPort: 80, name: Http}]")[0].contains("which is no name of a port"));
    let label = DEPLOYMENT.replace("{name: web}", "{name: Web_1, labels: {a: -b}}").replace("EXTRA", "");
    let told = errors(&label);
    assert!(told.iter().any(|t| t.contains("the name `Web_1` is not allowed")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("`metadata.labels.a` is `-b`, which is no label")), "{told:?}");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: not base64}\n";
    assert_eq!(errors(secret), ["manifest-invalid-value: `data.a` is not base64"]);
}

#[test]
fn missing_fields_are_told() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http}]}\n";
    assert_eq!(errors(service), ["manifest-missing-field: `spec.ports[0].port` is missing in the Service (v1)"]);
    let image = DEPLOYMENT.replace("image: web:1", "image:");
    assert_eq!(errors(&image.replace("EXTRA", "")), ["manifest-missing-field: the container `web` has no image"]);
}

#[test]
fn fields_that_exclude_each_other_are_told() {
    let told = container("resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}");
    assert_eq!(told, ["manifest-conflict: the request of cpu (`2`) is above its limit (`1500m`)"]);
    let told = container("volumeMounts: [{name: data, mountPath: /data}]");
    assert_eq!(told, ["manifest-invalid-value: the volume `data` is mounted, but the pod has none of that name"]);
    let told = container("ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]");
    assert_eq!(told, ["manifest-twin: the port name `a` is given twice"]);
    let told = errors(&DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: site}").replace("EXTRA", ""));
    assert_eq!(told, ["manifest-selector: the selector asks for `app: site`, but the pod template has `app: web`"]);
}

#[test]
fn what_a_version_serves_is_told_by_group_and_kind() {
    let (old, new) = (super::served("v1.24.3"), super::served("v1.35.0"));
    for name in ["v1", "v1/Pod", "batch/v1", "batch/v1/CronJob", "policy/v1/PodDisruptionBudget"] {
        assert!(old.contains(name) && new.contains(name), "{name}");
    }
    assert!(old.contains("batch/v1beta1/CronJob") && !new.contains("batch/v1beta1"));
    assert!(!new.iter().any(|name| name.contains("alpha")));
}

#[test]
fn removed_and_deprecated_versions_are_told_for_the_release() {
    let cron = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\nspec: {}\n";
    assert_eq!(
        errors(cron),
        ["api-not-served: CronJob of batch/v1beta1 is not served since Kubernetes 1.25; the release is for 1.35"]
    );
    let told = check_at("v1.24.3", true, cron);
    let expected = "Warning api-deprecated: CronJob of batch/v1beta1 is deprecated since Kubernetes 1.21, and not served from 1.25 on";
    assert_eq!(told[0], expected);
    let cron = cron.replace("v1beta1", "v1");
    let told = check_at("1.20", true, &cron);
    assert!(told[0].contains("CronJob of batch/v1 comes with Kubernetes 1.21"), "{told:?}");
}

#[test]
fn unknown_kinds_of_known_groups_are_told_and_other_groups_are_not() {
    let kind = |version: &str, kind: &str| {
        check_at("v1.35.0", false, &format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n"))
    };
    assert_eq!(
        kind("apps/v1", "Deploymnt"),
        ["Error manifest-unknown-kind: Kubernetes has no kind Deploymnt in apps/v1"]
    );
    assert_eq!(kind("v1", "Deployment"), ["Error manifest-unknown-kind: Kubernetes has no kind Deployment in v1"]);
    assert!(kind("autoscaling/v3", "HorizontalPodAutoscaler")[0].starts_with("Warning"));
    assert_eq!(kind("example.com/v1", "Thing"), [] as [&str; 0]);
}

#[test]
fn custom_resources_are_compared_with_the_definition_of_the_chart() {
    let text = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size, made]
            properties:
              size: {type: integer, minimum: 1}
              made: {type: string, default: x}
              mode: {type: string, enum: [fast, slow]}
              name: {type: string, pattern: '^[a-z]+$'}
              port: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: a}
spec: {mode: fats, name: A1, port: http, free: {a: 1}, sise: 3}
---
apiVersion: example.com/v2
kind: Thing
metadata: {name: a}
";
    let told = check_at("v1.35.0", false, text);
    assert_eq!(
        told,
        [
            "Error manifest-invalid-value: `spec.mode` is `fats`; it is one of `fast`, `slow`",
            "Error manifest-invalid-value: `spec.name` is `A1`, which does not match `^[a-z]+$`",
            "Warning manifest-unknown-field: `spec.sise` is not a field of the Thing that the chart defines",
            "Error manifest-missing-field: `spec.size` is missing in the Thing",
            "Error manifest-unknown-kind: the chart defines Thing of example.com in v1, not in v2",
        ]
    );
}

/// Checks specs of a kind whose definition joins schemas.
fn joined(schema: &str, spec: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.example.com}}\n\
         spec:\n  group: example.com\n  names: {{kind: Thing, plural: things}}\n  scope: Namespaced\n  versions:\n  \
         - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        \
         properties:\n          spec: {schema}\n---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {{name: a}}\nspec: {spec}\n"
    );
    let told = check_at("v1.35.0", false, &text);
    told.into_iter().map(|line| line.replacen("Error manifest-", "", 1)).collect()
}

#[test]
fn joined_schemas_of_a_definition_are_decided() {
    let two =
        "{type: object, properties: {a: {type: string}, b: {type: string}}, KEY: [{required: [a]}, {required: [b]}]}";
    let none = ["invalid-value: `spec` fits no alternative of the Thing: `spec.a` is missing in the Thing; \
         `spec.b` is missing in the Thing"];
    let both = ["invalid-value: `spec` fits 2 alternatives of the Thing, which wants just one"];
    for key in ["anyOf", "oneOf"] {
        let schema = two.replace("KEY", key);
        assert_eq!(joined(&schema, "{}"), none, "{key}");
        assert_eq!(joined(&schema, "{a: x}"), [] as [&str; 0], "{key}");
        assert_eq!(joined(&schema, "{a: x, b: null}"), [] as [&str; 0], "{key}");
        let wanted: &[&str] = if key == "oneOf" { &both } else { &[] };
        assert_eq!(joined(&schema, "{a: x, b: z}"), wanted, "{key}");
    }
    let all = two.replace("KEY", "allOf");
    assert_eq!(joined(&all, "{a: x}"), ["missing-field: `spec.b` is missing in the Thing"]);
    let not = "{type: object, properties: {a: {type: string}}, not: {properties: {a: {enum: [x]}}, required: [a]}}";
    assert_eq!(joined(not, "{a: x}"), ["invalid-value: `spec` has a form that the Thing forbids"]);
    assert_eq!(joined(not, "{a: z}"), [] as [&str; 0]);
    assert_eq!(joined(not, "{}"), [] as [&str; 0]);
}

#[test]
fn joined_schemas_that_cannot_be_decided_say_nothing() {
    let schema = |of: &str| {
        format!("{{type: object, properties: {{a: {{type: string, default: d}}, m: {{type: integer}}}}, {of}}}")
    };
    let silent = |of: &str, spec: &str| assert_eq!(joined(&schema(of), spec), [] as [&str; 0], "{of} {spec}");
    silent("anyOf: [{required: [a]}, {required: [m]}]", "{}");
    silent("not: {required: [m], properties: {a: {format: uuid}}}", "{m: 1}");
    silent("oneOf: [{required: [m]}, {properties: {a: {format: ipv4}}}]", "{m: 1}");
    silent("oneOf: [{properties: {a: {pattern: '(?=x)'}}}, {required: [m]}]", "{m: 1}");
    silent("not: {anyOf: [{properties: {a: {format: ipv4}}}]}", "{}");
    silent("anyOf: [{properties: {m: {minimum: 3}}}, {properties: {m: {maximum: 1}}}]", "{m: 1}");
    let port =
        "{type: object, properties: {p: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}}}";
    assert_eq!(joined(port, "{p: http}"), [] as [&str; 0]);
}

#[test]
fn a_service_that_selects_nothing_is_told_with_the_label_that_differs() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                   spec: {selector: {app: wbe}, ports: [{port: 80}]}\n";
    let told = check_at("v1.35.0", false, &format!("{}---\n{service}", DEPLOYMENT.replace("EXTRA", "")));
    assert!(told.iter().any(|t| t == "Warning service-without-pods: the Service selects no pods of the release"));
    let right = service.replace("wbe", "web");
    let told = check_at("v1.35.0", false, &format!("{}---\n{right}", DEPLOYMENT.replace("EXTRA", "")));
    assert!(!told.iter().any(|t| t.contains("service-without-pods")), "{told:?}");
}

#[test]
fn hazards_are_warnings_and_notes() {
    let told = check_at(
        "v1.35.0",
        false,
        &DEPLOYMENT.replace("web:1", "web:latest").replace(
            "EXTRA",
            "securityContext: {privileged: true, capabilities: {add: [SYS_ADMIN]}}\n        \
             envFrom: [{secretRef: {name: s}}, {secretRef: {name: t, optional: true}}]",
        ),
    );
    assert_eq!(
        told,
        [
            "Note manifest-reference: the Secret `s` is not part of the release: the cluster must have it",
            "Warning host-access: the container has all privileges of the host",
            "Warning host-access: the container is given the capability SYS_ADMIN",
            "Warning floating-image: the image `web:latest` has a tag that moves: what runs changes with it",
            "Note no-resources: `web` has neither requests nor limits of resources",
        ]
    );
}

#[test]
fn the_resources_of_a_list_are_checked_one_by_one() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n  dat: {}\n\
                - apiVersion: policy/v1beta1\n  kind: PodDisruptionBudget\n  metadata: {name: b}\n";
    let found = errors(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("manifest-unknown-field: ConfigMap/a: `dat`"), "{found:?}");
    assert!(found[1].starts_with("api-not-served: PodDisruptionBudget/b: "), "{found:?}");
    let text = "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n  data: []\n";
    assert_eq!(errors(text), ["manifest-wrong-type: ConfigMap/a: `data` must be a mapping, not a list"]);
}

#[test]
fn a_name_that_the_server_makes_up_is_told_with_what_to_write() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-NAME}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: 'a:1'}]}}}\n";
    let told = |name: &str| {
        let all = check_at("v1.35.0", false, &job.replace("NAME", name));
        all.into_iter().filter(|line| line.contains("generated-name")).collect::<Vec<_>>()
    };
    let what = "`metadata.generateName` (migrate-) without `metadata.name`: a deploy to a cluster refuses it";
    assert_eq!(told(""), [format!("Warning generated-name: {what}")]);
    assert_eq!(told(", name: migrate"), [""; 0]);
}
