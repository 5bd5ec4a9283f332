//! Enums whose values have names on the command line and in files: values, names and documentation in one place.

/// An enum whose values have names.
pub trait Choice: Copy + Send + Sync + 'static {
    /// Every value.
    fn all() -> &'static [Self];

    /// Name on the command line and in files.
    fn name(self) -> &'static str;

    /// Its documentation; the first paragraph is its help on the command line.
    fn doc(self) -> &'static str;

    /// The value of this name.
    fn named(name: &str) -> Option<Self> {
        Self::all().iter().copied().find(|it| it.name() == name)
    }
}

/// Defines an enum that is a [`Choice`] and deserializes from its names, each given as `Variant = "name"`.
macro_rules! choices {
    ($(#[$outer:meta])* pub enum $choice:ident {
        $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+
    }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $choice {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $choice {
            /// Every value.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Every name, as in `a, b, c`.
            pub const NAMES: &'static str = concat!($(", ", $name),+).split_at(2).1;

            /// Name on the command line and in files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl $crate::choice::Choice for $choice {
            fn all() -> &'static [Self] {
                &Self::ALL
            }

            fn name(self) -> &'static str {
                Self::name(self)
            }

            fn doc(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc, "\n"),+),)+
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $choice {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                $crate::choice::Choice::named(&name).ok_or_else(|| {
                    let message = format!("`{name}` is not supported, expected one of {}", Self::NAMES);
                    serde::de::Error::custom(message)
                })
            }
        }
    };
}

pub(crate) use choices;
