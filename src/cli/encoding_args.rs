//! Command-line arguments of the output file's format and metadata.

use clap::Args;

use crate::cli::one_of::one_of;
use crate::picture::{format::FileFormat, metadata::Policy};

#[derive(Debug, Clone, Args)]
pub(crate) struct EncodingArgs {
    /// Type of the output [default: by the name's ending, png on standard output].
    #[arg(long, value_parser = one_of::<FileFormat>())]
    pub(crate) format: Option<FileFormat>,
    /// Quality of a JPEG, 1 to 100 [default: 95].
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub(crate) quality: Option<u32>,
    /// What of the input's metadata the output has. Each output says that a trained model had a part in it.
    #[arg(long, value_parser = one_of::<Policy>(), default_value = Policy::Keep.name())]
    pub(crate) metadata: Policy,
}
