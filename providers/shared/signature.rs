//! Keyed hashes as webhooks carry them. Comparing takes the same time wherever the difference is.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;

/// The hash beneath an HMAC (RFC 2104).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// For vendors that have not moved on; still sound within an HMAC.
    Sha1,
    /// The usual one.
    Sha256,
    /// The long one.
    Sha512,
}

/// How a tag is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal; upper case is accepted.
    Hex,
    /// Standard alphabet with padding (RFC 4648 section 4).
    Base64,
}

/// The HMAC of the parts, one after another.
pub fn tag(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// The bytes as text.
pub fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    }
}

/// Whether `given` is these bytes as text. There is one right text: base64 with other padding or spare bits is wrong.
pub fn matches(encoding: Encoding, bytes: &[u8], given: &str) -> bool {
    match encoding {
        Encoding::Hex => same(encode(encoding, bytes).as_bytes(), given.to_ascii_lowercase().as_bytes()),
        Encoding::Base64 => same(encode(encoding, bytes).as_bytes(), given.as_bytes()),
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Equality in constant time for texts of the same length.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 test case 2 and RFC 2202 test case 2: key "Jefe", "what do ya want for nothing?".
    #[test]
    fn published_vectors() {
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        let sha1 = tag(Hash::Sha1, b"Jefe", &parts);
        assert_eq!(encode(Encoding::Hex, &sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let sha256 = tag(Hash::Sha256, b"Jefe", &parts);
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(matches(Encoding::Hex, &sha256, hex));
        assert!(matches(Encoding::Hex, &sha256, &hex.to_uppercase()));
        assert!(!matches(Encoding::Hex, &sha256, &hex[1..]));
        assert!(!matches(Encoding::Base64, &sha256, hex));
    }

    #[test]
    fn empty_digest() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
