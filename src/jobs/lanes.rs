//! A class of waiting jobs: tenants in turn, each with its own in the order in which they came.

use std::collections::VecDeque;

use uuid::Uuid;

/// Tenants of a class in round-robin order, each with its jobs in FIFO order.
#[derive(Debug, Default)]
pub(super) struct Lanes(VecDeque<(String, VecDeque<Uuid>)>);

impl Lanes {
    /// Each tenant with its jobs.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &(String, VecDeque<Uuid>)> {
        self.0.iter()
    }

    /// Appends a job to its tenant's.
    pub(super) fn push(&mut self, tenant: &str, job: Uuid) {
        match self.0.iter_mut().find(|(name, _)| name == tenant) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((tenant.to_owned(), VecDeque::from([job]))),
        }
    }

    /// Whether a job is in it.
    pub(super) fn holds(&self, job: Uuid) -> bool {
        self.0.iter().any(|(_, jobs)| jobs.contains(&job))
    }

    /// Takes the first tenant's first job, and moves the tenant to the end.
    pub(super) fn pop(&mut self) -> Option<Uuid> {
        let (tenant, mut jobs) = self.0.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.0.push_back((tenant, jobs));
        }
        job
    }

    /// Moves a tenant to the front.
    pub(super) fn lead(&mut self, tenant: &str) {
        let found = self.0.iter().position(|(name, _)| name == tenant);
        if let Some(lane) = found.and_then(|it| self.0.remove(it)) {
            self.0.push_front(lane);
        }
    }

    /// Removes a job; returns whether it was there.
    pub(super) fn remove(&mut self, job: Uuid) -> bool {
        let mut found = false;
        for (_, jobs) in &mut self.0 {
            let before = jobs.len();
            jobs.retain(|it| *it != job);
            found |= jobs.len() < before;
        }
        self.0.retain(|(_, jobs)| !jobs.is_empty());
        found
    }

    /// Its jobs in the order in which they are taken.
    pub(super) fn order(&self) -> Vec<Uuid> {
        let mut turns: Vec<(usize, usize, Uuid)> = Vec::new();
        for (lane, (_, jobs)) in self.0.iter().enumerate() {
            turns.extend(jobs.iter().enumerate().map(|(turn, job)| (turn, lane, *job)));
        }
        turns.sort_unstable_by_key(|&(turn, lane, _)| (turn, lane));
        turns.into_iter().map(|(.., job)| job).collect()
    }
}
