//! ApiKeyService.

use tonic::{Request, Response, Status, async_trait};

use super::{caller, convert::others, status};
use crate::{pb, service::Service};

/// The handlers.
pub(super) struct ApiKeys(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::api_key_service_server::ApiKeyService for ApiKeys {
    async fn create(&self, request: Request<pb::CreateApiKeyRequest>) -> Answer<pb::CreateApiKeyResponse> {
        let caller = caller(request.extensions())?;
        let new = others::new_key(request.into_inner());
        let (key, secret) = self.0.create_key(&caller, new).await.map_err(status::of)?;
        Ok(Response::new(pb::CreateApiKeyResponse { api_key: Some(others::api_key(key)), secret }))
    }

    async fn list(&self, request: Request<pb::ListApiKeysRequest>) -> Answer<pb::ListApiKeysResponse> {
        let caller = caller(request.extensions())?;
        let keys = self.0.keys(&caller).await.map_err(status::of)?;
        let api_keys = keys.into_iter().map(others::api_key).collect();
        Ok(Response::new(pb::ListApiKeysResponse { api_keys }))
    }

    async fn revoke(&self, request: Request<pb::RevokeApiKeyRequest>) -> Answer<pb::ApiKey> {
        let caller = caller(request.extensions())?;
        let key = self.0.revoke_key(&caller, &request.into_inner().id).await.map_err(status::of)?;
        Ok(Response::new(others::api_key(key)))
    }
}
