//! EventService.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, async_trait};

use super::{caller, convert::event::event, status};
use crate::{
    pb,
    service::{Service, events::EventSearch, watch::WatchSearch},
};

/// The handlers.
pub(super) struct Events(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::event_service_server::EventService for Events {
    async fn list(&self, request: Request<pb::ListEventsRequest>) -> Answer<pb::ListEventsResponse> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search = EventSearch {
            cursor: body.cursor,
            page_size: body.page_size,
            types: body.types,
            target: body.target,
        };
        let page = self.0.events(&caller, search).await.map_err(status::of)?;
        let events = page.events.iter().map(event).collect();
        Ok(Response::new(pb::ListEventsResponse { events, next_cursor: page.next_cursor }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::Event, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchEventsRequest>) -> Answer<Self::WatchStream> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search =
            WatchSearch { cursor: body.cursor, types: body.types, target: body.target, ..Default::default() };
        let events = self.0.watch(&caller, search).await.map_err(status::of)?;
        let events = events.map(|watched| watched.map(|(line, _)| event(&line)).map_err(status::of));
        Ok(Response::new(events.boxed()))
    }
}
