//! `bundle` over a real registry: what is published, what is refused, and what comes out again elsewhere.

use std::io::Read as _;

use serde_json::Value;
use stagewright::backend::{RegistryOptions, RegistryStore, Repository};
use stagewright::ports::{PulledChart, StageStore as _, pull_chart};

use super::chart_server::packed;
use super::dependencies::{CHART, push};
use super::hidden::traces;
use super::{Ran, Sandbox};
use crate::contracts::proxy::{Deed, Proxy};
use crate::contracts::registry_store::fresh_name;
use crate::services::Registry;

const KEY: &str = "11ac8312520b5ff037bae386ea2e8a07";
const PASSWORD: &str = "pl4nted \"pass&rd' <1>";
const GIVEN: &str = "pl4nted-given";
const FILE: &str = "pl4nted-file";
const OF_SUBCHART: &str = "pl4nted-subchart";

const WEB: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: {{ .Values.werf.image.web }}}
      - {name: api, image: {{ index .Values.global.werf.images "api/one" "ref" }}}
"#;

/// A project with two images, a subchart and values; without git.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    let images =
        "---\nimage: web\ndockerfile: Dockerfile\n---\nimage: api/one\ndockerfile: Dockerfile\nargs: {A: one}\n";
    sandbox.write("werf.yaml", &format!("configVersion: 1\nproject: shop\n{images}"));
    sandbox.write("Dockerfile", "FROM scratch\nARG A\nLABEL a=$A\nCOPY file /\n").write("file", "text\n");
    sandbox.write(".helm/values.yaml", "replicas: 1\nsub: {kept: a, gone: b}\n").write(".helm/templates/web.yaml", WEB);
    sandbox.write(".helm/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n");
    sandbox.write(".helm/charts/sub/values.yaml", "kept: default\ngone: default\n");
    let sub = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata: {kept: {{ .Values.kept }}, gone: '{{ .Values.gone }}'}\n";
    sandbox.write(".helm/charts/sub/templates/sub.yaml", sub);
    sandbox
}

fn run(sandbox: &Sandbox, expected: i32, args: &[&str]) -> Ran {
    let ran = sandbox.run_with(args, &[("STAGEWRIGHT_SECRET_KEY", KEY)]);
    assert_eq!(ran.code, expected, "{args:?}\n{}\n{}", ran.out, ran.err);
    ran
}

fn publish(sandbox: &Sandbox, repo: &str, more: &[&str]) -> Ran {
    run(sandbox, 0, &[&["bundle", "publish", "--repo", repo], more].concat())
}

fn plan(sandbox: &Sandbox, repo: &str, tag: &str) -> Value {
    let ran = run(sandbox, 0, &["bundle", "plan", "--repo", repo, "--tag", tag, "-o", "json"]);
    serde_json::from_str(&ran.out).unwrap()
}

fn store(repo: &str) -> RegistryStore {
    RegistryStore::new(Repository::parse(repo).unwrap(), RegistryOptions::default(), None).unwrap()
}

/// The files of a bundle as its archive holds them.
fn files(repo: &str, tag: &str) -> Vec<(String, String)> {
    let PulledChart { archive, .. } = pull_chart(&store(repo), tag).unwrap().unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let read = |entry: std::io::Result<tar::Entry<_>>| {
        let mut entry: tar::Entry<flate2::read::GzDecoder<&[u8]>> = entry.unwrap();
        let (path, mut text) = (entry.path().unwrap().display().to_string(), String::new());
        entry.read_to_string(&mut text).unwrap();
        (path, text)
    };
    archive.entries().unwrap().map(read).collect()
}

fn file(repo: &str, tag: &str, path: &str) -> String {
    files(repo, tag).into_iter().find(|(name, _)| name == path).unwrap().1
}

/// The images of a plan: name and reference.
fn images(plan: &Value) -> Vec<(String, String)> {
    let text = |image: &Value, key: &str| image[key].as_str().unwrap().to_owned();
    plan["images"].as_array().unwrap().iter().map(|i| (text(i, "name"), text(i, "reference"))).collect()
}

fn digests(images: &[(String, String)]) -> Vec<&str> {
    images.iter().map(|(_, reference)| reference.split_once('@').unwrap().1).collect()
}

#[test]
fn a_bundle_needs_neither_git_nor_a_configuration_and_is_pushed_once() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let path = fresh_name();
    let repo = format!("{}/{path}", proxy.address);
    let shop = shop();
    shop.write("values.yaml", "replicas: 3\nsub: {gone: null}\n").commit("the shop");
    let more = ["--tag", "1.2.0", "-f", "values.yaml", "--add-label", "team=shop", "--env", "prod"];
    let said = publish(&shop, &repo, &more).err;
    let told = said.lines().last().unwrap();
    assert!(told.starts_with(&format!("Bundle published: {repo}:1.2.0@sha256:")), "{said}");
    assert!(told.ends_with("(chart shop, version 1.2.0)."), "{said}");
    // The chart is the last that is put: until then nobody finds a bundle without its images.
    let puts: Vec<String> = proxy.asked().into_iter().filter(|a| a.method == "PUT").map(|a| a.path).collect();
    assert!(puts.last().unwrap().ends_with("/manifests/1.2.0"), "{puts:#?}");
    let again = publish(&shop, &repo, &[&more[..], &["-o", "json"]].concat());
    assert!(again.err.contains("Bundle is there already"), "{}", again.err);
    let result: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((&result["name"], &result["version"]), (&"shop".into(), &"1.2.0".into()), "{result}");
    let named = format!("{}@{}", result["reference"].as_str().unwrap(), result["digest"].as_str().unwrap());
    assert!(told.starts_with(&format!("Bundle published: {named} ")), "{named}");
    let writes: Vec<_> = proxy.asked().into_iter().filter(|a| !matches!(a.method.as_str(), "GET" | "HEAD")).collect();
    assert!(writes.is_empty(), "{writes:#?}");

    // An empty folder of somebody else.
    let other = Sandbox::new();
    let made = plan(&other, &repo, "1.2.0");
    assert_eq!(
        (&made["project"], &made["inputs"]["release"], &made["commit"]),
        (&"shop".into(), &"shop-prod".into(), &"".into())
    );
    let named = images(&made);
    assert_eq!(named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["api/one", "web"]);
    let stored = store(&format!("{}/{path}", registry.address));
    let wanted: Vec<String> = digests(&named).into_iter().map(str::to_owned).collect();
    assert!(stored.images(&wanted).unwrap().iter().all(Option::is_some), "{wanted:?}");
    let rendered = run(&other, 0, &["bundle", "render", "--repo", &repo, "--tag", "1.2.0"]).out;
    for (_, reference) in &named {
        assert!(rendered.contains(reference), "{reference}: {rendered}");
    }
    for line in ["  replicas: 3\n", "    team: shop\n", "kept: a", "gone: \"\""] {
        assert!(rendered.contains(line), "{line}: {rendered}");
    }
    // What is given now is over what was given then; what the project says is over both.
    let more = ["--set", "replicas=4", "--set", "werf.image.web=mine", "--add-label", "team=mine", "--env", "test"];
    let ran = run(&other, 0, &[&["bundle", "render", "--repo", &repo, "--tag", "1.2.0"], &more[..]].concat());
    assert!(ran.out.contains("replicas: 4") && ran.out.contains("team: mine") && !ran.out.contains("image: mine"));
    run(&other, 0, &["bundle", "apply", "--repo", &repo, "--tag", "1.2.0", "--auto-approve"]);
    let ran = run(&other, 0, &["bundle", "plan", "--repo", &repo, "--tag", "1.2.0", "--exit-code"]);
    assert!(ran.out.starts_with("No changes."), "{}", ran.out);
}

#[test]
fn the_version_of_a_bundle_is_its_tag_where_that_is_one() {
    let Some(registry) = Registry::shared() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let shop = shop();
    shop.write(
        ".helm/Chart.yaml",
        "apiVersion: v2\nname: shop\nversion: 7.7.7\nappVersion: 1.5\nannotations: {a: true}\n",
    );
    shop.commit("the shop");
    for (tag, version) in [("1.2.3-rc.1_b7", "1.2.3-rc.1+b7"), ("v2.0.0", "v2.0.0"), ("latest", "0.0.0-latest")] {
        publish(&shop, &repo, &["--tag", tag]);
        let chart = file(&repo, tag, "shop/Chart.yaml");
        let expected = format!(
            "annotations:\n  a: \"true\"\napiVersion: v2\nappVersion: \"1.5\"\nname: shop\nversion: {version}\n"
        );
        assert_eq!(chart, expected);
    }
}

#[test]
fn a_bundle_means_by_its_nulls_what_they_meant_when_it_was_published() {
    let Some(registry) = Registry::shared() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let shop = shop();
    let sub = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata: {all: {{ omit .Values \"global\" \"werf\" | toJson | quote }}}\n";
    shop.write(".helm/charts/sub/templates/sub.yaml", sub)
        .write(".helm/values.yaml", "replicas: 1\nsub: {gone: null}\n");
    shop.write("values.yaml", "sub: {kept: null}\nnone: null\n").commit("nulls");
    let own = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\ndata: {all: '{{ hasKey .Values \"none\" }}'}\n";
    shop.write(".helm/templates/own.yaml", own).commit("what it tells");
    let all = |out: &str| out.lines().filter(|line| line.contains("all: ")).map(str::to_owned).collect::<Vec<_>>();
    let mut seen = Vec::new();
    for profile in ["helm", "werf", "strict"] {
        let more = ["-f", "values.yaml", "--values-nulls", profile];
        let before = all(&run(&shop, 0, &[&["render"], &more[..]].concat()).out);
        publish(&shop, &repo, &[&["--tag", profile], &more[..]].concat());
        let after = all(&run(&Sandbox::new(), 0, &["bundle", "render", "--repo", &repo, "--tag", profile]).out);
        assert_eq!((before, after.len()), (after.clone(), 2), "{profile}");
        seen.push(after);
    }
    // What is said now is over that.
    let given = ["--tag", "strict", "--values-nulls", "helm4"];
    let other = all(&run(&Sandbox::new(), 0, &[&["bundle", "render", "--repo", &repo], &given[..]].concat()).out);
    assert!(!seen.contains(&other) && other.concat().contains("kept"), "{other:?}: {seen:?}");
    let ran = run(&shop, 1, &["bundle", "publish", "--repo", &repo, "-f", "values.yaml", "--values-nulls", "helm4"]);
    assert!(
        ran.err.contains("`none` is set to null, which a bundle cannot say") && ran.err.contains("hint: "),
        "{}",
        ran.err
    );
    publish(&shop, &repo, &["--tag", "v4", "--values-nulls", "helm4"]);
    let before = all(&run(&shop, 0, &["render", "--values-nulls", "helm4"]).out);
    assert_eq!(all(&run(&Sandbox::new(), 0, &["bundle", "render", "--repo", &repo, "--tag", "v4"]).out), before);
}

/// Values, given values, files and those of a subchart.
fn with_secrets() -> Sandbox {
    let sandbox = shop();
    let encrypted = |text: &str, args: &[&str], to: &str| {
        sandbox.write("plain", text).write(to, "");
        run(&sandbox, 0, &[&["secret", "encrypt", "plain", "-o", to], args].concat());
        std::fs::remove_file(sandbox.project().join("plain")).unwrap();
    };
    let values = format!("db: {{password: {}, user: me}}\n", serde_json::to_string(PASSWORD).unwrap());
    encrypted(&values, &["--values"], ".helm/secret-values.yaml");
    encrypted(&format!("db: {{token: {GIVEN}}}\n"), &["--values"], "given.yaml");
    encrypted(&format!("word: {OF_SUBCHART}\n"), &["--values"], ".helm/charts/sub/secret-values.yaml");
    encrypted(FILE, &[], ".helm/secret/tls/key");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: {{ .Values.db.password | quote }}\n  \
                  b: {{ .Values.db.token }}\n  c: {{ werf_secret_file \"tls/key\" }}\n  d: {{ .Values.sub.word }}\n";
    sandbox.write(".helm/templates/secret.yaml", secret).commit("secrets");
    sandbox
}

#[test]
fn a_planted_secret_is_in_clear_nowhere_in_a_bundle() {
    let Some(registry) = Registry::shared() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let shop = with_secrets();
    let more = ["--secret-values", "given.yaml"];
    let all = [PASSWORD, GIVEN, FILE, OF_SUBCHART];
    let ran = publish(&shop, &repo, &more);
    assert_eq!(traces(&(ran.out + &ran.err), &all), [""; 0]);
    for (path, text) in files(&repo, "latest") {
        assert_eq!(traces(&text, &all), [""; 0], "{path}: {text}");
    }
    // Nothing was decrypted on the way: the same once more.
    assert!(publish(&shop, &repo, &more).err.contains("is there already"));
    let other = Sandbox::new();
    let ran = run(&other, 0, &["bundle", "render", "--repo", &repo]);
    let text = serde_json::to_string(PASSWORD).unwrap();
    for secret in [text.as_str(), GIVEN, FILE, OF_SUBCHART] {
        assert!(ran.out.contains(secret), "{secret}: {}", ran.out);
    }
    let shown = run(&other, 0, &["bundle", "plan", "--repo", &repo]).out;
    assert_eq!(traces(&shown, &all), [""; 0], "{shown}");
    let ran = other.run(&["bundle", "plan", "--repo", &repo]);
    assert!(ran.code == 1 && ran.err.contains("needs a key"), "{ran:?}");
}

#[test]
fn what_is_not_encrypted_does_not_become_a_bundle() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let repo = format!("{}/{}", proxy.address, fresh_name());
    for (path, more) in [
        (".helm/secret-values.yaml", &[][..]),
        (".helm/secret-values.yaml", &["--ignore-secret-key"]),
        (".helm/secret/key", &["--ignore-secret-key"]),
        (".helm/charts/sub/secret-values.yaml", &["--ignore-secret-key"]),
        ("given.yaml", &["--ignore-secret-key", "--secret-values", "given.yaml"]),
    ] {
        let shop = with_secrets();
        shop.write(path, &format!("word: {GIVEN}\n")).commit("forgotten");
        let ran = run(&shop, 1, &[&["bundle", "publish", "--repo", &repo], more].concat());
        assert!(ran.err.contains("[secret-value]"), "{path} {more:?}: {}", ran.err);
        assert!(!ran.err.contains(GIVEN), "{}", ran.err);
    }
    let pushed: Vec<_> = proxy.asked().into_iter().filter(|a| !matches!(a.method.as_str(), "GET" | "HEAD")).collect();
    assert!(pushed.is_empty(), "{pushed:#?}");
}

#[test]
fn jsonnet_files_travel_and_imports_that_lead_out_are_told_before_anything_is_pushed() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let repo = format!("{}/{}", proxy.address, fresh_name());
    let shop = shop();
    let config = std::fs::read_to_string(shop.project().join("werf.yaml")).unwrap();
    shop.write("werf.yaml", &config.replacen("project: shop\n", "project: shop\ndeploy: {jsonnetDir: deploy/js}\n", 1));
    let main = "local own = import 'vendor/own.libsonnet'; // import 'of a comment'\nlocal s = std.extVar('stagewright');\n\
                own { data: { image: s.images.web, n: std.toString(s.values.replicas), env: s.env } }\n";
    let own = "{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'j' } }\n";
    shop.write("deploy/js/main.jsonnet", main).write("deploy/js/vendor/own.libsonnet", own);
    shop.write("deploy/js/out.jsonnet", "local a = importstr \"../out.txt\";\n{}\n")
        .write("deploy/out.txt", "x")
        .commit("js");
    let ran = run(&shop, 1, &["bundle", "publish", "--repo", &repo]);
    let told = "error[bundle-content]: the import `../out.txt` leads to a file that is not in the bundle\n --> deploy/js/out.jsonnet:1:22";
    assert!(ran.err.contains(told), "{}", ran.err);
    assert!(proxy.asked().iter().all(|asked| asked.method == "GET"), "nothing is pushed");
    std::fs::remove_file(shop.project().join("deploy/js/out.jsonnet")).unwrap();
    shop.write("deploy/js/out.jsonnet", "{}\n").commit("no way out");
    // What no bundle takes of a chart, out of the chart's own folder.
    let within = shop_with_jsonnet_that_imports("../charts/_off/key.txt");
    let ran = run(&within, 1, &["bundle", "publish", "--repo", &repo]);
    assert!(ran.err.contains("[bundle-content]: the import `../charts/_off/key.txt` leads to"), "{}", ran.err);
    assert!(ran.err.contains("hint: what lies in `charts/` and is of no chart is not packed"), "{}", ran.err);
    publish(&shop, &repo, &["--env", "prod"]);
    let other = Sandbox::new();
    let rendered = run(&other, 0, &["bundle", "render", "--repo", &repo]).out;
    assert!(
        rendered.contains("# Source: shop/jsonnet/main.jsonnet") && rendered.contains("  env: prod\n"),
        "{rendered}"
    );
    assert!(rendered.contains(&format!("  image: {repo}:")) && rendered.contains("@sha256:"), "{rendered}");
}

/// The shop, with an import in `.helm/jsonnet`; what it leads to is there.
fn shop_with_jsonnet_that_imports(path: &str) -> Sandbox {
    let shop = shop();
    shop.write(".helm/jsonnet/main.jsonnet", &format!("local a = importstr '{path}';\n{{}}\n"));
    shop.write(&format!(".helm/jsonnet/{path}"), "clear").commit("an import");
    shop
}

#[test]
fn a_copy_has_the_same_digests_in_another_repository_and_out_of_an_archive() {
    let Some(registry) = Registry::shared() else { return };
    let repo = |name: &str| format!("{}/{}-{name}", registry.address, fresh_name());
    let (first, second, third) = (repo("a"), repo("b"), repo("c"));
    let shop = with_secrets();
    // An image may be for several platforms.
    let more = ["--secret-values", "given.yaml", "--platform", "linux/amd64,linux/arm64"];
    publish(&shop, &first, &[&["--tag", "1.0.0"], &more[..]].concat());
    let other = Sandbox::new();
    let copy = |from: &str, to: &str| run(&other, 0, &["bundle", "copy", "--from", from, "--to", to]).err;
    let (one, two) = (format!("{first}:1.0.0"), format!("{second}:2.0.0"));
    let (first_copy, second_copy) = (copy(&one, &two), copy(&one, &two));
    assert!(first_copy.starts_with(&format!("Bundle copied: {two}@sha256:")), "{first_copy}");
    assert!(first_copy.ends_with("; images: 2 copied, 0 there already.\n"), "{first_copy}");
    assert!(second_copy.starts_with("Bundle is there already: "), "{second_copy}");
    assert!(second_copy.ends_with("; images: 0 copied, 2 there already.\n"), "{second_copy}");
    let (before, after) = (images(&plan(&other, &first, "1.0.0")), images(&plan(&other, &second, "2.0.0")));
    assert_eq!(digests(&before), digests(&after));
    assert!(after.iter().all(|(_, reference)| reference.starts_with(&format!("{second}:"))), "{after:?}");
    let values = file(&second, "2.0.0", "shop/values.yaml");
    assert!(!values.contains(&first), "nothing names the old repository: {values}");
    assert_eq!(file(&second, "2.0.0", "shop/secret-values.yaml"), file(&first, "1.0.0", "shop/secret-values.yaml"));
    assert!(file(&second, "2.0.0", "shop/Chart.yaml").contains("version: 2.0.0\n"));

    copy(&one, "archive:a.tar.gz");
    copy(&one, "archive:b.tar.gz");
    let bytes = |name: &str| std::fs::read(other.project().join(name)).unwrap();
    assert_eq!(bytes("a.tar.gz"), bytes("b.tar.gz"));
    // Where the registry was is not asked any more.
    let far = Sandbox::new();
    std::fs::copy(other.project().join("a.tar.gz"), far.project().join("a.tar.gz")).unwrap();
    run(&far, 0, &["bundle", "copy", "--from", "archive:a.tar.gz", "--to", &format!("{third}:1.0.0")]);
    assert_eq!(digests(&images(&plan(&far, &third, "1.0.0"))), digests(&before));
    assert!(file(&third, "1.0.0", "shop/Chart.yaml").contains("version: 1.0.0\n"));
    // A folder is a place too, and the images in it are found by their digests.
    run(&far, 0, &["bundle", "copy", "--from", "archive:a.tar.gz", "--to", "oci:layout:x"]);
    assert_eq!(images(&plan(&far, "oci:layout", "x")), before);
}

/// What a registry has under a tag or a digest, as it is.
fn raw_manifest(repo: &str, tag: &str) -> Vec<u8> {
    use stagewright::ports::BlobStore as _;
    let store = store(repo);
    let found = store.images(&[tag.to_owned()]).unwrap().remove(0).unwrap();
    store.read(&found.manifest).unwrap()
}

/// Puts a manifest into a registry byte by byte.
fn put_manifest(address: &str, path: &str, tag: &str, bytes: &[u8]) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = "Content-Type: application/vnd.oci.image.manifest.v1+json";
    write!(stream, "PUT /v2/{path}/manifests/{tag} HTTP/1.0\r\n{head}\r\nContent-Length: {}\r\n\r\n", bytes.len())
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 201 "), "{answer}");
}

#[test]
fn an_image_whose_manifest_others_wrote_keeps_its_digest() {
    let Some(registry) = Registry::shared() else { return };
    let (path, shop) = (fresh_name(), shop());
    let repo = format!("{}/{path}", registry.address);
    shop.commit("the shop");
    publish(&shop, &repo, &["--tag", "1.0.0"]);
    let (_, reference) = images(&plan(&shop, &repo, "1.0.0")).remove(1);
    let mut manifest: Value =
        serde_json::from_slice(&raw_manifest(&repo, reference.split_once('@').unwrap().1)).unwrap();
    manifest["unknown"] = "field".into();
    let indented = serde_json::to_vec_pretty(&manifest).unwrap();
    put_manifest(&registry.address, &path, "theirs", &indented);
    let digest = stagewright::ports::BlobDigest::of(&indented).to_string();
    let values = format!("werf: {{name: shop, image: {{web: '{repo}:theirs@{digest}'}}}}\n");
    push(registry, &path, "bundle", archive(&[("shop/values.yaml", &values)]), CHART, None);
    let (to, other) = (format!("{repo}/copy"), Sandbox::new());
    for (from, to) in [
        (format!("{repo}:bundle"), format!("{to}:1.0.0")),
        (format!("{repo}:bundle"), "archive:a.tar.gz".to_owned()),
        ("archive:a.tar.gz".to_owned(), format!("{to}-b:1.0.0")),
    ] {
        run(&other, 0, &["bundle", "copy", "--from", &from, "--to", &to]);
    }
    for to in [to.clone(), format!("{to}-b")] {
        assert_eq!(images(&plan(&other, &to, "1.0.0")), [("web".to_owned(), format!("{to}:theirs@{digest}"))]);
        assert_eq!(raw_manifest(&to, "theirs"), indented);
    }
}

#[test]
fn what_is_no_bundle_is_told_with_what_to_do() {
    let Some(registry) = Registry::start(None) else { return };
    let repo = format!("{}/shop", registry.address);
    let shop = shop();
    shop.commit("the shop");
    publish(&shop, &repo, &["--tag", "1.0.0"]);
    push(&registry, "shop", "helm", packed("redis", "1.0.0"), CHART, None);
    push(&registry, "shop", "image", packed("redis", "1.0.0"), "application/vnd.oci.image.config.v1+json", None);
    push(&registry, "shop", "junk", b"junk".to_vec(), CHART, None);
    push(&registry, "shop", "evil", escaping(), CHART, None);
    let local = "werf: {name: shop, image: {web: 'oci:../theirs:v1@sha256:0'}}\n";
    push(&registry, "shop", "local", archive(&[("shop/values.yaml", local)]), CHART, None);
    let other = Sandbox::new();
    let at = |tag: &str| format!("{repo}:{tag}");
    for (tag, told) in [
        (
            "none",
            format!(
                "error: there is no bundle {}\n  hint: name another tag with --tag; there are: 1.0.0, evil, helm, image, junk, local",
                at("none")
            ),
        ),
        ("image", format!("pull the bundle {}: it is no chart", at("image"))),
        ("helm", "error[bundle-content]: the chart is no bundle: its values.yaml has no `werf.name`".to_owned()),
        ("junk", "error[chart-archive]: the archive cannot be read".to_owned()),
        ("evil", "error[chart-archive]: `shop/../../evil` in the archive leads out of the chart".to_owned()),
        (
            "local",
            "the image `web` is named `oci:../theirs:v1@sha256:0`, which is no repository of a registry".to_owned(),
        ),
        ("a b", format!("--tag {}: this is no name of an image", at("a b"))),
    ] {
        let ran = run(&other, 1, &["bundle", "plan", "--repo", &repo, "--tag", tag]);
        assert!(ran.err.contains(&told) && ran.err.contains("hint: "), "{tag}: {}", ran.err);
        let ran = run(&other, 1, &["bundle", "copy", "--from", &at(tag), "--to", "archive:x.tar.gz"]);
        assert!(!other.project().join("x.tar.gz").exists(), "{}", ran.err);
    }
    assert!(run(&other, 1, &["bundle", "plan"]).err.contains("hint: name it with --repo"));
    assert!(run(&other, 1, &["bundle", "plan", "--repo", "docker:shop"]).err.contains("cannot hold a bundle"));
    let ran = run(&shop, 1, &["bundle", "publish", "--repo", "docker:shop"]);
    assert!(ran.err.contains("cannot hold a bundle"), "{}", ran.err);
    // No chart takes the tag of an image.
    let ran = run(&shop, 1, &["bundle", "publish", "--repo", &repo, "--tag", "image"]);
    assert!(ran.err.contains("tag `image` is taken: an image has it") && ran.err.contains("hint: "), "{}", ran.err);
    // An image that went away, and with it the bundle.
    let (_, reference) = images(&plan(&other, &repo, "1.0.0")).remove(1);
    let digest = reference.split_once('@').unwrap().1;
    delete(&registry.address, &format!("/v2/shop/manifests/{digest}"));
    let ran = run(&other, 1, &["bundle", "plan", "--repo", &repo, "--tag", "1.0.0"]);
    let told = format!("error[bundle-image]: the image `web` of the bundle is not in {repo}: {digest}");
    assert!(ran.err.contains(&told), "{}", ran.err);
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let copy = format!("{}/shop/copy:1.0.0", proxy.address);
    let ran = run(&other, 1, &["bundle", "copy", "--from", &at("1.0.0"), "--to", &copy]);
    assert!(
        ran.err.contains(&format!("the image `web` of the bundle {} is not in {repo}", at("1.0.0"))),
        "{}",
        ran.err
    );
    let writes: Vec<_> = proxy.asked().into_iter().filter(|a| !matches!(a.method.as_str(), "GET" | "HEAD")).collect();
    assert!(writes.is_empty(), "nothing is written before all images are found: {writes:#?}");
}

#[test]
fn no_image_and_no_bundle_takes_the_tag_of_the_other() {
    let Some(registry) = Registry::shared() else { return };
    let (path, shop) = (fresh_name(), shop());
    let repo = format!("{}/{path}", registry.address);
    shop.commit("the shop");
    publish(&shop, &repo, &["--tag", "web-v1"]);
    let before = raw_manifest(&repo, "web-v1");
    for option in ["--add-custom-tag", "--use-custom-tag"] {
        let more = ["--tag", "web-v1", option, "%image_slug%-v1", "--loose-giterminism"];
        let ran = run(&shop, 1, &[&["bundle", "publish", "--repo", &repo], &more[..]].concat());
        let told = format!("publish the bundle {repo}:web-v1: the image `web` gets the tag `web-v1` too");
        assert!(ran.err.contains(&told) && ran.err.contains("hint: name another tag with --tag"), "{}", ran.err);
        assert_eq!(raw_manifest(&repo, "web-v1"), before);
    }
    // Copies, of which nothing is written where something stands in their way.
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let to = format!("{}/{path}/copy", proxy.address);
    let (named, other) = (images(&plan(&shop, &repo, "web-v1")), Sandbox::new());
    let [first, second] = [0, 1].map(|at: usize| named[at].1.split_once('@').unwrap().1);
    for (tag, one, two, told) in [
        ("a", "a", "b", "the tag `a` is that of the bundle"),
        ("x", "b", "b", "the image `api`, another one, has the tag `b`"),
        ("x", "web-v1", "b", "a chart has the tag `web-v1` there"),
    ] {
        let values =
            format!("werf: {{name: shop, image: {{api: '{repo}:{one}@{first}', web: '{repo}:{two}@{second}'}}}}\n");
        push(registry, &path, "made", archive(&[("shop/values.yaml", &values)]), CHART, None);
        let to = if one == "web-v1" { format!("{}/{path}:{tag}", proxy.address) } else { format!("{to}:{tag}") };
        let ran = run(&other, 1, &["bundle", "copy", "--from", &format!("{repo}:made"), "--to", &to]);
        assert!(ran.err.contains(told) && ran.err.contains("with --to"), "{}", ran.err);
        let writes = proxy.asked().into_iter().filter(|a| !matches!(a.method.as_str(), "GET" | "HEAD")).count();
        assert_eq!(writes, 0, "{told}");
    }
    // What lies elsewhere is named before it is copied.
    let elsewhere = format!("{repo}/elsewhere");
    push(
        registry,
        &format!("{path}/elsewhere"),
        "made",
        archive(&[("shop/values.yaml", &{ format!("werf: {{name: shop, image: {{api: '{repo}:x@{first}'}}}}\n") })]),
        CHART,
        None,
    );
    let ran = run(&other, 0, &["bundle", "copy", "--from", &format!("{elsewhere}:made"), "--to", &format!("{to}:y")]);
    assert!(ran.err.starts_with(&format!("warning: images of {repo} are copied too")), "{}", ran.err);
}

#[test]
fn a_tag_that_moves_with_every_version_is_taken_from_no_image_by_a_copy() {
    let Some(registry) = Registry::shared() else { return };
    let (path, shop, other) = (fresh_name(), shop(), Sandbox::new());
    let (repo, to) = (format!("{}/{path}", registry.address), format!("{}/{path}/copy", registry.address));
    shop.commit("the shop");
    publish(&shop, &repo, &["--tag", "made"]);
    let named = images(&plan(&shop, &repo, "made"));
    let [first, second] = [0, 1].map(|at: usize| named[at].1.split_once('@').unwrap().1);
    let copied = |code, image: &str, tag: &str| {
        let values = format!("werf: {{name: shop, image: {{api: '{image}'}}}}\n");
        push(registry, &path, tag, archive(&[("shop/values.yaml", &values)]), CHART, None);
        run(&other, code, &["bundle", "copy", "--from", &format!("{repo}:{tag}"), "--to", &format!("{to}:{tag}")]).err
    };
    assert!(copied(0, &format!("{repo}:stable@{first}"), "1.0.0").starts_with("Bundle copied: "));
    let told = copied(0, &format!("{repo}:stable@{second}"), "1.1.0");
    let warned = "warning: the tag `stable` stays with another image at ";
    assert!(told.starts_with(warned) && told.contains("images: 1 copied, 0 there already"), "{told}");
    assert_eq!(raw_manifest(&to, "stable"), raw_manifest(&repo, first));
    assert_eq!(raw_manifest(&to, second.strip_prefix("sha256:").unwrap()), raw_manifest(&repo, second));
    assert_eq!(images(&plan(&other, &to, "1.1.0"))[0].1, format!("{to}:stable@{second}"));
    let told = copied(0, &format!("{repo}:stable@{second}"), "1.1.0");
    assert!(told.starts_with("Bundle is there already: ") && told.contains("images: 0 copied, 1 there"), "{told}");
    // Who names an image by its tag alone means what stands under it.
    put_manifest(&registry.address, &path, "stable", &raw_manifest(&repo, second));
    let told = copied(1, &format!("{repo}:stable"), "1.2.0");
    assert!(told.contains("another image has the tag `stable` there") && told.contains("with --to"), "{told}");
}

#[test]
fn a_registry_that_refuses_is_told() {
    let Some(registry) = Registry::with_login() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let shop = shop();
    shop.commit("the shop");
    for args in [&["bundle", "publish", "--repo", &repo][..], &["bundle", "plan", "--repo", &repo]] {
        let ran = run(&shop, 1, args);
        assert!(ran.err.contains(&registry.address) && ran.err.contains("docker login"), "{args:?}: {}", ran.err);
    }
    let config = shop.home().join(".docker/config.json");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, registry.docker_config()).unwrap();
    publish(&shop, &repo, &[]);
    run(&shop, 0, &["bundle", "plan", "--repo", &repo]);
}

/// A chart whose archive has a file that would lie beside its folder.
fn escaping() -> Vec<u8> {
    archive(&[("shop/values.yaml", "werf: {name: shop}\n"), ("shop/../../evil", "x")])
}

/// A chart with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(zipped);
    let meta = ("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    for (path, text) in [meta].iter().chain(files) {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Takes something out of a registry.
pub fn delete(address: &str, path: &str) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "DELETE {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 202") || answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// What a chart of werf, which writes an early media type, looks like.
#[test]
fn a_bundle_of_werf_is_read() {
    let Some(registry) = Registry::shared() else { return };
    let (path, shop) = (fresh_name(), shop());
    let repo = format!("{}/{path}", registry.address);
    shop.commit("the shop");
    publish(&shop, &repo, &["--tag", "1.0.0"]);
    let PulledChart { archive, .. } = pull_chart(&store(&repo), "1.0.0").unwrap().unwrap();
    push_early(registry, &path, "early", archive);
    assert_eq!(images(&plan(&Sandbox::new(), &repo, "early")), images(&plan(&Sandbox::new(), &repo, "1.0.0")));
}

fn push_early(registry: &Registry, repository: &str, tag: &str, archive: Vec<u8>) {
    use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
    let client = oci_client::Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let reference = oci_client::Reference::with_tag(registry.address.clone(), repository.to_owned(), tag.to_owned());
    let layer = ImageLayer::new(archive, "application/tar+gzip".to_owned(), None);
    let config = Config::new(b"{}".to_vec(), CHART.to_owned(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let auth = oci_client::secrets::RegistryAuth::Anonymous;
    runtime.block_on(client.push(&reference, &[layer], config, &auth, None)).unwrap();
}
