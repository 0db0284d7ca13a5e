//! A plan in words: what text, Markdown and HTML have in common.
//!
//! What lives here: [`View`], the plan as short strings in the order of what a reviewer must decide. What does not:
//! layout, width and colour. Values are whole here; whoever has little room cuts them, but never the reasons.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::count;
use super::terminal::printable;
use crate::plan::{
    DriftOutcome, FieldChange, FieldOp, FileChange, HookPlan, ImageAction, ImagePlan, Plan, Reason, RecordReason,
    ResourceAction, ResourcePlan, Restart, RiskLevel, Setter, Summary, Work,
};
use crate::source::Place;

/// Digits of a tag that are shown.
const SHORT: usize = 12;
/// Unit: lines around a change within a text of several lines.
const CONTEXT: usize = 2;

/// A plan in words.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub project: String,
    pub verdict: String,
    pub context: Vec<String>,
    pub changes: bool,
    pub risks: Vec<RiskView>,
    pub images: Vec<ImageView>,
    pub resources: Vec<ResourceView>,
    pub drift: Vec<DriftView>,
    pub by_hand: Vec<KeptView>,
    pub cleanup: Vec<CleanupView>,
    pub hooks: Vec<HookView>,
    /// Counted, not listed.
    pub unchanged: usize,
    pub summary: String,
}

#[derive(Debug, Serialize)]
pub(super) struct HookView {
    pub event: String,
    pub address: String,
    pub source: String,
}

#[derive(Debug, Serialize)]
pub(super) struct RiskView {
    pub level: &'static str,
    pub code: String,
    pub address: String,
    pub message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ImageView {
    pub build: bool,
    pub name: String,
    pub tags: String,
    pub place: String,
    pub reasons: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct ResourceView {
    pub symbol: &'static str,
    pub action: &'static str,
    pub address: String,
    pub source: String,
    pub fields: Vec<FieldView>,
    pub restart: Option<String>,
    pub reasons: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct DriftView {
    pub address: String,
    /// Who changed it, when, and what becomes of that.
    pub by: Vec<String>,
    pub fields: Vec<FieldView>,
}

/// What people changed by hand, and what stays.
#[derive(Debug, Serialize)]
pub(super) struct KeptView {
    pub address: String,
    pub fields: Vec<String>,
    /// Who changed it, and when.
    pub by: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CleanupView {
    pub tag: String,
    pub reason: String,
}

/// A changed field.
#[derive(Debug, Serialize)]
pub(super) struct FieldView {
    pub sign: char,
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// Lines that begin with `+`, `-` or a space; instead of before and after.
    pub diff: Vec<String>,
    /// Whether it forces a replacement.
    pub replaces: bool,
}

/// A sentence, and how far it is indented below its cause.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub depth: usize,
    pub text: String,
}

impl View {
    /// Puts one resource into words.
    pub(super) fn resource_of(r: &ResourcePlan) -> ResourceView {
        resource(r)
    }

    /// Puts a plan into words; `all` lists what stays as it is too.
    pub(super) fn of(plan: &Plan, all: bool) -> Self {
        let shown = |r: &&ResourcePlan| all || r.action != ResourceAction::Noop || r.reasons.contains(&Reason::Kept);
        let mut resources: Vec<&ResourcePlan> = plan.resources.iter().filter(shown).collect();
        resources.sort_by_key(|r| rank(r.action));
        let touched = |i: &ImagePlan| i.previous_tag.is_some() || !i.custom_tags.is_empty() || i.copied_to.is_some();
        let left = replicas_left(plan);
        let images = plan.images.iter().filter(|i| all || i.action == ImageAction::Build || touched(i));
        Self {
            project: plan.project.clone(),
            verdict: verdict(plan),
            context: context(plan),
            changes: plan.has_changes(),
            risks: risks(plan),
            images: images.map(image).collect(),
            unchanged: plan.resources.len() - resources.len(),
            resources: resources.into_iter().map(|r| with_replicas(resource(r), &left)).collect(),
            drift: plan.resources.iter().filter(|r| !r.drift.is_empty()).map(drift).collect(),
            by_hand: plan.resources.iter().filter(|r| !r.kept.is_empty()).map(kept).collect(),
            cleanup: plan
                .cleanup
                .iter()
                .map(|c| CleanupView { tag: shorten(&c.tag), reason: c.reason.clone() })
                .collect(),
            hooks: plan.hooks.iter().map(hook_view).collect(),
            summary: summary(&plan.summary, plan.cleanup.len()),
        }
    }
}

/// The addresses of what gets replicas that are then left to others.
fn replicas_left(plan: &Plan) -> BTreeSet<String> {
    let left = plan.operations.iter().filter_map(|operation| {
        let Work::WriteResource { address, leaves_replicas: true, .. } = &operation.work else { return None };
        Some(printable(address))
    });
    left.collect()
}

fn with_replicas(mut view: ResourceView, left: &BTreeSet<String>) -> ResourceView {
    if left.contains(&view.address) {
        let text = "its replicas are set this once, and then left to others".into();
        view.reasons.push(Line { depth: 0, text });
    }
    view
}

/// Replacements and deletions first: what a reviewer must see.
fn rank(action: ResourceAction) -> u8 {
    match action {
        ResourceAction::Replace => 0,
        ResourceAction::Delete => 1,
        ResourceAction::Update => 2,
        ResourceAction::Create => 3,
        ResourceAction::Noop => 4,
    }
}

fn record_reason(reason: &RecordReason) -> &'static str {
    match reason {
        RecordReason::First => "there is none yet",
        RecordReason::Unfinished { status } if status == "failed" => "the last revision failed",
        RecordReason::Unfinished { status } if status.starts_with("pending") => "the last revision was not finished",
        RecordReason::Unfinished { .. } => "the last revision is not deployed",
        RecordReason::Rollback => "a rollback is a revision of its own",
        RecordReason::Manifests => "manifests changed, and the target has what they want",
        RecordReason::Hooks => "hooks changed",
        RecordReason::Images => "images changed",
        RecordReason::Values => "values changed",
        RecordReason::Environment => "the environment changed",
        RecordReason::Namespace => "the namespace changed",
        RecordReason::Notes => "the notes changed",
    }
}

fn verdict(plan: &Plan) -> String {
    let s = &plan.summary;
    if plan.is_record_only() {
        let why: Vec<&str> = plan.record_reasons.iter().map(record_reason).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
        return format!("No resource changes. Only the release record is written{why}.");
    }
    if !plan.has_changes() {
        let images = count(s.images_reuse, "image");
        return format!("No changes. {images} in the store, {} as declared.", count(s.noop, "resource"));
    }
    let mut parts = Vec::new();
    if s.images_build > 0 {
        parts.push(format!("{} to build", count(s.images_build, "image")));
    }
    let tags: usize = plan.images.iter().map(|i| i.custom_tags.len()).sum();
    if tags > 0 {
        parts.push(format!("{} to put", count(tags, "further tag")));
    }
    let copies = plan.images.iter().filter(|i| i.copied_to.is_some()).count();
    if copies > 0 {
        parts.push(format!("{} to copy", count(copies, "image")));
    }
    let resources = s.create + s.update + s.replace + s.delete;
    if resources > 0 {
        parts.push(format!("{} to change", count(resources, "resource")));
    }
    if !plan.hooks.is_empty() {
        parts.push(format!("{} to run", count(plan.hooks.len(), "hook")));
    }
    if !plan.cleanup.is_empty() {
        parts.push(format!("{} to remove from the store", count(plan.cleanup.len(), "tag")));
    }
    let dangers = plan.risks.iter().filter(|r| r.level == RiskLevel::Danger).count();
    if dangers > 0 {
        parts.push(format!("{} to accept", count(dangers, "danger")));
    }
    format!("{}: {}.", plan.project, parts.join(", "))
}

fn context(plan: &Plan) -> Vec<String> {
    let inputs = &plan.inputs;
    let mut list = Vec::new();
    if !plan.commit.is_empty() {
        let dev = if inputs.dev { " with uncommitted files" } else { "" };
        list.push(format!("commit {}{dev}", shorten(&plan.commit)));
    }
    list.extend(inputs.bundle.as_ref().map(|bundle| format!("bundle {bundle}")));
    let named = [("env", &inputs.env), ("release", &inputs.release), ("namespace", &inputs.namespace)];
    list.extend(named.iter().filter_map(|(name, value)| value.as_ref().map(|v| format!("{name} {v}"))));
    // What takes a release back builds nothing.
    if !inputs.repo.is_empty() {
        list.push(format!("store {}", inputs.repo));
    }
    list.extend(inputs.target.as_ref().map(|t| match &inputs.cluster {
        Some(cluster) => format!("cluster {cluster}"),
        None => format!("target {t}"),
    }));
    let seen = match plan.fidelity {
        crate::plan::Fidelity::Offline => "from git only",
        crate::plan::Fidelity::Store => "with the store seen",
        crate::plan::Fidelity::Live if inputs.repo.is_empty() => "with the target seen",
        crate::plan::Fidelity::Live => "with store and target seen",
    };
    list.push(seen.into());
    list
}

fn risks(plan: &Plan) -> Vec<RiskView> {
    let mut sorted: Vec<_> = plan.risks.iter().collect();
    sorted.sort_by_key(|r| std::cmp::Reverse(r.level));
    let view = |r: &&crate::plan::Risk| RiskView {
        level: match r.level {
            RiskLevel::Danger => "danger",
            RiskLevel::Warning => "warning",
            RiskLevel::Info => "info",
        },
        code: r.code.clone(),
        address: printable(&r.address),
        message: printable(&r.path.as_ref().map_or_else(|| r.message.clone(), |path| format!("{path}: {}", r.message))),
    };
    sorted.iter().map(view).collect()
}

fn image(image: &ImagePlan) -> ImageView {
    let new = shorten(&image.tag);
    let tags = match &image.previous_tag {
        Some(old) if *old != image.tag => format!("{} -> {new}", shorten(old)),
        Some(_) | None => new,
    };
    let also = image.custom_tags.iter().map(|tag| format!(", also {}", printable(tag))).collect::<String>();
    let copied = image.copied_to.iter().map(|repo| format!(", copied to {}", printable(repo))).collect::<String>();
    let platforms =
        if image.platforms.is_empty() { String::new() } else { format!(", for {}", image.platforms.join(", ")) };
    let tags = tags + &also + &copied + &printable(&platforms);
    ImageView {
        build: image.action == ImageAction::Build,
        name: if image.name.is_empty() { "(nameless)".into() } else { printable(&image.name) },
        tags,
        place: printable(&place(&image.place)),
        reasons: lines(&image.reasons),
    }
}

fn resource(r: &ResourcePlan) -> ResourceView {
    let (symbol, action) = match r.action {
        ResourceAction::Create => ("+", "create"),
        ResourceAction::Update => ("~", "update"),
        ResourceAction::Replace => ("-/+", "replace"),
        ResourceAction::Delete => ("-", "delete"),
        ResourceAction::Noop => ("=", "keep"),
    };
    // What is deleted goes as a whole.
    let fields: &[FieldChange] = if r.action == ResourceAction::Delete { &[] } else { &r.fields };
    ResourceView {
        symbol,
        action,
        address: printable(&r.address()),
        source: printable(&r.source.as_ref().map(place).unwrap_or_default()),
        fields: fields.iter().map(|f| field(f, r.replace_paths.contains(&f.path))).collect(),
        restart: r.restart.as_ref().map(restart),
        reasons: lines(&r.reasons),
    }
}

fn drift(r: &ResourcePlan) -> DriftView {
    DriftView {
        address: printable(&r.address()),
        by: setters(r).filter(|setter| setter.outcome != DriftOutcome::Kept).map(setter).collect(),
        fields: r.drift.iter().map(|f| field(f, false)).collect(),
    }
}

fn kept(r: &ResourcePlan) -> KeptView {
    let field = |change: &FieldChange| {
        let said = |value: &Value| if value.is_null() { "nothing".to_owned() } else { self::value(value) };
        let path = printable(&change.path);
        if change.sensitive {
            return format!("{path}: (sensitive)");
        }
        format!("{path}: {}, the chart says {}", said(&change.before), said(&change.after))
    };
    KeptView {
        address: printable(&r.address()),
        fields: r.kept.iter().map(field).collect(),
        by: setters(r).filter(|setter| setter.outcome == DriftOutcome::Kept).map(setter).collect(),
    }
}

fn setters(r: &ResourcePlan) -> impl Iterator<Item = &Setter> {
    r.reasons.iter().flat_map(|reason| if let Reason::Drift { by, .. } = reason { by.as_slice() } else { &[] })
}

fn setter(setter: &Setter) -> String {
    let when = setter.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
    let outcome = match setter.outcome {
        DriftOutcome::Reverted => "it is set back",
        DriftOutcome::Kept => "it is kept",
        DriftOutcome::Overwritten => "the chart changes it too, and wins",
    };
    printable(&format!("{} by {}{when}: {outcome}", list(&setter.paths), setter.manager))
}

fn restart(restart: &Restart) -> String {
    let pods = |n: u64| if n == 1 { "pod" } else { "pods" };
    let pods = match (restart.pods, restart.of) {
        (None, _) => "its pods".to_owned(),
        (Some(n), Some(of)) if of >= n => format!("{n} of {of} {}", pods(of)),
        (Some(n), Some(_) | None) => format!("{n} {}", pods(n)),
    };
    let downtime = if restart.downtime { ", the service is down meanwhile" } else { "" };
    format!("restarts {pods} ({}{downtime})", restart.strategy)
}

fn field(change: &FieldChange, replaces: bool) -> FieldView {
    let sign = match change.op {
        FieldOp::Add => '+',
        FieldOp::Change => '~',
        FieldOp::Remove => '-',
    };
    let mut view =
        FieldView { sign, path: printable(&change.path), before: None, after: None, diff: Vec::new(), replaces };
    if change.sensitive && change.before.is_null() && change.after.is_null() {
        view.after = Some("(sensitive)".into());
        return view;
    }
    let (before, after) = (change.op != FieldOp::Add, change.op != FieldOp::Remove);
    if let Some(lines) = diff(change) {
        view.diff = lines;
    } else {
        view.before = before.then(|| value(&change.before));
        view.after = after.then(|| value(&change.after));
    }
    view
}

/// Texts of several lines are compared line by line.
fn diff(change: &FieldChange) -> Option<Vec<String>> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let (before, after) = match change.op {
        FieldOp::Add => (String::new(), text(&change.after)?),
        FieldOp::Remove => (text(&change.before)?, String::new()),
        FieldOp::Change => (text(&change.before)?, text(&change.after)?),
    };
    let long = |t: &str| t.trim_end_matches('\n').contains('\n');
    if !long(&before) && !long(&after) {
        return None;
    }
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let mut lines = Vec::new();
    for (i, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if i > 0 {
            lines.push(" ...".into());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign}{}", shorten(&printable(change.value().trim_end_matches('\n')))));
        }
    }
    Some(lines)
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.trim() != text => format!("{text:?}"),
        Value::String(text) => shorten(&printable(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            shorten(&value.to_string())
        }
    }
}

/// Cuts every run of 40 and more hexadecimal digits to its first twelve.
pub(super) fn shorten(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()).max(c.len_utf8());
        let (head, tail) = rest.split_at(word);
        let is_digest = head.len() >= 40 && head.bytes().all(|b| b.is_ascii_hexdigit());
        out += if is_digest { head.get(..SHORT).unwrap_or(head) } else { head };
        rest = tail;
    }
    out
}

/// Returns `file:line`, `file:line-line` or `file`.
pub fn place(place: &Place) -> String {
    match (place.line, place.end_line) {
        (Some(line), Some(end)) if end != line => format!("{}:{line}-{end}", place.file),
        (Some(line), _) => format!("{}:{line}", place.file),
        (None, _) => place.file.clone(),
    }
}

pub(super) fn lines(reasons: &[Reason]) -> Vec<Line> {
    let mut out = Vec::new();
    push_lines(reasons, 0, &mut out);
    out
}

fn push_lines(reasons: &[Reason], depth: usize, out: &mut Vec<Line>) {
    for reason in reasons {
        out.push(Line { depth, text: printable(&sentence(reason)) });
        if let Reason::UsesImage { because, .. }
        | Reason::ImageTag { because, .. }
        | Reason::UsesConfig { because, .. }
        | Reason::OnPlatform { because, .. } = reason
        {
            push_lines(because, depth + 1, out);
        }
    }
}

/// Says a reason in one line, its place first; the causes behind it have lines of their own.
pub(super) fn sentence(reason: &Reason) -> String {
    let at = |p: &Option<Place>| p.as_ref().map(|p| format!("{} ", place(p))).unwrap_or_default();
    match reason {
        Reason::NotInStore { tag } => format!("{} is not in the store", shorten(tag)),
        Reason::InStore { tag } => format!("{} is in the store", shorten(tag)),
        Reason::NotNeeded => "no image that is built needs it".into(),
        Reason::File { place: p, change } => {
            let what = match change {
                FileChange::Added => "added",
                FileChange::Modified => "modified",
                FileChange::Mode => "has another mode",
                FileChange::Removed => "removed",
            };
            format!("{} {what}", place(p))
        }
        Reason::Content { place: p, before, after } => {
            format!("{} brings in other files: {} -> {}", place(p), shorten(before), shorten(after))
        }
        Reason::Setting { key, place, before, after } => {
            format!("{}{key}: {}", at(place), change(before.as_deref(), after.as_deref()))
        }
        Reason::Base { place, before, after } => {
            format!("{}base image: {} -> {}", at(place), shorten(before), shorten(after))
        }
        Reason::UsesImage { image, .. } => format!("uses image {image}, which changed"),
        Reason::OnPlatform { platform, .. } => format!("on {platform}"),
        Reason::FollowsStage { stage } => format!("follows stage {stage}, which is built"),
        Reason::NotInTarget => "it is not in the target".into(),
        Reason::NotDeclared => "it is not declared any more".into(),
        Reason::ImageTag { path, image, before, after, .. } => {
            let tags = change(before.as_deref(), Some(after));
            format!("image {image}: {tags} ({path})")
        }
        Reason::Template { place: p, paths } => format!("{} writes {}", place(p), list(paths)),
        Reason::Value { place, key, before, after } => {
            format!("{}{key}: {} -> {}", at(place), value(before), value(after))
        }
        Reason::Drift { paths, by } if by.iter().any(|by| by.outcome == DriftOutcome::Kept) => {
            format!("somebody changed {} by hand, and it is kept", list(paths))
        }
        Reason::Drift { paths, .. } => format!("somebody else changed {}", list(paths)),
        Reason::UsesConfig { address, .. } => format!("its pods read {address}, which changed"),
        Reason::Renamed { from } => format!("it is {from} under a new name"),
        Reason::Adopted { from: Some(from) } => format!("it is taken over from the release {from}"),
        Reason::Adopted { from: None } => "it is in the cluster already, and becomes part of the release".into(),
        Reason::NotNow => "its `werf.io/deploy-on` leaves it out of this deploy".into(),
        Reason::ImmutableField { path } => format!("{path} cannot be changed in place"),
        Reason::HasFailed { why } => format!("it failed ({why}), and is made anew"),
        Reason::Kept => "its policy keeps it as it is".into(),
        Reason::Unchanged => "nothing changed".into(),
    }
}

fn change(before: Option<&str>, after: Option<&str>) -> String {
    let text = |t: &str| shorten(&printable(t));
    match (before, after) {
        (Some(before), Some(after)) => format!("{} -> {}", text(before), text(after)),
        (None, Some(after)) => format!("new, {}", text(after)),
        (Some(before), None) => format!("gone, was {}", text(before)),
        (None, None) => "changed".into(),
    }
}

fn list(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let head = paths.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = paths.len().saturating_sub(SHOWN);
    if more == 0 { head } else { format!("{head} and {more} more") }
}

/// The machine-greppable last line.
fn hook_view(hook: &HookPlan) -> HookView {
    let weight = if hook.weight == 0 { String::new() } else { format!(", weight {}", hook.weight) };
    HookView {
        event: format!("{}{weight}", printable(&hook.event)),
        address: printable(&hook.address()),
        source: hook.source.as_ref().map(place).unwrap_or_default(),
    }
}

pub(super) fn summary(s: &Summary, cleanup: usize) -> String {
    let restarts =
        if s.restarts == 1 { "1 workload restarts".into() } else { format!("{} workloads restart", s.restarts) };
    let mut line = format!(
        "Plan: {} to build, {} to reuse; {} to create, {} to update, {} to replace, {} to delete; {restarts}",
        count(s.images_build, "image"),
        s.images_reuse,
        s.create,
        s.update,
        s.replace,
        s.delete,
    );
    if s.drift > 0 {
        line += &format!("; {} drifted", s.drift);
    }
    if cleanup > 0 {
        line += &format!("; {cleanup} to clean up");
    }
    line + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_cut_to_twelve_digits_and_words_are_not() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(shorten(&format!("repo/app:{digest}-1700")), "repo/app:0123456789ab-1700");
        assert_eq!(shorten("défaced-beef"), "défaced-beef");
        assert_eq!(shorten(""), "");
    }

    #[test]
    fn a_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\tc"), "a\\u{1b}[2Jb    c");
    }

    #[test]
    fn long_texts_are_compared_by_line() {
        let before: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let after = before.replace("line 3\n", "line three\n").replace("line 15\n", "");
        let change = FieldChange {
            path: "data.conf".into(),
            op: FieldOp::Change,
            before: before.into(),
            after: after.into(),
            sensitive: false,
        };
        let view = field(&change, false);
        let want = [
            " line 1",
            " line 2",
            "-line 3",
            "+line three",
            " line 4",
            " line 5",
            " ...",
            " line 13",
            " line 14",
            "-line 15",
            " line 16",
            " line 17",
        ];
        assert_eq!(view.diff, want);
    }
}
