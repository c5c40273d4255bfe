//! STARTTLS, TLS from the first byte, and AUTH.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{
    server::{Act, Server, Step, say},
    *,
};

/// A server certificate, and a folder with the file that makes it trusted.
fn certificate(name: &str) -> (TlsAcceptor, tempfile::TempDir) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), folder)
}

fn trusting(port: u16, tls: &str, folder: &tempfile::TempDir, more: &str) -> Arc<dyn ChannelProvider> {
    let file = folder.path().join("ca.pem");
    provider(port, &format!("tls = '{tls}'\nca_file = '{}'\n{more}", file.display()))
}

const LOGIN: &str = "username = 'acme'\npassword = 'geheim-canary'";

#[tokio::test]
async fn starttls_and_implicit_tls() {
    for (tls, implicit) in [("starttls", false), ("implicit", true)] {
        let (acceptor, folder) = certificate("127.0.0.1");
        let extensions = ["STARTTLS", "PIPELINING", "AUTH PLAIN LOGIN"];
        let server = Server::with_tls(&extensions, Some(acceptor), implicit, |_| Act::Usual).await;
        let smtp = trusting(server.port, tls, &folder, LOGIN);
        smtp.probe().await.unwrap();
        for _ in 0..3 {
            smtp.send(&mail()).await.unwrap();
        }
        assert_eq!(server.seen(|seen| (seen.connections, seen.mails.len())), (2, 3), "{tls}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let (acceptor, _folder) = certificate("127.0.0.1");
    let server = Server::with_tls(&["STARTTLS"], Some(acceptor), false, |_| Act::Usual).await;
    let error = provider(server.port, "tls = 'starttls'").send(&mail()).await.unwrap_err();
    assert_eq!((error.fault, error.code.as_deref()), (Fault::Transient, Some("tls")));
    assert!(error.detail.contains("ca_file"), "{error}");

    let (acceptor, folder) = certificate("other.test");
    let server = Server::with_tls(&["STARTTLS"], Some(acceptor), false, |_| Act::Usual).await;
    let result = trusting(server.port, "starttls", &folder, "").send(&mail()).await;
    assert_eq!(fault(&result), Fault::Transient);
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    // Not offered, refused, and answered with more than one reply.
    let answers: [fn(Step<'_>) -> Act; 3] = [
        |_| Act::Usual,
        |step| if step.command == "STARTTLS" { say("454 4.7.0 TLS not available") } else { Act::Usual },
        |step| match step.command {
            "STARTTLS" => Act::Say("220 go on\r\n250-sink.test\r\n250 AUTH PLAIN\r\n".to_owned()),
            _ => Act::Usual,
        },
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (acceptor, folder) = certificate("127.0.0.1");
        let extensions: &[&str] = if number == 0 { &["AUTH PLAIN"] } else { &["STARTTLS", "AUTH PLAIN"] };
        let server = Server::with_tls(extensions, Some(acceptor), false, answer).await;
        let result = trusting(server.port, "starttls", &folder, LOGIN).send(&mail()).await;
        assert_eq!(fault(&result), Fault::Transient, "{number}: {result:?}");
        let commands = server.seen(|seen| seen.commands.clone());
        assert!(!commands.iter().any(|command| command.starts_with("AUTH")), "{commands:?}");
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn refused_credentials() {
    for (line, expected) in [
        ("535 5.7.8 bad credentials", Fault::Unauthorized),
        ("535 no", Fault::Unauthorized),
        ("534 5.7.9 too weak", Fault::Unauthorized),
        ("454 4.7.0 later", Fault::Transient),
        ("334 garbage", Fault::Transient),
    ] {
        let server = Server::start(&["AUTH PLAIN"], move |step| {
            if step.command.starts_with("AUTH") { say(line) } else { Act::Usual }
        })
        .await;
        let smtp = provider(server.port, LOGIN);
        for error in [smtp.probe().await.unwrap_err(), smtp.send(&mail()).await.unwrap_err()] {
            assert_eq!(error.fault, expected, "{line}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}

#[tokio::test]
async fn the_mechanism_is_chosen_or_configured() {
    let login = |step: Step<'_>| match step.command {
        "AUTH LOGIN" => say("334 VXNlcm5hbWU6"),
        "YWNtZQ==" => say("334 UGFzc3dvcmQ6"),
        "Z2VoZWltLWNhbmFyeQ==" => say("235 2.7.0 welcome"),
        _ => Act::Usual,
    };
    let server = Server::start(&["AUTH=LOGIN CRAM-MD5"], login).await;
    provider(server.port, LOGIN).probe().await.unwrap();
    let server = Server::start(&["AUTH LOGIN PLAIN"], login).await;
    provider(server.port, &format!("{LOGIN}\nauth = 'login'")).probe().await.unwrap();
    assert!(server.seen(|seen| seen.commands.contains(&"AUTH LOGIN".to_owned())));
    for (extensions, more) in [(&["AUTH CRAM-MD5"][..], ""), (&[], ""), (&["AUTH LOGIN"], "auth = 'plain'")] {
        let server = Server::start(extensions, |_| Act::Usual).await;
        let result = provider(server.port, &format!("{LOGIN}\n{more}")).probe().await;
        assert_eq!(fault(&result), Fault::Unauthorized, "{extensions:?}");
    }
}
