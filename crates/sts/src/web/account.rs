//! `/account`: one's keys, one's sessions, and what happened at one's sign-ins.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use control::credentials::{
    BrowserSession, Enrolment, Passkeys, PastSignIn, RefreshFamily, SignInHistory, end_families,
};
use control::{Verb, Writing};
use model::event::Outcome;
use model::{PrincipalId, Refusal, code};
use uuid::Uuid;

use super::session::FRESH;
use super::{
    Chooser, Demand, Flow, Next, Page, Posted, Refused, Session, Visit, browser, chooser, escaped,
    failure_page, hidden, keys, refusal_page, see_other, when,
};
use crate::authorize::revocation;
use crate::client;
use crate::failure::Failure;
use crate::service::store_failed;

/// Everything of a person's that the page shows.
pub(super) struct Held {
    pub(super) passkeys: Passkeys,
    pub(super) enrolment: Option<Enrolment>,
    sessions: Vec<(String, BrowserSession)>,
    families: Vec<RefreshFamily>,
    history: SignInHistory,
}

impl Held {
    pub(super) fn of(visit: &Visit, person: PrincipalId) -> Result<Self, Failure> {
        let key = person.to_string();
        let read = visit.service.store().read(|reader| {
            let sessions = reader.records::<BrowserSession>()?.into_iter();
            let families = reader.records::<RefreshFamily>()?.into_iter();
            Ok(Self {
                passkeys: reader.record(&key)?.unwrap_or_default(),
                enrolment: reader.record(&key)?,
                sessions: sessions.filter(|(_, it)| it.principal == person).collect(),
                families: families
                    .map(|(_, it)| it)
                    .filter(|it| it.principal == person && visit.now < it.expires_at)
                    .collect(),
                history: reader.record(&key)?.unwrap_or_default(),
            })
        });
        read.map_err(store_failed)
    }
}

/// The page is for those who have signed in with two factors; a pass alone leads to the one that adds keys.
pub(super) fn account_flow(visit: &Visit) -> Flow {
    Flow::new(visit, Next::Account, Demand::default())
}

/// `GET /account`.
pub(super) async fn page(visit: Visit) -> Response {
    let flow = account_flow(&visit);
    match &visit.session {
        None => chooser(&visit, &flow, &Chooser::default()),
        Some(session) if session.enrols_only() => keys::enrolment(&visit, session, &flow),
        Some(session) => shown(&visit, session, None),
    }
}

/// The page, with a word on what has just been done.
pub(super) fn shown(visit: &Visit, session: &Session, done: Option<&str>) -> Response {
    let made = Held::of(visit, session.principal()).and_then(|held| {
        let thread = hidden("flow", &account_flow(visit).sealed(visit)?);
        Ok(body(visit, session, &held, (&thread, done)))
    });
    match made {
        Ok(body) => visit.answer(Page::new("Your account", body).wide()),
        Err(failure) => failure_page(&failure),
    }
}

fn body(
    visit: &Visit,
    session: &Session,
    held: &Held,
    (thread, done): (&str, Option<&str>),
) -> String {
    let done = done.map(|text| format!("<p class=\"good\" role=\"status\">{}</p>", escaped(text)));
    format!(
        "<div class=\"top\"><p><strong>{}</strong><br><span class=\"soft\">{}</span></p>\
         <form method=\"post\" action=\"/account/signout\">{thread}\
         <button class=\"second small\">Sign out</button></form></div>{}{}{}{}",
        escaped(&session.user.spec.display_name),
        escaped(session.user.name()),
        done.unwrap_or_default(),
        keys::section(visit, held, thread),
        sessions(visit, session, held, thread),
        history(&held.history),
    )
}

fn sessions(visit: &Visit, session: &Session, held: &Held, thread: &str) -> String {
    let end = |kind: &str, id: Uuid, what: &str| {
        format!(
            "<form method=\"post\" action=\"/account/sessions/end\">{thread}{}{}\
             <button class=\"second small\" aria-label=\"End {}\">End</button></form>",
            hidden("kind", kind),
            hidden("id", &id.to_string()),
            escaped(what),
        )
    };
    let named = |id| client::name(id, &visit.snapshot);
    let mut rows = Vec::new();
    for (key, it) in &held.sessions {
        let here = if *key == session.key { " <span class=\"soft\">this one</span>" } else { "" };
        let mut programs: Vec<String> = it.programs.iter().map(|p| named(p.client)).collect();
        programs.sort_unstable();
        programs.dedup();
        rows.push(format!(
            "<tr><td>{}{here}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&it.browser),
            it.source,
            when(it.signed_in_at),
            escaped(&programs.join(", ")),
            end("browser", it.id, &it.browser),
        ));
    }
    let of_browsers: Vec<Uuid> =
        held.sessions.iter().flat_map(|(_, it)| it.programs.iter().map(|p| p.sign_in)).collect();
    for family in held.families.iter().filter(|it| !of_browsers.contains(&it.session)) {
        let name = named(family.client);
        rows.push(format!(
            "<tr><td>Command line or device</td><td></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            when(family.signed_in_at),
            escaped(&name),
            end("program", family.session, &name),
        ));
    }
    format!(
        "<h2>Where you are signed in</h2>\
         <p class=\"soft\">Ending one also ends the database sessions that its programs have open.</p>\
         <div class=\"scroll\"><table><thead><tr><th scope=\"col\">Where</th><th scope=\"col\">Address</th>\
         <th scope=\"col\">Since</th><th scope=\"col\">Programs</th><td></td></tr></thead>\
         <tbody>{}</tbody></table></div>",
        rows.concat()
    )
}

fn history(history: &SignInHistory) -> String {
    let mut all: Vec<(&PastSignIn, &str)> = history
        .succeeded
        .iter()
        .map(|past| (past, "signed in"))
        .chain(history.refused.iter().map(|past| (past, "<strong>refused</strong>")))
        .collect();
    all.sort_by_key(|(past, _)| std::cmp::Reverse(past.at));
    let rows: Vec<String> = all
        .iter()
        .map(|(past, outcome)| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{outcome}</td></tr>",
                when(past.at),
                escaped(way(&past.how)),
                past.source,
                escaped(&match &past.client {
                    Some(client) => format!("{} · {client}", past.browser),
                    None => past.browser.clone(),
                }),
            )
        })
        .collect();
    format!(
        "<h2>What happened lately</h2>\
         <p class=\"soft\">Something that was not you? Remove the key that it used, end the session, and tell an owner.</p>\
         <div class=\"scroll\"><table><thead><tr><th scope=\"col\">When</th><th scope=\"col\">How</th>\
         <th scope=\"col\">From</th><th scope=\"col\">In</th><th scope=\"col\">Outcome</th></tr></thead>\
         <tbody>{}</tbody></table></div>",
        rows.concat()
    )
}

fn way(how: &str) -> &str {
    match how {
        "passkey" => "Passkey",
        "authenticator" => "Authenticator code",
        "pass" => "Temporary Access Pass",
        other => other,
    }
}

/// Keys are changed by those who have signed in just now: a browser that was left open is not enough.
pub(super) async fn posted_fresh(
    visit: &Visit,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Posted, &Session), Response> {
    let (posted, session) = visit.posted_by(body).await?;
    if session.is_fresh(visit.now) {
        return Ok((posted, session));
    }
    let since = Some(visit.now.minus(FRESH));
    let flow = Flow::new(visit, Next::Account, Demand { since, contexts: Vec::new() });
    Err(chooser(visit, &flow, &Chooser::told("Sign in once more before you change your keys.")))
}

/// The same, for what a pass alone does not open: it adds keys, and takes none away.
pub(super) async fn posted_by_owner(
    visit: &Visit,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Posted, &Session), Response> {
    let (posted, session) = posted_fresh(visit, body).await?;
    if session.enrols_only() {
        let refusal = Refusal::new(&code::FORBIDDEN, "a pass adds keys and changes none")
            .hint("sign in with a key of yours first");
        let refused = Refused::new("changeKeys", session.actor(), refusal);
        return Err(refusal_page(&visit.refuse(refused).await));
    }
    Ok((posted, session))
}

/// `POST /account/sessions/end`.
pub(super) async fn end_session(visit: Visit, body: Result<Bytes, BytesRejection>) -> Response {
    let (posted, session) = match visit.posted_by(body).await {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let id = posted.form.get("id").and_then(|id| id.parse::<Uuid>().ok());
    let browsers = posted.form.get("kind") == Some("browser");
    let Some(id) = id.filter(|_| !session.enrols_only()) else {
        return refusal_page(&Refusal::new(&code::NOT_FOUND, "there is no such session"));
    };
    let (person, own) = (session.principal(), session.record.id);
    let event = visit.event("endSession", session.actor(), None, Outcome::Succeeded);
    let written =
        visit.service.state.control.system(Verb::SignIn, person.to_string(), move |writing| {
            let ended = if browsers {
                end_browser(writing, person, id)?
            } else {
                end_program(writing, person, id)?
            };
            if ended {
                writing.note(event);
            }
            Ok(ended)
        });
    match written.await.map(|written| written.value) {
        Ok(true) if browsers && id == own => browser::end_session(see_other("/account")),
        Ok(true) => shown(&visit, session, Some("The session was ended.")),
        Ok(false) => refusal_page(&Refusal::new(&code::NOT_FOUND, "there is no such session")),
        Err(refusal) => refusal_page(&refusal),
    }
}

/// A browser's session, and everything that programs were given out of it.
pub(super) fn end_browser(
    writing: &mut Writing<'_, '_>,
    person: PrincipalId,
    id: Uuid,
) -> Result<bool, Refusal> {
    let sessions = writing.records::<BrowserSession>()?;
    let found = sessions.into_iter().find(|(_, it)| it.id == id && it.principal == person);
    let Some((key, session)) = found else { return Ok(false) };
    writing.delete_record::<BrowserSession>(&key)?;
    let now = writing.now();
    for program in session.programs {
        end_families(writing, program.sign_in)?;
        if now.since(program.at) < control::TOKEN_LIFETIME_MAX {
            writing.put(revocation(program.sign_in, now, "its session was ended"))?;
        }
    }
    Ok(true)
}

fn end_program(
    writing: &mut Writing<'_, '_>,
    person: PrincipalId,
    sign_in: Uuid,
) -> Result<bool, Refusal> {
    let families = writing.records::<RefreshFamily>()?;
    if !families.iter().any(|(_, it)| it.session == sign_in && it.principal == person) {
        return Ok(false);
    }
    end_families(writing, sign_in)?;
    let now = writing.now();
    writing.put(revocation(sign_in, now, "its session was ended"))?;
    Ok(true)
}
