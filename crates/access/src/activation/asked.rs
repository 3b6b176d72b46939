//! What a request must say, and what it may not stand beside.

use std::time::Duration;

use model::kind::access_rules::{AccessRules, Justification, TicketRule};
use model::kind::activation::{Activation, ActivationState, Ticket};
use model::{Document, Lifetime, Refusal, Snapshot, Timestamp, code};
use regex::{Regex, RegexBuilder};

use super::Ask;

/// Membership begins at most so far ahead.
const AHEAD_MAX: Duration = Duration::from_hours(30 * 24);
/// Clocks of people differ by so much.
const BEHIND_MAX: Duration = Duration::from_mins(1);
/// Longer ones are refused; trackers' have some twenty.
const TICKET_BYTES_MAX: usize = 256;
/// Longer patterns are refused.
const PATTERN_BYTES_MAX: usize = 256;
/// What a compiled pattern may take.
const PATTERN_COMPILED_BYTES_MAX: usize = 64 << 10;

/// Whether the request says what the rules demand; for how long it asks.
pub(super) fn check(ask: &Ask, rules: &AccessRules, now: Timestamp) -> Result<Lifetime, Refusal> {
    super::check_note(ask.justification.as_deref())?;
    if rules.justification == Justification::Required
        && ask.justification.as_deref().is_none_or(|reason| reason.trim().is_empty())
    {
        let message = format!("membership of `{}` needs a justification", ask.group);
        return Err(Refusal::new(&code::JUSTIFICATION_REQUIRED, message));
    }
    ticket(ask, rules)?;
    start(ask, now)?;
    duration(ask, rules)
}

fn ticket(ask: &Ask, rules: &AccessRules) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new(&code::TICKET_REQUIRED, why));
    if let Some(Ticket { system, number }) = &ask.ticket {
        let longest = system.as_ref().map_or(0, String::len).max(number.len());
        if longest > TICKET_BYTES_MAX {
            let message = format!("a ticket has {longest} bytes; {TICKET_BYTES_MAX} are allowed");
            return Err(Refusal::new(&code::TOO_LARGE, message));
        }
    }
    let Some(rule) = &rules.ticket else { return Ok(()) };
    let given = ask.ticket.as_ref().filter(|ticket| !ticket.number.trim().is_empty());
    let Some(given) = given else {
        return refuse(format!("membership of `{}` needs a ticket", ask.group));
    };
    if let Some(system) = &rule.system
        && given.system.as_ref().is_some_and(|named| named != system)
    {
        return refuse(format!("tickets for `{}` are kept in `{system}`", ask.group));
    }
    let Some(pattern) = &rule.number else { return Ok(()) };
    // Checked when the rules were written; rules that no number matches let nobody in.
    let matches = compiled(pattern).is_some_and(|pattern| pattern.is_match(&given.number));
    if matches {
        return Ok(());
    }
    refuse(format!("`{}` is no ticket's number: it must match `{pattern}`", given.number))
}

/// Whether a rule for tickets can be followed.
pub fn check_ticket_rule(rule: &TicketRule) -> Result<(), String> {
    match &rule.number {
        Some(pattern) if compiled(pattern).is_none() => Err(format!(
            "`{pattern}` is not a regular expression of at most {PATTERN_BYTES_MAX} bytes"
        )),
        Some(_) | None => Ok(()),
    }
}

/// Of the whole text.
fn compiled(pattern: &str) -> Option<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    // Compiled by itself first: the anchors' brackets must not mend a broken one.
    let build =
        |text: &str| RegexBuilder::new(text).size_limit(PATTERN_COMPILED_BYTES_MAX).build().ok();
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

fn start(ask: &Ask, now: Timestamp) -> Result<(), Refusal> {
    let Some(starts) = ask.starts_at else { return Ok(()) };
    let refuse = |why: String| Err(Refusal::new(&code::START_OUT_OF_RANGE, why));
    if ask.extends.is_some() {
        return refuse("an extension begins with its approval; it cannot be scheduled".to_owned());
    }
    if starts.plus(BEHIND_MAX) < now {
        return refuse(format!("membership cannot begin at {starts}: that is over"));
    }
    if starts > now.plus(AHEAD_MAX) {
        return refuse(format!("membership cannot begin as late as {starts}"));
    }
    Ok(())
}

fn duration(ask: &Ask, rules: &AccessRules) -> Result<Lifetime, Refusal> {
    let duration = ask.duration.or(rules.duration_default).unwrap_or(rules.duration_max);
    if duration > rules.duration_max {
        let message = format!(
            "`{}` can be activated for {} at most, not for {duration}",
            ask.group, rules.duration_max
        );
        return Err(Refusal::new(&code::DURATION_TOO_LONG, message)
            .hint(format!("ask with `--for {}` or less", rules.duration_max)));
    }
    if duration.seconds() == 0 {
        return Err(Refusal::new(&code::INVALID, "an activation lasts one second at least"));
    }
    Ok(duration)
}

/// Another open activation of the same person and group; beside the one that is to be extended there may be none.
pub(super) fn in_the_way<'a>(
    ask: &Ask,
    snapshot: &'a Snapshot,
) -> Result<Option<&'a Document<Activation>>, Refusal> {
    let extended = ask.extends.map(|id| id.to_string());
    if let Some(id) = &extended {
        let theirs = snapshot.activations.get(id).filter(|activation| {
            activation.spec.user == ask.user && activation.spec.group == ask.group
        });
        let Some(theirs) = theirs else {
            let message = format!("`{}` has no activation {id} of `{}`", ask.user, ask.group);
            return Err(Refusal::new(&code::NOT_FOUND, message));
        };
        if theirs.status.state != ActivationState::Active {
            let message =
                format!("the activation {id} is not active, so nothing can be added to it");
            return Err(Refusal::new(&code::ALREADY_DECIDED, message)
                .hint("ask anew with `portcullis request`"));
        }
    }
    let open = snapshot.activations.iter().find(|activation| {
        activation.spec.user == ask.user
            && activation.spec.group == ask.group
            && !activation.status.state.ended()
            && extended.as_deref() != Some(activation.name())
    });
    Ok(open.map(AsRef::as_ref))
}

/// Until when the activation lasts that this one extends; refused when somebody ended it.
pub(super) fn extended(
    activation: &Document<Activation>,
    snapshot: &Snapshot,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(id) = activation.spec.extends else { return Ok(None) };
    let former = snapshot.activations.get(id.to_string());
    match former.map(|former| (former.status.state, former.status.active_until)) {
        Some((ActivationState::Active | ActivationState::Expired, until)) => Ok(until),
        // Forgotten: it was over long ago.
        None => Ok(None),
        Some(_) => {
            let message = format!("the activation {id}, which it extends, was ended");
            Err(Refusal::new(&code::ALREADY_DECIDED, message))
        }
    }
}
