//! Idempotency by request id: each tenant's request id maps to the one job that it created, also across concurrent
//! calls.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Tenant and request id.
type Key = (String, String);

/// All known request ids.
#[derive(Debug, Default)]
pub struct Requests {
    known: Mutex<HashMap<Key, State>>,
    settled: Condvar,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A call is creating its job.
    Coming,
    /// The job that it created.
    Made(Uuid),
}

/// The exclusive right to create the job of a request id; if dropped without [`Claim::settle`], another call may claim
/// the id.
#[derive(Debug)]
pub struct Claim<'a> {
    requests: &'a Requests,
    key: Key,
}

impl Requests {
    /// Whether a job exists or is being created for a request id. Never waits for the disk.
    pub fn knows(&self, tenant: &str, request_id: &str) -> bool {
        self.known().contains_key(&(tenant.to_owned(), request_id.to_owned()))
    }

    /// Claims a request id; blocks while another call is creating its job.
    ///
    /// # Errors
    /// The job that already exists for it.
    pub fn claim(&self, tenant: &str, request_id: &str) -> Result<Claim<'_>, Uuid> {
        let key = (tenant.to_owned(), request_id.to_owned());
        let mut known = self.known();
        loop {
            match known.get(&key) {
                None => {
                    known.insert(key.clone(), State::Coming);
                    return Ok(Claim { requests: self, key });
                }
                Some(State::Made(job)) => return Err(*job),
                Some(State::Coming) => {
                    known = self.settled.wait(known).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Registers the job of a request id when a journal is loaded.
    pub fn add(&self, tenant: &str, request_id: &str, job: Uuid) {
        if !request_id.is_empty() {
            let key = (tenant.to_owned(), request_id.to_owned());
            self.known().insert(key, State::Made(job));
        }
    }

    /// Removes a request id whose job is deleted.
    pub fn remove(&self, tenant: &str, request_id: &str) {
        self.known().remove(&(tenant.to_owned(), request_id.to_owned()));
        self.settled.notify_all();
    }

    /// Waits until a request id is no longer that of a job, which is being deleted.
    pub fn wait_removed(&self, tenant: &str, request_id: &str, job: Uuid) {
        let key = (tenant.to_owned(), request_id.to_owned());
        let is_there = |known: &mut HashMap<Key, State>| matches!(known.get(&key), Some(State::Made(id)) if *id == job);
        drop(self.settled.wait_while(self.known(), is_there));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// Registers the created job under the id.
    pub fn settle(self, job: Uuid) {
        self.requests.known().insert(self.key.clone(), State::Made(job));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut known = self.requests.known();
        if matches!(known.get(&self.key), Some(State::Coming)) {
            known.remove(&self.key);
        }
        drop(known);
        self.requests.settled.notify_all();
    }
}
