//! examples/quickstart through the program itself: what the README promises of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{Ran, Sandbox};
use crate::contracts::oci_tools::tool;

/// A scratch repository made from the example.
pub struct Shop {
    pub sandbox: Sandbox,
}

impl Shop {
    /// The example's files, in no repository yet.
    pub fn uncommitted() -> Self {
        let sandbox = Sandbox::new();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart"), &sandbox.project());
        Self { sandbox }
    }

    fn new() -> Self {
        let shop = Self::uncommitted();
        shop.sandbox.commit("the shop");
        shop
    }

    fn applied() -> Self {
        let shop = Self::new();
        shop.apply();
        shop
    }

    fn file(&self, path: &str) -> PathBuf {
        self.sandbox.project().join(path)
    }

    /// Replaces text in a committed file, and commits.
    fn edit(&self, path: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.file(path)).unwrap();
        assert!(text.contains(old), "{path}");
        fs::write(self.file(path), text.replacen(old, new, 1)).unwrap();
        self.sandbox.commit("an edit");
    }

    fn run(&self, expected: i32, args: &[&str]) -> Ran {
        let ran = self.sandbox.run(args);
        assert_eq!(ran.code, expected, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    fn apply(&self) {
        self.run(0, &["apply", "--env", "dev", "--auto-approve"]);
    }

    /// The plan as JSON; `expected` is the code of `--exit-code`.
    fn plan(&self, expected: i32) -> Value {
        let ran = self.run(expected, &["plan", "--env", "dev", "--exit-code", "-o", "json"]);
        serde_json::from_str(&ran.out).unwrap()
    }

    fn assert_no_changes(&self) {
        let plan = self.plan(0);
        assert_eq!((images(&plan, "build"), changed(&plan)), (vec![], vec![]));
        assert_eq!(plan["operations"], Value::Array(vec![]), "{:#}", plan["operations"]);
        let text = self.run(0, &["plan", "--env", "dev"]).out;
        assert!(text.to_lowercase().contains("no changes"), "{text}");
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            // What a plan in the example itself may have left.
            if entry.file_name() != ".stagewright" {
                copy(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn list<'v>(plan: &'v Value, section: &str) -> &'v Vec<Value> {
    plan[section].as_array().unwrap()
}

fn images(plan: &Value, action: &str) -> Vec<String> {
    let found = list(plan, "images").iter().filter(|image| image["action"] == action);
    found.map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

/// `Kind/name` of every resource that does not stay as it is, sorted.
fn changed(plan: &Value) -> Vec<String> {
    let changed = list(plan, "resources").iter().filter(|resource| resource["action"] != "noop");
    let names = changed.map(|r| format!("{}/{}", r["kind"].as_str().unwrap(), r["name"].as_str().unwrap()));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Every file that the reasons of an image or resource name.
fn files(item: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&item["reasons"], &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("file").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|v| collect(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn assert_reason_names(plan: &Value, section: &str, name: &str, file: &str) {
    let named: Vec<_> = list(plan, section).iter().filter(|i| i["name"] == name && i["action"] != "noop").collect();
    assert!(!named.is_empty(), "{name}");
    for item in named {
        assert!(files(item).contains(file), "{name}: {file} is not in {:#}", item["reasons"]);
    }
}

#[test]
fn the_first_plan_has_a_verdict_all_images_with_reasons_and_all_resources() {
    let shop = Shop::new();
    let text = shop.run(2, &["plan", "--env", "dev", "--exit-code"]).out;
    let verdict = text.lines().next().unwrap();
    assert!(verdict.starts_with("shop: 3 images to build"), "{verdict}");
    let plan = shop.plan(2);
    assert_eq!(plan["format_version"].as_str().map(|v| v.split('.').next().unwrap()), Some("1"));
    assert_eq!(images(&plan, "build"), ["backend", "assets", "frontend"]);
    assert_eq!(plan["summary"]["images_build"], 3);
    for image in list(&plan, "images") {
        assert_eq!(image["tag"].as_str().unwrap().len(), 56);
        assert!(!image["reasons"].as_array().unwrap().is_empty(), "{image:#}");
    }
    let all = [
        "ConfigMap/backend",
        "CronJob/stock-report",
        "Deployment/backend",
        "Deployment/frontend",
        "Ingress/shop",
        "PodDisruptionBudget/frontend",
        "Service/backend",
        "Service/frontend",
    ];
    assert_eq!(changed(&plan), all);
    assert!(list(&plan, "resources").iter().all(|r| r["action"] == "create" && r["namespace"] == "shop-dev"));
    assert!(list(&plan, "resources").iter().all(|r| !r["fields"].as_array().unwrap().is_empty()));
}

#[test]
fn a_plan_writes_nothing_and_is_byte_equal_on_repetition() {
    let shop = Shop::new();
    for format in ["json", "text", "markdown", "html"] {
        let plan = || shop.run(0, &["plan", "--env", "dev", "-o", format]);
        let (one, two) = (plan(), plan());
        assert!(one.out == two.out && !one.out.is_empty(), "{format}");
    }
    assert!(!shop.file(".stagewright").exists());
}

#[test]
fn after_an_apply_the_plan_is_empty() {
    let shop = Shop::new();
    let before = shop.plan(2);
    shop.apply();
    shop.assert_no_changes();
    let reused = shop.plan(0);
    for (image, planned) in list(&reused, "images").iter().zip(list(&before, "images")) {
        assert_eq!((&image["name"], &image["tag"]), (&planned["name"], &planned["tag"]));
    }
}

#[test]
fn an_edited_asset_builds_what_holds_it_and_changes_what_runs_it() {
    let shop = Shop::applied();
    shop.edit("assets/css/shop.css", "#2f6f4f", "#8a3b12");
    let plan = shop.plan(2);
    assert_eq!(images(&plan, "build"), ["assets", "frontend"]);
    assert_eq!(images(&plan, "reuse"), ["backend"]);
    assert_eq!(changed(&plan), ["Deployment/frontend"]);
    for image in ["assets", "frontend"] {
        assert_reason_names(&plan, "images", image, "assets/css/shop.css");
    }
    assert_reason_names(&plan, "resources", "frontend", "assets/css/shop.css");
    let text = shop.run(0, &["plan", "--env", "dev"]).out;
    assert!(text.contains("assets/css/shop.css:8"), "{text}");
    let why = shop.run(0, &["why", "frontend", "--env", "dev"]).out;
    assert!(why.contains("assets/css/shop.css:8"), "{why}");
    shop.apply();
    shop.assert_no_changes();
}

#[test]
fn an_edited_source_builds_its_image_only() {
    let shop = Shop::applied();
    shop.edit("backend/app/server.py", "no such page", "not found");
    let plan = shop.plan(2);
    assert_eq!(images(&plan, "build"), ["backend"]);
    assert_eq!(changed(&plan), ["CronJob/stock-report", "Deployment/backend"]);
    assert_reason_names(&plan, "images", "backend", "backend/app/server.py");
    assert_reason_names(&plan, "resources", "backend", "backend/app/server.py");
    assert_reason_names(&plan, "resources", "stock-report", "backend/app/server.py");
}

#[test]
fn an_edited_instruction_is_named_with_its_line() {
    let shop = Shop::applied();
    shop.edit("backend/Dockerfile", "--timeout=2s", "--timeout=3s");
    let plan = shop.plan(2);
    assert_eq!(images(&plan, "build"), ["backend"]);
    assert_reason_names(&plan, "images", "backend", "backend/Dockerfile");
    shop.edit("werf.yaml", "LOG_FORMAT: json", "LOG_FORMAT: text");
    assert_reason_names(&shop.plan(2), "images", "backend", "werf.yaml");
}

#[test]
fn a_file_that_reaches_no_image_changes_nothing() {
    let shop = Shop::applied();
    for file in ["README.md", "backend/tests/test_catalogue.py", "backend/README.md", "assets/README.md"] {
        let text = fs::read_to_string(shop.file(file)).unwrap();
        fs::write(shop.file(file), format!("{text}\n# more\n")).unwrap();
        shop.sandbox.commit("more");
        shop.assert_no_changes();
    }
}

#[test]
fn an_edited_value_builds_nothing_and_is_the_reason() {
    let shop = Shop::applied();
    shop.edit(".helm/values.yaml", "_default: debug", "_default: info");
    let plan = shop.plan(2);
    assert_eq!(images(&plan, "build"), Vec::<String>::new());
    assert_eq!(changed(&plan), ["ConfigMap/backend", "Deployment/backend"]);
    assert_reason_names(&plan, "resources", "backend", ".helm/values.yaml");
}

#[test]
fn production_is_another_release_of_the_same_images() {
    let shop = Shop::applied();
    let dev = shop.plan(0);
    let production = ["--env", "prod", "--values", ".helm/values-prod.yaml"];
    let plan = shop.run(0, &[&["plan", "-o", "json"], &production[..]].concat());
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(images(&plan, "build"), Vec::<String>::new());
    assert!(changed(&plan).contains(&"PodDisruptionBudget/backend".to_owned()));
    for (one, other) in list(&plan, "images").iter().zip(list(&dev, "images")) {
        assert_eq!(one["tag"], other["tag"]);
    }
    shop.run(0, &[&["apply", "--auto-approve"], &production[..]].concat());
    shop.run(0, &[&["plan", "--exit-code"], &production[..]].concat());
    shop.assert_no_changes();
}

#[test]
fn a_saved_plan_is_what_is_applied_and_a_stale_one_is_refused() {
    let shop = Shop::new();
    let printed = shop.run(0, &["plan", "--env", "dev", "--out", "../dev.plan"]).out;
    let shown = shop.run(0, &["show", "../dev.plan"]).out;
    let body =
        |text: &str| text.lines().take_while(|l| !l.starts_with("To carry it out")).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&shown), body(&printed));
    shop.run(0, &["apply", "../dev.plan"]);
    shop.assert_no_changes();
    shop.edit("assets/css/shop.css", "#2f6f4f", "#8a3b12");
    shop.run(0, &["plan", "--env", "dev", "--out", "../stale.plan"]);
    shop.apply();
    let refused = shop.run(4, &["apply", "../stale.plan"]);
    assert!(!refused.err.is_empty());
    shop.assert_no_changes();
}

#[test]
fn lint_finds_nothing_in_the_example() {
    let shop = Shop::new();
    let found = shop.run(0, &["lint", "--env", "dev", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&found.out).unwrap(), Value::Array(vec![]), "{}", found.out);
    shop.run(0, &["lint", "--env", "prod", "--values", ".helm/values-prod.yaml"]);
}

#[test]
fn the_applied_manifests_name_the_built_images() {
    let shop = Shop::applied();
    let plan = shop.plan(0);
    let image = list(&plan, "images").iter().find(|i| i["name"] == "frontend").unwrap();
    let mut text = String::new();
    read_all(&shop.file(".stagewright/manifests"), &mut text);
    assert!(text.contains(&format!("image: {}", image["reference"].as_str().unwrap())), "{text}");
}

fn read_all(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn other_tools_read_the_layout() {
    let shop = Shop::applied();
    let plan = shop.plan(0);
    for image in list(&plan, "images") {
        let (name, tag) = (image["name"].as_str().unwrap(), image["tag"].as_str().unwrap());
        let layout = format!("oci:.stagewright/store:{tag}");
        let Some(told) = tool("skopeo", &["inspect", &layout], &shop.file("")) else { return };
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["Os"], "linux");
        let layout = format!(".stagewright/store:{tag}");
        let into = format!("unpacked-{name}");
        if tool("umoci", &["unpack", "--rootless", "--image", &layout, &into], &shop.file("")).is_none() {
            return;
        }
    }
    let unpacked = |path: &str| fs::read_to_string(shop.file(path)).unwrap();
    let source = |path: &str| fs::read_to_string(shop.file(path)).unwrap();
    for (built, from) in [
        ("unpacked-backend/rootfs/app/catalogue.json", "backend/catalogue.json"),
        ("unpacked-backend/rootfs/app/shop/server.py", "backend/app/server.py"),
        ("unpacked-assets/rootfs/srv/shop/index.html", "assets/index.html"),
        ("unpacked-frontend/rootfs/usr/share/nginx/html/css/shop.css", "assets/css/shop.css"),
        ("unpacked-frontend/rootfs/etc/nginx/conf.d/shop.conf", "frontend/conf.d/shop.conf"),
    ] {
        assert_eq!(unpacked(built), source(from), "{built}");
    }
    for absent in ["unpacked-backend/rootfs/app/tests", "unpacked-assets/rootfs/srv/shop/README.md"] {
        assert!(!shop.file(absent).exists(), "{absent}");
    }
    let config: Value = serde_json::from_str(&unpacked("unpacked-backend/config.json")).unwrap();
    assert_eq!(config["process"]["cwd"], "/app");
    let env = config["process"]["env"].as_array().unwrap();
    assert!(env.contains(&"SHOP_LOG_FORMAT=json".into()), "{env:?}");
}
