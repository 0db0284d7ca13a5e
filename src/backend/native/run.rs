//! RUN: from an image in the making to the layer of what a command changed.
//!
//! What lives here: the root of the command, what is mounted into it, its user and its environment. What does not:
//! namespaces (`sandbox`), reading the changes (`diff`).
//!
//! The one idea: whatever the command needs and the image lacks (mount points, directories that only a layer below
//! describes) is put into one more layer under the changes. So the changes hold what the command did and nothing else.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::files::{Content, Draft, HostTree, Kind, Layer, Node, View, ancestors};
use super::mounts::Given;
use super::namespace;
use super::plain::Before;
use super::sandbox::spec::{Mount, Root, Spec, Upper};
use super::sandbox::{self, Console, Ended};
use super::scratch::Scratch;
use super::unpack::{implied, unpack};
use super::users::find_user;
use super::{Build, Image, NAME, diff};
use crate::backend::host_access::{Hidden, HostAccess};
use crate::ports::{BuildError, Descriptor};
use crate::stage::{Network, RunStep};

/// The search path of a command where the image has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many lines of a failed command are told again.
const LAST_LINES: usize = 20;
/// Names of the host that a command can look up. Source: BuildKit.
const HOSTS: &str = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// The variable that forbids overlayfs with `off`.
const OVERLAY: &str = "STAGEWRIGHT_OVERLAYFS";
/// How many layers are mounted over each other.
const MOST_LAYERS: usize = 80;

/// The root of a command, and how its changes are read afterwards.
pub struct Ready {
    /// What the command sees.
    pub root: Root,
    changes: PathBuf,
    /// Where the root is a copy.
    before: Option<Before>,
}

/// Unpacked layers of one build, and where they lie.
pub struct Roots {
    pub(super) scratch: Arc<Scratch>,
    folders: Mutex<Vec<(Arc<Layer>, String)>>,
    count: Mutex<usize>,
}

impl Roots {
    /// Begins with nothing unpacked.
    pub fn new(scratch: Arc<Scratch>) -> Self {
        Self { scratch, folders: Mutex::default(), count: Mutex::default() }
    }

    /// Returns a new name in the scratch folder.
    pub fn next(&self, kind: &str) -> String {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        format!("{kind}{count}")
    }

    fn folder_of(&self, layer: &Arc<Layer>) -> Option<String> {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.iter().find(|(known, _)| Arc::ptr_eq(known, layer)).map(|(_, name)| name.clone())
    }

    fn remember(&self, layer: &Arc<Layer>, name: String) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).push((layer.clone(), name));
    }
}

/// Says what was attempted.
pub fn attempt(what: impl Into<String>) -> impl FnOnce(io::Error) -> BuildError {
    let attempt = what.into();
    move |source| BuildError::Io { attempt, source }
}

impl Build<'_> {
    /// Runs commands as one script and returns what they changed.
    pub(super) fn run(&self, image: &Image, steps: &[&RunStep]) -> Result<Arc<Layer>, BuildError> {
        let Some(first) = steps.first() else { return Ok(Arc::default()) };
        let Some(runner) = &self.builder.runner else {
            let what = format!("`{}` needs a builder that runs commands", first.created_by);
            return Err(BuildError::Unsupported { builder: NAME, what });
        };
        let roots = self.roots()?;
        let scratch = &roots.scratch;
        let view = self.view(image)?;
        let mut stubs = Stubs::over(&view);
        let mut mounts = system_mounts(&mut stubs, scratch, &first.add_host)?;
        let user = if first.as_root { String::new() } else { image.config.config.user.clone() };
        let draft = Draft::over(view.clone());
        let user = find_user(self.context, &draft, &user, &first.created_by)?;
        let mut given = Given { environment: environment(image, first, &user.home), ..Given::default() };
        for step in steps {
            self.own_mounts(image, step, &mut stubs, &mut given)?;
        }
        let Given { mounts: own, environment, hidden, locks } = given;
        mounts.extend(own);
        let root = self.root(image, &view, stubs)?;
        let report = roots.next("report");
        let config = &image.config.config;
        let working_dir =
            if first.as_root || config.working_dir.is_empty() { "/".to_owned() } else { config.working_dir.clone() };
        if !namespace::has_user(user.uid) {
            let why = format!(
                "user {} has no number here: only root is mapped. Give this account a range in /etc/subuid and \
                 /etc/subgid and install newuidmap, or build as root",
                user.uid
            );
            return Err(BuildError::Step { step: first.created_by.clone(), why });
        }
        let spec = Spec {
            folder: self.builder.cache_folder(),
            root: root.root,
            mounts,
            words: words(image, steps),
            environment: environment.into_iter().collect(),
            working_dir,
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            network: first.network != Network::None,
            report: scratch.folder().join(&report),
            terminal: None,
            stdin: None,
            stays: false,
            outside: false,
        };
        let outside = if first.ansible { Some(self.tasks(runner, &spec, steps)?) } else { None };
        self.command(&runner.program, outside.as_ref().unwrap_or(&spec), &first.created_by, &hidden)?;
        drop(locks);
        let tree = Arc::new(HostTree::new(root.changes, roots.scratch.clone()));
        let layer =
            diff::changes(&tree, &view, root.before.as_ref()).map_err(attempt("read what the command changed"))?;
        let layer = Arc::new(layer);
        if root.before.is_none() {
            let name = tree.path("").strip_prefix(self.builder.cache_folder()).map(|p| p.display().to_string());
            roots.remember(&layer, name.expect("scratch folders are in the cache"));
        }
        Ok(layer)
    }

    /// Makes ready what a command sees and can change.
    pub(super) fn root(&self, image: &Image, view: &View, mut stubs: Stubs<'_>) -> Result<Ready, BuildError> {
        let roots = self.roots()?;
        let scratch = &roots.scratch;
        let mounts_layers = self.mounts_layers()?;
        // The kernel takes a list of layers of one page.
        if !mounts_layers || view.0.len() > MOST_LAYERS {
            let (root, changes, before) = self.plain_root(view, &stubs.layer)?;
            return Ok(Ready { root, changes, before: Some(before) });
        }
        let mut lowers = self.lowers(image)?;
        for layer in &view.0 {
            stubs.describe(layer)?;
        }
        if stubs.layer != Layer::default() {
            let name = roots.next("stubs");
            let folder = scratch.make(&name).map_err(attempt("make a scratch folder"))?;
            unpack(self.context, &stubs.layer, &folder)?;
            lowers.insert(0, scratch.name(&name));
        }
        let changes = roots.next("changes");
        let [work, at] = ["work", "root"].map(|kind| roots.next(kind));
        for name in [&changes, &work, &at] {
            scratch.make(name).map_err(attempt("make a scratch folder"))?;
        }
        if lowers.is_empty() {
            // Overlayfs wants something below.
            let empty = roots.next("empty");
            scratch.make(&empty).map_err(attempt("make a scratch folder"))?;
            lowers.push(scratch.name(&empty));
        }
        let folder = scratch.folder().join(&changes);
        open_to_all(&folder).map_err(attempt("make a scratch folder"))?;
        let upper = Some(Upper { changes: scratch.name(&changes), work: scratch.name(&work) });
        Ok(Ready { root: Root { lowers, upper, at: scratch.name(&at) }, changes: folder, before: None })
    }

    /// Says whether layers can be mounted over each other; else images are copied.
    pub(super) fn mounts_layers(&self) -> Result<bool, BuildError> {
        let Some(runner) = &self.builder.runner else { return Ok(false) };
        if runner.host.environment.get(OVERLAY).is_some_and(|v| v == "off") {
            return Ok(false);
        }
        if let Some(known) = runner.overlay.get() {
            return Ok(*known);
        }
        let roots = self.roots()?;
        let folder = roots.scratch.make(&roots.next("probe")).map_err(attempt("make a scratch folder"))?;
        Ok(*runner.overlay.get_or_init(|| sandbox::can_mount_layers(&runner.program, &folder)))
    }

    fn command(&self, program: &Path, spec: &Spec, created_by: &str, hidden: &Hidden) -> Result<(), BuildError> {
        let last = Mutex::new(VecDeque::with_capacity(LAST_LINES));
        let output = |line: &str| {
            let line = &*hidden.mask(line);
            (self.context.output)(line);
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        };
        let ended = sandbox::run(program, spec, self.context.cancelled, &output)
            .map_err(attempt(format!("run `{created_by}`")))?;
        let last_lines = || last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        match ended {
            Ended::Exited(0) => Ok(()),
            Ended::Exited(status) => {
                if self.context.introspect {
                    introspect(program, spec);
                }
                Err(BuildError::Command { step: created_by.to_owned(), status, last_lines: last_lines() })
            }
            Ended::NotStarted(why) => Err(BuildError::Step { step: created_by.to_owned(), why }),
            Ended::Cancelled => Err(BuildError::Cancelled(created_by.to_owned())),
        }
    }

    pub(super) fn roots(&self) -> Result<&Roots, BuildError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let scratch = self.builder.cache()?.scratch().map_err(attempt("make a scratch folder"))?;
        Ok(self.roots.get_or_init(|| Roots::new(Arc::new(scratch))))
    }

    /// Unpacks the layers of an image; returns their folders, the topmost first.
    pub(super) fn lowers(&self, image: &Image) -> Result<Vec<String>, BuildError> {
        let roots = self.roots()?;
        let mut lowers = Vec::new();
        for descriptor in &image.base.layers {
            lowers.push(self.stored_folder(descriptor, &roots.scratch)?);
        }
        for layer in &image.layers {
            if let Some(known) = roots.folder_of(layer) {
                lowers.push(known);
                continue;
            }
            let name = roots.next("layer");
            let folder = roots.scratch.make(&name).map_err(attempt("make a scratch folder"))?;
            unpack(self.context, layer, &folder)?;
            let name = roots.scratch.name(&name);
            roots.remember(layer, name.clone());
            lowers.push(name);
        }
        // The same layer twice is no lower folder twice: overlayfs refuses, and only the upper one counts.
        let mut seen = std::collections::BTreeSet::new();
        lowers.reverse();
        lowers.retain(|name| seen.insert(name.clone()));
        Ok(lowers)
    }

    fn stored_folder(&self, layer: &Descriptor, scratch: &Scratch) -> Result<String, BuildError> {
        let hex = layer.digest.hex();
        let name = format!("layers/{}", hex.get(..32).unwrap_or(hex));
        let failed = |e| attempt(format!("unpack layer {}", layer.digest))(e);
        let kept = self
            .builder
            .cache()?
            .kept(&name, scratch, failed, |folder| unpack(self.context, &*self.layer(&layer.digest)?, folder));
        kept.map(|()| name)
    }
}

/// What every command finds.
pub fn system_mounts(stubs: &mut Stubs<'_>, scratch: &Scratch, add_host: &[String]) -> Result<Vec<Mount>, BuildError> {
    for name in ["proc", "sys", "dev"] {
        if stubs.directory(name)? != name {
            let why = format!("`/{name}` of the image is a link, where commands need a directory");
            return Err(BuildError::Step { step: "prepare the root".into(), why });
        }
    }
    let mut mounts = vec![Mount::Proc, Mount::Dev, Mount::Sys];
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let more = add_host.iter().filter_map(|h| h.split_once(':')).map(|(name, address)| format!("{address}\t{name}\n"));
    let hosts: String = std::iter::once(HOSTS.to_owned()).chain(more).collect();
    for (name, content) in [("resolv.conf", resolvers.as_str()), ("hosts", hosts.as_str())] {
        let source = scratch.folder().join(name);
        fs::write(&source, content).map_err(attempt("write a scratch file"))?;
        readable_by_all(&source).map_err(attempt("write a scratch file"))?;
        let at = stubs.file(&format!("etc/{name}"))?;
        mounts.push(Mount::Bind { source, at, writable: false });
    }
    Ok(mounts)
}

/// Opens a shell where a command failed, and waits for its end.
fn introspect(program: &Path, spec: &Spec) {
    let spec = Spec { words: vec!["/bin/sh".into()], stays: true, outside: false, ..spec.clone() };
    let _ = sandbox::attached(program, spec, Console::Terminal, &std::sync::atomic::AtomicUsize::new(0));
}

/// The layer under the changes.
pub struct Stubs<'a> {
    view: &'a View,
    layer: Layer,
}

impl<'a> Stubs<'a> {
    /// Begins with nothing.
    pub fn over(view: &'a View) -> Self {
        Self { view, layer: Layer::default() }
    }

    /// Makes sure that there is a directory; returns its real path.
    pub fn directory(&mut self, path: &str) -> Result<String, BuildError> {
        self.point(path, &Node::directory())
    }

    /// Makes sure that there is a file; returns its real path.
    pub fn file(&mut self, path: &str) -> Result<String, BuildError> {
        self.point(path, &Node::file(Content::Text(Arc::default())))
    }

    fn point(&mut self, path: &str, missing: &Node) -> Result<String, BuildError> {
        let refuse = |why: String| BuildError::Step { step: format!("mount `/{path}`"), why };
        let real = self.view.resolve(path).map_err(|e| refuse(e.to_string()))?;
        match self.view.get(&real) {
            Some(node) if node.is_directory() != missing.is_directory() => {
                let is = if node.is_directory() { "a directory" } else { "a file" };
                return Err(refuse(format!("`/{real}` is {is} in the image")));
            }
            Some(_) => {}
            None => {
                self.above(&real)?;
                self.layer.entries.entry(real.as_str().into()).or_insert_with(|| missing.clone());
            }
        }
        Ok(real)
    }

    /// Describes the directories above a path as the image has them.
    fn above(&mut self, path: &str) -> Result<(), BuildError> {
        for directory in ancestors(path) {
            let node = match self.view.get(directory) {
                Some(node) if node.is_directory() => node.clone(),
                Some(_) => {
                    let why = format!("`/{directory}` is not a directory in the image");
                    return Err(BuildError::Step { step: format!("mount `/{path}`"), why });
                }
                None => Node::directory(),
            };
            self.layer.entries.entry(directory.into()).or_insert(node);
        }
        Ok(())
    }

    /// Describes what a layer holds and only others know: directories above its files, and links to files of others.
    fn describe(&mut self, layer: &Layer) -> Result<(), BuildError> {
        for directory in implied(layer) {
            match self.view.get(&directory) {
                Some(node) if node.is_directory() => {
                    self.above(&directory)?;
                    self.layer.entries.entry(directory).or_insert_with(|| node.clone());
                }
                Some(_) => {}
                None => {
                    let parent = super::files::parent_of(&directory);
                    if parent.is_empty() || self.view.get(parent).is_some_and(Node::is_directory) {
                        self.above(&directory)?;
                        self.layer.whiteouts.insert(directory);
                    }
                }
            }
        }
        for (path, node) in layer.entries.iter().filter(|(_, n)| matches!(n.kind, Kind::Hardlink(_))) {
            if self.view.get(path) != Some(node) {
                continue;
            }
            if let Some(content) = self.view.content_of(node) {
                let kind = Kind::File { content: content.clone(), linked: false };
                self.above(path)?;
                self.layer.entries.insert(path.clone(), Node { kind, ..node.clone() });
            }
        }
        let Layer { entries, whiteouts, .. } = &mut self.layer;
        whiteouts.retain(|path| !entries.contains_key(path));
        Ok(())
    }
}

/// The program and its arguments.
fn words(image: &Image, steps: &[&RunStep]) -> Vec<String> {
    let Some(first) = steps.first() else { return Vec::new() };
    if !first.shell {
        return first.command.clone();
    }
    if first.as_root {
        // One script, which ends at the first command that fails. Source: werf.
        let mut script = "set -e\n".to_owned();
        for command in steps.iter().flat_map(|s| &s.command) {
            script.push_str(command);
            script.push('\n');
        }
        return vec!["/bin/sh".into(), "-c".into(), script];
    }
    let shell = image.config.config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
    shell.into_iter().chain(first.command.iter().cloned()).collect()
}

/// Of ARG and ENV the last one wins: the request holds no argument that a later ENV hides. Source: BuildKit.
fn environment(image: &Image, step: &RunStep, home: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("PATH".into(), DEFAULT_PATH.into());
    all.insert("HOME".into(), home.into());
    all.extend(step.unsigned_environment.clone());
    all.extend(base_environment(&image.config.config.env, home));
    all.extend(step.environment.clone());
    all
}

/// What every command has, and what the image says.
pub fn base_environment(env: &[String], home: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("PATH".into(), DEFAULT_PATH.into());
    all.insert("HOME".into(), home.into());
    let pairs = env.iter().filter_map(|line| line.split_once('='));
    all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all
}

pub fn open_to_all(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn readable_by_all(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
}

/// How the builder runs commands.
#[derive(Debug)]
pub struct Runner {
    /// Our own program, which is run again inside.
    pub program: PathBuf,
    /// Where layers are unpacked.
    pub cache: super::scratch::Cache,
    /// What commands may be given of the host.
    pub host: HostAccess,
    /// Whether layers can be mounted over each other, once tried.
    pub overlay: OnceLock<bool>,
}
