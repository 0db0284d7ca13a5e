//! Opening includes: the lock is followed, or references are resolved anew, and the files are laid below the project's.

use std::collections::BTreeMap;

use super::load::ProjectInputs;
use super::remotes::{remote_reference, report_remote, repository};
use crate::config::{
    self, BasicAuth, GitReference, Include, Included, allows_includes_update, read_includes, read_includes_lock,
    write_includes_lock,
};
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::ports::{GitRemotes, RemoteReference, RemoteRepository, shown_url};
use crate::source::{Sources, Span};

/// What helps when a commit of the lock is gone.
const UPDATE: &str = "run `stagewright includes update` if history was rewritten there";

/// Opens the includes of a project. `None` when there is a fault, which is reported.
pub(super) fn open_includes(
    d: &mut Diagnostics,
    sources: &Sources,
    inputs: &ProjectInputs,
    config: &config::Inputs<'_>,
) -> Option<Included> {
    let includes = read_includes(d, sources, config)?;
    let update = inputs.allow_includes_update;
    if update && !allows_includes_update(sources, config) {
        let path = &inputs.giterminism_path;
        let message = "`--allow-includes-update` takes files that the commit does not fix";
        d.push(
            Diagnostic::in_file(&rules::NOT_PERMITTED, path.as_str(), message)
                .hint(format!("allow it in {path}: includes.allowIncludesUpdate: true")),
        );
        return None;
    }
    if includes.is_empty() {
        return Some(Included::default());
    }
    let login = Logins::new(&includes, &inputs.environment);
    let commits = if update {
        resolve(d, &includes, inputs.remotes.as_ref(), &login)?
    } else {
        read_includes_lock(d, sources, config, &includes)?
    };
    let mut opened = Vec::with_capacity(includes.len());
    let mut failed = false;
    for (include, commit) in includes.iter().zip(commits) {
        let reference = remote_reference(&include.reference);
        let files = login.of(d, include).map(|repository| inputs.remotes.files(&repository, &reference, &commit));
        match files {
            Some(Ok(files)) => opened.push((include.clone(), files)),
            Some(Err(error)) => {
                report_remote(d, &error, include.git.span, UPDATE);
                failed = true;
            }
            None => failed = true,
        }
    }
    if failed {
        return None;
    }
    Included::new(d, &opened, &inputs.giterminism_path, &shown_url)
}

/// Resolves all references anew and returns the text of the lock. `None` when there is a fault, which is reported.
///
/// The file of includes is read from `inputs.repository`, so that it may be the work tree.
pub fn update_includes(d: &mut Diagnostics, sources: &Sources, inputs: &ProjectInputs) -> Option<String> {
    let files = super::load::project_files(d, &inputs.repository, &inputs.project_dir)?;
    let config = config::Inputs::new(files, &inputs.commit, &inputs.environment);
    let includes = read_includes(d, sources, &config)?;
    if includes.is_empty() && !matches!(config.files.entry(config::INCLUDES_FILE), Ok(Some(_))) {
        let message = format!("there is no `{}` in the project", config::INCLUDES_FILE);
        d.push(Diagnostic::in_file(&rules::FILE_NOT_FOUND, config::INCLUDES_FILE, message));
        return None;
    }
    let login = Logins::new(&includes, &inputs.environment);
    let commits = resolve(d, &includes, inputs.remotes.as_ref(), &login)?;
    Some(write_includes_lock(includes.iter().zip(commits.iter().map(String::as_str))))
}

fn resolve(
    d: &mut Diagnostics,
    includes: &[Include],
    remotes: &dyn GitRemotes,
    login: &Logins<'_>,
) -> Option<Vec<String>> {
    let mut known: BTreeMap<(String, RemoteReference), Option<String>> = BTreeMap::new();
    let mut commits = Vec::with_capacity(includes.len());
    for include in includes {
        let reference = remote_reference(&include.reference);
        let key = (include.git.value.clone(), reference.clone());
        let commit = known.entry(key).or_insert_with(|| {
            let repository = login.of(d, include)?;
            let found = remotes.resolve(&repository, &reference);
            found.map_err(|error| report_remote(d, &error, reference_span(include), UPDATE)).ok()
        });
        commits.push(commit.clone());
    }
    commits.into_iter().collect()
}

fn reference_span(include: &Include) -> Span {
    match &include.reference {
        GitReference::Default => include.git.span,
        GitReference::Branch(text) | GitReference::Tag(text) | GitReference::Commit(text) => text.span,
    }
}

/// Logins by repository: that of the first entry counts for all of one address. Source: werf 2.x.
struct Logins<'a> {
    first: BTreeMap<&'a str, Option<&'a BasicAuth>>,
    environment: &'a BTreeMap<String, String>,
}

impl<'a> Logins<'a> {
    fn new(includes: &'a [Include], environment: &'a BTreeMap<String, String>) -> Self {
        let mut first = BTreeMap::new();
        for include in includes {
            first.entry(include.git.value.as_str()).or_insert(include.basic_auth.as_ref());
        }
        Self { first, environment }
    }

    fn of(&self, d: &mut Diagnostics, include: &Include) -> Option<RemoteRepository> {
        let auth = self.first.get(include.git.value.as_str()).copied().flatten();
        repository(d, &include.git.value, auth, self.environment)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::MemoryRemotes;
    use crate::source::{MemoryObjects, Mode};

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const TWO: &str = "includes:\n- {git: 'https://h/a', branch: main, add: /, to: /}\n\
                       - {git: 'https://u:pw@h/b', tag: v1, add: /files, to: /, excludePaths: [skipped]}\n";
    const LOCK: &str = "includes:\n- {git: 'https://h/a', branch: main, commit: '1111111111111111111111111111111111111111'}\n\
                        - {git: 'https://u:pw@h/b', tag: v1, commit: '1111111111111111111111111111111111111111'}\n";

    fn remotes() -> MemoryRemotes {
        let mut remotes = MemoryRemotes::default();
        let branch = || RemoteReference::Branch("main".into());
        let a = [
            (
                "werf.yaml",
                "configVersion: 1\nproject: included\n---\nimage: {{ include \"name\" . }}\ndockerfile: Dockerfile\n",
            ),
            ("werf-giterminism.yaml", "giterminismConfigVersion: 9\n"),
            ("Dockerfile", "FROM scratch\nENV FROM=a\nCOPY web.txt /\n"),
            (".dockerignore", "*\n!web.txt\n"),
            (".werf/name.tmpl", "{{ define \"name\" }}web{{ end }}"),
            (".helm/templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-a}\n"),
            (".helm/templates/both.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: both-from-a}\n"),
        ];
        remotes.add("https://h/a", branch(), OLD, MemoryObjects::files(a));
        remotes.add("https://h/a", branch(), NEW, MemoryObjects::files([("new", "")]));
        let b = [
            ("files/.helm/templates/both.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: both-from-b}\n"),
            ("files/.helm/values.yaml", "from: b\n"),
            ("files/skipped/x", ""),
        ];
        remotes.add("https://u:pw@h/b", RemoteReference::Tag("v1".into()), OLD, MemoryObjects::files(b));
        remotes
    }

    fn inputs(files: &[(&str, &str)]) -> ProjectInputs {
        let files = MemoryObjects::files(files.iter().copied());
        let mut inputs = ProjectInputs::new(files, config::Commit::default());
        inputs.remotes = Arc::new(remotes());
        inputs
    }

    fn faults(inputs: &ProjectInputs) -> Vec<String> {
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let loaded = super::super::load(&mut d, &sources, inputs);
        if let Some(project) = loaded {
            super::super::render(
                &mut d,
                &sources,
                &project,
                inputs,
                &crate::eval::NoHost,
                crate::pipeline::RenderChoice::default(),
            );
        }
        let found = d.into_sorted(&sources).into_iter().map(|x| {
            let place = x.primary.as_ref().map(|l| sources.locate(l.span).0);
            format!("{} {} {}", x.rule.name, place.or(x.path).unwrap_or_default(), x.message)
        });
        found.collect()
    }

    #[test]
    fn an_included_project_is_read_as_if_it_were_ones_own() {
        let inputs = inputs(&[("werf-includes.yaml", TWO), ("werf-includes.lock", LOCK), ("web.txt", "w"), ("x", "x")]);
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let project = super::super::load(&mut d, &sources, &inputs).unwrap_or_else(|| panic!("{d:?}"));
        assert_eq!(project.name(), "included");
        assert_eq!(project.images.first().unwrap().name, "web");
        let host = crate::eval::NoHost;
        let render =
            super::super::render(&mut d, &sources, &project, &inputs, &host, crate::pipeline::RenderChoice::default())
                .unwrap();
        let names: Vec<&str> = render.rendered.manifests.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["from-a", "both-from-b"], "the later include wins");
        assert!(project.config.included.get("skipped/x").is_none() && project.config.included.get("files/x").is_none());
        assert!(project.config.included.get("werf-giterminism.yaml").is_none());
        let shown = &project.config.included.get(".helm/values.yaml").unwrap().shown;
        assert_eq!(shown, "https://h/b@v1:files/.helm/values.yaml");
    }

    #[test]
    fn files_of_the_project_win_over_included_ones() {
        let own = [
            ("werf-includes.yaml", TWO),
            ("werf-includes.lock", LOCK),
            ("web.txt", "w"),
            (
                "werf.yml",
                "configVersion: 1\nproject: own\n---\nimage: {{ include \"name\" . }}\ndockerfile: Dockerfile\n",
            ),
            (
                ".werf/name.tmpl",
                "{{ define \"name\" }}{{ .Files.Get \".helm/values.yaml\" | trim | replace \": \" \"-\" }}{{ end }}",
            ),
            (".helm/templates/both.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n"),
        ];
        let inputs = inputs(&own);
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let (config, files) = super::super::load_config(&mut d, &sources, &inputs).unwrap_or_else(|| panic!("{d:?}"));
        assert_eq!((config.meta.project.value.as_str(), config.path.as_str()), ("own", "werf.yml"));
        assert_eq!(config.images.first().unwrap().name.value, "from-b");
        assert!(files.read(".helm/templates/both.yaml").unwrap().ends_with(b"{name: own}\n"));
        assert!(files.read(".helm/templates/a.yaml").unwrap().ends_with(b"{name: from-a}\n"));
    }

    #[test]
    fn a_fault_in_an_included_file_names_the_include() {
        let mut remotes = remotes();
        let broken = [
            ("werf.yaml", "configVersion: 1\nproject: p\n---\nimage: a\ndockerfile: Dockerfile\nfinl: true\n"),
            ("Dockerfile", "FRM scratch\n"),
        ];
        remotes.add("https://h/a", RemoteReference::Branch("main".into()), OLD, MemoryObjects::files(broken));
        let mut inputs = inputs(&[("werf-includes.yaml", TWO), ("werf-includes.lock", LOCK)]);
        inputs.remotes = Arc::new(remotes);
        let found = faults(&inputs);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("unknown-key https://h/a@main:werf.yaml"), "{found:?}");
    }

    #[test]
    fn an_update_of_the_moment_needs_its_rule_and_ignores_the_lock() {
        let rule = ("werf-giterminism.yaml", "giterminismConfigVersion: 1\nincludes: {allowIncludesUpdate: true}\n");
        let own = ("werf.yaml", "configVersion: 1\nproject: p\n");
        let mut refused = inputs(&[own, ("werf-includes.yaml", TWO), ("werf-includes.lock", LOCK)]);
        refused.allow_includes_update = true;
        assert!(faults(&refused)[0].starts_with("not-permitted werf-giterminism.yaml"));
        let mut allowed = inputs(&[own, rule, ("werf-includes.yaml", TWO)]);
        allowed.allow_includes_update = true;
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let (config, _) = super::super::load_config(&mut d, &sources, &allowed).unwrap_or_else(|| panic!("{d:?}"));
        assert!(config.included.get("new").is_some());
    }

    #[test]
    fn an_include_of_nothing_and_an_unknown_branch_are_faults() {
        let own = ("werf.yaml", "configVersion: 1\nproject: p\n");
        let nothing = "includes:\n- {git: 'https://h/a', branch: main, add: /nowhere, to: /}\n";
        let found = faults(&inputs(&[own, ("werf-includes.yaml", nothing), ("werf-includes.lock", LOCK)]));
        assert_eq!(found, ["include-empty werf-includes.yaml the include takes no file of https://h/a"]);
        let unknown = "includes:\n- {git: 'https://h/a', branch: mian, add: /, to: /}\n";
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        assert!(update_includes(&mut d, &sources, &inputs(&[("werf-includes.yaml", unknown)])).is_none());
        assert_eq!(d.as_slice()[0].message, "https://h/a has no branch `mian`");
        let text = update_includes(&mut d, &sources, &inputs(&[("werf-includes.yaml", TWO)])).unwrap();
        assert!(text.contains(NEW) && text.contains("tag: v1"), "{text}");
    }

    #[test]
    fn the_git_mappings_of_an_image_do_not_see_includes() {
        let own = "configVersion: 1\nproject: p\n---\nimage: a\nfrom: scratch\ngit:\n- add: /.helm\n  to: /x\n";
        let found = faults(&inputs(&[("werf.yaml", own), ("werf-includes.yaml", TWO), ("werf-includes.lock", LOCK)]));
        assert!(found[0].starts_with("git-mapping-empty werf.yaml"), "{found:?}");
    }

    #[test]
    fn linked_files_come_as_what_they_lead_to() {
        let store = MemoryObjects::new();
        let link = Some((Mode::Symlink, b"../real".to_vec()));
        let changes =
            BTreeMap::from([("real".to_owned(), Some((Mode::File, b"x".to_vec()))), ("dir/link".to_owned(), link)]);
        let root = store.with_changes(None, &changes).unwrap();
        let files = crate::source::Files::new(Arc::new(store), root);
        let mut remotes = MemoryRemotes::default();
        remotes.add("/r", RemoteReference::Branch("main".into()), OLD, files);
        let text = "includes:\n- {git: /r, branch: main, add: /dir, to: /to}\n";
        let lock = format!("includes:\n- {{git: /r, branch: main, commit: '{OLD}'}}\n");
        let own = ("werf.yaml", "configVersion: 1\nproject: p\n");
        let mut inputs = inputs(&[own, ("werf-includes.yaml", text), ("werf-includes.lock", &lock)]);
        inputs.remotes = Arc::new(remotes);
        let (sources, mut d) = (Sources::new(), Diagnostics::new());
        let (_, files) = super::super::load_config(&mut d, &sources, &inputs).unwrap_or_else(|| panic!("{d:?}"));
        assert_eq!(&*files.read("to/link").unwrap(), b"x");
    }
}
