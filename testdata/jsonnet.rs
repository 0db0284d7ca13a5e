//! Jsonnet as an equal of Helm: examples/helm-and-jsonnet, and what files see of the command line and of charts.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use stagewright::source::FileId;
use stagewright::syntax::yaml;

use crate::cli::Sandbox;
use crate::quickstart::copy;

/// The objects of a rendering, by kind and name.
fn objects(text: &str) -> BTreeMap<String, Value> {
    let nodes = yaml::decode_all(text, FileId(u32::MAX), 0, yaml::Options::MANIFESTS).unwrap();
    let plain = nodes.iter().map(yaml::Node::to_plain).filter(|v| !v.is_null());
    plain.map(|v| (format!("{} {}", v["kind"], v["metadata"]["name"]), v)).collect()
}

fn rendered(sandbox: &Sandbox, args: &[&str]) -> String {
    let ran = sandbox.run(&[&["render"], args].concat());
    assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.out, ran.err);
    ran.out
}

#[test]
fn one_application_in_helm_and_in_jsonnet_gives_equal_objects() {
    let sandbox = Sandbox::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/helm-and-jsonnet"), &sandbox.project());
    sandbox.commit("the board");
    for more in [&[][..], &["--set", "replicas=5,ingress.enabled=false,settings.LOG_LEVEL=debug,cache.memory=1Gi"]] {
        let helm = objects(&rendered(&sandbox, more));
        let jsonnet = objects(&rendered(&sandbox, &[&["--config", "werf-jsonnet.yaml"], more].concat()));
        assert_eq!(helm, jsonnet);
        assert_eq!(helm.len(), if more.is_empty() { 5 } else { 4 });
    }
}

fn project(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("werf.yaml", "configVersion: 1\nproject: p\ndeploy:\n  jsonnetDir: j\n");
    for (path, text) in files {
        sandbox.write(path, text);
    }
    sandbox.commit("files");
    sandbox
}

const MAP: &str = "{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data: ";

#[test]
fn variables_and_arguments_come_from_the_command_line() {
    let main = format!("function(tag, n=1) {MAP}{{ t: tag, n: n, e: std.extVar('e'), c: std.extVar('c') }} }}");
    let sandbox = project(&[("j/main.jsonnet", &main)]);
    let args = ["render", "--tla-str", "tag=v1", "--tla-code", "n=3*2", "--ext-str", "e", "--ext-code", "c={x: 1}"];
    let ran = sandbox.run_with(&args, &[("e", "from outside")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let data = &objects(&ran.out)["\"ConfigMap\" \"m\""]["data"];
    assert_eq!(data.to_string(), r#"{"c":{"x":1},"e":"from outside","n":6,"t":"v1"}"#);
    let ran = sandbox.run(&["render", "--ext-str", "e"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--ext-str e: there is no environment variable e"), "{}", ran.err);
    let ran = sandbox.run(&["render", "--ext-str", "e=1", "--ext-code", "c=1"]);
    assert!(ran.code == 1 && ran.err.contains("tag"), "{}", ran.err);
}

#[test]
fn libraries_are_vendored_and_texts_imported() {
    let lock = r#"{"version":1,"dependencies":[],"legacyImports":false}"#;
    let files = [
        ("jsonnetfile.lock.json", lock),
        (
            "vendor/lib/k.libsonnet",
            "{ map(data):: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data: data } }",
        ),
        ("j/main.jsonnet", "local k = import 'lib/k.libsonnet'; k.map({ text: importstr 'a.txt' })"),
        ("j/a.txt", "hello\n"),
    ];
    let sandbox = project(&files);
    let out = rendered(&sandbox, &[]);
    assert_eq!(objects(&out)["\"ConfigMap\" \"m\""]["data"]["text"], "hello\n");
}

#[test]
fn a_fault_in_a_chart_is_shown_in_the_chart_and_at_the_call() {
    let main = "local t = std.native('helmTemplate');\nt('r', 'c', {})";
    let files = [
        ("j/main.jsonnet", main),
        ("j/c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        ("j/c/templates/a.yaml", "a: b\nx: {{ .Values.a.b }}\n"),
    ];
    let ran = project(&files).run(&["render"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("j/c/templates/a.yaml:2:") && ran.err.contains("nil pointer"), "{}", ran.err);
    assert!(ran.err.contains("helmTemplate: the chart `j/c` cannot be rendered"), "{}", ran.err);
    assert!(ran.err.contains("j/main.jsonnet:2:2"), "{}", ran.err);
}

#[test]
fn charts_outside_the_project_and_unknown_options_are_refused() {
    let run = |main: &str| project(&[("j/main.jsonnet", main)]).run(&["render"]).err;
    let err = run("std.native('helmTemplate')('r', '../../../etc', {})");
    assert!(err.contains("lies outside the project"), "{err}");
    let err = run("std.native('helmTemplate')('r', 'c', { namspace: 'x' })");
    assert!(err.contains("there is no option `namspace`"), "{err}");
}

#[test]
fn a_jsonnet_directory_that_is_not_there_is_reported_where_it_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("werf.yaml", "configVersion: 1\nproject: p\ndeploy:\n  jsonnetDir: nowhere\n").commit("files");
    let ran = sandbox.run(&["render"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("werf.yaml:4:15") && ran.err.contains("is not in the commit"), "{}", ran.err);
}
