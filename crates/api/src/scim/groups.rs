//! `/scim/v2/Groups`.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use control::{DirectoryGroup, Provisioner};
use model::kind::group::Group;
use model::{Document, GroupName, Refusal, Snapshot, UserName, code};
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
    let theirs = snapshot.groups.iter().filter(|group| by.owns(&group.status));
    let page = asked.page(theirs.map(|group| json(&api, group, &snapshot)))?;
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
    let snapshot = api.snapshots.load();
    let group = find(&snapshot, &by, &text)?;
    let resource = json(&api, &group, &snapshot);
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
    let wanted = wanted(&body, None, &api.snapshots.load())?;
    let done = created(api.control.scim_create_group(&by, wanted).await)?;
    let resource = json(&api, &done.value, &api.snapshots.load());
    Ok(answer(StatusCode::CREATED, &resource, None))
}

pub(crate) async fn replace(
    State(api): State<Api>,
    Directory(by): Directory,
    Path(text): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let insisted = insisted(&headers)?;
    let snapshot = api.snapshots.load();
    let before = find(&snapshot, &by, &text)?;
    let wanted = wanted(&body, Some(&before), &snapshot)?;
    let done = api.control.scim_replace_group(&by, before.uid(), insisted, wanted).await;
    let done = replaced(done, insisted)?;
    Ok(answer(StatusCode::OK, &json(&api, &done.value, &api.snapshots.load()), None))
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
        let snapshot = api.snapshots.load();
        let before = find(&snapshot, &by, &text)?;
        let patched = scim::patch(&json(&api, &before, &snapshot), &body)?;
        let wanted = wanted(&patched, Some(&before), &snapshot)?;
        let seen = insisted.or(before.metadata.revision);
        match api.control.scim_replace_group(&by, before.uid(), seen, wanted).await {
            Err(refusal) if insisted.is_none() && again(&refusal, attempt) => {}
            done => {
                let done = replaced(done, insisted)?;
                let resource = json(&api, &done.value, &api.snapshots.load());
                return Ok(answer(StatusCode::OK, &resource, None));
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
    let done = api.control.scim_delete_group(&by, id(&text)?, insisted).await;
    replaced(done, insisted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn find(snapshot: &Snapshot, by: &Provisioner, text: &str) -> Result<Document<Group>, Problem> {
    let found = snapshot.groups.by_uid(id(text)?).filter(|group| by.owns(&group.status));
    let found = found.map(|group| Document::clone(group));
    found.ok_or_else(|| Refusal::new(&code::NOT_FOUND, "this directory has no such group").into())
}

/// Members are named by id, and groups keep the name that they were created under, whatever the directory calls them now.
fn wanted(
    body: &Value,
    before: Option<&Document<Group>>,
    snapshot: &Snapshot,
) -> Result<DirectoryGroup, Problem> {
    let scim::Group { display_name, external_id, members } = scim::read_group(body)?;
    let invalid = |why: String| scim::Error::new(scim::Problem::InvalidValue, why);
    let name = match before {
        Some(before) => before.name().to_owned(),
        None => name_of(&display_name),
    };
    let name = GroupName::new(name).map_err(|error| invalid(format!("`displayName`: {error}")))?;
    let mut names = BTreeSet::new();
    for member in members {
        let shown: String = member.chars().filter(|c| !c.is_control()).take(100).collect();
        let unknown = || invalid(format!("`members`: there is no user with the id `{shown}`"));
        let uid = member.parse().map_err(|_| unknown())?;
        let user = snapshot.users.by_uid(uid).ok_or_else(unknown)?;
        names.insert(UserName::new(user.name()).map_err(|error| invalid(error.to_string()))?);
    }
    Ok(DirectoryGroup { name, display_name, external_id, members: names.into_iter().collect() })
}

/// Names here are made of fewer characters than directories allow.
fn name_of(display_name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || "._-@#~+".contains(c);
    display_name.trim().chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

fn json(api: &Api, group: &Document<Group>, snapshot: &Snapshot) -> Value {
    let status = group.status.scim.as_ref();
    let display_name = status.and_then(|status| status.display_name.clone());
    let known = group.spec.members.iter().filter_map(|member| snapshot.users.get(member));
    let (members, names) =
        known.map(|user| (user.uid().to_string(), user.name().to_owned())).unzip();
    let names: Vec<String> = names;
    let shown = scim::Group {
        display_name: display_name.unwrap_or_else(|| group.name().to_owned()),
        external_id: status.and_then(|status| status.external_id.clone()),
        members,
    };
    scim::group_json(&shown, &names, &meta(api, group))
}
