//! `staged: true`: one stored stage for each instruction, shared and reused.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::builds::{Built, cannot_run};

const WERF: &str = "\
project: staged
configVersion: 1
---
image: app
dockerfile: Dockerfile
target: app
staged: true
---
image: tools
dockerfile: Dockerfile
target: tools
staged: true
";

const DOCKERFILE: &str = "\
ARG TAG=test
FROM busybox:$TAG AS base

FROM base AS unused
RUN false

FROM base AS tools
ENV WHAT=tools
RUN echo $WHAT > /made

FROM base AS app
ARG VERSION=1
COPY src /src
COPY --from=tools /made /made
RUN --mount=from=tools,target=/t cat /t/made > /seen
CMD [\"sh\"]
ENTRYPOINT [\"env\"]
RUN echo last
";

fn project(dockerfile: &str) -> Built {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("src")).unwrap();
    fs::write(place.path().join("src/a"), "a").unwrap();
    fs::write(place.path().join("werf.yaml"), WERF).unwrap();
    fs::write(place.path().join("Dockerfile"), dockerfile).unwrap();
    Built::of_folder(place.path())
}

fn change(built: &Built, file: &str, text: &str) {
    fs::write(built.path("project").join(file), text).unwrap();
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let commit = ["commit", "-q", "-a", "-m", "more"];
    let git = Command::new("git").args(identity).args(commit).current_dir(built.path("project")).status().unwrap();
    assert!(git.success());
}

/// What a plan builds: `image/stage`.
fn planned(built: &Built) -> Vec<String> {
    let ran = built.command(&["plan", "-o", "json", "app", "tools"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| {
        panic!("{e}: {}", String::from_utf8_lossy(&[ran.stdout.clone(), ran.stderr.clone()].concat()))
    });
    let ids = plan["operations"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned());
    ids.filter_map(|id| id.strip_prefix("build:").map(str::to_owned)).collect()
}

fn build(built: &Built) {
    let ran = built.build(&[]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()));
}

#[test]
fn each_instruction_of_a_needed_stage_is_a_stage() {
    let built = project(DOCKERFILE);
    let app = [
        "app/tools/1-ENV",
        "app/tools/2-RUN",
        "app/app/1-COPY",
        "app/app/2-COPY",
        "app/app/3-RUN",
        "app/app/4-CMD",
        "app/app/5-ENTRYPOINT",
        "app/app/6-RUN",
    ];
    // The other image has only stages that the first one has, too.
    assert_eq!(planned(&built), app);
}

#[test]
fn only_what_comes_after_a_change_is_built() {
    if cannot_run().is_some() {
        return;
    }
    let built = project(DOCKERFILE);
    build(&built);
    assert_eq!(planned(&built), Vec::<String>::new());
    assert!(built.list().contains("seen f 644 0:0 \"tools\\n\""), "{}", built.list());

    // Nothing but the store is there: as on another host.
    fs::remove_dir_all(built.path("home")).ok();
    change(&built, "Dockerfile", &DOCKERFILE.replace("echo last", "echo changed > /last"));
    assert_eq!(planned(&built), ["app/app/6-RUN"]);
    build(&built);
    assert!(built.list().contains("last f 644 0:0 \"changed\\n\""), "{}", built.list());

    change(&built, "src/a", "b");
    let after_copy = ["app/app/1-COPY", "app/app/2-COPY", "app/app/3-RUN", "app/app/4-CMD", "app/app/5-ENTRYPOINT"];
    assert_eq!(planned(&built), [&after_copy[..], &["app/app/6-RUN"]].concat());
    // A part that others copy from is what they copy.
    change(&built, "Dockerfile", &DOCKERFILE.replace("WHAT=tools", "WHAT=others"));
    assert_eq!(planned(&built).first().map(String::as_str), Some("app/tools/1-ENV"));
    // What the target does not need counts for nothing.
    change(&built, "src/a", "a");
    change(&built, "Dockerfile", &DOCKERFILE.replace("RUN false", "RUN true"));
    assert_eq!(planned(&built), Vec::<String>::new());
    change(&built, "Dockerfile", &DOCKERFILE.replace("VERSION=1", "VERSION=2"));
    assert_eq!(planned(&built), ["app/app/3-RUN", "app/app/4-CMD", "app/app/5-ENTRYPOINT", "app/app/6-RUN"]);
}
