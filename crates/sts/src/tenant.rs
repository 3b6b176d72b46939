//! The first segment of an address: which tenant is meant. There is one; it goes by several names.

use model::{Snapshot, TenantId};

use crate::failure::{Failure, TENANT_UNKNOWN, quoted};

/// Names that mean "the tenant of whoever signs in".
const ANY: &[&str] = &["common", "organizations"];

/// The token endpoint's address under a tenant.
pub(crate) const TOKEN_PATH: &str = "oauth2/v2.0/token";

/// The tenant, if `segment` is its id, one of its domains, `common` or `organizations`.
pub(crate) fn named(segment: &str, snapshot: &Snapshot) -> Result<TenantId, Failure> {
    let unknown = || {
        Failure::new(
            &TENANT_UNKNOWN,
            format!(
                "Tenant {} not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
                quoted(segment)
            ),
        )
    };
    let tenant = snapshot.tenant().ok_or_else(unknown)?;
    let id = TenantId(tenant.uid());
    let own = segment.parse::<TenantId>().is_ok_and(|given| given == id)
        || ANY.iter().any(|any| segment.eq_ignore_ascii_case(any))
        || tenant.spec.domains.iter().any(|domain| segment.eq_ignore_ascii_case(domain));
    own.then_some(id).ok_or_else(unknown)
}

/// `iss` of every token: one tenant, whatever the address called it.
pub(crate) fn issuer(origin: &str, tenant: TenantId) -> String {
    format!("{origin}/{tenant}/v2.0")
}

#[cfg(test)]
mod tests {
    use model::kind::tenant::Tenant;
    use model::{Document, Revision, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tenant_goes_by_its_id_its_domains_and_the_names_for_any() {
        let id = Uuid::from_u128(0x1234);
        let mut tenant = Document::new(
            "example",
            Tenant {
                display_name: "Example".to_owned(),
                domains: vec!["example.com".to_owned()],
                client_secrets: model::kind::tenant::ClientSecretPolicy::Allowed,
            },
        );
        tenant.metadata.uid = Some(id);
        let snapshot = Snapshot::of(Revision(1), Timestamp::EPOCH, [tenant.into()]);
        for segment in [&id.to_string(), "Example.COM", "common", "organizations"] {
            assert_eq!(named(segment, &snapshot), Ok(TenantId(id)), "{segment}");
        }
        for segment in [&Uuid::from_u128(1).to_string(), "consumers", "example", "v1", ""] {
            assert_eq!(named(segment, &snapshot).unwrap_err().code(), "AADSTS90002", "{segment}");
        }
        assert!(named("common", &Snapshot::default()).is_err());
    }
}
