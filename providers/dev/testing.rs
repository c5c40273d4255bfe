//! What the unit tests of several plugins need.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::contract::{
    BuildContext, Channel, Descriptor, Dispatch, Party, Priority, Receipt, ReceiptSink, Settings, SinkClosed,
    Timestamp,
};

/// A sink that keeps what it is given and can refuse.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) pushed: Mutex<Vec<Vec<Receipt>>>,
    pub(crate) refusals: Mutex<u32>,
    changed: Notify,
}

#[async_trait]
impl ReceiptSink for Sink {
    async fn push(&self, receipts: Vec<Receipt>) -> Result<(), SinkClosed> {
        {
            let mut refusals = self.refusals.lock().unwrap();
            if *refusals > 0 {
                *refusals -= 1;
                return Err(SinkClosed);
            }
        }
        self.pushed.lock().unwrap().push(receipts);
        self.changed.notify_one();
        Ok(())
    }
}

impl Sink {
    /// All receipts so far, in order.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.pushed.lock().unwrap().concat()
    }

    /// Waits until there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Receipt> {
        let arrived = async {
            loop {
                let receipts = self.receipts();
                if receipts.len() >= count {
                    return receipts;
                }
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), arrived).await.unwrap()
    }
}

pub(crate) fn context() -> BuildContext {
    BuildContext { name: "test".to_owned(), receipts: Arc::new(Sink::default()) }
}

pub(crate) fn settings(text: &str) -> Settings {
    Settings { table: toml::from_str(text).unwrap() }
}

/// The plugin's own settings of its example.
pub(crate) fn example(descriptor: &Descriptor) -> Settings {
    let file: toml::Table = toml::from_str(descriptor.example).unwrap();
    let mut table = file["provider"][0].as_table().unwrap().clone();
    assert_eq!(table.remove("kind").unwrap().as_str(), Some(descriptor.kind));
    assert!(table.remove("name").is_some());
    Settings { table }
}

pub(crate) fn dispatch(channel: Channel, recipient: &str) -> Dispatch {
    Dispatch {
        message_id: "message_k7TmPvQx".to_owned(),
        idempotency_key: "message_k7TmPvQx:1".to_owned(),
        attempt: 1,
        channel,
        sender: None,
        recipient: Party { address: recipient.to_owned(), name: None },
        subject: None,
        body: "Hello".to_owned(),
        html_body: None,
        attachments: Vec::new(),
        headers: Vec::new(),
        metadata: Vec::new(),
        thread: None,
        in_reply_to: None,
        priority: Priority::Normal,
        expires_at: None,
        now: Timestamp::from_seconds(1_795_000_000),
        callback_url: None,
    }
}
