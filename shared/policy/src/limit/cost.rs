//! What one request takes of a limit: a number, or what an expression over the request says.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{Request, StatusCode};
use schemars::JsonSchema;
use tollgate_model::{Issue, Issues};

use super::written::Permits;
use crate::body::Body;
use crate::expression::{Number, begin};
use crate::policy::{Cx, Refusal, Scope};

/// The most that an expression may say.
const MOST: u64 = 1_000_000;

/// What one request takes, as it is written.
#[derive(Clone, Debug)]
pub enum Cost {
    /// Always as much.
    Permits(Permits),
    /// What an expression says.
    Expression(String),
    /// What an expression says, and what counts where it says nothing.
    Worked(Worked),
}

/// A [`Cost`] in JSON.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum WrittenCost {
    /// Always as much.
    Permits(Permits),
    /// An expression in CEL.
    Expression(String),
    /// An expression, and what counts where it says nothing.
    Worked(Worked),
}

/// An expression over a request, and what counts where it says nothing.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "CostExpression")]
pub struct Worked {
    /// An expression in CEL, as in `authorize`, that is a whole number from 0 to 1,000,000. 0: the request is not counted.
    pub expression: String,
    /// What a request takes of which the expression is no such number, 1 to the limit. Default: it is refused.
    #[deserr(default)]
    pub otherwise: Option<Permits>,
}

impl Deserr<Issues> for Cost {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match value {
            Value::String(expression) => Ok(Self::Expression(expression)),
            Value::Map(_) => Worked::deserialize_from_value(value, location).map(Self::Worked),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::NegativeInteger(_)
            | Value::Float(_)
            | Value::Sequence(_) => {
                Permits::deserialize_from_value(value, location).map(Self::Permits)
            }
        }
    }
}

/// What one request takes, compiled.
#[derive(Debug)]
pub(super) enum Price {
    /// Always as much, at most the limit.
    Same(u64),
    /// What an expression says.
    Worked {
        number: Number,
        /// What it takes where that is no number of use; none: it is refused.
        otherwise: Option<u64>,
    },
}

/// Why a request has no price. It is refused: who could send what cannot be counted would have no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPrice {
    /// The expression says no whole number from 0 on that is small enough.
    Unknown,
    /// It takes more than there ever is.
    AboveLimit,
}

const ABOVE_LIMIT: &str = "is more than the limit, so that no request would be admitted";

impl Price {
    /// Compiles what is written, or the default: 1.
    ///
    /// # Errors
    ///
    /// Every fault, with pointers below `/cost`.
    pub(super) fn compile(
        cost: Option<Cost>,
        limit: u64,
        scope: Scope<'_>,
    ) -> Result<Self, Issues> {
        match cost {
            None => Ok(Self::Same(1)),
            Some(Cost::Permits(permits)) => Self::same(permits.get(), limit, "/cost"),
            Some(Cost::Expression(source)) => Self::worked(&source, limit, "/cost", scope),
            Some(Cost::Worked(Worked { expression, otherwise })) => {
                let mut issues = Issues::default();
                let otherwise = otherwise.map(Permits::get);
                if otherwise.is_some_and(|otherwise| otherwise > limit) {
                    issues.add("/cost/otherwise", "out_of_range", ABOVE_LIMIT);
                }
                match Self::worked(&expression, limit, "/cost/expression", scope) {
                    Ok(price) => issues.into_result(price.or_else(otherwise)),
                    Err(faults) => {
                        issues.extend_under("", faults);
                        Err(issues)
                    }
                }
            }
        }
    }

    fn same(cost: u64, limit: u64, at: &str) -> Result<Self, Issues> {
        if cost <= limit {
            return Ok(Self::Same(cost));
        }
        Err(Issues::one(Issue::new(at, "out_of_range", ABOVE_LIMIT)))
    }

    fn worked(source: &str, limit: u64, at: &str, scope: Scope<'_>) -> Result<Self, Issues> {
        let number = Number::compile(source, scope).map_err(|faults| {
            let mut issues = Issues::default();
            issues.extend_under(at, faults);
            issues
        })?;
        match number.as_constant() {
            None => Ok(Self::Worked { number, otherwise: None }),
            // What is written out is judged now, and not call by call.
            Some(constant) => match u64::try_from(constant) {
                Ok(cost @ 1..=MOST) => Self::same(cost, limit, at),
                Ok(_) | Err(_) => {
                    let problem = "give a cost from 1 to 1,000,000";
                    Err(Issues::one(Issue::new(at, "out_of_range", problem)))
                }
            },
        }
    }

    fn or_else(self, cost: Option<u64>) -> Self {
        match self {
            Self::Worked { number, .. } => Self::Worked { number, otherwise: cost },
            Self::Same(_) => self,
        }
    }

    /// What a request takes of a limit; 0 where it is not counted.
    pub(super) fn of(
        &self,
        limit: u64,
        cx: &Cx<'_>,
        request: &Request<Body>,
    ) -> Result<u64, NoPrice> {
        let (number, otherwise) = match self {
            Self::Same(cost) => return Ok(*cost),
            Self::Worked { number, otherwise } => (number, otherwise),
        };
        let said = number.of(&mut begin(cx, request)).and_then(|said| u64::try_from(said).ok());
        let cost = said.filter(|said| *said <= MOST).or(*otherwise).ok_or(NoPrice::Unknown)?;
        if cost > limit { Err(NoPrice::AboveLimit) } else { Ok(cost) }
    }
}

impl NoPrice {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "cost_unknown",
            Self::AboveLimit => "cost_above_limit",
        }
    }

    pub(super) fn refusal(self) -> Refusal {
        let detail = match self {
            Self::Unknown => "what this request costs could not be worked out",
            Self::AboveLimit => "this request costs more than its limit ever allows",
        };
        // Not 429: to ask again later never helps.
        Refusal::new(StatusCode::BAD_REQUEST, self.code(), detail)
    }
}
