//! The nouns: one ingredient of a signature.

use serde::{Deserialize, Serialize};

use crate::source::{Mode, ObjectId, Place};
use crate::stage::FilterSpec;

/// What an ingredient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IngredientKind {
    /// The platform of the image.
    Platform,
    /// A cache version.
    CacheVersion,
    /// A base image of somebody else.
    Base,
    /// Another image of the project.
    Image,
    /// Files of the repository.
    Content,
    /// A build argument.
    Argument,
    /// An instruction or a setting.
    Instruction,
}

impl IngredientKind {
    /// Returns its name in digests and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::CacheVersion => "cache_version",
            Self::Base => "base",
            Self::Image => "image",
            Self::Content => "content",
            Self::Argument => "argument",
            Self::Instruction => "instruction",
        }
    }
}

/// Where the files of a content ingredient come from: enough to compare them file by file later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The unfiltered tree.
    pub root: ObjectId,
    /// Path of that tree in the repository.
    pub prefix: String,
    /// What is taken of the tree.
    pub path: String,
    /// What is left out.
    pub filter: FilterSpec,
    /// What is taken is a file, a link or a directory.
    pub mode: Mode,
}

/// One thing that the content of a stage depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingredient {
    /// What it is.
    pub kind: IngredientKind,
    /// Its name among those of its kind; several may share one.
    pub key: String,
    /// Its value, as people read it.
    pub value: String,
    /// The rest of its value, in a form for machines; hashed too.
    pub detail: String,
    /// Where it stands; not hashed.
    pub place: Option<Place>,
    /// Where its files come from; not hashed.
    pub origin: Option<Origin>,
}
