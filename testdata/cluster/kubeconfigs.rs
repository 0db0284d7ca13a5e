//! The ways to reach a cluster and to say who one is: kubeconfigs, certificates, programs that log in, proxies, pods.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Deploy, Ground};
use crate::cli::Ran;
use crate::services::{self, ADMIN, Authority, Cluster, PROGRAM, SERVER_NAME};

const SECRET: &str = "pl4nted-login";

/// A project with one resource, and no kubeconfig yet.
struct Reach {
    deploy: Deploy,
    cluster: &'static Cluster,
}

impl Reach {
    fn new(namespace: &str) -> Option<Self> {
        let cluster = Cluster::shared()?;
        let deploy = Deploy::bare(namespace, Ground::Real(cluster));
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n";
        deploy.sandbox.write(".helm/templates/a.yaml", map).commit("a map");
        Some(Self { deploy, cluster })
    }

    /// The folder of kubeconfigs.
    fn home(&self) -> PathBuf {
        self.deploy.sandbox.home()
    }

    /// A cluster that is known by its certificate.
    fn known(&self) -> Value {
        json!({"server": self.cluster.url, "certificate-authority-data": STANDARD.encode(&self.cluster.authority.certificate)})
    }

    /// Writes a file beside the kubeconfig.
    fn file(&self, name: &str, text: &str) -> String {
        let file = self.home().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Writes a command beside the kubeconfig.
    fn command(&self, name: &str, script: &str) -> String {
        let file = self.file(name, &format!("#!/bin/sh\n{script}"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let place = ["--target", "cluster", "--namespace", &self.deploy.namespace, "--release", "shop"];
        let ran = self.deploy.sandbox.run_with(&[args, &place].concat(), env);
        assert!(!(ran.out.clone() + &ran.err).contains(SECRET), "{}{}", ran.out, ran.err);
        ran
    }

    fn plan(&self, cluster: &Value, user: &Value, env: &[(&str, &str)]) -> Ran {
        let file = self.file("kubeconfig", &config(cluster, user));
        self.run(&["plan", "--exit-code", "--kube-config", &file], env)
    }

    /// The plan is made, and by the one who is meant.
    fn plans(&self, cluster: &Value, user: &Value, env: &[(&str, &str)]) -> String {
        let part = format!("/namespaces/{}", self.deploy.namespace);
        let before = self.cluster.reads(&part).len();
        let ran = self.plan(cluster, user, env);
        assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("ConfigMap/a"), "{}", ran.out);
        assert!(self.cluster.reads(&part).len() > before, "somebody else asked");
        ran.out
    }

    /// No plan is made; returns why.
    fn refuses(&self, cluster: &Value, user: &Value) -> String {
        let ran = self.plan(cluster, user, &[]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        ran.err
    }
}

fn config(cluster: &Value, user: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "test", "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "me", "user": user}], "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}]})
    .to_string()
}

fn token() -> Value {
    json!({"token": PROGRAM})
}

fn said(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_certificate_of_the_server_is_verified_by_data_and_by_file() {
    let Some(reach) = Reach::new("verified") else { return };
    let text = reach.plans(&reach.known(), &token(), &[]);
    said(&text, &[&format!("cluster test ({})", reach.cluster.url)]);
    // A file is looked for beside the kubeconfig, not where the program runs.
    reach.file("pki/authority.pem", &reach.cluster.authority.certificate);
    let cluster = json!({"server": reach.cluster.url, "certificate-authority": "pki/authority.pem"});
    reach.plans(&cluster, &token(), &[]);
    let file = reach.home().join("kubeconfig").display().to_string();
    let ran = reach.run(&["apply", "--auto-approve", "--kube-config", &file], &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(reach.deploy.object("configmaps", "a").unwrap()["data"]["x"], "1");
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_refused() {
    let Some(reach) = Reach::new("untrusted") else { return };
    let other = json!({"server": reach.cluster.url, "certificate-authority-data": STANDARD.encode(Authority::new().certificate)});
    for cluster in [other, json!({"server": reach.cluster.url})] {
        let why = reach.refuses(&cluster, &token());
        said(&why, &["certificate of the API server", "certificate-authority", &reach.cluster.url]);
    }
    let named = json!({"server": reach.cluster.url.replace("127.0.0.1", "localhost"),
        "certificate-authority-data": STANDARD.encode(&reach.cluster.authority.certificate)});
    let why = reach.refuses(&named, &token());
    said(&why, &["certificate of the API server", "localhost", "tls-server-name"]);
    let text = json!({"server": reach.cluster.url, "certificate-authority-data": "no base64!"});
    said(&reach.refuses(&text, &token()), &["certificate authority", "base64"]);
    let gone = json!({"server": reach.cluster.url, "certificate-authority": "gone.pem"});
    said(&reach.refuses(&gone, &token()), &["gone.pem"]);
    assert!(reach.cluster.object("/api/v1/namespaces/untrusted").is_none());
}

#[test]
fn the_name_in_the_certificate_may_be_another_than_that_of_the_address() {
    let Some(reach) = Reach::new("othername") else { return };
    let mut cluster = reach.known();
    cluster["tls-server-name"] = SERVER_NAME.into();
    reach.plans(&cluster, &token(), &[]);
    cluster["tls-server-name"] = "somebody.test".into();
    said(&reach.refuses(&cluster, &token()), &["certificate of the API server", "somebody.test"]);
}

#[test]
fn a_client_certificate_logs_in_as_data_and_as_files() {
    let Some(reach) = Reach::new("certified") else { return };
    let (certificate, key) = reach.cluster.authority.issue(PROGRAM, "system:masters", &[]);
    let data =
        json!({"client-certificate-data": STANDARD.encode(&certificate), "client-key-data": STANDARD.encode(&key)});
    reach.plans(&reach.known(), &data, &[]);
    reach.file("me/certificate.pem", &certificate);
    reach.file("me/key.pem", &key);
    let files = json!({"client-certificate": "me/certificate.pem", "client-key": "me/key.pem"});
    reach.plans(&reach.known(), &files, &[]);

    let (stranger, stranger_key) = Authority::new().issue(PROGRAM, "system:masters", &[]);
    let data = json!({"client-certificate-data": STANDARD.encode(&stranger), "client-key-data": STANDARD.encode(&stranger_key)});
    said(&reach.refuses(&reach.known(), &data), &["who you are", &reach.cluster.url]);
    let half = json!({"client-certificate": "me/certificate.pem"});
    said(&reach.refuses(&reach.known(), &half), &["client key"]);
    let mixed = json!({"client-certificate-data": STANDARD.encode(&certificate), "client-key-data": STANDARD.encode(&stranger_key)});
    said(&reach.refuses(&reach.known(), &mixed), &["key"]);
}

#[test]
fn tokens_come_from_the_kubeconfig_or_from_files() {
    let Some(reach) = Reach::new("tokens") else { return };
    reach.plans(&reach.known(), &json!({"token": format!("{PROGRAM}\n")}), &[]);
    reach.file("me/token", &format!("{PROGRAM}\n"));
    reach.plans(&reach.known(), &json!({"tokenFile": "me/token"}), &[]);
    // As in kubectl, the token itself goes before a file.
    reach.plans(&reach.known(), &json!({"token": PROGRAM, "tokenFile": "nowhere"}), &[]);

    let why = reach.refuses(&reach.known(), &json!({"token": SECRET}));
    said(&why, &["does not know who you are", &reach.cluster.url]);
    said(
        &reach.refuses(&reach.known(), &json!({"token": format!("{SECRET}\nand more")})),
        &["no token that can be sent"],
    );
    said(&reach.refuses(&reach.known(), &json!({"tokenFile": "nowhere"})), &["nowhere"]);
    reach.file("me/empty", "\n");
    said(&reach.refuses(&reach.known(), &json!({"tokenFile": "me/empty"})), &["me/empty", "it is empty"]);
    // Who is nobody may do nothing.
    said(&reach.refuses(&reach.known(), &json!({})), &["system:anonymous"]);
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_not_repeated() {
    let Some(reach) = Reach::new("unread") else { return };
    let good = config(&reach.known(), &json!({"token": SECRET}));
    for text in
        [format!("{good}]"), good.replace("\"users\":[", "\"users\":\"").replace(':', ": "), format!("users: {SECRET}")]
    {
        let file = reach.file("kubeconfig", &text);
        let ran = reach.run(&["plan", "--kube-config", &file], &[]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        said(&ran.err, &["kubeconfig"]);
    }
}

fn credential(status: &Value) -> String {
    json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}).to_string()
}

fn exec(command: &str, more: &Value) -> Value {
    let mut exec =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "IfAvailable"});
    exec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"exec": exec})
}

#[test]
fn a_command_logs_in_once_with_a_token() {
    let Some(reach) = Reach::new("loggedin") else { return };
    let said_once = credential(&json!({"token": PROGRAM, "expirationTimestamp": "2100-01-01T00:00:00Z"}));
    reach.file("credential", &said_once);
    let here = reach.home().display().to_string();
    let script = format!(
        "cd {here}; echo \"$1 $REGION\" >>runs; printf %s \"$KUBERNETES_EXEC_INFO\" >info; cat credential; echo notice >&2\n"
    );
    reach.command("bin/login", &script);
    // A path is looked for beside the kubeconfig.
    let more = json!({"args": ["get-token"], "env": [{"name": "REGION", "value": "eu"}], "provideClusterInfo": true});
    reach.plans(&reach.known(), &exec("bin/login", &more), &[]);
    assert_eq!(std::fs::read_to_string(reach.home().join("runs")).unwrap(), "get-token eu\n", "it runs once");
    let info: Value = serde_json::from_str(&std::fs::read_to_string(reach.home().join("info")).unwrap()).unwrap();
    assert_eq!(info["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(info["spec"]["interactive"], false, "nobody can be asked");
    assert_eq!(info["spec"]["cluster"], reach.known());

    // What is no longer valid is asked for again.
    reach.file("credential", &said_once.replace("2100", "2001"));
    reach.plans(&reach.known(), &exec("bin/login", &json!({})), &[]);
    let runs = std::fs::read_to_string(reach.home().join("runs")).unwrap().lines().count();
    assert!(runs > 2, "{runs}");
}

#[test]
fn who_is_not_known_any_more_logs_in_again() {
    let Some(reach) = Reach::new("knownagain") else { return };
    let token = |token: &str| credential(&json!({"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"}));
    reach.file("first", &token("withdrawn"));
    reach.file("next", &token(PROGRAM));
    let here = reach.home().display().to_string();
    reach.command("bin/login", &format!("cd {here}; echo x >>runs; cat first; cp next first\n"));
    reach.plans(&reach.known(), &exec("bin/login", &json!({})), &[]);
    assert_eq!(std::fs::read_to_string(reach.home().join("runs")).unwrap(), "x\nx\n", "once more, for all requests");
    // Who is not known then either, is not.
    reach.file("first", &token("withdrawn"));
    reach.file("next", &token("withdrawn"));
    let err = reach.refuses(&reach.known(), &exec("bin/login", &json!({})));
    said(&err, &["the API server does not know who you are"]);
}

#[test]
fn a_command_logs_in_with_a_certificate() {
    let Some(reach) = Reach::new("commandcert") else { return };
    let (certificate, key) = reach.cluster.authority.issue(PROGRAM, "system:masters", &[]);
    let status = json!({"clientCertificateData": certificate, "clientKeyData": key});
    let file = reach.file("credential", &credential(&status));
    let command = reach.command("login", &format!("echo x >>{}; cat {file}\n", reach.home().join("runs").display()));
    reach.plans(&reach.known(), &exec(&command, &json!({})), &[]);
    assert_eq!(std::fs::read_to_string(reach.home().join("runs")).unwrap(), "x\n", "it runs once");
}

#[test]
fn a_command_that_cannot_log_in_is_told_without_its_secrets() {
    let Some(reach) = Reach::new("nologin") else { return };
    let refuses = |user: &Value| reach.refuses(&reach.known(), user);
    let missing = exec("cloud-login", &json!({"installHint": "install it with: brew install cloud-login"}));
    said(&refuses(&missing), &["`cloud-login`", "brew install cloud-login", "No such file"]);

    let env = json!({"env": [{"name": "CLOUD_TOKEN", "value": SECRET}, {"name": "PROFILE", "value": "production"}]});
    let fails = reach.command("fails", "echo \"no login with $CLOUD_TOKEN in $PROFILE\" >&2; exit 3\n");
    said(&refuses(&exec(&fails, &env)), &["fails`", "exit status: 3", "no login with (hidden) in production"]);

    let unread = format!("echo '{{\"status\": {{\"token\": \"{SECRET}\"'\n");
    let half = format!("echo '{}'\n", credential(&json!({"clientKeyData": SECRET})));
    let strange = format!("echo '{}'\n", credential(&json!({"token": format!("{SECRET}\u{1}")})));
    let late = format!("echo '{}'\n", credential(&json!({"token": SECRET, "expirationTimestamp": "soon"})));
    for (script, why) in [
        ("true\n", "printed no credential that can be read"),
        (unread.as_str(), "printed no credential that can be read"),
        (half.as_str(), "without its certificate"),
        (strange.as_str(), "no token that can be sent"),
        (late.as_str(), "expirationTimestamp"),
        ("echo '{\"status\": {}}'\n", "neither a token nor a certificate"),
    ] {
        let command = reach.command("says", script);
        said(&refuses(&exec(&command, &json!({}))), &["says`", why]);
    }
    said(&refuses(&exec("true", &json!({"interactiveMode": "Always"}))), &["`true`", "stdin is no terminal"]);
}

#[test]
fn two_kubeconfigs_are_one_each_with_its_own_paths() {
    let Some(reach) = Reach::new("twofiles") else { return };
    reach.file("east/authority.pem", &reach.cluster.authority.certificate);
    reach.file("west/token", PROGRAM);
    let cluster = json!({"server": reach.cluster.url, "certificate-authority": "authority.pem"});
    let context = |user: &str| json!({"name": user, "context": {"cluster": "both", "user": user}});
    let first = json!({"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "both", "cluster": cluster}],
        "users": [{"name": "nobody", "user": {"token": "wrong"}}], "contexts": [context("nobody")], "current-context": "nobody"});
    let second = json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "me", "user": {"tokenFile": "token"}},
        {"name": "nobody", "user": {"token": PROGRAM}}], "contexts": [context("me")], "current-context": "me"});
    let files =
        [reach.file("east/config", &first.to_string()), reach.file("west/config", &second.to_string())].join(":");
    let env = [("KUBECONFIG", files.as_str())];
    let ran = reach.run(&["plan", "--exit-code", "--kube-context", "me"], &env);
    assert_eq!(ran.code, 2, "{}", ran.err);
    said(&ran.out, &[&format!("cluster me ({})", reach.cluster.url)]);
    // The first file says what is the current one, and who that is.
    let ran = reach.run(&["plan"], &env);
    assert_eq!(ran.code, 1, "{}", ran.out);
    said(&ran.err, &["cluster nobody", "who you are"]);
}

#[test]
fn one_may_act_as_somebody_else() {
    let Some(reach) = Reach::new("acting") else { return };
    let user = |groups: &[&str]| json!({"token": PROGRAM, "as": "deployer", "as-groups": groups});
    reach.plans(&reach.known(), &user(&["system:masters"]), &[]);
    let why = reach.refuses(&reach.known(), &user(&["readers"]));
    said(&why, &["deployer"]);
}

/// Connects two ends.
fn join(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// A proxy that knows one server under all names, and notes what it was asked for.
struct Through {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Through {
    /// `greet` speaks with a client, and returns what was asked for where the way is free.
    fn start(cluster: &Cluster, greet: fn(&TcpStream) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, server) = (Arc::<Mutex<Vec<String>>>::default(), cluster.url.replace("https://", ""));
        let noted = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Some(what) = greet(&client) {
                    noted.lock().unwrap().push(what);
                    join(client, TcpStream::connect(&server).unwrap());
                }
            }
        });
        Self { address, asked }
    }

    /// What it was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// HTTP CONNECT; a user `locked` is sent away.
fn connects(mut client: &TcpStream) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, client);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        head += &line;
        line.clear();
    }
    let of = |name: &str| {
        head.lines().find_map(|l| l.to_lowercase().starts_with(name).then(|| l[name.len()..].trim().to_owned()))
    };
    let user = of("proxy-authorization: basic ").map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap());
    let answer = if user.as_deref() == Some("locked:out") { "407 Proxy Authentication Required" } else { "200 OK" };
    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).ok()?;
    let what = head.split(' ').nth(1)?.to_owned();
    answer.starts_with("200").then(|| user.map_or(what.clone(), |user| format!("{what} for {user}")))
}

fn take(mut client: &TcpStream, length: u8) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

/// Takes a text with its length before it.
fn take_text(client: &TcpStream) -> Option<String> {
    let length = take(client, 1)?[0];
    String::from_utf8(take(client, length)?).ok()
}

/// SOCKS 5, with a name and a password where they are offered.
fn socks(mut client: &TcpStream) -> Option<String> {
    let count = take(client, 2)?[1];
    let mut user = String::new();
    if take(client, count)?.contains(&2) {
        client.write_all(&[5, 2]).ok()?;
        take(client, 1)?;
        user = format!(" for {}:{}", take_text(client)?, take_text(client)?);
        client.write_all(&[1, 0]).ok()?;
    } else {
        client.write_all(&[5, 0]).ok()?;
    }
    let host = match take(client, 4)?[3] {
        3 => take_text(client)?,
        _ => take(client, 4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
    };
    let port = take(client, 2)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{host}:{}{user}", u16::from_be_bytes([port[0], port[1]])))
}

#[test]
fn the_api_server_is_reached_through_proxies() {
    let Some(reach) = Reach::new("proxied") else { return };
    let (http, socks) = (Through::start(reach.cluster, connects), Through::start(reach.cluster, socks));
    // Nobody but a proxy knows this name.
    let mut cluster = reach.known();
    cluster["server"] = format!("https://{SERVER_NAME}:6443").into();
    let through = |proxy: &str| {
        let mut cluster = cluster.clone();
        cluster["proxy-url"] = proxy.into();
        cluster
    };
    let wanted = format!("{SERVER_NAME}:6443");
    reach.plans(&through(&format!("http://{}", http.address)), &token(), &[]);
    let only = |asked: &[String], wanted: &str| {
        assert!((1..=2).contains(&asked.len()) && asked.iter().all(|what| what == wanted), "{asked:?}, not {wanted}");
    };
    only(&http.asked(), &wanted);
    reach.plans(&through(&format!("http://me:p%40ss@{}", http.address)), &token(), &[]);
    only(&http.asked(), &format!("{wanted} for me:p@ss"));
    for scheme in ["socks5", "socks5h"] {
        reach.plans(&through(&format!("{scheme}://{}", socks.address)), &token(), &[]);
        only(&socks.asked(), &wanted);
    }
    reach.plans(&through(&format!("socks5://me:p%40ss@{}", socks.address)), &token(), &[]);
    only(&socks.asked(), &format!("{wanted} for me:p@ss"));

    // Of the environment, unless it is excluded.
    let proxy = http.address.as_str();
    reach.plans(&cluster, &token(), &[("HTTPS_PROXY", proxy), ("NO_PROXY", "10.0.0.0/8, .example.org,")]);
    only(&http.asked(), &wanted);
    reach.plans(&cluster, &token(), &[("https_proxy", proxy)]);
    only(&http.asked(), &wanted);
    reach.plans(&reach.known(), &token(), &[("HTTPS_PROXY", proxy)]);
    assert_eq!(http.asked(), [""; 0], "this very machine is reached without");
    let ran = reach.plan(&cluster, &token(), &[("HTTPS_PROXY", proxy), ("NO_PROXY", ".stagewright.test")]);
    assert_eq!((ran.code, http.asked().len()), (1, 0), "{}", ran.err);
}

#[test]
fn a_proxy_that_cannot_be_used_is_told() {
    let Some(reach) = Reach::new("noproxy") else { return };
    let http = Through::start(reach.cluster, connects);
    let why = |proxy: &str| {
        let mut cluster = reach.known();
        cluster["proxy-url"] = proxy.into();
        reach.refuses(&cluster, &token())
    };
    said(&why(&format!("http://locked:out@{}", http.address)), &["proxy"]);
    said(&why("ftp://127.0.0.1:21"), &["ftp://127.0.0.1:21", "http, https or socks5"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    said(&why(&format!("http://me:{SECRET}@127.0.0.1:{port}")), &["proxy"]);
    said(&why(&format!("http://me:{SECRET}@[")), &["proxy"]);
}

/// Runs the program as in a pod: the folder of the service account is put where pods have it, for this run alone.
fn in_pod(reach: &Reach, folder: &Path, args: &[&str]) -> Option<Ran> {
    let script = "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && \
        { [ /var/run -ef /run ] || mount --bind /run /var/run; } && ln -s \"$0\" /run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
    let unshared = |arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(folder).args(arguments);
        command.stdin(Stdio::null());
        command
    };
    if !unshared(&["true".as_ref()]).output().is_ok_and(|r| r.status.success()) {
        return services::skip("a namespace of mounts cannot be made");
    }
    let place = ["--target", "cluster", "--namespace", &reach.deploy.namespace, "--release", "shop"];
    let inner = reach.deploy.sandbox.command(&[args, &place].concat());
    let words: Vec<&std::ffi::OsStr> = std::iter::once(inner.get_program()).chain(inner.get_args()).collect();
    let port = reach.cluster.url.rsplit_once(':').unwrap().1;
    let mut command = unshared(&words);
    command.current_dir(reach.deploy.sandbox.project()).env_clear().env("HOME", reach.home());
    command.env("PATH", std::env::var("PATH").unwrap());
    command.envs([("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", port)]);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some(Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) })
}

#[test]
fn within_a_pod_its_service_account_is_used() {
    let Some(reach) = Reach::new("inpod") else { return };
    let cluster = reach.cluster;
    cluster.kubectl(&["create", "namespace", "inpod"]);
    cluster.kubectl(&["create", "serviceaccount", "deployer", "-n", "inpod"]);
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "inpod",
        "--clusterrole=cluster-admin",
        "--serviceaccount=inpod:deployer",
    ]);
    let address = "/api/v1/namespaces/inpod/serviceaccounts/deployer/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}).to_string();
    let (code, answer) = cluster.send(ADMIN, "POST", address, Some(("application/json", request)));
    assert_eq!(code, 201, "{answer}");
    let folder = reach.home().join("account");
    for (name, text) in [
        ("token", answer["status"]["token"].as_str().unwrap()),
        ("ca.crt", &cluster.authority.certificate),
        ("namespace", "inpod"),
    ] {
        reach.file(&format!("account/{name}"), text);
    }
    let Some(ran) = in_pod(&reach, &folder, &["apply", "--auto-approve"]) else { return };
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(reach.deploy.object("configmaps", "a").unwrap()["data"]["x"], "1");
    let Some(ran) = in_pod(&reach, &folder, &["plan", "--exit-code"]) else { return };
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    said(&ran.out, &[&format!("cluster {}", cluster.url)]);

    // An account that may do nothing, and one that is not there.
    std::fs::write(folder.join("token"), "wrong").unwrap();
    let Some(ran) = in_pod(&reach, &folder, &["plan"]) else { return };
    assert_eq!(ran.code, 1, "{}", ran.out);
    said(&ran.err, &["does not know who you are"]);
    std::fs::remove_file(folder.join("token")).unwrap();
    let Some(ran) = in_pod(&reach, &folder, &["plan"]) else { return };
    assert_eq!(ran.code, 1, "{}", ran.out);
    said(&ran.err, &["/var/run/secrets/kubernetes.io/serviceaccount/token"]);
}
