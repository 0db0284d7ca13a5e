//! Cryptography: passwords, ciphers, keys and certificates.
//!
//! Randomness comes from the host of the rendering, through a generator that it seeds.

use std::any::Any;
use std::borrow::Cow;
use std::net::IpAddr;

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use base64::Engine as _;
use hmac::{KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::json::lossy;
use crate::eval::value::{List, Object, ObjectRef, Value};

use super::encoding::decode_base64;
use super::keys::{Key, pem_block};

type Answer = Result<Value, FuncError>;
type Native = fn(&mut Ctx<'_>, &[Value]) -> Answer;

/// The Go type of a pair of certificate and key.
const PAIR: &str = "sprig.certificate";

const CERT: &[Param] = &[Param::Str, Param::List, Param::List, Param::Int];
const CERT_KEY: &[Param] = &[Param::Str, Param::List, Param::List, Param::Int, Param::Str];
const SIGNED: &[Param] = &[Param::Str, Param::List, Param::List, Param::Int, Param::Object(PAIR)];
const SIGNED_KEY: &[Param] = &[Param::Str, Param::List, Param::List, Param::Int, Param::Object(PAIR), Param::Str];
const TEXTS: &[Param] = &[Param::Str, Param::Str];
const DERIVE: &[Param] = &[Param::Int, Param::Str, Param::Str, Param::Str, Param::Str];

/// The table of this family.
pub static TABLE: &[Function] = &[
    function("bcrypt", &[Param::Str], bcrypt, "Returns the bcrypt hash of a password.").varying(),
    function("htpasswd", TEXTS, htpasswd, "Returns a line of a password file.").varying(),
    function("derivePassword", DERIVE, derive_password, "Derives a password for a site from a master password."),
    function("encryptAES", TEXTS, encrypt_aes, "Encrypts a text with a password, AES-256-CBC in base64.").varying(),
    function("decryptAES", TEXTS, decrypt_aes, "Decrypts what `encryptAES` made."),
    function("genPrivateKey", &[Param::Str], gen_private_key, "Makes a private key: rsa, dsa, ecdsa or ed25519.")
        .varying(),
    function("genCA", &[Param::Str, Param::Int], gen_ca, "Makes a certificate authority.").varying(),
    function(
        "genCAWithKey",
        &[Param::Str, Param::Int, Param::Str],
        gen_ca_with_key,
        "Makes a certificate authority of a key.",
    )
    .varying(),
    function("genSelfSignedCert", CERT, gen_self_signed, "Makes a self-signed certificate.").varying(),
    function(
        "genSelfSignedCertWithKey",
        CERT_KEY,
        gen_self_signed_with_key,
        "Makes a self-signed certificate of a key.",
    )
    .varying(),
    function("genSignedCert", SIGNED, gen_signed, "Makes a certificate signed by an authority.").varying(),
    function(
        "genSignedCertWithKey",
        SIGNED_KEY,
        gen_signed_with_key,
        "Makes a certificate of a key, signed by an authority.",
    )
    .varying(),
    function(
        "buildCustomCert",
        TEXTS,
        build_custom_cert,
        "Checks a certificate and its key, both in base64, and pairs them.",
    ),
];

const fn function(name: &'static str, params: &'static [Param], call: Native, doc: &'static str) -> Function {
    Function::new(Family::Crypto, name, params, call, doc)
}

/// A stream of random bytes from one seed of the host: counters hashed with the seed.
pub(super) struct Stream {
    seed: [u8; 32],
    counter: u64,
}

impl Stream {
    fn new(ctx: &Ctx<'_>) -> Self {
        let mut seed = [0; 32];
        ctx.env.host.random(&mut seed);
        Self { seed, counter: 0 }
    }

    /// Fills a buffer.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.seed);
            hash.update(self.counter.to_be_bytes());
            self.counter += 1;
            chunk.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        }
    }
}

fn bcrypt_text(ctx: &Ctx<'_>, password: &[u8]) -> String {
    let mut salt = [0; 16];
    ctx.env.host.random(&mut salt);
    let failed = |reason: &str| format!("failed to encrypt string with bcrypt: {reason}");
    if password.len() > 72 {
        return failed("bcrypt: password length exceeds 72 bytes");
    }
    match bcrypt::hash_with_salt(password, 10, salt) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(error) => failed(&error.to_string()),
    }
}

fn bcrypt(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::str(bcrypt_text(ctx, args.text(0))))
}

fn htpasswd(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let user = lossy(args.text(0)).into_owned();
    if user.contains(':') {
        return Ok(Value::str(format!("invalid username: {user}")));
    }
    Ok(Value::str(format!("{user}:{}", bcrypt_text(ctx, args.text(1)))))
}

/// The templates of each type of derived password. Source: the Master Password algorithm.
const TEMPLATES: &[(&str, &[&str])] = &[
    ("maximum", &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"]),
    (
        "long",
        &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
    ),
    ("medium", &["CvcnoCvc", "CvcCvcno"]),
    ("short", &["Cvcn"]),
    ("basic", &["aaanaaan", "aannaaan", "aaannaaa"]),
    ("pin", &["nnnn"]),
];

fn password_characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn derive_password(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    const SEED: &[u8] = b"com.lyndir.masterpassword";
    let counter = args.int(0) as u32;
    let kind = lossy(args.text(1));
    let Some((_, templates)) = TEMPLATES.iter().find(|(name, _)| *name == kind) else {
        return Ok(Value::str(format!("cannot find password template {kind}")));
    };
    let (password, user, site) = (args.text(2), args.text(3), args.text(4));
    let length = |text: &[u8]| (text.len() as u32).to_be_bytes();
    let salt = [SEED, &length(user), user].concat();
    let params = scrypt::Params::new(15, 8, 2).expect("the cost is a constant");
    let mut key = [0; 64];
    scrypt::scrypt(password, &salt, &params, &mut key).expect("the length is a constant");
    let message = [SEED, &length(site), site, &counter.to_be_bytes()].concat();
    let mut mac = hmac::Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length is taken");
    mac.update(&message);
    let seed = mac.finalize().into_bytes();
    let pick = |index: usize, count: usize| usize::from(seed.get(index).copied().unwrap_or(0)) % count.max(1);
    let template = templates.get(pick(0, templates.len())).copied().unwrap_or("");
    let characters = template.bytes().enumerate().map(|(index, class)| {
        let from = password_characters(class);
        from.get(pick(index + 1, from.len())).copied().unwrap_or(b'?')
    });
    Ok(Value::str(characters.collect::<Vec<u8>>()))
}

fn aes_key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.iter_mut().zip(password).for_each(|(to, from)| *to = *from);
    key
}

fn encrypt_aes(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let text = args.text(1);
    if text.is_empty() {
        return Ok(Value::str(""));
    }
    let mut iv = [0; 16];
    ctx.env.host.random(&mut iv);
    let cipher = cbc::Encryptor::<aes::Aes256>::new(&aes_key(args.text(0)).into(), &iv.into());
    let padding = 16 - text.len() % 16;
    let mut padded = text.to_vec();
    padded.extend(std::iter::repeat_n(padding as u8, padding));
    let body = cipher.encrypt_padded_vec::<NoPadding>(&padded);
    Ok(Value::str(base64::engine::general_purpose::STANDARD.encode([&iv[..], &body].concat())))
}

fn decrypt_aes(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    if args.text(1).is_empty() {
        return Ok(Value::str(""));
    }
    let crypt =
        decode_base64(args.text(1)).map_err(|at| FuncError::new(format!("illegal base64 data at input byte {at}")))?;
    let short = || FuncError::new("the encrypted text is too short");
    let (iv, body) = crypt.split_first_chunk::<16>().ok_or_else(short)?;
    let cipher = cbc::Decryptor::<aes::Aes256>::new(&aes_key(args.text(0)).into(), &(*iv).into());
    let plain = cipher.decrypt_padded_vec::<NoPadding>(body);
    let mut plain = plain.map_err(|_| FuncError::new("crypto/cipher: input not full blocks"))?;
    let padding = usize::from(plain.last().copied().ok_or_else(short)?);
    let length = plain.len().checked_sub(padding);
    plain.truncate(length.ok_or_else(|| FuncError::new("the password does not fit the encrypted text"))?);
    Ok(Value::str(plain))
}

fn gen_private_key(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let mut stream = Stream::new(ctx);
    let key = match args.text(0) {
        b"" | b"rsa" => Key::rsa(&mut stream, 4096),
        b"ecdsa" => Ok(Key::ecdsa(&mut stream)),
        b"ed25519" => Ok(Key::ed25519(&mut stream)),
        b"dsa" => Ok(Key::dsa(&mut stream)),
        other => return Ok(Value::str(format!("Unknown type {}", lossy(other)))),
    };
    Ok(Value::str(key.map_err(|e| FuncError::new(format!("failed to generate private key: {e}")))?.pem()))
}

/// A certificate and its key, both in PEM.
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The private key.
    pub key: String,
}

impl Object for Pair {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(PAIR)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        match name {
            b"Cert" => Some(Value::str(self.cert.as_str())),
            b"Key" => Some(Value::str(self.key.as_str())),
            _ => None,
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{{} {}}}", self.cert, self.key).as_bytes());
    }

    fn plain(&self) -> Value {
        Value::dict([("Cert".into(), Value::str(self.cert.as_str())), ("Key".into(), Value::str(self.key.as_str()))])
    }

    fn equal(&self, other: &ObjectRef) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|o| o.cert == self.cert && o.key == self.key)
    }
}

/// What a certificate shall say.
struct Request<'a> {
    name: &'a [u8],
    ips: Vec<IpAddr>,
    dns: Vec<String>,
    days: i64,
    authority: bool,
}

fn request(args: &[Value]) -> Result<Request<'_>, FuncError> {
    let mut ips = Vec::new();
    for value in args.list(1).map_or(&[][..], |l: &List| &l.items) {
        let Value::Str(text) = value else {
            let shown = String::from_utf8_lossy(&crate::eval::print::text(value)).into_owned();
            return Err(FuncError::new(format!("error parsing ip: {shown} is not a string")));
        };
        let text = lossy(text);
        ips.push(text.parse().map_err(|_| FuncError::new(format!("error parsing ip: {text}")))?);
    }
    let mut dns = Vec::new();
    for value in args.list(2).map_or(&[][..], |l: &List| &l.items) {
        let Value::Str(text) = value else {
            let shown = String::from_utf8_lossy(&crate::eval::print::text(value)).into_owned();
            return Err(FuncError::new(format!("error processing alternate dns name: {shown} is not a string")));
        };
        dns.push(lossy(text).into_owned());
    }
    Ok(Request { name: args.text(0), ips, dns, days: args.int(3), authority: false })
}

fn certify(ctx: &Ctx<'_>, request: &Request<'_>, key: &Key, issuer: Option<&Pair>) -> Answer {
    let failed = |e: &dyn std::fmt::Display| FuncError::new(format!("error creating certificate: {e}"));
    let mut params = rcgen::CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Year 9999 is the last that a certificate can name.
    let last = std::time::Duration::from_secs(253_402_300_799);
    let from = std::time::Duration::from_secs(ctx.env.now.as_secs()).min(last);
    let length = std::time::Duration::from_secs(u64::try_from(request.days).unwrap_or(0).saturating_mul(86_400));
    params.not_before = epoch + from;
    params.not_after = epoch + from.saturating_add(length).min(last);
    let mut serial = [0; 16];
    ctx.env.host.random(&mut serial);
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, lossy(request.name).into_owned());
    for name in &request.dns {
        let name = name.as_str().try_into().map_err(|e: rcgen::Error| failed(&e))?;
        params.subject_alt_names.push(rcgen::SanType::DnsName(name));
    }
    params.subject_alt_names.extend(request.ips.iter().map(|ip| rcgen::SanType::IpAddress(*ip)));
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    if request.authority {
        params.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let pair = key.pair().map_err(|e| failed(&e))?;
    let made = match issuer {
        None => params.self_signed(&pair).map_err(|e| failed(&e))?,
        Some(authority) => {
            let key = Key::read(&authority.key).map_err(|e| failed(&e))?;
            let signer = key.pair().map_err(|e| failed(&e))?;
            let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.cert, signer).map_err(|e| failed(&e))?;
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&pair, &issuer).map_err(|e| failed(&e))?
        }
    };
    Ok(Value::object(Pair { cert: pem_block("CERTIFICATE", made.der()), key: key.pem() }))
}

fn new_key(ctx: &Ctx<'_>) -> Result<Key, FuncError> {
    Key::rsa(&mut Stream::new(ctx), 2048).map_err(|e| FuncError::new(format!("error generating rsa key: {e}")))
}

fn given_key(pem: &[u8]) -> Result<Key, FuncError> {
    Key::read(&lossy(pem)).map_err(|e| FuncError::new(format!("parsing private key: {e}")))
}

fn authority(args: &[Value]) -> Request<'_> {
    Request { name: args.text(0), ips: Vec::new(), dns: Vec::new(), days: args.int(1), authority: true }
}

fn gen_ca(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    certify(ctx, &authority(args), &new_key(ctx)?, None)
}

fn gen_ca_with_key(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    certify(ctx, &authority(args), &given_key(args.text(2))?, None)
}

fn gen_self_signed(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let request = request(args)?;
    certify(ctx, &request, &new_key(ctx)?, None)
}

fn gen_self_signed_with_key(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    certify(ctx, &request(args)?, &given_key(args.text(4))?, None)
}

fn issuer(args: &[Value]) -> Result<&Pair, FuncError> {
    args.any(4).downcast::<Pair>().ok_or_else(|| FuncError::new("the authority is no certificate"))
}

fn gen_signed(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let request = request(args)?;
    certify(ctx, &request, &new_key(ctx)?, Some(issuer(args)?))
}

fn gen_signed_with_key(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    certify(ctx, &request(args)?, &given_key(args.text(5))?, Some(issuer(args)?))
}

fn build_custom_cert(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let text = |index: usize, what: &str| {
        let bytes = decode_base64(args.text(index));
        let bytes = bytes.map_err(|_| FuncError::new(format!("unable to decode base64 {what}")))?;
        Ok::<_, FuncError>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (cert, key) = (text(0, "certificate")?, text(1, "private key")?);
    let decoded = super::keys::pem_body(&cert).ok_or_else(|| FuncError::new("unable to decode certificate"))?;
    if super::keys::certificate_key(&decoded.1).is_none() {
        return Err(FuncError::new("error parsing certificate: decodedCert.Bytes: x509: malformed certificate"));
    }
    Key::read(&key).map_err(|e| FuncError::new(format!("error parsing private key: {e}")))?;
    Ok(Value::object(Pair { cert, key }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{RenderEnv, SetOptions, TemplateSet};
    use crate::source::Sources;

    fn call(name: &str, args: &[Value]) -> Value {
        let (set, sources) = (TemplateSet::new(SetOptions::helm()), Sources::new());
        let function = TABLE.iter().find(|f| f.name == name).unwrap();
        let mut session = set.session(RenderEnv::bare(&sources));
        (function.call)(&mut session, args).unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn text(value: &Value) -> String {
        String::from_utf8(crate::eval::print::text(value)).unwrap()
    }

    #[test]
    fn passwords_are_derived_as_in_sprig() {
        let derive = |counter, kind: &str, p: &str, u: &str, s: &str| {
            let args = [Value::Int(counter), Value::str(kind), Value::str(p), Value::str(u), Value::str(s)];
            text(&call("derivePassword", &args))
        };
        assert_eq!(derive(1, "long", "password", "user", "example.com"), "ZedaFaxcZaso9*");
        assert_eq!(derive(1, "pin", "p", "u", "s"), "2461");
        assert_eq!(derive(1, "bad", "p", "u", "s"), "cannot find password template bad");
    }

    #[test]
    fn what_is_encrypted_can_be_decrypted() {
        let secret = call("encryptAES", &[Value::str("key"), Value::str("some secret text")]);
        assert_eq!(text(&call("decryptAES", &[Value::str("key"), secret])), "some secret text");
        assert_eq!(text(&call("decryptAES", &[Value::str("k"), Value::str("")])), "");
    }

    #[test]
    fn keys_have_the_form_that_their_type_asks_for() {
        let key = |kind: &str| text(&call("genPrivateKey", &[Value::str(kind)]));
        assert!(key("ecdsa").starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
        assert!(key("ed25519").starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(key("zz"), "Unknown type zz");
        assert!(Key::read(&key("ecdsa")).unwrap().pair().is_ok());
        assert!(Key::read(&key("ed25519")).unwrap().pair().is_ok());
    }

    #[test]
    fn an_authority_signs_certificates() {
        let key = Value::str(text(&call("genPrivateKey", &[Value::str("ecdsa")])));
        let authority = call("genCAWithKey", &[Value::str("ca"), Value::Int(10), key.clone()]);
        let ips = Value::list(vec![Value::str("10.0.0.1")]);
        let dns = Value::list(vec![Value::str("example.com")]);
        let args = [Value::str("web"), ips, dns, Value::Int(5), authority, key];
        let signed = call("genSignedCertWithKey", &args);
        let pair = signed.downcast::<Pair>().unwrap();
        assert!(pair.cert.starts_with("-----BEGIN CERTIFICATE-----\n") && pair.key.contains("EC PRIVATE KEY"));
        let encode = |t: &str| Value::str(base64::engine::general_purpose::STANDARD.encode(t));
        let checked = call("buildCustomCert", &[encode(&pair.cert), encode(&pair.key)]);
        assert_eq!(checked.downcast::<Pair>().unwrap().cert, pair.cert);
    }

    #[test]
    fn passwords_are_hashed_in_the_form_of_go() {
        assert!(text(&call("htpasswd", &[Value::str("u"), Value::str("p")])).starts_with("u:$2a$10$"));
        assert_eq!(text(&call("htpasswd", &[Value::str("a:b"), Value::str("p")])), "invalid username: a:b");
        let long = "x".repeat(73);
        let wanted = "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes";
        assert_eq!(text(&call("bcrypt", &[Value::str(long)])), wanted);
    }
}
