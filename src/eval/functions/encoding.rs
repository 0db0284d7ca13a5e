//! Encodings, hashes and identifiers.

use base64::Engine as _;
use sha2::Digest as _;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::Value;

type Answer = Result<Value, FuncError>;

/// Describes a function from a text to a text.
macro_rules! text {
    ($name:expr, $convert:expr, $doc:expr) => {
        Function::new(
            Family::Encoding,
            $name,
            &[Param::Str],
            |_: &mut Ctx<'_>, args: &[Value]| -> Answer {
                let convert: fn(&[u8]) -> Vec<u8> = $convert;
                Ok(Value::str(convert(args.text(0))))
            },
            $doc,
        )
    };
}

/// The table of this family.
pub static TABLE: &[Function] = &[
    text!("b64enc", |s| base64::engine::general_purpose::STANDARD.encode(s).into_bytes(), "Encodes as base64."),
    text!("b64dec", base64_decode, "Decodes base64; on failure it returns the message."),
    text!("b32enc", base32_encode, "Encodes as base32."),
    text!("b32dec", base32_decode, "Decodes base32; on failure it returns the message."),
    text!("sha1sum", |s| hex::encode(sha1::Sha1::digest(s)).into_bytes(), "Returns the SHA-1 in hexadecimal digits."),
    text!(
        "sha256sum",
        |s| hex::encode(sha2::Sha256::digest(s)).into_bytes(),
        "Returns the SHA-256 in hexadecimal digits."
    ),
    text!(
        "sha512sum",
        |s| hex::encode(sha2::Sha512::digest(s)).into_bytes(),
        "Returns the SHA-512 in hexadecimal digits."
    ),
    text!("adler32sum", |s| adler2::adler32_slice(s).to_string().into_bytes(), "Returns the Adler-32 sum in decimal."),
    Function::new(Family::Encoding, "uuidv4", &[], uuid, "Returns a random UUID.").varying(),
    Function::new(Family::Encoding, "randBytes", &[Param::Int], random_bytes, "Returns random bytes in base64.")
        .varying(),
];

fn base64_digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

fn base64_decode(text: &[u8]) -> Vec<u8> {
    decode_base64(text).unwrap_or_else(|at| format!("illegal base64 data at input byte {at}").into_bytes())
}

/// Decodes base64 as Go's `StdEncoding` does: line breaks are skipped, trailing bits are ignored.
///
/// # Errors
/// The offset of the byte at fault.
pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut rest = text.iter().enumerate().filter(|(_, b)| !matches!(b, b'\r' | b'\n')).peekable();
    let (mut bits, mut count) = (0u32, 0);
    while let Some((at, byte)) = rest.next() {
        if let Some(digit) = base64_digit(*byte) {
            bits = bits << 6 | digit;
            count += 1;
            if count == 4 {
                out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
                (bits, count) = (0, 0);
            }
            continue;
        }
        if *byte != b'=' || count < 2 {
            return Err(at);
        }
        if count == 2 {
            match rest.next() {
                None => return Err(text.len()),
                Some((_, b'=')) => {}
                Some((at, _)) => return Err(at - 1),
            }
        }
        if let Some((at, _)) = rest.next() {
            return Err(at);
        }
        bits <<= 6 * (4 - count);
        out.push((bits >> 16) as u8);
        if count == 3 {
            out.push((bits >> 8) as u8);
        }
        return Ok(out);
    }
    if count == 0 { Ok(out) } else { Err(text.len() - count) }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32_encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().div_ceil(5) * 8);
    for chunk in text.chunks(5) {
        let bits = chunk.iter().fold(0u64, |bits, b| bits << 8 | u64::from(*b)) << (8 * (5 - chunk.len()));
        let digits = (chunk.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = (bits >> (35 - 5 * index)) as usize & 31;
            out.push(if index < digits { BASE32.get(digit).copied().unwrap_or(b'=') } else { b'=' });
        }
    }
    out
}

fn base32_decode(text: &[u8]) -> Vec<u8> {
    decode_base32(text).unwrap_or_else(|at| format!("illegal base32 data at input byte {at}").into_bytes())
}

fn decode_base32(text: &[u8]) -> Result<Vec<u8>, usize> {
    let compact: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let length = compact.len();
    let mut out = Vec::with_capacity(length / 8 * 5 + 5);
    let mut at = 0;
    while at < length {
        let (mut bits, mut count) = (0u64, 0usize);
        while count < 8 {
            let Some(byte) = compact.get(at) else { return Err(length - count) };
            at += 1;
            let left = length - at;
            if *byte == b'=' && count >= 2 && left < 8 {
                if left + count < 7 {
                    return Err(length);
                }
                for pad in 0..7 - count {
                    if compact.get(at + pad).is_some_and(|b| *b != b'=') {
                        return Err(at + pad - 1);
                    }
                }
                if matches!(count, 3 | 6) {
                    return Err(at - 1);
                }
                bits <<= 5 * (8 - count);
                let bytes = bits.to_be_bytes();
                out.extend(bytes.iter().skip(3).take(count * 5 / 8));
                return Ok(out);
            }
            let digit = BASE32.iter().position(|b| b == byte).ok_or(at - 1)?;
            bits = bits << 5 | digit as u64;
            count += 1;
        }
        out.extend(bits.to_be_bytes().iter().skip(3));
    }
    Ok(out)
}

fn uuid(ctx: &mut Ctx<'_>, _: &[Value]) -> Answer {
    let mut bytes = [0; 16];
    ctx.env.host.random(&mut bytes);
    Ok(Value::str(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()))
}

fn random_bytes(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    /// More is a mistake, and would only exhaust the memory. Unit: bytes.
    const MOST: usize = 1 << 20;
    let count = usize::try_from(args.int(0)).unwrap_or(0);
    if count > MOST {
        return Err(FuncError::new(format!("randBytes: more than {MOST} bytes")));
    }
    let mut bytes = vec![0; count];
    ctx.env.host.random(&mut bytes);
    Ok(Value::str(base64::engine::general_purpose::STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_faults_are_placed_as_go_does() {
        let decode = |t: &str| String::from_utf8(base64_decode(t.as_bytes())).unwrap();
        assert_eq!(decode("aGk="), "hi");
        assert_eq!(decode("aG\nk=\n"), "hi");
        assert_eq!(decode("!!"), "illegal base64 data at input byte 0");
        assert_eq!(decode("aGk"), "illegal base64 data at input byte 0");
        assert_eq!(decode("aGk=x"), "illegal base64 data at input byte 4");
        assert_eq!(decode("aGVsbG8"), "illegal base64 data at input byte 4");
    }

    #[test]
    fn base32_goes_there_and_back() {
        for length in 0..20u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode_base32(&base32_encode(&bytes)).unwrap(), bytes);
        }
        assert_eq!(base32_encode(b"hello"), b"NBSWY3DP");
        assert_eq!(base32_encode(b"hi"), b"NBUQ====");
    }
}
