//! Diagnostics as a `JUnit` report: a suite for each file, a case for each finding.

use std::collections::BTreeMap;

use super::finding::{Finding, findings};
use super::forges::full_message;
use crate::diag::{Diagnostic, Severity};
use crate::source::Sources;

/// Returns a `JUnit` report. Errors are failed cases; warnings and notes passed ones with words.
///
/// Without a finding there is one passed case, since CI systems refuse an empty report.
pub fn junit(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let findings = findings(diagnostics, sources);
    let failures = |list: &[&Finding]| list.iter().filter(|f| f.severity == Severity::Error).count();
    let mut suites: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &findings {
        suites.entry(finding.file.as_deref().unwrap_or("project")).or_default().push(finding);
    }
    let (tests, failed) = (findings.len().max(1), failures(&findings.iter().collect::<Vec<_>>()));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out += &format!("<testsuites name=\"stagewright lint\" tests=\"{tests}\" failures=\"{failed}\">\n");
    if findings.is_empty() {
        out += "  <testsuite name=\"project\" tests=\"1\" failures=\"0\">\n";
        out += "    <testcase classname=\"project\" name=\"no findings\"/>\n  </testsuite>\n";
    }
    for (file, list) in &suites {
        let (name, failed) = (escape(file), failures(list));
        out += &format!("  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\">\n", list.len());
        list.iter().for_each(|f| out += &case(f, &name));
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

fn case(f: &Finding, class: &str) -> String {
    let place = format!("{}:{}", f.line, f.column);
    let text = escape(&format!("{}:{place}: {}", f.file.as_deref().unwrap_or("project"), full_message(f)));
    let body = match f.severity {
        Severity::Error => {
            format!("<failure type=\"{}\" message=\"{}\">{text}</failure>", f.rule, escape(&f.message))
        }
        Severity::Warning => format!("<system-out>warning: {text}</system-out>"),
        Severity::Note => format!("<system-out>note: {text}</system-out>"),
    };
    format!("    <testcase classname=\"{class}\" name=\"{} at {place}\">\n      {body}\n    </testcase>\n", f.rule)
}

/// Escapes for XML; characters that XML 1.0 cannot hold become `\u{fffd}`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out.push('\t'),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn a_report_has_a_suite_for_each_file() {
        let (sources, mut diagnostics) = fixture();
        diagnostics[1].severity = Severity::Warning;
        let all = [junit(&diagnostics, &sources), junit(&[], &sources)];
        crate::report::golden::check("diagnostics-junit.xml", &all.join("----\n"));
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a<b>&\"\u{1}\n"), "a&lt;b&gt;&amp;&quot;\u{fffd}&#10;");
    }
}
