//! Real services for tests: a registry, a Docker Engine and a Kubernetes control plane, started at the first use, once a process.
//!
//! What lives here: starting and stopping them. What does not: what is tested on them.
//!
//! The one idea: each service is the child of a shell that reads a pipe whose other end this process holds. However
//! this process ends, the pipe closes, and the shell stops the service and removes its folder.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a service may take until it answers.
const START: Duration = Duration::from_mins(1);

/// Starts `"$@"`, and ends it when nobody holds the pipe any more; `$0` is the folder that goes with it.
const WATCH: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
service=$!
cat <&3 >/dev/null &
reader=$!
(while kill -0 $service; do sleep 0.2; done 2>/dev/null; kill $reader) 3<&- 2>/dev/null &
wait $reader
kill $service 2>/dev/null
for _ in $(seq 100); do kill -0 $service 2>/dev/null || break; sleep 0.1; done
kill -9 $service 2>/dev/null
wait
grep -o " $0/[^ ]*" /proc/self/mounts 2>/dev/null | sort -r | while read -r place; do umount -l "$place"; done
rm -rf "$0"
"#;

/// A service, its folder, and the pipe that keeps it alive.
struct Service {
    watcher: Child,
    pipe: Option<ChildStdin>,
    dir: PathBuf,
}

impl Service {
    fn new_dir() -> PathBuf {
        tempfile::Builder::new().prefix("stagewright-").tempdir().unwrap().keep()
    }

    fn start(dir: &Path, program: &str, args: &[String]) -> Self {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut watcher = Command::new("sh")
            .args(["-c", WATCH])
            .arg(dir)
            .arg(program)
            .args(args)
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // An interrupt from the keyboard is for us; the pipe tells the shell.
            .process_group(0)
            .spawn()
            .unwrap();
        let pipe = watcher.stdin.take();
        Self { watcher, pipe, dir: dir.to_owned() }
    }

    /// Waits until the service answers; `false` when it ended before.
    fn wait_for(&mut self, answers: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < START {
            if answers() {
                return true;
            }
            if self.watcher.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.watcher.wait();
    }
}

/// Daemons may lie where the path of a user does not look.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Notes what is skipped and why; where `CI=true` that is a failure.
pub fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}; see scripts/test-tools.sh");
    println!("skipped: {why}");
    None
}

/// A registry on a free port of 127.0.0.1.
pub struct Registry {
    service: Service,
    /// `127.0.0.1:PORT`
    pub address: String,
    /// The user and the password it asks for.
    pub login: Option<(&'static str, &'static str)>,
}

impl Registry {
    /// Returns the registry that tests of this process share: each uses repositories of its own.
    /// `None` (and a note) when it is not installed, which is a failure where `CI=true`.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Registry>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(None)).as_ref()
    }

    /// Returns the shared registry that asks for a user.
    pub fn with_login() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Registry>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Some(("me", "s3cret")))).as_ref()
    }

    /// Starts a registry of one's own, which stops when it is dropped.
    pub fn start(login: Option<(&'static str, &'static str)>) -> Option<Self> {
        if find("docker-registry").is_none() {
            return skip("docker-registry is not installed");
        }
        let mut log = String::new();
        // Somebody else may take the port between our look and its start.
        for _ in 0..5 {
            let dir = Service::new_dir();
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let mut config = format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: {address:?}}}\n",
                dir.join("data").display()
            );
            if let Some((user, password)) = login {
                let hash = bcrypt::hash(password, 4).unwrap().replace("$2b$", "$2y$");
                std::fs::write(dir.join("users"), format!("{user}:{hash}\n")).unwrap();
                config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", dir.join("users").display());
            }
            let file = dir.join("config.yml");
            std::fs::write(&file, config).unwrap();
            let mut service =
                Service::start(&dir, "docker-registry", &["serve".to_owned(), file.display().to_string()]);
            if service.wait_for(|| std::net::TcpStream::connect(&address).is_ok()) {
                return Some(Self { service, address, login });
            }
            log = service.log();
        }
        panic!("the registry does not answer: {log}")
    }

    /// Where it keeps its blobs and links.
    pub fn data(&self) -> PathBuf {
        self.service.dir.join("data/docker/registry/v2")
    }

    /// What `docker login` would have written, for `config.json`.
    pub fn docker_config(&self) -> String {
        use base64::Engine as _;
        let auths = self.login.map(|(user, password)| {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("{:?}: {{\"auth\": {auth:?}}}", self.address)
        });
        format!("{{\"auths\": {{{}}}}}", auths.unwrap_or_default())
    }
}

/// A Docker Engine with data, socket and containers of its own.
pub struct Docker {
    service: Service,
}

/// The image that is there from the start: a static busybox with links for all its applets.
pub const BUSYBOX: &str = "stagewright-test/busybox:1";

impl Docker {
    /// Returns the engine that tests of this process share: each uses names of its own.
    /// `None` (and a note) when it cannot be had, which is a failure where `CI=true`.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Docker>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Starts an engine of one's own, which stops when it is dropped.
    pub fn own() -> Option<Self> {
        Self::start()
    }

    fn start() -> Option<Self> {
        for program in ["dockerd", "docker", "busybox"] {
            if find(program).is_none() {
                return skip(&format!("{program} is not installed"));
            }
        }
        if rustix::process::geteuid().as_raw() != 0 {
            return skip("a Docker Engine of our own needs root");
        }
        let mut log = String::new();
        for driver in ["overlay2", "vfs"] {
            let dir = Service::new_dir();
            let place = |name: &str| dir.join(name).display().to_string();
            let args = [
                ("--data-root", place("data")),
                ("--exec-root", place("exec")),
                ("--pidfile", place("pid")),
                ("--host", format!("unix://{}", place("sock"))),
                ("--storage-driver", driver.to_owned()),
                ("--bridge", "none".to_owned()),
                ("--iptables", "false".to_owned()),
                ("--ip6tables", "false".to_owned()),
                // Settings of the machine do not count.
                ("--config-file", place("daemon.json")),
            ];
            std::fs::write(dir.join("daemon.json"), "{}").unwrap();
            let args: Vec<String> = args.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let docker = Self { service: Service::start(&dir, "dockerd", &args) };
            let mut docker = docker;
            let host = docker.host();
            let answers = || docker_command(&host, &["version"]).output().is_ok_and(|ran| ran.status.success());
            if docker.service.wait_for(answers) {
                docker.import_busybox();
                return Some(docker);
            }
            log = docker.service.log();
        }
        let last = log.lines().last().unwrap_or_default();
        skip(&format!("dockerd does not start here: {last}"))
    }

    /// `unix://…`, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.service.dir.join("sock").display())
    }

    /// Returns the command line client, speaking to this engine.
    pub fn command(&self, args: &[&str]) -> Command {
        docker_command(&self.host(), args)
    }

    /// Runs the client and returns what it printed; it must succeed.
    pub fn run(&self, args: &[&str]) -> String {
        let ran = self.command(args).output().unwrap();
        assert!(ran.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    fn import_busybox(&self) {
        let busybox = find("busybox").unwrap();
        let applets = Command::new(&busybox).arg("--list").output().unwrap().stdout;
        let archive = self.service.dir.join("busybox.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
        let header = |kind: tar::EntryType, mode: u32, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(size);
            header
        };
        for (name, mode) in [("bin/", 0o755), ("etc/", 0o755), ("root/", 0o700), ("tmp/", 0o1777), ("var/", 0o755)] {
            tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), name, &[][..]).unwrap();
        }
        for (name, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ] {
            tar.append_data(&mut header(tar::EntryType::Regular, 0o644, text.len() as u64), name, text.as_bytes())
                .unwrap();
        }
        let program = std::fs::read(&busybox).unwrap();
        tar.append_data(
            &mut header(tar::EntryType::Regular, 0o755, program.len() as u64),
            "bin/busybox",
            program.as_slice(),
        )
        .unwrap();
        for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
            tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), format!("bin/{applet}"), "busybox")
                .unwrap();
        }
        tar.into_inner().unwrap();
        let change = ["import", "--change", "CMD [\"sh\"]", "--change", "ENV PATH=/bin"];
        self.run(&[&change[..], &[archive.to_str().unwrap(), BUSYBOX]].concat());
    }
}

/// A Kubernetes control plane: etcd, API server, controller manager, scheduler, and a kubelet that runs nothing.
pub struct Cluster {
    /// The API server first; its folder holds what they share.
    services: Vec<Service>,
    /// Where the API server listens.
    pub url: String,
    /// Who vouches for it, and for users that come with a certificate.
    pub authority: Authority,
}

/// The name of the API server in its certificate, besides the address of this machine.
pub const SERVER_NAME: &str = "api.stagewright.test";

/// One who vouches for certificates.
pub struct Authority {
    pub certificate: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Makes a certificate and its key for a server with names, or for a user of a group.
    pub fn issue(&self, name: &str, group: &str, names: &[&str]) -> (String, String) {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The user that tests are, and the user that the program is: audits tell them apart.
pub const ADMIN: &str = "admin";
pub const PROGRAM: &str = "stagewright";

impl Cluster {
    /// Returns the cluster that tests of this process share: each uses namespaces of its own.
    /// `None` (and a note) when it cannot be had, which is a failure where `CI=true`.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The folder of the programs, see scripts/test-cluster.sh.
    fn programs() -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let caches = || set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap_or_default().join(".cache"));
        set("STAGEWRIGHT_TEST_KUBERNETES").unwrap_or_else(|| caches().join("stagewright-test/kubernetes-1.20.2"))
    }

    fn start() -> Option<Self> {
        let programs = Self::programs();
        let program = |name: &str| programs.join(name).display().to_string();
        for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubemark", "reflect2-1.0.2"] {
            if !programs.join(name).is_file() {
                return skip(&format!(
                    "there is no {name} in {}; scripts/test-cluster.sh brings it",
                    programs.display()
                ));
            }
        }
        for name in ["etcd", "kubectl"] {
            if find(name).is_none() {
                return skip(&format!("{name} is not installed; scripts/test-cluster.sh brings it"));
            }
        }
        let [client, peer, api, manager, scheduler, kubelet, read_only] = free_ports();
        let start = |name: &str, dir: &Path, args: &[(&str, String)]| {
            let args: Vec<String> = args.iter().map(|(name, value)| format!("--{name}={value}")).collect();
            Service::start(dir, name, &args)
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");

        let dir = Service::new_dir();
        let etcd = start(
            "etcd",
            &dir,
            &[
                ("data-dir", dir.join("data").display().to_string()),
                ("listen-client-urls", url(client)),
                ("advertise-client-urls", url(client)),
                ("listen-peer-urls", url(peer)),
                ("initial-advertise-peer-urls", url(peer)),
                ("initial-cluster", format!("default={}", url(peer))),
                ("unsafe-no-fsync", "true".into()),
            ],
        );

        let dir = Service::new_dir();
        let place = |name: &str| dir.join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("tokens", &format!("{ADMIN},{ADMIN},1,system:masters\n{PROGRAM},{PROGRAM},2,system:masters\n"));
        let key = rcgen::KeyPair::generate().unwrap();
        write("key", &key.serialize_pem());
        write("public-key", &key.public_key_pem());
        let authority = Authority::new();
        let (certificate, key) = authority.issue(SERVER_NAME, "servers", &["127.0.0.1", SERVER_NAME]);
        write("authority", &authority.certificate);
        write("certificate", &certificate);
        write("certificate-key", &key);
        write(
            "policy",
            &format!(
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{{level: Metadata, users: [{PROGRAM}]}}, {{level: None}}]\n"
            ),
        );
        for user in [ADMIN, PROGRAM] {
            write(
                &format!("{user}.kubeconfig"),
                &format!(
                    "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{api}', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: {user}, user: {{token: {user}}}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: {user}}}}}]\n"
                ),
            );
        }
        let server = start(
            &program("kube-apiserver"),
            &dir,
            &[
                ("etcd-servers", url(client)),
                ("bind-address", "127.0.0.1".into()),
                ("advertise-address", "127.0.0.1".into()),
                ("secure-port", api.to_string()),
                ("insecure-port", "0".into()),
                ("tls-cert-file", place("certificate")),
                ("tls-private-key-file", place("certificate-key")),
                ("client-ca-file", place("authority")),
                ("token-auth-file", place("tokens")),
                ("authorization-mode", "RBAC".into()),
                ("service-account-issuer", "https://kubernetes.default.svc".into()),
                ("service-account-key-file", place("public-key")),
                ("service-account-signing-key-file", place("key")),
                ("disable-admission-plugins", "ServiceAccount".into()),
                ("service-cluster-ip-range", "10.96.0.0/16".into()),
                ("endpoint-reconciler-type", "none".into()),
                ("audit-policy-file", place("policy")),
                ("audit-log-path", place("audit")),
            ],
        );
        let mut cluster = Self { services: vec![server, etcd], url: format!("https://127.0.0.1:{api}"), authority };
        let admin = cluster.admin();
        let answers =
            || kubectl_command(&admin, &["get", "--raw", "/readyz"]).output().is_ok_and(|r| r.status.success());
        let ready = cluster.services.first_mut().unwrap().wait_for(answers);
        assert!(ready, "the API server does not answer: {}", cluster.log());

        let config = admin.display().to_string();
        let common = |port: u16, dir: &Path| {
            [
                ("kubeconfig", config.clone()),
                ("leader-elect", "false".to_owned()),
                ("bind-address", "127.0.0.1".to_owned()),
                ("port", "0".to_owned()),
                ("secure-port", port.to_string()),
                ("cert-dir", dir.join("certificates").display().to_string()),
            ]
        };
        let dir = Service::new_dir();
        let key = cluster.file("key").display().to_string();
        let own = [
            ("service-account-private-key-file", key),
            // Pods of nodes that are none stay: tests play their kubelets.
            ("controllers", "*,-nodeipam,-cloud-node-lifecycle,-service,-route,-podgc".to_owned()),
        ];
        let args = [&common(manager, &dir)[..], &own[..]].concat();
        cluster.services.push(start(&program("kube-controller-manager"), &dir, &args));
        let dir = Service::new_dir();
        cluster.services.push(start(&program("kube-scheduler"), &dir, &common(scheduler, &dir)));
        let dir = Service::new_dir();
        let args = [
            ("morph", "kubelet".to_owned()),
            ("name", "hollow-1".to_owned()),
            ("kubeconfig", config.clone()),
            ("kubelet-port", kubelet.to_string()),
            ("kubelet-read-only-port", read_only.to_string()),
        ];
        cluster.services.push(start(&program("kubemark"), &dir, &args));
        Some(cluster)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.services.first().unwrap().dir.join(name)
    }

    fn log(&self) -> String {
        let logs: Vec<String> = self.services.iter().map(Service::log).collect();
        logs.iter().flat_map(|log| log.lines().rev().take(10)).collect::<Vec<_>>().join("\n")
    }

    /// The kubeconfig of the program that is tested.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file(&format!("{PROGRAM}.kubeconfig"))
    }

    /// The kubeconfig of somebody else.
    pub fn admin(&self) -> PathBuf {
        self.file(&format!("{ADMIN}.kubeconfig"))
    }

    /// Sends a request as somebody else than the program, and returns the answer; it must succeed.
    pub fn call(&self, method: &str, address: &str, body: Option<(&str, String)>) -> serde_json::Value {
        let (code, answer) = self.send(ADMIN, method, address, body);
        assert!(code < 300, "{method} {address}: {code} {answer}");
        answer
    }

    /// Reads an object; `None` where there is none.
    pub fn object(&self, address: &str) -> Option<serde_json::Value> {
        let (code, answer) = self.send(ADMIN, "GET", address, None);
        assert!(code < 300 || code == 404, "GET {address}: {code} {answer}");
        (code < 300).then_some(answer)
    }

    /// Sends a request as a user, and returns the code and the answer.
    pub fn send(
        &self,
        user: &str,
        method: &str,
        address: &str,
        body: Option<(&str, String)>,
    ) -> (u16, serde_json::Value) {
        let (code, text) = self.send_as(user, method, address, body, "application/json");
        (code, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// As `send`, with the answer as it came, in a form of one's choice.
    pub fn send_as(
        &self,
        user: &str,
        method: &str,
        address: &str,
        body: Option<(&str, String)>,
        accept: &str,
    ) -> (u16, String) {
        static CLIENT: OnceLock<(tokio::runtime::Runtime, reqwest::Client)> = OnceLock::new();
        let (runtime, client) = CLIENT.get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder()
                .tls_danger_accept_invalid_certs(true)
                .user_agent("kubectl-edit")
                .build()
                .unwrap();
            (tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(), client)
        });
        let mut request = client.request(method.parse().unwrap(), format!("{}{address}", self.url)).bearer_auth(user);
        request = request.header("Accept", accept);
        if let Some((kind, body)) = body {
            request = request.header("Content-Type", kind).body(body);
        }
        runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// Runs kubectl as somebody else than the program, and returns what it printed; it must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let ran = kubectl_command(&self.admin(), args).output().unwrap();
        assert!(ran.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    /// Reads an object, or a list of them.
    pub fn get(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], args].concat())).unwrap()
    }

    /// Returns what the program wrote to the API server so far, by the server's own account: verb and address.
    pub fn writes(&self) -> Vec<(String, String)> {
        let log = std::fs::read_to_string(self.file("audit")).unwrap_or_default();
        // Most are reads, and of no interest.
        let writes = log.lines().filter(|line| !READS.iter().any(|read| line.contains(read)));
        audited(writes)
    }

    /// What the program read at addresses with this part, in the order of the answers: verb and address.
    pub fn reads(&self, part: &str) -> Vec<(String, String)> {
        let log = std::fs::read_to_string(self.file("audit")).unwrap_or_default();
        audited(log.lines().filter(|line| line.contains(part) && READS.iter().any(|read| line.contains(read))))
    }
}

/// How lines of the audit log show that nothing is changed.
const READS: [&str; 4] = [r#""verb":"get""#, r#""verb":"list""#, r#""verb":"watch""#, "dryRun=All"];

/// Reads lines of the audit log that tell of the program: verb and address.
fn audited<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let events = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // What is refused since somebody else wrote in between is no write.
    let is_ours =
        |event: &serde_json::Value| event["user"]["username"] == PROGRAM && event["responseStatus"]["code"] != 409;
    let ours = events.filter(is_ours);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    ours.map(|event| (text(&event["verb"]), text(&event["requestURI"]))).collect()
}

fn kubectl_command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.args(args).env("PATH", path()).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    // Answers of discovery are kept in the home of the user otherwise.
    command.arg("--cache-dir").arg(kubeconfig.with_file_name("kubectl"));
    command
}

/// Ports that nobody listens on, all at once, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
    ports.try_into().unwrap()
}

#[test]
fn a_deployment_in_the_cluster_becomes_ready() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.kubectl(&["create", "namespace", "ready"]);
    cluster.kubectl(&["create", "deployment", "web", "--image=example/web:1", "--replicas=2", "-n", "ready"]);
    cluster.kubectl(&["wait", "--for=condition=Available", "deployment/web", "-n", "ready", "--timeout=90s"]);
    assert_eq!(cluster.get(&["deployment", "web", "-n", "ready"])["status"]["readyReplicas"], 2);
}

fn docker_command(host: &str, args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(args).env("PATH", path()).env("DOCKER_HOST", host).env("DOCKER_CONFIG", "/nonexistent");
    command.env_remove("DOCKER_CONTEXT").stdin(Stdio::null());
    command
}

#[test]
fn a_docker_engine_builds_and_runs() {
    let Some(docker) = Docker::shared() else { return };
    let out = docker.run(&["run", "--rm", "--network=none", BUSYBOX, "sh", "-c", "echo $((6 * 7)); id -u"]);
    assert_eq!(out, "42\n0");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), format!("FROM {BUSYBOX}\nRUN echo built >/etc/built\n")).unwrap();
    let build = ["build", "--network=none", "-t", "stagewright-test/built:1", dir.path().to_str().unwrap()];
    docker.run(&build);
    assert_eq!(
        docker.run(&["run", "--rm", "--network=none", "stagewright-test/built:1", "cat", "/etc/built"]),
        "built"
    );
}

#[test]
fn a_registry_asks_for_its_user() {
    let (Some(open), Some(closed)) = (Registry::shared(), Registry::with_login()) else { return };
    let status = |address: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((status(&open.address), status(&closed.address)), ("200".to_owned(), "401".to_owned()));
    assert!(open.data().parent().is_some() && closed.docker_config().contains("bWU6czNjcmV0"));
}
