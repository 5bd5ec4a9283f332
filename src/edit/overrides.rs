//! Overrides of an edit's settings, and the table of all settings.
//!
//! Effective settings are built in four layers: the standard ones, the model's (`retouch.json`), a preset, the request's.
//! What a layer sets is an [`EditOverrides`], which [`EditOverrides::apply`] puts over the layers below. Flags and
//! fields of the schema are converted to it, so local and remote edits share one path.
//!
//! [`KNOBS`] lists every setting. To add one that callers may set, edit four places:
//!
//! 1. here: its row; and its field with the paper's value in [`EditSettings`];
//! 2. the schema: its field in `EditSpec`, and a line for each direction in `wire::overrides`;
//! 3. the command line: its flag in `cli::args`, and a line in `cli::overrides`;
//! 4. the record: its key in `wire::edit_record`, and a line in `cli::replay`.
//!
//! A setting that only models may set needs the first place, and the key in the record. `cargo test --test it knobs`
//! names what is missing, and prints the rows of `docs/settings.md`.

use serde::{Deserialize, Deserializer, de::Error};

use crate::edit::{
    blocks::Blocks,
    choices::{Align, Preserve, Preset, Resize},
    confidence::Calibration,
    knobs::{ClusterCount, Confidence, Growth, StepShare, Tau},
    localization_instruction::Template,
    localizer::{AddedBy, AttentionSource, ClusterScore, Localizer, Rows},
    settings::{EditSettings, Modulation},
};
use crate::instruction::templates::EditTemplates;
use crate::sampling::{ImageGuidance, SchedulerKind, Steps, TextGuidance};

/// Documentation of a setting, and its names.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// Its field in [`EditOverrides`].
    pub name: &'static str,
    /// What it sets, in a sentence.
    pub about: &'static str,
    /// Accepted values: `1 to 30`, or `a, b, c`.
    pub range: &'static str,
    /// Its default.
    pub default: SettingDefault,
    /// Name of the flag, with underscores for hyphens.
    pub flag: Access,
    /// Field of the schema's `EditSpec`.
    pub field: Access,
    /// Key in `retouch.json`.
    pub key: Access,
    /// Key in a picture's record.
    pub record: Access,
}

/// Default of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingDefault {
    /// The model's value, or else this.
    Else(&'static str),
    /// Another rule, in words.
    Rule(&'static str),
}

/// Whether a setting can be given in a certain way, and its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can, under this name.
    Named(&'static str),
    /// Only a model sets it, because it is tuned together with the weights.
    ModelOnly,
    /// It is a part of the model, and covered by its digest (but for a calibration and wordings of edits).
    PartOfModel,
    /// A model can't set it: it depends on the request, or on another file of the model.
    RequestOnly,
}

/// The four names of a setting.
#[derive(Clone, Copy)]
struct Names {
    flag: Access,
    field: Access,
    key: Access,
    record: Access,
}

/// Set by models and by requests.
const fn anywhere(name: &'static str) -> Names {
    Names { key: Access::Named(name), ..request_only(name) }
}

/// Set by requests only.
const fn request_only(name: &'static str) -> Names {
    let named = Access::Named(name);
    Names { flag: named, field: named, key: Access::RequestOnly, record: named }
}

/// Set by models only.
const fn model_only(name: &'static str) -> Names {
    let (named, hidden) = (Access::Named(name), Access::ModelOnly);
    Names { flag: hidden, field: hidden, key: named, record: named }
}

/// A part of the model.
const fn part_of_model(name: &'static str) -> Names {
    let (named, hidden) = (Access::Named(name), Access::PartOfModel);
    Names { flag: hidden, field: hidden, key: named, record: hidden }
}

/// Defines [`EditOverrides`] and [`KNOBS`] by rows: documentation, `name: type => path in the settings`, range,
/// default, names.
macro_rules! knobs {
    ($(
        #[doc = $about:literal]
        $(#[serde($($serde:tt)+)])?
        $name:ident: $type:ty => $(.$place:ident)+, $range:expr, $default:expr, $names:expr;
    )+) => {
        /// Some settings of an edit; what is `None` keeps its value.
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct EditOverrides {
            $(#[doc = $about] $(#[serde($($serde)+)])? pub $name: Option<$type>,)+
        }

        /// Every setting of an edit.
        pub const KNOBS: &[Knob] = &[$({
            let Names { flag, field, key, record } = $names;
            Knob {
                name: stringify!($name),
                about: $about.trim_ascii(),
                range: $range,
                default: $default,
                flag,
                field,
                key,
                record,
            }
        },)+];

        impl EditOverrides {
            /// Every setting of these.
            pub fn of(settings: EditSettings) -> Self {
                Self { $($name: settings$(.$place)+.into(),)+ }
            }

            fn set(self, settings: &mut EditSettings) {
                $(if let Some(value) = self.$name {
                    settings$(.$place)+ = value.into();
                })+
            }
        }
    };
}

use SettingDefault::{Else, Rule};

knobs! {
    /// Denoising steps of the edit.
    steps: Steps => .steps, Steps::RANGE, Else("20"), anywhere("steps");
    /// Denoising steps of the localization.
    localize_steps: Steps => .localize_steps,
        Steps::RANGE, Else("10"), anywhere("localize_steps");
    /// How strongly the instruction pulls.
    text_guidance: TextGuidance => .guidance.text, TextGuidance::RANGE, Else("7.5"), anywhere("text_guidance");
    /// How strongly the picture pulls.
    image_guidance: ImageGuidance => .guidance.image, ImageGuidance::RANGE, Else("1.5"), anywhere("image_guidance");
    /// Which steps of IAM-Edit's pass 2 are guided; the others use the prediction of instruction and picture alone.
    #[serde(deserialize_with = "guided")]
    guided: StepShare => .guided, StepShare::RANGE, Else("[0, 1]"), model_only("guided");
    /// The sampler.
    #[serde(skip)]
    scheduler: SchedulerKind => .scheduler, SchedulerKind::NAMES, Rule("the model's"), request_only("scheduler");
    /// Number of clusters.
    clusters: ClusterCount => .clusters, ClusterCount::RANGE, Else("5"),
        Names {
            flag: Access::Named("k"),
            field: Access::Named("cluster_count"),
            record: Access::Named("k"),
            ..anywhere("clusters")
        };
    /// Cluster score from which a cluster is edited.
    tau: Tau => .tau, Tau::RANGE, Else("0.3"), anywhere("tau");
    /// The vectors that are clustered: the rows of the self-attention, or their square roots.
    rows: Rows => .rows, Rows::NAMES, Else("raw"), model_only("rows");
    /// How the place of the edit is found.
    localizer: Localizer => .localizer, Localizer::NAMES, Else("iam"), anywhere("localizer");
    /// What a cluster's score is the mean of.
    score: ClusterScore => .score, ClusterScore::NAMES, Else("attention"), anywhere("score");
    /// Value above which a place is edited.
    threshold: Tau => .threshold, Tau::RANGE, Rule("the localizer's own"), anywhere("threshold");
    /// How sure the localization must be that the object is there.
    min_confidence: Confidence => .min_confidence, Confidence::RANGE, Else("0.5"), anywhere("min_confidence");
    /// Bring the border of the mask, made of cells, to the picture's own edges.
    refine: bool => .refine, "true, false", Else("no"), anywhere("refine");
    /// Grow the mask that is found, so that a new shape has room.
    grow: Growth => .grow, Growth::RANGE, Else("0"), anywhere("grow");
    /// How cross-attention is held inside the mask.
    modulation: Modulation => .modulation, Modulation::NAMES, Else("gate"), anywhere("modulation");
    /// What keeps the rest of the picture.
    #[serde(skip)]
    preserve: Preserve => .preserve,
        Preserve::NAMES, Rule("pixel; none for instruct-pix2pix without a mask"), request_only("preserve");
    /// Whether pixels that are kept have the source's latents put back at each step, too.
    blend: bool => .blend, "true, false", Else("no"), model_only("blend");
    /// Whether a motion of the whole picture is undone before the rest of it is put back.
    align: Align => .align, Align::NAMES, Rule("the model's, else auto where it attends to the picture"),
        anywhere("align");
    /// Size that the model works at.
    #[serde(skip)]
    resize: Resize => .resize, "fit:N, native", Rule("fit at the model's own size"),
        Names { field: Access::Named("resize"), ..request_only("size") };
    /// Level of the averaged self-attention, 0 being the latent's own size.
    isam_level: usize => .localization.isam_level, "a level of the model", Else("1"), part_of_model("isam_level");
    /// Level of the averaged cross-attention, 0 being the latent's own size.
    icam_level: usize => .localization.icam_level, "a level of the model", Else("2"), part_of_model("icam_level");
    /// Blocks of the averaged self-attention, and of what is told of copying, by diffusers' names.
    isam_blocks: Blocks => .localization.isam_blocks, Blocks::RANGE, Rule("all"), part_of_model("isam_blocks");
    /// Blocks of the averaged cross-attention, by diffusers' names.
    icam_blocks: Blocks => .localization.icam_blocks, Blocks::RANGE, Rule("all"), part_of_model("icam_blocks");
    /// The cells whose attention is averaged.
    attention_source: AttentionSource => .localization.attention_source,
        AttentionSource::NAMES, Else("latents"), part_of_model("attention_source");
    /// Which of the localization's steps are averaged; it ends with the last of them.
    #[serde(deserialize_with = "averaged")]
    averaged: StepShare => .localization.averaged, StepShare::RANGE, Else("[0.3, 0.6]"), model_only("averaged");
    /// Where an addition goes: where its words look, or where the localization draws it.
    added_by: AddedBy => .localization.added_by, AddedBy::NAMES, Else("attention"), model_only("added_by");
    /// How the confidence is told from what pass 1 shows (docs/evaluation.md).
    confidence: Calibration => .localization.confidence,
        "an object: bias, and a weight for each evidence", Rule("told from the contrast alone"),
        part_of_model("confidence");
    /// The localization's sampler.
    localize_scheduler: SchedulerKind => .localization.scheduler,
        SchedulerKind::NAMES, Rule("that of the edit where given, else the model's, else dpm-solver++-2m"),
        model_only("localize_scheduler");
    /// Seed of the localization's noise.
    #[serde(skip)]
    localize_seed: u64 => .localization.seed, "0 to 2^64 - 1", Rule("that of the edit"), request_only("localize_seed");
    /// The pool of unrelated words.
    nouns: Vec<String> => .localization.nouns,
        "a list of nouns", Rule("the nouns that are built in"), part_of_model("nouns");
    /// How an unrelated word is embedded.
    #[serde(deserialize_with = "noun_prompt")]
    noun_prompt: String => .localization.noun_prompt,
        "a text with {}", Else("a photo of a {}"), part_of_model("noun_prompt");
    /// The wording of the localization instruction.
    localization_instruction: Template => .localization.template,
        "a text with {object} and {word}", Else("Change {object} to a {word}"),
        part_of_model("localization_instruction");
    /// The wordings of edits that the model was taught: what it is told of an instruction in other words.
    #[serde(deserialize_with = "edit_instruction")]
    edit_instruction: EditTemplates => .templates,
        "an object: templates for change, recolor, add, remove", Rule("the text as it was written"),
        part_of_model("edit_instruction");
}

impl EditOverrides {
    /// Overrides settings.
    ///
    /// Where both passes have one number of steps, as in the paper, a new one of pass 2 holds for pass 1, too. What is
    /// localized in fewer steps than it is edited in is so for longer edits, too.
    pub fn apply(self, settings: &mut EditSettings) {
        if settings.localize_steps == settings.steps {
            settings.localize_steps = self.steps.unwrap_or(settings.steps);
        }
        self.set(settings);
    }

    /// The effective settings: the model's recommendations or the preset, overridden by these.
    #[must_use]
    pub fn over(self, recommended: &EditSettings, preset: Option<Preset>) -> EditSettings {
        let mut settings = match preset {
            None => recommended.clone(),
            Some(Preset::Paper) => {
                let mut paper = EditSettings::paper();
                Self::of(recommended.clone()).part_of_model().apply(&mut paper);
                paper
            }
        };
        self.apply(&mut settings);
        settings
    }

    /// The nouns, templates, attention levels and calibration, which depend on the model and not on a preset.
    fn part_of_model(self) -> Self {
        Self {
            isam_level: self.isam_level,
            icam_level: self.icam_level,
            isam_blocks: self.isam_blocks,
            icam_blocks: self.icam_blocks,
            attention_source: self.attention_source,
            confidence: self.confidence,
            nouns: self.nouns,
            noun_prompt: self.noun_prompt,
            localization_instruction: self.localization_instruction,
            edit_instruction: self.edit_instruction,
            ..Self::default()
        }
    }
}

impl Access {
    /// The name, if there is one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Named(name) => Some(name),
            Self::ModelOnly | Self::PartOfModel | Self::RequestOnly => None,
        }
    }
}

fn guided<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StepShare>, D::Error> {
    share("guided", deserializer)
}

fn averaged<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StepShare>, D::Error> {
    share("averaged", deserializer)
}

fn share<'de, D: Deserializer<'de>>(
    name: &'static str,
    deserializer: D,
) -> Result<Option<StepShare>, D::Error> {
    let pair = Option::<[f64; 2]>::deserialize(deserializer)?;
    pair.map(|pair| StepShare::new(name, pair)).transpose().map_err(D::Error::custom)
}

fn edit_instruction<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<EditTemplates>, D::Error> {
    let templates = Option::<EditTemplates>::deserialize(deserializer);
    templates.map_err(|error| D::Error::custom(format!("edit_instruction: {error}")))
}

fn noun_prompt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(prompt) if !prompt.contains("{}") => Err(D::Error::custom(format!(
            "noun_prompt `{prompt}` must contain `{{}}`, as in `a photo of a {{}}`"
        ))),
        prompt => Ok(prompt),
    }
}
