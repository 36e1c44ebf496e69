//! Enums whose variants have a name in texts, and values that texts hold.

/// A name that an enum does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not known")]
pub struct UnknownName(pub String);

/// `Serialize` and `Deserialize` by `Display` and `FromStr`. Anything but a string is refused.
macro_rules! by_text {
    ($type:ident, $expected:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(
                        &self,
                        formatter: &mut std::fmt::Formatter<'_>,
                    ) -> std::fmt::Result {
                        formatter.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

/// An enum with a name for each variant, in the order that they are written in.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What texts call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one that texts call so.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::named::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::from_name(name).ok_or_else(|| crate::named::UnknownName(name.to_owned()))
            }
        }

        crate::named::by_text!($name, "a name");
    };
}

pub(crate) use {by_text, named};

#[cfg(test)]
mod tests {
    #![expect(unreachable_pub, reason = "the macros make public types")]

    named! {
        /// Some.
        pub enum Letter {
            /// A.
            A = "a",
            /// B.
            B = "b",
            /// C.
            C = "c",
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_another_is_refused() {
        for letter in Letter::ALL {
            assert_eq!(letter.name().parse(), Ok(*letter));
            assert_eq!(serde_json::to_string(letter).unwrap(), format!("\"{letter}\""));
        }
        assert_eq!("d".parse::<Letter>().unwrap_err().to_string(), "`d` is not known");
        assert!(serde_json::from_str::<Letter>("1").is_err());
    }
}
