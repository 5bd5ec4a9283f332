//! Runs one job from its request to its result, with progress output.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::cli::{
    error::CliError,
    interrupt::Interrupt,
    remote::{
        events::{Telling, Translator},
        request::MaskPlan,
    },
    reporter::Reporter,
};
use crate::client::{connect::Remote, error::ClientError, follow::Follow, refusal::Refusal};
use crate::wire::v1::{
    self, CreateEditJobRequest, EditJob, EditSpec, MaskProposed, edit_event::Event, edit_job::State,
};

/// Disconnect grace of a job: longer than all retries of a reconnect.
const GRACE: Duration = Duration::from_secs(30);
/// Timeout of cancelling a job on exit.
const LEAVE: Duration = Duration::from_secs(5);

/// Context in which jobs are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The server.
    pub(crate) remote: &'a Remote,
    /// Ctrl-C handler.
    pub(crate) interrupt: &'a Interrupt,
}

/// A job that succeeded.
#[derive(Debug)]
pub(crate) struct Done {
    /// The finished job, with a normalized spec.
    pub(crate) job: EditJob,
    /// The mask that its localization proposed, if it had one.
    pub(crate) proposed: Option<MaskProposed>,
    /// The result's file.
    pub(crate) file: Bytes,
}

impl Site<'_> {
    /// Runs a job with progress to the reporter, if there is one. On any error, including Ctrl-C, the job is cancelled.
    ///
    /// # Errors
    /// The server's refusal, the job's error, or Ctrl-C.
    pub(crate) async fn run(
        self,
        mut spec: EditSpec,
        plan: &MaskPlan,
        telling: Telling,
        mut reporter: Option<&mut Reporter<'_>>,
    ) -> Result<Done, CliError> {
        plan.put(&mut spec);
        let request = CreateEditJobRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            spec: Some(spec),
            disconnect_grace: Some(crate::wire::spec::duration(GRACE)),
            ..CreateEditJobRequest::default()
        };
        let mut follow = Follow::start(self.remote, request);
        let ended = self.attend(&mut follow, plan, telling, &mut reporter).await;
        if ended.is_err() && !follow.is_over() && !follow.job().is_empty() {
            // Best effort: otherwise the job is cancelled after its disconnect grace.
            let cancel = self.remote.cancel(follow.job(), "its caller left");
            let _ = tokio::time::timeout(LEAVE, cancel).await;
        }
        let proposed = ended?;
        if proposed.is_none() && plan.picks_from_found() {
            return Err(CliError::NothingFound);
        }
        let fetch = async {
            let job = self.remote.job(follow.job()).await?;
            let file = self.remote.result(&job).await?;
            Ok::<_, ClientError>((job, file))
        };
        let (job, file) = self.interrupt.or(fetch).await?;
        Ok(Done { job, proposed, file })
    }

    /// Follows an existing job to its end.
    ///
    /// # Errors
    /// The job's error, or Ctrl-C, which doesn't cancel the job.
    pub(crate) async fn watch(
        self,
        job: &str,
        options: Option<v1::EventOptions>,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), CliError> {
        let mut follow = Follow::watch(self.remote, job.to_owned(), options);
        let mut reporter = Some(reporter);
        let told = self.attend(&mut follow, &MaskPlan::Found, Telling::Job, &mut reporter).await;
        told.map(drop)
    }

    /// Shows a job's events, submits its mask decision, and returns its error if it fails.
    async fn attend(
        self,
        follow: &mut Follow<'_>,
        plan: &MaskPlan,
        telling: Telling,
        reporter: &mut Option<&mut Reporter<'_>>,
    ) -> Result<Option<MaskProposed>, CliError> {
        let mut translator = Translator::new(self.remote, telling);
        let (mut proposed, mut named) = (None, false);
        let (mut state, mut error) = (State::Unspecified, None);
        while let Some(event) = self.interrupt.or(follow.next()).await? {
            if let Some(reporter) = reporter {
                if !std::mem::replace(&mut named, true) && telling != Telling::Job {
                    reporter.fact("job", &json!(event.job));
                }
                if let Some(shown) = translator.shown(&event).await? {
                    reporter.show(shown);
                }
            }
            match event.event {
                Some(Event::MaskProposed(mask)) => {
                    if mask.awaiting_decision
                        && let Some(decision) = plan.decision(&mask)
                    {
                        self.remote.decide(&event.job, decision).await?;
                    }
                    proposed = Some(mask);
                }
                Some(Event::State(changed)) => state = changed.state(),
                Some(Event::Error(why)) => error = Some(why),
                _ => {}
            }
        }
        if state == State::Succeeded {
            return Ok(proposed);
        }
        let error = error.unwrap_or_default();
        Err(ClientError::Failed(Box::new(Refusal::from(&error))).into())
    }
}
