//! The builders `native` and `docker` over the same projects: the images must have equal files and configuration.
//!
//! The cases are those of `testdata/equal/cases.txt` and the folders of `testdata/builds/`. Times of files are not
//! compared: those that the engine makes are of the day.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::builds::{Built, cannot_run};
use super::services::Docker;

/// Mount points of commands: where the image has none, Docker 20.10 leaves an empty directory.
const MOUNT_POINTS: [&str; 20] = [
    "dev",
    "proc",
    "sys",
    "etc",
    "ctx",
    "tools",
    "cache",
    "tmp/x",
    "in",
    "c",
    "var",
    "var/cache",
    "var/cache/x",
    "opt",
    "opt/t",
    "base",
    "tmpdir",
    "cache/dir",
    "run",
    "run/secrets",
];
/// Cases of `testdata/builds` that tell about the builder itself.
const OWN: [(&str, &str); 6] = [
    ("builds/ansible-modules", "the native builder runs tasks of Ansible"),
    ("builds/ansible-raw", "the native builder runs tasks of Ansible"),
    ("builds/isolation", "what a command sees of the machine"),
    ("builds/mount-bind-context", "lists the root, in which Docker 20.10 leaves mount points"),
    (
        "builds/mount-bind-from",
        "Docker 20.10 lets a command write into a mounted image, though it is mounted read-only",
    ),
    ("builds/mount-cache", "looks for mount points, which Docker 20.10 leaves"),
];

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// An archive with what archives hold.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, mode, size: usize, owner| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_uid(owner);
        header.set_gid(owner);
        header
    };
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    tar.append_data(&mut header(Directory, 0o750, 0, 11), "dir/", &[][..]).unwrap();
    tar.append_data(&mut header(Regular, 0o640, 2, 11), "dir/in", &b"in"[..]).unwrap();
    tar.append_data(&mut header(Regular, 0o4755, 4, 12), "file", &b"file"[..]).unwrap();
    tar.append_data(&mut header(Regular, 0o644, 1, 0), "implied/deep", &b"x"[..]).unwrap();
    tar.append_link(&mut header(Symlink, 0o777, 0, 12), "sym", "dir/in").unwrap();
    tar.append_link(&mut header(Link, 0o4755, 0, 12), "hard", "file").unwrap();
    tar.into_inner().unwrap()
}

fn compressed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Reads the cases: names and their files.
fn cases() -> Vec<(String, PathBuf, tempfile::TempDir)> {
    let text = fs::read_to_string(testdata().join("equal/cases.txt")).unwrap();
    let mut cases = Vec::new();
    for case in format!("\n{text}").split("\n=== ").skip(1) {
        let (name, files) = case.split_once('\n').unwrap();
        let dir = tempfile::tempdir().unwrap();
        for file in format!("\n{files}").trim_end().split("\n--- ").skip(1) {
            let (head, content) = file.split_once('\n').unwrap_or((file, ""));
            let content = if content.is_empty() { String::new() } else { format!("{content}\n") };
            let (path, link) = head.split_once(" -> ").map_or((head, None), |(path, to)| (path, Some(to)));
            let (path, kind) = match path.rsplit_once(' ') {
                Some((path, kind @ ("x" | "tar"))) => (path, kind),
                _ => (path, ""),
            };
            let place = dir.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match (link, kind) {
                (Some(to), _) => symlink(to, &place).unwrap(),
                (None, "tar") if path.ends_with(".gz") => {
                    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    gzip.write_all(&archive()).unwrap();
                    fs::write(&place, gzip.finish().unwrap()).unwrap();
                }
                (None, "tar") if path.ends_with(".xz") => fs::write(&place, compressed("xz", &archive())).unwrap(),
                (None, "tar") if path.ends_with(".bz2") => fs::write(&place, compressed("bzip2", &archive())).unwrap(),
                (None, "tar") => fs::write(&place, archive()).unwrap(),
                (None, _) => {
                    fs::write(&place, content).unwrap();
                    let mode = if kind == "x" { 0o755 } else { 0o644 };
                    fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
        cases.push((name.to_owned(), dir.path().to_owned(), dir));
    }
    for entry in fs::read_dir(testdata().join("builds")).unwrap().map(Result::unwrap) {
        let name = format!("builds/{}", entry.file_name().to_str().unwrap());
        if OWN.iter().any(|(own, _)| *own == name) {
            continue;
        }
        cases.push((name, entry.path(), tempfile::tempdir().unwrap()));
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// An image as it is compared: a line each for its files, and its configuration.
fn describe(store: &Path, title: &str) -> String {
    let index: Value = serde_json::from_slice(&fs::read(store.join("index.json")).unwrap()).unwrap();
    let read = |digest: &Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        fs::read(store.join("blobs/sha256").join(hex)).unwrap()
    };
    let entries = index["manifests"].as_array().unwrap();
    let entry = entries.iter().rfind(|e| e["annotations"]["org.opencontainers.image.title"] == title);
    let manifest: Value = serde_json::from_slice(&read(&entry.unwrap()["digest"])).unwrap();
    let config: Value = serde_json::from_slice(&read(&manifest["config"]["digest"])).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), diff_ids.len());
    let mut files = Tree::default();
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&read(&layer["digest"])[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(diff_id.as_str().unwrap(), format!("sha256:{}", hex::encode(Sha256::digest(&plain))));
        files.lay(&plain);
    }
    let mut lines = files.lines();
    for name in ["architecture", "os", "author", "created"] {
        lines.push(format!("{name} = {}", config[name]));
    }
    for (name, value) in config["config"].as_object().unwrap() {
        lines.push(format!("config.{name} = {value}"));
    }
    let told = |h: &Value| !h["empty_layer"].as_bool().unwrap_or_default();
    let history = config["history"].as_array().cloned().unwrap_or_default();
    if !history.is_empty() {
        assert_eq!(history.iter().filter(|h| told(h)).count(), layers.len(), "the history fits the layers");
    }
    lines.extend(history.iter().map(|h| format!("history {} {}", h["created"], h["created_by"])));
    lines.join("\n")
}

/// Layers laid over each other.
#[derive(Default)]
struct Tree {
    /// Files by path; those with several names share a number.
    files: BTreeMap<String, (String, Option<usize>)>,
    count: usize,
}

impl Tree {
    fn remove_below(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|p, _| !p.starts_with(&below));
    }

    fn lay(&mut self, layer: &[u8]) {
        let mut own: BTreeMap<String, (String, Option<usize>)> = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut tar = tar::Archive::new(layer);
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let path = path.trim_start_matches("./").trim_matches('/').to_owned();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(name) = name.strip_prefix(".wh.") {
                let gone = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
                if name == ".wh..opq" {
                    self.remove_below(parent);
                } else {
                    self.remove_below(&gone);
                    self.files.remove(&gone);
                }
                continue;
            }
            let header = entry.header().clone();
            let attributes = entry.pax_extensions().unwrap().into_iter().flatten().map(|e| e.unwrap());
            let attributes: Vec<String> = attributes
                .filter_map(|e| e.key().unwrap().strip_prefix("SCHILY.xattr.").map(|k| format!(" [{k}]")))
                .collect();
            let mode = header.mode().unwrap() & 0o7777;
            let mode = if header.entry_type().is_symlink() { 0o777 } else { mode };
            let owner = format!("{mode:o} {}:{}{}", header.uid().unwrap(), header.gid().unwrap(), attributes.concat());
            let link = || entry.link_name().unwrap().unwrap().to_str().unwrap().to_owned();
            let kind = header.entry_type();
            let what = if kind.is_dir() {
                format!("d {owner}")
            } else if kind.is_symlink() {
                format!("l {owner} -> {}", link())
            } else if kind.is_hard_link() {
                links.push((path, link().trim_start_matches("./").trim_start_matches('/').to_owned()));
                continue;
            } else if kind.is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                let text = String::from_utf8(bytes.clone()).ok().filter(|t| t.len() < 200);
                format!("f {owner} {}", text.map_or_else(|| hex::encode(Sha256::digest(&bytes)), |t| format!("{t:?}")))
            } else {
                let number = |n: std::io::Result<Option<u32>>| n.unwrap().unwrap_or(0);
                format!("{kind:?} {owner} {}:{}", number(header.device_major()), number(header.device_minor()))
            };
            if !path.is_empty() {
                own.insert(path, (what, None));
            }
        }
        for (path, what) in own {
            if !what.0.starts_with('d') {
                self.remove_below(&path);
            }
            self.files.insert(path, what);
        }
        for (path, to) in links {
            self.count += 1;
            let target = self.files.get_mut(&to).unwrap_or_else(|| panic!("the link {path} leads to {to}"));
            let number = *target.1.get_or_insert(self.count);
            let what = (target.0.clone(), Some(number));
            self.files.insert(path, what);
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut names: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for (path, (_, number)) in &self.files {
            if let Some(number) = number {
                names.entry(*number).or_default().insert(path);
            }
        }
        let linked = |number: &Option<usize>| match number.and_then(|n| names.get(&n)) {
            Some(names) if names.len() > 1 => format!(" = {names:?}"),
            _ => String::new(),
        };
        self.files.iter().map(|(path, (what, number))| format!("{path} {what}{}", linked(number))).collect()
    }
}

fn build(built: &Built, builder: &str, docker: Option<&Docker>, staged: bool) -> Result<String, String> {
    let mut command = built.command(&["build", "--builder", builder]);
    if let Some(docker) = docker {
        command.env("DOCKER_HOST", docker.host());
    }
    if staged {
        command.env("WERF_FORCE_STAGED_DOCKERFILE", "1");
    }
    let ran = command.output().unwrap();
    if ran.status.success() {
        return Ok(describe(&built.path("store"), "app"));
    }
    let told = [ran.stdout, ran.stderr].concat();
    let told = String::from_utf8_lossy(&told)
        .lines()
        .filter(|l| l.contains("fail") || l.contains("error"))
        .fold(String::new(), |all, line| all + "  " + line + "\n");
    Err(format!("{builder}:\n{told}"))
}

fn difference(native: &str, docker: &str) -> String {
    let [native_lines, docker_lines]: [BTreeSet<&str>; 2] = [native, docker].map(|t| t.lines().collect());
    let only = |mark: &str, a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
        let stub = |line: &str| MOUNT_POINTS.iter().any(|p| line == format!("{p} d 755 0:0"));
        a.difference(b).filter(|line| !stub(line)).map(|line| format!("  {mark} {line}\n")).collect::<String>()
    };
    only("native", &native_lines, &docker_lines) + &only("docker", &docker_lines, &native_lines)
}

#[test]
fn native_and_docker_build_equal_images() {
    let Some(docker) = Docker::shared() else { return };
    if cannot_run().is_some() {
        return;
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let cases: Vec<_> = cases().into_iter().filter(|(name, ..)| name.contains(&only)).collect();
    assert!(!only.is_empty() || cases.len() >= 40, "{} cases", cases.len());
    let mut failures = Vec::new();
    for (name, place, _held) in &cases {
        let results = ["native", "docker"].map(|builder| build(&Built::of_folder(place), builder, Some(docker), false));
        let told = match &results {
            [Ok(native), Ok(docker)] => match difference(native, docker) {
                told if told.is_empty() => continue,
                told => told,
            },
            [native, docker] => [native, docker].into_iter().filter_map(|r| r.as_ref().err()).cloned().collect(),
        };
        failures.push(format!("{name}:\n{told}"));
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} differ:\n{}", cases.len(), failures.join("\n"));
}

#[test]
fn staged_and_whole_dockerfiles_make_equal_images() {
    if cannot_run().is_some() {
        return;
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let cases: Vec<_> = cases().into_iter().filter(|(name, ..)| name.contains(&only)).collect();
    let mut failures = Vec::new();
    for (name, place, _held) in &cases {
        let [whole, staged] = [false, true].map(|staged| build(&Built::of_folder(place), "native", None, staged));
        let told = match (whole, staged) {
            (Ok(whole), Ok(staged)) if whole == staged => continue,
            (Ok(whole), Ok(staged)) => difference(&whole, &staged),
            (whole, staged) => [whole, staged].into_iter().filter_map(Result::err).collect(),
        };
        failures.push(format!("{name}:\n{told}"));
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} differ:\n{}", cases.len(), failures.join("\n"));
}
