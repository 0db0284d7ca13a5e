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
    /// Pods that older templates made, of kinds that replace them one by one, where they are not ready or on their way out.
    pub older: Vec<Value>,
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

/// A live object that is looked at closely.
#[derive(Clone, Copy, Debug)]
pub struct Closer<'a> {
    /// The object.
    pub object: &'a Value,
    /// Whether it matters what is said of it.
    pub events: bool,
}

/// Lines of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Those that are new, oldest first.
    pub lines: Vec<String>,
    /// Where they end: the mark for the next call.
    pub mark: Option<String>,
}

/// Looks at resources while they become ready. Nothing is written.
pub trait Tracker: Send + Sync {
    /// Looks at objects, by the paths of the plan; one answer each, in order, without pods and events.
    fn look(&self, paths: &[&str]) -> Vec<Result<Sight, TargetError>>;

    /// Looks at the pods and events of live objects; one answer each, in order. What may not be seen is not there.
    fn look_closely(&self, objects: &[Closer<'_>]) -> Vec<Sight>;

    /// Returns the last lines of a container; none where there are none, or they cannot be had.
    fn lines(&self, source: &LogSource, last: usize) -> Vec<String>;

    /// Returns the lines of containers that came since a mark; one answer each, in order, all of them within a few seconds.
    /// `None` where a container does not answer in that time.
    fn lines_since(&self, sources: &[(LogSource, Option<String>)]) -> Vec<Option<Lines>>;
}
