//! Records of releases: Secrets as Helm writes and reads them. Source: Helm 3, driver `secret`.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::api::{Api, ApiError, word};
use super::objects::{metadata, set};

/// How large a record may become when it is unpacked.
const MOST: u64 = 256 << 20;
/// How many revisions are kept. Source: Helm 3.
pub const KEPT: usize = 10;
/// Names and labels alone: records may be large.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The records of one release.
pub struct Records<'a> {
    /// Where they are kept.
    pub api: &'a Api,
    /// The namespace of the release.
    pub namespace: &'a str,
    /// The release.
    pub release: &'a str,
}

/// What the name of a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counted from 1.
    pub number: u64,
    /// `deployed`, `failed`, …
    pub status: String,
}

impl Records<'_> {
    fn list_address(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", word(self.namespace))
    }

    fn name(&self, revision: u64) -> String {
        format!("sh.helm.release.v1.{}.v{revision}", self.release)
    }

    fn address(&self, revision: u64) -> String {
        format!("{}/{}", self.list_address(), word(&self.name(revision)))
    }

    /// Returns all revisions, oldest first.
    pub async fn revisions(&self) -> Result<Vec<Revision>, ApiError> {
        let selector = word(&format!("owner=helm,name={}", self.release));
        let address = format!("{}?labelSelector={selector}", self.list_address());
        let list = self.api.request(http::Method::GET, &address, None, METADATA_ONLY).await?;
        let revision = |item: &Value| {
            let label = |key: &str| item.pointer("/metadata/labels")?.get(key)?.as_str();
            Some(Revision {
                number: label("version")?.parse().ok()?,
                status: label("status").unwrap_or_default().to_owned(),
            })
        };
        let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
        let mut found: Vec<Revision> = items.filter_map(revision).collect();
        found.sort_by_key(|r| r.number);
        Ok(found)
    }

    /// Returns the records since the last that was deployed, oldest first.
    pub async fn history(&self) -> Result<Vec<Value>, ApiError> {
        let revisions = self.revisions().await?;
        // What was uninstalled left nothing.
        let gone = revisions.iter().rposition(|r| r.status == "uninstalled").map_or(0, |at| at + 1);
        let since = revisions.iter().rposition(|r| r.status == "deployed").unwrap_or(0).max(gone);
        let mut found = Vec::new();
        for revision in revisions.iter().skip(since) {
            let Some(secret) = self.api.get(&self.address(revision.number)).await? else { continue };
            found.push(self.decode(&secret, revision.number)?);
        }
        Ok(found)
    }

    fn decode(&self, secret: &Value, revision: u64) -> Result<Value, ApiError> {
        let data = secret.pointer("/data/release").and_then(Value::as_str).unwrap_or_default();
        let release = STANDARD.decode(data).ok().and_then(|payload| decode_release(&payload));
        release.ok_or_else(|| {
            ApiError::Unexpected(format!("the record `{}` is not one of a release", self.name(revision)))
        })
    }

    /// Creates the record of a new revision. What others left under way is marked as failed: nobody runs it.
    pub async fn open(&self, revision: u64, mut release: Value) -> Result<(), ApiError> {
        let earlier = self.revisions().await?;
        for pending in earlier.iter().filter(|r| r.status.starts_with("pending-")) {
            self.set_status(pending.number, "failed", "was interrupted").await?;
        }
        let first = match earlier.first() {
            Some(first) => {
                let secret = self.api.get(&self.address(first.number)).await?;
                let record = secret.map(|s| self.decode(&s, first.number)).transpose()?;
                record.and_then(|r| r.pointer("/info/first_deployed").cloned())
            }
            None => None,
        };
        let now = now();
        let installs = !earlier.iter().any(|r| matches!(r.status.as_str(), "deployed" | "superseded"));
        let (status, description) = if installs {
            ("pending-install", "Initial install underway")
        } else {
            ("pending-upgrade", "Preparing upgrade")
        };
        let info = json!({
            "first_deployed": first.unwrap_or_else(|| now.to_string().into()),
            "last_deployed": now.to_string(),
            "deleted": "",
            "description": description,
            "status": status,
        });
        set(&mut release, &["info"], info);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "helm.sh/release.v1",
            "metadata": {
                "name": self.name(revision),
                "namespace": self.namespace,
                "labels": {
                    "name": self.release,
                    "owner": "helm",
                    "status": status,
                    "version": revision.to_string(),
                    "createdAt": now.as_second().to_string(),
                },
            },
            "data": {"release": STANDARD.encode(encode_release(&release))},
        });
        self.api.create(&self.list_address(), &secret).await.map(drop)
    }

    /// Marks a revision as done: those before it are superseded, and the oldest go.
    pub async fn finish(&self, revision: u64) -> Result<(), ApiError> {
        let all = self.revisions().await?;
        let first = all.iter().all(|r| r.number == revision || !matches!(r.status.as_str(), "deployed" | "superseded"));
        let description = if first { "Install complete" } else { "Upgrade complete" };
        // In this order, so that one revision is deployed at any time; of two, the later counts.
        if !all.iter().any(|r| r.number == revision && r.status == "deployed") {
            self.set_status(revision, "deployed", description).await?;
        }
        for old in all.iter().filter(|r| r.number != revision && r.status == "deployed") {
            self.set_status(old.number, "superseded", "").await?;
        }
        for old in all.iter().take(all.len().saturating_sub(KEPT)) {
            let address = self.address(old.number);
            if let Some(secret) = self.api.get(&address).await? {
                self.api.delete(&address, metadata(&secret, "uid"), "Background").await?;
            }
        }
        Ok(())
    }

    /// Sets the status of a revision; an empty description stays what it was.
    pub async fn set_status(&self, revision: u64, status: &str, description: &str) -> Result<(), ApiError> {
        let address = self.address(revision);
        let Some(mut secret) = self.api.get(&address).await? else {
            return Err(ApiError::Unexpected(format!("the record `{}` is gone", self.name(revision))));
        };
        let mut release = self.decode(&secret, revision)?;
        set(&mut release, &["info", "status"], status.into());
        if !description.is_empty() {
            set(&mut release, &["info", "description"], description.into());
        }
        set(&mut secret, &["data", "release"], STANDARD.encode(encode_release(&release)).into());
        set(&mut secret, &["metadata", "labels", "status"], status.into());
        set(&mut secret, &["metadata", "labels", "modifiedAt"], now().as_second().to_string().into());
        if let Some(labels) = secret.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.shift_remove("createdAt");
        }
        self.api.update(&address, &secret).await.map(drop)
    }
}

/// The time of records. Nothing is decided by it.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Writes a release as Helm keeps it: JSON, packed, in base64.
fn encode_release(release: &Value) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let written = packed.write_all(release.to_string().as_bytes()).and_then(|()| packed.finish());
    STANDARD.encode(written.expect("memory takes what is written")).into_bytes()
}

/// Reads what Helm keeps; very old records are not packed.
fn decode_release(payload: &[u8]) -> Option<Value> {
    let bytes = STANDARD.decode(payload).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).ok();
    }
    let mut text = Vec::new();
    GzDecoder::new(bytes.as_slice()).take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let release = json!({"name": "shop", "version": 3, "manifest": "---\nkind: ConfigMap\n"});
        assert_eq!(decode_release(&encode_release(&release)), Some(release.clone()));
        assert_eq!(decode_release(STANDARD.encode(release.to_string()).as_bytes()), Some(release));
        assert_eq!(decode_release(b"nothing"), None);
    }
}
