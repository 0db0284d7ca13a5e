//! Formats of what is printed.

use clap::ValueEnum;

/// Formats of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// For programs; see the published JSON Schema.
    Json,
    /// A page of Markdown.
    Markdown,
    /// One HTML file.
    Html,
    /// A comment on a GitHub pull request.
    Github,
    /// A comment on a GitLab merge request.
    Gitlab,
}

/// Formats of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// A `JUnit` report.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
    /// A Code Quality report of GitLab.
    Gitlab,
}

/// Formats of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Graphviz.
    #[default]
    Dot,
    /// Mermaid.
    Mermaid,
    /// For programs.
    Json,
}

/// Formats of records of releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Formats of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// One name a line.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Formats of an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RunFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Formats of origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OriginsFormat {
    /// For people: the manifests with a margin.
    #[default]
    Text,
    /// For programs: an array with an object for each line.
    Json,
}
