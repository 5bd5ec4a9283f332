//! A job of a call, watched to its end as gRPC's streams watch it.

use std::sync::Arc;

use crate::http_api::{asked::Asked, said};
use crate::jobs::{
    fault::Fault,
    follow::Follower,
    job::{Job, Seat},
    store::{self, Store},
};
use crate::server::refusal::Refusal;
use crate::wire::v1::{Artifact, EventOptions, Pass, Warning, edit_event::Event};

/// A job that a call waits for. Dropping it before the job's end counts as a disconnect.
#[derive(Debug)]
pub(super) struct Watched {
    follower: Follower,
    seat: Option<Seat>,
    /// Partial images still to be shown.
    partials: u32,
    /// Warnings so far.
    pub(super) warnings: Vec<Warning>,
}

/// What a caller is told of a job before its end.
#[derive(Debug)]
pub(super) enum Told {
    /// A partial image.
    Partial(Artifact),
    /// That the server is still there.
    Heartbeat,
    /// That the job has ended well.
    End,
}

impl Watched {
    /// Attaches to a job.
    pub(super) fn new(store: &Arc<Store>, job: &Arc<Job>, asked: &Asked) -> Self {
        let partials = if asked.stream { asked.partial_images } else { 0 };
        let options = EventOptions {
            preview_every: Some(if partials == 0 { 0 } else { spread(job, partials) }),
            cluster_map: Some(false),
            heatmaps: Some(false),
            max_inline_bytes: Some(0),
            ..EventOptions::default()
        };
        // The first pass only looks for the mask.
        let follower = Follower::new(store, job, 0, Some(&options)).with_previews_of(Pass::Edit);
        Self { follower, seat: Some(job.attach(None)), partials, warnings: Vec::new() }
    }

    /// The job.
    pub(super) fn job(&self) -> &Arc<Job> {
        self.follower.job()
    }

    /// What is next. Cancel-safe.
    ///
    /// # Errors
    /// What the job failed with; those of the journal, and of a shutdown.
    pub(super) async fn next(&mut self) -> Result<Told, Refusal> {
        let told = self.told().await.map_err(|fault| said::refusal(&fault));
        if !matches!(told, Ok(Told::Partial(_) | Told::Heartbeat))
            && let Some(seat) = self.seat.take()
        {
            // The server itself ends the call.
            seat.leave();
        }
        told
    }

    async fn told(&mut self) -> Result<Told, Fault> {
        loop {
            let Some(event) = self.follower.next().await? else {
                return self.follower.fault().await?.map_or(Ok(Told::End), Err);
            };
            match event.event {
                Some(Event::Warning(warning)) => self.warnings.push(warning),
                Some(Event::Heartbeat(_)) => return Ok(Told::Heartbeat),
                Some(Event::Preview(it)) if self.partials > 0 => {
                    if let Some(image) = it.image {
                        self.partials -= 1;
                        return Ok(Told::Partial(image));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Every how many steps a preview is shown so that so many of them are spread over the edit.
fn spread(job: &Job, partials: u32) -> u32 {
    let record = job.live();
    let spec = record.as_ref().and_then(|it| it.job.as_ref()).map(store::spec);
    let steps = spec.and_then(|it| it.steps).unwrap_or(1);
    (steps / (partials + 1)).max(1)
}
