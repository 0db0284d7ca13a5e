//! Facts seen outside, and the questions that ask for them.
//!
//! What lives here: [`Question`] and [`Observed`]. What does not: asking (`exec::observe`). A planner that lacks
//! a fact returns questions; they are answered in one round, and it is called again.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Sha224Digest;
use crate::stage::Platform;

/// A fact that a planner wants to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which image stands under this content-based tag?
    Image(String),
    /// Which image stands under this tag in the final repository?
    Final(String),
    /// Which builds of this stage are stored?
    Stages(Sha224Digest),
    /// Which image of somebody else has this reference, for this platform?
    External(String, Platform),
    /// Which image of this name was stored last?
    Newest(String),
    /// What is in the target for this release?
    Release(String),
    /// What would the target make of these resources?
    Previews(Vec<WantedResource>),
    /// Which budgets of disruption are there in these namespaces?
    Budgets(BTreeSet<String>),
    /// Which pods of these workloads are not ready?
    UnreadyPods(BTreeSet<String>),
}

/// A resource that a target is asked about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedResource {
    /// Where it is, in the words of the target.
    pub path: String,
    /// The manifest as JSON; `None` where the resource is to go.
    pub manifest: Option<String>,
}

impl std::fmt::Debug for WantedResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A manifest may hold secrets.
        f.debug_struct("WantedResource").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a target says of a resource.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// The live object without what the server alone writes; `None` where there is none.
    pub live: Option<serde_json::Value>,
    /// What it would be after a write; `None` where the server could not say, or the resource is to go.
    pub after: Option<serde_json::Value>,
    /// What a guard compares of a resource that is written, see the target's `standings`.
    pub content: Option<Vec<u8>>,
    /// What a guard compares of a resource that stays as it is, see the target's `content`.
    pub stays: Option<Vec<u8>>,
    /// The fields that the server refuses to change in place.
    pub immutable: Vec<String>,
    /// Fields that others set and a write takes over: the field and who set it.
    pub taken: Vec<(String, String)>,
    /// Who set which field of the live object, as the API server tells it.
    pub managers: serde_json::Value,
    /// Whether a predecessor set fields: a write takes them all over first, and what is not wanted of them goes.
    pub adopts: bool,
    /// Why the server would refuse the write.
    pub refused: Option<String>,
    /// Why it failed for good, as a Job does that has used up its tries: only one that is made anew runs again.
    pub failed: Option<String>,
    /// Why there was no dry run: `after` is then our own merge, without what the server adds.
    pub blind: Option<String>,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preview").field("immutable", &self.immutable).finish_non_exhaustive()
    }
}

/// The pods of a workload that are not ready, and not on their way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadyPods {
    /// Those of its newest template.
    pub newest: Vec<serde_json::Value>,
    /// Those of older templates.
    pub older: Vec<serde_json::Value>,
}

/// A stored image or stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFact {
    /// Tag, stage id or reference.
    pub tag: String,
    /// Digest of its manifest.
    pub manifest: String,
    /// What was recorded with it.
    pub annotations: BTreeMap<String, String>,
}

/// What a target holds of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseFact {
    /// The record of the last apply; `None` when there is none.
    pub record: Option<serde_json::Value>,
    /// The resources, by the target's path; a target that answers previews is asked for them then.
    pub resources: BTreeMap<String, String>,
    /// Helm's records in a cluster, decoded: those since the last that was deployed, oldest first.
    pub history: Vec<serde_json::Value>,
    /// The number of the last record of all, also of a release that was uninstalled; 0 where there is none.
    pub last_revision: u64,
    /// Other things that are there and are not ours.
    pub foreign: BTreeSet<String>,
}

/// The answers so far. A question without an entry was not asked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Images by content-based tag.
    pub images: BTreeMap<String, Option<StoredFact>>,
    /// Images of the final repository, by tag.
    pub finals: BTreeMap<String, Option<StoredFact>>,
    /// Builds of stages, oldest first.
    pub stages: BTreeMap<Sha224Digest, Vec<StoredFact>>,
    /// Images of others, by reference and platform.
    pub external: BTreeMap<(String, Platform), Option<StoredFact>>,
    /// The triggers of images of others that have some; known with the image.
    pub triggers: BTreeMap<(String, Platform), Vec<String>>,
    /// The newest stored image of each name.
    pub newest: BTreeMap<String, Option<StoredFact>>,
    /// Releases.
    pub releases: BTreeMap<String, ReleaseFact>,
    /// Previews by path; `None` where the target gives none.
    pub previews: Option<BTreeMap<String, Preview>>,
    /// Budgets of disruption, as they are.
    pub budgets: Vec<serde_json::Value>,
    /// The pods of workloads that are not all ready, by the path of the workload.
    pub unready: BTreeMap<String, UnreadyPods>,
}

/// Looks facts up, and notes the questions that have no answer yet.
pub struct Asking<'a> {
    observed: &'a Observed,
    questions: BTreeSet<Question>,
}

impl<'a> Asking<'a> {
    /// Starts with what is known.
    pub fn new(observed: &'a Observed) -> Self {
        Self { observed, questions: BTreeSet::new() }
    }

    /// Returns the image under a tag; `None` also while it is not known.
    pub fn image(&mut self, tag: &str) -> Option<&'a StoredFact> {
        self.look(self.observed.images.get(tag), || Question::Image(tag.to_owned()))?.as_ref()
    }

    /// Says that no image stands under a tag; `false` also while it is not known.
    pub fn image_is_absent(&mut self, tag: &str) -> bool {
        self.look(self.observed.images.get(tag), || Question::Image(tag.to_owned())).is_some_and(Option::is_none)
    }

    /// Returns the image under a tag in the final repository; `None` also while it is not known.
    pub fn final_image(&mut self, tag: &str) -> Option<&'a StoredFact> {
        self.look(self.observed.finals.get(tag), || Question::Final(tag.to_owned()))?.as_ref()
    }

    /// Returns the stored builds of a stage, oldest first; none also while it is not known.
    pub fn stages(&mut self, digest: Sha224Digest) -> &'a [StoredFact] {
        self.look(self.observed.stages.get(&digest), || Question::Stages(digest)).map_or(&[], Vec::as_slice)
    }

    /// Returns an image of somebody else; `None` also while it is not known.
    pub fn external(&mut self, reference: &str, platform: &Platform) -> Option<&'a StoredFact> {
        let key = (reference.to_owned(), platform.clone());
        let known = self.observed.external.get(&key);
        self.look(known, || Question::External(key.0, key.1))?.as_ref()
    }

    /// Returns the triggers of an image of somebody else; none also while it is not known.
    pub fn triggers(&mut self, reference: &str, platform: &Platform) -> &'a [String] {
        self.external(reference, platform);
        let key = (reference.to_owned(), platform.clone());
        self.observed.triggers.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Returns the newest image of a name; `None` also while it is not known.
    pub fn newest(&mut self, name: &str) -> Option<&'a StoredFact> {
        self.look(self.observed.newest.get(name), || Question::Newest(name.to_owned()))?.as_ref()
    }

    /// Returns what the target holds; `None` while it is not known.
    pub fn release(&mut self, name: &str) -> Option<&'a ReleaseFact> {
        self.look(self.observed.releases.get(name), || Question::Release(name.to_owned()))
    }

    fn look<T>(&mut self, known: Option<&'a T>, question: impl FnOnce() -> Question) -> Option<&'a T> {
        if known.is_none() {
            self.questions.insert(question());
        }
        known
    }

    /// Returns the questions that are open.
    pub fn into_questions(self) -> Vec<Question> {
        self.questions.into_iter().collect()
    }
}
