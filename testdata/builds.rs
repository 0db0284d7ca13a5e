//! Small projects that run commands, built by the native builder: what the image holds, compared with `expect.txt`.
//!
//! Each folder of `testdata/builds/` has a `Dockerfile` (with its context) or a `werf.yaml`. `busybox:test` is a root of
//! Debian's busybox with users `root` and `app`. `BLESS=1` writes `expect.txt` anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use stagewright::backend::{NativeBuilder, OciLayout};
use stagewright::digest::Sha224Digest;
use stagewright::ports::{BuildContext, Builder as _, Published, StageStore as _};
use stagewright::source::{Files, MemoryObjects, Mode, Objects};
use stagewright::stage::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, CopyStep, FilterSpec, Owner, Platform, Step, TreeSource,
    take,
};

const BUSYBOX: &str = "/bin/busybox";

/// Says why commands cannot be run here. In CI that is a failure.
pub fn cannot_run() -> Option<String> {
    let why = if !Path::new(BUSYBOX).exists() {
        Some(format!("{BUSYBOX} is missing"))
    } else if rustix::process::geteuid().as_raw() != 0 {
        Some("needs root".to_owned())
    } else {
        let probe = Command::new("unshare").args(["-mpf", "true"]).status();
        (!probe.is_ok_and(|s| s.success())).then(|| "namespaces cannot be made".to_owned())
    };
    if let Some(why) = &why {
        assert!(std::env::var_os("CI").is_none(), "{why}: in CI nothing is skipped");
        println!("skipped: {why}");
    }
    why
}

/// Stores `busybox:test`.
pub fn store_busybox(store: &OciLayout) {
    let file = |mode, bytes: &[u8]| Some((mode, bytes.to_vec()));
    let listed = Command::new(BUSYBOX).arg("--list").output().expect("busybox runs");
    let mut changes = BTreeMap::from([
        ("bin/busybox".to_owned(), file(Mode::Executable, &fs::read(BUSYBOX).unwrap())),
        (
            "etc/passwd".to_owned(),
            file(Mode::File, b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
        ),
        ("etc/group".to_owned(), file(Mode::File, b"root:x:0:\napp:x:1000:\naudio:x:29:app\n")),
        ("root/.keep".to_owned(), file(Mode::File, b"")),
        ("usr/share/base/a".to_owned(), file(Mode::File, b"a\n")),
        ("usr/share/base/b/c".to_owned(), file(Mode::File, b"c\n")),
    ]);
    for applet in String::from_utf8(listed.stdout).unwrap().lines().filter(|a| *a != "busybox") {
        changes.insert(format!("bin/{applet}"), file(Mode::Symlink, b"busybox"));
    }
    let objects = MemoryObjects::new();
    let root = objects.with_changes(None, &changes).unwrap();
    let files = Files::new(Arc::new(objects), root);
    let over = Arc::new(MemoryObjects::over(files.objects().clone()));
    let (mode, id) = take(&over, root, "", &FilterSpec::All).unwrap().unwrap();
    let tree = TreeSource { root, path: String::new(), filter: FilterSpec::All, id, mode, called: None };
    let copy = |source, to: &str, mode| {
        Step::Copy(CopyStep {
            sources: vec![source],
            to: to.into(),
            owner: Owner::default(),
            mode,
            extract: false,
            parents: false,
            link: false,
            created_by: format!("COPY … {to}"),
        })
    };
    let empty = CopySource::Inline { name: "keep".into(), content: String::new() };
    let steps = vec![
        copy(CopySource::Tree(tree), "/", None),
        copy(empty.clone(), "/tmp/", None),
        copy(empty, "/home/app/", None),
        Step::Config(ConfigChange::Cmd(vec!["sh".into()])),
    ];
    let part = BuildPart { name: "main".into(), base: Base::Scratch, arguments: BTreeMap::new(), steps };
    let request = BuildRequest::new(Platform::linux_amd64(), vec![part]);
    let objects: &Arc<dyn Objects> = files.objects();
    let built = NativeBuilder::default().build(&request, &BuildContext::new(objects, store)).unwrap();
    let digest = Sha224Digest::of_bytes(b"busybox");
    let published = store.publish(&digest, &built, &BTreeMap::new(), 1, &stagewright::ports::any).unwrap();
    let Published::Stored(stage) = published else { panic!("the stage is new") };
    store.tag("busybox:test", Some("busybox"), &stage.manifest).unwrap();
}

pub fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    command.args(identity).args(args).current_dir(dir);
    for name in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        command.env(name, "2024-01-02T03:04:05+0000");
    }
    assert!(command.status().expect("git is installed").success(), "git {args:?}");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let meta = source.symlink_metadata().unwrap();
        if meta.is_dir() {
            copy_tree(&source, &target);
        } else if meta.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else if entry.file_name() != "expect.txt" {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// A project in a repository of its own, with a store that holds `busybox:test`.
pub struct Built {
    pub dir: tempfile::TempDir,
}

impl Built {
    /// Copies a folder of `testdata/builds`.
    pub fn of(name: &str) -> Self {
        Self::of_folder(&builds().join(name))
    }

    /// Copies a folder.
    pub fn of_folder(place: &Path) -> Self {
        let built = Self { dir: tempfile::tempdir().unwrap() };
        copy_tree(place, &built.path("project"));
        built.commit();
        built
    }

    /// Begins with a Dockerfile.
    pub fn dockerfile(text: &str) -> Self {
        let built = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(built.path("project")).unwrap();
        fs::write(built.path("project/Dockerfile"), text).unwrap();
        built.commit();
        built
    }

    /// Begins with a werf.yaml and files.
    pub fn project(files: &[(&str, &str)]) -> Self {
        let built = Self { dir: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            built.write(path, text);
        }
        built.commit();
        built
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.path("project").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    pub fn git(&self, args: &[&str]) {
        git(&self.path("project"), args);
    }

    fn commit(&self) {
        let project = self.path("project");
        if !project.join("werf.yaml").exists() {
            let text = "project: builds\nconfigVersion: 1\n---\nimage: app\ndockerfile: Dockerfile\n";
            fs::write(project.join("werf.yaml"), text).unwrap();
        }
        git(&project, &["init", "-q", "-b", "main"]);
        git(&project, &["add", "-A"]);
        git(&project, &["commit", "-q", "-m", "one"]);
        store_busybox(&self.store());
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    pub fn store(&self) -> OciLayout {
        OciLayout::new(self.path("store"))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
        command.args(args).args(["--repo", &format!("oci:{}", self.path("store").display())]);
        command.current_dir(self.path("project")).env_clear().env("HOME", self.path("home")).stdin(Stdio::null());
        command.env("PATH", "/usr/bin:/bin");
        command
    }

    pub fn build(&self, args: &[&str]) -> Output {
        self.command(&[&["build"], args].concat()).output().unwrap()
    }

    /// Returns the files of the image under a tag, described.
    pub fn files(&self, tag: &str) -> BTreeMap<String, String> {
        flatten(&self.layers("org.opencontainers.image.ref.name", tag), false)
    }

    /// Returns the layers of the last manifest with an annotation in the index.
    pub fn layers(&self, annotation: &str, value: &str) -> Vec<Vec<u8>> {
        let store = self.path("store");
        let index: serde_json::Value = serde_json::from_slice(&fs::read(store.join("index.json")).unwrap()).unwrap();
        let read = |digest: &serde_json::Value| {
            let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
            fs::read(store.join("blobs/sha256").join(hex)).unwrap()
        };
        let entry = index["manifests"].as_array().unwrap().iter().rfind(|e| e["annotations"][annotation] == value);
        let entry = entry.unwrap_or_else(|| panic!("no {annotation} {value} in {index:#}"));
        let manifest: serde_json::Value = serde_json::from_slice(&read(&entry["digest"])).unwrap();
        manifest["layers"].as_array().unwrap().iter().map(|l| read(&l["digest"])).collect()
    }

    /// Lists what the image has over its base.
    pub fn list(&self) -> String {
        let titled = |title: &str| flatten(&self.layers("org.opencontainers.image.title", title), true);
        let (base, image) = (titled("busybox"), titled("app"));
        let mut lines: Vec<String> =
            image.iter().filter(|(p, l)| base.get(*p) != Some(l)).map(|(p, l)| format!("{p} {l}")).collect();
        let gone = |p: &str| base.contains_key(p) && !image.contains_key(p);
        let topmost = |p: &&String| gone(p) && !p.rsplit_once('/').is_some_and(|(parent, _)| gone(parent));
        lines.extend(base.keys().filter(topmost).map(|p| format!("{p} removed")));
        lines.sort();
        lines.join("\n") + "\n"
    }
}

/// Lays layers over each other; ours have no times.
fn flatten(layers: &[Vec<u8>], is_ours: bool) -> BTreeMap<String, String> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for layer in layers {
        let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layer[..]));
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        let mut gone = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(name) = name.strip_prefix(".wh.") {
                gone.push(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") });
                continue;
            }
            let header = entry.header().clone();
            assert!(!is_ours || header.mtime().unwrap() == 0, "{path}");
            let owner = format!("{:o} {}:{}", header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
            let kind = header.entry_type();
            let link = || entry.link_name().unwrap().unwrap().to_str().unwrap().to_owned();
            let what = if kind.is_dir() {
                format!("d {owner}")
            } else if kind.is_symlink() {
                format!("l {owner} -> {}", link())
            } else if kind.is_hard_link() {
                format!("h {owner} = {}", link())
            } else if kind.is_file() {
                let xattrs = entry.pax_extensions().unwrap().into_iter().flatten().map(|e| e.unwrap());
                let names: Vec<String> = xattrs
                    .filter_map(|e| e.key().unwrap().strip_prefix("SCHILY.xattr.").map(|k| format!(" [{k}]")))
                    .collect();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                let text = String::from_utf8(bytes.clone()).ok().filter(|t| t.len() < 200);
                let content = text.map_or_else(|| hex::encode(Sha256::digest(&bytes)), |t| format!("{t:?}"));
                format!("f {owner}{} {content}", names.concat())
            } else {
                let number = |n: std::io::Result<Option<u32>>| n.unwrap().unwrap_or(0);
                let device = (number(header.device_major()), number(header.device_minor()));
                format!("{kind:?} {owner} {device:?}")
            };
            own.insert(path, what);
        }
        for path in gone {
            let below = format!("{path}/");
            seen.retain(|p, _| *p != path && !p.starts_with(&below));
        }
        for (path, what) in own {
            if !what.starts_with('d') {
                let below = format!("{path}/");
                seen.retain(|p, _| !p.starts_with(&below));
            }
            seen.insert(path, what);
        }
    }
    seen
}

fn builds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/builds")
}

/// Builds all folders of `testdata/builds` and compares; `command` makes the command line of a build.
fn compare_all(without: &[&str], command: impl Fn(&Built) -> Command) {
    let mut names: Vec<String> =
        fs::read_dir(builds()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    for name in names.iter().filter(|n| n.contains(&only) && !without.contains(&n.as_str())) {
        let built = Built::of(name);
        let told = command(&built).output().unwrap();
        let listed = if told.status.success() {
            built.list()
        } else {
            failures.push(format!("{name}: {}", String::from_utf8_lossy(&told.stderr)));
            continue;
        };
        assert_eq!(fs::read_dir(built.path("home/.cache/stagewright/native/runs")).map_or(0, Iterator::count), 0);
        let expect = builds().join(name).join("expect.txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expect, &listed).unwrap();
        }
        let expected = fs::read_to_string(&expect).unwrap_or_default();
        if expected != listed {
            failures.push(format!("{name}: expected\n{expected}got\n{listed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn images_hold_what_their_commands_made() {
    if cannot_run().is_none() {
        compare_all(&[], |built| built.command(&["build"]));
    }
}

#[test]
fn without_overlayfs_images_hold_the_same() {
    if cannot_run().is_none() {
        compare_all(&[], |built| {
            let mut command = built.command(&["build"]);
            command.env("STAGEWRIGHT_OVERLAYFS", "off");
            command
        });
    }
}

/// Returns the command line of a build by a user who is not root; with `ranges`, that user has 65,536 further numbers.
fn unprivileged(built: &Built, ranges: bool) -> Command {
    let program = built.path("stagewright");
    if fs::hard_link(env!("CARGO_BIN_EXE_stagewright"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_stagewright"), &program).unwrap();
    }
    fs::write(built.path("ranges"), "nobody:100000:65536\n").unwrap();
    fs::create_dir_all(built.path("home")).unwrap();
    for folder in ["project", "store", "home"] {
        assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(built.path(folder)).status().unwrap().success());
    }
    fs::set_permissions(built.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = String::from("set -e\n");
    for file in ["/etc/subuid", "/etc/subgid"] {
        let other = if ranges { built.path("ranges") } else { PathBuf::from("/dev/null") };
        script += &format!("if test -e {file}; then mount --bind {} {file}; fi\n", other.display());
    }
    script += "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).arg(&program).args(["build", "--repo"]);
    command.arg(format!("oci:{}", built.path("store").display()));
    command.current_dir(built.path("project")).env_clear().env("HOME", built.path("home")).stdin(Stdio::null());
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[test]
fn a_user_with_ranges_builds_the_same_images_as_root() {
    let has_ranges = Path::new("/usr/bin/newuidmap").exists() && Path::new("/etc/subuid").exists();
    if cannot_run().is_none() && has_ranges {
        // Nobody but root can make devices.
        compare_all(&["run-links-and-devices"], |built| unprivileged(built, true));
    }
}

#[test]
fn a_user_without_ranges_builds_as_root_alone_and_owners_stay() {
    if cannot_run().is_some() {
        return;
    }
    let text = "FROM busybox:test\nRUN echo 1 > /base && mkdir /d && echo 1 > /d/kept\n\
                COPY --chown=app Dockerfile /d/mine\nRUN id -u > /who && echo >> /d/mine && rm /base\n";
    for overlay in ["on", "off"] {
        let built = Built::dockerfile(text);
        let told = unprivileged(&built, false).env("STAGEWRIGHT_OVERLAYFS", overlay).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let listed = built.list();
        assert!(listed.contains("d/mine f 644 1000:1000") && listed.contains("who f 644 0:0 \"0\\n\""), "{listed}");
        assert!(listed.contains("d/kept f 644 0:0") && !listed.contains("base f"), "{listed}");
    }
    let told = unprivileged(&Built::dockerfile("FROM busybox:test\nUSER app\nRUN true\n"), false).output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && text.contains("/etc/subuid"), "{text}");
}

fn processes_with(word: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let named =
        |path: PathBuf| fs::read(path.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(word));
    entries.filter(|e| named(e.path())).count()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let from = std::time::Instant::now();
    while !holds() {
        assert!(from.elapsed().as_secs() < 20, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn mounts_below(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    fs::read_to_string("/proc/self/mounts").unwrap().lines().filter(|l| l.contains(path)).count()
}

#[test]
fn a_killed_build_leaves_no_process_and_no_mount_and_the_next_one_works() {
    if cannot_run().is_some() {
        return;
    }
    let word = format!("31{}", std::process::id());
    let built = Built::dockerfile(&format!(
        "FROM busybox:test\nRUN echo 1 > /one; if ! test -e /tmp/now; then sleep {word} & sleep {word}; fi\n"
    ));
    for signal in ["-9", "-9", "-INT"] {
        let mut child = built.command(&["build"]).stderr(Stdio::null()).spawn().unwrap();
        until("the command runs", || processes_with(&word) >= 2);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        until("no process is left", || processes_with(&word) == 0);
        assert_eq!(mounts_below(built.dir.path()), 0);
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130));
        }
    }
    let runs = built.path("home/.cache/stagewright/native/runs");
    fs::write(built.path("project/Dockerfile"), "FROM busybox:test\nRUN echo 1 > /one\n").unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    let told = built.build(&[]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(built.list(), "one f 644 0:0 \"1\\n\"\n");
    assert_eq!(fs::read_dir(runs).unwrap().count(), 0);
}

#[test]
fn a_failed_command_is_told_with_its_place_its_status_and_its_last_lines() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::dockerfile("FROM busybox:test\n\nRUN echo before; seq 100; echo oh >&2; exit 7\n");
    let told = built.build(&[]);
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1), "{text}");
    assert!(text.contains("app/dockerfile │ before\n"), "{text}");
    let failure = text.split("failed to build").nth(1).unwrap();
    assert!(failure.contains("`RUN echo before; seq 100; echo oh >&2; exit 7`"), "{text}");
    assert!(failure.contains("\n  --> Dockerfile:3\n"), "{text}");
    assert!(failure.contains("exit status 7") && failure.contains("│ 100\n"), "{text}");
    assert!(!failure.contains("│ 50\n"), "{text}");
    let missing = Built::dockerfile("FROM busybox:test\nRUN [\"nothing\"]\n").build(&[]);
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("start `nothing`: No such file"), "{text}");
}

#[test]
fn secrets_are_masked_and_reach_no_file() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::of("mount-secret");
    let dockerfile = "FROM busybox:test\nRUN --mount=type=secret,id=token echo \"it is $(cat /run/secrets/token).\"\n";
    fs::write(built.path("project/Dockerfile"), dockerfile).unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    let told = built.build(&[]);
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.success() && text.contains("it is ***."), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    for folder in ["store", "home"] {
        let found = Command::new("grep").args(["-ra", "s3cr3t"]).arg(built.path(folder)).output().unwrap();
        assert!(!found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
    }
}

/// The command of one builder is held for as long as the other needs to build all of it.
#[test]
fn nobody_waits_for_a_slower_builder_and_the_first_to_finish_wins() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::project(&[
        (
            "werf.yaml",
            "project: builds\nconfigVersion: 1\n---\nimage: app\ndockerfile: Dockerfile\nnetwork: host\nsecrets:\n- {id: gate, env: GATE}\n",
        ),
        ("werf-giterminism.yaml", "giterminismConfigVersion: 1\nconfig:\n  secrets:\n    allowEnvVariables: [GATE]\n"),
        (
            "Dockerfile",
            "FROM busybox:test\nRUN --mount=type=secret,id=gate port=$(cat /run/secrets/gate); test $port = 0 || nc 127.0.0.1 $port; echo done > /done\n",
        ),
    ]);
    let gate = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    gate.set_nonblocking(true).unwrap();
    let port = gate.local_addr().unwrap().port().to_string();
    let mut slow = built.command(&["build"]);
    slow.env("GATE", port).env("HOME", built.path("another-home")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut slow = slow.spawn().unwrap();
    let held = loop {
        if let Ok((held, _)) = gate.accept() {
            break held;
        }
        assert!(slow.try_wait().unwrap().is_none(), "{slow:?} ended before its command ran");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let fast = built.command(&["build"]).env("GATE", "0").output().unwrap();
    assert!(fast.status.success(), "{}", String::from_utf8_lossy(&fast.stderr));
    assert!(slow.try_wait().unwrap().is_none(), "it still runs its command");
    drop(held);
    let slow = slow.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&slow.stderr);
    assert!(slow.status.success() && told.contains("stored by somebody else"), "{told}");
    assert!(!String::from_utf8_lossy(&fast.stderr).contains("stored by somebody else"));
}

#[test]
fn equal_commands_give_equal_layers() {
    if cannot_run().is_some() {
        return;
    }
    let text =
        "FROM busybox:test\nRUN mkdir /d && for i in 3 1 2; do echo $i > /d/$i; done && ln /d/1 /d/0 && rm -r /usr\n";
    let layers = |built: &Built| {
        assert!(built.build(&[]).status.success());
        let mut names: Vec<_> =
            fs::read_dir(built.path("store/blobs/sha256")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (one, two) = (Built::dockerfile(text), Built::dockerfile(text));
    let (one, two) = (layers(&one), layers(&two));
    assert!(one.iter().filter(|n| two.contains(n)).count() >= one.len() - 2, "{one:?} {two:?}");
}

#[test]
fn caches_are_bounded_listed_and_emptied() {
    if cannot_run().is_some() {
        return;
    }
    let built = Built::dockerfile("FROM busybox:test\nRUN echo 1 > /one\n");
    let native = built.path("home/.cache/stagewright/native");
    let layers = || fs::read_dir(native.join("layers")).map_or(0, Iterator::count);
    assert!(built.build(&["--cache-limit", "0"]).status.success());
    assert_eq!((native.exists(), layers()), (true, 0));
    fs::write(built.path("project/Dockerfile"), "FROM busybox:test\nRUN echo 2 > /two\n").unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    assert!(built.build(&[]).status.success());
    assert!(layers() > 0 && layers() % 2 == 0, "each layer has its mark");
    let cache = |word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
        let ran = command.args(["cache", word]).env_clear().env("HOME", built.path("home")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
    };
    let listed = cache("list");
    assert!(listed.contains(&format!("MB  {}", native.display())) && listed.ends_with("in all\n"), "{listed}");
    assert!(cache("clear").starts_with("Freed "), "{listed}");
    assert!(!native.exists());
    assert_eq!(cache("list"), "       0 B  in all\n");
}
