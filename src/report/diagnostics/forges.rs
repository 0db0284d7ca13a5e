//! Diagnostics for the pages of GitHub and GitLab.

use rustc_hash::FxHashMap;
use serde_json::json;

use super::finding::{Finding, findings};
use crate::diag::{Diagnostic, Severity};
use crate::digest::Hasher;
use crate::source::Sources;

/// How many annotations of one kind GitHub shows for a step; it drops further ones silently.
const GITHUB_ANNOTATIONS: usize = 10;

/// Returns GitHub workflow commands, one line a diagnostic. Source: GitHub Actions, "workflow commands".
///
/// What would be dropped is told in the log, below the commands.
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let (mut out, mut rest) = (String::new(), Vec::new());
    let mut shown = [0_usize; 3];
    for finding in findings(diagnostics, sources) {
        let (command, count) = match finding.severity {
            Severity::Error => ("error", &mut shown[0]),
            Severity::Warning => ("warning", &mut shown[1]),
            Severity::Note => ("notice", &mut shown[2]),
        };
        *count += 1;
        if *count > GITHUB_ANNOTATIONS {
            let file = finding.file.as_deref().unwrap_or("");
            let text = full_message(&finding).replace('\n', "; ");
            rest.push(format!("{file}:{}:{}: {command}[{}]: {text}\n", finding.line, finding.column, finding.rule));
        } else {
            out += &github_line(&finding, command);
        }
    }
    if !rest.is_empty() {
        out += &format!("::group::{}\n", super::super::count(rest.len(), "further finding"));
        rest.iter().for_each(|line| out += line);
        out += "::endgroup::\n";
    }
    out
}

fn github_line(f: &Finding, command: &str) -> String {
    let mut properties = String::new();
    if let Some(file) = &f.file {
        // A column range is only allowed within one line.
        properties = format!("file={},line={},endLine={},", github_property(file), f.line, f.end_line);
        if f.line == f.end_line {
            properties += &format!("col={},endColumn={},", f.column, f.end_column);
        }
    }
    let text = full_message(f).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    format!("::{command} {properties}title={}::{text}\n", github_property(f.rule))
}

fn github_property(text: &str) -> String {
    let escaped = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    escaped.replace(':', "%3A").replace(',', "%2C")
}

/// Returns a GitLab Code Quality report. Source: GitLab, "Code Quality report format".
pub fn gitlab(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let findings = findings(diagnostics, sources);
    let prints = fingerprints(&findings);
    let list: Vec<_> = findings.iter().zip(&prints).map(|(f, print)| gitlab_entry(f, print)).collect();
    super::super::pretty_json(&list)
}

fn gitlab_entry(f: &Finding, fingerprint: &str) -> serde_json::Value {
    let severity = match f.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
        Severity::Note => "info",
    };
    let file = f.file.as_deref().unwrap_or("");
    json!({
        "description": full_message(f),
        "check_name": f.rule,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": { "path": file, "lines": { "begin": f.line, "end": f.end_line } },
    })
}

/// The same finding keeps its fingerprint when lines above it come and go; equal ones of a file are counted.
pub(super) fn fingerprints(findings: &[Finding]) -> Vec<String> {
    let mut seen: FxHashMap<String, u32> = FxHashMap::default();
    let print = |f: &Finding, count: u32| {
        let mut hasher = Hasher::new("finding");
        hasher.field(f.rule.as_bytes()).field(f.file.as_deref().unwrap_or("").as_bytes());
        hasher.field(f.message.as_bytes()).field(f.label.as_bytes());
        if count > 0 {
            hasher.field(&count.to_be_bytes());
        }
        hasher.finish().to_string()
    };
    let mut one = |f: &Finding| {
        let count = seen.entry(print(f, 0)).or_insert(0);
        *count += 1;
        print(f, *count - 1)
    };
    findings.iter().map(&mut one).collect()
}

pub(super) fn full_message(f: &Finding) -> String {
    let mut text = f.message.clone();
    if !f.label.is_empty() {
        text += &format!(": {}", f.label);
    }
    for hint in &f.hints {
        text += &format!("\nhint: {hint}");
    }
    text
}
