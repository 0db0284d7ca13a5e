//! `--repo HOST:PORT/PATH`: the program over a real registry.

use std::collections::BTreeMap;

use serde_json::Value;
use stagewright::backend::{RegistryOptions, RegistryStore, Repository};
use stagewright::ports::{StageId, StageStore};

use super::Sandbox;
use crate::contracts::oci_tools::tool;
use crate::contracts::proxy::{Deed, Proxy};
use crate::contracts::registry_store::fresh_name;
use crate::quickstart::Shop;
use crate::services::{Docker, Registry};

fn shop() -> Sandbox {
    let sandbox = Shop::uncommitted().sandbox;
    sandbox.commit("the shop");
    sandbox
}

fn plan(sandbox: &Sandbox, repo: &str) -> Value {
    let ran = sandbox.run(&["plan", "--env", "dev", "--repo", repo, "-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn actions(plan: &Value) -> Vec<&str> {
    plan["images"].as_array().unwrap().iter().map(|image| image["action"].as_str().unwrap()).collect()
}

#[test]
fn one_registry_serves_two_machines_and_an_idle_plan_asks_once_for_each_image() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let path = fresh_name();
    let repo = format!("{}/{path}", proxy.address);
    let first = shop();
    assert_eq!(actions(&plan(&first, &repo)), ["build"; 3]);
    assert!(proxy.asked().iter().all(|asked| asked.method == "GET"), "planning writes nothing");
    let applied = first.run(&["apply", "--env", "dev", "--repo", &repo, "--auto-approve"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    proxy.asked();
    let again = first.run(&["plan", "--env", "dev", "--repo", &repo, "--exit-code"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
    let asked = proxy.asked();
    assert!(asked.len() <= 3 + 2, "{asked:#?}");
    // The templates name what is in the registry.
    let made = plan(&first, &repo);
    let image = made["images"].as_array().unwrap().iter().find(|image| image["name"] == "backend").unwrap().clone();
    let reference = image["reference"].as_str().unwrap();
    assert!(reference.starts_with(&format!("{repo}:")), "{reference}");
    let rendered = first.run(&["render", "--env", "dev", "--repo", &repo]).out;
    assert!(rendered.contains(reference), "{rendered}");

    let second = shop();
    proxy.asked();
    assert_eq!(actions(&plan(&second, &repo)), ["reuse"; 3]);
    let applied = second.run(&["apply", "--env", "dev", "--repo", &repo, "--auto-approve"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    assert!(proxy.asked().iter().all(|asked| asked.method == "GET"), "the second machine builds and sends nothing");

    // Other programs read what we wrote.
    let direct = format!("{}/{path}:{}", registry.address, image["tag"].as_str().unwrap());
    let copy = ["copy", "--src-tls-verify=false", &format!("docker://{direct}"), "dir:copied"];
    tool("skopeo", &copy, &first.home());
    if let Some(docker) = Docker::shared() {
        docker.run(&["pull", &direct]);
        let command =
            docker.run(&["image", "inspect", "--format", "{{json .Config.Cmd}}{{json .Config.Entrypoint}}", &direct]);
        assert!(command.len() > 4, "{command}");
    }

    // An edit is explained by the newest build, which another machine has stored.
    second.write("backend/app/extra.py", "print('changed')\n").commit("an edit");
    let changed = plan(&second, &repo);
    let backend = changed["images"].as_array().unwrap().iter().find(|image| image["name"] == "backend").unwrap();
    assert_eq!((backend["action"].as_str(), &backend["previous_tag"]), (Some("build"), &image["tag"]));
    assert!(backend["reasons"].to_string().contains("backend/app/extra.py"), "{backend:#}");
}

#[test]
fn an_idle_plan_of_thirty_images_makes_thirty_one_requests() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let repo = format!("{}/{}", proxy.address, fresh_name());
    let sandbox = Sandbox::new();
    let mut config = "configVersion: 1\nproject: many\n".to_owned();
    for number in 0..30 {
        config += &format!("---\nimage: i{number}\nfrom: scratch\ngit:\n- add: /src/{number}\n  to: /srv\n");
        sandbox.write(&format!("src/{number}/file"), &format!("{number}"));
    }
    sandbox.write("werf.yaml", &config).commit("many images");
    let ran = sandbox.run(&["build", "--repo", &repo, "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    proxy.asked();
    let ran = sandbox.run(&["build", "--repo", &repo, "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let count = proxy.asked().len();
    assert_eq!(count, 30 + 1, "one greeting, and one request for each image");
}

#[test]
fn twenty_builders_agree() {
    let Some(registry) = Registry::shared() else { return };
    let repo = format!("{}/{}", registry.address, fresh_name());
    let machines: Vec<Sandbox> = (0..20).map(|_| shop()).collect();
    let mut runs = Vec::new();
    for machine in &machines {
        let mut command = machine.command(&["build", "--repo", &repo, "--auto-approve"]);
        runs.push(command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap());
    }
    for run in runs {
        let ran = run.wait_with_output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    assert_eq!(actions(&plan(&machines[7], &repo)), ["reuse"; 3]);
    let listed = registry_tags(registry, &repo);
    let store = RegistryStore::new(Repository::parse(&repo).unwrap(), RegistryOptions::default(), None).unwrap();
    let manifests: BTreeMap<String, String> = listed
        .iter()
        .zip(store.images(&listed).unwrap())
        .map(|(tag, image)| (tag.clone(), image.unwrap().manifest.to_string()))
        .collect();
    let mut oldest = BTreeMap::new();
    for id in listed.iter().filter_map(|tag| StageId::parse(tag)) {
        let first = oldest.entry(id.digest).or_insert(id);
        *first = (*first).min(id);
    }
    let winners: Vec<&String> = oldest.values().map(|id| &manifests[&id.to_string()]).collect();
    let content: Vec<&String> = listed.iter().filter(|tag| tag.len() == 56 && !tag.contains('-')).collect();
    assert_eq!(content.len(), 3, "{listed:?}");
    for tag in content {
        assert!(winners.contains(&&manifests[tag]), "{tag} is not on the oldest build of a stage");
    }
}

fn registry_tags(registry: &Registry, repo: &str) -> Vec<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(&registry.address).unwrap();
    let path = repo.split_once('/').unwrap().1;
    write!(stream, "GET /v2/{path}/tags/list HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_base_comes_from_its_own_registry() {
    let (Some(bases), Some(ours)) = (Registry::shared(), Registry::with_login()) else { return };
    let base = format!("{}/{}", bases.address, fresh_name());
    let sandbox = Sandbox::new();
    sandbox.write("base/etc/base", "from the base\n");
    sandbox.write(
        "werf.yaml",
        "configVersion: 1\nproject: base\n---\nimage: base\nfrom: scratch\ngit:\n- add: /base\n  to: /\n",
    );
    sandbox.commit("a base");
    let ran = sandbox.run(&["build", "--repo", &base, "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let made: Value = serde_json::from_str(&sandbox.run(&["plan", "base", "--repo", &base, "-o", "json"]).out).unwrap();
    let reference = format!("{base}:{}", made["images"][0]["tag"].as_str().unwrap());

    let sandbox = Sandbox::new();
    sandbox.write(
        "Dockerfile",
        &format!("FROM {reference}\nCOPY etc/base /copied/\nCOPY --from={reference} /etc/base /again/\n"),
    );
    sandbox.write("etc/base", "ours\n");
    sandbox
        .write("werf.yaml", "configVersion: 1\nproject: over\n---\nimage: over\ndockerfile: Dockerfile\n")
        .commit("x");
    let repo = format!("{}/{}", ours.address, fresh_name());
    let config = ours.docker_config();
    let login = [("DOCKER_AUTH_CONFIG", config.as_str())];
    let refused = sandbox.run(&["build", "--repo", &repo, "--auto-approve"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("401 Unauthorized") && refused.err.contains("docker login 127.0.0.1"),
        "{}",
        refused.err
    );
    let ran = sandbox.run_with(&["build", "--repo", &repo, "--auto-approve", "--log-debug"], &login);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("registry: ")).collect();
    assert!(
        lines.iter().any(|line| line.contains("PUT http://") && line.contains(" 201 ") && line.ends_with(" ms")),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("bWU6czNjcmV0") && !ran.err.contains("s3cret"), "{}", ran.err);
    // Another machine, with what `docker login` writes.
    let other = Sandbox::new();
    for name in ["Dockerfile", "etc/base", "werf.yaml"] {
        other.write(name, &std::fs::read_to_string(sandbox.project().join(name)).unwrap());
    }
    other.commit("x");
    std::fs::create_dir_all(other.home().join(".docker")).unwrap();
    std::fs::write(other.home().join(".docker/config.json"), ours.docker_config()).unwrap();
    let ran = other.run(&["plan", "over", "--repo", &repo, "-o", "json"]);
    let made: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
    assert_eq!(actions(&made), ["reuse"]);
    let absent = format!("FROM {base}:nothing\n");
    other.write("Dockerfile", &absent).commit("y");
    let ran = other.run(&["plan", "over", "--repo", &repo]);
    assert!(ran.err.contains("is not in its registry"), "{}", ran.err);
}

#[test]
fn what_is_no_registry_is_told_before_anything_is_asked() {
    let sandbox = shop();
    for (repo, told) in [
        ("shop", "HOST[:PORT]/PATH"),
        ("shop/app", "`shop` is no host"),
        ("r.example/Shop", "`Shop` is no name"),
        ("https://r.example/shop", "without scheme"),
    ] {
        let ran = sandbox.run(&["plan", "--env", "dev", "--repo", repo]);
        assert!(ran.code == 1 && ran.err.contains(told), "{repo}: {}", ran.err);
    }
}
