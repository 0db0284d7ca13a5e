//! Signing all images of a project: each after those it uses, independent ones in parallel.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::config::{Config, ImageIndex};
use crate::diag::{Diagnostic, Diagnostics};
use crate::digest::Sha224Digest;
use crate::signature::{SignedImage, sign_image, sign_platforms};
use crate::source::{Files, Gap, MemoryObjects, ObjectId, Objects, Place, Sources};
use crate::stage::{ImageInputs, Platform, RemoteTree, UsedImage, image_platforms, image_stages};

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
    let mut signed: BTreeMap<ImageIndex, SignedImage> = BTreeMap::new();
    for wave in waves(inputs.config) {
        let results: Vec<_> = wave
            .into_par_iter()
            .map(|index| {
                let mut found = Diagnostics::new();
                let image = sign_one(&mut found, inputs, &store, &signed, index);
                (index, found, image)
            })
            .collect();
        for (index, found, image) in results {
            diagnostics.extend(found);
            if let Some(image) = image {
                signed.insert(index, image);
            }
        }
    }
    inputs.config.graph.order.iter().filter_map(|index| signed.remove(index)).collect()
}

/// Signs an image on each of its platforms; what it uses is signed.
fn sign_one(
    diagnostics: &mut Diagnostics,
    inputs: &SignInputs<'_>,
    store: &Arc<MemoryObjects>,
    signed: &BTreeMap<ImageIndex, SignedImage>,
    index: ImageIndex,
) -> Option<SignedImage> {
    let platforms = image_platforms(diagnostics, inputs.config.image(index))?;
    let mut chains: Vec<Option<SignedImage>> = Vec::new();
    for platform in &platforms {
        let mut found = Diagnostics::new();
        let stages = used_images(inputs, signed, index, platform).and_then(|used| {
            let image_inputs = ImageInputs {
                sources: inputs.sources,
                config: inputs.config,
                repository: inputs.repository,
                added: inputs.added,
                remotes: inputs.remotes,
                gaps: inputs.gaps,
                project_dir: inputs.project_dir,
                store,
                used: &used,
                commit: inputs.commit,
            };
            image_stages(&mut found, &image_inputs, index, platform)
        });
        chains.push(stages.map(sign_image));
        extend_by_new(diagnostics, found, inputs.sources);
    }
    sign_platforms(chains.into_iter().collect::<Option<Vec<_>>>()?)
}

/// Returns the images that an image uses, as they are on a platform; `None` when one of them could not be signed.
fn used_images(
    inputs: &SignInputs<'_>,
    signed: &BTreeMap<ImageIndex, SignedImage>,
    index: ImageIndex,
    platform: &Platform,
) -> Option<BTreeMap<String, UsedImage>> {
    let edges = inputs.config.graph.edges_of(index);
    let used = |needed: &ImageIndex| {
        // That it is built for the platform was checked with the configuration.
        let chain = signed.get(needed)?.on(platform)?;
        Some((inputs.config.image(*needed).name.value.clone(), used_image(chain, inputs)))
    };
    edges.iter().map(|edge| used(&edge.needed)).collect()
}

fn used_image(chain: &SignedImage, inputs: &SignInputs<'_>) -> UsedImage {
    UsedImage {
        signature: chain.signature,
        reference: (inputs.reference)(&chain.signature),
        on_build: chain.on_build.clone(),
        stages: chain
            .stages
            .iter()
            .map(|(stage, signed)| (stage.name.clone(), signed.digest, signed.content))
            .collect(),
    }
}

/// Adds findings, but not those that an earlier platform brought too: each reads the same files.
fn extend_by_new(diagnostics: &mut Diagnostics, found: Diagnostics, sources: &Sources) {
    type Told = (&'static str, String, Option<Place>);
    let told = |d: &Diagnostic| -> Told {
        (d.rule.name, d.message.clone(), d.primary.as_ref().map(|label| sources.place(label.span)))
    };
    if diagnostics.as_slice().is_empty() {
        return diagnostics.extend(found);
    }
    let before: Vec<Told> = diagnostics.as_slice().iter().map(told).collect();
    for diagnostic in found.as_slice().iter().filter(|d| !before.contains(&told(d))) {
        diagnostics.push(diagnostic.clone());
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
