//! The gRPC API: thin handlers. What is on the wire meets the model in [`convert`], refusals become statuses in [`status`].

mod activities;
pub mod auth;
mod contacts;
mod convert;
mod events;
mod keys;
mod messages;
mod providers;
pub mod status;
mod tickets;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use tonic::{Extensions, Status, service::RoutesBuilder};

use crate::{
    pb,
    service::{Caller, RequestId, Service},
};

/// Most of a request, in bytes.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// The time that a call has, from its `grpc-timeout`.
#[derive(Clone, Copy, Debug)]
struct Budget(Duration);

/// Adds every service of the API.
pub(super) fn add_services(builder: &mut RoutesBuilder, service: &Service) {
    use pb::{
        activity_service_server::ActivityServiceServer, api_key_service_server::ApiKeyServiceServer,
        contact_service_server::ContactServiceServer, event_service_server::EventServiceServer,
        message_service_server::MessageServiceServer, provider_service_server::ProviderServiceServer,
        ticket_service_server::TicketServiceServer,
    };
    macro_rules! add {
        ($server:ident, $handler:expr) => {
            builder.add_service($server::new($handler).max_decoding_message_size(MAX_REQUEST));
        };
    }
    add!(MessageServiceServer, messages::Messages(service.clone()));
    add!(ContactServiceServer, contacts::Contacts(service.clone()));
    add!(ActivityServiceServer, activities::Activities(service.clone()));
    add!(TicketServiceServer, tickets::Tickets(service.clone()));
    add!(EventServiceServer, events::Events(service.clone()));
    add!(ProviderServiceServer, providers::Providers(service.clone()));
    add!(ApiKeyServiceServer, keys::ApiKeys(service.clone()));
}

/// Who calls, as the layer before the handlers found out.
fn caller(extensions: &Extensions) -> Result<Arc<Caller>, Status> {
    let caller = extensions.get::<Arc<Caller>>().cloned();
    caller.ok_or_else(|| status::of(crate::service::keys::unauthenticated()))
}

/// Makes a request recognisable: its id, and a hash over the rest of it, from which the id was taken out.
///
/// Maps are sorted in the generated code, so that the same content has the same bytes.
fn request_id(id: String, rest: &impl prost::Message) -> Option<RequestId> {
    if id.is_empty() {
        return None;
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, &rest.encode_to_vec()).as_ref());
    Some(RequestId { id, hash })
}

/// Splits a request into who calls, its id, and the rest.
macro_rules! open {
    ($request:ident) => {{
        let caller = super::caller($request.extensions())?;
        let mut body = $request.into_inner();
        let id = std::mem::take(&mut body.request_id);
        let request_id = super::request_id(id, &body);
        (caller, body, request_id)
    }};
}
use open;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_hash_whatever_the_order_of_maps() {
        let request = |headers: [(&str, &str); 2]| pb::CreateMessageRequest {
            message: Some(pb::Message {
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                ..Default::default()
            }),
            request_id: String::new(),
        };
        let hash = |request: &pb::CreateMessageRequest| request_id("r".to_owned(), request).map(|id| id.hash);
        let one = request([("X-A", "1"), ("X-B", "2")]);
        assert_eq!(hash(&one), hash(&request([("X-B", "2"), ("X-A", "1")])));
        assert_ne!(hash(&one), hash(&request([("X-B", "1"), ("X-A", "2")])));
        assert_eq!(request_id(String::new(), &one), None);
    }
}
