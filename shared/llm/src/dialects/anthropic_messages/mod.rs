//! Messages of Anthropic, as a client speaks them: `POST /v1/messages`.

pub(crate) mod block;
mod error;
mod parse;
mod render;
mod rest;
mod stream;
mod tools;
pub(crate) mod usage;

pub(crate) use error::error;
pub(crate) use parse::parse;
pub(crate) use render::{finish_of, render};
pub(crate) use rest::weight;
pub use stream::Writer;
pub(crate) use tools::{write_choice, write_tool};

use crate::rest::Wire;

pub(crate) const WIRE: Wire = Wire::AnthropicMessages;
