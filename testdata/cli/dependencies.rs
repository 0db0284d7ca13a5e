//! `chart dependency`, and charts that `template` fetches: from a repository over HTTP and from a real registry.

use std::path::Path;

use super::chart_server::{Answer, ChartServer, packed};
use super::{Ran, Sandbox};
use crate::services::Registry;

/// A chart `shop` with the dependencies that are written here.
fn shop(dependencies: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let chart = format!("apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n{dependencies}");
    sandbox.write("shop/Chart.yaml", &chart).write("shop/templates/a.yaml", "kind: A\napiVersion: v1\n");
    sandbox
}

fn on_redis(server: &ChartServer, range: &str) -> Sandbox {
    shop(&format!("- name: redis\n  version: {range:?}\n  repository: {}\n", server.url))
}

fn redis_server() -> ChartServer {
    let server = ChartServer::new();
    let chart = |version| ("redis", version, packed("redis", version));
    server.put_charts(&[chart("1.0.0"), chart("1.2.0"), chart("1.10.0-rc.1"), chart("2.0.0")]);
    server
}

fn dependency(sandbox: &Sandbox, verb: &str, more: &[&str]) -> Ran {
    sandbox.run(&[&["chart", "dependency", verb, "shop"][..], more].concat())
}

/// Everything in the chart's folder: names, and the text of the lock without its time.
fn listed(sandbox: &Sandbox) -> Vec<String> {
    fn walk(dir: &Path, below: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() { walk(&entry.path(), &format!("{name}/"), found) } else { found.push(name) }
        }
    }
    let mut found = Vec::new();
    walk(&sandbox.project().join("shop"), "", &mut found);
    found.sort();
    found
}

fn lock(sandbox: &Sandbox) -> String {
    let text = std::fs::read_to_string(sandbox.project().join("shop/Chart.lock")).unwrap();
    let (head, time) = text.rsplit_once("generated: ").unwrap();
    assert!(time.starts_with("\"20") && time.ends_with("Z\"\n"), "{time}");
    head.to_owned()
}

const UPDATED: [&str; 4] = ["Chart.lock", "Chart.yaml", "charts/redis-1.2.0.tgz", "templates/a.yaml"];

#[test]
fn versions_are_chosen_locked_and_brought_again_without_the_network() {
    let server = redis_server();
    let elsewhere = ChartServer::new();
    elsewhere.put("/redis.tgz", Answer::Bytes(packed("redis", "1.2.0")));
    server.put("/files/redis-1.2.0.tgz", Answer::Redirect(format!("{}/redis.tgz", elsewhere.url)));
    let sandbox = on_redis(&server, "^1");
    let missing = sandbox.run(&["template", "shop"]);
    assert!(missing.code == 1 && missing.err.contains("`stagewright chart dependency build shop`"), "{}", missing.err);
    let ran = dependency(&sandbox, "build", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.err,
        format!(
            "Reading the index of {0}\nFetching redis 1.2.0 from {0}\n1 chart in charts/; Chart.lock written.\n",
            server.url
        )
    );
    assert_eq!((server.asked().len(), elsewhere.asked().len()), (2, 1));
    assert_eq!(listed(&sandbox), UPDATED);
    let locked = lock(&sandbox);
    let head = format!("dependencies:\n- name: redis\n  repository: {}\n  version: 1.2.0\ndigest: sha256:", server.url);
    assert!(locked.starts_with(&head), "{locked}");
    // What is locked and known is not asked for again.
    std::fs::remove_dir_all(sandbox.project().join("shop/charts")).unwrap();
    let again = dependency(&sandbox, "build", &[]);
    assert_eq!((again.code, again.err.as_str()), (0, "1 chart in charts/; the lock is up to date.\n"));
    assert_eq!(
        (server.asked().len(), listed(&sandbox), lock(&sandbox)),
        (0, UPDATED.map(str::to_owned).into(), locked)
    );
    let rendered = sandbox.run(&["template", "x", "shop"]);
    assert!(rendered.out.contains("# Source: shop/charts/redis/templates/config.yaml"), "{}", rendered.err);
}

#[test]
fn another_range_removes_the_old_archive_and_an_old_lock_is_refused() {
    let server = redis_server();
    let sandbox = on_redis(&server, "^1");
    assert_eq!(dependency(&sandbox, "up", &[]).code, 0);
    let chart = sandbox.project().join("shop/Chart.yaml");
    let text = std::fs::read_to_string(&chart).unwrap();
    std::fs::write(&chart, text.replace("^1", ">=2 <3")).unwrap();
    let refused = dependency(&sandbox, "build", &[]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("error[chart-lock]: Chart.lock is out of sync"), "{}", refused.err);
    assert!(refused.err.contains("`redis` is locked at 1.2.0, and >=2 <3 is declared"), "{}", refused.err);
    assert!(refused.err.contains("`stagewright chart dependency update shop`"), "{}", refused.err);
    assert_eq!(listed(&sandbox), UPDATED);
    let updated = dependency(&sandbox, "update", &[]);
    assert!(
        updated.err.ends_with("1 chart in charts/; redis-1.2.0.tgz removed; Chart.lock written.\n"),
        "{}",
        updated.err
    );
    assert_eq!(listed(&sandbox), ["Chart.lock", "Chart.yaml", "charts/redis-2.0.0.tgz", "templates/a.yaml"]);
}

#[test]
fn what_cannot_be_fetched_leaves_everything_as_it_was() {
    let faults: [(&str, Answer, &str); 6] = [
        ("/files/redis-2.0.0.tgz", Answer::Bytes(packed("redis", "2.0.1")), "the archive is not the one of the index"),
        ("/files/redis-2.0.0.tgz", Answer::CutOff(packed("redis", "2.0.0")), "fetch http"),
        ("/files/redis-2.0.0.tgz", Answer::Status("404 Not Found"), "redis-2.0.0.tgz is not there"),
        ("/index.yaml", Answer::Status("500 Oh no"), "the server answered 500"),
        ("/index.yaml", Answer::Bytes(b"<html>".to_vec()), "it is no index of charts"),
        ("/index.yaml", Answer::Redirect("/index.yaml".to_owned()), "too many redirects"),
    ];
    for (path, answer, told) in faults {
        let server = redis_server();
        let sandbox = on_redis(&server, "^1");
        assert_eq!(dependency(&sandbox, "update", &[]).code, 0);
        let before = (listed(&sandbox), lock(&sandbox));
        let chart = sandbox.project().join("shop/Chart.yaml");
        std::fs::write(&chart, std::fs::read_to_string(&chart).unwrap().replace("^1", "^2")).unwrap();
        server.put(path, answer);
        let ran = dependency(&sandbox, "update", &[]);
        assert_eq!(ran.code, 1, "{told}");
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
        assert!(ran.err.contains("error: fetch the dependency redis ^2 from http"), "{}", ran.err);
        assert_eq!((listed(&sandbox), lock(&sandbox)), before, "{told}");
    }
}

#[test]
fn a_wrong_range_or_name_is_told_with_what_there_is() {
    let server = redis_server();
    let ran = dependency(&on_redis(&server, "^7"), "update", &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("no version of `redis` is in the range `^7`; it has 2.0.0, 1.10.0-rc.1, 1.2.0, 1.0.0"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("--> shop/Chart.yaml:5:9"), "{}", ran.err);
    let all = format!(
        "- {{name: redsi, version: ^1, repository: '{0}'}}\n- {{name: web, version: nonsense, repository: '{0}'}}\n",
        server.url
    );
    let ran = dependency(&shop(&all), "update", &[]);
    assert!(ran.err.contains("did you mean `redis`?") && ran.err.contains("`nonsense` is no range"), "{}", ran.err);
    let places = "- {name: a, version: ^1, repository: stable}\n- {name: b, version: ^1, repository: '@mine'}\n";
    let ran = dependency(&shop(places), "update", &[]);
    assert!(ran.err.contains("`stable` is no address") && ran.err.contains("has no repository `mine`"), "{}", ran.err);
}

#[test]
fn folders_charts_on_disk_and_the_first_version_of_charts_work_too() {
    let sandbox = Sandbox::new();
    sandbox
        .write("shop/Chart.yaml", "apiVersion: v1\nname: shop\nversion: 0.1.0\n")
        .write(
            "shop/requirements.yaml",
            "dependencies:\n- {name: common, version: 0.x, repository: 'file://../common'}\n- {name: own, version: 1.0.0}\n",
        )
        .write("shop/charts/own/Chart.yaml", "apiVersion: v2\nname: own\nversion: 1.0.0\n")
        .write("common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.4.0\n")
        .write("common/templates/_x.tpl", "{{ define \"x\" }}{{ end }}");
    let ran = dependency(&sandbox, "update", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let names = listed(&sandbox);
    assert_eq!(
        names,
        ["Chart.yaml", "charts/common-0.4.0.tgz", "charts/own/Chart.yaml", "requirements.lock", "requirements.yaml"]
    );
    let before = std::fs::read(sandbox.project().join("shop/requirements.lock")).unwrap();
    assert_eq!(dependency(&sandbox, "update", &[]).code, 0);
    assert_eq!(std::fs::read(sandbox.project().join("shop/requirements.lock")).unwrap(), before);
    assert_eq!(dependency(&sandbox, "build", &[]).code, 0);
    let list = dependency(&sandbox, "list", &[]);
    assert_eq!(
        list.out,
        "NAME  \tVERSION\tREPOSITORY      \tSTATUS  \n\
         common\t0.x    \tfile://../common\tok      \n\
         own   \t1.0.0  \t                \tunpacked\n\n"
    );
}

#[test]
fn the_list_says_what_helm_says() {
    let sandbox =
        shop("- {name: a, version: ^1, repository: 'https://charts.example.org'}\n- {name: b, version: '1'}\n");
    let put = |path: &str, bytes: Vec<u8>| {
        std::fs::create_dir_all(sandbox.project().join("shop/charts")).unwrap();
        std::fs::write(sandbox.project().join("shop/charts").join(path), bytes).unwrap();
    };
    let status = || -> Vec<String> {
        let out = dependency(&sandbox, "list", &[]).out;
        out.lines().skip(1).take(2).map(|l| l.rsplit('\t').next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(status(), ["missing", "missing"]);
    put("a-1.0.0.tgz", packed("a", "1.0.0"));
    put("b-1.0.0.tgz", packed("other", "1.0.0"));
    assert_eq!(status(), ["ok", "misnamed"]);
    put("a-1.0.0.tgz", packed("a", "2.0.0"));
    put("b-1.0.0.tgz", b"junk".to_vec());
    assert_eq!(status(), ["wrong version", "corrupt"]);
    put("a-1.0.1.tgz", packed("a", "1.0.1"));
    put("c-1.0.0.tgz", packed("c", "1.0.0"));
    let list = dependency(&sandbox, "list", &[]).out;
    assert!(list.contains("too many matches"), "{list}");
    assert!(list.ends_with("WARNING: \"shop/charts/b-1.0.0.tgz\" is not a chart.\nWARNING: \"shop/charts/c-1.0.0.tgz\" is not in Chart.yaml.\n"), "{list}");
    let none = sandbox
        .write("none/Chart.yaml", "apiVersion: v2\nname: none\nversion: 1.0.0\n")
        .run(&["chart", "dep", "ls", "none"]);
    assert_eq!((none.code, none.out.as_str()), (0, "WARNING: no dependencies at none/charts\n"));
}

#[test]
fn secrets_go_where_they_belong_and_are_never_shown() {
    let server = redis_server();
    server.require("Basic bWU6czNjcmV0");
    let sandbox = on_redis(&server, "^1");
    let refused = dependency(&sandbox, "update", &[]);
    assert!(refused.code == 1 && refused.err.contains("access is denied (401 Unauthorized)"), "{}", refused.err);
    let wrong = dependency(&sandbox, "update", &["--username", "me", "--password", "wr0ng"]);
    assert!(wrong.code == 1 && !format!("{wrong:?}").contains("wr0ng"), "{wrong:?}");
    let env = [("STAGEWRIGHT_USERNAME", "me"), ("STAGEWRIGHT_PASSWORD", "s3cret")];
    let ran = sandbox.run_with(&["chart", "dependency", "update", "shop"], &env);
    assert_eq!((ran.code, ran.err.contains("s3cret")), (0, false), "{}", ran.err);
    // A name in the repository configuration, with its own secret.
    let config = format!("repositories:\n- {{name: mine, url: '{}', username: me, password: s3cret}}\n", server.url);
    let named = shop("- {name: redis, version: ^2, repository: '@mine'}\n");
    named.write("repositories.yaml", &config);
    let ran = dependency(&named, "update", &["--repository-config", "repositories.yaml"]);
    assert_eq!((ran.code, ran.err.contains("s3cret")), (0, false), "{}", ran.err);
    assert!(lock(&named).contains(&format!("  repository: {}\n", server.url)));
    let by_name = named.run(&["template", "x", "mine/redis", "--repository-config", "repositories.yaml"]);
    assert!(by_name.code == 0 && by_name.out.contains("version: 2.0.0"), "{}", by_name.err);
    // One password is not for two servers.
    let two = shop(
        "- {name: a, version: ^1, repository: 'http://127.0.0.1:1'}\n- {name: b, version: ^1, repository: 'http://127.0.0.1:2'}\n",
    );
    let ran = dependency(&two, "update", &["--username", "me", "--password", "s3cret"]);
    assert!(ran.err.contains("are for one server") && !ran.err.contains("s3cret"), "{}", ran.err);
    // A password in the address itself.
    let inside = server.url.replace("http://", "http://me:wr0ng@");
    let ran = sandbox.run(&["template", "x", "redis", "--repo", &inside]);
    assert!(ran.code == 1 && !format!("{ran:?}").contains("wr0ng"), "{ran:?}");
}

#[test]
fn certificates_are_checked() {
    let (server, authority) = ChartServer::with_tls();
    server.put_charts(&[("redis", "1.0.0", packed("redis", "1.0.0"))]);
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &authority);
    let run = |more: &[&str]| sandbox.run(&[&["template", "x", "redis", "--repo", &server.url][..], more].concat());
    let refused = run(&[]);
    assert!(refused.code == 1 && refused.err.to_lowercase().contains("certificate"), "{}", refused.err);
    for more in [&["--ca-file", "ca.pem"][..], &["--insecure-skip-tls-verify"]] {
        let ran = run(more);
        assert!(ran.code == 0 && ran.out.contains("version: 1.0.0"), "{more:?} {}", ran.err);
    }
}

#[test]
fn template_takes_charts_from_everywhere() {
    let server = redis_server();
    let sandbox = on_redis(&server, "^1");
    let version = |args: &[&str]| {
        let ran = sandbox.run(&[&["template", "x"][..], args].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        ran.out.lines().find_map(|l| l.trim().strip_prefix("version: ")).unwrap_or_default().to_owned()
    };
    let url = format!("{}/files/redis-1.0.0.tgz", server.url);
    assert_eq!(version(&[&url]), "1.0.0");
    assert_eq!(version(&["redis", "--repo", &server.url]), "2.0.0");
    assert_eq!(version(&["redis", "--repo", &server.url, "--version", "^1"]), "1.2.0");
    assert_eq!(version(&["redis", "--repo", &server.url, "--version", "1.10.0-rc.1"]), "1.10.0-rc.1");
    assert_eq!(version(&["shop", "--dependency-update"]), "1.2.0");
    assert_eq!(listed(&sandbox), UPDATED);
    let env = [("WERF_REPO", "registry.example.org/shop"), ("WERF_VERSION", "2")];
    assert_eq!(sandbox.run_with(&["template", "x", "shop"], &env).code, 0, "werf's variables mean something else");
    let ran = sandbox.run(&["template", "x", "redis", "--repo", &server.url, "--version", "9"]);
    assert!(ran.err.contains("no version of `redis` is in the range `9`; it has 2.0.0"), "{}", ran.err);
}

#[test]
fn a_post_renderer_gets_the_manifests_without_hooks() {
    let sandbox = Sandbox::new();
    sandbox
        .write("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
        .write(
            "web/crds/c.yaml",
            "kind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\nmetadata: {name: c}\n",
        )
        .write("web/templates/a.yaml", "kind: A\napiVersion: v1\nmetadata: {name: a}\n")
        .write(
            "web/templates/h.yaml",
            "kind: H\napiVersion: v1\nmetadata:\n  name: h\n  annotations: {helm.sh/hook: pre-install}\n",
        )
        .write("post.sh", "#!/bin/sh\ntee seen | sed \"s/$1/$2/\"\n");
    let program = sandbox.project().join("post.sh");
    let executable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let renderer =
        ["--post-renderer", "./post.sh", "--post-renderer-args", "name: a", "--post-renderer-args", "name: b"];
    let run = |more: &[&str]| {
        let args = [&["template", "web", "--include-crds"][..], &renderer, more].concat();
        let mut command = sandbox.command(&args);
        let output = command.env("PATH", std::env::var("PATH").unwrap()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let crd = "---\n# Source: web/crds/c.yaml\nkind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\nmetadata: {name: c}\n\n";
    let a = "---\n# Source: web/templates/a.yaml\nkind: A\napiVersion: v1\nmetadata: {name: a}\n";
    let h = "---\n# Source: web/templates/h.yaml\nkind: H\napiVersion: v1\nmetadata:\n  name: h\n  annotations: {helm.sh/hook: pre-install}\n";
    assert_eq!(run(&[]), (Some(0), format!("{crd}{}{h}", a.replace("name: a", "name: b")), String::new()));
    assert_eq!(std::fs::read_to_string(sandbox.project().join("seen")).unwrap(), format!("{crd}{a}"));
    assert_eq!(run(&["-s", "templates/a.yaml"]).1, a.replace("name: a", "name: b"));
    let told = |program: &str| sandbox.run(&["template", "web", "--post-renderer", program]).err;
    assert!(told("./nowhere").contains("error: run the post-renderer ./nowhere\n  caused by: No such file"));
    assert!(told("/bin/false").contains("caused by: exit status: 1"));
    assert!(told("/bin/true").contains("caused by: it produced empty output"));
}

/// Pushes a chart as `helm push` does.
pub(super) fn push(
    registry: &Registry,
    repository: &str,
    tag: &str,
    archive: Vec<u8>,
    config_type: &str,
    password: Option<&str>,
) {
    use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    let client = oci_client::Client::new(client);
    let reference = oci_client::Reference::with_tag(registry.address.clone(), repository.to_owned(), tag.to_owned());
    let auth = password.map_or(oci_client::secrets::RegistryAuth::Anonymous, |password| {
        oci_client::secrets::RegistryAuth::Basic("me".to_owned(), password.to_owned())
    });
    let layer = ImageLayer::new(archive, "application/vnd.cncf.helm.chart.content.v1.tar+gzip".to_owned(), None);
    let config = Config::new(b"{}".to_vec(), config_type.to_owned(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.push(&reference, &[layer], config, &auth, None)).unwrap();
}

pub(super) const CHART: &str = "application/vnd.cncf.helm.config.v1+json";

#[test]
fn charts_come_from_a_real_registry() {
    let Some(registry) = Registry::start(None) else { return };
    for version in ["1.0.0", "1.2.0", "1.9.0-rc.1", "2.0.0_b1"] {
        push(&registry, "charts/redis", version, packed("redis", &version.replace('_', "+")), CHART, None);
    }
    push(
        &registry,
        "charts/image",
        "1.0.0",
        packed("image", "1.0.0"),
        "application/vnd.oci.image.config.v1+json",
        None,
    );
    push(&registry, "charts/web", "1.0.0", packed("redis", "1.0.0"), CHART, None);
    let base = format!("oci://{}/charts", registry.address);
    let sandbox = shop(&format!("- name: redis\n  version: ^1\n  repository: {base}\n"));
    let run = |args: &[&str]| sandbox.run(&[&["template", "x"][..], args, &["--plain-http"]].concat());
    let redis = format!("{base}/redis");
    for (more, version) in [
        (&[][..], "2.0.0+b1"),
        (&["--version", "1.0.0"], "1.0.0"),
        (&["--version", "~1.2"], "1.2.0"),
        (&["--version", "2.0.0+b1"], "2.0.0+b1"),
    ] {
        let ran = run(&[&[redis.as_str()], more].concat());
        assert!(ran.code == 0 && ran.out.contains(&format!("version: {version}\n")), "{more:?}: {ran:?}");
    }
    for (reference, more, told) in [
        (format!("{redis}:1.5.0"), &[][..], "redis:1.5.0 is not there"),
        (redis.clone(), &["--version", "^7"], "no version of `redis` is in the range `^7`; it has 2.0.0+b1"),
        (format!("{base}/nothing"), &[], "is not there"),
        (format!("{base}/image:1.0.0"), &[], "it is no chart"),
    ] {
        let ran = run(&[&[reference.as_str()], more].concat());
        assert!(ran.code == 1 && ran.err.contains(told), "{reference}: {}", ran.err);
    }
    let over_tls = sandbox.run(&["template", "x", &redis, "--version", "1.0.0"]);
    assert!(over_tls.code == 1 && over_tls.err.contains("hint: the registry does not speak TLS"), "{}", over_tls.err);
    let ran = dependency(&sandbox, "update", &["--plain-http"]);
    assert_eq!((ran.code, listed(&sandbox)), (0, UPDATED.map(str::to_owned).into()), "{}", ran.err);
    std::fs::remove_dir_all(sandbox.project().join("shop/charts")).unwrap();
    drop(registry);
    let ran = dependency(&sandbox, "build", &[]);
    assert_eq!((ran.code, listed(&sandbox)), (0, UPDATED.map(str::to_owned).into()), "{}", ran.err);
}

#[test]
fn a_registry_that_wants_a_user_takes_the_one_that_logged_in() {
    let Some(registry) = Registry::start(Some(("me", "s3cret"))) else { return };
    push(&registry, "charts/redis", "1.0.0", packed("redis", "1.0.0"), CHART, Some("s3cret"));
    let sandbox = Sandbox::new();
    let redis = format!("oci://{}/charts/redis", registry.address);
    let args = ["template", "x", &redis, "--version", "1.0.0", "--plain-http"];
    let refused = sandbox.run(&args);
    assert!(refused.code == 1 && refused.err.contains("access is denied"), "{}", refused.err);
    let given = sandbox.run(&[&args[..], &["--username", "me", "--password", "s3cret"]].concat());
    assert_eq!((given.code, given.err.as_str()), (0, ""));
    let login = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6czNjcmV0\"}}}}}}", registry.address);
    sandbox.write("docker/config.json", &login);
    let docker = sandbox.project().join("docker");
    let logged_in = sandbox.run_with(&args, &[("DOCKER_CONFIG", docker.to_str().unwrap())]);
    assert_eq!((logged_in.code, logged_in.err.as_str()), (0, ""));
    let wrong = sandbox.run(&[&args[..], &["--username", "me", "--password", "wr0ng"]].concat());
    assert!(wrong.code == 1 && !format!("{wrong:?}").contains("wr0ng"), "{wrong:?}");
}
