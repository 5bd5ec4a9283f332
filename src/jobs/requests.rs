//! Request ids of tenants, each with its job: one id makes one job, however often and by however many calls it is asked for.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Tenant and request id.
type Key = (String, String);

/// All request ids that are known.
#[derive(Debug, Default)]
pub struct Requests {
    known: Mutex<HashMap<Key, State>>,
    settled: Condvar,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A call is making its job.
    Coming,
    /// It made this one.
    Made(Uuid),
}

/// The right to make the job of a request id; dropped unsettled, it is somebody else's.
#[derive(Debug)]
pub struct Claim<'a> {
    requests: &'a Requests,
    key: Key,
}

impl Requests {
    /// Whether a job was made for a request id, or is being made. Never waits for the disk.
    pub fn knows(&self, tenant: &str, request_id: &str) -> bool {
        self.known().contains_key(&(tenant.to_owned(), request_id.to_owned()))
    }

    /// Claims a request id; waits for another call that is making its job.
    ///
    /// # Errors
    /// The job that it made.
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

    /// Takes in the job of a request id, as a journal has it.
    pub fn add(&self, tenant: &str, request_id: &str, job: Uuid) {
        if !request_id.is_empty() {
            let key = (tenant.to_owned(), request_id.to_owned());
            self.known().insert(key, State::Made(job));
        }
    }

    /// Forgets a request id whose job is deleted.
    pub fn remove(&self, tenant: &str, request_id: &str) {
        self.known().remove(&(tenant.to_owned(), request_id.to_owned()));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// Says which job it made.
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
