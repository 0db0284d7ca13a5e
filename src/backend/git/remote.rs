//! Other repositories: folders are opened where they lie, everything else is fetched by the `git` program into a cache.
//!
//! The one idea: the cache is a bare repository for each address, and a commit that is in it is never asked for again.
//! Passwords reach `git` by its environment alone: they are in no command line and in no message.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::Repository;
use crate::ports::{
    BlobDigest, GitRemotes, RemoteError, RemoteLogin, RemotePassword, RemoteReference, RemoteRepository, shown_url,
};
use crate::source::{Files, ObjectId};

/// Variables that would lead `git` to the repository of somebody else, or make it ask.
const CLEARED: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_TRACE_CURL",
];

/// Prints the login for `git`; the shell that git starts runs it.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                      \"$STAGEWRIGHT_GIT_USERNAME\" \"$STAGEWRIGHT_GIT_PASSWORD\"; }; f";

/// All of the history, as a depth.
const EVERYTHING: &str = "--depth=2147483647";

/// Repositories in folders and behind addresses.
pub struct RemoteRepositories {
    base: PathBuf,
    cache: Option<PathBuf>,
    home: Option<String>,
    configured: usize,
    opens_folders: bool,
    opened: Mutex<BTreeMap<PathBuf, Arc<Repository>>>,
    /// What was asked already: a branch is one commit for all of a run.
    resolved: Mutex<BTreeMap<(String, RemoteReference), String>>,
}

impl fmt::Debug for RemoteRepositories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRepositories").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// What `git` is run with.
struct Target<'a> {
    /// As it may be shown.
    shown: String,
    /// Without user and password.
    url: String,
    login: Option<Login>,
    written: &'a str,
}

struct Login {
    scope: String,
    username: String,
    password: String,
}

impl RemoteRepositories {
    /// Makes the reader. Folders are relative to `base`; without `cache` nothing is fetched.
    pub fn new(base: &Path, cache: Option<PathBuf>, environment: &BTreeMap<String, String>) -> Self {
        Self {
            base: base.to_owned(),
            cache,
            home: environment.get("HOME").cloned(),
            configured: environment.get("GIT_CONFIG_COUNT").and_then(|n| n.parse().ok()).unwrap_or(0),
            opens_folders: true,
            opened: Mutex::default(),
            resolved: Mutex::default(),
        }
    }

    /// Returns the folder that an address names.
    fn folder(&self, url: &str) -> Option<PathBuf> {
        if !self.opens_folders {
            return None;
        }
        match url.strip_prefix("file://") {
            Some(path) => Some(PathBuf::from(path.strip_prefix("localhost").unwrap_or(path))),
            None => Some(self.base.join(url)).filter(|path| path.is_dir()),
        }
    }

    fn open(&self, dir: &Path, shown: &str) -> Result<Arc<Repository>, RemoteError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = opened.get(dir) {
            return Ok(found.clone());
        }
        let fault = |e: git2::Error| RemoteError::Unreachable { url: shown.to_owned(), cause: e.message().to_owned() };
        let repository = Arc::new(Repository::open_at(dir).map_err(fault)?);
        opened.insert(dir.to_owned(), repository.clone());
        Ok(repository)
    }

    fn target<'a>(&self, repository: &'a RemoteRepository) -> Result<Target<'a>, RemoteError> {
        let written = repository.url.as_str();
        let shown = shown_url(written);
        if written.starts_with('-') || written.contains(char::is_control) {
            return Err(RemoteError::Invalid {
                fault: format!("`{}` is no address of a repository", shown.escape_debug()),
            });
        }
        let parts = http_parts(written);
        let mut target = Target { shown, url: written.to_owned(), login: None, written };
        let Some((scope, user, rest)) = parts else { return Ok(target) };
        let given = match &repository.login {
            Some(login) => Some((login.username.clone(), self.password(login)?)),
            None => user.and_then(|u| u.split_once(':')).map(|(u, p)| (percent_decoded(u), percent_decoded(p))),
        };
        if let Some((username, password)) = given {
            if username.contains(['\n', '\0']) || password.contains(['\n', '\0']) {
                return Err(RemoteError::Invalid {
                    fault: "a user name or password has a line break in it".to_owned(),
                });
            }
            target.url = format!("{scope}{rest}");
            target.login = Some(Login { scope, username, password });
        }
        Ok(target)
    }

    fn password(&self, login: &RemoteLogin) -> Result<String, RemoteError> {
        match &login.password {
            RemotePassword::Text(text) => Ok(text.clone()),
            RemotePassword::File(path) => {
                let full = match (path.strip_prefix("~/"), &self.home) {
                    (Some(below), Some(home)) => Path::new(home).join(below),
                    (Some(_), None) | (None, _) => PathBuf::from(path),
                };
                let fault =
                    |e| RemoteError::Invalid { fault: format!("the password file `{path}` cannot be read: {e}") };
                Ok(fs::read_to_string(full).map_err(fault)?.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }

    /// Runs `git` and returns what it prints.
    fn git(&self, target: &Target<'_>, dir: Option<&Path>, args: &[&str]) -> Result<String, RemoteError> {
        let mut command = Command::new("git");
        if let Some(dir) = dir {
            command.arg("--git-dir").arg(dir);
        }
        command.args(["-c", "gc.auto=0", "-c", "protocol.version=2"]).args(args);
        for name in CLEARED {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
        command.env("GIT_HTTP_LOW_SPEED_LIMIT", "1").env("GIT_HTTP_LOW_SPEED_TIME", "60");
        if let Some(login) = &target.login {
            let key = format!("credential.{}.helper", login.scope);
            let count = self.configured;
            for (number, value) in [(count, ""), (count + 1, HELPER)] {
                command.env(format!("GIT_CONFIG_KEY_{number}"), &key);
                command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
            }
            command.env("GIT_CONFIG_COUNT", (count + 2).to_string());
            command.env("STAGEWRIGHT_GIT_USERNAME", &login.username).env("STAGEWRIGHT_GIT_PASSWORD", &login.password);
        }
        let unreachable = |cause: String| RemoteError::Unreachable { url: target.shown.clone(), cause };
        let output = match command.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(unreachable("the program `git` is not installed".to_owned()));
            }
            Err(e) => return Err(unreachable(format!("`git` cannot be run: {e}"))),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(unreachable(target.cause(&String::from_utf8_lossy(&output.stderr))))
    }

    /// Returns the bare repository of an address in the cache, and its lock, which ends with the file.
    fn cached(&self, target: &Target<'_>) -> Result<(PathBuf, File), RemoteError> {
        let failed = |cause: String| RemoteError::Unreachable { url: target.shown.clone(), cause };
        let Some(cache) = &self.cache else {
            return Err(failed("there is no folder for a cache: set HOME or XDG_CACHE_HOME".to_owned()));
        };
        let name = BlobDigest::of(target.url.as_bytes()).hex().to_owned();
        let dir = cache.join(format!("{name}.git"));
        let lock = || {
            fs::create_dir_all(cache)?;
            let lock = File::create(cache.join(format!("{name}.lock")))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = lock().map_err(|e: std::io::Error| failed(format!("use the cache `{}`: {e}", cache.display())))?;
        if git2::Repository::open_bare(&dir).is_err() {
            // What is there is the rest of a run that was cut off.
            let _ = fs::remove_dir_all(&dir);
            git2::Repository::init_bare(&dir).map_err(|e| failed(format!("make a cache: {}", e.message())))?;
        }
        Ok((dir, lock))
    }

    fn fetch(
        &self,
        target: &Target<'_>,
        dir: &Path,
        reference: &RemoteReference,
        commit: &str,
        repository: &Arc<Repository>,
    ) -> Result<Files, RemoteError> {
        let own = format!("+{commit}:refs/stagewright/commits/{commit}");
        let named = match reference {
            RemoteReference::Branch(name) => Some(format!("+refs/heads/{name}:refs/stagewright/heads/{name}")),
            RemoteReference::Tag(name) => Some(format!("+refs/tags/{name}:refs/stagewright/tags/{name}")),
            RemoteReference::Head | RemoteReference::Commit(_) => None,
        };
        let all = ["+refs/heads/*:refs/stagewright/heads/*", "+refs/tags/*:refs/stagewright/tags/*"];
        let attempts: [(&str, Vec<&str>); 3] = [
            ("--depth=1", vec![own.as_str()]),
            (EVERYTHING, named.iter().map(String::as_str).collect()),
            (EVERYTHING, all.to_vec()),
        ];
        for (depth, specs) in attempts.iter().filter(|(_, specs)| !specs.is_empty()) {
            let mut args = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *depth, "--", &target.url];
            args.extend(specs);
            match self.git(target, Some(dir), &args) {
                Err(RemoteError::Unreachable { cause, .. }) if says_no_such_commit(&cause) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            if let Ok(found) = repository.commit(commit) {
                return Ok(repository.files(&found));
            }
        }
        Err(RemoteError::NoCommit { url: target.shown.clone(), commit: commit.to_owned() })
    }
}

impl Target<'_> {
    /// Returns what git said of a failure, without secrets, on one line.
    fn cause(&self, said: &str) -> String {
        let telling = |line: &&str| ["fatal: ", "error: ", "remote: ", "ssh: "].iter().any(|p| line.starts_with(p));
        let mut lines: Vec<&str> = said.lines().map(str::trim).filter(telling).collect();
        if lines.is_empty() {
            lines = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        }
        let first = lines.len().saturating_sub(3);
        let text = lines.get(first..).unwrap_or_default().join("; ");
        let mut text = text.replace(self.written, &self.shown);
        if let Some(login) = self.login.as_ref().filter(|login| !login.password.is_empty()) {
            text = text.replace(&login.password, "***");
        }
        if text.is_empty() { "git failed without a word".to_owned() } else { text }
    }
}

/// Says whether a server is there, but does not give out the commit by itself.
fn says_no_such_commit(cause: &str) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"]
        .iter()
        .any(|words| cause.contains(words))
}

/// Returns `http[s]://HOST`, what stands before `@`, and the rest of an address.
fn http_parts(url: &str) -> Option<(String, Option<&str>, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].contains(&scheme) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    Some((format!("{scheme}://{host}"), user, path))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        if let Some(byte) = code.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the names under which git may have a reference, the one that counts first.
fn names(reference: &RemoteReference) -> Result<Vec<String>, RemoteError> {
    let names = match reference {
        RemoteReference::Head => vec!["HEAD".to_owned()],
        RemoteReference::Branch(name) => vec![format!("refs/heads/{name}"), format!("refs/remotes/origin/{name}")],
        RemoteReference::Tag(name) => vec![format!("refs/tags/{name}")],
        RemoteReference::Commit(_) => Vec::new(),
    };
    if names.iter().any(|name| !git2::Reference::is_valid_name(name)) {
        return Err(RemoteError::Invalid { fault: format!("{reference}: there cannot be such a name") });
    }
    Ok(names)
}

impl GitRemotes for RemoteRepositories {
    fn resolve(&self, repository: &RemoteRepository, reference: &RemoteReference) -> Result<String, RemoteError> {
        let names = names(reference)?;
        if let RemoteReference::Commit(hash) = reference {
            return Ok(hash.clone());
        }
        let key = (repository.url.clone(), reference.clone());
        if let Some(known) = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let found = self.ask(repository, reference, &names)?;
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    fn files(
        &self,
        repository: &RemoteRepository,
        reference: &RemoteReference,
        commit: &str,
    ) -> Result<Files, RemoteError> {
        names(reference)?;
        let target = self.target(repository)?;
        let missing = || RemoteError::NoCommit { url: target.shown.clone(), commit: commit.to_owned() };
        ObjectId::from_hex(commit).ok_or_else(missing)?;
        if let Some(folder) = self.folder(&repository.url) {
            let found = self.open(&folder, &target.shown)?;
            return found.commit(commit).map(|c| found.files(&c)).map_err(|_| missing());
        }
        let (dir, _lock) = self.cached(&target)?;
        let found = self.open(&dir, &target.shown)?;
        match found.commit(commit) {
            Ok(known) => Ok(found.files(&known)),
            Err(_) => self.fetch(&target, &dir, reference, commit, &found),
        }
    }
}

impl RemoteRepositories {
    /// Asks the repository what a reference is now.
    fn ask(
        &self,
        repository: &RemoteRepository,
        reference: &RemoteReference,
        names: &[String],
    ) -> Result<String, RemoteError> {
        let target = self.target(repository)?;
        let missing = || RemoteError::NoReference { url: target.shown.clone(), reference: reference.clone() };
        if let Some(folder) = self.folder(&repository.url) {
            let found = self.open(&folder, &target.shown)?;
            return names.iter().find_map(|name| found.commit(name).ok()).map(|c| c.hash).ok_or_else(missing);
        }
        let name = names.first().ok_or_else(missing)?;
        let peeled = format!("{name}^{{}}");
        let listed = self.git(&target, None, &["ls-remote", "--quiet", "--", &target.url, name, &peeled])?;
        let hash = |wanted: &str| {
            let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines.find(|(_, found)| *found == wanted).map(|(hash, _)| hash.to_owned())
        };
        hash(&peeled).or_else(|| hash(name)).filter(|h| ObjectId::from_hex(h).is_some()).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A repository with two commits: branch `main`, tag `v1` on the first.
    fn repository(dir: &Path) -> (String, String) {
        let repo = git2::Repository::init(dir).unwrap();
        repo.set_head("refs/heads/main").unwrap();
        let commit = |text: &str| {
            fs::write(dir.join("file"), text).unwrap();
            let mut index = repo.index().unwrap();
            index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
            index.write().unwrap();
            let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
            let author = git2::Signature::now("a", "a@example.org").unwrap();
            let head = repo.head().ok().map(|h| h.peel_to_commit().unwrap());
            repo.commit(Some("HEAD"), &author, &author, text, &tree, &head.iter().collect::<Vec<_>>()).unwrap()
        };
        let first = commit("one");
        let author = git2::Signature::now("a", "a@example.org").unwrap();
        repo.tag("v1", &repo.find_object(first, None).unwrap(), &author, "tagged", false).unwrap();
        (first.to_string(), commit("two").to_string())
    }

    fn remote(url: &str) -> RemoteRepository {
        RemoteRepository { url: url.to_owned(), login: None }
    }

    fn branch(name: &str) -> RemoteReference {
        RemoteReference::Branch(name.to_owned())
    }

    #[test]
    fn folders_and_fetched_repositories_give_the_same_answers() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = repository(&dir.path().join("there"));
        let url = format!("file://{}", dir.path().join("there").display());
        for fetches in [false, true] {
            let cache = dir.path().join("cache");
            let mut remotes = RemoteRepositories::new(dir.path(), Some(cache.clone()), &BTreeMap::new());
            remotes.opens_folders = !fetches;
            let here = remote(if fetches { &url } else { "there" });
            assert_eq!(remotes.resolve(&here, &branch("main")).unwrap(), second);
            assert_eq!(remotes.resolve(&here, &RemoteReference::Head).unwrap(), second);
            let tag = RemoteReference::Tag("v1".into());
            assert_eq!(remotes.resolve(&here, &tag).unwrap(), first, "a tag stands for its commit");
            assert_eq!(&*remotes.files(&here, &branch("main"), &second).unwrap().read("file").unwrap(), b"two");
            assert_eq!(&*remotes.files(&here, &tag, &first).unwrap().read("file").unwrap(), b"one");
            let unknown = remotes.resolve(&here, &branch("mian")).unwrap_err();
            assert!(matches!(unknown, RemoteError::NoReference { .. }), "{unknown}");
            let unknown = remotes.files(&here, &branch("main"), &"0".repeat(39).replace("00", "0a")).unwrap_err();
            assert!(matches!(unknown, RemoteError::NoCommit { .. }), "{unknown}");
            let unknown = remotes.files(&here, &branch("main"), &"ab".repeat(20)).unwrap_err();
            assert!(matches!(unknown, RemoteError::NoCommit { .. }), "{unknown}");
        }
    }

    #[test]
    fn a_commit_in_the_cache_is_read_without_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = repository(&dir.path().join("there"));
        let here = remote(&format!("file://{}", dir.path().join("there").display()));
        let open = || {
            let mut remotes = RemoteRepositories::new(dir.path(), Some(dir.path().join("cache")), &BTreeMap::new());
            remotes.opens_folders = false;
            remotes
        };
        open().files(&here, &branch("main"), &second).unwrap();
        fs::rename(dir.path().join("there"), dir.path().join("gone")).unwrap();
        assert_eq!(&*open().files(&here, &branch("main"), &second).unwrap().read("file").unwrap(), b"two");
        let error = open().files(&here, &branch("main"), &first).unwrap_err();
        assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn a_server_that_does_not_answer_is_told_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let remotes = RemoteRepositories::new(dir.path(), Some(dir.path().join("cache")), &BTreeMap::new());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = remotes.resolve(&remote(&format!("http://joe:s3cret@127.0.0.1:{port}/a.git")), &branch("main"));
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with(&format!("http://127.0.0.1:{port}/a.git cannot be read: ")), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("joe"), "{text}");
        for bad in ["--upload-pack=touch /tmp/x", "ext::sh -c true", "a\nb"] {
            assert!(remotes.resolve(&remote(bad), &branch("main")).is_err(), "{bad}");
        }
        assert!(remotes.resolve(&remote("http://127.0.0.1/"), &branch("a..b")).is_err());
    }

    #[test]
    fn a_login_reaches_the_server_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.git", listener.local_addr().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut login = None;
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    if line.to_ascii_lowercase().starts_with("authorization:") {
                        login = Some(line.trim().to_owned());
                    }
                    line.clear();
                }
                seen.push(login.clone());
                let status = if login.is_some() { "404 Not Found" } else { "401 Unauthorized" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            tell.send(seen).unwrap();
        });
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("password"), "s3cret\n").unwrap();
        let remotes = RemoteRepositories::new(dir.path(), Some(dir.path().join("cache")), &BTreeMap::new());
        let password = RemotePassword::File(dir.path().join("password").display().to_string());
        let login = Some(RemoteLogin { username: "joe".into(), password });
        let error = remotes.resolve(&RemoteRepository { url, login }, &branch("main")).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let seen = told.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        // `joe:s3cret`
        assert!(seen[0].is_none() && seen[1].as_ref().unwrap().ends_with("Basic am9lOnMzY3JldA=="), "{seen:?}");
    }
}
