//! `lint`: settings, comments, mendings and formats.

use super::Sandbox;

fn project(dockerfile: &str, werf: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write("werf.yaml", &format!("configVersion: 1\nproject: p\n---\nimage: web\ndockerfile: Dockerfile\n{werf}"));
    sandbox.write("Dockerfile", dockerfile).write("a", "a").commit("files");
    sandbox
}

#[test]
fn a_comment_with_a_reason_ignores_a_finding_and_settings_change_severities() {
    let sandbox = project(
        "FROM scratch\nCOPY a \\\n\n  /a\n",
        "args: {LEVEL: 010} # stagewright: ignore[unquoted-value] eight is meant\n",
    );
    let ran = sandbox.run(&["lint"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "1 warning\n"), "{}", ran.out);
    assert!(ran.out.contains("warning[blank-continuation]"), "{}", ran.out);
    let ran = sandbox.run(&["lint", "--rule", "blank-continuation=error"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "1 error\n"));
    sandbox.write("stagewright-lint.yaml", "rules: {blank-continuation: off}\n").commit("settings");
    assert_eq!(sandbox.run(&["lint"]).err, "no findings\n");
    let ran = sandbox.run(&["lint", "--rule", "blank=off"]);
    assert!(ran.code == 1 && ran.err.contains("there is no rule `blank`"), "{}", ran.err);
}

#[test]
fn what_can_be_mended_safely_is_mended_in_the_work_tree() {
    let sandbox = project("FROM scratch\nCOPY a \\\n\n  /a\n", "args: {LEVEL: 010}\n");
    let ran = sandbox.run(&["lint", "--fix"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert_eq!(ran.err, "mended 1 in Dockerfile\nmended 1 in werf.yaml\nno findings\n");
    let read = |path: &str| std::fs::read_to_string(sandbox.project().join(path)).unwrap();
    assert_eq!(read("Dockerfile"), "FROM scratch\nCOPY a \\\n  /a\n");
    assert!(read("werf.yaml").ends_with("args: {LEVEL: '010'}\n"), "{}", read("werf.yaml"));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(sandbox.project().join("Dockerfile")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o644, "a mended file keeps its mode");
    sandbox.commit("mended");
    assert_eq!(sandbox.run(&["lint"]).err, "no findings\n");
}

#[test]
fn a_key_of_another_name_is_renamed_and_means_the_same() {
    let old = "configVersion: 1\nproject: shop\n---\nimage: base\nfrom: alpine:3.20\n---\nimage: app\nfromImage: base\n\
               git: [{add: /lib, to: /lib/}]\nimport: [{image: base, add: /etc, to: /x, after: install}]\n";
    let sandbox = project("FROM scratch\n", "");
    sandbox.write("werf.yaml", old).write("lib/a", "").commit("old");
    let ran = sandbox.run(&["lint", "--fix"]);
    assert!(ran.err.contains("mended 3 in werf.yaml"), "{}\n{}", ran.out, ran.err);
    let new = std::fs::read_to_string(sandbox.project().join("werf.yaml")).unwrap();
    let expected = old.replace("fromImage:", "from:").replace("{image: base", "{from: base").replace("/lib/}", "/lib}");
    assert_eq!(new, expected);
    let merged = old.replace("image: app\n", "<<: {staged: ~}\nimage: app\n");
    sandbox.write("werf.yaml", &merged).commit("merged");
    sandbox.run(&["lint", "--fix"]);
    assert!(std::fs::read_to_string(sandbox.project().join("werf.yaml")).unwrap().contains("fromImage:"));
}

#[test]
fn a_wrong_entry_of_the_settings_switches_nothing_off() {
    let sandbox = project("FROM scratch\nCOPY a \\\n\n  /a\n", "");
    sandbox
        .write("stagewright-lint.yaml", "ignore:\n- {path: \"**\", rule: 5}\n- {path: \"x\", rul: y}\n")
        .commit("settings");
    let ran = sandbox.run(&["lint"]);
    assert!(ran.out.contains("there is no rule `5`") && ran.out.contains("`ignore` has no key `rul`"), "{}", ran.out);
    assert!(ran.out.contains("blank-continuation"), "{}", ran.out);
}

#[test]
fn a_file_that_differs_from_what_was_read_is_left_alone() {
    let sandbox = project("FROM scratch\nCOPY a \\\n\n  /a\n", "");
    sandbox.write("Dockerfile", "# changed\nFROM scratch\n");
    let ran = sandbox.run(&["lint", "--fix", "--loose-giterminism"]);
    assert!(ran.err.contains("Dockerfile is left alone"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(sandbox.project().join("Dockerfile")).unwrap(), "# changed\nFROM scratch\n");
}

#[test]
fn every_format_repeats_itself() {
    let sandbox = project("FROM scratch\nCOPY a \\\n\n  /a\n", "args: {LEVEL: 010}\n");
    for format in ["text", "json", "sarif", "junit", "github", "gitlab"] {
        let (first, again) = (sandbox.run(&["lint", "-o", format]), sandbox.run(&["lint", "-o", format]));
        assert_eq!((first.code, &first.out), (0, &again.out));
        assert!(first.out.contains("blank-continuation") && first.out.contains("unquoted-value"), "{}", first.out);
    }
}
