//! The bytes of request bodies that all calls together hold, and which call gives way when there is no room.
//!
//! A unary request is decoded whole before its handler can say no, so what bounds memory must sit in front of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use tonic::Code;

use crate::server::refusal::Refusal;

/// When a call that found the budget spent may come back: about the time that one large body takes to arrive.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes that make a difference: what has not brought so many since then has stopped then.
const PROGRESS: u64 = 16 * 1024;
/// Silence after which a body gives way to one that arrives.
const GIVES_WAY: Duration = Duration::from_secs(2);

/// How many bytes of bodies are held, and may be.
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

/// What is known of one body.
#[derive(Debug)]
struct OneBody {
    owner: Owner,
    bytes: u64,
    /// Bytes that came since `moved`.
    since: u64,
    /// When it last made progress.
    moved: Instant,
    is_read: bool,
    is_answered: bool,
    refusal: Option<Refusal>,
    reader: Option<Waker>,
}

/// Whose a body is: shares of the budget are equal between names, then between the connections of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant; where there are no keys, the address.
    pub name: String,
    /// The connection.
    pub connection: u64,
}

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A thread that panicked here left whole values behind.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call is told for which there is no room.
    fn refusal(&self, asked: u64) -> Refusal {
        let limit = &self.limit;
        if asked > self.limit {
            let said = format!(
                "the request's body is larger than the {limit} bytes that all bodies together may have"
            );
            return Refusal::new(Code::OutOfRange, "MESSAGE_TOO_LARGE", said)
                .with("limit_bytes", limit);
        }
        let said = "the request bodies of all calls together are too large now";
        Refusal::new(Code::ResourceExhausted, "BODY_BUDGET", said)
            .with("limit_bytes", limit)
            .retry_after(RETRY_AFTER)
    }
}

impl Held {
    /// Takes bytes for a body, if need be from others.
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

    /// The body that gives way to another one: that which has stopped for the longest, else the largest of who holds
    /// the most, if that is more than who asks would hold.
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

    /// Ends a body, whose call says why. The first reason counts.
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

    /// Notes how far a call has come, and gives back what it needs no more.
    fn note(&mut self, number: u64, note: impl FnOnce(&mut OneBody)) {
        if let Some(one) = self.bodies.get_mut(&number) {
            note(one);
            if one.is_read && one.is_answered {
                self.release(number);
            }
        }
    }
}

/// What one call holds of the budget; a request's extensions carry it.
///
/// It is given back when the call has read its whole body and begun to answer, at the latest when the call is over. A
/// handler that answers late or reads on for long, and keeps the bytes elsewhere, gives them back by
/// [`BodyHold::release`].
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

    /// Gives back what has arrived so far.
    pub fn release(&self) {
        self.0.budget.lock().release(self.0.number);
    }

    /// Takes bytes that have arrived.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Refusal> {
        self.0.budget.lock().take(&self.0.budget, self.0.number, bytes)
    }

    /// Gives back bytes that are needed no more.
    pub(crate) fn give(&self, bytes: u64) {
        let mut held = self.0.budget.lock();
        if let Some(one) = held.bodies.get_mut(&self.0.number) {
            let bytes = bytes.min(one.bytes);
            one.bytes -= bytes;
            held.bytes -= bytes;
        }
    }

    /// The answer has begun, so a body that has ended is in the handler's hands.
    pub(crate) fn answered(&self) {
        self.0.budget.lock().note(self.0.number, |it| it.is_answered = true);
    }

    /// The body has been read, or is not read any more.
    pub(crate) fn read(&self) {
        self.0.budget.lock().note(self.0.number, |it| it.is_read = true);
    }

    /// Ends the body, whose call says why.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.0.budget.lock().refuse(self.0.number, refusal);
    }

    /// Why the body was ended, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.budget.lock().bodies.get(&self.0.number)?.refusal.clone()
    }

    /// Wakes whoever waits for the body when it has to give way.
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
