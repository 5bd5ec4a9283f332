//! Image metrics: PSNR, SSIM, mask overlap and edit success, from pictures and masks.
//!
//! Pure functions over pixels, independent of the editing method. Compared pictures have the same size, and a
//! [`region::Region`] says which pixels count.

pub mod change;
pub mod overlap;
pub mod placement;
pub mod region;
pub mod seam;
pub mod ssim;
pub mod success;
