//! Conversion of command-line arguments to overrides of settings.

use crate::cli::{
    args::{EditArgs, SamplingArgs},
    localization_args::LocalizationArgs,
};
use crate::edit::overrides::EditOverrides;
use crate::sampling::OutOfRange;

impl EditArgs {
    /// The overrides given by the arguments.
    ///
    /// # Errors
    /// [`OutOfRange`], naming the value.
    pub(crate) fn overrides(&self) -> Result<EditOverrides, OutOfRange> {
        Ok(EditOverrides {
            steps: within(self.steps)?,
            preserve: self.preserve,
            modulation: self.modulation,
            align: self.align,
            localize_seed: self.localize_seed,
            ..self.localization.overrides(&self.sampling)?
        })
    }
}

impl LocalizationArgs {
    /// The overrides given by these arguments and those of sampling.
    ///
    /// # Errors
    /// [`OutOfRange`], naming the value.
    pub(crate) fn overrides(&self, sampling: &SamplingArgs) -> Result<EditOverrides, OutOfRange> {
        Ok(EditOverrides {
            min_confidence: within(self.min_confidence)?,
            tau: within(self.tau)?,
            clusters: within(self.k)?,
            localize_steps: within(self.localize_steps)?,
            localizer: self.localizer,
            score: self.score,
            threshold: within(self.threshold)?,
            refine: self.refine,
            grow: within(self.grow)?,
            ..sampling.overrides()?
        })
    }
}

impl SamplingArgs {
    /// The overrides given by the arguments.
    ///
    /// # Errors
    /// [`OutOfRange`], naming the value.
    pub(crate) fn overrides(&self) -> Result<EditOverrides, OutOfRange> {
        Ok(EditOverrides {
            text_guidance: within(self.text_guidance)?,
            image_guidance: within(self.image_guidance)?,
            scheduler: self.scheduler,
            resize: self.size,
            ..EditOverrides::default()
        })
    }
}

/// Validates an optional number.
pub(crate) fn within<N, T: TryFrom<N, Error = OutOfRange>>(
    number: Option<N>,
) -> Result<Option<T>, OutOfRange> {
    number.map(T::try_from).transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::command::{Cli, Command};
    use crate::edit::overrides::KNOBS;
    use crate::wire::{message_json, overrides};

    /// Local edits use the flags, remote ones the fields; both must mean the same.
    #[test]
    fn a_flag_says_what_its_field_says() {
        for knob in KNOBS {
            let (Some(flag), Some(field)) = (knob.flag.name(), knob.field.name()) else { continue };
            let values: Vec<&str> = match (knob.name, knob.range.split_once(" to ")) {
                ("localize_seed", _) => vec!["7"],
                ("resize", _) => vec!["fit:64", "native"],
                (_, Some((from, until))) => vec![from, until],
                (_, None) => knob.range.split(", ").collect(),
            };
            for value in values {
                let flag = format!("--{}={value}", flag.replace('_', "-"));
                let cli = Cli::parse_from(["retouch", "edit", "bee.png", "make it blue", &flag]);
                let Command::Edit(args) = cli.command else { panic!("it is an edit") };
                let typed = args.overrides().unwrap();
                assert_ne!(typed, EditOverrides::default(), "{flag}");

                let json = match value {
                    "fit:64" => json!({"fit": 64}),
                    "native" => json!({"native": true}),
                    "dpm-solver++-2m" => json!("DPM_SOLVER_PLUS_PLUS_2M"),
                    "null" => json!("null"),
                    value => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
                };
                let spec = message_json::spec([(field.to_owned(), json)].into_iter().collect());
                assert_eq!(overrides::of_spec(&spec.unwrap()).unwrap(), typed, "{flag}");
            }
        }
    }
}
