//! The OCI image format as data: configuration, manifest, index and layout marker.
//!
//! What lives here: the JSON documents of an image and their canonical bytes. What does not: files, registries
//! and layers (`backend`).
//!
//! The one idea: configuration and layers depend only on what the image is; what was recorded about its build
//! stands in the annotations of the manifest. Fields we do not know are kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::blobs::{BlobDigest, BlobStore, Descriptor};
use super::builder::BuiltImage;
use super::stage_store::StoreError;
use crate::stage::Platform;

/// Media type of an image manifest.
pub const MEDIA_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub const MEDIA_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image configuration.
pub const MEDIA_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a layer that is a tar file.
pub const MEDIA_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a layer that is a gzip-compressed tar file.
pub const MEDIA_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a layer that is a zstd-compressed tar file.
pub const MEDIA_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The annotation that holds the tag of an entry of `index.json`.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that holds the image name of an entry of `index.json`.
pub const ANNOTATION_TITLE: &str = "org.opencontainers.image.title";
/// The creation time of everything we make: the Unix epoch.
pub const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Returns the OCI media type of a layer for Docker's, and every other type as it is.
///
/// Source: the compatibility matrix of the OCI image specification.
pub fn oci_layer_media_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar" => MEDIA_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => MEDIA_LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => MEDIA_LAYER_ZSTD,
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        }
        other => other,
    }
}

/// Says whether a media type is that of an index (or of Docker's manifest list).
pub fn is_index_media_type(media_type: &str) -> bool {
    media_type == MEDIA_INDEX || media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// An image configuration. Source: OCI image specification, `config.md`; Docker's image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `amd64`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, …
    #[serde(default)]
    pub os: String,
    /// `v7`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container is started with.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How the image came to be, oldest first.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that are not ours.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a container is started with. Names and forms are those of Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user`, `uid`, `user:group`, …; empty for root.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp` and the like.
    #[serde(default, with = "presence", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Docker's mark on images whose command was given.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// The health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Mount points of volumes.
    #[serde(default, with = "presence", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// The working directory.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Triggers for images based on this one.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the container.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// The shell of shell-form commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that are not ours.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Sets that are written as objects of empty objects.
mod presence {
    use std::collections::BTreeSet;

    use serde::{Deserialize as _, Deserializer, Serializer};
    use serde_json::{Map, Value};

    pub fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|name| (name, Value::Object(Map::new()))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<Map<String, Value>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_iter().map(|(name, _)| name).collect())
    }
}

/// A health check as Docker stores it. Units: nanoseconds; 0 means inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", script]`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Time one check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Time before failures count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Time between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row that mean unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// The layers of an image, by the digests of their uncompressed bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<BlobDigest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// One line of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Fields that are not ours.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An image manifest, of OCI or Docker's second schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What was recorded.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: one manifest for each platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<IndexEntry>,
    /// What was recorded.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One manifest of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// Media type of the manifest.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: BlobDigest,
    /// Unit: bytes.
    pub size: u64,
    /// What it is for; any platform when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its tag and its name.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Makes the manifest of a built image.
    pub fn of(built: &BuiltImage, annotations: &BTreeMap<String, String>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MEDIA_MANIFEST.into()),
            config: built.config.clone(),
            layers: built.layers.clone(),
            annotations: annotations.clone(),
        }
    }

    /// Returns the bytes whose digest names the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has string keys only")
    }

    /// Reads a manifest; `what` names it in the error.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn parse(bytes: &[u8], what: impl Fn() -> String) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| StoreError::Invalid { what: what(), why: e.to_string() })
    }
}

impl ImageConfig {
    /// Returns the bytes whose digest names the configuration.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an image configuration has string keys only")
    }

    /// Reads a configuration; `what` names it in the error.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn parse(bytes: &[u8], what: impl Fn() -> String) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| StoreError::Invalid { what: what(), why: e.to_string() })
    }
}

impl Index {
    /// Reads an index; `what` names it in the error.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn parse(bytes: &[u8], what: impl Fn() -> String) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| StoreError::Invalid { what: what(), why: e.to_string() })
    }

    /// Returns the entry for a platform: the exact one, else one without a variant, else one without platform.
    pub fn for_platform(&self, wanted: &Platform) -> Option<&IndexEntry> {
        best_for_platform(self.manifests.iter().map(|e| (e.platform.as_ref(), e)), wanted)
    }
}

/// Reads a stored manifest.
///
/// # Errors
/// The blob is absent or corrupted, or is no manifest.
pub fn read_manifest<S: BlobStore + ?Sized>(store: &S, digest: &BlobDigest) -> Result<Manifest, StoreError> {
    Manifest::parse(&store.read(digest)?, || format!("manifest {digest}"))
}

/// Reads a stored manifest and its configuration.
///
/// # Errors
/// A blob is absent or corrupted, or is not what it should be.
pub fn read_image<S: BlobStore + ?Sized>(
    store: &S,
    digest: &BlobDigest,
) -> Result<(Manifest, ImageConfig), StoreError> {
    let manifest = read_manifest(store, digest)?;
    let config = &manifest.config.digest;
    let config = ImageConfig::parse(&store.read(config)?, || format!("image configuration {config}"))?;
    Ok((manifest, config))
}

/// Chooses among candidates with their platforms: the first of the closest.
pub fn best_for_platform<'a, T>(
    candidates: impl Iterator<Item = (Option<&'a Platform>, T)>,
    wanted: &Platform,
) -> Option<T> {
    let mut best: Option<(u8, T)> = None;
    for (platform, candidate) in candidates {
        let Some(rank) = platform_rank(platform, wanted) else { continue };
        if best.as_ref().is_none_or(|(b, _)| rank < *b) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Says how well a platform fits: 0 is exact; `None` when it does not.
fn platform_rank(found: Option<&Platform>, wanted: &Platform) -> Option<u8> {
    let Some(found) = found else { return Some(3) };
    if found.os != wanted.os || found.architecture != wanted.architecture {
        return None;
    }
    match (variant(found), variant(wanted)) {
        (a, b) if a == b => Some(0),
        (None, Some(_)) => Some(1),
        (Some(_), None) => Some(2),
        (_, _) => None,
    }
}

/// Returns the variant; `v8` is what `arm64` means without one, `v7` what `arm` does.
fn variant(platform: &Platform) -> Option<&str> {
    let default = match platform.architecture.as_str() {
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    };
    platform.variant.as_deref().filter(|v| !v.is_empty()).or(default)
}

/// Returns the full form of an image reference, `docker.io/library/alpine:latest` for `alpine`.
///
/// Source: the reference grammar of Docker and `distribution`.
pub fn normalize_reference(reference: &str) -> String {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    let is_domain = |d: &str| d.contains(['.', ':']) || d == "localhost";
    let (domain, path) = match rest.split_once('/') {
        Some((domain, path)) if is_domain(domain) => (domain, path),
        _ => ("docker.io", rest),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let library = if domain == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let tagged = path.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match digest {
        Some(digest) => {
            let name = if tagged { path.rsplit_once(':').map_or(path, |(name, _)| name) } else { path };
            format!("{domain}/{library}{name}@{digest}")
        }
        None if tagged => format!("{domain}/{library}{path}"),
        None => format!("{domain}/{library}{path}:latest"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_of_a_configuration_are_kept_and_null_is_absent() {
        let text = r#"{"architecture":"arm64","os":"linux","config":{"Env":null,"Cmd":["a"],"Hostname":"h","Labels":{"b":"1","a":"2"},"Volumes":{"/v":{}},"ExposedPorts":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":[{"created_by":"x","comment":"c"}],"os.version":"10"}"#;
        let config = ImageConfig::parse(text.as_bytes(), || "config".into()).unwrap();
        assert_eq!(
            String::from_utf8(config.to_bytes()).unwrap(),
            r#"{"architecture":"arm64","os":"linux","config":{"Cmd":["a"],"Volumes":{"/v":{}},"Labels":{"a":"2","b":"1"},"Hostname":"h"},"#
                .to_owned()
                + r#""rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","comment":"c"}],"os.version":"10"}"#
        );
    }

    #[test]
    fn references_have_one_full_form() {
        for (short, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.18", "docker.io/library/alpine:3.18"),
            ("docker.io/alpine:3.18", "docker.io/library/alpine:3.18"),
            ("a/b", "docker.io/a/b:latest"),
            ("localhost:5000/a:1", "localhost:5000/a:1"),
            ("example.org/a/b", "example.org/a/b:latest"),
            ("alpine:3@sha256:0", "docker.io/library/alpine@sha256:0"),
        ] {
            assert_eq!(normalize_reference(short), full);
            assert_eq!(normalize_reference(full), full);
        }
    }

    #[test]
    fn the_closest_platform_is_chosen() {
        let platform = |architecture: &str, variant: Option<&str>| Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        };
        let found = [platform("arm", Some("v6")), platform("arm", Some("v7")), platform("arm64", None)];
        let choose = |wanted| best_for_platform(found.iter().map(|p| (Some(p), p)), &wanted).cloned();
        assert_eq!(choose(platform("arm", None)), Some(platform("arm", Some("v7"))));
        assert_eq!(choose(platform("arm64", Some("v8"))), Some(platform("arm64", None)));
        assert_eq!(choose(platform("arm", Some("v5"))), None);
        assert_eq!(choose(platform("amd64", None)), None);
    }
}
