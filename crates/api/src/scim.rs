//! `/scim/v2`: SCIM 2.0 for directories that push joiners and leavers (RFC 7644). What is understood is `scim`'s to say,
//! what may be done `control`'s. A provisioning credential opens these addresses and no others.

mod groups;
mod users;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control::Provisioner;
use model::{Document, Refusal, Revision, Spec, code};
use scim::{Filter, MEDIA_TYPE, Meta, RESULTS_MAX};
use serde::Deserialize;
use serde_json::Value;

use crate::Api;
use crate::authenticate::bearer;
use crate::body::{LARGE_BYTES_MAX, bytes_of};

/// A group of some ten thousand members fits; so does everything else.
pub(crate) const BODY_BYTES_MAX: usize = LARGE_BYTES_MAX;
/// A PATCH without an entity tag is computed anew when somebody else was quicker.
const ATTEMPTS_MAX: usize = 5;

const BASE: &str = "/scim/v2";

pub(crate) fn routes() -> Router<Api> {
    let routes = Router::new()
        .route("/ServiceProviderConfig", get(configuration))
        .route("/ResourceTypes", get(resource_types))
        .route("/ResourceTypes/{name}", get(resource_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(schema))
        .route("/Users", get(users::list).post(users::create))
        .route(
            concat!("/Users", "/{id}"),
            get(users::read).put(users::replace).patch(users::patch).delete(users::delete),
        )
        .route("/Groups", get(groups::list).post(groups::create))
        .route(
            "/Groups/{id}",
            get(groups::read).put(groups::replace).patch(groups::patch).delete(groups::delete),
        )
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here);
    Router::new().nest(BASE, routes)
}

/// A refusal in SCIM's words.
#[derive(Debug)]
pub(crate) struct Problem {
    status: u16,
    error: scim::Error,
}

impl From<scim::Error> for Problem {
    fn from(error: scim::Error) -> Self {
        Self { status: error.status(), error }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let immutable = refusal.code == &code::IMMUTABLE;
        let invalid = [&code::INVALID, &code::REFERENCE_UNKNOWN].contains(&refusal.code);
        let problem = match (immutable, invalid) {
            (true, _) => Some(scim::Problem::Mutability),
            (false, true) => Some(scim::Problem::InvalidValue),
            (false, false) => None,
        };
        scim::Error { problem, refusal }.into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = self.error.body();
        if let Some(members) = body.as_object_mut() {
            members.insert("status".to_owned(), self.status.to_string().into());
        }
        (status, [(CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
    }
}

async fn nothing_here() -> Problem {
    Refusal::new(&code::NOT_FOUND, "there is nothing at this address for this method")
        .hint("docs/guides/scim.md lists the addresses")
        .into()
}

/// A directory, by its bearer token.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) Provisioner);

impl FromRequestParts<Api> for Directory {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(bearer).ok_or_else(|| {
            Refusal::new(&code::UNAUTHENTICATED, "the request has no bearer token")
                .hint("send the token of a provisioning credential")
        })?;
        Ok(Self(api.control.provisioner(token, peer)?))
    }
}

/// A JSON body, whatever its media type says.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Value);

impl FromRequest<Api> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let bytes = bytes_of(request, BODY_BYTES_MAX).await?;
        let read = serde_json::from_slice(&bytes).map_err(|error| {
            scim::Error::new(scim::Problem::InvalidSyntax, format!("the body is not JSON: {error}"))
        })?;
        Ok(Self(read))
    }
}

/// What is asked of a list, or of how one is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Asked {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

impl Asked {
    pub(crate) fn shown(&self, resource: Value) -> Value {
        scim::projected(resource, self.attributes.as_deref(), self.excluded_attributes.as_deref())
    }

    /// One page of those that the filter finds (RFC 7644 §3.4.2.4: less than one is one, less than nothing is nothing).
    pub(crate) fn page(&self, resources: impl Iterator<Item = Value>) -> Result<Value, Problem> {
        let filter = self.filter.as_deref().map(Filter::read).transpose()?;
        let matches =
            |resource: &Value| filter.as_ref().is_none_or(|filter| filter.matches(resource));
        let found: Vec<Value> = resources.filter(matches).collect();
        let at_least = |number: Option<i64>, least: usize, default: usize| {
            number.map_or(default, |number| usize::try_from(number).unwrap_or(least).max(least))
        };
        let start = at_least(self.start_index, 1, 1);
        let count = at_least(self.count, 0, RESULTS_MAX).min(RESULTS_MAX);
        let total = found.len();
        let page: Vec<Value> = found
            .into_iter()
            .skip(start - 1)
            .take(count)
            .map(|resource| self.shown(resource))
            .collect();
        Ok(scim::list_response(&page, start, total))
    }
}

/// A query of which every member may be absent.
pub(crate) type AskedQuery = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

pub(crate) fn asked(query: AskedQuery) -> Result<Asked, Problem> {
    let Query(asked) =
        query.map_err(|error| scim::Error::new(scim::Problem::InvalidSyntax, error.body_text()))?;
    Ok(asked)
}

/// `id` and `meta` of a document.
pub(crate) fn meta<S: Spec>(api: &Api, document: &Document<S>) -> Meta {
    let metadata = &document.metadata;
    let shown = |at: Option<model::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    Meta {
        id: document.uid().to_string(),
        created: shown(metadata.created_at),
        modified: shown(metadata.updated_at),
        version: tag(metadata.revision),
        base: base(api),
    }
}

fn tag(revision: Option<Revision>) -> String {
    format!("W/\"{}\"", revision.unwrap_or_default())
}

pub(crate) fn base(api: &Api) -> String {
    let suffix = format!("/{}/v2.0", api.tenant);
    let origin = api.issuer.strip_suffix(&suffix).unwrap_or(&api.issuer);
    format!("{origin}{BASE}")
}

/// The revision that a request insists on.
pub(crate) fn insisted(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let Some(tag) = headers.get(IF_MATCH).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    if tag.trim() == "*" {
        return Ok(None);
    }
    match revision(tag) {
        Some(revision) => Ok(Some(revision)),
        // A tag that is none of ours is that of nothing that there is.
        None => Err(changed("the entity tag is not one of this service provider's")),
    }
}

fn revision(tag: &str) -> Option<Revision> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Revision)
}

/// RFC 7644 §3.14.
fn changed(message: &str) -> Problem {
    let refusal = Refusal::new(&code::CONFLICT, message);
    Problem { status: StatusCode::PRECONDITION_FAILED.as_u16(), error: refusal.into() }
}

/// What became of a replacement: one that insisted on a revision is told that it has changed.
pub(crate) fn replaced<T>(
    result: Result<T, Refusal>,
    insisted: Option<Revision>,
) -> Result<T, Problem> {
    result.map_err(|refusal| {
        if refusal.code == &code::CONFLICT && insisted.is_some() {
            return changed(&refusal.message);
        }
        refusal.into()
    })
}

/// What became of a creation: a name that is taken is not unique.
pub(crate) fn created<T>(result: Result<T, Refusal>) -> Result<T, Problem> {
    result.map_err(|refusal| {
        if refusal.code == &code::CONFLICT {
            let problem = Some(scim::Problem::Uniqueness);
            return scim::Error { problem, refusal }.into();
        }
        refusal.into()
    })
}

/// A resource on its way out, unless the client has it already.
pub(crate) fn answer(
    status: StatusCode,
    resource: &Value,
    headers: Option<&HeaderMap>,
) -> Response {
    let text = |pointer| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (tag, location) = (text("/meta/version").to_owned(), text("/meta/location").to_owned());
    let known = headers.and_then(|headers| headers.get(IF_NONE_MATCH));
    let known = known.and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| revision(known).is_some() && revision(known) == revision(&tag)) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], resource.to_string()).into_response();
    for (name, value) in [(ETAG, tag), (LOCATION, location)] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(value: &Value) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, MEDIA_TYPE)], value.to_string()).into_response()
}

async fn configuration(State(api): State<Api>, _: Directory) -> Response {
    plain(&scim::service_provider_config(&base(&api)))
}

async fn resource_types(State(api): State<Api>, _: Directory) -> Response {
    let all = scim::resource_types(&base(&api));
    plain(&scim::list_response(&all, 1, all.len()))
}

async fn resource_type(
    State(api): State<Api>,
    _: Directory,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = scim::resource_type(&base(&api), &name);
    found.map(|found| plain(&found)).ok_or_else(|| not_described(&name))
}

async fn schemas(State(api): State<Api>, _: Directory) -> Response {
    let all = scim::schemas(&base(&api));
    plain(&scim::list_response(&all, 1, all.len()))
}

async fn schema(
    State(api): State<Api>,
    _: Directory,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = scim::schema(&base(&api), &id);
    found.map(|found| plain(&found)).ok_or_else(|| not_described(&id))
}

fn not_described(name: &str) -> Problem {
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    Refusal::new(&code::NOT_FOUND, format!("nothing is called `{name}` here")).into()
}

/// The id in an address.
pub(crate) fn id(text: &str) -> Result<uuid::Uuid, Problem> {
    text.parse().map_err(|_| {
        Refusal::new(&code::NOT_FOUND, "the address names no id of this service provider").into()
    })
}

/// Whether a change that nobody insisted on is to be computed again.
pub(crate) fn again(refusal: &Refusal, attempt: usize) -> bool {
    refusal.code == &code::CONFLICT && attempt < ATTEMPTS_MAX
}
