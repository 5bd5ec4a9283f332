//! The metrics that an edit is scored with: keys, titles, units, and whether higher or lower is better.

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Success: all parts of the criterion hold.
    Success,
    /// Part 1 of success: nearer to the target than to the source.
    Nearer,
    /// Part 2 of success: removed, or color and shape match the target.
    Right,
    /// Part 3 of success: the rest of the picture is preserved.
    Kept,
    /// Squared error to the target, relative to that of the untouched source.
    Residual,
    /// `IoU` of the found mask with the object.
    ObjectIou,
    /// Precision of the found mask against the object.
    ObjectPrecision,
    /// Recall of the found mask against the object.
    ObjectRecall,
    /// Pointing game: the heat map's maximum lies on the object.
    Pointing,
    /// Pointing game for additions: the maximum lies where the target has the object.
    PointingAdded,
    /// `IoU` of the found mask with the pixels that the edit has to change.
    MaskIou,
    /// Precision of the found mask against the pixels that the edit has to change.
    MaskPrecision,
    /// Recall of the found mask against the pixels that the edit has to change.
    MaskRecall,
    /// Area of the mask that was used.
    MaskArea,
    /// The parser found the manifest's object.
    ObjectRead,
    /// The parser found the manifest's action.
    ActionRead,
    /// Mean absolute difference outside the true mask.
    OutsideMean,
    /// Fraction of pixels changed outside the true mask.
    OutsideShare,
    /// PSNR to the source outside the true mask.
    OutsidePsnr,
    /// SSIM to the source outside the true mask.
    OutsideSsim,
    /// Mean absolute difference outside the true mask before compositing, against the VAE's reconstruction.
    OutsideUncomposited,
    /// Largest difference outside the mask that was used.
    OutsideUsed,
    /// Mean absolute step of the result across the border of the mask that was used.
    Seam,
    /// The source's own step there.
    SeamOfSource,
    /// [`Self::Seam`] over [`Self::SeamOfSource`]: in tables the ratio of their means.
    SeamRatio,
    /// Mean absolute difference inside the true mask.
    InsideMean,
    /// Fraction of pixels changed inside the true mask.
    InsideShare,
    /// Mean absolute difference from the target inside the true mask.
    TargetMean,
    /// PSNR to the target inside the true mask.
    TargetPsnr,
    /// SSIM to the target inside the true mask.
    TargetSsim,
    /// Duration of pass 1.
    LocalizeSeconds,
    /// Duration of both passes.
    Seconds,
}

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A fraction, 0 to 1, displayed in percent.
    Share,
    /// Levels of 0..=255.
    Levels,
    /// Decibels.
    Decibel,
    /// Dimensionless.
    Number,
    /// Seconds.
    Seconds,
}

/// Whether higher or lower values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Higher.
    Higher,
    /// Lower.
    Lower,
    /// Neither: descriptive only.
    Neither,
}

/// Description of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The metric.
    pub figure: Figure,
    /// Key in files.
    pub key: &'static str,
    /// Title in tables.
    pub title: &'static str,
    /// Explanation of one line.
    pub about: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
}

/// Metrics shown in every table.
pub const HEADLINE: [Figure; 10] = [
    Figure::Success,
    Figure::Residual,
    Figure::ObjectIou,
    Figure::Pointing,
    Figure::MaskIou,
    Figure::OutsideMean,
    Figure::OutsideUncomposited,
    Figure::TargetMean,
    Figure::SeamRatio,
    Figure::Seconds,
];

/// All metrics, in the order of [`Figure`].
#[rustfmt::skip]
pub const ENTRIES: [Entry; 32] = {
    use Better::{Higher, Lower, Neither};
    use Figure as F;
    use Unit::{Decibel, Levels, Number, Seconds, Share};
    [
        entry(F::Success, "success", "Success", "all parts of the success criterion hold", Share, Higher),
        entry(F::Nearer, "nearer", "Nearer", "nearer to the target than to the source, by the margin", Share, Higher),
        entry(F::Right, "right", "Right", "removed, or color and shape as the target has them", Share, Higher),
        entry(F::Kept, "kept", "Kept", "the rest of the picture kept", Share, Higher),
        entry(F::Residual, "residual", "Residual", "squared error to the target over that of the untouched source, inside the mask", Number, Lower),
        entry(F::ObjectIou, "object_iou", "IoU, object", "IoU of the found mask with the object in the source; not for additions", Share, Higher),
        entry(F::ObjectPrecision, "object_precision", "Precision, object", "share of the found mask that is the object", Share, Higher),
        entry(F::ObjectRecall, "object_recall", "Recall, object", "share of the object that the found mask holds", Share, Higher),
        entry(F::Pointing, "pointing", "Pointing", "the heat map's maximum lies on the object; not for additions", Share, Higher),
        entry(F::PointingAdded, "pointing_added", "Pointing, added", "the heat map's maximum lies where the target has the added object", Share, Higher),
        entry(F::MaskIou, "mask_iou", "IoU, edit", "IoU of the found mask with the pixels that the edit needs", Share, Higher),
        entry(F::MaskPrecision, "mask_precision", "Precision, edit", "share of the found mask that the edit needs", Share, Higher),
        entry(F::MaskRecall, "mask_recall", "Recall, edit", "share of the needed pixels that the found mask holds", Share, Higher),
        entry(F::MaskArea, "mask_area", "Mask area", "share of the picture that the used mask holds", Share, Neither),
        entry(F::ObjectRead, "object_read", "Object read", "the parser read the manifest's object", Share, Higher),
        entry(F::ActionRead, "action_read", "Action read", "the parser read the manifest's action", Share, Higher),
        entry(F::OutsideMean, "outside_mean", "Change outside", "mean absolute change outside the true mask, against the source", Levels, Lower),
        entry(F::OutsideShare, "outside_share", "Changed outside", "share of the pixels outside the true mask that changed by more than 8 levels", Share, Lower),
        entry(F::OutsidePsnr, "outside_psnr", "PSNR outside", "to the source, outside the true mask", Decibel, Higher),
        entry(F::OutsideSsim, "outside_ssim", "SSIM outside", "to the source, outside the true mask", Number, Higher),
        entry(F::OutsideUncomposited, "outside_uncomposited", "Outside, no composite", "mean absolute change outside the true mask and its border before any compositing, against the reconstructed source", Levels, Lower),
        entry(F::OutsideUsed, "outside_used", "Leak", "greatest change of any channel outside the mask that was used", Levels, Lower),
        entry(F::Seam, "seam", "Seam", "mean absolute step of the result across the border of the mask that was used", Levels, Lower),
        entry(F::SeamOfSource, "seam_source", "Seam, source", "the source's own step across that border", Levels, Neither),
        entry(F::SeamRatio, "seam_ratio", "Seam / source's", "the result's step across the border over the source's; in tables the ratio of the means", Number, Lower),
        entry(F::InsideMean, "inside_mean", "Change inside", "mean absolute change inside the true mask, against the source", Levels, Neither),
        entry(F::InsideShare, "inside_share", "Changed inside", "share of the pixels inside the true mask that changed by more than 8 levels", Share, Neither),
        entry(F::TargetMean, "target_mean", "To target", "mean absolute difference to the target inside the true mask", Levels, Lower),
        entry(F::TargetPsnr, "target_psnr", "PSNR to target", "inside the true mask", Decibel, Higher),
        entry(F::TargetSsim, "target_ssim", "SSIM to target", "inside the true mask", Number, Higher),
        entry(F::LocalizeSeconds, "localize_seconds", "Localization", "time of pass 1", Seconds, Lower),
        entry(F::Seconds, "seconds", "Time", "time of the edit, both passes and decoding", Seconds, Lower),
    ]
};

const fn entry(
    figure: Figure,
    key: &'static str,
    title: &'static str,
    about: &'static str,
    unit: Unit,
    better: Better,
) -> Entry {
    Entry { figure, key, title, about, unit, better }
}

impl Figure {
    /// The two metrics of whose means it is the ratio in tables.
    pub fn ratio_of(self) -> Option<(Self, Self)> {
        (self == Self::SeamRatio).then_some((Self::Seam, Self::SeamOfSource))
    }

    /// The metric's description.
    pub fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }
}

impl Unit {
    /// Formats a value without its unit.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.1}", 100.0 * value),
            Self::Levels | Self::Decibel => format!("{value:.2}"),
            Self::Number => format!("{value:.3}"),
            Self::Seconds => format!("{value:.1}"),
        }
    }

    /// Symbol in table headers; empty for dimensionless metrics.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Share => "%",
            Self::Levels => "levels",
            Self::Decibel => "dB",
            Self::Number => "",
            Self::Seconds => "s",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_their_figures() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.figure as usize, index, "{}", entry.key);
        }
    }
}
