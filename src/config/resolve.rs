//! From decoded documents to a checked configuration: names, references, the graph, platforms.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::{FileId, Span};
use crate::syntax::yaml::Node;

use super::documents::Kind;
use super::image::{Surroundings, Wanted};
use super::reference::is_untagged;
use super::{
    Config, DockerfileImage, Edge, EdgeKind, Giterminism, Image, ImageGraph, ImageIndex, ImageKind, ImageReference,
    Inputs, Meta, StapelImage, Text, slug,
};

/// Decodes all documents and ties them together.
pub(super) fn config(
    d: &mut Diagnostics,
    path: &str,
    rendered: FileId,
    documents: Vec<(Kind, Node)>,
    inputs: &Inputs<'_>,
    giterminism: Giterminism,
) -> Option<Config> {
    let meta = meta(d, path, &documents, inputs)?;
    let around = Surroundings {
        build: &meta.build,
        rules: &giterminism,
        platforms: &inputs.platforms,
        force_staged: inputs.force_staged,
    };
    let of = |kind: Kind| documents.iter().filter(move |(k, _)| *k == kind).map(|(_, node)| node);
    let mut images: Vec<Image> = Vec::new();
    for node in of(Kind::Dockerfile) {
        images.extend(DockerfileImage::decode(d, node, around));
    }
    for node in of(Kind::Stapel) {
        images.extend(StapelImage::decode(d, node, around));
    }
    let by_name = index(d, &images);
    check_nameless(d, &images);
    resolve(d, &mut images, &by_name);
    let graph = graph(d, &images)?;
    check_platforms(d, &images, &graph);
    let included = inputs.included.clone();
    let path = path.to_owned();
    Some(Config { path, rendered, meta, images, included, graph, giterminism, documents, by_name })
}

fn meta(d: &mut Diagnostics, path: &str, documents: &[(Kind, Node)], inputs: &Inputs<'_>) -> Option<Meta> {
    let mut metas = documents.iter().filter(|(kind, _)| *kind == Kind::Meta).map(|(_, node)| node);
    let Some(first) = metas.next() else {
        let unread = |found: &Diagnostic| [&rules::YAML_SYNTAX, &rules::UNKNOWN_DOCUMENT].contains(&found.rule);
        if d.as_slice().iter().any(unread) {
            // It may be the document that could not be read.
            return None;
        }
        let proposal = slug::project(inputs.project_hint);
        let found = Diagnostic::in_file(&rules::META_MISSING, path, "no document has `configVersion`");
        let name = if proposal.is_empty() { "NAME" } else { &proposal };
        d.push(found.hint(format!("add a document with `configVersion: 1` and `project: {name}`")));
        return None;
    };
    for again in metas {
        let at = again.as_mapping().and_then(|m| m.entry("configVersion")).map_or(again.span, |e| e.key.span);
        let found = Diagnostic::at(&rules::META_TWICE, at, "a second document has `configVersion`")
            .hint("join the two, or separate images from it by `---`");
        d.push(found.also(first.span, "the meta document"));
    }
    let mut meta = Meta::decode(d, first)?;
    if let Some(name) = inputs.project_name.filter(|n| !n.is_empty()) {
        if !slug::is_project(name) {
            let message = format!("`{name}`, given from outside, cannot name a project");
            d.push(Diagnostic::at(&rules::INVALID_NAME, meta.project.span, message));
        }
        name.clone_into(&mut meta.project.value);
    }
    Some(meta)
}

/// Returns the images by name; reports names that are given twice.
fn index(d: &mut Diagnostics, images: &[Image]) -> BTreeMap<String, ImageIndex> {
    let mut by_name: BTreeMap<String, ImageIndex> = BTreeMap::new();
    for (i, image) in images.iter().enumerate() {
        if let Some(first) = by_name.get(&image.name.value).and_then(|first| images.get(first.0)) {
            let message = format!("the image `{}` is declared twice", image.shown_name());
            let found = Diagnostic::at(&rules::DUPLICATE_NAME, image.name.span, message).hint("give one another name");
            d.push(found.also(first.name.span, "declared here first"));
            continue;
        }
        by_name.insert(image.name.value.clone(), ImageIndex(i));
    }
    by_name
}

fn check_nameless(d: &mut Diagnostics, images: &[Image]) {
    let nameless = images.iter().find(|i| i.name.value.is_empty());
    let other = images.iter().find(|i| i.is_final && !i.name.value.is_empty());
    if let (Some(nameless), Some(other)) = (nameless.filter(|n| n.is_final), other) {
        d.push(
            Diagnostic::at(&rules::NAMELESS_IMAGE, nameless.name.span, "the image has no name, but there are others")
                .also(other.name.span, "another image")
                .hint("give it a name"),
        );
    }
}

/// Finds the image that each reference names; reports those that must be there and are not.
fn resolve(d: &mut Diagnostics, images: &mut [Image], by_name: &BTreeMap<String, ImageIndex>) {
    // Many images have one outside base: it is looked at once.
    let mut outside: BTreeMap<String, Option<&str>> = BTreeMap::new();
    let mut one = |reference: &mut ImageReference| {
        let name = &reference.name.value;
        if name.is_empty() {
            // It is reported as missing; the image without a name is not meant.
            return;
        }
        match reference.wanted {
            Wanted::Outside => {}
            Wanted::Anywhere | Wanted::AnywhereSelfToo => {
                reference.image = by_name.get(name).copied();
                if reference.image.is_none() && is_questionable(name) {
                    let near = || did_you_mean(name, by_name.keys().map(String::as_str)).filter(|_| name.len() > 3);
                    let near = *outside.entry(name.clone()).or_insert_with(near);
                    check_outside(d, reference, near);
                }
            }
            Wanted::Project => {
                reference.image = by_name.get(name).copied();
                if reference.image.is_none() {
                    let found = Diagnostic::at(
                        &rules::UNKNOWN_IMAGE,
                        reference.name.span,
                        format!("there is no image `{name}`"),
                    );
                    d.push(match did_you_mean(name, by_name.keys().map(String::as_str)) {
                        Some(near) => found.hint(format!("did you mean `{near}`?")),
                        None => {
                            found.hint("declare it; an image from outside is named with its tag or digest, in `from`")
                        }
                    });
                }
            }
        }
    };
    for image in images {
        if let ImageKind::Stapel(part) = &mut image.kind {
            one(&mut part.from);
            part.imports.iter_mut().for_each(|i| one(&mut i.from));
        }
        image.dependencies.iter_mut().for_each(|i| one(&mut i.image));
    }
}

fn is_questionable(name: &str) -> bool {
    !name.is_empty() && name != "scratch" && is_untagged(name)
}

/// Warns of an outside base that is hardly meant.
fn check_outside(d: &mut Diagnostics, reference: &ImageReference, near: Option<&str>) {
    let name = &reference.name.value;
    d.push(match near {
        Some(near) => Diagnostic::at(
            &rules::NEARLY_AN_IMAGE,
            reference.name.span,
            format!("there is no image `{name}`, so it is pulled"),
        )
        .hint(format!("did you mean the image `{near}`?")),
        None => Diagnostic::at(
            &rules::UNTAGGED_BASE,
            reference.name.span,
            format!("the outside image `{name}` has neither tag nor digest"),
        )
        .hint(format!("write for example `{name}:1.0`, so that the same base is used tomorrow")),
    });
}

/// Makes the graph; `None` when images need each other in a circle, which is reported.
fn graph(d: &mut Diagnostics, images: &[Image]) -> Option<ImageGraph> {
    let mut edges = Vec::new();
    for (i, image) in images.iter().enumerate() {
        let mut add = |reference: &ImageReference, kind: EdgeKind| {
            if let Some(needed) = reference.image {
                edges.push(Edge { image: ImageIndex(i), needed, kind, span: reference.name.span });
            }
        };
        if let Some(part) = image.stapel() {
            add(&part.from, EdgeKind::From);
            part.imports.iter().for_each(|i| add(&i.from, EdgeKind::Import));
        }
        image.dependencies.iter().for_each(|i| add(&i.image, EdgeKind::Dependency));
    }
    match ImageGraph::new(images.len(), edges) {
        Ok(graph) => Some(graph),
        Err((cycle, edges)) => {
            report_cycle(d, images, &cycle, &edges);
            None
        }
    }
}

fn report_cycle(d: &mut Diagnostics, images: &[Image], cycle: &[ImageIndex], edges: &[Edge]) {
    let name = |i: &ImageIndex| images.get(i.0).map_or("", Image::shown_name).to_owned();
    let path: Vec<String> = cycle.iter().map(name).collect();
    let mut places: Vec<(Span, String)> = Vec::new();
    for pair in cycle.windows(2) {
        if let [image, needed] = pair
            && let Some(edge) = edges.iter().find(|e| e.image == *image && e.needed == *needed)
        {
            places.push((edge.span, format!("`{}` needs `{}`", name(image), name(needed))));
        }
    }
    let mut places = places.into_iter();
    let Some((first, text)) = places.next() else { return };
    let message = format!("images need each other in a circle: {}", path.join(" -> "));
    let found = Diagnostic::at(&rules::IMAGE_CYCLE, first, message).label(text).hint("take one of the needs out");
    d.push(places.fold(found, |found, (span, text)| found.also(span, text)));
}

/// What an image is built for that names no platform.
const DEFAULT_PLATFORM: &str = "linux/amd64";

/// Reports images that are needed for a platform that they are not built for.
fn check_platforms(d: &mut Diagnostics, images: &[Image], graph: &ImageGraph) {
    for edge in &graph.edges {
        let (Some(image), Some(needed)) = (images.get(edge.image.0), images.get(edge.needed.0)) else { continue };
        let has = effective_platforms(needed);
        for platform in effective_platforms(image) {
            if has.iter().any(|p| normal(&p.value) == normal(&platform.value)) {
                continue;
            }
            let message = format!("`{}` is not built for {}", needed.shown_name(), platform.value);
            let found = Diagnostic::at(&rules::PLATFORM_MISSING, edge.span, message);
            let found = found.also(platform.span, "needed for this platform").also(needed.name.span, "the other image");
            let hint =
                format!("add `{}` to `platform` of `{}`, or take it out here", platform.value, needed.shown_name());
            d.push(found.hint(hint));
        }
    }
}

fn effective_platforms(image: &Image) -> Vec<Text> {
    if image.platforms.is_empty() {
        return vec![Text::new(DEFAULT_PLATFORM.to_owned(), image.name.span)];
    }
    image.platforms.clone()
}

/// Drops what is said anyway. Source: containerd, platform normalisation.
fn normal(platform: &str) -> String {
    let platform = platform.to_ascii_lowercase().replace("x86_64", "amd64").replace("aarch64", "arm64");
    let implied = [("arm64/v8", "arm64"), ("arm/v7", "arm"), ("amd64/v1", "amd64")];
    implied.iter().fold(platform, |text, (long, short)| match text.strip_suffix(long) {
        Some(head) => format!("{head}{short}"),
        None => text,
    })
}
