//! Providers and API keys.

use super::{channel_out, read_enum, reporting_out, stamp, time};
use crate::{
    pb,
    service::{
        Given, Scopes, Violations,
        keys::NewKey,
        providers::{Probe, ProviderStatus},
    },
    store::ApiKey,
};

/// A provider as it is on the wire.
pub(in crate::api::grpc) fn provider(provider: ProviderStatus) -> pb::Provider {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let total = |total: u64| i64::try_from(total).unwrap_or(i64::MAX);
    pb::Provider {
        name: provider.name,
        kind: provider.kind,
        channels: provider.channels.into_iter().map(channel_out).collect(),
        delivery_reporting: reporting_out(provider.reporting),
        idempotent: provider.idempotent,
        in_flight: count(provider.in_flight),
        max_in_flight: count(provider.max_in_flight),
        paused_until: provider.paused_until.map(stamp),
        paused_reason: provider.paused_reason.unwrap_or_default(),
        last_error: provider.last_error.unwrap_or_default(),
        last_error_at: provider.last_error_at.map(stamp),
        accepted: total(provider.accepted),
        refused: total(provider.refused),
        state: pb::provider::State::from_str_name(provider.state).unwrap_or_default().into(),
        rate: provider.rate.unwrap_or_default(),
        places: count(provider.places),
    }
}

/// The result of a check as it is on the wire.
pub(in crate::api::grpc) fn probe(probe: Probe) -> pb::ProbeProviderResponse {
    pb::ProbeProviderResponse { ok: probe.ok, detail: probe.detail, took: probe.took.try_into().ok() }
}

/// What a caller asks for in a new key.
pub(in crate::api::grpc) fn new_key(request: pb::CreateApiKeyRequest) -> Given<NewKey> {
    let mut violations = Violations::default();
    let mut scopes = None;
    for (index, scope) in request.scopes.into_iter().enumerate() {
        let field = format!("scopes[{index}]");
        let scope = read_enum!(violations, field.as_str(), scope, pb::api_key::Scope, [
            Send => Scopes::SEND,
            Read => Scopes::READ,
            Admin => Scopes::ADMIN,
        ]);
        match scope {
            Some(scope) => scopes = Some(scopes.unwrap_or(Scopes(0)).with(scope)),
            None if violations.names(&field) => {}
            None => violations.add(field, "must be SEND, READ or ADMIN"),
        }
    }
    let expires_at = time(&mut violations, "expires_at", request.expires_at);
    Given { value: NewKey { name: request.name, tenant: request.tenant, scopes, expires_at }, violations }
}

/// A key, without the key, as it is on the wire.
pub(in crate::api::grpc) fn api_key(key: ApiKey) -> pb::ApiKey {
    let scopes = [
        (Scopes::SEND, pb::api_key::Scope::Send),
        (Scopes::READ, pb::api_key::Scope::Read),
        (Scopes::ADMIN, pb::api_key::Scope::Admin),
    ];
    let has = scopes.into_iter().filter(|(bit, _)| key.scopes & bit.0 != 0);
    pb::ApiKey {
        id: key.id.to_string(),
        name: key.name,
        tenant: key.tenant.to_string(),
        scopes: has.map(|(_, scope)| scope.into()).collect(),
        created_at: Some(stamp(key.created_at)),
        expires_at: key.expires_at.map(stamp),
        revoked_at: key.revoked_at.map(stamp),
        prefix: key.prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_joined_and_unknown_ones_noted() {
        let ask = |scopes: &[i32]| {
            new_key(pb::CreateApiKeyRequest { scopes: scopes.to_vec(), ..Default::default() })
        };
        assert_eq!(ask(&[]).value.scopes, None);
        assert_eq!(ask(&[1, 2]).value.scopes, Some(Scopes::SEND.with(Scopes::READ)));
        assert!(ask(&[0]).violations.names("scopes[0]") && ask(&[1, 9]).violations.names("scopes[1]"));
    }
}
