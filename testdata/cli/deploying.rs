//! What somebody types, or has in the environment, who comes from werf or Helm and deploys to a cluster.

use super::Sandbox;

fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write("werf.yaml", "project: shop\nconfigVersion: 1\n")
        .write(".helm/templates/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n")
        .commit("the shop");
    sandbox
}

#[test]
fn a_cluster_that_is_named_is_never_left_for_a_folder() {
    let sandbox = shop();
    let refused = |args: &[&str], env: &[(&str, &str)], named: &str| {
        let ran = sandbox.run_with(args, env);
        assert_eq!(ran.code, 64, "{args:?} {env:?}: {}{}", ran.out, ran.err);
        let text = format!("{named} is for --target cluster: name the target");
        assert!(ran.err.contains(&text) && ran.err.contains("STAGEWRIGHT_TARGET=cluster"), "{}", ran.err);
        assert!(!sandbox.project().join(".stagewright").exists());
    };
    refused(&["plan", "--kube-context", "prod"], &[], "--kube-context");
    refused(&["apply", "--auto-approve", "--kube-config", "/nowhere"], &[], "--kube-config");
    refused(&["apply", "--auto-approve"], &[("WERF_KUBE_CONTEXT", "prod")], "WERF_KUBE_CONTEXT (--kube-context)");
    let env = [("STAGEWRIGHT_KUBE_CONFIG_BASE64", "aHVudGVyMg==")];
    refused(&["apply", "--auto-approve"], &env, "STAGEWRIGHT_KUBE_CONFIG_BASE64 (--kube-config-base64)");
    // Where the folder is meant, or nothing is deployed, nobody minds.
    for args in [&["plan", "--target", "dir:out"][..], &["render"], &["lint"]] {
        let ran = sandbox.run_with(args, &[("WERF_KUBE_CONTEXT", "prod")]);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    }
}

#[test]
fn variables_that_nothing_reads_are_told_once() {
    let sandbox = shop();
    let env = [("WERF_KUBE_TOKEN", "hunter2"), ("WERF_ENV", "dev"), ("WERF_LOG_PROJECT_DIR", "1")];
    let ran = sandbox.run_with(&["plan"], &env);
    let told: Vec<&str> = ran.err.lines().filter(|line| line.contains("WERF_")).collect();
    assert_eq!(told, ["warning: no option has these variables, and they do nothing: WERF_KUBE_TOKEN"]);
    assert!(ran.code == 0 && !ran.err.contains("hunter2"), "{}", ran.err);
    assert!(!sandbox.run_with(&["plan", "--log-quiet"], &env).err.contains("WERF_"));
}

#[test]
fn the_words_of_werf_and_helm_are_known() {
    let sandbox = shop();
    for (verb, options) in [
        ("converge", &["--target", "dir:out", "--timeout", "5m", "-n", "there", "--atomic"][..]),
        ("deploy", &["--target", "dir:out", "--lock-timeout", "300", "-n", "there", "-R"]),
    ] {
        let ran = sandbox.run(&[&[verb, "--auto-approve"], options].concat());
        assert_eq!(ran.code, 0, "{verb}: {}{}", ran.out, ran.err);
    }
    let record = std::fs::read_to_string(sandbox.project().join("out/shop/.stagewright-release.json")).unwrap();
    assert!(record.contains("\"namespace\": \"there\""), "{record}");
    let help = sandbox.run(&["converge", "--help"]);
    let text = help.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.code == 0 && text.contains("`--target cluster` deploys to a cluster"), "{}", help.out);
    assert!(sandbox.run(&["--help"]).out.contains("[aliases: converge, deploy]"));
    let wrong = sandbox.run(&["plan", "--kube-retry-time", "soon"]);
    assert!(wrong.code == 64 && wrong.err.contains("`soon` is no duration"), "{}", wrong.err);
}

#[test]
fn what_is_not_there_yet_says_so() {
    let ran = shop().run(&["ci-env", "gitlab", "--as-file"]);
    assert!(ran.code == 1 && ran.out.is_empty(), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("`ci-env` is not there yet") && ran.err.contains("STAGEWRIGHT_REPO"), "{}", ran.err);
}

#[test]
fn a_release_is_not_named_twice() {
    let sandbox = shop();
    let rollback = sandbox.run(&["release", "rollback", "shop", "2", "--release", "shop"]);
    assert!(rollback.code == 64 && rollback.err.contains("named twice"), "{}", rollback.err);
    assert_eq!(sandbox.run(&["dismiss", "shop", "--release", "shop"]).code, 64);
    assert!(!sandbox.run(&["release", "get", "--help"]).out.contains("One name a line"));
}

#[test]
fn annotations_and_labels_are_added_to_every_resource_and_bad_ones_are_told() {
    let sandbox = shop();
    let hook = "# why it is here\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: h\n  annotations:\n    helm.sh/hook: pre-install\n";
    sandbox.write(".helm/templates/h.yaml", hook).commit("a hook");
    let added = ["--add-annotation", "example.org/team=web, mobile", "--add-label", "tier=1"];
    let ran = sandbox.run_with(&[&["render"], &added[..]].concat(), &[("WERF_ADD_LABEL_1", "from=env")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for text in ["    example.org/team: web, mobile\n", "    tier: \"1\"\n", "    from: env\n"] {
        assert_eq!(ran.out.matches(text).count(), 2, "{}", ran.out);
    }
    assert!(
        ran.out.contains("# why it is here\n") && ran.out.contains("    helm.sh/hook: pre-install\n"),
        "{}",
        ran.out
    );
    assert!(!ran.err.contains("WERF_ADD_LABEL"), "{}", ran.err);

    let origins = sandbox.run(&[&["render", "--origins"], &added[..]].concat()).out;
    assert!(origins.lines().any(|line| line.contains("tier:") && line.contains("--add-label")), "{origins}");

    // They are a change; those of the run are none, and no part of what is recorded.
    let target = ["--target", "dir:out"];
    let apply = |more: &[&str]| sandbox.run(&[&["apply", "--auto-approve"], &target[..], more].concat());
    assert_eq!(apply(&[]).code, 0);
    let plan = |more: &[&str]| sandbox.run(&[&["plan", "--exit-code"], &target[..], more].concat());
    assert_eq!(plan(&["--add-annotation", "ci.werf.io/job=1"]).code, 0);
    let changed = plan(&added);
    assert!(changed.code == 2 && changed.out.contains("+ metadata.labels.tier: 1"), "{}", changed.out);
    assert_eq!(apply(&added).code, 0);
    assert_eq!(plan(&added).code, 0);

    for (argument, message) in [
        (["--add-annotation", "team"], "error[metadata-argument]: --add-annotation `team` has no value"),
        (["--add-label", "tier=a b"], "error[metadata-argument]: --add-label: `a b` is no value of a label"),
    ] {
        let ran = plan(&argument);
        assert!(ran.code == 1 && ran.err.contains(message) && ran.err.contains("hint: "), "{}", ran.err);
    }
}

#[test]
fn hooks_that_shall_not_run_are_in_no_folder() {
    let sandbox = shop();
    let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {helm.sh/hook: pre-install}}\n";
    sandbox.write(".helm/templates/h.yaml", hook).commit("a hook");
    let apply = |more: &[&str]| sandbox.run(&[&["apply", "--auto-approve", "--target", "dir:out"], more].concat());
    let ran = apply(&["--no-hooks"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("no-hooks") && ran.out.contains("the hook is left out of the folder"), "{}", ran.out);
    let file = sandbox.project().join("out/shop/configmap-h.yaml");
    assert!(!file.exists() && sandbox.project().join("out/shop/configmap-c.yaml").exists());
    assert_eq!(apply(&[]).code, 0);
    assert!(file.exists());
}
