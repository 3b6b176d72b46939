//! The rules, as sentences.
#[cfg(test)]
mod activations;
mod approvals;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod tokens;
