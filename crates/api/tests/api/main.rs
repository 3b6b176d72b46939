//! The API from outside: requests with real tokens against a real control plane.

#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod intents;
