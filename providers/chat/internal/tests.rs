#![allow(clippy::unwrap_used)]

use super::*;
use crate::dev::testing::{context, dispatch, settings};

#[tokio::test]
async fn a_message_is_delivered_when_it_is_taken() {
    let chat = build(&Settings::default(), context()).unwrap();
    let message = dispatch(Channel::Chat, "contact_k7TmPvQx");
    let accepted = chat.send(&message).await.unwrap();
    assert_eq!(accepted.provider_message_id, None);
    let receipt = &accepted.receipts[0];
    assert_eq!(accepted.receipts.len(), 1);
    assert_eq!(receipt.kind, ReceiptKind::Delivered);
    assert_eq!(receipt.at, Some(message.now));
    assert_eq!(receipt.message_id.as_deref(), Some(message.message_id.as_str()));
    // The second hand-off says the same, so a retry changes nothing.
    assert_eq!(chat.send(&message).await.unwrap(), accepted);
    chat.probe().await.unwrap();
}

#[test]
fn it_has_no_settings() {
    let error = build(&settings("colour = 'red'"), context()).unwrap_err();
    assert_eq!(error.key, "colour");
}

#[test]
fn its_example_builds() {
    assert!(build(&crate::dev::testing::example(&DESCRIPTOR), context()).is_ok());
}
