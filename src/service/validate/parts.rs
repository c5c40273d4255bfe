//! What only an e-mail carries: files and header fields.

use headlessly_providers::contract::Attachment;

use super::{Violations, is_unsafe, nth};

/// Most files of one message, and most bytes of all of them.
const MAX_FILES: usize = 20;
const MAX_FILE_BYTES: usize = 3 * 1024 * 1024;
const MAX_HEADERS: usize = 50;
/// A line without its end (RFC 5322, section 2.1.1).
const MAX_HEADER: usize = 998;

/// Fields that the service, the provider or the servers on the way set.
const RESERVED: [&str; 20] = [
    "authentication-results",
    "bcc",
    "cc",
    "date",
    "delivered-to",
    "dkim-signature",
    "domainkey-signature",
    "errors-to",
    "from",
    "message-id",
    "mime-version",
    "received",
    "received-spf",
    "return-path",
    "sender",
    "subject",
    "to",
    "x-envelope-from",
    "x-envelope-to",
    "x-original-to",
];
const RESERVED_PREFIXES: [&str; 3] = ["arc-", "content-", "resent-"];

/// Names that are devices on some systems, whatever follows the dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

pub(super) fn attachments(violations: &mut Violations, files: &[Attachment]) {
    if files.len() > MAX_FILES {
        violations.add("attachments", format!("must be at most {MAX_FILES}; there are {}", files.len()));
        return;
    }
    if files.iter().map(|file| file.content.len()).sum::<usize>() > MAX_FILE_BYTES {
        violations.add("attachments", "must be at most 3 MiB together; link to larger files in the text");
    }
    for (index, file) in files.iter().enumerate() {
        let field = nth("attachments", index);
        violations.note(&format!("{field}.name"), file_name(&file.name));
        if !is_media_type(&file.content_type) {
            violations.add(format!("{field}.content_type"), "must be a media type such as `application/pdf`");
        }
        if file.content.is_empty() {
            violations.add(format!("{field}.content"), "must not be empty");
        }
        if file.content_id.as_deref().is_some_and(|id| !is_content_id(id)) {
            violations.add(format!("{field}.content_id"), "must be 1 to 255 letters, digits and `.-_+@`");
        }
    }
}

fn file_name(name: &str) -> Result<(), &'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let device = DEVICES.iter().any(|device| {
        let rest = stem.strip_prefix(device);
        let numbered = matches!(*device, "com" | "lpt");
        rest.is_some_and(
            |rest| if numbered { matches!(rest.as_bytes(), [b'0'..=b'9']) } else { rest.is_empty() },
        )
    });
    if name.is_empty() || name.len() > 255 {
        Err("must be 1 to 255 bytes")
    } else if name.chars().any(is_unsafe) {
        Err("must not hold control characters or marks that change the direction of text")
    } else if name.contains(['/', '\\']) || name.trim() != name || name == "." || name == ".." || device {
        Err("must be a plain file name without a path, such as `invoice.pdf`")
    } else {
        Ok(())
    }
}

/// `type/subtype` and parameters (RFC 2045, section 5.1), on one line of ASCII.
fn is_media_type(text: &str) -> bool {
    let mut parts = text.split(';');
    let kind = parts.next().unwrap_or_default();
    let kind = kind.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub.trim_end()));
    let parameter = |part: &str| {
        part.trim().split_once('=').is_some_and(|(name, value)| {
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            is_token(name) && !bare.is_empty() && !bare.contains(['"', '\\'])
        })
    };
    text.len() <= 255 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && kind && parts.all(parameter)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

fn is_content_id(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+@".contains(&byte))
}

pub(super) fn headers(violations: &mut Violations, headers: &[(String, String)]) {
    if headers.len() > MAX_HEADERS {
        violations.add("headers", format!("must be at most {MAX_HEADERS}; there are {}", headers.len()));
        return;
    }
    for (index, (name, value)) in headers.iter().enumerate() {
        violations.note(&nth("headers", index), header(name, value));
    }
}

fn header(name: &str, value: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    // Printable ASCII but the colon (RFC 5322, section 3.6.8).
    if name.is_empty()
        || name.len() > 128
        || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
    {
        return Err("the name must be 1 to 128 printable ASCII characters without space or colon".to_owned());
    }
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
    {
        return Err(format!("`{name}` is set by the service; leave it out"));
    }
    if name.len() + value.len() + 2 > MAX_HEADER {
        return Err(format!("`{name}` must be at most {MAX_HEADER} bytes with its value"));
    }
    if value.chars().any(is_unsafe) {
        return Err(format!("the value of `{name}` must not hold line breaks or control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(name: &str, content_type: &str, size: usize) -> Attachment {
        let content = Bytes::from(vec![0; size]);
        Attachment { name: name.to_owned(), content_type: content_type.to_owned(), content, content_id: None }
    }

    fn violations(files: &[Attachment]) -> Vec<String> {
        let mut violations = Violations::default();
        attachments(&mut violations, files);
        violations.0.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn files() {
        let pdf = "application/pdf";
        assert_eq!(
            violations(&[file("invoice 1.pdf", "text/plain; charset=utf-8", 1)]),
            Vec::<String>::new()
        );
        assert_eq!(violations(&[file("concert.pdf", pdf, 1)]), Vec::<String>::new());
        for bad in
            ["", "../../x", "a/b", "a\\b", "..", "con", "NUL.txt", "com1", "a\nb", " a", &"x".repeat(300)]
        {
            assert_eq!(violations(&[file(bad, pdf, 1)]), ["attachments[0].name"], "{bad}");
        }
        for bad in ["", "text", "text/html; x=\r\n", "text/", "/html", "text/html; x", "text/html;=y"] {
            assert_eq!(violations(&[file("a", bad, 1)]), ["attachments[0].content_type"], "{bad}");
        }
        assert_eq!(violations(&[file("a", pdf, 0)]), ["attachments[0].content"]);
        assert_eq!(violations(&[file("a", pdf, MAX_FILE_BYTES + 1)]), ["attachments"]);
        assert_eq!(violations(&vec![file("a", pdf, 1); 21]), ["attachments"]);
    }

    #[test]
    fn header_fields() {
        assert_eq!(header("X-Order", "42"), Ok(()));
        assert_eq!(header("List-Unsubscribe", "<https://x.test/u>"), Ok(()));
        for bad in
            ["Bcc", "received", "DKIM-Signature", "Content-Type", "ARC-Seal", "a b", "a:b", "", "ä", "a\r\nb"]
        {
            assert!(header(bad, "x").is_err(), "{bad}");
        }
        assert!(header("X-A", "b\r\nBcc: v@x").is_err());
        assert!(header("X-A", &"b".repeat(998)).is_err());
        let mut violations = Violations::default();
        headers(&mut violations, &vec![("X-A".to_owned(), "b".to_owned()); 1_000]);
        assert!(violations.names("headers"));
    }
}
