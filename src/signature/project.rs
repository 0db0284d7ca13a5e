//! Signing all images of a project, each after those it uses.

use std::collections::BTreeMap;

use super::sign::{SignedStage, image_signature, sign_stage};
use crate::digest::Sha224Digest;
use crate::source::Place;
use crate::stage::{Base, BuildRequest, CopySource, ImageRef, ImageStages, MountFrom, MountKind, Stage, Step};

/// An image with the signatures of its stages and its own.
#[derive(Clone, Debug)]
pub struct SignedImage {
    /// Its name in werf.yaml.
    pub name: String,
    /// Whether templates see it.
    pub is_final: bool,
    /// Where it is declared.
    pub place: Place,
    /// The images of the project that it uses, and where.
    pub uses: Vec<(String, Place)>,
    /// The stages, first to last.
    pub stages: Vec<(Stage, SignedStage)>,
    /// The signature: its content-based tag.
    pub signature: Sha224Digest,
}

/// The signatures of the images that were signed before.
pub type Signatures = BTreeMap<String, Sha224Digest>;

/// Signs an image. The base of every stage but the first becomes the stage before it; an instruction of a staged
/// Dockerfile knows its base itself.
pub fn sign_image(image: ImageStages) -> SignedImage {
    let mut stages: Vec<(Stage, SignedStage)> = Vec::with_capacity(image.stages.len());
    for mut stage in image.stages {
        let mut previous = stages.last().map(|(_, signed)| signed);
        if stage.is_instruction {
            let base = link(&mut stage.request, &|index| stages.get(index).map(|(_, signed)| signed.digest));
            previous = base.and_then(|index| stages.get(index)).map(|(_, signed)| signed);
        } else if let (Some(previous), Some(part)) = (previous, stage.request.parts.first_mut()) {
            part.base = Base::Image(ImageRef::Stage { digest: previous.digest, created_ms: None });
        }
        let signed = sign_stage(&stage, previous);
        stages.push((stage, signed));
    }
    // Of an image whose files are never brought up to date, only what its stage digests tell is its content.
    let last = stages.last().map(|(_, signed)| signed.digest).expect("every image has a stage");
    SignedImage {
        name: image.name,
        is_final: image.is_final,
        place: image.place,
        uses: image.uses,
        stages,
        signature: image_signature(last),
    }
}

/// Puts digests in place of the earlier stages that an instruction points to; returns the index of its base.
fn link(request: &mut BuildRequest, digest: &dyn Fn(usize) -> Option<Sha224Digest>) -> Option<usize> {
    let image = |index: usize| {
        let digest = digest(index).expect("an instruction points to earlier stages");
        ImageRef::Stage { digest, created_ms: None }
    };
    let mut base = None;
    for part in &mut request.parts {
        if let Base::Part(index) = part.base {
            base = Some(index);
            part.base = Base::Image(image(index));
        }
        for step in &mut part.steps {
            match step {
                Step::Copy(copy) => {
                    for source in &mut copy.sources {
                        if let CopySource::Part { part, path, filter } = source {
                            let (path, filter) = (std::mem::take(path), std::mem::take(filter));
                            *source = CopySource::Image { image: image(*part), path, filter };
                        }
                    }
                }
                Step::Run(run) => {
                    for mount in &mut run.mounts {
                        if let MountKind::Bind { from, .. } | MountKind::Cache { from: Some(from), .. } =
                            &mut mount.kind
                            && let MountFrom::Part(index) = from
                        {
                            *from = MountFrom::Image(image(*index));
                        }
                    }
                }
                Step::Config(_) | Step::Update(_) => {}
            }
        }
    }
    base
}
