//! What reaches into libtorch and the machine itself; the only room with `unsafe`.

pub mod cpu;
pub mod gpu;
pub mod standard_output;
