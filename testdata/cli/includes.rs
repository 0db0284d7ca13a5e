//! Includes from another repository, as a user meets them.

use std::path::Path;

use super::Sandbox;

/// Commits files to the repository `common` beside the project.
fn common(sandbox: &Sandbox, files: &[(&str, &str)]) -> String {
    let dir = sandbox.project().parent().unwrap().join("common");
    for (path, text) in files {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    commit_all(&dir);
    format!("file://{}", dir.display())
}

fn commit_all(dir: &Path) {
    let repo = git2::Repository::open(dir).unwrap_or_else(|_| {
        let repo = git2::Repository::init(dir).unwrap();
        repo.set_head("refs/heads/main").unwrap();
        repo
    });
    let mut index = repo.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
    let author = git2::Signature::now("somebody", "somebody@example.org").unwrap();
    let head = repo.head().ok().map(|h| h.peel_to_commit().unwrap());
    repo.commit(Some("HEAD"), &author, &author, "files", &tree, &head.iter().collect::<Vec<_>>()).unwrap();
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {from: \"{{ .Values.from }}\"}\n";

fn project() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let url = common(
        &sandbox,
        &[
            ("helm/templates/map.yaml", MAP),
            ("helm/values.yaml", "from: include\n"),
            ("helm/notes.txt", "not a template\n"),
        ],
    );
    let includes =
        format!("includes:\n- git: {url}\n  branch: main\n  add: /helm\n  to: /.helm\n  excludePaths: [notes.txt]\n");
    sandbox.write("werf.yaml", "configVersion: 1\nproject: shop\n");
    sandbox.write("werf-includes.yaml", &includes);
    (sandbox, url)
}

#[test]
fn includes_are_locked_listed_and_rendered() {
    let (sandbox, url) = project();
    sandbox.commit("first");
    let missing = sandbox.run(&["render"]);
    assert_ne!(missing.code, 0);
    assert!(missing.err.contains("include-lock") && missing.err.contains("stagewright includes update"), "{missing:?}");

    let update = sandbox.run(&["includes", "update"]);
    assert_eq!(update.code, 0, "{update:?}");
    let lock = std::fs::read_to_string(sandbox.project().join("werf-includes.lock")).unwrap();
    assert!(lock.starts_with(&format!("includes:\n  - git: {url}\n    branch: main\n    commit: ")), "{lock}");
    let uncommitted = sandbox.run(&["render"]);
    assert!(uncommitted.err.contains("uncommitted-file"), "{uncommitted:?}");
    sandbox.commit("lock");

    let rendered = sandbox.run(&["render"]);
    assert!(rendered.code == 0 && rendered.out.contains("from: \"include\""), "{rendered:?}");
    let list = sandbox.run(&["includes", "ls-files", ".helm"]);
    let shown = format!(
        ".helm/templates/map.yaml  {url}@main:helm/templates/map.yaml\n.helm/values.yaml         {url}@main:helm/values.yaml\n"
    );
    assert_eq!(list.out, shown, "{list:?}");
    let local = sandbox.run(&["includes", "ls-files", "--filter", "source=local"]);
    assert_eq!(local.out.lines().count(), 3, "{local:?}");
    assert_eq!(sandbox.run(&["includes", "get-file", ".helm/values.yaml"]).out, "from: include\n");
    assert_eq!(sandbox.run(&["includes", "get-file", ".helm/notes.txt"]).code, 1);

    // The branch moves on, the lock stays; a file of the project wins.
    common(&sandbox, &[("helm/values.yaml", "from: later\n")]);
    assert!(sandbox.run(&["render"]).out.contains("from: \"include\""));
    let refused = sandbox.run(&["render", "--allow-includes-update"]);
    assert!(refused.err.contains("includes.allowIncludesUpdate"), "{refused:?}");
    assert_eq!(sandbox.run(&["includes", "update"]).code, 0);
    assert!(sandbox.run(&["render", "--dev"]).out.contains("from: \"later\""));
    sandbox.write(".helm/values.yaml", "from: project\n").commit("own values");
    assert!(sandbox.run(&["render"]).out.contains("from: \"project\""));
}

#[test]
fn a_fault_in_an_included_chart_names_the_include_and_a_dead_server_its_address() {
    let (sandbox, url) = project();
    common(&sandbox, &[("helm/templates/map.yaml", "a: {{ .Values.from | nosuch }}\n")]);
    sandbox.commit("the configuration");
    assert_eq!(sandbox.run(&["includes", "update"]).code, 0);
    sandbox.commit("first");
    let rendered = sandbox.run(&["render"]);
    assert!(rendered.err.contains(&format!("{url}@main:helm/templates/map.yaml:1:")), "{rendered:?}");
    let dead = "includes:\n- git: http://u:s3cret@127.0.0.1:9/a.git\n  branch: main\n  add: /\n  to: /\n";
    sandbox.write("werf-includes.yaml", dead);
    let failed = sandbox.run(&["includes", "update"]);
    assert!(failed.err.contains("http://127.0.0.1:9/a.git cannot be read"), "{failed:?}");
    assert!(!failed.err.contains("s3cret"), "{failed:?}");
}
