//! What each change of a project builds anew: the stages of an image, edit by edit, with a real store and real commands.
//!
//! The one idea: a step edits, commits, asks the plan which stages it builds, builds them, and finds the next plan empty.
//! The numbers are those of our list of build scenarios. Elsewhere: 70 (`staged`), 72 with twenty builders and 74 (`contracts`),
//! 77 to 79 (`cli::verbs`), 82 (`platforms`). Without meaning here: 48, 49 (no virtual merges), 52, 56, 101 (an import is
//! told by its source's signature), 73, 80 (no locks), 75 (a stored stage stands for itself).
//!
//! "The patch" is the two stages that follow every changed file: `gitLatestPatch` and `dockerInstructions`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::builds::{Built, cannot_run};

const WERF: &str = "\
project: scenarios
configVersion: 1
---
image: app
from: busybox:test
git:
- add: /
  to: /app
  excludePaths: [werf.yaml, docs]
  stageDependencies:
    install: [package.json]
    setup: ['src/**']
shell:
  beforeInstall: [echo 1 > /before]
  install: [cat /app*/package.json > /install]
  beforeSetup: [echo 3 > /third]
  setup: [cat /app*/src/*.js > /setup]
docker:
  ENTRYPOINT: [sh]
";

const FILES: &[(&str, &str)] = &[
    ("werf.yaml", WERF),
    ("package.json", "{}\n"),
    ("src/a.js", "a\n"),
    ("README", "read me\n"),
    ("assets/only/logo", "logo\n"),
    ("docs/x", "x\n"),
];

const PATCH: &[&str] = &["gitLatestPatch", "dockerInstructions"];
const FROM_SETUP: &[&str] = &["setup", "gitLatestPatch", "dockerInstructions"];
const FROM_INSTALL: &[&str] = &["install", "beforeSetup", "setup", "gitLatestPatch", "dockerInstructions"];
const FROM_ARCHIVE: &[&str] =
    &["gitArchive", "install", "beforeSetup", "setup", "gitLatestPatch", "dockerInstructions"];
const ALL: &[&str] =
    &["beforeInstall", "gitArchive", "install", "beforeSetup", "setup", "gitLatestPatch", "dockerInstructions"];
const NOTHING: &[&str] = &[];

/// The project of these scenarios, built once.
fn world() -> Option<Built> {
    world_of(FILES)
}

fn world_of(files: &[(&str, &str)]) -> Option<Built> {
    if cannot_run().is_some() {
        return None;
    }
    let built = Built::project(files);
    done(&built, &["build"]);
    Some(built)
}

fn done(built: &Built, args: &[&str]) -> String {
    let output = built.command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn plan_with(built: &Built, args: &[&str]) -> Value {
    let args = [&["plan", "-o", "json", "--target", "dir:../out"], args].concat();
    serde_json::from_str(&done(built, &args)).unwrap()
}

fn plan(built: &Built) -> Value {
    plan_with(built, &[])
}

/// The stages of the image that a plan builds.
fn builds_of(plan: &Value, image: &str) -> Vec<String> {
    let stages = plan["stages"].as_array().unwrap().iter();
    let built = stages.filter(|stage| stage["image"] == image && stage["action"] == "build");
    built.map(|stage| stage["stage"].as_str().unwrap().to_owned()).collect()
}

fn tag(built: &Built) -> String {
    let plan = plan(built);
    let image = plan["images"].as_array().unwrap().iter().find(|image| image["name"] == "app").unwrap();
    image["tag"].as_str().unwrap().to_owned()
}

/// The stage of the image in a plan.
fn stage<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let stages = plan["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["image"] == "app" && stage["stage"] == name).unwrap()
}

fn commit(built: &Built, message: &str) {
    built.git(&["add", "-A"]);
    built.git(&["commit", "-q", "--allow-empty", "-m", message]);
}

/// Commits what was edited and builds it; exactly these stages are built.
fn builds(built: &Built, stages: &[&str]) {
    commit(built, "edit");
    assert_eq!(builds_of(&plan(built), "app"), stages);
    done(built, &["build"]);
    assert_eq!(plan(built)["summary"]["images_build"], 0, "the next plan builds nothing");
}

fn edit_werf(built: &Built, from: &str, to: &str) {
    let file = built.path("project/werf.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn remove(built: &Built, path: &str) {
    fs::remove_file(built.path("project").join(path)).unwrap();
}

/// The content of a file of the image, described; `None` where there is none.
fn file(built: &Built, path: &str) -> Option<String> {
    built.files(&tag(built)).remove(path)
}

#[test]
fn s01_a_second_build_builds_nothing() {
    let Some(built) = world() else { return };
    assert_eq!(builds_of(&plan(&built), "app"), NOTHING);
}

#[test]
fn s02_an_empty_commit_keeps_the_tag() {
    let Some(built) = world() else { return };
    let before = tag(&built);
    builds(&built, NOTHING);
    assert_eq!(tag(&built), before);
}

#[test]
fn s03_to_s05_a_file_of_no_stage_makes_one_patch_and_a_revert_makes_none() {
    let Some(built) = world() else { return };
    let first = tag(&built);
    let layers = |built: &Built| built.layers("org.opencontainers.image.ref.name", &tag(built)).len();
    let before = layers(&built);
    built.write("README", "read me twice\n");
    builds(&built, PATCH);
    assert_eq!(layers(&built), before + 1);
    let why = done(&built, &["why", "app", "--since", "HEAD~1"]);
    assert!(why.contains("stage app/setup is reused") && why.contains("stage app/gitLatestPatch is built"), "{why}");
    built.write("README", "read me three times\n");
    builds(&built, PATCH);
    assert_eq!(layers(&built), before + 1, "the patch is over the last command, not over the last patch");
    assert_eq!(file(&built, "app/README").unwrap(), "f 644 0:0 \"read me three times\\n\"");
    built.write("README", "read me\n");
    builds(&built, NOTHING);
    assert_eq!(tag(&built), first);
}

#[test]
fn s06_a_dependency_of_install_runs_it_again_over_the_stages_before() {
    let Some(built) = world() else { return };
    built.write("package.json", "{ \"a\": 1 }\n");
    commit(&built, "edit");
    let before = plan(&built);
    assert_eq!(builds_of(&before, "app"), FROM_INSTALL);
    assert_eq!(stage(&before, "gitArchive")["action"], "reuse");
    builds(&built, FROM_INSTALL);
    assert_eq!(file(&built, "install").unwrap(), "f 644 0:0 \"{ \\\"a\\\": 1 }\\n\"", "the command sees the new file");
}

#[test]
fn s07_s08_a_dependency_of_setup_runs_it_again_and_later_patches_are_over_it() {
    let Some(built) = world() else { return };
    built.write("src/a.js", "b\n");
    builds(&built, FROM_SETUP);
    assert_eq!(file(&built, "setup").unwrap(), "f 644 0:0 \"b\\n\"");
    built.write("README", "again\n");
    builds(&built, PATCH);
}

#[test]
fn s09_s10_a_mode_is_content() {
    let Some(built) = world() else { return };
    let executable = |path: &str| {
        fs::set_permissions(built.path("project").join(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable("README");
    builds(&built, PATCH);
    assert_eq!(file(&built, "app/README").unwrap(), "f 755 0:0 \"read me\\n\"");
    executable("src/a.js");
    builds(&built, FROM_SETUP);
    executable("package.json");
    builds(&built, FROM_INSTALL);
}

#[test]
fn s11_a_renamed_file_is_another_one() {
    let Some(built) = world() else { return };
    built.git(&["mv", "src/a.js", "src/b.js"]);
    builds(&built, FROM_SETUP);
    let files = built.files(&tag(&built));
    assert!(files.contains_key("app/src/b.js") && !files.contains_key("app/src/a.js"), "{files:#?}");
}

#[test]
fn s12_a_mask_that_matches_nothing_builds_nothing() {
    let Some(built) = world() else { return };
    edit_werf(&built, "[package.json]", "[package.json, '*.lock']");
    builds(&built, NOTHING);
    edit_werf(&built, "    setup: ['src/**']", "    setup: ['src/**']\n    beforeSetup: ['*.none']");
    builds(&built, NOTHING);
}

#[test]
fn s13_to_s16_a_large_patch_is_kept_below_the_small_ones() {
    let Some(built) = world() else { return };
    let first = tag(&built);
    let cached = &["gitCache", "gitLatestPatch", "dockerInstructions"];
    let large = |kibibytes: usize, letter: &str| letter.repeat(kibibytes * 1024);
    built.write("one", &large(1023, "a"));
    builds(&built, PATCH);
    built.write("one", &large(1024, "b"));
    builds(&built, cached);
    built.write("two", &large(1023, "c"));
    builds(&built, PATCH);
    built.write("two", &large(1024, "d"));
    builds(&built, cached);
    let files = built.files(&tag(&built));
    assert!(files.contains_key("app/one") && files.contains_key("app/two"));
    remove(&built, "one");
    remove(&built, "two");
    builds(&built, NOTHING);
    assert_eq!(tag(&built), first);
}

#[test]
fn s17_without_patches_only_dependencies_of_stages_count() {
    let werf = WERF.replace("from: busybox:test\n", "from: busybox:test\ndisableGitAfterPatch: true\n");
    let files: Vec<_> =
        FILES.iter().map(|(path, text)| (*path, if *path == "werf.yaml" { werf.as_str() } else { text })).collect();
    let Some(built) = world_of(&files) else { return };
    built.write("README", "again\n");
    builds(&built, NOTHING);
    built.write("package.json", "{ }\n");
    builds(&built, &["install", "beforeSetup", "setup"]);
}

#[test]
fn s18_an_excluded_file_builds_nothing() {
    let Some(built) = world() else { return };
    built.write("docs/x", "y\n");
    builds(&built, NOTHING);
}

#[test]
fn s19_to_s22_a_changed_mapping_builds_from_the_archive_on() {
    let Some(built) = world() else { return };
    edit_werf(&built, "  to: /app\n", "  to: /app\n  owner: app\n");
    builds(&built, FROM_ARCHIVE);
    assert_eq!(file(&built, "app/README").unwrap(), "f 644 1000:0 \"read me\\n\"");
    edit_werf(&built, "  to: /app\n", "  to: /app2\n");
    builds(&built, FROM_ARCHIVE);
    edit_werf(&built, "shell:\n", "- add: /docs\n  to: /docs\nshell:\n");
    builds(&built, FROM_ARCHIVE);
    edit_werf(&built, "- add: /docs\n  to: /docs\n", "");
    edit_werf(&built, "git:\n", "git:\n- add: /docs\n  to: /docs\n");
    builds(&built, FROM_ARCHIVE);
}

#[test]
fn s23_s24_s26_s27_commands_and_cache_versions() {
    let Some(built) = world() else { return };
    edit_werf(&built, "echo 3", "echo  3");
    builds(&built, &ALL[3..]);
    edit_werf(&built, "shell:", "# a comment\nshell:");
    builds(&built, NOTHING);
    edit_werf(&built, "echo 1", "echo 2");
    builds(&built, ALL);
    edit_werf(&built, "shell:\n", "shell:\n  cacheVersion: '1'\n");
    builds(&built, ALL);
    edit_werf(&built, "image: app\n", "image: app\ncacheVersion: '1'\n");
    builds(&built, ALL);
}

#[test]
fn s28_s29_a_base_and_a_mount() {
    let Some(built) = world() else { return };
    edit_werf(&built, "shell:\n", "mount:\n- from: tmp_dir\n  to: /cache\nshell:\n");
    builds(&built, ALL);
    edit_werf(&built, "from: busybox:test", "from: busybox:other");
    let store = built.store();
    let base = stagewright::ports::StageStore::images(&store, &["busybox:test".into()]).unwrap().remove(0).unwrap();
    stagewright::ports::StageStore::tag(&store, "busybox:other", None, &base.manifest).unwrap();
    builds(&built, ALL);
}

#[test]
fn s30_a_network_and_a_secret_value_build_nothing() {
    let files = [FILES, &[("token", "one\n")]].concat();
    let werf = WERF
        .replace("from: busybox:test\n", "from: busybox:test\nsecrets:\n- src: token\n")
        .replace("docs]", "docs, token, werf-giterminism.yaml]");
    let files: Vec<_> =
        files.iter().map(|(path, text)| (*path, if *path == "werf.yaml" { werf.as_str() } else { text })).collect();
    let rules = "giterminismConfigVersion: 1\nconfig:\n  secrets:\n    allowFiles: [token]\n";
    let files = [&files[..], &[("werf-giterminism.yaml", rules)]].concat();
    let Some(built) = world_of(&files) else { return };
    built.write("token", "two\n");
    builds(&built, NOTHING);
    edit_werf(&built, "from: busybox:test\n", "from: busybox:test\nnetwork: none\n");
    builds(&built, NOTHING);
}

#[test]
fn s31_s32_configuration_alone_makes_no_layer() {
    let Some(built) = world() else { return };
    let layers = |built: &Built| built.layers("org.opencontainers.image.ref.name", &tag(built));
    let before = layers(&built);
    edit_werf(&built, "ENTRYPOINT: [sh]", "ENTRYPOINT: [ash]");
    builds(&built, &["dockerInstructions"]);
    assert_eq!(layers(&built), before);
    edit_werf(&built, "docker:\n  ENTRYPOINT: [ash]\n", "imageSpec:\n  config:\n    labels: { team: core }\n");
    builds(&built, &["imageSpec"]);
    assert_eq!(layers(&built), before);
}

#[test]
fn s33_a_removed_file_goes_with_the_folder_that_it_leaves_empty() {
    let Some(built) = world() else { return };
    remove(&built, "assets/only/logo");
    remove(&built, "README");
    builds(&built, PATCH);
    let files = built.files(&tag(&built));
    for gone in ["app/README", "app/assets/only/logo", "app/assets/only", "app/assets"] {
        assert!(!files.contains_key(gone), "{gone}");
    }
    assert!(files.contains_key("app") && files.contains_key("app/package.json"));
}

#[test]
fn s33_a_folder_with_files_of_commands_stays() {
    let werf = WERF.replace("echo 3 > /third", "echo 3 > /app/assets/made");
    let files: Vec<_> =
        FILES.iter().map(|(path, text)| (*path, if *path == "werf.yaml" { werf.as_str() } else { text })).collect();
    let Some(built) = world_of(&files) else { return };
    remove(&built, "assets/only/logo");
    builds(&built, PATCH);
    let files = built.files(&tag(&built));
    assert!(!files.contains_key("app/assets/only") && files.contains_key("app/assets/made"), "{files:#?}");
}

#[test]
fn s34_s36_binary_files_links_and_what_replaces_what() {
    let Some(built) = world() else { return };
    let at = |path: &str| built.path("project").join(path);
    fs::write(at("README"), [0_u8, 159, 146, 150]).unwrap();
    std::os::unix::fs::symlink("README", at("link")).unwrap();
    builds(&built, PATCH);
    assert_eq!(file(&built, "app/link").unwrap(), "l 777 0:0 -> README");
    remove(&built, "link");
    std::os::unix::fs::symlink("docs", at("link")).unwrap();
    fs::remove_file(at("README")).unwrap();
    built.write("README/inside", "now a folder\n");
    fs::remove_dir_all(at("assets")).unwrap();
    built.write("assets", "now a file\n");
    builds(&built, PATCH);
    let files = built.files(&tag(&built));
    assert_eq!(files["app/link"], "l 777 0:0 -> docs");
    assert_eq!(files["app/README/inside"], "f 644 0:0 \"now a folder\\n\"");
    assert_eq!(files["app/assets"], "f 644 0:0 \"now a file\\n\"");
    assert!(!files.contains_key("app/assets/only"));
}

#[test]
fn s35_a_file_that_a_command_changed_is_that_of_git_once_it_changes_there() {
    let werf = WERF.replace("echo 3 > /third", "echo changed > /app/README");
    let files: Vec<_> =
        FILES.iter().map(|(path, text)| (*path, if *path == "werf.yaml" { werf.as_str() } else { text })).collect();
    let Some(built) = world_of(&files) else { return };
    assert_eq!(file(&built, "app/README").unwrap(), "f 644 0:0 \"changed\\n\"");
    built.write("README", "from git\n");
    builds(&built, PATCH);
    assert_eq!(file(&built, "app/README").unwrap(), "f 644 0:0 \"from git\\n\"");
}

#[test]
fn s38_uncommitted_changes_are_refused_ignored_or_taken() {
    let Some(built) = world() else { return };
    built.write("README", "not committed\n");
    let dev = plan_with(&built, &["--dev"]);
    assert_eq!(builds_of(&dev, "app"), PATCH);
    done(&built, &["build", "--dev"]);
    commit(&built, "now it is");
    assert_eq!(plan(&built)["summary"]["images_build"], 0, "the content is the same");
    // What was built of files that no commit holds is not built upon.
    built.write("package.json", "{ \"dev\": true }\n");
    done(&built, &["build", "--dev"]);
    built.git(&["checkout", "-q", "package.json"]);
    built.write("README", "another\n");
    builds(&built, PATCH);
}

#[test]
fn s39_a_mapping_of_no_file_is_an_error_whatever_is_stored() {
    let Some(built) = world() else { return };
    edit_werf(&built, "  to: /app\n", "  to: /app\n  includePaths: [nothing]\n");
    commit(&built, "edit");
    let output = built.command(&["plan"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) || output.status.code() == Some(1), "{told}");
    assert!(told.contains("matches no committed file"), "{told}");
}

/// Both branches make the same edit of a dependency and another one beside it; ours is built first, on `feature`.
fn forked() -> Option<Built> {
    let built = world()?;
    built.git(&["checkout", "-q", "-b", "feature"]);
    built.write("package.json", "{ \"a\": 1 }\n");
    built.write("README", "of the feature\n");
    builds(&built, FROM_INSTALL);
    built.git(&["checkout", "-q", "main"]);
    built.write("package.json", "{ \"a\": 1 }\n");
    commit(&built, "the same edit");
    Some(built)
}

#[test]
fn s40_s41_branches_do_not_share_stages_until_they_are_merged() {
    let Some(built) = forked() else { return };
    let main = plan(&built);
    assert_eq!(builds_of(&main, "app"), FROM_INSTALL);
    let rejected = stage(&main, "install")["rejected"].as_array().unwrap();
    assert_eq!((rejected.len(), &rejected[0]["cause"]), (1, &Value::from("not_an_ancestor")));
    let told = done(&built, &["why", "app/install"]);
    assert!(told.contains("which is not behind this one"), "{told}");
    let theirs = rejected[0]["stage_id"].as_str().unwrap().to_owned();
    done(&built, &["build"]);
    built.git(&["merge", "-q", "feature", "-m", "merge"]);
    built.write("src/a.js", "after the merge\n");
    commit(&built, "edit");
    let merged = plan(&built);
    assert_eq!(builds_of(&merged, "app"), FROM_SETUP);
    // The older of the two is taken by all from now on.
    assert_eq!(stage(&merged, "install")["stage_id"], theirs.as_str());
}

#[test]
fn s42_s43_a_squashed_branch_has_the_same_content_and_is_used() {
    let Some(built) = world() else { return };
    built.git(&["checkout", "-q", "-b", "feature"]);
    built.write("package.json", "{ \"a\": 1 }\n");
    builds(&built, FROM_INSTALL);
    built.git(&["checkout", "-q", "main"]);
    built.git(&["merge", "-q", "--squash", "feature"]);
    edit_werf(&built, "ENTRYPOINT: [sh]", "ENTRYPOINT: [ash]");
    commit(&built, "squashed");
    assert_eq!(builds_of(&plan(&built), "app"), &["dockerInstructions"]);
    let literally = plan_with(&built, &["--stage-selection", "ancestry"]);
    // What only the digest tells needs no ancestor.
    assert_eq!(stage(&literally, "install")["rejected"][0]["cause"], "not_an_ancestor");
}

#[test]
fn s43_after_a_rebase_the_stages_of_the_common_commit_are_used() {
    let Some(built) = world() else { return };
    built.git(&["checkout", "-q", "-b", "feature"]);
    built.write("package.json", "{ \"a\": 1 }\n");
    builds(&built, FROM_INSTALL);
    built.git(&["checkout", "-q", "main"]);
    built.write("README", "of main\n");
    commit(&built, "edit");
    built.git(&["checkout", "-q", "feature"]);
    built.git(&["rebase", "-q", "main"]);
    let rebased = plan(&built);
    assert_eq!(stage(&rebased, "gitArchive")["action"], "reuse");
    assert_eq!(builds_of(&rebased, "app"), FROM_INSTALL);
}

#[test]
fn s44_s45_after_a_rewritten_history_only_content_counts() {
    let Some(built) = world() else { return };
    built.git(&["checkout", "-q", "--orphan", "new"]);
    built.write("README", "rewritten\n");
    commit(&built, "root");
    assert_eq!(builds_of(&plan(&built), "app"), FROM_ARCHIVE);
    built.write("README", "read me\n");
    edit_werf(&built, "ENTRYPOINT: [sh]", "ENTRYPOINT: [ash]");
    commit(&built, "as before");
    assert_eq!(builds_of(&plan(&built), "app"), &["dockerInstructions"]);
}

#[test]
fn s45_by_content_alone_a_command_that_could_see_another_file_runs_again() {
    let Some(built) = world() else { return };
    built.write("README", "again\n");
    commit(&built, "edit");
    let strictly = plan_with(&built, &["--stage-selection", "content"]);
    assert_eq!(builds_of(&strictly, "app"), FROM_ARCHIVE);
    assert_eq!(stage(&strictly, "install")["rejected"][0]["cause"], "other_files");
}

#[test]
fn s46_an_older_commit_is_not_built_upon_a_newer_one() {
    let Some(built) = world() else { return };
    let first = tag(&built);
    built.write("README", "second\n");
    commit(&built, "second");
    fs::remove_dir_all(built.path("store")).unwrap();
    crate::builds::store_busybox(&built.store());
    done(&built, &["build"]);
    built.git(&["checkout", "-q", "HEAD~1"]);
    assert_eq!(builds_of(&plan(&built), "app"), FROM_ARCHIVE);
    done(&built, &["build"]);
    assert_eq!(tag(&built), first);
    built.git(&["checkout", "-q", "main"]);
    built.write("README", "third\n");
    builds(&built, PATCH);
}

#[test]
fn s47_in_a_shallow_clone_only_content_counts() {
    let Some(built) = world() else { return };
    built.write("README", "second\n");
    commit(&built, "second");
    let origin = format!("file://{}", built.path("project").display());
    let clone = built.path("clone");
    built.git(&["clone", "-q", "--depth", "1", &origin, clone.to_str().unwrap()]);
    let output = built.command(&["plan", "-o", "json"]).current_dir(&clone).output().unwrap();
    let shallow: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stage(&shallow, "install")["rejected"][0]["cause"], "unknown_commit");
    assert_eq!(builds_of(&shallow, "app"), FROM_ARCHIVE);
}

#[test]
fn s72_a_faster_builder_with_older_files_makes_the_patch_larger_and_the_image_the_same() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::project(FILES);
    built.write("README", "newer\n");
    commit(&built, "newer");
    let planned = plan(&built);
    done(&built, &["plan", "--target", "dir:../out", "--out", "../saved"]);
    // Meanwhile somebody builds the commit before.
    built.git(&["checkout", "-q", "HEAD~1"]);
    done(&built, &["build"]);
    built.git(&["checkout", "-q", "main"]);
    done(&built, &["apply", "../saved", "--auto-approve"]);
    assert_eq!(file(&built, "app/README").unwrap(), "f 644 0:0 \"newer\\n\"");
    let archives = fs::read_to_string(built.path("store/index.json")).unwrap();
    let digest = stage(&planned, "gitArchive")["digest"].as_str().unwrap();
    assert_eq!(archives.matches(&format!("{digest}-")).count(), 1, "the archive of the other one is used");
}

#[cfg(feature = "docker")]
#[test]
fn s03_s06_s33_a_docker_engine_brings_files_up_to_date_too() {
    let Some(docker) = crate::services::Docker::shared() else { return };
    let built = Built::project(FILES);
    let docker = |args: &[&str]| {
        let mut command = built.command(args);
        let output = command.args(["--builder", "docker"]).env("DOCKER_HOST", docker.host()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    docker(&["build"]);
    remove(&built, "assets/only/logo");
    built.write("README", "again\n");
    commit(&built, "edit");
    assert_eq!(builds_of(&plan(&built), "app"), PATCH);
    docker(&["build"]);
    built.write("README", "and again\n");
    built.write("package.json", "{ \"a\": 1 }\n");
    commit(&built, "edit");
    assert_eq!(builds_of(&plan(&built), "app"), FROM_INSTALL);
    docker(&["build"]);
    let files = built.files(&tag(&built));
    assert!(files["app/README"].ends_with("0:0 \"and again\\n\""), "{files:#?}");
    assert!(files["install"].ends_with("0:0 \"{ \\\"a\\\": 1 }\\n\""), "{files:#?}");
    assert!(!files.contains_key("app/assets") && files.contains_key("setup"), "{files:#?}");
}

/// An image that imports from another one.
const IMPORT: &str = "\
project: scenarios
configVersion: 1
---
image: app
from: busybox:test
import:
- image: source
  add: /files
  to: /imported
  after: setup
dependencies:
- image: source
  after: setup
  imports: [{type: ImageName, targetEnv: SOURCE}]
shell:
  setup: [echo 1 > /one]
---
image: source
from: busybox:test
git:
- add: /files
  to: /files
shell:
  setup: [echo 2 > /two]
";

#[test]
fn s53_to_s55_s58_what_is_imported_is_told_by_the_signature_of_its_source() {
    let Some(built) = world_of(&[("werf.yaml", IMPORT), ("files/a", "a\n")]) else { return };
    let slot = &["dependenciesAfterSetup"];
    built.write("files/a", "b\n");
    builds(&built, slot);
    assert_eq!(file(&built, "imported/a").unwrap(), "f 644 0:0 \"b\\n\"");
    edit_werf(&built, "  to: /imported\n", "  to: /imported\n  owner: app\n");
    builds(&built, slot);
    fs::set_permissions(built.path("project/files/a"), fs::Permissions::from_mode(0o755)).unwrap();
    builds(&built, slot);
    built.write("other", "of no image\n");
    builds(&built, NOTHING);
}

#[test]
fn s59_an_image_over_another_follows_its_configuration() {
    let over = IMPORT.replace("image: app\nfrom: busybox:test\nimport:", "image: app\nfrom: source\nimport:");
    let Some(built) = world_of(&[("werf.yaml", &over), ("files/a", "a\n")]) else { return };
    edit_werf(&built, "  setup: [echo 2 > /two]\n", "  setup: [echo 2 > /two]\ndocker:\n  ENV: { A: b }\n");
    builds(&built, &["setup", "dependenciesAfterSetup"]);
}

#[test]
fn s71_images_of_the_same_definition_are_built_once() {
    let two = format!("{WERF}---\n{}", WERF.split("---\n").nth(1).unwrap().replace("image: app", "image: twin"));
    if cannot_run().is_some() {
        return;
    }
    let built = Built::project(&[&FILES[1..], &[("werf.yaml", &*two)]].concat());
    let first = plan(&built);
    let operations = first["operations"].as_array().unwrap();
    let count = operations.iter().filter(|o| o["id"].as_str().unwrap().starts_with("build:")).count();
    assert_eq!(count, ALL.len());
    done(&built, &["build"]);
    assert_eq!(plan(&built)["summary"]["images_build"], 0);
}

#[test]
fn s76_s99_a_plan_writes_nothing_and_tells_whether_all_is_built() {
    let Some(built) = world() else { return };
    let listed = crate::cli::listing(&built.path("store"));
    built.write("README", "again\n");
    commit(&built, "edit");
    let output = built.command(&["plan", "--exit-code"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(crate::cli::listing(&built.path("store")) == listed, "the store is as it was");
}

#[test]
fn s81_a_clock_that_is_behind_makes_no_stage_unusable() {
    let Some(built) = world() else { return };
    // As if the archive had been stored by a host whose clock is a day ahead.
    let index = built.path("store/index.json");
    let text = fs::read_to_string(&index).unwrap();
    let plan_before = plan_with(&built, &["--stage-selection", "either"]);
    assert_eq!(plan_before["summary"]["images_build"], 0);
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let names = parsed["manifests"].as_array().unwrap().iter();
    let ids = names.filter_map(|m| m["annotations"]["org.opencontainers.image.ref.name"].as_str());
    let id = ids
        .filter(|name| name.split_once('-').is_some_and(|(digest, _)| digest.len() == 56))
        .min_by_key(|name| name.rsplit_once('-').map(|(_, ms)| ms.to_owned()))
        .unwrap()
        .to_owned();
    let (digest, ms) = id.rsplit_once('-').unwrap();
    let ahead = ms.parse::<u64>().unwrap() + 86_400_000;
    fs::write(&index, text.replace(&id, &format!("{digest}-{ahead}"))).unwrap();
    built.write("README", "again\n");
    builds(&built, PATCH);
}

#[test]
fn s100_the_digests_of_a_plan_are_those_that_are_stored() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::project(FILES);
    let planned = plan(&built);
    done(&built, &["build"]);
    let index = fs::read_to_string(built.path("store/index.json")).unwrap();
    for stage in planned["stages"].as_array().unwrap() {
        assert!(index.contains(&format!("{}-", stage["digest"].as_str().unwrap())), "{stage}");
    }
}

#[test]
fn s25_tasks_are_compared_by_what_they_say() {
    let ansible = |tasks: &str| {
        let text = format!("{}ansible:\n  setup:\n{tasks}", WERF.split("shell:").next().unwrap());
        let built = Built::project(&[&FILES[1..], &[("werf.yaml", &*text)]].concat());
        // Another file of the mapping is the same file here.
        let plan = plan(&built);
        stage(&plan, "setup")["digest"].as_str().unwrap().to_owned()
    };
    let first = "  - name: one\n    command: echo 1\n  - name: two\n    command: echo 2\n";
    let same = "    - command:   'echo 1'\n      name: one\n    - { command: echo 2, name: two }\n";
    let swapped = "  - name: two\n    command: echo 2\n  - name: one\n    command: echo 1\n";
    assert_eq!(ansible(first), ansible(same));
    assert_ne!(ansible(first), ansible(swapped));
}

#[test]
fn s37_a_moved_submodule_is_a_change_of_its_files() {
    let Some(built) = world() else { return };
    let other = built.path("other");
    fs::create_dir_all(&other).unwrap();
    let in_other = |args: &[&str]| built.git(&[&["-C", other.to_str().unwrap()], args].concat());
    in_other(&["init", "-q", "-b", "main"]);
    fs::write(other.join("lib.js"), "one\n").unwrap();
    in_other(&["add", "-A"]);
    in_other(&["commit", "-q", "-m", "one"]);
    let add = ["-c", "protocol.file.allow=always", "submodule", "add", "-q", other.to_str().unwrap(), "src/lib"];
    built.git(&add);
    builds(&built, FROM_SETUP);
    fs::write(other.join("lib.js"), "two\n").unwrap();
    in_other(&["commit", "-q", "-a", "-m", "two"]);
    built.git(&["-c", "protocol.file.allow=always", "submodule", "update", "-q", "--remote", "src/lib"]);
    builds(&built, FROM_SETUP);
    assert_eq!(file(&built, "app/src/lib/lib.js").unwrap(), "f 644 0:0 \"two\\n\"");
}

#[test]
fn s50_a_moved_branch_of_another_repository_is_a_patch() {
    let werf = WERF.replace("  to: /app\n", "  to: /app\n- { url: ../other, branch: main, add: /, to: /other }\n");
    let werf = werf
        .replace("excludePaths: [werf.yaml, docs]", "")
        .replace("  stageDependencies:\n    install: [package.json]\n    setup: ['src/**']\n", "");
    let werf = werf.replace(
        "- add: /\n  to: /app\n",
        "- { add: /src, to: /app/src }\n- { add: /package.json, to: /app/package.json }\n",
    );
    let rules = "giterminismConfigVersion: 1\nconfig: {stapel: {git: {allowBranch: true}}}\n";
    if cannot_run().is_some() {
        return;
    }
    let built = Built::project(&[&FILES[1..], &[("werf.yaml", &*werf), ("werf-giterminism.yaml", rules)]].concat());
    let other = built.path("other");
    fs::create_dir_all(&other).unwrap();
    let in_other = |args: &[&str]| built.git(&[&["-C", other.to_str().unwrap()], args].concat());
    in_other(&["init", "-q", "-b", "main"]);
    for (text, stages) in [("one\n", ALL), ("two\n", PATCH)] {
        fs::write(other.join("file"), text).unwrap();
        in_other(&["add", "-A"]);
        in_other(&["commit", "-q", "-m", text]);
        builds(&built, stages);
    }
    assert_eq!(file(&built, "other/file").unwrap(), "f 644 0:0 \"two\\n\"");
    // Another repository with the same files is another one: what commands made of the files is not its own.
    built.git(&["clone", "-q", other.to_str().unwrap(), built.path("twin").to_str().unwrap()]);
    edit_werf(&built, "url: ../other", "url: ../twin");
    edit_werf(&built, "ENTRYPOINT: [sh]", "ENTRYPOINT: [ash]");
    commit(&built, "the twin");
    let twin = plan(&built);
    assert_eq!(stage(&twin, "install")["rejected"], Value::Null);
    assert_eq!(stage(&twin, "install")["stage_id"], Value::Null);
}

#[test]
fn s51_a_build_that_does_not_say_what_it_holds_is_passed_over() {
    let Some(built) = world() else { return };
    let store = built.store();
    built.write("README", "again\n");
    commit(&built, "edit");
    let planned = plan(&built);
    let id = stage(&planned, "setup")["stage_id"].as_str().unwrap().to_owned();
    // An older build of the same stage, without notes.
    let digest = stagewright::digest::Sha224Digest::from_hex(id.split('-').next().unwrap()).unwrap();
    let found = stagewright::ports::StageStore::stages(&store, &digest).unwrap().remove(0);
    let (manifest, _) = stagewright::ports::oci::read_image(&store, &found.manifest).unwrap();
    let bare = stagewright::ports::BuiltImage { config: manifest.config, layers: manifest.layers };
    let none = |_: &stagewright::ports::StoredStage| false;
    stagewright::ports::StageStore::publish(&store, &digest, &bare, &[].into(), 1, &none).unwrap();
    let again = plan(&built);
    assert_eq!(stage(&again, "setup")["rejected"][0]["cause"], "not_recorded");
    assert_eq!(stage(&again, "setup")["stage_id"], id.as_str());
}

const DOCKERFILE: &str = "\
FROM busybox:test AS unused
ARG ELSEWHERE
COPY unused /u
FROM busybox:test AS tools
COPY tools /t
FROM busybox:test
ARG LEVEL
COPY app /app
COPY --from=tools /t /t
RUN echo $LEVEL > /level
";

/// A Dockerfile with three stages, of which the target needs two.
fn image_of(dockerfile: &str) -> Option<Built> {
    let werf = "project: scenarios\nconfigVersion: 1\n---\nimage: app\ndockerfile: Dockerfile\n";
    world_of(&[
        ("werf.yaml", werf),
        ("Dockerfile", dockerfile),
        ("app/a", "a\n"),
        ("tools/t", "t\n"),
        ("unused/u", "u\n"),
        ("README", "read me\n"),
        ("ignored", "1\n"),
        (".dockerignore", "ignored\n"),
    ])
}

const DOCKER: &[&str] = &["dockerfile"];

#[test]
fn s60_to_s62_only_files_that_an_instruction_of_the_target_takes_count() {
    let Some(built) = image_of(DOCKERFILE) else { return };
    for (path, stages) in [("README", NOTHING), ("unused/u", NOTHING), ("tools/t", DOCKER), ("app/a", DOCKER)] {
        built.write(path, "edited\n");
        builds(&built, stages);
    }
    let text = fs::read_to_string(built.path("project/Dockerfile")).unwrap();
    built.write("Dockerfile", &text.replace("/u\n", "/other\n"));
    builds(&built, NOTHING);
}

#[test]
fn s61_s64_with_the_whole_context_all_but_ignored_files_count() {
    let Some(built) = image_of("FROM busybox:test\nCOPY . /all\n") else { return };
    built.write("ignored", "2\n");
    builds(&built, NOTHING);
    built.write("README", "edited\n");
    builds(&built, DOCKER);
    built.write("Dockerfile", "# a comment\nFROM busybox:test\nCOPY . /all\n");
    builds(&built, DOCKER);
}

#[test]
fn s61_s64_the_text_of_the_ignore_file_and_of_the_dockerfile_is_no_content() {
    let Some(built) = image_of(DOCKERFILE) else { return };
    built.write(".dockerignore", "# the same set\nign*red\n");
    builds(&built, NOTHING);
    built.write("Dockerfile", &format!("# a comment\n\n{DOCKERFILE}"));
    builds(&built, NOTHING);
    built.write("Dockerfile", &DOCKERFILE.replace("RUN echo", "RUN  echo -n"));
    builds(&built, DOCKER);
}

#[test]
fn s63_an_argument_counts_where_it_is_declared() {
    let Some(built) = image_of(DOCKERFILE) else { return };
    edit_werf(&built, "dockerfile: Dockerfile\n", "dockerfile: Dockerfile\nargs:\n  ELSEWHERE: a\n");
    builds(&built, NOTHING);
    edit_werf(&built, "  ELSEWHERE: a\n", "  LEVEL: b\n");
    builds(&built, DOCKER);
    assert_eq!(file(&built, "level").unwrap(), "f 644 0:0 \"b\\n\"");
}

#[test]
fn s65_the_mode_of_a_file_that_is_copied_alone_is_content() {
    let Some(built) = image_of("FROM busybox:test\nCOPY README /r\n") else { return };
    fs::set_permissions(built.path("project/README"), fs::Permissions::from_mode(0o755)).unwrap();
    builds(&built, DOCKER);
    assert_eq!(file(&built, "r").unwrap(), "f 755 0:0 \"read me\\n\"");
}

#[test]
fn s66_an_added_file_counts_where_it_is_copied() {
    let Some(built) = image_of("FROM busybox:test\nCOPY app /app\n") else { return };
    let rules = "giterminismConfigVersion: 1\nconfig:\n  dockerfile:\n    allowContextAddFiles: [app/made, made]\n";
    built.write("werf-giterminism.yaml", rules);
    built.write(".gitignore", "made\n");
    edit_werf(&built, "dockerfile: Dockerfile\n", "dockerfile: Dockerfile\ncontextAddFiles: [app/made, made]\n");
    built.write("app/made", "1\n");
    built.write("made", "1\n");
    builds(&built, DOCKER);
    built.write("made", "2\n");
    builds(&built, NOTHING);
    built.write("app/made", "2\n");
    builds(&built, DOCKER);
    assert_eq!(file(&built, "app/made").unwrap(), "f 644 0:0 \"2\\n\"");
}

#[test]
fn s57_s67_a_base_that_moved_is_the_same_base() {
    let Some(built) = image_of("FROM busybox:test\nCOPY app /app\n") else { return };
    let store = built.store();
    let ours = stagewright::ports::StageStore::images(&store, &[tag(&built)]).unwrap().remove(0).unwrap();
    stagewright::ports::StageStore::tag(&store, "busybox:test", Some("busybox"), &ours.manifest).unwrap();
    builds(&built, NOTHING);
}

#[test]
fn s68_s69_untracked_files_do_not_count_and_branches_do_not_matter() {
    let Some(built) = image_of("FROM busybox:test\nCOPY . /all\n") else { return };
    let before = tag(&built);
    built.write("untracked", "1\n");
    assert_eq!(plan(&built)["summary"]["images_build"], 0);
    assert_eq!(builds_of(&plan_with(&built, &["--dev"]), "app"), DOCKER);
    remove(&built, "untracked");
    built.git(&["checkout", "-q", "--orphan", "other"]);
    commit(&built, "another history");
    assert_eq!((tag(&built), builds_of(&plan(&built), "app").len()), (before, 0));
}

/// A project whose only image is this Stapel image over `busybox:test`.
fn stapel(rest: &str, files: &[(&str, &str)]) -> Option<Built> {
    let werf = format!("project: scenarios\nconfigVersion: 1\n---\nimage: app\nfrom: busybox:test\n{rest}");
    world_of(&[files, &[("werf.yaml", &*werf)]].concat())
}

const FIRST: &[&str] = &["gitLatestPatch"];

#[test]
fn a_mapped_file_in_a_folder_of_the_base_leaves_the_folder_as_it_is() {
    let rest = "git:\n- { add: /my.conf, to: /etc }\n- { add: /two.conf, to: /home/ }\n";
    let Some(built) = stapel(rest, &[("my.conf", "1\n"), ("two.conf", "1\n")]) else { return };
    built.write("my.conf", "2\n");
    built.write("two.conf", "2\n");
    builds(&built, FIRST);
    let files = built.files(&tag(&built));
    assert_eq!((&*files["etc/my.conf"], &*files["home/two.conf"]), ("f 644 0:0 \"2\\n\"", "f 644 0:0 \"2\\n\""));
    assert!(files.contains_key("etc/passwd") && files.contains_key("home/app"), "{files:#?}");
}

#[test]
fn a_folder_that_one_mapping_leaves_and_another_enters_holds_the_files_of_the_other() {
    let rest = "git:\n- { add: /base, to: /app, includePaths: ['**/*.conf'] }\n- { add: /over, to: /app, includePaths: ['**/*.js'] }\n";
    let files = [("base/sub/x.conf", "x\n"), ("base/keep.conf", "k\n"), ("over/a.js", "a\n")];
    let Some(built) = stapel(rest, &files) else { return };
    remove(&built, "base/sub/x.conf");
    built.write("over/sub/z.js", "z\n");
    builds(&built, FIRST);
    let files = built.files(&tag(&built));
    assert!(!files.contains_key("app/sub/x.conf") && files.contains_key("app/sub/z.js"), "{files:#?}");
}

#[test]
fn what_commands_put_in_the_way_of_files_is_replaced_and_links_are_followed() {
    let rest = "git:\n- { add: /app, to: /app }\nshell:\n  setup:\n  - mkdir -p /app/new/out /app/keep.d && echo made > /app/new/sub\n  - mv /app/src /moved && ln -s /moved /app/src\n  - rm /app/keep && mkdir /app/keep && echo x > /app/keep/made\n";
    let files = [("app/src/a", "1\n"), ("app/src/b", "1\n"), ("app/keep", "k\n")];
    let Some(built) = stapel(rest, &files) else { return };
    built.write("app/new/out", "from git\n");
    built.write("app/new/sub/f", "from git\n");
    built.write("app/src/a", "2\n");
    remove(&built, "app/keep");
    builds(&built, FIRST);
    let files = built.files(&tag(&built));
    assert_eq!(
        (&*files["app/new/out"], &*files["app/new/sub/f"]),
        ("f 644 0:0 \"from git\\n\"", "f 644 0:0 \"from git\\n\"")
    );
    assert_eq!((&*files["moved/a"], &*files["moved/b"]), ("f 644 0:0 \"2\\n\"", "f 644 0:0 \"1\\n\""));
    assert!(files["app/src"].ends_with("-> /moved") && files.contains_key("app/keep/made"), "{files:#?}");
}

#[test]
fn a_layer_holds_the_folders_of_what_it_changes_as_they_are() {
    let rest = "git:\n- { add: /app, to: /app, owner: app }\nshell:\n  setup: [chmod 700 /app/src]\n";
    let Some(built) = stapel(rest, &[("app/src/a", "1\n")]) else { return };
    built.write("app/src/a", "2\n");
    builds(&built, FIRST);
    let layers = built.layers("org.opencontainers.image.ref.name", &tag(&built));
    let mut patch = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layers.last().unwrap()[..]));
    let held = patch.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, header.mode().unwrap(), header.uid().unwrap())
    });
    let expected = [("app/", 0o755, 1000), ("app/src/", 0o700, 1000), ("app/src/a", 0o644, 1000)];
    assert_eq!(held.collect::<Vec<_>>(), expected.map(|(path, mode, uid)| (path.to_owned(), mode, uid)));
}

#[test]
fn a_folder_that_becomes_a_file_is_another_mapping() {
    let rest = "git:\n- { add: /conf, to: /app/conf }\nshell:\n  setup: [touch /app/made]\n";
    let Some(built) = stapel(rest, &[("conf/a", "1\n")]) else { return };
    remove(&built, "conf/a");
    fs::remove_dir(built.path("project/conf")).unwrap();
    built.write("conf", "a file now\n");
    builds(&built, &["gitArchive", "setup", "gitLatestPatch"]);
    assert_eq!(file(&built, "app/conf").unwrap(), "f 644 0:0 \"a file now\\n\"");
}

#[test]
fn what_was_built_of_uncommitted_files_suits_nobody_else() {
    let rest = "disableGitAfterPatch: true\ngit:\n- { add: /src, to: /src }\nshell:\n  setup: [cat /src/a > /built]\n";
    if cannot_run().is_some() {
        return;
    }
    let werf = format!("project: scenarios\nconfigVersion: 1\n---\nimage: app\nfrom: busybox:test\n{rest}");
    let built = Built::project(&[("werf.yaml", &*werf), ("src/a", "committed\n")]);
    built.write("src/a", "not committed\n");
    done(&built, &["build", "--dev"]);
    // git has the tree now, though no commit has it.
    built.git(&["stash", "-q"]);
    assert_eq!(builds_of(&plan(&built), "app"), &["gitArchive", "setup"]);
    done(&built, &["build"]);
    assert_eq!(file(&built, "built").unwrap(), "f 644 0:0 \"committed\\n\"");
}

#[test]
fn a_saved_plan_is_judged_from_its_own_commit() {
    if cannot_run().is_some() {
        return;
    }
    let rest = "git:\n- { add: /src, to: /src }\nshell:\n  setup: [cat /src/a > /built]\n";
    let werf = format!("project: scenarios\nconfigVersion: 1\n---\nimage: app\nfrom: busybox:test\n{rest}");
    let built = Built::project(&[("werf.yaml", &*werf), ("src/a", "1\n")]);
    let first = tag(&built);
    done(&built, &["plan", "--target", "dir:../out", "--out", "../saved"]);
    built.write("src/a", "2\n");
    commit(&built, "two");
    done(&built, &["build"]);
    done(&built, &["apply", "../saved", "--auto-approve"]);
    assert_eq!(built.files(&first)["built"], "f 644 0:0 \"1\\n\"");
}

#[test]
fn a_stage_that_is_imported_is_built_before_and_its_files_are_content() {
    let text = "project: scenarios\nconfigVersion: 1\n---\nimage: app\nfrom: busybox:test\nimport:\n- { image: source, stage: install, add: /out, to: /out, after: setup }\n---\nimage: source\nfinal: false\nfrom: busybox:test\ngit:\n- { add: /src, to: /src, stageDependencies: { install: ['*'] } }\nshell:\n  install: [mkdir /out && cp /src/a /out/a]\n  setup: [echo later > /later]\n";
    let Some(built) = world_of(&[("werf.yaml", text), ("src/a", "1\n")]) else { return };
    built.write("src/a", "2\n");
    builds(&built, &["dependenciesAfterSetup"]);
    assert_eq!(file(&built, "out/a").unwrap(), "f 644 0:0 \"2\\n\"");
}

#[test]
fn a_tag_of_the_users_choice_is_put_on_the_image_that_is_stored() {
    let rest = "disableGitAfterPatch: true\ngit:\n- { add: /src, to: /src }\n";
    let Some(built) = stapel(rest, &[("src/a", "1\n")]) else { return };
    built.git(&["checkout", "-q", "--orphan", "other"]);
    commit(&built, "another history");
    let rules = "giterminismConfigVersion: 1\ncli: { allowCustomTags: true }\n";
    built.write("werf-giterminism.yaml", rules);
    commit(&built, "rules");
    done(&built, &["build", "--add-custom-tag", "v1"]);
    assert!(!built.layers("org.opencontainers.image.ref.name", "v1").is_empty());
}
