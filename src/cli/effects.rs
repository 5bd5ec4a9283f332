//! Refuses flags of `retouch edit` that have no effect in combination with others, so that nobody takes them for
//! effective.

use crate::cli::{args::EditArgs, error::CliError, localization_args::LocalizationArgs, resolve};
use crate::edit::{
    choices::{MethodKind, Preserve},
    localizer::{ClusterScore, Localizer},
};

/// Settings that decide whether flags of pass 1 have an effect; `None` if a server fills them in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PassOne {
    /// Localization method.
    pub(crate) localizer: Option<Localizer>,
    /// What cluster scores are averaged over.
    pub(crate) score: Option<ClusterScore>,
}

impl PassOne {
    /// From the flags alone.
    pub(crate) fn typed(args: &LocalizationArgs) -> Self {
        Self { localizer: args.localizer, score: args.score }
    }
}

/// Refuses flags without an effect, and those that belong to one of several edits that the instruction asks for.
///
/// # Errors
/// [`CliError::Usage`], naming the flag and why it has none.
pub(crate) fn check(args: &EditArgs, found: PassOne) -> Result<(), CliError> {
    check_parts(args)?;
    let LocalizationArgs {
        object,
        action,
        // The edit is told it, too.
        verbatim: _,
        // These only decide whether an edit is refused.
        strict: _,
        min_confidence: _,
        tau,
        k,
        localize_steps,
        localizer,
        score,
        threshold,
        refine,
        grow,
    } = &args.localization;
    // 1. What an edit with these flags does.
    let finds = args.method.finds_mask() || args.compare.is_some_and(MethodKind::finds_mask);
    let shapes = !args.mask.mask.is_empty() || !args.mask.boxes.is_empty();
    let open = !shapes || !args.mask.clusters.is_empty();
    let saved = args.localization_file.is_some();
    let mask_of_found = open && (finds || saved);
    let pass_one = open && finds && !saved;
    let why = if !open {
        "together with --mask or --box, which define the whole mask unless --clusters is also given"
    } else if saved {
        "beside --localization, which holds what pass 1 found"
    } else {
        "with --method instruct-pix2pix, which finds no mask"
    };
    let kept = args.preserve.is_none_or(|it| it == Preserve::Pixel);
    let by_clusters = found.localizer.is_none_or(|it| it == Localizer::Iam);
    let by_denoising =
        !matches!(found.localizer, Some(Localizer::NoiseDifference | Localizer::DiffEdit));
    let no_clusters = "with that localizer, which makes no clusters";

    // 2. For each flag: whether it is given, whether it has an effect, and why not.
    let flags = [
        ("--localization", saved, open, why),
        ("--localize-seed", args.localize_seed.is_some(), pass_one, why),
        ("--localize-steps", localize_steps.is_some(), pass_one, why),
        ("--localizer", localizer.is_some(), pass_one, why),
        ("--score", score.is_some(), pass_one, why),
        ("--threshold", threshold.is_some(), pass_one, why),
        ("--tau", tau.is_some(), pass_one, why),
        ("--k", k.is_some(), pass_one, why),
        ("--object", object.is_some(), mask_of_found, why),
        ("--action", action.is_some(), mask_of_found, why),
        ("--refine", refine.is_some(), mask_of_found, why),
        (
            "--grow",
            grow.is_some(),
            mask_of_found || (finds && args.preserve != Some(Preserve::None)),
            why,
        ),
        (
            "--modulation",
            args.modulation.is_some(),
            finds,
            "with --method instruct-pix2pix, which does not modulate attention",
        ),
        (
            "--align",
            args.align.is_some(),
            kept,
            "without --preserve pixel, which puts the rest back",
        ),
        ("--feather", args.mask.feather > 0, kept, "without --preserve pixel, which composites"),
        ("--k", k.is_some(), by_clusters, no_clusters),
        ("--tau", tau.is_some(), by_clusters, no_clusters),
        ("--score", score.is_some(), by_clusters, no_clusters),
        (
            "--localize-steps",
            localize_steps.is_some(),
            by_denoising,
            "with that localizer, which does not denoise",
        ),
        (
            "--tau",
            tau.is_some(),
            found.score != Some(ClusterScore::NoiseDifference),
            "with --score noise-difference; use --threshold instead",
        ),
    ];
    match flags.into_iter().find(|(_, given, effective, _)| *given && !effective) {
        Some((flag, .., why)) => {
            Err(CliError::Usage(format!("{flag} changes nothing {why}; leave it out")))
        }
        None => Ok(()),
    }
}

/// Refuses an instruction that asks for several edits beside what belongs to one of them.
fn check_parts(args: &EditArgs) -> Result<(), CliError> {
    let clusters = (!args.mask.clusters.is_empty()).then_some("--clusters");
    let what = clusters.or_else(|| args.localization_file.as_ref().map(|_| "--localization"));
    resolve::check_parts(args.instruction(), &args.localization, what)
}
