//! The stages of an image, before anything is signed.

use std::collections::BTreeMap;

use super::build::{BuildRequest, Platform, TreeSource};
use crate::source::{ObjectId, Place};

/// One step of an image build that is stored on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `dockerfile`, `gitArchive`, …
    pub name: String,
    /// Whether it is the first of its image.
    pub is_first: bool,
    /// Whether it is one instruction of a Dockerfile: its parts then point to earlier stages until they are signed.
    pub is_instruction: bool,
    /// The cache versions that enter here: key, value and place.
    pub cache_versions: Vec<(String, String, Place)>,
    /// What to build. The base of a later stage is the stage before it.
    pub request: BuildRequest,
    /// For each part, the place of its base and then those of its steps.
    pub places: Vec<Vec<Option<Place>>>,
    /// Where each build argument gets its value.
    pub argument_places: BTreeMap<String, Place>,
    /// Path in the repository of each tree that sources are relative to.
    pub prefixes: BTreeMap<ObjectId, String>,
    /// What a builder that runs no commands cannot do, and where it stands.
    pub commands: Vec<(String, Place)>,
    /// The files of git mappings that it holds and that its digest does not tell, one for each mapping: which of its
    /// stored builds are suitable depends on them. Empty for a stage whose digest tells its content.
    pub mapped: Vec<TreeSource>,
    /// The repositories that it copies these files from, with what is taken of them, one for each mapping; empty for the
    /// project's.
    pub mapped_from: Vec<String>,
    /// For each part over a base of somebody else: its triggers, as the Dockerfile declares them. They are among the steps.
    pub triggers: BTreeMap<usize, Vec<String>>,
}

/// An image as a chain of stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStages {
    /// Its name in werf.yaml.
    pub name: String,
    /// What it is built for.
    pub platform: Platform,
    /// Whether templates see it.
    pub is_final: bool,
    /// Where it is declared.
    pub place: Place,
    /// The images of the project that it uses, with the place of the first use, in order of use.
    pub uses: Vec<(String, Place)>,
    /// The triggers that it leaves for images based on it.
    pub on_build: Vec<String>,
    /// The stages, first to last.
    pub stages: Vec<Stage>,
}
