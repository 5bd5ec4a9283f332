//! Memory budget for request bodies across all calls, and the choice of the call to abort when it is exceeded.
//!
//! tonic decodes a unary request completely before the handler runs, so memory must be bounded in front of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use tonic::Code;

use crate::server::refusal::Refusal;

/// Retry delay after a refusal for lack of budget: about as long as one large body takes to arrive.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes that count as progress; a body is stopped if it received fewer since its last progress.
const PROGRESS: u64 = 16 * 1024;
/// Time without progress after which a body may be aborted in favor of another.
const GIVES_WAY: Duration = Duration::from_secs(2);

/// Bytes of request bodies held, and their limit.
#[derive(Debug)]
pub struct BodyBudget {
    limit: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    next: u64,
    bodies: BTreeMap<u64, OneBody>,
}

/// State of one request body.
#[derive(Debug)]
struct OneBody {
    owner: Owner,
    bytes: u64,
    /// Bytes received since `moved`.
    since: u64,
    /// Time of the last progress.
    moved: Instant,
    is_read: bool,
    is_answered: bool,
    refusal: Option<Refusal>,
    reader: Option<Waker>,
}

/// Owner of a body: the budget is shared equally between names, then between the connections of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant; without API keys, the client's address.
    pub name: String,
    /// Id of the connection.
    pub connection: u64,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // The state stays consistent even if a thread panicked while holding the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The refusal of a call for which there is no room.
    fn refusal(&self, asked: u64) -> Refusal {
        let limit = &self.limit;
        if asked > self.limit {
            let said = format!(
                "the request body is larger than the server's memory budget for request bodies, {limit} bytes"
            );
            return Refusal::new(Code::OutOfRange, "MESSAGE_TOO_LARGE", said)
                .with("limit_bytes", limit);
        }
        let said = "the server's memory budget for request bodies is used up; retry later";
        Refusal::new(Code::ResourceExhausted, "BODY_BUDGET", said)
            .with("limit_bytes", limit)
            .retry_after(RETRY_AFTER)
    }
}

impl Held {
    /// Charges bytes to a body, aborting other bodies if necessary.
    fn take(&mut self, budget: &BodyBudget, number: u64, bytes: u64) -> Result<(), Refusal> {
        let Some(one) = self.bodies.get(&number) else { return Ok(()) };
        if let Some(refusal) = &one.refusal {
            return Err(refusal.clone());
        }
        while self.bytes + bytes > budget.limit {
            let asked = self.bodies.get(&number).map_or(bytes, |it| it.bytes + bytes);
            let other = (asked <= budget.limit).then(|| self.gives_way(number, bytes)).flatten();
            let Some(other) = other else {
                let refusal = budget.refusal(asked);
                self.refuse(number, refusal.clone());
                return Err(refusal);
            };
            self.refuse(other, budget.refusal(0));
        }
        self.bytes += bytes;
        if let Some(one) = self.bodies.get_mut(&number) {
            one.bytes += bytes;
            one.since += bytes;
            if one.since >= PROGRESS {
                (one.since, one.moved) = (0, Instant::now());
            }
        }
        Ok(())
    }

    /// The body to abort in favor of `asking`: the one without progress for the longest time, else the largest body of
    /// the owner that holds most, if that is more than the asking owner would hold.
    fn gives_way(&self, asking: u64, bytes: u64) -> Option<u64> {
        let owner = &self.bodies.get(&asking)?.owner;
        let arriving = |(number, it): &(&u64, &OneBody)| {
            **number != asking && !it.is_read && it.bytes > 0 && it.refusal.is_none()
        };
        let others = || self.bodies.iter().filter(arriving);
        let stopped = others().min_by_key(|(_, it)| it.moved);
        if let Some((number, _)) = stopped.filter(|(_, it)| it.moved.elapsed() >= GIVES_WAY) {
            return Some(*number);
        }
        let (mut of_name, mut of_owner) = (HashMap::new(), HashMap::new());
        for it in self.bodies.values() {
            *of_name.entry(it.owner.name.as_str()).or_insert(0) += it.bytes;
            *of_owner.entry(&it.owner).or_insert(0) += it.bytes;
        }
        let of_name = |it: &Owner| of_name.get(it.name.as_str()).copied().unwrap_or(0);
        let of_owner = |it: &Owner| of_owner.get(it).copied().unwrap_or(0);
        let weight = |it: &OneBody| (of_name(&it.owner), of_owner(&it.owner), it.bytes);
        let (number, heaviest) = others().max_by_key(|(_, it)| weight(it))?;
        let gives = if heaviest.owner.name == owner.name {
            of_owner(&heaviest.owner) > of_owner(owner) + bytes
        } else {
            of_name(&heaviest.owner) > of_name(owner) + bytes
        };
        gives.then_some(*number)
    }

    /// Aborts a body; its call reports the refusal. The first refusal counts.
    fn refuse(&mut self, number: u64, refusal: Refusal) {
        self.release(number);
        if let Some(one) = self.bodies.get_mut(&number) {
            one.refusal.get_or_insert(refusal);
            one.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    fn release(&mut self, number: u64) {
        if let Some(one) = self.bodies.get_mut(&number) {
            self.bytes -= std::mem::take(&mut one.bytes);
        }
    }

    /// Records a state of a call, and releases bytes that are no longer needed.
    fn note(&mut self, number: u64, note: impl FnOnce(&mut OneBody)) {
        if let Some(one) = self.bodies.get_mut(&number) {
            note(one);
            if one.is_read && one.is_answered {
                self.release(number);
            }
        }
    }
}

/// One call's share of the budget, in the request's extensions.
///
/// Released once the call's body is read and its answer has begun, at the latest when the call ends. A handler that
/// answers late, or keeps reading and stores the bytes elsewhere, should call [`BodyHold::release`].
#[derive(Debug, Clone)]
pub struct BodyHold(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    budget: Arc<BodyBudget>,
    number: u64,
}

impl BodyHold {
    pub(crate) fn new(budget: &Arc<BodyBudget>, owner: Owner) -> Self {
        let mut held = budget.lock();
        let number = held.next;
        held.next += 1;
        let one = OneBody {
            owner,
            bytes: 0,
            since: 0,
            moved: Instant::now(),
            is_read: false,
            is_answered: false,
            refusal: None,
            reader: None,
        };
        held.bodies.insert(number, one);
        Self(Arc::new(Hold { budget: Arc::clone(budget), number }))
    }

    /// Releases the bytes received so far.
    pub fn release(&self) {
        self.0.budget.lock().release(self.0.number);
    }

    /// Charges received bytes.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Refusal> {
        self.0.budget.lock().take(&self.0.budget, self.0.number, bytes)
    }

    /// Releases bytes that are no longer needed.
    pub(crate) fn give(&self, bytes: u64) {
        let mut held = self.0.budget.lock();
        if let Some(one) = held.bodies.get_mut(&self.0.number) {
            let bytes = bytes.min(one.bytes);
            one.bytes -= bytes;
            held.bytes -= bytes;
        }
    }

    /// Records that the answer has begun.
    pub(crate) fn answered(&self) {
        self.0.budget.lock().note(self.0.number, |it| it.is_answered = true);
    }

    /// Records that the body was read to its end or dropped.
    pub(crate) fn read(&self) {
        self.0.budget.lock().note(self.0.number, |it| it.is_read = true);
    }

    /// Aborts the body; its call reports the refusal.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.0.budget.lock().refuse(self.0.number, refusal);
    }

    /// The refusal with which the body was aborted, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.budget.lock().bodies.get(&self.0.number)?.refusal.clone()
    }

    /// Registers the waker of the body's reader, woken if the body is aborted.
    pub(crate) fn wakes(&self, reader: &Waker) {
        if let Some(one) = self.0.budget.lock().bodies.get_mut(&self.0.number) {
            one.reader = Some(reader.clone());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.release(self.number);
        held.bodies.remove(&self.number);
    }
}
