//! What a null in values means: Helm, its successors and werf do not agree.
//!
//! What lives here: the profiles, and what `lint` says of nulls about which they disagree. What does not: the laying of values
//! itself (`values`).
//!
//! The one idea: a null takes a default away. Of which layers, and whether the null itself is then there, is the profile.

use crate::diag::rules::AMBIGUOUS_NULL;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;

use super::load::Chart;
use super::tree::{Data, Tree, TreeMap};
use super::values::{ChartValues, ValuesInput, laid_over, merge};

/// Whose rules nulls in values follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// Helm 3.20 and 4.1.
    #[default]
    Helm,
    /// Helm 4 after 4.1: nulls in the defaults of a chart are no values, and take nothing away.
    Helm4,
    /// werf 2 and Nelm 1, as Helm 3 was before: a null above a subchart's table may bring its default back.
    Werf,
    /// A null takes away what all layers below it say, and is no value itself.
    Strict,
}

impl Nulls {
    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Helm, Self::Helm4, Self::Werf, Self::Strict];

    /// Returns the name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Helm4 => "helm4",
            Self::Werf => "werf",
            Self::Strict => "strict",
        }
    }
}

/// Says whether there is a null in a table or below; nulls in lists are items.
pub(super) fn has_nulls(table: &TreeMap) -> bool {
    let is_null = |value: &Tree| match &value.data {
        Data::Null => true,
        Data::Map(below) => has_nulls(below),
        Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::String(_) | Data::List(_) => false,
    };
    table.iter().any(|(_, value)| is_null(value))
}

/// Returns a table without nulls, also below. Depth is bounded by the reader of values.
pub(super) fn without_nulls(table: &TreeMap) -> TreeMap {
    if !has_nulls(table) {
        return table.clone();
    }
    let clean = |value: &Tree| match value.as_map() {
        Some(below) => Tree { data: Data::Map(without_nulls(below)), ..value.clone() },
        None => value.clone(),
    };
    let left = table.iter().filter(|(_, value)| !value.is_null());
    left.map(|(key, value)| (key.clone(), clean(value))).collect()
}

/// Tells of nulls by which a value is there with one profile, and is not, or is another one, with another.
pub fn check_nulls(diagnostics: &mut Diagnostics, chart: &Chart, composed: &ChartValues, input: &ValuesInput<'_>) {
    let mut nulls = Vec::new();
    let mut all = composed.user.clone();
    input.secrets.iter().for_each(|layer| merge(&mut all, layer.clone()));
    find_nulls(&all, &mut Vec::new(), &mut nulls);
    find_nulls_of_chart(&composed.chart, &mut Vec::new(), &mut nulls);
    if nulls.is_empty() {
        return;
    }
    merge(&mut all, input.service.clone());
    let by_profile = Nulls::ALL.map(|profile| laid_over(&mut Diagnostics::new(), chart, &all, profile).map(|(_, v)| v));
    let [Some(helm), Some(helm4), Some(werf), Some(strict)] = by_profile.map(|values| values.map(Tree::from)) else {
        return;
    };
    let mut paths = Vec::new();
    compare([Some(&helm), Some(&helm4), Some(&werf), Some(&strict)], &mut Vec::new(), &mut paths);
    let mut told: Vec<Span> = Vec::new();
    for (path, is_there) in paths {
        let Some((_, span)) = nulls.iter().find(|(null, _)| is_meant(null, &path)) else { continue };
        if told.contains(span) {
            continue;
        }
        told.push(*span);
        let names = |there: bool| {
            let of = Nulls::ALL.into_iter().zip(is_there).filter(|(_, is)| *is == there);
            of.map(|(profile, _)| format!("`{}`", profile.name())).collect::<Vec<_>>().join(", ")
        };
        let message = match names(false) {
            gone if gone.is_empty() => format!("what `{}` is depends on the profile of nulls", path.join(".")),
            gone => format!("`{}` is gone with {gone}, and there with {}", path.join("."), names(true)),
        };
        let d = Diagnostic::at(&AMBIGUOUS_NULL, *span, message);
        diagnostics.push(d.hint("say the value itself, or choose a profile: `--values-nulls`"));
    }
}

type Path = Vec<String>;

fn find_nulls(table: &TreeMap, path: &mut Path, found: &mut Vec<(Path, Span)>) {
    for (key, value) in table {
        path.push(key.to_string());
        match (&value.data, value.span) {
            (Data::Null, Some(span)) => found.push((path.clone(), span)),
            (Data::Map(below), _) => find_nulls(below, path, found),
            _ => {}
        }
        path.pop();
    }
}

fn find_nulls_of_chart(chart: &Chart, path: &mut Path, found: &mut Vec<(Path, Span)>) {
    if let Some(values) = chart.values.as_map() {
        find_nulls(values, path, found);
    }
    for subchart in &chart.subcharts {
        path.push(subchart.name().to_owned());
        find_nulls_of_chart(subchart, path, found);
        path.pop();
    }
}

/// Says whether a null decides about a value: it stands there or above, or is a global that comes from there.
fn is_meant(null: &Path, value: &Path) -> bool {
    let global = value.iter().position(|key| key == "global").filter(|at| *at > 0);
    value.starts_with(null) || global.is_some_and(|at| value.get(at..).is_some_and(|v| v.starts_with(null)))
}

/// Finds the values that are not the same with all profiles, and says where they are there. A null is none.
fn compare(trees: [Option<&Tree>; 4], path: &mut Path, found: &mut Vec<(Path, [bool; 4])>) {
    let trees = trees.map(|tree| tree.filter(|tree| !tree.is_null()));
    let [first, rest @ ..] = trees;
    if rest.iter().all(|tree| *tree == first) {
        return;
    }
    let tables = trees.map(|tree| tree.and_then(Tree::as_map));
    let is_open = trees.iter().zip(&tables).all(|(tree, table)| tree.is_none() || table.is_some());
    if is_open && trees.iter().all(Option::is_some) {
        let keys: std::collections::BTreeSet<&str> =
            tables.iter().flatten().flat_map(|t| t.keys()).map(|k| &**k).collect();
        for key in keys {
            path.push(key.to_owned());
            compare(tables.map(|table| table.and_then(|table| table.get(key))), path, found);
            path.pop();
        }
    } else if !(is_open && tables.iter().flatten().all(|table| table.is_empty())) {
        found.push((path.clone(), trees.map(|tree| tree.is_some())));
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{LoadOptions, load};
    use super::super::values::compose;
    use super::*;
    use crate::source::{MemoryObjects, Sources};

    const PLAIN: &str = "apiVersion: v2\nname: p\nversion: 0.1.0\n";
    const DECLARES: &str = "apiVersion: v2\nname: p\nversion: 0.1.0\ndependencies: [{name: sub, version: 0.1.0}]\n";

    /// A row of the table: number; values of the parent, of the subchart and of the user; what there is with `helm`, `helm4`,
    /// `werf` and `strict`; the same where the parent declares the dependency, if it is not.
    type Row = (&'static str, [&'static str; 3], [&'static str; 4], Option<[&'static str; 4]>);

    const NONE: &str = r#"{"sub":{"global":{}}}"#;
    const BACK: &str = r#"{"sub":{"global":{},"image":{"tag":"v1"}}}"#;
    const NO_TAG: &str = r#"{"sub":{"global":{},"image":{"r":"x"}}}"#;
    const WITH_TAG: &str = r#"{"sub":{"global":{},"image":{"r":"x","tag":"v1"}}}"#;
    const TABLE: &str = r#"{"sub":{"global":{}},"t":{}}"#;

    const ROWS: [Row; 11] = [
        ("n1", ["t: {k: 1}", "", "t: {k: null}"], [TABLE; 4], None),
        (
            "n2",
            ["", "", "x: null\nt: {m: null}"],
            {
                let both = r#"{"sub":{"global":{}},"t":{"m":null},"x":null}"#;
                [both, both, both, TABLE]
            },
            None,
        ),
        (
            "n3",
            ["m: null\nt: {k: null, z: 1}", "", ""],
            {
                let (both, none) =
                    (r#"{"m":null,"sub":{"global":{}},"t":{"k":null,"z":1}}"#, r#"{"sub":{"global":{}},"t":{"z":1}}"#);
                [both, none, both, none]
            },
            None,
        ),
        (
            "n4",
            ["m: null\nt: {k: null}", "", "m: null\nt: {k: null}"],
            [TABLE, r#"{"sub":{"global":{}},"t":{"k":null}}"#, TABLE, TABLE],
            None,
        ),
        ("n5", ["", "image: {tag: v1}", "sub: {image: null}"], [NONE; 4], Some([NONE, NONE, BACK, NONE])),
        ("n6", ["sub: {image: {tag: p}}", "image: {tag: v1}", "sub: {image: null}"], [NONE, NONE, BACK, NONE], None),
        (
            "n7",
            ["", "image: {tag: v1, r: x}", "sub: {image: {tag: null}}"],
            [NO_TAG; 4],
            Some([NO_TAG, NO_TAG, WITH_TAG, NO_TAG]),
        ),
        ("n8", ["sub: {image: null}", "image: {tag: v1}", ""], [NONE, BACK, NONE, NONE], None),
        ("n9", ["sub: {image: null}", "image: {tag: v1}", "sub: {x: 1}"], [r#"{"sub":{"global":{},"x":1}}"#; 4], None),
        ("n10", ["sub: {image: {tag: null}}", "image: {tag: v1, r: x}", ""], [NO_TAG, WITH_TAG, NO_TAG, NO_TAG], None),
        (
            "n11",
            ["global: {a: 1}", "global: {a: null, b: 2}", "global: {b: null}"],
            {
                let (root, helm) = (
                    r#"{"global":{"a":1,"b":null},"sub":{"global":{"a":1}}}"#,
                    r#"{"global":{"a":1},"sub":{"global":{"a":1,"b":2}}}"#,
                );
                [helm, root, root, r#"{"global":{"a":1},"sub":{"global":{"a":1}}}"#]
            },
            None,
        ),
    ];

    fn composed(row: &Row, declares: bool, nulls: Nulls) -> (String, Vec<String>) {
        let [parent, sub, user] = row.1;
        let files = [
            ("p/Chart.yaml", if declares { DECLARES } else { PLAIN }),
            ("p/values.yaml", parent),
            ("p/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n"),
            ("p/charts/sub/values.yaml", sub),
        ];
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let chart =
            load(&mut diagnostics, &sources, &MemoryObjects::files(files), "p", &LoadOptions::default()).unwrap();
        let input = ValuesInput {
            files: vec![("user.yaml".to_owned(), user.as_bytes().into())],
            nulls,
            ..ValuesInput::default()
        };
        let composed = compose(&mut diagnostics, &sources, &chart, &input).unwrap();
        check_nulls(&mut diagnostics, &chart, &composed, &input);
        let told = diagnostics.as_slice().iter().map(|d| {
            let place = sources.place(d.primary.as_ref().unwrap().span).to_string();
            format!("{place}: {}", d.message)
        });
        (composed.values.to_json().to_string(), told.collect())
    }

    /// Vouched for: `helm` by Helm 3.20.0 and 4.1.1; the others follow the sources of Helm (the fix of nulls in defaults) and of
    /// 3p-helm.
    #[test]
    fn s3_every_row_in_each_profile() {
        for row in &ROWS {
            for declares in [false, true] {
                let expected = row.3.filter(|_| declares).unwrap_or(row.2);
                let got = Nulls::ALL.map(|nulls| composed(row, declares, nulls).0);
                assert_eq!(got, expected, "{} {declares}", row.0);
            }
        }
    }

    #[test]
    fn s3_lint_tells_values_about_which_profiles_disagree() {
        let told = |row: usize, declares| composed(&ROWS[row - 1], declares, Nulls::Helm).1;
        for (row, declares) in [(1, true), (2, true), (3, true), (4, true), (5, false), (7, false), (9, true)] {
            assert_eq!(told(row, declares), [""; 0], "{row}: what is null or not there is one to most templates");
        }
        let back = ["user.yaml:1: `sub.image` is gone with `helm`, `helm4`, `strict`, and there with `werf`"];
        assert_eq!(
            (told(5, true), told(6, false)),
            (back.map(str::to_owned).to_vec(), back.map(str::to_owned).to_vec())
        );
        assert_eq!(
            told(8, true),
            ["p/values.yaml:1: `sub.image` is gone with `helm`, `werf`, `strict`, and there with `helm4`"]
        );
        assert_eq!(
            told(10, false),
            ["p/values.yaml:1: `sub.image.tag` is gone with `helm`, `werf`, `strict`, and there with `helm4`"]
        );
        assert_eq!(
            told(11, false),
            ["user.yaml:1: `sub.global.b` is gone with `helm4`, `werf`, `strict`, and there with `helm`"]
        );
    }

    #[test]
    fn strict_a_null_takes_globals_and_whole_tables_away() {
        let strict = |rows: [&'static str; 3]| composed(&("", rows, [""; 4], None), true, Nulls::Strict).0;
        let globals = ["global: {t: {x: 1}}", "global: {t: {y: 2}, k: 1}", "global: {t: null}"];
        assert_eq!(strict(globals), r#"{"global":{},"sub":{"global":{"k":1}}}"#);
        assert_eq!(strict(["sub: {a: 1}", "b: 2", "sub: null"]), r#"{"sub":{"b":2,"global":{}}}"#);
    }
}
