//! Triggers of bases that are somebody else's: known only when there is something to build.

use crate::observed::Asking;
use crate::plan::{ImageSection, Work};
use crate::signature::SignedImage;
use crate::source::Place;
use crate::stage::{Base, ConfigChange, ImageRef, Stage, Step, steps_of_base};

/// A base whose triggers are others than the Dockerfile declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UndeclaredTriggers {
    /// Where the base is named.
    pub place: Place,
    /// The base.
    pub base: String,
    /// What it has.
    pub triggers: Vec<String>,
    /// What is declared.
    pub declared: Vec<String>,
}

/// Puts the triggers of bases into what is built on them; returns those that would have to be declared.
///
/// Declared triggers are in the requests already. Others enter only where they see nothing but the base.
pub fn carry_out_triggers(
    images: &[SignedImage],
    section: &mut ImageSection,
    asking: &mut Asking<'_>,
) -> Vec<UndeclaredTriggers> {
    let mut undeclared = Vec::new();
    for operation in &mut section.operations {
        let Work::BuildStage { image, stage, request, .. } = &mut operation.work else { continue };
        let Some(image) = images.iter().find(|i| i.name == *image) else { continue };
        let is_built = |s: &Stage| s.name == *stage && s.request.platform == request.platform;
        let Some((stage, _)) = image.all_stages().find(|(s, _)| is_built(s)) else { continue };
        if !has_dockerfile(stage) {
            continue;
        }
        let platform = request.platform.clone();
        for (index, part) in request.parts.iter_mut().enumerate() {
            let Base::Image(ImageRef::External { reference }) = &part.base else { continue };
            // A base that is not there is told as such.
            if asking.external(reference, &platform).is_none() {
                continue;
            }
            let triggers = asking.triggers(reference, &platform);
            let declared = stage.triggers.get(&index).map_or(&[][..], Vec::as_slice);
            if triggers == declared {
                continue;
            }
            let steps = if declared.is_empty() { steps_of_base(reference, triggers, &platform) } else { None };
            if let Some(steps) = steps {
                let clear = Step::Config(ConfigChange::ClearOnBuild);
                part.steps.splice(0..0, std::iter::once(clear).chain(steps));
                continue;
            }
            let place = stage.places.get(index).and_then(|places| places.first()).cloned().flatten();
            undeclared.push(UndeclaredTriggers {
                place: place.unwrap_or_else(|| image.place.clone()),
                base: reference.clone(),
                triggers: triggers.to_vec(),
                declared: declared.to_vec(),
            });
        }
    }
    undeclared.sort();
    undeclared.dedup();
    undeclared
}

fn has_dockerfile(stage: &Stage) -> bool {
    stage.is_instruction || stage.name == "dockerfile"
}
