//! `publish`, `export`, `stages copy`, final and secondary repositories, the build report, `--keep-going`.

use serde_json::Value;
use stagewright::backend::OciLayout;
use stagewright::ports::oci::read_image;
use stagewright::ports::{StageId, StageStore};

use super::Sandbox;

/// A project with a final image, one that only it uses, and a deployment that names it.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write(
            "werf.yaml",
            "project: shop\nconfigVersion: 1\n---\nimage: web\nfrom: scratch\ngit:\n- add: /web\n  to: /app\n\
             import:\n- image: assets\n  add: /assets\n  to: /assets\n  before: setup\n---\nimage: assets\nfinal: false\n\
             from: scratch\ngit:\n- add: /assets\n  to: /assets\n",
        )
        .write("web/index.html", "hello\n")
        .write("assets/site.css", "a {}\n")
        .write(
            ".helm/templates/pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: web\n    image: {{ \
             .Values.werf.image.web }}\n",
        )
        .commit("the shop");
    sandbox
}

fn done(sandbox: &Sandbox, args: &[&str]) -> String {
    let ran = sandbox.run(args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
    ran.out + &ran.err
}

fn store(sandbox: &Sandbox, dir: &str) -> OciLayout {
    OciLayout::new(sandbox.project().join(dir))
}

fn plan(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ran = sandbox.run(&[&["plan", "-o", "json"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn image<'a>(plan: &'a Value, name: &str) -> &'a Value {
    plan["images"].as_array().unwrap().iter().find(|image| image["name"] == name).unwrap()
}

#[test]
fn publish_names_its_repository() {
    let sandbox = shop();
    let refused = sandbox.run(&["publish"]);
    assert!(refused.code == 1 && refused.err.contains("--repo HOST[:PORT]/PATH"), "{}", refused.err);
    done(&sandbox, &["publish", "--repo", "oci:out"]);
    assert_eq!(image(&plan(&sandbox, &["--repo", "oci:out"]), "web")["action"], "reuse");
}

#[test]
fn an_exported_image_holds_nothing_of_ours() {
    let sandbox = shop();
    let told = done(&sandbox, &["export", "web", "--tag", "oci:out:%image%-v1", "--add-label", "team=shop"]);
    assert!(told.contains("exported oci:out:web-v1@sha256:"), "{told}");
    let out = store(&sandbox, "out");
    assert_eq!(out.tags().unwrap(), ["web-v1"]);
    let exported = out.images(&["web-v1".into()]).unwrap().remove(0).unwrap();
    assert!(exported.annotations.is_empty(), "{:?}", exported.annotations);
    let (manifest, config) = read_image(&out, &exported.manifest).unwrap();
    assert_eq!(config.config.labels, [("team".to_owned(), "shop".to_owned())].into());
    let web = image(&plan(&sandbox, &[]), "web")["tag"].as_str().unwrap().to_owned();
    let ours = store(&sandbox, ".stagewright/store");
    let stored = ours.images(&[web]).unwrap().remove(0).unwrap();
    assert_eq!(read_image(&ours, &stored.manifest).unwrap().0.layers, manifest.layers, "the files are the same");
    // All final images, which is one.
    done(&sandbox, &["export", "--tag", "oci:all"]);
    assert_eq!(store(&sandbox, "all").tags().unwrap(), ["latest"]);
    let refused = sandbox.run(&["export", "web", "assets", "--tag", "oci:out:v1"]);
    assert!(refused.code == 1 && refused.err.contains("%image_slug%"), "{}", refused.err);
}

#[test]
fn copied_stages_need_no_build() {
    let sandbox = shop();
    let refused = sandbox.run(&["stages", "copy", "--from", "oci:a", "--to", "oci:b"]);
    assert!(refused.code == 1 && refused.err.contains("build --repo oci:a"), "{}", refused.err);
    done(&sandbox, &["build", "--repo", "oci:a"]);
    let told = done(&sandbox, &["stages", "copy", "--from", "oci:a", "--to", "oci:b"]);
    assert!(told.contains("2 images; 0 were there"), "{told}");
    assert_eq!(image(&plan(&sandbox, &["--repo", "oci:b"]), "web")["action"], "reuse");
    let told = done(&sandbox, &["stages", "copy", "--from", "oci:a", "--to", "oci:b", "--all"]);
    assert!(told.contains("Copied 0 stages and 0 images"), "{told}");
    let ids = |dir: &str| {
        let mut ids = store(&sandbox, dir).tags().unwrap();
        ids.sort();
        ids
    };
    assert_eq!(ids("a"), ids("b"), "stages keep their ids");
    // The reason of a later build is known there too.
    sandbox.write("web/index.html", "hello again\n").commit("web: again");
    let why = done(&sandbox, &["why", "web", "--repo", "oci:b"]);
    assert!(why.contains("web/index.html:1 modified"), "{why}");
}

#[test]
fn final_images_are_copied_once_and_deployed_from_there() {
    let sandbox = shop();
    let args = ["--repo", "oci:stages", "--final-repo", "oci:final"];
    let made = plan(&sandbox, &args);
    assert_eq!(image(&made, "web")["copied_to"], "oci:final");
    assert_eq!(image(&made, "assets")["copied_to"], Value::Null, "it is not final");
    let told = done(&sandbox, &[&["apply", "--auto-approve", "--add-custom-tag", "v1"], &args[..]].concat());
    assert!(told.contains("copied web") && told.contains("web as v1"), "{told}");
    let mut tags = store(&sandbox, "final").tags().unwrap();
    tags.retain(|tag| tag != "v1");
    assert_eq!(tags, [image(&made, "web")["tag"].as_str().unwrap()]);
    assert!(store(&sandbox, "stages").tags().unwrap().iter().all(|tag| tag != "v1"));
    let again = sandbox.run(&[&["plan", "--exit-code", "--add-custom-tag", "v1"], &args[..]].concat());
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
    // What is lost there is copied again, without a build; a saved plan knows where to.
    std::fs::remove_dir_all(sandbox.project().join("final")).unwrap();
    let saved = sandbox.home().join("a.plan").display().to_string();
    let told = done(&sandbox, &[&["plan", "--out", &saved], &args[..]].concat());
    assert!(told.contains("1 image to copy") && told.contains("copied to oci:final"), "{told}");
    done(&sandbox, &["apply", &saved]);
    assert_eq!(store(&sandbox, "final").tags().unwrap(), tags);
}

#[test]
fn what_a_secondary_store_has_is_copied_instead_of_built() {
    let sandbox = shop();
    done(&sandbox, &["build", "--repo", "oci:theirs"]);
    let theirs = super::listing(&sandbox.project().join("theirs"));
    let args = ["--repo", "oci:ours", "--secondary-repo", "oci:theirs"];
    let made = plan(&sandbox, &args);
    let stages = made["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["action"] == "reuse"), "{stages:#?}");
    assert!(!sandbox.project().join("ours").exists(), "planning writes nothing");
    done(&sandbox, &[&["build"], &args[..]].concat());
    assert_eq!(image(&plan(&sandbox, &["--repo", "oci:ours"]), "web")["action"], "reuse");
    // An edit is built upon what is there.
    sandbox.write("web/index.html", "hello again\n").commit("web: again");
    done(&sandbox, &["build", "--repo", "oci:more", "--secondary-repo", "oci:theirs"]);
    let more = store(&sandbox, "more");
    for tag in more.tags().unwrap() {
        let image = more.images(&[tag]).unwrap().remove(0).unwrap();
        let (manifest, _) = read_image(&more, &image.manifest).unwrap();
        assert!(manifest.blobs().all(|blob| stagewright::ports::BlobStore::has(&more, &blob.digest).unwrap()));
    }
    assert_eq!(super::listing(&sandbox.project().join("theirs")), theirs, "it is only read");
}

#[test]
fn the_build_report_names_images_and_stages() {
    let sandbox = shop();
    done(&sandbox, &["build", "--save-build-report"]);
    let read = |file: &str| std::fs::read_to_string(sandbox.project().join(file)).unwrap();
    let report: Value = serde_json::from_str(&read(".werf-build-report.json")).unwrap();
    let web = &report["Images"]["web"];
    let made = plan(&sandbox, &[]);
    assert_eq!(web["DockerImageName"], image(&made, "web")["reference"]);
    assert_eq!((&web["Rebuilt"], &web["Final"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(report["Images"]["assets"]["Final"], false);
    let stages = web["Stages"].as_array().unwrap();
    assert!(!stages.is_empty() && stages.iter().all(|s| StageId::parse(s["DockerTag"].as_str().unwrap()).is_some()));
    let last = stages.last().unwrap();
    assert_eq!(last["DockerImageDigest"], web["DockerImageDigest"]);
    assert_eq!((&last["Size"], &last["Commit"]), (&web["Size"], &made["commit"]));
    // Nothing is built the second time, and the report says so.
    done(&sandbox, &["build", "--build-report-path", "second.json"]);
    let second: Value = serde_json::from_str(&read("second.json")).unwrap();
    let web = &second["Images"]["web"];
    assert_eq!((&web["Rebuilt"], &web["BuildTime"]), (&Value::Bool(false), &Value::from("0.00")));
    assert_eq!(web["Stages"].as_array().unwrap().len(), stages.len());
    done(&sandbox, &["build", "--build-report-path", "images.env"]);
    let reference = web["DockerImageName"].as_str().unwrap();
    assert!(
        read("images.env").contains(&format!("WERF_WEB_DOCKER_IMAGE_NAME={reference}\n")),
        "{}",
        read("images.env")
    );
}
