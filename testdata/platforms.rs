//! Images for several platforms, with a real store, a real registry and other tools that read it.
//!
//! The one idea: number 82 of our list of build scenarios, and what an index promises wherever it is stored.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use stagewright::ports::oci::{ImageConfig, Index, IndexEntry, MEDIA_CONFIG, MEDIA_LAYER_GZIP, Manifest, read_image};
use stagewright::ports::{BlobStore as _, BuiltImage, Descriptor, Document, StageStore as _, put_index};
use stagewright::stage::Platform;

use crate::builds::Built;

const WERF: &str = "\
project: demo
configVersion: 1
build:
  platform: [linux/arm64, linux/amd64]
---
image: base
dockerfile: Dockerfile
context: base
args: {ONLY: '1'}
---
image: app
dockerfile: Dockerfile
context: app
dependencies:
- image: base
  imports:
  - {type: ImageName, targetBuildArg: BASE}
";

/// Only the arm64 side reads the argument.
const BASE: &str = "\
FROM scratch AS base-amd64
FROM scratch AS base-arm64
ARG ONLY
LABEL only=$ONLY
FROM base-$TARGETARCH
ARG TARGETARCH
COPY $TARGETARCH.txt /arch.txt
";

const FILES: &[(&str, &str)] = &[
    ("werf.yaml", WERF),
    ("base/Dockerfile", BASE),
    ("base/amd64.txt", "amd64\n"),
    ("base/arm64.txt", "arm64\n"),
    ("app/Dockerfile", "ARG BASE\nFROM $BASE\nCOPY main.txt /\n"),
    ("app/main.txt", "hello\n"),
];

fn world() -> Built {
    let built = Built::project(FILES);
    done(&mut built.command(&["build"]));
    built
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same program over another store.
fn with_repo(built: &Built, args: &[&str], repo: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
    command.args(args).args(["--repo", repo]).current_dir(built.path("project")).env_clear();
    command.env("HOME", built.path("home")).env("PATH", "/usr/bin:/bin");
    command
}

fn plan(built: &Built, args: &[&str]) -> Value {
    let args = [&["plan", "-o", "json", "--target", "dir:../out"], args].concat();
    serde_json::from_str(&done(&mut built.command(&args))).unwrap()
}

fn tag(plan: &Value, image: &str) -> String {
    let images = plan["images"].as_array().unwrap();
    images.iter().find(|i| i["name"] == image).unwrap()["tag"].as_str().unwrap().to_owned()
}

/// `image stage platform` of what is built.
fn built_stages(plan: &Value) -> Vec<String> {
    let stages = plan["stages"].as_array().unwrap().iter().filter(|stage| stage["action"] == "build");
    let text = |stage: &Value, key: &str| stage[key].as_str().unwrap_or("-").to_owned();
    stages.map(|s| format!("{} {} {}", text(s, "image"), text(s, "stage"), text(s, "platform"))).collect()
}

fn commit(built: &Built, path: &str, text: &str) {
    built.write(path, text);
    built.git(&["add", "-A"]);
    built.git(&["commit", "-q", "-m", "edit"]);
}

fn platform(text: &str) -> Platform {
    Platform::parse(text).unwrap()
}

fn config_of(built: &Built, tag: &str, on: &str) -> ImageConfig {
    let store = built.store();
    let found = store.external(tag, &platform(on)).unwrap().unwrap();
    read_image(&store, &found.manifest).unwrap().1
}

#[test]
fn an_unchanged_build_for_two_platforms_has_the_same_tag_and_builds_nothing() {
    let (one, two) = (world(), world());
    let (first, second) = (plan(&one, &[]), plan(&two, &[]));
    assert_eq!(tag(&first, "app"), tag(&second, "app"));
    assert_eq!(tag(&first, "app").len(), 56);
    assert_eq!(first["summary"]["images_build"], 0);
    assert!(first["operations"].as_array().unwrap().iter().all(|o| !o["id"].as_str().unwrap().starts_with("tag:")));
    assert_eq!(first["images"][1]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    let index = |built: &Built| one_index(built, &tag(&first, "app"));
    assert_eq!(index(&one).to_bytes(), index(&two).to_bytes(), "an index is a function of what was built");
}

fn one_index(built: &Built, tag: &str) -> Index {
    let store = built.store();
    let stored = store.images(&[tag.to_owned()]).unwrap().remove(0).unwrap();
    let Document::Index(index) = Document::read(&store, &stored.manifest).unwrap() else { panic!("no index") };
    index
}

#[test]
fn a_change_for_arm64_alone_changes_the_tag_of_the_list_and_builds_only_arm64() {
    let built = world();
    let before = plan(&built, &[]);
    let index = one_index(&built, &tag(&before, "app"));
    commit(&built, "werf.yaml", &WERF.replace("ONLY: '1'", "ONLY: '2'"));
    let after = plan(&built, &[]);
    assert_ne!(tag(&before, "app"), tag(&after, "app"));
    assert_eq!(built_stages(&after), ["base dockerfile linux/arm64", "app dockerfile linux/arm64"]);
    let why = serde_json::to_string(&after["images"][0]["reasons"]).unwrap();
    assert!(why.contains("on_platform") && why.contains("linux/arm64") && !why.contains("linux/amd64"), "{why}");
    done(&mut built.command(&["build"]));
    assert_eq!(plan(&built, &[])["summary"]["images_build"], 0);
    let now = one_index(&built, &tag(&after, "app"));
    assert_eq!(now.manifests[0], index.manifests[0], "amd64 is as it was");
    assert_ne!(now.manifests[1].digest, index.manifests[1].digest);
    assert_eq!(config_of(&built, &tag(&after, "app"), "linux/arm64").config.labels["only"], "2");
}

#[test]
fn one_platform_of_several_is_the_image_that_the_index_lists() {
    let built = world();
    let whole = plan(&built, &[]);
    let alone = plan(&built, &["--platform", "linux/arm64"]);
    assert_eq!(built_stages(&alone), Vec::<String>::new());
    let names: BTreeMap<String, String> =
        serde_json::from_str(&one_index(&built, &tag(&whole, "app")).annotations["io.stagewright.platforms"]).unwrap();
    assert_eq!(names["linux/arm64"], tag(&alone, "app"));
    assert_eq!(config_of(&built, &tag(&whole, "app"), "linux/arm64").architecture, "arm64");
}

#[test]
fn the_platform_variables_of_a_dockerfile_are_those_of_each_platform() {
    let text = "FROM scratch\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nARG BUILDPLATFORM\n\
        ARG BUILDARCH\nLABEL all=\"$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT $BUILDPLATFORM $BUILDARCH\"\n";
    let built = Built::dockerfile(text);
    done(&mut built.command(&["build", "--platform", "linux/arm/v7, linux/amd64"]));
    let tag = tag(&plan(&built, &["--platform", "linux/amd64,linux/arm/v7"]), "app");
    let label = |on: &str| config_of(&built, &tag, on).config.labels["all"].clone();
    assert_eq!(label("linux/arm/v7"), "linux/arm/v7 linux arm v7 linux/amd64 amd64");
    assert_eq!(label("linux/amd64"), "linux/amd64 linux amd64  linux/amd64 amd64");
    assert_eq!(config_of(&built, &tag, "linux/arm").variant.as_deref(), Some("v7"));
}

/// Stores the index of an image of others; its file tells the platform.
fn store_base(built: &Built, tag: &str, platforms: &[&str]) {
    let store = built.store();
    let entry = |on: &&str| {
        let platform = platform(on);
        let mut layer = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(on.len() as u64);
        header.set_mode(0o644);
        layer.append_data(&mut header, "who", on.as_bytes()).unwrap();
        let bytes = layer.into_inner().unwrap().finish().unwrap();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
        let put = |bytes: &[u8]| store.put(&mut |out| out.write_all(bytes)).unwrap();
        let mut config =
            ImageConfig { architecture: platform.architecture.clone(), os: "linux".into(), ..ImageConfig::default() };
        config.rootfs.diff_ids = vec![stagewright::ports::BlobDigest::of(&plain)];
        let described = |media_type: &str, (digest, size)| Descriptor { media_type: media_type.into(), digest, size };
        let image = BuiltImage {
            config: described(MEDIA_CONFIG, put(&config.to_bytes())),
            layers: vec![described(MEDIA_LAYER_GZIP, put(&bytes))],
        };
        let (manifest, _) = put(&Manifest::of(&image, &BTreeMap::new()).to_bytes());
        IndexEntry::of(&store, platform, &manifest).unwrap()
    };
    put_index(&store, tag, None, &Index::of(platforms.iter().map(entry).collect(), BTreeMap::new())).unwrap();
}

#[test]
fn a_base_is_that_of_each_platform_unless_from_says_another() {
    let built = Built::dockerfile(
        "FROM --platform=$BUILDPLATFORM base:1 AS tools\nFROM tools AS more\nFROM base:1\nCOPY --from=more /who /tool\n",
    );
    store_base(&built, "base:1", &["linux/amd64", "linux/arm64"]);
    let on = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    done(&mut built.command(&[&["build"], &on[..]].concat()));
    let tag = tag(&plan(&built, &on), "app");
    let layers = |on: &str| config_of(&built, &tag, on).rootfs.diff_ids;
    let (amd64, arm64) = (layers("linux/amd64"), layers("linux/arm64"));
    assert_ne!(amd64[0], arm64[0], "each has its own base");
    assert_eq!(amd64[1], arm64[1], "the tool is that of the machine that builds");
    // The same with a stage for each instruction.
    let staged = "project: builds\nconfigVersion: 1\n---\nimage: app\ndockerfile: Dockerfile\nstaged: true\n";
    commit(&built, "werf.yaml", staged);
    done(&mut built.command(&[&["build"], &on[..]].concat()));
    let tag = self::tag(&plan(&built, &on), "app");
    assert_eq!(config_of(&built, &tag, "linux/arm64").rootfs.diff_ids, arm64);
}

#[test]
fn commands_for_another_machine_are_warned_of_and_refused_before_anything_is_written() {
    if stagewright::backend::cannot_run(&platform("linux/s390x")).is_none() {
        return println!("skipped: programs of linux/s390x run here");
    }
    let built = Built::dockerfile("FROM scratch\nCOPY Dockerfile /\nRUN [\"/true\"]\n");
    let on = ["--platform", "linux/s390x"];
    let output = built.command(&[&["plan", "--target", "dir:../out"], &on[..]].concat()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("warning[needs-commands]"), "{told}");
    assert!(told.contains("qemu-user-static") && told.contains("Dockerfile:3"), "{told}");
    let tags = built.store().tags().unwrap();
    let output = built.build(&on);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("error[needs-commands]"), "{told}");
    assert_eq!(built.store().tags().unwrap(), tags, "nothing is written");
    // Commands of a part for this machine run here, whatever is built.
    commit(
        &built,
        "Dockerfile",
        "FROM --platform=linux/s390x scratch AS unused\nRUN [\"/true\"]\nFROM scratch\nCOPY Dockerfile /\n",
    );
    assert!(built.build(&["--platform", "linux/s390x"]).status.success(), "COPY works for any machine");
}

#[cfg(feature = "docker")]
#[test]
fn an_engine_cannot_hold_an_index_and_the_plan_says_so_without_asking_it() {
    let built = Built::project(FILES);
    for args in [&["plan", "--target", "dir:../out"][..], &["build"]] {
        let output = with_repo(&built, args, "docker:demo").env("DOCKER_HOST", "tcp://127.0.0.1:1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("error[index-not-stored]"), "{told}");
        assert!(told.contains("werf.yaml:4") && told.contains("--platform linux/amd64"), "{told}");
    }
}

#[test]
fn copies_and_exports_have_all_platforms_or_the_chosen_one() {
    let built = world();
    let tag = tag(&plan(&built, &[]), "app");
    let index = one_index(&built, &tag);
    let to = |name: &str| format!("oci:{}", built.path(name).display());
    let store = |name: &str| stagewright::backend::OciLayout::new(built.path(name));
    done(&mut built.command(&["stages", "copy", "--to", &to("copy")]));
    let copied = store("copy").images(std::slice::from_ref(&tag)).unwrap().remove(0).unwrap();
    assert_eq!(Document::read(&store("copy"), &copied.manifest).unwrap(), Document::Index(index.clone()));
    assert_eq!(store("copy").tags().unwrap().len(), 10, "four stages, four images on a platform, two indexes");
    done(&mut built.command(&["build", "--final-repo", &to("final"), "--add-custom-tag", "%image_slug%-v1"]));
    let found = store("final").images(&[tag.clone(), "app-v1".into()]).unwrap();
    assert_eq!(found[0].as_ref().unwrap().manifest, copied.manifest);
    assert_eq!(found[1].as_ref().unwrap().manifest, copied.manifest);
    done(&mut built.command(&["export", "app", "--tag", &format!("{}:v1", to("out")), "--add-label", "a=b"]));
    done(&mut built.command(&[
        "export",
        "app",
        "--tag",
        &format!("{}:v1-arm", to("out")),
        "--platform",
        "linux/arm64",
    ]));
    for (tag, on, label) in [("v1", "linux/amd64", true), ("v1", "linux/arm64", true), ("v1-arm", "linux/arm64", false)]
    {
        let found = store("out").external(tag, &platform(on)).unwrap().unwrap();
        assert!(found.annotations.is_empty());
        let (_, config) = read_image(&store("out"), &found.manifest).unwrap();
        assert_eq!(format!("linux/{}", config.architecture), on);
        assert_eq!(config.config.labels.contains_key("a"), label);
    }
    let exported = store("out").images(&["v1".into()]).unwrap().remove(0).unwrap();
    assert!(exported.annotations.is_empty(), "nothing of ours is exported");
    assert!(store("out").external("v1", &platform("linux/s390x")).is_err());
}

#[test]
fn a_custom_tag_and_the_build_report_tell_of_the_index() {
    let built = world();
    let tag = tag(&plan(&built, &[]), "app");
    done(&mut built.command(&["build", "--add-custom-tag", "%image_slug%-v1", "--build-report-path", "report.json"]));
    let store = built.store();
    let found = store.images(&[tag.clone(), "app-v1".into()]).unwrap();
    let digest = found[0].as_ref().unwrap().manifest.to_string();
    assert_eq!(found[1].as_ref().unwrap().manifest.to_string(), digest);
    assert_eq!(plan(&built, &["--add-custom-tag", "%image_slug%-v1"])["operations"], serde_json::json!([]));
    let text = std::fs::read_to_string(built.path("project/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let image = &report["Images"]["app"];
    assert_eq!((image["DockerTag"].as_str(), image["DockerImageDigest"].as_str()), (Some(&*tag), Some(&*digest)));
    let arm = &report["ImagesByPlatform"]["linux/arm64"]["app"];
    assert_eq!(
        (arm["TargetPlatform"].as_str(), arm["Stages"][0]["Name"].as_str()),
        (Some("linux/arm64"), Some("dockerfile"))
    );
    assert_eq!(arm["DockerImageDigest"], one_index(&built, &tag).manifests[1].digest.to_string());
    done(&mut built.command(&["build", "--build-report-path", "report.env"]));
    let env = std::fs::read_to_string(built.path("project/report.env")).unwrap();
    assert!(env.contains("WERF_APP_DOCKER_IMAGE_NAME=") && env.contains(&tag), "{env}");
}

#[cfg(feature = "registry")]
#[test]
fn other_tools_see_an_index_in_a_registry_and_an_idle_plan_asks_once_an_image() {
    let Some(registry) = crate::services::Registry::shared() else { return };
    let built = Built::project(FILES);
    let repo = format!("{}/{}", registry.address, crate::contracts::registry_store::fresh_name());
    done(&mut with_repo(&built, &["publish"], &repo));
    let args = ["plan", "-o", "json", "--target", "dir:../out", "--log-debug"];
    let output = with_repo(&built, &args, &repo).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["summary"]["images_build"], 0);
    assert_eq!(told.matches("/manifests/").count(), 2, "one for each image: {told}");
    let tag = tag(&plan, "app");
    let inspect = |args: &[&str]| {
        let args = [&["inspect", "--tls-verify=false"], args].concat();
        let output = super::contracts::oci_tools::tool("skopeo", &args, built.dir.path())?;
        Some(serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let reference = format!("docker://{repo}:{tag}");
    let Some(raw) = inspect(&["--raw", &reference]) else { return };
    assert_eq!(raw["mediaType"], "application/vnd.oci.image.index.v1+json");
    let platforms: Vec<Value> = raw["manifests"].as_array().unwrap().iter().map(|m| m["platform"].clone()).collect();
    let on = |architecture: &str| serde_json::json!({"os": "linux", "architecture": architecture});
    assert_eq!(platforms, [on("amd64"), on("arm64")]);
    // Each of its manifests can be pulled by digest.
    for (manifest, architecture) in raw["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"]) {
        let told = inspect(&[&format!("docker://{repo}@{}", manifest["digest"].as_str().unwrap())]).unwrap();
        assert_eq!(told["Architecture"], architecture);
    }
    // Copied to another repository, it is whole and the same.
    let other = format!("{}/{}", registry.address, crate::contracts::registry_store::fresh_name());
    done(&mut with_repo(&built, &["build", "--final-repo", &other], &repo));
    assert_eq!(inspect(&["--raw", &format!("docker://{other}:{tag}")]).unwrap(), raw);
    let exported = format!("{other}:v1");
    done(&mut with_repo(&built, &["export", "app", "--tag", &exported], &repo));
    let raw = inspect(&["--raw", &format!("docker://{exported}")]).unwrap();
    assert_eq!((raw["manifests"].as_array().unwrap().len(), raw.get("annotations")), (2, None));
    let to = built.path("pulled");
    let args =
        ["copy", "--all", "--src-tls-verify=false", &format!("docker://{exported}"), &format!("dir:{}", to.display())];
    super::contracts::oci_tools::tool("skopeo", &args, built.dir.path());
}
