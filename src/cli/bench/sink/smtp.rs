//! A relay: as much of RFC 5321 as our own client speaks, with PIPELINING (RFC 2920).

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{super::token::Tokens, MAX, find};

const HELLO: &[u8] = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
const OK: &[u8] = b"250 2.0.0 ok\r\n";

pub(super) async fn serve(mut socket: TcpStream, tokens: Arc<Tokens>, delay: Duration) -> io::Result<()> {
    let mut talk = Talk::default();
    let (mut read, mut answer) = (Vec::with_capacity(16 << 10), Vec::new());
    socket.write_all(b"220 sink ESMTP\r\n").await?;
    loop {
        while let Some(heard) = talk.hear(&mut read, &mut answer) {
            match heard {
                Heard::Mail(mail) => {
                    tokens.arrived(&mail);
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                }
                Heard::Quit => return socket.write_all(&answer).await,
                Heard::Command => {}
            }
        }
        socket.write_all(&answer).await?;
        answer.clear();
        if read.len() > MAX || socket.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}

/// Where the dialogue stands.
#[derive(Default)]
struct Talk {
    /// A mail is coming, up to the dot.
    data: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Command,
    Mail(Vec<u8>),
    Quit,
}

impl Talk {
    /// Takes the next command or mail out of what was read and adds what is answered; `None` when there is none yet.
    fn hear(&mut self, read: &mut Vec<u8>, answer: &mut Vec<u8>) -> Option<Heard> {
        if self.data {
            let (end, next) = if read.starts_with(b".\r\n") {
                (0, 3)
            } else {
                find(read, b"\r\n.\r\n").map(|at| (at + 2, at + 5))?
            };
            let mail = read[..end].to_vec();
            read.drain(..next);
            self.data = false;
            answer.extend_from_slice(OK);
            return Some(Heard::Mail(mail));
        }
        let end = read.iter().position(|byte| *byte == b'\n')? + 1;
        let verb = read.get(..4).unwrap_or_default().to_ascii_uppercase();
        read.drain(..end);
        let reply: &[u8] = match verb.as_slice() {
            b"EHLO" => HELLO,
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => OK,
            b"DATA" => {
                self.data = true;
                b"354 go on\r\n"
            }
            b"QUIT" => b"221 2.0.0 bye\r\n",
            _ => b"502 5.5.1 not known here\r\n",
        };
        answer.extend_from_slice(reply);
        Some(if verb == b"QUIT" { Heard::Quit } else { Heard::Command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard and answered, the bytes coming in pieces of this size.
    fn talk(text: &[u8], piece: usize) -> (Vec<Heard>, String) {
        let (mut talk, mut read, mut answer, mut heard) =
            (Talk::default(), Vec::new(), Vec::new(), Vec::new());
        for piece in text.chunks(piece) {
            read.extend_from_slice(piece);
            heard.extend(std::iter::from_fn(|| talk.hear(&mut read, &mut answer)));
        }
        (heard, String::from_utf8_lossy(&answer).into_owned())
    }

    #[test]
    fn a_mail_is_heard_however_it_comes() {
        let text = b"EHLO me\r\nmail FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: x\r\n\r\n..\r\nbody\r\n.\r\nRSET\r\nQUIT\r\n";
        for piece in [1, 3, 7, text.len()] {
            let (heard, answer) = talk(text, piece);
            assert_eq!(heard.len(), 7, "in pieces of {piece}");
            assert_eq!(heard[4], Heard::Mail(b"Subject: x\r\n\r\n..\r\nbody\r\n".to_vec()));
            assert_eq!(heard[6], Heard::Quit);
            assert_eq!(answer.matches("\r\n").count(), 5 + 6, "{answer}");
        }
    }

    #[test]
    fn an_empty_mail_ends_with_its_dot() {
        let (heard, answer) = talk(b"DATA\r\n.\r\nNONSENSE\r\n", 2);
        assert_eq!(heard, [Heard::Command, Heard::Mail(Vec::new()), Heard::Command]);
        assert!(answer.ends_with("502 5.5.1 not known here\r\n"), "{answer}");
    }
}
