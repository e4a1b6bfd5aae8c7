//! [`Connections`]: the open connections of one listener. When all places are taken, a new connection takes the place of
//! the one that has waited longest for the head of a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The open connections of a listener. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    table: Mutex<Table>,
    /// Notified when a connection ends, or begins to wait for a head.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Counts events: the order in which connections began to wait.
    clock: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// When it began to wait for the head of a request; `None` while a request is under way.
    waits_since: Option<u64>,
    line: Arc<Line>,
}

/// What a connection's task and its requests share.
#[derive(Debug, Default)]
struct Line {
    close: Notify,
    is_owners: AtomicBool,
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Returns the connection that makes room: it waits for a head, and has waited longest. Those that have shown the
    /// owner's token come last.
    fn least_needed(&self) -> Option<u64> {
        let waiting = self
            .open
            .iter()
            .filter_map(|(id, it)| Some((it.line.is_owners.load(Ordering::Relaxed), it.waits_since?, *id)));
        waiting.min().map(|(_, _, id)| id)
    }
}

impl Connections {
    /// Returns a table with `max` places.
    pub(super) fn new(max: usize) -> Self {
        let (table, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { max, table, changed }))
    }

    /// Gives a new connection its place. Waits while requests are under way on all others.
    pub(super) async fn admit(&self) -> Connection {
        loop {
            let changed = self.0.changed.notified();
            match self.try_admit() {
                Some(connection) => return connection,
                None => changed.await,
            }
        }
    }

    fn try_admit(&self) -> Option<Connection> {
        let mut table = self.0.table();
        if table.open.len() >= self.0.max {
            let id = table.least_needed()?;
            if let Some(open) = table.open.remove(&id) {
                open.line.close.notify_one();
            }
        }
        let (id, line) = (table.tick(), Arc::<Line>::default());
        table.open.insert(id, Open { waits_since: Some(id), line: line.clone() });
        Some(Connection(Arc::new(Place { id, line, shared: self.0.clone() })))
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_waiting(&self, id: u64, waits: bool) {
        let mut table = self.table();
        let now = table.tick();
        if let Some(open) = table.open.get_mut(&id) {
            open.waits_since = waits.then_some(now);
        }
        drop(table);
        if waits {
            self.changed.notify_one();
        }
    }
}

/// An open connection. Its place is free once the last clone is dropped. Requests carry it as an extension.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Connection(Arc<Place>);

#[derive(Debug)]
struct Place {
    id: u64,
    line: Arc<Line>,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.table().open.remove(&self.id);
        self.shared.changed.notify_one();
    }
}

impl Connection {
    /// Notes that a request is under way, until the returned value is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.shared.set_waiting(self.0.id, false);
        UnderWay(self.clone())
    }

    /// Notes that the owner's token was shown on it.
    pub(in crate::gateway) fn is_owners(&self) {
        self.0.line.is_owners.store(true, Ordering::Relaxed);
    }

    /// Closes it, whatever is under way.
    pub(super) fn close(&self) {
        self.0.line.close.notify_one();
    }

    /// Waits until it is to be closed.
    pub(super) async fn closed(&self) {
        self.0.line.close.notified().await;
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Connection);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.shared.set_waiting(self.0.0.id, true);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn is_closed(connection: &Connection) -> bool {
        connection.closed().now_or_never().is_some()
    }

    #[test]
    fn the_longest_wait_for_a_head_makes_room_and_nothing_under_way_does() {
        let table = Connections::new(3);
        let mut open: Vec<Connection> = (0..3).filter_map(|_| table.try_admit()).collect();
        let under_way = open[0].begin();
        open.push(table.try_admit().unwrap());
        assert_eq!(open.iter().map(is_closed).collect::<Vec<_>>(), [false, true, false, false]);
        // It waits again, and is the last to wait.
        drop(under_way);
        open.push(table.try_admit().unwrap());
        assert_eq!(open.iter().map(is_closed).collect::<Vec<_>>(), [false, false, true, false, false]);
        let _all: Vec<UnderWay> = [0, 3, 4].iter().map(|it| open[*it].begin()).collect();
        assert!(table.try_admit().is_none(), "requests are under way on all");
        assert!(table.admit().now_or_never().is_none());
        open.remove(3);
        assert!(table.try_admit().is_none(), "its request holds it");
    }

    #[test]
    fn the_owners_connections_make_room_last() {
        let table = Connections::new(2);
        let [owners, other] = [(); 2].map(|()| table.try_admit().unwrap());
        owners.is_owners();
        let third = table.try_admit().unwrap();
        assert!(!is_closed(&owners) && is_closed(&other) && !is_closed(&third));
        third.is_owners();
        drop(table.try_admit().unwrap());
        assert!(is_closed(&owners), "it has waited longest of the owner's");
    }
}
