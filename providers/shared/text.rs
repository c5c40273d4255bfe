//! Vendors' words, made fit for a log line and for Explain.

/// Longest sentence of a vendor that is kept, in characters.
pub const SENTENCE_LIMIT: usize = 300;

/// One line: control characters become spaces, what is too long is cut with an ellipsis.
pub fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(SENTENCE_LIMIT).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

/// The text with every occurrence of these secrets blotted out.
pub fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    secrets
        .into_iter()
        // Blotting out a very short secret would garble sentences and reveal it by its absence.
        .filter(|secret| secret.len() >= 4)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        assert_eq!(sentence(" a\r\nb\u{7}c "), "a  b c");
        assert_eq!(sentence(&"é".repeat(301)).chars().count(), 301);
        assert_eq!(sentence(&"é".repeat(300)).chars().count(), 300);
    }

    #[test]
    fn blotted() {
        assert_eq!(redact("key s3cret is bad", ["s3cret", "k"]), "key [redacted] is bad");
    }
}
