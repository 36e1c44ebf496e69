//! Enums whose variants have a name in texts, sets of them, and values that texts hold.

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

/// A set of a named enum of at most 32 variants, in four bytes. In texts it is a list.
macro_rules! set_of {
    ($(#[$meta:meta])* pub struct $set:ident: $element:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set(u32);

        const _: () = assert!($element::ALL.len() <= 32, "a bit for each");

        impl $set {
            fn bit(element: $element) -> u32 {
                let bits = (0..32).map(|position| 1 << position);
                let of = $element::ALL.iter().zip(bits).find(|(each, _)| **each == element);
                of.map_or(0, |(_, bit)| bit)
            }

            /// Whether it has this one.
            #[must_use]
            pub fn contains(self, element: $element) -> bool {
                self.0 & Self::bit(element) != 0
            }

            /// Whether it has none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0 == 0
            }

            /// Those that it has, in the order of the enum.
            pub fn iter(self) -> impl Iterator<Item = $element> {
                $element::ALL.iter().copied().filter(move |element| self.contains(*element))
            }
        }

        impl FromIterator<$element> for $set {
            fn from_iter<I: IntoIterator<Item = $element>>(elements: I) -> Self {
                Self(elements.into_iter().fold(0, |bits, element| bits | Self::bit(element)))
            }
        }

        impl serde::Serialize for $set {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter())
            }
        }

        impl<'de> serde::Deserialize<'de> for $set {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Vec::<$element>::deserialize(deserializer)?.into_iter().collect())
            }
        }
    };
}

pub(crate) use {by_text, named, set_of};

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

    set_of! {
        /// Of them.
        pub struct Letters: Letter
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

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let letters: Letters = serde_json::from_str(r#"["c", "a", "c"]"#).unwrap();
        assert_eq!(letters.iter().collect::<Vec<_>>(), [Letter::A, Letter::C]);
        assert!(!letters.contains(Letter::B));
        assert_eq!(serde_json::to_string(&letters).unwrap(), r#"["a","c"]"#);
        assert!(Letters::default().is_empty() && !letters.is_empty());
        assert!(serde_json::from_str::<Letters>(r#"["d"]"#).is_err());
    }
}
