//! Evaluates Jsonnet files of a project to plain data.
//!
//! What lives here: [`evaluate`], its inputs and its answer. What does not: which data is a manifest (`chart`).
//! The evaluator is the crate `jrsonnet-evaluator`; its values never leave a call.
//!
//! The one idea: an evaluation sees only what it is given. Imports read the project's tree and are recorded,
//! so the exact inputs of a result are known; nothing is read from a disk and nothing is printed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use jrsonnet_evaluator::error::ErrorKind;
use jrsonnet_evaluator::function::{CallLocation, builtin};
use jrsonnet_evaluator::rustc_hash::FxHashMap;
use jrsonnet_evaluator::tla::TlaArg;
use jrsonnet_evaluator::{
    AsPathLike, Error, IStr, ImportResolver, ObjValueBuilder, ResolvePath, Result, Source, SourcePath, State, Val,
    analyze, apply_tla, in_description_frame, stack,
};
use jrsonnet_gcmodule::Acyclic;
use jrsonnet_ir::{SourceFifo, SourceFile};
use jrsonnet_stdlib::{ContextInitializer, TracePrinter};
use serde_json::Value as Json;

use crate::diag::rules::{JSONNET_ERROR, JSONNET_TRACE};
use crate::diag::{Diagnostic, Diagnostics, TraceFrame};
use crate::source::{FileId, Files, Sources, Span, normalize_path};
use crate::syntax::yaml;

/// How deep calls may nest.
const MAX_STACK: usize = 2_000;
/// How deep the result may nest.
const MAX_DEPTH: usize = 200;
/// How many values the result may have.
const MAX_NODES: usize = 2_000_000;
/// The folder of libraries that is looked for beside the entry file and in the folders above it.
const LIBRARIES: &str = "vendor";

/// A value from outside: an external variable or an argument of the top-level function.
#[derive(Clone, Debug, PartialEq)]
pub enum External {
    /// A string.
    Text(String),
    /// Jsonnet code.
    Code(String),
    /// Plain data.
    Data(Json),
}

/// What an evaluation may see.
#[derive(Clone)]
pub struct JsonnetInput<'a> {
    /// The tree that `import` reads.
    pub files: &'a Files,
    /// The file to evaluate.
    pub entry: &'a str,
    /// External variables, `stagewright` among them.
    pub ext_vars: &'a BTreeMap<String, External>,
    /// Arguments, if the file is a function.
    pub arguments: &'a BTreeMap<String, External>,
    /// Answers `std.native('helmTemplate')`; without it the function is not there.
    pub helm_template: Option<HelmTemplate>,
}

/// Renders a chart for a Jsonnet file; faults of the chart are reported beside the file's.
pub type HelmTemplate = Rc<dyn Fn(&HelmCall) -> Result<Json, Diagnostics>>;

/// A call of `helmTemplate`.
#[derive(Clone, Debug, PartialEq)]
pub struct HelmCall {
    /// The file that the path of the chart is relative to.
    pub from: String,
    /// The name of the release.
    pub name: String,
    /// The folder or archive of the chart, in the tree.
    pub chart: String,
    /// Everything else.
    pub options: Json,
}

/// The answer of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonnetOutput {
    /// The value; hidden fields are left out, the order of fields is kept.
    pub value: Json,
    /// Every file that was read, by path.
    pub read: Vec<String>,
}

/// Evaluates a file; faults go to `diagnostics` and give `None`.
pub fn evaluate(diagnostics: &mut Diagnostics, sources: &Sources, input: &JsonnetInput<'_>) -> Option<JsonnetOutput> {
    let session = Session {
        files: input.files.clone(),
        sources: sources.clone(),
        read: BTreeMap::new(),
        notes: Vec::new(),
        entry: input.entry.to_owned(),
        helm_template: input.helm_template.clone(),
        chart_faults: Diagnostics::new(),
    };
    SESSION.with_borrow_mut(|slot| *slot = Some(session));
    // The evaluator is a pre-release: a panic of it becomes a diagnostic, not the end of the run.
    let result = catch_unwind(AssertUnwindSafe(|| run(input)));
    let mut session = SESSION.with_borrow_mut(Option::take)?;
    diagnostics.extend(std::mem::take(&mut session.chart_faults));
    for (span, text) in &session.notes {
        diagnostics.push(match span {
            Some(span) => Diagnostic::at(&JSONNET_TRACE, *span, text),
            None => Diagnostic::in_file(&JSONNET_TRACE, input.entry, text),
        });
    }
    match result {
        Ok(Ok(value)) => Some(JsonnetOutput { value, read: session.read.into_keys().collect() }),
        Ok(Err(error)) => {
            diagnose(diagnostics, &session, input.entry, &error);
            None
        }
        Err(_) => {
            let message = "the Jsonnet evaluator failed on this file; this is a fault of the evaluator";
            diagnostics.push(Diagnostic::in_file(&JSONNET_ERROR, input.entry, message));
            None
        }
    }
}

thread_local! {
    /// What the evaluation of this thread may read. The resolver cannot hold it: the evaluator demands that
    /// what it holds is known to its garbage collector.
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

struct Session {
    files: Files,
    sources: Sources,
    read: BTreeMap<String, FileId>,
    notes: Vec<(Option<Span>, String)>,
    entry: String,
    helm_template: Option<HelmTemplate>,
    /// Faults in charts that Jsonnet rendered.
    chart_faults: Diagnostics,
}

impl Session {
    fn span(&self, span: &jrsonnet_ir::Span) -> Span {
        let source: &Source = &span.0;
        let path = source.source_path();
        let file = match path.path().and_then(|p| self.read.get(p.to_str()?)) {
            Some(id) => *id,
            None => self.sources.add(name_of(path), source.code()),
        };
        Span::new(file, span.1 as usize, span.2 as usize)
    }
}

/// Returns what a source is called in a diagnostic.
fn name_of(path: &SourcePath) -> String {
    match path.downcast_ref::<SourceFifo>() {
        Some(fifo) => fifo.0.clone(),
        None => path.path().map_or_else(|| path.to_string(), |p| p.to_string_lossy().into_owned()),
    }
}

fn run(input: &JsonnetInput<'_>) -> Result<Json> {
    let _limit = stack::limit_stack_depth(MAX_STACK);
    let context = ContextInitializer::new(jrsonnet_evaluator::trace::PathResolver::Absolute);
    context.settings_mut().trace_printer = std::rc::Rc::new(Notes);
    for (name, value) in input.ext_vars {
        context.settings_mut().ext_vars.insert(name.as_str().into(), argument(value)?);
    }
    context.add_native("parseYaml", parse_yaml {});
    if input.helm_template.is_some() {
        context.add_native("helmTemplate", helm_template {});
    }
    let mut builder = State::builder();
    builder.import_resolver(ProjectFiles).context_initializer(context);
    let state = builder.build();
    let _entered = state.enter();
    #[expect(clippy::mutable_key_type, reason = "the evaluator takes its interned strings as keys")]
    let mut arguments: FxHashMap<IStr, TlaArg> = FxHashMap::default();
    for (name, value) in input.arguments {
        arguments.insert(name.as_str().into(), argument(value)?);
    }
    let root = state.import_resolved(SourcePath::new(SourceFile::new(PathBuf::from(input.entry))))?;
    let root = apply_tla(&arguments, root)?;
    to_json(&root, 0, &mut 0)
}

fn argument(value: &External) -> Result<TlaArg> {
    Ok(match value {
        External::Text(text) => TlaArg::String(text.as_str().into()),
        External::Code(code) => TlaArg::InlineCode(code.clone()),
        External::Data(json) => TlaArg::Val(to_val(json)?),
    })
}

fn to_val(json: &Json) -> Result<Val> {
    Ok(match json {
        Json::Null => Val::Null,
        Json::Bool(b) => Val::Bool(*b),
        Json::Number(n) => Val::try_num(n.as_f64().unwrap_or(f64::NAN))?,
        Json::String(s) => Val::string(s.as_str()),
        Json::Array(list) => Val::arr(list.iter().map(to_val).collect::<Result<Vec<_>>>()?),
        Json::Object(map) => {
            let mut builder = ObjValueBuilder::with_capacity(map.len());
            for (key, value) in map {
                builder.field(key.as_str()).value(to_val(value)?);
            }
            Val::Obj(builder.build())
        }
    })
}

fn to_json(val: &Val, depth: usize, nodes: &mut usize) -> Result<Json> {
    *nodes += 1;
    if depth > MAX_DEPTH {
        return Err(runtime(format!("the result nests deeper than {MAX_DEPTH} levels")));
    }
    if *nodes > MAX_NODES {
        return Err(runtime(format!("the result has more than {MAX_NODES} values")));
    }
    Ok(match val {
        Val::Bool(b) => Json::Bool(*b),
        Val::Null => Json::Null,
        Val::Str(text) => Json::String(text.clone().into_flat().as_str().to_owned()),
        Val::Num(number) => number_json(number.get()),
        Val::Arr(list) => {
            if list.len() as usize > MAX_NODES {
                return Err(runtime(format!("the result has more than {MAX_NODES} values")));
            }
            let mut items = Vec::new();
            for (index, item) in list.iter().enumerate() {
                items.push(in_description_frame(
                    || format!("element {index}"),
                    || item.and_then(|item| to_json(&item, depth + 1, nodes)),
                )?);
            }
            Json::Array(items)
        }
        Val::Obj(object) => {
            object.run_assertions()?;
            let mut map = serde_json::Map::new();
            for field in object.fields(true) {
                let value = in_description_frame(
                    || format!("field <{field}>"),
                    || object.get_or_bail(field.clone()).and_then(|value| to_json(&value, depth + 1, nodes)),
                )?;
                map.insert(field.as_str().to_owned(), value);
            }
            Json::Object(map)
        }
        Val::Func(_) => return Err(runtime("a function cannot be part of a result".to_owned())),
    })
}

fn number_json(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return (number as i64).into();
    }
    number.into()
}

fn runtime(message: String) -> Error {
    ErrorKind::RuntimeError(message.into()).into()
}

/// Reads imports from the session's tree.
#[derive(Acyclic)]
struct ProjectFiles;

impl ImportResolver for ProjectFiles {
    fn resolve_from(&self, from: &SourcePath, path: &dyn AsPathLike) -> Result<SourcePath> {
        let wanted = match path.as_path() {
            ResolvePath::Str(text) => text.to_owned(),
            ResolvePath::Path(path) => path.to_string_lossy().into_owned(),
        };
        let from_path = from.path().and_then(|p| p.to_str()).unwrap_or("");
        let found = SESSION.with_borrow(|session| {
            let files = session.as_ref().map(|s| &s.files)?;
            import_candidates(from_path, &wanted).into_iter().find(|path| {
                matches!(files.resolve(path), Ok(Some((_, entry))) if entry.mode != crate::source::Mode::Directory)
            })
        });
        match found {
            Some(path) => Ok(SourcePath::new(SourceFile::new(PathBuf::from(path)))),
            None => Err(ErrorKind::ImportFileNotFound(from.clone(), path.as_path().to_owned()).into()),
        }
    }

    fn load_file_contents(&self, resolved: &SourcePath) -> Result<Vec<u8>> {
        if let Some(inline) = resolved.downcast_ref::<SourceFifo>() {
            return Ok(inline.1.to_vec());
        }
        let path = resolved.path().and_then(|p| p.to_str()).unwrap_or("").to_owned();
        SESSION.with_borrow_mut(|session| {
            let session = session.as_mut().ok_or_else(|| runtime("no evaluation is running".to_owned()))?;
            let bytes = session.files.read(&path).map_err(|e| ErrorKind::ImportIo(e.to_string()))?;
            let id = session.sources.add(path.as_str(), String::from_utf8_lossy(&bytes));
            session.read.insert(path, id);
            Ok(bytes.to_vec())
        })
    }
}

/// Returns the paths that an import may mean, best first: beside the importer, then in the library folders.
fn import_candidates(from: &str, wanted: &str) -> Vec<String> {
    if wanted.starts_with('/') {
        return Vec::new();
    }
    let mut folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut paths = vec![format!("{folder}/{wanted}")];
    loop {
        paths.push(format!("{folder}/{LIBRARIES}/{wanted}"));
        if folder.is_empty() {
            break;
        }
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
    }
    paths.iter().filter_map(|path| normalize_path(path)).collect()
}

/// Takes `std.trace` lines as notes.
#[derive(Acyclic)]
struct Notes;

impl TracePrinter for Notes {
    fn print_trace(&self, location: CallLocation<'_>, value: IStr) {
        SESSION.with_borrow_mut(|session| {
            if let Some(session) = session {
                let span = location.0.map(|span| session.span(span));
                session.notes.push((span, value.as_str().to_owned()));
            }
        });
    }
}

/// Reads all documents of a text as Helm reads YAML: `std.native('parseYaml')(text)`. Source: Tanka, kubecfg.
#[builtin]
#[expect(clippy::needless_pass_by_value, reason = "the evaluator's macro hands arguments over")]
fn parse_yaml(text: IStr) -> Result<Val> {
    let nodes = yaml::decode_all(text.as_str(), FileId(u32::MAX), 0, yaml::Options::MANIFESTS);
    let nodes = nodes.map_err(|error| runtime(format!("parseYaml: {}", error.message)))?;
    Ok(Val::arr(nodes.iter().map(|node| to_val(&node.to_plain())).collect::<Result<Vec<_>>>()?))
}

/// Renders a chart: `std.native('helmTemplate')(name, chart, options)`. Source: Tanka.
#[builtin]
#[expect(clippy::needless_pass_by_value, reason = "the evaluator's macro hands arguments over")]
fn helm_template(name: IStr, chart: IStr, conf: Val) -> Result<Val> {
    let options = to_json(&conf, 0, &mut 0)?;
    let (render, entry) = SESSION
        .with_borrow(|session| session.as_ref().and_then(|s| Some((s.helm_template.clone()?, s.entry.clone()))))
        .ok_or_else(|| runtime("no evaluation is running".to_owned()))?;
    let from = options.get("calledFrom").and_then(Json::as_str).map_or(entry, str::to_owned);
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let chart = normalize_path(&format!("{folder}/{chart}"))
        .ok_or_else(|| runtime(format!("helmTemplate: the chart `{chart}` lies outside the project")))?;
    let call = HelmCall { from, name: name.as_str().to_owned(), chart, options };
    match render(&call) {
        Ok(json) => to_val(&json),
        Err(faults) => {
            SESSION.with_borrow_mut(|session| session.as_mut().map(|s| s.chart_faults.extend(faults)));
            Err(runtime(format!("helmTemplate: the chart `{}` cannot be rendered", call.chart)))
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign; other kinds tell their own text")]
fn diagnose(diagnostics: &mut Diagnostics, session: &Session, entry: &str, error: &Error) {
    if let ErrorKind::StaticAnalysisError(findings) = error.error() {
        for finding in findings.iter().filter(|f| f.level == analyze::DiagLevel::Error) {
            diagnostics.push(match &finding.span {
                Some(span) => Diagnostic::at(&JSONNET_ERROR, session.span(span), &finding.message),
                None => Diagnostic::in_file(&JSONNET_ERROR, entry, &finding.message),
            });
        }
        return;
    }
    let frames: Vec<TraceFrame> = error
        .trace()
        .0
        .iter()
        .filter_map(|f| Some(TraceFrame { span: session.span(f.location.as_ref()?), text: f.desc.clone() }))
        .collect();
    let (message, span): (String, Option<Span>) = match error.error() {
        ErrorKind::ImportSyntaxError { error, .. } => (error.message.clone(), Some(session.span(&error.location))),
        ErrorKind::NoSuchField(name, near) => {
            let message = format!("no such field: {name}");
            let span = frames.first().map(|f| f.span).or_else(|| mention(session, entry, name));
            let mut diagnostic = place(session, entry, span, &message);
            diagnostic.hints.extend(near.first().map(|n| format!("did you mean `{n}`?")));
            diagnostics.push(diagnostic.traced(frames));
            return;
        }
        ErrorKind::ImportFileNotFound(_, wanted) => {
            (format!("`{wanted}` does not exist beside the importing file nor in a `{LIBRARIES}` folder"), None)
        }
        _ => (error.error().to_string(), None),
    };
    let span = span.or_else(|| frames.first().map(|f| f.span));
    let path: Vec<&str> =
        error.trace().0.iter().filter(|f| f.location.is_none()).map(|f| f.desc.as_str()).rev().collect();
    let mut diagnostic = place(session, entry, span, &message).traced(frames);
    if span.is_none() && !path.is_empty() {
        diagnostic.message = format!("{message} (in {})", path.join(", "));
    }
    diagnostics.push(diagnostic);
}

fn place(session: &Session, entry: &str, span: Option<Span>, message: &str) -> Diagnostic {
    match span.or_else(|| Some(Span::new(*session.read.get(entry)?, 0, 0))) {
        Some(span) => Diagnostic::at(&JSONNET_ERROR, span, message),
        None => Diagnostic::in_file(&JSONNET_ERROR, entry, message),
    }
}

/// Finds where a field is read: the first `.name` in the entry file, else in the other files that were read.
/// The evaluator gives no position for a missing field.
fn mention(session: &Session, entry: &str, name: &str) -> Option<Span> {
    let others = session.read.iter().filter(|(path, _)| *path != entry);
    let mut all = session.read.get_key_value(entry).into_iter().chain(others);
    all.find_map(|(_, id)| {
        let text = session.sources.get(*id).text().clone();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let found = text.match_indices(name).find(|(at, _)| {
            let before = text.get(..*at).unwrap_or("");
            let after = text.get(at + name.len()..).unwrap_or("");
            (before.ends_with('.') && !after.starts_with(is_name)) || before.ends_with("['") || before.ends_with("[\"")
        });
        found.map(|(at, _)| Span::new(*id, at, at + name.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemoryObjects;
    use serde_json::json;

    fn eval_with(
        files: &[(&'static str, &'static str)],
        ext: &[(&str, External)],
        tla: &[(&str, External)],
    ) -> (Option<JsonnetOutput>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files(files.iter().copied());
        let map = |list: &[(&str, External)]| list.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let (ext_vars, arguments) = (map(ext), map(tla));
        let input = JsonnetInput {
            files: &files,
            entry: "a/main.jsonnet",
            ext_vars: &ext_vars,
            arguments: &arguments,
            helm_template: None,
        };
        let output = evaluate(&mut diagnostics, &sources, &input);
        let show = |d: &Diagnostic| match &d.primary {
            Some(label) => {
                let (path, at) = sources.locate(label.span);
                let marked = sources.get(label.span.file).text()[label.span.range()].to_owned();
                format!("{path}:{}:{} `{marked}` {}", at.line, at.column, d.message)
            }
            None => format!("{} {}", d.path.clone().unwrap_or_default(), d.message),
        };
        (output, diagnostics.as_slice().iter().map(show).collect())
    }

    fn eval(main: &'static str) -> (Option<Json>, Vec<String>) {
        let (output, faults) = eval_with(&[("a/main.jsonnet", main)], &[], &[]);
        (output.map(|o| o.value), faults)
    }

    #[test]
    fn values_keep_their_order_and_numbers_their_kind() {
        let (value, faults) = eval("{ z: 1, a: [true, null, 1.5, 'x'], h:: 2, big: 12345678901 }");
        assert_eq!(faults, [] as [String; 0]);
        assert_eq!(value.unwrap().to_string(), r#"{"z":1,"a":[true,null,1.5,"x"],"big":12345678901}"#);
    }

    #[test]
    fn inputs_come_as_variables_and_arguments() {
        let main = "function(tag, n=1) { t: tag, n: n, v: std.extVar('stagewright').values.x, c: std.extVar('c') }";
        let ext = [("stagewright", External::Data(json!({"values": {"x": 5}}))), ("c", External::Code("1 + 2".into()))];
        let tla = [("tag", External::Text("v1".into())), ("n", External::Code("3 * 2".into()))];
        let (output, faults) = eval_with(&[("a/main.jsonnet", main)], &ext, &tla);
        assert_eq!(faults, [] as [String; 0]);
        assert_eq!(output.unwrap().value, json!({"t": "v1", "n": 6, "v": 5, "c": 3}));
    }

    #[test]
    fn yaml_is_read_as_helm_reads_it() {
        let (value, faults) = eval("std.native('parseYaml')('a: yes\nb: 0777\nc: [1.50]\n')");
        assert_eq!((value.unwrap(), faults.len()), (json!([{"a": true, "b": 511, "c": [1.5]}]), 0));
        let (value, _) = eval("std.native('parseYaml')('a: 1\\n---\\nb: 2\\n')");
        assert_eq!(value.unwrap(), json!([{"a": 1}, {"b": 2}]));
        let (value, faults) = eval("std.native('parseYaml')('a: [')");
        assert!(value.is_none() && faults[0].contains("parseYaml: yaml:"), "{faults:?}");
    }

    #[test]
    fn imports_are_relative_or_vendored_and_recorded() {
        let files = [
            ("a/main.jsonnet", "(import 'lib/x.libsonnet') + (import 'k/k.libsonnet') + { t: importstr '../t.txt' }"),
            ("a/lib/x.libsonnet", "{ x: 1 }"),
            ("vendor/k/k.libsonnet", "{ k: std.thisFile }"),
            ("t.txt", "hello"),
            ("unread.txt", ""),
        ];
        let (output, faults) = eval_with(&files, &[], &[]);
        assert_eq!(faults, [] as [String; 0]);
        let output = output.unwrap();
        assert_eq!(output.value, json!({"x": 1, "k": "vendor/k/k.libsonnet", "t": "hello"}));
        assert_eq!(output.read, ["a/lib/x.libsonnet", "a/main.jsonnet", "t.txt", "vendor/k/k.libsonnet"]);
    }

    #[test]
    fn faults_have_their_place() {
        assert_eq!(eval("{ a: 1\n b: 2 }").1.len(), 1);
        assert_eq!(eval("{ a: nope }").1, ["a/main.jsonnet:1:6 `nope` undefined local: nope"]);
        let (_, faults) = eval("local o = { abc: 1 };\n{ x: o.abd }");
        assert_eq!(faults, ["a/main.jsonnet:2:8 `abd` no such field: abd"]);
        let (_, faults) = eval("{ x: error 'bad ' + 1 }");
        assert_eq!(faults, ["a/main.jsonnet:1:6 `error` runtime error: bad 1"]);
        let (_, faults) = eval("import 'none.jsonnet'");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("`none.jsonnet` does not exist beside"), "{faults:?}");
        let (_, faults) = eval("import '../../../etc/passwd'");
        assert!(faults[0].contains("does not exist"), "{faults:?}");
    }

    #[test]
    fn endless_work_is_stopped() {
        let (value, faults) = eval("local f(x) = 1 + f(x + 1); f(0)");
        assert!(value.is_none() && faults[0].contains("stack overflow"), "{faults:?}");
        let (value, faults) = eval("local a = { x: a }; a");
        assert!(value.is_none() && faults[0].contains("nests deeper"), "{faults:?}");
        let (value, faults) = eval("std.range(1, 1000000000)");
        assert!(value.is_none() && faults[0].contains("more than"), "{faults:?}");
    }

    #[test]
    fn traces_become_notes() {
        let (value, faults) = eval("std.trace('hello', { a: 1 })");
        assert_eq!((value.unwrap(), faults.len()), (json!({"a": 1}), 1));
        assert!(faults[0].ends_with("hello"), "{faults:?}");
    }
}
