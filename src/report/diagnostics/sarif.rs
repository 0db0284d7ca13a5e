//! Diagnostics as SARIF 2.1.0, for code scanning and editors.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::finding::{Finding, findings};
use super::forges::{fingerprints, full_message};
use crate::diag::{Diagnostic, Label, Rule, Severity};
use crate::source::{Sources, Span};

/// Where the standard keeps its schema.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// How many results code scanning takes from a run. Source: GitHub, "SARIF support for code scanning".
const MAX_RESULTS: usize = 25_000;

/// Returns a SARIF log of one run. The rules that found something are described in it.
pub fn sarif(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let diagnostics = diagnostics.get(..MAX_RESULTS).unwrap_or(diagnostics);
    let mut rules: BTreeMap<&str, &Rule> = BTreeMap::new();
    rules.extend(diagnostics.iter().map(|d| (d.rule.name, d.rule)));
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(i, name)| (*name, i)).collect();
    let findings = findings(diagnostics, sources);
    let prints = fingerprints(&findings);
    let results: Vec<Value> = diagnostics
        .iter()
        .zip(&findings)
        .zip(&prints)
        .map(|((d, f), print)| result(d, f, print, index.get(f.rule).copied().unwrap_or(0), sources))
        .collect();
    super::super::pretty_json(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "stagewright",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.values().map(|rule| described(rule)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": { "PROJECT": { "description": { "text": "The directory of the project." } } },
            "results": results,
        }],
    }))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": { "text": sentence(rule.summary) },
        "help": { "text": rule.page, "markdown": rule.page },
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

/// A summary with a capital letter and a full stop.
fn sentence(summary: &str) -> String {
    let mut chars = summary.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn result(d: &Diagnostic, f: &Finding, print: &str, index: usize, sources: &Sources) -> Value {
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(f.rule));
    result.insert("ruleIndex".to_owned(), json!(index));
    result.insert("level".to_owned(), json!(level(f.severity)));
    result.insert("message".to_owned(), json!({ "text": full_message(f) }));
    result.insert("partialFingerprints".to_owned(), json!({ "finding/v1": print }));
    if let Some(file) = &f.file {
        let region = json!({
            "startLine": f.line,
            "startColumn": f.column,
            "endLine": f.end_line,
            "endColumn": f.end_column,
        });
        let place = json!({ "artifactLocation": artifact(file), "region": region });
        result.insert("locations".to_owned(), json!([{ "physicalLocation": place }]));
    }
    let related = d.secondary.iter().map(|Label { span, text }| (span, text));
    let related = related.chain(d.trace.iter().map(|frame| (&frame.span, &frame.text)));
    let related: Vec<Value> = related.map(|(span, text)| related_place(*span, text, sources)).collect();
    if !related.is_empty() {
        result.insert("relatedLocations".to_owned(), Value::Array(related));
    }
    Value::Object(result)
}

fn related_place(span: Span, text: &str, sources: &Sources) -> Value {
    let (file, at) = sources.locate(span);
    json!({
        "physicalLocation": {
            "artifactLocation": artifact(&file),
            "region": { "startLine": at.line, "startColumn": at.column },
        },
        "message": { "text": if text.is_empty() { "here" } else { text } },
    })
}

fn artifact(path: &str) -> Value {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let encode = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    json!({ "uri": path.bytes().map(encode).collect::<String>(), "uriBaseId": "PROJECT" })
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn a_log_meets_the_schema_of_the_standard() {
        let schema = include_str!("../../../testdata/report/sarif-schema-2.1.0.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("sarif.json", schema).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile("sarif.json", &mut schemas).unwrap();
        let (sources, diagnostics) = fixture();
        for list in [&diagnostics[..], &[]] {
            let log: Value = serde_json::from_str(&sarif(list, &sources)).unwrap();
            assert!(schemas.validate(&log, index).is_ok(), "{}", schemas.validate(&log, index).unwrap_err());
        }
        crate::report::golden::check("diagnostics.sarif", &sarif(&diagnostics, &sources));
    }

    #[test]
    fn paths_are_uris() {
        assert_eq!(artifact("a b/é%.yaml")["uri"], "a%20b/%C3%A9%25.yaml");
    }
}
