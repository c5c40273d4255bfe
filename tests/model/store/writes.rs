//! What changes the store: each call one transaction.

use async_trait::async_trait;
use headlessly_communication::{
    model::{Timestamp, ids::MessageId},
    store::{
        Accept, Ack, ApiKey, Applied, Change, Changed, Claim, Claimed, ContactWrite, DeviceWrite, Effects,
        NewReceipt, Record, RequestKey, Rewrite, StoreError, Swept, Writes,
    },
};

use super::ModelStore;

#[async_trait]
impl Writes for ModelStore {
    async fn accept(&self, accept: Accept) -> Result<Ack, StoreError> {
        let taker = self.taker().cloned();
        self.write(|data, after| data.accept(accept, taker.as_deref(), after))
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        self.write(|data, after| data.change(&change, after))
    }

    async fn rewrite(&self, rewrite: Rewrite) -> Result<Changed, StoreError> {
        self.write(|data, after| data.rewrite(&rewrite, after))
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError> {
        self.write(|data, after| Ok(data.claim(&claim, after)))
    }

    async fn renew(&self, leases: Vec<(MessageId, i64)>, until: Timestamp) -> Result<(), StoreError> {
        self.write(|data, _| {
            data.renew(&leases, until);
            Ok(())
        })
    }

    async fn sweep(&self, now: Timestamp, all: bool) -> Result<Swept, StoreError> {
        self.write(|data, after| Ok(data.sweep(now, all, after)))
    }

    async fn release(&self, leases: Vec<(MessageId, i64)>, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|data, after| Ok(data.release(&leases, now, after)))
    }

    async fn probe(&self, _now: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_receipts(&self, receipts: Vec<NewReceipt>) -> Result<(), StoreError> {
        self.write(|data, after| {
            data.put_receipts(receipts, after);
            Ok(())
        })
    }

    async fn apply_receipts(&self, now: Timestamp, limit: i64) -> Result<Applied, StoreError> {
        self.write(|data, after| Ok(data.apply_receipts(now, limit, after)))
    }

    async fn put_effects(&self, effects: Effects) -> Result<(), StoreError> {
        self.write(|data, _| data.put_effects(effects))
    }

    async fn put_contact(&self, write: ContactWrite) -> Result<Ack, StoreError> {
        self.write(|data, _| data.put_contact(write))
    }

    async fn put_device(&self, write: DeviceWrite) -> Result<Ack, StoreError> {
        self.write(|data, _| data.put_device(write))
    }

    async fn put_record(&self, record: Record, request: Option<RequestKey>) -> Result<Ack, StoreError> {
        self.write(|data, _| data.put_record(record, request.as_ref()))
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.write(|data, _| data.put_key(key))
    }

    async fn purge_requests(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(|data, _| Ok(data.purge_requests(before)))
    }
}
