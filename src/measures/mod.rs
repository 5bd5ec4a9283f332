//! What is measured: pictures and masks in, figures out.
//!
//! Pure functions over pixels: nothing here knows which method made a picture, or that there are methods. Pictures that are
//! compared have one size, and a [`region::Region`] says which of their pixels count.

pub mod change;
pub mod overlap;
pub mod placement;
pub mod region;
pub mod ssim;
pub mod success;
