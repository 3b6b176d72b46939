//! Conditional access: policies that say something, about somebody.

use model::kind::conditional_access_policy::{
    ConditionalAccessPolicy, GrantControls, Principals, RiskLevel, Servers,
};
use model::kind::named_location::NamedLocation;
use model::kind::principal_risk::PrincipalRisk;
use model::{Document, PrincipalKind, Refusal, Snapshot, code, suggest};

use super::{invalid, refuse};

pub(super) fn location(location: &Document<NamedLocation>) -> Result<(), Refusal> {
    if location.spec.ranges.is_empty() {
        return Err(invalid(location, "`spec.ranges` is empty, so nobody is there"));
    }
    Ok(())
}

pub(super) fn risk(risk: &Document<PrincipalRisk>, state: &Snapshot) -> Result<(), Refusal> {
    if state.principal(risk.spec.principal).is_none() {
        let why = format!("there is no principal {}", risk.spec.principal);
        return Err(refuse(&code::REFERENCE_UNKNOWN, risk, &why));
    }
    if risk.spec.level == RiskLevel::None {
        return Err(invalid(risk, "`none` is what counts without a document; delete it instead"));
    }
    if risk.spec.reason.trim().is_empty() {
        return Err(invalid(risk, "`spec.reason` says what was seen"));
    }
    Ok(())
}

pub(super) fn policy(
    policy: &Document<ConditionalAccessPolicy>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    let spec = &policy.spec;
    let nobody = |principals: &Principals| *principals == Principals::default();
    if nobody(&spec.include) || spec.exclude.as_ref().is_some_and(nobody) {
        return Err(invalid(policy, "it names nobody: say `all: [users]`, or whom"));
    }
    if matches!(&spec.servers, Servers::Only(names) if names.is_empty()) {
        return Err(invalid(policy, "`spec.servers` names none"));
    }
    // A control that nobody asked for would be satisfied by nobody, or by everyone.
    let (GrantControls::All(controls) | GrantControls::Any(controls)) = &spec.grant else {
        return about_workloads(policy, state);
    };
    if controls.is_empty() && spec.sign_in_frequency.is_none() {
        return Err(invalid(policy, "it demands nothing"));
    }
    if controls.is_empty() && matches!(spec.grant, GrantControls::Any(_)) {
        return Err(invalid(policy, "`any` of nothing cannot be had"));
    }
    if spec.sign_in_frequency.is_some_and(|within| within.seconds() == 0) {
        return Err(invalid(policy, "`spec.signInFrequency` is one second at least"));
    }
    about_workloads(policy, state)
}

/// Workloads are named by their names, of whatever sort they are.
fn about_workloads(
    policy: &Document<ConditionalAccessPolicy>,
    state: &Snapshot,
) -> Result<(), Refusal> {
    if let Some(times) = &policy.spec.conditions.times
        && times.until <= times.from
    {
        let why = "`spec.conditions.times` ends before it begins; two policies make a night";
        return Err(invalid(policy, why));
    }
    let principals = [Some(&policy.spec.include), policy.spec.exclude.as_ref()];
    for name in principals.into_iter().flatten().flat_map(|principals| &principals.workloads) {
        let known = state.principal_named(name);
        if known.is_some_and(|known| known.kind != PrincipalKind::User) {
            continue;
        }
        let identities = state.managed_identities.iter().map(|identity| identity.name());
        let applications = state.applications.iter().map(|application| application.name());
        let near: Vec<&str> = applications.chain(identities).collect();
        let refusal =
            refuse(&code::REFERENCE_UNKNOWN, policy, &format!("there is no workload `{name}`"));
        return Err(match suggest::nearest(name, near.iter().copied()) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal,
        });
    }
    Ok(())
}
