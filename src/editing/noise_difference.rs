//! The difference that an instruction makes to the predicted noise, per latent cell.
//!
//! Used by Watch Your Steps and `DiffEdit`, and to score clusters where attention is flat.

use tch::{Device, Kind, Tensor};

use crate::attention::{processor::Unwatched, role::Role};
use crate::edit::{
    grid::{Field, Grid},
    localization::Localization,
    localizer::ScoreSource,
};
use crate::editing::{EditError, session::EditSession};
use crate::schedulers::noise::NoiseTape;

impl Field {
    /// Resamples to another grid: averages if it is coarser, else bilinear interpolation (torch: `bilinear`).
    #[must_use]
    pub fn resized(&self, to: Grid) -> Self {
        if to == self.grid {
            return self.clone();
        }
        let values = Tensor::from_slice(&self.values);
        let values = values.view([1, 1, self.grid.height, self.grid.width]);
        let values = if to.height < self.grid.height {
            values.adaptive_avg_pool2d([to.height, to.width])
        } else {
            values.upsample_bilinear2d([to.height, to.width], false, None, None)
        };
        let values = Vec::<f32>::try_from(values.view(-1)).expect("a field is a vector of numbers");
        Self { grid: to, values }
    }
}

/// `|eps_text − eps_image|` at a timestep, summed over the latents' channels: one field for each of `noises` noise
/// samples.
///
/// The picture's latents are brought to the timestep's noise level with unit noise from the request's seed. For a model
/// that predicts velocity the difference of velocities is used, which is proportional at a timestep; callers normalize.
///
/// # Errors
/// [`EditError::Pipeline`] if the model fails or was trained on fewer timesteps, [`EditError::Distilled`].
pub fn noise_differences(
    session: &EditSession<'_>,
    prompt: &str,
    timestep: u32,
    noises: u64,
) -> Result<Vec<Field>, EditError> {
    let _no_grad = tch::no_grad_guard();
    let pipeline = session.pipeline;
    if pipeline.guidance().is_distilled() {
        return Err(EditError::Distilled { what: "the noise difference" });
    }
    let level = pipeline.noise_level(timestep)?;
    let source = session.image_latents()?; // (1, C, h, w)
    let conditioning = session.conditioning(prompt, &[Role::Text, Role::Image])?;

    let mut fields = Vec::with_capacity(noises as usize);
    for index in 0..noises {
        let seed = session.request.localize_seed().wrapping_add(index);
        let noise = NoiseTape::draw_initial(seed, &source.size());
        let noisy = level.add_noise(source, &noise);
        let (prediction, _) =
            pipeline.predict_noise(&noisy, f64::from(timestep), &conditioning, Box::new(Unwatched));
        let prediction = prediction?;
        let image = prediction.of(Role::Image);
        let image = image.expect("a call predicts the roles of its conditioning");
        let difference = (prediction.text() - image).abs(); // (1, C, h, w)
        let sum = difference.sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float); // (h, w)
        let size = sum.size();
        let values = Vec::<f32>::try_from(sum.to_device(Device::Cpu).view(-1));
        fields.push(Field {
            grid: Grid { height: size[0], width: size[1] },
            values: values.expect("a map is a vector of numbers"),
        });
    }
    Ok(fields)
}

/// Thresholds a field of noise differences for the session's own instruction.
pub fn thresholded(session: &EditSession<'_>, field: &Field, default: f64) -> Localization {
    let threshold = session.threshold(default);
    let found = Localization::from_threshold(session.told(), field, threshold, vec![]);
    Localization { scored_by: ScoreSource::NoiseDifference, ..found }
}
