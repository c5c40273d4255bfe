//! ActivityService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    caller,
    convert::{self, record},
    open, status,
};
use crate::{pb, service::Service};

/// The handlers.
pub(super) struct Activities(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::activity_service_server::ActivityService for Activities {
    async fn create(&self, request: Request<pb::CreateActivityRequest>) -> Answer<pb::Activity> {
        let (caller, body, request_id) = open!(request);
        let given = record::new_activity(body.activity.unwrap_or_default());
        let made = self.0.create_activity(&caller, given, request_id).await.map_err(status::of)?;
        Ok(Response::new(record::activity(made, &self.0.context(&caller))))
    }

    async fn get(&self, request: Request<pb::GetActivityRequest>) -> Answer<pb::Activity> {
        let caller = caller(request.extensions())?;
        let found = self.0.activity(&caller, &request.into_inner().id).await.map_err(status::of)?;
        Ok(Response::new(record::activity(found, &self.0.context(&caller))))
    }

    async fn find(&self, request: Request<pb::FindActivitiesRequest>) -> Answer<pb::FindActivitiesResponse> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search =
            convert::filter::search(body.filter, &body.order_by, body.page_size, body.page_token, false);
        let page = self.0.find_activities(&caller, search).await.map_err(status::of)?;
        let context = self.0.context(&caller);
        let activities = page.items.into_iter().map(|found| record::activity(found, &context)).collect();
        Ok(Response::new(pb::FindActivitiesResponse { activities, next_page_token: page.next_page_token }))
    }
}
