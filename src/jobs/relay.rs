//! Steps and previews of jobs that run in one process and are watched at another: who wants them, and who hears.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use uuid::Uuid;

use crate::jobs::{latest::Shot, store::Store};
use crate::journal::relay::Heard;
use crate::wire::v1::{EditEvent, edit_event::Event};

/// How long a job's worker shows what it does after somebody has asked for it.
const SHOWN: Duration = Duration::from_secs(12);
/// Time between two requests for the same job.
const ASKED: Duration = Duration::from_secs(5);

impl Store {
    /// Hears other processes, on a thread of its own, until the store is dropped.
    pub(super) fn hear(self: &Arc<Self>) {
        let Some(relay) = self.ledger.relay() else { return };
        let store = Arc::downgrade(self);
        thread::spawn(move || {
            for heard in relay.heard() {
                let Some(store) = Weak::upgrade(&store) else { return };
                match heard {
                    Heard::Wanted(id) => store.is_wanted(id),
                    Heard::Shown(id, event) => store.shown(id, *event),
                }
            }
        });
    }

    fn is_wanted(&self, id: Uuid) {
        if let Some(job) = self.by_id(id).filter(|_| self.running.contains(&id)) {
            if job.elsewhere.want(SHOWN) {
                job.elsewhere.forget_sent();
            }
            self.sending.changed(&job);
        }
    }

    fn shown(&self, id: Uuid, event: EditEvent) {
        let Some(job) = self.by_id(id).filter(|_| !self.running.contains(&id)) else { return };
        match event.event {
            Some(Event::Step(step)) => job.show_step(step),
            Some(Event::Preview(preview)) => job.show_preview(Shot::made(preview)),
            _ => {}
        }
    }

    /// Asks other processes for what their workers show of jobs that are watched here.
    pub fn ask_for_watched(&self) {
        let Some(relay) = self.ledger.relay() else { return };
        for job in self.live() {
            let runs_elsewhere = !job.is_waiting() && !self.running.contains(&job.id);
            if runs_elsewhere && job.is_watched() && job.elsewhere.is_ask_due(ASKED) {
                relay.want(job.id);
            }
        }
    }
}
