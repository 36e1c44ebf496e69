//! Anthropic's messages.

mod error;
mod messages;
mod reply;
mod request;
mod stream;

pub(crate) use error::failure;
pub(crate) use reply::parse;
pub(crate) use request::render;
pub use stream::Reader;

pub(crate) use crate::dialects::anthropic_messages::WIRE;
