//! What an e-mail says arrives as it was said: read back by a parser that is not ours.

use headlessly_communication::pb::{
    self,
    message::{Channel, DeliveryReporting, Status},
};
use mail_parser::{MessageParser, MimeHeaders};

use crate::harness::{Mailbox, TestApp, to};

fn smtp(port: u16) -> String {
    format!(
        "[[provider]]\nname = \"mail\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         from = \"Acme <no-reply@acme.test>\"\n"
    )
}

fn letter() -> pb::Message {
    let picture: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let file = |name: &str, content_type: &str, content: Vec<u8>, content_id: &str| pb::Attachment {
        name: name.to_owned(),
        content_type: content_type.to_owned(),
        content: content.into(),
        content_id: content_id.to_owned(),
    };
    pb::Message {
        sender: "hallo@acme.test".to_owned(),
        subject: "Grüße aus 東京 — und eine recht lange Betreffzeile, die gefaltet werden muss, weil sie nicht passt"
            .to_owned(),
        body: ".beginnt mit Punkt\n.\nÄrger? Nein: 👩‍👩‍👧 и привет\nletzte Zeile".to_owned(),
        html_body: "<p>Ärger? <b>Nein</b>: 👋</p>\n<img src=\"cid:logo\">".to_owned(),
        attachments: vec![
            file("rechnung.pdf", "application/pdf", b"%PDF-1.7\r\n.\r\nend".to_vec(), ""),
            file("Größe.bin", "application/octet-stream", picture.clone(), ""),
            file("logo.png", "image/png", picture, "logo"),
        ],
        headers: [("X-Order".to_owned(), "A-17".to_owned())].into(),
        ..to(Channel::Email, "ann@example.test")
    }
}

#[tokio::test]
async fn it_arrives_as_it_was_written() {
    let mailbox = Mailbox::start().await;
    let app = TestApp::start(&smtp(mailbox.port)).await;
    let letter = letter();
    let id = app.api.send(letter.clone()).await.id;
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!(sent.delivery_reporting(), DeliveryReporting::None);
    let mails = mailbox.wait_for(1).await;
    let [mail] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("hallo@acme.test", &["ann@example.test".to_owned()][..])
    );

    let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
    let address = |list: Option<&mail_parser::Address<'_>>| {
        list.and_then(|list| list.first()).and_then(|one| one.address().map(str::to_owned)).unwrap()
    };
    assert_eq!(address(parsed.from()), "hallo@acme.test");
    assert_eq!(address(parsed.to()), "ann@example.test");
    assert_eq!(parsed.subject(), Some(letter.subject.as_str()));
    assert_eq!(parsed.header("X-Order").and_then(|value| value.as_text()), Some("A-17"));
    assert!(parsed.message_id().is_some() && parsed.date().is_some());
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(lines(&parsed.body_text(0).unwrap()), letter.body);
    assert_eq!(lines(&parsed.body_html(0).unwrap()), letter.html_body);
    for file in &letter.attachments {
        let part = parsed.attachments().find(|part| part.attachment_name() == Some(&file.name));
        let part = part.unwrap_or_else(|| panic!("no {}", file.name));
        assert_eq!(part.contents(), &file.content[..], "{}", file.name);
        let kind = part.content_type().unwrap();
        assert_eq!(format!("{}/{}", kind.ctype(), kind.subtype().unwrap()), file.content_type);
        let content_id = part.content_id().map(|id| id.trim_matches(['<', '>']));
        assert_eq!(content_id.unwrap_or_default(), file.content_id);
    }
    assert_eq!(parsed.attachment_count(), letter.attachments.len());
}

#[tokio::test]
async fn the_provider_speaks_for_a_sender_without_address() {
    let mailbox = Mailbox::start().await;
    let app = TestApp::start(&smtp(mailbox.port)).await;
    let contact =
        pb::Contact { id: "contact_shop".to_owned(), name: "Shop".to_owned(), ..Default::default() };
    let request = pb::CreateContactRequest { contact: Some(contact), ..Default::default() };
    app.api.contacts().create(request).await.unwrap();
    app.api
        .send(pb::Message { sender: "contact_shop".to_owned(), ..to(Channel::Email, "ann@example.test") })
        .await;
    let mail = mailbox.wait_for(1).await.remove(0);
    assert_eq!(mail.from, "no-reply@acme.test");
}
