//! A build request as a Dockerfile and the files that it takes.
//!
//! What lives here: what is sent to the engine, as data. What does not: sending it (`build`), the bytes of files
//! (`context`).
//!
//! The one idea: nothing is left for the engine to decide. Variables are resolved, commands are in exec form, sources are
//! numbered folders that hold what was taken and nothing else. So the Dockerfile is plain enough for the front end that
//! an engine of version 20.10 has built in, which is asked for nothing newer.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::native::config;
use crate::ports::BuildError;
use crate::ports::oci::{ImageConfig, Manifest};
use crate::source::{Mode, ObjectId, Place};
use crate::stage::{
    Base, BuildPart, BuildRequest, ConfigChange, CopyMode, CopySource, CopyStep, FilterSpec, Healthcheck, ImageRef,
    MountFrom, MountKind, Network, Owner, Platform, RunStep, SecretPlace, Sharing, Step, TreeSource,
    resolve_base_shell,
};

/// The name of the builder, for messages.
pub const NAME: &str = "docker";

/// What is sent to the engine.
pub struct Canonical {
    /// The Dockerfile.
    pub text: String,
    /// What the context holds beside it.
    pub content: Vec<Content>,
    /// Values that a Dockerfile cannot spell.
    pub arguments: BTreeMap<String, String>,
    /// The images that it starts from or takes files of.
    pub bases: Vec<BaseImage>,
    /// The network of all commands.
    pub network: Network,
    /// Further names of hosts, `NAME:ADDRESS`.
    pub add_host: BTreeSet<String>,
    /// The configuration as it should become; its layers are those of the base.
    pub config: ImageConfig,
    /// Whether the engine's configuration says all that was asked for.
    pub is_exact: bool,
    /// The index in `bases` of what the result starts from.
    pub base: Option<usize>,
    /// The history over the base.
    pub history: Vec<Told>,
    /// The secrets that commands get: the engine knows the first as `s0`, and so on.
    pub secrets: Vec<String>,
    /// Whether a command gets the ssh agent.
    pub agent: bool,
    /// The steps that the engine numbers, by part.
    steps: Vec<Vec<Noted>>,
}

/// A step as it was asked for.
pub struct Noted {
    /// The instruction as written.
    pub told: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// The number of its line in the Dockerfile.
    line: usize,
}

/// A folder `c0`, `c1`, … of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file, link or directory of the repository; `at` is where in the folder it is, empty for the folder itself.
    Tree {
        /// Its path in the folder.
        at: String,
        /// The tree, blob or link.
        id: ObjectId,
        /// Which of them.
        mode: Mode,
        /// How the request names it.
        source: TreeSource,
        /// What its modes become.
        chmod: Option<CopyMode>,
    },
    /// A file that is fetched when it is sent.
    Address {
        /// Its path in the folder.
        at: String,
        /// Where it is.
        url: String,
        /// What its content must be.
        checksum: Option<String>,
        /// The instruction, for messages.
        step: String,
        /// Its mode.
        mode: u32,
    },
    /// A file.
    Text {
        /// Its path in the folder.
        at: String,
        /// What it holds.
        text: String,
        /// Its mode.
        mode: u32,
    },
}

/// A line of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The engine has a line for it; this is how it is told.
    Step(String),
    /// The engine has a line, which only our way of saying things made.
    Ours,
    /// The engine has none.
    Extra(String),
    /// All lines before are forgotten.
    Cleared,
}

/// An image that the engine needs under a name.
pub struct BaseImage {
    /// The image.
    pub manifest: Manifest,
    /// Its configuration, as bytes whose digest is the engine's id of the image.
    pub config: Vec<u8>,
    /// The digests of its uncompressed layers.
    pub parsed: ImageConfig,
    /// Its name in the engine.
    pub name: String,
}

/// A base as the store has it.
#[derive(Clone)]
pub struct StoredBase {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
    /// The bytes of its configuration.
    pub bytes: Vec<u8>,
}

/// Why there is no such Dockerfile.
pub enum Refusal {
    /// The engine's Dockerfiles cannot say it.
    Unsayable(String),
    /// The request cannot be built at all.
    Wrong(BuildError),
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        Self::Wrong(error)
    }
}

/// What a builder knows besides the request.
pub struct Around<'a> {
    /// What the names of images in the engine end with.
    pub run: &'a str,
    /// The secrets of the image.
    pub secrets: &'a BTreeMap<String, SecretPlace>,
    /// Whether an ssh agent runs.
    pub agent: bool,
}

/// A part in the making.
struct Part {
    config: ImageConfig,
    base: Option<usize>,
    history: Vec<Told>,
    is_exact: bool,
}

struct Writer<'a> {
    request: &'a BuildRequest,
    around: Around<'a>,
    lookup: &'a mut dyn FnMut(&ImageRef, &Platform) -> Result<StoredBase, BuildError>,
    canonical: Canonical,
    networks: Vec<Network>,
    parts: Vec<Option<Part>>,
    /// How many lines are written.
    lines: usize,
}

fn unsayable<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsayable(what.into()))
}

impl Canonical {
    /// Writes the Dockerfile of a request; `needed` says which parts count, `lookup` reads a stored image.
    pub fn of(
        request: &BuildRequest,
        needed: &[bool],
        around: Around<'_>,
        lookup: &mut dyn FnMut(&ImageRef, &Platform) -> Result<StoredBase, BuildError>,
    ) -> Result<Self, Refusal> {
        let canonical = Self {
            text: String::new(),
            content: Vec::new(),
            arguments: BTreeMap::new(),
            bases: Vec::new(),
            network: Network::Default,
            add_host: BTreeSet::new(),
            config: ImageConfig::default(),
            is_exact: true,
            base: None,
            history: Vec::new(),
            secrets: Vec::new(),
            agent: false,
            steps: Vec::new(),
        };
        let mut writer =
            Writer { request, around, lookup, canonical, networks: Vec::new(), parts: Vec::new(), lines: 0 };
        for (index, (part, needed)) in request.parts.iter().zip(needed).enumerate() {
            writer.canonical.steps.push(Vec::new());
            writer.note_step(index, &format!("FROM of {}", part.name), None);
            let made = if *needed { Some(writer.part(index, part)?) } else { None };
            writer.parts.push(made);
        }
        let Some(last) = writer.parts.pop().flatten() else { return unsayable("a request without parts") };
        let mut canonical = writer.canonical;
        writer.networks.sort_by_key(|n| *n as u8);
        writer.networks.dedup();
        canonical.network = match writer.networks.as_slice() {
            [] => Network::None,
            [one] => *one,
            _ => return unsayable("commands with different networks in one build"),
        };
        Ok(Self { config: last.config, is_exact: last.is_exact, base: last.base, history: last.history, ..canonical })
    }

    /// Returns the Dockerfile up to a command that failed, which is let fail.
    pub fn until(&self, vertex: &str) -> Option<String> {
        let noted = self.step(vertex)?;
        let mut lines: Vec<&str> = self.text.lines().take(noted.line).collect();
        let (head, words) = lines.pop()?.strip_prefix("RUN")?.split_once(" [")?;
        let words: Vec<String> = serde_json::from_str(&format!("[{words}")).ok()?;
        let anyway = ["/bin/sh".to_owned(), "-c".to_owned(), "\"$0\" \"$@\" || :".to_owned()];
        let words: Vec<String> = anyway.into_iter().chain(words).collect();
        let last = format!("RUN{head} {}", serde_json::to_string(&words).ok()?);
        Some(format!("{}\n{last}\n", lines.join("\n")))
    }

    /// Returns the instruction as written behind the engine's name of a step, as `[p1 2/3] RUN …`.
    pub fn step(&self, vertex: &str) -> Option<&Noted> {
        let (head, _) = vertex.strip_prefix('[')?.split_once(']')?;
        let (part, numbers) = head.rsplit_once(' ').map_or((None, head), |(part, numbers)| (Some(part), numbers));
        let number: usize = numbers.split_once('/')?.0.trim().parse().ok()?;
        let steps = match part {
            Some(part) => self.steps.get(part.strip_prefix('p')?.parse::<usize>().ok()?)?,
            None => self.steps.iter().rfind(|s| s.len() > 1)?,
        };
        steps.get(number.checked_sub(1)?)
    }
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        self.canonical.text.push_str(text);
        self.canonical.text.push('\n');
        self.lines += 1;
    }

    fn part(&mut self, index: usize, part: &BuildPart) -> Result<Part, Refusal> {
        let as_root = part.steps.iter().any(|step| matches!(step, Step::Run(run) if run.as_root));
        let platform = self.request.platform_of(index);
        let on = self.request.part_platforms.get(&index).map(|p| format!("--platform={p} ")).unwrap_or_default();
        let mut made = match &part.base {
            Base::Scratch => {
                self.line(&format!("FROM {on}scratch AS p{index}"));
                let config = config::scratch(platform);
                Part { config, base: None, history: Vec::new(), is_exact: true }
            }
            Base::Part(base) => {
                if as_root {
                    return unsayable("commands of a stage of Stapel over another part");
                }
                self.line(&format!("FROM p{base} AS p{index}"));
                let found = self.parts.get(*base).and_then(Option::as_ref);
                let Some(found) = found else { return unsayable(format!("part {base} before it is made")) };
                Part {
                    config: found.config.clone(),
                    base: found.base,
                    history: found.history.clone(),
                    is_exact: found.is_exact,
                }
            }
            Base::Image(reference) => {
                let stored = self.stored(reference, platform)?;
                let config = config::over_base(stored.config.clone(), &stored.manifest);
                let base = self.base(stored, as_root);
                let name = self.canonical.bases.get(base).map(|b| b.name.clone()).unwrap_or_default();
                self.line(&format!("FROM {on}{name} AS p{index}"));
                Part { config, base: Some(base), history: Vec::new(), is_exact: !as_root }
            }
        };
        made.is_exact &= made.config.config.on_build.is_empty();
        config::leave_triggers(&mut made.config, &part.base);
        let mut command_set = false;
        let mut declared: BTreeMap<String, String> = BTreeMap::new();
        let env = made.config.config.env.clone();
        let mut steps = part.steps.iter().map(|step| config::with_base_env(step, &env)).peekable();
        while let Some(step) = steps.next() {
            match &*step {
                Step::Config(change) => {
                    let change = &*resolve_base_shell(change, made.config.config.shell.as_deref());
                    config::apply(&mut made.config, change, &mut command_set)?;
                    if let ConfigChange::Env(name, _) = change {
                        declared.remove(name);
                    }
                    self.config(&mut made, change, index);
                }
                // It is made before, see `split_update`.
                Step::Update(_) => return unsayable("changed files of git mappings"),
                Step::Copy(copy) => {
                    self.copy(&mut made, copy, index)?;
                }
                Step::Run(run) => {
                    if run.ansible {
                        let what = format!("`{}`: the native builder runs tasks of Ansible", run.created_by);
                        return Err(BuildError::Unsupported { builder: NAME, what }.into());
                    }
                    if run.as_root != as_root {
                        return unsayable("commands of Stapel and of a Dockerfile in one part");
                    }
                    let mut script = vec![run.clone()];
                    while as_root && let Some(next) = steps.next_if(|s| matches!(&**s, Step::Run(_))) {
                        if let Step::Run(next) = &*next {
                            script.push(next.clone());
                        }
                    }
                    let created_by = script.iter().map(|s| s.created_by.as_str()).collect::<Vec<_>>().join(" && ");
                    self.run(&mut made, &script, &created_by, &mut declared)?;
                    self.note_step(index, &created_by, run.place.as_ref());
                }
            }
        }
        Ok(made)
    }

    /// Notes the step whose line was written last.
    fn note_step(&mut self, part: usize, created_by: &str, place: Option<&Place>) {
        let line = self.lines;
        if let Some(steps) = self.canonical.steps.get_mut(part) {
            steps.push(Noted { told: created_by.to_owned(), place: place.cloned(), line });
        }
    }

    fn stored(&mut self, reference: &ImageRef, platform: &Platform) -> Result<StoredBase, Refusal> {
        let stored = (self.lookup)(reference, platform)?;
        let other = |text: &str, ours: &str| !text.is_empty() && text != ours;
        let config = &stored.config;
        let is_stage = matches!(reference, ImageRef::Stage { .. });
        if !is_stage && (other(&config.architecture, &platform.architecture) || other(&config.os, &platform.os)) {
            let why = format!("it is for {}/{}, the build is for {platform}", config.os, config.architecture);
            return Err(BuildError::Step { step: format!("FROM {reference}"), why }.into());
        }
        Ok(stored)
    }

    /// Notes an image that the engine needs; commands of Stapel see it without its user and its directory.
    ///
    /// It sees none of their triggers: the request has what is to be carried out of them.
    fn base(&mut self, mut stored: StoredBase, as_root: bool) -> usize {
        if as_root || !stored.config.config.on_build.is_empty() {
            stored.config.config.on_build.clear();
            if as_root {
                stored.config.config.user.clear();
                stored.config.config.working_dir.clear();
            }
            stored.bytes = stored.config.to_bytes();
        }
        let hex = crate::ports::BlobDigest::of(&stored.bytes).hex().to_owned();
        let name = base_name(&hex, self.around.run);
        let bases = &mut self.canonical.bases;
        if let Some(known) = bases.iter().position(|b| b.name == name) {
            return known;
        }
        let base = BaseImage { manifest: stored.manifest, config: stored.bytes, parsed: stored.config, name };
        bases.push(base);
        bases.len() - 1
    }

    fn image_name(&mut self, reference: &ImageRef) -> Result<String, Refusal> {
        let stored = self.stored(reference, &self.request.platform)?;
        let index = self.base(stored, false);
        Ok(self.canonical.bases.get(index).map(|b| b.name.clone()).unwrap_or_default())
    }

    fn config(&mut self, part: &mut Part, change: &ConfigChange, index: usize) {
        let list = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
        let line = match change {
            ConfigChange::Env(name, value) if value.contains('\n') => {
                let argument = format!("stagewright_value_{}", self.canonical.arguments.len());
                self.canonical.arguments.insert(argument.clone(), value.clone());
                self.line(&format!("ARG {argument}"));
                part.history.push(Told::Ours);
                format!("ENV {name}=\"${{{argument}}}\"")
            }
            ConfigChange::Env(name, value) => format!("ENV {name}={}", quoted(value)),
            ConfigChange::Label(name, value) if !(name.contains('\n') || value.contains('\n')) => {
                format!("LABEL {}={}", quoted(name), quoted(value))
            }
            ConfigChange::Workdir(path) => {
                self.line(&format!("WORKDIR {}", quoted(path)));
                self.note_step(index, &change.to_string(), None);
                part.history.push(Told::Step(change.to_string()));
                return;
            }
            ConfigChange::User(user) if !user.is_empty() => format!("USER {}", quoted(user)),
            ConfigChange::ClearUser | ConfigChange::User(_) => {
                part.is_exact = false;
                "USER 0:0".to_owned()
            }
            ConfigChange::Expose(port) => format!("EXPOSE {}", escaped(port)),
            ConfigChange::Volume(path) => format!("VOLUME {}", list(&[escaped(path)])),
            ConfigChange::Cmd(words) => format!("CMD {}", list(words)),
            ConfigChange::Entrypoint(words) => format!("ENTRYPOINT {}", list(words)),
            ConfigChange::Shell(words) => format!("SHELL {}", list(words)),
            ConfigChange::StopSignal(signal) => format!("STOPSIGNAL {}", escaped(signal)),
            ConfigChange::Author(author) if !author.contains('\n') => format!("MAINTAINER {author}"),
            ConfigChange::Healthcheck(Some(check)) if healthcheck(check).is_some() => {
                healthcheck(check).unwrap_or_default()
            }
            // Only the configuration tells that they happened; no command sees them. The engine would carry triggers out.
            ConfigChange::Label(..)
            | ConfigChange::OnBuild(_)
            | ConfigChange::Author(_)
            | ConfigChange::Healthcheck(_)
            | ConfigChange::RemoveEnv(_)
            | ConfigChange::RemoveLabel(_)
            | ConfigChange::RemoveVolume(_)
            | ConfigChange::ReplaceExpose(_)
            | ConfigChange::ClearCmd
            | ConfigChange::ClearEntrypoint
            | ConfigChange::ClearWorkdir
            | ConfigChange::ClearOnBuild
            | ConfigChange::KeepCmd
            | ConfigChange::ClearHistory => {
                part.is_exact = false;
                if change.is_told() {
                    part.history.push(Told::Extra(change.to_string()));
                } else if *change == ConfigChange::ClearHistory {
                    part.history.push(Told::Cleared);
                }
                return;
            }
        };
        self.line(&line);
        part.history.push(Told::Step(change.to_string()));
    }

    /// Adds a folder to the context and returns its name.
    fn folder(&mut self, content: Content) -> String {
        self.canonical.content.push(content);
        format!("c{}", self.canonical.content.len() - 1)
    }

    fn copy(&mut self, part: &mut Part, copy: &CopyStep, index: usize) -> Result<(), Refusal> {
        let mut flags = String::new();
        match owner_flag(&copy.owner) {
            Some(owner) if owner.contains(char::is_whitespace) => return unsayable("an owner with a space"),
            Some(owner) => flags.push_str(&format!(" --chown={}", escaped(&owner))),
            None => {}
        }
        // Engines of version 20.10 know digits only: what changes modes is carried out in what is sent.
        if let Some(CopyMode::Fixed(mode)) = copy.mode {
            flags.push_str(&format!(" --chmod={:04o}", mode & 0o7777));
        }
        // Sources of one image at a time: that is one instruction, save for what only a request can say.
        let mut groups: Vec<(Option<String>, Vec<String>)> = Vec::new();
        for source in &copy.sources {
            let (from, path) = self.source(copy, source)?;
            match groups.last_mut().filter(|(known, _)| *known == from) {
                Some((_, paths)) => paths.push(path),
                None => groups.push((from, vec![path])),
            }
        }
        if groups.is_empty() {
            return unsayable("a copy without sources");
        }
        let mut to = copy.to.clone();
        if (copy.sources.len() > 1 || copy.parents) && !to.ends_with('/') {
            to.push('/');
        }
        // What comes from an address is not unpacked.
        let is_address = |source: &CopySource| matches!(source, CopySource::Address { .. });
        let extracts = copy.extract && !copy.sources.iter().any(is_address);
        if copy.extract && !extracts && !copy.sources.iter().all(is_address) {
            return unsayable("an ADD of addresses and files");
        }
        let name = if extracts { "ADD" } else { "COPY" };
        for (from, mut words) in groups {
            words.push(escaped(&to));
            let from = from.map(|f| format!(" --from={f}")).unwrap_or_default();
            let words = serde_json::to_string(&words).unwrap_or_default();
            self.line(&format!("{name}{from}{flags} {words}"));
            self.note_step(index, &copy.created_by, None);
            part.history.push(Told::Step(copy.created_by.clone()));
        }
        Ok(())
    }

    /// Returns the image or part of a source, and its path there.
    fn source(&mut self, copy: &CopyStep, source: &CopySource) -> Result<(Option<String>, String), Refusal> {
        let sayable = |filter: &FilterSpec| match filter {
            FilterSpec::All => !copy.parents,
            FilterSpec::Dockerignore { patterns, exclude } => {
                patterns.is_empty() && exclude.is_empty() && !copy.parents
            }
            FilterSpec::Paths { .. } => false,
        };
        let keeps_owner = copy.owner.user.is_some() || copy.owner.group.is_none();
        let chmod = copy.mode.clone().filter(|mode| matches!(mode, CopyMode::Change(_)));
        match source {
            CopySource::Tree(tree) => {
                let at = match (copy.parents, tree.mode) {
                    (false, Mode::Directory) => "",
                    (_, Mode::Directory | Mode::File | Mode::Executable | Mode::Symlink | Mode::Submodule) => {
                        tree.called(copy.parents)
                    }
                };
                let (at, source) = (at.to_owned(), tree.clone());
                let folder = self.folder(Content::Tree { at: at.clone(), id: tree.id, mode: tree.mode, source, chmod });
                let inside = if copy.parents { "" } else { &at };
                Ok((None, format!("{folder}/{}", escaped(&literal(inside)))))
            }
            CopySource::Inline { name, content } => {
                let mode = chmod.map_or(0o644, |change| change.apply(0o644, false));
                let folder = self.folder(Content::Text { at: name.clone(), text: content.clone(), mode });
                Ok((None, format!("{folder}/{}", escaped(&literal(name)))))
            }
            // Fetched by us: the engine's oldest front end knows no checksums, and the network is that of this host.
            CopySource::Address { url, checksum } => {
                let at = CopySource::name_of_address(url);
                let path = escaped(&literal(&at));
                let (url, checksum) = (url.clone(), checksum.clone());
                let mode = chmod.map_or(0o600, |change| change.apply(0o600, false));
                let step = copy.created_by.clone();
                let folder = self.folder(Content::Address { at, url, checksum, step, mode });
                Ok((None, format!("{folder}/{path}")))
            }
            CopySource::Part { .. } | CopySource::Image { .. } if chmod.is_some() => {
                unsayable("a symbolic mode for files of an image")
            }
            CopySource::Part { part, path, filter } if sayable(filter) && keeps_owner => {
                Ok((Some(format!("p{part}")), escaped(path)))
            }
            CopySource::Image { image, path, filter } if sayable(filter) && keeps_owner => {
                Ok((Some(self.image_name(image)?), escaped(path)))
            }
            CopySource::Part { .. } | CopySource::Image { .. } => {
                unsayable("files of an image chosen by patterns, with their parents, or with a group alone")
            }
        }
    }

    fn run(
        &mut self,
        part: &mut Part,
        script: &[RunStep],
        created_by: &str,
        declared: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let Some(first) = script.first().filter(|s| !s.command.is_empty()) else {
            return unsayable(format!("`{created_by}`: it has no command"));
        };
        let mut words: Vec<String> = if first.as_root {
            let mut text = "set -e\n".to_owned();
            for command in script.iter().flat_map(|s| &s.command) {
                text.push_str(command);
                text.push('\n');
            }
            vec!["/bin/sh".into(), "-c".into(), text]
        } else if first.shell {
            let shell = part.config.config.shell.clone();
            let shell = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
            shell.into_iter().chain(first.command.iter().cloned()).collect()
        } else {
            first.command.clone()
        };
        for step in script {
            for (name, value) in step.unsigned_environment.iter().chain(&step.environment) {
                // What the request does not sign never hides a variable of the image.
                let in_image = part.config.config.env.iter().filter_map(|e| e.split_once('=')).any(|(n, _)| n == name);
                if (in_image && !step.environment.contains_key(name)) || declared.get(name) == Some(value) {
                    continue;
                }
                declared.insert(name.clone(), value.clone());
                if value.contains('\n') {
                    let old = self.canonical.arguments.insert(name.clone(), value.clone());
                    if old.is_some_and(|old| old != *value) {
                        return unsayable(format!("the argument {name} with several values of several lines"));
                    }
                    self.line(&format!("ARG {name}"));
                } else {
                    self.line(&format!("ARG {name}={}", quoted(value)));
                }
                part.history.push(Told::Ours);
            }
        }
        let mut mounts = String::new();
        let mut targets = Vec::new();
        let mut exported = String::new();
        for step in script {
            self.canonical.add_host.extend(step.add_host.iter().cloned());
            for mount in &step.mounts {
                if step.as_root && targets.contains(&&mount.target) {
                    continue;
                }
                targets.push(&mount.target);
                if let MountKind::Secret { id, variable: Some(variable), .. } = &mount.kind
                    && let Some(known) = self.secret(step, &mount.kind)?
                {
                    if !variable.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                        return unsayable(format!("the secret `{id}` as the variable `{variable}`"));
                    }
                    // The front end of 20.10 knows files only. What lies in `/dev` leaves no mount point.
                    let place = format!("/dev/stagewright-{known}");
                    mounts.push_str(&format!(" --mount=type=secret,id={known},target={place},mode=0444"));
                    exported.push_str(&format!(
                        "{variable}=\"$(cat {place}; echo x)\"; export {variable}=\"${{{variable}%x}}\"; "
                    ));
                }
                let fields = self.mount(step, &mount.target, &mount.kind)?;
                if fields.is_empty() {
                    continue;
                }
                let fields: Vec<String> = fields.into_iter().map(|f| csv(&f)).collect();
                let text = fields.join(",");
                if text.contains(char::is_whitespace) {
                    return unsayable(format!("the mount at `{}`, which has a space", mount.target));
                }
                mounts.push_str(&format!(" --mount={text}"));
            }
            self.networks.push(step.network);
        }
        if !exported.is_empty() {
            let script = format!("{exported}exec \"$0\" \"$@\"");
            words.splice(0..0, ["/bin/sh".to_owned(), "-c".to_owned(), script]);
        }
        let words = serde_json::to_string(&words).unwrap_or_default();
        self.line(&format!("RUN{mounts} {words}"));
        part.history.push(Told::Step(created_by.to_owned()));
        Ok(())
    }

    /// Returns the name by which the engine knows a secret; `None` for one that is not there and need not be.
    fn secret(&mut self, step: &RunStep, kind: &MountKind) -> Result<Option<String>, Refusal> {
        let MountKind::Secret { id, required, .. } = kind else { return Ok(None) };
        if !self.around.secrets.contains_key(id) {
            let why = format!("the image has no secret `{id}`: declare it in `secrets`");
            return if *required { Err(refused(step, &why)) } else { Ok(None) };
        }
        let secrets = &mut self.canonical.secrets;
        let index = secrets.iter().position(|known| known == id).unwrap_or_else(|| {
            secrets.push(id.clone());
            secrets.len() - 1
        });
        Ok(Some(format!("s{index}")))
    }

    fn mount(&mut self, step: &RunStep, target: &str, kind: &MountKind) -> Result<Vec<String>, Refusal> {
        let at = format!("target={target}");
        let from = |writer: &mut Self, from: &MountFrom| match from {
            MountFrom::Part(part) => Ok(format!("from=p{part}")),
            MountFrom::Image(image) => writer.image_name(image).map(|name| format!("from={name}")),
        };
        // What lies in `/dev` leaves no mount point; commands of Stapel know the agent by its variable.
        let is_own = step.as_root && matches!(kind, MountKind::Ssh { .. });
        let at = if is_own { "target=/dev/stagewright-ssh".to_owned() } else { at };
        let mut fields = match kind {
            MountKind::Context { input, writable } => {
                let Some(tree) = step.inputs.get(*input) else { return unsayable("a mount of nothing") };
                let path = tree.path.trim_matches('/');
                let name = path.rsplit('/').next().unwrap_or_default();
                let at_name = if tree.mode == Mode::Directory { "" } else { name };
                let content = Content::Tree {
                    at: at_name.to_owned(),
                    id: tree.id,
                    mode: tree.mode,
                    source: tree.clone(),
                    chmod: None,
                };
                let folder = self.folder(content);
                let mut fields = vec!["type=bind".to_owned(), format!("source={folder}/{at_name}")];
                fields.push(if *writable { "rw".to_owned() } else { "ro".to_owned() });
                fields
            }
            MountKind::Bind { from: place, source, writable } => {
                let mut fields = vec!["type=bind".to_owned(), from(self, place)?, format!("source={source}")];
                fields.push(if *writable { "rw".to_owned() } else { "ro".to_owned() });
                fields
            }
            MountKind::Cache { id, sharing, from: place, source, mode, uid, gid, writable } => {
                let sharing = match sharing {
                    Sharing::Shared => "shared",
                    Sharing::Private => "private",
                    Sharing::Locked => "locked",
                };
                let mut fields =
                    vec!["type=cache".to_owned(), format!("id={}", plain_id(id)), format!("sharing={sharing}")];
                fields.push(format!("mode={mode:04o}"));
                fields.extend([format!("uid={uid}"), format!("gid={gid}")]);
                if let Some(place) = place {
                    fields.push(from(self, place)?);
                    fields.push(format!("source={source}"));
                }
                fields.extend((!writable).then(|| "ro".to_owned()));
                fields
            }
            // The front end of 20.10 knows no size; what a command writes there is its own.
            MountKind::Tmpfs { size: _ } | MountKind::Scratch => vec!["type=tmpfs".to_owned()],
            MountKind::Script { content } => {
                let folder = self.folder(Content::Text { at: "script".into(), text: content.clone(), mode: 0o755 });
                vec!["type=bind".to_owned(), format!("source={folder}/script")]
            }
            MountKind::Secret { file, mode, uid, gid, .. } => match self.secret(step, kind)? {
                Some(id) if *file => {
                    let mut fields = vec!["type=secret".to_owned(), format!("id={id}")];
                    fields.extend([format!("mode={mode:04o}"), format!("uid={uid}"), format!("gid={gid}")]);
                    fields
                }
                Some(_) | None => return Ok(Vec::new()),
            },
            MountKind::Ssh { required, mode, uid, gid, .. } => {
                if !self.around.agent && *required {
                    return Err(refused(step, "no ssh agent is running: SSH_AUTH_SOCK is not set"));
                }
                if !self.around.agent {
                    return Ok(Vec::new());
                }
                self.canonical.agent = true;
                let mut fields = vec!["type=ssh".to_owned(), "id=default".to_owned(), format!("mode={mode:04o}")];
                fields.extend([format!("uid={uid}"), format!("gid={gid}")]);
                fields
            }
            MountKind::Host { path } => return unsayable(format!("the folder `{path}` of the host")),
        };
        fields.insert(1, at);
        Ok(fields)
    }
}

/// Returns the name that an image gets in the engine for as long as the builder is there.
pub fn base_name(hex: &str, run: &str) -> String {
    format!("stagewright-base:{hex}-{run}")
}

fn refused(step: &RunStep, why: &str) -> Refusal {
    BuildError::Step { step: step.created_by.clone(), why: why.to_owned() }.into()
}

/// Returns a word in quotes that stands for the text and nothing else.
fn quoted(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    word
}

/// Returns a word without quotes that stands for the text and nothing else.
fn escaped(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '\'' | '$') {
            word.push('\\');
        }
        word.push(c);
    }
    word
}

/// Returns the pattern that matches one path only.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | '*' | '?' | '[') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Returns a name for a cache that needs no quotes.
fn plain_id(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if id.chars().all(is_plain) {
        return id.to_owned();
    }
    crate::ports::BlobDigest::of(id.as_bytes()).hex().to_owned()
}

/// Returns one field of a comma-separated list.
fn csv(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn owner_flag(owner: &Owner) -> Option<String> {
    let set = |name: &Option<String>| name.clone().filter(|n| !n.is_empty());
    match (set(&owner.user), set(&owner.group)) {
        (None, None) => None,
        (Some(user), None) => Some(user),
        (None, Some(group)) => Some(format!("0:{group}")),
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
    }
}

/// Returns the instruction of a health check that the oldest engine understands.
fn healthcheck(check: &Healthcheck) -> Option<String> {
    let mut line = "HEALTHCHECK".to_owned();
    if check.start_interval != 0 {
        return None;
    }
    for (name, nanoseconds) in
        [("interval", check.interval), ("timeout", check.timeout), ("start-period", check.start_period)]
    {
        if nanoseconds != 0 {
            line.push_str(&format!(" --{name}={nanoseconds}ns"));
        }
    }
    if check.retries != 0 {
        line.push_str(&format!(" --retries={}", check.retries));
    }
    match check.test.split_first() {
        Some((kind, [])) if kind == "NONE" => Some("HEALTHCHECK NONE".to_owned()),
        Some((kind, [script]))
            if kind == "CMD-SHELL" && !script.contains('\n') && !script.trim_start().starts_with('[') =>
        {
            Some(format!("{line} CMD {script}"))
        }
        Some((kind, words)) if kind == "CMD" => {
            Some(format!("{line} CMD {}", serde_json::to_string(words).unwrap_or_default()))
        }
        Some(_) | None => None,
    }
}
