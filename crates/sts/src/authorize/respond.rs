//! The way back to the program: in the query, in the fragment, or as a form that posts itself.

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::redirect;
use serde_json::json;

use super::{Mode, Request};
use crate::failure::Failure;
use crate::form;
use crate::tenant;
use crate::web::{Page, Session, Visit, escaped, hidden, see_other};

pub(super) fn succeeded(
    visit: &Visit,
    session: &Session,
    request: &Request,
    code: &str,
) -> Response {
    let mut fields = vec![("code", code.to_owned())];
    if request.client_info {
        let info = json!({ "uid": session.principal(), "utid": request.tenant });
        fields.push(("client_info", URL_SAFE_NO_PAD.encode(info.to_string())));
    }
    fields.push(("session_state", session.record.id.to_string()));
    deliver(visit, request, fields)
}

pub(super) fn failed(visit: &Visit, request: &Request, failure: &Failure) -> Response {
    let fields = vec![
        ("error", failure.kind.error.to_owned()),
        ("error_description", format!("{}: {}", failure.code(), failure.message)),
    ];
    deliver(visit, request, fields)
}

fn deliver(visit: &Visit, request: &Request, mut fields: Vec<(&'static str, String)>) -> Response {
    if let Some(state) = &request.state {
        fields.push(("state", state.clone()));
    }
    // RFC 9207: which of its servers a program has its answer from.
    fields.push(("iss", tenant::issuer(visit.service.origin(), request.tenant)));
    let uri = &request.redirect_uri;
    match request.mode {
        Mode::Query => {
            let joint = if uri.contains('?') { '&' } else { '?' };
            see_other(&format!("{uri}{joint}{}", written(&fields)))
        }
        Mode::Fragment => see_other(&format!("{uri}#{}", written(&fields))),
        Mode::FormPost => {
            let inputs: String = fields.iter().map(|(name, value)| hidden(name, value)).collect();
            let body = format!(
                "<p>Going back to the program.</p>\
                 <form method=\"post\" action=\"{}\" data-post>{inputs}\
                 <button>Go on</button></form>",
                escaped(uri)
            );
            Page::new("Signed in", body).leads_to(redirect::origin(uri)).into_response()
        }
    }
}

fn written(fields: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", form::encoded(value))).collect();
    pairs.join("&")
}
