//! The token service, asked as clients ask it: requests in, answers and audit records out.

#[cfg(test)]
mod assertions;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod people;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod workloads;
