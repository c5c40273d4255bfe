//! The good way, kept connections, and dropped hand-offs.

use super::{
    server::{Act, Server, say},
    *,
};

#[tokio::test]
async fn one_message_with_and_without_pipelining() {
    for extensions in [&["PIPELINING", "SIZE 1000000", "8BITMIME"][..], &[]] {
        let server = Server::start(extensions, |_| Act::Usual).await;
        let accepted = provider(server.port, "").send(&mail()).await.unwrap();
        let id = accepted.provider_message_id.unwrap();
        assert_eq!(accepted.note.as_deref(), Some("queued as 4Wxyz1"));
        assert!(id.starts_with("message_k7TmPvQx.") && id.ends_with("@acme.test"), "{id}");
        let mails = server.mails();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].from.starts_with("MAIL FROM:<no-reply@acme.test>"));
        assert_eq!(mails[0].to, "RCPT TO:<ann@example.test>");
        assert!(String::from_utf8_lossy(&mails[0].bytes).contains(&format!("Message-ID: <{id}>\r\n")));
        assert_eq!(server.seen(|seen| seen.commands[0].clone()), "EHLO acme.test");
    }
}

#[tokio::test]
async fn many_messages_go_over_one_connection() {
    let server = Server::start(&["PIPELINING"], |_| Act::Usual).await;
    let smtp = provider(server.port, "");
    for _ in 0..20 {
        smtp.send(&mail()).await.unwrap();
    }
    assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (1, 20));
}

#[tokio::test]
async fn a_connection_is_closed_when_it_is_worn_out() {
    let server = Server::start(&[], |_| Act::Usual).await;
    let smtp = provider(server.port, "max_messages_per_connection = 5");
    for _ in 0..12 {
        smtp.send(&mail()).await.unwrap();
    }
    assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (3, 12));
    server.wait_closed(2).await;
    assert!(server.seen(|seen| seen.commands.contains(&"QUIT".to_owned())));
}

#[tokio::test]
async fn an_idle_connection_is_not_used_again() {
    let server = Server::start(&[], |_| Act::Usual).await;
    let smtp = provider(server.port, "idle_timeout = '0s'");
    for _ in 0..3 {
        smtp.send(&mail()).await.unwrap();
    }
    assert_eq!(server.seen(|seen| seen.connections), 3);
}

#[tokio::test]
async fn connections_are_limited() {
    let server = Server::start(&["PIPELINING"], |_| Act::Usual).await;
    let smtp = provider(server.port, "max_connections = 3");
    assert_eq!(smtp.profile().max_in_flight, 3);
    let sends = (0..60).map(|_| {
        let smtp = Arc::clone(&smtp);
        tokio::spawn(async move { smtp.send(&mail()).await })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.unwrap().unwrap();
    }
    assert!(server.seen(|seen| seen.connections) <= 3);
    assert_eq!(server.mails().len(), 60);
}

#[tokio::test]
async fn a_server_that_closed_the_idle_connection_costs_nothing() {
    // It says 421 and closes after each message.
    let server = Server::start(&[], |step| match step.command {
        "." => Act::Last("250 2.0.0 Ok\r\n421 4.4.2 idle for too long\r\n".to_owned()),
        _ => Act::Usual,
    })
    .await;
    let smtp = provider(server.port, "");
    for count in 1..4 {
        smtp.send(&mail()).await.unwrap();
        server.wait_closed(count).await;
    }
    assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (3, 3));
}

#[tokio::test]
async fn a_kept_connection_that_breaks_before_the_message_is_replaced_once() {
    for (broken, extensions) in [("MAIL", &[][..]), ("RCPT", &[]), ("DATA", &[]), ("MAIL", &["PIPELINING"])] {
        for close in [true, false] {
            let server = Server::start(extensions, move |step| {
                if step.connection == 1 && step.messages == 1 && step.command.starts_with(broken) {
                    return if close {
                        Act::Close
                    } else {
                        Act::Last("421 4.3.2 shutting down\r\n".to_owned())
                    };
                }
                Act::Usual
            })
            .await;
            let smtp = provider(server.port, "");
            smtp.send(&mail()).await.unwrap();
            smtp.send(&mail()).await.unwrap();
            assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (2, 2), "{broken} {close}");
        }
    }
}

#[tokio::test]
async fn a_refused_recipient_does_not_cost_the_connection() {
    for extensions in [&["PIPELINING"][..], &[]] {
        let server = Server::start(extensions, |step| match step.command {
            "RCPT TO:<gone@example.test>" => say("550 5.1.1 no such user"),
            "DATA" if step.messages == 1 => say("503 5.5.1 no recipient"),
            _ => Act::Usual,
        })
        .await;
        let smtp = provider(server.port, "");
        smtp.send(&mail()).await.unwrap();
        let mut gone = mail();
        gone.recipient.address = "gone@example.test".to_owned();
        let error = smtp.send(&gone).await.unwrap_err();
        assert_eq!((error.fault, error.code.as_deref()), (Fault::BadRecipient, Some("5.1.1")));
        assert_eq!(server.seen(|seen| seen.connections), 1);
        assert!(server.seen(|seen| seen.commands.contains(&"RSET".to_owned())));
    }
}

#[tokio::test]
async fn no_message_follows_when_data_is_taken_without_a_recipient() {
    let server = Server::start(&["PIPELINING"], |step| match step.command {
        command if command.starts_with("RCPT") => say("550 5.1.1 no such user"),
        _ => Act::Usual,
    })
    .await;
    let result = provider(server.port, "").send(&mail()).await;
    assert_eq!(fault(&result), Fault::BadRecipient);
    server.wait_closed(1).await;
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_dropped_hand_off_leaves_the_provider_usable() {
    let server = Server::start(&[], |step| match step.command {
        "." if step.connection == 1 => Act::Hold,
        _ => Act::Usual,
    })
    .await;
    let smtp = provider(server.port, "max_connections = 1");
    let held = tokio::spawn({
        let smtp = Arc::clone(&smtp);
        async move { smtp.send(&mail()).await }
    });
    while server.mails().is_empty() {
        tokio::task::yield_now().await;
    }
    held.abort();
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn the_probe_sends_no_message() {
    let server = Server::start(&["AUTH PLAIN"], |_| Act::Usual).await;
    let smtp = provider(server.port, "username = 'acme'\npassword = 'geheim-canary'");
    smtp.probe().await.unwrap();
    server.wait_closed(1).await;
    let commands = server.seen(|seen| seen.commands.clone());
    assert_eq!(commands.len(), 3, "{commands:?}");
    assert!(commands[1].starts_with("AUTH PLAIN ") && commands[2] == "QUIT");
    assert!(!format!("{smtp:?}").contains("canary"));
}
