//! Signing: build request to ingredients to digest.

use std::collections::BTreeMap;

use super::ingredient::{Ingredient, IngredientKind, Origin};
use crate::digest::{Hasher, Sha224Digest};
use crate::source::{Mode, Place};
use crate::stage::{
    Base, BuildPart, BuildRequest, CopySource, CopyStep, ImageRef, Network, RunStep, Stage, Step, TreeSource,
    show_base_env,
};

/// A stage with its ingredients and its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStage {
    /// Its ingredients, without those of earlier stages.
    pub ingredients: Vec<Ingredient>,
    /// Its stage digest, under which it is stored. It does not tell the files of git mappings that the stage only holds.
    pub digest: Sha224Digest,
    /// The digest of all its content; equal to `digest` where that tells everything.
    pub content: Sha224Digest,
}

/// Signs a stage; `previous` is the stage before it.
pub fn sign_stage(stage: &Stage, previous: Option<&SignedStage>) -> SignedStage {
    let ingredients = ingredients(stage);
    let content = hash(stage, &ingredients, previous.map(|p| p.content), false);
    let digest =
        if stage.mapped.is_empty() { content } else { hash(stage, &ingredients, previous.map(|p| p.digest), true) };
    SignedStage { ingredients, digest, content }
}

/// Hashes a stage and the digest of the one before; `is_bound` leaves out which files of git mappings it copies.
fn hash(stage: &Stage, ingredients: &[Ingredient], previous: Option<Sha224Digest>, is_bound: bool) -> Sha224Digest {
    let mut hasher = Hasher::new("stage");
    // Which instruction of which Dockerfile stage it is says nothing about what it makes.
    hasher.field(if stage.is_instruction { b"instruction" } else { stage.name.as_bytes() });
    let copied = stage.request.parts.iter().flat_map(|part| &part.steps).flat_map(|step| match step {
        Step::Copy(copy) => copy.sources.as_slice(),
        Step::Run(_) | Step::Config(_) | Step::Update(_) => &[],
    });
    let mut mappings = copied.filter_map(|s| if let CopySource::Tree(tree) = s { Some(tree) } else { None });
    for ingredient in ingredients {
        let mapping = (is_bound && ingredient.kind == IngredientKind::Content).then(|| mappings.next()).flatten();
        let filter;
        let fields = match mapping {
            Some(tree) => {
                filter = json(&tree.filter);
                let kind = if tree.mode == Mode::Directory { "directory" } else { "file" };
                ["git mapping", &ingredient.key, &filter, kind]
            }
            None => [ingredient.kind.name(), &ingredient.key, &ingredient.value, &ingredient.detail],
        };
        for field in fields {
            hasher.field(field.as_bytes());
        }
    }
    // The files of one repository say nothing about what commands made of those of another.
    for address in stage.mapped_from.iter().filter(|_| is_bound) {
        hasher.field(b"repository").field(address.as_bytes());
    }
    if let Some(previous) = previous {
        hasher.field(b"previous").field(previous.to_string().as_bytes());
    }
    hasher.finish()
}

/// Returns the digest of the stage that keeps files of git mappings between the last command and the newest files, for
/// changes of so many mebibytes since that command.
pub fn git_cache_digest(previous: Sha224Digest, mebibytes: u64) -> Sha224Digest {
    let mut hasher = Hasher::new("stage");
    hasher.field(b"gitCache").field(mebibytes.to_string().as_bytes());
    hasher.field(b"previous").field(previous.to_string().as_bytes());
    hasher.finish()
}

/// Returns the signature of an image, which is its content-based tag, from the digest of its last stage.
pub fn image_signature(last: Sha224Digest) -> Sha224Digest {
    let mut hasher = Hasher::new("image");
    hasher.field(last.to_string().as_bytes());
    hasher.finish()
}

/// Reads the ingredients of a stage off its build request.
pub fn ingredients(stage: &Stage) -> Vec<Ingredient> {
    let mut list = Vec::new();
    if stage.is_first {
        list.push(plain(IngredientKind::Platform, "platform", stage.request.platform.to_string(), None));
    }
    for (key, version, place) in &stage.cache_versions {
        list.push(plain(IngredientKind::CacheVersion, key, version.clone(), Some(place.clone())));
    }
    for (index, part) in stage.request.parts.iter().enumerate() {
        let places = stage.places.get(index).map_or(&[][..], Vec::as_slice);
        if let Some(platform) = stage.request.part_platforms.get(&index) {
            let place = places.first().cloned().flatten();
            list.push(plain(IngredientKind::Platform, "FROM --platform", platform.to_string(), place));
        }
        part_ingredients(part, &stage.request, stage, places, &mut list);
    }
    list
}

fn plain(kind: IngredientKind, key: &str, value: String, place: Option<Place>) -> Ingredient {
    Ingredient { kind, key: key.to_owned(), value, detail: String::new(), place, origin: None }
}

/// `places` holds the place of the base, then those of the steps.
fn part_ingredients(
    part: &BuildPart,
    request: &BuildRequest,
    stage: &Stage,
    places: &[Option<Place>],
    list: &mut Vec<Ingredient>,
) {
    let base_place = places.first().cloned().flatten();
    match &part.base {
        Base::Scratch => list.push(plain(IngredientKind::Base, "from", "scratch".into(), base_place)),
        Base::Part(index) => {
            let name = request.parts.get(*index).map_or("", |p| p.name.as_str());
            list.push(plain(IngredientKind::Instruction, "from stage", format!("{index} {name}"), base_place));
        }
        // The digest of the stage before is hashed by the caller.
        Base::Image(ImageRef::Stage { .. }) => {}
        Base::Image(image) => list.push(image_ingredient("from", image, base_place)),
    }
    for (name, value) in &part.arguments {
        list.push(plain(IngredientKind::Argument, name, value.clone(), stage.argument_places.get(name).cloned()));
    }
    for (index, step) in part.steps.iter().enumerate() {
        let place = places.get(index + 1).cloned().flatten();
        match step {
            Step::Copy(copy) => copy_ingredients(copy, stage, place.as_ref(), list),
            Step::Run(run) => {
                // The network and proxies do not change what a command is meant to make.
                let bare = RunStep {
                    inputs: Vec::new(),
                    network: Network::Default,
                    unsigned_environment: BTreeMap::new(),
                    place: None,
                    ..run.clone()
                };
                list.push(Ingredient {
                    detail: json(&bare),
                    ..plain(IngredientKind::Instruction, "instruction", run.created_by.clone(), place.clone())
                });
                list.extend(run.inputs.iter().map(|tree| content_ingredient(tree, false, stage, place.as_ref())));
            }
            // What it brings is told by the stage that copied it first.
            Step::Update(_) => {}
            Step::Config(change) => {
                let text = change.to_string();
                let shown = show_base_env(&text);
                let detail = if shown == text { String::new() } else { text };
                list.push(Ingredient { detail, ..plain(IngredientKind::Instruction, "instruction", shown, place) });
            }
        }
    }
}

fn copy_ingredients(copy: &CopyStep, stage: &Stage, place: Option<&Place>, list: &mut Vec<Ingredient>) {
    let bare = CopyStep { sources: Vec::new(), ..copy.clone() };
    list.push(Ingredient {
        detail: json(&bare),
        ..plain(IngredientKind::Instruction, "instruction", copy.created_by.clone(), place.cloned())
    });
    for source in &copy.sources {
        list.push(match source {
            CopySource::Tree(tree) => content_ingredient(tree, copy.parents, stage, place),
            CopySource::Inline { name, content } => Ingredient {
                detail: content.clone(),
                ..plain(IngredientKind::Instruction, "heredoc", name.clone(), place.cloned())
            },
            CopySource::Address { url, checksum } => Ingredient {
                detail: checksum.clone().unwrap_or_default(),
                ..plain(IngredientKind::Instruction, "address", url.clone(), place.cloned())
            },
            CopySource::Part { part, path, filter } => Ingredient {
                detail: json(filter),
                ..plain(IngredientKind::Instruction, "copy from stage", format!("{part} {path}"), place.cloned())
            },
            CopySource::Image { image, path, filter } => {
                Ingredient { detail: json(&(path, filter)), ..image_ingredient(path, image, place.cloned()) }
            }
        });
    }
}

fn content_ingredient(tree: &TreeSource, parents: bool, stage: &Stage, place: Option<&Place>) -> Ingredient {
    // The name of a file is content where it becomes the name in the image, and so are the directories that are kept.
    let name = tree.called(parents);
    Ingredient {
        kind: IngredientKind::Content,
        key: if tree.path.is_empty() { ".".to_owned() } else { tree.path.clone() },
        value: tree.id.to_string(),
        detail: format!("{} {name}", tree.mode.octal()),
        place: place.cloned(),
        origin: Some(Origin {
            root: tree.root,
            prefix: stage.prefixes.get(&tree.root).cloned().unwrap_or_default(),
            path: tree.path.clone(),
            filter: tree.filter.clone(),
            mode: tree.mode,
        }),
    }
}

fn image_ingredient(key: &str, image: &ImageRef, place: Option<Place>) -> Ingredient {
    match image {
        ImageRef::Project { name, signature } => {
            Ingredient { detail: String::new(), ..plain(IngredientKind::Image, name, signature.to_string(), place) }
        }
        ImageRef::Stage { digest, content, .. } => {
            plain(IngredientKind::Image, key, content.unwrap_or(*digest).to_string(), place)
        }
        ImageRef::External { reference } => plain(IngredientKind::Base, key, reference.clone(), place),
    }
}

/// Canonical: our types hold no maps but ordered ones.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("build requests are plain data")
}
