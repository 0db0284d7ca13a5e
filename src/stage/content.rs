//! Finding content: the files of the repository that an instruction or a mapping brings in.

use std::sync::Arc;

use super::build::{FilterSpec, TreeSource};
use super::filter::{TakeError, take};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::glob::{CopySources, clean_path};
use crate::source::{Files, FilesError, MemoryObjects, Mode, ObjectId, Objects, PathFilter, Span, Verdict};

/// A tree of files that sources are relative to.
pub struct Context<'a> {
    /// Overlay in which filtered trees are kept.
    pub store: &'a Arc<MemoryObjects>,
    /// The tree.
    pub root: ObjectId,
    /// Lines of its `.dockerignore`.
    pub ignore: &'a [String],
}

/// How the files of a source are taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken<'a> {
    /// `--exclude`.
    pub exclude: &'a [String],
    /// `--parents`: `**` stands for any number of directories.
    pub parents: bool,
}

/// Finds the files that one source of a COPY or ADD names; what is wrong is reported at `span`.
pub fn copy_source(
    diagnostics: &mut Diagnostics,
    context: &Context<'_>,
    pattern: &str,
    taken: &Taken<'_>,
    span: Span,
) -> Vec<TreeSource> {
    match find(context, pattern, taken) {
        Ok(found) if !found.is_empty() => found,
        Ok(_) if is_pattern(pattern) => {
            let message = format!("`{pattern}` matches no file of the build context");
            diagnostics.push(Diagnostic::at(&rules::COPY_SOURCE_MATCHES_NOTHING, span, message));
            Vec::new()
        }
        Ok(_) if clean_path(&format!("/{pattern}")).trim_matches('/').is_empty() => Vec::new(),
        Ok(_) => {
            diagnostics.push(missing(context, pattern, span));
            Vec::new()
        }
        Err(error) => {
            report_take(diagnostics, &error, span);
            Vec::new()
        }
    }
}

/// Reports why files could not be taken.
pub fn report_take(diagnostics: &mut Diagnostics, error: &TakeError, span: Span) {
    let rule = match error {
        TakeError::Pattern(_) => &rules::MALFORMED_PATTERN,
        TakeError::Files(_) => &rules::REPOSITORY_UNREADABLE,
    };
    diagnostics.push(Diagnostic::at(rule, span, error.to_string()));
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

fn find(context: &Context<'_>, pattern: &str, taken: &Taken<'_>) -> Result<Vec<TreeSource>, TakeError> {
    let exclude = taken.exclude;
    // What stands before `/./` is not kept by `--parents`.
    let dropped = pattern.find("/./").filter(|_| taken.parents).and_then(|at| pattern.get(..at)).unwrap_or_default();
    let cleaned = |path: &str| clean_path(&format!("/{path}")).trim_start_matches('/').to_owned();
    let clean = cleaned(pattern);
    let depth = cleaned(dropped).split('/').filter(|part| !part.is_empty()).count();
    let mut found = Vec::new();
    for (named, path) in candidates(context, &clean, taken.parents)? {
        let filter = if context.ignore.is_empty() && exclude.is_empty() {
            FilterSpec::All
        } else {
            FilterSpec::Dockerignore { patterns: context.ignore.to_vec(), exclude: exclude.to_vec() }
        };
        if let Some((mode, id)) = take(context.store, context.root, &path, &filter)? {
            let mut source = TreeSource { root: context.root, path, filter, id, mode, called: None };
            let name = if taken.parents {
                named.split('/').skip(depth).collect::<Vec<_>>().join("/")
            } else {
                named.rsplit('/').next().unwrap_or_default().to_owned()
            };
            // Of a directory the content is copied, so its name means something to `--parents` alone.
            if (taken.parents || mode != Mode::Directory) && name != source.called(taken.parents) {
                source.called = Some(name);
            }
            found.push(source);
        }
    }
    Ok(found)
}

/// Returns the paths that a source names, each with what it is, links followed inside the context.
fn candidates(context: &Context<'_>, clean: &str, parents: bool) -> Result<Vec<(String, String)>, TakeError> {
    let objects: Arc<dyn Objects> = context.store.clone();
    let files = Files::new(objects, context.root);
    let mut paths = Vec::new();
    if is_pattern(clean) {
        let matcher = if parents { CopySources::with_parents(clean)? } else { CopySources::new([clean])? };
        matches(context, &matcher, context.root, "", &mut paths)?;
    } else {
        paths.push(clean.to_owned());
    }
    let mut real = Vec::new();
    for path in paths {
        real.extend(real_path(&files, &path)?.map(|real| (path, real)));
    }
    Ok(real)
}

/// How many links a path may lead through.
const MAX_LINKS: usize = 255;

/// Follows links; the context is their root, as it is for Docker. `None` when there is nothing.
fn real_path(files: &Files, path: &str) -> Result<Option<String>, FilesError> {
    let mut open: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut real: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(name) = open.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                real.pop();
                continue;
            }
            _ => real.push(name),
        }
        let here = real.join("/");
        match files.entry(&here)? {
            None => return Ok(None),
            Some(entry) if entry.mode == Mode::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Ok(None);
                }
                let target = files.objects().blob(entry.id)?;
                let target = String::from_utf8_lossy(&target);
                real.pop();
                if target.starts_with('/') {
                    real.clear();
                }
                open.extend(target.split('/').rev().map(str::to_owned));
            }
            Some(_) => {}
        }
    }
    Ok(Some(real.join("/")))
}

fn matches(
    context: &Context<'_>,
    matcher: &CopySources,
    tree: ObjectId,
    prefix: &str,
    paths: &mut Vec<String>,
) -> Result<(), FilesError> {
    for entry in context.store.tree(tree)?.entries() {
        let path = if prefix.is_empty() { entry.name.to_string() } else { format!("{prefix}/{}", entry.name) };
        match matcher.verdict(&path, entry.mode == Mode::Directory) {
            Verdict::All => paths.push(path),
            Verdict::Descend if entry.mode == Mode::Directory => matches(context, matcher, entry.id, &path, paths)?,
            Verdict::Descend | Verdict::None => {}
        }
    }
    Ok(())
}

/// Returns the submodule that a path leads into.
fn module_above<'p>(context: &Context<'_>, path: &'p str) -> Option<&'p str> {
    let objects: Arc<dyn Objects> = context.store.clone();
    let files = Files::new(objects, context.root);
    let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    above.into_iter().find(|dir| matches!(files.entry(dir), Ok(Some(entry)) if entry.mode == Mode::Submodule))
}

fn missing(context: &Context<'_>, pattern: &str, span: Span) -> Diagnostic {
    let message = format!("`{pattern}` is not in the build context");
    let diagnostic = Diagnostic::at(&rules::COPY_SOURCE_NOT_FOUND, span, message);
    let clean = clean_path(&format!("/{pattern}"));
    let clean = clean.trim_start_matches('/');
    if let Some(module) = module_above(context, clean) {
        let message = format!("`{pattern}` lies in the submodule `{module}`, which is not checked out");
        let found = Diagnostic::at(&rules::SUBMODULE_STATE, span, message);
        return found.hint(format!("run `git submodule update --init {module}`"));
    }
    let unfiltered = Context { ignore: &[], store: context.store, root: context.root };
    if find(&unfiltered, clean, &Taken::default()).is_ok_and(|f| !f.is_empty()) {
        return diagnostic
            .label("excluded by `.dockerignore`")
            .hint("remove the pattern from `.dockerignore`, or except the file with `!`");
    }
    let (dir, name) = clean.rsplit_once('/').unwrap_or(("", clean));
    let siblings = take(context.store, context.root, dir, &FilterSpec::All).ok().flatten();
    let tree = siblings.filter(|(mode, _)| *mode == Mode::Directory).and_then(|(_, id)| context.store.tree(id).ok());
    let near = tree.as_ref().and_then(|t| did_you_mean(name, t.entries().iter().map(|e| &*e.name)));
    match near {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("only committed files are in the context: commit it, or use `--dev`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn found(pattern: &str, parents: bool) -> Vec<String> {
        let files = [
            ("package.json", Mode::File, "1"),
            ("a/b/package.json", Mode::File, "2"),
            ("a/b/other", Mode::File, "3"),
            ("current", Mode::Symlink, "package.json"),
            ("folder", Mode::Symlink, "a"),
        ];
        let objects = MemoryObjects::new();
        let changes = files.iter().map(|(p, m, t)| ((*p).to_owned(), Some((*m, t.as_bytes().to_vec())))).collect();
        let root = objects.with_changes(None, &changes).unwrap();
        let store = Arc::new(objects);
        let context = Context { store: &store, root, ignore: &[] };
        let mut diagnostics = Diagnostics::new();
        let span = Span::new(FileId(0), 0, 0);
        let sources = copy_source(&mut diagnostics, &context, pattern, &Taken { exclude: &[], parents }, span);
        sources.iter().map(|source| format!("{} as {}", source.path, source.called(parents))).collect()
    }

    #[test]
    fn links_are_followed_and_keep_their_names() {
        assert_eq!(found("current", false), ["package.json as current"]);
        assert_eq!(found("cur*", false), ["package.json as current"]);
        assert_eq!(found("folder", false), ["a as a"]);
    }

    #[test]
    fn sources_with_parents_are_found_at_every_depth() {
        assert_eq!(
            found("**/package.json", true),
            ["a/b/package.json as a/b/package.json", "package.json as package.json"]
        );
        assert_eq!(found("a/./**/other", true), ["a/b/other as b/other"]);
        assert!(found("**/package.json", false).is_empty(), "two stars without `--parents`");
    }
}
