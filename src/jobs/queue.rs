//! Queue of waiting jobs: first those with a decided mask, then interactive ones, then batch; round-robin over tenants
//! within each class. A job goes to the device with the fewest busy workers.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Scheduling classes, first served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The mask is decided. Never refused, since the job was admitted and has waited before.
    Decided,
    /// A caller waits for it.
    Interactive,
    /// Runs when no other job waits.
    Batch,
}

/// Most waiting jobs.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// In total.
    pub total: usize,
    /// Per tenant.
    pub tenant: usize,
}

/// Why a job was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The queue is full.
    Total,
    /// The tenant's share of the queue is full.
    Tenant,
}

/// Jobs that wait for a worker.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    classes: [Lanes; 3],
    /// Tenants of jobs that are being accepted, one entry per job.
    reserved: Vec<String>,
    devices: Vec<Workers>,
    closed: bool,
}

/// Worker counts of one device.
#[derive(Debug, Default, Clone, Copy)]
struct Workers {
    /// Waiting for a job.
    idle: usize,
    /// Running a job.
    busy: usize,
}

/// A job taken by a worker; its device counts one busy worker until this is dropped.
#[derive(Debug)]
pub struct Taken<'a> {
    /// The job.
    pub job: Uuid,
    queue: &'a Queue,
    device: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.queue.lock().of_device(self.device).busy -= 1;
        self.queue.changed.notify_all();
    }
}

/// A reserved place in the queue; dropped once the job is enqueued or refused.
#[derive(Debug)]
pub struct Place<'a> {
    queue: &'a Queue,
    tenant: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if let Some(index) = waiting.reserved.iter().position(|it| *it == self.tenant) {
            waiting.reserved.swap_remove(index);
        }
    }
}

/// Tenants of a class in round-robin order, each with its jobs in FIFO order.
#[derive(Debug, Default)]
struct Lanes(VecDeque<(String, VecDeque<Uuid>)>);

impl Queue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self { limits, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Most waiting jobs in total.
    pub fn limit(&self) -> usize {
        self.limits.total
    }

    /// Number of waiting jobs.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks whether a tenant's new job may enter.
    ///
    /// # Errors
    /// [`Full`].
    pub fn check(&self, tenant: &str) -> Result<(), Full> {
        self.lock().check(tenant, self.limits)
    }

    /// Reserves a place for a tenant's new job, so that concurrent requests can't exceed the limits together.
    ///
    /// # Errors
    /// [`Full`].
    pub fn reserve(&self, tenant: &str) -> Result<Place<'_>, Full> {
        let mut waiting = self.lock();
        waiting.check(tenant, self.limits)?;
        waiting.reserved.push(tenant.to_owned());
        Ok(Place { queue: self, tenant: tenant.to_owned() })
    }

    /// Appends a job to its tenant's queue in a class; one already waiting keeps its place.
    pub fn push(&self, class: Class, tenant: &str, job: Uuid) {
        let mut waiting = self.lock();
        if !waiting.classes.iter().any(|lanes| lanes.holds(job)) {
            waiting.classes[class as usize].push(tenant, job);
        }
        self.changed.notify_all();
    }

    /// Blocks until there is a job for a worker of a device, and takes it; `None` once the queue is closed.
    ///
    /// Among the devices with an idle worker, the one with the fewest busy workers is served first.
    pub fn pop(&self, device: usize) -> Option<Taken<'_>> {
        let mut waiting = self.lock();
        waiting.of_device(device).idle += 1;
        loop {
            let is_next = !waiting.closed && waiting.next_device() == Some(device);
            let job = is_next.then(|| waiting.classes.iter_mut().find_map(Lanes::pop)).flatten();
            if waiting.closed || job.is_some() {
                let workers = waiting.of_device(device);
                workers.idle -= 1;
                workers.busy += usize::from(job.is_some());
                // Another device may now be the next to be served.
                self.changed.notify_all();
                return job.map(|job| Taken { job, queue: self, device });
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes a job; returns whether it was waiting.
    pub fn remove(&self, job: Uuid) -> bool {
        self.lock().classes.iter_mut().any(|lanes| lanes.remove(job))
    }

    /// Waiting jobs in the order in which they will be taken if no others arrive.
    pub fn order(&self) -> Vec<Uuid> {
        let waiting = self.lock();
        waiting.classes.iter().flat_map(Lanes::order).collect()
    }

    /// Closes the queue: every waiting worker gets `None`.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn of_device(&mut self, device: usize) -> &mut Workers {
        if self.devices.len() <= device {
            self.devices.resize(device + 1, Workers::default());
        }
        &mut self.devices[device]
    }

    /// The device with the fewest busy workers among those with an idle one.
    fn next_device(&self) -> Option<usize> {
        let able = self.devices.iter().enumerate().filter(|(_, workers)| workers.idle > 0);
        able.min_by_key(|(_, workers)| workers.busy).map(|(device, _)| device)
    }

    fn check(&self, tenant: &str, limits: QueueLimits) -> Result<(), Full> {
        if self.len() + self.reserved.len() >= limits.total {
            return Err(Full::Total);
        }
        let reserved = self.reserved.iter().filter(|it| *it == tenant).count();
        if self.of_tenant(tenant) + reserved >= limits.tenant {
            return Err(Full::Tenant);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.classes.iter().flat_map(|lanes| &lanes.0).map(|(_, jobs)| jobs.len()).sum()
    }

    fn of_tenant(&self, tenant: &str) -> usize {
        let lanes = self.classes.iter().flat_map(|lanes| &lanes.0);
        lanes.filter(|(name, _)| name == tenant).map(|(_, jobs)| jobs.len()).sum()
    }
}

impl Lanes {
    fn push(&mut self, tenant: &str, job: Uuid) {
        match self.0.iter_mut().find(|(name, _)| name == tenant) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((tenant.to_owned(), VecDeque::from([job]))),
        }
    }

    fn holds(&self, job: Uuid) -> bool {
        self.0.iter().any(|(_, jobs)| jobs.contains(&job))
    }

    /// Takes the first tenant's first job, and moves the tenant to the end.
    fn pop(&mut self) -> Option<Uuid> {
        let (tenant, mut jobs) = self.0.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.0.push_back((tenant, jobs));
        }
        job
    }

    fn remove(&mut self, job: Uuid) -> bool {
        let mut found = false;
        for (_, jobs) in &mut self.0 {
            let before = jobs.len();
            jobs.retain(|it| *it != job);
            found |= jobs.len() < before;
        }
        self.0.retain(|(_, jobs)| !jobs.is_empty());
        found
    }

    fn order(&self) -> Vec<Uuid> {
        let mut turns: Vec<(usize, usize, Uuid)> = Vec::new();
        for (lane, (_, jobs)) in self.0.iter().enumerate() {
            turns.extend(jobs.iter().enumerate().map(|(turn, job)| (turn, lane, *job)));
        }
        turns.sort_unstable_by_key(|&(turn, lane, _)| (turn, lane));
        turns.into_iter().map(|(.., job)| job).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, mpsc},
        thread,
    };

    use super::*;

    fn queue() -> Queue {
        Queue::new(QueueLimits { total: 8, tenant: 4 })
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn decided_jobs_go_before_interactive_ones_and_those_before_batch() {
        let queue = queue();
        queue.push(Class::Batch, "a", id(1));
        queue.push(Class::Interactive, "a", id(2));
        queue.push(Class::Decided, "a", id(3));
        assert_eq!(queue.order(), [id(3), id(2), id(1)]);
        let taken: Vec<Uuid> = (0..3).map(|_| queue.pop(0).unwrap().job).collect();
        assert_eq!(taken, [id(3), id(2), id(1)]);
    }

    #[test]
    fn tenants_take_turns() {
        let queue = queue();
        for number in 1..=3 {
            queue.push(Class::Interactive, "busy", id(number));
        }
        queue.push(Class::Interactive, "rare", id(9));
        let order = queue.order();
        assert_eq!(order, [id(1), id(9), id(2), id(3)]);
        let taken: Vec<Uuid> = (0..4).map(|_| queue.pop(0).unwrap().job).collect();
        assert_eq!(taken, order);
    }

    #[test]
    fn a_full_queue_says_whose_limit_it_is() {
        let queue = queue();
        for number in 0..4 {
            queue.push(Class::Interactive, "a", id(number));
        }
        assert_eq!(queue.check("a"), Err(Full::Tenant));
        assert_eq!(queue.check("b"), Ok(()));
        for number in 4..8 {
            queue.push(Class::Batch, "c", id(number));
        }
        assert_eq!(queue.check("b"), Err(Full::Total));
        assert!(queue.remove(id(5)) && !queue.remove(id(5)));
        assert_eq!(queue.check("b"), Ok(()));
        let place = queue.reserve("b").unwrap();
        assert_eq!(queue.check("b"), Err(Full::Total));
        drop(place);
        assert_eq!(queue.check("b"), Ok(()));
    }

    #[test]
    fn a_job_waits_once() {
        let queue = queue();
        queue.push(Class::Interactive, "a", id(1));
        queue.push(Class::Interactive, "a", id(2));
        queue.push(Class::Decided, "a", id(1));
        assert_eq!(queue.order(), [id(1), id(2)]);
    }

    #[test]
    fn a_closed_queue_gives_nothing_more() {
        let queue = queue();
        queue.push(Class::Interactive, "a", id(1));
        queue.close();
        assert!(queue.pop(0).is_none());
    }

    /// Three workers of device 0 and two of device 1: which device takes each of four jobs if none of them ends.
    #[test]
    fn the_device_with_the_fewest_busy_workers_takes_the_next_job() {
        let queue = queue();
        let (took, taken) = mpsc::channel();
        let hold = Barrier::new(5);
        thread::scope(|scope| {
            let (queue, hold) = (&queue, &hold);
            for device in [0, 0, 0, 1, 1] {
                let took = took.clone();
                scope.spawn(move || {
                    let job = queue.pop(device);
                    took.send(job.as_ref().map(|it| (it.job, device))).unwrap();
                    hold.wait();
                });
            }
            while queue.lock().devices.iter().map(|it| it.idle).sum::<usize>() < 5 {
                thread::yield_now();
            }
            let mut devices = Vec::new();
            for number in 1..=4 {
                queue.push(Class::Interactive, "a", id(number));
                let (job, device) = taken.recv().unwrap().unwrap();
                assert_eq!(job, id(number));
                devices.push(device);
            }
            assert_eq!(devices, [0, 1, 0, 1]);
            queue.close();
            assert_eq!(taken.recv().unwrap(), None);
        });
        assert!(queue.lock().devices.iter().all(|it| it.idle + it.busy == 0));
    }

    #[test]
    fn a_job_counts_against_its_device_until_it_ends() {
        let queue = queue();
        for number in 1..=2 {
            queue.push(Class::Interactive, "a", id(number));
        }
        // No worker of device 0 is idle, so device 1 takes both jobs.
        let first = queue.pop(1).unwrap();
        let second = queue.pop(1).unwrap();
        assert_eq!(queue.lock().devices[1].busy, 2);
        drop((first, second));
        assert_eq!(queue.lock().devices[1].busy, 0);
    }
}
