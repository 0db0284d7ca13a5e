//! Images that are built from a Dockerfile.

use indexmap::IndexMap;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::{Data, Node, write_float_g};

use super::decode::{Section, conflict, missing, relative, renamed};
use super::directives;
use super::image::{DocumentKind, Surroundings, names};
use super::{Image, ImageKind, Text};

/// The part of an image that tells of its Dockerfile.
#[derive(Clone, Debug)]
pub struct DockerfileImage {
    /// Path of the Dockerfile, relative to `context`; never empty.
    pub dockerfile: Text,
    /// Path of the context, relative to the project directory; empty for the project directory itself.
    pub context: Text,
    /// Files added from the disk, relative to `context`.
    pub context_add_files: Vec<Text>,
    /// The stage of the Dockerfile; `None` means the last.
    pub target: Option<Text>,
    /// Build arguments in the order of the file.
    pub args: IndexMap<String, ArgValue>,
    /// `--add-host` entries.
    pub add_host: Vec<Text>,
    /// `--ssh`.
    pub ssh: Option<Text>,
    /// Whether each instruction is a stage of its own.
    pub staged: Spanned<bool>,
}

/// The value of a build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgValue {
    /// The value as the build gets it: YAML's value in Go's default formatting.
    pub value: Text,
    /// The place of the key.
    pub key: Span,
}

impl DockerfileImage {
    /// Reads a document with `dockerfile`: an image for each of its names.
    pub(super) fn decode(d: &mut Diagnostics, node: &Node, around: Surroundings<'_>) -> Vec<Image> {
        let Some(section) = Section::open(d, node, &directives::DOCKERFILE_IMAGE) else { return Vec::new() };
        let names = names(d, &section);
        if section.entry("image").is_none() {
            missing(d, section.key_span("dockerfile"), "the image has no name", "add `image: NAME`");
        }
        let part = Self::part(d, &section, around);
        let image = Image::decode(d, &section, around, DocumentKind::Dockerfile, ImageKind::Dockerfile(Box::new(part)));
        check_args(d, &image);
        names.into_iter().map(|name| Image { name, ..image.clone() }).collect()
    }

    fn part(d: &mut Diagnostics, section: &Section<'_>, around: Surroundings<'_>) -> Self {
        renamed(d, section, "contextAddFile", "contextAddFiles");
        let empty = Text::new(String::new(), section.span);
        let context = section
            .filled(d, "context")
            .and_then(|c| relative(d, &c, "context", "the project directory"))
            .unwrap_or_else(|| empty.clone());
        let dockerfile = section.filled(d, "dockerfile");
        if dockerfile.is_none() {
            missing(
                d,
                section.key_span("dockerfile"),
                "`dockerfile` has no value",
                "write the path of the Dockerfile, relative to `context`",
            );
        }
        let dockerfile = dockerfile.and_then(|f| relative(d, &f, "dockerfile", "`context`")).unwrap_or(empty);
        let staged = section.flag(d, "staged").or_else(|| around.build.staged.clone());
        let mut staged = staged.unwrap_or(Spanned::new(false, section.span));
        staged.value |= around.force_staged;
        Self {
            dockerfile,
            context_add_files: add_files(d, section, &context, around),
            context,
            target: section.filled(d, "target"),
            args: args(d, section),
            add_host: section.strings(d, "addHost").unwrap_or_default(),
            ssh: section.filled(d, "ssh"),
            staged,
        }
    }
}

fn add_files(d: &mut Diagnostics, section: &Section<'_>, context: &Text, around: Surroundings<'_>) -> Vec<Text> {
    let old = section.strings(d, "contextAddFile").unwrap_or_default();
    let new = section.strings(d, "contextAddFiles").unwrap_or_default();
    if !old.is_empty() && !new.is_empty() {
        conflict(d, section, "contextAddFiles", "contextAddFile");
    }
    let given: Vec<Text> = old.into_iter().chain(new).collect();
    let mut files = Vec::new();
    for file in given {
        let Some(file) = relative(d, &file, "contextAddFiles", "`context`") else { continue };
        let path =
            if context.value.is_empty() { file.value.clone() } else { format!("{}/{}", context.value, file.value) };
        if !around.rules.loose && !around.rules.context_add_files.matches(&path) {
            let what = format!("`{path}` is taken from the disk");
            around.rules.refuse(d, file.span, what, "config.dockerfile.allowContextAddFiles", Some(&path));
        }
        files.push(file);
    }
    files
}

fn args(d: &mut Diagnostics, section: &Section<'_>) -> IndexMap<String, ArgValue> {
    let mut args = IndexMap::new();
    let Some(map) = section.node("args").and_then(|n| Section::any(d, n, "`args`")) else { return args };
    for entry in map.entries() {
        let value = go_text(&entry.value);
        if entry.value.scalar_text().is_some_and(|written| written != value) {
            let message = format!("the argument `{}` is `{value}` to the build", entry.name);
            let found = Diagnostic::at(&rules::UNQUOTED_VALUE, entry.value.span, message);
            let found = found.hint("put the value in quotes to pass it as it is written");
            let written = entry.value.scalar_text().unwrap_or("");
            let plain = !written.contains(['\n', '\'']);
            d.push(if plain { found.fixed(format!("'{written}'")) } else { found });
        }
        let value = Text::new(value, entry.value.span);
        args.insert(entry.name.to_string(), ArgValue { value, key: entry.key.span });
    }
    args
}

/// Prints a value as Go's `%v` does.
fn go_text(node: &Node) -> String {
    match &node.data {
        Data::Null => "<nil>".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Uint(value) => value.to_string(),
        Data::Float(value) if value.is_nan() => "NaN".to_owned(),
        Data::Float(value) if value.is_infinite() => if *value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        Data::Float(value) => {
            let mut text = String::new();
            write_float_g(&mut text, *value);
            text
        }
        Data::String(text) => text.to_string(),
        Data::Sequence(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Data::Mapping(mapping) => {
            let mut entries: Vec<String> =
                mapping.iter().map(|e| format!("{}:{}", e.name, go_text(&e.value))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Reports arguments that a dependency gives too.
fn check_args(d: &mut Diagnostics, image: &Image) {
    let Some(part) = image.dockerfile() else { return };
    for import in image.dependencies.iter().flat_map(|d| &d.imports) {
        if let Some(arg) = part.args.get(&import.target.value) {
            let message = format!("the argument `{}` is given by a dependency too", import.target.value);
            d.push(Diagnostic::at(&rules::DUPLICATE_NAME, arg.key, message).also(import.target.span, "the dependency"));
        }
    }
}
