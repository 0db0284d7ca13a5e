//! The nouns of a build: a request that any builder can carry out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mode::CopyMode;
use crate::digest::Sha224Digest;
use crate::source::{Mode, ObjectId, Place};
use crate::syntax::dockerfile as syntax;

/// An operating system and an architecture, as in an image index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Returns `linux/amd64`, the platform of images that name none.
    #[must_use]
    pub fn linux_amd64() -> Self {
        Self { os: "linux".into(), architecture: "amd64".into(), variant: None }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |v| write!(f, "/{v}"))
    }
}

/// An image that is used by another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRef {
    /// An image of this project, by its signature (which is its tag in the store).
    Project {
        /// Its name in werf.yaml.
        name: String,
        /// Its signature.
        signature: Sha224Digest,
    },
    /// A stage of this project, by its stage digest.
    Stage {
        /// The stage digest.
        digest: Sha224Digest,
        /// Which of its stored builds; the oldest when absent. Unit: milliseconds since the Unix epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_ms: Option<u64>,
        /// The digest of all its content, where `digest` does not tell it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Sha224Digest>,
    },
    /// An image of somebody else, as written.
    External {
        /// The reference as written.
        reference: String,
    },
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project { name, .. } => f.write_str(name),
            Self::Stage { digest, .. } => write!(f, "stage {digest}"),
            Self::External { reference } => f.write_str(reference),
        }
    }
}

/// Everything a builder needs to make one stage: parts in dependency order, the last is the result.
///
/// A Stapel stage has one part; a Dockerfile has one for each of its stages that the target needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The platform of the result.
    pub platform: Platform,
    /// The platforms of the parts that are for another one, by index: what `FROM --platform` says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub part_platforms: BTreeMap<usize, Platform>,
    /// The parts; `Base::Part` and `CopySource::Part` point to earlier ones.
    pub parts: Vec<BuildPart>,
    /// Where the secrets that commands may ask for are, by id. Never signed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretPlace>,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// A variable of the environment of the build.
    Variable(String),
    /// A file of the host, relative to the project.
    File(String),
    /// It stands in werf.yaml. It is not written into plans: who reads one back finds it empty.
    Value(#[serde(skip)] String),
}

impl std::fmt::Debug for SecretPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "Variable({name:?})"),
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}

impl BuildRequest {
    /// Returns a request without secrets.
    pub fn new(platform: Platform, parts: Vec<BuildPart>) -> Self {
        Self { platform, part_platforms: BTreeMap::new(), parts, secrets: BTreeMap::new() }
    }

    /// Returns the platform of a part.
    pub fn platform_of(&self, part: usize) -> &Platform {
        self.part_platforms.get(&part).unwrap_or(&self.platform)
    }
}

/// One chain of steps over a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPart {
    /// For messages: the name of the Dockerfile stage, or of the stage.
    pub name: String,
    /// What the steps start from.
    pub base: Base,
    /// The build arguments that it declares, and those that name its base, resolved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// What a part starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier part of the same request, by index.
    Part(usize),
    /// A stored image.
    Image(ImageRef),
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Makes one layer of files.
    Copy(CopyStep),
    /// Runs a command and makes one layer of what it changed.
    Run(RunStep),
    /// Changes the image configuration only; `Workdir` also makes the directory where it is missing.
    Config(ConfigChange),
    /// Brings the files of git mappings that the base holds to those of this commit, in one layer; none if they are the
    /// same. Never signed: the stage that copied them is.
    Update(Vec<MappedFiles>),
}

/// The files of a git mapping in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedFiles {
    /// What they are to be.
    pub now: TreeSource,
    /// What the base holds; equal to `now` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<TreeSource>,
    /// Absolute destination.
    pub to: String,
    /// Their owner.
    pub owner: Owner,
}

impl MappedFiles {
    /// Returns what the base holds, if that is something else than what is to be there.
    pub fn older(&self) -> Option<&TreeSource> {
        self.before.as_ref().filter(|before| (before.id, before.mode) != (self.now.id, self.now.mode))
    }
}

/// Copies files into the image, as Docker's COPY does.
///
/// A source that is a directory gives its content. `to` ends in `/` where it must be a directory; with
/// several sources it always is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStep {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Absolute destination, or relative to the working directory.
    pub to: String,
    /// Owner of everything that is written; root by default.
    pub owner: Owner,
    /// Mode of every file and directory that is written; unchanged by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CopyMode>,
    /// Unpacks sources that are tar archives (Docker's ADD).
    #[serde(default)]
    pub extract: bool,
    /// Keeps the parent directories of each source (`--parents`).
    #[serde(default)]
    pub parents: bool,
    /// Replaces what stands in the way and ignores links of the base in the destination (`--link`).
    #[serde(default)]
    pub link: bool,
    /// The instruction as written, for the image history.
    pub created_by: String,
}

/// Where copied files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopySource {
    /// A file or directory of the repository.
    Tree(TreeSource),
    /// Text that stands in the Dockerfile.
    Inline {
        /// File name of the text.
        name: String,
        /// The text.
        content: String,
    },
    /// A file that the builder fetches.
    Address {
        /// Where it is, `http://…` or `https://…`.
        url: String,
        /// What its content must be: `sha256:` and hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
    },
    /// Files of an earlier part; `path` may hold Docker's wildcards.
    Part {
        /// Index of the part.
        part: usize,
        /// Path in it.
        path: String,
        /// What is left out.
        filter: FilterSpec,
    },
    /// Files of a stored image.
    Image {
        /// The image.
        image: ImageRef,
        /// Path in it.
        path: String,
        /// What is taken of it, relative to `path`.
        filter: FilterSpec,
    },
}

impl CopySource {
    /// Returns an address as the history of an image shows it: without user and password.
    pub fn shown_address(url: &str) -> String {
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let login = rest.split(['/', '?', '#']).next().and_then(|authority| authority.rsplit_once('@'));
        let after = login.and_then(|(user, _)| rest.get(user.len() + 1..));
        after.map_or_else(|| url.to_owned(), |rest| format!("{scheme}://{rest}"))
    }

    /// Returns the name that the file behind an address has in a directory. Source: BuildKit.
    pub fn name_of_address(url: &str) -> String {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let path = path.split_once("://").map_or(path, |(_, rest)| rest);
        let name = path.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
        let name = name.rsplit('/').next().unwrap_or_default();
        let name = decoded(name);
        // A name that leads elsewhere is none.
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            "__unnamed__".to_owned()
        } else {
            name
        }
    }
}

/// Replaces `%20` and the like; what is no text afterwards stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A file or directory of a git tree, filtered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSource {
    /// The tree to which `path` and the patterns of `filter` are relative.
    pub root: ObjectId,
    /// What is taken of `root`; empty for all of it.
    pub path: String,
    /// What is left out.
    pub filter: FilterSpec,
    /// The id of what is taken, after filtering: a blob, or a tree as git would name it.
    pub id: ObjectId,
    /// Whether that is a file, a link or a directory.
    pub mode: Mode,
    /// What a copy calls it below its destination, where `path` does not tell: a link is followed, but its name stays, and
    /// `--parents` keeps what stands behind `/./` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
}

impl TreeSource {
    /// Returns its path below the destination of a copy that keeps parents, else its name.
    pub fn called(&self, parents: bool) -> &str {
        let path = self.called.as_deref().unwrap_or(&self.path).trim_matches('/');
        if parents { path } else { path.rsplit('/').next().unwrap_or_default() }
    }
}

/// Which files of a directory are taken, as data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterSpec {
    /// All.
    #[default]
    All,
    /// Those that a `.dockerignore` with these lines keeps, and none of `exclude` (`COPY --exclude`).
    Dockerignore {
        /// The patterns, in order, exceptions begin with `!`.
        patterns: Vec<String>,
        /// Further patterns of the same kind, relative to the source.
        exclude: Vec<String>,
    },
    /// werf's `includePaths` and `excludePaths`.
    Paths {
        /// Taken when empty or one matches.
        include: Vec<String>,
        /// Left out when one matches.
        exclude: Vec<String>,
    },
}

/// An owner, by name or number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User name or id; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group name or id; when absent the user's id if that is a number, else the user's group in `/etc/passwd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A command that runs in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The instruction or the commands as written.
    pub created_by: String,
    /// Shell form as one script, or the words of the exec form.
    pub command: Vec<String>,
    /// Wraps `command` in the image's shell.
    pub shell: bool,
    /// Arguments and environment that only this command sees.
    pub environment: BTreeMap<String, String>,
    /// Files of the repository that it sees or that decide when it runs again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TreeSource>,
    /// What else it sees while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<RunMount>,
    /// Further names of hosts, `NAME:ADDRESS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_host: Vec<String>,
    /// Its network.
    #[serde(default, skip_serializing_if = "Network::is_default")]
    pub network: Network,
    /// A command of Stapel: it runs as root in `/`, whatever the image says. Those that follow each other are one
    /// script, which ends at the first failure, and make one layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_root: bool,
    /// Tasks of Ansible, each as JSON, in place of commands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ansible: bool,
    /// Where it stands; never signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Variables that never decide whether it runs again: addresses of proxies, the commit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unsigned_environment: BTreeMap<String, String>,
}

/// The network of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What the builder gives.
    #[default]
    Default,
    /// That of the host.
    Host,
    /// None but the loopback.
    None,
}

impl Network {
    /// Says whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// Something that a command sees while it runs, and that leaves nothing in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMount {
    /// Where it is, absolute or relative to the working directory.
    pub target: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountKind {
    /// Files of the repository.
    Context {
        /// Index in [`RunStep::inputs`].
        input: usize,
        /// Whether the command may change its copy.
        writable: bool,
    },
    /// Files of an earlier part or of an image.
    Bind {
        /// Where they are.
        from: MountFrom,
        /// The path there.
        source: String,
        /// Whether the command may change its copy.
        writable: bool,
    },
    /// A folder that outlives the build on this host.
    Cache {
        /// Names it; equal names share it.
        id: String,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Where its first content is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<MountFrom>,
        /// The path there.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        source: String,
        /// Mode of a new one.
        mode: u32,
        /// Owner of a new one.
        uid: u32,
        /// Group of a new one.
        gid: u32,
        /// Whether the command may change it.
        writable: bool,
    },
    /// A folder in memory.
    Tmpfs {
        /// The most that it takes. Unit: bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    /// A secret as a file, as a variable, or as both.
    Secret {
        /// Names it.
        id: String,
        /// Whether there is a file at the target.
        file: bool,
        /// The variable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variable: Option<String>,
        /// Whether the command cannot run without it.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// The socket of an ssh agent.
    Ssh {
        /// Names it.
        id: String,
        /// Whether the command cannot run without it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
    /// A script that stands in the Dockerfile.
    Script {
        /// What it holds.
        content: String,
    },
    /// A folder of the host.
    Host {
        /// Where it is; relative to the project.
        path: String,
    },
    /// A new folder for each build.
    Scratch,
}

/// Where mounted files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountFrom {
    /// An earlier part, by index.
    Part(usize),
    /// A stored image.
    Image(ImageRef),
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All.
    #[default]
    Shared,
    /// Each gets its own.
    Private,
    /// One after the other.
    Locked,
}

impl RunStep {
    /// Returns a command without anything further.
    pub fn new(created_by: String, command: Vec<String>, shell: bool) -> Self {
        Self {
            created_by,
            command,
            shell,
            environment: BTreeMap::new(),
            inputs: Vec::new(),
            mounts: Vec::new(),
            add_host: Vec::new(),
            network: Network::Default,
            as_root: false,
            ansible: false,
            place: None,
            unsigned_environment: BTreeMap::new(),
        }
    }
}

/// Wraps the name of a variable of the base image that is not known before the build.
const BASE_ENV_MARK: char = '\u{0}';

/// Returns the text that stands for a variable of the base image until the build resolves it.
pub fn base_env(name: &str) -> String {
    format!("{BASE_ENV_MARK}{name}{BASE_ENV_MARK}")
}

/// Wraps what depends on the value of such a variable: its name, a modifier, and the raw word after it.
const DEFERRED: (char, char) = ('\u{2}', '\u{3}');

/// Returns the text that stands for `${NAME:-WORD}` and its like until the build resolves it.
pub fn deferred_base_env(name: &str, modifier: &str, word: &str) -> String {
    format!("{}{name}{modifier}{word}{}", DEFERRED.0, DEFERRED.1)
}

/// Replaces what [`base_env`] and [`deferred_base_env`] wrote; `lookup` knows the environment of the base image.
pub fn resolve_base_env(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let Some((before, rest)) = text.split_once(DEFERRED.0) else { return resolve_names(text, lookup) };
    let mut depth = 1_usize;
    let end = rest.char_indices().find(|(_, c)| {
        depth += usize::from(*c == DEFERRED.0);
        depth -= usize::from(*c == DEFERRED.1);
        depth == 0
    });
    let Some((inner, after)) = end.and_then(|(end, _)| rest.split_at_checked(end)) else {
        return resolve_names(text, lookup);
    };
    // What stands inside is a raw word, so values enter it with escapes.
    let inner = resolve_base_env(inner, &|name| lookup(name).map(|value| syntax::escaped(&value)));
    let expanded = syntax::expand(&format!("${{{inner}}}"), '\\', lookup).map(|e| e.text).unwrap_or_default();
    let after = resolve_base_env(after.get(DEFERRED.1.len_utf8()..).unwrap_or_default(), lookup);
    format!("{}{expanded}{after}", resolve_names(before, lookup))
}

fn resolve_names(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut resolved = String::with_capacity(text.len());
    for (index, part) in text.split(BASE_ENV_MARK).enumerate() {
        if index % 2 == 0 {
            resolved.push_str(part);
        } else {
            resolved.push_str(&lookup(part).unwrap_or_default());
        }
    }
    resolved
}

/// Says whether a text stands for variables of the base image, see [`base_env`].
pub fn waits_for_base(text: &str) -> bool {
    text.contains([BASE_ENV_MARK, DEFERRED.0])
}

/// Shows a text that may stand for variables of the base image, for people.
pub fn show_base_env(text: &str) -> String {
    let shown = resolve_names(text, &|name| Some(format!("${{{name}}}")));
    if shown.contains(DEFERRED.0) {
        return shown.replace(DEFERRED.0, "${").replace(DEFERRED.1, "}").replace('\\', "");
    }
    shown
}

/// The first word of a command that runs in the shell of the base image, which is not known before the build.
const BASE_SHELL: &str = "\u{4}";

/// Returns the words that stand for the shell of the base image until the build resolves them.
pub fn base_shell() -> Vec<String> {
    vec![BASE_SHELL.to_owned()]
}

/// Returns the script of a command that runs in the shell of the base image.
fn script_of_base_shell(words: &[String]) -> Option<&str> {
    match words {
        [first, script] if first == BASE_SHELL => Some(script),
        _ => None,
    }
}

/// Puts the shell of the base image into a command that stands for it, see [`base_shell`].
pub fn resolve_base_shell<'a>(change: &'a ConfigChange, shell: Option<&[String]>) -> Cow<'a, ConfigChange> {
    let (ConfigChange::Cmd(words) | ConfigChange::Entrypoint(words)) = change else { return Cow::Borrowed(change) };
    let Some(script) = script_of_base_shell(words) else { return Cow::Borrowed(change) };
    let mut resolved = shell.map_or_else(default_shell, <[String]>::to_vec);
    resolved.push(script.to_owned());
    Cow::Owned(if matches!(change, ConfigChange::Cmd(_)) {
        ConfigChange::Cmd(resolved)
    } else {
        ConfigChange::Entrypoint(resolved)
    })
}

/// Returns the shell of images that name none. Source: Docker.
pub fn default_shell() -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into()]
}

/// A change of the image configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigChange {
    /// Sets a variable.
    Env(String, String),
    /// Sets a label.
    Label(String, String),
    /// Sets the working directory; a relative one is joined to the one before.
    Workdir(String),
    /// Sets the user.
    User(String),
    /// Exposes a port, `80/tcp`.
    Expose(String),
    /// Declares a volume.
    Volume(String),
    /// Sets the command; an entry point set later in the same part resets it as Docker does.
    Cmd(Vec<String>),
    /// Sets the entry point.
    Entrypoint(Vec<String>),
    /// Sets or removes the health check.
    Healthcheck(Option<Healthcheck>),
    /// Sets the signal that stops the container.
    StopSignal(String),
    /// Sets the shell of later shell-form commands.
    Shell(Vec<String>),
    /// Adds a trigger for images based on this one.
    OnBuild(String),
    /// Removes the triggers of the base, which follow. It is a mark, of which the history tells nothing.
    ClearOnBuild,
    /// A command that was set before stays when the entry point is set. It is a mark, of which the history tells nothing.
    KeepCmd,
    /// Sets the author.
    Author(String),
    /// Removes variables by exact name or `/regex/`.
    RemoveEnv(String),
    /// Removes labels by exact name or `/regex/`.
    RemoveLabel(String),
    /// Removes a volume.
    RemoveVolume(String),
    /// Replaces all exposed ports.
    ReplaceExpose(Vec<String>),
    /// Removes the command.
    ClearCmd,
    /// Removes the entry point.
    ClearEntrypoint,
    /// Removes the user.
    ClearUser,
    /// Removes the working directory.
    ClearWorkdir,
    /// Forgets the history.
    ClearHistory,
}

/// A health check. Units: nanoseconds, as in the image configuration; 0 means inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", script]`.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: u64,
    /// Time one check may take.
    pub timeout: u64,
    /// Time before failures count.
    pub start_period: u64,
    /// Time between checks in the start period.
    pub start_interval: u64,
    /// Failures in a row that mean unhealthy.
    pub retries: u64,
}

impl ConfigChange {
    /// Says whether the history has a line for it.
    pub fn is_told(&self) -> bool {
        !matches!(self, Self::ClearHistory | Self::ClearOnBuild | Self::KeepCmd)
    }
}

impl std::fmt::Display for ConfigChange {
    /// Writes the Dockerfile instruction that makes the change.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
        // No list is a script, so the two forms are never the same text.
        let command = |words: &[String]| script_of_base_shell(words).map_or_else(|| list(words), str::to_owned);
        match self {
            Self::Env(name, value) => write!(f, "ENV {name}={value}"),
            Self::Label(name, value) => write!(f, "LABEL {name}={value}"),
            Self::Workdir(path) => write!(f, "WORKDIR {path}"),
            Self::User(user) => write!(f, "USER {user}"),
            Self::Expose(port) => write!(f, "EXPOSE {port}"),
            Self::Volume(path) => write!(f, "VOLUME {path}"),
            Self::Cmd(words) => write!(f, "CMD {}", command(words)),
            Self::Entrypoint(words) => write!(f, "ENTRYPOINT {}", command(words)),
            Self::Healthcheck(None) => f.write_str("HEALTHCHECK NONE"),
            Self::Healthcheck(Some(check)) => write!(
                f,
                "HEALTHCHECK --interval={}ns --timeout={}ns --start-period={}ns --start-interval={}ns --retries={} {}",
                check.interval,
                check.timeout,
                check.start_period,
                check.start_interval,
                check.retries,
                list(&check.test)
            ),
            Self::StopSignal(signal) => write!(f, "STOPSIGNAL {signal}"),
            Self::Shell(words) => write!(f, "SHELL {}", list(words)),
            Self::OnBuild(trigger) => write!(f, "ONBUILD {trigger}"),
            Self::ClearOnBuild => f.write_str("clear ONBUILD"),
            Self::KeepCmd => f.write_str("keep CMD"),
            Self::Author(author) => write!(f, "MAINTAINER {author}"),
            Self::RemoveEnv(pattern) => write!(f, "remove ENV {pattern}"),
            Self::RemoveLabel(pattern) => write!(f, "remove LABEL {pattern}"),
            Self::RemoveVolume(path) => write!(f, "remove VOLUME {path}"),
            Self::ReplaceExpose(ports) => write!(f, "replace EXPOSE {}", list(ports)),
            Self::ClearCmd => f.write_str("clear CMD"),
            Self::ClearEntrypoint => f.write_str("clear ENTRYPOINT"),
            Self::ClearUser => f.write_str("clear USER"),
            Self::ClearWorkdir => f.write_str("clear WORKDIR"),
            Self::ClearHistory => f.write_str("clear history"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_address_has_a_name_that_leads_nowhere_else() {
        for (url, name) in [
            ("https://example.org/a/b.tar?x=/y#z", "b.tar"),
            ("https://example.org/a%20b", "a b"),
            ("https://example.org/100%25%", "100%%"),
            ("https://example.org/a/..", "__unnamed__"),
            ("https://example.org/%2e%2e", "__unnamed__"),
            ("https://example.org/a%2Fb", "__unnamed__"),
            ("https://example.org", "__unnamed__"),
        ] {
            assert_eq!(CopySource::name_of_address(url), name, "{url}");
        }
        assert_eq!(CopySource::shown_address("https://me:pass@example.org/a@b"), "https://example.org/a@b");
        assert_eq!(CopySource::shown_address("https://example.org/a@b"), "https://example.org/a@b");
    }

    #[test]
    fn the_shell_of_the_base_is_put_where_it_is_meant() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let change = ConfigChange::Cmd(base_shell().into_iter().chain(["run it".to_owned()]).collect());
        assert_eq!(change.to_string(), "CMD run it");
        let bash = words(&["/bin/bash", "-c"]);
        assert_eq!(*resolve_base_shell(&change, Some(&bash)), ConfigChange::Cmd(words(&["/bin/bash", "-c", "run it"])));
        assert_eq!(*resolve_base_shell(&change, None), ConfigChange::Cmd(words(&["/bin/sh", "-c", "run it"])));
        let exec = ConfigChange::Entrypoint(words(&["a", "b"]));
        assert!(matches!(resolve_base_shell(&exec, Some(&bash)), Cow::Borrowed(_)));
    }

    #[test]
    fn modifiers_of_variables_of_the_base_wait_for_it() {
        let lookup = |name: &str| match name {
            "SET" => Some("1.2.3".to_owned()),
            "ODD" => Some("a}b\\$c".to_owned()),
            _ => None,
        };
        let resolve = |text: &str| resolve_base_env(text, &lookup);
        assert_eq!(resolve(&format!("<{}>", deferred_base_env("UNSET", ":-", "x"))), "<x>");
        assert_eq!(resolve(&deferred_base_env("SET", ":-", "x")), "1.2.3");
        assert_eq!(resolve(&deferred_base_env("SET", "%", ".*")), "1.2");
        let nested = deferred_base_env("ALSO", "-", &base_env("ODD"));
        assert_eq!(resolve(&deferred_base_env("UNSET", ":-", &nested)), "a}b\\$c");
        let word = syntax::escaped(&deferred_base_env("ALSO", ":-", &syntax::escaped("a b")));
        assert_eq!(resolve(&deferred_base_env("UNSET", ":-", &word)), "a b");
        assert_eq!(resolve(&format!("{}{}", base_env("SET"), base_env("UNSET"))), "1.2.3");
        assert_eq!(show_base_env(&deferred_base_env("UNSET", ":-", "x")), "${UNSET:-x}");
    }
}
