//! The secret values and files of a chart, decrypted: `secret-values.yaml` and the folder `secret/`.
//!
//! What lives here: [`open_secrets`], what is reported of what cannot be decrypted, and [`SecretHost`], which answers
//! `werf_secret_file`. What does not: the format and its keys (`secret`), where a key is found (`cli`).
//!
//! The one idea: a file of secret values is read as any file of values; then each scalar is decrypted where it stands, so
//! every value, and every fault, still has its place.
//!
//! Source: werf 2.x. Secret values of the chart lie over the values that the user gives; those of a subchart are defaults
//! of it; every scalar is a text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diag::rules::{SECRET_KEY, SECRET_VALUE};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean};
use crate::eval::{FuncError, Host, Str, Value};
use crate::source::{FileId, Files, Sources, Span, normalize_path};

use super::load::{Chart, values_of_text};
use super::secret::{SecretError, SecretKey};
use super::tree::{Data, Tree, TreeMap};
use super::values::merge;

/// The file of secret values in a chart.
pub const SECRET_VALUES: &str = "secret-values.yaml";
/// The folder of secret files in a chart.
const FOLDER: &str = "secret/";
/// How many files an error lists.
const LISTED: usize = 10;

/// The key for secret values, as it was found.
#[derive(Clone, Debug, Default)]
pub enum KeyInForce {
    /// There is none.
    #[default]
    Missing,
    /// What was found is none: why.
    Broken(String),
    /// A key, and where it was found.
    Found(SecretKey, String),
    /// Secret values are taken as they are, encrypted.
    Ignored,
}

impl KeyInForce {
    /// Returns the key.
    pub fn key(&self) -> Option<&SecretKey> {
        if let Self::Found(key, _) = self { Some(key) } else { None }
    }
}

/// What secret values are read with.
#[derive(Clone, Debug, Default)]
pub struct SecretInputs {
    /// The key.
    pub key: KeyInForce,
    /// `--secret-values`: name, path in the project where it lies there, and content.
    pub files: Vec<(String, Option<String>, Arc<[u8]>)>,
}

/// What was decrypted.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The values of the chart and of each file that is given; later ones lie over earlier ones.
    pub values: Vec<TreeMap>,
    /// The texts that secret values were read from, those of subcharts too.
    pub sources: BTreeSet<FileId>,
    /// The files below `secret/`, by their names there.
    pub files: BTreeMap<String, Arc<[u8]>>,
    /// Every text that must not be shown.
    pub texts: Vec<String>,
}

/// Decrypts the secret values and files of a chart; those of subcharts become their defaults. Faults go to `diagnostics`.
pub fn open_secrets(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    chart: &mut Chart,
    inputs: &SecretInputs,
) -> Secrets {
    let mut opening = Opening { diagnostics, sources, key: &inputs.key, told: false, secrets: Secrets::default() };
    let mut values = vec![opening.values_of(chart)];
    for (name, _, bytes) in &inputs.files {
        values.push(opening.values(name, bytes, chart));
    }
    opening.secrets.values = values;
    for file in chart.files.iter() {
        let Some(name) = file.name.strip_prefix(FOLDER) else { continue };
        let shown = format!("{}/{}", chart.place, file.name);
        if let Some(bytes) = opening.file(&shown, file.content.bytes()) {
            opening.secrets.files.insert(name.to_owned(), bytes);
        }
    }
    chart.subcharts.iter_mut().for_each(|subchart| opening.subchart(subchart));
    opening.secrets
}

/// Returns every secret text of a chart in another tree of files; `None` when some of it cannot be decrypted.
pub fn secret_texts(files: &Files, chart_dir: &str, inputs: &SecretInputs) -> Option<Vec<String>> {
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let key = &inputs.key;
    let mut opening =
        Opening { diagnostics: &mut diagnostics, sources: &sources, key, told: false, secrets: Secrets::default() };
    let given: Vec<&str> = inputs.files.iter().filter_map(|(_, path, _)| path.as_deref()).collect();
    let inside = |path: &str| path.strip_prefix(chart_dir).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
    let mut paths: Vec<String> = files.walk(chart_dir).ok()?.into_iter().map(|(path, _)| path).collect();
    paths.extend(given.iter().filter(|path| inside(path).is_none()).map(|path| (*path).to_owned()));
    let any = |path: &str| {
        let name = inside(path).unwrap_or_default();
        let own = name
            .rsplit_once("charts/")
            .map_or(name.as_str(), |(_, below)| below.split_once('/').map_or(below, |(_, rest)| rest));
        (own == SECRET_VALUES || given.contains(&path), own.starts_with(FOLDER))
    };
    for path in paths {
        let (is_values, is_file) = any(&path);
        let Some(bytes) = (is_values || is_file).then(|| files.read(&path).ok()).flatten() else { continue };
        if is_values {
            let read = values_of_text(opening.diagnostics, &sources, &path, &bytes, super::Helm::V3);
            opening.decrypted(read.unwrap_or_default());
        } else {
            opening.file(&path, &bytes);
        }
    }
    let texts = std::mem::take(&mut opening.secrets.texts);
    (!diagnostics.has_errors()).then_some(texts)
}

/// Returns the decrypted leaves of a file of secret values by their paths, with their places; none where it is not there
/// or cannot be decrypted.
pub fn secret_leaves(
    files: &Files,
    sources: &Sources,
    path: &str,
    inputs: &SecretInputs,
) -> BTreeMap<String, (String, Option<Span>)> {
    let mut diagnostics = Diagnostics::new();
    let key = &inputs.key;
    let mut found = BTreeMap::new();
    let Ok(bytes) = files.read(path) else { return found };
    let secrets = Secrets::default();
    let mut opening = Opening { diagnostics: &mut diagnostics, sources, key, told: false, secrets };
    let read = values_of_text(opening.diagnostics, sources, path, &bytes, super::Helm::V3);
    let values = opening.decrypted(read.unwrap_or_default());
    if !diagnostics.has_errors() {
        leaves(&values.into(), String::new(), &mut found);
    }
    found
}

/// Returns the secret values of a chart with those that are given over them, all as they are: encrypted.
pub(super) fn sealed_values(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    chart: &Chart,
    inputs: &SecretInputs,
) -> TreeMap {
    let mut all = TreeMap::new();
    for (shown, bytes) in sealed_files(chart, inputs) {
        let read = values_of_text(diagnostics, sources, &shown, &bytes, chart.helm).unwrap_or_default();
        merge(&mut all, read.into_iter().map(|(key, value)| (key, as_text(value, sources))).collect());
    }
    all
}

/// The files of secret values of a chart, subcharts left out, and those that are given.
fn sealed_files(chart: &Chart, inputs: &SecretInputs) -> Vec<(String, Arc<[u8]>)> {
    let own = chart.file(SECRET_VALUES);
    let own = own.map(|file| (format!("{}/{SECRET_VALUES}", chart.place), file.content.bytes().into()));
    own.into_iter().chain(inputs.files.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone()))).collect()
}

/// Returns values with texts for numbers, which an encrypted text may look like.
fn as_text(tree: Tree, sources: &Sources) -> Tree {
    let data = match tree.data {
        Data::Map(map) => Data::Map(map.into_iter().map(|(key, value)| (key, as_text(value, sources))).collect()),
        Data::List(list) => {
            let items = Arc::unwrap_or_clone(list).into_iter();
            Data::List(Arc::new(items.map(|item| as_text(item, sources)).collect()))
        }
        Data::Bool(_) | Data::Int(_) | Data::Float(_) => {
            let written = tree.span.and_then(|span| sources.get(span.file).text().get(span.range()).map(str::to_owned));
            Data::String(written.unwrap_or_default().into())
        }
        kept @ (Data::Null | Data::String(_)) => kept,
    };
    Tree { data, ..tree }
}

/// Reports what is not encrypted among secret values and files of a chart and its subcharts, whatever its key.
pub(super) fn report_unsealed(diagnostics: &mut Diagnostics, sources: &Sources, chart: &Chart, inputs: &SecretInputs) {
    for (shown, bytes) in sealed_files(chart, inputs) {
        let read = values_of_text(diagnostics, sources, &shown, &bytes, chart.helm).unwrap_or_default();
        let mut found = BTreeMap::new();
        leaves(&as_text(read.into(), sources), String::new(), &mut found);
        for (path, (text, span)) in found {
            if text.is_empty() || SecretKey::is_encrypted(&text) {
                continue;
            }
            // Somebody forgot to encrypt it.
            sources.hide(sources.mask().with([text]));
            let message = format!("the secret value `{path}` is not encrypted");
            let d = match span {
                Some(span) => Diagnostic::at(&SECRET_VALUE, span, message),
                None => Diagnostic::in_file(&SECRET_VALUE, shown.clone(), message),
            };
            diagnostics.push(d.hint("encrypt the file: stagewright secret encrypt --values FILE -o FILE"));
        }
    }
    for file in chart.files.iter().filter(|file| file.name.starts_with(FOLDER)) {
        let text = String::from_utf8_lossy(file.content.bytes());
        if !text.trim().is_empty() && !SecretKey::is_encrypted(&text) {
            let shown = format!("{}/{}", chart.place, file.name);
            let d = Diagnostic::in_file(&SECRET_VALUE, shown, "the secret file is not encrypted");
            diagnostics.push(d.hint("encrypt it: stagewright secret encrypt FILE -o FILE"));
        }
    }
    let nothing = SecretInputs { key: inputs.key.clone(), files: Vec::new() };
    chart.subcharts.iter().for_each(|subchart| report_unsealed(diagnostics, sources, subchart, &nothing));
}

/// Depth is bounded by the reader of values.
fn leaves(tree: &Tree, path: String, found: &mut BTreeMap<String, (String, Option<Span>)>) {
    match &tree.data {
        Data::Map(map) => {
            for (key, value) in map {
                let below = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                leaves(value, below, found);
            }
        }
        Data::List(list) => {
            for (at, item) in list.iter().enumerate() {
                leaves(item, format!("{path}[{at}]"), found);
            }
        }
        Data::String(text) => {
            found.insert(path, (text.to_string(), tree.span));
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) => {}
    }
}

struct Opening<'a> {
    diagnostics: &'a mut Diagnostics,
    sources: &'a Sources,
    key: &'a KeyInForce,
    /// Whether it was told that there is no key.
    told: bool,
    secrets: Secrets,
}

/// A value that cannot be decrypted.
struct Fault {
    span: Option<Span>,
    path: String,
    cause: SecretError,
}

impl Opening<'_> {
    fn values_of(&mut self, chart: &Chart) -> TreeMap {
        let Some(file) = chart.file(SECRET_VALUES) else { return TreeMap::new() };
        let bytes: Arc<[u8]> = file.content.bytes().into();
        self.values(&format!("{}/{SECRET_VALUES}", chart.place), &bytes, chart)
    }

    fn values(&mut self, shown: &str, bytes: &Arc<[u8]>, chart: &Chart) -> TreeMap {
        let read = values_of_text(self.diagnostics, self.sources, shown, bytes, chart.helm).unwrap_or_default();
        self.secrets
            .sources
            .extend(read.iter().filter_map(|(_, value)| value.key.or(value.span)).map(|span| span.file));
        self.decrypted(read)
    }

    fn subchart(&mut self, chart: &mut Chart) {
        let values = self.values_of(chart);
        if !values.is_empty() {
            let mut defaults = std::mem::take(&mut chart.values).into_map().unwrap_or_default();
            merge(&mut defaults, values);
            chart.values = defaults.into();
        }
        chart.subcharts.iter_mut().for_each(|subchart| self.subchart(subchart));
    }

    /// Decrypts every scalar but nulls.
    fn decrypted(&mut self, values: TreeMap) -> TreeMap {
        if matches!(self.key, KeyInForce::Ignored) {
            return values;
        }
        let mut faults = Vec::new();
        let values = self.map(values, "", &mut faults);
        self.report(faults);
        values
    }

    /// Depth is bounded by the reader of values.
    fn map(&mut self, map: TreeMap, path: &str, faults: &mut Vec<Fault>) -> TreeMap {
        let entry = |(key, value): (Arc<str>, Tree)| {
            let below = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            (key, self.tree(value, &below, faults))
        };
        map.into_iter().map(entry).collect()
    }

    fn tree(&mut self, tree: Tree, path: &str, faults: &mut Vec<Fault>) -> Tree {
        let data = match tree.data {
            Data::Null => Data::Null,
            Data::Map(map) => Data::Map(self.map(map, path, faults)),
            Data::List(list) => {
                let items = Arc::unwrap_or_clone(list).into_iter().enumerate();
                let item = |(at, item)| self.tree(item, &format!("{path}[{at}]"), faults);
                Data::List(Arc::new(items.map(item).collect()))
            }
            Data::String(text) => self.scalar(&text, tree.span, path, faults),
            Data::Bool(_) | Data::Int(_) | Data::Float(_) => {
                let written = tree.span.and_then(|span| {
                    let file = self.sources.get(span.file);
                    file.text().get(span.range()).map(str::to_owned)
                });
                self.scalar(&written.unwrap_or_default(), tree.span, path, faults)
            }
        };
        Tree { data, ..tree }
    }

    fn scalar(&mut self, text: &str, span: Option<Span>, path: &str, faults: &mut Vec<Fault>) -> Data {
        let plain = match self.key {
            KeyInForce::Found(key, _) => key.decrypt(text).and_then(|plain| {
                // A text that another key makes is hardly ever text.
                String::from_utf8(plain).map_err(|_| SecretError::WrongKey)
            }),
            KeyInForce::Missing | KeyInForce::Broken(_) if text.trim().is_empty() => Ok(String::new()),
            KeyInForce::Missing | KeyInForce::Broken(_) | KeyInForce::Ignored => Err(SecretError::Key),
        };
        match plain {
            Ok(plain) => {
                self.secrets.texts.push(plain.clone());
                Data::String(plain.into())
            }
            Err(cause) => {
                if !SecretKey::is_encrypted(text) {
                    // Somebody forgot to encrypt it.
                    self.secrets.texts.push(text.to_owned());
                }
                faults.push(Fault { span, path: path.to_owned(), cause });
                Data::String("".into())
            }
        }
    }

    /// Decrypts a file; `None` after a fault.
    fn file(&mut self, shown: &str, bytes: &[u8]) -> Option<Arc<[u8]>> {
        let text = String::from_utf8_lossy(bytes);
        let key = match self.key {
            KeyInForce::Ignored => return Some(bytes.into()),
            KeyInForce::Missing | KeyInForce::Broken(_) if text.trim().is_empty() => return Some(bytes.into()),
            KeyInForce::Missing | KeyInForce::Broken(_) => {
                self.report_no_key(Diagnostic::in_file(&SECRET_KEY, shown, "the secret file needs a key"));
                return None;
            }
            KeyInForce::Found(key, _) => key,
        };
        match key.decrypt(&text) {
            Ok(plain) => {
                // Of what is no text, the form in which it stands in a manifest.
                let told = match std::str::from_utf8(&plain) {
                    Ok(text) => text.to_owned(),
                    Err(_) => base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &plain),
                };
                self.secrets.texts.push(told);
                Some(plain.into())
            }
            Err(cause) => {
                let d =
                    Diagnostic::in_file(&SECRET_VALUE, shown, format!("the secret file cannot be decrypted: {cause}"));
                self.diagnostics.push(d.hint(self.hint(cause, true)));
                None
            }
        }
    }

    /// With a wrong key every value is a fault: the first stands for all.
    fn report(&mut self, mut faults: Vec<Fault>) {
        faults.sort_by_key(|fault| fault.span.map(|span| (span.file, span.start)));
        let wrong = faults.iter().filter(|fault| fault.cause == SecretError::WrongKey).count();
        let mut told_wrong = false;
        for fault in faults {
            let at = |rule, message: String| match fault.span {
                Some(span) => Diagnostic::at(rule, span, message),
                None => Diagnostic::in_file(rule, SECRET_VALUES, message),
            };
            match fault.cause {
                SecretError::Key => {
                    let message = format!("the secret value `{}` needs a key", fault.path);
                    self.report_no_key(at(&SECRET_KEY, message));
                }
                SecretError::Format => {
                    let message = format!("the secret value `{}` is not encrypted", fault.path);
                    self.diagnostics.push(at(&SECRET_VALUE, message).hint(self.hint(fault.cause, false)));
                }
                SecretError::WrongKey if told_wrong => {}
                SecretError::WrongKey => {
                    told_wrong = true;
                    let more = if wrong > 1 { format!(", and {} more of this file", wrong - 1) } else { String::new() };
                    let message =
                        format!("the secret value `{}`{more} cannot be decrypted: the key does not fit", fault.path);
                    self.diagnostics.push(at(&SECRET_VALUE, message).hint(self.hint(fault.cause, false)));
                }
            }
        }
    }

    fn hint(&self, cause: SecretError, is_file: bool) -> String {
        match (cause, self.key) {
            (SecretError::WrongKey, KeyInForce::Found(_, from)) => {
                format!("the key of {from} is in force: set STAGEWRIGHT_SECRET_KEY to the one it was encrypted with")
            }
            (SecretError::Format, _) if is_file => "encrypt it: stagewright secret encrypt FILE -o FILE".to_owned(),
            (SecretError::Format, _) => "encrypt the file: stagewright secret encrypt --values FILE -o FILE".to_owned(),
            (SecretError::WrongKey | SecretError::Key, _) => "set STAGEWRIGHT_SECRET_KEY to the right key".to_owned(),
        }
    }

    /// Told once: without a key nothing can be decrypted.
    fn report_no_key(&mut self, diagnostic: Diagnostic) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let diagnostic = match self.key {
            KeyInForce::Broken(why) => diagnostic.hint(why.clone()),
            KeyInForce::Missing | KeyInForce::Found(..) | KeyInForce::Ignored => diagnostic,
        };
        let places = "set STAGEWRIGHT_SECRET_KEY or WERF_SECRET_KEY, or write the key to `.werf_secret_key` in the project \
                      or to `~/.werf/global_secret_key`";
        let ignore = "`--ignore-secret-key` goes on with encrypted values";
        self.diagnostics.push(diagnostic.hint(places).hint(ignore));
    }
}

/// A host that knows the decrypted files of a chart; for all else it asks another.
pub struct SecretHost<'a> {
    /// Who is asked for all else.
    pub host: &'a dyn Host,
    /// The files, by their names below `secret/`.
    pub files: &'a BTreeMap<String, Arc<[u8]>>,
}

impl Host for SecretHost<'_> {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        if function != "werf_secret_file" {
            return self.host.call(function, args);
        }
        let typed = args.first().and_then(Value::as_bytes).map(String::from_utf8_lossy).unwrap_or_default();
        if typed.starts_with('/') {
            return Err(FuncError::new(format!("`{typed}` is absolute: files are named from `secret/` of the chart")));
        }
        let path = normalize_path(&typed).unwrap_or_default();
        if let Some(bytes) = self.files.get(&path) {
            return Ok(Value::Str(Str::new(bytes.to_vec())));
        }
        let names = || self.files.keys().map(String::as_str);
        let list: Vec<&str> = names().take(LISTED).collect();
        let known = match (did_you_mean(&typed, names()), list.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "there are no secret files".to_owned(),
            (None, false) => format!("there are: {}", list.join(", ")),
        };
        Err(FuncError::new(format!("there is no secret file `{typed}`; {known}")))
    }

    fn random(&self, buffer: &mut [u8]) {
        self.host.random(buffer);
    }

    fn api_versions(&self) -> Result<Option<Vec<String>>, String> {
        self.host.api_versions()
    }

    fn secrets(&self) -> Vec<String> {
        self.host.secrets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::secret::encrypt_values;
    use crate::chart::{LoadOptions, RenderOptions, ValuesInput, compose, load, render};
    use crate::eval::NoHost;
    use crate::source::MemoryObjects;

    fn key(digits: &str) -> SecretKey {
        SecretKey::from_hex(&digits.repeat(16)).unwrap()
    }

    fn inputs(digits: &str) -> SecretInputs {
        SecretInputs { key: KeyInForce::Found(key(digits), "a test".into()), files: Vec::new() }
    }

    fn encrypted(text: &str) -> String {
        let mut next = 0;
        let mut iv = || {
            next += 1;
            [next; 16]
        };
        encrypt_values(&key("5a"), text, None, &mut iv).unwrap()
    }

    fn chart(files: &[(&str, String)]) -> (Files, Sources, Chart) {
        let meta = "apiVersion: v2\nname: c\nversion: 1.0.0\n";
        let list: Vec<(String, String)> = files.iter().map(|(p, t)| (format!("c/{p}"), t.clone())).collect();
        let all = list.iter().map(|(p, t)| (p.as_str(), t.as_str()));
        let files = MemoryObjects::files(all.chain([("c/Chart.yaml", meta), ("c/charts/s/Chart.yaml", meta)]));
        let sources = Sources::new();
        let chart = load(&mut Diagnostics::new(), &sources, &files, "c", &LoadOptions::default()).unwrap();
        (files, sources, chart)
    }

    fn told(d: &Diagnostics, sources: &Sources) -> Vec<String> {
        let place = |d: &Diagnostic| d.primary.as_ref().map(|l| sources.place(l.span).to_string());
        d.as_slice().iter().map(|x| format!("{}: {}", place(x).or(x.path.clone()).unwrap(), x.message)).collect()
    }

    #[test]
    fn values_of_the_chart_win_over_the_users_and_those_of_subcharts_are_defaults() {
        let (_, sources, mut chart) = chart(&[
            (SECRET_VALUES, encrypted("a: one\nport: 80\nlist: [x, ~]\nmore: {b: two}\n")),
            ("charts/s/secret-values.yaml", encrypted("t: sub\nu: sub\n")),
            ("values.yaml", "a: default\nmore: {c: 3}\n".into()),
        ]);
        let given: Arc<[u8]> = encrypted("more: {b: given}\n").into_bytes().into();
        let inputs = SecretInputs { files: vec![("given.yaml".into(), None, given)], ..inputs("5a") };
        let mut d = Diagnostics::new();
        let secrets = open_secrets(&mut d, &sources, &mut chart, &inputs);
        assert_eq!(secrets.texts, ["one", "x", "two", "80", "given", "sub", "sub"]);
        let user: Arc<[u8]> = b"a: user\nc\x3a {t: user}\n"[..].into();
        let input =
            ValuesInput { files: vec![("user.yaml".into(), user)], secrets: secrets.values, ..ValuesInput::default() };
        let values = compose(&mut d, &sources, &chart, &input).unwrap();
        let expected = r#"{"a":"one","c":{"global":{},"t":"user","u":"sub"},"list":["x",null],"more":{"b":"given","c":3},"port":"80"}"#;
        assert_eq!(values.values.to_json().to_string(), expected);
        let message = "c/secret-values.yaml:1: `a` of user.yaml is not used: the secret value wins";
        assert_eq!(told(&d, &sources), [message]);
        assert_eq!(sources.place(values.values_origin("port").unwrap()).to_string(), "c/secret-values.yaml:2");
    }

    #[test]
    fn a_wrong_key_a_missing_one_and_plain_text_are_told_with_their_places() {
        let values = || (SECRET_VALUES, encrypted("db:\n  password: hunter2\n  user: admin\n"));
        let faults = |files: &[(&str, String)], key: KeyInForce| {
            let (_, sources, mut chart) = chart(files);
            let mut d = Diagnostics::new();
            open_secrets(&mut d, &sources, &mut chart, &SecretInputs { key, files: Vec::new() });
            told(&d, &sources)
        };
        let found = |digits| KeyInForce::Found(key(digits), "a test".into());
        assert_eq!(faults(&[values()], found("5a")), [""; 0]);
        let wrong = faults(&[values()], found("0f"));
        let message =
            "the secret value `db.password`, and 1 more of this file cannot be decrypted: the key does not fit";
        assert_eq!(wrong, [format!("c/secret-values.yaml:2: {message}")]);
        let missing = faults(&[values(), ("secret/a", "1000".into())], KeyInForce::Missing);
        assert_eq!(missing, ["c/secret-values.yaml:2: the secret value `db.password` needs a key"]);
        let plain = faults(&[(SECRET_VALUES, "a: [plain]\n".into()), ("secret/x", "plain".into())], found("5a"));
        let expected = [
            "c/secret-values.yaml:1: the secret value `a[0]` is not encrypted",
            "c/secret/x: the secret file cannot be decrypted: it is not an encrypted text",
        ];
        assert_eq!(plain, expected);
        assert_eq!(faults(&[(SECRET_VALUES, "a: plain\n".into())], KeyInForce::Ignored), [""; 0]);
        assert_eq!(faults(&[(SECRET_VALUES, "a: ''\nb:\n".into())], KeyInForce::Missing), [""; 0]);
    }

    #[test]
    fn templates_read_secret_files() {
        let template = |path: &str| {
            let text =
                format!("kind: A\napiVersion: v1\nmetadata: {{name: a}}\nx: {{{{ werf_secret_file {path:?} }}}}");
            let file = ("secret/tls/key.pem", key("5a").encrypt(b"certificate", [1; 16]) + "\n");
            let (_, sources, mut chart) = chart(&[("templates/a.yaml", text), file]);
            let mut d = Diagnostics::new();
            let secrets = open_secrets(&mut d, &sources, &mut chart, &inputs("5a"));
            let values = compose(&mut d, &sources, &chart, &ValuesInput::default()).unwrap();
            let host = SecretHost { host: &NoHost, files: &secrets.files };
            let options = RenderOptions { host: &host, werf_functions: true, ..RenderOptions::default() };
            let rendered = render(&mut d, &sources, &values, &options);
            let fault = d.as_slice().first().map(|d| d.message.clone());
            fault.unwrap_or_else(|| rendered.manifests[0].text.clone())
        };
        assert!(template("tls/key.pem").ends_with("x: certificate"));
        assert!(template("./tls/../tls/key.pem").ends_with("x: certificate"));
        assert!(template("tls/key.pen").ends_with("did you mean `tls/key.pem`?"));
        assert!(template("other").contains("there are: tls/key.pem"));
        assert!(template("/tls/key.pem").contains("is absolute"));
    }

    #[test]
    fn the_texts_of_an_older_tree_are_known_or_it_is_told_that_they_are_not() {
        let file = key("5a").encrypt(b"certificate", [1; 16]);
        let (files, ..) = chart(&[
            (SECRET_VALUES, encrypted("a: one1\n")),
            ("charts/s/secret-values.yaml", encrypted("b: two2\n")),
            ("secret/x", file),
            ("templates/secret/x", "no secret".into()),
        ]);
        let mut texts = secret_texts(&files, "c", &inputs("5a")).unwrap();
        texts.sort();
        assert_eq!(texts, ["certificate", "one1", "two2"]);
        assert_eq!(secret_texts(&files, "c", &inputs("0f")), None);
    }
}
