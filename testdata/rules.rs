//! Every rule of the table has its page in the reference, and every page its rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stagewright::analysis::MENDED;
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

/// What every page ends with.
fn ending(rule: &Rule) -> String {
    let name = rule.name;
    let mends = MENDED.iter().find(|(mended, _)| mended.name == name);
    let mends = mends.map(|(_, what)| format!("`stagewright lint --fix` {what}.\n\n")).unwrap_or_default();
    let always = match rule.severity {
        Severity::Error => " What keeps the project from being planned is told whatever the settings are.",
        Severity::Note | Severity::Warning => "",
    };
    format!(
        "{MARK}{mends}To leave a finding out, give the reason in a comment on its line or the line above: \
         `# stagewright: ignore[{name}] REASON`.\nFor the whole project: `rules: {{{name}: off}}` in `stagewright-lint.yaml`; \
         see [lint](../reference/lint.md).{always}\n"
    )
}

const MARK: &str = "\n---\n\n";

#[test]
fn every_page_ends_with_how_to_leave_findings_out() {
    let mut stale = Vec::new();
    for rule in rules::ALL {
        let file = folder().join(format!("{}.md", rule.name));
        let text = fs::read_to_string(&file).unwrap();
        let body = text.split(MARK).next().unwrap();
        let expected = format!("{}\n{}", body.trim_end(), ending(rule));
        if std::env::var("BLESS").is_ok_and(|v| v == "1") {
            fs::write(&file, expected).unwrap();
        } else if text != expected {
            stale.push(rule.name);
        }
    }
    assert!(stale.is_empty(), "stale pages, run `make bless`: {stale:?}");
}

#[test]
fn the_reference_of_lint_is_that_of_the_tables() {
    let row = |rule: &&Rule| format!("| [{0}](../rules/{0}.md) | {1} | {2} |\n", rule.name, word(rule), rule.summary);
    let rows: String = rules::ALL.iter().map(row).collect();
    let mended: String =
        MENDED.iter().map(|(rule, what)| format!("| [{0}](../rules/{0}.md) | {what} |\n", rule.name)).collect();
    let expected = format!(
        "{LINT}\n## What `--fix` mends\n\n\
         Only what cannot change an image or a release for the worse; each file is written once, when nothing is left to mend.\n\n\
         | rule | what it does |\n|---|---|\n{mended}\n\
         ## Rules\n\n| rule | severity | what is wrong |\n|---|---|---|\n{rows}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/lint.md");
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::write(&file, expected).unwrap();
    } else {
        assert!(fs::read_to_string(&file).unwrap() == expected, "docs/reference/lint.md is stale: run `make bless`");
    }
}

const LINT: &str = "# lint

`stagewright lint` tells every fault that can be told without a cluster. This page is written from the tables of rules and fixes;
`make bless` writes it anew.

## Settings: `stagewright-lint.yaml`

Beside werf.yaml, committed; its JSON Schema is [schemas/stagewright-lint.schema.json](schemas/stagewright-lint.schema.json).

| key | takes | what it does |
|---|---|---|
| `rules` | a mapping of rules to `off`, `note`, `warning` or `error` | Sets severities. |
| `ignore` | a list of `path` and `rule` | Leaves out findings in files that match the glob `path`: of one rule, or of all without `rule`. |

```yaml
rules:
  untagged-base: error
  no-resources: off
ignore:
- path: .helm/charts/**
- path: \"legacy/*.yaml\"
  rule: value-not-read
```

`--rule RULE=SEVERITY` on the command line wins over the file. Errors that keep a project from being planned stay errors, whatever is set.

## Severities

| severity | what it means | exit code |
|---|---|---|
| error | it cannot work, or the API server refuses it | 1 |
| warning | it works and does harm | 0 |
| note | it may be meant | 0 |

## Comments

`stagewright: ignore[RULE, RULE] REASON` in any comment (`#`, `//`, `/* */`, `{{/* */}}`, `--`) leaves findings of its line and the
line below out; `stagewright: ignore-file[RULE] REASON` those of the file. A comment without a reason or without use is a note:
[unused-suppression](../rules/unused-suppression.md).
";

fn word(rule: &Rule) -> &'static str {
    match rule.severity {
        Severity::Note => "Note",
        Severity::Warning => "Warning",
        Severity::Error => "Error",
    }
}
