//! The tracker port: what a target says of resources while they become ready.

use serde_json::Value;

use super::target::TargetError;

/// What is seen of a resource at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// The live object, whole; `None` where it is not there.
    pub object: Option<Value>,
    /// The pods that its newest template made.
    pub pods: Vec<Value>,
    /// What the target says of the object, of its pods and of what stands between them; oldest first.
    pub events: Vec<Value>,
}

/// Names the lines of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogSource {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether the lines of the run before are meant.
    pub previous: bool,
}

/// Looks at resources while they become ready. Nothing is written.
pub trait Tracker: Send + Sync {
    /// Looks at objects, by the paths of the plan; one answer each, in order, without pods and events.
    fn look(&self, paths: &[&str]) -> Vec<Result<Sight, TargetError>>;

    /// Looks at the pods and events of live objects; one answer each, in order. What may not be seen is not there.
    fn look_closely(&self, objects: &[&Value]) -> Vec<Sight>;

    /// Returns the last lines of a container; none where there are none, or they cannot be had.
    fn lines(&self, source: &LogSource, last: usize) -> Vec<String>;

    /// Returns the lines of a container that came since a line was seen last, with the mark for the next call.
    fn lines_since(&self, source: &LogSource, mark: Option<&str>) -> (Vec<String>, Option<String>);
}
