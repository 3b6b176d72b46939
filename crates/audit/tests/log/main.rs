//! The audit log on a real disk.
#[cfg(test)]
mod appending;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod index;
#[cfg(test)]
mod reopening;
#[cfg(test)]
mod staging;
