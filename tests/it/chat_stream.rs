//! Chat inside the service: the recipient's stream is the inbox.

use headlessly_communication::pb::{
    self,
    message::{Channel, DeliveryReporting, Status},
};

use crate::harness::{Follow, TestApp, to};

const CHAT: &str = "[[provider]]\nname = \"chat\"\nkind = \"chat\"\n";

#[tokio::test]
async fn the_recipient_gets_it_and_reads_it() {
    let app = TestApp::start(CHAT).await;
    for id in ["contact_ann", "contact_bob", "contact_eve"] {
        let address =
            pb::Address { channel: Channel::Chat.into(), value: id.to_owned(), ..Default::default() };
        let contact = pb::Contact { id: id.to_owned(), addresses: vec![address], ..Default::default() };
        let request = pb::CreateContactRequest { contact: Some(contact), ..Default::default() };
        app.api.contacts().create(request).await.unwrap();
    }
    let inbox = |contact: &str| pb::WatchMessagesRequest {
        contact: contact.to_owned(),
        include_message: true,
        types: vec!["message.delivered".to_owned(), "Message.Read".to_owned()],
        ..Default::default()
    };
    let mut bob = Follow::messages(&app.api, inbox("contact_bob")).await;
    let mut eve = Follow::messages(&app.api, inbox("contact_eve")).await;
    let chat = |from: &str, to_whom: &str| pb::Message {
        sender: from.to_owned(),
        thread: "lunch".to_owned(),
        ..to(Channel::Chat, to_whom)
    };
    let first = app.api.send(chat("contact_ann", "contact_bob")).await;
    let seen = bob.take(1).await.remove(0).message.unwrap();
    assert_eq!((seen.id.as_str(), seen.body.as_str()), (first.id.as_str(), "Your table is ready."));
    assert_eq!((seen.status(), seen.thread.as_str()), (Status::Delivered, "lunch"));
    assert_eq!(seen.delivery_reporting(), DeliveryReporting::DeliveryAndRead);

    let request = pb::ReadMessageRequest { id: first.id.clone(), ..Default::default() };
    let read = app.api.messages().read(request.clone()).await.unwrap().into_inner();
    assert_eq!(read.status(), Status::Read);
    let seen = bob.take(1).await.remove(0);
    assert_eq!(seen.event.unwrap().r#type, "Message.Read");
    assert!(seen.message.unwrap().read_at.is_some());
    // Read twice is read once.
    let again = app.api.messages().read(request).await.unwrap().into_inner();
    assert_eq!((again.version, again.read_at), (read.version, read.read_at));

    // What is between the others is not Eve's: the first she sees is her own.
    let second = app.api.send(chat("contact_bob", "contact_eve")).await;
    assert_eq!(eve.take(1).await[0].event.as_ref().unwrap().target, second.id);
    // Bob sees it too, as its sender, and nothing came between.
    assert_eq!(bob.take(1).await[0].event.as_ref().unwrap().target, second.id);
}
