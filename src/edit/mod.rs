//! What an edit *is*, as plain data without tensors: the request and its settings, events, the mask, what pass 1
//! learned.

pub mod additions;
pub mod blocks;
pub mod choices;
pub mod components;
pub mod confidence;
pub mod drift;
pub mod edit_mask;
pub mod event;
pub mod grid;
pub mod knobs;
pub mod localization;
pub mod localization_instruction;
pub mod localizer;
pub mod overrides;
pub mod parts;
pub mod recommended;
pub mod request;
pub mod reuse;
pub mod said;
pub mod selection;
pub mod settings;
pub mod things;
pub mod understood;
