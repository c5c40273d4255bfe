//! ProviderService.

use tonic::{Request, Response, Status, async_trait};

use super::{caller, convert::others, status};
use crate::{pb, service::Service};

/// The handlers.
pub(super) struct Providers(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::provider_service_server::ProviderService for Providers {
    async fn list(&self, _: Request<pb::ListProvidersRequest>) -> Answer<pb::ListProvidersResponse> {
        let providers = self.0.providers().into_iter().map(others::provider).collect();
        Ok(Response::new(pb::ListProvidersResponse { providers }))
    }

    async fn probe(&self, request: Request<pb::ProbeProviderRequest>) -> Answer<pb::ProbeProviderResponse> {
        let caller = caller(request.extensions())?;
        let name = request.into_inner().name;
        let probe = self.0.probe_provider(&caller, &name).await.map_err(status::of)?;
        Ok(Response::new(others::probe(probe)))
    }
}
