//! Loading: giterminism rules, rendering, documents, checks; one after the other, all faults collected.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{FileId, Files, Gap, Sources, Span};
use crate::syntax::yaml::{self, Node};

use super::giterminism::Setting;
use super::project_files::{ProjectFiles, ReadFault};
use super::{Config, Giterminism, Included, documents, render, resolve};

/// The names of the file, in the order in which they are looked for.
const NAMES: [&str; 2] = ["werf.yaml", "werf.yml"];

/// The commit that is built, as templates see it.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub hash: String,
    /// The date of the author in Go's default form.
    pub date_human: String,
    /// The same in seconds since the Unix epoch.
    pub date_unix: String,
}

/// Everything that a configuration depends on.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The repository at the commit.
    pub files: Files,
    /// The project directory, relative to the repository.
    pub project_dir: &'a str,
    /// What the repository cannot give.
    pub gaps: &'a [Gap],
    /// The repository on the disk, ignored files aside. `None` leaves out all checks for uncommitted changes.
    pub disk: Option<Files>,
    /// The path of werf.yaml, relative to the project directory; `None` looks for the usual names.
    pub config_path: Option<&'a str>,
    /// The directory of template files, mostly `.werf`.
    pub templates_dir: &'a str,
    /// The path of the giterminism rules, mostly `werf-giterminism.yaml`.
    pub giterminism_path: &'a str,
    /// Whether the rules are not enforced.
    pub loose: bool,
    /// `--env`; may be empty.
    pub env_name: &'a str,
    /// The commit.
    pub commit: &'a Commit,
    /// The environment.
    pub environment: &'a BTreeMap<String, String>,
    /// The time that `now` tells. Unit: since the Unix epoch, UTC.
    pub now: Duration,
    /// A project name that replaces the one in the file.
    pub project_name: Option<&'a str>,
    /// What a missing project name may be proposed from: the repository or directory.
    pub project_hint: &'a str,
    /// Platforms that replace all others.
    pub platforms: Vec<String>,
    /// Whether every Dockerfile image is staged.
    pub force_staged: bool,
    /// Files of other repositories, which are read where the project has none of its own.
    pub included: Included,
}

impl<'a> Inputs<'a> {
    /// Returns the inputs of a plain project, with all the usual names.
    pub fn new(files: Files, commit: &'a Commit, environment: &'a BTreeMap<String, String>) -> Self {
        Self {
            files,
            project_dir: "",
            gaps: &[],
            disk: None,
            config_path: None,
            templates_dir: ".werf",
            giterminism_path: "werf-giterminism.yaml",
            loose: false,
            env_name: "",
            commit,
            environment,
            now: Duration::ZERO,
            project_name: None,
            project_hint: "",
            platforms: Vec::new(),
            force_staged: false,
            included: Included::default(),
        }
    }
}

/// Loads werf.yaml; `None` when there is an error in it, which is reported.
pub fn load(d: &mut Diagnostics, sources: &Sources, inputs: &Inputs<'_>) -> Option<Config> {
    let mut found = Diagnostics::new();
    let config = load_into(&mut found, sources, inputs);
    let failed = found.has_errors();
    d.extend(found);
    config.filter(|_| !failed)
}

fn load_into(d: &mut Diagnostics, sources: &Sources, inputs: &Inputs<'_>) -> Option<Config> {
    let mut files = ProjectFiles {
        committed: inputs.files.clone(),
        disk: inputs.disk.clone(),
        loose: inputs.loose,
        project_dir: inputs.project_dir.to_owned(),
        included: None,
        gaps: inputs.gaps.into(),
    };
    let giterminism = giterminism(d, sources, inputs, &files);
    // The rules themselves are never included.
    files.included = Some(inputs.included.clone()).filter(|included| !included.is_empty());
    let (path, main) = main_file(d, sources, inputs, &files, &giterminism)?;
    let rendered = render::render(d, sources, inputs, &files, &giterminism, main)?;
    let mut faults = Diagnostics::new();
    let documents = documents::read(&mut faults, sources, rendered.file);
    let Some(places) = &rendered.places else {
        d.extend(faults);
        return resolve::config(d, &path, rendered.file, documents, inputs, giterminism);
    };
    // The configuration holds places in templates. Findings are made on the rendered text, where each knows its turn.
    let moved: Vec<_> = documents.iter().map(|(kind, node)| (*kind, places.node(node))).collect();
    let mut later = Diagnostics::new();
    let config = resolve::config(&mut later, &path, rendered.file, moved, inputs, giterminism.clone());
    if !later.is_empty() {
        resolve::config(&mut faults, &path, rendered.file, documents, inputs, giterminism);
    }
    places.tell(d, sources, &faults);
    config
}

pub(super) fn giterminism(
    d: &mut Diagnostics,
    sources: &Sources,
    inputs: &Inputs<'_>,
    files: &ProjectFiles,
) -> Giterminism {
    let path = inputs.giterminism_path;
    let none = Giterminism::strict(path, inputs.loose);
    if let Err(ReadFault::NotFound { .. }) = files.read(path, &|_| false) {
        return none;
    }
    let Some(file) = read_text(d, sources, files, path, &none, Setting::Never) else { return none };
    let options = yaml::Options { duplicates: None, ..yaml::Options::WERF };
    let node = yaml::parse_documents(d, sources, file, options).into_iter().next();
    let node = node.unwrap_or_else(|| Node::null(Span::new(file, 0, 0)));
    Giterminism::decode(d, &node, path, inputs.loose)
}

fn main_file(
    d: &mut Diagnostics,
    sources: &Sources,
    inputs: &Inputs<'_>,
    files: &ProjectFiles,
    giterminism: &Giterminism,
) -> Option<(String, FileId)> {
    let allowed = |path: &str| giterminism.allows_disk(Setting::Config, path);
    let names: Vec<&str> = inputs.config_path.map_or(NAMES.to_vec(), |path| vec![path]);
    if let Some(outside) = inputs.config_path.filter(|path| files.place(path).is_none()) {
        let message = format!("`{outside}` is outside of the repository");
        let found = Diagnostic::in_file(&rules::CONFIG_NOT_FOUND, outside, message);
        d.push(found.hint("name a file of the repository, relative to the project directory"));
        return None;
    }
    let own = ProjectFiles { included: None, ..files.clone() };
    let find = |files: &ProjectFiles| {
        let there = |name: &&str| !matches!(files.read(name, &allowed), Err(ReadFault::NotFound { .. }));
        names.iter().copied().find(there)
    };
    let Some(path) = find(&own).or_else(|| find(files)) else {
        let message = format!("there is no `{}` in the project", names.join("` and no `"));
        d.push(Diagnostic::in_file(&rules::CONFIG_NOT_FOUND, names.first().copied().unwrap_or(""), message));
        return None;
    };
    Some((path.to_owned(), read_text(d, sources, files, path, giterminism, Setting::Config)?))
}

/// Reads and registers a text; reports why that fails.
pub(super) fn read_text(
    d: &mut Diagnostics,
    sources: &Sources,
    files: &ProjectFiles,
    path: &str,
    giterminism: &Giterminism,
    setting: Setting,
) -> Option<FileId> {
    let content = match files.read(path, &|path| giterminism.allows_disk(setting, path)) {
        Ok(content) => content,
        Err(fault) => {
            let found = Diagnostic::in_file(fault.rule(), path, fault.to_string());
            d.push(fault.hints(giterminism, setting).into_iter().fold(found, Diagnostic::hint));
            return None;
        }
    };
    if let Ok(text) = std::str::from_utf8(&content) {
        return Some(sources.add(path, text));
    }
    d.push(Diagnostic::in_file(&rules::INVALID_VALUE, path, "the file is not UTF-8 text"));
    None
}
