//! The loaded model and the readiness of the service, as the job store reports them.

use std::{sync::PoisonError, time::Duration};

use tokio::sync::watch;

use crate::jobs::{
    fault::Fault,
    runner::ModelInfo,
    store::{Limits, Store},
};
use crate::wire::{reason::Reason, spec::SpecTerms};

impl Store {
    /// The loaded model; `None` while it loads.
    pub fn model(&self) -> Option<&ModelInfo> {
        self.model.get()
    }

    /// The loaded model, or an error while it loads.
    ///
    /// # Errors
    /// [`Reason::ModelLoading`].
    pub fn need_model(&self) -> Result<&ModelInfo, Fault> {
        self.model().ok_or_else(|| {
            Fault::new(Reason::ModelLoading, "the model is still loading")
                .retry_after(Duration::from_secs(5))
        })
    }

    /// Time since the model was loaded; `None` while it loads.
    pub fn served(&self) -> Option<Duration> {
        self.loaded.get().map(|it| self.clock.since(*it))
    }

    /// Names of the devices that hold the model, such as `cuda:0`.
    pub fn devices(&self) -> Vec<String> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes the model that a worker has loaded.
    pub fn set_model(&self, model: ModelInfo) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if !devices.contains(&model.device) {
            devices.push(model.device.clone());
        }
        // Every worker loads the same model; the first one publishes it.
        let _ = self.model.set(model);
        self.loaded.get_or_init(|| self.clock.instant());
    }

    /// Publishes whether the service is ready, or why not; the health service follows it.
    pub fn set_ready(&self, ready: Result<(), String>) {
        let _ = self.ready.send_replace(ready);
    }

    /// Whether the service is ready, or why not, with changes.
    pub fn ready(&self) -> watch::Receiver<Result<(), String>> {
        self.ready.subscribe()
    }

    /// Model-dependent defaults and limits by which specs are normalized.
    ///
    /// # Errors
    /// [`Reason::ModelLoading`].
    pub fn terms(&self) -> Result<SpecTerms<'_>, Fault> {
        let model = self.need_model()?;
        let Limits { default_ttl, max_ttl, .. } = self.limits;
        let ModelInfo { name: model, recommended, preview_decoder, .. } = model;
        Ok(SpecTerms {
            model,
            recommended,
            preview_decoder: *preview_decoder,
            default_ttl,
            max_ttl,
        })
    }
}
