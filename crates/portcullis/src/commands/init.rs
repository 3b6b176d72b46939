//! `portcullis init`: keys, tenant and first owner, whose pass is printed once.

use control::{InitOptions, Initialised};
use runtime::Shutdown;
use serde::Serialize;

use super::user::pass_text;
use crate::cli::{Common, Init};
use crate::failure::Failure;
use crate::installation::{self, Installation};
use crate::output;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    tenant: String,
    user: String,
    pass: String,
    expires_at: String,
    authority: String,
}

pub(crate) fn run(common: &Common, init: &Init) -> Result<(), Failure> {
    let config = installation::config(&init.config)?;
    installation::create_master_key(&config)?;
    let options = InitOptions {
        tenant: init.tenant.clone(),
        domain: init.domain.clone(),
        owner: init.owner.clone(),
    };
    let authority = installation::authority_file(&config);
    let initialised = installation::block_on(async {
        let installation = Installation::open(config, Shutdown::new()).await?;
        let refused = |refusal| Failure::refused("cannot create the installation", &refusal);
        let initialised = installation.control.init(options).await.map_err(refused)?;
        installation.write_authority()?;
        Ok(initialised)
    })?;
    let Initialised { tenant, pass, expires_at } = initialised;
    let printed = Printed {
        tenant: tenant.to_string(),
        user: init.owner.to_string(),
        pass: pass.expose().clone(),
        expires_at: expires_at.to_string(),
        authority: authority.display().to_string(),
    };
    output::show(common.output, &printed, || {
        let Printed { tenant, pass, expires_at, authority, .. } = &printed;
        let pass = pass_text(&init.owner, pass, expires_at);
        format!(
            "Tenant {} has the id {tenant}.\nClients trust it by its authority, {authority} (PORTCULLIS_CA).\n\n{pass}",
            init.tenant
        )
    })
}
