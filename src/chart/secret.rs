//! Secret values and files, in the format of werf.
//!
//! The one idea: a file of values stays the text that it is; only its scalars are replaced, so comments, order and anchors
//! are kept, and an edit changes the lines that it touches.
//!
//! Source: werf 2.x: the hexadecimal text of the length of the initial vector (two bytes, the lower first), the vector, and
//! AES-CBC of the text with PKCS#7 padding. The key has no derivation, the text no authentication.

use std::collections::BTreeMap;

use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};

use crate::diag::{Diagnostics, Severity};
use crate::source::{FileId, Mask, Sources};
use crate::syntax::yaml::{self, Data, Node};

/// The length of an initial vector, as it begins every encrypted text.
const IV_LENGTH: [u8; 2] = [16, 0];

/// A key that occurs twice is refused: the first of them would stay as it is.
const READ: yaml::Options =
    yaml::Options { documents: yaml::Documents::All, duplicates: Some(Severity::Error), ..yaml::Options::HELM };

/// A key for secret values. It is never printed.
#[derive(Clone)]
pub struct SecretKey(Vec<u8>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Why a text cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The key has another length.
    #[error("a secret key has 32, 48 or 64 hexadecimal digits")]
    Key,
    /// The text was not encrypted.
    #[error("it is not an encrypted text")]
    Format,
    /// Another key, or a changed text.
    #[error("the key does not fit")]
    WrongKey,
}

impl SecretKey {
    /// Reads hexadecimal digits, white space around them ignored.
    ///
    /// # Errors
    /// They are not 32, 48 or 64.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let bytes = hex::decode(text.trim()).map_err(|_| SecretError::Key)?;
        if matches!(bytes.len(), 16 | 24 | 32) { Ok(Self(bytes)) } else { Err(SecretError::Key) }
    }

    /// Adds the key by which a mask names what it hides.
    #[must_use]
    pub fn of_mask(&self, mask: &Mask) -> Mask {
        mask.keyed(&self.0)
    }

    /// Says whether a text looks as an encrypted one does: with a vector, and blocks after it.
    pub fn is_encrypted(text: &str) -> bool {
        hex::decode(text.trim()).is_ok_and(|bytes| parts(&bytes).is_some())
    }

    /// Encrypts a text; the empty one stays empty. `iv` is random, and another one each time.
    pub fn encrypt(&self, text: &[u8], iv: [u8; 16]) -> String {
        if text.is_empty() {
            return String::new();
        }
        let (iv_ref, key) = (&iv.into(), self.0.as_slice());
        let wrong = "a key has a length of AES";
        let body = match key.len() {
            16 => cbc::Encryptor::<aes::Aes128>::new(key.try_into().expect(wrong), iv_ref)
                .encrypt_padded_vec::<Pkcs7>(text),
            24 => cbc::Encryptor::<aes::Aes192>::new(key.try_into().expect(wrong), iv_ref)
                .encrypt_padded_vec::<Pkcs7>(text),
            _ => cbc::Encryptor::<aes::Aes256>::new(key.try_into().expect(wrong), iv_ref)
                .encrypt_padded_vec::<Pkcs7>(text),
        };
        hex::encode([&IV_LENGTH[..], &iv, &body].concat())
    }

    /// Decrypts a text, white space around it ignored; the empty one stays empty.
    ///
    /// # Errors
    /// It was not encrypted, or with another key: then all of its padding is wrong.
    pub fn decrypt(&self, text: &str) -> Result<Vec<u8>, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = hex::decode(text).map_err(|_| SecretError::Format)?;
        let (iv, body) = parts(&bytes).ok_or(SecretError::Format)?;
        let (iv, key) = (&(*iv).into(), self.0.as_slice());
        let wrong = "a key has a length of AES";
        let plain = match key.len() {
            16 => {
                cbc::Decryptor::<aes::Aes128>::new(key.try_into().expect(wrong), iv).decrypt_padded_vec::<Pkcs7>(body)
            }
            24 => {
                cbc::Decryptor::<aes::Aes192>::new(key.try_into().expect(wrong), iv).decrypt_padded_vec::<Pkcs7>(body)
            }
            _ => cbc::Decryptor::<aes::Aes256>::new(key.try_into().expect(wrong), iv).decrypt_padded_vec::<Pkcs7>(body),
        };
        plain.map_err(|_| SecretError::WrongKey)
    }
}

/// Returns the initial vector and the blocks of an encrypted text; `None` when it is none.
fn parts(bytes: &[u8]) -> Option<(&[u8; 16], &[u8])> {
    let (iv, body) = bytes.strip_prefix(&IV_LENGTH)?.split_first_chunk::<16>()?;
    (!body.is_empty() && body.len() % 16 == 0).then_some((iv, body))
}

/// What could not be done with a value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, `{path}`: {cause}")]
pub struct ValueError {
    /// Its line. Unit: from 1.
    pub line: u32,
    /// Its path: `database.password`.
    pub path: String,
    /// Why.
    pub cause: String,
}

/// One scalar of a file of values.
struct Scalar {
    path: String,
    /// Unit: bytes in the text.
    range: std::ops::Range<usize>,
    line: u32,
    text: String,
}

/// Encrypts every scalar of a file of values but nulls; one that `before` (an encrypted file) has at the same path keeps
/// its text. `iv` makes initial vectors.
///
/// # Errors
/// It is not valid YAML; a value of `before` cannot be decrypted.
pub fn encrypt_values(
    key: &SecretKey,
    text: &str,
    before: Option<&str>,
    iv: &mut dyn FnMut() -> [u8; 16],
) -> Result<String, ValueError> {
    let mut known: BTreeMap<String, (Vec<u8>, String)> = BTreeMap::new();
    for scalar in before.map_or_else(|| Ok(Vec::new()), scalars)? {
        // What another key made is made anew.
        if let Ok(plain) = key.decrypt(&scalar.text) {
            known.insert(scalar.path, (plain, scalar.text));
        }
    }
    replaced(text, |scalar| {
        let same = known.get(&scalar.path).filter(|(plain, _)| plain == scalar.text.as_bytes());
        Ok(same.map_or_else(|| key.encrypt(scalar.text.as_bytes(), iv()), |(_, encrypted)| encrypted.clone()))
    })
}

/// Decrypts every scalar of a file of values but nulls; all are texts then.
///
/// # Errors
/// It is not valid YAML, a value cannot be decrypted or is not UTF-8.
pub fn decrypt_values(key: &SecretKey, text: &str) -> Result<String, ValueError> {
    replaced(text, |scalar| {
        let plain = key.decrypt(&scalar.text).map_err(|e| e.to_string())?;
        let plain = String::from_utf8(plain).map_err(|_| "it is not UTF-8; the key may be another one".to_owned())?;
        Ok(written(&plain))
    })
}

/// Writes a text as YAML on one line.
fn written(text: &str) -> String {
    let value = yaml::Plain::String(text.to_owned());
    match yaml::to_yaml(&value) {
        Ok(short) if !text.contains('\n') => short.trim_end().to_owned(),
        Ok(_) | Err(_) => value.to_string(),
    }
}

/// Replaces the scalars of a text.
fn replaced(text: &str, mut make: impl FnMut(&Scalar) -> Result<String, String>) -> Result<String, ValueError> {
    let mut result = String::with_capacity(text.len() * 2);
    let mut end = 0;
    for scalar in scalars(text)? {
        let told = |cause| ValueError { line: scalar.line, path: scalar.path.clone(), cause };
        let new = make(&scalar).map_err(told)?;
        result.push_str(text.get(end..scalar.range.start).unwrap_or_default());
        result.push_str(if new.is_empty() { "\"\"" } else { &new });
        // A block ends with its line.
        if text.get(scalar.range.clone()).is_some_and(|old| old.ends_with('\n')) {
            result.push('\n');
        }
        end = scalar.range.end;
    }
    result.push_str(text.get(end..).unwrap_or_default());
    Ok(result)
}

/// Finds the scalars of a text, in order; aliases stand for what they name.
fn scalars(text: &str) -> Result<Vec<Scalar>, ValueError> {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let file = sources.add("secret values", text);
    let documents = yaml::parse_documents(&mut diagnostics, &sources, file, READ);
    if let Some(fault) = diagnostics.as_slice().iter().find(|d| d.severity == Severity::Error) {
        let line = fault.primary.as_ref().and_then(|label| sources.place(label.span).line).unwrap_or(1);
        return Err(ValueError { line, path: String::new(), cause: fault.message.clone() });
    }
    let mut found = Vec::new();
    for document in &documents {
        collect(text, &sources, file, document, String::new(), &mut found);
    }
    found.sort_by_key(|scalar| scalar.range.start);
    found.dedup_by_key(|scalar| scalar.range.start);
    Ok(found)
}

fn collect(text: &str, sources: &Sources, file: FileId, node: &Node, path: String, found: &mut Vec<Scalar>) {
    match &node.data {
        Data::Null => {}
        Data::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(text, sources, file, item, format!("{path}[{index}]"), found);
            }
        }
        Data::Mapping(mapping) => {
            for entry in mapping.iter() {
                let name = &entry.name;
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                collect(text, sources, file, &entry.value, path, found);
            }
        }
        Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) => {
            let range = without_properties(text, node.span.range());
            let is_alias = text.get(range.clone()).is_some_and(|t| t.starts_with('*') && !t.starts_with("**"));
            if let Some(value) = node.scalar_text().filter(|_| node.span.file == file && !is_alias) {
                let line = sources.place(node.span).line.unwrap_or(1);
                found.push(Scalar { path, range, line, text: value.to_owned() });
            }
        }
    }
}

/// Leaves out the anchor and the tag of a scalar, which stay.
fn without_properties(text: &str, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let written = text.get(range.clone()).unwrap_or_default();
    let mut rest = written;
    while rest.starts_with(['&', '!']) {
        let Some((_, after)) = rest.split_once([' ', '\n']) else { break };
        rest = after.trim_start();
    }
    range.end - rest.len()..range.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "11ac8312520b5ff037bae386ea2e8a07";
    const TEXT: &str = "10000f13a718d019612ab8ad30d9bec8e2c09df0f2d168c179bef954e78371bf6a5a";

    fn key() -> SecretKey {
        SecretKey::from_hex(KEY).unwrap()
    }

    fn counted() -> impl FnMut() -> [u8; 16] {
        let mut next = 0;
        move || {
            next += 1;
            [next; 16]
        }
    }

    #[test]
    fn what_werf_encrypted_is_read() {
        assert!(!key().decrypt(&format!(" {TEXT}\n")).unwrap().is_empty());
        assert!(SecretKey::is_encrypted(TEXT));
        let changed = format!("{}5b", &TEXT[..TEXT.len() - 2]);
        assert_eq!(key().decrypt(&changed), Err(SecretError::WrongKey));
        for wrong in ["zz", "1000", "2000", &TEXT[..60], "plain text"] {
            assert_eq!(key().decrypt(wrong), Err(SecretError::Format), "{wrong}");
            assert!(!SecretKey::is_encrypted(wrong), "{wrong}");
        }
        assert_eq!(SecretKey::from_hex("abcd").unwrap_err(), SecretError::Key);
        assert_eq!(format!("{:?}", key()), "SecretKey(…)");
    }

    #[test]
    fn every_length_of_key_and_text_comes_back() {
        for digits in [32, 48, 64] {
            let key = SecretKey::from_hex(&"5a".repeat(digits / 2)).unwrap();
            for length in [0, 1, 15, 16, 17, 1000] {
                let text = vec![b'x'; length];
                let encrypted = key.encrypt(&text, [7; 16]);
                assert!(
                    encrypted.is_empty() == text.is_empty() && (encrypted.is_empty() || encrypted.starts_with("1000"))
                );
                assert_eq!(key.decrypt(&encrypted).unwrap(), text);
            }
        }
    }

    #[test]
    fn values_keep_their_keys_comments_anchors_and_nulls() {
        let plain = "# of the shop\ndb: &db\n  password: hunter2 # old\n  port: 5432\n  empty: ''\n  none:\ncopy: *db\nlist: [true, \
                     'quoted', ~]\ncert: |\n  one\n  two\nlast: x\n";
        let encrypted = encrypt_values(&key(), plain, None, &mut counted()).unwrap();
        assert!(!encrypted.contains("hunter2") && !encrypted.contains("5432") && !encrypted.contains("two"));
        for kept in ["# of the shop", "password: 1000", "# old", "  none:\n", "copy: *db\n", ", ~]"] {
            assert!(encrypted.contains(kept), "{kept}: {encrypted}");
        }
        let back = decrypt_values(&key(), &encrypted).unwrap();
        let expected = "# of the shop\ndb: &db\n  password: hunter2 # old\n  port: \"5432\"\n  empty: \"\"\n  none:\ncopy: \
                        *db\nlist: [\"true\", quoted, ~]\ncert: \"one\\ntwo\\n\"\nlast: x\n";
        assert_eq!(back, expected);
    }

    #[test]
    fn anchors_and_tags_of_scalars_stay() {
        let plain = "b: &x secret\nc: *x\nd: [&y one, *y, !!str 12]\ne: &z \"two\"\n";
        let encrypted = encrypt_values(&key(), plain, None, &mut counted()).unwrap();
        for kept in ["b: &x 1000", "c: *x\n", "[&y 1000", ", *y, !!str 1000", "e: &z 1000"] {
            assert!(encrypted.contains(kept), "{kept}: {encrypted}");
        }
        let back = decrypt_values(&key(), &encrypted).unwrap();
        assert_eq!(back, "b: &x secret\nc: *x\nd: [&y one, *y, !!str \"12\"]\ne: &z two\n");
    }

    #[test]
    fn an_edit_changes_the_values_that_it_touches() {
        let mut iv = counted();
        let before = encrypt_values(&key(), "a: one\nb: two\n", None, &mut iv).unwrap();
        let after = encrypt_values(&key(), "a: one\nb: three\nc: four\n", Some(&before), &mut iv).unwrap();
        let line = |text: &str, at: usize| text.lines().nth(at).unwrap().to_owned();
        assert_eq!(line(&before, 0), line(&after, 0));
        assert_ne!(line(&before, 1), line(&after, 1));
        assert_eq!(decrypt_values(&key(), &after).unwrap(), "a: one\nb: three\nc: four\n");
    }

    #[test]
    fn faults_name_the_line_and_the_path() {
        let fault = decrypt_values(&key(), "a:\n- b: plain\n").unwrap_err();
        assert_eq!(fault.to_string(), "line 2, `a[0].b`: it is not an encrypted text");
        let other = SecretKey::from_hex(&"0f".repeat(16)).unwrap();
        let encrypted = encrypt_values(&key(), "a: one\n", None, &mut counted()).unwrap();
        assert_eq!(decrypt_values(&other, &encrypted).unwrap_err().cause, "the key does not fit");
        assert!(decrypt_values(&key(), "a: [").unwrap_err().line >= 1);
    }
}
