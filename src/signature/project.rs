//! Signing all images of a project, each after those it uses.

use std::collections::BTreeMap;

use super::platforms::PlatformTags;
use super::sign::{SignedStage, image_signature, sign_stage};
use crate::digest::{Hasher, Sha224Digest};
use crate::source::Place;
use crate::stage::{
    Base, BuildRequest, CopySource, ImageRef, ImageStages, MountFrom, MountKind, Platform, Stage, Step,
};

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
    /// The triggers that it leaves for images based on it.
    pub on_build: Vec<String>,
    /// The stages, first to last; none where it has several platforms.
    pub stages: Vec<(Stage, SignedStage)>,
    /// The signature: its content-based tag.
    pub signature: Sha224Digest,
    /// What it is built for; `None` where it has several platforms.
    pub built_for: Option<Platform>,
    /// The same, where it is one of several platforms of an image.
    pub platform: Option<Platform>,
    /// The image on each of its platforms, by their names; empty where it has one.
    pub platforms: Vec<SignedImage>,
}

impl SignedImage {
    /// Returns its chains of stages: itself, or the image on each of its platforms.
    pub fn chains(&self) -> &[Self] {
        if self.platforms.is_empty() { std::slice::from_ref(self) } else { &self.platforms }
    }

    /// Returns all stages, platform after platform.
    pub fn all_stages(&self) -> impl Iterator<Item = &(Stage, SignedStage)> {
        self.chains().iter().flat_map(|chain| &chain.stages)
    }

    /// Returns the chain that is built for a platform.
    pub fn on(&self, platform: &Platform) -> Option<&Self> {
        let is_for = |chain: &&Self| chain.built_for.as_ref() == Some(platform);
        self.chains().iter().find(is_for)
    }

    /// Returns the content-based tags of its platforms, where it has several.
    pub fn platform_tags(&self) -> PlatformTags {
        let tag = |chain: &Self| Some((chain.platform.as_ref()?.to_string(), chain.signature.to_string()));
        self.platforms.iter().filter_map(tag).collect()
    }

    /// Returns its name among the operations of a plan: `web`, or `web[linux/arm64]`.
    pub fn chain_name(&self) -> String {
        self.platform.as_ref().map_or_else(|| self.name.clone(), |platform| format!("{}[{platform}]", self.name))
    }
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
            part.base = Base::Image(ImageRef::Stage { digest: previous.digest, created_ms: None, content: None });
        }
        let signed = sign_stage(&stage, previous);
        stages.push((stage, signed));
    }
    let last = stages.last().map(|(_, signed)| signed.content).expect("every image has a stage");
    SignedImage {
        name: image.name,
        is_final: image.is_final,
        place: image.place,
        uses: image.uses,
        on_build: image.on_build,
        stages,
        signature: image_signature(last),
        built_for: Some(image.platform),
        platform: None,
        platforms: Vec::new(),
    }
}

/// Puts digests in place of the earlier stages that an instruction points to; returns the index of its base.
fn link(request: &mut BuildRequest, digest: &dyn Fn(usize) -> Option<Sha224Digest>) -> Option<usize> {
    let image = |index: usize| {
        let digest = digest(index).expect("an instruction points to earlier stages");
        ImageRef::Stage { digest, created_ms: None, content: None }
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

/// Joins the chains of one image, which come by the names of their platforms; the only one of an image stays as it is.
///
/// The signature of several is a pure function of theirs.
pub fn sign_platforms(mut chains: Vec<SignedImage>) -> Option<SignedImage> {
    let several = chains.len() > 1;
    if several {
        chains.iter_mut().for_each(|chain| chain.platform = chain.built_for.clone());
    }
    let first = if several { chains.first() } else { return chains.pop() }?;
    let mut hasher = Hasher::new("image index");
    for chain in &chains {
        let platform = chain.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        hasher.field(platform.as_bytes()).field(chain.signature.to_string().as_bytes());
    }
    Some(SignedImage {
        name: first.name.clone(),
        is_final: first.is_final,
        place: first.place.clone(),
        uses: first.uses.clone(),
        on_build: first.on_build.clone(),
        stages: Vec::new(),
        signature: hasher.finish(),
        built_for: None,
        platform: None,
        platforms: chains,
    })
}
