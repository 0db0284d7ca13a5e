//! Every rule of the table has its page in the reference, and every page its rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stagewright::diag::{Rule, Severity, rules};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules")
}

#[test]
fn every_rule_has_a_page_and_every_page_a_rule() {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let pages: BTreeSet<_> = fs::read_dir(folder()).unwrap().map(name).filter(|n| n != "README.md").collect();
    let rules: BTreeSet<_> = rules::ALL.iter().map(|rule| format!("{}.md", rule.name)).collect();
    assert_eq!(rules.len(), rules::ALL.len(), "two rules have one name");
    let missing: Vec<_> = rules.difference(&pages).collect();
    let orphans: Vec<_> = pages.difference(&rules).collect();
    assert!(missing.is_empty(), "rules without a page in docs/rules: {missing:?}");
    assert!(orphans.is_empty(), "pages of docs/rules without a rule: {orphans:?}");
}

#[test]
fn a_page_opens_with_the_name_severity_and_summary_of_its_rule() {
    let pages = rules::ALL.iter().map(|rule| (rule, folder().join(format!("{}.md", rule.name))));
    for (rule, page) in pages.filter(|(_, page)| page.exists()) {
        let opening = format!("# {}\n\n{}: {}.\n\n", rule.name, word(rule), rule.summary);
        let text = fs::read_to_string(page).unwrap();
        assert!(text.starts_with(&opening), "docs/rules/{}.md must start with:\n{opening}", rule.name);
    }
}

#[test]
fn the_list_of_pages_is_that_of_the_table() {
    let file = folder().join("README.md");
    let text = fs::read_to_string(&file).unwrap();
    let head = text.split("| ").next().unwrap();
    let row = |rule: &&Rule| format!("| [{0}]({0}.md) | {1} | {2} |\n", rule.name, word(rule), rule.summary);
    let rows: String = rules::ALL.iter().map(row).collect();
    let expected = format!("{head}| rule | severity | what is wrong |\n|---|---|---|\n{rows}");
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::write(&file, expected).unwrap();
    } else {
        assert!(text == expected, "docs/rules/README.md is stale: run `make bless`");
    }
}

fn word(rule: &Rule) -> &'static str {
    match rule.severity {
        Severity::Note => "Note",
        Severity::Warning => "Warning",
        Severity::Error => "Error",
    }
}
