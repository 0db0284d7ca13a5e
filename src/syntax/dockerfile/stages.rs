//! Which stages a target needs, and what each takes from where. Pure: bases are named, not fetched.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::graph::Dag;
use crate::source::Span;

use super::expansion::Scope;
use super::tree::{Dockerfile, Instruction, Kind, Word};

/// The stage that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name or index.
    pub text: String,
    /// Where the user wrote it; faults are reported there.
    pub span: Option<Span>,
}

/// What a build of a Dockerfile is given.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The stage; `None` means the last one.
    pub target: Option<Target>,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// The platform arguments, see [`super::platform_args`].
    pub platform: BTreeMap<String, String>,
}

/// Where a stage's first layer comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image outside, arguments expanded.
    Image(String),
}

/// Files that an instruction takes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The index of the instruction in its stage.
    pub instruction: usize,
    /// The stage or image; never [`Base::Scratch`] except for mounts from nothing.
    pub source: Base,
    /// The place of the name.
    pub span: Span,
}

/// One stage that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInput {
    /// Its index in [`Dockerfile::stages`].
    pub index: usize,
    /// Its base.
    pub base: Base,
    /// `--platform`, expanded.
    pub platform: Option<String>,
    /// COPY --from and RUN --mount from, in order.
    pub uses: Vec<Use>,
}

/// The stages that a target needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// The index of the target in [`Dockerfile::stages`].
    pub target: usize,
    /// Each after all that it needs, the target last.
    pub stages: Vec<StageInput>,
    /// The variables before the first FROM; a stage's `ARG name` without a default takes its value from here.
    pub globals: Scope,
}

/// Finds the stages that the target needs.
///
/// Returns `None` when there is no such target or the stages depend on each other in a circle; both are
/// reported. An unknown name in FROM or `--from` is an image; one that is nearly a stage's name gets a warning.
pub fn reachable(diagnostics: &mut Diagnostics, dockerfile: &Dockerfile, build: &Build) -> Option<Reachable> {
    let names = Names::of(dockerfile);
    let target = target(diagnostics, dockerfile, build.target.as_ref(), &names)?;
    let globals = global_scope(diagnostics, dockerfile, build);
    let mut dag = Dag::new(dockerfile.stages.len());
    let mut inputs: Vec<Option<StageInput>> = Vec::new();
    for index in 0..dockerfile.stages.len() {
        let input = stage_input(diagnostics, dockerfile, index, &globals, &names);
        for needed in input.iter().flat_map(|i| std::iter::once(&i.base).chain(i.uses.iter().map(|u| &u.source))) {
            if let Base::Stage(needed) = needed {
                dag.add(*needed, index);
            }
        }
        for needed in triggered(dockerfile, input.as_ref(), &names) {
            dag.add(needed, index);
        }
        inputs.push(input);
    }
    let order = match dag.order() {
        Ok(order) => order,
        Err(cycle) => {
            report_cycle(diagnostics, dockerfile, &cycle);
            return None;
        }
    };
    let needed = dag.closure([target]);
    let stages = order.into_iter().filter(|i| needed.binary_search(i).is_ok());
    let stages = stages.filter_map(|i| inputs.get_mut(i).and_then(Option::take)).collect();
    Some(Reachable { target, stages, globals })
}

/// The names of the stages, lower case; a later one hides an earlier one.
struct Names(BTreeMap<String, Vec<usize>>);

impl Names {
    fn of(dockerfile: &Dockerfile) -> Self {
        let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, stage) in dockerfile.stages.iter().enumerate() {
            if let Some(name) = stage.name() {
                names.entry(name.to_ascii_lowercase()).or_default().push(i);
            }
        }
        Self(names)
    }

    /// Returns the last stage of that name before `limit`.
    fn before(&self, name: &str, limit: usize) -> Option<usize> {
        let list = self.0.get(&name.to_ascii_lowercase())?;
        list.iter().rev().find(|i| **i < limit).copied()
    }

    fn near(&self, name: &str) -> Option<&str> {
        did_you_mean(name, self.0.keys().map(String::as_str))
    }
}

fn target(
    diagnostics: &mut Diagnostics,
    dockerfile: &Dockerfile,
    target: Option<&Target>,
    names: &Names,
) -> Option<usize> {
    let count = dockerfile.stages.len();
    let Some(target) = target.filter(|t| !t.text.is_empty()) else { return count.checked_sub(1) };
    let index = target.text.parse().ok().filter(|i: &usize| *i < count);
    let found = names.before(&target.text, count).or(index);
    if found.is_none() {
        let fallback = dockerfile.stages.first().map(|s| s.from.span);
        let span = target.span.or(fallback).unwrap_or_else(|| Span::new(dockerfile.file, 0, 0));
        let message = format!("the Dockerfile has no stage `{}`", target.text);
        let mut d = Diagnostic::at(&rules::UNKNOWN_STAGE, span, message);
        if let Some(near) = names.near(&target.text) {
            d = d.hint(format!("did you mean `{near}`?"));
        }
        diagnostics.push(d);
    }
    found
}

fn global_scope(diagnostics: &mut Diagnostics, dockerfile: &Dockerfile, build: &Build) -> Scope {
    let mut platform = build.platform.clone();
    for (name, value) in &mut platform {
        if let Some(given) = build.args.get(name) {
            given.clone_into(value);
        }
    }
    let mut scope = Scope::new(platform);
    for instruction in &dockerfile.globals {
        let Kind::Arg(declared) = &instruction.kind else { continue };
        for arg in declared {
            let value = match (build.args.get(&arg.name.text), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => expand_word(diagnostics, &scope, default, dockerfile.escape),
                (None, None) => None,
            };
            scope.set_arg(&arg.name.text, value);
        }
    }
    scope
}

/// Expands a word; a fault is reported at the word.
fn expand_word(diagnostics: &mut Diagnostics, scope: &Scope, word: &Word, escape: char) -> Option<String> {
    match scope.expand(&word.text, escape) {
        Ok(expanded) => Some(expanded.text),
        Err(error) => {
            diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, word.span, error.to_string()));
            None
        }
    }
}

fn stage_input(
    diagnostics: &mut Diagnostics,
    dockerfile: &Dockerfile,
    index: usize,
    globals: &Scope,
    names: &Names,
) -> Option<StageInput> {
    let stage = dockerfile.stages.get(index)?;
    let from = &stage.from;
    let base = expand_word(diagnostics, globals, &from.base, dockerfile.escape)?;
    if base.is_empty() && !from.base.text.is_empty() {
        let message = format!("the base `{}` is empty after expansion", from.base.text);
        diagnostics.push(
            Diagnostic::at(&rules::DOCKERFILE_SYNTAX, from.base.span, message)
                .hint("give the ARG before FROM a default, or pass it"),
        );
    }
    let base = match names.before(&base, index) {
        Some(stage) => Base::Stage(stage),
        None if base == "scratch" => Base::Scratch,
        None => image(diagnostics, base, from.base.span, names),
    };
    let platform = from.platform.as_ref().and_then(|p| expand_word(diagnostics, globals, p, dockerfile.escape));
    let mut uses = Vec::new();
    for (position, instruction) in stage.instructions.iter().enumerate() {
        for word in sources(instruction) {
            if let Some(source) = source(diagnostics, dockerfile, word, names) {
                uses.push(Use { instruction: position, source, span: word.span });
            }
        }
    }
    Some(StageInput { index, base, platform, uses })
}

/// Returns the stages that the triggers of a base take files of: they are carried out in the stage that is based on it.
fn triggered(dockerfile: &Dockerfile, input: Option<&StageInput>, names: &Names) -> Vec<usize> {
    let Some(Base::Stage(base)) = input.map(|input| &input.base) else { return Vec::new() };
    let instructions = dockerfile.stages.get(*base).into_iter().flat_map(|stage| &stage.instructions);
    let triggers =
        instructions.filter_map(|i| if let Kind::Onbuild(trigger) = &i.kind { Some(&**trigger) } else { None });
    let count = dockerfile.stages.len();
    let named = |word: &Word| names.before(&word.text, count).or_else(|| word.text.parse().ok().filter(|i| *i < count));
    triggers.flat_map(sources).filter_map(named).collect()
}

/// Returns what COPY --from and RUN --mount name.
fn sources(instruction: &Instruction) -> Vec<&Word> {
    match &instruction.kind {
        Kind::Copy(copy) => copy.from.iter().collect(),
        Kind::Run(run) => run.mounts.iter().filter_map(|m| m.from.as_ref()).collect(),
        // A trigger runs in the image built on top of this one.
        Kind::Onbuild(_)
        | Kind::Add(_)
        | Kind::Arg(_)
        | Kind::Cmd(_)
        | Kind::Entrypoint(_)
        | Kind::Env(_)
        | Kind::Expose(_)
        | Kind::Healthcheck(_)
        | Kind::Label(_)
        | Kind::Maintainer(_)
        | Kind::Shell(_)
        | Kind::Stopsignal(_)
        | Kind::User(_)
        | Kind::Volume(_)
        | Kind::Workdir(_)
        | Kind::Unknown => Vec::new(),
    }
}

fn source(diagnostics: &mut Diagnostics, dockerfile: &Dockerfile, word: &Word, names: &Names) -> Option<Base> {
    if word.text.contains('$') {
        let message = format!("`{}` cannot have a variable here", word.text);
        diagnostics.push(
            Diagnostic::at(&rules::DOCKERFILE_SYNTAX, word.span, message)
                .hint("name a stage with `FROM … AS`, where variables are expanded, and take from that stage"),
        );
        return None;
    }
    let count = dockerfile.stages.len();
    if let Ok(index) = word.text.parse::<usize>() {
        if index >= count {
            let message = format!("there is no stage number {index}");
            let d = Diagnostic::at(&rules::UNKNOWN_STAGE, word.span, message);
            diagnostics.push(d.label(format!("the stages are numbered 0 to {}", count.saturating_sub(1))));
            return None;
        }
        return Some(Base::Stage(index));
    }
    if word.text.is_empty() {
        return None;
    }
    match names.before(&word.text, count) {
        Some(stage) => Some(Base::Stage(stage)),
        None if word.text == "scratch" => Some(Base::Scratch),
        None => Some(image(diagnostics, word.text.clone(), word.span, names)),
    }
}

/// Takes a name for an image; one without registry, tag and digest that nearly names a stage gets a warning.
fn image(diagnostics: &mut Diagnostics, name: String, span: Span, names: &Names) -> Base {
    if name.len() > 3
        && !name.contains(['/', ':', '@'])
        && let Some(near) = names.near(&name).filter(|n| !n.eq_ignore_ascii_case(&name))
    {
        diagnostics.push(
            Diagnostic::at(&rules::NEARLY_A_STAGE, span, format!("`{name}` is no stage, so it is pulled as an image"))
                .hint(format!("did you mean the stage `{near}`?")),
        );
    }
    Base::Image(name)
}

fn report_cycle(diagnostics: &mut Diagnostics, dockerfile: &Dockerfile, cycle: &[usize]) {
    let label = |i: &usize| {
        let name = dockerfile.stages.get(*i).and_then(|s| s.name());
        name.map_or_else(|| i.to_string(), str::to_owned)
    };
    let path: Vec<String> = cycle.iter().map(label).collect();
    let first = cycle.first().and_then(|i| dockerfile.stages.get(*i));
    let span = first.map_or_else(|| Span::new(dockerfile.file, 0, 0), |s| s.from.span);
    let message = format!("the stages depend on each other: {}", path.join(" -> "));
    diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, span, message));
}
