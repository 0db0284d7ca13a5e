//! Other repositories of git mappings: each is resolved once, and its files are read as those of the project are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::ProjectInputs;
use crate::config::{BasicAuth, Config, GitReference, PasswordSource};
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::ports::{RemoteError, RemoteLogin, RemotePassword, RemoteReference, RemoteRepository};
use crate::source::{JoinedObjects, Objects, Span};
use crate::stage::RemoteTree;

/// A commit of another repository that a project takes files of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRemote {
    /// The address as it is written; it may hold a password.
    pub url: String,
    /// What was asked for.
    pub reference: RemoteReference,
    /// What that is: 40 hexadecimal digits.
    pub commit: String,
}

/// The other repositories of a project.
pub(super) struct Remotes {
    /// The trees, by [`crate::config::RemoteGit::key`].
    pub trees: BTreeMap<String, RemoteTree>,
    /// Where they come from.
    pub opened: Vec<OpenedRemote>,
    /// The objects of the project and of all of them.
    pub objects: Arc<dyn Objects>,
}

/// Opens the repositories that git mappings name; what cannot be opened is reported and left out.
pub(super) fn open_remotes(d: &mut Diagnostics, inputs: &ProjectInputs, config: &Config) -> Remotes {
    let mut known: BTreeMap<String, Option<RemoteTree>> = BTreeMap::new();
    let mut opened = Vec::new();
    let mut stores = Vec::new();
    let mappings = config.images.iter().filter_map(|image| image.stapel()).flat_map(|stapel| &stapel.git);
    for git in mappings.filter_map(|mapping| mapping.remote.as_ref()) {
        if known.contains_key(&git.key()) {
            continue;
        }
        let place = match &git.reference {
            GitReference::Default => git.url.span,
            GitReference::Branch(text) | GitReference::Tag(text) | GitReference::Commit(text) => text.span,
        };
        let tree = repository(d, &git.url.value, git.basic_auth.as_ref(), &inputs.environment).and_then(|repository| {
            let reference = remote_reference(&git.reference);
            let found = inputs.remotes.resolve(&repository, &reference).and_then(|commit| {
                let files = inputs.remotes.files(&repository, &reference, &commit)?;
                Ok((commit, files))
            });
            match found {
                Ok((commit, files)) => {
                    stores.push(files.objects().clone());
                    opened.push(OpenedRemote { url: git.url.value.clone(), reference, commit });
                    Some(RemoteTree { name: git.name.clone(), root: files.root() })
                }
                Err(error) => {
                    let hint = "a mapping with `commit` is read from the cache, without the network, once it was read";
                    report_remote(d, &error, place, hint);
                    None
                }
            }
        });
        known.insert(git.key(), tree);
    }
    let own = inputs.repository.objects().clone();
    let objects: Arc<dyn Objects> = if stores.is_empty() { own } else { Arc::new(JoinedObjects::new(own, stores)) };
    let trees = known.into_iter().filter_map(|(key, tree)| Some((key, tree?))).collect();
    Remotes { trees, opened, objects }
}

/// Returns what a port is asked for.
pub(super) fn remote_reference(reference: &GitReference) -> RemoteReference {
    match reference {
        GitReference::Default => RemoteReference::Head,
        GitReference::Branch(name) => RemoteReference::Branch(name.value.clone()),
        GitReference::Tag(name) => RemoteReference::Tag(name.value.clone()),
        GitReference::Commit(hash) => RemoteReference::Commit(hash.value.clone()),
    }
}

/// Reports a failure; `hint` is what helps where a commit is gone or nobody answers.
pub(super) fn report_remote(d: &mut Diagnostics, error: &RemoteError, span: Span, hint: &str) {
    let found = Diagnostic::at(&rules::REMOTE_REPOSITORY, span, error.to_string());
    d.push(match error {
        RemoteError::NoCommit { .. } | RemoteError::Unreachable { .. } => found.hint(hint),
        RemoteError::NoReference { .. } | RemoteError::Invalid { .. } => found,
    });
}

/// Returns a repository with its login; a variable that is not set is reported.
pub(super) fn repository(
    d: &mut Diagnostics,
    url: &str,
    auth: Option<&BasicAuth>,
    environment: &BTreeMap<String, String>,
) -> Option<RemoteRepository> {
    let login = match auth {
        None => None,
        Some(auth) => {
            let password = match auth.password.as_ref()? {
                PasswordSource::Value(text) => RemotePassword::Text(text.value.clone()),
                PasswordSource::File(path) => RemotePassword::File(path.value.clone()),
                PasswordSource::Env(name) => {
                    if let Some(value) = environment.get(&name.value) {
                        RemotePassword::Text(value.clone())
                    } else {
                        let message = format!("the variable `{}` is not set", name.value);
                        d.push(Diagnostic::at(&rules::REMOTE_REPOSITORY, name.span, message));
                        return None;
                    }
                }
            };
            let username = auth.username.as_ref().map(|name| name.value.clone()).unwrap_or_default();
            Some(RemoteLogin { username, password })
        }
    };
    Some(RemoteRepository { url: url.to_owned(), login })
}
