//! Limits on open connections, in total and per address, and eviction of idle ones.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

/// Most open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In total.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
}

/// Open connections of a port.
///
/// At the limit, the connection without open calls for the longest time is closed in favor of a new one; a new one is
/// refused only if every other has an open call.
#[derive(Debug)]
pub struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: BTreeMap<u64, One>,
}

/// State of a connection.
#[derive(Debug)]
struct One {
    address: Address,
    calls: usize,
    idle_since: Instant,
    closed: CancellationToken,
}

/// Address by which connections are counted: an IPv4 address, or the 64-bit prefix of an IPv6 address, which one
/// network has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An admitted connection; dropping it frees its place.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    closed: CancellationToken,
}

/// An open call on a connection; dropping it ends the call.
#[derive(Debug)]
pub struct OpenCall(Arc<Place>);

impl Connections {
    /// No connections yet, with these limits.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// Number of open connections.
    pub fn count(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Admits a connection, closing an idle one if necessary; `None` if there is no room.
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Place>> {
        let address = Address::from(from);
        let mut open = self.lock();
        let of_address = open.by_number.values().filter(|it| it.address == address).count();
        if of_address >= self.limits.per_address && !open.close_idle(Some(address))
            || open.by_number.len() >= self.limits.total && !open.close_idle(None)
        {
            return None;
        }
        let (number, closed) = (open.next, CancellationToken::new());
        open.next += 1;
        let one = One { address, calls: 0, idle_since: Instant::now(), closed: closed.clone() };
        open.by_number.insert(number, one);
        Some(Arc::new(Place { connections: Arc::clone(self), number, closed }))
    }

    /// Closes the connection idle for the longest time, to free its file descriptor.
    pub fn close_idle(&self) {
        self.lock().close_idle(None);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // The state stays consistent even if a thread panicked while holding the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the connection idle for the longest time, of one address or of all; false if none is idle.
    fn close_idle(&mut self, of: Option<Address>) -> bool {
        let idle = self
            .by_number
            .iter()
            .filter(|(_, it)| it.calls == 0 && of.is_none_or(|of| it.address == of));
        let longest = idle.min_by_key(|(_, it)| it.idle_since).map(|(number, _)| *number);
        let Some(one) = longest.and_then(|it| self.by_number.remove(&it)) else { return false };
        one.closed.cancel();
        true
    }
}

impl Place {
    /// Id of the connection, unique in the process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the connection is to be closed in favor of another.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Registers an open call.
    pub fn call(self: &Arc<Self>) -> OpenCall {
        self.change(|one| one.calls += 1);
        OpenCall(Arc::clone(self))
    }

    fn change(&self, change: impl FnOnce(&mut One)) {
        if let Some(one) = self.connections.lock().by_number.get_mut(&self.number) {
            change(one);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.change(|one| {
            one.calls -= 1;
            one.idle_since = Instant::now();
        });
    }
}
