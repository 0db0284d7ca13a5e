//! Images of werf.yaml and the manifests that use them: those that no manifest uses, and names that no image has.
//!
//! What lives here: both directions of that link. What does not: images among themselves (`config`).

use std::collections::BTreeSet;

use crate::chart::Manifest;
use crate::diag::rules::{UNKNOWN_IMAGE, UNUSED_IMAGE};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean};
use crate::source::{FileId, Sources, Span};

/// A final image of werf.yaml.
#[derive(Clone, Debug)]
pub struct ImageFact<'a> {
    /// Its name.
    pub name: &'a str,
    /// The tag that its reference ends in.
    pub tag: String,
    /// Where it is declared.
    pub span: Option<Span>,
}

/// Reports images that no manifest uses.
pub fn report_unused<'m>(
    diagnostics: &mut Diagnostics,
    images: &[ImageFact<'_>],
    manifests: impl Iterator<Item = &'m Manifest>,
) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for manifest in manifests {
        let is_word = |c: char| c.is_ascii_hexdigit();
        used.extend(manifest.text.split(|c| !is_word(c)).filter(|word| word.len() >= 40));
    }
    for image in images.iter().filter(|image| !used.contains(image.tag.as_str())) {
        let Some(span) = image.span else { continue };
        let message = format!("no manifest uses the image `{}`", image.name);
        let hint = "use it in a template, or set `final: false` where it only serves other images";
        diagnostics.push(Diagnostic::at(&UNUSED_IMAGE, span, message).hint(hint));
    }
}

/// How templates name images; what follows is a name.
const WAYS: &[&str] =
    &[".Values.werf.image.", ".Values.werf.tag.", "index .Values.werf.image \"", "index .Values.werf.tag \""];

/// Words that begin or stand in an action which asks whether there is such an image.
const GUARDS: &[&str] = &["if ", "with ", "else ", "default", "hasKey", "coalesce", "ternary", "dig "];

/// Reports templates that show an image which is not there; `read` are the values that the templates read.
pub fn report_unknown<'m>(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    images: &[ImageFact<'_>],
    manifests: impl Iterator<Item = &'m Manifest>,
    read: &BTreeSet<String>,
) {
    let is_known = |name: &str| images.iter().any(|image| image.name == name);
    let paths = read.iter().filter_map(|p| p.strip_prefix("werf.image.").or_else(|| p.strip_prefix("werf.tag.")));
    let unknown: BTreeSet<&str> = paths.filter(|name| !name.contains('.') && !is_known(name)).collect();
    if unknown.is_empty() {
        return;
    }
    let lines = manifests.flat_map(|m| &m.lines);
    let files: BTreeSet<u32> = lines.filter_map(|line| line.span).map(|span| span.file.0).collect();
    for file in files.into_iter().map(FileId) {
        let source = sources.get(file);
        let uses = uses(source.text());
        let guarded: BTreeSet<&str> = uses.iter().filter(|u| u.guarded).map(|u| u.name).collect();
        for used in uses.iter().filter(|u| unknown.contains(u.name) && !guarded.contains(u.name)) {
            let name = used.name;
            let message = format!("the template uses the image `{name}`, which is no final image of werf.yaml");
            let mut made = Diagnostic::at(&UNKNOWN_IMAGE, Span::new(file, used.start, used.end), message);
            let near = did_you_mean(name, images.iter().map(|image| image.name));
            made.hints.extend(near.map(|n| format!("did you mean `{n}`?")));
            diagnostics.push(made);
        }
    }
}

/// A place in a template that names an image.
struct Use<'t> {
    name: &'t str,
    start: usize,
    end: usize,
    /// Whether the action asks if there is such an image.
    guarded: bool,
}

fn uses(text: &str) -> Vec<Use<'_>> {
    let mut found = Vec::new();
    for way in WAYS {
        for (start, _) in text.match_indices(way) {
            let from = start + way.len();
            let rest = text.get(from..).unwrap_or_default();
            let is_name = |c: char| c.is_alphanumeric() || c == '_' || (way.ends_with('"') && "-./".contains(c));
            let name = rest.get(..rest.find(|c| !is_name(c)).unwrap_or(rest.len())).unwrap_or_default();
            let before = text.get(..start).unwrap_or_default();
            let action = before.get(before.rfind("{{").unwrap_or(0)..).unwrap_or_default();
            let after = rest.get(..rest.find("}}").unwrap_or(rest.len())).unwrap_or_default();
            let guarded = GUARDS.iter().any(|word| action.contains(word) || after.contains(word));
            found.push(Use { name, start, end: from + name.len(), guarded });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_found_in_templates() {
        let text = "a: {{ .Values.werf.image.web }}\nb: {{ index .Values.werf.image \"my-app\" }}\n\
                    {{ if .Values.werf.image.may }}c: {{ .Values.werf.image.may }}{{ end }}";
        let told: Vec<(&str, bool)> = uses(text).iter().map(|u| (u.name, u.guarded)).collect();
        assert_eq!(told, [("web", false), ("may", true), ("may", false), ("my-app", false)]);
    }
}
