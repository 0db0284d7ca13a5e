//! Which values the templates of a chart read, told from the templates alone.
//!
//! What lives here: a walk over parsed templates that follows `.Values` through `with`, `range`, variables, `include`
//! and the functions that pass values on. What does not: what a rendering reads (`eval`), rules (`unread`).
//!
//! The one idea: whatever the walk cannot follow counts as read as a whole, so a path that is not told here is read
//! by no template in any branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diag::Diagnostics;
use crate::eval::FunctionSet;
use crate::source::{Sources, Span};
use crate::syntax::gotemplate::{
    Branch, Call, Command, Delims, Name, Node, Operand, OperandKind, Options, Pipe, Template, parse,
};

use super::load::Chart;
use super::tree::{Data, Tree};

/// How many bodies are walked: a definition once for each kind of argument.
const MAX_WALKS: usize = 20_000;
/// How much is walked: expressions, and all that their values may be. A chart whose templates call each other by names
/// that are made at run time, with tables in tables, would take for ever.
const MAX_WORK: usize = 100_000;
/// How many meanings a value may have before it counts as any.
const MAX_MEANINGS: usize = 12;
/// How deep expressions and calls are followed.
const MAX_DEPTH: usize = 60;
/// The name of any key of a table and any item of a list.
pub(super) const ANY: &str = "*";

/// A path of values: keys from the root.
pub(super) type Path = Vec<Arc<str>>;

/// A read of a value that no condition and no default guards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bare {
    pub path: Path,
    /// The key in the template.
    pub span: Span,
}

/// What templates read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Every path that is read or asked for.
    pub paths: BTreeSet<Path>,
    /// The paths below which everything counts as read.
    pub whole: BTreeSet<Path>,
    /// The paths that templates themselves set.
    pub set: BTreeSet<Path>,
    /// Reads that nothing guards, in templates whose dot is known.
    pub bare: BTreeSet<Bare>,
    /// The paths that a condition, a default or a function asks for before use.
    pub asked: BTreeSet<Path>,
    /// Values with a default, in templates whose dot is known: the path and the whole command.
    pub defaulted: BTreeSet<Bare>,
    /// Calls of functions whose result the chart does not determine: the name, the call.
    pub calls: Vec<(&'static str, Span)>,
    /// Whether something could not be followed that may read anything.
    pub lost: bool,
    /// All words that stand in templates as a field or in a string.
    pub words: FxHashSet<Arc<str>>,
}

impl Reads {
    /// Adds what another walk found.
    pub fn join(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.whole.extend(other.whole);
        self.set.extend(other.set);
        self.bare.extend(other.bare);
        self.asked.extend(other.asked);
        self.defaulted.extend(other.defaulted);
        self.calls.extend(other.calls);
        self.lost |= other.lost;
        self.words.extend(other.words);
    }

    /// Says whether a path, or something above or below it, is read.
    pub fn reads(&self, path: &[Arc<str>]) -> bool {
        let same = |a: &[Arc<str>]| a.iter().zip(path).all(|(a, b)| a == b || &**a == ANY);
        let whole = self.whole.iter().any(|w| w.len() <= path.len() && same(w));
        whole || self.paths.iter().any(|p| p.len() >= path.len() && same(p))
    }

    /// Says whether a path or something below it is asked for before use anywhere, or set by a template.
    pub fn asks(&self, path: &[Arc<str>]) -> bool {
        let same = |p: &Path| p.iter().zip(path).all(|(a, b)| a == b || &**a == ANY);
        self.asked.iter().any(|p| p.len() >= path.len() && same(p)) || self.set.iter().any(same)
    }

    /// Returns the keys that are read directly below a path.
    pub fn keys_below(&self, path: &[Arc<str>]) -> BTreeSet<&str> {
        let below = |p: &&Path| p.len() > path.len() && p.iter().zip(path).all(|(a, b)| a == b || &**a == ANY);
        self.paths.iter().filter(below).filter_map(|p| p.get(path.len())).map(|k| &**k).filter(|k| *k != ANY).collect()
    }
}

/// What a value is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    /// The root object of the chart whose values stand at a path.
    Root(Path),
    /// The values at a path.
    Values(Path),
    /// A map with known keys.
    Map(BTreeMap<Arc<str>, Meanings>),
    /// The items of a list.
    Items(Meanings),
}

/// All that a value may be; nothing: what does not matter.
type Meanings = Vec<Meaning>;

/// Returns how many meanings there are, inner ones too.
fn weight(meanings: &Meanings) -> usize {
    let one = |meaning: &Meaning| match meaning {
        Meaning::Root(_) | Meaning::Values(_) => 1,
        Meaning::Map(map) => 1 + map.values().map(weight).sum::<usize>(),
        Meaning::Items(items) => 1 + weight(items),
    };
    meanings.iter().map(one).sum()
}

fn join(mut a: Meanings, b: Meanings) -> Meanings {
    for meaning in b {
        if !a.contains(&meaning) && a.len() < MAX_MEANINGS {
            a.push(meaning);
        }
    }
    a
}

/// Reads the templates of a chart tree and what of its values is rendered as a template.
pub(super) fn reads(sources: &Sources, chart: &Chart, values: &Tree) -> Reads {
    let functions = FunctionSet::helm();
    let mut templates = Vec::new();
    collect(sources, &functions, chart, &mut Vec::new(), &mut templates);
    let mut defines: FxHashMap<Arc<str>, Vec<Arc<Template>>> = FxHashMap::default();
    for (_, template) in &templates {
        for define in &template.defines {
            defines.entry(define.name.clone()).or_default().push(template.clone());
        }
    }
    let mut walk =
        Walk { functions, defines, done: BTreeSet::new(), walks: 0, work: 0, found: Reads::default(), sure: true };
    for (path, template) in &templates {
        walk.note_words(&template.source);
        let root = vec![Meaning::Root(path.clone())];
        walk.sure = true;
        let mut scope = Scope::new(root.clone());
        walk.nodes(&template.body, &mut scope, 0);
        // a name that is made at run time may call any definition
        walk.sure = false;
        for define in &template.defines {
            walk.nodes(&define.body, &mut Scope::new(root.clone()), 0);
        }
    }
    walk.sure = false;
    let mut texts = Vec::new();
    strings(values, &mut texts, 0);
    for text in texts.into_iter().chain(files(chart)) {
        walk.text(&text);
    }
    walk.found
}

fn collect(
    sources: &Sources,
    functions: &FunctionSet,
    chart: &Chart,
    path: &mut Path,
    templates: &mut Vec<(Path, Arc<Template>)>,
) {
    for template in chart.templates.iter() {
        let Some(file) = template.source else { continue };
        let options = Options { delims: Delims::default(), functions };
        let parsed = parse(&mut Diagnostics::new(), sources, file, options);
        templates.push((path.clone(), Arc::new(parsed)));
    }
    for subchart in &chart.subcharts {
        path.push(subchart.name().into());
        collect(sources, functions, subchart, path, templates);
        path.pop();
    }
}

/// Collects the texts of values that may be rendered as templates.
fn strings(tree: &Tree, found: &mut Vec<String>, depth: usize) {
    match &tree.data {
        Data::String(text) if text.contains("{{") => found.push(text.to_string()),
        Data::List(items) if depth < MAX_DEPTH => items.iter().for_each(|item| strings(item, found, depth + 1)),
        Data::Map(map) if depth < MAX_DEPTH => map.iter().for_each(|(_, item)| strings(item, found, depth + 1)),
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::String(_) | Data::List(_) | Data::Map(_) => {
        }
    }
}

/// The texts of files that may be rendered as templates.
fn files(chart: &Chart) -> Vec<String> {
    let is_text = |f: &&super::load::ChartFile| {
        !f.name.ends_with(".md") && !f.name.starts_with("crds/") && f.content.bytes().len() < 1 << 20
    };
    let texts = chart.files.iter().filter(is_text).filter_map(|f| String::from_utf8(f.content.bytes().to_vec()).ok());
    let own = texts.filter(|text| text.contains("{{") && text.contains(".Values"));
    own.chain(chart.subcharts.iter().flat_map(files)).collect()
}

/// The variables and the dot of a place.
#[derive(Clone)]
struct Scope {
    dot: Meanings,
    root: Meanings,
    variables: Vec<(Arc<str>, Meanings)>,
    /// Whether a condition is being told.
    asking: bool,
}

impl Scope {
    fn new(dot: Meanings) -> Self {
        Self { root: dot.clone(), dot, variables: Vec::new(), asking: false }
    }
}

struct Walk {
    functions: Arc<FunctionSet>,
    defines: FxHashMap<Arc<str>, Vec<Arc<Template>>>,
    done: BTreeSet<(Arc<str>, Meanings, bool)>,
    walks: usize,
    work: usize,
    found: Reads,
    /// Whether the dot of the template that is walked is known.
    sure: bool,
}

impl Walk {
    // ---- what is found

    /// Globals of a subchart are those of the root.
    fn normal(path: &[Arc<str>]) -> Path {
        let global = path.iter().position(|key| &**key == "global");
        path.get(global.unwrap_or(0)..).unwrap_or_default().to_vec()
    }

    fn read(&mut self, path: &Path, span: Option<Span>, scope: &Scope) {
        let path = Self::normal(path);
        if scope.asking {
            self.found.asked.insert(path.clone());
        } else if let (Some(span), true) = (span, self.sure) {
            self.found.bare.insert(Bare { path: path.clone(), span });
        }
        self.found.paths.insert(path);
    }

    /// Notes that all of a value is used.
    fn consume(&mut self, meanings: &Meanings) {
        for meaning in meanings {
            match meaning {
                Meaning::Root(_) => {}
                Meaning::Values(path) => {
                    self.found.whole.insert(Self::normal(path));
                }
                Meaning::Map(map) => map.values().for_each(|m| self.consume(m)),
                Meaning::Items(items) => self.consume(items),
            }
        }
    }

    /// Says whether the root object is within.
    fn has_root(meanings: &Meanings) -> bool {
        meanings.iter().any(|meaning| match meaning {
            Meaning::Root(_) => true,
            Meaning::Values(_) => false,
            Meaning::Map(map) => map.values().any(Self::has_root),
            Meaning::Items(items) => Self::has_root(items),
        })
    }

    fn note_words(&mut self, source: &str) {
        for word in source.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))) {
            if !word.is_empty() && !self.found.words.contains(word) {
                self.found.words.insert(word.into());
            }
        }
    }

    /// Walks a text that may be rendered as a template of any chart.
    fn text(&mut self, text: &str) {
        self.note_words(text);
        let sources = Sources::new();
        let file = sources.add("text", text);
        let functions = self.functions.clone();
        let options = Options { delims: Delims::default(), functions: &*functions };
        let template = parse(&mut Diagnostics::new(), &sources, file, options);
        let contexts: BTreeSet<Meanings> =
            self.done.iter().filter(|(name, ..)| &**name == "tpl").map(|(_, context, _)| context.clone()).collect();
        for context in contexts {
            self.nodes(&template.body, &mut Scope::new(context), 0);
        }
    }

    // ---- templates

    fn nodes(&mut self, nodes: &[Node], scope: &mut Scope, depth: usize) {
        let kept = scope.variables.len();
        for node in nodes {
            match node {
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, scope, depth);
                    if pipe.variables.is_empty() {
                        self.consume(&value);
                    }
                }
                Node::If(branch) => self.branch(branch, scope, depth, false),
                Node::With(branch) => self.branch(branch, scope, depth, true),
                Node::Range(branch) => self.range(branch, scope, depth),
                Node::Call(call) => self.template(call, scope, depth),
                Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
        scope.variables.truncate(kept);
    }

    fn condition(&mut self, pipe: &Pipe, scope: &mut Scope, depth: usize) -> Meanings {
        let asking = std::mem::replace(&mut scope.asking, true);
        let value = self.pipe(pipe, scope, depth);
        scope.asking = asking;
        value
    }

    fn branch(&mut self, branch: &Branch, scope: &mut Scope, depth: usize, with: bool) {
        let kept = scope.variables.len();
        for arm in &branch.arms {
            let value = self.condition(&arm.pipe, scope, depth);
            let dot = if with { Some(std::mem::replace(&mut scope.dot, value)) } else { None };
            self.nodes(&arm.body, scope, depth);
            if let Some(dot) = dot {
                scope.dot = dot;
            }
        }
        self.nodes(branch.otherwise.as_deref().unwrap_or_default(), scope, depth);
        scope.variables.truncate(kept);
    }

    fn range(&mut self, branch: &Branch, scope: &mut Scope, depth: usize) {
        let kept = scope.variables.len();
        for arm in &branch.arms {
            let plain = Pipe { variables: Vec::new(), ..arm.pipe.clone() };
            let value = self.condition(&plain, scope, depth);
            let items = self.items(&value);
            let last = arm.pipe.variables.len().saturating_sub(1);
            for (index, variable) in arm.pipe.variables.iter().enumerate() {
                let meaning = if index == last { items.clone() } else { Vec::new() };
                scope.variables.push((variable.text.clone(), meaning));
            }
            let dot = std::mem::replace(&mut scope.dot, items);
            self.nodes(&arm.body, scope, depth);
            scope.dot = dot;
        }
        self.nodes(branch.otherwise.as_deref().unwrap_or_default(), scope, depth);
        scope.variables.truncate(kept);
    }

    fn items(&mut self, value: &Meanings) -> Meanings {
        let mut items = Vec::new();
        for meaning in value {
            let next = match meaning {
                Meaning::Values(path) => {
                    let mut path = path.clone();
                    path.push(ANY.into());
                    self.found.paths.insert(Self::normal(&path));
                    vec![Meaning::Values(path)]
                }
                Meaning::Items(items) => items.clone(),
                Meaning::Map(map) => map.values().cloned().fold(Vec::new(), join),
                Meaning::Root(_) => Vec::new(),
            };
            items = join(items, next);
        }
        items
    }

    fn template(&mut self, call: &Call, scope: &mut Scope, depth: usize) {
        let argument = call.argument.as_ref().map(|pipe| self.pipe(pipe, scope, depth)).unwrap_or_default();
        self.define(&call.name, argument, depth);
    }

    /// Walks the definitions of a name with an argument, once for each argument.
    fn define(&mut self, name: &Arc<str>, mut argument: Meanings, depth: usize) {
        argument.sort();
        let Some(templates) = self.defines.get(name).cloned() else {
            self.consume(&argument);
            return;
        };
        if !self.done.insert((name.clone(), argument.clone(), self.sure)) {
            return;
        }
        self.walks += 1;
        self.work += weight(&argument);
        if self.walks > MAX_WALKS || self.work > MAX_WORK || depth > MAX_DEPTH {
            self.found.lost = true;
            self.consume(&argument);
            return;
        }
        for template in templates {
            for define in template.defines.iter().filter(|d| d.name == *name) {
                self.nodes(&define.body, &mut Scope::new(argument.clone()), depth + 1);
            }
        }
    }

    // ---- expressions

    fn pipe(&mut self, pipe: &Pipe, scope: &mut Scope, depth: usize) -> Meanings {
        if depth > MAX_DEPTH || self.work > MAX_WORK {
            self.found.lost = true;
            return Vec::new();
        }
        let mut commands = pipe.commands.iter().peekable();
        let mut value = None;
        // what a later command asks for or replaces is guarded
        let guards = |command: &Command| match command.operands.first().map(|o| &o.kind) {
            Some(OperandKind::Function(name, _)) => is_guard(&name.text),
            _ => false,
        };
        let asking = scope.asking;
        let whole = pipe.span;
        while let Some(command) = commands.next() {
            scope.asking = asking || commands.clone().any(guards);
            value = Some(self.command(command, value, scope, depth + 1, whole));
        }
        scope.asking = asking;
        let value = value.unwrap_or_default();
        self.work += 1 + weight(&value);
        for variable in &pipe.variables {
            if pipe.assigns {
                if let Some((_, old)) = scope.variables.iter_mut().rev().find(|(name, _)| *name == variable.text) {
                    *old = join(std::mem::take(old), value.clone());
                }
            } else {
                scope.variables.push((variable.text.clone(), value.clone()));
            }
        }
        value
    }

    fn command(
        &mut self,
        command: &Command,
        last: Option<Meanings>,
        scope: &mut Scope,
        depth: usize,
        whole: Span,
    ) -> Meanings {
        let mut operands = command.operands.iter();
        let Some(first) = operands.next() else { return Vec::new() };
        if let OperandKind::Function(name, index) = &first.kind {
            let operands: Vec<&Operand> = operands.collect();
            let function = self.functions.get(*index).map_or("", |f| f.name);
            let varies = self.functions.get(*index).is_some_and(|f| f.varies);
            if varies || matches!(function, "lookup" | "getHostByName") {
                self.found.calls.push((function, command.span));
            }
            return self.function(&name.text, &operands, last, scope, depth, whole);
        }
        let value = self.operand(first, scope, depth);
        for operand in operands {
            let argument = self.operand(operand, scope, depth);
            self.consume(&argument);
        }
        self.consume(&last.unwrap_or_default());
        value
    }

    fn operand(&mut self, operand: &Operand, scope: &mut Scope, depth: usize) -> Meanings {
        match &operand.kind {
            OperandKind::Dot => scope.dot.clone(),
            OperandKind::Field(names) => {
                let dot = scope.dot.clone();
                self.fields(dot, names, scope)
            }
            OperandKind::Variable(name, names) => {
                let value = if &*name.text == "$" {
                    scope.root.clone()
                } else {
                    let found = scope.variables.iter().rev().find(|(n, _)| *n == name.text);
                    found.map(|(_, value)| value.clone()).unwrap_or_default()
                };
                self.fields(value, names, scope)
            }
            OperandKind::Paren(pipe) => self.pipe(pipe, scope, depth + 1),
            OperandKind::Chain(base, names) => {
                // a field of what a condition chose is guarded like what it is a field of
                let value = self.operand(base, scope, depth + 1);
                self.fields(value, names, scope)
            }
            OperandKind::Function(name, _) => self.function(&name.text, &[], None, scope, depth, operand.span),
            OperandKind::Nil | OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::Str(_) => Vec::new(),
        }
    }

    fn fields(&mut self, mut value: Meanings, names: &[Name], scope: &Scope) -> Meanings {
        for name in names {
            value = self.field(&value, &name.text, Some(name.span), scope);
        }
        value
    }

    fn field(&mut self, value: &Meanings, key: &Arc<str>, span: Option<Span>, scope: &Scope) -> Meanings {
        let mut next = Vec::new();
        for meaning in value {
            let below = match meaning {
                Meaning::Root(path) if &**key == "Values" => vec![Meaning::Values(path.clone())],
                Meaning::Root(path) if &**key == "Subcharts" => vec![Meaning::Map(subcharts(path))],
                Meaning::Root(_) | Meaning::Items(_) => Vec::new(),
                Meaning::Values(path) => {
                    let mut path = path.clone();
                    path.push(key.clone());
                    // of several meanings one may be right though another has no such key
                    self.read(&path, span.filter(|_| value.len() == 1), scope);
                    vec![Meaning::Values(path)]
                }
                Meaning::Map(map) => match (map.get(key), map.get(ANY)) {
                    (Some(found), _) => found.clone(),
                    (None, Some(any)) if &**key != ANY => any
                        .iter()
                        .map(|m| match m {
                            Meaning::Root(path) => {
                                let mut path = path.clone();
                                path.push(key.clone());
                                Meaning::Root(path)
                            }
                            Meaning::Values(_) | Meaning::Map(_) | Meaning::Items(_) => m.clone(),
                        })
                        .collect(),
                    (None, _) => Vec::new(),
                },
            };
            next = join(next, below);
        }
        next
    }

    #[expect(clippy::too_many_lines, reason = "a table of functions")]
    fn function(
        &mut self,
        name: &str,
        operands: &[&Operand],
        last: Option<Meanings>,
        scope: &mut Scope,
        depth: usize,
        whole: Span,
    ) -> Meanings {
        let asking = scope.asking;
        scope.asking |= is_guard(name);
        let mut args: Vec<Meanings> = operands.iter().map(|o| self.operand(o, scope, depth + 1)).collect();
        args.extend(last);
        scope.asking = asking;
        let literal = |index: usize| match operands.get(index).map(|o| &o.kind) {
            Some(OperandKind::Str(bytes)) => std::str::from_utf8(bytes).ok().map(Arc::<str>::from),
            _ => None,
        };
        let all = |args: &[Meanings]| args.iter().cloned().fold(Vec::new(), join);
        let mut asked = scope.clone();
        asked.asking = true;
        match name {
            "default" => {
                if let ([_, .., value], true) = (args.as_slice(), self.sure)
                    && let [Meaning::Values(path)] = value.as_slice()
                {
                    self.found.defaulted.insert(Bare { path: Self::normal(path), span: whole });
                }
                all(&args)
            }
            "or" | "and" | "coalesce" | "ternary" | "deepCopy" | "mustDeepCopy" | "merge" | "mustMerge"
            | "mergeOverwrite" | "mustMergeOverwrite" | "concat" | "uniq" | "mustUniq" | "compact" | "mustCompact"
            | "without" | "reverse" | "mustReverse" | "required" | "sortAlpha" | "rest" | "mustRest" | "initial"
            | "mustInitial" | "slice" | "mustSlice" => all(&args),
            "first" | "mustFirst" | "last" | "mustLast" => {
                let value = all(&args);
                self.items(&value)
            }
            "append" | "mustAppend" | "prepend" | "mustPrepend" => match args.as_slice() {
                [list, item, ..] => join(list.clone(), vec![Meaning::Items(item.clone())]),
                _ => all(&args),
            },
            "list" | "tuple" => vec![Meaning::Items(all(&args))],
            "not" | "empty" | "kindIs" | "kindOf" | "typeOf" | "typeIs" | "typeIsLike" | "len" => Vec::new(),
            "dict" => {
                let mut map = BTreeMap::new();
                for (index, value) in args.iter().enumerate().skip(1).step_by(2) {
                    match literal(index - 1) {
                        Some(key) => {
                            map.insert(key, value.clone());
                        }
                        None => self.consume(value),
                    }
                }
                vec![Meaning::Map(map)]
            }
            "set" => {
                let [target, _, value, ..] = args.as_slice() else { return all(&args) };
                for meaning in target {
                    if let Meaning::Values(path) = meaning {
                        let mut path = Self::normal(path);
                        path.extend(literal(1).or(Some(ANY.into())));
                        self.found.set.insert(path);
                    }
                }
                if Self::has_root(value) && literal(1).is_none() {
                    self.found.lost = true;
                }
                let changed = match literal(1) {
                    Some(key) => vec![Meaning::Map(BTreeMap::from([(key, value.clone())]))],
                    None => Vec::new(),
                };
                // the map is changed where it stands: a variable that holds it has the key from now on
                let both = join(target.clone(), changed);
                if let Some(OperandKind::Variable(name, names)) = operands.first().map(|o| &o.kind)
                    && names.is_empty()
                    && let Some((_, held)) = scope.variables.iter_mut().rev().find(|(n, _)| *n == name.text)
                {
                    held.clone_from(&both);
                } else {
                    self.consume(value);
                    self.found.lost |= Self::has_root(value);
                }
                both
            }
            "unset" | "omit" | "pick" => {
                let target = args.first().cloned().unwrap_or_default();
                for index in 1..operands.len() {
                    if let Some(key) = literal(index) {
                        self.field(&target, &key, None, &asked);
                    }
                }
                target
            }
            "hasKey" | "get" | "index" => {
                let mut value = args.first().cloned().unwrap_or_default();
                for index in 1..args.len() {
                    if let (Some(key), _) = (literal(index), operands.get(index).map(|o| &o.kind)) {
                        let span = operands.get(index).map(|o| o.span).filter(|_| name == "index");
                        let scope = if name == "index" { &*scope } else { &asked };
                        value = self.field(&value, &key, span, scope);
                    } else {
                        let items = self.items(&value);
                        if value.iter().any(|m| matches!(m, Meaning::Root(_))) {
                            self.found.lost = true;
                        }
                        self.consume(args.get(index).unwrap_or(&Vec::new()));
                        value = items;
                    }
                }
                if name == "hasKey" { Vec::new() } else { value }
            }
            "dig" => {
                let Some((map, rest)) = args.split_last() else { return Vec::new() };
                let default = rest.last().cloned().unwrap_or_default();
                let mut value = map.clone();
                for index in 0..rest.len().saturating_sub(1) {
                    value = match literal(index) {
                        Some(key) => self.field(&value, &key, None, &asked),
                        None => self.items(&value),
                    };
                }
                join(value, default)
            }
            "pluck" => {
                let maps = all(args.get(1..).unwrap_or_default());
                let value = match literal(0) {
                    Some(key) => self.field(&maps, &key, None, &asked),
                    None => self.items(&maps),
                };
                vec![Meaning::Items(value)]
            }
            "values" => {
                let value = all(&args);
                vec![Meaning::Items(self.items(&value))]
            }
            "keys" => {
                let value = all(&args);
                self.items(&value);
                Vec::new()
            }
            "include" => {
                let argument = args.get(1).cloned().unwrap_or_default();
                match literal(0) {
                    Some(name) => self.define(&name, argument, depth),
                    None => self.any_define(&argument, depth),
                }
                Vec::new()
            }
            "tpl" => {
                self.consume(args.first().unwrap_or(&Vec::new()));
                let mut context = args.get(1).cloned().unwrap_or_default();
                context.sort();
                self.done.insert(("tpl".into(), context, self.sure));
                Vec::new()
            }
            _ => {
                let value = all(&args);
                self.consume(&value);
                Vec::new()
            }
        }
    }

    /// A name that is made at run time calls any definition.
    fn any_define(&mut self, argument: &Meanings, depth: usize) {
        let mut names: Vec<Arc<str>> = self.defines.keys().cloned().collect();
        names.sort();
        let sure = std::mem::replace(&mut self.sure, false);
        for name in names {
            self.define(&name, argument.clone(), depth);
        }
        self.sure = sure;
    }
}

fn subcharts(path: &Path) -> BTreeMap<Arc<str>, Meanings> {
    BTreeMap::from([(ANY.into(), vec![Meaning::Root(path.clone())])])
}

/// Says whether a function takes care of a missing value.
fn is_guard(name: &str) -> bool {
    matches!(
        name,
        "default"
            | "or"
            | "and"
            | "not"
            | "coalesce"
            | "ternary"
            | "empty"
            | "hasKey"
            | "get"
            | "dig"
            | "pluck"
            | "required"
            | "kindIs"
            | "kindOf"
            | "typeOf"
            | "typeIs"
            | "typeIsLike"
            | "eq"
            | "ne"
    )
}
