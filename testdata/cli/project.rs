//! The main job from the command line: plan, apply, an empty plan, an edit and its causes.

use std::process::Stdio;

use super::{Ran, Sandbox, listing};

/// A project with two images and a chart, committed.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write(
            "werf.yaml",
            "project: shop\nconfigVersion: 1\n---\nimage: backend\ndockerfile: Dockerfile\ncontext: backend\n---\n\
             image: frontend\nfrom: scratch\ngit:\n- add: /assets\n  to: /srv\n",
        )
        .write("backend/Dockerfile", "FROM scratch\nCOPY app.txt /app/\n")
        .write("backend/app.txt", "one\n")
        .write("assets/index.html", "<html>\n")
        .write("README.md", "read me\n")
        .write(".helm/values.yaml", "replicas: 2\n")
        .write(
            ".helm/templates/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {{ .Values.replicas }}\n  \
             selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      \
             containers:\n      - name: app\n        image: {{ .Values.werf.image.backend }}\n",
        )
        .write(
            ".helm/templates/token.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\nstringData:\n  token: {{ .Values.token | default \"hunter2\" }}\n",
        );
    sandbox.commit("first");
    sandbox
}

fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    ran
}

const APPLY: [&str; 2] = ["apply", "--auto-approve"];

#[test]
fn a_plan_writes_nothing_and_an_applied_one_is_empty() {
    let sandbox = shop();
    let before = listing(&sandbox.project());
    let plan = ok(sandbox.run(&["plan"]));
    assert!(plan.out.starts_with("shop: 2 images to build, 2 resources to change.\n"), "{}", plan.out);
    assert!(plan.out.contains("Plan: 2 images to build, 0 to reuse; 2 to create"), "{}", plan.out);
    assert_eq!(sandbox.run(&["plan", "--exit-code"]).code, 2);
    assert_eq!(listing(&sandbox.project()), before, "a plan writes nothing");
    let applied = ok(sandbox.run(&APPLY));
    assert!(applied.err.contains("built backend/dockerfile in "), "{}", applied.err);
    assert!(applied.err.ends_with(" done.\n"), "{}", applied.err);
    assert_eq!(std::fs::read_to_string(sandbox.project().join(".stagewright/.gitignore")).unwrap(), "*\n");
    let again = ok(sandbox.run(&["plan", "--exit-code"]));
    assert!(again.out.starts_with("No changes. 2 images in the store, 2 resources as declared.\n"), "{}", again.out);
    let nothing = ok(sandbox.run(&["apply"]));
    assert!(nothing.out.starts_with("No changes."), "an empty plan needs nobody's approval: {}", nothing.err);
}

#[test]
fn a_saved_plan_runs_as_recorded_or_stops_before_it_writes() {
    let sandbox = shop();
    ok(sandbox.run(&["plan", "--out", "../plan.json"]));
    let file = sandbox.project().join("../plan.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2"), "a saved plan seals its secrets");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(sandbox.home().join(".config/stagewright/plan.key").is_file());
    assert_eq!(
        ok(sandbox.run(&["show", "../plan.json", "-o", "json"])).out,
        ok(sandbox.run(&["plan", "-o", "json"])).out
    );
    let other_home = sandbox.run_with(&["apply", "../plan.json"], &[("HOME", "/nowhere")]);
    assert_eq!((other_home.code, other_home.err.contains("a key is needed")), (1, true), "{}", other_home.err);
    ok(sandbox.run(&["apply", "../plan.json"]));
    assert!(ok(sandbox.run(&["plan"])).out.starts_with("No changes."));
    let stale = sandbox.run(&["apply", "../plan.json"]);
    assert_eq!(stale.code, 4, "{}", stale.err);
    assert!(stale.err.contains("nothing was written") && stale.err.contains("release shop: expected"), "{}", stale.err);
    ok(sandbox.run(&["apply", "../plan.json", "--resume"]));
    std::fs::write(&file, text.replace("\"project\": \"shop\"", "\"project\": \"ship\"")).unwrap();
    let changed = sandbox.run(&["apply", "../plan.json"]);
    assert_eq!((changed.code, changed.err.contains("it was changed after it was saved")), (1, true), "{}", changed.err);
}

#[test]
fn an_edit_is_told_with_its_file_and_line() {
    let sandbox = shop();
    ok(sandbox.run(&APPLY));
    sandbox.write("README.md", "another\n").commit("words");
    assert!(ok(sandbox.run(&["plan"])).out.starts_with("No changes."), "a file that reaches nothing changes nothing");
    sandbox.write("backend/app.txt", "one\ntwo\n").commit("code");
    let plan = ok(sandbox.run(&["plan"]));
    assert!(plan.out.contains("backend/app.txt:2 modified"), "{}", plan.out);
    assert!(plan.out.contains("1 image to build, 1 to reuse; 0 to create, 1 to update"), "{}", plan.out);
    let why = ok(sandbox.run(&["why", "backend"]));
    assert!(why.out.starts_with("image backend is built: ") && why.out.contains("backend/app.txt:2"), "{}", why.out);
    let why = ok(sandbox.run(&["why", "deployment/web"]));
    assert!(why.out.contains("backend/app.txt:2 modified"), "{}", why.out);
    let unknown = sandbox.run(&["why", "bakend"]);
    assert_eq!((unknown.code, unknown.err.contains("did you mean `backend`?")), (1, true), "{}", unknown.err);
}

#[test]
fn nobody_is_asked_where_there_is_no_terminal() {
    let sandbox = shop();
    let before = listing(&sandbox.project());
    let ran = sandbox.run(&["apply"]);
    assert_eq!((ran.code, ran.err.contains("--auto-approve")), (5, true), "{}", ran.err);
    assert_eq!(listing(&sandbox.project()), before);
}

#[test]
fn images_are_built_alone() {
    let sandbox = shop();
    let built = ok(sandbox.run(&["build", "backend"]));
    assert!(built.err.contains("built backend/dockerfile") && !built.err.contains("frontend"), "{}", built.err);
    assert!(ok(sandbox.run(&["build", "backend", "-o", "json"])).out.contains("\"done\": []"));
    assert!(!sandbox.project().join(".stagewright/manifests").exists());
}

#[test]
fn every_format_of_a_plan_is_printed() {
    let sandbox = shop();
    let json: serde_json::Value = serde_json::from_str(&ok(sandbox.run(&["plan", "-o", "json"])).out).unwrap();
    assert_eq!((json["project"].as_str(), json["images"][0]["action"].as_str()), (Some("shop"), Some("build")));
    assert_eq!(sandbox.run(&["plan", "-o", "json"]).out, sandbox.run(&["plan", "-o", "json"]).out);
    for (format, begins) in
        [("markdown", "<!-- "), ("github", "<!-- "), ("gitlab", "<!-- "), ("html", "<!DOCTYPE html>")]
    {
        assert!(ok(sandbox.run(&["plan", "-o", format])).out.starts_with(begins), "{format}");
    }
}

#[test]
fn manifests_are_rendered_and_their_origins_named() {
    let sandbox = shop();
    let plain = ok(sandbox.run(&["render"])).out;
    assert!(plain.starts_with("---\n# Source: shop/templates/token.yaml\n"), "{plain}");
    let origins = ok(sandbox.run(&["render", "--origins", "--set", "replicas=7"])).out;
    assert!(origins.contains("# .helm/templates/web.yaml:1\n") && origins.contains("replicas: 7"), "{origins}");
    ok(sandbox.run(&["render", "--output", "../out.yaml"]));
    assert_eq!(std::fs::read_to_string(sandbox.project().join("../out.yaml")).unwrap(), plain);
}

#[test]
fn lint_prints_findings_as_data() {
    let sandbox = shop();
    let off = ["always-default", "no-resources", "unused-image"].map(|rule| format!("{rule}=off"));
    let mut args = vec!["lint", "-o", "json"];
    off.iter().for_each(|rule| args.extend(["--rule", rule]));
    let clean = ok(sandbox.run(&args));
    assert_eq!((clean.out.as_str(), clean.err.as_str()), ("[]\n", "no findings\n"));
    sandbox
        .write("werf.yaml", "project: shop\nconfigVersion: 1\n---\nimagee: backend\ndockerfile: Dockerfile\n")
        .commit("x");
    let ran = sandbox.run(&["lint", "-o", "json"]);
    assert_eq!(ran.code, 1);
    let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((list[0]["file"].as_str(), list[0]["line"].as_u64()), (Some("werf.yaml"), Some(4)), "{list}");
    assert_eq!(ok(sandbox.run(&["lint", "-o", "json", ".helm"])).out, "[]\n");
    assert!(sandbox.run(&["lint"]).out.contains("werf.yaml:4:"));
}

#[test]
fn uncommitted_files_count_with_dev_only() {
    let sandbox = shop();
    ok(sandbox.run(&APPLY));
    sandbox.write("backend/app.txt", "dirty\n");
    let dev = ok(sandbox.run(&["plan", "--dev"]));
    assert!(dev.out.contains("with uncommitted files") && dev.out.contains("1 image to build"), "{}", dev.out);
    ok(sandbox.run(&["plan", "--dev", "--out", "../dev.json"]));
    ok(sandbox.run(&["apply", "../dev.json"]));
    assert!(ok(sandbox.run(&["plan", "--dev"])).out.starts_with("No changes."));
}

#[test]
fn reports_of_a_run_are_not_read_by_the_next_one_with_dev() {
    let sandbox = shop();
    let tree = || {
        let plan: serde_json::Value = serde_json::from_str(&sandbox.run(&["plan", "--dev", "-o", "json"]).out).unwrap();
        plan["inputs"]["tree"].clone()
    };
    let before = tree();
    let apply = [&APPLY[..], &["--dev"]].concat();
    let usual = ok(sandbox.run(&[&apply[..], &["--save-build-report", "--save-deploy-report"]].concat()));
    let is_there = |name: &str| sandbox.project().join(name).exists();
    assert!(is_there(".werf-build-report.json") && is_there(".werf-deploy-report.json"));
    assert!(!usual.err.contains("lies in the work tree"), "{}", usual.err);
    assert_eq!(tree(), before);
    let told = "The report out.json lies in the work tree";
    let other = ok(sandbox.run(&[&apply[..], &["--deploy-report-path", "out.json"]].concat()));
    assert!(other.err.contains(told), "{}", other.err);
    assert_ne!(tree(), before);
    let outside = ok(sandbox.run(&[&apply[..], &["--deploy-report-path", "../out.json"]].concat()));
    assert!(!outside.err.contains("lies in the work tree"), "{}", outside.err);
}

#[test]
fn the_configuration_is_listed() {
    let sandbox = shop();
    assert_eq!(ok(sandbox.run(&["config", "list"])).out, "backend\nfrontend\n");
    assert!(ok(sandbox.run(&["config", "explain"])).out.contains("\nimage backend\n"));
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["plan"]);
    assert_eq!((ran.code, ran.err.contains("git init")), (1, true), "{}", ran.err);
    let sandbox = shop();
    for (args, told) in [
        (&["plan", "--repo", "docker:"][..], "docker:NAME"),
        (&["plan", "--target", "cluster"], "there is no kubeconfig"),
        (&["plan", "--target", "folder"], "dir:PATH"),
        (&["plan", "--builder", "podman"], "--builder native"),
        (&["plan", "--dir", "nowhere"], "there is no such directory"),
        (&["plan", "-f", "no.yaml"], "there is no such file"),
        (&["show", "no.json"], "there is no saved plan"),
    ] {
        let ran = sandbox.run(args);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.contains(told)), (1, "", true), "{args:?}: {}", ran.err);
    }
}

#[test]
fn an_interrupted_apply_ends_in_order_and_is_resumed() {
    let sandbox = shop();
    ok(sandbox.run(&["plan", "--out", "../plan.json"]));
    let mut command = sandbox.command(&["apply", "../plan.json"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let code = child.wait_with_output().unwrap().status.code();
    // Too early for our handler, in the middle, or too late: each is well.
    assert!(matches!(code, None | Some(130 | 0)), "{code:?}");
    ok(sandbox.run(&["apply", "../plan.json", "--resume"]));
    assert!(ok(sandbox.run(&["plan"])).out.starts_with("No changes."));
}

#[test]
fn a_range_of_commits_is_explained_without_a_store() {
    let sandbox = shop();
    sandbox.write("backend/app.txt", "one\ntwo\n").commit("code");
    let why = ok(sandbox.run(&["why", "backend", "--since", "HEAD~1"]));
    assert!(why.out.starts_with("image backend is built: ") && why.out.contains("backend/app.txt:2"), "{}", why.out);
    let why = ok(sandbox.run(&["why", "frontend", "--since", "HEAD~1"]));
    assert!(why.out.starts_with("image frontend is reused: "), "{}", why.out);
    let ran = sandbox.run(&["why", "backend", "--since", "nowhere"]);
    assert_eq!((ran.code, ran.err.contains("`nowhere` is not a commit")), (1, true), "{}", ran.err);
}

#[test]
fn the_graph_is_drawn() {
    let sandbox = shop();
    assert!(ok(sandbox.run(&["graph"])).out.starts_with("digraph project {\n"));
    assert!(ok(sandbox.run(&["graph", "-o", "mermaid"])).out.starts_with("flowchart LR\n"));
    let json: serde_json::Value = serde_json::from_str(&ok(sandbox.run(&["graph", "-o", "json"])).out).unwrap();
    let ids: Vec<&str> = json["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"image:backend") && ids.contains(&"resource:shop/Deployment/web"), "{ids:?}");
}

#[test]
fn every_setting_in_force_tells_where_it_comes_from() {
    let sandbox = Sandbox::new();
    let werf = "configVersion: 1\nproject: p\nbuild:\n  cacheVersion: v7\ndeploy:\n  namespace: '[[ project ]]-x'\n---\n\
                {{ range $n := list \"a\" \"b\" }}\nimage: {{ $n }}\ndockerfile: Dockerfile\n---\n{{ end }}\nartifact: old\nfrom: scratch\n";
    sandbox.write("werf.yaml", werf).write("Dockerfile", "FROM scratch\n").commit("files");
    let env = [("WERF_SET_1", "a=b"), ("WERF_ENV", "dev"), ("STAGEWRIGHT_RELEASE", "r")];
    let ran = sandbox.run_with(&["config", "explain", "--set", "c=d", "-o", "json"], &env);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let of = |section: &str, key: &str| -> Vec<(String, String)> {
        let fits = lines.iter().filter(|l| l["section"] == section && l["key"] == key);
        fits.map(|l| (l["value"].as_str().unwrap().to_owned(), l["from"].as_str().unwrap().to_owned())).collect()
    };
    let one = |value: &str, from: &str| vec![(value.to_owned(), from.to_owned())];
    assert_eq!(of("werf.yaml", "build.cacheVersion"), one("v7", "werf.yaml:4"));
    assert_eq!(of("werf.yaml", "cleanup.keepImagesBuiltWithinLastNHours"), one("2", "default"));
    assert_eq!(of("image b", "cacheVersion"), one("v7", "werf.yaml:4"));
    assert_eq!(of("image b", "dockerfile"), one("Dockerfile", "werf.yaml:10"));
    assert_eq!((of("image old", "final"), of("image b", "final")), (one("false", "default"), one("true", "default")));
    assert_eq!(of("release", "name"), one("r", "--release"));
    assert_eq!(of("release", "namespace"), one("p-x", "werf.yaml:6"));
    assert_eq!(of("options", "--env"), one("dev", "WERF_ENV"));
    let sets = [("a=b", "WERF_SET_1"), ("c=d", "typed")].map(|(v, f)| (v.to_owned(), f.to_owned()));
    assert_eq!(of("options", "--set"), sets);
    let text = sandbox.run_with(&["config", "explain"], &env).out;
    assert!(text.contains("\n\nimage a\n") && text.contains("\n\noptions\n"), "{text}");
    assert!(sandbox.run(&["config", "graph", "-o", "mermaid"]).out.starts_with("flowchart LR\n"));
}
