//! Bundles in a cluster: published once, deployed from wherever they and their images are.

use serde_json::{Value, json};

use super::Deploy;
use super::Ground;
use super::helm::Helm;
use crate::cli::Sandbox;
use crate::cli::bundles::delete;
use crate::contracts::registry_store::fresh_name;
use crate::services::{Cluster, Registry};

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {{ .Values.replicas }}\n  \
                   selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      \
                   - {name: main, image: {{ .Values.werf.image.one }}, env: [{name: NS, value: {{ .Values.werf.namespace }}}]}\n";
const SUB: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata:\n  image: {{ .Values.global.werf.images.one.ref }}\n  \
                   port: '{{ .Values.port }}'\n  drop: '{{ .Values.drop }}'\n";

/// A project with an image and a subchart, and an empty folder of somebody else.
fn shop(namespace: &str) -> Option<(Deploy, Sandbox, &'static Registry)> {
    let (cluster, registry) = (Cluster::shared()?, Registry::shared()?);
    let deploy = Deploy::bare(namespace, Ground::Real(cluster));
    let sandbox = &deploy.sandbox;
    sandbox.write("werf.yaml", "configVersion: 1\nproject: shop\n---\nimage: one\ndockerfile: Dockerfile\n");
    sandbox.write("Dockerfile", "FROM scratch\nCOPY one.txt /\n").write("one.txt", "text\n");
    sandbox.write(".helm/values.yaml", "replicas: 5\nsub: {port: 1, drop: x}\n").write(".helm/templates/web.yaml", WEB);
    sandbox.write(".helm/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n");
    sandbox
        .write(".helm/charts/sub/values.yaml", "port: 80\ndrop: y\n")
        .write(".helm/charts/sub/templates/sub.yaml", SUB);
    sandbox.write("values.yaml", "replicas: 0\nsub: {drop: null}\n").commit("the shop");
    Some((deploy, Sandbox::new(), registry))
}

impl Deploy {
    /// Runs a command in another folder: without the project, with the same cluster and release.
    fn elsewhere(&self, other: &Sandbox, expected: i32, args: &[&str]) -> crate::cli::Ran {
        let place = ["--target", "cluster", "--namespace", &self.namespace, "--release", "shop"];
        let place = if args.first() == Some(&"apply") { &place[..0] } else { &place[..] };
        let ran = other.run(&[args, place, &["--kubeconfig", &self.kubeconfig]].concat());
        assert_eq!(ran.code, expected, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    fn bundle_plan(&self, other: &Sandbox, expected: i32, repo: &str) -> Value {
        let args = ["bundle", "plan", "--repo", repo, "--tag", "1.0.0", "--exit-code", "-o", "json"];
        let plan = serde_json::from_str(&self.elsewhere(other, expected, &args).out).unwrap();
        super::scenarios::assert_published(&plan);
        plan
    }
}

/// The digest of the only image of a plan, and what stands before it.
fn image(plan: &Value) -> (String, String) {
    let reference = plan["images"][0]["reference"].as_str().unwrap();
    let (name, digest) = reference.split_once('@').unwrap();
    (name.to_owned(), digest.to_owned())
}

/// S25
#[test]
fn s25_a_copied_bundle_names_the_images_of_its_own_repository_by_the_same_digests() {
    let Some((deploy, other, registry)) = shop("s25-bundle") else { return };
    let repo = |name: &str| format!("{}/{}-{name}", registry.address, fresh_name());
    let (first, second) = (repo("first"), repo("second"));
    let publish =
        ["bundle", "publish", "--repo", &first, "--tag", "1.0.0", "-f", "values.yaml", "--add-label", "team=x"];
    let ran = deploy.sandbox.run(&publish);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let before = deploy.bundle_plan(&other, 2, &first);
    assert_eq!(deploy.writes(), (vec![], vec![]), "a plan reads and asks for dry runs");
    let apply = ["bundle", "apply", "--repo", &first, "--tag", "1.0.0", "--auto-approve", "--no-wait"];
    deploy.elsewhere(&other, 0, &apply);
    let web = deploy.object("deployments", "web").unwrap();
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    let (name, digest) = image(&before);
    assert_eq!(container["image"], json!(format!("{name}@{digest}")));
    assert_eq!(
        (&container["env"][0]["value"], &web["metadata"]["labels"]["team"]),
        (&json!("s25-bundle"), &json!("x"))
    );
    deploy.bundle_plan(&other, 0, &first);

    let (from, to) = (format!("{first}:1.0.0"), format!("{second}:1.0.0"));
    assert_eq!(other.run(&["bundle", "copy", "--from", &from, "--to", &to]).code, 0);
    let after = deploy.bundle_plan(&other, 2, &second);
    let (copied, same) = image(&after);
    assert_eq!((copied.starts_with(&format!("{second}:")), same.as_str()), (true, digest.as_str()), "{copied}");
    assert_eq!(after["images"][0]["tag"], before["images"][0]["tag"]);
    // References alone are other ones.
    let mut paths: Vec<String> = Vec::new();
    for resource in after["resources"].as_array().unwrap() {
        paths.extend(resource["fields"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned()));
    }
    paths.sort();
    assert_eq!(paths, ["data.image", "spec.template.spec.containers[name=main].image"]);

    // A saved plan of it is carried out by somebody who has the file alone: the bundle is gone by then.
    let plan = ["bundle", "plan", "--repo", &second, "--tag", "1.0.0", "--out", "shop.plan"];
    deploy.elsewhere(&other, 0, &plan);
    let bundle = after["inputs"]["bundle"].as_str().unwrap().split_once('@').unwrap().1;
    let path = second.split_once('/').unwrap().1;
    delete(&registry.address, &format!("/v2/{path}/manifests/{bundle}"));
    let far = Sandbox::new();
    std::fs::copy(other.project().join("shop.plan"), far.project().join("shop.plan")).unwrap();
    let key = other.home().join(".config/stagewright/plan.key");
    let to_key = far.home().join(".config/stagewright/plan.key");
    std::fs::create_dir_all(to_key.parent().unwrap()).unwrap();
    std::fs::copy(key, to_key).unwrap();
    deploy.elsewhere(&far, 0, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
    let web = deploy.object("deployments", "web").unwrap();
    let running = &web["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(running, &json!(format!("{copied}@{digest}")));
    assert_eq!(other.run(&["bundle", "copy", "--from", &from, "--to", &to]).code, 0);
    deploy.bundle_plan(&other, 0, &second);
}

#[test]
fn an_image_that_went_away_stops_a_saved_plan_of_a_bundle_before_the_first_write() {
    let Some((deploy, other, registry)) = shop("bundle-gone") else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    assert_eq!(deploy.sandbox.run(&["bundle", "publish", "--repo", &repo, "--tag", "1.0.0"]).code, 0);
    let (_, digest) = image(&deploy.bundle_plan(&other, 2, &repo));
    let plan = ["bundle", "plan", "--repo", &repo, "--tag", "1.0.0", "--out", "shop.plan"];
    deploy.elsewhere(&other, 0, &plan);
    let path = repo.split_once('/').unwrap().1;
    delete(&registry.address, &format!("/v2/{path}/manifests/{digest}"));
    deploy.writes();
    let ran = deploy.elsewhere(&other, 4, &["apply", "shop.plan", "--auto-approve"]);
    assert!(ran.err.contains(&format!("image {digest}")), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]), "{}", ran.err);
}

#[test]
fn helm_takes_a_bundle_and_makes_the_same_of_it() {
    let Some((deploy, other, registry)) = shop("bundle-helm") else { return };
    let Some(cluster) = Cluster::shared() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let publish = ["bundle", "publish", "--repo", &repo, "--tag", "1.0.0", "-f", "values.yaml"];
    assert_eq!(deploy.sandbox.run(&publish).code, 0);
    // Of the namespace that it was published for: Helm knows what is in the values.
    let place = ["--namespace", "shop", "--release", "shop"];
    let ours = other.run(&[&["bundle", "render", "--repo", &repo, "--tag", "1.0.0"], &place[..]].concat());
    assert_eq!(ours.code, 0, "{}", ours.err);
    let Some(mut helm) = Helm::start("v3", cluster, "shop") else { return };
    let chart = format!("oci://{repo}");
    let theirs = helm.run("template", &json!({"release_name": "shop", "chart": chart, "version": "1.0.0"}));
    assert!(theirs.contains(&format!("image: {repo}:")) && theirs.contains("@sha256:"), "{theirs}");
    assert_eq!(ours.out.trim(), theirs.trim());
}
