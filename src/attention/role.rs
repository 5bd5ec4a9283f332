//! Roles of a batch's rows in guidance: what each is conditioned on.

/// What one row is conditioned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instruction and image.
    Text,
    /// Image alone.
    Image,
    /// Neither.
    Uncond,
}

impl Role {
    /// The order of diffusers' InstructPix2Pix pipeline: text, image, unconditional.
    pub const TRIPLE: [Self; 3] = [Self::Text, Self::Image, Self::Uncond];
}
