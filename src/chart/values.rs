//! Values: laid over each other layer by layer, each knowing where it was written.
//!
//! What lives here: the merge of user values, their union with the defaults of a chart tree
//! ([`coalesce`]), and the order of all layers ([`compose`]). What does not: `--set` syntax (`strvals`).
//!
//! The one idea: laying values over each other moves whole nodes with their places, so after the last layer
//! every value still says which file and line won.

use std::sync::Arc;

use crate::diag::rules::{LIST_ITEM_LOST, SECRET_OVERRIDES_VALUE, VALUES_CONFLICT, VALUES_FILE};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{Sources, Span};

use super::dependencies;
use super::load::{Chart, values_of_text};
use super::nulls::{Nulls, has_nulls, without_nulls};
use super::schema;
use super::strvals::{self, ReadFile, SetKind};
use super::tree::{Data, Tree, TreeMap};

/// The values a user gives, in the order of the command line.
pub struct ValuesInput<'a> {
    /// `-f` files: name and content.
    pub files: Vec<(String, Arc<[u8]>)>,
    /// `--set` and its family.
    pub sets: Vec<(SetKind, String)>,
    /// Decrypted secret values, lowest first; over all that the user gives.
    pub secrets: Vec<TreeMap>,
    /// `werf` and `global`: nobody overrides them.
    pub service: TreeMap,
    /// Reads what `--set-file` names.
    pub read_file: ReadFile<'a>,
    /// Whether values.schema.json is looked at.
    pub check_schema: bool,
    /// What a null means.
    pub nulls: Nulls,
}

impl Default for ValuesInput<'_> {
    fn default() -> Self {
        let read_file: ReadFile<'static> = &|path| Err(format!("`{path}` cannot be read here"));
        Self {
            files: Vec::new(),
            sets: Vec::new(),
            secrets: Vec::new(),
            service: TreeMap::new(),
            read_file,
            check_schema: true,
            nulls: Nulls::default(),
        }
    }
}

/// What lays values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A chart: its own defaults, those of a subchart, or what it imports from one.
    Chart,
    /// A file of `-f`, by its name.
    File(String),
    /// An argument of `--set` or its family.
    Set(SetKind, String),
    /// Secret values.
    Secret,
    /// The project: `werf` and `global`.
    Service,
}

/// A chart with its values: dependencies are decided, every layer is laid.
#[derive(Clone, Debug)]
pub struct ChartValues {
    /// The chart with the subcharts that are switched on, renamed by their aliases.
    pub chart: Chart,
    /// The values of the root chart; those of a subchart are the table of its name.
    pub values: Tree,
    /// What the user gave, without service values.
    pub user: TreeMap,
}

impl ChartValues {
    /// Returns where the value at a path (`web.image.tag`) was written.
    pub fn values_origin(&self, path: &str) -> Option<Span> {
        self.values.get(path.split('.'))?.span
    }
}

/// Lays all values and decides which subcharts are on; faults go to `diagnostics`.
///
/// Order, lowest first: chart defaults, `-f` files, `--set-json`, `--set`, `--set-string`, `--set-file`,
/// `--set-literal`, secrets, service values. Source: Helm 3.20.
pub fn compose(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    chart: &Chart,
    input: &ValuesInput<'_>,
) -> Option<ChartValues> {
    compose_telling(diagnostics, sources, chart, input, &mut |_, _| {})
}

/// As [`compose`]; after each layer over the defaults of the chart, `laid` is told what the values are then.
pub(super) fn compose_telling(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    chart: &Chart,
    input: &ValuesInput<'_>,
    laid: &mut dyn FnMut(Layer, &TreeMap),
) -> Option<ChartValues> {
    let before = diagnostics.as_slice().iter().filter(|d| d.severity == crate::diag::Severity::Error).count();
    let mut user = TreeMap::new();
    for (name, bytes) in &input.files {
        merge(&mut user, values_of_text(diagnostics, sources, name, bytes, chart.helm).unwrap_or_default());
        laid(Layer::File(name.clone()), &user);
    }
    for kind in [SetKind::Json, SetKind::Typed, SetKind::String, SetKind::File, SetKind::Literal] {
        for (_, argument) in input.sets.iter().filter(|(k, _)| *k == kind) {
            strvals::apply(diagnostics, sources, kind, argument, &mut user, input.read_file);
            laid(Layer::Set(kind, argument.clone()), &user);
        }
    }
    let (mut secrets, mut all) = (TreeMap::new(), user.clone());
    for layer in &input.secrets {
        merge(&mut secrets, layer.clone());
        all.clone_from(&user);
        merge(&mut all, secrets.clone());
        laid(Layer::Secret, &all);
    }
    report_shadowed(diagnostics, sources, &user, &secrets, "");
    merge(&mut all, input.service.clone());
    laid(Layer::Service, &all);
    let (chart, values) = laid_over(diagnostics, chart, &all, input.nulls)?;
    report_lost(diagnostics, &chart, &user, "");
    if input.check_schema {
        schema::check(diagnostics, &chart, &values, &input.service);
    }
    let after = diagnostics.as_slice().iter().filter(|d| d.severity == crate::diag::Severity::Error).count();
    (before == after).then(|| ChartValues { chart, values: values.into(), user })
}

/// Decides which subcharts are on, and lays values over the defaults of all.
pub(super) fn laid_over(
    diagnostics: &mut Diagnostics,
    chart: &Chart,
    all: &TreeMap,
    nulls: Nulls,
) -> Option<(Chart, TreeMap)> {
    let chart = dependencies::resolve(diagnostics, chart, all, nulls)?;
    let mut values = all.clone();
    let laid = coalesce(&mut Warnings::On(diagnostics), &chart, &mut values, Some(nulls));
    laid.map_err(|e| diagnostics.push(*e)).ok()?;
    Some((chart, if nulls == Nulls::Strict { without_nulls(&values) } else { values }))
}

/// Warns of items of lists in a chart that the user replaces with nothing, as an index of `--set` does.
fn report_lost(diagnostics: &mut Diagnostics, chart: &Chart, user: &TreeMap, above: &str) {
    if let Some(defaults) = chart.values.as_map() {
        lost_below(diagnostics, defaults, user, above);
    }
    for subchart in &chart.subcharts {
        if let Some(below) = user.get(subchart.name()).and_then(Tree::as_map) {
            report_lost(diagnostics, subchart, below, &format!("{above}{}.", subchart.name()));
        }
    }
}

/// Depth is bounded by the readers of both.
fn lost_below(diagnostics: &mut Diagnostics, defaults: &TreeMap, user: &TreeMap, above: &str) {
    for (key, given) in user {
        let Some(default) = defaults.get(key) else { continue };
        match (&given.data, &default.data) {
            (Data::Map(given), Data::Map(default)) => {
                lost_below(diagnostics, default, given, &format!("{above}{key}."));
            }
            (Data::List(given_items), Data::List(items)) => {
                let pairs = given_items.iter().zip(items.iter());
                let lost = pairs.enumerate().find(|(_, (given, item))| given.is_null() && !item.is_null());
                let Some((at, (_, item))) = lost else { continue };
                let message = format!("`{above}{key}[{at}]` of the chart is lost: the list that is given replaces it");
                let d = match item.span.or(default.span) {
                    Some(span) => Diagnostic::at(&LIST_ITEM_LOST, span, message),
                    None => Diagnostic::in_file(&LIST_ITEM_LOST, "values", message),
                };
                diagnostics.push(d.hint("give the whole list"));
            }
            _ => {}
        }
    }
}

/// Warns of values that the user gives and that secret values replace. Depth is bounded by the readers of both.
fn report_shadowed(diagnostics: &mut Diagnostics, sources: &Sources, user: &TreeMap, secrets: &TreeMap, path: &str) {
    for (key, secret) in secrets {
        let Some(value) = user.get(key) else { continue };
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        if let (Data::Map(below), Data::Map(secrets)) = (&value.data, &secret.data) {
            report_shadowed(diagnostics, sources, below, secrets, &path);
            continue;
        }
        let Some(span) = secret.key.or(secret.span) else { continue };
        // Where the user gives it is only named: it may be a secret too.
        let from = value.span.map_or_else(|| "`--set`".to_owned(), |span| sources.locate(span).0);
        let message = format!("`{path}` of {from} is not used: the secret value wins");
        let d = Diagnostic::at(&SECRET_OVERRIDES_VALUE, span, message);
        diagnostics.push(d.hint("give it in one of the two places"));
    }
}

/// Lays `over` on `base`: tables merge, everything else replaces, null included. Source: Helm's merge of `-f` files.
pub fn merge(base: &mut TreeMap, over: TreeMap) {
    let mut missing = Vec::new();
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Tree { data: Data::Map(below), .. }), Tree { data: Data::Map(above), .. }) => merge(below, above),
            (Some(old), value) => *old = value,
            (None, value) => missing.push((key, value)),
        }
    }
    base.extend(missing);
}

/// Whether conflicts of tables and scalars are told.
pub(super) enum Warnings<'a> {
    On(&'a mut Diagnostics),
    Off,
}

impl Warnings<'_> {
    fn add(&mut self, winner: &Tree, loser: &Tree, message: String) {
        let Self::On(diagnostics) = self else { return };
        let mut diagnostic = match (winner.span, loser.span) {
            (Some(span), _) | (None, Some(span)) => Diagnostic::at(&VALUES_CONFLICT, span, message),
            (None, None) => Diagnostic::in_file(&VALUES_CONFLICT, "values", message),
        };
        if let (Some(_), Some(span)) = (winner.span, loser.span) {
            diagnostic = diagnostic.also(span, "this value is not used");
        }
        diagnostics.push(diagnostic);
    }
}

/// Lays `values` over the defaults of a chart and of its subcharts. Without `nulls`, and with `strict`, a null stays, so that
/// a later call still sees it; else it takes the default away. Source: Helm 3.20, also what looks odd; see [`Nulls`].
pub(super) fn coalesce(
    warnings: &mut Warnings<'_>,
    chart: &Chart,
    values: &mut TreeMap,
    nulls: Option<Nulls>,
) -> Result<(), Box<Diagnostic>> {
    over_defaults(warnings, chart, values, nulls);
    for subchart in &chart.subcharts {
        let global = values.get("global").cloned();
        let table = values.get_or_insert_with(subchart.name(), Tree::empty_map);
        let span = table.span;
        if table.is_null() && nulls == Some(Nulls::Strict) {
            *table = Tree::empty_map();
        }
        let Some(below) = table.as_map_mut() else {
            let message = format!("the values of the subchart `{}` must be a table", subchart.name());
            return Err(Box::new(match span {
                Some(span) => Diagnostic::at(&VALUES_FILE, span, message),
                None => Diagnostic::in_file(&VALUES_FILE, &chart.place, message),
            }));
        };
        pass_globals(warnings, below, global.as_ref(), nulls);
        coalesce(warnings, subchart, below, nulls)?;
    }
    Ok(())
}

/// Says whether nulls stay for a later call.
fn keeps(nulls: Option<Nulls>) -> bool {
    matches!(nulls, None | Some(Nulls::Strict))
}

pub(super) fn over_defaults(warnings: &mut Warnings<'_>, chart: &Chart, values: &mut TreeMap, nulls: Option<Nulls>) {
    let Some(defaults) = chart.values.as_map() else { return };
    let is_clean = nulls == Some(Nulls::Helm4);
    if values.is_empty() {
        *values = if is_clean { without_nulls(defaults) } else { defaults.clone() };
        return;
    }
    let mut missing = Vec::new();
    for (key, default) in defaults {
        match values.get_mut(key) {
            None if is_clean && default.is_null() => {}
            None => match default.as_map().filter(|_| is_clean) {
                Some(table) => {
                    missing.push((key.clone(), Tree { data: without_nulls(table).into(), ..default.clone() }));
                }
                None => missing.push((key.clone(), default.clone())),
            },
            Some(value) if value.is_null() => {
                if !keeps(nulls) {
                    values.remove(key);
                }
            }
            Some(value) => match (&mut value.data, &default.data) {
                (Data::Map(over), Data::Map(below)) => {
                    // What the subchart is to see stays for its own turn.
                    let is_passed = || chart.subcharts.iter().any(|c| *c.name() == **key);
                    let nulls = nulls.filter(|nulls| matches!(nulls, Nulls::Werf | Nulls::Strict) || !is_passed());
                    if nulls == Some(Nulls::Helm4) {
                        lay_over(warnings, over, &without_nulls(below), key, nulls);
                    } else {
                        lay_over(warnings, over, below, key, nulls);
                    }
                }
                (Data::Map(_), default_data) if *default_data != Data::Null => {
                    let message = format!("`{key}` is a table here and {} in the chart", default.kind());
                    warnings.add(value, default, message);
                }
                _ => {}
            },
        }
    }
    values.extend(missing);
}

/// Fills `over` with what only `below` has. See [`coalesce`] for nulls.
pub(super) fn lay_over(
    warnings: &mut Warnings<'_>,
    over: &mut TreeMap,
    below: &TreeMap,
    path: &str,
    nulls: Option<Nulls>,
) {
    if over.same(below) && (keeps(nulls) || !has_nulls(over)) {
        return;
    }
    let falls = |key: &str| match nulls {
        None | Some(Nulls::Strict) => false,
        Some(Nulls::Helm) => true,
        Some(Nulls::Helm4) => below.get(key).is_some_and(|default| !default.is_null()),
        Some(Nulls::Werf) => below.contains_key(key),
    };
    let fallen = over.iter().filter(|(key, value)| value.is_null() && falls(key)).map(|(key, _)| key.clone());
    let fallen: Vec<Arc<str>> = fallen.collect();
    let mut missing = Vec::new();
    for (key, default) in below {
        let Some(value) = over.get_mut(key) else {
            missing.push((key.clone(), default.clone()));
            continue;
        };
        match (&mut value.data, &default.data) {
            (Data::Map(over), Data::Map(below)) => {
                lay_over(warnings, over, below, &format!("{path}.{key}"), nulls);
            }
            (Data::Null, _) | (_, Data::Null) => {}
            (Data::Map(_), _) => {
                let message = format!("`{path}.{key}` is a table here and {} below", default.kind());
                warnings.add(value, default, message);
            }
            (_, Data::Map(_)) => {
                let message = format!("`{path}.{key}` is {} here and a table below", value.kind());
                warnings.add(value, default, message);
            }
            _ => {}
        }
    }
    over.extend(missing);
    for key in fallen {
        over.remove(&key);
    }
}

/// Copies the parent's globals into a subchart's table; the parent wins.
fn pass_globals(warnings: &mut Warnings<'_>, table: &mut TreeMap, global: Option<&Tree>, nulls: Option<Nulls>) {
    let own = table.get_or_insert_with("global", Tree::empty_map);
    let empty = TreeMap::new();
    let from = match global {
        None => &empty,
        Some(Tree { data: Data::Map(map), .. }) => map,
        Some(_) => return,
    };
    let Some(own) = own.as_map_mut() else { return };
    let mut missing = Vec::new();
    for (key, value) in from {
        match (own.get_mut(key), &value.data) {
            (None, _) => missing.push((key.clone(), value.clone())),
            (Some(Tree { data: Data::Map(below), .. }), Data::Map(above)) => {
                let mut merged = above.clone();
                let below = std::mem::take(below);
                lay_over(warnings, &mut merged, &below, key, None);
                own.insert(key.clone(), Tree { data: Data::Map(merged), span: value.span, key: value.key });
            }
            (Some(own), Data::Null) if nulls == Some(Nulls::Strict) => *own = value.clone(),
            (Some(_), Data::Map(_)) | (Some(Tree { data: Data::Map(_), .. }), _) => {}
            (Some(own), _) => *own = value.clone(),
        }
    }
    own.extend(missing);
}

#[cfg(test)]
mod tests {
    use super::super::load::{LoadOptions, load};
    use super::*;
    use crate::source::MemoryObjects;

    fn compose_all(
        files: &[(&'static str, &'static str)],
        user: &str,
        sets: &[&str],
    ) -> (Option<serde_json::Value>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files(files.iter().copied());
        let chart = load(&mut diagnostics, &sources, &files, "p", &LoadOptions::default()).unwrap();
        let input = ValuesInput {
            files: vec![("user.yaml".to_owned(), user.as_bytes().into())],
            sets: sets.iter().map(|s| (SetKind::Typed, (*s).to_owned())).collect(),
            ..ValuesInput::default()
        };
        let values = compose(&mut diagnostics, &sources, &chart, &input);
        let messages = diagnostics.as_slice().iter().map(|d| d.message.clone()).collect();
        (values.map(|v| v.values.to_json()), messages)
    }

    fn with_sub(parent: &'static str, sub: &'static str, user: &str, declared: bool) -> String {
        let plain = "apiVersion: v2\nname: p\nversion: 0.1.0\n";
        let with = "apiVersion: v2\nname: p\nversion: 0.1.0\ndependencies: [{name: sub, version: 0.1.0}]\n";
        let files = [
            ("p/Chart.yaml", if declared { with } else { plain }),
            ("p/values.yaml", parent),
            ("p/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n"),
            ("p/charts/sub/values.yaml", sub),
        ];
        compose_all(&files, user, &[]).0.unwrap().to_string()
    }

    /// Vouched for by Helm 3.20.0.
    #[test]
    fn nulls_and_tables_meet_as_in_helm() {
        let s = r#"{"sub":{"global":{}}}"#;
        let cases = [
            ("t: {k: 1}", "", "t: {k: null}", r#"{"sub":{"global":{}},"t":{}}"#),
            ("", "", "x: null\nt: {m: null}", r#"{"sub":{"global":{}},"t":{"m":null},"x":null}"#),
            ("m: null\nt: {k: null, z: 1}", "", "", r#"{"m":null,"sub":{"global":{}},"t":{"k":null,"z":1}}"#),
            ("m: null\nt: {k: null}", "", "m: null\nt: {k: null}", r#"{"sub":{"global":{}},"t":{}}"#),
            ("", "image: {tag: v1}", "sub: {image: null}", s),
            ("sub: {image: {tag: p}}", "image: {tag: v1}", "sub: {image: null}", s),
            ("", "image: {tag: v1, r: x}", "sub: {image: {tag: null}}", r#"{"sub":{"global":{},"image":{"r":"x"}}}"#),
            ("sub: {image: null}", "image: {tag: v1}", "", s),
            ("sub: {image: null}", "image: {tag: v1}", "sub: {x: 1}", r#"{"sub":{"global":{},"x":1}}"#),
            ("sub: {image: {tag: null}}", "image: {tag: v1, r: x}", "", r#"{"sub":{"global":{},"image":{"r":"x"}}}"#),
            (
                "global: {a: 1}",
                "global: {a: null, b: 2}",
                "global: {b: null}",
                r#"{"global":{"a":1},"sub":{"global":{"a":1,"b":2}}}"#,
            ),
            ("a: {b: 1}", "", "a: 5", r#"{"a":5,"sub":{"global":{}}}"#),
            ("a: 5", "", "a: {b: 1, c: null}", r#"{"a":{"b":1,"c":null},"sub":{"global":{}}}"#),
            ("sub: {a: {b: 1}, m: 5}", "a: 5\nm: {x: 1}", "sub: {a: 7}", r#"{"sub":{"a":7,"global":{},"m":5}}"#),
        ];
        for (parent, sub, user, expected) in cases {
            for declared in [false, true] {
                let got = with_sub(parent, sub, user, declared);
                assert_eq!(got, expected, "{parent} / {sub} / {user} / {declared}");
            }
        }
        let globals = |declared| {
            let sub = "global: {g: {x: 2, q: 3}, h: {z: 1}}\nq: 1";
            with_sub("global: {g: {x: 1}}", sub, "global: {h: 5}\nsub: {global: {g: {w: 1}}}", declared)
        };
        let head = r#"{"global":{"g":{"x":1},"h":5},"sub":{"global":{"g":{"q":3,"w":1,"x":1},"h":"#;
        assert_eq!(globals(false), format!(r#"{head}5}},"q":1}}}}"#));
        assert_eq!(globals(true), format!(r#"{head}{{"z":1}}}},"q":1}}}}"#));
    }

    #[test]
    fn a_value_says_which_line_won() {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files([
            ("p/Chart.yaml", "apiVersion: v2\nname: p\nversion: 0.1.0\n"),
            ("p/values.yaml", "web:\n  tag: v1\n  port: 80\n"),
        ]);
        let chart = load(&mut diagnostics, &sources, &files, "p", &LoadOptions::default()).unwrap();
        let input = ValuesInput {
            files: vec![("user.yaml".to_owned(), b"web:\n  tag: v2\n"[..].into())],
            sets: vec![(SetKind::Typed, "web.x=1".to_owned())],
            ..ValuesInput::default()
        };
        let values = compose(&mut diagnostics, &sources, &chart, &input).unwrap();
        let place = |path| {
            let (file, at) = sources.locate(values.values_origin(path).unwrap());
            format!("{file}:{}:{}", at.line, at.column)
        };
        assert_eq!(place("web.tag"), "user.yaml:2:8");
        assert_eq!(place("web.port"), "p/values.yaml:3:9");
        assert_eq!(place("web.x"), "--set:1:7");
        assert_eq!(values.values_origin("web.nope"), None);
    }

    #[test]
    fn deep_values_do_not_end_the_stack() {
        let nested = |n: usize| -> &'static str {
            Box::leak(format!("{}1{}", "{a: ".repeat(n), "}".repeat(n)).into_boxed_str())
        };
        let meta = ("p/Chart.yaml", "apiVersion: v2\nname: p\nversion: 0.1.0\n");
        let (values, _) = compose_all(&[meta, ("p/values.yaml", nested(240))], nested(240), &[]);
        assert!(values.is_some());
        let (_, messages) = compose_all(&[meta, ("p/values.yaml", nested(990))], "", &[]);
        assert_eq!(messages, ["values nest deeper than 250 levels"]);
    }

    #[test]
    fn a_table_over_a_scalar_is_told() {
        let files =
            [("p/Chart.yaml", "apiVersion: v2\nname: p\nversion: 0.1.0\n"), ("p/values.yaml", "a: 5\nb: {c: 1}")];
        let (values, messages) = compose_all(&files, "a: {b: 1}\nb: {c: {d: 1}}", &["x[1]=1"]);
        assert_eq!(values.unwrap().to_string(), r#"{"a":{"b":1},"b":{"c":{"d":1}},"x":[null,1]}"#);
        assert_eq!(
            messages,
            ["`a` is a table here and a number in the chart", "`b.c` is a table here and a number below"]
        );
    }
}
