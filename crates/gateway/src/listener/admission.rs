//! Who may take a place: limits on connections, all together and of one source, held by guards.
//!
//! When all places are taken, whoever has been there longest without a credential makes room for the next, once that is
//! long: a login takes a moment, so that those who only hold places keep nobody out, while a storm of logins, of which
//! each goes on, is turned away at the door and not in the middle.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use tokio::sync::Notify;

/// Who has shown no credential after this makes room when places are wanted.
const STRANGER_FOR: Duration = Duration::from_secs(2);
/// Connections beyond the bound that were told to make room and have not gone yet.
const LEAVING_MAX: u32 = 64;
/// Connections for which there is no place, and which are told so, at a time; all others are closed at once: telling
/// every one of a flood would be the flood.
const TOLD_MAX: usize = 16;
/// Of those, connections of one source.
const TOLD_OF_ONE_MAX: usize = 4;

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Of all sources together.
    pub connections_max: u32,
    /// Of one source.
    pub connections_per_source_max: u32,
    /// Of one source, before it has shown a credential.
    pub unauthenticated_per_source_max: u32,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The gateway has as many connections as it may.
    #[error("the gateway holds as many connections as it may")]
    Gateway,
    /// The listener has as many connections as it may.
    #[error("the listener holds as many connections as it may")]
    Listener,
    /// The source has as many connections as it may.
    #[error("this address holds as many connections as it may")]
    Source,
    /// The source has as many connections without a credential as it may.
    #[error("this address holds as many connections without a credential as it may")]
    Unauthenticated,
}

/// The places of one gateway.
#[derive(Debug)]
pub(crate) struct Admission {
    bounds: Bounds,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: u32,
    sources: HashMap<IpAddr, Source>,
    /// Without a credential yet, oldest first.
    strangers: BTreeMap<u64, Stranger>,
    /// Whose connections are being told that there is no place.
    told: Vec<IpAddr>,
    entered: u64,
}

#[derive(Debug)]
struct Stranger {
    since: Timestamp,
    makes_room: Arc<Notify>,
}

impl Counts {
    /// Tells the oldest stranger to go.
    fn make_room(&mut self, now: Timestamp) -> Result<(), Full> {
        let oldest = self.strangers.first_entry();
        let oldest = oldest.filter(|oldest| now.since(oldest.get().since) >= STRANGER_FOR);
        oldest.ok_or(Full::Gateway)?.remove().makes_room.notify_one();
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Source {
    connections: u32,
    unauthenticated: u32,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    source: Option<IpAddr>,
    authenticated: bool,
    number: u64,
    place: Place,
}

/// What a permit holds.
#[derive(Debug)]
enum Place {
    /// One of the gateway's places, and one of its listener's.
    Taken { _door: tokio::sync::OwnedSemaphorePermit },
    /// None: its client is told why, and no more.
    Told(Full, IpAddr),
}

impl Admission {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, counts: Mutex::default() })
    }

    /// A place among all; the source is counted by [`Permit::count_source`] as soon as it is known.
    pub(crate) fn enter(
        self: &Arc<Self>,
        door: tokio::sync::OwnedSemaphorePermit,
        now: Timestamp,
    ) -> Result<Permit, Full> {
        let mut counts = self.counts();
        let most = self.bounds.connections_max;
        if counts.total >= most.saturating_add(LEAVING_MAX) {
            return Err(Full::Gateway);
        }
        if counts.total >= most {
            counts.make_room(now)?;
        }
        counts.total += 1;
        counts.entered += 1;
        let number = counts.entered;
        counts.strangers.insert(number, Stranger { since: now, makes_room: Arc::default() });
        drop(counts);
        let admission = Arc::clone(self);
        let place = Place::Taken { _door: door };
        Ok(Permit { admission, source: None, authenticated: false, number, place })
    }

    /// For a connection that found no place: long enough to say so, while there are few of them.
    pub(crate) fn tell(self: &Arc<Self>, source: IpAddr, full: Full) -> Option<Permit> {
        let key = bucket(source);
        let mut counts = self.counts();
        let of_one = counts.told.iter().filter(|told| **told == key).count();
        if counts.told.len() >= TOLD_MAX || of_one >= TOLD_OF_ONE_MAX {
            return None;
        }
        counts.told.push(key);
        drop(counts);
        let (admission, place) = (Arc::clone(self), Place::Told(full, key));
        Some(Permit { admission, source: None, authenticated: false, number: 0, place })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts the connection to its source; once for each permit.
    pub(crate) fn count_source(&mut self, source: IpAddr) -> Result<(), Full> {
        if self.full().is_some() {
            return Ok(());
        }
        let (bounds, key) = (self.admission.bounds, bucket(source));
        let mut counts = self.admission.counts();
        let (connections, unauthenticated) = counts
            .sources
            .get(&key)
            .map_or((0, 0), |held| (held.connections, held.unauthenticated));
        if connections >= bounds.connections_per_source_max {
            return Err(Full::Source);
        }
        if unauthenticated >= bounds.unauthenticated_per_source_max {
            return Err(Full::Unauthenticated);
        }
        let held = counts.sources.entry(key).or_default();
        held.connections += 1;
        held.unauthenticated += 1;
        drop(counts);
        self.source = Some(key);
        Ok(())
    }

    /// Why there is no place for the connection, when there is none.
    pub(crate) fn full(&self) -> Option<Full> {
        match self.place {
            Place::Taken { .. } => None,
            Place::Told(full, _) => Some(full),
        }
    }

    /// Notified when the connection must make room, which it need not any more once it has shown a credential.
    pub(crate) fn makes_room(&self) -> Arc<Notify> {
        let counts = self.admission.counts();
        let stranger = counts.strangers.get(&self.number);
        stranger.map_or_else(Arc::default, |stranger| Arc::clone(&stranger.makes_room))
    }

    /// The credential was good: the connection no longer counts as unauthenticated.
    pub(crate) fn authenticated(&mut self) {
        if !std::mem::replace(&mut self.authenticated, true) {
            self.admission.counts().strangers.remove(&self.number);
            self.release(|held| held.unauthenticated = held.unauthenticated.saturating_sub(1));
        }
    }

    fn release(&self, change: impl FnOnce(&mut Source)) {
        let Some(key) = self.source else { return };
        let mut counts = self.admission.counts();
        let Some(held) = counts.sources.get_mut(&key) else { return };
        change(held);
        if held.connections == 0 {
            counts.sources.remove(&key);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.authenticated();
        self.release(|held| held.connections = held.connections.saturating_sub(1));
        let mut counts = self.admission.counts();
        match self.place {
            Place::Taken { .. } => counts.total = counts.total.saturating_sub(1),
            Place::Told(_, source) => {
                if let Some(told) = counts.told.iter().position(|told| *told == source) {
                    counts.told.swap_remove(told);
                }
            }
        }
    }
}

/// One customer of an IPv6 network holds a /64 at least, so that is what counts as one source.
pub(crate) fn bucket(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections_max: 3,
        connections_per_source_max: 2,
        unauthenticated_per_source_max: 1,
    };

    fn admit(admission: &Arc<Admission>, source: &str) -> Result<Permit, Full> {
        admit_at(admission, source, Timestamp::EPOCH)
    }

    fn admit_at(admission: &Arc<Admission>, source: &str, now: Timestamp) -> Result<Permit, Full> {
        let door = Arc::new(tokio::sync::Semaphore::new(1));
        let mut permit = admission.enter(door.try_acquire_owned().unwrap(), now)?;
        permit.count_source(source.parse().unwrap())?;
        Ok(permit)
    }

    #[test]
    fn each_bound_holds_and_a_dropped_permit_gives_its_place_back() {
        let admission = Admission::new(BOUNDS);
        let mut first = admit(&admission, "192.0.2.1").unwrap();
        assert_eq!(admit(&admission, "::ffff:192.0.2.1").unwrap_err(), Full::Unauthenticated);
        first.authenticated();
        let mut second = admit(&admission, "192.0.2.1").unwrap();
        second.authenticated();
        assert_eq!(admit(&admission, "192.0.2.1").unwrap_err(), Full::Source);
        let mut third = admit(&admission, "192.0.2.2").unwrap();
        third.authenticated();
        assert_eq!(admit(&admission, "192.0.2.3").unwrap_err(), Full::Gateway);
        drop(third);
        let _other = admit(&admission, "192.0.2.3").unwrap();
        drop((first, second));
        let counts = admission.counts();
        assert_eq!((counts.total, counts.sources.len()), (1, 1));
    }

    #[test]
    fn the_oldest_stranger_makes_room_and_nobody_who_has_shown_a_credential_does() {
        let admission = Admission::new(BOUNDS);
        let mut known = admit(&admission, "192.0.2.1").unwrap();
        known.authenticated();
        let (oldest, younger) =
            (admit(&admission, "192.0.2.2").unwrap(), admit(&admission, "192.0.2.3").unwrap());
        let told = |room: &Notify| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            std::pin::pin!(room.notified()).poll(&mut context).is_ready()
        };
        let rooms = [oldest.makes_room(), known.makes_room(), younger.makes_room()];
        assert_eq!(admit(&admission, "192.0.2.4").unwrap_err(), Full::Gateway);
        let later = Timestamp::EPOCH.plus(STRANGER_FOR);
        let mut newcomer = admit_at(&admission, "192.0.2.4", later).unwrap();
        assert_eq!(rooms.map(|room| told(&room)), [true, false, false]);
        // One more than may be is there until the oldest has gone.
        assert_eq!(admission.counts().total, 4);
        drop(oldest);
        newcomer.authenticated();
        drop(younger);
        let mut last = admit(&admission, "192.0.2.5").unwrap();
        last.authenticated();
        assert_eq!(admit_at(&admission, "192.0.2.6", later).unwrap_err(), Full::Gateway);
    }

    #[test]
    fn a_listener_has_places_of_its_own_and_gets_them_back() {
        let (admission, places) = (Admission::new(BOUNDS), crate::listener::places(Some(1)));
        let door = Arc::clone(&places).try_acquire_owned().unwrap();
        let permit = admission.enter(door, Timestamp::EPOCH).unwrap();
        assert!(Arc::clone(&places).try_acquire_owned().is_err());
        drop(permit);
        assert_eq!(places.available_permits(), 1);
    }

    #[test]
    fn few_are_told_that_there_is_no_place_and_fewer_of_one_source() {
        let admission = Admission::new(BOUNDS);
        let tell = |source: String| admission.tell(source.parse().unwrap(), Full::Gateway);
        let mut told: Vec<Permit> =
            (0..TOLD_OF_ONE_MAX).map(|host| tell(format!("2001:db8::{host:x}")).unwrap()).collect();
        assert!(tell("2001:db8::ffff".to_owned()).is_none());
        let others = TOLD_OF_ONE_MAX..TOLD_MAX;
        told.extend(others.map(|host| tell(format!("192.0.2.{host}")).unwrap()));
        assert!(tell("192.0.2.200".to_owned()).is_none());
        assert_eq!(told.first().unwrap().full(), Some(Full::Gateway));
        assert_eq!(admission.counts().total, 0);
        told.truncate(1);
        assert!(tell("192.0.2.200".to_owned()).is_some());
        drop(told);
        assert!(admission.counts().told.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let admission = Admission::new(BOUNDS);
        let _first = admit(&admission, "2001:db8:0:1::1").unwrap();
        assert_eq!(admit(&admission, "2001:db8:0:1:ffff::2").unwrap_err(), Full::Unauthenticated);
        let _elsewhere = admit(&admission, "2001:db8:0:2::1").unwrap();
    }
}
