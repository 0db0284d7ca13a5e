//! Secrets are planted wherever a project can have them, and looked for in all that is printed and written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Ran, Sandbox, listing};

/// Of the file of secret values: characters that JSON, YAML, HTML and addresses escape.
const PASSWORD: &str = "pl4nted \"p<ss>w&rd' /1";
const OTHER_PASSWORD: &str = "pl4nted-other";
const TOKEN: &str = "pl4nted-token";
const LINE: &str = "pl4nted second line";
const PORT: &str = "54321";
/// Of a secret file.
const FILE: &str = "pl4nted-file";
/// Of a subchart.
const SUB: &str = "pl4nted-sub";
/// Given by `--set` and by a variable, for a Secret.
const SET: &str = "pl4nted-set";
const VARIABLE: &str = "pl4nted-variable";
/// Written into a template of a Secret.
const WRITTEN: &str = "pl4nted-written";

const ALL: [&str; 10] = [PASSWORD, OTHER_PASSWORD, TOKEN, LINE, PORT, FILE, SUB, SET, VARIABLE, WRITTEN];

const WERF: &str = "project: shop\nconfigVersion: 1\n---\nimage: web\ndockerfile: Dockerfile\n";

const MANIFESTS: &str = r#"apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  password: {{ .Values.db.password | quote }}
  set: {{ .Values.set | default "none" | quote }}
  variable: {{ .Values.variable | default "none" | quote }}
  written: pl4nted-written
data:
  encoded: {{ .Values.db.password | b64enc }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {all: {{ .Values.db | toJson | quote }}}}
data:
  url: {{ printf "db://app:%s@db:%s/shop" (urlquery .Values.db.password) .Values.db.port | quote }}
  encoded: {{ printf "app:%s" .Values.db.password | b64enc }}
  certificate: {{ .Values.db.certificate | toJson }}
  file: {{ werf_secret_file "tls/key" | quote }}
  html: {{ html .Values.db.password | quote }}
  sub: {{ .Values.sub.word | quote }}
  all.yaml: |
    {{- .Values.db | toYaml | nindent 4 }}
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
      containers:
      - name: web
        image: {{ .Values.werf.image.web }}
        env:
        - {name: PASSWORD, value: {{ .Values.db.password | quote }}}
        - {name: PORT, value: {{ .Values.db.port | quote }}}
        ports:
        - {name: db, containerPort: {{ .Values.db.port }}}
"#;

fn values(password: &str) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let inner = format!("{{\"token\": {}}}", json(TOKEN));
    format!(
        "db:\n  password: {}\n  port: {PORT}\n  certificate: {}\n  json: {}\n",
        json(password),
        json(&format!("begin\n{LINE}\nend\n")),
        json(&inner)
    )
}

pub fn encrypted(sandbox: &Sandbox, from: &str, args: &[&str], to: &str) {
    sandbox.write("plain", from).write(to, "");
    let all: Vec<&str> = ["secret", "encrypt", "plain", "-o", to].iter().chain(args).copied().collect();
    let ran = sandbox.run(&all);
    assert_eq!(ran.code, 0, "{}", ran.err);
    std::fs::remove_file(sandbox.project().join("plain")).unwrap();
}

fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    sandbox.write("werf.yaml", WERF).write("Dockerfile", "FROM scratch\nCOPY werf.yaml /\n");
    sandbox.write(".gitignore", "/out*\n").write(".helm/templates/all.yaml", MANIFESTS);
    sandbox.write(".helm/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n");
    encrypted(&sandbox, &values(PASSWORD), &["--values"], ".helm/secret-values.yaml");
    encrypted(&sandbox, &format!("word: {SUB}\n"), &["--values"], ".helm/charts/sub/secret-values.yaml");
    encrypted(&sandbox, FILE, &[], ".helm/secret/tls/key");
    sandbox.commit("a shop");
    sandbox
}

/// Runs with values for the Secret, which are secret because of where they land.
fn run(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let with_values = matches!(args[0], "plan" | "apply" | "why" | "lint") && !args.contains(&"out.plan");
    let set = format!("set={SET}");
    let set = ["--set", &set];
    let args: Vec<&str> = args.iter().chain(set.iter().filter(|_| with_values)).copied().collect();
    sandbox.run_with(&args, &[("WERF_SET_1", &format!("variable={VARIABLE}"))])
}

/// What of a text gives one of these secrets away: plain, escaped or encoded. The first also within a text that was encoded.
pub fn traces(text: &str, secrets: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for secret in secrets {
        let json = serde_json::to_string(secret).unwrap();
        let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let (once, quoted) = (STANDARD.encode(secret), secret.replace('\'', "''"));
        let twice = STANDARD.encode(&once);
        let forms = [secret, json.trim_matches('"'), go.trim_matches('"'), &html, &hex, &once, &twice, &quoted];
        found.extend(forms.iter().filter(|form| text.contains(**form)).map(|form| (*form).to_owned()));
    }
    let within = STANDARD.encode(format!("app:{}", secrets[0]));
    found.extend(text.contains(&within[8..20]).then_some(within));
    found
}

fn found(text: &str) -> Vec<String> {
    traces(text, &ALL)
}

fn silent(ran: &Ran, what: &[&str]) {
    for text in [&ran.out, &ran.err] {
        assert_eq!(found(text), [""; 0], "{what:?}: {text}");
    }
}

const PLAN_FORMATS: [&str; 6] = ["text", "json", "markdown", "html", "github", "gitlab"];
const LINT_FORMATS: [&str; 6] = ["text", "json", "sarif", "github", "gitlab", "junit"];

fn looked_at(sandbox: &Sandbox) {
    for format in PLAN_FORMATS {
        let args = ["plan", "-o", format, "--log-debug"];
        let ran = run(sandbox, &args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        silent(&ran, &args);
    }
    for subject in ["ConfigMap/settings", "Secret/keys", "Deployment/web", "web"] {
        for format in ["text", "json"] {
            let args = ["why", subject, "-o", format];
            let ran = run(sandbox, &args);
            assert_eq!(ran.code, 0, "{}", ran.err);
            silent(&ran, &args);
        }
    }
    for format in LINT_FORMATS {
        let args = ["lint", "-o", format, "--log-verbose"];
        silent(&run(sandbox, &args), &args);
    }
    for format in ["text", "json"] {
        let args = ["plan", "--explain-values", ".", "--explain-values", "db.password", "-o", format];
        silent(&run(sandbox, &args), &args);
    }
    for args in [&["graph"][..], &["config", "explain"], &["stages", "list"]] {
        silent(&sandbox.run(args), args);
    }
}

/// Only manifests of the target may hold secrets: they are what is deployed.
fn check_files(sandbox: &Sandbox) {
    let kept = sandbox.project().join(".stagewright/manifests/shop");
    let is_manifest = |path: &Path| {
        path.starts_with(&kept) && path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("release.yaml")
    };
    for dir in [sandbox.project(), sandbox.home()] {
        for (path, bytes) in listing(&dir) {
            let text = String::from_utf8_lossy(&bytes);
            // What is written in a template is in the repository.
            let text = text.replace(WRITTEN, "");
            if !is_manifest(&path) && !path.starts_with(sandbox.project().join(".git")) {
                assert_eq!(found(&text), [""; 0], "{}: {text}", path.display());
            }
        }
    }
}

#[test]
fn planted_secrets_are_in_no_plan_log_report_or_record() {
    let sandbox = shop();
    looked_at(&sandbox);
    let saved = run(&sandbox, &["plan", "--set", &format!("set={SET}"), "--out", "out.plan"]);
    assert_eq!(saved.code, 0, "{}", saved.err);
    silent(&saved, &["plan --out"]);
    let mode = std::fs::metadata(sandbox.project().join("out.plan")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for format in PLAN_FORMATS {
        silent(&run(&sandbox, &["show", "out.plan", "-o", format]), &["show", format]);
    }
    check_files(&sandbox);
    let other = [("HOME", "/nowhere"), ("STAGEWRIGHT_PLAN_KEY", &"0f".repeat(16))];
    let refused = sandbox.run_with(&["apply", "out.plan", "--auto-approve"], &other);
    assert!(refused.code == 1 && refused.err.contains("STAGEWRIGHT_PLAN_KEY"), "{}", refused.err);
    let applied = run(
        &sandbox,
        &["apply", "out.plan", "-o", "json", "--log-debug", "--save-build-report", "--save-deploy-report"],
    );
    assert_eq!(applied.code, 0, "{}", applied.err);
    silent(&applied, &["apply"]);
    assert!(sandbox.project().join(".werf-deploy-report.json").exists());
    check_files(&sandbox);
    let manifest =
        |name: &str| std::fs::read_to_string(sandbox.project().join(".stagewright/manifests/shop").join(name)).unwrap();
    assert!(manifest("configmap-settings.yaml").contains(FILE), "what is deployed is in clear");

    // Nothing changed; then a secret does, and one that is gone is still one.
    let same = run(&sandbox, &["plan", "--exit-code"]);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    encrypted(&sandbox, &values(OTHER_PASSWORD), &["--values"], ".helm/secret-values.yaml");
    sandbox.commit("another password");
    looked_at(&sandbox);
    let changed = run(&sandbox, &["plan"]).out;
    assert!(changed.contains("env[name=PASSWORD].value: (secret "), "{changed}");
    let why = run(&sandbox, &["why", "Deployment/web"]).out;
    assert!(why.contains(".helm/secret-values.yaml:2 db.password: (secret "), "{why}");
    assert!(!changed.contains("env[name=PORT]"), "what is the same is no change: {changed}");
    std::fs::remove_file(sandbox.project().join(".helm/secret-values.yaml")).unwrap();
    let without = MANIFESTS.replace(".Values.db.", ".Values.none.").replace("{{ .Values.none.port }}", "1");
    let values = "none: {password: x, port: x, certificate: x}\ndb: x\n";
    sandbox.write(".helm/values.yaml", values).write(".helm/templates/all.yaml", &without).commit("no secrets");
    looked_at(&sandbox);
    for path in ["secret", "charts"] {
        std::fs::remove_dir_all(sandbox.project().join(".helm").join(path)).unwrap();
    }
    let is_plain = |line: &&str| !line.contains("werf_secret_file") && !line.contains(".Values.sub.");
    let without: Vec<&str> = without.lines().filter(is_plain).collect();
    sandbox.write(".helm/templates/all.yaml", &without.join("\n")).commit("no files either");
    // Who has no key, or another one, cannot tell what was a secret: nothing old is shown.
    for format in PLAN_FORMATS {
        for key in ["", &"0f".repeat(16)] {
            let ran = sandbox.run_with(&["plan", "-o", format], &[("HOME", "/nowhere"), ("WERF_SECRET_KEY", key)]);
            assert_eq!(ran.code, 0, "{}", ran.err);
            silent(&ran, &["plan without the key", format]);
        }
    }
    let applied = run(&sandbox, &["apply", "--auto-approve"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    silent(&applied, &["apply"]);
}

#[test]
fn planted_secrets_are_in_no_error() {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let faults = [
        "{{ fail (printf \"bad %s\" .Values.db.password) }}",
        "{{ required (.Values.db.password | b64enc) .Values.nothing }}",
        "data: {a: {{ .Values.db.password }}: b: c}",
        "data:\n  a: b\n {{ .Values.db.password | quote }}: x\nc",
        "data: [{{ .Values.db.password | quote }}]",
        "{{ tpl (printf \"{{ %s\" (.Values.db.certificate | quote)) . }}",
        "{{ tpl (printf \"{{ fail %q }}\" .Values.db.password) . }}",
        "{{ .Values.db.password.user }}",
        "{{ index .Values.db .Values.db.password .Values.db.port }}",
        "{{ include .Values.db.password . }}",
        "{{ werf_secret_file .Values.db.password }}",
        "{{ .Values.db.password | toDate \"2006\" | mustToDate \"2006\" .Values.db.password }}",
        "{{ fromYaml .Values.db.password | toYaml }}",
        "immutable: {{ .Values.db.password | quote }}",
        "{{ regexMatch (printf \"(%s\" .Values.db.password) \"x\" | ternary 1 (mustRegexMatch (printf \"(%s\" .Values.db.password) \"x\") }}",
    ];
    let sandbox = shop();
    for fault in faults {
        sandbox.write(".helm/templates/all.yaml", &format!("{head}{fault}\n")).commit(fault);
        let all: [&[&str]; 5] =
            [&["plan"], &["lint"], &["lint", "-o", "sarif"], &["render"], &["apply", "--auto-approve"]];
        for args in all {
            let ran = sandbox.run(args);
            let shown = if args == ["render"] && ran.code == 0 { Ran { out: String::new(), ..ran } } else { ran };
            silent(&shown, &[fault, args[0]]);
        }
    }
    let schema = "{\"properties\": {\"db\": {\"properties\": {\"password\": {\"enum\": [\"x\"]}, \"port\": {\"type\": \
                  \"integer\"}, \"certificate\": {\"pattern\": \"^x$\"}}}}}";
    sandbox.write(".helm/values.schema.json", schema).write(".helm/templates/all.yaml", head).commit("schema");
    for args in [&["plan"][..], &["lint"], &["lint", "-o", "json"]] {
        let ran = run(&sandbox, args);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        silent(&ran, args);
    }
    // Somebody forgot to encrypt.
    sandbox.write(".helm/secret-values.yaml", &format!("db: {{token: {TOKEN}}}\n")).commit("in clear");
    for args in [&["plan"][..], &["lint"], &["lint", "-o", "json"]] {
        let ran = run(&sandbox, args);
        assert!(
            ran.code == 1 && format!("{}{}", ran.out, ran.err).contains("`db.token` is not encrypted"),
            "{}",
            ran.err
        );
        silent(&ran, args);
    }
}

#[test]
fn without_a_key_nothing_is_decrypted_and_it_is_told_what_to_do() {
    let sandbox = shop();
    let homeless = [("HOME", "/nowhere")];
    let ran = sandbox.run_with(&["render"], &homeless);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let told = [".helm/secret-values.yaml:2:", "`db.password` needs a key", "WERF_SECRET_KEY", "--ignore-secret-key"];
    assert!(told.iter().all(|part| ran.err.contains(part)), "{}", ran.err);
    let wrong = sandbox.run_with(&["render"], &[("WERF_SECRET_KEY", &"0f".repeat(16))]);
    let told = ["`db.password`, and 3 more of this file", "the key of WERF_SECRET_KEY is in force"];
    assert!(wrong.code == 1 && told.iter().all(|part| wrong.err.contains(part)), "{}", wrong.err);
    let ignored = sandbox.run_with(&["render", "--ignore-secret-key"], &homeless);
    assert!(ignored.out.contains("1000") && found(&ignored.out.replace(WRITTEN, "")).is_empty(), "{}", ignored.err);
    let clear = sandbox.run(&["render"]);
    assert!(clear.out.contains(FILE) && clear.out.contains(SUB), "a rendering is what is deployed: {}", clear.err);
    let broken = sandbox.run_with(&["lint"], &[("STAGEWRIGHT_SECRET_KEY", "12")]);
    assert!(broken.out.contains("STAGEWRIGHT_SECRET_KEY: a secret key has 32"), "{}{}", broken.out, broken.err);
}

#[test]
fn files_of_secret_values_lie_over_those_of_the_chart_and_over_what_is_set() {
    let sandbox = shop();
    let text = "{{ .Values.db.port }}-{{ .Values.db.user }}";
    sandbox.write(
        ".helm/templates/all.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: \"{text}\"}}\n"),
    );
    encrypted(&sandbox, "db: {port: given, user: given}\n", &["--values"], "given.yaml");
    encrypted(&sandbox, "db: {user: later}\n", &["--values"], "later.yaml");
    sandbox.commit("values");
    let env = [("WERF_SECRET_VALUES_1", "given.yaml")];
    let ran = sandbox.run_with(&["render", "--secret-values", "later.yaml", "--set", "db.port=set"], &env);
    assert!(ran.code == 0 && ran.out.contains("a: \"given-later\""), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("`db.port` of --set is not used: the secret value wins"), "{}", ran.err);
    let gone = sandbox.run(&["render", "--secret-values", "none.yaml"]);
    assert!(gone.err.contains("--secret-values none.yaml: there is no such file"), "{}", gone.err);
    encrypted(&sandbox, "a: b\n", &["--values"], "uncommitted.yaml");
    let uncommitted = sandbox.run(&["render", "--secret-values", "uncommitted.yaml"]);
    assert!(uncommitted.err.contains("not in the commit"), "{}", uncommitted.err);
}
