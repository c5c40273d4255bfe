//! Replies of a server (RFC 5321 section 4.2), read with limits.

/// Longest line of a reply. The RFC says 512 bytes; real servers put links into refusals.
const MAX_LINE: usize = 4 * 1024;
/// Longest reply, all lines together.
const MAX_REPLY: usize = 64 * 1024;

/// An enhanced status code (RFC 3463): class, subject, detail.
pub(super) type Enhanced = (u8, u16, u16);

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) enhanced: Option<Enhanced>,
    /// The texts of its lines, without codes and control characters.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// 2xx.
    pub(super) fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// All lines in one, at most 300 characters.
    pub(super) fn text(&self) -> String {
        let text = self.lines.join(" ");
        match text.char_indices().nth(300) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }

    /// The code for the record: the enhanced one when there is one.
    pub(super) fn word(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => format!("{class}.{subject}.{detail}"),
            None => self.code.to_string(),
        }
    }
}

/// Takes one complete reply from the front of `buffer`; `None` while it is not complete.
///
/// # Errors
/// What the server did against the protocol. A bare CR or LF is one of these: readers that disagree on line ends are what
/// smuggling lives on.
pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Reply>, &'static str> {
    let mut start = 0;
    let mut reply: Option<Reply> = None;
    loop {
        if start > MAX_REPLY {
            return Err("sent a reply of more than 64 KiB");
        }
        let rest = &buffer[start..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_LINE { Err("sent a line of more than 4 KiB") } else { Ok(None) };
        };
        if end > MAX_LINE {
            return Err("sent a line of more than 4 KiB");
        }
        let line = rest[..end].strip_suffix(b"\r").ok_or("sent a line that does not end with CRLF")?;
        let (code, last, text) = split(line)?;
        match &mut reply {
            Some(reply) if reply.code != code => return Err("sent a reply whose lines have different codes"),
            Some(reply) => {
                let text = if reply.enhanced.is_some() { enhanced(text).1 } else { text };
                reply.lines.push(clean(text));
            }
            None => {
                let (enhanced, text) = enhanced(text);
                reply = Some(Reply { code, enhanced, lines: vec![clean(text)] });
            }
        }
        start += end + 1;
        if last {
            buffer.drain(..start);
            return Ok(reply);
        }
    }
}

/// The code of a line, whether it is the last, and its text.
fn split(line: &[u8]) -> Result<(u16, bool, &[u8]), &'static str> {
    const NOT_SMTP: &str = "sent something that is not an SMTP reply";
    let [first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9', rest @ ..] = line else {
        return Err(NOT_SMTP);
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let code = digit(first) * 100 + digit(second) * 10 + digit(third);
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(NOT_SMTP),
    }
}

/// Splits `5.1.1 text`.
fn enhanced(text: &[u8]) -> (Option<Enhanced>, &[u8]) {
    let (word, rest) = match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &text[text.len()..]),
    };
    match std::str::from_utf8(word).ok().and_then(parse_enhanced) {
        Some(code) => (Some(code), rest),
        None => (None, text),
    }
}

fn parse_enhanced(word: &str) -> Option<Enhanced> {
    let mut parts = word.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |part: &str| (1..=3).contains(&part.len()).then(|| part.parse::<u16>().ok()).flatten();
    let class = match class {
        "2" => 2,
        "4" => 4,
        "5" => 5,
        _ => return None,
    };
    if parts.next().is_some() {
        return None;
    }
    Some((class, number(subject)?, number(detail)?))
}

fn clean(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &str) -> Result<Option<Reply>, &'static str> {
        take(&mut bytes.as_bytes().to_vec())
    }

    #[test]
    fn one_line_and_many_lines() {
        let reply = read("550 5.1.1 <a@b.test>: no such user\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.enhanced), (550, Some((5, 1, 1))));
        assert_eq!(reply.text(), "<a@b.test>: no such user");
        assert_eq!(reply.word(), "5.1.1");
        let reply = read("550-5.7.26 one\r\n550-5.7.26 two\r\n550 5.7.26 three\r\n").unwrap().unwrap();
        assert_eq!((reply.enhanced, reply.text()), (Some((5, 7, 26)), "one two three".to_owned()));
        let reply = read("220\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.word()), (220, "220".to_owned()));
        assert!(read("250 10.0.0.1 welcomes you\r\n").unwrap().unwrap().enhanced.is_none());
    }

    #[test]
    fn what_follows_stays() {
        let mut buffer = b"250 ok\r\n354 go".to_vec();
        assert_eq!(take(&mut buffer).unwrap().unwrap().code, 250);
        assert_eq!(buffer, b"354 go");
        assert_eq!(take(&mut buffer).unwrap(), None);
    }

    #[test]
    fn against_the_protocol() {
        for bytes in ["hello\r\n", "250 ok\n", "25\r\n", "650 x\r\n", "250_x\r\n", "250-a\r\n550 b\r\n"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        assert!(read(&"2".repeat(MAX_LINE + 1)).is_err());
        assert!(read(&format!("250 {}\r\n", "x".repeat(MAX_LINE))).is_err());
        assert!(read(&"250-x\r\n".repeat(20_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = b"250-5.1".to_vec();
            buffer.extend(bytes);
            let _ = take(&mut buffer);
        }
    }
}
