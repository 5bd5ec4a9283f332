//! Guidance branches: what each row of a batch is conditioned on.

/// One row of InstructPix2Pix's classifier-free guidance triple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// Instruction and image.
    Text,
    /// Image alone.
    Image,
    /// Neither.
    Uncond,
}

impl Branch {
    /// The order of diffusers' pipeline: text, image, unconditional.
    pub const TRIPLE: [Self; 3] = [Self::Text, Self::Image, Self::Uncond];
}
