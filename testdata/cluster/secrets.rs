//! Secrets are planted wherever a deploy to a cluster can have them, and looked for in all that is printed and saved.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::loopback::Loopback;
use super::tracking::{Kubelet, once, waits};
use super::{Deploy, Ground};
use crate::cli::hidden::traces;
use crate::cli::{Ran, listing};
use crate::services::Cluster;

/// Of the file of secret values: characters that JSON and YAML escape.
const PASSWORD: &str = "pl4nted \"pass&rd' <1>";
const OTHER_PASSWORD: &str = "pl4nted-other";
/// Of a secret file.
const FILE: &str = "pl4nted-file";
/// Given by `--set`, for a Secret.
const SET: &str = "pl4nted-set";
/// Of a value that an annotation hides, and of one that a path in an annotation hides.
const MARKED: &str = "pl4nted-marked";
const BY_PATH: &str = "pl4nted-path";
/// Written into a Secret by somebody else.
const THEIRS: &str = "pl4nted-theirs";

const ALL: [&str; 7] = [PASSWORD, OTHER_PASSWORD, FILE, SET, MARKED, BY_PATH, THEIRS];

const MANIFESTS: &str = r#"apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  password: {{ .Values.db.password | quote }}
  set: {{ .Values.set | default "none" | quote }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  url: {{ printf "db://app:%s@db/shop" .Values.db.password | quote }}
  encoded: {{ printf "app:%s" .Values.db.password | b64enc }}
  file: {{ werf_secret_file "tls/key" | quote }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: marked, annotations: {werf.io/sensitive: 'true'}}
data: {word: {{ .Values.marked }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: paths, annotations: {werf.io/sensitive-paths: '$.data.word'}}
data: {word: {{ .Values.path }}, other: {{ .Values.other }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: nowhere
      containers:
      - name: main
        image: example/web:1
        env: [{name: PASSWORD, value: {{ .Values.db.password | quote }}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}}
spec:
  template:
    spec:
      nodeName: nowhere
      restartPolicy: Never
      containers: [{name: main, image: 'example/web:1', env: [{name: PASSWORD, value: {{ .Values.db.password | quote }}}]}]
"#;

fn found(text: &str) -> Vec<String> {
    traces(text, &ALL)
}

fn run(deploy: &Deploy, expected: i32, args: &[&str]) -> Ran {
    let set = format!("set={SET}");
    let values = ["--set", set.as_str()];
    let takes_values = !args.contains(&"shop.plan") || args.contains(&"--out");
    let takes_values = takes_values && matches!(args.first(), Some(&"plan" | &"apply"));
    let args: Vec<&str> = args.iter().chain(values.iter().filter(|_| takes_values)).copied().collect();
    let ran = if args.first() == Some(&"show") { deploy.sandbox.run(&args) } else { deploy.run(expected, &args) };
    assert_eq!(ran.code, expected, "{args:?}: {}", ran.err);
    // What was typed stands in the command that is proposed; there it is hidden too.
    for text in [&ran.out, &ran.err] {
        assert_eq!(found(text), [""; 0], "{args:?}: {text}");
    }
    ran
}

/// What is told of a release that is there.
fn looks_back(deploy: &Deploy, args: &[&str]) {
    let place = ["--namespace", &deploy.namespace, "--kubeconfig", &deploy.kubeconfig, "--log-debug"];
    let ran = deploy.sandbox.run(&[&["release"], args, &place].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    for text in [&ran.out, &ran.err] {
        assert_eq!(found(text), [""; 0], "{args:?}: {text}");
    }
}

fn encrypted(deploy: &Deploy, from: &str, args: &[&str], to: &str) {
    let sandbox = &deploy.sandbox;
    sandbox.write("plain", from).write(to, "");
    let all: Vec<&str> = ["secret", "encrypt", "plain", "-o", to].iter().chain(args).copied().collect();
    let ran = sandbox.run(&all);
    assert_eq!(ran.code, 0, "{}", ran.err);
    std::fs::remove_file(sandbox.project().join("plain")).unwrap();
}

fn password(deploy: &Deploy, text: &str) {
    let values = format!("db: {{password: {}}}\n", serde_json::to_string(text).unwrap());
    encrypted(deploy, &values, &["--values"], ".helm/secret-values.yaml");
    deploy.sandbox.commit("a password");
}

/// Every form of a plan, made anew and saved.
fn looked_at(deploy: &Deploy) {
    for format in ["text", "json", "markdown", "html", "github", "gitlab"] {
        run(deploy, 0, &["plan", "-o", format, "--log-debug"]);
    }
    run(deploy, 0, &["plan", "--out", "shop.plan"]);
    for format in ["text", "json", "markdown"] {
        run(deploy, 0, &["show", "shop.plan", "-o", format]);
    }
    // The file of the plan, the journal and the caches, as they are and as JSON.
    for dir in [deploy.sandbox.project().join(".stagewright"), deploy.sandbox.home()] {
        let files = if dir.is_dir() { listing(&dir) } else { Vec::new() };
        for (path, bytes) in files {
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(found(&text), [""; 0], "{}", path.display());
        }
    }
    let file = std::fs::read_to_string(deploy.sandbox.project().join("shop.plan")).unwrap();
    assert_eq!(found(&file), [""; 0]);
    let plan: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(found(&plan.to_string()), [""; 0]);
}

#[test]
fn planted_secrets_are_in_no_plan_log_or_report_of_a_cluster() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = Deploy::bare("hidden", Ground::Real(cluster));
    let sandbox = &deploy.sandbox;
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    sandbox.write(".gitignore", "/shop.plan\n").write(".helm/templates/all.yaml", MANIFESTS);
    // What an annotation hides is in the repository; elsewhere it is not.
    sandbox.write(".helm/values.yaml", &format!("marked: {MARKED}\npath: {BY_PATH}\nother: shown\n"));
    encrypted(&deploy, FILE, &[], ".helm/secret/tls/key");
    password(&deploy, PASSWORD);
    looked_at(&deploy);
    let text = run(&deploy, 0, &["plan", "--log-verbose"]).out;
    assert!(text.contains("data.other: shown"), "{text}");

    // A container that fails and repeats what it was given, in its status and its messages.
    let fails = |name: &str, nth: u32| {
        let message = format!("cannot log in with {PASSWORD} or {SET}");
        if name.starts_with("migrate") {
            once(nth, super::tracking::finished(0))
        } else {
            once(nth, waits("InvalidImageName", &message, 0))
        }
    };
    {
        let _kubelet = Kubelet::start(cluster, "hidden", Box::new(fails));
        let ran = run(&deploy, 1, &["apply", "--auto-approve", "--log-debug", "--timeout", "240", "-o", "json"]);
        assert!(ran.err.contains("cannot log in with"), "{}", ran.err);
    }
    let _kubelet = Kubelet::start(
        cluster,
        "hidden",
        Box::new(|name: &str, nth| {
            once(nth, if name.starts_with("migrate") { super::tracking::finished(0) } else { super::tracking::ready() })
        }),
    );
    run(&deploy, 0, &["plan", "--out", "shop.plan"]);
    run(&deploy, 0, &["apply", "shop.plan", "--auto-approve", "--log-debug"]);
    let live = deploy.object("secrets", "keys").unwrap();
    assert_eq!(live["data"]["password"], STANDARD.encode(PASSWORD), "what is deployed is in clear");

    // Somebody else writes a secret; and the password changes.
    let patch = json!({"data": {"password": STANDARD.encode(THEIRS)}}).to_string();
    let address = deploy.address("secrets", "keys");
    cluster.call("PATCH", &address, Some(("application/merge-patch+json", patch)));
    looked_at(&deploy);
    password(&deploy, OTHER_PASSWORD);
    sandbox.write(".helm/values.yaml", "marked: now-plain\npath: now-plain\nother: seen\n").commit("other words");
    looked_at(&deploy);
    let text = run(&deploy, 0, &["plan"]).out;
    assert!(text.contains("env[name=PASSWORD].value: (secret "), "{text}");
    assert!(text.contains("data.other: shown -> seen"), "{text}");
    run(&deploy, 0, &["apply", "--auto-approve", "--log-debug", "--timeout", "240"]);

    // What is told of the release afterwards, and of going back.
    for format in ["text", "json"] {
        for part in ["all", "values", "manifest", "hooks", "notes"] {
            looks_back(&deploy, &["get", "shop", part, "-o", format]);
        }
        looks_back(&deploy, &["history", "shop", "-o", format]);
    }
    run(&deploy, 0, &["release", "rollback", "--out", "shop.plan", "--log-debug"]);
    run(&deploy, 0, &["show", "shop.plan"]);
    run(&deploy, 0, &["dismiss", "--out", "shop.plan", "--log-debug"]);
    run(&deploy, 0, &["show", "shop.plan"]);

    // Errors of the server repeat what was wrong.
    let bad =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, labels: {word: {{ .Values.db.password | quote }}}}\n";
    password(&deploy, PASSWORD);
    sandbox.write(".helm/templates/bad.yaml", bad).commit("what is refused");
    let ran = run(&deploy, 1, &["plan", "--log-debug"]);
    assert!(ran.err.contains("resource-refused"), "{}", ran.err);
    run(&deploy, 1, &["apply", "--auto-approve"]);
    run(&deploy, 0, &["release", "rollback", "2", "--auto-approve", "--log-debug", "--timeout", "240"]);
    run(&deploy, 0, &["dismiss", "--auto-approve", "--log-debug"]);
}

/// Hooks, lists and notes are the only holders.
#[test]
fn secrets_of_hooks_lists_and_notes_are_not_shown_when_a_release_is_looked_at_or_taken_back() {
    let deploy = Deploy::bare("lookedback", Ground::Loopback(Loopback::start()));
    let sandbox = &deploy.sandbox;
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    let events = "pre-install,pre-upgrade,pre-rollback,post-delete";
    sandbox.write(
        ".helm/templates/h.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: h, annotations: {{helm.sh/hook: '{events}'}}}}\ndata: {{x: {{{{ .Values.db.password | quote }}}}}}\n"),
    );
    sandbox.write(
        ".helm/templates/all.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: {{ .Values.other }}}\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {x: {{ .Values.db.password | quote }}, y: {{ .Values.set }}, z: 'db://app:{{ .Values.set }}@db'}}\n",
    );
    sandbox.write(".helm/templates/NOTES.txt", "Log in with {{ .Values.db.password }}.\n");
    sandbox.write(".helm/values.yaml", "other: one\n");
    password(&deploy, PASSWORD);
    let set = format!("set={SET}");
    let apply = ["apply", "--auto-approve", "--set", &set, "--set", "replicas=3,word=shown"];
    deploy.run(0, &apply);
    sandbox.write(".helm/values.yaml", "other: two\n").commit("other words");
    deploy.run(0, &apply);
    // Without the key nobody knows what is secret but the records.
    std::fs::remove_file(sandbox.home().join(".werf/global_secret_key")).unwrap();
    let quiet = |args: &[&str]| {
        let place: &[&str] = if args.first() == Some(&"show") {
            &[]
        } else {
            &["--namespace", "lookedback", "--kubeconfig", &deploy.kubeconfig]
        };
        let ran = sandbox.run(&[args, place].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        for text in [&ran.out, &ran.err] {
            assert_eq!(found(text), [""; 0], "{args:?}: {text}");
        }
        ran.out
    };
    for format in ["text", "json"] {
        let all = quiet(&["release", "get", "shop", "-o", format]);
        assert!(all.contains("x: two") && all.contains("--show-secrets"), "{all}");
        for part in ["manifest", "hooks", "notes", "values"] {
            quiet(&["release", "get", "shop", part, "-o", format]);
        }
    }
    // What was typed fills a Secret.
    assert_eq!(quiet(&["release", "get", "shop", "values"]), "replicas: 3\nset: (secret)\nword: shown\n");
    let values = ["release", "get", "shop", "values", "--show-secrets", "--namespace", "lookedback", "--kubeconfig"];
    let shown = sandbox.run(&[&values[..], &[&deploy.kubeconfig]].concat());
    assert!(shown.out.contains(&format!("set: {SET}\n")), "{}", shown.out);
    let show = ["release", "get", "shop", "hooks", "--show-secrets", "--namespace", "lookedback", "--kubeconfig"];
    let shown = sandbox.run(&[&show[..], &[&deploy.kubeconfig]].concat());
    assert_ne!(found(&shown.out), [""; 0], "{}", shown.out);
    for (command, file) in [(&["release", "rollback", "1"][..], "back.plan"), (&["dismiss"], "end.plan")] {
        quiet(&[command, &["--release", "shop", "--out", file]].concat());
        let saved = std::fs::read_to_string(sandbox.project().join(file)).unwrap();
        assert!(saved.contains("ConfigMap/h"), "the hook runs: {saved}");
        assert_eq!(found(&saved), [""; 0], "{saved}");
        for format in ["text", "json", "markdown", "html"] {
            quiet(&["show", file, "-o", format]);
        }
    }
}
