//! Conversions between the schema's enums and the library's; unknown numbers are refused.

use crate::edit::{
    choices::{MethodKind, Preserve, Preset},
    event::Pass,
    localizer::{ClusterScore, Localizer},
    settings::Modulation,
};
use crate::instruction::{Action, change::Change};
use crate::picture::metadata::Policy;
use crate::sampling::SchedulerKind;
use crate::wire::{v1, violation::Violation};

/// An enum of the core that the schema has, too.
pub trait InSchema: Sized {
    /// The schema's enum.
    type Wire: TryFrom<i32> + Into<i32>;

    /// Converts from the schema's value; UNSPECIFIED is `None`.
    fn read(wire: Self::Wire) -> Option<Self>;

    /// Converts to the schema's value.
    fn write(self) -> Self::Wire;
}

/// Decodes the number of an enum field.
///
/// # Errors
/// [`Violation`] names the field and the number.
pub fn known<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Violation> {
    E::try_from(number)
        .map_err(|_| Violation::new(field, format!("{number} is not a value of this enum")))
}

/// Decodes the number of an enum field to the core's value; UNSPECIFIED is `None`.
///
/// # Errors
/// [`Violation`] names the field and the number.
pub fn choice<C: InSchema>(field: &str, number: i32) -> Result<Option<C>, Violation> {
    Ok(C::read(known(field, number)?))
}

/// The number of an enum field; `None` is UNSPECIFIED.
pub fn number<C: InSchema>(choice: Option<C>) -> i32 {
    choice.map_or(0, |it| it.write().into())
}

/// Implements [`InSchema`] for pairs of values, each written as `schema's = core's`.
macro_rules! pairs {
    ($wire:ident, $core:ident: $($there:ident = $here:ident),+) => {
        impl InSchema for $core {
            type Wire = v1::$wire;

            fn read(wire: v1::$wire) -> Option<Self> {
                match wire {
                    v1::$wire::Unspecified => None,
                    $(v1::$wire::$there => Some(Self::$here),)+
                }
            }

            fn write(self) -> v1::$wire {
                match self {
                    $(Self::$here => v1::$wire::$there,)+
                }
            }
        }
    };
}

pairs!(Method, MethodKind: IamEdit = IamEdit, InstructPix2pix = InstructPix2Pix);
pairs!(Preserve, Preserve: None = None, Latent = Latent, Pixel = Pixel);
pairs!(Preset, Preset: Paper = Paper);
pairs!(Modulation, Modulation: Gate = Gate, Mask = Mask, Null = Null, Reference = Reference, Isolate = Isolate);
pairs!(Action, Action: Change = Change, Add = Add, Remove = Remove, Global = Global);
pairs!(ChangeKind, Change: Recolor = Recolor, Replace = Replace, Other = Alter);
pairs!(Scheduler, SchedulerKind: EulerAncestral = EulerAncestral, Euler = Euler, Ddim = Ddim,
    DpmSolverPlusPlus2m = DpmSolverPlusPlus2M, Lcm = Lcm, FlowMatchEuler = FlowMatchEuler);
pairs!(Localizer, Localizer: Iam = Iam, Attention = Attention, NoiseDifference = NoiseDifference, Diffedit = DiffEdit);
pairs!(ClusterScore, ClusterScore: Attention = Attention, NoiseDifference = NoiseDifference, Auto = Auto);
pairs!(MetadataPolicy, Policy: Keep = Keep, Color = Color, Strip = Strip);
pairs!(Pass, Pass: Localize = Localize, Edit = Edit);
