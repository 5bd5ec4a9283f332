//! The running server: the model behind the jobs.

mod edit_faults;
pub mod editor_runner;
