//! `ListEditJobs`: a tenant's jobs, newest first, with pagination.

use std::{sync::Arc, time::SystemTime};

use uuid::Uuid;

use crate::jobs::{fault::Fault, job::Job, store::Store};
use crate::server::edit_service::wrong;
use crate::wire::{
    reason::Reason,
    v1::{self, EditJob, edit_job::State},
};

/// Page size: default and maximum.
const PAGE: (i32, i32) = (50, 200);

/// One page of a tenant's jobs.
pub(super) fn list(
    store: &Store,
    tenant: &str,
    request: &v1::ListEditJobsRequest,
) -> Result<v1::ListEditJobsResponse, Fault> {
    let (default, most) = PAGE;
    let size = match request.page_size {
        0 => default,
        size if size < 0 => return Err(wrong("page_size", "must not be negative")),
        size => size.min(most),
    };
    let before = match request.page_token.as_str() {
        "" => Uuid::max(),
        token => Uuid::try_parse(token)
            .map_err(|_| wrong("page_token", "is none that a page before gave"))?,
    };
    if let Some(number) = request.states.iter().find(|it| State::try_from(**it).is_err()) {
        return Err(wrong("states", &format!("{number} is no state")));
    }
    // Ids are ordered by creation time (UUID version 7).
    let mut jobs: Vec<Arc<Job>> = store.all();
    jobs.retain(|job| job.tenant == tenant && job.id < before);
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    let mut found = Vec::new();
    let mut next_page_token = String::new();
    let mut last = None;
    for job in jobs {
        // Checked before the whole job is read, since there may be very many.
        if !request.states.is_empty() && !request.states.contains(&(job.state() as i32)) {
            continue;
        }
        let view = match store.view(&job) {
            // It was deleted meanwhile.
            Err(fault) if fault.reason == Reason::JobNotFound => continue,
            view => view?,
        };
        if !is_wanted(&view, request) {
            continue;
        }
        if found.len() == size as usize {
            next_page_token = last.map(|it: Uuid| it.to_string()).unwrap_or_default();
            break;
        }
        last = Some(job.id);
        found.push(view);
    }
    Ok(v1::ListEditJobsResponse { jobs: found, next_page_token })
}

fn is_wanted(job: &EditJob, request: &v1::ListEditJobsRequest) -> bool {
    let time = |at: Option<prost_types::Timestamp>| at.and_then(|it| SystemTime::try_from(it).ok());
    let made = time(job.create_time);
    let labels = job.spec.as_ref().map(|it| &it.labels);
    request.labels.iter().all(|(key, value)| labels.and_then(|it| it.get(key)) == Some(value))
        && time(request.create_time_from).is_none_or(|from| made >= Some(from))
        && time(request.create_time_to).is_none_or(|to| made < Some(to))
}
