//! What is known of a value before there is a request.

use std::fmt;

/// The type of a part of an expression, in CEL's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// It is known only with the request: what comes of a claim.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    Time,
    Span,
    /// A list of these.
    List(Box<Type>),
    /// These by texts.
    Map(Box<Type>),
}

impl Type {
    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub(super) fn map(of: Self) -> Self {
        Self::Map(Box::new(of))
    }

    /// Whether it is this, or may turn out to be.
    pub(super) fn may_be(&self, wanted: &Self) -> bool {
        *self == Self::Any || self == wanted
    }

    /// Whether a value of it can equal one of another.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Null, _) | (_, Self::Any | Self::Null) => true,
            (Self::List(one), Self::List(other)) | (Self::Map(one), Self::Map(other)) => {
                one.may_equal(other)
            }
            (Self::Int | Self::Double, Self::Int | Self::Double) => true,
            (one, other) => one == other,
        }
    }

    /// Whether its values stand in an order.
    pub(super) fn has_order(&self) -> bool {
        !matches!(self, Self::Null | Self::List(_) | Self::Map(_))
    }
}

/// What an expression as a whole must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// True or false.
    Truth,
    /// An int.
    WholeNumber,
}

impl Wanted {
    pub(super) fn kind(self) -> Type {
        match self {
            Self::Truth => Type::Bool,
            Self::WholeNumber => Type::Int,
        }
    }

    /// What to write in place of something of another type.
    pub(super) fn mend(self, kind: &Type) -> &'static str {
        match (self, kind) {
            (Self::Truth, _) => "compare it, for a rule is true or false",
            (Self::WholeNumber, Type::Text | Type::Time) => {
                "make a number of it with int(), for this is a whole number"
            }
            (Self::WholeNumber, Type::Bool) => "choose by it, as in `… ? 10 : 1`",
            (Self::WholeNumber, Type::List(_) | Type::Map(_)) => {
                "take its size(), or one item of it, for this is a whole number"
            }
            (Self::WholeNumber, _) => "give an expression that is a whole number",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Any => "a claim",
            Self::Null => "null",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Double => "a double",
            Self::Text => "a string",
            Self::Time => "a timestamp",
            Self::Span => "a duration",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        })
    }
}
