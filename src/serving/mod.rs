//! The running server: the model behind the jobs.

mod edit_faults;
pub mod editor_runner;
pub mod error;
pub mod load;
pub mod serve;
pub mod service;
pub mod workers;
