//! In-memory cache of localizations: a further edit of the same object in the same picture needs no pass 1.
//!
//! The localization instruction names the object and an unrelated noun, but not what the object is to become, so most
//! edits of one object share an entry.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};

use crate::edit::{
    localization::{Localization, WordMap},
    localization_instruction::LocalizationInstruction,
    settings::{EditSettings, LocalizationSettings},
};
use crate::editing::session::EditSession;

/// Capacity in bytes. One localization at 512 pixels takes some 20 kB, so it holds hundreds.
const CAPACITY: u64 = 8 << 20;

/// Approximate bytes of an entry.
const TYPICAL: u64 = 16 << 10;

/// Localizations by everything that they depend on; several editors of one model may share a cache. The least used
/// entries are evicted first.
#[derive(Debug)]
pub struct LocalizationCache(Cache<Key, Kept, Bytes>);

/// Cache key: equal keys mean equal localizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// A localization, with the instruction of the edit that it was made for.
#[derive(Debug, Clone)]
struct Kept {
    instruction: String,
    localization: Arc<Localization>,
}

/// Weighs an entry by its bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Key {
    /// The key of a localization before it is computed.
    ///
    /// It covers the picture at the working size. Device and dtype are not part of it, since a cache belongs to one
    /// model in one dtype.
    pub fn of(session: &EditSession<'_>, instruction: &LocalizationInstruction) -> Self {
        let (request, work) = (&session.request, &session.work);
        // Every setting stands here, so that a new one is thought of.
        let EditSettings {
            localize_steps,
            guidance,
            scheduler,
            clusters,
            tau,
            rows,
            localizer,
            score,
            threshold,
            localization,
            // The picture as the model sees it says it, and how much of that is picture.
            resize: _,
            // These are about the mask of a localization, and about the edit.
            min_confidence: _,
            refine: _,
            grow: _,
            blend: _,
            steps: _,
            guided: _,
            modulation: _,
            preserve: _,
            align: _,
            // What the edit is told is at hand beside the key.
            templates: _,
        } = &request.settings;
        // The words are in the localization instruction.
        let LocalizationSettings {
            isam_level,
            icam_level,
            isam_blocks,
            icam_blocks,
            attention_source,
            averaged,
            added_by,
            // The model's own.
            confidence: _,
            scheduler: localize_scheduler,
            // The request says the seed that holds.
            seed: _,
            nouns: _,
            noun_prompt: _,
            template: _,
        } = localization;
        let settings = format!(
            "{:?}",
            (
                (
                    request.localize_seed(),
                    localize_steps,
                    averaged,
                    guidance,
                    isam_level,
                    icam_level
                ),
                (scheduler, localize_scheduler, added_by),
                (isam_blocks, icam_blocks, attention_source),
                (clusters, tau, rows, localizer, score, threshold),
                (instruction, work.dimensions(), session.covers().map(|_| session.input_size())),
            )
        );
        let mut hasher = Sha256::new();
        let model = session.pipeline.digest();
        for part in [model, &session.negative_prompt, &settings] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        hasher.update(work.as_raw());
        Self(hasher.finalize().into())
    }
}

impl Default for LocalizationCache {
    fn default() -> Self {
        Self::bounded(CAPACITY)
    }
}

impl LocalizationCache {
    /// An empty cache of at most `capacity` bytes.
    pub fn bounded(capacity: u64) -> Self {
        // How many they may be is a hint about the size of the cache's own table.
        let items = (capacity / TYPICAL).clamp(1, 4096) as usize;
        Self(Cache::with_weighter(items, capacity, Bytes))
    }

    /// The localization for this key, for an edit with this instruction.
    ///
    /// Noise differences, predictions and copying depend on the edit's own instruction, so a localization scored by them
    /// is returned for that instruction only.
    pub fn get(&self, key: &Key, instruction: &str) -> Option<Arc<Localization>> {
        let kept = self.0.get(key)?;
        let is_of_object = !kept.localization.scored_by.is_of_instruction();
        (is_of_object || kept.instruction == instruction).then_some(kept.localization)
    }

    /// Stores a localization that was made for an edit with this instruction.
    pub fn insert(&self, key: Key, instruction: &str, localization: &Arc<Localization>) {
        let (instruction, localization) = (instruction.to_owned(), Arc::clone(localization));
        self.0.insert(key, Kept { instruction, localization });
    }

    /// Bytes in the cache.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

impl Weighter<Key, Kept> for Bytes {
    fn weight(&self, _key: &Key, kept: &Kept) -> u64 {
        let found = &kept.localization;
        let word = |it: &WordMap| size_of::<WordMap>() + it.word.len() + size_of_val(&*it.values);
        let lists = size_of_val(&*found.labels) + size_of_val(&*found.clusters);
        let words: usize = found.words.iter().map(word).sum();
        let texts = kept.instruction.len() + found.instruction.len();
        let own = size_of::<(Key, Kept, Localization)>();
        (own + lists + words + texts) as u64
    }
}
