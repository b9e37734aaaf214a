//! The places for connections at a port, in total and for one address, so that one stranger cannot take them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bits of an IPv6 address that one network has. Whoever has a network has all addresses of it.
const IPV6_NETWORK_BITS: u32 = 64;

/// How many connections there may be at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// From all addresses.
    pub(crate) total: usize,
    /// From one IPv4 address or one IPv6 network.
    pub(crate) per_address: usize,
}

/// The places at a port. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    /// Free places.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Shared { limits, taken: Mutex::default(), refused: AtomicU64::new(0) }))
    }

    /// Takes a place for a connection from this address. `None` if there is no free one; that is counted.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut taken = self.taken();
        let from_there = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.total >= self.0.limits.total || from_there >= self.0.limits.per_address {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        taken.total += 1;
        taken.by_address.insert(address, from_there + 1);
        Some(Place { places: self.clone(), address })
    }

    /// Connections now.
    pub(crate) fn open(&self) -> usize {
        self.taken().total
    }

    /// Connections that found no place, so far.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that a connection has. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.total -= 1;
        let from_there = taken.by_address.get_mut(&self.address).expect("it was counted when it was taken");
        *from_there -= 1;
        if *from_there == 0 {
            taken.by_address.remove(&self.address);
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> IPV6_NETWORK_BITS << IPV6_NETWORK_BITS);
            IpAddr::V6(network)
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let places = Places::new(ConnectionLimits { total: 3, per_address: 2 });
        let stranger = address("192.0.2.1");
        let first = places.take(stranger).expect("there is room");
        let _second = places.take(stranger).expect("there is room");
        assert!(places.take(stranger).is_none(), "it has its share");
        // The same address, as a port for both kinds of addresses shows it.
        assert!(places.take(address("::ffff:192.0.2.1")).is_none());
        let _other = places.take(address("192.0.2.2")).expect("there is room for others");
        assert!(places.take(address("192.0.2.3")).is_none(), "the port is full");
        assert_eq!((places.open(), places.refused()), (3, 3));
        drop(first);
        let _again = places.take(stranger).expect("a place that is given back is free");
        assert_eq!(places.open(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let places = Places::new(ConnectionLimits { total: 9, per_address: 1 });
        let _first = places.take(address("2001:db8:0:1::1")).expect("there is room");
        assert!(places.take(address("2001:db8:0:1:ffff::2")).is_none());
        let _other = places.take(address("2001:db8:0:2::1")).expect("another network");
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let places = Places::new(ConnectionLimits { total: 1, per_address: 1 });
        for last in 0..=255 {
            drop(places.take(IpAddr::from([192, 0, 2, last])).expect("it is free again"));
        }
        assert!(places.taken().by_address.is_empty());
    }
}
