//! ContactService.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{
    caller,
    convert::{self, contact},
    open, status,
};
use crate::{
    model::contact::Contact,
    pb,
    service::{Caller, Error, Scopes, Service},
};

/// The handlers.
pub(super) struct Contacts(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

impl Contacts {
    fn out(&self, caller: &Caller, found: &Contact) -> pb::Contact {
        contact::contact(found, &self.0.context(caller), caller.scopes.allow(Scopes::ADMIN))
    }

    fn answer(&self, caller: &Caller, result: Result<Arc<Contact>, Error>) -> Answer<pb::Contact> {
        Ok(Response::new(self.out(caller, &*result.map_err(status::of)?)))
    }
}

#[async_trait]
impl pb::contact_service_server::ContactService for Contacts {
    async fn create(&self, request: Request<pb::CreateContactRequest>) -> Answer<pb::Contact> {
        let (caller, body, request_id) = open!(request);
        let given = body.contact.unwrap_or_default();
        let id = given.id.clone();
        self.answer(&caller, self.0.create_contact(&caller, &id, contact::person(given), request_id).await)
    }

    async fn get(&self, request: Request<pb::GetContactRequest>) -> Answer<pb::Contact> {
        let caller = caller(request.extensions())?;
        self.answer(&caller, self.0.contact(&caller, &request.into_inner().id).await)
    }

    async fn find(&self, request: Request<pb::FindContactsRequest>) -> Answer<pb::FindContactsResponse> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search = convert::filter::search(
            body.filter,
            &body.order_by,
            body.page_size,
            body.page_token,
            body.include_deleted,
        );
        let page = self.0.find_contacts(&caller, search).await.map_err(status::of)?;
        let contacts = page.items.iter().map(|found| self.out(&caller, found)).collect();
        Ok(Response::new(pb::FindContactsResponse { contacts, next_page_token: page.next_page_token }))
    }

    async fn update(&self, request: Request<pb::UpdateContactRequest>) -> Answer<pb::Contact> {
        let (caller, body, request_id) = open!(request);
        let given = body.contact.unwrap_or_default();
        let id = given.id.clone();
        let patch = contact::patch(given, body.update_mask);
        self.answer(&caller, self.0.update_contact(&caller, &id, patch, request_id).await)
    }

    async fn delete(&self, request: Request<pb::DeleteContactRequest>) -> Answer<pb::Contact> {
        let (caller, body, request_id) = open!(request);
        self.answer(&caller, self.0.delete_contact(&caller, &body.id, request_id).await)
    }

    async fn add_device(&self, request: Request<pb::AddDeviceRequest>) -> Answer<pb::Contact> {
        let (caller, body, request_id) = open!(request);
        let device = contact::new_device(body.device);
        self.answer(&caller, self.0.add_device(&caller, &body.id, device, request_id).await)
    }

    async fn retire_device(&self, request: Request<pb::RetireDeviceRequest>) -> Answer<pb::Contact> {
        let (caller, body, request_id) = open!(request);
        let reason = convert::text(body.reason);
        let retired = self.0.retire_device(&caller, &body.id, &body.device, reason, request_id).await;
        self.answer(&caller, retired)
    }
}
