//! Stapel images: git mappings, commands, imports, dependencies and the `docker` section as a chain of stages.
//!
//! A stage exists only if it has something to do; one that only names its base is left out, unless it is all there is.

use std::collections::BTreeMap;

use super::build::{
    Base, BuildPart, ConfigChange, CopySource, CopyStep, FilterSpec, ImageRef, MappedFiles, MountKind, Owner, Platform,
    RunMount, RunStep, Sharing, Step, TreeSource,
};
use super::content::report_take;
use super::dockerfile::{command_words, parse_owner, ports};
use super::filter::take;
use super::image::{ImageInputs, RemoteTree, dependency_values, empty_stage};
use super::model::Stage;
use crate::config::{
    CommandValue, DockerSection, GitMapping, Image, Import, Mount, MountSource, RemoteGit, Secret, Slot, StapelImage,
    Text, UserStage,
};
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{Place, Span};
use crate::syntax::dockerfile::{self as syntax, Kind};

/// Makes the stages of a Stapel image; `None` when that is not possible, which is reported.
pub fn stapel_stages(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    image: &Image,
    stapel: &StapelImage,
    platform: &Platform,
) -> Option<Vec<Stage>> {
    let mut chain = Chain { inputs, image, stapel, platform, mapped: Vec::new(), stages: Vec::new() };
    let before = diagnostics.as_slice().len();
    chain.user(diagnostics, UserStage::BeforeInstall);
    chain.slot(diagnostics, Slot::BeforeInstall);
    chain.git_archive(diagnostics);
    chain.user(diagnostics, UserStage::Install);
    chain.slot(diagnostics, Slot::AfterInstall);
    chain.user(diagnostics, UserStage::BeforeSetup);
    chain.slot(diagnostics, Slot::BeforeSetup);
    chain.user(diagnostics, UserStage::Setup);
    chain.slot(diagnostics, Slot::AfterSetup);
    if !stapel.disable_git_after_patch {
        chain.git_latest_patch();
        if let Some(docker) = &stapel.docker {
            chain.docker(diagnostics, docker);
        }
    }
    let mut stages = chain.stages;
    if stages.is_empty() {
        let mut from = empty_stage("from", platform);
        from.request.parts.push(part("from", Vec::new()));
        from.places.push(vec![None]);
        stages.push(from);
    }
    set_base(inputs, stapel, stages.first_mut()?);
    let failed = |d: &Diagnostic| d.severity == crate::diag::Severity::Error;
    (!diagnostics.as_slice().iter().skip(before).any(failed)).then_some(stages)
}

fn set_base(inputs: &ImageInputs<'_>, stapel: &StapelImage, first: &mut Stage) {
    let name = stapel.from.name.value.as_str();
    let base = match stapel.from.image {
        Some(index) => Base::Image(inputs.image_ref(index)),
        None if name == "scratch" => Base::Scratch,
        None => Base::Image(ImageRef::External { reference: name.to_owned() }),
    };
    if let Some(part) = first.request.parts.first_mut() {
        part.base = base;
    }
    if let Some(place) = first.places.first_mut().and_then(|p| p.first_mut()) {
        *place = Some(inputs.place(stapel.from.name.span));
    }
    if let Some(version) = &stapel.from_cache_version {
        let entry = ("fromCacheVersion".to_owned(), version.value.clone(), inputs.place(version.span));
        first.cache_versions.push(entry);
    }
}

fn part(name: &str, steps: Vec<Step>) -> BuildPart {
    BuildPart { name: name.to_owned(), base: Base::Scratch, arguments: BTreeMap::new(), steps }
}

struct Chain<'a> {
    inputs: &'a ImageInputs<'a>,
    image: &'a Image,
    stapel: &'a StapelImage,
    platform: &'a Platform,
    /// The files of git mappings, once they are in the image.
    mapped: Vec<MappedFiles>,
    stages: Vec<Stage>,
}

impl Chain<'_> {
    /// Adds a stage over the files of git mappings, which it first brings to those of this commit.
    fn push_bound(&mut self, name: &str, mut steps: Vec<(Step, Option<Place>)>) -> Option<&mut Stage> {
        if self.mapped.is_empty() {
            return self.push(name, steps);
        }
        steps.insert(0, (Step::Update(self.mapped.clone()), None));
        let mapped = self.mapped.iter().map(|files| files.now.clone()).collect();
        let stage = self.push(name, steps)?;
        stage.mapped = mapped;
        Some(stage)
    }

    /// Adds a stage of these steps; nothing for no steps.
    fn push(&mut self, name: &str, steps: Vec<(Step, Option<Place>)>) -> Option<&mut Stage> {
        if steps.is_empty() {
            return None;
        }
        let mut stage = empty_stage(name, self.platform);
        let (steps, places): (Vec<Step>, Vec<Option<Place>>) = steps.into_iter().unzip();
        stage.places.push(std::iter::once(None).chain(places).collect());
        stage.request.parts.push(part(name, steps));
        stage.prefixes.insert(self.inputs.repository.root(), String::new());
        self.stages.push(stage);
        self.stages.last_mut()
    }

    /// Adds the stage after which the image holds the files of this commit, whatever the stages before held.
    fn git_latest_patch(&mut self) {
        if !self.mapped.is_empty() {
            self.push("gitLatestPatch", vec![(Step::Update(self.mapped.clone()), None)]);
        }
    }

    fn git_archive(&mut self, diagnostics: &mut Diagnostics) {
        let mut steps = Vec::new();
        for mapping in &self.stapel.git {
            let place = self.inputs.place(mapping.span);
            let paths = |list: &[Text]| list.iter().map(|t| t.value.clone()).collect::<Vec<_>>();
            if let Some(source) = self.tree(diagnostics, mapping, paths(&mapping.include)) {
                let owner = owner(mapping.owner.as_ref(), mapping.group.as_ref());
                let to = mapping.to.value.clone();
                let files = MappedFiles { now: source.clone(), before: None, to: to.clone(), owner: owner.clone() };
                self.mapped.push(files);
                let copy = CopyStep {
                    sources: vec![CopySource::Tree(source)],
                    to,
                    owner,
                    mode: None,
                    extract: false,
                    parents: false,
                    link: false,
                    created_by: mapping_text("git", mapping),
                };
                steps.push((Step::Copy(copy), Some(place)));
            }
        }
        let trees = self.stapel.git.iter().filter_map(|mapping| self.remote_tree(mapping));
        let prefixes: Vec<_> = trees.map(|tree| (tree.root, tree.name.clone())).collect();
        let mapped = self.mapped.iter().map(|files| files.now.clone()).collect();
        let address = |mapping: &GitMapping| mapping.remote.as_ref().map(RemoteGit::key);
        let mapped_from = self.stapel.git.iter().map(|mapping| address(mapping).unwrap_or_default()).collect();
        if let Some(stage) = self.push("gitArchive", steps) {
            stage.prefixes.extend(prefixes);
            stage.mapped = mapped;
            stage.mapped_from = mapped_from;
        }
    }

    /// Returns the tree of another repository that a mapping names, if it could be read.
    fn remote_tree(&self, mapping: &GitMapping) -> Option<&RemoteTree> {
        mapping.remote.as_ref().and_then(|git| self.inputs.remotes.get(&git.key()))
    }

    /// Finds what a mapping takes of the repository, with these include patterns.
    fn tree(&self, diagnostics: &mut Diagnostics, mapping: &GitMapping, include: Vec<String>) -> Option<TreeSource> {
        let root = match &mapping.remote {
            None => self.inputs.repository.root(),
            // What could not be read is reported already.
            Some(_) => self.remote_tree(mapping)?.root,
        };
        let path = mapping.add.value.trim_matches('/').to_owned();
        let exclude: Vec<String> = mapping.exclude.iter().map(|t| t.value.clone()).collect();
        let filter = if include.is_empty() && exclude.is_empty() {
            FilterSpec::All
        } else {
            FilterSpec::Paths { include, exclude }
        };
        match take(self.inputs.store, root, &path, &filter) {
            Ok(Some((mode, id))) => Some(TreeSource { root, path, filter, id, mode, called: None }),
            Ok(None) => {
                let message = format!("the mapping of `{}` matches no committed file", mapping.add.value);
                let d = Diagnostic::at(&rules::GIT_MAPPING_EMPTY, mapping.add.span, message);
                let hint = match &mapping.remote {
                    None => "commit the files, or mend `add`, `includePaths` and `excludePaths`".to_owned(),
                    Some(git) => {
                        format!("the files are those of {}: mend `add`, `includePaths` and `excludePaths`", git.name)
                    }
                };
                diagnostics.push(d.label("paths start at the root of the repository").hint(hint));
                None
            }
            Err(error) => {
                report_take(diagnostics, &error, mapping.add.span);
                None
            }
        }
    }

    fn user(&mut self, diagnostics: &mut Diagnostics, user: UserStage) {
        let mut steps: Vec<(Step, Option<Place>)> = Vec::new();
        let mut versions: Vec<(String, &Text)> = Vec::new();
        if let Some(shell) = &self.stapel.shell {
            versions.extend(shell.cache_version.iter().map(|v| ("shell.cacheVersion".to_owned(), v)));
            if let Some(stage) = shell.stages.get(&user) {
                let key = format!("shell.{}CacheVersion", user.key());
                versions.extend(stage.cache_version.iter().map(|v| (key.clone(), v)));
                for command in &stage.commands {
                    let text = command.value.clone();
                    let step = Step::Run(command_step(text.clone(), vec![text]));
                    steps.push((step, Some(self.inputs.place(command.span))));
                }
            }
        }
        if let Some(ansible) = &self.stapel.ansible {
            versions.extend(ansible.cache_version.iter().map(|v| ("ansible.cacheVersion".to_owned(), v)));
            let own = ansible.stage_cache_versions.get(&user);
            versions.extend(own.map(|v| (format!("ansible.{}CacheVersion", user.key()), v)));
            for task in ansible.tasks.get(&user).into_iter().flatten() {
                let text = task.task.to_string();
                let step = RunStep { ansible: true, ..command_step(format!("ansible {text}"), vec![text]) };
                let step = Step::Run(step);
                steps.push((step, Some(self.inputs.place(task.span))));
            }
        }
        if steps.is_empty() && versions.is_empty() {
            return;
        }
        let inputs = self.stage_dependencies(diagnostics, user);
        if let Some((Step::Run(run), _)) = steps.first_mut() {
            run.inputs = inputs;
            run.mounts = self.mounts();
            let commit = self.inputs.commit;
            run.unsigned_environment.extend([
                ("WERF_COMMIT_HASH".to_owned(), commit.hash.clone()),
                ("WERF_COMMIT_TIME_HUMAN".to_owned(), commit.date_human.clone()),
                ("WERF_COMMIT_TIME_UNIX".to_owned(), commit.date_unix.clone()),
            ]);
        }
        let told = || -> Vec<(String, Place)> {
            steps.iter().filter_map(|(_, p)| p.clone()).map(|p| (format!("`{}`", user.key()), p)).collect()
        };
        let image = self.inputs;
        let commands = told();
        let versions: Vec<(String, String, Place)> =
            versions.into_iter().map(|(k, v)| (k, v.value.clone(), image.place(v.span))).collect();
        if steps.is_empty() {
            // A cache version alone makes the stage, as in werf; it has no command and so no work.
            if let Some(stage) = self.push_bound(user.key(), Vec::new()) {
                stage.cache_versions = versions;
                return;
            }
            let mut stage = empty_stage(user.key(), self.platform);
            stage.request.parts.push(part(user.key(), Vec::new()));
            stage.places.push(vec![None]);
            stage.cache_versions = versions;
            self.stages.push(stage);
            return;
        }
        if let Some(stage) = self.push_bound(user.key(), steps) {
            stage.commands = commands;
            stage.cache_versions = versions;
        }
    }

    /// What the commands of the image see beside its files.
    fn mounts(&self) -> Vec<RunMount> {
        let project = self.inputs.config.meta.project.value.as_str();
        let mount = |mount: &Mount| {
            let kind = match &mount.source {
                MountSource::TmpDir => MountKind::Scratch,
                MountSource::BuildDir => MountKind::Cache {
                    id: format!("build_dir {project} {}", mount.to.value),
                    sharing: Sharing::Shared,
                    from: None,
                    source: String::new(),
                    mode: 0o777,
                    uid: 0,
                    gid: 0,
                    writable: true,
                },
                MountSource::Path(path) => MountKind::Host { path: path.value.clone() },
            };
            RunMount { target: mount.to.value.clone(), kind }
        };
        let secret = |secret: &Secret| RunMount {
            target: format!("/run/secrets/{}", secret.id.value),
            kind: MountKind::Secret {
                id: secret.id.value.clone(),
                file: true,
                variable: None,
                required: true,
                mode: 0o400,
                uid: 0,
                gid: 0,
            },
        };
        let agent = MountKind::Ssh { id: "default".to_owned(), required: false, mode: 0o600, uid: 0, gid: 0 };
        let agent = RunMount { target: "/.werf/tmp/ssh-auth-sock".to_owned(), kind: agent };
        let own = self.stapel.mounts.iter().map(mount).chain(self.image.secrets.iter().map(secret));
        own.chain([agent]).collect()
    }

    fn stage_dependencies(&self, diagnostics: &mut Diagnostics, user: UserStage) -> Vec<TreeSource> {
        let mut found = Vec::new();
        for mapping in &self.stapel.git {
            if mapping.remote.is_some() && self.remote_tree(mapping).is_none() {
                continue;
            }
            let Some(masks) = mapping.stage_dependencies.get(&user).filter(|m| !m.is_empty()) else { continue };
            let mut ignored = Diagnostics::new();
            let include = masks.iter().map(|t| t.value.clone()).collect();
            match self.tree(&mut ignored, mapping, include) {
                Some(tree) => found.push(tree),
                None => {
                    if let Some(first) = masks.first() {
                        let message = format!("the stage dependencies of `{}` match no committed file", user.key());
                        diagnostics.push(Diagnostic::at(&rules::COPY_SOURCE_MATCHES_NOTHING, first.span, message));
                    }
                }
            }
        }
        found
    }

    fn slot(&mut self, diagnostics: &mut Diagnostics, slot: Slot) {
        let mut steps = Vec::new();
        for import in self.stapel.imports.iter().filter(|i| i.slot == slot) {
            if let Some(step) = self.import(diagnostics, import) {
                steps.push((step, Some(self.inputs.place(import.span))));
            }
        }
        for dependency in self.image.dependencies.iter().filter(|d| d.slot == Some(slot)) {
            for (name, value, place) in dependency_values(diagnostics, self.inputs, dependency) {
                steps.push((Step::Config(ConfigChange::Env(name, value)), Some(place)));
            }
        }
        if !steps.is_empty() {
            self.push_bound(slot.stage_name(), steps);
        }
    }

    fn import(&self, diagnostics: &mut Diagnostics, import: &Import) -> Option<Step> {
        let mut image = match import.from.image {
            Some(index) => self.inputs.image_ref(index),
            None => ImageRef::External { reference: import.from.name.value.clone() },
        };
        if let Some(stage) = &import.stage {
            let used = import.from.image.and_then(|i| self.inputs.used.get(&self.inputs.config.image(i).name.value));
            let found = used.and_then(|u| u.stages.iter().find(|(name, ..)| name == stage.value.key()));
            let Some((_, digest, content)) = found else {
                let message = format!("image `{}` has no stage `{}`", import.from.name.value, stage.value.key());
                diagnostics.push(Diagnostic::at(&rules::UNKNOWN_STAGE, stage.span, message));
                return None;
            };
            image = ImageRef::Stage { digest: *digest, created_ms: None, content: Some(*content) };
        }
        let paths = |list: &[Text]| list.iter().map(|t| t.value.clone()).collect::<Vec<_>>();
        let filter = if import.include.is_empty() && import.exclude.is_empty() {
            FilterSpec::All
        } else {
            FilterSpec::Paths { include: paths(&import.include), exclude: paths(&import.exclude) }
        };
        Some(Step::Copy(CopyStep {
            sources: vec![CopySource::Image { image, path: import.add.value.clone(), filter }],
            to: import.to.value.clone(),
            owner: owner(import.owner.as_ref(), import.group.as_ref()),
            mode: None,
            extract: false,
            parents: false,
            link: false,
            created_by: format!("import {} {} -> {}", import.from.name.value, import.add.value, import.to.value),
        }))
    }

    fn docker(&mut self, diagnostics: &mut Diagnostics, docker: &DockerSection) {
        let mut steps = Vec::new();
        let place = |span: Span| Some(self.inputs.place(span));
        let mut add = |change: ConfigChange, span: Span| steps.push((Step::Config(change), place(span)));
        for path in &docker.volume {
            add(ConfigChange::Volume(path.value.clone()), path.span);
        }
        for port in &docker.expose {
            let Some(list) = ports(&port.value) else {
                let message = format!("`{}` is no port", port.value);
                let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, port.span, message);
                diagnostics.push(d.hint("write \"PORT\", \"PORT/udp\" or \"FIRST-LAST\""));
                continue;
            };
            for p in list {
                add(ConfigChange::Expose(p), port.span);
            }
        }
        for (name, value) in &docker.env {
            add(ConfigChange::Env(name.clone(), value.value.clone()), value.span);
        }
        for (name, value) in &docker.label {
            add(ConfigChange::Label(name.clone(), value.value.clone()), value.span);
        }
        if let Some(entrypoint) = &docker.entrypoint {
            add(ConfigChange::Entrypoint(words(entrypoint)), command_span(entrypoint, docker.span));
        }
        if let Some(cmd) = &docker.cmd {
            let span = command_span(cmd, docker.span);
            match words(cmd) {
                list if list.is_empty() => add(ConfigChange::ClearCmd, span),
                list => add(ConfigChange::Cmd(list), span),
            }
        }
        if let Some(dir) = &docker.workdir {
            add(ConfigChange::Workdir(dir.value.clone()), dir.span);
        }
        if let Some(user) = &docker.user {
            add(ConfigChange::User(user.value.clone()), user.span);
        }
        if let Some(check) = &docker.healthcheck
            && let Some(check_value) = healthcheck(diagnostics, self.inputs, check)
        {
            add(check_value, check.span);
        }
        self.push("dockerInstructions", steps);
    }
}

/// Reads a health check as a Dockerfile does.
fn healthcheck(diagnostics: &mut Diagnostics, inputs: &ImageInputs<'_>, text: &Text) -> Option<ConfigChange> {
    let dockerfile = format!("FROM scratch\nHEALTHCHECK {}\n", text.value.replace('\n', " "));
    let file = inputs.sources.add("werf.yaml (docker.HEALTHCHECK)", dockerfile.as_str());
    let mut found = Diagnostics::new();
    let parsed = syntax::parse(&mut found, file, &dockerfile);
    let stage = parsed.stages.first()?;
    let instruction = stage.instructions.first();
    let Some(Kind::Healthcheck(check)) = instruction.map(|i| &i.kind) else {
        let d = Diagnostic::at(&rules::INSTRUCTION_ARGUMENT, text.span, "this is no health check");
        diagnostics.push(d.hint("write what stands after HEALTHCHECK in a Dockerfile"));
        return None;
    };
    let shell: Vec<String> = vec!["/bin/sh".into(), "-c".into()];
    let mut result = super::build::Healthcheck::default();
    match check {
        syntax::Healthcheck::None => result.test.push("NONE".into()),
        syntax::Healthcheck::Cmd(command) => {
            let words = command_words(command, &shell);
            result.test = match command {
                syntax::Command::Exec(_) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                syntax::Command::Shell(script) => vec!["CMD-SHELL".into(), script.text.clone()],
            };
        }
    }
    for flag in &instruction?.flags {
        let value = flag.value.as_ref().map_or("", |v| v.text.as_str());
        let number = super::dockerfile::parse_duration(value).or_else(|| value.parse().ok()).unwrap_or(0);
        match flag.name.as_str() {
            "interval" => result.interval = number,
            "timeout" => result.timeout = number,
            "start-period" => result.start_period = number,
            "start-interval" => result.start_interval = number,
            "retries" => result.retries = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    Some(ConfigChange::Healthcheck(Some(result)))
}

fn words(command: &CommandValue) -> Vec<String> {
    match command {
        CommandValue::Exec(words) => words.iter().map(|w| w.value.clone()).collect(),
        CommandValue::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.value.clone()],
    }
}

fn command_span(command: &CommandValue, section: Span) -> Span {
    match command {
        CommandValue::Exec(words) => words.first().map_or(section, |w| w.span),
        CommandValue::Shell(text) => text.span,
    }
}

fn command_step(created_by: String, command: Vec<String>) -> RunStep {
    RunStep { as_root: true, ..RunStep::new(created_by, command, true) }
}

fn owner(user: Option<&Text>, group: Option<&Text>) -> Owner {
    let user = user.map(|u| u.value.as_str()).unwrap_or_default();
    match group {
        Some(group) => parse_owner(&format!("{user}:{}", group.value)),
        // Unlike Docker's `--chown`, an owner alone leaves the group to root.
        None if !user.is_empty() => parse_owner(&format!("{user}:0")),
        None => Owner::default(),
    }
}

fn mapping_text(kind: &str, mapping: &GitMapping) -> String {
    // The address is left out: the same files from elsewhere are the same image.
    let mut text = format!("{kind} {} -> {}", mapping.add.value, mapping.to.value);
    for (key, value) in [("owner", &mapping.owner), ("group", &mapping.group)] {
        if let Some(value) = value {
            text.push_str(&format!(" {key}={}", value.value));
        }
    }
    text
}
