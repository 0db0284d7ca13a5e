//! The builder `docker` and the stage store `docker:`: a Docker Engine, through its API.
//!
//! What lives here: from a build request to an image that the engine made, and back into the store. What does not: how the
//! engine is reached (`engine`), what it is asked to build (`dockerfile`), what it tells (`progress`).
//!
//! The one idea: the engine makes layers, we keep them. A base is brought into it from the store, its result is taken
//! out: the layers over the base become blobs, the configuration gets our creation time and the history of the request.

mod container;
mod context;
mod dockerfile;
mod engine;
mod export;
mod progress;
mod session;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    ImportImageOptions, RemoveImageOptions, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt as _;

use self::context::{is_broken_pipe, stream, write_archive, write_context};
use self::dockerfile::{Around, BaseImage, Canonical, NAME, Refusal, StoredBase, Told};
use self::engine::{Connection, with_causes};
pub use self::engine::{Engine, EngineAddress, EngineError};
use self::export::{ExportError, export};
use self::progress::Progress;
use self::session::{Offer, Session};
pub use self::store::DockerStore;
use crate::backend::NativeBuilder;
use crate::backend::host_access::{Hidden, HostAccess};
use crate::backend::native::{config, needed_parts};
use crate::backend::runtime;
use crate::ports::oci::{ImageConfig, MEDIA_CONFIG, Manifest, RootFs, oci_layer_media_type, read_manifest};
use crate::ports::{
    BlobDigest, BlobStore, BuildContext, BuildError, Builder, BuiltImage, Descriptor, HostMount, ImageRun, Runner,
    StoreError,
};
use crate::source::MemoryObjects;
use crate::stage::{Base, BuildPart, BuildRequest, ConfigChange, ImageRef, Network, Platform, Step};

/// How often a build looks whether it was cancelled.
const CANCEL_EVERY: Duration = Duration::from_millis(200);
/// Fields of the engine's configurations that an image has by what it is; all others tell how it was built.
const KEPT_FIELDS: [&str; 2] = ["os.version", "os.features"];

/// Builds images in a Docker Engine.
pub struct DockerBuilder {
    engine: Engine,
    /// Makes what runs no command and cannot be said in a Dockerfile.
    native: NativeBuilder,
    /// What commands may be given of the host.
    host: HostAccess,
    /// What the names of images in the engine end with: other processes have names of their own.
    run: String,
    /// Images that are in the engine under our name, by that name. They go with the builder.
    loaded: Mutex<BTreeSet<String>>,
    /// Images that the engine made, by id. They go with the builder too.
    made: Mutex<BTreeSet<String>>,
}

impl Drop for DockerBuilder {
    fn drop(&mut self) {
        let loaded = std::mem::take(self.loaded.get_mut().unwrap_or_else(PoisonError::into_inner));
        let made = std::mem::take(self.made.get_mut().unwrap_or_else(PoisonError::into_inner));
        if loaded.is_empty() && made.is_empty() {
            return;
        }
        let Ok(connection) = self.engine.connect() else { return };
        let docker = &connection.docker;
        // What fails here stays for `docker image prune`.
        runtime::block_on(async {
            for name in loaded {
                let _ = docker.remove_image(&name, Some(unpruned()), None).await;
            }
            for id in made {
                let inspected = docker.inspect_image(&id).await;
                if inspected.is_ok_and(|image| image.repo_tags.unwrap_or_default().is_empty()) {
                    let _ = docker.remove_image(&id, Some(unpruned()), None).await;
                }
            }
        });
    }
}

fn unpruned() -> RemoveImageOptions {
    RemoveImageOptionsBuilder::new().noprune(true).build()
}

impl DockerBuilder {
    /// Returns a builder that connects when it is first needed.
    pub fn new(engine: Engine, host: HostAccess) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let run = run.get(..8).unwrap_or_default().to_owned();
        let (loaded, made) = (Mutex::default(), Mutex::default());
        Self { engine, native: NativeBuilder::default(), host, run, loaded, made }
    }

    fn connect(&self) -> Result<&Connection, BuildError> {
        self.engine.connect().map_err(|e| asked("connect to the Docker Engine", e))
    }

    /// Carries the request out as one build of the engine.
    fn build_in_engine(
        &self,
        request: &BuildRequest,
        canonical: &Canonical,
        context: &BuildContext<'_>,
    ) -> Result<BuiltImage, BuildError> {
        let (offer, hidden) = self.offer(request, canonical)?;
        let connection = self.connect()?;
        for base in &canonical.bases {
            self.bring(connection, base, context.store)?;
        }
        let image = self.run(connection, request, canonical, (offer, &hidden), context)?;
        let base = canonical.base.and_then(|index| canonical.bases.get(index));
        let below = base.map(|b| b.parsed.rootfs.diff_ids.clone()).unwrap_or_default();
        let known: BTreeSet<&BlobDigest> = below.iter().collect();
        let exported = export(&self.engine, &image, &|digest| !known.contains(digest), context.store);
        let exported = exported.map_err(|e| match e {
            ExportError::Blob(e) => BuildError::Blob(e),
            ExportError::Engine(e) => asked("take the image out of the engine", e),
            ExportError::NoImage(_) => BuildError::Store(StoreError::from(e)),
        })?;
        let all = &exported.parsed.rootfs.diff_ids;
        let mut layers: Vec<Descriptor> = base.map(|b| b.manifest.layers.clone()).unwrap_or_default();
        for layer in &mut layers {
            layer.media_type = oci_layer_media_type(&layer.media_type).to_owned();
        }
        for diff_id in all.iter().skip(below.len()) {
            // A layer over the base may be one of the base again.
            let again = || below.iter().position(|b| b == diff_id).and_then(|i| layers.get(i));
            let layer = exported.layers.get(diff_id).or_else(again).cloned();
            layers.push(layer.ok_or_else(|| {
                BuildError::Store(StoreError::Invalid {
                    what: format!("the image {image} of the engine"),
                    why: format!("its layer {diff_id} is missing"),
                })
            })?);
        }
        let config = finished(canonical, base, &exported.parsed);
        let bytes = config.to_bytes();
        let (digest, size) = context.store.put(&mut |out| out.write_all(&bytes))?;
        Ok(BuiltImage { config: Descriptor { media_type: MEDIA_CONFIG.into(), digest, size }, layers })
    }

    /// Reads what commands get.
    fn offer(&self, request: &BuildRequest, canonical: &Canonical) -> Result<(Offer, Hidden), BuildError> {
        let mut offer = Offer { agent: self.host.agent().filter(|_| canonical.agent), ..Offer::default() };
        let mut hidden = Hidden::default();
        for (index, id) in canonical.secrets.iter().enumerate() {
            let Some(place) = request.secrets.get(id) else { continue };
            let step = || request.parts.last().map(|p| p.name.clone()).unwrap_or_default();
            let content = self.host.secret(id, place).map_err(|why| BuildError::Step { step: step(), why })?;
            hidden.add(&content);
            offer.secrets.insert(format!("s{index}"), content);
        }
        Ok((offer, hidden))
    }

    /// Makes sure that the engine has an image under its name.
    fn bring(
        &self,
        connection: &Connection,
        image: &BaseImage,
        store: &(impl BlobStore + ?Sized),
    ) -> Result<(), BuildError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.contains(&image.name) {
            return Ok(());
        }
        let id = BlobDigest::of(&image.config).to_string();
        let (repo, tag) = image.name.split_once(':').unwrap_or((&image.name, "latest"));
        let options = || TagImageOptionsBuilder::new().repo(repo).tag(tag).build();
        let docker = &connection.docker;
        // The very image may be there, under another name or under none.
        if runtime::block_on(docker.tag_image(&id, Some(options()))).is_err() {
            // It may have the layers, of a build or of another image.
            if self.load(connection, image, store, false).is_err() {
                self.load(connection, image, store, true)?;
            }
        }
        loaded.insert(image.name.clone());
        Ok(())
    }

    fn load(
        &self,
        connection: &Connection,
        image: &BaseImage,
        store: &(impl BlobStore + ?Sized),
        with_layers: bool,
    ) -> Result<(), BuildError> {
        load(&self.engine, connection, image, std::slice::from_ref(&image.name), store, with_layers)
    }

    /// Builds, and returns the id of the image.
    fn run(
        &self,
        connection: &Connection,
        request: &BuildRequest,
        canonical: &Canonical,
        (offer, hidden): (Offer, &Hidden),
        context: &BuildContext<'_>,
    ) -> Result<String, BuildError> {
        let sending = Sending { connection, request, canonical, offer, hidden };
        let progress = self.send(&sending, &canonical.text, context)?;
        if let Some(image) = progress.image {
            return Ok(image);
        }
        let last = || request.parts.last().map(|p| p.name.clone()).unwrap_or_default();
        let why = progress.error.clone().unwrap_or_else(|| "the engine told no image".to_owned());
        let (vertex, last_lines) = progress.failed().unwrap_or(("", Vec::new()));
        let last_lines: Vec<String> = last_lines.iter().map(|line| hidden.mask(line)).collect();
        let noted = canonical.step(vertex);
        let step = noted.map_or_else(last, |noted| noted.told.clone());
        let error = match exit_code(&why) {
            Some(status) => {
                if context.introspect
                    && let Some(text) = canonical.until(vertex)
                {
                    self.introspect(&sending, &text, context)?;
                }
                BuildError::Command { step, status, last_lines }
            }
            None => BuildError::Step { step, why },
        };
        Err(error.at(noted.and_then(|noted| noted.place.as_ref())))
    }

    /// Makes the image that a failed command leaves, by running it once more, and opens a shell in it.
    fn introspect(&self, sending: &Sending<'_>, text: &str, context: &BuildContext<'_>) -> Result<(), BuildError> {
        let quiet = BuildContext { output: &|_| {}, introspect: false, ..*context };
        let Some(image) = self.send(sending, text, &quiet)?.image else { return Ok(()) };
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(vec!["/bin/sh".into()]),
            cmd: Some(Vec::new()),
            tty: Some(true),
            host_config: Some(host_config(sending.connection, sending.canonical.network)),
            ..ContainerCreateBody::default()
        };
        let ended = container::run(sending.connection, body, &AtomicUsize::new(0));
        let attempt = "open a shell";
        ended.map(drop).map_err(|why| asked(attempt, self.engine.failed(attempt, why)))
    }

    /// Sends a Dockerfile and follows its build to the end.
    fn send(&self, sending: &Sending<'_>, text: &str, context: &BuildContext<'_>) -> Result<Progress, BuildError> {
        let attempt = "build in the Docker Engine";
        let Sending { connection, request, canonical, offer, hidden } = sending;
        let arguments = serde_json::to_string(&canonical.arguments).unwrap_or_default();
        let platform = request.platform.to_string();
        let hosts = canonical.add_host.iter().map(|host| ("extrahosts", host.as_str()));
        let url = url::Url::parse_with_params(
            &format!("{}/build", connection.base),
            [
                ("version", "2"),
                ("dockerfile", "Dockerfile"),
                ("platform", platform.as_str()),
                ("networkmode", network_mode(connection, canonical.network)),
                ("buildargs", &arguments),
                ("rm", "1"),
                ("forcerm", "1"),
            ]
            .into_iter()
            .chain(hosts),
        );
        let url = url.map_err(|e| asked(attempt, self.engine.failed(attempt, e)))?;
        let objects = Arc::new(MemoryObjects::over(context.objects.clone()));
        let (written, sent) = stream(
            |out| write_context(out, text, &canonical.content, &objects, context),
            |body| runtime::block_on(follow(connection, url, body, offer.clone(), hidden, context)),
        );
        if let Err(error) = written
            && !is_broken_pipe(&error)
        {
            return Err(error);
        }
        let last = request.parts.last().map(|p| p.name.clone()).unwrap_or_default();
        let Some(ended) = sent else { return Err(BuildError::Cancelled(last)) };
        let progress = ended.map_err(|e| asked(attempt, self.engine.failed("build", e)))?;
        if let Some(image) = &progress.image {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone());
        }
        Ok(progress)
    }
}

/// What is built, and what it is given.
struct Sending<'a> {
    connection: &'a Connection,
    request: &'a BuildRequest,
    canonical: &'a Canonical,
    offer: Offer,
    hidden: &'a Hidden,
}

fn network_mode(connection: &Connection, network: Network) -> &'static str {
    match network {
        Network::Default if connection.has_bridge => "default",
        Network::Default | Network::Host => "host",
        Network::None => "none",
    }
}

fn host_config(connection: &Connection, network: Network) -> HostConfig {
    HostConfig { network_mode: Some(network_mode(connection, network).into()), ..HostConfig::default() }
}

impl Runner for DockerBuilder {
    fn run_image(&self, run: &ImageRun, context: &BuildContext<'_>, signal: &AtomicUsize) -> Result<i32, BuildError> {
        let attempt = "run the image in the Docker Engine";
        let connection = self.connect()?;
        let stored = stored(&run.image, &run.platform, context)?;
        let hex = BlobDigest::of(&stored.bytes).hex().to_owned();
        let config = &stored.config.config;
        let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        if run.words(&words(&config.entrypoint), &words(&config.cmd)).is_none() {
            let why = "the image has no command; name one behind --".to_owned();
            return Err(BuildError::Step { step: format!("run {}", run.image), why });
        }
        let name = dockerfile::base_name(&hex, &self.run);
        let image = BaseImage { manifest: stored.manifest, config: stored.bytes, parsed: stored.config, name };
        self.bring(connection, &image, context.store)?;
        let bind = |m: &HostMount| {
            let kind = if m.writable { "rw" } else { "ro" };
            format!("{}:{}:{kind}", m.source.display(), m.target)
        };
        let body = ContainerCreateBody {
            image: Some(image.name.clone()),
            entrypoint: run.entrypoint.clone(),
            // An entry point of ours forgets the command of the image.
            cmd: (run.entrypoint.is_some() || !run.arguments.is_empty()).then(|| run.arguments.clone()),
            env: Some(run.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            user: run.user.clone(),
            working_dir: run.working_dir.clone(),
            tty: Some(run.terminal),
            host_config: Some(HostConfig {
                binds: Some(run.mounts.iter().map(bind).collect()),
                ..host_config(connection, run.network)
            }),
            ..ContainerCreateBody::default()
        };
        container::run(connection, body, signal).map_err(|why| asked(attempt, self.engine.failed(attempt, why)))
    }
}

/// Loads an image into the engine under names.
fn load(
    engine: &Engine,
    connection: &Connection,
    image: &BaseImage,
    names: &[String],
    store: &(impl BlobStore + ?Sized),
    with_layers: bool,
) -> Result<(), BuildError> {
    let attempt = "load an image into the Docker Engine";
    let (written, sent) = stream(
        |out| write_archive(out, image, names, store, with_layers),
        |body| {
            runtime::block_on(async {
                let options = ImportImageOptions { quiet: true, platform: None };
                let chunks = body.map(|chunk| chunk.map(Into::into));
                let mut told = std::pin::pin!(connection.docker.import_image_stream(options, chunks, None));
                while let Some(line) = told.next().await {
                    let line = line.map_err(|e| with_causes(&e))?;
                    if let Some(error) = line.error_detail.and_then(|e| e.message) {
                        return Err(error);
                    }
                }
                Ok(())
            })
        },
    );
    if let Err(error) = written
        && !is_broken_pipe(&error)
    {
        return Err(error);
    }
    sent.map_err(|why| asked(attempt, engine.failed("load an image", why)))
}

/// Sends the build and follows it to its end; `None` when it was cancelled.
async fn follow(
    connection: &Connection,
    mut url: url::Url,
    body: context::ChunkStream,
    offer: Offer,
    hidden: &Hidden,
    context: &BuildContext<'_>,
) -> Option<Result<Progress, String>> {
    let mut output = |line: &str| (context.output)(&hidden.mask(line));
    let work = async {
        let mut progress = Progress::default();
        let session = if offer.is_empty() { None } else { Some(Session::open(connection, offer).await?) };
        if let Some(session) = &session {
            url.query_pairs_mut().append_pair("session", &session.id);
        }
        let request = connection.http.post(url).header("Content-Type", "application/x-tar");
        let answer = request.body(reqwest::Body::wrap_stream(body)).send().await;
        let answer = answer.map_err(|e| with_causes(&e))?;
        if !answer.status().is_success() {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            let message = serde_json::from_str::<serde_json::Value>(&text).ok();
            let message = message.and_then(|m| m.get("message").and_then(|m| m.as_str().map(str::to_owned)));
            return Err(format!("{status}: {}", message.unwrap_or(text)));
        }
        let mut stream = answer.bytes_stream();
        while let Some(chunk) = stream.next().await {
            progress.receive(&chunk.map_err(|e| with_causes(&e))?, &mut output);
        }
        progress.finish(&mut output);
        Ok(progress)
    };
    let mut work = std::pin::pin!(work);
    let mut ticks = tokio::time::interval(CANCEL_EVERY);
    let ended = loop {
        // The engine ends the build when the request does.
        if context.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        let tick = std::pin::pin!(ticks.tick());
        match futures_util::future::select(work.as_mut(), tick).await {
            futures_util::future::Either::Left((ended, _)) => break ended,
            futures_util::future::Either::Right(_) => {}
        }
    };
    Some(ended)
}

/// Reads the exit status out of what the engine says.
fn exit_code(why: &str) -> Option<i32> {
    let digits: String = why.rsplit_once("exit code: ")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn asked(attempt: &str, error: EngineError) -> BuildError {
    BuildError::Io { attempt: attempt.to_owned(), source: io::Error::other(error) }
}

/// Makes the configuration of the result: what the engine says, without what tells how it was built.
fn finished(canonical: &Canonical, base: Option<&BaseImage>, engine: &ImageConfig) -> ImageConfig {
    let ours = &canonical.config;
    let mut config = if canonical.is_exact {
        let mut config = engine.clone();
        config.other.retain(|name, _| ours.other.contains_key(name) || KEPT_FIELDS.contains(&name.as_str()));
        config.config.other.retain(|name, _| ours.config.other.contains_key(name));
        config.variant.clone_from(&ours.variant);
        config
    } else {
        ours.clone()
    };
    config.created.clone_from(&ours.created);
    config.history = base.map(|b| config::over_base(b.parsed.clone(), &b.manifest).history).unwrap_or_default();
    let told = base.map_or(0, |b| b.parsed.history.len());
    let mut lines = engine.history.iter().skip(told);
    for line in &canonical.history {
        match line {
            Told::Step(text) => {
                let empty = lines.next().is_none_or(|line| line.empty_layer);
                config.history.push(config::history(text, empty));
            }
            Told::Ours => {
                lines.next();
            }
            Told::Extra(text) => config.history.push(config::history(text, true)),
            Told::Cleared => config.history.clear(),
        }
    }
    config::set_layers(&mut config, RootFs { diff_ids: engine.rootfs.diff_ids.clone(), ..RootFs::default() });
    config
}

impl Builder for DockerBuilder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn build(&self, request: &BuildRequest, context: &BuildContext<'_>) -> Result<BuiltImage, BuildError> {
        let needed = needed_parts(request)?;
        let (rest, update) = split_update(request);
        if is_configuration_only(&rest) {
            return self.native.build(request, context);
        }
        // The engine cannot remove files without a command of the image.
        let updated = update.map(|update| self.native.build(&update, context)).transpose()?;
        let updated = updated.map(|built| stored_base(&built, context)).transpose()?;
        let request = &rest;
        let base = request.parts.first().map(|part| &part.base);
        let mut lookup = |reference: &ImageRef, platform: &Platform| match &updated {
            Some(updated) if matches!(base, Some(Base::Image(base)) if base == reference) => {
                Ok(StoredBase::clone(updated))
            }
            Some(_) | None => stored(reference, platform, context),
        };
        let around = Around { run: &self.run, secrets: &request.secrets, agent: self.host.agent().is_some() };
        match Canonical::of(request, &needed, around, &mut lookup) {
            Ok(canonical) => self.build_in_engine(request, &canonical, context),
            Err(Refusal::Wrong(error)) => Err(error),
            Err(Refusal::Unsayable(what)) => {
                let parts = request.parts.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(part, _)| part);
                let runs = parts.flat_map(|p| &p.steps).any(|step| matches!(step, Step::Run(_)));
                if runs {
                    let what = format!("{what} cannot be said to the engine; build it with --builder native");
                    return Err(BuildError::Unsupported { builder: NAME, what });
                }
                self.native.build(request, context)
            }
        }
    }
}

/// Splits off the files of git mappings that a stage first brings up to date; `None` where they are.
fn split_update(request: &BuildRequest) -> (BuildRequest, Option<BuildRequest>) {
    let mut rest = request.clone();
    let mut update = None;
    if let Some(part) = rest.parts.first_mut()
        && let Some(Step::Update(files)) = part.steps.first()
    {
        if files.iter().any(|files| files.older().is_some()) {
            let steps = vec![Step::Update(files.clone())];
            let part =
                BuildPart { name: part.name.clone(), base: part.base.clone(), arguments: BTreeMap::new(), steps };
            update = Some(BuildRequest::new(request.platform.clone(), vec![part]));
        }
        part.steps.remove(0);
    }
    (rest, update)
}

/// Reads an image that was just made.
fn stored_base(built: &BuiltImage, context: &BuildContext<'_>) -> Result<StoredBase, BuildError> {
    let bytes = context.store.read(&built.config.digest)?;
    let config = ImageConfig::parse(&bytes, || format!("image configuration {}", built.config.digest))?;
    Ok(StoredBase { manifest: Manifest::of(built, &BTreeMap::new()), config, bytes })
}

/// Says whether a request makes no files: the engine would add nothing.
fn is_configuration_only(request: &BuildRequest) -> bool {
    let [part] = request.parts.as_slice() else { return false };
    let touches_files = |step: &Step| match step {
        Step::Copy(_) | Step::Run(_) | Step::Config(ConfigChange::Workdir(_)) => true,
        Step::Config(_) | Step::Update(_) => false,
    };
    !part.steps.iter().any(touches_files) && matches!(part.base, Base::Image(_))
}

/// Reads an image of the store.
fn stored(reference: &ImageRef, platform: &Platform, context: &BuildContext<'_>) -> Result<StoredBase, BuildError> {
    let found = context.store.resolve(reference, platform)?;
    let digest = found.ok_or_else(|| BuildError::NoImage(reference.to_string()))?;
    let manifest: Manifest = read_manifest(context.store, &digest)?;
    let bytes = context.store.read(&manifest.config.digest)?;
    let config = ImageConfig::parse(&bytes, || format!("image configuration {}", manifest.config.digest))?;
    if manifest.layers.len() != config.rootfs.diff_ids.len() {
        let why = "its configuration does not name as many layers as its manifest".to_owned();
        return Err(StoreError::Invalid { what: format!("image `{reference}`"), why }.into());
    }
    Ok(StoredBase { manifest, config, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_read_from_both_forms() {
        let old = "executor failed running [/bin/sh -c exit 3]: exit code: 3";
        let new = "process \"/bin/sh -c exit 42\" did not complete successfully: exit code: 42";
        assert_eq!((exit_code(old), exit_code(new), exit_code("no")), (Some(3), Some(42), None));
    }
}
