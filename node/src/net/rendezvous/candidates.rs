//! [`Candidates`]: which of the addresses that BitTorrent's DHT names are dialled.
//!
//! Any node of that DHT can name any address, and ten thousand of them. Each dial costs this node a handshake, and it may hit a
//! machine that has never heard of it. So dials have a budget, an address is not dialled again at once, and many ports of one
//! machine are not tried.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use crate::net::limits::{
    RENDEZVOUS_DIAL_AGAIN, RENDEZVOUS_DIAL_EVERY, RENDEZVOUS_DIALS_BURST, RENDEZVOUS_DIALS_OF_HOST,
};

/// The addresses that were dialled lately, and the budget for more.
#[derive(Debug)]
pub(super) struct Candidates {
    dialled: BTreeMap<SocketAddrV4, Instant>,
    /// Dials that may be made at once.
    budget: u32,
    /// When the budget last grew.
    grown: Instant,
}

impl Candidates {
    pub(super) const fn new(now: Instant) -> Self {
        Self { dialled: BTreeMap::new(), budget: RENDEZVOUS_DIALS_BURST, grown: now }
    }

    /// Tells whether to dial an address now, and if so counts the dial.
    pub(super) fn admit(&mut self, address: SocketAddrV4, now: Instant) -> bool {
        self.grow(now);
        self.dialled.retain(|_, at| now.duration_since(*at) < RENDEZVOUS_DIAL_AGAIN);
        let of_host = |ip: Ipv4Addr| SocketAddrV4::new(ip, 0)..=SocketAddrV4::new(ip, u16::MAX);
        let is_of_use = address.port() != 0
            && !self.dialled.contains_key(&address)
            && self.dialled.range(of_host(*address.ip())).count() < RENDEZVOUS_DIALS_OF_HOST;
        if !is_of_use || self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        self.dialled.insert(address, now);
        true
    }

    fn grow(&mut self, now: Instant) {
        let passed =
            now.saturating_duration_since(self.grown).as_millis() / RENDEZVOUS_DIAL_EVERY.as_millis();
        let steps = u32::try_from(passed).unwrap_or(u32::MAX);
        self.budget = self.budget.saturating_add(steps).min(RENDEZVOUS_DIALS_BURST);
        self.grown = match self.budget {
            RENDEZVOUS_DIALS_BURST => now,
            _ => self.grown + RENDEZVOUS_DIAL_EVERY * steps,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns how many dials the rendezvous costs at most in this time, whatever the DHT answers.
    const fn dials_at_most(within: Duration) -> u64 {
        RENDEZVOUS_DIALS_BURST as u64 + (within.as_millis() / RENDEZVOUS_DIAL_EVERY.as_millis()) as u64
    }

    fn address(n: u32, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from(0x0100_0000 + n), port)
    }

    #[test]
    fn ten_thousand_addresses_cost_a_bounded_number_of_dials() {
        let start = Instant::now();
        let mut candidates = Candidates::new(start);
        let dialled = (0..10_000).filter(|n| candidates.admit(address(*n, 4600), start)).count();
        assert_eq!(dialled, RENDEZVOUS_DIALS_BURST as usize);
        let hour = Duration::from_secs(3600);
        let later = (0..3600 * 10).filter(|n| {
            let now = start + hour * *n / (3600 * 10);
            candidates.admit(address(20_000 + n, 4600), now)
        });
        let all = dialled + later.count();
        println!("an hour of new addresses costs {all} dials");
        assert!(all as u64 <= dials_at_most(hour) && all > 2 * dialled, "{all}");
        assert!(candidates.dialled.len() < 1000, "what is remembered is bounded too");
    }

    #[test]
    fn an_address_is_not_dialled_twice_at_once_nor_all_ports_of_a_machine() {
        let start = Instant::now();
        let mut candidates = Candidates::new(start);
        assert!(candidates.admit(address(1, 4600), start));
        assert!(!candidates.admit(address(1, 4600), start) && !candidates.admit(address(2, 0), start));
        let later = start + RENDEZVOUS_DIAL_AGAIN;
        assert!(candidates.admit(address(1, 4600), later));
        let ports = (1..1000).filter(|port| candidates.admit(address(3, *port), later)).count();
        assert_eq!(ports, RENDEZVOUS_DIALS_OF_HOST);
        assert!(candidates.admit(address(4, 1), later), "another machine");
    }

    #[test]
    fn the_budget_comes_back_and_does_not_grow_beyond_itself() {
        let start = Instant::now();
        let mut candidates = Candidates::new(start);
        let burst = RENDEZVOUS_DIALS_BURST;
        assert_eq!(
            (0..2 * burst).filter(|n| candidates.admit(address(*n, 1), start)).count(),
            burst as usize
        );
        let soon = start + RENDEZVOUS_DIAL_EVERY;
        assert!(candidates.admit(address(1000, 1), soon) && !candidates.admit(address(1001, 1), soon));
        let day = start + Duration::from_secs(86_400);
        assert_eq!((0..2 * burst).filter(|n| candidates.admit(address(*n, 1), day)).count(), burst as usize);
    }
}
