//! The control plane, from outside: what people may ask for, what becomes of it, and what the audit log says.

#[cfg(test)]
mod activations;
#[cfg(test)]
mod apply;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod authorise;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod former_servers;
#[cfg(test)]
mod install;
#[cfg(test)]
mod issue;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod reconcile;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod sessions;
