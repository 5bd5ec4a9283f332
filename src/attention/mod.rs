//! Attention layers as networks and methods both name them: sites, guidance branches, Q, K and V, and the hook that sees
//! them. Sites and branches are types instead of diffusers' names and indices.

pub mod branch;
pub mod processor;
pub mod qkv;
pub mod site;
