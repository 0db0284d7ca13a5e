//! Signing all images of a project, each after those it uses.

use std::collections::BTreeMap;

use super::sign::{SignedStage, image_signature, sign_stage};
use crate::digest::Sha224Digest;
use crate::source::Place;
use crate::stage::{Base, ImageRef, ImageStages, Stage};

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

/// Signs an image. The base of every stage but the first becomes the stage before it.
pub fn sign_image(image: ImageStages) -> SignedImage {
    let mut previous: Option<Sha224Digest> = None;
    let mut stages = Vec::with_capacity(image.stages.len());
    for mut stage in image.stages {
        if let (Some(digest), Some(part)) = (previous, stage.request.parts.first_mut()) {
            part.base = Base::Image(ImageRef::Stage { digest });
        }
        let signed = sign_stage(&stage, previous);
        previous = Some(signed.digest);
        stages.push((stage, signed));
    }
    let last = previous.expect("every image has a stage");
    SignedImage {
        name: image.name,
        is_final: image.is_final,
        place: image.place,
        uses: image.uses,
        stages,
        signature: image_signature(last),
    }
}
