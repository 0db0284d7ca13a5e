//! Rendering werf.yaml: its template files, data and functions. Source: werf 2.x.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::diag::{Diagnostic, Diagnostics, Rule, Severity, did_you_mean, rules};
use crate::eval::functions::werf::DEBUG;
use crate::eval::{
    Args, Ctx, Dict, DictKind, Family, FuncError, Function, FunctionSet, Host, Method, Missing, Object, Origins, Param,
    RenderEnv, SetOptions, Str, TemplateSet, Value,
};
use crate::source::glob::{PathMatcher, clean_path};
use crate::source::{FileId, Mode, Sources, Span};
use crate::syntax::gotemplate::{Delims, TokenKind, lex};
use crate::syntax::yaml::{self, Data, Node};

use super::giterminism::Setting;
use super::project_files::{ProjectFiles, ReadFault};
use super::remap::Places;
use super::{Giterminism, Inputs};

/// The name of the main template. Source: werf 2.x.
const MAIN: &str = "werfConfig";

/// Rendered text and the way back to the templates.
pub(super) struct RenderedConfig {
    /// The rendered text, registered; werf.yaml itself where nothing was rendered.
    pub file: FileId,
    /// The way back; `None` where nothing was rendered.
    pub places: Option<Places>,
}

/// Parses the template files and werf.yaml and renders them; `None` when that fails, which is reported.
pub(super) fn render(
    d: &mut Diagnostics,
    sources: &Sources,
    inputs: &Inputs<'_>,
    files: &ProjectFiles,
    giterminism: &Giterminism,
    main: FileId,
) -> Option<RenderedConfig> {
    let mut set = TemplateSet::new(options(Delims::default()));
    let mut faults = Diagnostics::new();
    add_templates(&mut faults, sources, &mut set, inputs, files, giterminism);
    set.parse(&mut faults, sources, MAIN, main);
    check_functions(&mut faults, sources, main);
    let failed = faults.has_errors();
    d.extend(faults);
    if failed {
        return None;
    }
    let text = sources.get(main).text().clone();
    if !text.contains("{{") {
        return Some(RenderedConfig { file: main, places: None });
    }
    let refusals = Refusals::default();
    let host = ConfigHost { environment: inputs.environment, giterminism, refusals: refusals.clone() };
    let env = RenderEnv { host: &host, now: inputs.now, sources, track: true };
    let mut session = set.session(env);
    match session.render(MAIN, data(inputs, files, giterminism, &refusals)) {
        Err(error) => {
            d.push(refusals.explain(error.to_diagnostic()));
            None
        }
        Ok(rendered) => {
            let text = String::from_utf8_lossy(&rendered.text).into_owned();
            let path = format!("{} (rendered)", sources.get(main).path());
            let file = sources.add(path, text);
            let origins = rendered.origins.unwrap_or_else(Origins::default);
            let places = Places::new(sources, file, &origins, session.origin_table());
            Some(RenderedConfig { file, places: Some(places) })
        }
    }
}

/// Adds the template files, so that werf.yaml, which comes last, wins.
fn add_templates(
    d: &mut Diagnostics,
    sources: &Sources,
    set: &mut TemplateSet,
    inputs: &Inputs<'_>,
    files: &ProjectFiles,
    giterminism: &Giterminism,
) {
    let directory = inputs.templates_dir;
    let Ok(all) = PathMatcher::new(["**/*.tmpl"], []) else { return };
    // Included templates come first, so that those of the project win.
    add_included(d, sources, set, inputs);
    let own = ProjectFiles { included: None, ..files.clone() };
    let paths = match own.glob(directory, &all) {
        Ok(paths) => paths,
        Err(fault) => {
            let found = Diagnostic::in_file(&rules::FILE_NOT_FOUND, directory, fault.to_string());
            d.push(match files.place(directory) {
                None => {
                    found.hint("the directory of templates is in the repository, relative to the project directory")
                }
                Some(_) => found,
            });
            return;
        }
    };
    for path in &paths {
        let Some(file) = super::load::read_text(d, sources, &own, path, giterminism, Setting::Templates) else {
            continue;
        };
        let name = path.strip_prefix(directory).unwrap_or(path).trim_start_matches('/');
        set.parse(d, sources, name, file);
        check_functions(d, sources, file);
    }
}

/// Adds included templates. They are named by their whole path, and one is whatever begins with the name of the
/// directory, with any extension. Source: werf 2.x.
fn add_included(d: &mut Diagnostics, sources: &Sources, set: &mut TemplateSet, inputs: &Inputs<'_>) {
    for (path, included) in inputs.included.iter().filter(|(path, _)| path.starts_with(inputs.templates_dir)) {
        let content = match included.read() {
            Ok(content) => content,
            Err(fault) => {
                d.push(Diagnostic::in_file(&rules::FILE_NOT_FOUND, included.shown.as_str(), fault.to_string()));
                continue;
            }
        };
        let Ok(text) = std::str::from_utf8(&content) else {
            let message = "the file is not UTF-8 text";
            d.push(Diagnostic::in_file(&rules::INVALID_VALUE, included.shown.as_str(), message));
            continue;
        };
        let file = sources.add(included.shown.as_str(), text);
        set.parse(d, sources, path, file);
        check_functions(d, sources, file);
    }
}

/// Functions of the time, of chance and of the network.
const UNSTABLE: &[&str] = &[
    "now",
    "ago",
    "uuidv4",
    "shuffle",
    "randAlphaNum",
    "randAlpha",
    "randAscii",
    "randNumeric",
    "randBytes",
    "randInt",
    "getHostByName",
    "encryptAES",
];

/// Functions that make keys and passwords by chance.
const SECRETIVE: &[&str] = &[
    "genPrivateKey",
    "genCA",
    "genCAWithKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htpasswd",
    "bcrypt",
];

/// Reports calls whose results the commit does not give.
fn check_functions(d: &mut Diagnostics, sources: &Sources, file: FileId) {
    let text = sources.get(file).text().clone();
    if !text.contains("{{") {
        return;
    }
    for token in lex(file, &text, Delims::default()).tokens.iter().filter(|t| t.kind == TokenKind::Identifier) {
        let span = Span::new(file, token.start as usize, token.end as usize);
        let Some(name) = text.get(span.range()) else { continue };
        if UNSTABLE.contains(&name) {
            let found = format!("`{name}` depends on more than the commit");
            d.push(Diagnostic::at(&rules::UNSTABLE_FUNCTION, span, found));
        } else if SECRETIVE.contains(&name) {
            let found = format!("what `{name}` makes could be guessed: chance repeats itself in werf.yaml");
            let mut found = Diagnostic::at(&rules::UNSTABLE_FUNCTION, span, found);
            found.severity = Severity::Error;
            d.push(found.hint("make the secret outside, and give it to the build by `secrets`"));
        }
    }
}

/// Returns the behaviour of werf.yaml's templates.
pub(super) fn options(delims: Delims<'static>) -> SetOptions {
    SetOptions {
        functions: functions(),
        delims,
        missing: Missing::Invalid,
        erase_no_value: false,
        include_depth: u32::MAX,
        tpl_defines_stay: true,
    }
}

/// Functions of Helm that werf.yaml has not.
const ABSENT: &[&str] = &[
    "expandenv",
    "lookup",
    "toToml",
    "mustToToml",
    "fromToml",
    "fromYamlArray",
    "fromJsonArray",
    "toYamlPretty",
    "mustToYaml",
    "sha512sum",
    "mustToDuration",
    "durationSeconds",
    "durationMilliseconds",
    "durationMicroseconds",
    "durationNanoseconds",
    "durationMinutes",
    "durationHours",
    "durationDays",
    "durationWeeks",
    "durationRoundTo",
    "durationTruncateTo",
];

static FUNCTIONS: &[Function] = &[
    Function::variadic(
        Family::Helm,
        "env",
        &[Param::Any],
        Param::Any,
        env,
        "Returns a variable of the environment, or a default; the variable must be allowed.",
    ),
    Function::new(Family::Yaml, "fromYaml", &[Param::Str], from_yaml, "Reads a YAML mapping; fails when it is none."),
];

/// Returns the functions of werf.yaml.
pub fn functions() -> Arc<FunctionSet> {
    static SET: OnceLock<Arc<FunctionSet>> = OnceLock::new();
    SET.get_or_init(|| Arc::new((*FunctionSet::helm()).clone().without(ABSENT).with(FUNCTIONS).with(DEBUG))).clone()
}

/// What a template asked for and did not get: the rule of it, and what to do.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Option<Refusal>>>);

/// The rule, and what to do.
type Refusal = (&'static Rule, Vec<String>);

impl Refusals {
    fn note(&self, rule: &'static Rule, hints: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((rule, hints));
    }

    /// Gives the failure of a template the rule and the advice of what it was refused.
    fn explain(&self, mut failure: Diagnostic) -> Diagnostic {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((rule, hints)) = refused else { return failure };
        (failure.rule, failure.severity) = (rule, rule.severity);
        hints.into_iter().fold(failure, Diagnostic::hint)
    }
}

/// The world of werf.yaml: allowed variables of the environment.
struct ConfigHost<'a> {
    environment: &'a BTreeMap<String, String>,
    giterminism: &'a Giterminism,
    refusals: Refusals,
}

impl Host for ConfigHost<'_> {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        match function {
            "env" => self.env(args),
            "getHostByName" => Ok(Value::str("")),
            _ => Err(FuncError::new(format!("{function} is not available here"))),
        }
    }

    /// Repeats itself, so that equal inputs give equal plans; see the rule `unstable-function`.
    fn random(&self, buffer: &mut [u8]) {
        crate::eval::NoHost.random(buffer);
    }
}

impl ConfigHost<'_> {
    fn env(&self, args: &[Value]) -> Result<Value, FuncError> {
        if args.len() > 2 {
            return Err(FuncError::new(format!("env takes a name and at most one default, not {}", args.len() - 1)));
        }
        let name = String::from_utf8_lossy(&crate::eval::print::text(args.any(0))).into_owned();
        if !self.giterminism.allows_env(&name) {
            let hint = self.giterminism.rule_to_add("config.goTemplateRendering.allowEnvVariables", Some(&name));
            self.refusals.note(&rules::NOT_PERMITTED, vec![hint]);
            return Err(FuncError::new(format!("the variable {name:?} is not allowed")));
        }
        match (self.environment.get(&name), args.get(1)) {
            (Some(value), _) if !value.is_empty() => Ok(Value::str(value.as_str())),
            (_, Some(default)) => Ok(default.clone()),
            (None, None) if !self.giterminism.loose => {
                let hint = format!("set it, or give a default: `env {name:?} \"\"`");
                self.refusals.note(&rules::TEMPLATE_ERROR, vec![hint]);
                Err(FuncError::new(format!("the variable {name:?} is not set")))
            }
            (Some(_) | None, None) => Ok(Value::str("")),
        }
    }
}

fn env(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    ctx.env.host.call("env", args)
}

/// Reads YAML as go-yaml v2 does into a map: nested maps have keys of any type.
fn from_yaml(_: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let text = args.string(0);
    let options = yaml::Options { duplicates: None, ..yaml::Options::WERF };
    let node = yaml::decode(&text.lossy(), FileId(0), 0, options).map_err(|e| FuncError::new(e.message))?;
    match &node.data {
        Data::Mapping(mapping) => {
            let entries = mapping.iter().map(|e| (Str::from(&*e.name), value(&e.value)));
            Ok(Value::Dict(Rc::new(Dict::from_entries(DictKind::Any, entries))))
        }
        Data::Null => Ok(Value::Dict(Rc::new(Dict::new(DictKind::Any)))),
        Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) | Data::Sequence(_) => {
            Err(FuncError::new(format!("yaml: cannot read a {} into a map", node.kind())))
        }
    }
}

fn value(node: &Node) -> Value {
    match &node.data {
        Data::Null => Value::Nil,
        Data::Bool(flag) => Value::Bool(*flag),
        Data::Int(number) => Value::Int(*number),
        Data::Uint(number) => Value::Uint64(*number),
        Data::Float(number) => Value::Float(*number),
        Data::String(text) => Value::str(&**text),
        Data::Sequence(items) => Value::list(items.iter().map(value).collect()),
        Data::Mapping(mapping) => {
            let entries = mapping.iter().map(|e| (Str::from(&*e.name), value(&e.value)));
            Value::Dict(Rc::new(Dict::from_entries(DictKind::AnyKeys, entries)))
        }
    }
}

fn data(inputs: &Inputs<'_>, files: &ProjectFiles, giterminism: &Giterminism, refusals: &Refusals) -> Value {
    let text = |t: &str| Value::str(t);
    let dict = |entries: Vec<(&str, Value)>| Value::dict(entries.into_iter().map(|(k, v)| (Str::from(k), v)));
    let date = dict(vec![("Human", text(&inputs.commit.date_human)), ("Unix", text(&inputs.commit.date_unix))]);
    let commit = dict(vec![("Hash", text(&inputs.commit.hash)), ("Date", date)]);
    let files = FilesObject { files: files.clone(), giterminism: giterminism.clone(), refusals: refusals.clone() };
    dict(vec![("Env", text(inputs.env_name)), ("Commit", commit), ("Files", Value::object(files))])
}

/// `.Files`.
struct FilesObject {
    files: ProjectFiles,
    giterminism: Giterminism,
    refusals: Refusals,
}

static METHODS: &[Method] = &[
    Method { name: "Get", params: &[Param::Str], rest: None },
    Method { name: "Glob", params: &[Param::Str], rest: None },
    Method { name: "Exists", params: &[Param::Str], rest: None },
    Method { name: "IsDir", params: &[Param::Str], rest: None },
];

impl Object for FilesObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed("config.files")
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, ctx: &mut Ctx<'_>, method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
        let path = args.string(0);
        let path = path.lossy();
        let path = path.trim_start_matches('/');
        let entry = || self.files.entry(path).ok().flatten();
        match method.name {
            "Get" => self.get(ctx, path),
            "Glob" => self.glob(ctx, path),
            "Exists" => Ok(Value::Bool(entry().is_some())),
            _ => Ok(Value::Bool(entry().is_some_and(|e| e.mode == Mode::Directory))),
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{}");
    }
}

impl FilesObject {
    fn get(&self, ctx: &mut Ctx<'_>, path: &str) -> Result<Value, FuncError> {
        let content = self.read(path).map_err(|fault| {
            if let ReadFault::NotFound { path } = &fault {
                self.refusals.note(&rules::TEMPLATE_ERROR, vec![self.hint_of_missing(path)]);
            }
            self.refuse(&[fault])
        })?;
        Ok(text_of(ctx, path, &content))
    }

    /// Says what to do about a file that is nowhere.
    fn hint_of_missing(&self, path: &str) -> String {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let all = PathMatcher::new(["*"], []).ok();
        let beside = all.and_then(|all| self.files.glob(directory, &all).ok()).unwrap_or_default();
        let names = beside.iter().map(|path| path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name));
        match did_you_mean(name, names) {
            Some(near) if directory.is_empty() => format!("did you mean `{near}`?"),
            Some(near) => format!("did you mean `{directory}/{near}`?"),
            None => "add the file and commit it, or use `--dev`; paths begin in the project directory, and files that \
                     git ignores are not seen"
                .to_owned(),
        }
    }

    fn read(&self, path: &str) -> Result<Arc<[u8]>, ReadFault> {
        self.files.read(path, &|path| self.giterminism.allows_disk(Setting::Files, path))
    }

    /// Tells faults together: the gravest kind, and what to do about each.
    fn refuse(&self, faults: &[ReadFault]) -> FuncError {
        let mut hints: Vec<String> = Vec::new();
        for hint in faults.iter().flat_map(|fault| fault.hints(&self.giterminism, Setting::Files)) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let grave = [&rules::UNCOMMITTED_FILE, &rules::SUBMODULE_STATE, &rules::LFS_POINTER];
        let refused = faults.iter().map(ReadFault::rule).find(|rule| grave.contains(rule));
        if let Some(rule) = refused {
            self.refusals.note(rule, hints);
        }
        FuncError::new(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn glob(&self, ctx: &mut Ctx<'_>, pattern: &str) -> Result<Value, FuncError> {
        let cleaned = clean_path(pattern);
        let parts: Vec<&str> = cleaned.split('/').collect();
        let fixed = parts.iter().take_while(|p| !p.contains(['*', '?', '[', '{', '\\'])).count();
        let (base, rest) = parts.split_at_checked(fixed).unwrap_or((&parts, &[]));
        let rest = rest.join("/");
        let matcher = PathMatcher::new([rest.as_str()], []).map_err(|e| FuncError::new(e.to_string()))?;
        let paths = self.files.glob(&base.join("/"), &matcher).map_err(|e| FuncError::new(e.to_string()))?;
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for path in paths {
            match self.read(&path) {
                Ok(content) => {
                    let text = text_of(ctx, &path, &content);
                    found.push((Str::from(path), text));
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Value::dict(found)) } else { Err(self.refuse(&faults)) }
    }
}

/// Returns the content of a file as a value that knows where it comes from.
fn text_of(ctx: &mut Ctx<'_>, path: &str, content: &[u8]) -> Value {
    match std::str::from_utf8(content) {
        Ok(text) => {
            let file = ctx.env.sources.note_file(path, text);
            ctx.text_of_file(file)
        }
        Err(_) => Value::str(content),
    }
}
