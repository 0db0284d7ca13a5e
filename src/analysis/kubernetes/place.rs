//! Findings about a manifest: a path of keys and indices, and the line of a template that it leads to.
//!
//! What lives here: [`Path`], [`Finding`], and how one becomes a diagnostic. What does not: what is found.
//!
//! The one idea: checks walk plain data and name a path; only the paths of findings are looked up in the text again.

use std::fmt;

use crate::chart::Manifest;
use crate::diag::{Diagnostic, Rule, Severity};
use crate::source::{FileId, Sources};
use crate::syntax::yaml::{self, Node};

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// An item of a list.
    Index(usize),
}

/// A place in a value, as a chain up to the root.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: At<'a>,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The value itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: At::Root };

    /// Steps to a key.
    pub fn key(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: At::Key(name) }
    }

    /// Steps to an item.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: At::Index(index) }
    }

    /// Returns the last key.
    pub fn last_key(&self) -> Option<&'a str> {
        match self.step {
            At::Key(name) => Some(name),
            At::Root | At::Index(_) => self.parent.and_then(Path::last_key),
        }
    }

    /// Returns the path one step up.
    pub fn parent(&self) -> Option<&'a Path<'a>> {
        self.parent
    }

    /// Returns the steps from the root.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = self.parent.map(Path::steps).unwrap_or_default();
        match self.step {
            At::Root => {}
            At::Key(name) => steps.push(Step::Key(name.to_owned())),
            At::Index(index) => steps.push(Step::Index(index)),
        }
        steps
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps().iter().enumerate() {
            match step {
                Step::Key(name) if name.contains(['.', '/']) => write!(f, "[{name}]")?,
                Step::Key(name) if position == 0 => write!(f, "{name}")?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong at a place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub severity: Severity,
    /// The place.
    pub steps: Vec<Step>,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
}

impl Finding {
    /// Starts a finding with the severity of its rule.
    pub fn new(rule: &'static Rule, path: &Path<'_>, message: String) -> Self {
        Self { rule, severity: rule.severity, steps: path.steps(), message, hints: Vec::new() }
    }

    /// Adds an action to take.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Adds an action to take, if there is one.
    pub fn hint_if(mut self, text: Option<String>) -> Self {
        self.hints.extend(text);
        self
    }

    /// Makes it one of the list that holds the resource.
    pub fn within(mut self, index: usize, item: &Manifest) -> Self {
        self.steps.splice(0..0, [Step::Key("items".to_owned()), Step::Index(index)]);
        self.message = format!("{}/{}: {}", item.kind, item.name, self.message);
        self
    }

    /// Makes it as bad as said.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// Turns the findings of one manifest to diagnostics at the lines that wrote them.
pub fn place(manifest: &Manifest, sources: &Sources, findings: Vec<Finding>) -> Vec<Diagnostic> {
    if findings.is_empty() {
        return Vec::new();
    }
    // a file that no text has: the spans are used as offsets only
    let tree = yaml::decode(&manifest.text, FileId(u32::MAX), 0, yaml::Options::HELM).ok();
    let starts: Vec<usize> = std::iter::once(0).chain(manifest.text.match_indices('\n').map(|(i, _)| i + 1)).collect();
    let diagnostic = |finding: Finding| {
        let offset = tree.as_ref().map_or(0, |tree| offset_of(tree, &finding.steps));
        let line = starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let origin = manifest.lines.get(line);
        let span = origin.and_then(|o| o.span).or(manifest.span);
        let subject = format!("{}/{}", manifest.kind, manifest.name);
        let message = format!("{subject}: {}", finding.message);
        let mut made = match span {
            Some(span) => Diagnostic::at(finding.rule, span, message),
            None => Diagnostic::in_file(finding.rule, &manifest.source, message),
        };
        made.severity = finding.severity;
        made.hints = finding.hints;
        if let Some(text) = manifest.text.split('\n').nth(line).map(str::trim).filter(|t| !t.is_empty()) {
            made = made.label(format!("rendered as line {}: {}", line + 1, shortened(text)));
        }
        made.traced(origin.map(|origin| origin.trace(sources)).unwrap_or_default())
    };
    findings.into_iter().map(diagnostic).collect()
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or(line)),
        None => line.to_owned(),
    }
}

/// Returns where the key or item at the end of the steps begins; as far as they lead.
fn offset_of(tree: &Node, steps: &[Step]) -> usize {
    let mut node = tree;
    let mut offset = tree.span.start;
    for step in steps {
        match step {
            Step::Key(name) => {
                let Some(entry) = node.as_mapping().and_then(|m| m.entry(name)) else { break };
                offset = entry.key.span.start;
                node = &entry.value;
            }
            Step::Index(index) => {
                let Some(item) = node.as_sequence().and_then(|items| items.get(*index)) else { break };
                offset = item.span.start;
                node = item;
            }
        }
    }
    offset as usize
}
