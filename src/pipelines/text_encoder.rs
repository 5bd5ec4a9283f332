//! A large text encoder that is in memory only while it reads texts, and what it read last.

use std::{cell::RefCell, path::PathBuf};

use quick_cache::{Weighter, unsync::Cache};
use tch::{Device, Kind, Tensor};

use crate::kernels::cpu::heap;
use crate::models::{
    qwen3::{config::Qwen3Config, prompt::PromptConfig, text_encoder::Qwen3TextEncoder},
    snapshot::{Snapshot, error::SnapshotError, part::Part},
    tokenized::TokenizedPrompt,
};

/// Capacity of the prompts that are kept, in bytes on the model's device: eight of FLUX.2-klein in 16 bits.
const CAPACITY: u64 = 64 << 20;

/// A text encoder, loaded when a text is to be read and freed before the model's next call.
#[derive(Debug)]
pub struct OnDemandTextEncoder {
    /// The snapshot that it is read from.
    path: PathBuf,
    config: Qwen3Config,
    prompt: PromptConfig,
    kind: Kind,
    device: Device,
    /// Whether it is kept once it is loaded.
    is_kept: bool,
    loaded: RefCell<Option<Qwen3TextEncoder>>,
    /// The hidden states of prompts, by their token ids.
    read: RefCell<Cache<Vec<i64>, Tensor, Bytes>>,
}

/// Weighs an entry by its bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Weighter<Vec<i64>, Tensor> for Bytes {
    fn weight(&self, _ids: &Vec<i64>, hidden_states: &Tensor) -> u64 {
        (hidden_states.numel() * hidden_states.kind().elt_size_in_bytes()) as u64
    }
}

impl OnDemandTextEncoder {
    /// The text encoder of a snapshot, whose tensors are looked at but not read yet.
    ///
    /// # Errors
    /// [`SnapshotError`] names the file and key.
    pub fn open(
        snapshot: &Snapshot,
        config: Qwen3Config,
        prompt: PromptConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self, SnapshotError> {
        let weights = snapshot.weights(Part::TextEncoder)?;
        drop(Qwen3TextEncoder::new(&weights.outline(), &config, &prompt));
        weights.finish()?;
        Ok(Self {
            path: snapshot.path().to_owned(),
            config,
            prompt,
            kind,
            device,
            is_kept: false,
            loaded: RefCell::default(),
            read: RefCell::new(Cache::with_weighter(8, CAPACITY, Bytes)),
        })
    }

    /// Keeps it in memory from now on.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Tokens of every prompt, with its padding.
    pub fn tokens(&self) -> i64 {
        self.prompt.max_sequence_length as i64
    }

    /// Whether it is in memory.
    pub fn is_loaded(&self) -> bool {
        self.loaded.borrow().is_some()
    }

    /// The hidden states of a prompt, (1, T, C). They may be shared with other edits, so that nobody changes them in
    /// place.
    ///
    /// # Errors
    /// [`SnapshotError`] if it must be loaded and its files are gone or not what they were.
    pub fn encode(&self, prompt: &TokenizedPrompt) -> Result<Tensor, SnapshotError> {
        if let Some(hidden_states) = self.read.borrow().get(&prompt.ids) {
            return Ok(hidden_states.shallow_clone());
        }
        let hidden_states = self.forward(&prompt.ids, prompt.length)?;
        self.read.borrow_mut().insert(prompt.ids.clone(), hidden_states.shallow_clone());
        Ok(hidden_states)
    }

    /// The hidden states of token ids without padding, (1, n, C).
    ///
    /// # Errors
    /// As for [`Self::encode`].
    pub fn encode_unpadded(&self, prompt: &TokenizedPrompt) -> Result<Tensor, SnapshotError> {
        self.forward(&prompt.ids[..prompt.length], prompt.length)
    }

    /// Frees it, unless it is to be kept.
    pub fn release(&self) {
        if !self.is_kept && self.loaded.take().is_some() && self.device == Device::Cpu {
            heap::give_back();
        }
    }

    fn forward(&self, ids: &[i64], length: usize) -> Result<Tensor, SnapshotError> {
        let ids = Tensor::from_slice(ids).unsqueeze(0); // (1, T)
        self.with(|encoder| tch::no_grad(|| encoder.forward(&ids, &[length])))
    }

    /// Runs a closure on it, loaded.
    fn with<T>(&self, run: impl FnOnce(&Qwen3TextEncoder) -> T) -> Result<T, SnapshotError> {
        let mut loaded = self.loaded.borrow_mut();
        if let Some(encoder) = loaded.as_ref() {
            return Ok(run(encoder));
        }
        // No LoRA changes it, so that the snapshot's own files are what it is.
        let weights = Snapshot::open(&self.path)?.weights(Part::TextEncoder)?;
        let root = weights.root(self.kind, self.device);
        let encoder = Qwen3TextEncoder::new(&root, &self.config, &self.prompt);
        weights.finish()?;
        Ok(run(loaded.insert(encoder)))
    }
}
