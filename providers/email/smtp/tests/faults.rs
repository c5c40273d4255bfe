//! Refusals, silence, and nonsense.

use std::time::Duration;

use super::{
    server::{Act, Server, say},
    *,
};
use crate::email::smtp::{
    errors::{Stage, refusal},
    reply,
};

fn judge(stage: Stage, line: &str) -> SendError {
    let reply = reply::take(&mut format!("{line}\r\n").into_bytes()).unwrap().unwrap();
    refusal(stage, &reply)
}

#[test]
fn the_table() {
    use Fault::{BadRecipient, Rejected, Throttled, Transient, Unauthorized};
    let rows = [
        ("421 4.3.2 system not accepting messages", Transient, false, None),
        ("421 4.7.0 try again later", Throttled, false, Some(120)),
        ("421 too many connections from your host", Throttled, false, Some(120)),
        ("450 4.2.0 <a@b.test>: Recipient address rejected: Greylisted", Transient, false, Some(300)),
        ("450 4.7.1 try later", Transient, false, Some(300)),
        ("451 4.7.1 Greylisting in action, please come back in 00:04:30", Transient, false, Some(270)),
        ("451 4.7.1 please try again in 60 seconds.", Transient, false, Some(60)),
        ("451 4.7.1 try again in 5 minutes", Transient, false, Some(300)),
        ("451 4.3.0 local problem", Transient, false, None),
        ("452 4.2.2 mailbox full", Transient, false, None),
        ("452 4.3.1 no disk", Transient, false, None),
        ("452 4.5.3 too many recipients", Throttled, false, Some(120)),
        ("450 4.7.28 unusual rate of mail", Throttled, false, Some(120)),
        ("454 4.7.0 temporary authentication failure", Transient, false, None),
        ("450 5.1.1 the first digit decides", Transient, false, None),
        ("550 5.1.1 no such user", BadRecipient, true, None),
        ("550 5.1.2 no such host", BadRecipient, true, None),
        ("553 5.1.3 bad syntax", BadRecipient, true, None),
        ("551 5.1.6 moved", BadRecipient, true, None),
        ("556 5.1.10 null MX", BadRecipient, true, None),
        ("550 5.2.1 disabled", BadRecipient, true, None),
        ("550 no such user here", BadRecipient, false, None),
        ("550 5.4.1 somewhere", BadRecipient, false, None),
        ("550 5.5.0 mailbox unavailable", BadRecipient, false, None),
        ("552 5.2.2 mailbox full", Transient, false, None),
        ("552 mailbox full", Transient, false, None),
        ("552 5.3.4 message too big", Rejected, false, None),
        ("552 message exceeds fixed size", Rejected, false, None),
        ("554 5.6.0 bad content", Rejected, false, None),
        ("501 5.5.4 syntax", Rejected, false, None),
        ("555 5.5.4 unknown parameter", Rejected, false, None),
        ("550 5.7.1 message refused by policy", Rejected, false, None),
        ("550 5.7.26 unauthenticated sender", Rejected, false, None),
        ("550 5.1.8 bad sender", Rejected, false, None),
        ("554 5.7.1 <a@b.test>: Relay access denied", Unauthorized, false, None),
        ("550 5.1.1 refused by relay7.example.test", BadRecipient, true, None),
        ("530 5.7.0 authentication required", Unauthorized, false, None),
        ("535 5.7.8 bad credentials", Unauthorized, false, None),
        ("534 5.7.9 too weak", Unauthorized, false, None),
        ("554 5.7.8 bad credentials", Unauthorized, false, None),
    ];
    for (line, fault, retire, wait) in rows {
        let error = judge(Stage::Recipient, line);
        let wait = wait.map(Duration::from_secs);
        assert_eq!((error.fault, error.retire_recipient, error.retry_after), (fault, retire, wait), "{line}");
        assert!(error.code.is_some() && error.detail.contains("RCPT TO"), "{error}");
    }
}

#[test]
fn the_stage_matters() {
    assert_eq!(judge(Stage::Greeting, "554 no service").fault, Fault::Unauthorized);
    assert_eq!(judge(Stage::Greeting, "421 4.3.2 busy").fault, Fault::Transient);
    assert_eq!(judge(Stage::Auth, "501 5.5.2 cannot decode").fault, Fault::Unauthorized);
    assert_eq!(judge(Stage::Auth, "454 4.7.0 later").fault, Fault::Transient);
    let sender = judge(Stage::Mail, "550 5.1.1 unknown sender");
    assert_eq!((sender.fault, sender.retire_recipient), (Fault::Rejected, false));
    assert_eq!(judge(Stage::Mail, "550 no").fault, Fault::Rejected);
    assert_eq!(judge(Stage::Answer, "554 it looks like spam").fault, Fault::Rejected);
    assert_eq!(judge(Stage::Answer, "451 4.3.0 later").fault, Fault::Transient);
    assert_eq!(judge(Stage::Answer, "354 what").fault, Fault::Ambiguous);
}

#[tokio::test]
async fn nobody_listens() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let smtp = provider(port, "");
    assert_eq!(fault(&smtp.send(&mail()).await), Fault::Transient);
    assert_eq!(fault(&smtp.probe().await), Fault::Transient);
}

#[tokio::test]
async fn a_cut_is_ambiguous_only_after_the_dot() {
    for at in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        for hold in [false, true] {
            let server = Server::start(&[], move |step| match step.command.starts_with(at) {
                true if hold => Act::Hold,
                true => Act::Close,
                false => Act::Usual,
            })
            .await;
            let smtp = provider(server.port, "command_timeout = '100ms'\ndata_timeout = '100ms'");
            let expected = if at == "." { Fault::Ambiguous } else { Fault::Transient };
            assert_eq!(fault(&smtp.send(&mail()).await), expected, "{at} {hold}");
        }
    }
}

#[tokio::test]
async fn a_cut_within_the_message_is_transient() {
    // It closes after DATA without reading: the message does not fit into the buffers on the way.
    let server = Server::start(&[], |step| match step.command {
        "DATA" => Act::Last("354 go on\r\n".to_owned()),
        _ => Act::Usual,
    })
    .await;
    let mut large = mail();
    large.body = "0123456789abcdef".repeat(500_000);
    let result = provider(server.port, "").send(&large).await;
    assert_eq!(fault(&result), Fault::Transient, "{result:?}");
}

#[tokio::test]
async fn nonsense_is_not_an_answer() {
    let nonsense = [
        "250 ok\n".to_owned(),
        "hello there\r\n".to_owned(),
        "\0\u{ff}\r\n".to_owned(),
        format!("250 {}\r\n", "x".repeat(1_000_000)),
        "250-more\r\n".repeat(100_000),
        "200".repeat(10_000),
    ];
    for text in nonsense {
        for at in ["CONNECT", "EHLO", "MAIL", "."] {
            let text = text.clone();
            let server = Server::start(&[], move |step| {
                if step.command.starts_with(at) { Act::Say(text.clone()) } else { Act::Usual }
            })
            .await;
            let result = provider(server.port, "command_timeout = '2s'").send(&mail()).await;
            let expected = if at == "." { Fault::Ambiguous } else { Fault::Transient };
            assert_eq!(fault(&result), expected, "{at}");
        }
    }
}

#[tokio::test]
async fn a_reply_too_many_ends_the_connection() {
    let server = Server::start(&[], |step| match step.command {
        command if command.starts_with("MAIL") && step.connection == 1 => {
            Act::Say("250 ok\r\n250 ok\r\n".to_owned())
        }
        _ => Act::Usual,
    })
    .await;
    let smtp = provider(server.port, "");
    assert_eq!(fault(&smtp.send(&mail()).await), Fault::Transient);
    // Behind an accepted message it does not undo the acceptance, but the connection is not used again.
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.seen(|seen| seen.connections), 2);
}

#[tokio::test]
async fn refusals_come_through_with_their_code() {
    for (at, line, expected) in [
        ("CONNECT", "554 5.7.1 your address is blocked", Fault::Unauthorized),
        ("MAIL", "451 4.3.0 later", Fault::Transient),
        ("RCPT", "550 5.1.1 no such user", Fault::BadRecipient),
        ("DATA", "554 5.5.1 no valid recipients", Fault::Rejected),
        (".", "550 5.7.1 looks like spam", Fault::Rejected),
    ] {
        let server =
            Server::start(
                &["PIPELINING"],
                move |step| {
                    if step.command.starts_with(at) { say(line) } else { Act::Usual }
                },
            )
            .await;
        let error = provider(server.port, "").send(&mail()).await.unwrap_err();
        assert_eq!(error.fault, expected, "{at}");
        assert_eq!(error.code.as_deref(), line.split(' ').nth(1), "{at}");
        assert!(error.detail.contains(&line[10..]), "{error}");
    }
}

#[tokio::test]
async fn limits_of_the_server_are_known_before_sending() {
    let server = Server::start(&["SIZE 2000"], |_| Act::Usual).await;
    let smtp = provider(server.port, "");
    let mut large = mail();
    large.body = "x ".repeat(2000);
    let error = smtp.send(&large).await.unwrap_err();
    assert_eq!((error.fault, error.code.as_deref()), (Fault::Rejected, Some("5.3.4")));
    let mut foreign = mail();
    foreign.recipient.address = "jürgen@example.test".to_owned();
    assert_eq!(fault(&smtp.send(&foreign).await), Fault::BadRecipient);
    // Neither cost the connection.
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (1, 1));
}
