//! One operation: one deed on one port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Ports;
use super::event::{Event, Subject};
use super::guards::{Checked, Seen, Violation, check_again, is_done, is_written, left_behind};
use super::index::{tag_as, tag_index};
use super::run::Options;
use super::tracking::NotReady;
use crate::digest::Sha224Digest;
use crate::plan::{Binding, Operation, OperationId, Plan, Work, judge};
use crate::ports::{
    BlobDigest, BuildContext, BuildError, Hold, LockError, LockGuard, Over, Published, StoreError, StoredStage,
    TargetError, TargetSession, copy_image,
};
use crate::signature::mapped_files;
use crate::source::Place;
use crate::stage::{Base, BuildRequest, CopySource, ImageRef, Step, TreeSource};

/// How often a tag is put when older builds of the stage keep appearing.
pub(super) const MOST_TAGS: usize = 5;
/// How often a resource is looked at again that others change between the look and the write.
const MOST_LOOKS: u32 = 10;
/// After so many looks at which the guards held, it does not count that others write it.
const PATIENT_LOOKS: u32 = 5;
/// How much longer it is waited before each look.
const LOOK: Duration = Duration::from_millis(20);

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A guard does not hold any more.
    #[error("the plan is stale")]
    Stale(#[source] StaleGuard),
    /// The plan holds something that is not a digest.
    #[error("`{0}` is not a digest")]
    NotADigest(String),
    /// The last stage of an image is not in the store.
    #[error("stage {0} is not in the store")]
    NoStage(String),
    /// The image that is copied is not in the store.
    #[error("image {0} is not in the store")]
    NoImage(String),
    /// The plan copies images, but there is no final repository.
    #[error("there is no final repository {0} to copy to")]
    NoFinal(String),
    /// The manifest of a Secret is sealed and was not opened.
    #[error("the manifest of {0} is sealed")]
    Sealed(String),
    /// A stored stage does not say which files of git mappings it holds.
    #[error("the stored stage {0} does not say which files it holds; another --repo or a cache version builds it anew")]
    NotRecorded(String),
    /// The plan writes resources, but there is no target.
    #[error("there is no target to write {0} to")]
    NoTarget(String),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The stage store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A resource is not ready, and will not be.
    #[error(transparent)]
    NotReady(Box<NotReady>),
    /// The target failed.
    #[error("use the target")]
    Target(#[from] TargetError),
    /// The lock of the release is not to be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The system gives no thread.
    #[error("begin a thread")]
    NoThread(#[source] std::io::Error),
}

impl WorkError {
    /// Returns where the step of a build that failed stands.
    pub fn place(&self) -> Option<&Place> {
        if let Self::Build(error) = self { error.place() } else { None }
    }

    /// Says whether a command of a build failed.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Build(error) if error.is_command())
    }
}

/// A violated guard as the cause of an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StaleGuard(pub Violation);

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was done.
    Now,
    /// It was found done.
    Already,
}

/// What operations of one run hand to each other.
pub(super) struct Workshop<'a> {
    ports: Ports<'a>,
    resume: bool,
    /// What an interrupted run has behind it.
    left_behind: BTreeSet<OperationId>,
    cancelled: &'a AtomicBool,
    introspect: bool,
    lock: Option<&'a dyn LockGuard>,
    checked: Option<&'a Checked>,
    events: &'a (dyn Fn(Event) + Sync),
    /// The stages this run built or found, by stage digest.
    stages: Mutex<BTreeMap<String, StoredStage>>,
    session: Mutex<Option<Arc<dyn TargetSession + 'a>>>,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(
        plan: &Plan,
        ports: Ports<'a>,
        options: &Options<'a>,
        events: &'a (dyn Fn(Event) + Sync),
    ) -> Result<Self, WorkError> {
        let Options { resume, cancelled, introspect, lock, checked, .. } = *options;
        let (stages, session) = (Mutex::default(), Mutex::default());
        let left_behind = if resume { left_behind(plan, &ports)? } else { BTreeSet::new() };
        Ok(Self { ports, resume, left_behind, cancelled, introspect, lock, checked, events, stages, session })
    }

    /// Says whether an interrupted run has an operation behind it.
    pub(super) fn has_behind(&self, operation: &Operation) -> bool {
        self.left_behind.contains(&operation.id)
    }

    /// Carries out one operation. `made` is told the size of a stage once it is made, before it is stored.
    pub(super) fn carry_out(&self, operation: &Operation, made: &dyn Fn(u64)) -> Result<Done, WorkError> {
        if self.has_behind(operation) {
            return Ok(Done::Already);
        }
        if let (Work::OpenRelease { .. }, Some(lock)) = (&operation.work, self.lock) {
            lock.confirm()?;
        }
        let mut looks = 0;
        loop {
            match self.try_out(operation, made, looks) {
                Err(WorkError::Target(error)) if error.is_outdated() && looks < MOST_LOOKS && !self.is_ending() => {
                    looks += 1;
                    std::thread::sleep(LOOK * looks);
                }
                done => return done,
            }
        }
    }

    /// Says whether nothing new is to be begun.
    fn is_ending(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || matches!(self.lock.map(LockGuard::hold), Some(Hold::Lost(_)))
    }

    /// Carries out one operation if its guards hold, over what was seen then, after so many looks.
    fn try_out(&self, operation: &Operation, made: &dyn Fn(u64), looks: u32) -> Result<Done, WorkError> {
        // A write that was not answered may have been made.
        let resume = self.resume || looks > 0;
        if resume && is_done(operation, &self.ports)? {
            if let Work::OpenRelease { release, revision, payload } = &operation.work {
                let payload = payload.reveal().map(String::as_str).unwrap_or_default();
                self.in_target(release, |session| {
                    session.reopen(release, *revision, payload);
                    Ok(())
                })?;
            }
            if matches!(operation.work, Work::RecordRelease { .. }) {
                // The change is made: it did not fail.
                self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            return Ok(Done::Already);
        }
        let seen = check_again(operation, &self.ports, (resume, self.resume), self.checked)?;
        match &operation.work {
            Work::BuildStage { digest, .. } => self.build(digest, operation, made),
            Work::TagImage { tag, manifest: Some(manifest), .. } => {
                let digest = BlobDigest::parse(manifest).ok_or_else(|| WorkError::NotADigest(manifest.clone()))?;
                self.ports.store.tag(tag, None, &digest)?;
                Ok(Done::Now)
            }
            Work::TagImage { image, tag, stage_digest, binding, custom, platform, manifest: None } => {
                // What is newest under a name is the image, not the image on one of its platforms.
                let named = !custom && platform.is_none();
                self.tag(named.then_some(image.as_str()), tag, stage_digest, binding.as_ref())
            }
            Work::TagIndex { image, tag, signature, platforms } if tag == signature => {
                tag_index(self.ports.store, image, signature, platforms)
            }
            Work::TagIndex { tag, signature, .. } => tag_as(self.ports.store, tag, signature),
            Work::CopyImage { image, from, tag, repo } => {
                let name = (from == tag).then_some(image.as_str());
                self.copy(from, tag, name, repo)
            }
            Work::OpenRelease { release, revision, payload } => {
                let payload = payload.reveal().ok_or_else(|| WorkError::Sealed(format!("release {release}")))?;
                self.in_target(release, |session| session.open(release, *revision, payload))
            }
            Work::WriteResource { address, path, manifest, sealed, replace, adopt, leaves_replicas } => {
                let content = manifest.as_ref().or(sealed.reveal());
                let content = content.ok_or_else(|| WorkError::Sealed(address.clone()))?.as_bytes();
                // An interrupted run wrote it, and did not leave its replicas.
                let stands = *leaves_replicas && resume && is_written(operation, &self.ports)?;
                let mut over = over(&seen, path, looks);
                self.in_target(address, |session| {
                    if *replace && !stands {
                        session.replace(path, content, &over)?;
                    } else if !stands {
                        if *adopt {
                            over = session.adopt(path, content, &over)?;
                        }
                        session.write(path, content, &over)?;
                    }
                    if *leaves_replicas {
                        session.leave_replicas(path, content)?;
                    }
                    Ok(())
                })
            }
            Work::AwaitResource { .. } | Work::Gate => Ok(Done::Now),
            Work::ForgetRelease { release } => self.in_target(release, |session| session.forget(release)),
            Work::RecordHooks { release, revision, event, .. } => {
                self.in_target(release, |session| session.record_hooks(release, *revision, event))
            }
            Work::DeleteResource { address, path } => {
                self.in_target(address, |session| session.delete(path, &over(&seen, path, looks)))
            }
            Work::RecordRelease { release, revision, record } => {
                self.in_target(release, |session| session.commit(release, *revision, record))?;
                // It is done: what comes later is another change.
                self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(Done::Now)
            }
        }
    }

    /// Tells the target what became of a resource that was waited for; only where it changes at all.
    pub(super) fn tell_settled(&self, operation: &Operation, succeeded: bool) {
        let Work::AwaitResource { path, .. } = &operation.work else { return };
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(session) = session {
            session.settled(path, succeeded);
        }
    }

    /// Deletes a resource that failed.
    pub(super) fn delete(&self, path: &str) -> Result<Done, WorkError> {
        self.in_target(path, |session| session.delete(path, &Over::Anything))
    }

    /// As `delete`, of that alone which was seen there.
    pub(super) fn delete_seen(&self, path: &str, seen: &Over) -> Result<Done, WorkError> {
        self.in_target(path, |session| session.delete(path, seen))
    }

    fn build(&self, digest: &str, operation: &Operation, made: &dyn Fn(u64)) -> Result<Done, WorkError> {
        let Work::BuildStage { request, annotations, binding, .. } = &operation.work else { return Ok(Done::Already) };
        let id = Sha224Digest::from_hex(digest).ok_or_else(|| WorkError::NotADigest(digest.to_owned()))?;
        let suits = |stored: &StoredStage| self.suits(stored, binding.as_ref());
        if let Some(stored) = self.ports.store.stages(&id)?.into_iter().find(suits) {
            self.remember(digest, stored);
            return Ok(Done::Already);
        }
        let request = self.settled(request)?;
        let subject = Subject::of(operation);
        let output = |line: &str| (self.events)(Event::Output { subject: subject.clone(), line: line.to_owned() });
        let context = BuildContext {
            cancelled: self.cancelled,
            output: &output,
            introspect: self.introspect,
            ..BuildContext::new(self.ports.objects, self.ports.store)
        };
        let built = self.ports.builder.build(&request, &context)?;
        made(built.layers.iter().map(|layer| layer.size).sum::<u64>() + built.config.size);
        match self.ports.store.publish(&id, &built, annotations, self.ports.clock.now_ms(), &suits)? {
            Published::Stored(stored) => {
                self.remember(digest, stored);
                Ok(Done::Now)
            }
            Published::Existing(stored) => {
                self.remember(digest, stored);
                Ok(Done::Already)
            }
        }
    }

    /// Says whether a stored build may be used in place of one of ours.
    fn suits(&self, stored: &StoredStage, binding: Option<&Binding>) -> bool {
        binding.is_none_or(|b| judge(b, &stored.annotations, self.ports.history, &**self.ports.objects).is_ok())
    }

    /// Says which builds of stages a request means, and what its base holds of git mappings: known only now, since
    /// somebody else may have built the base meanwhile.
    fn settled(&self, request: &BuildRequest) -> Result<BuildRequest, WorkError> {
        let mut request = request.clone();
        for part in &mut request.parts {
            let mut held = None;
            if let Base::Image(base) = &mut part.base {
                held = self.settle(base)?;
            }
            for step in &mut part.steps {
                match step {
                    Step::Update(files) => {
                        let now: Vec<TreeSource> = files.iter().map(|f| f.now.clone()).collect();
                        // A base that is not there is told by the builder.
                        let Some(stored) = &held else { continue };
                        let before = mapped_files(&stored.annotations, &now);
                        let before = before.ok_or_else(|| WorkError::NotRecorded(stored.id.to_string()))?;
                        for (files, before) in files.iter_mut().zip(before) {
                            files.before = Some(before);
                        }
                    }
                    Step::Copy(copy) => {
                        for source in &mut copy.sources {
                            if let CopySource::Image { image, .. } = source {
                                self.settle(image)?;
                            }
                        }
                    }
                    Step::Run(_) | Step::Config(_) => {}
                }
            }
        }
        Ok(request)
    }

    /// Finds the build of a stage that is meant, and says it; `None` for other images and for a stage that is not there.
    fn settle(&self, image: &mut ImageRef) -> Result<Option<StoredStage>, WorkError> {
        let ImageRef::Stage { digest, created_ms, .. } = image else { return Ok(None) };
        let name = digest.to_string();
        let ours = self.stages.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let is_meant = |stored: &StoredStage| created_ms.is_none_or(|ms| stored.id.created_ms == ms);
        let found = match ours.filter(|stored| is_meant(stored)) {
            Some(ours) => Some(ours),
            None => self.ports.store.stages(digest)?.into_iter().find(is_meant),
        };
        if let Some(found) = &found {
            *created_ms = Some(found.id.created_ms);
        }
        Ok(found)
    }

    fn tag(&self, image: Option<&str>, tag: &str, stage: &str, binding: Option<&Binding>) -> Result<Done, WorkError> {
        let ours = self.stages.lock().unwrap_or_else(PoisonError::into_inner).get(stage).cloned();
        let mut manifest = match ours {
            Some(ours) => ours.manifest,
            None => self.stored(stage, binding)?,
        };
        for _ in 0..MOST_TAGS {
            self.ports.store.tag(tag, image, &manifest)?;
            // An older build may have been stored meanwhile: everybody who tags looks again, so that the last one is right.
            let oldest = self.stored(stage, binding)?;
            if oldest == manifest {
                break;
            }
            manifest = oldest;
        }
        Ok(Done::Now)
    }

    fn copy(&self, from: &str, tag: &str, name: Option<&str>, repo: &str) -> Result<Done, WorkError> {
        let to = self.ports.final_store.ok_or_else(|| WorkError::NoFinal(repo.to_owned()))?;
        let image = self.ports.store.images(&[from.to_owned()])?.into_iter().flatten().next();
        let image = image.ok_or_else(|| WorkError::NoImage(from.to_owned()))?;
        copy_image(self.ports.store, to, &image.manifest, tag, name)?;
        Ok(Done::Now)
    }

    fn stored(&self, stage: &str, binding: Option<&Binding>) -> Result<BlobDigest, WorkError> {
        let id = Sha224Digest::from_hex(stage).ok_or_else(|| WorkError::NotADigest(stage.to_owned()))?;
        let oldest = self.ports.store.stages(&id)?.into_iter().find(|stored| self.suits(stored, binding));
        oldest.map(|s| s.manifest).ok_or_else(|| WorkError::NoStage(stage.to_owned()))
    }

    fn remember(&self, digest: &str, stored: StoredStage) {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned(), stored);
    }

    /// Says why a run ends before its change is made.
    fn why(&self) -> &'static str {
        if self.cancelled.load(Ordering::Relaxed) {
            "interrupted"
        } else if self.lock.is_some_and(|lock| matches!(lock.hold(), Hold::Lost(_))) {
            "the lock of the release was lost"
        } else {
            "an operation failed, or the time was over"
        }
    }

    /// Acts within the one change of the target that this run makes; begins it at the first use.
    fn in_target(
        &self,
        address: &str,
        act: impl FnOnce(&dyn TargetSession) -> Result<(), TargetError>,
    ) -> Result<Done, WorkError> {
        let target = self.ports.target.ok_or_else(|| WorkError::NoTarget(address.to_owned()))?;
        let session = {
            let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let session = match slot.take() {
                Some(session) => session,
                None => Arc::from(target.begin()?),
            };
            slot.insert(session).clone()
        };
        act(&*session)?;
        Ok(Done::Now)
    }
}

/// Returns over what something is done after so many looks.
fn over(seen: &Seen, path: &str, looks: u32) -> Over {
    match seen.get(path).cloned().unwrap_or_default() {
        Over::Object { id, .. } if looks >= PATIENT_LOOKS => Over::Object { id, version: None },
        over @ (Over::Anything | Over::Nothing | Over::Object { .. }) => over,
    }
}

impl Drop for Workshop<'_> {
    fn drop(&mut self) {
        let session = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever has the lock now says what becomes of the release.
        let is_lost = matches!(self.lock.map(LockGuard::hold), Some(Hold::Lost(_)));
        if let Some(session) = session.filter(|_| !is_lost) {
            session.abandon(self.why());
        }
    }
}
