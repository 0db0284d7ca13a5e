//! COPY and ADD: from sources to the nodes of one layer.
//!
//! Source: BuildKit's file operations, as its Dockerfile front end calls them. What is easily missed: the directories
//! that a copy has to make above its destination are 0755 and get the owner of `--chown`; a directory that is
//! there already keeps its mode when it is the destination itself, and gets the source's when it lies deeper; the
//! destination is resolved through the image's links, files below it replace links.

use std::sync::Arc;

use super::content::{open_archive, read_content};
use super::files::{
    Archive, Content, Draft, HostTree, Kind, NewDirectory, Node, View, clean, join, name_of, parent_of,
};
use super::owner::{Stamp, resolve_owner};
use super::tar_read::{TarReader, decompress};
use crate::ports::{BlobError, BuildContext, BuildError};
use crate::source::glob::{CopySources, ShellPattern};
use crate::source::{MemoryObjects, Mode, ObjectId, Objects as _, PathFilter as _, Verdict};
use crate::stage::{CopySource, CopyStep, Filter, TreeSource, take};

/// What a copy needs to know.
pub struct CopyJob<'a> {
    /// The repository and the store.
    pub context: &'a BuildContext<'a>,
    /// The repository's objects and the trees that filters make of them.
    pub objects: &'a Arc<MemoryObjects>,
    /// The step.
    pub step: &'a CopyStep,
    /// The working directory of the image.
    pub working_dir: &'a str,
}

/// Where one source goes.
struct Destination {
    /// As written, absolute.
    path: String,
    /// Whether it must be a directory.
    is_directory: bool,
}

impl CopyJob<'_> {
    /// Carries out the step; `view_of` gives the files of a source that is an image or an earlier part.
    pub fn run(
        &self,
        draft: &mut Draft,
        view_of: &dyn Fn(&CopySource) -> Result<View, BuildError>,
    ) -> Result<(), BuildError> {
        draft.replace = self.step.link;
        let stamp = resolve_owner(self.context, draft, &self.step.owner)
            .map_err(|e| e.into_build_error(&self.step.created_by))?
            .with_mode(self.step.mode.clone());
        let to = &self.step.to;
        let is_directory =
            to.is_empty() || to == "." || to.ends_with('/') || to.ends_with("/.") || self.step.sources.len() > 1;
        let path = if to.starts_with('/') { clean(to) } else { clean(&format!("{}/{to}", self.working_dir)) };
        let to = Destination { path, is_directory };
        for source in &self.step.sources {
            match source {
                CopySource::Tree(tree) => self.copy_tree(draft, tree, &to, &stamp)?,
                CopySource::Inline { name, content } => {
                    let node = stamp.on(Node::file(Content::Text(content.as_bytes().into())));
                    let path = self.place_file(draft, &to, "", name, &stamp)?;
                    self.check(draft.put_file(&path, node))?;
                }
                CopySource::Address { url, checksum } => {
                    let (tree, name) = fetched(self.context, &self.step.created_by, url, checksum.as_deref())?;
                    let content = Content::Host(Arc::new(tree), name.as_str().into());
                    let node = stamp.on(Node { mode: 0o600, ..Node::file(content) });
                    let path = self.place_file(draft, &to, "", &name, &stamp)?;
                    self.check(draft.put_file(&path, node))?;
                }
                CopySource::Part { path, filter, .. } | CopySource::Image { path, filter, .. } => {
                    let filter = Filter::new(filter, "").map_err(|e| self.refuse(&e))?;
                    self.copy_view(draft, &view_of(source)?, path, &filter, &to, &stamp)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn refuse(&self, why: &dyn std::fmt::Display) -> BuildError {
        BuildError::Step { step: self.step.created_by.clone(), why: why.to_string() }
    }

    pub(super) fn check<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, BuildError> {
        result.map_err(|e| self.refuse(&e))
    }

    /// Makes the directories above a file's destination and returns its final path.
    fn place_file(
        &self,
        draft: &mut Draft,
        to: &Destination,
        parents: &str,
        name: &str,
        stamp: &Stamp,
    ) -> Result<String, BuildError> {
        let like = stamp.implicit_directory();
        let base = join(&to.path, parents);
        let as_directory = to.is_directory || self.step.parents;
        let needed = if as_directory { base.as_str() } else { parent_of(&base) };
        let needed = self.check(draft.resolve(needed))?;
        self.check(draft.make_directories(&needed, &like))?;
        let mut path = self.check(draft.resolve(&base))?;
        if draft.get(&path).is_some_and(Node::is_directory) || path.is_empty() {
            path = join(&path, name);
        }
        self.check(draft.make_directories(parent_of(&path), &like))?;
        Ok(path)
    }

    /// Makes the directory into which a source directory's content goes and returns its real path.
    fn place_directory(
        &self,
        draft: &mut Draft,
        to: &Destination,
        parents: &str,
        stamp: &Stamp,
    ) -> Result<String, BuildError> {
        let path = self.check(draft.resolve(&join(&to.path, parents)))?;
        self.check(draft.make_directories(&path, &stamp.implicit_directory()))?;
        Ok(path)
    }

    fn copy_tree(
        &self,
        draft: &mut Draft,
        tree: &TreeSource,
        to: &Destination,
        stamp: &Stamp,
    ) -> Result<(), BuildError> {
        let path = tree.path.trim_matches('/');
        let taken = take(self.objects, tree.root, path, &tree.filter).map_err(|e| self.refuse(&e))?;
        if taken != Some((tree.mode, tree.id)) {
            let found = taken.map_or_else(|| "nothing".to_owned(), |(_, id)| id.to_string());
            let place = if path.is_empty() { "the tree" } else { path };
            return Err(self.refuse(&format!("`{place}` should give {}, but gives {found}; plan again", tree.id)));
        }
        let parents = |path| if self.step.parents { path } else { "" };
        if tree.mode == Mode::Directory {
            let top = self.place_directory(draft, to, parents(tree.called(true)), stamp)?;
            return self.copy_directory(draft, tree.id, top, stamp);
        }
        if self.step.extract
            && matches!(tree.mode, Mode::File | Mode::Executable)
            && self.extract(draft, tree, to, stamp)?
        {
            return Ok(());
        }
        let node = stamp.on(self.git_node(tree.mode, tree.id, path)?);
        let target = self.place_file(draft, to, parents(parent_of(tree.called(true))), tree.called(false), stamp)?;
        self.check(draft.put_file(&target, node))
    }

    /// Copies what is in a git tree.
    pub(super) fn copy_directory(
        &self,
        draft: &mut Draft,
        id: ObjectId,
        top: String,
        stamp: &Stamp,
    ) -> Result<(), BuildError> {
        let mut todo = vec![(id, top)];
        while let Some((id, directory)) = todo.pop() {
            for entry in self.objects.tree(id)?.entries() {
                let name = &*entry.name;
                if name.is_empty() || name == "." || name == ".." || name.contains('/') {
                    return Err(self.refuse(&format!("the tree {id} holds the name `{name}`")));
                }
                let path = join(&directory, name);
                let node = stamp.on(self.git_node(entry.mode, entry.id, &path)?);
                if entry.mode == Mode::Directory {
                    self.check(draft.put_directory(&path, node))?;
                    todo.push((entry.id, path));
                } else {
                    self.check(draft.put_file(&path, node))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn git_node(&self, mode: Mode, id: ObjectId, path: &str) -> Result<Node, BuildError> {
        Ok(match mode {
            Mode::File => Node::file(Content::Blob(id)),
            Mode::Executable => Node { mode: 0o755, ..Node::file(Content::Blob(id)) },
            Mode::Symlink => Node::symlink(&String::from_utf8_lossy(&self.objects.blob(id)?)),
            Mode::Directory => Node::directory(),
            Mode::Submodule => {
                let what = format!("`{path}` is a submodule; its files are not in this repository");
                return Err(BuildError::Unsupported { builder: super::NAME, what });
            }
        })
    }

    fn copy_view(
        &self,
        draft: &mut Draft,
        view: &View,
        path: &str,
        filter: &Filter,
        to: &Destination,
        stamp: &Stamp,
    ) -> Result<(), BuildError> {
        // What stands before `/./` is not kept by `--parents`.
        let pivot = path.find("/./").filter(|_| self.step.parents);
        let (dropped, path) = pivot.map_or(("", path), |i| (path.get(..i).unwrap_or(""), path.get(i..).unwrap_or("")));
        let whole = clean(&format!("{dropped}/{path}"));
        for found in self.expand(view, &whole)? {
            let real = self.check(view.resolve(&found))?;
            let kept = found.strip_prefix(&clean(dropped)).unwrap_or(&found).trim_start_matches('/');
            let parents = |path| if self.step.parents { path } else { "" };
            let node = if real.is_empty() { Some(Node::directory()) } else { view.get(&real).cloned() };
            let Some(node) = node else { return Err(self.refuse(&format!("`/{found}` does not exist"))) };
            if node.is_directory() {
                let top = self.place_directory(draft, to, parents(kept), stamp)?;
                self.copy_below(draft, view, &real, filter, &top, stamp)?;
            } else if filter.takes(name_of(&found)) {
                let node = stamp.on(self.copied(view, &real, node)?);
                let target = self.place_file(draft, to, parents(parent_of(kept)), name_of(&found), stamp)?;
                self.check(draft.put_file(&target, node))?;
            }
        }
        Ok(())
    }

    /// Copies what a filter takes of a directory of an image. A directory that is not taken as a whole comes only
    /// with the first thing taken below it.
    fn copy_below(
        &self,
        draft: &mut Draft,
        view: &View,
        from: &str,
        filter: &Filter,
        top: &str,
        stamp: &Stamp,
    ) -> Result<(), BuildError> {
        let mut waiting: Vec<(String, Node)> = Vec::new();
        let mut skipped: Option<String> = None;
        for (path, node) in view.below(from) {
            let relative = path.get(from.len()..).unwrap_or_default().trim_start_matches('/').to_owned();
            if skipped.as_ref().is_some_and(|s| relative.starts_with(s.as_str())) {
                continue;
            }
            let verdict = filter.verdict(&relative, node.is_directory());
            waiting.retain(|(directory, _)| relative.strip_prefix(directory).is_some_and(|r| r.starts_with('/')));
            if verdict == Verdict::None {
                if node.is_directory() {
                    skipped = Some(format!("{relative}/"));
                }
                continue;
            }
            let is_directory = node.is_directory();
            let node = stamp.on(self.copied(view, &path, node)?);
            // BuildKit leaves out directories that it excludes, rsync those in which it finds nothing.
            let is_lazy = matches!(filter, Filter::Paths { .. }) || !filter.takes(&relative);
            if is_directory && verdict == Verdict::Descend && is_lazy {
                waiting.push((relative, node));
                continue;
            }
            for (directory, node) in waiting.drain(..) {
                self.check(draft.put_directory(&join(top, &directory), node))?;
            }
            let target = join(top, &relative);
            let put = if is_directory { draft.put_directory(&target, node) } else { draft.put_file(&target, node) };
            self.check(put)?;
        }
        Ok(())
    }

    /// Gives a node that leaves its image the bytes it had there.
    fn copied(&self, view: &View, path: &str, node: Node) -> Result<Node, BuildError> {
        if path.contains(char::REPLACEMENT_CHARACTER) {
            return Err(self.refuse(&format!("the name of `/{path}` is not UTF-8")));
        }
        if !matches!(node.kind, Kind::Hardlink(_)) {
            return Ok(node);
        }
        let content = view.content_of(&node).cloned();
        let content = content.ok_or_else(|| self.refuse(&format!("the hard link `/{path}` leads nowhere")))?;
        Ok(Node { kind: Kind::File { content, linked: false }, ..node })
    }

    /// Unpacks a source that is an archive; `false` when it is none.
    fn extract(
        &self,
        draft: &mut Draft,
        tree: &TreeSource,
        to: &Destination,
        stamp: &Stamp,
    ) -> Result<bool, BuildError> {
        let start = self.objects.blob(tree.id)?;
        let archive = Arc::new(Archive::Blob(tree.id));
        if !is_tar(&start) {
            return Ok(false);
        }
        let top = self.place_directory(draft, to, "", stamp)?;
        let failed = |e| BlobError::from_io(format!("unpack `{}`", tree.path), e);
        let reader = decompress(open_archive(self.context, &archive)?).map_err(failed)?;
        let mut tar = TarReader::new(reader);
        while let Some(mut entry) = tar.next_entry().map_err(failed)? {
            let path = std::mem::take(&mut entry.path);
            self.unpack(draft, &top, &path, entry.into_node(&archive))?;
        }
        Ok(true)
    }

    /// Puts one member of an archive below `top`, as tar would unpack it there.
    fn unpack(&self, draft: &mut Draft, top: &str, path: &str, mut node: Node) -> Result<(), BuildError> {
        if path.is_empty() {
            return Ok(());
        }
        let target = self.check(draft.resolve_parent(&join(top, path)))?;
        if let Kind::Hardlink(to) = &node.kind {
            let source = self.check(draft.resolve_parent(&join(top, to)))?;
            let Some(mut linked) = draft.get(&source).cloned() else {
                return Err(self.refuse(&format!("the hard link `{path}` leads to `{to}`, which is not there")));
            };
            if let Kind::File { linked, .. } = &mut linked.kind {
                *linked = true;
            }
            self.check(draft.put(&source, linked.clone()))?;
            node = linked;
        }
        self.check(draft.make_directories(parent_of(&target), &NewDirectory::default()))?;
        self.check(draft.put(&target, node))
    }

    /// Finds the paths that a source with wildcards names; one without stands for itself.
    fn expand(&self, view: &View, pattern: &str) -> Result<Vec<String>, BuildError> {
        let parts: Vec<&str> = pattern.split('/').collect();
        let fixed = parts.iter().take_while(|p| !p.contains(['*', '?', '[', '\\'])).count();
        if fixed == parts.len() {
            return Ok(vec![pattern.to_owned()]);
        }
        let (head, tail) = parts.split_at(fixed);
        let directory = self.check(view.resolve(&head.join("/")))?;
        let all = view.below(&directory);
        if self.step.parents && tail.contains(&"**") {
            let sources = self.check(CopySources::with_parents(&tail.join("/")))?;
            let mut found: Vec<String> = Vec::new();
            for path in all.keys() {
                let relative = path.get(directory.len()..).unwrap_or_default().trim_start_matches('/');
                let is_inside =
                    found.last().is_some_and(|f| path.strip_prefix(f.as_str()).is_some_and(|r| r.starts_with('/')));
                if !is_inside && sources.matches(relative) {
                    found.push(join(&directory, relative));
                }
            }
            return Ok(found);
        }
        let pattern = self.check(ShellPattern::new(&tail.join("/")))?;
        let relative = all.keys().map(|path| path.get(directory.len()..).unwrap_or_default().trim_start_matches('/'));
        let found = relative.filter(|path| path.split('/').count() == tail.len() && pattern.matches(path));
        Ok(found.map(|path| join(&directory, path)).collect())
    }
}

/// Fetches a file into a folder of its own; returns the folder, and the name in it.
#[cfg(feature = "registry")]
pub fn fetched(
    context: &BuildContext<'_>,
    step: &str,
    url: &str,
    checksum: Option<&str>,
) -> Result<(HostTree, String), BuildError> {
    let failed = |e| BlobError::from_io("make a folder for what is fetched".into(), e);
    let folder = tempfile::tempdir().map_err(failed)?;
    let name = CopySource::name_of_address(url);
    crate::backend::fetch::fetch(url, checksum, &folder.path().join(&name), context.cancelled)
        .map_err(|why| BuildError::Step { step: step.to_owned(), why })?;
    Ok((HostTree::temporary(folder), name))
}

/// This program was built without what it needs to fetch files.
#[cfg(not(feature = "registry"))]
pub fn fetched(
    _context: &BuildContext<'_>,
    step: &str,
    _url: &str,
    _checksum: Option<&str>,
) -> Result<(HostTree, String), BuildError> {
    Err(BuildError::Unsupported { builder: super::NAME, what: format!("{step}: this program was built without HTTP") })
}

/// Says whether bytes are a tar file, perhaps compressed: whether its first header is one.
fn is_tar(bytes: &[u8]) -> bool {
    decompress(bytes).is_ok_and(|reader| matches!(TarReader::new(reader).next_entry(), Ok(Some(_))))
}

/// Reads `/etc/passwd` or `/etc/group` of an image in the making; empty where there is none.
pub fn read_image_file(context: &BuildContext<'_>, draft: &Draft, path: &str) -> Result<String, BuildError> {
    let Ok(real) = draft.resolve(path) else { return Ok(String::new()) };
    match draft.get(&real).map(|node| &node.kind) {
        Some(Kind::File { content, .. }) => Ok(String::from_utf8_lossy(&read_content(context, content)?).into_owned()),
        Some(Kind::Directory | Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Special(..)) | None => Ok(String::new()),
    }
}
