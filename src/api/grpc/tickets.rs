//! TicketService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    caller,
    convert::{self, record},
    open, status,
};
use crate::{pb, service::Service};

/// The handlers.
pub(super) struct Tickets(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::ticket_service_server::TicketService for Tickets {
    async fn create(&self, request: Request<pb::CreateTicketRequest>) -> Answer<pb::Ticket> {
        let (caller, body, request_id) = open!(request);
        let given = record::new_ticket(body.ticket.unwrap_or_default());
        let made = self.0.create_ticket(&caller, given, request_id).await.map_err(status::of)?;
        Ok(Response::new(record::ticket(made, &self.0.context(&caller))))
    }

    async fn get(&self, request: Request<pb::GetTicketRequest>) -> Answer<pb::Ticket> {
        let caller = caller(request.extensions())?;
        let found = self.0.ticket(&caller, &request.into_inner().id).await.map_err(status::of)?;
        Ok(Response::new(record::ticket(found, &self.0.context(&caller))))
    }

    async fn find(&self, request: Request<pb::FindTicketsRequest>) -> Answer<pb::FindTicketsResponse> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search =
            convert::filter::search(body.filter, &body.order_by, body.page_size, body.page_token, false);
        let page = self.0.find_tickets(&caller, search).await.map_err(status::of)?;
        let context = self.0.context(&caller);
        let tickets = page.items.into_iter().map(|found| record::ticket(found, &context)).collect();
        Ok(Response::new(pb::FindTicketsResponse { tickets, next_page_token: page.next_page_token }))
    }
}
