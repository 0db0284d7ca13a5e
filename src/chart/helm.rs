//! Which Helm a chart is rendered as.

/// A generation of Helm; they differ in what a chart sees, not in how templates work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.20.
    #[default]
    V3,
    /// Helm 4.1: `.Chart` is a map, every document of a values file counts, `mustToYaml` exists, and webhook
    /// configurations are installed last of all known kinds.
    V4,
}
