//! Signing all images of a project: each after those it uses, independent ones in parallel.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::config::{Config, ImageIndex};
use crate::diag::Diagnostics;
use crate::digest::Sha224Digest;
use crate::signature::{SignedImage, sign_image};
use crate::source::{Files, Gap, MemoryObjects, ObjectId, Objects, Sources};
use crate::stage::{ImageInputs, RemoteTree, UsedImage, image_stages};

/// What images are signed from.
pub struct SignInputs<'a> {
    /// The texts.
    pub sources: &'a Sources,
    /// The checked werf.yaml.
    pub config: &'a Config,
    /// The files of the repository.
    pub repository: &'a Files,
    /// Its objects, and those of other repositories.
    pub objects: &'a Arc<dyn Objects>,
    /// By image: the root of the repository with the files that it adds; `None` where they could not be read.
    pub added: &'a BTreeMap<String, Option<ObjectId>>,
    /// The trees of other repositories that git mappings take.
    pub remotes: &'a BTreeMap<String, RemoteTree>,
    /// What the repository cannot give.
    pub gaps: &'a [Gap],
    /// Path of the project in the repository; empty for its root.
    pub project_dir: &'a str,
    /// The commit.
    pub commit: &'a crate::config::Commit,
    /// Makes the reference that others see out of a signature.
    pub reference: &'a (dyn Fn(&Sha224Digest) -> String + Sync),
}

/// Signs all images, in build order; images whose stages cannot be made are reported and left out, with all that use them.
pub fn sign_images(diagnostics: &mut Diagnostics, inputs: &SignInputs<'_>) -> Vec<SignedImage> {
    let store = Arc::new(MemoryObjects::over(inputs.objects.clone()));
    let mut used: BTreeMap<String, UsedImage> = BTreeMap::new();
    let mut signed: BTreeMap<ImageIndex, SignedImage> = BTreeMap::new();
    for wave in waves(inputs.config) {
        let sign = |index: ImageIndex| {
            let mut found = Diagnostics::new();
            let edges = inputs.config.graph.edges_of(index);
            let has_all = edges.iter().all(|e| used.contains_key(&inputs.config.image(e.needed).name.value));
            let image_inputs = ImageInputs {
                sources: inputs.sources,
                config: inputs.config,
                repository: inputs.repository,
                added: inputs.added,
                remotes: inputs.remotes,
                gaps: inputs.gaps,
                project_dir: inputs.project_dir,
                store: &store,
                used: &used,
                commit: inputs.commit,
            };
            let stages = if has_all { image_stages(&mut found, &image_inputs, index) } else { None };
            (index, found, stages.map(sign_image))
        };
        let results: Vec<_> = wave.into_par_iter().map(sign).collect();
        for (index, found, image) in results {
            diagnostics.extend(found);
            let Some(image) = image else { continue };
            used.insert(image.name.clone(), used_image(&image, inputs));
            signed.insert(index, image);
        }
    }
    inputs.config.graph.order.iter().filter_map(|index| signed.remove(index)).collect()
}

fn used_image(image: &SignedImage, inputs: &SignInputs<'_>) -> UsedImage {
    UsedImage {
        signature: image.signature,
        reference: (inputs.reference)(&image.signature),
        stages: image.stages.iter().map(|(stage, signed)| (stage.name.clone(), signed.digest)).collect(),
    }
}

/// Groups the images so that each group needs only earlier groups; the order within a group is that of the build.
fn waves(config: &Config) -> Vec<Vec<ImageIndex>> {
    let mut depth: BTreeMap<ImageIndex, usize> = BTreeMap::new();
    let mut waves: Vec<Vec<ImageIndex>> = Vec::new();
    for index in &config.graph.order {
        let needed = config.graph.edges_of(*index).iter().filter_map(|e| depth.get(&e.needed));
        let own = needed.max().map_or(0, |d| d + 1);
        depth.insert(*index, own);
        if waves.len() <= own {
            waves.resize_with(own + 1, Vec::new);
        }
        if let Some(wave) = waves.get_mut(own) {
            wave.push(*index);
        }
    }
    waves
}
