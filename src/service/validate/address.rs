//! Addresses, checked strictly: what passes cannot break out of a header, a command or a URL.

use super::is_unsafe;
use crate::model::{Channel, ids};

/// Most of any address.
const MAX_ADDRESS: usize = 4_096;
/// Most of an e-mail address: a path of 256 with its angle brackets (RFC 5321, section 4.5.3.1.3).
const MAX_EMAIL: usize = 254;

/// Whether this can be an address of the channel; what is wrong with it if not.
pub(crate) fn address(channel: Channel, text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_ADDRESS {
        return Err("must be at most 4096 bytes");
    }
    match channel {
        Channel::Email => email(text),
        Channel::Sms => phone(text),
        Channel::Chat => handle(text),
        Channel::Push => token(text),
    }
}

/// The channel that an address without one can only mean.
pub(crate) fn infer(text: &str) -> Option<Channel> {
    if email(text).is_ok() {
        Some(Channel::Email)
    } else if phone(text).is_ok() {
        Some(Channel::Sms)
    } else {
        None
    }
}

/// A plain mailbox: dot-atom (RFC 5322, section 3.4.1), or the same in UTF-8 (RFC 6531). No quotes, comments, display names or
/// address literals.
fn email(text: &str) -> Result<(), &'static str> {
    if text.chars().any(|c| is_unsafe(c) || c.is_whitespace()) {
        return Err("must be one e-mail address without spaces, line breaks or control characters");
    }
    if text.contains(['<', '>', '"', '(', ')', ',', ';']) {
        return Err("must be the bare e-mail address (`ada@example.com`), without name, quotes or brackets");
    }
    let Some((local, domain)) = text.split_once('@') else {
        return Err("must be an e-mail address with one `@`, such as `ada@example.com`");
    };
    if text.len() > MAX_EMAIL || local.len() > 64 {
        return Err("must be at most 254 bytes, at most 64 of them before the `@`");
    }
    if local.split('.').any(|atom| atom.is_empty() || !atom.chars().all(is_atom)) {
        return Err("has something before the `@` that is no plain mailbox name");
    }
    if !is_domain(domain) {
        return Err("has something after the `@` that is no domain name");
    }
    Ok(())
}

/// `atext` of RFC 5322, section 3.2.3, and what RFC 6531 adds to it.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !invisible(c))
}

/// Characters of no width, by which two addresses could look the same.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && c.is_alphanumeric());
        (1..=63).contains(&label.len())
            && label.chars().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

/// E.164: `+`, country code, number, 15 digits at most.
fn phone(text: &str) -> Result<(), &'static str> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let fits = (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if fits {
        Ok(())
    } else {
        Err(
            "must be an E.164 number: `+`, country code and number, 7 to 15 digits, no spaces or brackets, such as `+15005550006`",
        )
    }
}

fn handle(text: &str) -> Result<(), &'static str> {
    if text.trim() != text || text.is_empty() || text.chars().any(is_unsafe) {
        return Err("must be a chat handle without control characters or spaces around it");
    }
    Ok(())
}

fn token(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.chars().any(|c| is_unsafe(c) || c.is_whitespace()) {
        return Err("must be a device token of 1 to 4096 bytes without spaces or line breaks");
    }
    Ok(())
}

/// Who speaks: a contact, or what the channel shows as sender (an e-mail address, a number, a short code or name, a handle).
pub(super) fn sender(channel: Option<Channel>, text: &str) -> Result<(), &'static str> {
    if ids::is_contact(text) {
        return Ok(());
    }
    if text.len() > MAX_ADDRESS {
        return Err("must be at most 4096 bytes");
    }
    match channel {
        Some(Channel::Email) => email(text),
        _ => handle(text).map_err(|_| "must not hold control characters or spaces around it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses() {
        for good in [
            "a@b.c",
            "ada@example.test",
            "a.b+c@x-y.example",
            "jörg@bücher.example",
            "x@localhost",
            "o'neil@x.y",
        ] {
            assert_eq!(email(good), Ok(()), "{good}");
        }
        let long = format!("{}@x.y", "a".repeat(65));
        let bad = [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@@b",
            "a@b@c",
            "a b@c.d",
            "a@b c",
            "a@b.c\r\nBcc: v@x",
            "\"a\r\nRCPT TO:<v>\"@b",
            "\"a\"@b.c",
            "Bank <ceo@bank.com>",
            "<a@b.c>",
            "a@-b.c",
            "a@b-.c",
            "a@b..c",
            "a@.b",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a@[127.0.0.1]",
            "a,b@c.d",
            "a@b.c\0",
            "a\u{202e}@b.c",
            "a@b.c, d@e.f",
            &long,
        ];
        for bad in bad {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn phone_numbers() {
        for good in ["+15005550006", "+4915112345678", "+1234567", "+123456789012345"] {
            assert_eq!(phone(good), Ok(()), "{good}");
        }
        let bad = [
            "",
            "+",
            "+1 (555) 123",
            "0015005550006",
            "15005550006",
            "+1234567890123456",
            "+123456",
            "+٣٤٥٦٧٨٩٠",
            "12345",
            "+0123456789",
        ];
        for bad in bad {
            assert!(phone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn handles_and_tokens() {
        assert!(handle("U123").is_ok() && handle("ada lovelace").is_ok());
        assert!(handle("").is_err() && handle(" x").is_err() && handle("a\nb").is_err());
        assert!(token("abc:DEF-_").is_ok());
        assert!(token("").is_err() && token("a b").is_err() && token("a\n").is_err());
        assert!(address(Channel::Push, &"x".repeat(5_000)).is_err());
    }

    #[test]
    fn an_address_tells_its_channel_or_nothing() {
        assert_eq!(infer("ada@example.test"), Some(Channel::Email));
        assert_eq!(infer("+15005550010"), Some(Channel::Sms));
        assert_eq!(infer("ada"), None);
        assert_eq!(infer("a@b@c"), None);
    }

    #[test]
    fn senders() {
        assert!(sender(Some(Channel::Sms), "ACME").is_ok() && sender(Some(Channel::Sms), "24736").is_ok());
        assert!(sender(Some(Channel::Email), "Acme <a@b.c>").is_err());
        assert!(sender(None, "a\r\nb").is_err());
        assert!(sender(Some(Channel::Email), "contact_k7TmPvQx").is_ok());
    }
}
