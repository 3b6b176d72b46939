//! The corner of Azure Resource Manager that azure-cli asks for when it learns of a cloud and signs in: where everything
//! is, which tenants there are, and a subscription, without which it does not go on. Nothing is managed through it.

use access::token::{CONTROL_AUDIENCE, DATABASE_AUDIENCE};
use axum::Json as Answer;
use axum::extract::State;
use model::{Refusal, Snapshot, TenantId, code};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Api;
use crate::authenticate::Authenticated;
use crate::problem::Problem;

/// `az cloud register --endpoint-resource-manager` makes a cloud of this. The resource manager's audience is the control
/// plane's own, so a sign-in gives a token for it and for nothing that does not exist here.
pub(crate) async fn endpoints(State(api): State<Api>) -> Result<Answer<Value>, Problem> {
    let origin = origin(&api)?;
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    Ok(Answer(json!({
        "name": "Portcullis",
        "portal": origin,
        "resourceManager": format!("{origin}/"),
        "authentication": {
            "loginEndpoint": format!("{origin}/"),
            "audiences": [CONTROL_AUDIENCE],
            "tenant": "organizations",
            "identityProvider": "AAD",
        },
        "ossrdbmsResourceId": DATABASE_AUDIENCE,
        "graphAudience": CONTROL_AUDIENCE,
        "microsoftGraphResourceId": CONTROL_AUDIENCE,
        "gallery": format!("{origin}/"),
        "sqlManagement": format!("{origin}/"),
        "suffixes": {
            "postgresqlServerEndpoint": host,
            "mysqlServerEndpoint": host,
            "mariadbServerEndpoint": host,
        },
    })))
}

/// The one directory.
pub(crate) async fn tenants(State(api): State<Api>, caller: Authenticated) -> Answer<Value> {
    let id = api.tenant;
    let (name, domains) = described(&caller.snapshot);
    Answer(listed(&json!({
        "id": format!("/tenants/{id}"),
        "tenantId": id,
        "displayName": name,
        "defaultDomain": domains.first(),
        "domains": domains,
        "tenantType": "AAD",
        "tenantCategory": "Home",
    })))
}

/// One subscription, which stands for the installation.
pub(crate) async fn subscriptions(State(api): State<Api>, caller: Authenticated) -> Answer<Value> {
    let id = subscription(api.tenant);
    let (name, _) = described(&caller.snapshot);
    Answer(listed(&json!({
        "id": format!("/subscriptions/{id}"),
        "subscriptionId": id,
        "tenantId": api.tenant,
        "displayName": name,
        "state": "Enabled",
        "subscriptionPolicies": {},
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
    })))
}

fn listed(one: &Value) -> Value {
    json!({ "value": [one], "count": { "type": "Total", "value": 1 } })
}

fn described(snapshot: &Snapshot) -> (String, Vec<String>) {
    snapshot.tenant().map_or_else(Default::default, |tenant| {
        (tenant.spec.display_name.clone(), tenant.spec.domains.clone())
    })
}

/// Never the tenant's own id: azure-cli takes an account under that for a tenant without subscriptions.
fn subscription(tenant: TenantId) -> Uuid {
    Uuid::from_u128(!tenant.0.as_u128())
}

/// Where clients find everything: what stands before the tenant in the issuer.
fn origin(api: &Api) -> Result<&str, Refusal> {
    let suffix = format!("/{}/v2.0", api.tenant);
    let origin = api.issuer.strip_suffix(&suffix);
    origin.ok_or_else(|| Refusal::new(&code::INTERNAL, "the issuer is not this tenant's"))
}
