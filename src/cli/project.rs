//! The project that a command line names: its repository, its commit, and everything else it is read from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::args::{BuildArgs, ChartArgs, DeployArgs, GlobalArgs, JsonnetArgs, ProjectArgs, ValuesArgs};
use super::charts::cache_dir;
use super::error::CliError;
use super::host::ProcessHost;
use super::secret_key::find_key;
use super::streams::Invocation;
use super::values::{chosen_nulls, read_file, sets, value_file};
use super::wiring::repo_address;
use crate::backend::git::{self, GitError, Repository};
use crate::chart::{AddedKind, Capabilities, KeyInForce, SecretInputs};
use crate::config;
use crate::eval::jsonnet::External;
use crate::pipeline::{JsonnetInputs, OpenedBundle, ProjectInputs, ValuesFile, bundle_inputs};
use crate::source::{Files, Mode, normalize_path};
use crate::stage::Platform;

/// The options that say what a project is read from. Commands that lack a group leave it empty.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// `--config`, `--env`, `--dev`, …
    pub project: Option<&'a ProjectArgs>,
    /// `--repo`, `--platform`, …
    pub build: Option<&'a BuildArgs>,
    /// `--release`, `--namespace`, …
    pub deploy: Option<&'a DeployArgs>,
    /// `--values`, `--set`, …
    pub values: Option<&'a ValuesArgs>,
    /// `--kube-version`, …
    pub chart: Option<&'a ChartArgs>,
    /// `--ext-str`, …
    pub jsonnet: Option<&'a JsonnetArgs>,
}

impl<'a> Options<'a> {
    /// Returns the options of a command that plans or renders all of a project.
    pub fn all(
        project: &'a ProjectArgs,
        build: &'a BuildArgs,
        deploy: &'a DeployArgs,
        values: &'a ValuesArgs,
        chart: &'a ChartArgs,
        jsonnet: &'a JsonnetArgs,
    ) -> Self {
        Self {
            project: Some(project),
            build: Some(build),
            deploy: Some(deploy),
            values: Some(values),
            chart: Some(chart),
            jsonnet: Some(jsonnet),
        }
    }

    /// Returns the options of a command that takes images only.
    pub fn images(project: &'a ProjectArgs, build: &'a BuildArgs) -> Self {
        Self { project: Some(project), build: Some(build), ..Self::default() }
    }
}

/// A project that was found.
pub struct Found {
    /// Its directory.
    pub dir: PathBuf,
    /// Its repository; a bundle has none.
    pub repository: Option<Arc<Repository>>,
    /// What it is read from.
    pub inputs: ProjectInputs,
    /// What templates may ask of the world.
    pub host: ProcessHost,
}

/// Returns the directory of the project.
pub fn directory(global: &GlobalArgs, invocation: &Invocation) -> Result<PathBuf, CliError> {
    let typed = global.dir.as_deref().unwrap_or("");
    let dir = invocation.cwd.join(typed);
    if dir.is_dir() { Ok(dir) } else { Err(CliError::user(format!("--dir {typed}: there is no such directory"))) }
}

/// Finds the project, at the commit that is checked out or in the work tree.
pub fn find(global: &GlobalArgs, options: Options<'_>, invocation: &Invocation) -> Result<Found, CliError> {
    let dir = directory(global, invocation)?;
    let mut project = options.project.cloned().unwrap_or_default();
    let repository = Arc::new(Repository::discover(&dir).map_err(told)?);
    project.config = project.config.map(|path| config_path(&path, &dir, repository.root())).transpose()?;
    let head = repository.head().map_err(told)?;
    let disk = if project.dev || project.loose_giterminism {
        Some(repository.dev_files(&head).map_err(told)?)
    } else {
        let paths = compared_paths(&repository.files(&head), &repository.relative(&dir).map_err(told)?, &project);
        Some(repository.dev_files_at(&head, &paths).map_err(told)?)
    };
    let files = match &disk {
        Some(disk) if project.dev => disk.clone(),
        Some(_) | None => repository.files(&head),
    };
    let gaps = repository.gaps(&head, project.dev || project.loose_giterminism).map_err(told)?;
    let mut inputs = inputs(&dir, &repository, &head, files, disk.filter(|_| !project.dev), options, invocation)?;
    inputs.gaps = gaps;
    let looked_up = options.chart.map(|chart| chart.lookup_resources.as_slice()).unwrap_or_default();
    let host = ProcessHost::new(looked_up, &invocation.cwd)?;
    Ok(Found { dir, repository: Some(repository), inputs, host })
}

/// Returns the files that must not differ from the commit: those that configure the project. No paths mean all files: a
/// template that asks for `.Files`, or rules of giterminism, may read any.
///
/// Comparing the whole work tree is the dearest step of a plan in a large repository.
fn compared_paths(files: &Files, project_dir: &str, project: &ProjectArgs) -> Vec<String> {
    let inside = |path: &str| normalize_path(&format!("{project_dir}/{path}")).unwrap_or_default();
    let giterminism = inside(project.giterminism_config.as_deref().unwrap_or("werf-giterminism.yaml"));
    let templates = inside(project.config_templates_dir.as_deref().unwrap_or(".werf"));
    let mut paths = match &project.config {
        Some(config) => vec![inside(config)],
        None => vec![inside("werf.yaml"), inside("werf.yml")],
    };
    let reads_files = |path: &String| match files.read(path) {
        Ok(bytes) => bytes.windows(6).any(|w| w == b".Files"),
        Err(_) => false,
    };
    let below = files.walk(&templates).unwrap_or_default();
    let any = paths.iter().any(reads_files) || below.iter().any(|(path, _)| reads_files(path));
    // A link leads to files that are not named here.
    let linked = |path: &String| {
        let links = |part: &str| matches!(files.entry(part), Ok(Some(entry)) if entry.mode == Mode::Symlink);
        path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(links)) || links(path)
    };
    let linked_below = below.iter().any(|(_, entry)| entry.mode == Mode::Symlink);
    if any || linked_below || paths.iter().any(linked) || !matches!(files.entry(&giterminism), Ok(None)) {
        return Vec::new();
    }
    paths.extend([templates, giterminism, inside(config::INCLUDES_FILE), inside(config::INCLUDES_LOCK)]);
    if paths.iter().any(String::is_empty) {
        return Vec::new();
    }
    paths
}

/// Returns a project that is read from a bundle: no git repository is asked.
pub fn found_in_bundle(
    global: &GlobalArgs,
    opened: OpenedBundle,
    options: Options<'_>,
    invocation: &Invocation,
) -> Result<Found, CliError> {
    let dir = directory(global, invocation)?;
    let deploy = options.deploy.cloned().unwrap_or_default();
    let values = options.values.cloned().unwrap_or_default();
    let read = |option, names: &[String]| {
        let file = |name: &String| Ok((name.clone(), value_file(option, name, &invocation.cwd)?));
        names.iter().map(file).collect::<Result<Vec<_>, CliError>>()
    };
    let reference = opened.reference.clone();
    let unusable = |e| CliError::environment(format!("use the files of the bundle {reference}"), e);
    let mut inputs = bundle_inputs(opened).map_err(unusable)?;
    let given = read("--values", &values.values)?.into_iter();
    inputs.values_files =
        given.map(|(name, bytes)| ValuesFile { name, project_path: None, bytes: bytes.to_vec() }).collect();
    let secret_files = read("--secret-values", &deploy.secrets.secret_values)?.into_iter();
    inputs.secrets.files = secret_files.map(|(name, bytes)| (name, None, bytes)).collect();
    take_options(&mut inputs, &dir, options, invocation)?;
    let looked_up = options.chart.map(|chart| chart.lookup_resources.as_slice()).unwrap_or_default();
    let host = ProcessHost::new(looked_up, &invocation.cwd)?;
    Ok(Found { dir, repository: None, inputs, host })
}

/// Takes over what options say alike of a commit and of a bundle; what is said over what the inputs hold already.
fn take_options(
    inputs: &mut ProjectInputs,
    dir: &Path,
    options: Options<'_>,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let deploy = options.deploy.cloned().unwrap_or_default();
    let values = options.values.cloned().unwrap_or_default();
    let chart = options.chart.cloned().unwrap_or_default();
    let env = options.project.and_then(|project| project.env.clone()).filter(|env| !env.is_empty());
    inputs.env = env.or(inputs.env.take());
    inputs.now = now();
    inputs.secrets.key =
        if deploy.secrets.ignore_secret_key { KeyInForce::Ignored } else { find_key(dir, invocation)? };
    inputs.sets = sets(&values);
    inputs.nulls = chosen_nulls(&values).unwrap_or(inputs.nulls);
    inputs.set_files = set_files(&values, dir)?;
    // What is given now comes last, and counts.
    inputs.additions.extend(additions(&deploy));
    inputs.jsonnet = jsonnet_inputs(options.jsonnet, invocation)?;
    inputs.kube_version = kube_version(chart.kube_version)?;
    inputs.api_versions = chart.api_versions;
    (inputs.release, inputs.namespace) = (deploy.release, deploy.namespace);
    Ok(())
}

impl Found {
    /// Returns what the same project is read from at another commit.
    pub fn at(&self, rev: &str) -> Result<ProjectInputs, CliError> {
        let repository = self.repository.as_ref().ok_or_else(|| CliError::user("a bundle has no commits"))?;
        let commit = repository.commit(rev).map_err(told)?;
        let repository = repository.files(&commit);
        Ok(ProjectInputs { repository, disk: None, dev: false, commit: shown_commit(&commit), ..self.inputs.clone() })
    }
}

fn inputs(
    dir: &Path,
    repository: &Arc<Repository>,
    head: &git::Commit,
    files: Files,
    disk: Option<Files>,
    options: Options<'_>,
    invocation: &Invocation,
) -> Result<ProjectInputs, CliError> {
    let project = options.project.cloned().unwrap_or_default();
    let deploy = options.deploy.cloned().unwrap_or_default();
    let values = options.values.cloned().unwrap_or_default();
    let project_dir = repository.relative(dir).map_err(told)?;
    let reader = ValuesReader { dir, files: &files, project_dir: &project_dir, project: &project, invocation };
    let read = |option, names: &[String]| names.iter().map(|name| reader.read(option, name)).collect::<Result<_, _>>();
    let values_files = read("--values", &values.values)?;
    let secret_files: Vec<ValuesFile> = read("--secret-values", &deploy.secrets.secret_values)?;
    let secret_files = secret_files.into_iter().map(|file| (file.name, file.project_path, file.bytes.into()));
    let secrets = SecretInputs { files: secret_files.collect(), ..SecretInputs::default() };
    let mut inputs = ProjectInputs {
        disk,
        dev: project.dev,
        config_path: project.config.map(|path| config_path(&path, dir, repository.root())).transpose()?,
        templates_dir: project.config_templates_dir.unwrap_or_else(|| ".werf".into()),
        giterminism_path: project.giterminism_config.unwrap_or_else(|| "werf-giterminism.yaml".into()),
        loose: project.loose_giterminism,
        environment: invocation.env.clone(),
        project_hint: project_hint(repository),
        platforms: options.build.map(|build| platforms(&build.platform)).transpose()?.unwrap_or_default(),
        repo_address: repo_address(
            options.build.and_then(|build| build.final_repo.as_deref().or(build.repo.as_deref())),
        ),
        values_files,
        secrets,
        remotes: Arc::new(git::RemoteRepositories::new(dir, cache_dir(&invocation.env, "git"), &invocation.env)),
        work_tree: repository.clone(),
        history: Arc::new(repository.history(head)),
        custom_tag: options.build.and_then(|b| b.use_custom_tag.clone()),
        allow_includes_update: project.allow_includes_update,
        project_dir,
        ..ProjectInputs::new(files, shown_commit(head))
    };
    take_options(&mut inputs, dir, options, invocation)?;
    Ok(inputs)
}

/// Reads `NAME=TEXT`, and `NAME` alone, which takes the environment variable of that name. Source: `jsonnet`.
fn jsonnet_inputs(args: Option<&JsonnetArgs>, invocation: &Invocation) -> Result<JsonnetInputs, CliError> {
    let Some(args) = args else { return Ok(JsonnetInputs::default()) };
    let read = |option: &str, list: &[String], make: fn(String) -> External| {
        let one = |typed: &String| match typed.split_once('=') {
            Some((name, text)) => Ok((name.to_owned(), make(text.to_owned()))),
            None => match invocation.env.get(typed) {
                Some(text) => Ok((typed.clone(), make(text.clone()))),
                None => Err(CliError::user(format!("{option} {typed}: there is no environment variable {typed}"))
                    .hint(format!("write {option} {typed}=…"))),
            },
        };
        list.iter().map(one).collect::<Result<Vec<_>, CliError>>()
    };
    let mut inputs = JsonnetInputs::default();
    inputs.ext_vars.extend(read("--ext-str", &args.ext_str, External::Text)?);
    inputs.ext_vars.extend(read("--ext-code", &args.ext_code, External::Code)?);
    inputs.arguments.extend(read("--tla-str", &args.tla_str, External::Text)?);
    inputs.arguments.extend(read("--tla-code", &args.tla_code, External::Code)?);
    Ok(inputs)
}

/// Returns `--config` relative to the project; an absolute path must lie in the repository.
fn config_path(typed: &str, dir: &Path, root: &Path) -> Result<String, CliError> {
    if !Path::new(typed).is_absolute() {
        return Ok(typed.to_owned());
    }
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (file, dir) = (Path::new(typed), real(dir));
    // The file itself may be a link, which is followed in the commit.
    let place = file.parent().map(real).zip(file.file_name()).map(|(parent, name)| parent.join(name));
    let relative = place.and_then(|place| {
        if let Ok(inside) = place.strip_prefix(&dir) {
            inside.to_str().map(str::to_owned)
        } else {
            let up = "../".repeat(dir.strip_prefix(root).ok()?.components().count());
            Some(format!("{up}{}", place.strip_prefix(root).ok()?.to_str()?))
        }
    });
    relative.ok_or_else(|| {
        CliError::user(format!("--config {typed} is not in the repository {}", root.display()))
            .hint("name a file of the project, or another project with --dir")
    })
}

fn kube_version(typed: Option<String>) -> Result<Option<String>, CliError> {
    match typed {
        Some(text) if Capabilities::default().with_kube_version(&text).is_none() => {
            Err(CliError::user(format!("--kube-version {text} is not a version")))
        }
        Some(_) | None => Ok(typed),
    }
}

/// Returns the time.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn told(error: GitError) -> CliError {
    let message = error.to_string();
    match error {
        GitError::NotARepository { .. } => CliError::user(message)
            .hint("a project is read from a git commit; make one with `git init`, `git add` and `git commit`"),
        GitError::Unborn { .. } => CliError::user(message).hint("make one with `git add` and `git commit`"),
        GitError::Bare { .. } => CliError::user(message).hint("clone it, and run in the clone"),
        GitError::Outside { .. } => CliError::user(message).hint("name a directory of the repository with `--dir`"),
        GitError::NoCommit { .. } => {
            CliError::user(message).hint("name a commit, branch or tag; `git log --oneline` lists commits")
        }
        GitError::Git { .. } | GitError::Io { .. } | GitError::Files(_) => {
            CliError::environment("read the git repository", error)
        }
    }
}

/// The date is that of the author, as Go prints it. Source: werf 2.x, service values.
fn shown_commit(commit: &git::Commit) -> config::Commit {
    let date = || {
        let offset = jiff::tz::Offset::from_seconds(commit.author_offset.checked_mul(60)?).ok()?;
        let time = jiff::Timestamp::from_second(commit.author_seconds).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::fixed(offset)).strftime("%Y-%m-%d %H:%M:%S %z %z").to_string())
    };
    config::Commit {
        hash: commit.hash.clone(),
        date_human: date().unwrap_or_default(),
        date_unix: commit.author_seconds.to_string(),
    }
}

/// The name of the remote repository, or of the folder.
fn project_hint(repository: &Repository) -> String {
    let url = repository.origin_url().unwrap_or_default();
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or("");
    let name = last.strip_suffix(".git").unwrap_or(last);
    if name.is_empty() {
        return repository.root().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    }
    name.to_owned()
}

/// Reads files of values: those of the project from the commit, others from the disk.
struct ValuesReader<'a> {
    dir: &'a Path,
    files: &'a Files,
    project_dir: &'a str,
    project: &'a ProjectArgs,
    invocation: &'a Invocation,
}

impl ValuesReader<'_> {
    fn read(&self, option: &str, name: &str) -> Result<ValuesFile, CliError> {
        let named = |project_path, bytes| ValuesFile { name: name.to_owned(), project_path, bytes };
        let Some(inside) = self.inside(name) else {
            let bytes = value_file(option, name, &self.invocation.cwd)?;
            return Ok(named(None, bytes.to_vec()));
        };
        let path = if self.project_dir.is_empty() { inside.clone() } else { format!("{}/{inside}", self.project_dir) };
        match self.files.resolve(&path) {
            Ok(Some(_)) => {
                let read = self.files.read(&path);
                let bytes = read.map_err(|e| CliError::environment(format!("read the values {name}"), e))?;
                Ok(named(Some(inside), bytes.to_vec()))
            }
            Ok(None) if self.project.loose_giterminism => {
                Ok(named(None, value_file(option, name, &self.invocation.cwd)?.to_vec()))
            }
            Ok(None) => {
                // Its absence from the disk is the plainer fault.
                value_file(option, name, &self.invocation.cwd)?;
                Err(CliError::user(format!("{option} {name}: the file is not in the commit"))
                    .hint("commit it, or use --dev or --loose-giterminism"))
            }
            Err(e) => Err(CliError::environment(format!("read the values {name}"), e)),
        }
    }

    /// The path within the project, where it lies there.
    fn inside(&self, name: &str) -> Option<String> {
        let (dir, cwd) = (self.dir.canonicalize().ok()?, self.invocation.cwd.canonicalize().ok()?);
        let full = cwd.join(name);
        let resolved = full.canonicalize().unwrap_or(full);
        let inner = resolved.strip_prefix(&dir).ok()?;
        normalize_path(inner.to_str()?).filter(|_| name != "-")
    }
}

/// Returns what is added to every resource.
fn additions(deploy: &DeployArgs) -> Vec<(AddedKind, String)> {
    let kinds = [(AddedKind::Annotation, &deploy.add_annotation), (AddedKind::Label, &deploy.add_label)];
    kinds.iter().flat_map(|(kind, list)| list.iter().map(|text| (*kind, text.clone()))).collect()
}

/// Reads every file that `--set-file` names; one that cannot be read is reported where it is used.
fn set_files(values: &ValuesArgs, dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
    let paths: BTreeSet<String> = values.set_file.iter().flat_map(|argument| named_files(argument)).collect();
    let read = paths.into_iter().map(|path| {
        let bytes = read_file(&path, dir).map_err(|why| CliError::user(format!("--set-file: {why}")))?;
        Ok((path, bytes))
    });
    read.collect()
}

/// `a=x.txt,b=y\,z.txt` names `x.txt` and `y,z.txt`.
fn named_files(argument: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = argument.chars();
    while let Some(c) = chars.next() {
        let last = parts.last_mut().expect("there is one from the beginning");
        match c {
            '\\' => last.extend(chars.next()),
            ',' => parts.push(String::new()),
            c => last.push(c),
        }
    }
    parts.iter().filter_map(|p| Some(p.split_once('=')?.1.to_owned())).filter(|p| !p.is_empty()).collect()
}

/// Reads `--platform`; blanks around commas do not count.
fn platforms(words: &[String]) -> Result<Vec<String>, CliError> {
    let words = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
    let read = |word: &str| match Platform::parse(word) {
        Some(_) => Ok(word.to_owned()),
        None => Err(CliError::user(format!("--platform {word} is no platform"))
            .hint("write OS/ARCHITECTURE, for example linux/arm64; several with commas between")),
    };
    words.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObjectId;

    #[test]
    fn files_of_set_file_are_found_in_its_grammar() {
        assert_eq!(named_files("a.b=x.txt,c=y\\,z.txt,d="), ["x.txt", "y,z.txt"]);
        assert_eq!(named_files("nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_commit_shows_the_date_of_its_author_as_go_does() {
        let commit = git::Commit {
            hash: "c".repeat(40),
            tree: ObjectId([0; 20]),
            author_seconds: 1_700_000_000,
            author_offset: 180,
        };
        let shown = shown_commit(&commit);
        assert_eq!(
            (shown.date_human.as_str(), shown.date_unix.as_str()),
            ("2023-11-15 01:13:20 +0300 +0300", "1700000000")
        );
    }
}
