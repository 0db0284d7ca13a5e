//! `template`, the drop-in for `helm template`.

use super::Sandbox;

fn chart() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
        .write("web/values.yaml", "replicas: 1\nname: web\n")
        .write(
            "web/templates/app.yaml",
            "kind: Deployment\napiVersion: apps/v1\nmetadata:\n  name: {{ .Release.Name }}-{{ .Values.name }}\nspec:\n  replicas: {{ .Values.replicas }}\n",
        )
        .write(
            "web/templates/job.yaml",
            "kind: Job\napiVersion: batch/v1\nmetadata:\n  name: test\n  annotations:\n    helm.sh/hook: test\n",
        )
        .write("other.yaml", "replicas: 3\n");
    sandbox
}

const APP: &str = "---\n# Source: web/templates/app.yaml\nkind: Deployment\napiVersion: apps/v1\nmetadata:\n  name: shop-api\nspec:\n  replicas: 3\n";
const JOB: &str = "---\n# Source: web/templates/job.yaml\nkind: Job\napiVersion: batch/v1\nmetadata:\n  name: test\n  annotations:\n    helm.sh/hook: test\n";

#[test]
fn a_chart_prints_what_helm_prints() {
    let sandbox = chart();
    let args = ["template", "shop", "./web", "-f", "other.yaml", "--set", "name=api"];
    let ran = sandbox.run(&args);
    assert_eq!((ran.code, ran.err.as_str(), ran.out), (0, "", format!("{APP}{JOB}")));
    let without = sandbox.run(&[&args[..], &["--skip-tests"]].concat());
    assert_eq!(without.out, APP);
    let only = sandbox.run(&[&args[..], &["--show-only", "templates/app.yaml"]].concat());
    assert_eq!(only.out, APP);
}

#[test]
fn values_come_from_the_environment_too() {
    let env = [("WERF_VALUES_1", "other.yaml"), ("WERF_SET_1", "replicas=9"), ("STAGEWRIGHT_SET_2", "name=api")];
    let ran = chart().run_with(&["template", "shop", "web", "--skip-tests", "--set", "replicas=3"], &env);
    assert_eq!((ran.code, ran.out.as_str()), (0, APP), "{}", ran.err);
}

#[test]
fn a_fault_is_shown_with_its_place_and_nothing_is_printed() {
    let sandbox = chart();
    sandbox.write("web/templates/bad.yaml", "kind: ConfigMap\nx: {{ required \"name it\" .Values.nothing }}\n");
    let ran = sandbox.run(&["template", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("web/templates/bad.yaml:2:") && ran.err.ends_with("1 error\n"), "{}", ran.err);
}

#[test]
fn what_is_not_there_is_said() {
    let sandbox = chart();
    for (args, told) in [
        (&["template", "nowhere"][..], "there is no chart nowhere"),
        (&["template", "web", "-f", "no.yaml"], "--values no.yaml: there is no such file"),
        (&["template", "Shop_1", "web"], "`Shop_1` is not a release name"),
        (&["template", "web", "--kube-version", "new"], "--kube-version new is not a version"),
        (&["template", "shop", "oci://127.0.0.1:1/web"], "fetch the chart oci://127.0.0.1:1/web"),
    ] {
        let ran = sandbox.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}");
        assert!(ran.err.contains(told), "{args:?}: {}", ran.err);
    }
}

#[test]
fn lookup_answers_from_files_when_told() {
    let sandbox = chart();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ (lookup \"v1\" \"Secret\" \"x\" \"old\").data.password | default \"none\" }}}\n\
                    items: {{ len (lookup \"v1\" \"Secret\" \"x\" \"\").items }}\n";
    sandbox.write("web/templates/look.yaml", template);
    sandbox.write(
        "found/a.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: old, namespace: x}\ndata: {password: cGFzcw==}\n",
    );
    sandbox.write("found/notes.txt", "no manifest");
    let args = ["template", "web", "--show-only", "templates/look.yaml", "--lookup-resources", "found"];
    let ran = sandbox.run(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("name: cGFzcw==") && ran.out.contains("items: 1"), "{}", ran.out);
    sandbox.write("found/b.yml", "kind: Secret\n");
    let ran = sandbox.run(&args);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("found/b.yml:1: a resource for `lookup` needs"), "{}", ran.err);
}

#[test]
fn a_link_out_of_a_chart_is_refused() {
    let sandbox = chart();
    sandbox.write("secret.txt", "hunter2\n");
    std::os::unix::fs::symlink("../../secret.txt", sandbox.project().join("web/templates/p.yaml")).unwrap();
    let ran = sandbox.run(&["template", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("leads to nothing, or out of the chart") && !ran.err.contains("hunter2"), "{}", ran.err);
}
