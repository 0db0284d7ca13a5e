//! `staged: true`: the request of a Dockerfile becomes one stage for each instruction.
//!
//! The one idea: parts become stages. In the request of an instruction, `Base::Part`, `CopySource::Part` and
//! `MountFrom::Part` do not point to parts but to earlier stages of the image, until these are signed. The name of a
//! Dockerfile stage and the number of an instruction are for people; neither is signed, so that images and targets share
//! what is equal.

use std::collections::BTreeMap;

use super::build::{Base, BuildPart, BuildRequest, ConfigChange, CopySource, ImageRef, MountFrom, MountKind, Step};
use super::model::Stage;
use crate::source::Place;

/// What a part of the Dockerfile became.
enum Made {
    /// The stage of its last instruction.
    Stage(usize),
    /// It has no instructions: it is what it starts from.
    Bare(Base),
}

/// A step, and where it stands.
type Placed = (Step, Option<Place>);

/// Splits the stage of a whole Dockerfile; the last one is what the target makes.
pub fn instruction_stages(whole: &Stage) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut made: Vec<Made> = Vec::new();
    for (index, part) in whole.request.parts.iter().enumerate() {
        let places = whole.places.get(index).map_or(&[][..], Vec::as_slice);
        let mut base = match &part.base {
            Base::Part(part) => match made.get(*part) {
                Some(Made::Stage(stage)) => Base::Part(*stage),
                Some(Made::Bare(base)) => base.clone(),
                None => Base::Scratch,
            },
            base @ (Base::Scratch | Base::Image(_)) => base.clone(),
        };
        let steps = part.steps.iter().cloned().zip(places.iter().skip(1).cloned().chain(std::iter::repeat(None)));
        let mut groups = instructions(steps);
        let is_target = index + 1 == whole.request.parts.len();
        if groups.is_empty() {
            // What takes files from a bare part takes them for its own platform: a part for another one is a stage.
            let is_foreign = whole.request.part_platforms.contains_key(&index);
            if matches!(base, Base::Part(_)) || !(is_target || is_foreign) {
                made.push(match base {
                    Base::Part(stage) => Made::Stage(stage),
                    Base::Scratch | Base::Image(_) => Made::Bare(base),
                });
                continue;
            }
            groups.push(Vec::new());
        }
        // The last one of a name is meant by it; the earlier one may still be needed, by its number.
        let is_taken = whole.request.parts.iter().skip(index + 1).any(|later| later.name == part.name);
        let part_name = if is_taken { format!("{}.{index}", part.name) } else { part.name.clone() };
        let mut of_base = places.first().cloned().flatten();
        for (number, group) in groups.into_iter().enumerate() {
            let number = if group.is_empty() { 0 } else { number + 1 };
            let (steps, places): (Vec<Step>, Vec<Option<Place>>) = group.into_iter().unzip();
            let name = format!("{part_name}/{number}-{}", keyword(steps.last()));
            let places = std::iter::once(of_base.take()).chain(places).collect();
            let mut made_stage = stage(whole, name, base, linked(steps, &made), places);
            made_stage.request.platform = whole.request.platform_of(index).clone();
            stages.push(made_stage);
            base = Base::Part(stages.len() - 1);
        }
        made.push(Made::Stage(stages.len() - 1));
    }
    stages
}

/// Groups steps to instructions.
///
/// Marks go with what follows them. A CMD before an ENTRYPOINT has to be remembered: it is not in the same request.
fn instructions(steps: impl Iterator<Item = Placed>) -> Vec<Vec<Placed>> {
    let mut groups: Vec<Vec<Placed>> = Vec::new();
    let mut marks: Vec<Placed> = Vec::new();
    let mut has_command = false;
    for (step, place) in steps {
        match &step {
            Step::Config(ConfigChange::ClearOnBuild) => {
                marks.push((step, place));
                continue;
            }
            Step::Config(ConfigChange::Entrypoint(_)) if has_command => {
                marks.push((Step::Config(ConfigChange::KeepCmd), None));
            }
            Step::Config(ConfigChange::Cmd(_)) => has_command = true,
            Step::Config(_) | Step::Copy(_) | Step::Run(_) | Step::Update(_) => {}
        }
        // The variables of one ENV do not see each other, so they are one stage.
        let is_env = |step: &Step| matches!(step, Step::Config(ConfigChange::Env(..)));
        let goes_on = |(last, at): &Placed| is_env(last) && is_env(&step) && at.is_some() && *at == place;
        if let Some(group) = groups.last_mut().filter(|group| marks.is_empty() && group.last().is_some_and(goes_on)) {
            group.push((step, place));
        } else {
            marks.push((step, place));
            groups.push(std::mem::take(&mut marks));
        }
    }
    if !marks.is_empty() {
        groups.push(marks);
    }
    groups
}

fn keyword(step: Option<&Step>) -> String {
    let text = match step {
        None => return "FROM".to_owned(),
        Some(Step::Copy(copy)) => copy.created_by.clone(),
        Some(Step::Run(run)) => run.created_by.clone(),
        Some(Step::Config(change)) => change.to_string(),
        Some(Step::Update(_)) => String::new(),
    };
    text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// Points to stages instead of parts.
fn linked(mut steps: Vec<Step>, made: &[Made]) -> Vec<Step> {
    for step in &mut steps {
        match step {
            Step::Copy(copy) => copy.sources.iter_mut().for_each(|source| link_source(source, made)),
            Step::Run(run) => {
                for mount in &mut run.mounts {
                    match &mut mount.kind {
                        MountKind::Bind { from, .. } | MountKind::Cache { from: Some(from), .. } => {
                            link_mount(from, made);
                        }
                        MountKind::Cache { from: None, .. }
                        | MountKind::Context { .. }
                        | MountKind::Tmpfs { .. }
                        | MountKind::Secret { .. }
                        | MountKind::Ssh { .. }
                        | MountKind::Script { .. }
                        | MountKind::Host { .. }
                        | MountKind::Scratch => {}
                    }
                }
            }
            Step::Config(_) | Step::Update(_) => {}
        }
    }
    steps
}

fn link_source(source: &mut CopySource, made: &[Made]) {
    if let CopySource::Part { part, path, filter } = source {
        match made.get(*part) {
            Some(Made::Stage(stage)) => *part = *stage,
            Some(Made::Bare(base)) => {
                let (path, filter) = (std::mem::take(path), std::mem::take(filter));
                *source = CopySource::Image { image: bare_image(base), path, filter };
            }
            None => {}
        }
    }
}

fn link_mount(from: &mut MountFrom, made: &[Made]) {
    if let MountFrom::Part(part) = from {
        match made.get(*part) {
            Some(Made::Stage(stage)) => *part = *stage,
            Some(Made::Bare(base)) => *from = MountFrom::Image(bare_image(base)),
            None => {}
        }
    }
}

fn bare_image(base: &Base) -> ImageRef {
    match base {
        Base::Image(image) => image.clone(),
        Base::Scratch | Base::Part(_) => ImageRef::External { reference: "scratch".to_owned() },
    }
}

fn stage(whole: &Stage, name: String, base: Base, steps: Vec<Step>, places: Vec<Option<Place>>) -> Stage {
    let is_own = |at: &Place| places.iter().flatten().any(|place| place == at);
    let commands = whole.commands.iter().filter(|(_, at)| is_own(at)).cloned().collect();
    let is_first = !matches!(base, Base::Part(_));
    // What a command sees of the arguments is what it is named with; other instructions show their values.
    let arguments: BTreeMap<String, String> = steps
        .iter()
        .filter_map(|step| if let Step::Run(run) = step { Some(&run.environment) } else { None })
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let part = BuildPart { name: name.clone(), base, arguments, steps };
    Stage {
        name,
        is_first,
        is_instruction: true,
        request: BuildRequest::new(whole.request.platform.clone(), vec![part]),
        places: vec![places],
        commands,
        ..whole.clone()
    }
}
