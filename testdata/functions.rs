//! The functions of templates as data: `grammar/functions/helm.toml` is written from the table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use stagewright::eval::{Function, FunctionSet};

/// Writes one entry.
fn entry(function: &Function) -> String {
    let mut params: Vec<String> = function.params.iter().map(|p| format!("{:?}", p.type_name())).collect();
    if let Some(rest) = function.rest {
        params.push(format!("{:?}", format!("...{}", rest.type_name())));
    }
    let mut out = format!("[{}]\n", function.name);
    let _ = writeln!(out, "family = {:?}", format!("{:?}", function.family).to_lowercase());
    let _ = writeln!(out, "parameters = [{}]", params.join(", "));
    let _ = writeln!(out, "doc = {:?}", function.doc);
    out
}

#[test]
fn the_functions_of_charts_are_those_of_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/functions/helm.toml");
    let head =
        "# The functions of Helm charts. Written from the table in src/eval/functions: `make bless`.\n".to_owned();
    let set = FunctionSet::helm();
    let entries: Vec<String> = set.iter().map(entry).collect();
    let expected = format!("{head}\n{}", entries.join("\n"));
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(&file, expected).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "grammar/functions/helm.toml is stale: run `make bless`");
}

#[test]
fn every_function_has_a_sentence_and_one_meaning() {
    let tables = stagewright::eval::functions::TABLES.iter().copied().flatten();
    let mut names = BTreeSet::new();
    for function in tables {
        assert!(names.insert(function.name), "{} is in two tables", function.name);
        assert!(function.doc.ends_with('.') && !function.doc.is_empty(), "{} has no sentence", function.name);
    }
}
