//! Conversions between the schema's enums and the library's; unknown numbers are refused.

use crate::edit::{
    choices::{MethodKind, Preserve},
    event::Pass,
    localizer::{ClusterScore, Localizer},
    settings::Modulation,
};
use crate::instruction::Action;
use crate::picture::metadata::Policy;
use crate::sampling::SchedulerKind;
use crate::wire::{spec::Violation, v1};

/// Decodes the number of an enum field.
///
/// # Errors
/// [`Violation`] names the field and the number.
pub fn known<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Violation> {
    E::try_from(number)
        .map_err(|_| Violation::new(field, format!("{number} is not a value of this enum")))
}

/// Generates both conversions of a pair of enums; the schema's UNSPECIFIED is `None`.
macro_rules! pairs {
    ($from_wire:ident, $to_wire:ident, $wire:ident, $core:ty, $unset:ident: $($there:ident = $here:expr),+ $(,)?) => {
        #[doc = concat!("The core's value of a `", stringify!($wire), "`; `None` where it is unset.")]
        pub fn $from_wire(value: v1::$wire) -> Option<$core> {
            match value {
                v1::$wire::$unset => None,
                $(v1::$wire::$there => Some($here),)+
            }
        }

        #[doc = concat!("The schema's value as a `", stringify!($wire), "`.")]
        pub fn $to_wire(value: $core) -> v1::$wire {
            $(if value == $here { return v1::$wire::$there; })+
            unreachable!("every value of the core has one in the schema")
        }
    };
}

pairs!(method, to_method, Method, MethodKind, Unspecified:
    IamEdit = MethodKind::IamEdit,
    InstructPix2pix = MethodKind::InstructPix2Pix,
);
pairs!(preserve, to_preserve, Preserve, Preserve, Unspecified:
    None = Preserve::None,
    Latent = Preserve::Latent,
    Pixel = Preserve::Pixel,
);
pairs!(modulation, to_modulation, Modulation, Modulation, Unspecified:
    Gate = Modulation::Gate,
    Mask = Modulation::Mask,
    Null = Modulation::Null,
);
pairs!(action, to_action, Action, Action, Unspecified:
    Change = Action::Change,
    Add = Action::Add,
    Remove = Action::Remove,
    Global = Action::Global,
);
pairs!(scheduler, to_scheduler, Scheduler, SchedulerKind, Unspecified:
    EulerAncestral = SchedulerKind::EulerAncestral,
    Euler = SchedulerKind::Euler,
    Ddim = SchedulerKind::Ddim,
    DpmSolverPlusPlus2m = SchedulerKind::DpmSolverPlusPlus2M,
);
pairs!(localizer, to_localizer, Localizer, Localizer, Unspecified:
    Iam = Localizer::Iam,
    Attention = Localizer::Attention,
    NoiseDifference = Localizer::NoiseDifference,
    Diffedit = Localizer::DiffEdit,
);
pairs!(score, to_score, ClusterScore, ClusterScore, Unspecified:
    Attention = ClusterScore::Attention,
    NoiseDifference = ClusterScore::NoiseDifference,
    Auto = ClusterScore::Auto,
);
pairs!(metadata_policy, to_metadata_policy, MetadataPolicy, Policy, Unspecified:
    Keep = Policy::Keep,
    Color = Policy::Color,
    Strip = Policy::Strip,
);
pairs!(pass, to_pass, Pass, Pass, Unspecified:
    Localize = Pass::Localize,
    Edit = Pass::Edit,
);
