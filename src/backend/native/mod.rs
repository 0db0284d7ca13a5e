//! The builder `native`: images without a daemon.
//!
//! What lives here: from a build request to layers and a configuration. What does not: publishing (the store),
//! deciding what to build (`plan`).
//!
//! The one idea: building is planning first. All steps of all parts are carried out on metadata (`files`, `copy`,
//! `config`), in order; then the layers of the last part, which know where their bytes are, are written at once and
//! independently (`content`). Parts that only give files to others are never written. Only where a command runs (`run`)
//! are layers unpacked.

mod ansible;
pub(super) mod config;
pub(super) mod content;
pub(super) mod copy;
mod diff;
mod files;
mod foreign;
mod mounts;
mod namespace;
mod owner;
mod plain;
mod run;
mod sandbox;
mod scratch;
mod start;
pub(super) mod tar_read;
mod tar_write;
mod unpack;
mod update;
mod users;
mod zstd;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use self::content::{WrittenLayer, as_stored, open_archive, write_layer};
use self::copy::CopyJob;
use self::files::{Archive, Draft, Layer, View, clean};
pub use self::foreign::cannot_run;
pub use self::namespace::{REFUSED as NO_NAMESPACE, become_root};
use self::owner::{OwnerError, Stamp, resolve_owner};
use self::run::{Roots, Runner};
use self::scratch::Cache;
use crate::backend::host_access::HostAccess;
use crate::ports::oci::{ImageConfig, MEDIA_CONFIG, RootFs, oci_layer_media_type, read_image};
use crate::ports::{BlobDigest, BlobError, BuildContext, BuildError, Builder, BuiltImage, Descriptor, StoreError};
use crate::source::MemoryObjects;
use crate::stage::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, ImageRef, MountFrom, MountKind, Owner, Platform,
    SecretPlace, Step, resolve_base_shell,
};

const NAME: &str = "native";

/// Runs as the process inside: `words` are those after the name of the program. `None` when they are not for us.
///
/// The program has to call this before anything else, and to exit with the status that it returns.
pub fn run_inside(words: &[String]) -> Option<u8> {
    let (command, rest) = words.split_first()?;
    (command == sandbox::inside::COMMAND).then(|| match rest.first().map(String::as_str) {
        Some(namespace::ENTER) => namespace::enter(),
        Some(namespace::MAP) => namespace::map_users(),
        Some(sandbox::inside::PROBE) => sandbox::inside::probe(),
        Some(sandbox::inside::ENTER) => sandbox::inside::enter_root(),
        word => sandbox::inside::run(word == Some(sandbox::inside::FIRST)),
    })
}

/// Takes unpacked layers out of a cache folder until the others take `limit` at most, save those that a running build
/// uses; returns how much was freed. Unit: bytes.
///
/// # Errors
/// The folder cannot be written to.
pub fn evict_layers(folder: &std::path::Path, limit: u64) -> std::io::Result<u64> {
    Cache::new(folder.to_owned(), None).evict(limit)
}

/// Builds images from git objects and stored images.
///
/// The default one runs no commands.
#[derive(Default)]
pub struct NativeBuilder {
    runner: Option<Runner>,
    /// Why commands are not run.
    refusal: Option<String>,
    /// Layers whose metadata was read or made, by the digest of the blob.
    layers: Mutex<HashMap<BlobDigest, Arc<Layer>>>,
}

/// The layers of a stored image, read when they are first asked for.
struct BaseFiles {
    layers: Vec<Descriptor>,
    view: OnceLock<View>,
}

/// An image in the making.
#[derive(Clone)]
struct Image {
    config: ImageConfig,
    base: Arc<BaseFiles>,
    /// Layers over the base, not written yet.
    layers: Vec<Arc<Layer>>,
}

/// One run of the builder.
struct Build<'a> {
    builder: &'a NativeBuilder,
    context: &'a BuildContext<'a>,
    objects: Arc<MemoryObjects>,
    platform: &'a Platform,
    /// Finished parts, by index; `None` where a part is not needed.
    parts: Vec<Option<Image>>,
    /// Where secrets are.
    secrets: &'a BTreeMap<String, SecretPlace>,
    /// Unpacked layers, once a command needs them.
    roots: OnceLock<Roots>,
}

impl Builder for NativeBuilder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn build(&self, request: &BuildRequest, context: &BuildContext<'_>) -> Result<BuiltImage, BuildError> {
        let needed = needed_parts(request)?;
        if self.runner.is_none() {
            for part in request.parts.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(part, _)| part) {
                refuse_commands(part, self.refusal.as_deref())?;
            }
        }
        for (index, part) in request.parts.iter().enumerate().filter(|(index, _)| needed.get(*index) == Some(&true)) {
            refuse_foreign_commands(part, request.platform_of(index))?;
        }
        let objects = Arc::new(MemoryObjects::over(context.objects.clone()));
        let mut build = Build {
            builder: self,
            context,
            objects,
            platform: &request.platform,
            parts: Vec::new(),
            secrets: &request.secrets,
            roots: OnceLock::new(),
        };
        for (index, (part, needed)) in request.parts.iter().zip(needed).enumerate() {
            let made = if needed { Some(build.part(part, request.platform_of(index))?) } else { None };
            build.parts.push(made);
        }
        let last = build.parts.pop().flatten().ok_or_else(|| unsupported("a request without parts"))?;
        build.write(last)
    }
}

/// Says which parts the last one needs, itself included. Parts point to earlier ones only.
pub(super) fn needed_parts(request: &BuildRequest) -> Result<Vec<bool>, BuildError> {
    let mut needed = vec![false; request.parts.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for (index, part) in request.parts.iter().enumerate().rev() {
        if needed.get(index) != Some(&true) {
            continue;
        }
        let base = if let Base::Part(base) = part.base { Some(base) } else { None };
        let sources = part.steps.iter().flat_map(|step| match step {
            Step::Copy(copy) => copy.sources.as_slice(),
            Step::Run(_) | Step::Config(_) | Step::Update(_) => &[],
        });
        let from = sources.filter_map(|s| if let CopySource::Part { part, .. } = s { Some(*part) } else { None });
        for used in from.chain(base).chain(part.steps.iter().flat_map(mounted_parts)) {
            match needed.get_mut(used) {
                Some(slot) if used < index => *slot = true,
                Some(_) | None => {
                    let why = format!("it uses part {used}, which does not stand before it");
                    return Err(BuildError::Step { step: part.name.clone(), why });
                }
            }
        }
    }
    Ok(needed)
}

/// Returns the parts that a command sees.
fn mounted_parts(step: &Step) -> Vec<usize> {
    let Step::Run(run) = step else { return Vec::new() };
    let from = run.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { from, .. } => Some(from),
        MountKind::Cache { from, .. } => from.as_ref(),
        MountKind::Context { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. }
        | MountKind::Script { .. }
        | MountKind::Host { .. }
        | MountKind::Scratch => None,
    });
    from.filter_map(|from| if let MountFrom::Part(part) = from { Some(*part) } else { None }).collect()
}

fn refuse_commands(part: &BuildPart, why: Option<&str>) -> Result<(), BuildError> {
    for step in &part.steps {
        if let Step::Run(run) = step {
            let why = why.map(|why| format!("; {why}")).unwrap_or_default();
            let what = format!("`{}` needs a builder that runs commands{why}", run.created_by);
            return Err(BuildError::Unsupported { builder: NAME, what });
        }
    }
    Ok(())
}

/// Refuses before anything is made; the plan warned.
fn refuse_foreign_commands(part: &BuildPart, platform: &Platform) -> Result<(), BuildError> {
    let run = part.steps.iter().find_map(|step| if let Step::Run(run) = step { Some(run) } else { None });
    match run.zip(cannot_run(platform)) {
        Some((run, why)) => {
            let what = format!("`{}` is for {platform}: {why}; install qemu-user-static", run.created_by);
            Err(BuildError::Unsupported { builder: NAME, what })
        }
        None => Ok(()),
    }
}

fn unsupported(what: &str) -> BuildError {
    BuildError::Unsupported { builder: NAME, what: what.to_owned() }
}

impl Build<'_> {
    fn part(&self, part: &BuildPart, platform: &Platform) -> Result<Image, BuildError> {
        let mut image = match &part.base {
            Base::Scratch => Image {
                config: config::scratch(platform),
                base: Arc::new(BaseFiles { layers: Vec::new(), view: OnceLock::new() }),
                layers: Vec::new(),
            },
            Base::Part(index) => self.made(*index)?.clone(),
            Base::Image(reference) => self.stored(reference, platform)?,
        };
        config::leave_triggers(&mut image.config, &part.base);
        let mut command_set = false;
        let env = image.config.config.env.clone();
        let mut steps = part.steps.iter().map(|step| config::with_base_env(step, &env)).peekable();
        while let Some(step) = steps.next() {
            match &*step {
                Step::Copy(copy) => {
                    let mut draft = Draft::over(self.view(&image)?);
                    let job = CopyJob {
                        context: self.context,
                        objects: &self.objects,
                        step: copy,
                        working_dir: &image.config.config.working_dir.clone(),
                    };
                    job.run(&mut draft, &|source| self.source_view(source))?;
                    let layer = self.with_parents(&image, draft.layer)?;
                    image.finish_step(layer, &copy.created_by);
                }
                Step::Config(change) => {
                    let change = &*resolve_base_shell(change, image.config.config.shell.as_deref());
                    config::apply(&mut image.config, change, &mut command_set)?;
                    let is_workdir = matches!(change, ConfigChange::Workdir(_));
                    let layer = if is_workdir { self.working_dir_layer(&image)? } else { Layer::default() };
                    if change.is_told() {
                        let layer = self.with_parents(&image, layer)?;
                        image.finish_step(layer, &change.to_string());
                    }
                }
                Step::Update(files) => {
                    let mut draft = Draft::over(self.view(&image)?);
                    update::update(self.context, &self.objects, files, &mut draft)?;
                    if draft.layer != Layer::default() {
                        let layer = self.with_parents(&image, draft.layer)?;
                        image.finish_step(layer, update::CREATED_BY);
                    }
                }
                Step::Run(run) if run.command.is_empty() => {
                    return Err(unsupported(&format!("not yet: `{}`", run.created_by)));
                }
                Step::Run(run) => {
                    let mut script = vec![run.clone()];
                    // Commands of one stage of Stapel are one script.
                    while run.as_root
                        && let Some(next) = steps
                            .next_if(|s| matches!(&**s, Step::Run(next) if next.as_root && next.ansible == run.ansible))
                        && let Step::Run(next) = &*next
                    {
                        script.push(next.clone());
                    }
                    let made = self.run(&image, &script.iter().collect::<Vec<_>>());
                    let layer = made.map_err(|e| e.at(run.place.as_ref()))?;
                    let created_by = script.iter().map(|s| s.created_by.as_str()).collect::<Vec<_>>().join(" && ");
                    let layer = self.with_parents(&image, Arc::unwrap_or_clone(layer))?;
                    image.finish_run(Arc::new(layer), &created_by);
                }
            }
        }
        Ok(image)
    }

    fn made(&self, index: usize) -> Result<&Image, BuildError> {
        let made = self.parts.get(index).and_then(Option::as_ref);
        made.ok_or_else(|| unsupported(&format!("part {index} is used before it is made")))
    }

    /// Starts from an image of the store.
    fn stored(&self, reference: &ImageRef, platform: &Platform) -> Result<Image, BuildError> {
        let found = self.context.store.resolve(reference, platform)?;
        let digest = found.ok_or_else(|| BuildError::NoImage(reference.to_string()))?;
        let (manifest, config) = read_image(self.context.store, &digest)?;
        let other = |text: &str, ours: &str| !text.is_empty() && text != ours;
        // A stage is for what it was built for: an instruction may take files from a part for another platform.
        let is_stage = matches!(reference, ImageRef::Stage { .. });
        if !is_stage && (other(&config.architecture, &platform.architecture) || other(&config.os, &platform.os)) {
            let why = format!("it is for {}/{}, the build is for {platform}", config.os, config.architecture);
            return Err(BuildError::Step { step: format!("FROM {reference}"), why });
        }
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            let why = "its configuration does not name as many layers as its manifest".to_owned();
            return Err(StoreError::Invalid { what: format!("image `{reference}`"), why }.into());
        }
        let layers = manifest.layers.iter().map(|layer| Descriptor {
            media_type: oci_layer_media_type(&layer.media_type).to_owned(),
            ..layer.clone()
        });
        Ok(Image {
            base: Arc::new(BaseFiles { layers: layers.collect(), view: OnceLock::new() }),
            config: config::over_base(config, &manifest),
            layers: Vec::new(),
        })
    }

    /// Returns the files of an image in the making; reads the layers of its base.
    fn view(&self, image: &Image) -> Result<View, BuildError> {
        let mut view = if let Some(view) = image.base.view.get() {
            view.clone()
        } else {
            let read: Result<Vec<_>, _> = image.base.layers.par_iter().map(|l| self.layer(&l.digest)).collect();
            let read = read?;
            image.base.view.get_or_init(|| View(read)).clone()
        };
        view.0.extend(image.layers.iter().cloned());
        Ok(view)
    }

    /// Adds the directories that a layer holds something in, as they are: a Docker Engine makes those that are missing
    /// anew, with other owners and modes. Source: the overlay2 driver; BuildKit's layers have them too.
    fn with_parents(&self, image: &Image, mut layer: Layer) -> Result<Layer, BuildError> {
        let missing = unpack::implied(&layer);
        if !missing.is_empty() {
            let view = self.view(image)?;
            for path in missing {
                let found = view.get(&path).filter(|node| node.is_directory()).cloned();
                layer.entries.insert(path, found.unwrap_or_else(files::Node::directory));
            }
        }
        Ok(layer)
    }

    /// Returns the metadata of a stored layer.
    fn layer(&self, digest: &BlobDigest) -> Result<Arc<Layer>, BuildError> {
        let known =
            |layers: &Mutex<HashMap<_, _>>| layers.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        if let Some(layer) = known(&self.builder.layers) {
            return Ok(layer);
        }
        let archive = Archive::Layer(digest.clone());
        let reader = open_archive(self.context, &archive)?;
        let layer =
            tar_read::read_layer(reader, archive).map_err(|e| BlobError::from_io(format!("read layer {digest}"), e))?;
        let layer = Arc::new(layer);
        self.builder.remember(digest, layer.clone());
        Ok(layer)
    }

    fn source_view(&self, source: &CopySource) -> Result<View, BuildError> {
        match source {
            CopySource::Part { part, .. } => self.view(self.made(*part)?),
            CopySource::Image { image, .. } => self.view(&self.stored(image, self.platform)?),
            CopySource::Tree(_) | CopySource::Inline { .. } | CopySource::Address { .. } => Ok(View::default()),
        }
    }

    /// Makes the working directory where it is missing. Its owner is the user of the image at this point.
    fn working_dir_layer(&self, image: &Image) -> Result<Layer, BuildError> {
        let path = clean(&image.config.config.working_dir);
        if path.is_empty() {
            return Ok(Layer::default());
        }
        let step = format!("WORKDIR {}", image.config.config.working_dir);
        let mut draft = Draft::over(self.view(image)?);
        let (user, group) = match image.config.config.user.split_once(':') {
            Some((user, group)) => (user, Some(group.to_owned())),
            None => (image.config.config.user.as_str(), None),
        };
        let stamp = match resolve_owner(self.context, &draft, &Owner { user: Some(user.to_owned()), group }) {
            Ok(stamp) => stamp,
            // As BuildKit does: a user that the image does not know (yet) owns nothing.
            Err(OwnerError::Unknown { .. }) => Stamp::default(),
            Err(OwnerError::Build(error)) => return Err(error),
        };
        let refuse = |e: files::Obstacle| BuildError::Step { step: step.clone(), why: e.to_string() };
        let real = draft.resolve(&path).map_err(refuse)?;
        draft.make_directories(&real, &stamp.implicit_directory()).map_err(refuse)?;
        Ok(draft.layer)
    }

    /// Writes the layers and the configuration.
    fn write(&self, mut image: Image) -> Result<BuiltImage, BuildError> {
        let written: Result<Vec<WrittenLayer>, BuildError> =
            image.layers.par_iter().map(|layer| write_layer(self.context, layer)).collect();
        let mut layers = image.base.layers.clone();
        let mut diff_ids = image.config.rootfs.diff_ids.clone();
        for (layer, written) in image.layers.drain(..).zip(written?) {
            let digest = &written.descriptor.digest;
            self.builder.remember(digest, Arc::new(as_stored(Arc::unwrap_or_clone(layer), digest)));
            layers.push(written.descriptor);
            diff_ids.push(written.diff_id);
        }
        config::set_layers(&mut image.config, RootFs { diff_ids, ..RootFs::default() });
        let bytes = image.config.to_bytes();
        let (digest, size) = self.context.store.put(&mut |out| out.write_all(&bytes))?;
        Ok(BuiltImage { config: Descriptor { media_type: MEDIA_CONFIG.into(), digest, size }, layers })
    }
}

impl NativeBuilder {
    /// Returns a builder that runs commands: `program` is this program, which is run again inside; layers are
    /// unpacked below `cache`, where they take `limit` bytes at most when it is dropped.
    pub fn running(program: PathBuf, cache: PathBuf, limit: Option<u64>, host: HostAccess) -> Self {
        // Owners on the disk mean what they mean here only.
        let cache = match namespace::numbering() {
            Some(name) => cache.with_file_name(format!(
                "{}-{name}",
                cache.file_name().map(std::ffi::OsStr::to_string_lossy).unwrap_or_default()
            )),
            None => cache,
        };
        let runner = Runner { program, cache: Cache::new(cache, limit), host, overlay: OnceLock::new() };
        Self { runner: Some(runner), ..Self::default() }
    }

    /// Returns a builder that runs no commands, and says why.
    pub fn without_commands(why: String) -> Self {
        Self { refusal: Some(why), ..Self::default() }
    }

    fn cache(&self) -> Result<&Cache, BuildError> {
        self.runner.as_ref().map(|r| &r.cache).ok_or_else(|| unsupported("commands are not run"))
    }

    fn cache_folder(&self) -> PathBuf {
        self.runner.as_ref().map(|r| r.cache.folder().to_owned()).unwrap_or_default()
    }

    fn remember(&self, digest: &BlobDigest, layer: Arc<Layer>) {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), layer);
    }
}

impl Image {
    /// Adds the layer of a step, if there is one, and a line of history.
    fn finish_step(&mut self, layer: Layer, created_by: &str) {
        let empty = layer == Layer::default();
        self.config.history.push(config::history(created_by, empty));
        if !empty {
            self.layers.push(Arc::new(layer));
        }
    }

    /// Adds the layer of a command, even if it changed nothing. Source: BuildKit.
    fn finish_run(&mut self, layer: Arc<Layer>, created_by: &str) {
        self.config.history.push(config::history(created_by, false));
        self.layers.push(layer);
    }
}
