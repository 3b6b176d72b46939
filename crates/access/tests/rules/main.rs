//! The rules, as sentences.
#[cfg(test)]
mod activations;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod tokens;
