//! Retry policy: exponential backoff with jitter, or the delay set by the server; both are bounded.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tonic::Status;

use crate::client::{error::ClientError, refusal::Refusal};

/// First backoff delay; each is twice the previous one, with jitter so that clients don't return together.
const FIRST: Duration = Duration::from_millis(100);
/// Longest backoff delay.
const LONGEST: Duration = Duration::from_secs(5);
/// Most retries with backoff.
const TRIES: usize = 8;
/// Longest delay accepted from a server.
const LONGEST_TOLD: Duration = Duration::from_secs(60);
/// Most retries with a server's delay: a queue that stays full for half an hour is an error.
const TRIES_TOLD: u32 = 30;

/// Retry state of one call.
#[derive(Debug)]
pub struct Retry {
    waits: ExponentialBackoff,
    told: u32,
}

impl Default for Retry {
    fn default() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_max_times(TRIES)
            .with_jitter();
        Self { waits: waits.build(), told: 0 }
    }
}

impl Retry {
    /// Waits until the call may be retried.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if a retry can't help, or the retries are used up.
    pub async fn after(&mut self, status: &Status) -> Result<(), ClientError> {
        let refusal = Refusal::from(status);
        match self.wait(&refusal) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(refusal.into()),
        }
    }

    fn wait(&mut self, refusal: &Refusal) -> Option<Duration> {
        if !refusal.is_transient() {
            return None;
        }
        match refusal.retry_after {
            Some(told) if self.told < TRIES_TOLD => {
                self.told += 1;
                Some(told.min(LONGEST_TOLD))
            }
            Some(_) => None,
            None => self.waits.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn refusal(retry_after: Option<Duration>) -> Refusal {
        let (reason, message) = (String::new(), String::new());
        let code = Code::Unavailable;
        Refusal { code, reason, message, fields: vec![], retry_after, is_final: false }
    }

    #[test]
    fn waits_grow_and_end() {
        let mut retry = Retry::default();
        let waits: Vec<_> = std::iter::from_fn(|| retry.wait(&refusal(None))).collect();
        assert_eq!(waits.len(), TRIES);
        assert!(waits.iter().all(|it| *it <= LONGEST * 2));
        assert!(waits[5] > waits[0]);
    }

    #[test]
    fn a_time_that_the_server_names_is_kept_to_within_a_bound() {
        let mut retry = Retry::default();
        let told = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retry.wait(&refusal(told(7))), told(7));
        assert_eq!(retry.wait(&refusal(told(3600))), Some(LONGEST_TOLD));
        let left = std::iter::from_fn(|| retry.wait(&refusal(told(1)))).count();
        assert_eq!(left as u32, TRIES_TOLD - 2);
    }
}
