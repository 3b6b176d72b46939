//! The session of a browser: whose it is, how and when they signed in, and for how long.

use std::sync::Arc;
use std::time::Duration;

use control::Writing;
use control::credentials::{BrowserSession, Enrolment, TrustedBrowser, trusted_browser_key};
use model::event::Actor;
use model::kind::user::User;
use model::{Document, Principal, PrincipalId, Refusal, Snapshot, Timestamp};
use runtime::Secret;
use uuid::Uuid;

use super::Visit;
use super::browser::{BROWSER_DAYS, session_key};
use crate::claims::SignedIn;
use crate::failure::Failure;
use crate::refresh;
use crate::service::{Service, store_failed};

/// A Temporary Access Pass opens the account page for so long, to add keys.
const ENROLMENT: Duration = Duration::from_mins(15);

/// Keys are added and removed within this time of a sign-in.
pub(crate) const FRESH: Duration = Duration::from_mins(15);

/// A browser trusted for so long without another passkey.
const TRUST: Duration = Duration::from_hours(BROWSER_DAYS * 24);

/// `amr` of a session that a Temporary Access Pass opened. It enrols and does nothing else.
pub(crate) const PASS: &str = "tap";

/// Whoever is signed in here.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) key: String,
    pub(crate) record: BrowserSession,
    pub(crate) user: Arc<Document<User>>,
}

impl Session {
    /// The session of a cookie, if it counts now.
    pub(crate) fn load(
        service: &Service,
        secret: &Secret<String>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Option<Self>, Failure> {
        let key = session_key(secret.expose());
        let found = service
            .store()
            .read(|reader| {
                let Some(record) = reader.record::<BrowserSession>(&key)? else { return Ok(None) };
                let enrolment = reader.record::<Enrolment>(&record.principal.to_string())?;
                Ok(Some((record, enrolment)))
            })
            .map_err(store_failed)?;
        let Some((record, enrolment)) = found.filter(|(record, _)| now < record.expires_at) else {
            return Ok(None);
        };
        let signed_in = (record.signed_in_at, record.methods.as_slice());
        if refresh::over(record.principal, signed_in, snapshot, enrolment.as_ref()).is_some() {
            return Ok(None);
        }
        let user = snapshot.users.by_uid(record.principal.0).map(Arc::clone);
        Ok(user.map(|user| Self { key, record, user }))
    }

    pub(crate) fn principal(&self) -> PrincipalId {
        self.record.principal
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::from(&Principal::user(&self.user))
    }

    /// A pass opened it: keys can be added, nothing else.
    pub(crate) fn enrols_only(&self) -> bool {
        self.record.methods.iter().any(|method| method == PASS)
    }

    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.record.signed_in_at.plus(FRESH)
    }

    /// The sign-in, for tokens under this `sid`.
    pub(crate) fn signed_in(&self, sign_in: Uuid) -> SignedIn {
        SignedIn {
            at: self.record.signed_in_at,
            methods: self.record.methods.clone(),
            session: sign_in,
        }
    }
}

/// Who signed in, and how, before it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) principal: PrincipalId,
    pub(crate) methods: Vec<String>,
    pub(crate) passkey: Option<Uuid>,
}

/// What is written of it, made from the visit before the write begins.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) secret: Secret<String>,
    key: String,
    /// Key and record of the session that it takes the place of.
    former: Option<(String, BrowserSession)>,
    source: std::net::IpAddr,
    browser: String,
    browser_secret: Secret<String>,
    lifetime: Duration,
}

impl Opened {
    pub(crate) fn of(visit: &Visit) -> Result<Self, Failure> {
        let secret = super::browser::random()?;
        Ok(Self {
            key: session_key(secret.expose()),
            secret,
            former: visit.session.as_ref().map(|it| (it.key.clone(), it.record.clone())),
            source: visit.asker.source,
            browser: visit.browser.name.clone(),
            browser_secret: visit.browser.secret.clone(),
            lifetime: visit.service.state.lifetimes.refresh_token_lifetime.duration(),
        })
    }

    /// Writes the session. One of the same person goes on under a new secret, with the programs that it served.
    pub(crate) fn write(
        &self,
        writing: &mut Writing<'_, '_>,
        opening: Opening,
    ) -> Result<BrowserSession, Refusal> {
        let now = writing.now();
        let Opening { principal, methods, passkey } = opening;
        let mut former = None;
        if let Some((key, record)) = &self.former {
            writing.delete_record::<BrowserSession>(key)?;
            former = Some(record.clone()).filter(|record| record.principal == principal);
        }
        let lifetime =
            if methods.iter().any(|method| method == PASS) { ENROLMENT } else { self.lifetime };
        let record = BrowserSession {
            id: former.as_ref().map_or_else(Uuid::new_v4, |former| former.id),
            principal,
            signed_in_at: now,
            methods,
            passkey,
            source: self.source,
            browser: self.browser.clone(),
            expires_at: now.plus(lifetime),
            programs: former.map(|former| former.programs).unwrap_or_default(),
        };
        writing.put_record(&self.key, &record, Some(record.expires_at))?;
        Ok(record)
    }

    /// From here on codes of the person's authenticator count in this browser.
    pub(crate) fn trust(
        &self,
        writing: &mut Writing<'_, '_>,
        principal: PrincipalId,
    ) -> Result<(), Refusal> {
        let key = trusted_browser_key(self.browser_secret.expose(), principal);
        let now = writing.now();
        let before = writing.record::<TrustedBrowser>(key.as_str())?;
        let trusted = TrustedBrowser {
            principal,
            browser: self.browser.clone(),
            added_at: before.map_or(now, |before| before.added_at),
            expires_at: now.plus(TRUST),
        };
        Ok(writing.put_record(key.as_str(), &trusted, Some(trusted.expires_at))?)
    }
}
