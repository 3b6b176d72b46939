//! `/scim/v2/Users`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use control::{DirectoryUser, Provisioner};
use model::kind::user::User;
use model::{Document, Refusal, UserName, code};
use serde_json::Value;

use super::{
    AskedQuery, Body, Directory, Problem, again, answer, asked, created, id, insisted, meta,
    replaced,
};
use crate::Api;

pub(crate) async fn list(
    State(api): State<Api>,
    Directory(by): Directory,
    query: AskedQuery,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let snapshot = api.snapshots.load();
    let theirs = snapshot.users.iter().filter(|user| by.owns(&user.status));
    let page = asked.page(theirs.map(|user| json(&api, user)))?;
    Ok(answer(StatusCode::OK, &page, None))
}

pub(crate) async fn read(
    State(api): State<Api>,
    Directory(by): Directory,
    Path(text): Path<String>,
    query: AskedQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = asked(query)?;
    let user = find(&api, &by, &text)?;
    let resource = json(&api, &user);
    let mut response = answer(StatusCode::OK, &resource, Some(&headers));
    if response.status() == StatusCode::OK {
        *response.body_mut() = asked.shown(resource).to_string().into();
    }
    Ok(response)
}

pub(crate) async fn create(
    State(api): State<Api>,
    Directory(by): Directory,
    Body(body): Body,
) -> Result<Response, Problem> {
    let wanted = wanted(&body)?;
    let done = created(api.control.scim_create_user(&by, wanted).await)?;
    Ok(answer(StatusCode::CREATED, &json(&api, &done.value), None))
}

pub(crate) async fn replace(
    State(api): State<Api>,
    Directory(by): Directory,
    Path(text): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let (id, insisted) = (id(&text)?, insisted(&headers)?);
    let wanted = wanted(&body)?;
    let done = api.control.scim_replace_user(&by, id, insisted, wanted).await;
    Ok(answer(StatusCode::OK, &json(&api, &replaced(done, insisted)?.value), None))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    Directory(by): Directory,
    Path(text): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let insisted = insisted(&headers)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let before = find(&api, &by, &text)?;
        let wanted = wanted(&scim::patch(&json(&api, &before), &body)?)?;
        let seen = insisted.or(before.metadata.revision);
        match api.control.scim_replace_user(&by, before.uid(), seen, wanted).await {
            Err(refusal) if insisted.is_none() && again(&refusal, attempt) => {}
            done => {
                let done = replaced(done, insisted)?;
                return Ok(answer(StatusCode::OK, &json(&api, &done.value), None));
            }
        }
    }
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Directory(by): Directory,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let insisted = insisted(&headers)?;
    let done = api.control.scim_delete_user(&by, id(&text)?, insisted).await;
    replaced(done, insisted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn find(api: &Api, by: &Provisioner, text: &str) -> Result<Document<User>, Problem> {
    let snapshot = api.snapshots.load();
    let found = snapshot.users.by_uid(id(text)?).filter(|user| by.owns(&user.status));
    let found = found.map(|user| Document::clone(user));
    found.ok_or_else(|| Refusal::new(&code::NOT_FOUND, "this directory has no such user").into())
}

fn wanted(body: &Value) -> Result<DirectoryUser, Problem> {
    let scim::User { user_name, display_name, active, external_id } = scim::read_user(body)?;
    let name = UserName::new(user_name).map_err(|error| {
        scim::Error::new(scim::Problem::InvalidValue, format!("`userName`: {error}"))
    })?;
    Ok(DirectoryUser { name, display_name, active, external_id })
}

fn json(api: &Api, user: &Document<User>) -> Value {
    let status = user.status.scim.as_ref();
    let shown = scim::User {
        user_name: user.name().to_owned(),
        display_name: user.spec.display_name.clone(),
        active: status.is_some_and(|status| status.active),
        external_id: status.and_then(|status| status.external_id.clone()),
    };
    scim::user_json(&shown, &meta(api, user))
}
