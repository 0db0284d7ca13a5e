//! Stable content hashing: SHA-224 over a canonical, length-prefixed encoding.
//!
//! The encoding is a compatibility contract with committed test vectors. No file time, absolute path or map
//! order ever enters. What enters which digest is told in `signature`.

use std::fmt;

use sha2::{Digest as _, Sha224};

/// Partitions our digests from all others; a change of the encoding changes it, and with it every digest.
pub const ENCODING_VERSION: &str = "stagewright-1";

/// A SHA-224 digest, written as 56 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha224Digest([u8; 28]);

impl Sha224Digest {
    /// Hashes one byte string, without any prefix.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha224::digest(bytes).into())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> [u8; 28] {
        self.0
    }

    /// Reads 56 lower-case hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        Some(Self(hex::decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Sha224Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha224Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Sha224Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Sha224Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a digest has 56 lower-case hexadecimal digits"))
    }
}

/// Hashes a sequence of fields so that no two different sequences give the same input to the hash.
///
/// Encoding: every field is its length as 8 bytes, big endian, and its bytes.
#[derive(Clone)]
pub struct Hasher(Sha224);

impl Hasher {
    /// Starts a digest of one kind; the kind and [`ENCODING_VERSION`] are its first fields.
    pub fn new(kind: &str) -> Self {
        let mut hasher = Self(Sha224::new());
        hasher.field(ENCODING_VERSION.as_bytes());
        hasher.field(kind.as_bytes());
        hasher
    }

    /// Adds one field.
    pub fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Returns the digest.
    pub fn finish(self) -> Sha224Digest {
        Sha224Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_be_shifted_into_each_other() {
        let digest = |fields: &[&str]| {
            let mut hasher = Hasher::new("test");
            for field in fields {
                hasher.field(field.as_bytes());
            }
            hasher.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
    }

    #[test]
    fn hex_is_read_back() {
        let digest = Hasher::new("test").finish();
        assert_eq!(Sha224Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Sha224Digest::from_hex(&digest.to_string().to_uppercase()), None);
    }
}
