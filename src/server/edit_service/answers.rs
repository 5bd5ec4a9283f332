//! The type of the streams that the service answers with.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::Status;

/// A stream of response messages.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
