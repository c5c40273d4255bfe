//! What a refusal means: one table over reply codes, enhanced codes and the texts that matter.

use std::{io, time::Duration};

use super::reply::Reply;
use crate::contract::{Fault, SendError};

/// How far a hand-off had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connect,
    Secure,
    Greeting,
    Auth,
    Mail,
    Recipient,
    Data,
    /// The message is being written; the final dot is not out.
    Body,
    /// The final dot is out.
    Answer,
}

impl Stage {
    const fn title(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Secure => "the TLS handshake",
            Self::Greeting => "the greeting",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Body => "the message",
            Self::Answer => "the end of the message",
        }
    }
}

/// What went wrong at that stage.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection.
    Lost(io::Error),
    /// The TLS handshake.
    Tls(io::Error),
    /// No answer within this time.
    Late(Duration),
    /// The server broke the protocol.
    Garbled(&'static str),
    /// The server said no.
    Refused(Reply),
    /// It cannot be done with this server, whatever it would say.
    Unfit(SendError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A hand-off that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) trouble: Trouble,
}

impl Failure {
    /// Whether a kept connection may simply have been closed by the server in the meantime, which says nothing about the message.
    pub(super) fn is_stale_connection(&self) -> bool {
        let closed = match &self.trouble {
            Trouble::Lost(_) => true,
            Trouble::Refused(reply) => reply.code == 421,
            _ => false,
        };
        closed && matches!(self.stage, Stage::Mail | Stage::Recipient | Stage::Data)
    }
}

impl From<Failure> for SendError {
    fn from(Failure { stage, trouble }: Failure) -> Self {
        let title = stage.title();
        let lost = |what: String| {
            let error =
                Self::new(if stage == Stage::Answer { Fault::Ambiguous } else { Fault::Transient }, what);
            if stage == Stage::Answer { error.code("no-reply") } else { error }
        };
        match trouble {
            Trouble::Refused(reply) => refusal(stage, &reply),
            Trouble::Unfit(error) => error,
            Trouble::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                lost(format!("the server closed the connection at {title}")).source(error)
            }
            Trouble::Lost(error) => lost(format!("the connection failed at {title}: {error}")).source(error),
            Trouble::Tls(error) => lost(format!(
                "TLS with the server failed: {error}; if its certificate is of a private authority, name that in `ca_file`"
            ))
            .code("tls")
            .source(error),
            Trouble::Late(limit) => lost(format!("the server did not answer {title} within {limit:.1?}")),
            Trouble::Garbled(what) => lost(format!("the server {what} at {title}")),
        }
    }
}

/// Which replies a row is about. An empty list or word fits all.
struct Row {
    /// Reply codes; one digit stands for all that begin with it.
    replies: &'static [u16],
    /// Subject and detail of the enhanced code, or the subject alone. The class is the first digit of the reply.
    enhanced: &'static [(u16, Option<u16>)],
    /// One of these words is in the text, in any case.
    words: &'static [&'static str],
    fault: Fault,
    retire: bool,
    /// Seconds to wait when the server names no time.
    wait: Option<u64>,
}

const fn row(replies: &'static [u16], enhanced: &'static [(u16, Option<u16>)], fault: Fault) -> Row {
    Row { replies, enhanced, words: &[], fault, retire: false, wait: None }
}

impl Row {
    const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    const fn retire(mut self) -> Self {
        self.retire = true;
        self
    }

    const fn wait(mut self, seconds: u64) -> Self {
        self.wait = Some(seconds);
        self
    }

    fn fits(&self, reply: &Reply, text: &str) -> bool {
        let code = |have: &u16| *have == reply.code || *have == reply.code / 100;
        let status = |(subject, detail): &(u16, Option<u16>)| {
            reply
                .enhanced
                .is_some_and(|(_, have, which)| have == *subject && detail.is_none_or(|d| d == which))
        };
        (self.replies.is_empty() || self.replies.iter().any(code))
            && (self.enhanced.is_empty() || self.enhanced.iter().any(status))
            && (self.words.is_empty() || self.words.iter().any(|word| text.contains(word)))
    }
}

/// The first row that fits decides.
const TABLE: &[Row] = &[
    // RFC 4954 sections 4 and 6: credentials refused, too weak, or asked for.
    row(&[530, 534, 535, 538], &[], Fault::Unauthorized),
    row(&[5], &[(7, Some(8)), (7, Some(9)), (7, Some(11)), (7, Some(13))], Fault::Unauthorized),
    // RFC 3463 X.7.1 with the words of Postfix, Exim, Sendmail and Exchange: the server does not relay for us at all.
    row(&[550, 551, 553, 554], &[], Fault::Unauthorized).words(&[
        "relay access denied",
        "relaying denied",
        "relay denied",
        "relay not permitted",
        "relaying not",
        "unable to relay",
        "cannot relay",
    ]),
    // No RFC names a code for rates. X.7.28 is RFC 7372's neighbour in the IANA registry ("mail flood detected"); 452 4.5.3 is
    // RFC 3463's "too many recipients", used for rates; the words are those of Postfix, Exim and the large mailbox providers.
    row(&[4], &[], Fault::Throttled)
        .words(&["too many", "rate limit", "rate-limit", "ratelimit", "throttl", "too fast", "unusual rate"])
        .wait(120),
    row(&[4], &[(7, Some(28))], Fault::Throttled).wait(120),
    row(&[452], &[(5, Some(3))], Fault::Throttled).wait(120),
    row(&[421], &[(7, None)], Fault::Throttled).wait(120),
    // RFC 6647: greylisting. Section 5 advises servers to ask for about five minutes.
    row(&[450, 451], &[(7, Some(1))], Fault::Transient).wait(300),
    row(&[4], &[], Fault::Transient).words(&["greylist", "graylist", "grey-list", "gray-list"]).wait(300),
    // RFC 3463 X.2.2: the mailbox is full, which passes.
    row(&[552, 550, 554], &[(2, Some(2))], Fault::Transient),
    // RFC 3463 X.3.4, X.2.3, X.6: too big, or content that is not taken.
    row(&[5], &[(3, Some(4)), (2, Some(3)), (6, None)], Fault::Rejected),
    row(&[552], &[], Fault::Rejected).words(&["size", "too big", "too large"]),
    // RFC 5321 section 4.2.3 (552: exceeded storage allocation) from a server without enhanced codes.
    row(&[552], &[], Fault::Transient),
    // RFC 3463 X.7: policy, and RFC 7372's X.7.20 to X.7.27 on SPF, DKIM, DMARC. About us, not about the address.
    row(&[5], &[(7, None)], Fault::Rejected),
    // RFC 3463 X.1.7, X.1.8: our own address is refused.
    row(&[5], &[(1, Some(7)), (1, Some(8))], Fault::Rejected),
    // RFC 3463 X.1.1, X.1.2, X.1.3, X.1.6, X.2.1 and RFC 7505's X.1.10 (null MX): the address is dead.
    row(
        &[550, 551, 553, 554, 556],
        &[(1, Some(1)), (1, Some(2)), (1, Some(3)), (1, Some(6)), (1, Some(10)), (2, Some(1))],
        Fault::BadRecipient,
    )
    .retire(),
    // RFC 5321 section 4.2.2: syntax, unknown commands and parameters.
    row(&[500, 501, 502, 503, 504, 555], &[], Fault::Rejected),
];

/// Decides on a refusal.
pub(super) fn refusal(stage: Stage, reply: &Reply) -> SendError {
    let text = reply.text().to_lowercase();
    let row = TABLE.iter().find(|row| row.fits(reply, &text));
    let permanent = reply.code / 100 == 5;
    let (fault, retire) = match stage {
        // The server has not given a verdict that the protocol knows here: it may have taken the message.
        Stage::Answer if !matches!(reply.code / 100, 4 | 5) => (Fault::Ambiguous, false),
        // Refused before a message was named (RFC 5321 section 3.1): nothing will go through.
        Stage::Greeting | Stage::Secure | Stage::Auth if permanent => (Fault::Unauthorized, false),
        _ if !permanent => (row.map_or(Fault::Transient, |row| row.fault), false),
        // At MAIL FROM the server judges our address, not the recipient's.
        Stage::Mail if row.is_none_or(|row| row.fault == Fault::BadRecipient) => (Fault::Rejected, false),
        // The recipient was taken before: what is refused now is the message.
        Stage::Data | Stage::Body | Stage::Answer if row.is_none() => (Fault::Rejected, false),
        _ => row.map_or((Fault::BadRecipient, false), |row| (row.fault, row.retire)),
    };
    let wait = if matches!(fault, Fault::Transient | Fault::Throttled) {
        named_wait(&text).or(row.and_then(|row| row.wait).map(Duration::from_secs))
    } else {
        None
    };
    let said = format!("the server refused at {}: {} {}", stage.title(), reply.code, reply.text());
    let error = SendError::new(fault, said).code(reply.word()).retry_after(wait);
    if retire { error.retire() } else { error }
}

/// The wait in texts such as `retry in 300 seconds`, `try again in 5 minutes`, `come back in 00:05:00`; at most a day.
fn named_wait(text: &str) -> Option<Duration> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || "(),;".contains(c)).chain([""]).collect();
    let seconds = words.windows(2).find_map(|pair| {
        let parts = pair[0].trim_end_matches('.').split(':').map(|part| part.parse::<u64>().ok());
        let parts: Vec<u64> = parts.collect::<Option<_>>()?;
        match parts.as_slice() {
            [number] if pair[1].starts_with("sec") => Some(*number),
            [number] if pair[1].starts_with("min") => number.checked_mul(60),
            [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] => Some(hours * 3600 + minutes * 60 + seconds),
            _ => None,
        }
    })?;
    (1..=86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}
