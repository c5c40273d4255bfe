//! What a mail program reads is what was handed over.

use bytes::Bytes;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;
use crate::{
    contract::{Attachment, Party, Timestamp},
    email::smtp::compose::{Letter, compose},
};

fn letter(dispatch: &Dispatch) -> Letter {
    let mut dispatch = dispatch.clone();
    dispatch.sender.get_or_insert(party("no-reply@acme.test", Some("Acme")));
    compose(&dispatch, None).unwrap()
}

fn party(address: &str, name: Option<&str>) -> Party {
    Party { address: address.to_owned(), name: name.map(str::to_owned) }
}

fn file(name: &str, content_type: &str, content: &[u8], content_id: Option<&str>) -> Attachment {
    Attachment {
        name: name.to_owned(),
        content_type: content_type.to_owned(),
        content: Bytes::copy_from_slice(content),
        content_id: content_id.map(str::to_owned),
    }
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

#[test]
fn everything_at_once_in_unicode() {
    let mut message = mail();
    message.sender = Some(party("grüße@bücher.test", Some("Bücher & Söhne, \"Köln\"")));
    message.recipient = party("ann@example.test", Some("Ann Österreich 安"));
    message.subject = Some(
        "Ihre Bestellung № 42 ist unterwegs 📦, danke für Ihren Einkauf bei uns und bis bald".to_owned(),
    );
    message.body = "Guten Tag!\nZeile zwei\r\n.Punkt\rEnde — 日本語".to_owned();
    message.html_body = Some("<p>Guten Tag! <img src=\"cid:logo@acme\"> 日本語</p>".to_owned());
    let binary: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    message.attachments = vec![
        file("Rechnung für März.pdf", "application/pdf", &binary, None),
        file("logo.png", "image/png", &[1, 2, 3], Some("logo@acme")),
        file("a \"quoted\"; name.txt", "text/plain; charset=utf-8", b"From here\n.\n", None),
        file("nested.eml", "message/rfc822", b"From: x\r\n\r\n.\r\n", None),
    ];
    let bytes = letter(&message).bytes().to_vec();
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(parsed.subject(), message.subject.as_deref());
    let from = parsed.from().unwrap().first().unwrap();
    assert_eq!(from.name(), Some("Bücher & Söhne, \"Köln\""));
    assert_eq!(from.address(), Some("grüße@xn--bcher-kva.test"));
    let to = parsed.to().unwrap().first().unwrap();
    assert_eq!((to.name(), to.address()), (Some("Ann Österreich 安"), Some("ann@example.test")));
    assert_eq!(lines(&parsed.body_text(0).unwrap()), lines(&message.body));
    assert_eq!(parsed.body_html(0).unwrap(), message.html_body.as_deref().unwrap());
    let files: Vec<_> = parsed.attachments().collect();
    assert_eq!(files.len(), 4);
    for original in &message.attachments {
        let found = files.iter().find(|part| part.attachment_name() == Some(&original.name)).unwrap();
        assert_eq!(found.contents(), &original.content[..], "{}", original.name);
        assert_eq!(found.content_id(), original.content_id.as_deref());
    }
    let text = String::from_utf8(bytes).unwrap();
    let order = ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html"];
    let places: Vec<usize> = order.iter().map(|word| text.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn text_that_looks_encoded_stays_as_it_is() {
    for subject in ["=?utf-8?q?hi?= there", "a =?utf-8?b?aGk=?=", "=?x", "100 % = 100=0D=0A"] {
        let bytes = letter(&Dispatch { subject: Some(subject.to_owned()), ..mail() }).bytes().to_vec();
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(parsed.subject(), Some(subject));
    }
}

#[test]
fn a_plain_text_is_one_part() {
    let text = String::from_utf8(letter(&mail()).bytes().to_vec()).unwrap();
    assert!(!text.contains("multipart"));
    assert!(text.contains("Content-Type: text/plain; charset=utf-8\r\n"));
    assert!(text.contains("X-Hly-Message-Id: message_k7TmPvQx\r\n"));
    assert!(text.contains("Date: Wed, 18 Nov 2026 "), "{text}");
    assert!(text.is_ascii());
    for now in [Timestamp(i64::MIN), Timestamp(i64::MAX)] {
        letter(&Dispatch { now, ..mail() });
    }
}

#[test]
fn the_message_id_follows_from_the_key() {
    let first = letter(&mail());
    assert_eq!(letter(&Dispatch { attempt: 2, ..mail() }).message_id, first.message_id);
    let other = Dispatch { idempotency_key: "message_k7TmPvQx:2".to_owned(), ..mail() };
    assert_ne!(letter(&other).message_id, first.message_id);
    let odd = Dispatch { message_id: "a b<c>@\r\n".repeat(100), ..mail() };
    let id = letter(&odd).message_id;
    assert!(id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    assert_eq!(id.matches('@').count(), 1);
}

#[test]
fn a_thread_keeps_together() {
    let answer = Dispatch {
        thread: Some("thread_a".to_owned()),
        in_reply_to: Some("<x1@mail.test>".to_owned()),
        ..mail()
    };
    let text = String::from_utf8(letter(&answer).bytes().to_vec()).unwrap();
    assert!(text.contains("In-Reply-To: <x1@mail.test>\r\n"));
    assert!(text.contains("References: <thread_a@acme.test>\r\n <x1@mail.test>\r\n"));
}

#[test]
fn further_headers() {
    let url = format!("<https://edge.example/u/{}>, <mailto:u@acme.test>", "x".repeat(200));
    let headers = [
        ("List-Unsubscribe", url.as_str()),
        ("X-Tag", "one"),
        ("X-Tag", "two"),
        ("X-Greeting", "Grüße aus Köln"),
        ("X-Empty", ""),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let text = String::from_utf8(letter(&Dispatch { headers, ..mail() }).bytes().to_vec()).unwrap();
    assert!(text.contains(&format!("<https://edge.example/u/{}>,", "x".repeat(200))));
    assert!(text.contains("X-Tag: one\r\nX-Tag: two\r\n"));
    assert!(text.contains("X-Greeting: =?utf-8?b?R3LDvMOfZQ==?= aus =?utf-8?b?S8O2bG4=?=\r\n"), "{text}");
    assert!(text.contains("X-Empty:\r\n"));
}

#[test]
fn bad_input_is_named() {
    let header =
        |name: &str, value: &str| Dispatch { headers: vec![(name.to_owned(), value.to_owned())], ..mail() };
    let named = |name: &str| file(name, "text/plain", b"", None);
    let rows = [
        (Dispatch { sender: None, ..mail() }, "sender"),
        (Dispatch { sender: Some(party("nobody", None)), ..mail() }, "sender"),
        (Dispatch { sender: Some(party("a@b.test", Some("a\r\nBcc: x@y.test"))), ..mail() }, "sender"),
        (Dispatch { subject: Some("a\r\nBcc: x@y.test".to_owned()), ..mail() }, "subject"),
        (header("Bcc", "x@y.test"), "Bcc"),
        (header("DKIM-Signature", "x"), "DKIM-Signature"),
        (header("Content-Type", "x"), "Content-Type"),
        (header("received", "x"), "received"),
        (header("X-Hly-Message-Id", "x"), "X-Hly-Message-Id"),
        (header("X-A\r\nBcc", "x"), "headers"),
        (header("X A", "x"), "headers"),
        (header("X:A", "x"), "headers"),
        (header("X-A", "x\nBcc: x@y.test"), "X-A"),
        (header("X-A", &"x".repeat(10_000)), "X-A"),
        (header("X-A", &"x".repeat(1000)), "998"),
        (Dispatch { attachments: vec![named("a/b")], ..mail() }, "attachments.name"),
        (Dispatch { attachments: vec![named("a\r\nb")], ..mail() }, "attachments.name"),
        (Dispatch { attachments: vec![file("a", "te xt", b"", None)], ..mail() }, "attachments.content_type"),
        (
            Dispatch { attachments: vec![file("a", "text/plain\r\nX: y", b"", None)], ..mail() },
            "content_type",
        ),
        (Dispatch { attachments: vec![file("a", "text/plain", b"", Some("a>b"))], ..mail() }, "content_id"),
    ];
    for (mut message, name) in rows {
        if name != "sender" {
            message.sender = Some(party("no-reply@acme.test", None));
        }
        let error = compose(&message, None).unwrap_err();
        assert_eq!(error.fault, Fault::Rejected, "{name}: {error}");
        assert!(error.detail.contains(name), "{name}: {error}");
    }
    let long = format!("{}@b.test", "a".repeat(65));
    for address in
        ["", "ann", "@b.test", "ann@", "a b@c.test", "a@b.test\r\nRCPT", "<a@b.test>", "\"a\"@b.test", &long]
    {
        let message =
            Dispatch { sender: Some(party("a@b.test", None)), recipient: party(address, None), ..mail() };
        assert_eq!(fault(&compose(&message, None)), Fault::BadRecipient, "{address:?}");
    }
}

/// Ends of a message that one server or another takes for the final dot.
const SMUGGLING: [&str; 8] =
    ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\n.\r\n"];

fn assert_no_early_end(letter: &Letter) {
    let wire = letter.on_the_wire();
    for (at, byte) in wire.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(wire.get(at + 1), Some(&b'\n'), "a bare CR at {at}"),
            b'\n' => assert_eq!(wire[at - 1], b'\r', "a bare LF at {at}"),
            _ => {}
        }
    }
    let end = wire.len() - 5;
    for sequence in SMUGGLING {
        let found = wire.windows(sequence.len()).position(|window| window == sequence.as_bytes());
        assert!(found.is_none_or(|at| at >= end), "{sequence:?} at {found:?}");
    }
    assert_eq!(&wire[end..], b"\r\n.\r\n");
}

#[test]
fn no_part_can_end_the_message() {
    for sequence in SMUGGLING {
        let evil = format!("a{sequence}MAIL FROM:<x@y.test>\r\nRCPT TO:<z@y.test>\r\nDATA{sequence}");
        let message = Dispatch {
            body: evil.clone(),
            html_body: Some(evil.clone()),
            attachments: vec![
                file("a.txt", "text/plain", evil.as_bytes(), None),
                file("b.txt", "text/html", evil.as_bytes(), Some("b")),
            ],
            ..mail()
        };
        let letter = letter(&message);
        assert_no_early_end(&letter);
        let parsed = MessageParser::default().parse(letter.bytes()).unwrap();
        assert_eq!(lines(&parsed.body_text(0).unwrap()), lines(&evil));
        for part in parsed.attachments() {
            assert_eq!(part.contents(), evil.as_bytes());
        }
    }
}

#[tokio::test]
async fn the_server_sees_one_message() {
    use super::server::{Act, Server};
    let server = Server::start(&["PIPELINING"], |_| Act::Usual).await;
    let smtp = provider(server.port, "");
    for sequence in SMUGGLING {
        let body = format!("{sequence}.{sequence}{sequence}");
        smtp.send(&Dispatch { body, ..mail() }).await.unwrap();
    }
    assert_eq!(server.mails().len(), SMUGGLING.len());
    for mail in server.mails() {
        let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("no-reply@acme.test"));
        assert!(mail.raw.ends_with(b"\r\n.\r\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Headers survive: whatever the words are, the program reads the same.
    #[test]
    fn words_come_back(
        words in proptest::collection::vec("[^\\p{C}\\p{Z}\\s]{1,40}", 1..20),
        name in "[^\\p{C}\\p{Z}\\s]{1,20}( [^\\p{C}\\p{Z}\\s]{1,20}){0,3}",
    ) {
        let subject = words.join(" ");
        let message = Dispatch {
            subject: Some(subject.clone()),
            recipient: party("ann@example.test", Some(&name)),
            ..mail()
        };
        let letter = letter(&message);
        let parsed = MessageParser::default().parse(letter.bytes()).unwrap();
        prop_assert_eq!(parsed.subject(), Some(subject.as_str()));
        prop_assert_eq!(parsed.to().unwrap().first().unwrap().name(), Some(name.as_str()));
        prop_assert_eq!(parsed.headers_raw().count(), 9);
    }

    /// Texts survive, with every line end as CRLF.
    #[test]
    fn texts_come_back(body in "([\\r\\n.= a-z\\t]|\\PC){0,300}", html in proptest::option::of("([\\r\\n.<>]|\\PC){0,300}")) {
        let message = Dispatch { body: body.clone(), html_body: html.clone(), ..mail() };
        let letter = letter(&message);
        assert_no_early_end(&letter);
        prop_assert!(letter.bytes().is_ascii());
        let parsed = MessageParser::default().parse(letter.bytes()).unwrap();
        // A single part ends with the line end of the message: that one is not part of the text.
        let (read, wanted) = (lines(&parsed.body_text(0).unwrap()), lines(&body));
        prop_assert_eq!(read.trim_end_matches('\n'), wanted.trim_end_matches('\n'));
        if let Some(html) = html {
            prop_assert_eq!(lines(&parsed.body_html(0).unwrap()), lines(&html));
        }
    }
}
