//! KEDA's external scaler on the ops port: how many jobs wait or run, of all processes that share them, so that the
//! number of workers follows. It only reads, and names no tenant.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time;
use tonic::{Request, Response, Status};

use crate::jobs::store::Store;
use crate::wire::externalscaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
    external_scaler_server::{ExternalScaler, ExternalScalerServer},
};

/// Name of the metric: jobs that wait or run.
pub const METRIC: &str = "retouch-jobs";
/// Key of a trigger's metadata: jobs that wait or run for each worker process.
pub const TARGET: &str = "jobsPerReplica";
/// Interval at which a watched state is read.
const LOOK: Duration = Duration::from_secs(1);

/// Reads a store, which it does not keep open; the default has none.
#[derive(Debug, Clone, Default)]
pub struct Scaler {
    store: Weak<Store>,
}

/// The gRPC service.
pub fn service(scaler: Scaler) -> ExternalScalerServer<Scaler> {
    ExternalScalerServer::new(scaler)
}

impl Scaler {
    /// The scaler of a store.
    pub fn of(store: &Arc<Store>) -> Self {
        Self { store: Arc::downgrade(store) }
    }

    fn store(&self) -> Result<Arc<Store>, Status> {
        self.store.upgrade().ok_or_else(|| Status::unavailable("the server is ending"))
    }

    fn is_active(&self) -> Result<IsActiveResponse, Status> {
        Ok(IsActiveResponse { result: self.store()?.work() > 0 })
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    type StreamIsActiveStream =
        Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

    async fn is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        Ok(Response::new(self.is_active()?))
    }

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let start = (self.clone(), None, time::interval(LOOK));
        let told = stream::unfold(start, |(scaler, told, mut tick)| async move {
            loop {
                tick.tick().await;
                // The end of the server ends the stream.
                let now = scaler.is_active().ok()?;
                if told != Some(now) {
                    return Some((Ok(now), (scaler, Some(now), tick)));
                }
            }
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let target = match request.get_ref().scaler_metadata.get(TARGET) {
            Some(text) => target(text)?,
            // Where this process runs none, as if each worker ran one at a time.
            None => f64::from(self.store()?.limits.slots.max(1)),
        };
        let spec = MetricSpec {
            metric_name: METRIC.to_owned(),
            target_size: (target.round() as i64).max(1),
            target_size_float: target,
        };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let name = &request.get_ref().metric_name;
        if name != METRIC {
            let message = format!("there is no metric {name:?}, only {METRIC:?}");
            return Err(Status::invalid_argument(message));
        }
        let work = self.store()?.work();
        let value = MetricValue {
            metric_name: METRIC.to_owned(),
            metric_value: work as i64,
            metric_value_float: work as f64,
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// A target as written in a trigger's metadata.
fn target(text: &str) -> Result<f64, Status> {
    let found = text.trim().parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
    found.ok_or_else(|| {
        Status::invalid_argument(format!("{TARGET}: {text:?} is not a number above 0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_number_above_zero() {
        for (text, expected) in [("4", 4.0), (" 0.5 ", 0.5)] {
            assert_eq!(target(text).ok(), Some(expected));
        }
        for text in ["", "0", "-1", "many", "inf", "NaN"] {
            let message = target(text).unwrap_err().message().to_owned();
            assert!(message.contains(TARGET) && message.contains(text), "{message}");
        }
    }
}
