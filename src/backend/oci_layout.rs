//! The stage store `oci:DIR`: an OCI image layout on disk that other tools can read.
//!
//! What lives here: blobs under `blobs/sha256`, and `index.json` with an entry for every stage and image. What does
//! not: the documents themselves (`ports::oci`).
//!
//! The one idea: readers need no lock, because every file appears whole by a rename. Writers of `index.json` take a
//! file lock, read it again and replace it. A folder that is not there is an empty store; only writing makes it.
//!
//! `index.json` is on the disk before it gets its name. Blobs are not waited for: a power cut may cost those of the
//! last seconds, which their digests tell, and the next apply makes them again.
#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::disk::{self, HashingWriter, TempFile};
use crate::digest::Sha224Digest;
use crate::ports::oci::{
    ANNOTATION_REF_NAME, ANNOTATION_TITLE, Index, IndexEntry, MEDIA_INDEX, MEDIA_MANIFEST, Manifest, best_for_platform,
    is_index_media_type, normalize_reference,
};
use crate::ports::{
    BlobDigest, BlobError, BlobStore, BuiltImage, CheckedReader, Head, Published, StageId, StageStore, StoreError,
    StoredImage, StoredStage,
};
use crate::stage::Platform;

/// Another name for an image, written by `buildx` and `ctr`.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The lock of writers of `index.json`.
const LOCK: &str = ".stagewright/lock";
/// How deep an index may stand in an index.
const MAX_INDEX_DEPTH: usize = 4;

/// A stage store in a folder.
pub struct OciLayout {
    dir: PathBuf,
    /// Whether the folder was made and cleaned by us; from then on it is only written to.
    prepared: Mutex<bool>,
    index: Mutex<Option<CachedIndex>>,
}

/// An index that was read, and the file it was read from: held open, so that its inode is not given away.
struct CachedIndex {
    file: File,
    size: u64,
    modified: (i64, i64),
    index: Arc<LayoutIndex>,
}

/// `index.json`. Entries keep their text, so that a rewrite loses nothing and costs little.
#[derive(Clone, Default)]
struct LayoutIndex {
    head: BTreeMap<String, serde_json::Value>,
    entries: Vec<LayoutEntry>,
    /// The first entry of each tag.
    by_tag: BTreeMap<Box<str>, usize>,
    /// Entries by the full form of their reference.
    by_reference: OnceLock<BTreeMap<String, Vec<usize>>>,
}

#[derive(Clone)]
struct LayoutEntry {
    text: Arc<str>,
    tag: Option<Box<str>>,
    name: Option<Box<str>>,
    entry: Arc<IndexEntry>,
}

/// Any document with annotations; the rest is not read.
#[derive(Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutMarker {
    image_layout_version: String,
}

impl OciLayout {
    /// Names the store in a folder, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), prepared: Mutex::new(false), index: Mutex::new(None) }
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    fn own_dir(&self) -> PathBuf {
        self.dir.join(".stagewright")
    }

    fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Returns the index as it stands now; reads it only when the file changed.
    fn index(&self) -> Result<Arc<LayoutIndex>, StoreError> {
        let path = self.index_path();
        let read = |source| io_error(format!("read `{}`", path.display()), source);
        let mut cache = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*cache
            && cached.is_current(&path).map_err(read)?
        {
            return Ok(cached.index.clone());
        }
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if is_absent(&e) => {
                *cache = None;
                return Ok(Arc::default());
            }
            Err(e) => return Err(read(e)),
        };
        let metadata = file.metadata().map_err(read)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(read)?;
        let index = Arc::new(LayoutIndex::parse(&text).map_err(|why| StoreError::Invalid {
            what: format!("`{}`", path.display()),
            why: format!("{why}; restore the file, or move the folder away and apply again"),
        })?);
        *cache = Some(CachedIndex {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            file,
            index: index.clone(),
        });
        Ok(index)
    }

    /// Replaces the index by what `change` makes of it, under the lock; `false` from `change` leaves it as it is.
    fn update<T>(
        &self,
        change: impl FnOnce(&Self, &mut LayoutIndex) -> Result<(T, bool), StoreError>,
    ) -> Result<T, StoreError> {
        self.prepare()?;
        let lock = self.dir.join(LOCK);
        let _lock = disk::lock_file(&lock).map_err(|e| io_error(format!("lock `{}`", lock.display()), e))?;
        let mut index = self.index()?;
        let cached = self.index.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Held until the end: its inode must not be given to the new file before the old one is forgotten.
        let _old = cached.map(|c| c.file);
        let (result, changed) = change(self, Arc::make_mut(&mut index))?;
        if changed {
            let write = |e| io_error(format!("write `{}`", self.index_path().display()), e);
            let file = self.replace_index(&index).map_err(write)?;
            let metadata = file.metadata().map_err(write)?;
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let cached = CachedIndex { size: metadata.size(), modified, file, index };
            *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        }
        Ok(result)
    }

    fn replace_index(&self, index: &LayoutIndex) -> io::Result<File> {
        let mut temp = TempFile::create(&self.own_dir().join("tmp"))?;
        temp.file.write_all(&index.to_bytes())?;
        temp.file.sync_data()?;
        let file = temp.file.try_clone()?;
        temp.rename(&self.index_path())?;
        file.unlock()?;
        Ok(file)
    }

    /// Makes the folder a layout, once, and removes what killed writers left.
    fn prepare(&self) -> Result<(), StoreError> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if *prepared {
            return Ok(());
        }
        let attempt = || format!("prepare the image layout `{}`", self.dir.display());
        match fs::read_to_string(self.dir.join("oci-layout")) {
            Ok(text) => self.check_marker(&text)?,
            Err(e) if is_absent(&e) => {
                if self.holds_something_else().map_err(|e| io_error(attempt(), e))? {
                    let why = "the folder holds other files; name an empty or a new folder".to_owned();
                    return Err(StoreError::Invalid { what: format!("image layout `{}`", self.dir.display()), why });
                }
                self.create().map_err(|e| io_error(attempt(), e))?;
            }
            Err(e) => return Err(io_error(attempt(), e)),
        }
        let own = self.own_dir().join("tmp");
        fs::create_dir_all(&own)
            .and_then(|()| fs::create_dir_all(self.dir.join("blobs/sha256")))
            .and_then(|()| disk::remove_leftovers(&own))
            .map_err(|e| io_error(attempt(), e))?;
        *prepared = true;
        Ok(())
    }

    fn check_marker(&self, text: &str) -> Result<(), StoreError> {
        let invalid = |why| StoreError::Invalid { what: format!("`{}/oci-layout`", self.dir.display()), why };
        let marker: LayoutMarker = serde_json::from_str(text).map_err(|e| invalid(e.to_string()))?;
        if marker.image_layout_version.starts_with("1.") {
            return Ok(());
        }
        Err(invalid(format!("layout version `{}` is not known", marker.image_layout_version)))
    }

    /// Says whether the folder holds files of which none belongs to a layout.
    fn holds_something_else(&self) -> io::Result<bool> {
        let mut other = false;
        match fs::read_dir(&self.dir) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry?.file_name();
                    if name == "index.json" || name == "blobs" {
                        return Ok(false);
                    }
                    other |= name != ".stagewright";
                }
            }
            Err(e) if is_absent(&e) => {}
            Err(e) => return Err(e),
        }
        Ok(other)
    }

    /// Makes the whole empty layout beside its place and renames it there.
    fn create(&self) -> io::Result<()> {
        let target = fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Self::fill(&target);
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::create_dir_all(parent)?;
        let prefix = format!(".{}.new-", name.to_string_lossy());
        remove_abandoned(parent, &prefix)?;
        let fresh = parent.join(format!("{prefix}{}", disk::unique_name()));
        fs::create_dir(&fresh)?;
        let built = fs::create_dir_all(fresh.join(".stagewright")).and_then(|()| {
            // Says that we live, to whoever looks for abandoned folders.
            let lock = disk::lock_file(&fresh.join(LOCK))?;
            Self::fill(&fresh)?;
            fs::rename(&fresh, &target).map(|()| lock)
        });
        if built.is_ok() {
            return disk::sync_dir(parent);
        }
        // Somebody was faster, or the place cannot be replaced (a mount point, a folder that is not empty).
        let _ = fs::remove_dir_all(&fresh);
        Self::fill(&target)
    }

    /// Makes the files of an empty layout that are missing; the marker comes last.
    fn fill(dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir.join("blobs/sha256"))?;
        let marker = LayoutMarker { image_layout_version: "1.0.0".into() };
        let marker = serde_json::to_vec(&marker)?;
        for (name, bytes) in [("index.json", LayoutIndex::default().to_bytes()), ("oci-layout", marker)] {
            let path = dir.join(name);
            if path.exists() {
                continue;
            }
            let mut temp = TempFile::create(&dir.join(".stagewright/tmp"))?;
            temp.file.write_all(&bytes)?;
            temp.file.sync_data()?;
            // A link, unlike a rename, does not replace what somebody else made meanwhile.
            match fs::hard_link(temp.path(), &path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        disk::sync_dir(dir)
    }

    /// Reads the annotations of a manifest; `None` when its blob is not there.
    fn annotations(&self, digest: &BlobDigest) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let bytes = match self.read(digest) {
            Ok(bytes) => bytes,
            Err(BlobError::Absent(_)) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let document: Annotated = serde_json::from_slice(&bytes).map_err(|e| StoreError::Invalid {
            what: format!("manifest `{}`", self.blob_path(digest).display()),
            why: format!("{e}; remove the file and apply again"),
        })?;
        Ok(Some(document.annotations.unwrap_or_default()))
    }

    fn image(&self, tag: &str, entry: &LayoutEntry) -> Result<Option<StoredImage>, StoreError> {
        let manifest = entry.entry.digest.clone();
        Ok(self.annotations(&manifest)?.map(|annotations| StoredImage { tag: tag.to_owned(), manifest, annotations }))
    }

    fn stages_in(&self, index: &LayoutIndex, digest: &Sha224Digest) -> Vec<StoredStage> {
        let mut found: Vec<StoredStage> = index
            .with_prefix(&format!("{digest}-"))
            .filter_map(|(tag, entry)| {
                let manifest = entry.entry.digest.clone();
                // A candidate that cannot be read is no candidate.
                let annotations = self.annotations(&manifest).ok().flatten()?;
                Some(StoredStage { id: StageId::parse(tag)?, manifest, annotations })
            })
            .collect();
        found.sort_by_key(|stage| stage.id);
        found
    }

    /// Follows indexes down to the manifest for a platform.
    fn manifest_for(
        &self,
        candidates: &[Arc<IndexEntry>],
        platform: &Platform,
        reference: &str,
    ) -> Result<BlobDigest, StoreError> {
        let mut candidates = candidates.to_vec();
        for _ in 0..MAX_INDEX_DEPTH {
            let best = best_for_platform(candidates.iter().map(|e| (e.platform.as_ref(), e)), platform);
            let Some(best) = best.cloned() else {
                let offered = candidates.iter().filter_map(|e| e.platform.as_ref()).map(ToString::to_string);
                let offered = offered.collect::<Vec<_>>().join(", ");
                let why = format!("it is not there for {platform}, only for {offered}");
                return Err(StoreError::Invalid { what: format!("image `{reference}`"), why });
            };
            if !is_index_media_type(&best.media_type) {
                return Ok(best.digest.clone());
            }
            let bytes = self.read(&best.digest)?;
            let nested = Index::parse(&bytes, || format!("image index `{}`", self.blob_path(&best.digest).display()))?;
            candidates = nested.manifests.into_iter().map(Arc::new).collect();
        }
        let why = "its indexes stand too deep in each other".to_owned();
        Err(StoreError::Invalid { what: format!("image `{reference}`"), why })
    }
}

impl CachedIndex {
    fn is_current(&self, path: &Path) -> io::Result<bool> {
        let now = match fs::metadata(path) {
            Ok(now) => now,
            Err(e) if is_absent(&e) => return Ok(false),
            Err(e) => return Err(e),
        };
        let same_content = now.size() == self.size && (now.mtime(), now.mtime_nsec()) == self.modified;
        Ok(same_content && disk::is_same_file(&self.file, path)?)
    }
}

impl LayoutIndex {
    fn parse(text: &str) -> Result<Self, String> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let mut index = Self::default();
        for (key, value) in fields {
            if key == "manifests" {
                let entries: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
                for entry in entries.unwrap_or_default() {
                    index.push(LayoutEntry::parse(entry.get())?);
                }
            } else {
                let value = serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
                index.head.insert(key, value);
            }
        }
        Ok(index)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut head = self.head.clone();
        head.entry("schemaVersion".into()).or_insert_with(|| 2.into());
        head.entry("mediaType".into()).or_insert_with(|| MEDIA_INDEX.into());
        let mut out = serde_json::to_vec(&head).expect("JSON values can be written");
        out.pop();
        out.extend_from_slice(b",\"manifests\":[");
        for (i, entry) in self.entries.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"\n" } else { b",\n" });
            out.extend_from_slice(entry.text.as_bytes());
        }
        out.extend_from_slice(b"\n]}\n");
        out
    }

    fn push(&mut self, entry: LayoutEntry) {
        if let Some(tag) = &entry.tag {
            self.by_tag.entry(tag.clone()).or_insert(self.entries.len());
        }
        self.entries.push(entry);
        self.by_reference = OnceLock::new();
    }

    /// Adds an entry with that tag, in place of those that have it.
    fn put(&mut self, entry: LayoutEntry) {
        if entry.tag.as_deref().is_some_and(|tag| self.by_tag.contains_key(tag)) {
            let old = std::mem::take(&mut self.entries);
            self.by_tag.clear();
            for other in old.into_iter().filter(|e| e.tag != entry.tag) {
                self.push(other);
            }
        }
        self.push(entry);
    }

    fn by_tag(&self, tag: &str) -> Option<&LayoutEntry> {
        self.by_tag.get(tag).and_then(|i| self.entries.get(*i))
    }

    fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &LayoutEntry)> {
        self.by_tag
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(move |(tag, _)| tag.starts_with(prefix))
            .filter_map(|(tag, i)| Some((&**tag, self.entries.get(*i)?)))
    }

    /// Returns the entries of a reference: its exact text first, then its full form, then its digest.
    fn by_reference(&self, reference: &str) -> Vec<Arc<IndexEntry>> {
        let pick = |wanted: &dyn Fn(&LayoutEntry) -> bool| {
            self.entries.iter().filter(|e| wanted(e)).map(|e| e.entry.clone()).collect::<Vec<_>>()
        };
        if let Some((_, digest)) = reference.split_once('@') {
            return pick(&|e| e.entry.digest.to_string() == digest);
        }
        if self.by_tag.contains_key(reference) {
            return pick(&|e| e.tag.as_deref() == Some(reference));
        }
        let all = self.by_reference.get_or_init(|| {
            let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for (i, entry) in self.entries.iter().enumerate() {
                let tag = entry.tag.as_deref().filter(|tag| !is_own_tag(tag));
                let known = entry.entry.annotations.get(ANNOTATION_CONTAINERD_NAME).map(String::as_str);
                for name in tag.into_iter().chain(known) {
                    let entries = all.entry(normalize_reference(name)).or_default();
                    if entries.last() != Some(&i) {
                        entries.push(i);
                    }
                }
            }
            all
        });
        let found = all.get(&normalize_reference(reference)).into_iter().flatten();
        found.filter_map(|i| self.entries.get(*i)).map(|e| e.entry.clone()).collect()
    }
}

impl LayoutEntry {
    fn parse(text: &str) -> Result<Self, String> {
        let entry: IndexEntry = serde_json::from_str(text).map_err(|e| format!("{e} in manifest entry {text}"))?;
        let annotation = |key| entry.annotations.get(key).map(|v| v.as_str().into());
        let (tag, name) = (annotation(ANNOTATION_REF_NAME), annotation(ANNOTATION_TITLE));
        Ok(Self { text: text.into(), tag, name, entry: Arc::new(entry) })
    }

    fn new(tag: &str, name: Option<&str>, media_type: &str, digest: BlobDigest, size: u64) -> Self {
        let mut annotations = BTreeMap::from([(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())]);
        if let Some(name) = name {
            annotations.insert(ANNOTATION_TITLE.to_owned(), name.to_owned());
        }
        let entry = IndexEntry { media_type: media_type.into(), digest, size, platform: None, annotations };
        let text = serde_json::to_string(&entry).expect("an index entry has string keys only").into();
        Self { text, tag: Some(tag.into()), name: name.map(Into::into), entry: Arc::new(entry) }
    }
}

/// Says whether a tag is one of ours, a digest or a stage id: never the reference of somebody else's image.
fn is_own_tag(tag: &str) -> bool {
    Sha224Digest::from_hex(tag).is_some() || StageId::parse(tag).is_some()
}

impl BlobStore for OciLayout {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        let path = self.blob_path(digest);
        path.try_exists().map_err(|source| BlobError::Io { attempt: format!("look for `{}`", path.display()), source })
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => {
                let reader = BufReader::with_capacity(64 * 1024, file);
                Ok(Box::new(CheckedReader::new(reader, digest.clone(), path.display().to_string())))
            }
            Err(e) if is_absent(&e) => Err(BlobError::Absent(digest.clone())),
            Err(source) => Err(BlobError::Io { attempt: format!("open `{}`", path.display()), source }),
        }
    }

    fn put(&self, content: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<(BlobDigest, u64), BlobError> {
        let failed = |source| BlobError::from_io(format!("write a blob to `{}`", self.dir.display()), source);
        self.prepare().map_err(|e| failed(io::Error::other(e)))?;
        let temp = TempFile::create(&self.own_dir().join("tmp")).map_err(failed)?;
        let (digest, size) = {
            let mut out = HashingWriter::new(BufWriter::new(&temp.file));
            content(&mut out).and_then(|()| out.flush()).map_err(failed)?;
            out.finish()
        };
        let path = self.blob_path(&digest);
        if fs::metadata(&path).is_ok_and(|m| m.len() == size) {
            return Ok((digest, size));
        }
        temp.rename(&path).map_err(failed)?;
        Ok((digest, size))
    }
}

impl StageStore for OciLayout {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        Ok(self.stages_in(&*self.index()?, digest))
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let index = self.index()?;
        let find = |tag: &str| match BlobDigest::parse(tag) {
            Some(digest) => index.entries.iter().find(|entry| entry.entry.digest == digest),
            None => index.by_tag(tag),
        };
        tags.par_iter().map(|tag| find(tag).map_or(Ok(None), |entry| self.image(tag, entry))).collect()
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let index = self.index()?;
        // Entries stand in the order of publication; a later one replaces an earlier one.
        let is_image = |entry: &&LayoutEntry| entry.tag.as_deref().is_some_and(|t| StageId::parse(t).is_none());
        let images = index.entries.iter().filter(is_image);
        let named = images.flat_map(|e| e.name.iter().flat_map(|names| names.split(',')).map(move |name| (name, e)));
        let last: BTreeMap<&str, &LayoutEntry> = named.collect();
        let find = |name: &String| {
            let entry = last.get(name.as_str()).copied()?;
            Some((entry.tag.as_deref()?, entry))
        };
        names.iter().map(|name| find(name).map_or(Ok(None), |(tag, entry)| self.image(tag, entry))).collect()
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        let candidates = self.index()?.by_reference(reference);
        if candidates.is_empty() {
            return Ok(None);
        }
        let manifest = self.manifest_for(&candidates, platform, reference)?;
        let annotations = self.annotations(&manifest)?.ok_or_else(|| BlobError::Absent(manifest.clone()))?;
        Ok(Some(StoredImage { tag: reference.to_owned(), manifest, annotations }))
    }

    fn tags(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.index()?.by_tag.keys().map(std::string::ToString::to_string).collect())
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        for blob in built.layers.iter().chain([&built.config]) {
            if !self.has(&blob.digest)? {
                return Err(BlobError::Absent(blob.digest.clone()).into());
            }
        }
        let bytes = Manifest::of(built, annotations).to_bytes();
        let (manifest, size) = self.put(&mut |out| out.write_all(&bytes))?;
        self.update(|store, index| {
            if let Some(existing) = store.stages_in(index, digest).into_iter().find(suits) {
                return Ok((Published::Existing(existing), false));
            }
            let mut id = StageId { digest: *digest, created_ms };
            while index.by_tag.contains_key(id.to_string().as_str()) {
                id.created_ms += 1;
            }
            index.push(LayoutEntry::new(&id.to_string(), None, MEDIA_MANIFEST, manifest.clone(), size));
            Ok((Published::Stored(StoredStage { id, manifest, annotations: annotations.clone() }), true))
        })
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        let bytes = self.read(manifest)?;
        let size = bytes.len() as u64;
        let head = Head::parse(&bytes, || format!("manifest `{}`", self.blob_path(manifest).display()))?;
        if head.is_index() {
            let index = Index::parse(&bytes, || format!("image index `{}`", self.blob_path(manifest).display()))?;
            for entry in index.manifests {
                if !self.has(&entry.digest)? {
                    return Err(BlobError::Absent(entry.digest).into());
                }
            }
        }
        self.update(|_, index| {
            let same = index.by_tag(tag).filter(|e| e.entry.digest == *manifest);
            let names = match (same.map(|e| e.name.as_deref()), name) {
                (Some(_), None) => return Ok(((), false)),
                (Some(Some(names)), Some(name)) if names.split(',').any(|n| n == name) => return Ok(((), false)),
                // Two entries with one tag would be ambiguous for other tools.
                (Some(Some(names)), Some(name)) => Some(format!("{names},{name}")),
                (Some(None) | None, name) => name.map(str::to_owned),
            };
            index.put(LayoutEntry::new(tag, names.as_deref(), head.media_type(), manifest.clone(), size));
            Ok(((), true))
        })
    }
}

/// Removes the unfinished layouts beside ours whose makers are dead.
fn remove_abandoned(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let dead = File::open(entry.path().join(LOCK)).map_or(true, |lock| lock.try_lock().is_ok());
        if dead {
            // Another cleaner may have been faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn io_error(attempt: String, source: io::Error) -> StoreError {
    StoreError::Io { attempt, source }
}
