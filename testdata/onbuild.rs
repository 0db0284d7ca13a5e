//! ONBUILD: triggers of bases of the project and of somebody else's, carried out in what is built on them.

use std::fs;
use std::path::Path;
use std::process::Output;

use stagewright::ports::StageStore as _;

use super::builds::{Built, cannot_run};

fn told(ran: &Output) -> String {
    String::from_utf8_lossy(&[ran.stdout.clone(), ran.stderr.clone()].concat()).into_owned()
}

fn project(files: &[(&str, &str)]) -> Built {
    let place = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, text).unwrap();
    }
    Built::of_folder(place.path())
}

#[test]
fn triggers_of_an_image_of_the_project_take_files_of_the_child() {
    if cannot_run().is_some() {
        return;
    }
    let werf = "project: onbuild\nconfigVersion: 1\n---\nimage: base\ndockerfile: base.Dockerfile\n---\nimage: app\n\
        context: child\ndockerfile: Dockerfile\nargs: {WHAT: given}\ndependencies:\n- image: base\n  imports:\n  \
        - type: ImageName\n    targetBuildArg: BASE\n";
    let built = project(&[
        ("werf.yaml", werf),
        (
            "base.Dockerfile",
            "FROM busybox:test\nONBUILD ARG WHAT\nONBUILD COPY src /app\nONBUILD RUN echo $WHAT > /what\n",
        ),
        ("child/Dockerfile", "ARG BASE\nFROM $BASE\nRUN cat /app/a /what > /both\n"),
        ("child/src/a", "text\n"),
    ]);
    let ran = built.build(&[]);
    assert!(ran.status.success(), "{}", told(&ran));
    let listed = built.list();
    assert!(listed.contains("both f 644 0:0 \"text\\ngiven\\n\""), "{listed}");
}

#[test]
fn triggers_of_others_that_take_files_have_to_be_declared() {
    if cannot_run().is_some() {
        return;
    }
    let base = "FROM busybox:test\nONBUILD COPY src /app\nONBUILD RUN cat /app/a > /copy\n";
    let built = project(&[("Dockerfile", base), ("src/a", "text\n"), ("src/b", "more\n")]);
    let build = |dockerfile: &str| {
        fs::write(built.path("project/Dockerfile"), dockerfile).unwrap();
        built.build(&["--dev"])
    };
    let tag = |name: &str| {
        let stored = built.store().newest(&["app".to_owned()]).unwrap().remove(0).unwrap();
        built.store().tag(name, Some("base"), &stored.manifest).unwrap();
    };
    assert!(build(base).status.success());
    tag("onbuild:files");
    let ran = build("FROM onbuild:files\nRUN true\n");
    assert!(!ran.status.success());
    let text = told(&ran);
    assert!(text.contains("undeclared-triggers"), "{text}");
    assert!(
        text.contains("# onbuild: COPY src /app\n") && text.contains("# onbuild: RUN cat /app/a > /copy"),
        "{text}"
    );

    let declared =
        "# onbuild: COPY src /app\n# onbuild: RUN cat /app/a > /copy\nFROM onbuild:files\nRUN cp /copy /again\n";
    let ran = build(declared);
    assert!(ran.status.success(), "{}", told(&ran));
    assert!(built.list().contains("again f 644 0:0 \"text\\n\""), "{}", built.list());
    // What they take is signed.
    fs::write(built.path("project/src/a"), "changed\n").unwrap();
    assert!(build(declared).status.success());
    assert!(built.list().contains("again f 644 0:0 \"changed\\n\""), "{}", built.list());

    // What sees the base alone needs no word.
    assert!(build("FROM busybox:test\nENV A=a\nONBUILD RUN echo $A > /done\nONBUILD ENV B=b\n").status.success());
    tag("onbuild:alone");
    let ran = build("FROM onbuild:alone\nRUN echo $B >> /done\n");
    assert!(ran.status.success(), "{}", told(&ran));
    assert!(built.list().contains("done f 644 0:0 \"a\\nb\\n\""), "{}", built.list());
}
