//! Tests of loading, checks, graph and selection.

use std::collections::BTreeMap;

use super::*;
use crate::diag::{Diagnostics, Severity};
use crate::source::{Files, MemoryObjects, Sources};

const META: &str = "configVersion: 1\nproject: p\n---\n";

struct Loaded {
    config: Option<Config>,
    /// `rule line message | hints`, warnings begin with `~`.
    found: Vec<String>,
}

fn load_files(files: &[(&str, &str)], change: impl FnOnce(&mut Inputs<'_>)) -> Loaded {
    let tree: Files = MemoryObjects::files(files.iter().copied());
    let commit = Commit { hash: "c0ffee".to_owned(), ..Commit::default() };
    let environment = BTreeMap::from([("FOO".to_owned(), "foo".to_owned()), ("EMPTY".to_owned(), String::new())]);
    let mut inputs = Inputs::new(tree, &commit, &environment);
    change(&mut inputs);
    let sources = Sources::new();
    let mut d = Diagnostics::new();
    let config = load(&mut d, &sources, &inputs);
    let found = d.into_sorted(&sources).into_iter().map(|x| {
        let place = x.primary.as_ref().map(|l| sources.locate(l.span));
        let line = place.map_or(String::new(), |(path, at)| match path.as_str() {
            "werf.yaml" => at.line.to_string(),
            path => format!("{path}:{}", at.line),
        });
        let mark = if x.severity == Severity::Error { "" } else { "~" };
        format!("{mark}{} {line} {}", x.rule.name, x.message)
    });
    Loaded { found: found.collect(), config }
}

fn load_text(text: &str) -> Loaded {
    load_files(&[("werf.yaml", text)], |_| {})
}

/// Loads documents after a meta document; line 1 of them is line 4.
fn with_meta(text: &str) -> Loaded {
    load_text(&format!("{META}{text}"))
}

fn ok(text: &str) -> Config {
    let loaded = with_meta(text);
    assert_eq!(loaded.found, Vec::<String>::new(), "{text}");
    loaded.config.unwrap()
}

/// The errors of an image document, without their places.
fn errors(text: &str) -> Vec<String> {
    let found = with_meta(text).found;
    let errors = found.iter().filter(|f| !f.starts_with('~'));
    errors
        .map(|f| f.split(' ').enumerate().filter(|(i, _)| *i != 1).map(|(_, w)| w).collect::<Vec<_>>().join(" "))
        .collect()
}

fn rules_of(text: &str) -> Vec<String> {
    let found = with_meta(text).found;
    found.iter().filter(|f| !f.starts_with('~')).map(|f| f.split(' ').next().unwrap().to_owned()).collect()
}

fn stapel(body: &str) -> String {
    format!("image: a\nfrom: alpine:3\n{body}")
}

fn image<'c>(config: &'c Config, name: &str) -> &'c Image {
    config.image(config.find(name).unwrap())
}

#[test]
fn documents_may_come_in_any_order_and_faults_have_their_lines() {
    let text = "image: a\nfrom: alpine:3\nfinal: \"x\"\n---\nimage: b\nfrom: alpine:3\nshell: {install: [1]}\nfinl: no\n---\nconfigVersion: 1\nproject: P_\n";
    let loaded = load_text(text);
    assert!(loaded.config.is_none());
    assert_eq!(
        loaded.found,
        [
            "wrong-type 3 `final` takes a boolean, not a quoted string",
            "wrong-type 7 `install` takes a string or a list of strings, not a number",
            "unknown-key 8 an image has no key `finl`",
            "invalid-name 11 `P_` cannot name a project",
        ]
    );
}

#[test]
fn meta_is_checked() {
    assert_eq!(load_text("image: a\nfrom: x:1\n").found, ["meta-missing  no document has `configVersion`"]);
    assert_eq!(load_text("configVersion: 1\nproject: a--b\n").found, Vec::<String>::new());
    let one =
        |text: &str| load_text(text).found.iter().map(|f| f.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(one("configVersion: 1.0\nproject: 123\n"), Vec::<String>::new());
    assert_eq!(one("configVersion: \"1\"\nproject: a\n"), ["wrong-type"]);
    assert_eq!(one("configVersion: 2\nproject: a\n"), ["config-version"]);
    assert_eq!(one("configVersion:\nproject: a\n"), ["config-version"]);
    assert_eq!(one("configVersion: 1\nproject: a-\n"), ["invalid-name"]);
    assert_eq!(one("configVersion: 1\n"), ["missing-key"]);
    assert_eq!(one("configVersion: 1\nproject: a\n---\nconfigVersion: 1\nproject: a\n"), ["meta-twice"]);
    assert_eq!(one("configVersion: 1\nproject: a\ndeploy: {namespace: \"\"}\n"), ["invalid-value"]);
    assert_eq!(one("configVersion: 1\nproject: a\ndeploy: {namespace: }\n"), Vec::<String>::new());
    assert_eq!(one("configVersion: 1\nproject: a\nbuild: {staged: y}\n"), Vec::<String>::new());
    assert_eq!(
        one("configVersion: 1\nproject: a\ngitWorktree: {allowFetchingOriginBranchesAndTags: true}\n"),
        ["unknown-key"]
    );
}

#[test]
fn keep_policies_are_checked() {
    let policy = |text: &str| {
        let text = format!("configVersion: 1\nproject: a\ncleanup:\n  keepPolicies:\n  - {text}\n");
        load_text(&text)
    };
    let rule =
        |text: &str| policy(text).found.iter().map(|f| f.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    let config = policy("references: {branch: a.b, limit: {in: 168h}}").config.unwrap();
    let first = &config.meta.cleanup.keep_policies[0];
    assert!(matches!(&first.references.matching, ReferenceMatch::Branch(b) if b.value == r"^a\.b$"));
    assert_eq!(first.references.limit.within, Some(604_800_000_000_000));
    assert_eq!(first.images_per_reference.last, Some(1));
    assert_eq!(rule("references: {tag: /v.*/}"), Vec::<String>::new());
    assert_eq!(rule("references: {tag: \"/(/\"}"), ["invalid-pattern"]);
    assert_eq!(rule("references: {tag: a, branch: b}"), ["conflicting-keys"]);
    assert_eq!(rule("references: {}"), ["missing-key"]);
    assert_eq!(rule("imagesPerReference: {last: 1}"), ["missing-key"]);
    assert_eq!(rule("references: {tag: a, limit: {operator: or}}"), ["invalid-value"]);
    assert_eq!(rule("references: {tag: a, limit: {in: 1w}}"), ["wrong-type"]);
    assert_eq!(
        rule("references: {tag: a}\n    imagesPerReference: {operator: Xor, foo: 1}"),
        ["~invalid-value", "~unknown-key"]
    );
}

#[test]
fn documents_that_would_be_ignored_are_reported() {
    assert_eq!(rules_of("image: a\nfrom: x:1\n--- foo\nimage: b\nfrom: y:1\n"), ["ignored-yaml"]);
    assert_eq!(rules_of("image: a\nfrom: x:1\n...\nimage: b\nfrom: y:1\n"), ["ignored-yaml"]);
    assert_eq!(rules_of("image: a\nfrom: x:1\n...\n# end\n"), [""; 0]);
    assert_eq!(rules_of("--- {image: a, from: 'x:1'}\n"), [""; 0]);
    assert_eq!(rules_of("imagee: a\nfrom: x:1\n"), ["unknown-document"]);
    assert_eq!(rules_of(".base: &x {}\n"), ["unknown-document"]);
}

#[test]
fn names_make_images() {
    let config = ok("image: [a, b]\nfrom: alpine:3\n");
    assert_eq!(config.images.iter().map(|i| i.name.value.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(rules_of("image: [a, a]\nfrom: x:1\n"), ["duplicate-name"]);
    assert_eq!(rules_of("image: [a, 1]\nfrom: x:1\n"), ["wrong-type"]);
    assert_eq!(rules_of("image: []\nfrom: x:1\n"), ["missing-key"]);
    assert_eq!(rules_of("image: 5\nfrom: x:1\n"), ["wrong-type"]);
    assert_eq!(rules_of("dockerfile: Dockerfile\n"), ["missing-key"]);
    assert_eq!(rules_of("image: ~\nfrom: x:1\n---\nimage: b\nfrom: x:1\n"), ["nameless-image"]);
    assert_eq!(rules_of("image: ~\nfrom: x:1\n---\nimage: b\nfinal: false\nfrom: x:1\n"), Vec::<String>::new());
    assert_eq!(rules_of("artifact: a\nfrom: x:1\n---\nimage: a\nfrom: x:1\n"), ["duplicate-name"]);
    assert_eq!(rules_of("artifact: a\nimage: b\nfrom: x:1\n"), ["conflicting-keys"]);
    assert_eq!(with_meta("image: A b\nfrom: x:1\n").found, ["~invalid-name 4 the image name `A b` is not portable"]);
}

#[test]
fn dockerfile_images_are_read() {
    let config =
        ok("image: app\ndockerfile: ./Dockerfile\ncontext: ./src/\ntarget: run\nargs: {A: 1, B: x}\nstaged: true\n");
    let part = image(&config, "app").dockerfile().unwrap();
    assert_eq!((part.dockerfile.value.as_str(), part.context.value.as_str()), ("Dockerfile", "src"));
    assert_eq!(part.args["A"].value.value, "1");
    assert!(part.staged.value);
    let doc = |rest: &str| rules_of(&format!("image: a\ndockerfile: D\n{rest}"));
    for context in ["../x", "/x", "a/../.."] {
        assert_eq!(doc(&format!("context: {context}\n")), ["invalid-path"]);
    }
    assert_eq!(rules_of("image: a\ndockerfile: ../D\n"), ["invalid-path"]);
    assert_eq!(rules_of("image: a\ndockerfile:\n"), ["missing-key"]);
    assert_eq!(doc("contextAddFiles: x\n"), ["not-permitted"]);
    assert_eq!(
        doc("contextAddFile: [x]\ncontextAddFiles: [z]\n"),
        ["conflicting-keys", "not-permitted", "not-permitted"]
    );
    assert_eq!(doc("from: x\n"), ["unknown-key"]);
}

// accept: 45
#[test]
fn images_are_staged_as_they_say_else_as_all_are() {
    let text = "configVersion: 1\nproject: p\nbuild: {staged: true}\n---\nimage: a\ndockerfile: D\nstaged: false\n---\nimage: b\ndockerfile: D\n";
    let staged = |force: bool| {
        let config = load_files(&[("werf.yaml", text)], |i| i.force_staged = force).config.unwrap();
        config.images.iter().map(|i| i.dockerfile().unwrap().staged.value).collect::<Vec<_>>()
    };
    assert_eq!(staged(false), [false, true]);
    assert_eq!(staged(true), [true, true]);
}

#[test]
fn arguments_are_printed_as_go_does_and_warned_of() {
    let loaded =
        with_meta("image: a\ndockerfile: D\nargs: {A: 1, B: 1.50, C: yes, D: ~, H: 010, S: \"1.50\", L: [1, a]}\n");
    let config = loaded.config.unwrap();
    let args = &config.images[0].dockerfile().unwrap().args;
    let values: Vec<&str> = args.values().map(|a| a.value.value.as_str()).collect();
    assert_eq!(values, ["1", "1.5", "true", "<nil>", "8", "1.50", "[1 a]"]);
    assert_eq!(loaded.found.iter().filter(|f| f.starts_with("~unquoted-value")).count(), 4);
}

#[test]
fn dependencies_are_read_and_checked() {
    let text = "image: b\nfrom: x:1\n---\nimage: a\ndockerfile: D\ndependencies:\n- image: b\n  imports: [{type: ImageName, targetBuildArg: B}]\n";
    let config = ok(text);
    let dependency = &image(&config, "a").dependencies[0];
    assert_eq!(dependency.image.image, config.find("b"));
    assert_eq!(dependency.imports[0].kind.value, DependencyKind::Name);
    let doc =
        |rest: &str| rules_of(&format!("image: b\nfrom: x:1\n---\nimage: a\ndockerfile: D\ndependencies:\n{rest}"));
    assert_eq!(doc("- image: b\n  before: setup\n"), ["conflicting-keys"]);
    assert_eq!(doc("- image: b\n  imports: [{type: ImageName, targetEnv: B}]\n"), ["conflicting-keys"]);
    assert_eq!(doc("- image: b\n  imports: [{type: imageName, targetBuildArg: B}]\n"), ["invalid-value"]);
    let twice = "- image: b\n  imports: [{type: ImageName, targetBuildArg: B}, {type: ImageTag, targetBuildArg: B}]\n";
    assert_eq!(doc(twice), ["duplicate-name"]);
    assert_eq!(doc("- image: c\n"), ["unknown-image"]);
    assert_eq!(doc("- imports: []\n"), ["missing-key"]);
    assert_eq!(rules_of(&stapel("dependencies: [{image: a}]\n")), ["missing-key"]);
}

// accept: 46, 47, 48
#[test]
fn bases_are_resolved() {
    let config = ok("image: b\nfrom: x:1\n---\nimage: a\nfrom: b\n");
    assert_eq!(image(&config, "a").stapel().unwrap().from.image, config.find("b"));
    let loaded = with_meta("image: b\nfrom: x:1\n---\nimage: a\nfrom: alpine\nfromImage: b\n");
    assert_eq!(image(loaded.config.as_ref().unwrap(), "a").stapel().unwrap().from.name.value, "b");
    assert_eq!(rules_of("image: a\nfrom: x:1\nfromArtifact: b\n"), ["conflicting-keys", "unknown-image"]);
    assert_eq!(rules_of("image: a\n"), ["missing-key"]);
    let loaded = with_meta("image: a\nfrom: a\n");
    assert_eq!(loaded.config.unwrap().images[0].stapel().unwrap().from.name.value, "a:latest");
    assert_eq!(rules_of("image: a\nfromImage: a\n"), ["image-cycle"]);
    assert_eq!(rules_of("image: a\nfromArtifact: nope\n"), ["unknown-image"]);
    assert_eq!(
        with_meta("image: builder\nfrom: x:1\n---\nimage: a\nfrom: biulder\n").found,
        ["~nearly-an-image 8 there is no image `biulder`, so it is pulled"]
    );
    assert_eq!(with_meta("image: a\nfrom: alpine\n").found.len(), 1);
    assert_eq!(with_meta("image: a\nfrom: scratch\n").found.len(), 0);
}

#[test]
fn texts_keep_what_is_written() {
    let config = ok(&stapel("cacheVersion: 1.10\nfromCacheVersion: 2020-01-01\n"));
    let a = image(&config, "a");
    assert_eq!(a.cache_version.as_ref().unwrap().value, "1.10");
    assert_eq!(a.stapel().unwrap().from_cache_version.as_ref().unwrap().value, "2020-01-01");
    assert_eq!(rules_of(&stapel("cacheVersion: [1]\n")), ["wrong-type"]);
    assert_eq!(rules_of(&stapel("platform: linux/amd64\n")), ["wrong-type"]);
    assert_eq!(rules_of(&stapel("platform: [\"linux/arm64,linux/amd64\"]\n")), ["invalid-value"]);
}

// accept: 51, 53, 54, 55
#[test]
fn shell_and_docker_are_read() {
    let config = ok(&stapel("shell: {cacheVersion: v1, install: x, beforeInstall: , setup: [a, b]}\n"));
    let shell = image(&config, "a").stapel().unwrap().shell.clone().unwrap();
    assert_eq!(shell.stages.keys().copied().collect::<Vec<_>>(), [UserStage::Install, UserStage::Setup]);
    assert_eq!(shell.stages[&UserStage::Setup].commands.len(), 2);
    for bad in ["[1]", "[true]", "[{echo: x}]"] {
        assert_eq!(rules_of(&stapel(&format!("shell: {{install: {bad}}}\n"))), ["wrong-type"]);
    }
    assert_eq!(rules_of(&stapel("docker: {EXPOSE: 80}\n")), ["wrong-type"]);
    assert_eq!(rules_of(&stapel("docker: {env: {}}\n")), ["unknown-key"]);
    assert_eq!(rules_of(&stapel("docker: {USER: x}\nimageSpec: {author: x}\n")), ["conflicting-keys"]);
    assert_eq!(rules_of(&stapel("docker:\nimageSpec: {config: {expose: [80]}}\n")), Vec::<String>::new());
    assert_eq!(rules_of(&stapel("imageSpec: {config: {cmd: x y}}\n")), ["wrong-type"]);
    let config = ok(&stapel("docker: {ENTRYPOINT: x}\n"));
    let docker = image(&config, "a").stapel().unwrap().docker.clone().unwrap();
    assert_eq!(docker.cmd, Some(CommandValue::Exec(Vec::new())));
    assert_eq!(rules_of(&stapel("shell: {install: x}\nansible: {install: []}\n")), ["conflicting-keys"]);
    assert_eq!(rules_of(&stapel("asLayers: true\n")), ["unknown-key"]);
}

#[test]
fn ansible_tasks_call_one_module() {
    let task = |text: &str| rules_of(&stapel(&format!("ansible:\n  install:\n  - {text}\n")));
    assert_eq!(task("{apt: {name: x}, name: y}"), Vec::<String>::new());
    assert_eq!(task("{apt: x, shell: y}"), ["conflicting-keys"]);
    assert_eq!(task("{foo: x}"), ["invalid-value"]);
    assert_eq!(task("{apt: }"), ["invalid-value"]);
    assert_eq!(task("{block: [{shell: x}]}"), Vec::<String>::new());
}

#[test]
fn artifacts_cannot_have_everything() {
    let text = "artifact: a\nfrom: x:1\ndocker: {USER: x}\nfinal: true\ndisableGitAfterPatch: true\ndependencies: []\n";
    assert_eq!(rules_of(text).len(), 4);
    assert_eq!(rules_of("artifact: a\nfrom: x:1\nimageSpec: {author: x}\n"), Vec::<String>::new());
}

// accept: 32
#[test]
fn image_specs_merge_as_in_werf() {
    let text = "configVersion: 1\nproject: p\nbuild:\n  imageSpec:\n    author: G\n    config: {labels: {a: g, b: g}, removeLabels: [x]}\n---\n\
        image: a\nfrom: x:1\nimageSpec:\n  author: I\n  config: {labels: {a: i, c: i}, removeLabels: [y], healthcheck: {interval: 30s, startPeriod: 3}}\n---\n\
        image: b\nfinal: false\nfrom: x:1\n";
    let config = load_text(text).config.unwrap();
    let spec = config.images[0].image_spec.as_ref().unwrap();
    assert_eq!(spec.author.as_ref().unwrap().value, "G");
    let labels: Vec<_> = spec.labels.iter().map(|(k, v)| format!("{k}={}", v.value)).collect();
    assert_eq!(labels, ["a=g", "b=g", "c=i"]);
    assert_eq!(spec.remove_labels.iter().map(|l| l.value.as_str()).collect::<Vec<_>>(), ["y", "x"]);
    let check = spec.healthcheck.as_ref().unwrap();
    assert_eq!((check.interval, check.start_period), (30, 3));
    assert!(config.images[1].image_spec.is_none());
}

#[test]
fn git_mappings_are_read_and_checked() {
    let config = ok(&stapel("git:\n- to: /app\n  includePaths: [a/, b]\n  stageDependencies: {setup: [a/../b]}\n"));
    let git = &image(&config, "a").stapel().unwrap().git[0];
    assert_eq!((git.add.value.as_str(), git.to.value.as_str()), ("/", "/app"));
    assert_eq!(git.include.iter().map(|p| p.value.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(git.stage_dependencies[&UserStage::Setup][0].value, "a/../b");
    let doc = |text: &str| rules_of(&stapel(&format!("git:\n- {text}\n")));
    assert_eq!(rules_of(&stapel("git: {add: /, to: /app}\n")), ["wrong-type"]);
    assert_eq!(doc("{add: \"\", to: /x}"), ["invalid-path"]);
    assert_eq!(doc("{add: /x}"), ["missing-key"]);
    assert_eq!(doc("{to: /x, includePaths: [../q]}"), ["invalid-path"]);
    assert_eq!(doc("{to: /x, includePaths: [/q]}"), ["invalid-path"]);
    assert_eq!(doc("{to: /x, includePaths: [~]}"), ["wrong-type"]);
    assert_eq!(doc("{to: /x, includePaths: [\"[\"]}"), ["invalid-pattern"]);
    assert_eq!(doc("{to: /x, branch: main}"), ["missing-key"]);
    assert_eq!(doc("{to: /x, url: https://h/o/r.git}"), ["not-permitted"]);
    assert_eq!(doc("{to: /x, url: https://h/o/r.git, tag: v1, commit: c}"), ["conflicting-keys"]);
    assert_eq!(doc("{to: /x, stageDependencies: {beforeInstall: x}}"), ["unknown-key"]);
    assert_eq!(doc("{to: /x, stageDependencies: {install: /x}}"), ["invalid-path"]);
    let config = ok(&stapel("git:\n- {to: /x, url: 'git@h:o/r.git', tag: v1}\n"));
    assert_eq!(image(&config, "a").stapel().unwrap().git[0].remote.as_ref().unwrap().name, "o/r");
}

fn excludes(git: &str) -> Vec<Vec<String>> {
    let config = ok(&stapel(git));
    let part = image(&config, "a").stapel().unwrap();
    part.git.iter().map(|g| g.exclude.iter().map(|p| p.value.clone()).collect()).collect()
}

// accept: 63
#[test]
fn overlapping_entries_make_way() {
    assert_eq!(excludes("git: [{to: /app}, {add: /b, to: /app/b}]\n"), [vec!["b"], vec![]]);
    assert_eq!(excludes("git: [{add: /b, to: /app/b}, {to: /app}]\n"), [vec![], vec!["b"]]);
    let three = "git: [{to: /app}, {add: /b, to: /app/b}, {add: /c, to: /app/b/c}]\n";
    assert_eq!(excludes(three), [vec!["b", "b/c"], vec!["c"], vec![]]);
    assert_eq!(excludes("git: [{add: /a, to: /app}, {add: /b, to: /application}]\n"), [Vec::<String>::new(), vec![]]);
    let disjoint = "git: [{to: /x, includePaths: [a]}, {add: /q, to: /x, includePaths: [b]}]\n";
    assert_eq!(excludes(disjoint), [vec!["b"], vec!["a"]]);
    assert_eq!(rules_of(&stapel("git: [{add: /a, to: /app}, {add: /b, to: /app}]\n")), ["overlapping-paths"]);
    let import = "image: t\nfrom: x:1\n---\nimage: a\nfrom: x:1\ngit: [{to: /app}]\nimport: [{from: t, add: /x, to: /app/bin, before: setup}]\n";
    assert_eq!(image(&ok(import), "a").stapel().unwrap().git[0].exclude[0].value, "bin");
}

#[test]
fn imports_are_read_and_checked() {
    let text = "image: t\nfrom: x:1\n---\nimage: a\nfrom: x:1\nimport:\n- {from: t, add: /bin/t, after: install, stage: setup}\n- {from: 'nginx:1', add: /n, before: setup}\n";
    let config = ok(text);
    let imports = &image(&config, "a").stapel().unwrap().imports;
    assert_eq!((imports[0].from.image, imports[1].from.image), (config.find("t"), None));
    assert_eq!((imports[0].to.value.as_str(), imports[0].slot), ("/bin/t", Slot::AfterInstall));
    let doc = |text: &str| rules_of(&stapel(&format!("import:\n- {text}\n")));
    assert_eq!(doc("{from: nginx, add: /x, before: setup}"), ["unknown-image"]);
    assert_eq!(doc("{from: 'host:5000/x', add: /x, before: setup}"), ["unknown-image"]);
    assert_eq!(doc("{artifact: 'foo:1', add: /x, before: setup}"), ["unknown-image"]);
    assert_eq!(doc("{from: 'x:1', add: /x, before: beforeSetup}"), ["invalid-value"]);
    assert_eq!(doc("{from: 'x:1', add: /x, before: setup, stage: from}"), ["invalid-value"]);
    assert_eq!(doc("{from: 'x:1', add: /x}"), ["missing-key"]);
    assert_eq!(doc("{from: 'x:1', image: y, add: /x, before: setup}"), ["conflicting-keys"]);
    assert_eq!(doc("{from: 'x:1', add: /, before: setup}"), ["invalid-path"]);
}

#[test]
fn mounts_and_secrets_are_checked() {
    let mount = |text: &str| rules_of(&stapel(&format!("mount: [{text}]\n")));
    assert_eq!(mount("{to: /x, from: tmp_dir}"), Vec::<String>::new());
    assert_eq!(mount("{to: /x, from: tmp_dir}, {to: /x/, from: tmp_dir}"), Vec::<String>::new());
    assert_eq!(mount("{to: /x, from: tmp_dir}, {to: /x, from: tmp_dir}"), ["duplicate-name"]);
    assert_eq!(mount("{to: x, from: tmp_dir}"), ["invalid-path"]);
    assert_eq!(mount("{to: /x, from: foo}"), ["invalid-value"]);
    assert_eq!(mount("{to: /x}"), ["missing-key"]);
    assert_eq!(mount("{to: /x, from: build_dir}"), ["not-permitted"]);
    let secret = |text: &str| rules_of(&stapel(&format!("secrets: [{text}]\n")));
    assert_eq!(secret("{env: A, src: b}"), ["conflicting-keys"]);
    assert_eq!(secret("{id: x}"), ["missing-key"]);
    assert_eq!(secret("{value: v}"), ["missing-key"]);
    assert_eq!(secret("{env: A}"), ["not-permitted"]);
}

#[test]
fn circles_and_platforms_are_reported() {
    let cycle = "image: a\nfrom: x:1\nimport: [{from: b, add: /x, before: setup}]\n---\nimage: b\nfrom: a\n";
    assert_eq!(errors(cycle), ["image-cycle images need each other in a circle: a -> b -> a"]);
    assert_eq!(errors("image: a\nfrom: x:1\ndependencies: [{image: a, before: setup}]\n").len(), 1);
    let platforms = "image: b\nplatform: [linux/amd64]\nfrom: x:1\n---\nimage: a\nplatform: [linux/arm64]\nfrom: b\n";
    assert_eq!(errors(platforms), ["platform-missing `b` is not built for linux/arm64"]);
    let inherited = "image: b\nfrom: x:1\n---\nimage: a\nplatform: [linux/arm64]\nfrom: b\n";
    assert_eq!(rules_of(inherited), ["platform-missing"]);
    let meta = "configVersion: 1\nproject: p\nbuild: {platform: [linux/arm64/v8]}\n---\n";
    assert_eq!(load_text(&format!("{meta}{inherited}")).found, Vec::<String>::new());
    let graph = ok("image: d\nfrom: c\n---\nimage: c\nfrom: x:1\n---\nimage: e\nfrom: x:1\n").graph;
    assert_eq!(graph.closure([ImageIndex(0)]), [ImageIndex(1), ImageIndex(0)]);
    assert_eq!(graph.edges_of(ImageIndex(0)).len(), 1);
}

#[test]
fn patterns_select_images() {
    let config = ok("image: [backend, app1, app/one]\nfrom: x:1\n---\nimage: db\nfinal: false\nfrom: x:1\n");
    let choose = |patterns: &[&str], finals| {
        let mut d = Diagnostics::new();
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let chosen = select(&mut d, &config, &patterns, finals);
        let names: Vec<String> = chosen.iter().map(|i| config.image(*i).name.value.clone()).collect();
        if d.has_errors() { d.as_slice()[0].rule.name.to_owned() } else { names.join(" ") }
    };
    let all = Finals::AndOthers;
    assert_eq!(choose(&["app*"], all), "app1");
    assert_eq!(choose(&["*/*"], all), "app/one");
    assert_eq!(choose(&["!*"], all), "app/one");
    assert_eq!(choose(&[], Finals::Only), "backend app1 app/one");
    assert_eq!(choose(&["db"], all), "db");
    assert_eq!(choose(&["app*", "!app1"], all), "");
    assert_eq!(choose(&["app1", "!app*"], all), "app1");
    assert_eq!(choose(&["backend", "!backend"], all), "backend");
    assert_eq!(choose(&["nope"], all), "no-such-image");
    for bad in ["**", "a|b", &"x".repeat(101), "["] {
        assert_eq!(choose(&[bad], all), "invalid-pattern");
    }
}

#[test]
fn giterminism_rules_allow_and_typos_are_warned_of() {
    let rules = "giterminismConfigVersion: \"1\"\nconfig:\n  dockerfile: {allowContextAddFiles: [app/dir1/]}\n  stapel: {allowFromLatest: true}\n  secrets: {allowEnvVariables: [FOO], allowFiles: [./sec/**]}\n  allowUncommited: true\n";
    let text = format!(
        "{META}image: a\ndockerfile: D\ncontext: app\ncontextAddFiles: dir1/sub/x\nsecrets: [{{env: FOO}}, {{src: ./sec/sub/f}}]\n---\nimage: b\nfrom: x:1\nfromLatest: true\n"
    );
    let loaded = load_files(&[("werf.yaml", &text), ("werf-giterminism.yaml", rules)], |_| {});
    assert_eq!(loaded.found, ["~unknown-key werf-giterminism.yaml:6 `config` has no key `allowUncommited`"]);
    let loose = load_files(&[("werf.yaml", &text)], |i| i.loose = true);
    assert_eq!(loose.found, Vec::<String>::new());
    let bad = |rules: &str| load_files(&[("werf.yaml", META), ("werf-giterminism.yaml", rules)], |_| {}).found;
    assert_eq!(bad("config: {}\n").len(), 1);
    assert_eq!(bad("giterminismConfigVersion: 2\n").len(), 1);
    assert_eq!(bad("giterminismConfigVersion: 1\nconfig: {allowUncommitted: \"true\"}\n").len(), 1);
}

#[test]
fn uncommitted_changes_need_a_rule() {
    let rule = "giterminismConfigVersion: 1\nconfig: {allowUncommitted: true}\n";
    let disk =
        MemoryObjects::files([("werf.yaml", "configVersion: 1\nproject: disk\n"), ("werf-giterminism.yaml", rule)]);
    let committed = [("werf.yaml", META)];
    let strict = load_files(&committed, |i| i.disk = Some(disk.clone()));
    assert!(strict.found.iter().all(|f| f.starts_with("uncommitted-file")), "{:?}", strict.found);
    let allowed = load_files(&[("werf.yaml", META), ("werf-giterminism.yaml", rule)], |i| i.disk = Some(disk.clone()));
    assert_eq!(allowed.config.unwrap().meta.project.value, "disk");
}

#[test]
fn templates_are_rendered_and_faults_point_to_them() {
    let text = "configVersion: 1\nproject: p{{ .Env }}\n{{ range $n, $t := .Files.Glob \"n\" }}\n---\nimage: {{ $t }}\nfrom: x:1\nfinl: no\n{{ end }}\n";
    let loaded = load_files(&[("werf.yaml", text), ("n/1", "a"), ("n/2", "b")], |_| {});
    assert_eq!(loaded.found, ["unknown-key 7 an image has no key `finl`"]);
    let part = "{{ define \"part\" }}image: a\nfrom: x:1\nfinl: 1{{ end }}";
    let text = "configVersion: 1\nproject: p\n---\n{{ template \"part\" }}\n";
    let loaded = load_files(&[("werf.yaml", text), (".werf/d/part.tmpl", part)], |_| {});
    assert_eq!(loaded.found, ["unknown-key .werf/d/part.tmpl:3 an image has no key `finl`"]);
    let syntax = load_text("configVersion: 1\nproject: {{ cwd }}\n");
    assert_eq!(syntax.found, ["template-syntax 2 function \"cwd\" not defined"]);
    let commit = "configVersion: 1\nproject: p\n---\nimage: a\nfrom: x:{{ .Commit.Hash }}\n";
    let config = load_text(commit).config.unwrap();
    let from = &config.images[0].stapel().unwrap().from.name;
    assert_eq!(from.value, "x:c0ffee");
    assert_eq!(&commit[from.span.range()], "x:{{ .Commit.Hash");
}

#[test]
fn the_environment_needs_permission() {
    let with = |expression: &str, rules: &str, loose: bool| {
        let text = format!("configVersion: 1\nproject: p{{{{ {expression} }}}}\n");
        let loaded = load_files(&[("werf.yaml", &text), ("werf-giterminism.yaml", rules)], |i| i.loose = loose);
        loaded.config.map(|c| c.meta.project.value)
    };
    let rules = "giterminismConfigVersion: 1\nconfig: {goTemplateRendering: {allowEnvVariables: [FOO, EMPTY, UNSET, /BAR_.*/, NA.*]}}\n";
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(with("env \"FOO\"", rules, false), value("pfoo"));
    assert_eq!(with("env \"UNSET\"", rules, false), None);
    assert_eq!(with("env \"UNSET\" \"\"", rules, false), value("p"));
    assert_eq!(with("env \"UNSET\" \"d\"", rules, false), value("pd"));
    assert_eq!(with("env \"EMPTY\" \"d\"", rules, false), value("pd"));
    assert_eq!(with("env \"EMPTY\"", rules, false), value("p"));
    assert_eq!(with("env \"XBAR_A\" \"x\"", rules, false), None);
    assert_eq!(with("env \"BAR_A\" \"x\"", rules, false), value("px"));
    assert_eq!(with("env \"NAME\" \"x\"", rules, false), None);
    assert_eq!(with("env \"NAME\"", rules, true), value("p"));
    assert_eq!(with("env \"FOO\" \"a\" \"b\"", rules, false), None);
}

#[test]
fn project_files_lead_to_the_rest_of_the_repository() {
    let text = "configVersion: 1\nproject: {{ .Files.Get \"../name\" }}\n# {{ range $p, $t := .Files.Glob \"d\" }}{{ $p }} {{ end }}\n";
    let files = [("app/werf.yaml", text), ("name", "shop"), ("app/d/x", ""), ("other/y", "")];
    let loaded = load_files(&files, |i| i.project_dir = "app");
    assert_eq!(loaded.config.unwrap().meta.project.value, "shop");
    let text = "configVersion: 1\nproject: {{ .Files.Get \"../../name\" }}\n";
    assert!(load_files(&[("app/werf.yaml", text), ("name", "shop")], |i| i.project_dir = "app").config.is_none());
}

#[test]
fn project_files_are_read_by_templates() {
    let files = |text: &str| {
        let text =
            format!("configVersion: 1\nproject: p\n# {text}\n---\nimage: a\nfrom: x:1\ncacheVersion: '{text}'\n");
        let loaded = load_files(&[("werf.yaml", &text), ("d/x", "1"), ("d/e/y", "2")], |_| {});
        loaded.config.map(|c| c.images[0].cache_version.as_ref().map_or(String::new(), |v| v.value.clone()))
    };
    assert_eq!(files("{{ .Files.Get \"d/x\" }}"), Some("1".to_owned()));
    assert_eq!(files("{{ .Files.Get \"no\" }}"), None);
    assert_eq!(
        files("{{ range $p, $c := .Files.Glob \"d\" }}{{ $p }}={{ $c }},{{ end }}"),
        Some("d/e/y=2,d/x=1,".to_owned())
    );
    assert_eq!(
        files("{{ .Files.Exists \"d\" }}{{ .Files.IsDir \"/d/x\" }}{{ .Files.Exists \"q\" }}"),
        Some("truefalsefalse".to_owned())
    );
}

#[test]
fn deploy_names_follow_the_templates() {
    let names = |deploy: &str, env: &str, explicit: Explicit<'_>| {
        let config = load_text(&format!("configVersion: 1\nproject: p\n{deploy}")).config.unwrap();
        let mut d = Diagnostics::new();
        let found = deploy_names(&mut d, &Sources::new(), &config, env, explicit);
        found.map(|n| format!("{} {}", n.release, n.namespace))
    };
    let none = Explicit::default();
    assert_eq!(names("", "", none).unwrap(), "p p");
    assert_eq!(names("", "dev", none).unwrap(), "p-dev p-dev");
    assert_eq!(names("", "feature/foo", none).unwrap().split(' ').next().unwrap().len(), "p-feature-foo-".len() + 8);
    let deploy = "deploy: {namespace: \"ns-[[ env ]]\", helmRelease: \"[[ project ]]-[[ namespace ]]\"}\n";
    assert_eq!(names(deploy, "x", none).unwrap(), "p-ns-x ns-x");
    assert_eq!(names("deploy: {namespace: \"[[ namespace ]]\"}\n", "x", none), None);
    assert_eq!(names("deploy: {namespace: A_B, namespaceSlug: false}\n", "x", none), None);
    assert_eq!(names("", "x", Explicit { namespace: Some("B_"), release: None }), None);
    assert_eq!(names("", "x", Explicit { namespace: Some("b"), release: Some("r.x") }).unwrap(), "r.x b");
}

#[test]
fn functions_of_time_and_chance_are_reported() {
    let text = "configVersion: 1\nproject: p\n# {{ now }}\n";
    assert_eq!(load_text(text).found, ["~unstable-function 3 `now` depends on more than the commit"]);
    let text = "configVersion: 1\nproject: p\n# {{ genPrivateKey \"rsa\" }}\n";
    assert!(load_text(text).found[0].starts_with("unstable-function 3"));
}

#[test]
fn merged_keys_may_be_overridden() {
    let loaded = with_meta("image: a\nfrom: x:1\ngit:\n- &g {to: /a, owner: u}\n- {<<: *g, to: /b, add: /b}\n");
    assert_eq!(loaded.found, ["~duplicate-key 8 the key `to` is set twice"]);
    assert_eq!(rules_of("image: a\nfrom: x:1\nfrom: y:1\n"), ["duplicate-key"]);
    let config = loaded.config.unwrap();
    let git = &image(&config, "a").stapel().unwrap().git;
    assert_eq!((git[1].to.value.as_str(), git[1].owner.as_ref().unwrap().value.as_str()), ("/b", "u"));
}

#[test]
fn the_place_of_a_fault_after_what_a_template_made_lies_between_characters() {
    let text = format!("{META}{{{{printf \"a: b\"}}}}\né");
    let tree: Files = MemoryObjects::files([("werf.yaml", text.as_str())]);
    let (sources, mut d) = (Sources::new(), Diagnostics::new());
    load(&mut d, &sources, &Inputs::new(tree, &Commit::default(), &BTreeMap::new()));
    assert!(d.has_errors());
    for label in d.as_slice().iter().flat_map(|x| x.primary.iter().chain(&x.secondary)) {
        assert!(sources.get(label.span.file).text().get(label.span.range()).is_some(), "{:?}", label.span);
    }
}

proptest::proptest! {
    #[test]
    fn load_never_panics_and_places_lie_in_texts(
        lines in proptest::collection::vec(
            proptest::prop_oneof![
                "(image|from|dockerfile|git|import|shell|docker|args|dependencies|mount|secrets|imageSpec|platform): .{0,12}",
                "(configVersion|project|build|deploy|cleanup|git|shell|import|dependencies|secrets):",
                "  ?- ?(add|to|from|before|image|env|install): (/a|setup|\\[\\]|~|x)",
                "  (install|branch|cacheVersion|keepPolicies|namespace): ?(1|\\{\\}|\\[x\\]|)",
                "---", "\\{\\{ ?(.Env|.Files.Get \"x\"|range|end|printf \"a: b\") ?\\}\\}", "[ é&*<>|-]{0,6}",
            ],
            0..14,
        ),
    ) {
        let text = format!("{META}{}", lines.join("\n"));
        let tree: Files = MemoryObjects::files([("werf.yaml", text.as_str())]);
        let (commit, environment) = (Commit::default(), BTreeMap::new());
        let sources = Sources::new();
        let mut d = Diagnostics::new();
        load(&mut d, &sources, &Inputs::new(tree, &commit, &environment));
        for label in d.as_slice().iter().flat_map(|x| x.primary.iter().chain(&x.secondary)) {
            let file = sources.get(label.span.file);
            proptest::prop_assert!(file.text().get(label.span.range()).is_some(), "{:?} {text:?}", label.span);
        }
    }
}
