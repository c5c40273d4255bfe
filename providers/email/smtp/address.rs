//! Addresses, checked before they reach a command or a header.

use std::fmt::Write as _;

use lettre::address::Address;

/// An e-mail address with the name to show.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) name: Option<String>,
    pub(super) address: Address,
}

impl Mailbox {
    /// Checks an address and a name.
    ///
    /// # Errors
    /// Says what is wrong, without the address.
    pub(super) fn new(address: &str, name: Option<&str>) -> Result<Self, &'static str> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.chars().any(char::is_control)) {
            return Err("has a name with a line break or another control character");
        }
        Ok(Self { name: name.map(str::to_owned), address: check(address)? })
    }

    /// Reads `Acme <no-reply@acme.test>` or the address alone.
    ///
    /// # Errors
    /// Says what is wrong, without the address.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => Self::new(address, Some(name.trim().trim_matches('"'))),
            None => Self::new(text, None),
        }
    }

    /// As lettre wants it for a header.
    pub(super) fn header(&self) -> lettre::message::Mailbox {
        lettre::message::Mailbox::new(self.name.clone(), self.address.clone())
    }
}

/// Checks an address (RFC 5321 section 4.1.2, RFC 6531) and writes its domain in ASCII (RFC 5890).
fn check(text: &str) -> Result<Address, &'static str> {
    let text = text.trim();
    // 4.5.3.1: local part 64 octets, domain 255, path 256 with its brackets.
    if text.len() > 254 {
        return Err("is longer than 254 bytes (RFC 5321 section 4.5.3.1)");
    }
    // Quoted local parts may hold spaces and brackets by the grammar. No real mailbox needs them, and every parser
    // on the way reads them differently.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\' | ','))
    {
        return Err("holds a character that an e-mail address cannot have");
    }
    let (local, domain) = text.rsplit_once('@').ok_or("is not an e-mail address: it has no @")?;
    if local.len() > 64 {
        return Err("has more than 64 bytes before the @ (RFC 5321 section 4.5.3.1.1)");
    }
    let domain = if domain.is_ascii() {
        domain.to_owned()
    } else {
        url::Host::parse(domain).map_err(|_| "has a domain that is not valid")?.to_string()
    };
    Address::new(local, domain).map_err(|_| "is not a valid e-mail address")
}

/// The Message-ID, without its brackets: the same for every try that must not arrive twice.
///
/// It holds our id of the message, so that people find it, and a word made of the idempotency key.
pub(super) fn message_id(message: &str, idempotency_key: &str, domain: &str) -> String {
    let mut local: String =
        message.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    local.truncate(64);
    local.push('.');
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, idempotency_key.as_bytes());
    for byte in &digest.as_ref()[..10] {
        // Writing to a String cannot fail.
        let _ = write!(local, "{byte:02x}");
    }
    // The vendor's id has room for 256 characters: local part at most 85, and a domain that is cut is still unique by it.
    let domain = domain.trim_matches(['[', ']']).replace(':', "-");
    let domain: String = domain.chars().take(160).collect();
    format!("{local}@{}", domain.trim_end_matches(['.', '-']))
}
