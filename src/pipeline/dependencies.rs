//! Dependencies of a chart: choosing versions, following a lock, and the files that go into `charts/`.
//!
//! What lives here: the order of the steps. What does not: the network and the disk (`ports`), the form of locks and
//! indexes (`chart`).
//!
//! The one idea: everything is fetched and checked first; the answer is the files as they should be, written by the
//! caller in one go. So a download that fails leaves everything as it was.

use std::collections::BTreeMap;
use std::io;

use crate::chart::constraint::{Constraint, parse_version};
use crate::chart::lock::{Lock, Locked, Requirement, Requirements, digest, digest_of_helm2, read_requirements};
use crate::chart::repository::{
    Location, NamedRepository, Released, RepositoryIndex, archive_url, choose, index_url, near, shown, versions_of_tags,
};
use crate::chart::{is_archive, load_archive, pack};
use crate::diag::rules::{CHART_DEPENDENCY, CHART_LOCK};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean};
use crate::ports::{ArchiveCache, BlobDigest, ChartRelease, ChartSource, FetchError, Wanted};
use crate::source::{Files, Sources};

/// What fetching dependencies needs from outside.
pub struct DependencyInputs<'a> {
    /// Fetches charts.
    pub source: &'a dyn ChartSource,
    /// Keeps fetched archives.
    pub cache: &'a dyn ArchiveCache,
    /// Reads a folder that `file://` names, relative to the chart; `None` when it is not there.
    pub folder: &'a dyn Fn(&str) -> io::Result<Option<Files>>,
    /// The repositories that have names.
    pub repositories: &'a [NamedRepository],
    /// Tells what is being done.
    pub tell: &'a dyn Fn(&str),
    /// The time now. Unit: RFC 3339.
    pub now: &'a str,
}

/// What is to be written into the chart's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyFiles {
    /// The archives of `charts/`, by file name.
    pub archives: BTreeMap<String, Vec<u8>>,
    /// Archives of `charts/` that are no longer declared.
    pub outdated: Vec<String>,
    /// Name and text of the lock file; `None` when the one there stays.
    pub lock: Option<(String, String)>,
}

/// Why dependencies were not fetched. Faults of the chart itself are diagnostics.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// Something could not be fetched.
    #[error("{attempt}")]
    Fetch {
        /// What was attempted: the chart, its version or range, and the repository without secrets.
        attempt: String,
        /// Why not.
        source: FetchError,
    },
    /// A folder could not be read.
    #[error("{attempt}")]
    Folder {
        /// What was attempted.
        attempt: String,
        /// Why not.
        source: io::Error,
    },
}

/// Chooses the newest versions in the declared ranges. `None` when the chart has faults, which are reported.
///
/// # Errors
/// Something could not be fetched.
pub fn update_dependencies(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
    inputs: &DependencyInputs<'_>,
) -> Result<Option<DependencyFiles>, DependencyError> {
    let Some(found) = read_requirements(diagnostics, sources, files, path) else { return Ok(None) };
    let mut run = Run::new(diagnostics, sources, files, path, inputs);
    run.update(found)
}

/// Fetches what the lock names; without a lock, versions are chosen. `None` when the chart has faults, which are
/// reported.
///
/// # Errors
/// Something could not be fetched.
pub fn build_dependencies(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
    inputs: &DependencyInputs<'_>,
) -> Result<Option<DependencyFiles>, DependencyError> {
    let Some(found) = read_requirements(diagnostics, sources, files, path) else { return Ok(None) };
    let mut run = Run::new(diagnostics, sources, files, path, inputs);
    match found.lock.clone() {
        Some(lock) => run.build(found, &lock),
        None => run.update(found),
    }
}

/// Fetches one chart from a repository with an index: its file name and its archive. The newest version in the range.
///
/// # Errors
/// It could not be fetched, or there is no such version.
pub fn fetch_from_repository(
    source: &dyn ChartSource,
    cache: &dyn ArchiveCache,
    repository: &str,
    name: &str,
    range: &str,
) -> Result<(String, Vec<u8>), FetchError> {
    let index = fetch_index(source, repository)?;
    let unusable = |fault: String| FetchError::Unusable { place: shown(repository), fault };
    let Some(versions) = index.versions(name) else {
        let like = did_you_mean(name, index.names()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        return Err(unusable(format!("it has no chart `{name}`{like}")));
    };
    let Some(chosen) = choose(range, &versions) else { return Err(unusable(no_version(name, range, &versions))) };
    let archive = fetch_released(source, cache, repository, name, chosen)?;
    Ok((file_name(name, &chosen.version), archive))
}

/// Fetches one chart from an OCI registry: its file name and its archive. `reference` is `HOST/PATH/NAME`, with a tag
/// or digest where it is written so; else the newest version in the range.
///
/// # Errors
/// It could not be fetched, or there is no such version.
pub fn fetch_from_registry(
    source: &dyn ChartSource,
    reference: &str,
    range: &str,
) -> Result<(String, Vec<u8>), FetchError> {
    let (repository, written) = split_reference(reference);
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let tag = match written {
        Some(tag) => tag.to_owned(),
        None => oci_version(source, repository, range)?,
    };
    let archive = source.pull(repository, &tag.replace('+', "_"))?;
    Ok((file_name(name, &tag), archive))
}

/// Takes the tag or the digest off.
fn split_reference(reference: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (repository, Some(digest));
    }
    let name = reference.rfind('/').map_or(0, |at| at + 1);
    match reference.get(name..).and_then(|last| last.rfind(':')).map(|at| name + at) {
        Some(colon) if name > 0 => {
            (reference.get(..colon).unwrap_or(reference), reference.get(colon + 1..).filter(|tag| !tag.is_empty()))
        }
        Some(_) | None => (reference, None),
    }
}

/// Returns an exact version as it is, and the newest one in a range.
fn oci_version(source: &dyn ChartSource, repository: &str, range: &str) -> Result<String, FetchError> {
    if parse_version(range).is_some() {
        return Ok(range.to_owned());
    }
    let versions = versions_of_tags(&source.tags(repository)?);
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let place = shown(&format!("oci://{repository}"));
    let none = || FetchError::Unusable { place, fault: no_version(name, range, &versions) };
    choose(range, &versions).map(|v| v.version.clone()).ok_or_else(none)
}

fn no_version(name: &str, range: &str, versions: &[Released]) -> String {
    let near = near(range, versions);
    if near.is_empty() {
        return format!("it has no version of `{name}`");
    }
    let range = if range.is_empty() { "*" } else { range };
    format!("no version of `{name}` is in the range `{range}`; it has {}", near.join(", "))
}

fn fetch_index(source: &dyn ChartSource, repository: &str) -> Result<RepositoryIndex, FetchError> {
    let unusable = |fault: String| FetchError::Unusable { place: shown(repository), fault };
    let url = index_url(repository).ok_or_else(|| unusable("it is no address of a repository".to_owned()))?;
    RepositoryIndex::parse(&source.get(&url, Wanted::Index)?).map_err(unusable)
}

/// Fetches the archive of a version, or takes it from the cache by its digest.
fn fetch_released(
    source: &dyn ChartSource,
    cache: &dyn ArchiveCache,
    repository: &str,
    name: &str,
    released: &Released,
) -> Result<Vec<u8>, FetchError> {
    let hex = released.digest.strip_prefix("sha256:").unwrap_or(&released.digest);
    let digest = BlobDigest::parse(&format!("sha256:{}", hex.to_ascii_lowercase()));
    if let Some(archive) = digest.as_ref().and_then(|digest| cache.by_digest(digest)) {
        return Ok(archive);
    }
    let reference = released.urls.first().map(String::as_str).unwrap_or_default();
    let unusable = |place: &str, fault: String| FetchError::Unusable { place: shown(place), fault };
    let url = archive_url(repository, reference)
        .ok_or_else(|| unusable(repository, format!("its index names no address for {name} {}", released.version)))?;
    let archive = source.get(&url, Wanted::Archive)?;
    let came = BlobDigest::of(&archive);
    match digest {
        Some(digest) if digest != came => Err(unusable(
            &url,
            format!("the archive is not the one of the index: its digest is {came}, the index says {digest}"),
        )),
        Some(_) | None => Ok(archive),
    }
}

/// The name of an archive in `charts/`. Names and versions come from outside: nothing in them leads elsewhere.
fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.tgz").replace(['/', '\\', ':'], "_")
}

/// One run over the dependencies of a chart.
struct Run<'a> {
    diagnostics: &'a mut Diagnostics,
    sources: &'a Sources,
    files: &'a Files,
    path: &'a str,
    inputs: &'a DependencyInputs<'a>,
    indexes: BTreeMap<String, RepositoryIndex>,
    found: DependencyFiles,
}

impl<'a> Run<'a> {
    fn new(
        diagnostics: &'a mut Diagnostics,
        sources: &'a Sources,
        files: &'a Files,
        path: &'a str,
        inputs: &'a DependencyInputs<'a>,
    ) -> Self {
        let (indexes, found) = (BTreeMap::new(), DependencyFiles::default());
        Self { diagnostics, sources, files, path, inputs, indexes, found }
    }

    fn fault(&mut self, requirement: &Requirement, message: String, hint: Option<String>) {
        let mut diagnostic = match requirement.dependency.span {
            Some(span) => Diagnostic::at(&CHART_DEPENDENCY, span, message),
            None => Diagnostic::in_file(&CHART_DEPENDENCY, self.path, message),
        };
        diagnostic.hints.extend(hint);
        self.diagnostics.push(diagnostic);
    }

    fn update(&mut self, mut requirements: Requirements) -> Result<Option<DependencyFiles>, DependencyError> {
        if requirements.list.is_empty() {
            return Ok(Some(DependencyFiles::default()));
        }
        if !self.resolve_names(&mut requirements.list) {
            return Ok(None);
        }
        let mut locked = Vec::new();
        for requirement in &requirements.list {
            locked.extend(self.choose(requirement)?);
        }
        if locked.len() < requirements.list.len() {
            return Ok(None);
        }
        let digest = digest(&requirements.list, &locked);
        let vendored = vendored(&locked);
        if requirements.lock.as_ref().is_none_or(|lock| lock.digest != digest) {
            let lock = Lock { dependencies: locked, digest, generated: self.inputs.now.to_owned(), span: None };
            let Ok(text) = lock.to_yaml() else {
                let message = "a name or version of a dependency cannot be written as YAML";
                self.diagnostics.push(Diagnostic::in_file(&CHART_LOCK, self.path, message));
                return Ok(None);
            };
            self.found.lock = Some((requirements.lock_file.to_owned(), text));
        }
        self.list_outdated(&vendored);
        Ok(Some(std::mem::take(&mut self.found)))
    }

    fn build(
        &mut self,
        mut requirements: Requirements,
        lock: &Lock,
    ) -> Result<Option<DependencyFiles>, DependencyError> {
        let is_v1 = requirements.metadata.api_version == "v1";
        let helm2 = is_v1 && digest_of_helm2(&requirements.list) == lock.digest;
        if !self.resolve_names(&mut requirements.list) {
            return Ok(None);
        }
        if !helm2 && digest(&requirements.list, &lock.dependencies) != lock.digest {
            self.tell_out_of_sync(&requirements, lock);
            return Ok(None);
        }
        let mut complete = true;
        for locked in &lock.dependencies {
            let declared = requirements.list.iter().find(|r| {
                let d = &r.dependency;
                d.name == locked.name && (d.repository == locked.repository || helm2)
            });
            let Some(declared) = declared else {
                let message = format!("the lock names `{}`, which is not declared", locked.name);
                self.diagnostics.push(self.at_lock(lock, message));
                complete = false;
                continue;
            };
            complete &= self.fetch_locked(declared, locked)?;
        }
        if !complete {
            return Ok(None);
        }
        self.list_outdated(&vendored(&lock.dependencies));
        Ok(Some(std::mem::take(&mut self.found)))
    }

    fn at_lock(&self, lock: &Lock, message: String) -> Diagnostic {
        let hint = format!(
            "choose versions anew: `stagewright chart dependency update {}`",
            if self.path.is_empty() { "." } else { self.path }
        );
        let diagnostic = match lock.span {
            Some(span) => Diagnostic::at(&CHART_LOCK, span, message),
            None => Diagnostic::in_file(&CHART_LOCK, self.path, message),
        };
        diagnostic.hint(hint)
    }

    /// Tells the first thing that is declared otherwise than locked; the digest alone tells nobody anything.
    fn tell_out_of_sync(&mut self, requirements: &Requirements, lock: &Lock) {
        let file = requirements.lock_file;
        let unlocked = |r: &&Requirement| {
            let d = &r.dependency;
            let fits = |l: &Locked| {
                let version = parse_version(&l.version);
                let in_range = Constraint::parse(&d.version).zip(version).is_some_and(|(c, v)| c.allows(&v));
                l.name == d.name && l.repository == d.repository && (in_range || l.version == d.version)
            };
            !lock.dependencies.iter().any(fits)
        };
        let declared = |l: &&Locked| !requirements.list.iter().any(|r| r.dependency.name == l.name);
        let detail = if let Some(r) = requirements.list.iter().find(unlocked) {
            let d = &r.dependency;
            match lock.dependencies.iter().find(|l| l.name == d.name) {
                Some(l) if l.repository != d.repository => {
                    format!("`{}` is declared in another repository than it is locked in", d.name)
                }
                Some(l) => format!("`{}` is locked at {}, and {} is declared", d.name, l.version, d.version),
                None => format!("`{}` is declared and not locked", d.name),
            }
        } else if let Some(l) = lock.dependencies.iter().find(declared) {
            format!("`{}` is locked and not declared", l.name)
        } else {
            "the digest in it is of other declarations".to_owned()
        };
        let diagnostic = self.at_lock(lock, format!("{file} is out of sync with the declared dependencies: {detail}"));
        self.diagnostics.push(diagnostic);
    }

    /// Replaces names of repositories by their addresses.
    fn resolve_names(&mut self, list: &mut [Requirement]) -> bool {
        let mut complete = true;
        for requirement in list {
            let repository = requirement.dependency.repository.clone();
            match Location::of(&repository) {
                Location::Named(name) => {
                    if let Some(named) = self.inputs.repositories.iter().find(|r| r.name == name) {
                        requirement.dependency.repository.clone_from(&named.url);
                        continue;
                    }
                    let message = format!("the repository configuration has no repository `{name}`");
                    let names = self.inputs.repositories.iter().map(|r| r.name.as_str());
                    let like = did_you_mean(name, names).map(|n| format!("did you mean `{n}`?"));
                    let add = "write its address, or name the file that has it with `--repository-config`".to_owned();
                    self.fault(requirement, message, Some(like.unwrap_or(add)));
                }
                Location::Unknown => {
                    let message = format!("`{}` is no address of a repository", shown(&repository));
                    let hint = "write https://…, oci://…, file://… or @NAME".to_owned();
                    self.fault(requirement, message, Some(hint));
                }
                Location::Vendored | Location::Folder(_) | Location::Oci(_) | Location::Http(_) => continue,
            }
            complete = false;
        }
        complete
    }

    /// Chooses a version and fetches it; `None` after a fault of the chart.
    fn choose(&mut self, requirement: &Requirement) -> Result<Option<Locked>, DependencyError> {
        let d = &requirement.dependency;
        let Some(constraint) = Constraint::parse(&d.version) else {
            let message = format!("`{}` is no range of versions", d.version);
            self.fault(requirement, message, Some("write for example `1.2.x`, `^1.2` or `>=1.2 <2`".to_owned()));
            return Ok(None);
        };
        let version = match Location::of(&d.repository) {
            Location::Vendored => {
                let is_there = self.check_vendored(requirement, &d.version);
                return Ok(is_there.then(|| Locked {
                    name: d.name.clone(),
                    repository: String::new(),
                    version: d.version.clone(),
                }));
            }
            Location::Folder(folder) => self.pack_folder(requirement, folder, &d.version)?,
            Location::Oci(base) => {
                let repository = format!("{base}/{}", d.name);
                match oci_version(self.inputs.source, &repository, &d.version) {
                    Ok(version) => self.fetch_oci(requirement, &version)?.then_some(version),
                    Err(FetchError::Unusable { fault, .. }) => {
                        self.fault(requirement, format!("{}: {fault}", shown(&d.repository)), None);
                        None
                    }
                    Err(error) => return Err(failed(requirement, error)),
                }
            }
            Location::Http(_) => {
                let released = self.released(requirement, &|versions| {
                    // Source: Helm, which takes the newest in the range even where an exact version is written
                    versions.iter().find(|v| constraint.allows(&v.parsed)).cloned()
                })?;
                match released {
                    Some(released) if self.fetch_http(requirement, &released)? => Some(released.version),
                    Some(_) | None => None,
                }
            }
            Location::Named(_) | Location::Unknown => None,
        };
        Ok(version.map(|version| Locked { name: d.name.clone(), repository: d.repository.clone(), version }))
    }

    /// Fetches what the lock names; `false` after a fault of the chart.
    fn fetch_locked(&mut self, declared: &Requirement, locked: &Locked) -> Result<bool, DependencyError> {
        match Location::of(&declared.dependency.repository) {
            Location::Vendored => Ok(self.check_vendored(declared, &locked.version)),
            Location::Folder(folder) => Ok(self.pack_folder(declared, folder, &locked.version)?.is_some()),
            Location::Oci(_) | Location::Http(_) if self.take_from_cache(declared, &locked.version) => Ok(true),
            Location::Oci(_) => self.fetch_oci(declared, &locked.version),
            Location::Http(_) => {
                let wanted = parse_version(&locked.version);
                let same = |v: &&Released| v.version == locked.version || Some(&v.parsed) == wanted.as_ref();
                match self.released(declared, &|versions| versions.iter().find(same).cloned())? {
                    Some(released) => self.fetch_http(declared, &released),
                    None => Ok(false),
                }
            }
            Location::Named(_) | Location::Unknown => Ok(false),
        }
    }

    fn release(requirement: &Requirement, version: &str) -> ChartRelease {
        let d = &requirement.dependency;
        ChartRelease { repository: d.repository.clone(), name: d.name.clone(), version: version.to_owned() }
    }

    fn take_from_cache(&mut self, requirement: &Requirement, version: &str) -> bool {
        let Some(archive) = self.inputs.cache.by_release(&Self::release(requirement, version)) else { return false };
        let name = &requirement.dependency.name;
        self.found.archives.insert(file_name(name, version), archive);
        true
    }

    /// Finds a version in the index of the repository; `None` after a fault of the chart.
    fn released(
        &mut self,
        requirement: &Requirement,
        pick: &dyn Fn(&[Released]) -> Option<Released>,
    ) -> Result<Option<Released>, DependencyError> {
        let d = &requirement.dependency;
        if !self.indexes.contains_key(&d.repository) {
            (self.inputs.tell)(&format!("Reading the index of {}", shown(&d.repository)));
            let index = fetch_index(self.inputs.source, &d.repository).map_err(|error| failed(requirement, error))?;
            self.indexes.insert(d.repository.clone(), index);
        }
        let index = self.indexes.get(&d.repository);
        let Some(versions) = index.and_then(|index| index.versions(&d.name)) else {
            let like = index.and_then(|index| did_you_mean(&d.name, index.names()));
            let message = format!("{} has no chart `{}`", shown(&d.repository), d.name);
            self.fault(requirement, message, like.map(|n| format!("did you mean `{n}`?")));
            return Ok(None);
        };
        let picked = pick(&versions);
        if picked.is_none() {
            let message = format!("{}: {}", shown(&d.repository), no_version(&d.name, &d.version, &versions));
            self.fault(requirement, message, Some("declare a range that holds one of its versions".to_owned()));
        }
        Ok(picked)
    }

    fn fetch_http(&mut self, requirement: &Requirement, released: &Released) -> Result<bool, DependencyError> {
        let d = &requirement.dependency;
        if self.found.archives.contains_key(&file_name(&d.name, &released.version)) {
            return Ok(true);
        }
        (self.inputs.tell)(&format!("Fetching {} {} from {}", d.name, released.version, shown(&d.repository)));
        let inputs = self.inputs;
        let fetched = fetch_released(inputs.source, inputs.cache, &d.repository, &d.name, released);
        let archive = fetched.map_err(|error| failed(requirement, error))?;
        Ok(self.take(requirement, &released.version, archive))
    }

    fn fetch_oci(&mut self, requirement: &Requirement, version: &str) -> Result<bool, DependencyError> {
        let d = &requirement.dependency;
        let Location::Oci(base) = Location::of(&d.repository) else { return Ok(false) };
        if self.found.archives.contains_key(&file_name(&d.name, version)) {
            return Ok(true);
        }
        (self.inputs.tell)(&format!("Fetching {} {version} from {}", d.name, shown(&d.repository)));
        let fetched = self.inputs.source.pull(&format!("{base}/{}", d.name), &version.replace('+', "_"));
        let archive = fetched.map_err(|error| failed(requirement, error))?;
        Ok(self.take(requirement, version, archive))
    }

    /// Checks a fetched archive and keeps it.
    fn take(&mut self, requirement: &Requirement, version: &str, archive: Vec<u8>) -> bool {
        let name = &requirement.dependency.name;
        let file = file_name(name, version);
        let mut found = Diagnostics::new();
        let chart = load_archive(&mut found, self.sources, &file, &archive);
        let Some(chart) = chart else {
            self.diagnostics.extend(found);
            return false;
        };
        if chart.name() != name.as_str() {
            let message = format!("the archive that came for `{name}` holds the chart `{}`", chart.name());
            self.fault(requirement, message, None);
            return false;
        }
        self.inputs.cache.keep(&Self::release(requirement, version), &archive);
        self.found.archives.insert(file, archive);
        true
    }

    /// Packs a folder; returns its version, `None` after a fault of the chart.
    fn pack_folder(
        &mut self,
        requirement: &Requirement,
        folder: &str,
        range: &str,
    ) -> Result<Option<String>, DependencyError> {
        let d = &requirement.dependency;
        let read = (self.inputs.folder)(folder);
        let attempt = || format!("read the dependency {} from {folder}", d.name);
        let read = read.map_err(|source| DependencyError::Folder { attempt: attempt(), source })?;
        let Some(files) = read else {
            self.fault(requirement, format!("there is no folder {folder}, seen from the chart"), None);
            return Ok(None);
        };
        let Some(found) = read_requirements(self.diagnostics, self.sources, &files, "") else { return Ok(None) };
        let (name, version) = (&found.metadata.name, &found.metadata.version);
        if *name != d.name {
            self.fault(requirement, format!("{folder} holds the chart `{name}`, not `{}`", d.name), None);
            return Ok(None);
        }
        if !fits(range, version) {
            let message = format!("{folder} has version {version} of `{name}`, which is not in the range `{range}`");
            self.fault(requirement, message, None);
            return Ok(None);
        }
        (self.inputs.tell)(&format!("Packing {name} {version} from {folder}"));
        let Some(archive) = pack(self.diagnostics, self.sources, &files, "", name) else { return Ok(None) };
        self.found.archives.insert(file_name(name, version), archive);
        Ok(Some(version.clone()))
    }

    /// Checks a chart that should lie in `charts/`.
    fn check_vendored(&mut self, requirement: &Requirement, range: &str) -> bool {
        let name = &requirement.dependency.name;
        let path = format!("{}/charts/{name}", self.path);
        let mut found = Diagnostics::new();
        let version = match read_requirements(&mut found, self.sources, self.files, path.trim_start_matches('/')) {
            Some(requirements) => Some(requirements.metadata.version),
            None => self.archive_version(name),
        };
        let Some(version) = version else {
            let message = format!("`{name}` has no repository and is not in charts/");
            self.fault(requirement, message, Some(format!("put the chart into charts/{name}, or name its repository")));
            return false;
        };
        if !fits(range, &version) {
            let message = format!("charts/{name} has version {version}, which is not in the range `{range}`");
            self.fault(requirement, message, None);
            return false;
        }
        true
    }

    /// Returns the version of the archive in `charts/` that holds a chart of that name.
    fn archive_version(&self, name: &str) -> Option<String> {
        self.archives_there().into_iter().find(|(_, found, _)| found == name).map(|(_, _, version)| version)
    }

    /// Returns the archives in `charts/`: file name, name and version of the chart. What is no chart is left out.
    fn archives_there(&self) -> Vec<(String, String, String)> {
        let folder = format!("{}/charts", self.path);
        let folder = folder.trim_start_matches('/');
        let Ok(Some((_, entry))) = self.files.resolve(folder) else { return Vec::new() };
        let Ok(tree) = self.files.objects().tree(entry.id) else { return Vec::new() };
        let names = tree.entries().iter().map(|e| e.name.to_string()).filter(|n| is_archive(n));
        let of = |file: String| {
            let bytes = self.files.read(&format!("{folder}/{file}")).ok()?;
            let chart = load_archive(&mut Diagnostics::new(), self.sources, &file, &bytes)?;
            Some((file, chart.metadata.name, chart.metadata.version))
        };
        names.filter_map(of).collect()
    }

    fn list_outdated(&mut self, vendored: &[String]) {
        let there = self.archives_there();
        let outdated = there
            .into_iter()
            .filter(|(file, name, _)| !self.found.archives.contains_key(file) && !vendored.contains(name));
        self.found.outdated = outdated.map(|(file, _, _)| file).collect();
    }
}

fn failed(requirement: &Requirement, source: FetchError) -> DependencyError {
    let d = &requirement.dependency;
    let attempt = format!("fetch the dependency {} {} from {}", d.name, d.version, shown(&d.repository));
    DependencyError::Fetch { attempt, source }
}

/// The charts that lie in `charts/` without a repository: their archives are never outdated.
fn vendored(locked: &[Locked]) -> Vec<String> {
    locked.iter().filter(|l| l.repository.is_empty()).map(|l| l.name.clone()).collect()
}

fn fits(range: &str, version: &str) -> bool {
    range == version || Constraint::parse(range).zip(parse_version(version)).is_some_and(|(c, v)| c.allows(&v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{MemoryArchives, MemoryCharts};
    use crate::source::MemoryObjects;

    fn packed(name: &str, version: &str) -> Vec<u8> {
        let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
        let files = MemoryObjects::files([("Chart.yaml", &*Box::leak(chart.into_boxed_str()))]);
        pack(&mut Diagnostics::new(), &Sources::new(), &files, "", name).unwrap()
    }

    fn run(source: &MemoryCharts, files: &[(&'static str, &'static str)]) -> (Option<DependencyFiles>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let inputs = DependencyInputs {
            source,
            cache: &MemoryArchives::default(),
            folder: &|_| Ok(None),
            repositories: &[],
            tell: &|_| {},
            now: "2026-01-02T03:04:05Z",
        };
        let files = MemoryObjects::files(files.iter().copied());
        let found = build_dependencies(&mut diagnostics, &sources, &files, "c", &inputs).unwrap();
        (found, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    const CHART: &str = "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies:\n\
                         - {name: web, version: ^1, repository: 'oci://r.example.org/charts', alias: one}\n\
                         - {name: web, version: ^1, repository: 'oci://r.example.org/charts', alias: two}\n";

    #[test]
    fn a_chart_that_is_declared_twice_is_fetched_once() {
        let mut source = MemoryCharts::default();
        for version in ["1.0.0", "1.1.0"] {
            let at = ("r.example.org/charts/web".to_owned(), version.to_owned());
            source.pushed.insert(at, packed("web", version));
        }
        let (found, faults) = run(&source, &[("c/Chart.yaml", CHART)]);
        let found = found.unwrap_or_else(|| panic!("{faults:?}"));
        assert_eq!(found.archives.keys().collect::<Vec<_>>(), ["web-1.1.0.tgz"]);
        let (name, text) = found.lock.unwrap();
        assert_eq!((name.as_str(), text.matches("version: 1.1.0").count()), ("Chart.lock", 2));
        assert!(text.ends_with("generated: \"2026-01-02T03:04:05Z\"\n"), "{text}");
        assert_eq!(source.asked().iter().filter(|a| a.ends_with(":1.1.0")).count(), 1);
        // The lock brings the same; what lies in charts/ and is not declared goes.
        let text: &'static str = Box::leak(text.into_boxed_str());
        let (found, _) = run(&source, &[("c/Chart.yaml", CHART), ("c/Chart.lock", text)]);
        assert_eq!(found.map(|f| (f.archives.len(), f.lock)), Some((1, None)));
    }

    #[test]
    fn an_archive_of_another_chart_is_refused() {
        let mut source = MemoryCharts::default();
        let at = ("r.example.org/charts/web".to_owned(), "1.0.0".to_owned());
        source.pushed.insert(at, packed("other", "1.0.0"));
        let (found, faults) = run(&source, &[("c/Chart.yaml", CHART)]);
        assert_eq!((found, faults.len()), (None, 2));
        assert_eq!(faults[0], "the archive that came for `web` holds the chart `other`");
    }

    #[test]
    fn a_reference_has_a_tag_behind_its_last_slash_only() {
        assert_eq!(split_reference("h:5000/a/web"), ("h:5000/a/web", None));
        assert_eq!(split_reference("h:5000/a/web:1.0.0"), ("h:5000/a/web", Some("1.0.0")));
        assert_eq!(split_reference("h/a/web@sha256:00"), ("h/a/web", Some("sha256:00")));
        assert_eq!(split_reference("h/a/web:"), ("h/a/web", None));
        assert_eq!(file_name("../web", "1:0"), ".._web-1_0.tgz");
    }
}
