//! Private keys: made from a stream of random bytes, written as PEM, read back.

use base64::Engine as _;
use num_bigint_dig::BigUint;
use num_bigint_dig::prime::probably_prime;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::rand_core;

use super::crypto::Stream;

/// A private key. The bytes are PKCS#8 unless told otherwise.
pub(super) enum Key {
    /// RSA.
    Rsa(Box<rsa::RsaPrivateKey>),
    /// ECDSA on P-256: the SEC 1 form.
    Ecdsa(Vec<u8>),
    /// Ed25519, or another kind in PKCS#8.
    Other(Vec<u8>),
    /// DSA, in the form of OpenSSL; it signs nothing.
    Dsa(Vec<u8>),
}

impl rand_core::RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, buffer: &mut [u8]) {
        self.fill(buffer);
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill(buffer);
        Ok(())
    }
}

impl rand_core::CryptoRng for Stream {}

const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME_256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

impl Key {
    /// Makes an RSA key.
    pub(super) fn rsa(stream: &mut Stream, bits: usize) -> Result<Self, String> {
        rsa::RsaPrivateKey::new(stream, bits).map(|k| Self::Rsa(Box::new(k))).map_err(|e| e.to_string())
    }

    /// Makes a key on the curve P-256.
    pub(super) fn ecdsa(stream: &mut Stream) -> Self {
        let order = curve::order();
        loop {
            let mut bytes = [0; 32];
            stream.fill(&mut bytes);
            let secret = BigUint::from_bytes_be(&bytes);
            if secret == BigUint::from(0u8) || secret >= order {
                continue;
            }
            let public = curve::public_point(&secret);
            let body = [
                integer(&[1]),
                wrap(0x04, &bytes),
                wrap(0xa0, PRIME_256),
                wrap(0xa1, &wrap(0x03, &[&[0u8][..], &public].concat())),
            ];
            return Self::Ecdsa(wrap(0x30, &body.concat()));
        }
    }

    /// Makes an Ed25519 key.
    pub(super) fn ed25519(stream: &mut Stream) -> Self {
        let mut seed = [0; 32];
        stream.fill(&mut seed);
        let body = [integer(&[0]), wrap(0x30, ED25519), wrap(0x04, &wrap(0x04, &seed))];
        Self::Other(wrap(0x30, &body.concat()))
    }

    /// Makes a DSA key of 2048 and 256 bits.
    #[expect(clippy::many_single_char_names, reason = "the letters of the standard")]
    pub(super) fn dsa(stream: &mut Stream) -> Self {
        let one = BigUint::from(1u8);
        let mut number = |bits: usize| {
            let mut bytes = vec![0; bits / 8];
            stream.fill(&mut bytes);
            if let Some(first) = bytes.first_mut() {
                *first |= 0x80;
            }
            BigUint::from_bytes_be(&bytes)
        };
        let q = loop {
            let candidate = number(256) | &one;
            if is_prime(&candidate) {
                break candidate;
            }
        };
        let p = loop {
            let start = number(2048);
            let candidate = &start - (&start % (&q << 1)) + &one;
            if candidate.bits() == 2048 && is_prime(&candidate) {
                break candidate;
            }
        };
        let exponent = (&p - &one) / &q;
        let g = (2u32..1_000).map(|h| BigUint::from(h).modpow(&exponent, &p)).find(|g| *g != one);
        let g = g.unwrap_or_else(|| BigUint::from(2u8));
        let x = number(256) % (&q - &one) + &one;
        let y = g.modpow(&x, &p);
        let parts = [&p, &q, &g, &y, &x].map(|n| integer(&n.to_bytes_be()));
        Self::Dsa(wrap(0x30, &[integer(&[0]), parts.concat()].concat()))
    }

    /// Returns the PEM text in the form that Sprig writes.
    pub(super) fn pem(&self) -> String {
        match self {
            Self::Rsa(key) => match key.to_pkcs1_der() {
                Ok(der) => pem_block("RSA PRIVATE KEY", der.as_bytes()),
                Err(_) => String::new(),
            },
            Self::Ecdsa(der) => pem_block("EC PRIVATE KEY", der),
            Self::Other(der) => pem_block("PRIVATE KEY", der),
            Self::Dsa(der) => pem_block("DSA PRIVATE KEY", der),
        }
    }

    /// Reads a key from PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let (label, der) = pem_body(pem).ok_or("no PEM data in input")?;
        let failed = |e: &dyn std::fmt::Display| e.to_string();
        match label.as_str() {
            "RSA PRIVATE KEY" => {
                let key = rsa::RsaPrivateKey::from_pkcs1_der(&der).map_err(|e| failed(&e))?;
                Ok(Self::Rsa(Box::new(key)))
            }
            "EC PRIVATE KEY" => Ok(Self::Ecdsa(der)),
            "PRIVATE KEY" => match rsa::RsaPrivateKey::from_pkcs8_der(&der) {
                Ok(key) => Ok(Self::Rsa(Box::new(key))),
                Err(_) => Ok(Self::Other(der)),
            },
            "DSA PRIVATE KEY" => Ok(Self::Dsa(der)),
            other => Err(format!("invalid private key type {other}")),
        }
    }

    /// Returns the key in the form that signs certificates.
    ///
    /// # Errors
    /// The key cannot sign.
    pub(super) fn pair(&self) -> Result<rcgen::KeyPair, String> {
        let der = match self {
            Self::Rsa(key) => key.to_pkcs8_der().map_err(|e| e.to_string())?.as_bytes().to_vec(),
            Self::Ecdsa(der) => {
                let algorithm = wrap(0x30, &[EC_PUBLIC_KEY, PRIME_256].concat());
                wrap(0x30, &[integer(&[0]), algorithm, wrap(0x04, &without_curve(der))].concat())
            }
            Self::Other(der) => der.clone(),
            Self::Dsa(_) => return Err("x509: only RSA, ECDSA and Ed25519 keys supported".to_owned()),
        };
        rcgen::KeyPair::from_pem(&pem_block("PRIVATE KEY", &der)).map_err(|e| e.to_string())
    }
}

/// Takes the name of the curve out of a SEC 1 key; inside PKCS#8 it stands elsewhere.
fn without_curve(der: &[u8]) -> Vec<u8> {
    let curve = wrap(0xa0, PRIME_256);
    let Some(at) = der.windows(curve.len()).position(|w| w == curve) else { return der.to_vec() };
    let before = der.get(..at).unwrap_or(&[]);
    let after = der.get(at + curve.len()..).unwrap_or(&[]);
    let header = if before.get(1).is_some_and(|b| *b < 0x80) { 2 } else { 3 };
    wrap(0x30, &[before.get(header..).unwrap_or(&[]), after].concat())
}

fn is_prime(candidate: &BigUint) -> bool {
    const SMALL: [u32; 30] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127,
    ];
    let zero = BigUint::from(0u8);
    !SMALL.iter().any(|p| candidate % *p == zero) && probably_prime(candidate, 20)
}

/// Writes a DER element.
fn wrap(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = body.len();
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let digits: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    out.extend_from_slice(body);
    out
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes.first().is_some_and(|b| *b >= 0x80) { &[0] } else { &[] };
    wrap(0x02, &[sign, bytes].concat())
}

/// Writes a PEM block as Go does: 64 characters a line.
pub(super) fn pem_block(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Reads the first PEM block of a text; returns its label and its bytes.
pub(super) fn pem_body(text: &str) -> Option<(String, Vec<u8>)> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (label, body) = after.split_once("-----")?;
    let (body, _) = body.split_once(&format!("-----END {label}-----"))?;
    let compact: String = body.lines().filter(|l| !l.contains(':')).flat_map(str::chars).collect();
    let compact: String = compact.chars().filter(|c| !c.is_whitespace()).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(compact).ok()?;
    Some((label.to_owned(), der))
}

/// Returns the bytes of a certificate's signed part; `None` when it has not the form of one.
pub(super) fn certificate_key(der: &[u8]) -> Option<Vec<u8>> {
    let whole = element(der, 0x30)?;
    element(whole, 0x30).map(<[u8]>::to_vec)
}

/// Returns the body of the DER element that some bytes begin with.
fn element(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    if *first < 0x80 {
        return rest.get(..usize::from(*first));
    }
    let (digits, body) = rest.split_at_checked(usize::from(*first & 0x7f)).filter(|(d, _)| d.len() <= 4)?;
    let length = digits.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    body.get(..length)
}

/// The curve P-256, as far as a public key needs it.
///
/// It is not constant-time: it makes keys for templates, on the machine that renders them.
mod curve {
    use num_bigint_dig::{BigUint, ModInverse};

    fn number(hex: &str) -> BigUint {
        BigUint::parse_bytes(hex.as_bytes(), 16).expect("the digits are constants")
    }

    fn prime() -> BigUint {
        number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
    }

    /// Returns the order of the group.
    pub(super) fn order() -> BigUint {
        number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    }

    type Point = Option<(BigUint, BigUint)>;

    fn inverse(value: &BigUint, p: &BigUint) -> BigUint {
        value.mod_inverse(p).and_then(|n| n.to_biguint()).unwrap_or_default()
    }

    fn minus(a: &BigUint, b: &BigUint, p: &BigUint) -> BigUint {
        (a + p - b) % p
    }

    #[expect(clippy::many_single_char_names, reason = "coordinates")]
    fn sum(a: &Point, b: &Point, p: &BigUint) -> Point {
        let (Some((ax, ay)), Some((bx, by))) = (a, b) else { return a.clone().or_else(|| b.clone()) };
        let slope = if ax == bx {
            if (ay + by) % p == BigUint::from(0u8) {
                return None;
            }
            let top = (ax * ax * BigUint::from(3u8) + p - BigUint::from(3u8)) % p;
            top * inverse(&((ay << 1) % p), p) % p
        } else {
            minus(by, ay, p) * inverse(&minus(bx, ax, p), p) % p
        };
        let x = minus(&minus(&(&slope * &slope % p), ax, p), bx, p);
        let y = minus(&(slope * minus(ax, &x, p) % p), ay, p);
        Some((x, y))
    }

    /// Returns the uncompressed public point of a secret.
    pub(super) fn public_point(secret: &BigUint) -> Vec<u8> {
        let p = prime();
        let mut doubled: Point = Some((
            number("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
            number("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        ));
        let mut total: Point = None;
        for byte in secret.to_bytes_le() {
            for bit in 0..8 {
                if byte >> bit & 1 == 1 {
                    total = sum(&total, &doubled, &p);
                }
                doubled = sum(&doubled, &doubled, &p);
            }
        }
        let (x, y) = total.unwrap_or_default();
        let mut out = vec![4];
        for coordinate in [x, y] {
            let bytes = coordinate.to_bytes_be();
            out.extend(std::iter::repeat_n(0, 32 - bytes.len().min(32)));
            out.extend(bytes);
        }
        out
    }
}
