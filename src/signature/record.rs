//! The record of ingredients that is stored with every stage, so that "why" can compare two builds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ingredient::{Ingredient, IngredientKind, Origin};
use crate::digest::Sha224Digest;
use crate::source::{Mode, ObjectId, Place};
use crate::stage::TreeSource;

/// Manifest annotation: the ingredients of the whole chain, as JSON.
pub const ANNOTATION_INGREDIENTS: &str = "io.stagewright.ingredients";
/// Manifest annotation: the commit that was built.
pub const ANNOTATION_COMMIT: &str = "io.stagewright.commit";
/// Manifest annotation: the stage's name.
pub const ANNOTATION_STAGE: &str = "io.stagewright.stage";

/// Manifest annotation: the files of git mappings that a stage holds and that its digest does not tell, as JSON.
pub const ANNOTATION_FILES: &str = "io.stagewright.files";

/// Manifest annotation: the stage was built of files that no commit holds.
pub const ANNOTATION_UNCOMMITTED: &str = "io.stagewright.uncommitted";

/// What is recorded of the files of one mapping: where they were taken, and what they are.
#[derive(Serialize, Deserialize)]
struct Held {
    root: ObjectId,
    id: ObjectId,
    mode: Mode,
}

/// Writes files of git mappings as the value of [`ANNOTATION_FILES`].
pub fn mapped_files_json(files: &[TreeSource]) -> String {
    let held: Vec<Held> = files.iter().map(|f| Held { root: f.root, id: f.id, mode: f.mode }).collect();
    serde_json::to_string(&held).expect("ids are plain data")
}

/// Reads what a stored build holds of these mappings; `None` when it does not say.
pub fn mapped_files(annotations: &BTreeMap<String, String>, mappings: &[TreeSource]) -> Option<Vec<TreeSource>> {
    let held: Vec<Held> = serde_json::from_str(annotations.get(ANNOTATION_FILES)?).ok()?;
    let with = |(held, mapping): (Held, &TreeSource)| TreeSource {
        root: held.root,
        id: held.id,
        mode: held.mode,
        ..mapping.clone()
    };
    (held.len() == mappings.len()).then(|| held.into_iter().zip(mappings).map(with).collect())
}

/// A recorded value longer than this is cut and completed by its digest. Unit: bytes.
const LONGEST_VALUE: usize = 400;

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the record of ingredients is not valid JSON")]
pub struct RecordError(#[from] serde_json::Error);

/// One recorded ingredient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    /// The kind.
    k: IngredientKind,
    /// The key.
    n: String,
    /// The value, cut where it is long.
    v: String,
    /// Digest of value and detail where they are not fully in `v`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<Sha224Digest>,
    /// The place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<Place>,
    /// The origin of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<Origin>,
}

/// The ingredients of a chain of stages, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<Item>);

impl Record {
    /// Makes the record of a chain.
    pub fn new<'a>(chain: impl IntoIterator<Item = &'a Ingredient>) -> Self {
        Self(chain.into_iter().map(item).collect())
    }

    /// Reads the annotations of a stored stage; a stage without a record has an empty one.
    ///
    /// # Errors
    /// The annotation is there and not valid.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Self, RecordError> {
        let Some(text) = annotations.get(ANNOTATION_INGREDIENTS) else { return Ok(Self::default()) };
        Ok(Self(serde_json::from_str(text)?))
    }

    /// Writes it as the value of [`ANNOTATION_INGREDIENTS`].
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a record is plain data")
    }

    /// Says whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of the first ingredient of a kind.
    pub fn first(&self, kind: IngredientKind) -> Option<String> {
        self.0.iter().find(|item| item.k == kind).map(|item| item.v.clone())
    }

    /// Returns the items as ingredients; values are as recorded, the digest of what was cut is the detail.
    pub(super) fn entries(&self) -> Vec<Ingredient> {
        let entry = |i: &Item| Ingredient {
            kind: i.k,
            key: i.n.clone(),
            value: i.v.clone(),
            detail: i.d.map(|d| d.to_string()).unwrap_or_default(),
            place: i.p.clone(),
            origin: i.o.clone(),
        };
        self.0.iter().map(entry).collect()
    }
}

fn item(ingredient: &Ingredient) -> Item {
    let mut value = ingredient.value.clone();
    let whole = value.len() <= LONGEST_VALUE;
    if !whole {
        let cut = (0..=LONGEST_VALUE).rev().find(|i| value.is_char_boundary(*i)).unwrap_or(0);
        value.truncate(cut);
        value.push('…');
    }
    let digest = || Sha224Digest::of_bytes(format!("{}\0{}", ingredient.value, ingredient.detail).as_bytes());
    Item {
        k: ingredient.kind,
        n: ingredient.key.clone(),
        v: value,
        d: (!whole || !ingredient.detail.is_empty()).then(digest),
        p: ingredient.place.clone(),
        o: ingredient.origin.clone(),
    }
}
