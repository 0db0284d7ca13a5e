//! Diagnostics in the formats of CI systems.

use serde_json::json;

use super::finding::{Finding, findings};
use crate::diag::{Diagnostic, Severity};
use crate::digest::Hasher;
use crate::source::Sources;

/// Returns GitHub workflow commands, one line a diagnostic. Source: GitHub Actions, "workflow commands".
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    findings(diagnostics, sources).iter().map(github_line).collect()
}

fn github_line(f: &Finding) -> String {
    let command = match f.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
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
    let list: Vec<_> = findings(diagnostics, sources).iter().map(gitlab_entry).collect();
    super::super::pretty_json(&list)
}

fn gitlab_entry(f: &Finding) -> serde_json::Value {
    let severity = match f.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
        Severity::Note => "info",
    };
    let file = f.file.as_deref().unwrap_or("");
    json!({
        "description": full_message(f),
        "check_name": f.rule,
        "fingerprint": fingerprint(f),
        "severity": severity,
        "location": { "path": file, "lines": { "begin": f.line, "end": f.end_line } },
    })
}

/// The same finding keeps its fingerprint when lines above it come and go.
fn fingerprint(f: &Finding) -> String {
    let mut hasher = Hasher::new("finding");
    hasher.field(f.rule.as_bytes()).field(f.file.as_deref().unwrap_or("").as_bytes());
    hasher.field(f.message.as_bytes()).field(f.label.as_bytes());
    hasher.finish().to_string()
}

fn full_message(f: &Finding) -> String {
    let mut text = f.message.clone();
    if !f.label.is_empty() {
        text += &format!(": {}", f.label);
    }
    for hint in &f.hints {
        text += &format!("\nhint: {hint}");
    }
    text
}
