//! The families of models that can be loaded, and the components that make a model one of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::models::{lora::names::Architecture, snapshot::part::Part};

/// A family of models: one way to load them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `StableDiffusionInstructPix2PixPipeline`.
    InstructPix2Pix,
    /// `Flux2KleinPipeline`: FLUX.2 \[klein\].
    Flux2Klein,
}

/// An entry of `model_index.json` that has a configuration.
#[derive(Debug)]
pub(super) struct Component {
    /// The name of its folder.
    pub(super) name: &'static str,
    /// The configuration's file in that folder.
    pub(super) file: &'static str,
    /// The classes that it may be; any, if none is named.
    pub(super) classes: &'static [&'static str],
}

// === impl Family ===

impl Family {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::InstructPix2Pix, Self::Flux2Klein];

    /// The pipeline's class in diffusers, which `model_index.json` calls `_class_name`.
    pub fn class(self) -> &'static str {
        match self {
            Self::InstructPix2Pix => "StableDiffusionInstructPix2PixPipeline",
            Self::Flux2Klein => "Flux2KleinPipeline",
        }
    }

    /// Its networks, in the order in which a prompt passes through them.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::InstructPix2Pix => &[Part::TextEncoder, Part::UNet, Part::Vae],
            Self::Flux2Klein => &[Part::TextEncoder, Part::Transformer, Part::Vae],
        }
    }

    /// What a model must be to be one of them, in words.
    fn described(self) -> &'static str {
        match self {
            Self::InstructPix2Pix => {
                "an InstructPix2Pix model: a U-Net with 8 input channels, an AutoencoderKL and one CLIP text encoder"
            }
            Self::Flux2Klein => {
                "a FLUX.2 [klein] model: a Flux2Transformer2DModel, an AutoencoderKLFlux2 and a Qwen3 text encoder"
            }
        }
    }

    /// What is supported, for whoever has another model.
    pub(super) fn supported() -> String {
        Self::ALL.map(|it| format!("{} ({})", it.described(), it.class())).join("; or ")
    }

    /// How LoRAs call its modules, and the networks that they may change.
    pub(super) fn changed(
        self,
        configs: &BTreeMap<&'static str, Value>,
    ) -> (Architecture, &'static [Part]) {
        match self {
            Self::InstructPix2Pix => {
                let layers = configs["unet"].get("layers_per_block").and_then(Value::as_u64);
                let layers_per_block = layers.unwrap_or(2) as usize;
                let architecture = Architecture::StableDiffusion { layers_per_block };
                (architecture, &[Part::TextEncoder, Part::UNet])
            }
            Self::Flux2Klein => (Architecture::Flux2, &[Part::Transformer]),
        }
    }

    /// The components with a configuration.
    pub(super) fn components(self) -> &'static [Component] {
        match self {
            Self::InstructPix2Pix => &[
                Component { name: "unet", file: "config.json", classes: &["UNet2DConditionModel"] },
                Component { name: "vae", file: "config.json", classes: &["AutoencoderKL"] },
                Component {
                    name: "text_encoder",
                    file: "config.json",
                    classes: &["CLIPTextModel", "CLIPTextModelWithProjection"],
                },
                Component { name: "scheduler", file: "scheduler_config.json", classes: &[] },
            ],
            Self::Flux2Klein => &[
                Component {
                    name: "transformer",
                    file: "config.json",
                    classes: &["Flux2Transformer2DModel"],
                },
                Component { name: "vae", file: "config.json", classes: &["AutoencoderKLFlux2"] },
                Component {
                    name: "text_encoder",
                    file: "config.json",
                    classes: &["Qwen3ForCausalLM", "Qwen3Model"],
                },
                Component {
                    name: "scheduler",
                    file: "scheduler_config.json",
                    classes: &["FlowMatchEulerDiscreteScheduler"],
                },
            ],
        }
    }
}

impl Component {
    /// The configuration's path in a model's folder.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.name, self.file)
    }
}
