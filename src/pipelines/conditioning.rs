//! What a model's call is conditioned on: a row for each role of its guidance.

use tch::Tensor;

use crate::attention::role::Role;
use crate::kernels::gpu::transfer;
use crate::sampling::geometry::Geometry;

/// Height and width of a latent, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatentSize {
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

/// Prompt and picture as one model reads them, a row for each role that is to be predicted.
///
/// A model makes it of texts and a picture ([`crate::pipelines::EditPipeline::condition`]); what its tensors hold is
/// that model's own matter.
#[derive(Debug)]
pub struct Conditioning {
    roles: Vec<Role>,
    latent: LatentSize,
    prompts: Tensor,
    pictures: Tensor,
}

impl Conditioning {
    /// The rows of these roles, the first of which is [`Role::Text`], for latents of this size: `prompts` is (N, T,
    /// C), and `pictures` (N, …) what the model is told of the picture.
    pub fn new(roles: &[Role], latent: LatentSize, prompts: Tensor, pictures: Tensor) -> Self {
        Self { roles: roles.to_vec(), latent, prompts, pictures }
    }

    /// What each of the N rows is.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The size of the latents.
    pub fn latent_size(&self) -> LatentSize {
        self.latent
    }

    /// The hidden states of the prompts, (N, T, C).
    pub fn prompts(&self) -> &Tensor {
        &self.prompts
    }

    /// What the model is told of the picture, (N, …).
    pub fn pictures(&self) -> &Tensor {
        &self.pictures
    }

    /// The same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            roles: self.roles.clone(),
            latent: self.latent,
            prompts: self.prompts.shallow_clone(),
            pictures: self.pictures.shallow_clone(),
        }
    }

    /// The rows of some roles alone, of those that it has; always that with the instruction.
    #[must_use]
    pub fn only(&self, roles: &[Role]) -> Self {
        let is_wanted = |role: &Role| *role == Role::Text || roles.contains(role);
        let rows = (0..).zip(&self.roles).filter(|(_, role)| is_wanted(role));
        let (rows, roles): (Vec<i64>, Vec<Role>) = rows.unzip();
        let rows = transfer::to_device(&Tensor::from_slice(&rows), self.prompts.device());
        Self {
            roles,
            latent: self.latent,
            prompts: self.prompts.index_select(0, &rows),
            pictures: self.pictures.index_select(0, &rows),
        }
    }
}

impl LatentSize {
    /// That of a square of a model's own size.
    pub fn own(geometry: Geometry) -> Self {
        let side = i64::from(geometry.sample_size / geometry.vae_scale_factor);
        Self { height: side, width: side }
    }

    /// Size of latents (N, C, h, w).
    pub fn of(latents: &Tensor) -> Self {
        let size = latents.size();
        Self { height: size[2], width: size[3] }
    }
}
