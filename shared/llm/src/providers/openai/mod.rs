//! OpenAI's chat completions, and all who speak them.

mod error;
mod messages;
mod reply;
mod request;
mod stream;

pub(crate) use error::failure;
pub(crate) use reply::parse;
pub(crate) use request::render;
pub use stream::Reader;

pub(crate) use crate::dialects::openai_chat::WIRE;
