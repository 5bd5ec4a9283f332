//! Table of the flags of `retouch edit` with the `EditSpec` fields that carry them, or why a server doesn't need them.

use std::collections::BTreeSet;

use clap::CommandFactory;

use crate::cli::command::Cli;
use crate::edit::overrides::KNOBS;
use crate::wire::message_json;

/// Flags that are no settings, with their fields; [`super::request`] fills these in. Those of settings are in
/// [`KNOBS`].
const FIELDS: &[(&str, &[&str])] = &[
    ("image", &["image.data", "image.artifact"]),
    ("instruction", &["instruction"]),
    ("format", &["output.mime_type"]),
    ("quality", &["output.quality"]),
    ("metadata", &["metadata"]),
    ("model", &["model"]),
    ("seed", &["seed"]),
    ("negative_prompt", &["negative_prompt"]),
    ("preset", &["preset"]),
    ("method", &["method"]),
    // Needs a second job.
    ("compare", &["method"]),
    // Need further jobs, each with its own seed and the first one's localization.
    ("variants", &["seed", "localize_seed", "reuse_localization_of"]),
    ("object", &["object"]),
    ("action", &["action"]),
    ("verbatim", &["verbatim"]),
    ("strict", &["strict"]),
    ("mask", &["mask.image"]),
    // Known only after the localization, so the mask is decided in review.
    ("clusters", &["mask.clusters.ids", "mask_policy"]),
    ("boxes", &["mask.image"]),
    ("invert_mask", &["mask.invert"]),
    ("dilate", &["mask.dilate_px"]),
    ("feather", &["mask.feather_px"]),
    ("maps", &["events.preview_every", "events.preview_decode", "events.vae_previews"]),
];

/// Flags that a server doesn't need, with the reason.
const LOCAL: &[(&str, &str)] = &[
    ("params_from", "what it says is sent as typed flags are"),
    ("output", "where the file is written here"),
    ("json", "how events are printed here"),
    ("force", "what happens to files here"),
    ("loras", "the server has its own; refused with --server"),
    ("preview_decoder", "the server has its own; refused with --server"),
    ("device", "the server has its own; refused with --server"),
    ("dtype", "the server has its own; refused with --server"),
    ("threads", "the server has its own; refused with --server"),
    ("keep_text_encoder", "the server has its own; refused with --server"),
    ("max_pixels", "the server has its own limit; refused with --server"),
    ("localization_file", "a server keeps its own (reuse_localization_of); refused with --server"),
    ("server", "where the server is"),
    ("api_key", "travels in the call's headers"),
    ("ca", "of the connection"),
    ("client_cert", "of the connection"),
    ("client_key", "of the connection"),
];

/// Ids of the flags and arguments of `retouch edit`.
fn typed() -> BTreeSet<String> {
    let cli = Cli::command();
    let edit = cli.find_subcommand("edit").expect("there is `retouch edit`");
    edit.get_arguments().map(|it| it.get_id().to_string()).collect()
}

#[test]
fn every_flag_of_an_edit_has_a_field_in_the_schema() {
    let fields = FIELDS.iter().map(|(flag, _)| *flag);
    let fields = fields.chain(KNOBS.iter().filter_map(|it| it.field.name().and(it.flag.name())));
    let known: BTreeSet<&str> = fields.chain(LOCAL.iter().map(|(flag, _)| *flag)).collect();
    for flag in typed() {
        assert!(known.contains(flag.as_str()), "`{flag}` has no field in EditSpec, and no reason");
    }
}

#[test]
fn every_field_that_carries_a_flag_is_in_the_schema() {
    let typed = typed();
    for (flag, fields) in FIELDS {
        assert!(typed.contains(*flag), "`retouch edit` has no `{flag}`");
        for field in *fields {
            assert!(message_json::has_field("EditSpec", field), "EditSpec has no `{field}`");
        }
    }
    for (flag, reason) in LOCAL {
        assert!(typed.contains(*flag), "`retouch edit` has no `{flag}`, which is {reason}");
    }
}
