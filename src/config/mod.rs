//! werf.yaml as a checked value: [`Config`].
//!
//! What lives here: splitting, decoding, checks, the graph of images, selection of images, giterminism rules,
//! slugs and deploy names. What does not: reading files (`source::Files` comes in), the deploy chart (`chart`), stages
//! and digests (`stage`, `signature`).
//!
//! The one idea: a section is a struct beside the function that decodes it; every value keeps the place where it
//! was written, references to other images are resolved to an [`ImageIndex`] at the end, and all faults are
//! reported in one run. Source: the werf configuration language, 1.1 and 2.x.

use std::collections::BTreeMap;

use crate::source::FileId;
use crate::syntax::yaml::Node;

mod ansible;
mod custom_tags;
mod decode;
mod docker_section;
mod documents;
mod dockerfile_image;
mod git;
mod giterminism;
mod image;
mod image_graph;
mod image_spec;
mod import;
mod included;
mod includes;
mod meta;
pub mod slug;
pub mod directives;
mod effective;
mod overlap;
mod reference;
mod resolve;
mod load;
mod project_files;
mod render;
mod selection;
mod deploy_names;
mod remap;
mod stapel_image;
#[cfg(test)]
mod tests;

pub use custom_tags::{Tagged, custom_tags, expand_image, git_pattern};
pub use deploy_names::{DeployNames, Explicit, deploy_names};
pub use docker_section::{CommandValue, DockerSection};
pub use dockerfile_image::{ArgValue, DockerfileImage};
pub use effective::{Setting, effective};
pub use git::{BasicAuth, GitMapping, GitReference, PasswordSource, RemoteGit};
pub use giterminism::Giterminism;
pub use image::{
    Dependency, DependencyImport, DependencyKind, Image, ImageIndex, ImageKind, ImageReference, Secret, SecretSource,
    Slot, Text, UserStage,
};
pub use image_graph::{Edge, EdgeKind, ImageGraph};
pub use image_spec::{Healthcheck, ImageSpec};
pub use import::Import;
pub use included::{Included, IncludedFile};
pub use includes::{
    INCLUDES_FILE, INCLUDES_LOCK, Include, allows_includes_update, read_includes, read_includes_lock,
    write_includes_lock,
};
pub use load::{Commit, Inputs, load};
pub use meta::{
    BuildDefaults, Cleanup, Deploy, GitWorktree, KeepLimit, KeepOperator, KeepPolicy, KeepReferences, Meta,
    ReferenceMatch,
};
pub use render::functions as template_functions;
pub use selection::{Finals, select};
pub use stapel_image::{Ansible, AnsibleTask, Mount, MountSource, Shell, StageCommands, StapelImage};

/// A checked werf.yaml.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path of the file, relative to the project directory.
    pub path: String,
    /// The text after rendering, registered; the file itself where it has no template action.
    pub rendered: FileId,
    /// The meta document.
    pub meta: Meta,
    /// The images: those of Dockerfiles first, then Stapel images and artifacts, each in the order of the file.
    pub images: Vec<Image>,
    /// Files of other repositories that the project reads as if they were its own.
    pub included: Included,
    /// Which image needs which.
    pub graph: ImageGraph,
    /// What the commit may be left for.
    pub giterminism: Giterminism,
    documents: Vec<(documents::Kind, Node)>,
    by_name: BTreeMap<String, ImageIndex>,
}

impl Config {
    /// Returns an image by its index.
    ///
    /// Panics: when the index comes from another configuration, which is a fault of the caller.
    pub fn image(&self, index: ImageIndex) -> &Image {
        self.images.get(index.0).expect("an ImageIndex is made by the configuration that resolves it")
    }

    /// Returns the index of the image of that name.
    pub fn find(&self, name: &str) -> Option<ImageIndex> {
        self.by_name.get(name).copied()
    }

    /// Returns every index with its image.
    pub fn iter(&self) -> impl Iterator<Item = (ImageIndex, &Image)> {
        self.images.iter().enumerate().map(|(i, image)| (ImageIndex(i), image))
    }
}
