//! `export [IMAGE…] --tag REF`: builds images and stores copies of them elsewhere, with nothing of ours in them.

use std::collections::BTreeMap;

use super::super::args::{ExportArgs, GlobalArgs, RunArgs};
use super::super::error::{CliError, exit_code};
use super::super::project::Options;
use super::super::streams::Invocation;
use super::super::wiring::{Reach, open_store};
use super::apply::approved;
use super::make_plan::{Made, Wish, make_plan};
use crate::config::{Finals, Tagged, expand_image, select};
use crate::diag::Diagnostics;
use crate::ports::oci::{Index, IndexEntry, Manifest, read_image};
use crate::ports::{BlobDigest, Document, StageStore, StoreError, copy_blobs, put_index};
use crate::signature::SignedImage;

/// Labels that say how an image was built; an exported image has none.
const OWN_LABELS: [&str; 2] = ["werf", "io.stagewright."];

pub fn run(global: &GlobalArgs, args: &ExportArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let labels = labels(&args.add_label)?;
    let options = Options::images(&args.project, &args.build);
    let wish = Wish { images: &args.images, deploy: false, applies: true, since: None, no_hooks: false };
    let made = make_plan(global, options, wish, invocation)?;
    let references = references(&args.tag, &wanted(&made, &args.images))?;
    let reach = Reach::new(&args.build.registry, global, invocation);
    let several = |tag: &String| {
        made.project.images.iter().any(|image| !image.platforms.is_empty() && image.signature.to_string() == *tag)
    };
    let mut copies = Vec::new();
    for (reference, tag) in references {
        let (repo, name) = split("--tag", &reference)?;
        let to = open_store("--tag", &repo, &made.found.dir, &reach)?;
        if several(&tag) && !to.holds_indexes() {
            let what = format!("--tag {reference}: the image is for several platforms, which {repo} cannot hold");
            return Err(CliError::user(what).hint("choose one: --platform linux/amd64"));
        }
        copies.push((reference, tag, name, to));
    }
    let run = RunArgs { auto_approve: true, ..args.run.clone() };
    let code = approved(&made, &run, false, invocation)?;
    if code != exit_code::DONE {
        return Ok(code);
    }
    for (reference, tag, name, to) in copies {
        let what = || format!("export {reference}");
        let image = made.back_ends.store.images(std::slice::from_ref(&tag));
        let image = image.map_err(|e| CliError::environment(what(), e))?.into_iter().flatten().next();
        let Some(image) = image else { return Err(CliError::user(format!("image {tag} is not in the store"))) };
        let done = export(made.back_ends.store.as_ref(), to.as_ref(), &image.manifest, &name, &labels);
        let digest = done.map_err(|e| CliError::environment(what(), e))?;
        invocation.streams.inform(&format!("exported {reference}@{digest}"));
    }
    Ok(exit_code::DONE)
}

/// The images that are exported: without names the final ones.
fn wanted<'a>(made: &'a Made, patterns: &[String]) -> Vec<&'a SignedImage> {
    let finals = if patterns.is_empty() { Finals::Only } else { Finals::AndOthers };
    // Patterns that choose nothing were reported by the plan.
    let chosen = select(&mut Diagnostics::new(), &made.project.config, patterns, finals);
    let names: Vec<&str> = chosen.iter().map(|i| made.project.config.image(*i).name.value.as_str()).collect();
    made.project.images.iter().filter(|image| names.contains(&image.name.as_str())).collect()
}

/// Returns each reference, and the content-based tag of the image that gets it.
fn references(pattern: &str, images: &[&SignedImage]) -> Result<BTreeMap<String, String>, CliError> {
    let mut all = BTreeMap::new();
    for image in images {
        let tagged = Tagged { name: &image.name, signature: image.signature };
        let reference = expand_image(pattern, &tagged);
        split("--tag", &reference)?;
        if all.insert(reference.clone(), image.signature.to_string()).is_some_and(|t| t != image.signature.to_string())
        {
            let what = format!("--tag {pattern}: several images would be exported as {reference}");
            return Err(CliError::user(what).hint("write %image_slug% into it, or name one image"));
        }
    }
    Ok(all)
}

/// Splits `REPO:TAG`; the tag `latest` may be left out.
pub(super) fn split(option: &str, reference: &str) -> Result<(String, String), CliError> {
    let schemes = ["oci:", "docker:"];
    let scheme = schemes.into_iter().find(|scheme| reference.starts_with(scheme)).unwrap_or_default();
    let rest = reference.strip_prefix(scheme).unwrap_or(reference);
    let (repo, tag) = match rest.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        Some(_) | None => (rest, "latest"),
    };
    let is_tag = crate::config::slug::is_tag(tag);
    if repo.is_empty() || !is_tag {
        let what = format!("{option} {reference}: this is no name of an image");
        return Err(CliError::user(what).hint("write HOST[:PORT]/PATH:TAG, docker:NAME:TAG or oci:DIR:TAG"));
    }
    Ok((format!("{scheme}{repo}"), tag.to_owned()))
}

fn labels(words: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let read = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(CliError::user(format!("--add-label {word}: write KEY=VALUE"))),
    };
    words.iter().map(read).collect()
}

/// Stores a copy of an image, on all of its platforms, without what we recorded with it.
fn export(
    from: &dyn StageStore,
    to: &dyn StageStore,
    image: &BlobDigest,
    tag: &str,
    labels: &BTreeMap<String, String>,
) -> Result<BlobDigest, StoreError> {
    let index = match Document::read(from, image)? {
        Document::Manifest(_) => return to.put_image(tag, None, &cleaned(from, to, image, labels)?),
        Document::Index(index) => index,
    };
    let mut entries = Vec::with_capacity(index.manifests.len());
    for entry in index.manifests {
        let bytes = cleaned(from, to, &entry.digest, labels)?.to_bytes();
        let (digest, size) = to.put(&mut |out| out.write_all(&bytes))?;
        entries.push(IndexEntry { digest, size, annotations: BTreeMap::new(), ..entry });
    }
    put_index(to, tag, None, &Index::of(entries, BTreeMap::new()))
}

/// Copies the blobs of an image; returns its manifest without what we recorded with it.
fn cleaned(
    from: &dyn StageStore,
    to: &dyn StageStore,
    image: &BlobDigest,
    labels: &BTreeMap<String, String>,
) -> Result<Manifest, StoreError> {
    let (manifest, mut config) = read_image(from, image)?;
    copy_blobs(from, to, &manifest.layers)?;
    let before = config.config.labels.clone();
    config.config.labels.retain(|key, _| !OWN_LABELS.iter().any(|own| key.starts_with(own)));
    config.config.labels.extend(labels.clone());
    let mut descriptor = manifest.config.clone();
    if config.config.labels == before {
        copy_blobs(from, to, [&descriptor])?;
    } else {
        let bytes = config.to_bytes();
        (descriptor.digest, descriptor.size) = to.put(&mut |out| out.write_all(&bytes))?;
    }
    Ok(Manifest { config: descriptor, annotations: BTreeMap::new(), ..manifest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_repository_and_a_tag() {
        let split = |text: &str| split("--tag", text).map(|(repo, tag)| format!("{repo} {tag}")).unwrap_or_default();
        assert_eq!(split("r.example:5000/shop/web:v1"), "r.example:5000/shop/web v1");
        assert_eq!(split("r.example:5000/shop"), "r.example:5000/shop latest");
        assert_eq!(split("oci:/tmp/x:v1"), "oci:/tmp/x v1");
        assert_eq!(split("oci:out"), "oci:out latest");
        assert_eq!(split("docker:shop") + " " + &split("docker:shop/web:v1"), "docker:shop latest docker:shop/web v1");
        assert_eq!(split("shop:not a tag") + &split(":v1"), "");
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(labels(&["a=b=c".into()]).unwrap(), BTreeMap::from([("a".into(), "b=c".into())]));
        assert!(labels(&["a".into()]).is_err() && labels(&["=b".into()]).is_err());
    }
}
