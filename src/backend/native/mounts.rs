//! The mounts that a command asks for: `RUN --mount`, and `mount` and `secrets` of Stapel.
//!
//! The one idea: everything is made ready outside, as a folder, a file or a list of layers; the command's process only
//! mounts. What is mounted never reaches a layer: mount points lie under the changes.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::config::working_dir;
use super::copy::CopyJob;
use super::files::{Draft, Layer, View, clean};
use super::run::{Stubs, attempt, open_to_all};
use super::sandbox::spec::{Mount, Root, Upper};
use super::unpack::unpack;
use super::{Build, Image};
use crate::backend::host_access::{Hidden, HostAccess};
use crate::ports::BuildError;
use crate::stage::{
    CopySource, CopyStep, FilterSpec, ImageRef, MountFrom, MountKind, Owner, RunMount, RunStep, Sharing, TreeSource,
};

/// What the mounts of a command come to.
#[derive(Default)]
pub struct Given {
    /// The mounts.
    pub mounts: Vec<Mount>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Texts that must not be printed.
    pub hidden: Hidden,
    /// Locks that are held while the command runs.
    pub locks: Vec<File>,
}

/// The name under which files to mount are unpacked.
const INSIDE: &str = "it";

impl Build<'_> {
    /// Makes ready what one command asks for.
    pub(super) fn own_mounts(
        &self,
        image: &Image,
        step: &RunStep,
        stubs: &mut Stubs<'_>,
        given: &mut Given,
    ) -> Result<(), BuildError> {
        for mount in &step.mounts {
            let before = if step.as_root { "/" } else { &*image.config.config.working_dir };
            let target = clean(&working_dir(before, &mount.target));
            self.own_mount(step, mount, &target, stubs, given)?;
        }
        Ok(())
    }

    fn own_mount(
        &self,
        step: &RunStep,
        mount: &RunMount,
        target: &str,
        stubs: &mut Stubs<'_>,
        given: &mut Given,
    ) -> Result<(), BuildError> {
        match &mount.kind {
            MountKind::Script { content } => {
                let name = target.strip_prefix("dev/").unwrap_or(target).to_owned();
                given.mounts.push(Mount::Script { name, content: content.clone() });
            }
            MountKind::Context { input, writable } => {
                let source = self.context_folder(step, step.inputs.get(*input))?;
                let at = if source.is_dir() { stubs.directory(target)? } else { stubs.file(target)? };
                given.mounts.push(Mount::Bind { source, at, writable: *writable });
            }
            MountKind::Bind { from, source, writable } => {
                let (root, view) = self.foreign_root(from, *writable)?;
                let path = view.resolve(source).map_err(|e| refuse(step, &e.to_string()))?;
                let is_directory = path.is_empty()
                    || match view.get(&path) {
                        Some(node) => node.is_directory(),
                        None => return Err(refuse(step, &format!("`{source}` is not there to be mounted"))),
                    };
                let at = if is_directory { stubs.directory(target)? } else { stubs.file(target)? };
                given.mounts.push(Mount::Image { root, path, at, writable: *writable });
            }
            MountKind::Cache { id, sharing, from, source, mode, uid, gid, writable } => {
                let first = |folder: &Path| {
                    if let Some(from) = from {
                        self.unpack_foreign(step, from, source, folder)?;
                    }
                    let owned = chown(folder, Some(*uid), Some(*gid));
                    owned
                        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(*mode)))
                        .map_err(attempt("make a cache folder"))
                };
                let source = self.cache_mount(id, *sharing, given, first)?;
                let at = stubs.directory(target)?;
                given.mounts.push(Mount::Bind { source, at, writable: *writable });
            }
            MountKind::Tmpfs { size } => {
                given.mounts.push(Mount::Tmpfs { at: stubs.directory(target)?, size: *size });
            }
            MountKind::Scratch => {
                let source = self.scratch_folder("tmp")?;
                fs::set_permissions(&source, fs::Permissions::from_mode(0o777))
                    .map_err(attempt("make a scratch folder"))?;
                given.mounts.push(Mount::Bind { source, at: stubs.directory(target)?, writable: true });
            }
            MountKind::Host { path } => {
                let source = self.host()?.path(path);
                if !source.exists() {
                    fs::create_dir_all(&source).map_err(attempt(format!("make {}", source.display())))?;
                }
                let at = if source.is_dir() { stubs.directory(target)? } else { stubs.file(target)? };
                given.mounts.push(Mount::Bind { source, at, writable: true });
            }
            MountKind::Secret { .. } => self.secret(step, mount, target, stubs, given)?,
            MountKind::Ssh { required, .. } => match self.host()?.agent() {
                Some(source) => {
                    given.mounts.push(Mount::Bind { source, at: stubs.file(target)?, writable: true });
                    given.environment.insert("SSH_AUTH_SOCK".into(), format!("/{target}"));
                }
                None if *required => return Err(refuse(step, "no ssh agent is running: SSH_AUTH_SOCK is not set")),
                None => {}
            },
        }
        Ok(())
    }

    fn secret(
        &self,
        step: &RunStep,
        mount: &RunMount,
        target: &str,
        stubs: &mut Stubs<'_>,
        given: &mut Given,
    ) -> Result<(), BuildError> {
        let MountKind::Secret { id, file, variable, required, mode, uid, gid } = &mount.kind else { return Ok(()) };
        let Some(content) = self.secret_value(id).map_err(|why| refuse(step, &why))? else {
            if *required {
                return Err(refuse(step, &format!("the image has no secret `{id}`: declare it in `secrets`")));
            }
            return Ok(());
        };
        let text = String::from_utf8_lossy(&content).into_owned();
        given.hidden.add(&content);
        if let Some(variable) = variable {
            given.environment.insert(variable.clone(), text);
        }
        if *file {
            let roots = self.roots()?;
            let name = roots.next("secret");
            roots.scratch.make(&name).map_err(attempt("make a scratch folder"))?;
            let at = stubs.file(target)?;
            let folder = roots.scratch.name(&name);
            given.mounts.push(Mount::Secret { folder, content, mode: *mode, uid: *uid, gid: *gid, at });
        }
        Ok(())
    }

    /// Reads a secret of the image; `None` when it has none of that name.
    fn secret_value(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(place) = self.secrets.get(id) else { return Ok(None) };
        self.host().map_err(|e| e.to_string())?.secret(id, place).map(Some)
    }

    fn host(&self) -> Result<&HostAccess, BuildError> {
        let runner = self.builder.runner.as_ref();
        runner.map(|r| &r.host).ok_or_else(|| super::unsupported("commands are not run"))
    }

    fn scratch_folder(&self, kind: &str) -> Result<PathBuf, BuildError> {
        let roots = self.roots()?;
        let folder = roots.scratch.make(&roots.next(kind)).map_err(attempt("make a scratch folder"))?;
        open_to_all(&folder).map_err(attempt("make a scratch folder"))?;
        Ok(folder)
    }

    /// Writes files of the repository to the disk; nothing gives an empty folder.
    fn context_folder(&self, step: &RunStep, tree: Option<&TreeSource>) -> Result<PathBuf, BuildError> {
        let folder = self.scratch_folder("context")?;
        let Some(tree) = tree else { return Ok(folder) };
        let layer = self.copied(step, CopySource::Tree(tree.clone()))?;
        unpack(self.context, &layer, &folder)?;
        Ok(folder.join(INSIDE))
    }

    fn copied(&self, step: &RunStep, source: CopySource) -> Result<Layer, BuildError> {
        let copy = CopyStep {
            sources: vec![source],
            to: format!("/{INSIDE}"),
            owner: Owner::default(),
            mode: None,
            extract: false,
            parents: false,
            link: false,
            created_by: step.created_by.clone(),
        };
        let mut draft = Draft::over(View::default());
        let job = CopyJob { context: self.context, objects: &self.objects, step: &copy, working_dir: "/" };
        job.run(&mut draft, &|source| self.source_view(source))?;
        Ok(draft.layer)
    }

    fn unpack_foreign(&self, step: &RunStep, from: &MountFrom, path: &str, folder: &Path) -> Result<(), BuildError> {
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        let filter = FilterSpec::All;
        let source = match from {
            MountFrom::Part(part) => CopySource::Part { part: *part, path, filter },
            MountFrom::Image(image) => CopySource::Image { image: image.clone(), path, filter },
        };
        let layer = self.copied(step, source)?;
        // The folder itself is what was copied.
        let inside = format!("{INSIDE}/");
        let within = |path: &str| path.strip_prefix(&inside).map(Into::into);
        let entries = layer.entries.into_iter().filter_map(|(path, node)| Some((within(&path)?, node))).collect();
        unpack(self.context, &Layer { entries, ..Layer::default() }, folder)
    }

    /// The layers of another image, and its files.
    fn foreign_root(&self, from: &MountFrom, writable: bool) -> Result<(Root, View), BuildError> {
        let roots = self.roots()?;
        let at = roots.next("other");
        roots.scratch.make(&at).map_err(attempt("make a scratch folder"))?;
        let at = roots.scratch.name(&at);
        let nothing = Root { lowers: Vec::new(), upper: None, at: at.clone() };
        let stored;
        let image = match from {
            MountFrom::Part(part) => self.made(*part)?,
            MountFrom::Image(ImageRef::External { reference }) if reference == "scratch" => {
                return Ok((nothing, View::default()));
            }
            MountFrom::Image(image) => {
                stored = self.stored(image, self.platform)?;
                &stored
            }
        };
        let view = self.view(image)?;
        if !self.mounts_layers()? {
            return Ok((self.plain_root(&view, &Layer::default())?.0, view));
        }
        let lowers = self.lowers(image)?;
        if lowers.is_empty() {
            return Ok((nothing, View::default()));
        }
        let upper = if writable {
            let [changes, work] = ["forgotten", "work"].map(|kind| roots.next(kind));
            for name in [&changes, &work] {
                roots.scratch.make(name).map_err(attempt("make a scratch folder"))?;
            }
            Some(Upper { changes: roots.scratch.name(&changes), work: roots.scratch.name(&work) })
        } else {
            None
        };
        Ok((Root { lowers, upper, at }, view))
    }

    /// Returns a cache folder, which `first` makes ready the first time; a lock may be held from then on.
    fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        given: &mut Given,
        first: impl Fn(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        let roots = self.roots()?;
        let cache = self.builder.cache()?;
        let hash = hex::encode(Sha256::digest(id.as_bytes()));
        let hash = hash.get(..32).unwrap_or(&hash);
        let folder = cache.folder().join("caches");
        fs::create_dir_all(&folder).map_err(attempt("make a cache folder"))?;
        let lock = |name: &str| File::create(folder.join(format!("{name}.lock")));
        let name = match sharing {
            Sharing::Shared => hash.to_owned(),
            Sharing::Locked => {
                let file = lock(hash).map_err(attempt("lock a cache folder"))?;
                self.wait_for(&file).map_err(attempt("lock a cache folder"))?;
                given.locks.push(file);
                hash.to_owned()
            }
            Sharing::Private => {
                let mut number = 0;
                loop {
                    let name = if number == 0 { hash.to_owned() } else { format!("{hash}-{number}") };
                    let file = lock(&name).map_err(attempt("lock a cache folder"))?;
                    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                        given.locks.push(file);
                        break name;
                    }
                    number += 1;
                }
            }
        };
        let name = format!("caches/{name}");
        cache.kept(&name, &roots.scratch, |e| attempt("make a cache folder")(e), first)?;
        Ok(cache.folder().join(name))
    }

    /// Waits for a lock, and for a cancellation.
    fn wait_for(&self, file: &File) -> io::Result<()> {
        loop {
            match flock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.context.cancelled.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(io::Error::other("cancelled"));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn refuse(step: &RunStep, why: &str) -> BuildError {
    BuildError::Step { step: step.created_by.clone(), why: why.to_owned() }
}
