//! Every route: method, address, handler, and what it is for. The router and the reference page are made from it.

use axum::Router;
use axum::routing::{MethodFilter, on};

use crate::{
    Api, access_routes, activations, apply, arm, audit_routes, conditional_access, credentials,
    directories, health, resources, servers, sessions,
};

/// One route, for the reference page and for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Address; what stands in braces is a name.
    pub path: &'static str,
    /// What it is for.
    pub what: &'static str,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path, $what:literal;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] =
            &[$(Route { method: stringify!($method), path: $path, what: $what },)*];

        pub(crate) fn routes() -> Router<Api> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
        }
    };
}

routes! {
    GET "/healthz" => health::alive, "The process answers. Open to everyone.";
    GET "/readyz" => health::ready, "Whether new sessions and requests can be taken, and if not, why. Open to everyone.";
    GET "/metrics" => health::metrics, "Figures as OpenMetrics text; from this host, or with an auditor's or owner's token.";
    GET "/metadata/endpoints" => arm::endpoints, "Where everything is, for `az cloud register`. Open to everyone.";
    GET "/tenants" => arm::tenants, "The directory, as azure-cli asks for it.";
    GET "/subscriptions" => arm::subscriptions, "One subscription, which stands for the installation: azure-cli does not sign in without.";
    GET "/v1/me" => access_routes::me, "Who the caller is.";
    GET "/v1/explain" => access_routes::explain, "Why `principal` may, or may not, open `database` on `server` from `source`.";
    GET "/v1/{kind}" => resources::list, "Documents of a kind, as the caller may see them.";
    GET "/v1/{kind}/{name}" => resources::get, "One document.";
    PUT "/v1/{kind}/{name}" => resources::put, "Creates or replaces one document. A `metadata.revision` in it must be the stored one.";
    DELETE "/v1/{kind}/{name}" => resources::delete, "Deletes one document that nothing refers to.";
    POST "/v1/apply" => apply::apply, "Applies `documents` together: all or none. `prune`, `dryRun`, `conflicts`.";
    GET "/v1/activations" => activations::list, "Activations, as the caller may see them.";
    POST "/v1/activations" => activations::request, "Asks for membership of `group` for `duration`, with a `justification`.";
    POST "/v1/activations/{id}/{step}" => activations::step, "`approve`, `deny`, `cancel`, `deactivate` or `revoke`, with a `note`.";
    GET "/v1/sessions" => sessions::list, "Live sessions; of one `principal`, on one `server`.";
    POST "/v1/sessions/cut" => sessions::cut, "Cuts a `session`, or those of a `principal` or on a `server`, for a `reason`.";
    GET "/v1/sessions/{id}" => sessions::why, "What became of a session.";
    GET "/v1/audit" => audit_routes::search, "Audit events as lines of JSON, the oldest first, statements with the tables that they `affected`: `since`, `until`, `actor`, `server`, `session`, `types`, `code`, `table` with `access` (`read`, `wrote`), `text`, `limit`, `follow`.";
    GET "/v1/audit/statements/{session}/{number}" => audit_routes::statement, "One statement with its outcome, the tables that it affected, its session and the steps of the activations that it ran under.";
    GET "/v1/audit/checkpoint" => audit_routes::checkpoint, "The latest signed checkpoint of the audit log, and its public key.";
    POST "/v1/conditionalaccess/whatif" => conditional_access::what_if, "What a draft of a ConditionalAccessPolicy (`policy`, its spec) would have done to the sessions of the last `days`.";
    POST "/v1/users/{name}/pass" => credentials::issue_pass, "Issues a Temporary Access Pass, shown once.";
    POST "/v1/hosts/{name}/join-token" => credentials::issue_join_token, "Issues a token with which the machine joins, once, within an hour; shown once.";
    POST "/v1/applications/{name}/secrets" => credentials::add_secret, "Makes a client secret with a `lifetime`, shown once.";
    DELETE "/v1/applications/{name}/secrets/{id}" => credentials::remove_secret, "Removes a client secret.";
    GET "/v1/scim/credentials" => directories::list, "Credentials of directories that push people and groups to `/scim/v2` (docs/guides/scim.md).";
    POST "/v1/scim/credentials" => directories::add, "Makes one with a `name` and a `lifetime`; its token is shown once.";
    DELETE "/v1/scim/credentials/{name}" => directories::remove, "Removes every token of a directory; `release`: its people and groups become people's to manage.";
    POST "/v1/tokens/revoke" => credentials::revoke_tokens, "Makes every token of a `principal`, or one `token`, no longer count.";
    GET "/v1/doctor" => servers::doctor, "What is wrong with the installation and its servers, each finding with a code, a severity and the next step; `now`.";
    GET "/v1/databaseservers/{name}/connection" => servers::connection, "Where the caller connects to the server and as whom, which `database` is meant, and what is not met yet.";
    GET "/v1/databaseservers/{name}/enrollment" => servers::enrollment, "What `portcullis server enroll` needs to know.";
    POST "/v1/databaseservers/{name}/adopt" => servers::adopt, "Lets Portcullis manage the existing database user `user` for `principal`.";
    POST "/v1/databaseservers/{name}/abandon" => servers::abandon, "For a deleted server that does not exist any more: its users count as gone, for a `reason`, and its name is free.";
    POST "/v1/signingkeys/rotate" => servers::rotate_signing_key, "Makes the next key that signs tokens; `atOnce`: every token, handle and session of before ends.";
    POST "/v1/authorities/rotate" => servers::rotate_authority, "Takes one step of a rotation: of the client authority of `server`, of that of `hosts`, or of the installation's own.";
}
