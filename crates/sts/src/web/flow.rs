//! What a person was about to do when they were asked to sign in. It travels in a hidden field, sealed and bound to the
//! browser, so that nothing is kept for those who never come back, and no other site's form passes for ours.

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Session, Visit};
use crate::authorize::Request;
use crate::claims::SignedIn;
use crate::contexts;
use crate::failure::Failure;
use crate::sealed::Validity;
use crate::service::unavailable;

/// How long a person may take over a page.
const LIFETIME: Duration = Duration::from_mins(30);
const PURPOSE: &str = "browser flow";

/// What comes after the sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Next {
    /// A program gets its code.
    Program(Box<Request>),
    /// A device's code is typed in, or looked at.
    Device(Option<String>),
    /// The account page.
    Account,
}

/// What the sign-in must be like to count for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Demand {
    /// An earlier one does not count.
    pub(crate) since: Option<Timestamp>,
    /// Authentication contexts that must hold.
    pub(crate) contexts: Vec<String>,
}

impl Demand {
    /// What is missing; nothing when the sign-in will do.
    pub(crate) fn missing(&self, signed_in: &SignedIn, now: Timestamp) -> Option<&'static str> {
        if self.since.is_some_and(|since| signed_in.at < since) {
            return Some("Sign in once more to go on.");
        }
        let unmet = self.contexts.iter().find(|context| !contexts::holds(context, signed_in, now));
        unmet.map(|context| contexts::demand(context))
    }
}

/// A form's thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) next: Next,
    #[serde(default)]
    pub(crate) demand: Demand,
    browser: String,
    /// Key of the session under which the page was shown.
    session: Option<String>,
    #[serde(flatten)]
    validity: Validity,
}

impl Flow {
    pub(crate) fn new(visit: &Visit, next: Next, demand: Demand) -> Self {
        Self {
            next,
            demand,
            browser: visit.browser.binding(),
            session: visit.session.as_ref().map(|session| session.key.clone()),
            validity: Validity { expires_at: visit.now.plus(LIFETIME) },
        }
    }

    /// The same under the session that the visit has now.
    pub(crate) fn again(self, visit: &Visit) -> Self {
        Self::new(visit, self.next, self.demand)
    }

    /// The same under a session that has just begun.
    pub(crate) fn of(self, visit: &Visit, session: &Session) -> Self {
        Self { session: Some(session.key.clone()), ..self.again(visit) }
    }

    pub(crate) fn sealed(&self, visit: &Visit) -> Result<String, Failure> {
        visit.service.sealer.seal(PURPOSE, self).ok_or_else(unavailable)
    }

    /// The thread of a form that came back, if it is this browser's and in time.
    pub(crate) fn opened(visit: &Visit, sealed: &str) -> Option<Self> {
        let flow: Self = visit.service.sealer.open(PURPOSE, sealed)?;
        (flow.browser == visit.browser.binding() && flow.validity.holds(visit.now)).then_some(flow)
    }

    /// Whether the page was shown to the session that posts it.
    pub(crate) fn of_session(&self, visit: &Visit) -> bool {
        self.session == visit.session.as_ref().map(|session| session.key.clone())
    }
}
