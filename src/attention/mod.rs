//! Attention layers as networks and methods both name them: sites, roles of rows, Q, K and V, and the hook that sees
//! them. Sites and roles are types instead of diffusers' names and indices.

pub mod processor;
pub mod qkv;
pub mod role;
pub mod rotary;
pub mod site;
