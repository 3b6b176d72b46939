//! The store, from outside.

#[cfg(test)]
mod acknowledge;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod child;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod records;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod write;
