//! Planning an image for several platforms: an index over images that are planned like any other.
//!
//! The one idea: the image on one platform is an image of its own, with a chain of stages, a signature and a tag. So
//! whatever uses it on that platform waits for no other, and an index is one more tag.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{ImageContext, ImageSection, differences};
use super::operation::{Guard, Operation, Work};
use super::reason::Reason;
use crate::observed::{Asking, StoredFact};
use crate::signature::{IngredientKind, Record, SignedImage, platform_tags};
use crate::source::Objects;

/// Returns the chains without which a wanted image cannot be had, by name; and the names of the wanted images.
pub(super) fn needed_chains(
    images: &[SignedImage],
    context: &ImageContext<'_>,
    asking: &mut Asking<'_>,
) -> BTreeSet<String> {
    let by_name: BTreeMap<&str, &SignedImage> = images.iter().map(|image| (image.name.as_str(), image)).collect();
    let mut needed = context.wanted.clone();
    for image in images.iter().rev() {
        if needed.contains(&image.name) && asking.image_is_absent(&image.signature.to_string()) {
            needed.extend(image.chains().iter().map(SignedImage::chain_name));
        }
        for chain in image.chains() {
            if needed.contains(&chain.chain_name()) && asking.image_is_absent(&chain.signature.to_string()) {
                needed.extend(chain.uses.iter().map(|(name, _)| used_chain(chain, name, &by_name)));
            }
        }
    }
    needed
}

/// Names the chain of another image that a chain uses: that for its platform.
fn used_chain(chain: &SignedImage, used: &str, by_name: &BTreeMap<&str, &SignedImage>) -> String {
    let found = chain.built_for.as_ref().and_then(|platform| by_name.get(used)?.on(platform));
    found.map_or_else(|| used.to_owned(), SignedImage::chain_name)
}

/// Names the operation that puts the content-based tag of an image, or of an image on one platform.
pub(super) fn tag_id(chain: &SignedImage) -> String {
    format!("tag:{}", chain.chain_name())
}

/// Returns the work of putting a tag on the index of an image.
pub(super) fn tag_index(image: &SignedImage, tag: String) -> Work {
    let signature = image.signature.to_string();
    Work::TagIndex { image: image.name.clone(), tag, signature, platforms: image.platform_tags() }
}

/// Plans the index of an image whose chains are planned, where it has one.
pub(super) fn plan_index(image: &SignedImage, asking: &mut Asking<'_>, section: &mut ImageSection) {
    if image.platforms.is_empty() {
        return;
    }
    let (mut needs, mut guards) = (Vec::new(), Vec::new());
    for chain in &image.platforms {
        let id = tag_id(chain);
        let tag = chain.signature.to_string();
        if section.operations.iter().any(|operation| operation.id == id) {
            needs.push(id);
        } else if let Some(stored) = asking.image(&tag) {
            guards.push(Guard::ImagePresent { tag, manifest: stored.manifest.clone() });
        }
    }
    let work = tag_index(image, image.signature.to_string());
    section.operations.push(Operation { id: tag_id(image), needs, guards, work });
}

/// Explains how an image differs from an older build of it, platform by platform.
pub(super) fn differences_on_platforms(
    previous: &StoredFact,
    image: &SignedImage,
    reasons: &BTreeMap<String, Vec<Reason>>,
    objects: &dyn Objects,
    asking: &mut Asking<'_>,
) -> Vec<Reason> {
    let before = platform_tags(&previous.annotations);
    let alone = if before.is_empty() { alone(previous) } else { None };
    if before.is_empty() && image.platforms.is_empty() {
        return differences(previous, image, reasons, objects);
    }
    let mut found: Vec<(String, Vec<Reason>)> = Vec::new();
    let mut now: BTreeSet<String> = BTreeSet::new();
    for chain in image.chains() {
        let Some(platform) = chain.built_for.as_ref().map(ToString::to_string) else { continue };
        let fact = match before.get(&platform) {
            Some(tag) => asking.image(tag),
            None => Some(previous).filter(|_| alone.as_ref() == Some(&platform)),
        };
        let why = fact.map(|fact| differences(fact, chain, reasons, objects)).unwrap_or_default();
        found.push((platform.clone(), why));
        now.insert(platform);
    }
    let then: BTreeSet<String> = before.into_keys().chain(alone).collect();
    let mut all = Vec::new();
    if then != now && !then.is_empty() {
        let words = |set: &BTreeSet<String>| Some(set.iter().cloned().collect::<Vec<_>>().join(", "));
        all.push(Reason::Setting { key: "platform".into(), place: None, before: words(&then), after: words(&now) });
    }
    all.extend(by_platform(found));
    all
}

/// Returns the platform of an image that has one.
fn alone(previous: &StoredFact) -> Option<String> {
    Record::from_annotations(&previous.annotations).ok()?.first(IngredientKind::Platform)
}

/// What is the same on all platforms is told once.
fn by_platform(found: Vec<(String, Vec<Reason>)>) -> Vec<Reason> {
    let mut first = found.first().map(|(_, why)| why.clone()).unwrap_or_default();
    if found.iter().all(|(_, why)| *why == first) {
        return std::mem::take(&mut first);
    }
    let told = found.into_iter().filter(|(_, why)| !why.is_empty());
    told.map(|(platform, because)| Reason::OnPlatform { platform, because }).collect()
}
