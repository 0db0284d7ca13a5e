//! `git`: mappings of repositories into Stapel images.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::Span;
use crate::syntax::yaml::Node;

use super::decode::{Section, absolute, check_pattern, conflict, missing, patterns, relative};
use super::directives;
use super::{Giterminism, Text, UserStage};

/// Files of a repository that are put into an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitMapping {
    /// The entry.
    pub span: Span,
    /// The repository; `None` for the project's own.
    pub remote: Option<RemoteGit>,
    /// File or directory, from the root of the repository; cleaned, begins with `/`.
    pub add: Text,
    /// Where it goes; cleaned, begins with `/`.
    pub to: Text,
    /// Owner, by name or number.
    pub owner: Option<Text>,
    /// Group, by name or number.
    pub group: Option<Text>,
    /// Patterns relative to `add`; empty takes all.
    pub include: Vec<Text>,
    /// Patterns relative to `add`, with those that keep mappings apart at the end (their place is what they make way for).
    pub exclude: Vec<Text>,
    /// Patterns relative to `add`: a change of a matching file runs the stage again. Never `BeforeInstall`.
    pub stage_dependencies: BTreeMap<UserStage, Vec<Text>>,
}

/// Another repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteGit {
    /// Its address.
    pub url: Text,
    /// Its short name: the last two components of the address, without `.git`.
    pub name: String,
    /// What is taken.
    pub reference: GitReference,
    /// How to log in.
    pub basic_auth: Option<BasicAuth>,
}

/// What is taken of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitReference {
    /// Whatever its HEAD is.
    Default,
    /// A branch.
    Branch(Text),
    /// A tag.
    Tag(Text),
    /// A commit.
    Commit(Text),
}

/// A user name and where its password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The section.
    pub span: Span,
    /// The user.
    pub username: Option<Text>,
    /// The password.
    pub password: Option<PasswordSource>,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// An environment variable.
    Env(Text),
    /// A file of the host.
    File(Text),
    /// The text in werf.yaml itself.
    Value(Text),
}

impl RemoteGit {
    /// Returns what tells commits of other repositories apart: address and reference.
    pub fn key(&self) -> String {
        let (kind, text) = match &self.reference {
            GitReference::Default => ("HEAD", ""),
            GitReference::Branch(text) => ("branch", text.value.as_str()),
            GitReference::Tag(text) => ("tag", text.value.as_str()),
            GitReference::Commit(text) => ("commit", text.value.as_str()),
        };
        format!("{}\n{kind} {text}", self.url.value)
    }
}

impl GitMapping {
    /// Reads one entry of `git`.
    pub(super) fn decode(d: &mut Diagnostics, node: &Node, allowed: &Giterminism) -> Option<Self> {
        let section = Section::open(d, node, &directives::GIT_MAPPING)?;
        let remote = remote(d, &section, allowed);
        let add = match section.text(d, "add") {
            None => Some(Text::new("/".to_owned(), section.span)),
            Some(add) => absolute(d, &add, "add"),
        };
        let Some(to) = section.text(d, "to") else {
            missing(
                d,
                section.span,
                "a git mapping needs `to`",
                "write where the files go in the image, for example `to: /app`",
            );
            return None;
        };
        if to.value.trim_end_matches('/').len() > 1 && to.value.ends_with('/') {
            let message = "the slash at the end of `to` has no effect";
            let found = Diagnostic::at(&rules::INEFFECTIVE_KEY, to.span, message);
            let found = found.hint("remove it: the content of `add` comes to be at `to` itself");
            let is_plain = to.span.range().len() == to.value.len();
            d.push(if is_plain { found.fixed(to.value.trim_end_matches('/')) } else { found });
        }
        let to = absolute(d, &to, "to");
        let include = patterns(d, &section, "includePaths", "`add`");
        let exclude = patterns(d, &section, "excludePaths", "`add`");
        let stage_dependencies = stage_dependencies(d, &section);
        Some(Self {
            span: section.span,
            remote,
            add: add?,
            to: to?,
            owner: section.filled(d, "owner"),
            group: section.filled(d, "group"),
            include,
            exclude,
            stage_dependencies,
        })
    }
}

fn stage_dependencies(d: &mut Diagnostics, mapping: &Section<'_>) -> BTreeMap<UserStage, Vec<Text>> {
    let mut found = BTreeMap::new();
    let Some(section) = mapping.section(d, "stageDependencies", &directives::STAGE_DEPENDENCIES) else { return found };
    for stage in [UserStage::Install, UserStage::BeforeSetup, UserStage::Setup] {
        let mut masks = section.strings(d, stage.key()).unwrap_or_default();
        masks.retain(|mask| {
            check_pattern(d, mask);
            // The text stays as written: it is an ingredient of digests.
            relative(d, mask, stage.key(), "`add`").is_some()
        });
        if !masks.is_empty() {
            found.insert(stage, masks);
        }
    }
    found
}

fn remote(d: &mut Diagnostics, section: &Section<'_>, allowed: &Giterminism) -> Option<RemoteGit> {
    let given: Vec<&str> = ["branch", "tag", "commit"].into_iter().filter(|k| section.node(k).is_some()).collect();
    let Some(url) = section.filled(d, "url") else {
        for key in given {
            let message = format!("`{key}` needs `url`");
            d.push(
                Diagnostic::at(&rules::MISSING_KEY, section.key_span(key), message)
                    .label("a mapping without `url` is of the project itself, at the commit that is built"),
            );
        }
        if let Some(entry) = section.entry("basicAuth") {
            let found =
                Diagnostic::at(&rules::INEFFECTIVE_KEY, entry.key.span, "`basicAuth` has no effect without `url`");
            d.push(found);
        }
        return None;
    };
    if let [one, other, ..] = given.as_slice() {
        conflict(d, section, one, other);
    }
    let branch = section.filled(d, "branch");
    let reference = if let Some(commit) = section.filled(d, "commit") {
        GitReference::Commit(commit)
    } else if let Some(tag) = section.filled(d, "tag") {
        GitReference::Tag(tag)
    } else {
        branch.map_or(GitReference::Default, GitReference::Branch)
    };
    let place = match &reference {
        GitReference::Branch(branch) => Some(branch.span),
        GitReference::Default => Some(url.span),
        GitReference::Tag(_) | GitReference::Commit(_) => None,
    };
    if let Some(place) = place.filter(|_| !allowed.git_branch && !allowed.loose) {
        allowed.refuse(d, place, "the mapping follows a branch", "config.stapel.git.allowBranch", None);
    }
    let name = short_name(&url.value);
    Some(RemoteGit { url, name, reference, basic_auth: basic_auth(d, section) })
}

pub(super) fn basic_auth(d: &mut Diagnostics, mapping: &Section<'_>) -> Option<BasicAuth> {
    let section = mapping.section(d, "basicAuth", &directives::BASIC_AUTH)?;
    let password = section.section(d, "password", &directives::PASSWORD).and_then(|p| {
        let given: Vec<&str> = ["env", "src", "value"].into_iter().filter(|k| p.node(k).is_some()).collect();
        match given.as_slice() {
            ["env"] => p.text(d, "env").map(PasswordSource::Env),
            ["src"] => p.text(d, "src").map(PasswordSource::File),
            ["value"] => p.text(d, "value").map(PasswordSource::Value),
            [one, other, ..] => {
                conflict(d, &p, one, other);
                None
            }
            [] | [_] => {
                missing(
                    d,
                    p.span,
                    "`password` needs `env`, `src` or `value`",
                    "write for example `env: NAME`, so that the password stays out of the repository",
                );
                None
            }
        }
    });
    Some(BasicAuth { span: section.span, username: section.filled(d, "username"), password })
}

/// Returns the last two components of an address without `.git`.
fn short_name(url: &str) -> String {
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts = path.rsplit(['/', ':']).filter(|p| !p.is_empty());
    match (parts.next(), parts.next()) {
        (Some(last), Some(before)) => format!("{before}/{last}"),
        (Some(last), None) => last.to_owned(),
        (None, _) => String::new(),
    }
}
