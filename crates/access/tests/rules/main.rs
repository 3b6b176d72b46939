//! The rules, as sentences.
#[cfg(test)]
mod activations;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod conditional;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod tokens;
