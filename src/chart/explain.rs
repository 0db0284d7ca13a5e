//! Where a value comes from: every layer that sets it, and which of them wins.
//!
//! What lives here: [`explain_values`] over the layers that `values` lays. What does not: what is shown of them (`pipeline`,
//! `report`).
//!
//! The one idea: nothing of the merge is described twice. A layer sets a value where the value is another one after it than
//! before, and it wins where the value that templates see is that very one, place included.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diag::{Diagnostics, did_you_mean};
use crate::source::{FileId, Sources};

use super::load::Chart;
use super::tree::{Data, Tree, TreeMap};
use super::values::{ChartValues, Layer, ValuesInput, compose_telling};

/// How many keys are listed of a table that lacks one.
const LISTED: usize = 10;

/// A value, and where it comes from.
#[derive(Clone, Debug)]
pub struct ExplainedValue {
    /// Its path, `web.image.tag`; items of lists by their index.
    pub path: String,
    /// What templates see; `None` where null takes the value away.
    pub value: Option<Tree>,
    /// The layers that set it, the highest first.
    pub layers: Vec<LaidValue>,
}

/// A value in one layer.
#[derive(Clone, Debug)]
pub struct LaidValue {
    /// The layer.
    pub layer: Layer,
    /// Its value there, and the place.
    pub value: Tree,
    /// Whether it stands in a file of secret values.
    pub is_secret: bool,
    /// Whether it is the one that templates see.
    pub wins: bool,
    /// The path that the layer sets, where it replaces the table around the value.
    pub around: Option<String>,
}

/// A path that no layer sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSet {
    /// The path.
    pub path: String,
    /// How far it leads.
    pub message: String,
    /// A path that may be meant.
    pub near: Option<String>,
}

/// Tells where the values at some paths come from, those of a table one by one; faults go to `diagnostics`.
///
/// `plain` is the chart before its secret values were opened, `secret` are the texts that those were read from.
pub fn explain_values(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (chart, plain): (&Chart, &Chart),
    secret: &BTreeSet<FileId>,
    input: &ValuesInput<'_>,
    paths: &[String],
) -> Option<Vec<Result<Vec<ExplainedValue>, NotSet>>> {
    let mut laid = Vec::new();
    let mut note = |layer, values: &TreeMap| laid.push((layer, values.clone()));
    let values = compose_telling(diagnostics, sources, chart, input, &mut note)?;
    let explaining = Explaining { laid, values, plain, secret };
    Some(paths.iter().map(|path| explaining.of(&steps(path))).collect())
}

/// Splits `a.b[0].c\.d` into its steps; `.Values.` before it means nothing.
fn steps(path: &str) -> Vec<String> {
    let path = path.strip_prefix(".Values").filter(|rest| rest.is_empty() || rest.starts_with('.')).unwrap_or(path);
    let mut steps = Vec::new();
    let mut step = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => step.extend(chars.next()),
            '.' | '[' => steps.push(std::mem::take(&mut step)),
            ']' => {}
            c => step.push(c),
        }
    }
    steps.push(step);
    steps.retain(|step| !step.is_empty());
    steps
}

/// Writes steps so that they can be read again.
fn shown(steps: &[String]) -> String {
    let mut path = String::new();
    for step in steps {
        if !path.is_empty() {
            path.push('.');
        }
        for c in step.chars() {
            if matches!(c, '.' | '[' | ']' | '\\') {
                path.push('\\');
            }
            path.push(c);
        }
    }
    path
}

fn find<'t>(table: &'t TreeMap, steps: &[String]) -> Option<&'t Tree> {
    let (first, rest) = steps.split_first()?;
    table.get(first)?.get(rest.iter().map(String::as_str))
}

/// Says whether two are the same value from the same place.
fn same(one: &Tree, other: &Tree) -> bool {
    let all = |one: &[Tree], other: &[Tree]| one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b));
    one.span == other.span
        && match (&one.data, &other.data) {
            (Data::Map(one), Data::Map(other)) => {
                let pairs = || one.iter().zip(other);
                one.same(other) || one.len() == other.len() && pairs().all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
            }
            (Data::List(one), Data::List(other)) => Arc::ptr_eq(one, other) || all(one, other),
            (one, other) => one == other,
        }
}

struct Explaining<'a> {
    /// What the values were after each layer over the defaults.
    laid: Vec<(Layer, TreeMap)>,
    values: ChartValues,
    plain: &'a Chart,
    secret: &'a BTreeSet<FileId>,
}

impl Explaining<'_> {
    fn of(&self, steps: &[String]) -> Result<Vec<ExplainedValue>, NotSet> {
        let value = self.values.values.get(steps.iter().map(String::as_str));
        if let Some(table) = value.and_then(Tree::as_map).filter(|table| !table.is_empty()) {
            let mut found = Vec::new();
            self.leaves(table, &mut steps.to_vec(), &mut found);
            return Ok(found);
        }
        let one = self.explained(steps);
        if value.is_none() && one.layers.is_empty() { Err(self.not_set(steps)) } else { Ok(vec![one]) }
    }

    /// Explains what is in a table, but not once more the globals that each subchart is given. Depth is bounded by the
    /// reader of values.
    fn leaves(&self, table: &TreeMap, steps: &mut Vec<String>, found: &mut Vec<ExplainedValue>) {
        let is_of_subchart = !steps.is_empty() && self.leads_to_subchart(steps);
        for (key, value) in table {
            if is_of_subchart && **key == *"global" {
                continue;
            }
            steps.push(key.to_string());
            match value.as_map().filter(|below| !below.is_empty()) {
                Some(below) => self.leaves(below, steps, found),
                None => found.push(self.explained(steps)),
            }
            steps.pop();
        }
    }

    fn leads_to_subchart(&self, steps: &[String]) -> bool {
        let mut chart = Some(&self.values.chart);
        for step in steps {
            chart = chart.and_then(|chart| chart.subcharts.iter().find(|sub| sub.name() == step));
        }
        chart.is_some()
    }

    fn explained(&self, steps: &[String]) -> ExplainedValue {
        let mut layers: Vec<LaidValue> = Vec::new();
        for path in self.heights(steps) {
            self.laid_at(&path, &mut layers);
            self.defaults_at(&self.values.chart, &path, &mut layers);
        }
        let value = self.values.values.get(steps.iter().map(String::as_str)).cloned();
        let winner = match &value {
            Some(value) => layers.iter().position(|laid| same(&laid.value, value)),
            // Null took a default away.
            None => Some(0).filter(|_| layers.first().is_some_and(|first| first.value.is_null())),
        };
        if let Some(laid) = winner.and_then(|at| layers.get_mut(at)) {
            laid.wins = true;
        } else if let Some(laid) = value.is_none().then(|| self.around(steps)).flatten().filter(|_| !layers.is_empty())
        {
            layers.insert(0, laid);
        }
        ExplainedValue { path: shown(steps), value, layers }
    }

    /// Returns the layer that replaces the table around a value. Bounded: each call is for a shorter path.
    fn around(&self, steps: &[String]) -> Option<LaidValue> {
        let (_, above) = steps.split_last().filter(|(_, above)| !above.is_empty())?;
        let one = self.explained(above);
        let around = shown(above);
        let winner = one.layers.into_iter().find(|laid| laid.wins)?;
        Some(LaidValue { around: Some(winner.around.clone().unwrap_or(around)), ..winner })
    }

    /// Returns the paths that a value is set at, the highest first: the globals of a subchart are those of the charts above
    /// it too.
    fn heights(&self, steps: &[String]) -> Vec<Vec<String>> {
        let global = steps.iter().position(|step| step == "global").filter(|at| *at > 0);
        let above = global.filter(|at| self.leads_to_subchart(steps.get(..*at).unwrap_or_default()));
        let with = |level: usize| {
            let (head, tail) = (steps.get(..level), steps.get(above.unwrap_or_default()..));
            [head.unwrap_or_default(), tail.unwrap_or_default()].concat()
        };
        let mut paths: Vec<Vec<String>> = (0..above.unwrap_or_default()).map(with).collect();
        paths.push(steps.to_vec());
        paths
    }

    /// Adds the layers over the defaults.
    fn laid_at(&self, steps: &[String], layers: &mut Vec<LaidValue>) {
        let (mut found, mut before): (Vec<LaidValue>, Option<&Tree>) = (Vec::new(), None);
        for (layer, values) in &self.laid {
            let now = find(values, steps);
            if let Some(value) = now.filter(|now| !before.is_some_and(|before| same(before, now))) {
                found.push(self.laid(layer.clone(), value));
            }
            before = now;
        }
        layers.extend(found.into_iter().rev());
    }

    /// Adds the defaults of a chart and of its subcharts, which lie lower; what a chart imports is both.
    fn defaults_at(&self, chart: &Chart, steps: &[String], layers: &mut Vec<LaidValue>) {
        // Secret values of a subchart lie over its defaults.
        let plain = at_place(self.plain, &chart.place).map(|plain| &plain.values);
        for values in std::iter::once(&chart.values).chain(plain) {
            let Some(value) = values.get(steps.iter().map(String::as_str)).filter(|_| !steps.is_empty()) else {
                continue;
            };
            if !layers.iter().any(|laid| same(&laid.value, value)) {
                layers.push(self.laid(Layer::Chart, value));
            }
        }
        if let Some((first, rest)) = steps.split_first()
            && let Some(subchart) = chart.subcharts.iter().find(|sub| sub.name() == first)
        {
            self.defaults_at(subchart, rest, layers);
        }
    }

    fn laid(&self, layer: Layer, value: &Tree) -> LaidValue {
        let is_secret = layer == Layer::Secret || self.holds_secret(value);
        LaidValue { layer, value: value.clone(), is_secret, wins: false, around: None }
    }

    fn holds_secret(&self, value: &Tree) -> bool {
        value.span.is_some_and(|span| self.secret.contains(&span.file))
            || match &value.data {
                Data::List(items) => items.iter().any(|item| self.holds_secret(item)),
                Data::Map(table) => table.iter().any(|(_, value)| self.holds_secret(value)),
                Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::String(_) => false,
            }
    }

    fn not_set(&self, steps: &[String]) -> NotSet {
        let mut at = &self.values.values;
        for (depth, step) in steps.iter().enumerate() {
            let (above, below) = steps.split_at(depth);
            let here = if above.is_empty() { "the values".to_owned() } else { format!("`{}`", shown(above)) };
            let Some(table) = at.as_map() else {
                let message = format!("nothing sets `{}`: {here} is {}", shown(steps), at.kind());
                return NotSet { path: shown(steps), message, near: None };
            };
            if let Some(next) = table.get(step) {
                at = next;
                continue;
            }
            let near = did_you_mean(step, table.keys().map(|key| &**key)).map(|key| {
                let rest = below.get(1..).unwrap_or_default();
                let meant = [above, &[key.to_owned()], rest].concat();
                let is_there = self.values.values.get(meant.iter().map(String::as_str)).is_some();
                shown(if is_there { &meant } else { meant.get(..=depth).unwrap_or_default() })
            });
            let keys: Vec<&str> = table.keys().map(|key| &**key).take(LISTED).collect();
            let more = if table.len() > LISTED { ", …" } else { "" };
            let has = if keys.is_empty() { "nothing".to_owned() } else { format!("{}{more}", keys.join(", ")) };
            let verb = if above.is_empty() { "have" } else { "has" };
            let message = format!("nothing sets `{}`: {here} {verb} {has}", shown(steps));
            return NotSet { path: shown(steps), message, near };
        }
        NotSet { path: shown(steps), message: "the chart has no values, and none are given".to_owned(), near: None }
    }
}

fn at_place<'c>(chart: &'c Chart, place: &str) -> Option<&'c Chart> {
    if chart.place == place {
        return Some(chart);
    }
    chart.subcharts.iter().find_map(|sub| at_place(sub, place))
}

#[cfg(test)]
mod tests {
    use super::super::load::{LoadOptions, load};
    use super::super::strvals::SetKind;
    use super::*;
    use crate::source::MemoryObjects;

    const META: &str = "apiVersion: v2\nname: p\nversion: 0.1.0\n";
    const SUB: &str = "apiVersion: v2\nname: sub\nversion: 0.1.0\n";

    #[derive(Default)]
    struct World {
        files: Vec<(&'static str, &'static str)>,
        user: &'static str,
        sets: Vec<(SetKind, &'static str)>,
        secret: &'static str,
    }

    impl World {
        /// Each layer in a line: `*` before the winner.
        fn told(&self, path: &str) -> Vec<String> {
            let (mut d, sources) = (Diagnostics::new(), Sources::new());
            let all = [("p/Chart.yaml", META)].into_iter().chain(self.files.iter().copied());
            let chart = load(&mut d, &sources, &MemoryObjects::files(all), "p", &LoadOptions::default()).unwrap();
            let secret = super::super::load::values_of_text(&mut d, &sources, "secret.yaml", self.secret, chart.helm);
            let secret = secret.unwrap();
            let texts = secret.iter().filter_map(|(_, v)| v.span).map(|span| span.file).collect();
            let input = ValuesInput {
                files: vec![("user.yaml".into(), self.user.as_bytes().into())],
                sets: self.sets.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect(),
                secrets: vec![secret],
                service: Tree::from([("global", Tree::from([("werf", Tree::from([("env", "dev".into())]))]))])
                    .into_map()
                    .unwrap(),
                ..ValuesInput::default()
            };
            let found = explain_values(&mut d, &sources, (&chart, &chart), &texts, &input, &[path.to_owned()]);
            match found.unwrap_or_else(|| panic!("{:?}", d.as_slice())).remove(0) {
                Err(fault) => {
                    let near = fault.near.map(|near| format!("; {near}?")).unwrap_or_default();
                    vec![format!("{}{near}", fault.message)]
                }
                Ok(values) => values.iter().flat_map(|value| lines(value, &sources)).collect(),
            }
        }
    }

    fn lines(value: &ExplainedValue, sources: &Sources) -> Vec<String> {
        let seen = value.value.as_ref().map_or("nothing".to_owned(), |v| v.to_json().to_string());
        let head = format!("{} = {seen}", value.path);
        let line = |laid: &LaidValue| {
            let place = laid.value.span.map_or_else(|| "-".to_owned(), |span| sources.place(span).to_string());
            let secret = if laid.is_secret { " secret" } else { "" };
            let around = laid.around.as_ref().map(|path| format!(" for {path}")).unwrap_or_default();
            format!("{} {place} {}{secret}{around}", if laid.wins { "*" } else { " " }, laid.value.to_json())
        };
        std::iter::once(head).chain(value.layers.iter().map(line)).collect()
    }

    #[test]
    fn every_layer_is_told_and_the_winner_is_marked() {
        let world = World {
            files: vec![("p/values.yaml", "web:\n  port: 80\n  name: a\n")],
            user: "web:\n  port: 81\n",
            sets: vec![(SetKind::Typed, "web.port=82"), (SetKind::Json, "web.port=83")],
            ..World::default()
        };
        let layers = ["* --set:1 82", "  --set-json:1 83", "  user.yaml:2 81", "  p/values.yaml:2 80"];
        assert_eq!(world.told("web.port"), [&["web.port = 82"], &layers[..]].concat());
        assert_eq!(world.told(".Values.web.port"), world.told("web.port"));
        let of_table = [&["web.name = \"a\"", "* p/values.yaml:3 \"a\"", "web.port = 82"], &layers[..]].concat();
        assert_eq!(world.told("web"), of_table);
    }

    /// S22
    #[test]
    fn s22_a_secret_value_wins_over_set_and_both_are_told() {
        let world = World {
            files: vec![("p/values.yaml", "db: {password: none}\n")],
            sets: vec![(SetKind::Typed, "db.password=typed")],
            secret: "db:\n  password: hunter2\n",
            ..World::default()
        };
        let layers = ["* secret.yaml:2 \"hunter2\" secret", "  --set:1 \"typed\"", "  p/values.yaml:1 \"none\""];
        assert_eq!(world.told("db.password"), [&["db.password = \"hunter2\""], &layers[..]].concat());
    }

    #[test]
    fn lists_know_which_argument_changed_them_and_null_takes_defaults_away() {
        let world = World {
            files: vec![("p/values.yaml", "ports: [1]\ngone: 5\n")],
            user: "ports: [7, 8]\n",
            sets: vec![(SetKind::Typed, "ports[1]=9"), (SetKind::Typed, "gone=null")],
            ..World::default()
        };
        let list = ["ports = [7,9]", "* user.yaml:1 [7,9]", "  user.yaml:1 [7,8]", "  p/values.yaml:1 [1]"];
        assert_eq!(world.told("ports"), list);
        assert_eq!(world.told("ports[1]"), ["ports.1 = 9", "* --set:1 9", "  user.yaml:1 8"]);
        assert_eq!(world.told("gone"), ["gone = nothing", "* --set:1 null", "  p/values.yaml:2 5"]);
    }

    #[test]
    fn what_replaces_the_table_around_a_value_wins_over_it() {
        let world = World {
            files: vec![("p/values.yaml", "web: {tls: {port: 80}}\n")],
            user: "web: {tls: {port: 81}}\n",
            sets: vec![(SetKind::Typed, "web=off")],
            ..World::default()
        };
        let layers = ["* --set:1 \"off\" for web", "  user.yaml:1 81", "  p/values.yaml:1 80"];
        assert_eq!(world.told("web.tls.port"), [&["web.tls.port = nothing"], &layers[..]].concat());
        let gone = World { user: "web: null\n", sets: Vec::new(), ..world };
        assert_eq!(gone.told("web.tls.port")[1], "* user.yaml:1 null for web");
    }

    #[test]
    fn subcharts_have_defaults_below_those_of_their_parents_and_share_globals() {
        let world = World {
            files: vec![
                ("p/values.yaml", "sub: {tag: parent}\nglobal: {region: a}\n"),
                ("p/charts/sub/Chart.yaml", SUB),
                ("p/charts/sub/values.yaml", "tag: own\nonly: sub\nglobal: {region: b}\n"),
            ],
            user: "sub: {global: {region: c}}\n",
            ..World::default()
        };
        let tag = ["sub.tag = \"parent\"", "* p/values.yaml:1 \"parent\"", "  p/charts/sub/values.yaml:1 \"own\""];
        assert_eq!(world.told("sub.tag"), tag);
        let region = [
            "sub.global.region = \"a\"",
            "* p/values.yaml:2 \"a\"",
            "  user.yaml:1 \"c\"",
            "  p/charts/sub/values.yaml:3 \"b\"",
        ];
        assert_eq!(world.told("sub.global.region"), region);
        let service = ["global.werf.env = \"dev\"", "* - \"dev\""];
        assert_eq!(world.told("global.werf.env"), service);
        assert_eq!(world.told("sub.global.werf.env")[1..], service[1..]);
        let whole = world.told("sub");
        assert!(!whole.iter().any(|line| line.contains("global")), "{whole:?}");
        assert!(world.told(".").contains(&"sub.only = \"sub\"".to_owned()));
    }

    #[test]
    fn what_nobody_sets_is_told_with_the_nearest_name() {
        let world = World { files: vec![("p/values.yaml", "web: {port: 80, host: x}\na.b: 1\n")], ..World::default() };
        assert_eq!(world.told("web.prot"), ["nothing sets `web.prot`: `web` has host, port; web.port?"]);
        assert_eq!(world.told("wbe.port"), ["nothing sets `wbe.port`: the values have a.b, global, web; web.port?"]);
        assert_eq!(world.told("web.port.x"), ["nothing sets `web.port.x`: `web.port` is a number"]);
        assert_eq!(world.told(r"a\.b"), [r"a\.b = 1", "* p/values.yaml:2 1"]);
    }
}
