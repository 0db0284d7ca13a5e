//! How a resource is tracked until it is ready: what a plan says of it, and apply carries out.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failure of a resource means for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailMode {
    /// The run ends at once.
    #[default]
    Stop,
    /// It is told, and the run goes on.
    Ignore,
    /// The run goes on, and fails if it is not ready by its end.
    Hope,
}

/// Until when a resource is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It is there.
    Present,
    /// It is ready, by the rules of its kind.
    #[default]
    Ready,
    /// It has run to its end: a Job, a Pod. Others are done when they are there.
    Finished,
    /// It is not there any more.
    Gone,
}

/// How a resource is tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tracking {
    /// Until when it is waited for.
    pub until: Until,
    /// What its failure means.
    pub fail_mode: FailMode,
    /// How often the containers of each replica may fail.
    pub failures_allowed: u64,
    /// A resource of a kind that is not known fails when nothing happens to it for so long. Unit: seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_activity_s: Option<u64>,
    /// For so long a container may be not ready, by container. Unit: seconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ignore_readiness_s: BTreeMap<String, u64>,
    /// It fails when it is not ready after so long; absent: the timeout of the run holds. Unit: seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Which lines of its containers are shown.
    #[serde(skip_serializing_if = "LogRules::is_default")]
    pub logs: LogRules,
    /// Whether what Kubernetes says of it is shown as it comes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
    /// It is deleted when it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub delete_failed: bool,
    /// Who waits for it, where it is no part of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Its pods of older templates that hold it up: they are deleted once its controller has seen the change, if they are
    /// broken then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<StuckPod>,
}

/// A pod that holds a `StatefulSet` up: this very one, and none of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StuckPod {
    /// Its name; it is in the namespace of what is waited for.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Which lines of containers are shown; expressions are those of RE2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogRules {
    /// None at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    /// None of these containers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub skip_containers: BTreeSet<String>,
    /// Those of these containers alone, where there are any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only_containers: BTreeSet<String>,
    /// Of so many pods at most.
    pub replicas: u64,
    /// Lines that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Lines that do not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hide: Option<String>,
    /// Lines of a container that match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub only_of: BTreeMap<String, String>,
    /// Lines of a container that do not match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hide_of: BTreeMap<String, String>,
}

impl Default for LogRules {
    fn default() -> Self {
        Self {
            skip: false,
            skip_containers: BTreeSet::new(),
            only_containers: BTreeSet::new(),
            replicas: 1,
            only: None,
            hide: None,
            only_of: BTreeMap::new(),
            hide_of: BTreeMap::new(),
        }
    }
}

impl LogRules {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Says whether the lines of a container are shown.
    pub fn shows_container(&self, container: &str) -> bool {
        !self.skip
            && !self.skip_containers.contains(container)
            && (self.only_containers.is_empty() || self.only_containers.contains(container))
    }
}
