//! Saved plans: the public JSON with a sealed part and a checksum.
//!
//! What lives here: [`save`], [`read`] and [`Saved::open`], pure functions; keys and randomness are arguments. What does
//! not: files, and where keys come from (`cli`).
//!
//! The one idea: whatever reads the public JSON reads a saved plan. Manifests with secrets stand in `sealed`: encrypted
//! (AES-256-CBC), then authenticated together with the rest of the plan (HMAC-SHA-256), so that a sealed part cannot be
//! moved to another plan. `checksum` finds accidents in plans without secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{FORMAT_VERSION, Guard, Operation, OperationId, Plan, Sensitive, Work};
use crate::digest::Hasher;
use crate::graph::Dag;

/// Key of the checksum in the saved JSON.
const CHECKSUM: &str = "checksum";
/// Key of the sealed part.
const SEALED: &str = "sealed";
/// Key of the texts that apply must not show, in the sealed part; no operation is named like that.
const HIDDEN: &str = "hidden";
/// Key of the digests of what holds secrets, in the sealed part.
const GUARDS: &str = "guards";

/// A secret from which the keys of a sealed part are made.
#[derive(Clone)]
pub struct PlanKey(Vec<u8>);

impl PlanKey {
    /// Reads at least 32 hexadecimal digits, white space around them ignored; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text.trim()).ok().filter(|bytes| bytes.len() >= 16).map(Self)
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = hmac(&self.0);
        mac.update(b"stagewright plan ");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Names the key without telling it.
    fn id(&self) -> String {
        hex::encode(self.derive("key id")).chars().take(16).collect()
    }
}

impl std::fmt::Debug for PlanKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(plan key)")
    }
}

/// Why a plan cannot be saved.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// It holds secrets and there is no key.
    #[error("the plan writes Secrets: a key is needed to seal them")]
    NeedsKey,
}

/// Why a saved plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is cut off, or is no JSON at all.
    #[error("it is not a saved plan, or it is cut off")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is not a saved plan")]
    NotAPlan,
    /// A newer version wrote it.
    #[error("it has format version {found}, and this version of stagewright reads {FORMAT_VERSION}")]
    Newer {
        /// Its format version.
        found: String,
    },
    /// It is not what was saved.
    #[error("it was changed after it was saved")]
    Changed,
    /// Its fields are not those of a plan.
    #[error("it is not a plan of format version {FORMAT_VERSION}")]
    Shape(#[source] serde_json::Error),
    /// Its operations cannot be ordered.
    #[error("its operations are inconsistent: {0}")]
    Operations(String),
    /// Its secrets are sealed and there is no key.
    #[error("its Secrets are sealed: a key is needed to open them")]
    NeedsKey,
    /// Its secrets were sealed with another key.
    #[error("its Secrets were sealed with another key ({id})")]
    OtherKey {
        /// Names the key that sealed them.
        id: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sealed {
    key: String,
    data: String,
    mac: String,
}

/// Says whether a plan holds values that are only saved sealed.
pub fn has_secrets(plan: &Plan) -> bool {
    plan.operations.iter().any(|o| secret(o).is_some()) || !sealed_guards(plan).is_empty()
}

/// Digests by operation and path.
type Digests = BTreeMap<OperationId, BTreeMap<String, String>>;

/// Returns the digests that are sealed.
fn sealed_guards(plan: &Plan) -> Digests {
    let mut all = Digests::new();
    for operation in &plan.operations {
        for guard in &operation.guards {
            let Guard::SecretContent { path, digest } = guard else { continue };
            let Some(digest) = digest.reveal() else { continue };
            all.entry(operation.id.clone()).or_default().insert(path.clone(), digest.clone());
        }
    }
    all
}

/// Puts the digests back that were sealed.
fn unseal_guards(operation: &mut Operation, digests: &Digests) {
    let Some(known) = digests.get(&operation.id) else { return };
    for guard in &mut operation.guards {
        if let Guard::SecretContent { path, digest } = guard
            && let Some(known) = known.get(path)
        {
            *digest = Sensitive::new(known.clone());
        }
    }
}

/// Returns the text of a saved plan. `iv` is random and never used twice; it is not needed without secrets.
///
/// # Errors
/// The plan holds secrets and there is no key.
pub fn save(plan: &Plan, key: Option<&PlanKey>, iv: [u8; 16]) -> Result<String, SaveError> {
    let Value::Object(mut document) = serde_json::to_value(plan).expect("a plan is plain data with string keys") else {
        unreachable!("a plan is an object")
    };
    let mut secrets: BTreeMap<&str, &str> =
        plan.operations.iter().filter_map(|o| Some((o.id.as_str(), secret(o)?.as_str()))).collect();
    let guards = sealed_guards(plan);
    let guards = (!guards.is_empty()).then(|| serde_json::to_string(&guards).expect("strings are JSON"));
    secrets.extend(guards.as_deref().map(|digests| (GUARDS, digests)));
    if !secrets.is_empty() {
        let hidden = plan.hidden.reveal().map(|texts| serde_json::to_string(texts).expect("strings are JSON"));
        secrets.extend(hidden.as_deref().map(|texts| (HIDDEN, texts)));
        let key = key.ok_or(SaveError::NeedsKey)?;
        let sealed = seal(&secrets, key, iv, &checksum(&document));
        document.insert(SEALED.into(), serde_json::to_value(sealed).expect("strings are JSON"));
    }
    document.insert(CHECKSUM.into(), checksum(&document).into());
    let mut text = serde_json::to_string_pretty(&document).expect("a value is JSON");
    text.push('\n');
    Ok(text)
}

/// A plan that was read; its secrets are still sealed.
#[derive(Clone, Debug)]
pub struct Saved {
    plan: Plan,
    sealed: Option<Sealed>,
    /// Checksum of the public part, which is authenticated with the sealed one.
    public: String,
}

/// Reads the text of a saved plan and checks that it is whole.
///
/// # Errors
/// It is no plan, newer than this version, changed or inconsistent.
pub fn read(text: &str) -> Result<Saved, ReadError> {
    let value: Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
    let Value::Object(mut document) = value else { return Err(ReadError::NotAPlan) };
    check_version(&document)?;
    let Some(Value::String(stored)) = document.shift_remove(CHECKSUM) else { return Err(ReadError::NotAPlan) };
    if stored != checksum(&document) {
        return Err(ReadError::Changed);
    }
    let sealed = document.shift_remove(SEALED).map(serde_json::from_value).transpose().map_err(ReadError::Shape)?;
    let public = checksum(&document);
    let plan: Plan = serde_json::from_value(Value::Object(document)).map_err(ReadError::Shape)?;
    check_operations(&plan.operations)?;
    Ok(Saved { plan, sealed, public })
}

impl Saved {
    /// Returns the plan for showing: its secrets stay sealed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the plan for applying. `key` is only asked for when something is sealed.
    ///
    /// # Errors
    /// The key is missing or another one, or the sealed part belongs to another plan.
    pub fn open(self, key: impl FnOnce() -> Option<PlanKey>) -> Result<Plan, ReadError> {
        let Self { mut plan, sealed, public } = self;
        let Some(sealed) = sealed else { return Ok(plan) };
        let mut secrets = unseal(&sealed, &key().ok_or(ReadError::NeedsKey)?, &public)?;
        if let Some(texts) = secrets.remove(HIDDEN) {
            plan.hidden = Sensitive::new(serde_json::from_str(&texts).map_err(ReadError::Shape)?);
        }
        let digests: Option<Digests> =
            secrets.remove(GUARDS).map(|text| serde_json::from_str(&text)).transpose().map_err(ReadError::Shape)?;
        let digests = digests.unwrap_or_default();
        for operation in &mut plan.operations {
            unseal_guards(operation, &digests);
            if let Work::WriteResource { sealed, .. } | Work::OpenRelease { payload: sealed, .. } = &mut operation.work
                && let Some(manifest) = secrets.remove(&operation.id)
            {
                *sealed = Sensitive::new(manifest);
            }
        }
        Ok(plan)
    }
}

fn secret(operation: &Operation) -> Option<&String> {
    match &operation.work {
        Work::WriteResource { sealed, .. } | Work::OpenRelease { payload: sealed, .. } => sealed.reveal(),
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::DeleteResource { .. }
        | Work::AwaitResource { .. }
        | Work::Gate
        | Work::RecordHooks { .. }
        | Work::ForgetRelease { .. }
        | Work::RecordRelease { .. } => None,
    }
}

fn checksum(document: &Map<String, Value>) -> String {
    let bytes = serde_json::to_vec(document).expect("a value is JSON");
    let mut hasher = Hasher::new("saved plan");
    hasher.field(&bytes);
    hasher.finish().to_string()
}

fn check_version(document: &Map<String, Value>) -> Result<(), ReadError> {
    let version = document.get("format_version").and_then(Value::as_str).ok_or(ReadError::NotAPlan)?;
    let major = |v: &str| v.split('.').next().and_then(|m| m.parse::<u32>().ok());
    match major(version) {
        Some(found) if Some(found) <= major(FORMAT_VERSION) => Ok(()),
        Some(_) => Err(ReadError::Newer { found: version.to_owned() }),
        None => Err(ReadError::NotAPlan),
    }
}

/// A run of inconsistent operations would end, but with half of them skipped: better not to begin.
fn check_operations(operations: &[Operation]) -> Result<(), ReadError> {
    let mut index = BTreeMap::new();
    for (i, operation) in operations.iter().enumerate() {
        if index.insert(operation.id.as_str(), i).is_some() {
            return Err(ReadError::Operations(format!("`{}` is there twice", operation.id)));
        }
    }
    let mut dag = Dag::new(operations.len());
    for (i, operation) in operations.iter().enumerate() {
        for need in &operation.needs {
            let needed = index.get(need.as_str());
            let unknown = || ReadError::Operations(format!("`{}` needs `{need}`, which is not there", operation.id));
            dag.add(*needed.ok_or_else(unknown)?, i);
        }
    }
    dag.order().map(drop).map_err(|cycle| {
        let names = cycle.iter().filter_map(|i| operations.get(*i)).map(|o| o.id.as_str());
        ReadError::Operations(names.collect::<Vec<_>>().join(" needs "))
    })
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(key: &PlanKey, data: &[u8], public: &str) -> Hmac<Sha256> {
    let mut mac = hmac(&key.derive("authentication"));
    mac.update(&(data.len() as u64).to_be_bytes());
    mac.update(data);
    mac.update(public.as_bytes());
    mac
}

fn seal(secrets: &BTreeMap<&str, &str>, key: &PlanKey, iv: [u8; 16], public: &str) -> Sealed {
    let clear = serde_json::to_vec(secrets).expect("strings are JSON");
    let cipher = cbc::Encryptor::<aes::Aes256>::new(&key.derive("encryption").into(), &iv.into());
    let mut data = iv.to_vec();
    data.extend(cipher.encrypt_padded_vec::<Pkcs7>(&clear));
    let mac = hex::encode(mac(key, &data, public).finalize().into_bytes());
    Sealed { key: key.id(), data: STANDARD.encode(data), mac }
}

fn unseal(sealed: &Sealed, key: &PlanKey, public: &str) -> Result<BTreeMap<OperationId, String>, ReadError> {
    if sealed.key != key.id() {
        return Err(ReadError::OtherKey { id: sealed.key.clone() });
    }
    let data = STANDARD.decode(&sealed.data).map_err(|_| ReadError::Changed)?;
    let tag = hex::decode(&sealed.mac).map_err(|_| ReadError::Changed)?;
    mac(key, &data, public).verify_slice(&tag).map_err(|_| ReadError::Changed)?;
    let (iv, encrypted) = data.split_first_chunk::<16>().ok_or(ReadError::Changed)?;
    let cipher = cbc::Decryptor::<aes::Aes256>::new(&key.derive("encryption").into(), &(*iv).into());
    let clear = cipher.decrypt_padded_vec::<Pkcs7>(encrypted).map_err(|_| ReadError::Changed)?;
    serde_json::from_slice(&clear).map_err(ReadError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fidelity, Inputs, Summary};

    fn write(id: &str, needs: &[&str], secret: Option<&str>) -> Operation {
        let work = Work::WriteResource {
            address: format!("shop/Secret/{id}"),
            path: format!("{id}.yaml"),
            manifest: secret.is_none().then(|| "kind: ConfigMap\n".to_owned()),
            sealed: secret.map(|s| Sensitive::new(s.to_owned())).unwrap_or_default(),
            replace: false,
            adopt: false,
            leaves_replicas: false,
        };
        Operation { id: id.into(), needs: needs.iter().map(|n| (*n).into()).collect(), guards: Vec::new(), work }
    }

    fn plan(operations: Vec<Operation>) -> Plan {
        Plan {
            format_version: FORMAT_VERSION.into(),
            project: "shop".into(),
            commit: "1a2b".into(),
            fidelity: Fidelity::Store,
            inputs: Inputs::default(),
            summary: Summary::default(),
            risks: Vec::new(),
            stages: Vec::new(),
            images: Vec::new(),
            resources: Vec::new(),
            cleanup: Vec::new(),
            hooks: Vec::new(),
            operations,
            record_reasons: Vec::new(),
            hidden: Sensitive::default(),
        }
    }

    fn key(digit: &str) -> PlanKey {
        PlanKey::from_hex(&digit.repeat(32)).unwrap()
    }

    #[test]
    fn a_plan_without_secrets_needs_no_key_and_reads_back_equal() {
        let plan = plan(vec![write("a", &[], None), write("b", &["a"], None)]);
        let text = save(&plan, None, [0; 16]).unwrap();
        assert_eq!(read(&text).unwrap().open(|| panic!("no key is asked for")).unwrap(), plan);
        let public: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(public, plan, "a saved plan is the public JSON and more");
    }

    #[test]
    fn secrets_are_sealed_and_come_back_with_the_key() {
        let mut plan = plan(vec![write("a", &[], Some("password: hunter2"))]);
        plan.hidden = Sensitive::new(vec!["hunter2".to_owned()]);
        assert_eq!(save(&plan, None, [0; 16]), Err(SaveError::NeedsKey));
        let text = save(&plan, Some(&key("a")), [7; 16]).unwrap();
        assert!(!text.contains("hunter2"));
        let shown = read(&text).unwrap();
        assert!(!has_secrets(shown.plan()));
        assert!(matches!(shown.clone().open(|| None), Err(ReadError::NeedsKey)));
        assert!(matches!(shown.clone().open(|| Some(key("b"))), Err(ReadError::OtherKey { .. })));
        assert_eq!(shown.open(|| Some(key("a"))).unwrap(), plan);
    }

    #[test]
    fn the_digest_of_what_holds_secrets_is_sealed_too() {
        let mut operation = write("a", &[], None);
        let digest =
            |text: &str| Guard::SecretContent { path: "a.yaml".into(), digest: Sensitive::new(text.to_owned()) };
        operation.guards.push(digest("0123456789"));
        let plan = plan(vec![operation]);
        assert_eq!(save(&plan, None, [0; 16]), Err(SaveError::NeedsKey));
        let text = save(&plan, Some(&key("a")), [7; 16]).unwrap();
        assert!(!text.contains("0123456789") && text.contains("secret_content"), "{text}");
        assert_eq!(read(&text).unwrap().open(|| Some(key("a"))).unwrap(), plan);
    }

    #[test]
    fn any_change_and_any_cut_is_found() {
        let text = save(&plan(vec![write("a", &[], Some("hunter2"))]), Some(&key("a")), [7; 16]).unwrap();
        let changed = text.replace("\"a.yaml\"", "\"b.yaml\"");
        assert!(matches!(read(&changed), Err(ReadError::Changed)));
        for end in 0..text.trim_end().len() {
            assert!(read(&text[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(read("[]"), Err(ReadError::NotAPlan)));
        assert!(matches!(read("{\"kind\": \"Deployment\"}"), Err(ReadError::NotAPlan)));
    }

    #[test]
    fn a_sealed_part_cannot_be_moved_to_another_plan() {
        let of = |project: &str| {
            let plan = Plan { project: project.into(), ..plan(vec![write("a", &[], Some("hunter2"))]) };
            let text = save(&plan, Some(&key("a")), [7; 16]).unwrap();
            serde_json::from_str::<Map<String, Value>>(&text).unwrap()
        };
        let (ours, mut theirs) = (of("shop"), of("bank"));
        theirs.insert(SEALED.into(), ours[SEALED].clone());
        theirs.shift_remove(CHECKSUM);
        theirs.insert(CHECKSUM.into(), checksum(&theirs).into());
        let text = serde_json::to_string(&theirs).unwrap();
        assert!(matches!(read(&text).unwrap().open(|| Some(key("a"))), Err(ReadError::Changed)));
    }

    #[test]
    fn a_newer_major_is_refused_and_a_newer_minor_is_read() {
        let with = |version: &str| {
            let plan = Plan { format_version: version.into(), ..plan(Vec::new()) };
            read(&save(&plan, None, [0; 16]).unwrap())
        };
        assert!(with("1.7").is_ok());
        assert!(matches!(with("2.0"), Err(ReadError::Newer { .. })));
        assert!(matches!(with("new"), Err(ReadError::NotAPlan)));
    }

    #[test]
    fn inconsistent_operations_are_refused() {
        let told = |operations| read(&save(&plan(operations), None, [0; 16]).unwrap()).unwrap_err().to_string();
        assert!(told(vec![write("a", &["x"], None)]).contains("`a` needs `x`, which is not there"));
        assert!(told(vec![write("a", &[], None), write("a", &[], None)]).contains("`a` is there twice"));
        assert!(told(vec![write("a", &["b"], None), write("b", &["a"], None)]).contains("a needs b needs a"));
    }
}
