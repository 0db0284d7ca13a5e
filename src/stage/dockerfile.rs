//! Dockerfile images: the stages that the target needs become the parts of one build request.
//!
//! Variables are expanded here, as far as they are known: a variable of a base image that only the build will
//! see is left for it, see [`base_env`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, CopyStep, FilterSpec, Healthcheck, ImageRef, MountFrom,
    MountKind, Network, Owner, Platform, RunMount, RunStep, Sharing, Step, TreeSource, base_env, base_shell,
    default_shell, deferred_base_env, resolve_base_env, show_base_env, waits_for_base,
};
use super::content::{Context, Taken, copy_source};
use super::mode::CopyMode;
use super::model::Stage;
use super::onbuild;
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{MemoryObjects, ObjectId, Place, Sources, Span};
use crate::syntax::dockerfile as syntax;
use crate::syntax::dockerfile::{Command, Dockerfile, Instruction, Kind, Scope, Word};

/// What a Dockerfile is built with.
pub struct DockerfileInputs<'a> {
    /// The texts.
    pub sources: &'a Sources,
    /// The parsed file.
    pub dockerfile: &'a Dockerfile,
    /// Overlay in which filtered trees are kept.
    pub store: &'a Arc<MemoryObjects>,
    /// The build context.
    pub context: ObjectId,
    /// Path of the context in the repository.
    pub prefix: &'a str,
    /// Lines of `.dockerignore`.
    pub ignore: &'a [String],
    /// The target stage.
    pub target: Option<syntax::Target>,
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// Where they are set.
    pub argument_places: BTreeMap<String, Place>,
    /// References that name images of this project.
    pub known_images: &'a BTreeMap<String, ImageRef>,
    /// The triggers of such images, by reference.
    pub known_triggers: &'a BTreeMap<String, Vec<String>>,
    /// Further names of hosts.
    pub add_host: Vec<String>,
    /// The platform.
    pub platform: &'a Platform,
}

/// What `$BUILDPLATFORM` is on every machine, so that one commit has one signature; an argument of that name replaces it.
pub const BUILD_PLATFORM: &str = "linux/amd64";

/// Makes the stage of a Dockerfile; `None` when it has none, which is reported.
pub fn dockerfile_stage(diagnostics: &mut Diagnostics, inputs: &DockerfileInputs<'_>) -> Option<Stage> {
    let platform = inputs.platform.to_string();
    let build = syntax::Build {
        target: inputs.target.clone(),
        args: inputs.args.clone(),
        platform: syntax::platform_args(&platform, BUILD_PLATFORM),
    };
    let reachable = syntax::reachable(diagnostics, inputs.dockerfile, &build)?;
    let mut converter = Converter {
        diagnostics,
        inputs,
        parts: Vec::new(),
        part_platforms: BTreeMap::new(),
        scopes: Vec::new(),
        index: BTreeMap::new(),
        places: Vec::new(),
        argument_places: inputs.argument_places.clone(),
        commands: Vec::new(),
        own_triggers: Vec::new(),
        declared: BTreeMap::new(),
    };
    for stage in &reachable.stages {
        converter.stage(stage, &reachable.globals);
    }
    Some(Stage {
        name: "dockerfile".to_owned(),
        is_first: true,
        is_instruction: false,
        cache_versions: Vec::new(),
        request: BuildRequest {
            part_platforms: converter.part_platforms,
            ..BuildRequest::new(inputs.platform.clone(), converter.parts)
        },
        places: converter.places,
        argument_places: converter.argument_places,
        prefixes: BTreeMap::from([(inputs.context, inputs.prefix.to_owned())]),
        commands: converter.commands,
        mapped: Vec::new(),
        mapped_from: Vec::new(),
        triggers: converter.declared,
    })
}

/// The variables of a part, and whether its base has more that only the build will see.
#[derive(Clone)]
struct PartScope {
    scope: Scope,
    open: bool,
    shell: Vec<String>,
}

struct Converter<'a> {
    diagnostics: &'a mut Diagnostics,
    inputs: &'a DockerfileInputs<'a>,
    parts: Vec<BuildPart>,
    /// Of parts that are for another platform than the image.
    part_platforms: BTreeMap<usize, Platform>,
    scopes: Vec<PartScope>,
    /// Index in the Dockerfile to index in `parts`.
    index: BTreeMap<usize, usize>,
    places: Vec<Vec<Option<Place>>>,
    argument_places: BTreeMap<String, Place>,
    commands: Vec<(String, Place)>,
    /// The triggers that each part leaves.
    own_triggers: Vec<Vec<Instruction>>,
    /// The triggers of somebody else's base that are declared, by part.
    declared: BTreeMap<usize, Vec<String>>,
}

/// One part while its instructions go by.
struct Part {
    scope: PartScope,
    arguments: BTreeMap<String, String>,
    steps: Vec<Step>,
    places: Vec<Option<Place>>,
    triggers: Vec<Instruction>,
}

impl Part {
    fn push(&mut self, step: Step, place: &Place) {
        self.steps.push(step);
        self.places.push(Some(place.clone()));
    }

    fn config(&mut self, change: ConfigChange, place: &Place) {
        self.push(Step::Config(change), place);
    }
}

/// Says whether `$NAME` or `${NAME…` stands in a text.
fn names_variable(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let after = text.get(at + 1..).unwrap_or_default();
        let after = after.strip_prefix('{').unwrap_or(after);
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
        after.strip_prefix(name).is_some_and(|rest| !rest.starts_with(goes_on))
    })
}

impl Converter<'_> {
    fn stage(&mut self, input: &syntax::StageInput, globals: &Scope) {
        let Some(stage) = self.inputs.dockerfile.stages.get(input.index) else { return };
        let (base, scope) = self.base(&input.base);
        self.platform(stage, input, &base);
        let base_place = self.inputs.sources.place(stage.from.span);
        let mut part = Part {
            scope,
            arguments: BTreeMap::new(),
            steps: Vec::new(),
            places: vec![Some(base_place.clone())],
            triggers: Vec::new(),
        };
        let triggers = self.triggers(stage, &input.base);
        if !triggers.is_empty() {
            part.config(ConfigChange::ClearOnBuild, &base_place);
        }
        for trigger in &triggers {
            let uses = self.uses_of_trigger(trigger);
            self.instruction(&mut part, trigger, &uses.iter().collect::<Vec<_>>(), globals, &base_place);
        }
        for (position, instruction) in stage.instructions.iter().enumerate() {
            let place = self.inputs.sources.place(instruction.span);
            let uses: Vec<&syntax::Use> = input.uses.iter().filter(|u| u.instruction == position).collect();
            self.instruction(&mut part, instruction, &uses, globals, &place);
        }
        if matches!(base, Base::Image(ImageRef::External { .. })) {
            self.arguments_of_base(&mut part.arguments, &stage.from.base.text, globals);
        }
        self.index.insert(input.index, self.parts.len());
        self.parts.push(BuildPart {
            name: stage.name().map_or_else(|| input.index.to_string(), str::to_owned),
            base,
            arguments: part.arguments,
            steps: part.steps,
        });
        self.scopes.push(part.scope);
        self.places.push(part.places);
        self.own_triggers.push(part.triggers);
    }

    /// Returns the triggers that a base has, as far as they are known here.
    fn triggers(&mut self, stage: &syntax::Stage, base: &syntax::Base) -> Vec<Instruction> {
        match base {
            syntax::Base::Scratch => Vec::new(),
            syntax::Base::Stage(base) => {
                let part = self.index.get(base).and_then(|part| self.own_triggers.get(*part));
                part.cloned().unwrap_or_default()
            }
            syntax::Base::Image(reference) if self.inputs.known_images.contains_key(reference) => {
                let texts = self.inputs.known_triggers.get(reference).map_or(&[][..], Vec::as_slice);
                onbuild::parse(self.diagnostics, self.inputs.sources, reference, texts)
            }
            syntax::Base::Image(reference) => {
                let text = self.inputs.sources.get(self.inputs.dockerfile.file);
                let texts = onbuild::declared(text.text(), stage.from.span.start as usize);
                let triggers = onbuild::parse(self.diagnostics, self.inputs.sources, reference, &texts);
                if !texts.is_empty() {
                    self.declared.insert(self.parts.len(), texts);
                }
                triggers
            }
        }
    }

    /// Finds what a trigger takes of other images: a stage of this Dockerfile is meant by its name.
    fn uses_of_trigger(&mut self, trigger: &Instruction) -> Vec<syntax::Use> {
        let words: Vec<&Word> = match &trigger.kind {
            Kind::Copy(copy) => copy.from.iter().collect(),
            Kind::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
            Kind::Add(_)
            | Kind::Arg(_)
            | Kind::Cmd(_)
            | Kind::Entrypoint(_)
            | Kind::Env(_)
            | Kind::Expose(_)
            | Kind::Healthcheck(_)
            | Kind::Label(_)
            | Kind::Maintainer(_)
            | Kind::Onbuild(_)
            | Kind::Shell(_)
            | Kind::Stopsignal(_)
            | Kind::User(_)
            | Kind::Volume(_)
            | Kind::Workdir(_)
            | Kind::Unknown => Vec::new(),
        };
        let mut uses = Vec::new();
        for word in words {
            let mut stages = self.inputs.dockerfile.stages.iter();
            let named = stages.rposition(|s| s.name().is_some_and(|name| name.eq_ignore_ascii_case(&word.text)));
            let source = match named.or_else(|| word.text.parse().ok()) {
                Some(stage) if self.index.contains_key(&stage) => syntax::Base::Stage(stage),
                Some(_) => {
                    let message = format!("a trigger takes files of the stage `{}`, which is not built", word.text);
                    let d = Diagnostic::at(&rules::NOT_YET, word.span, message);
                    self.diagnostics.push(d.hint("let the stage that has the trigger carried out also copy of it"));
                    continue;
                }
                None => syntax::Base::Image(word.text.clone()),
            };
            uses.push(syntax::Use { instruction: 0, source, span: word.span });
        }
        uses
    }

    /// Notes that a part is for another platform than the image: it says so, or is based on one that is.
    fn platform(&mut self, stage: &syntax::Stage, input: &syntax::StageInput, base: &Base) {
        let inherited = if let Base::Part(part) = base { self.part_platforms.get(part).cloned() } else { None };
        let Some(text) = input.platform.as_ref().filter(|text| !text.is_empty()) else {
            self.part_platforms.extend(inherited.map(|platform| (self.parts.len(), platform)));
            return;
        };
        let span = stage.from.platform.as_ref().map_or(stage.from.span, |word| word.span);
        let Some(platform) = Platform::parse(text) else {
            let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, span, format!("`{text}` is no platform"));
            self.diagnostics.push(d.hint("write `OS/ARCHITECTURE`, for example `linux/amd64` or `$BUILDPLATFORM`"));
            return;
        };
        if platform == *self.inputs.platform {
            return;
        }
        if let Base::Image(ImageRef::Project { name, .. }) = base {
            let message = format!("`{name}` is taken for {}, not for {platform}", self.inputs.platform);
            let d = Diagnostic::at(&rules::PLATFORM_MISSING, span, message);
            let d = d.label("images of the project are those of the platform that is built");
            self.diagnostics.push(d.hint("leave out `--platform`"));
        }
        self.part_platforms.insert(self.parts.len(), platform);
    }

    /// Adds the arguments before the first FROM that the base of somebody else is named with.
    fn arguments_of_base(&mut self, arguments: &mut BTreeMap<String, String>, base: &str, globals: &Scope) {
        for instruction in &self.inputs.dockerfile.globals {
            let Kind::Arg(declared) = &instruction.kind else { continue };
            for name in declared.iter().map(|arg| &arg.name.text) {
                if let (true, Some(value)) = (names_variable(base, name), globals.get(name)) {
                    arguments.entry(name.clone()).or_insert_with(|| value.to_owned());
                    let place = || self.inputs.sources.place(instruction.span);
                    self.argument_places.entry(name.clone()).or_insert_with(place);
                }
            }
        }
    }

    fn base(&self, base: &syntax::Base) -> (Base, PartScope) {
        let fresh = |open| {
            let shell = if open { base_shell() } else { default_shell() };
            PartScope { scope: Scope::default(), open, shell }
        };
        match base {
            syntax::Base::Scratch => (Base::Scratch, fresh(false)),
            syntax::Base::Stage(stage) => {
                let part = self.index.get(stage).copied().unwrap_or(0);
                // With its arguments. Source: BuildKit.
                (Base::Part(part), self.scopes.get(part).cloned().unwrap_or_else(|| fresh(true)))
            }
            syntax::Base::Image(reference) => (Base::Image(self.image(reference)), fresh(true)),
        }
    }

    fn image(&self, reference: &str) -> ImageRef {
        let known = self.inputs.known_images.get(reference).cloned();
        known.unwrap_or_else(|| ImageRef::External { reference: reference.to_owned() })
    }

    fn expand(&mut self, part: &Part, word: &Word) -> Option<String> {
        self.expand_text(part, &word.text, word.span)
    }

    fn expand_text(&mut self, part: &Part, text: &str, span: Span) -> Option<String> {
        let lookup = |name: &str| lookup(&part.scope, name);
        let scope = &part.scope;
        let is_open = |name: &str| scope.open && scope.scope.get(name).is_none();
        let defer =
            |name: &str, modifier: &str, word: &str| is_open(name).then(|| deferred_base_env(name, modifier, word));
        match syntax::expand_deferring(text, self.inputs.dockerfile.escape, &lookup, &defer) {
            Ok(expanded) => Some(expanded.text),
            Err(error) => {
                self.diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, span, error.to_string()));
                None
            }
        }
    }

    /// Expands what is needed before the build: variables that only the base may define are taken as unset.
    fn expand_now(&mut self, part: &Part, word: &Word) -> Option<String> {
        self.expand(part, word).map(|text| resolve_base_env(&text, &|_| None))
    }

    fn instruction(
        &mut self,
        part: &mut Part,
        instruction: &Instruction,
        uses: &[&syntax::Use],
        globals: &Scope,
        place: &Place,
    ) {
        match &instruction.kind {
            Kind::Arg(declared) => self.arg(part, declared, globals, place),
            Kind::Env(pairs) => {
                let expanded = self.pairs(part, pairs);
                for (name, value) in expanded {
                    part.scope.scope.set_env(&name, value.clone());
                    part.config(ConfigChange::Env(name, value), place);
                }
            }
            Kind::Label(pairs) => {
                for (name, value) in self.pairs(part, pairs) {
                    part.config(ConfigChange::Label(name, value), place);
                }
            }
            Kind::Copy(copy) => self.copy(part, instruction, copy, uses, false, place),
            Kind::Add(copy) => self.copy(part, instruction, copy, uses, true, place),
            Kind::Run(run) => self.run(part, instruction, run, uses, place),
            Kind::Cmd(command) => {
                let words = command_words(command, &part.scope.shell);
                part.config(ConfigChange::Cmd(words), place);
            }
            Kind::Entrypoint(command) => {
                let words = command_words(command, &part.scope.shell);
                part.config(ConfigChange::Entrypoint(words), place);
            }
            Kind::Expose(words) => self.expose(part, words, place),
            Kind::Healthcheck(check) => {
                if let Some(check) = self.healthcheck(instruction, check, &part.scope.shell) {
                    part.config(ConfigChange::Healthcheck(Some(check)), place);
                }
            }
            Kind::Maintainer(author) => part.config(ConfigChange::Author(author.text.clone()), place),
            Kind::Onbuild(trigger) => {
                let mut text = instruction.text.split_once(' ').map_or("", |(_, text)| text).trim().to_owned();
                for heredoc in &instruction.heredocs {
                    text.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
                }
                part.config(ConfigChange::OnBuild(text), place);
                part.triggers.push((**trigger).clone());
            }
            Kind::Shell(words) => {
                let words: Vec<String> = words.iter().map(|w| w.text.clone()).collect();
                part.scope.shell.clone_from(&words);
                part.config(ConfigChange::Shell(words), place);
            }
            Kind::Stopsignal(word) => {
                if let Some(signal) = self.expand(part, word) {
                    part.config(ConfigChange::StopSignal(signal), place);
                }
            }
            Kind::User(word) => {
                if let Some(user) = self.expand(part, word) {
                    part.config(ConfigChange::User(user), place);
                }
            }
            Kind::Volume(words) => {
                for word in words {
                    if let Some(path) = self.expand(part, word) {
                        part.config(ConfigChange::Volume(path), place);
                    }
                }
            }
            Kind::Workdir(word) => {
                if let Some(path) = self.expand(part, word) {
                    part.config(ConfigChange::Workdir(path), place);
                }
            }
            Kind::Unknown => {}
        }
    }

    fn arg(&mut self, part: &mut Part, declared: &[syntax::ArgDeclaration], globals: &Scope, place: &Place) {
        for arg in declared {
            let name = arg.name.text.clone();
            let value = match (self.inputs.args.get(&name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => self.expand(part, default),
                (None, None) => globals.get(&name).map(str::to_owned),
            };
            if let Some(value) = value {
                part.arguments.insert(name.clone(), value.clone());
                self.argument_places.entry(name.clone()).or_insert_with(|| place.clone());
                part.scope.scope.set_arg(&name, Some(value));
            }
        }
    }

    /// Expands the pairs of one instruction; all see the variables as they were before it.
    fn pairs(&mut self, part: &Part, pairs: &[syntax::Pair]) -> Vec<(String, String)> {
        let mut expanded = Vec::new();
        for pair in pairs {
            if let (Some(key), Some(value)) = (self.expand(part, &pair.key), self.expand(part, &pair.value)) {
                expanded.push((key, value));
            }
        }
        expanded
    }

    fn expose(&mut self, part: &mut Part, words: &[Word], place: &Place) {
        for word in words {
            let Some(text) = self.expand(part, word) else { continue };
            if waits_for_base(&text) {
                part.config(ConfigChange::Expose(text), place);
                continue;
            }
            for port in text.split_whitespace() {
                if let Some(list) = ports(port) {
                    list.into_iter().for_each(|p| part.config(ConfigChange::Expose(p), place));
                } else {
                    let message = format!("`{port}` is no port");
                    let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, word.span, message);
                    self.diagnostics.push(d.hint("write `PORT`, `PORT/udp` or `FIRST-LAST`"));
                }
            }
        }
    }

    fn run(
        &mut self,
        part: &mut Part,
        instruction: &Instruction,
        run: &syntax::Run,
        uses: &[&syntax::Use],
        place: &Place,
    ) {
        let mut step = match &run.command {
            Command::Exec(words) => {
                RunStep::new(instruction.text.clone(), words.iter().map(|w| w.text.clone()).collect(), false)
            }
            Command::Shell(text) => RunStep::new(instruction.text.clone(), vec![text.text.clone()], true),
        };
        heredoc_command(&mut step, &instruction.heredocs);
        step.environment.clone_from(part.scope.scope.args());
        let proxies = self.inputs.args.iter().filter(|(name, _)| PROXIES.contains(&name.to_ascii_lowercase().as_str()));
        step.unsigned_environment.extend(proxies.map(|(name, value)| (name.clone(), value.clone())));
        step.add_host.clone_from(&self.inputs.add_host);
        let mut uses = uses.iter();
        for mount in &run.mounts {
            let from = mount.from.as_ref().and_then(|_| uses.next());
            self.mount(part, mount, from.map(|u| &u.source), &mut step);
        }
        self.run_flags(instruction, &mut step);
        self.commands.push(("RUN".to_owned(), place.clone()));
        part.push(Step::Run(step), place);
    }

    fn run_flags(&mut self, instruction: &Instruction, step: &mut RunStep) {
        for flag in &instruction.flags {
            let value = flag.value.as_ref().map_or("", |v| v.text.as_str());
            let refused = match (flag.name.as_str(), value) {
                ("network", "default") | ("security", "sandbox") => None,
                ("network", "host") => {
                    step.network = Network::Host;
                    None
                }
                ("network", "none") => {
                    step.network = Network::None;
                    None
                }
                ("network", _) => Some("write `default`, `host` or `none`"),
                ("security", "insecure") => Some("commands never get more rights than root has in a container"),
                ("security", _) => Some("write `sandbox`, or leave it out"),
                ("device", _) => Some("devices of the host are not given to commands"),
                _ => None,
            };
            if let Some(hint) = refused {
                let message = format!("`--{}={value}` cannot be used", flag.name);
                self.diagnostics.push(Diagnostic::at(&rules::NOT_YET, flag.span, message).hint(hint));
            }
        }
    }

    fn mount(&mut self, part: &Part, mount: &syntax::Mount, from: Option<&syntax::Base>, step: &mut RunStep) {
        let text = |this: &mut Self, word: &Option<Word>| word.as_ref().and_then(|w| this.expand(part, w));
        let (source, target, id) = (text(self, &mount.source), text(self, &mount.target), text(self, &mount.id));
        let option = |name: &str| mount.options.iter().find(|(key, _)| key == name).map(|(_, word)| word.text.as_str());
        let on = |names: [&str; 2]| {
            names.iter().find_map(|n| option(n)).map(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0"))
        };
        let (read_only, read_write) = (on(["readonly", "ro"]), on(["readwrite", "rw"]));
        let number = |name: &str| option(name).and_then(|v| v.parse().ok()).unwrap_or(0);
        let mode = |default: u32| option("mode").and_then(|v| u32::from_str_radix(v, 8).ok()).unwrap_or(default);
        let required = on(["required", "required"]).unwrap_or(false);
        let from = from.map(|base| self.mount_from(base));
        let needs_target = |this: &mut Self| {
            if target.is_none() {
                let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, mount.span, "this mount has no `target`");
                this.diagnostics.push(d.hint("add `target=PATH`"));
            }
        };
        let kind = match mount.kind {
            syntax::MountKind::Bind => {
                needs_target(self);
                let writable = read_write.unwrap_or(false) || read_only == Some(false);
                if let Some(from) = from {
                    MountKind::Bind { from, source: source.unwrap_or_default(), writable }
                } else {
                    let source = source.map_or_else(|| ".".to_owned(), |text| resolve_base_env(&text, &|_| None));
                    let found = self.context_source(&source, &Taken::default(), mount.span);
                    let input = step.inputs.len();
                    step.inputs.extend(found.into_iter().take(1));
                    MountKind::Context { input, writable }
                }
            }
            syntax::MountKind::Cache => {
                needs_target(self);
                let sharing = match option("sharing") {
                    Some("private") => Sharing::Private,
                    Some("locked") => Sharing::Locked,
                    Some(_) | None => Sharing::Shared,
                };
                MountKind::Cache {
                    id: id.or_else(|| target.clone()).unwrap_or_default(),
                    sharing,
                    from,
                    source: source.unwrap_or_default(),
                    mode: mode(0o755),
                    uid: number("uid"),
                    gid: number("gid"),
                    writable: !read_only.unwrap_or(false),
                }
            }
            syntax::MountKind::Tmpfs => {
                needs_target(self);
                MountKind::Tmpfs { size: option("size").and_then(parse_size) }
            }
            syntax::MountKind::Secret => {
                let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
                let id = id.or_else(|| target.as_deref().map(base)).unwrap_or_default();
                let variable = option("env").map(str::to_owned);
                let file = variable.is_none() || target.is_some();
                let kind = MountKind::Secret {
                    id: id.clone(),
                    file,
                    variable,
                    required,
                    mode: mode(0o400),
                    uid: number("uid"),
                    gid: number("gid"),
                };
                let target = target.unwrap_or_else(|| format!("/run/secrets/{}", base(&id)));
                step.mounts.push(RunMount { target, kind });
                return;
            }
            syntax::MountKind::Ssh => {
                let agents = step.mounts.iter().filter(|m| matches!(m.kind, MountKind::Ssh { .. })).count();
                let kind = MountKind::Ssh {
                    id: id.unwrap_or_else(|| "default".to_owned()),
                    required,
                    mode: mode(0o600),
                    uid: number("uid"),
                    gid: number("gid"),
                };
                let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{agents}"));
                step.mounts.push(RunMount { target, kind });
                return;
            }
        };
        step.mounts.push(RunMount { target: target.unwrap_or_default(), kind });
    }

    fn mount_from(&self, base: &syntax::Base) -> MountFrom {
        match base {
            syntax::Base::Stage(stage) => MountFrom::Part(self.index.get(stage).copied().unwrap_or(0)),
            syntax::Base::Image(reference) => MountFrom::Image(self.image(reference)),
            syntax::Base::Scratch => MountFrom::Image(ImageRef::External { reference: "scratch".to_owned() }),
        }
    }

    fn context_source(&mut self, pattern: &str, taken: &Taken<'_>, span: Span) -> Vec<TreeSource> {
        let context = Context { store: self.inputs.store, root: self.inputs.context, ignore: self.inputs.ignore };
        copy_source(self.diagnostics, &context, pattern, taken, span)
    }

    fn copy(
        &mut self,
        part: &mut Part,
        instruction: &Instruction,
        copy: &syntax::Copy,
        uses: &[&syntax::Use],
        is_add: bool,
        place: &Place,
    ) {
        let Some(to) = self.expand(part, &copy.destination) else { return };
        let flags = self.copy_flags(part, instruction);
        let mut shown = Vec::new();
        let mut sources = Vec::new();
        for word in &copy.sources {
            let heredoc = instruction.heredocs.iter().find(|h| word.text.starts_with("<<") && word.span == h.span);
            let expanded = if copy.from.is_none() && heredoc.is_none() {
                self.expand_now(part, word)
            } else {
                self.expand(part, word)
            };
            let Some(text) = expanded else { continue };
            let is_address = is_add && is_remote(&text);
            shown.push(show_base_env(&if is_address { CopySource::shown_address(&text) } else { text.clone() }));
            if let Some(heredoc) = heredoc {
                let content = if heredoc.expand { self.expand_heredoc(part, heredoc) } else { heredoc.content.clone() };
                sources.push(CopySource::Inline { name: heredoc.name.clone(), content });
            } else if is_address {
                sources.extend(self.address(instruction, text, word));
            } else if let Some(from) = uses.first().filter(|_| copy.from.is_some()) {
                sources.push(self.foreign_source(&from.source, &text, &flags.exclude));
            } else if copy.from.is_none() {
                let taken = Taken { exclude: &flags.exclude, parents: flags.parents };
                let found = self.context_source(&text, &taken, word.span);
                sources.extend(found.into_iter().map(CopySource::Tree));
            }
        }
        if copy.sources.len() > 1 && !to.ends_with('/') && to != "." && !to.ends_with("/.") {
            let message = "several sources need a directory as destination".to_owned();
            let d = Diagnostic::at(&rules::COPY_DESTINATION, copy.destination.span, message);
            self.diagnostics.push(d.hint(format!("write `{}/`", show_base_env(&to))));
        }
        let created_by = copied_text(instruction, is_add, &flags, copy.from.as_ref(), &shown, &show_base_env(&to));
        part.push(
            Step::Copy(CopyStep {
                sources,
                to,
                owner: flags.owner,
                mode: flags.mode,
                extract: is_add && flags.unpack != Some(false),
                parents: flags.parents,
                link: flags.link,
                created_by,
            }),
            place,
        );
    }

    /// Reads an ADD of an address; git repositories are refused.
    fn address(&mut self, instruction: &Instruction, url: String, word: &Word) -> Option<CopySource> {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        let refused = if !is_http || path.ends_with(".git") {
            Some(("ADD of a git repository does not work yet", "clone it in a RUN, or use a git mapping with `url`"))
        } else if instruction.flag("unpack").is_some_and(is_on) {
            Some(("`--unpack` of an address does not work yet", "unpack it in a RUN"))
        } else {
            None
        };
        if let Some((message, hint)) = refused {
            self.diagnostics.push(Diagnostic::at(&rules::NOT_YET, word.span, message).hint(hint));
            return None;
        }
        let checksum = instruction.flag("checksum").and_then(|flag| flag.value.as_ref());
        let is_sha256 = |text: &str| {
            let hex = text.strip_prefix("sha256:");
            hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if let Some(checksum) = checksum.filter(|word| !is_sha256(&word.text)) {
            let message = format!("`{}` is no digest of SHA-256", checksum.text);
            let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, checksum.span, message);
            self.diagnostics.push(d.hint("write `--checksum=sha256:` and 64 hexadecimal digits"));
            return None;
        }
        Some(CopySource::Address { url, checksum: checksum.map(|word| word.text.to_ascii_lowercase()) })
    }

    fn expand_heredoc(&mut self, part: &Part, heredoc: &syntax::Heredoc) -> String {
        // Quotes mean nothing in a heredoc: they are expanded as if escaped.
        let escape = self.inputs.dockerfile.escape;
        let mut raw = String::with_capacity(heredoc.content.len());
        for c in heredoc.content.chars() {
            if matches!(c, '\'' | '"') {
                raw.push(escape);
            }
            raw.push(c);
        }
        self.expand_text(part, &raw, heredoc.content_span).unwrap_or_default()
    }

    fn foreign_source(&self, from: &syntax::Base, path: &str, exclude: &[String]) -> CopySource {
        let filter = if exclude.is_empty() {
            FilterSpec::All
        } else {
            FilterSpec::Dockerignore { patterns: Vec::new(), exclude: exclude.to_vec() }
        };
        let path = path.to_owned();
        match from {
            syntax::Base::Stage(stage) => {
                CopySource::Part { part: self.index.get(stage).copied().unwrap_or(0), path, filter }
            }
            syntax::Base::Image(reference) => CopySource::Image { image: self.image(reference), path, filter },
            syntax::Base::Scratch => {
                CopySource::Image { image: ImageRef::External { reference: "scratch".to_owned() }, path, filter }
            }
        }
    }

    fn copy_flags(&mut self, part: &Part, instruction: &Instruction) -> CopyFlags {
        let mut flags = CopyFlags::default();
        for flag in &instruction.flags {
            let value = match (flag.name.as_str(), &flag.value) {
                ("chown", Some(value)) => self.expand(part, value),
                (_, Some(value)) => self.expand_now(part, value),
                (_, None) => None,
            };
            let on = value.as_deref().is_none_or(|v| v != "false");
            match (flag.name.as_str(), value) {
                ("chown", Some(owner)) => flags.owner = parse_owner(&owner),
                ("chmod", Some(mode)) => {
                    flags.mode = CopyMode::parse(&mode);
                    if flags.mode.is_none() {
                        let message = format!("`{mode}` is no mode");
                        let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, flag.span, message);
                        self.diagnostics.push(d.hint("write for example `--chmod=0755` or `--chmod=u+x`"));
                    }
                }
                ("exclude", Some(pattern)) => flags.exclude.push(pattern),
                ("parents", _) => flags.parents = on,
                ("link", _) => flags.link = on,
                ("unpack", _) => flags.unpack = Some(on),
                _ => {}
            }
        }
        flags
    }

    fn healthcheck(
        &mut self,
        instruction: &Instruction,
        check: &syntax::Healthcheck,
        shell: &[String],
    ) -> Option<Healthcheck> {
        let syntax::Healthcheck::Cmd(command) = check else {
            return Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
        };
        let mut result = Healthcheck { test: health_test(command, shell), ..Healthcheck::default() };
        for flag in &instruction.flags {
            let value = flag.value.as_ref().map_or("", |v| v.text.as_str());
            let number = match flag.name.as_str() {
                "retries" => value.parse().ok(),
                _ => parse_duration(value),
            };
            let Some(number) = number else {
                let message = format!("`{value}` is not valid for `--{}`", flag.name);
                let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, flag.span, message);
                self.diagnostics.push(d.hint("write a duration such as `30s` or `1m30s`, or a number of retries"));
                return None;
            };
            match flag.name.as_str() {
                "interval" => result.interval = number,
                "timeout" => result.timeout = number,
                "start-period" => result.start_period = number,
                "start-interval" => result.start_interval = number,
                "retries" => result.retries = number,
                _ => {}
            }
        }
        Some(result)
    }
}

#[derive(Default)]
struct CopyFlags {
    owner: Owner,
    mode: Option<CopyMode>,
    exclude: Vec<String>,
    parents: bool,
    link: bool,
    unpack: Option<bool>,
}

/// Says whether a switch is given and not `false`.
fn is_on(flag: &syntax::Flag) -> bool {
    flag.value.as_ref().is_none_or(|value| value.text != "false")
}

/// Build arguments that are given to commands without ARG. Source: Docker.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// Reads a size such as `64m`. Unit of the result: bytes.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Puts the heredocs of a RUN where its shell finds them.
///
/// Source: BuildKit. A lone heredoc is the script itself, or a program when it begins with `#!`; any other is for the
/// shell to read.
fn heredoc_command(step: &mut RunStep, heredocs: &[syntax::Heredoc]) {
    let (Some(first), Some(line)) = (heredocs.first(), step.command.first().cloned()) else { return };
    let is_lone = heredocs.len() == 1 && is_heredoc_word(line.trim());
    if !is_lone {
        let mut script = line;
        for heredoc in heredocs {
            script.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
        }
        step.command = vec![script];
    } else if first.content.starts_with("#!") {
        let target = format!("/dev/pipes/{}", first.name);
        step.command = vec![target.clone()];
        step.mounts.push(RunMount { target, kind: MountKind::Script { content: first.content.clone() } });
    } else {
        step.command = vec![first.content.clone()];
    }
}

/// Says whether a word is `<<NAME`, in any of its forms, and nothing else.
fn is_heredoc_word(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = digits.strip_prefix("<<") else { return false };
    let name = rest.strip_prefix('-').unwrap_or(rest);
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '|' | '&' | ';'))
}

fn lookup(scope: &PartScope, name: &str) -> Option<String> {
    let known = scope.scope.get(name).map(str::to_owned);
    known.or_else(|| scope.open.then(|| base_env(name)))
}

/// Returns the words of a command; a shell form is wrapped in the shell.
pub fn command_words(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.iter().map(|w| w.text.clone()).collect(),
        Command::Shell(text) => shell.iter().cloned().chain([text.text.clone()]).collect(),
    }
}

fn health_test(command: &Command, _shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => std::iter::once("CMD".into()).chain(words.iter().map(|w| w.text.clone())).collect(),
        Command::Shell(text) => vec!["CMD-SHELL".into(), text.text.clone()],
    }
}

/// Reads `user`, `user:group` or `:group`.
pub fn parse_owner(text: &str) -> Owner {
    let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    match text.split_once(':') {
        // A colon may belong to what stands for a variable of the base.
        Some(_) if waits_for_base(text) => Owner { user: some(text), group: None },
        Some((user, group)) => Owner { user: some(user), group: some(group) },
        None => Owner { user: some(text), group: None },
    }
}

fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git@", "git://", "ssh://"].iter().any(|p| source.starts_with(p))
}

/// Reads `80`, `80/udp` or `8000-8002/tcp`; `None` for anything else. Source: Docker, EXPOSE.
pub fn ports(text: &str) -> Option<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).map(|p| format!("{p}/{protocol}")).collect())
}

/// Reads a Go duration; `None` for anything else, and for negative ones. Unit: nanoseconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    let units: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(end)?;
        let scale = units.iter().find(|(name, _)| *name == unit)?.1;
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    Some(total.round() as u64)
}

/// Writes the instruction with its variables expanded, for the image history.
fn copied_text(
    instruction: &Instruction,
    is_add: bool,
    flags: &CopyFlags,
    from: Option<&Word>,
    sources: &[String],
    to: &str,
) -> String {
    let mut text = String::from(if is_add { "ADD" } else { "COPY" });
    if let Some(from) = from {
        text.push_str(&format!(" --from={}", from.text));
    }
    if let Some(user) = &flags.owner.user {
        let group = flags.owner.group.as_ref().map(|g| format!(":{g}")).unwrap_or_default();
        text.push_str(&format!(" --chown={}{group}", show_base_env(user)));
    }
    if let Some(mode) = &flags.mode {
        text.push_str(&format!(" --chmod={mode}"));
    }
    for (name, on) in [("parents", flags.parents), ("link", flags.link)] {
        if on {
            text.push_str(&format!(" --{name}"));
        }
    }
    for pattern in &flags.exclude {
        text.push_str(&format!(" --exclude={pattern}"));
    }
    for flag in instruction.flags.iter().filter(|f| matches!(f.name.as_str(), "checksum" | "keep-git-dir")) {
        text.push_str(&format!(" --{}={}", flag.name, flag.value.as_ref().map_or("true", |v| &v.text)));
    }
    for source in sources {
        text.push(' ');
        text.push_str(source);
    }
    text.push(' ');
    text.push_str(to);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol_and_ranges_are_spelled_out() {
        assert_eq!(ports("80"), Some(vec!["80/tcp".to_owned()]));
        assert_eq!(ports("7000-7001/udp"), Some(vec!["7000/udp".to_owned(), "7001/udp".to_owned()]));
        assert_eq!((ports("x"), ports("80/icmp"), ports("9-8")), (None, None, None));
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("1m30s"), Some(90_000_000_000));
        assert_eq!(parse_duration("1.5h"), Some(5_400_000_000_000));
        assert_eq!((parse_duration("5"), parse_duration(""), parse_duration("1x")), (None, None, None));
    }
}
