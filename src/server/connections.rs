//! How many connections are open, in all and from one address, and which one goes when there is no room.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
}

/// The open connections of a port.
///
/// Where there is no room for a new one, the connection that has had no call open for the longest is closed for it,
/// such as one that never said anything; a new one is refused only where every other has a call open.
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

/// What is known of a connection.
#[derive(Debug)]
struct One {
    address: Address,
    calls: usize,
    idle_since: Instant,
    closed: CancellationToken,
}

/// Who counts as one peer: an IPv4 address, or the 64 bits of an IPv6 address that a network is given whole.
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

/// A connection that was let in; dropping it makes room.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    closed: CancellationToken,
}

/// A call that is open on a connection; dropping it ends it.
#[derive(Debug)]
pub struct OpenCall(Arc<Place>);

impl Connections {
    /// None yet, up to these limits.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Lets a connection in, if need be for one that is idle.
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

    /// Closes the connection that is idle for the longest, so that its file is free for something else.
    pub fn close_idle(&self) {
        self.lock().close_idle(None);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A thread that panicked here left whole values behind.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the one that is idle for the longest, of an address or of all; false if none is idle.
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
    /// Which connection it is, for as long as the process lives.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the connection has to go, for another one.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// A call is open now.
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
