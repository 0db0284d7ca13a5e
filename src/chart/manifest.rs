//! From rendered text to manifests: pieces, heads, hooks, order and identity.
//!
//! What lives here: the split of a rendered file, [`Manifest`], [`ResourceId`], Helm's order and text. What does not:
//! rendering (`render`), and what a plan makes of manifests (`plan`).
//!
//! The one idea: a manifest keeps its text exactly as Helm would print it, beside the data that text means.
//! Source: Helm 3.20; pieces and their order are part of the output of `helm template`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};

use crate::diag::rules::{MANIFEST_DUPLICATE, MANIFEST_HOOK, MANIFEST_INCOMPLETE, MANIFEST_YAML};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean};
use crate::eval::{OriginTable, Origins};
use crate::source::{FileId, Sources, Span};
use crate::syntax::yaml::{self, Node, Plain};

use super::helm::Helm;
use super::kinds::{install_rank, is_cluster_scoped};
use super::origins::LineOrigin;

/// One Kubernetes object as rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// API version; empty when the text has none.
    pub api_version: String,
    /// Kind; empty when the text has none.
    pub kind: String,
    /// The namespace it goes to; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name; empty when the text has none.
    pub name: String,
    /// The file that made it, as Helm names it: `chart/templates/web.yaml`.
    pub source: String,
    /// The text, without surrounding white space.
    pub text: String,
    /// What the text means.
    pub data: Plain,
    /// The place in a template that wrote its first line; the template's start when that was not tracked.
    pub span: Option<Span>,
    /// Where each line of the text comes from; empty when that was not tracked.
    pub lines: Vec<LineOrigin>,
    /// What makes it a hook.
    pub hook: Option<Hook>,
    /// Order among others: `werf.io/weight`, or of hooks `helm.sh/hook-weight`.
    pub weight: i64,
}

/// Names a resource of a cluster, whatever its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{} in namespace {namespace}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// When a hook runs and what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// The events.
    pub events: Vec<HookEvent>,
    /// Order within an event, ascending.
    pub weight: i64,
    /// When it is deleted; `before-hook-creation` when nothing is said.
    pub delete_policies: Vec<HookPolicy>,
    /// When its logs are printed.
    pub log_policies: Vec<HookPolicy>,
}

/// An event at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are Helm's")]
pub enum HookEvent {
    PreInstall,
    PostInstall,
    PreDelete,
    PostDelete,
    PreUpgrade,
    PostUpgrade,
    PreRollback,
    PostRollback,
    Test,
}

/// When a hook is deleted or its logs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are Helm's")]
pub enum HookPolicy {
    BeforeHookCreation,
    HookSucceeded,
    HookFailed,
}

const EVENTS: &[(&str, HookEvent)] = &[
    ("pre-install", HookEvent::PreInstall),
    ("post-install", HookEvent::PostInstall),
    ("pre-delete", HookEvent::PreDelete),
    ("post-delete", HookEvent::PostDelete),
    ("pre-upgrade", HookEvent::PreUpgrade),
    ("post-upgrade", HookEvent::PostUpgrade),
    ("pre-rollback", HookEvent::PreRollback),
    ("post-rollback", HookEvent::PostRollback),
    ("test", HookEvent::Test),
    ("test-success", HookEvent::Test),
];

const POLICIES: &[(&str, HookPolicy)] = &[
    ("before-hook-creation", HookPolicy::BeforeHookCreation),
    ("hook-succeeded", HookPolicy::HookSucceeded),
    ("hook-failed", HookPolicy::HookFailed),
];

impl HookEvent {
    /// Returns the name that Helm has for it.
    pub fn name(self) -> &'static str {
        EVENTS.iter().find(|(_, event)| *event == self).map_or("", |(name, _)| name)
    }

    /// Finds the event that Helm has this name for.
    pub fn named(name: &str) -> Option<Self> {
        EVENTS.iter().find(|(known, _)| *known == name).map(|(_, event)| *event)
    }
}

impl HookPolicy {
    /// Returns the name that Helm has for it.
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }

    /// Finds the policy that Helm has this name for.
    pub fn named(name: &str) -> Option<Self> {
        POLICIES.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
    }
}

impl Manifest {
    /// Returns the API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns what names it in a cluster.
    pub fn id(&self) -> ResourceId {
        ResourceId {
            group: self.group().to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Says whether it is a hook that runs at `event`.
    pub fn runs_at(&self, event: HookEvent) -> bool {
        self.hook.as_ref().is_some_and(|hook| hook.events.contains(&event))
    }

    /// Appends the manifest as Helm prints it.
    pub fn print(&self, out: &mut String) {
        out.push_str("---\n# Source: ");
        out.push_str(&self.source);
        out.push('\n');
        out.push_str(&self.text);
        out.push('\n');
    }
}

/// A file that was rendered.
#[derive(Default)]
pub(super) struct RenderedFile {
    /// The name as Helm has it: `chart/templates/web.yaml`.
    pub name: String,
    pub text: String,
    /// The template.
    pub template: Option<FileId>,
    /// Where the byte at an offset comes from; empty when not tracked.
    pub pieces: Origins,
    /// What the origins of the pieces mean.
    pub table: Arc<OriginTable>,
}

impl RenderedFile {
    /// Returns the place in a template that wrote the line of the text at `start`.
    pub(super) fn span_of_line(&self, sources: &Sources, start: usize) -> Option<Span> {
        let line = self.text.get(start..).unwrap_or("");
        let at = start + (line.len() - line.trim_start_matches([' ', '\t']).len());
        let pieces = &self.pieces.pieces;
        let next = pieces.partition_point(|(offset, _)| *offset as usize <= at);
        let last = next.checked_sub(1).and_then(|i| pieces.get(i));
        let known = last.and_then(|(piece, id)| Some((piece, self.table.origin(*id)?.span?)));
        let Some((piece, span)) = known else {
            return self.template.map(|file| Span::new(file, 0, 0));
        };
        let end = pieces.get(next).map_or(self.text.len(), |(offset, _)| *offset as usize);
        let written = self.text.get(at..end).unwrap_or("").lines().next().unwrap_or("").trim_end();
        // plain text of a template is found again in it; what an action wrote is not
        let source = sources.get(span.file).text().clone();
        let origin = source.get(span.range()).unwrap_or("");
        let expected = at - *piece as usize;
        let same = origin.get(expected..).is_some_and(|rest| rest.starts_with(written));
        let found = if same { Some(expected) } else { origin.find(written) };
        match found.filter(|_| !written.is_empty()) {
            Some(offset) => {
                let first = span.start as usize + offset;
                Some(Span::new(span.file, first, first + written.len()))
            }
            None => Some(span),
        }
    }

    fn fault(&self, sources: &Sources, rule: &'static crate::diag::Rule, offset: usize, message: String) -> Diagnostic {
        let start = self.text.get(..offset).unwrap_or("").rfind('\n').map_or(0, |n| n + 1);
        let line = self.text.get(start..).unwrap_or("").lines().next().unwrap_or("").trim();
        let origin = self.line_origin(sources, start);
        let diagnostic = match origin.span {
            Some(span) => Diagnostic::at(rule, span, message),
            None => Diagnostic::in_file(rule, &self.name, message),
        };
        let diagnostic = diagnostic.traced(origin.trace(sources));
        let number = self.text.get(..start).unwrap_or("").matches('\n').count() + 1;
        if line.is_empty() {
            return diagnostic;
        }
        diagnostic.label(format!("rendered as line {number}: {}", shortened(line)))
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or(line)),
        None => line.to_owned(),
    }
}

/// How pieces become manifests.
pub(super) struct Reading<'a> {
    pub sources: &'a Sources,
    pub namespace: &'a str,
    pub helm: Helm,
    /// A place that no text has, for nodes that are dropped again.
    pub nowhere: FileId,
    /// Whether manifests keep what their text means.
    pub data: bool,
}

/// From this much text on manifests are read by several threads: starting them costs more than reading less. Unit: bytes.
const WORTH_THREADS: usize = 128 * 1024;

/// Reads the manifests of rendered files, in order; says what is wrong with them.
pub(super) fn read_all(
    diagnostics: &mut Diagnostics,
    files: &[RenderedFile],
    reading: &Reading<'_>,
) -> (Vec<Manifest>, Vec<Manifest>) {
    let read_file = |file: &RenderedFile| {
        let (mut found, mut made) = (Diagnostics::new(), Vec::new());
        for (start, end) in pieces(&file.text) {
            made.extend(read(&mut found, file, start, end, reading));
        }
        (found, made)
    };
    let (mut manifests, mut hooks) = (Vec::new(), Vec::new());
    let size: usize = files.iter().map(|f| f.text.len()).sum();
    let read: Vec<(Diagnostics, Vec<Manifest>)> = if size < WORTH_THREADS {
        files.iter().map(read_file).collect()
    } else {
        files.par_iter().map(read_file).collect()
    };
    for (found, made) in read {
        diagnostics.extend(found);
        for manifest in made {
            if manifest.hook.is_some() { hooks.push(manifest) } else { manifests.push(manifest) }
        }
    }
    let order =
        |a: &Manifest, b: &Manifest| install_rank(&a.kind, reading.helm).cmp(&install_rank(&b.kind, reading.helm));
    manifests.sort_by(order);
    hooks.sort_by(order);
    (manifests, hooks)
}

/// Returns the byte ranges of the pieces of a rendered file, trimmed, empty ones left out.
///
/// A separator is `---` at the start of the text or after white space with a line break, and the white space that
/// follows. Source: Helm's `(?:^|\s*\n)---\s*`, with ASCII white space.
pub(super) fn pieces(text: &str) -> Vec<(usize, usize)> {
    let first = text.len() - text.trim_start().len();
    let end = first + text.trim().len();
    let body = text.get(..end).unwrap_or("");
    let is_space = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c);
    let bytes = body.as_bytes();
    let skip_space = |mut at: usize| {
        while bytes.get(at).copied().is_some_and(is_space) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    let mut add = |start: usize, stop: usize| {
        let piece = body.get(start..stop).unwrap_or("");
        let lead = piece.len() - piece.trim_start().len();
        if !piece.is_empty() {
            found.push((start + lead, start + lead + piece.trim().len()));
        }
    };
    let mut start = first;
    let mut search = first;
    if body.get(first..).is_some_and(|t| t.starts_with("---")) {
        start = skip_space(first + 3);
        search = start;
    }
    while let Some(at) = body.get(search..).and_then(|t| t.find("\n---")) {
        let line_end = search + at;
        // the white space before the line break belongs to the separator
        let mut stop = line_end;
        while stop > start && bytes.get(stop - 1).copied().is_some_and(is_space) {
            stop -= 1;
        }
        add(start, stop);
        start = skip_space(line_end + 4);
        search = start;
    }
    add(start, end);
    found
}

fn read(
    diagnostics: &mut Diagnostics,
    file: &RenderedFile,
    start: usize,
    end: usize,
    reading: &Reading<'_>,
) -> Option<Manifest> {
    let text = file.text.get(start..end)?;
    let node = match yaml::decode(text, reading.nowhere, start, yaml::Options::HELM) {
        Ok(node) => node,
        Err(error) => {
            let message = format!("the rendered manifest is not valid YAML: {}", error.problem);
            diagnostics.push(file.fault(reading.sources, &MANIFEST_YAML, error.span.start as usize, message));
            return None;
        }
    };
    if node.as_mapping().is_none() && !node.is_null() {
        let message = format!("a manifest must be a mapping, not a {}", node.kind());
        diagnostics.push(file.fault(reading.sources, &MANIFEST_YAML, start, message));
        return None;
    }
    let head = Head { diagnostics, sources: reading.sources, file, node: &node, start };
    head.manifest(text, reading)
}

struct Head<'a> {
    diagnostics: &'a mut Diagnostics,
    sources: &'a Sources,
    file: &'a RenderedFile,
    node: &'a Node,
    start: usize,
}

impl Head<'_> {
    fn manifest(mut self, text: &str, reading: &Reading<'_>) -> Option<Manifest> {
        let node = self.node;
        let api_version = self.string(get(node, "apiVersion"))?;
        let kind = self.string(get(node, "kind"))?;
        let metadata = get(node, "metadata");
        let name = self.string(metadata.and_then(|m| get(m, "name")))?;
        let namespace = self.string(metadata.and_then(|m| get(m, "namespace")))?;
        let annotations = self.annotations(metadata.and_then(|m| get(m, "annotations")))?;
        let hook = match annotations.get("helm.sh/hook") {
            Some(events) => Some(self.hook(events, &annotations)?),
            None => None,
        };
        self.check(&api_version, &kind, &name);
        let weight = annotations.get("werf.io/weight").and_then(|w| w.trim().parse().ok());
        let weight = weight.unwrap_or_else(|| hook.as_ref().map_or(0, |h| h.weight));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let namespace = match (is_cluster_scoped(group, &kind), namespace.is_empty()) {
            (true, _) => None,
            (false, true) => Some(reading.namespace.to_owned()),
            (false, false) => Some(namespace),
        };
        Some(Manifest {
            namespace,
            source: self.file.name.clone(),
            text: text.to_owned(),
            data: if reading.data { node.to_plain() } else { Plain::Null },
            span: self.file.span_of_line(self.sources, self.start),
            lines: self.lines(text),
            api_version,
            kind,
            name,
            hook,
            weight,
        })
    }

    fn lines(&self, text: &str) -> Vec<LineOrigin> {
        if self.file.pieces.pieces.is_empty() {
            return Vec::new();
        }
        let mut at = self.start;
        let place = |line: &str| {
            let origin = self.file.line_origin(self.sources, at);
            at += line.len() + 1;
            origin
        };
        text.split('\n').map(place).collect()
    }

    /// Reads a string; numbers and booleans count as Helm counts them.
    fn string(&mut self, node: Option<&Node>) -> Option<String> {
        let Some(node) = node else { return Some(String::new()) };
        match &node.data {
            yaml::Data::Null => Some(String::new()),
            yaml::Data::String(text) => Some(text.to_string()),
            yaml::Data::Bool(b) => Some(b.to_string()),
            yaml::Data::Int(n) => Some(n.to_string()),
            yaml::Data::Uint(n) => Some(n.to_string()),
            yaml::Data::Float(f) => {
                let mut text = String::new();
                yaml::write_float_g(&mut text, (*f as f32).to_string().parse().unwrap_or(*f));
                Some(text)
            }
            yaml::Data::Sequence(_) | yaml::Data::Mapping(_) => {
                self.fault(&MANIFEST_YAML, node, format!("a string is expected here, not a {}", node.kind()));
                None
            }
        }
    }

    fn fault(&mut self, rule: &'static crate::diag::Rule, node: &Node, message: String) {
        self.diagnostics.push(self.file.fault(self.sources, rule, node.span.start as usize, message));
    }

    fn annotations(&mut self, node: Option<&Node>) -> Option<BTreeMap<String, String>> {
        let Some(node) = node.filter(|n| !n.is_null()) else { return Some(BTreeMap::new()) };
        let Some(mapping) = node.as_mapping() else {
            self.fault(&MANIFEST_YAML, node, format!("annotations must be a mapping, not a {}", node.kind()));
            return None;
        };
        mapping.iter().map(|e| Some((e.name.to_string(), self.string(Some(&e.value))?))).collect()
    }

    /// Reads what makes it a hook; `None` when an event is unknown: Helm leaves such a piece out.
    fn hook(&mut self, events: &str, annotations: &BTreeMap<String, String>) -> Option<Hook> {
        let mut hook = Hook::default();
        for word in words(events) {
            let Some((_, event)) = EVENTS.iter().find(|(name, _)| *name == word) else {
                let message = format!("`{word}` is no hook event; Helm silently leaves this resource out");
                let mut diagnostic = self.file.fault(self.sources, &MANIFEST_HOOK, self.start, message);
                let near = did_you_mean(&word, EVENTS.iter().map(|(name, _)| *name));
                diagnostic.hints.extend(near.map(|n| format!("did you mean `{n}`?")));
                self.diagnostics.push(diagnostic);
                return None;
            };
            hook.events.push(*event);
        }
        let weight = annotations.get("helm.sh/hook-weight");
        hook.weight = weight.and_then(|w| w.parse().ok()).unwrap_or(0);
        hook.delete_policies = policies(annotations.get("helm.sh/hook-delete-policy"));
        if hook.delete_policies.is_empty() {
            hook.delete_policies.push(HookPolicy::BeforeHookCreation);
        }
        hook.log_policies = policies(annotations.get("helm.sh/hook-output-log-policy"));
        Some(hook)
    }

    fn check(&mut self, api_version: &str, kind: &str, name: &str) {
        if self.node.is_null() {
            return;
        }
        let named = !name.is_empty() || get(self.node, "metadata").is_some_and(|m| get(m, "generateName").is_some());
        let is_list = kind.ends_with("List") && get(self.node, "items").is_some();
        let parts =
            [(api_version.is_empty(), "apiVersion"), (kind.is_empty(), "kind"), (!named && !is_list, "metadata.name")];
        let missing: Vec<String> = parts.iter().filter(|(gone, _)| *gone).map(|(_, n)| format!("`{n}`")).collect();
        if !missing.is_empty() {
            let message = format!("the rendered manifest has no {}", missing.join(", no "));
            self.diagnostics.push(self.file.fault(self.sources, &MANIFEST_INCOMPLETE, self.start, message));
        }
    }
}

/// Finds a key whatever its case, the exact one first. Source: Go's JSON decoder, which Helm uses for heads.
fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let mapping = node.as_mapping()?;
    let other = || mapping.iter().find(|e| e.name.eq_ignore_ascii_case(key)).map(|e| &e.value);
    mapping.get(key).or_else(other)
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(|word| word.trim().to_lowercase()).collect()
}

fn policies(list: Option<&String>) -> Vec<HookPolicy> {
    let known = |word: String| POLICIES.iter().find(|(name, _)| *name == word).map(|(_, policy)| *policy);
    list.map(|list| words(list).into_iter().filter_map(known).collect()).unwrap_or_default()
}

fn names(line: &str, name: &str) -> bool {
    line.trim().strip_prefix("name:").is_some_and(|rest| rest.trim().trim_matches(['"', '\'']) == name)
}

/// Reports resources that more than one manifest declares. Hooks may share a name with a hook of another event.
pub(super) fn report_duplicates(diagnostics: &mut Diagnostics, sources: &Sources, manifests: &[Manifest]) {
    let mut seen: BTreeMap<ResourceId, &Manifest> = BTreeMap::new();
    for manifest in manifests.iter().filter(|m| !m.name.is_empty() && !m.kind.is_empty()) {
        let id = manifest.id();
        if let Some(first) = seen.get(&id) {
            let message = format!("{id} is declared twice");
            let mut diagnostic = match manifest.span {
                Some(span) => Diagnostic::at(&MANIFEST_DUPLICATE, span, message),
                None => Diagnostic::in_file(&MANIFEST_DUPLICATE, &manifest.source, message),
            };
            diagnostic
                .secondary
                .extend(first.span.map(|span| crate::diag::Label { span, text: format!("first in {}", first.source) }));
            // the name is what two manifests share: where it comes from tells more than where they begin
            let name = manifest.text.split('\n').zip(&manifest.lines).find(|(line, _)| names(line, &manifest.name));
            let line = name.map(|(_, origin)| origin).or(manifest.lines.first());
            diagnostics.push(diagnostic.traced(line.map(|origin| origin.trace(sources)).unwrap_or_default()));
        } else {
            seen.insert(id, manifest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        pieces(text).into_iter().map(|(start, end)| &text[start..end]).collect()
    }

    /// Vouched for by Helm 3.20.0.
    #[test]
    fn pieces_are_those_of_helm() {
        assert_eq!(split("---\n---\nA\n---\n\n---\n---\nB\n---\n"), ["---\nA", "---", "B"]);
        assert_eq!(split("# hello\n"), ["# hello"]);
        assert_eq!(split("A\n--- # c\nB\n---foo: bar\n"), ["A", "# c\nB", "foo: bar"]);
        assert_eq!(split("a: 1\n---\nkind: Pod\n---\nb: 2\n"), ["a: 1", "kind: Pod", "b: 2"]);
        assert_eq!(split("a\n---\n\n---\n---\nb"), ["a", "---", "b"]);
        assert_eq!(split("a: |\n  ---\n  x\n \n---\nb"), ["a: |\n  ---\n  x", "b"]);
        assert_eq!(split(" \n"), [] as [&str; 0]);
        assert_eq!(split("---"), [] as [&str; 0]);
    }

    proptest::proptest! {
        #[test]
        fn pieces_split_as_the_expression_of_helm_does(text in "[-\\n a]{0,40}") {
            let separator = regex::Regex::new("(?:^|[\\t\\n\\f\\r ]*\\n)---[\\t\\n\\f\\r ]*").unwrap();
            let expected: Vec<&str> = separator.split(text.trim()).filter(|p| !p.is_empty()).map(str::trim).collect();
            proptest::prop_assert_eq!(split(&text), expected);
        }
    }

    fn read_text(text: &str) -> (Vec<Manifest>, Vec<Manifest>, Vec<String>) {
        let mut diagnostics = Diagnostics::new();
        let sources = Sources::new();
        let file = RenderedFile {
            name: "c/templates/a.yaml".into(),
            text: text.into(),
            template: Some(sources.add("c/templates/a.yaml", text)),
            ..RenderedFile::default()
        };
        let reading =
            Reading { sources: &sources, namespace: "ns", helm: Helm::V3, nowhere: FileId(u32::MAX), data: true };
        let (manifests, hooks) = read_all(&mut diagnostics, &[file], &reading);
        report_duplicates(&mut diagnostics, &sources, &manifests);
        (manifests, hooks, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    #[test]
    fn manifests_come_in_the_order_of_installation() {
        let text = ["Zed", "Service", "Deployment", "Abc", "Namespace"]
            .map(|kind| format!("apiVersion: v1\nKIND: {kind}\nmetadata: {{name: 1}}\n"))
            .join("---\n");
        let (manifests, _, faults) = read_text(&text);
        let kinds: Vec<&str> = manifests.iter().map(|m| m.kind.as_str()).collect();
        assert_eq!(kinds, ["Namespace", "Service", "Deployment", "Abc", "Zed"]);
        assert_eq!(manifests[0].namespace, None);
        assert_eq!(manifests[1].namespace.as_deref(), Some("ns"));
        assert_eq!((manifests[1].name.as_str(), faults.len()), ("1", 0));
    }

    #[test]
    fn hooks_are_taken_out() {
        let hook = |events: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    helm.sh/hook: {events}\n    \
                 helm.sh/hook-weight: \"-5\"\n    helm.sh/hook-delete-policy: hook-succeeded,hook-failed\n"
            )
        };
        let (_, hooks, faults) = read_text(&hook("Pre-Install , test"));
        let info = hooks[0].hook.clone().unwrap();
        assert_eq!(info.events, [HookEvent::PreInstall, HookEvent::Test]);
        assert_eq!(info.delete_policies, [HookPolicy::HookSucceeded, HookPolicy::HookFailed]);
        assert_eq!((info.weight, hooks[0].weight, faults.len()), (-5, -5, 0));
        let (manifests, hooks, faults) = read_text(&hook("pre-instal"));
        assert_eq!((manifests.len(), hooks.len(), faults.len()), (0, 0, 1));
    }

    #[test]
    fn faults_of_manifests_are_told() {
        assert_eq!(read_text("hello").2, ["a manifest must be a mapping, not a string"]);
        assert_eq!(read_text("a: 1").2, ["the rendered manifest has no `apiVersion`, no `kind`, no `metadata.name`"]);
        assert_eq!(read_text("# only a comment").2, [] as [String; 0]);
        assert_eq!(read_text("kind: [1]").2, ["a string is expected here, not a list"]);
        assert!(read_text("a: b: c").2[0].starts_with("the rendered manifest is not valid YAML: "));
        let twice =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}";
        assert_eq!(read_text(twice).2, ["Pod/a in namespace ns is declared twice"]);
    }
}
