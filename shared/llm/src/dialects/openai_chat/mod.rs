//! Chat completions of OpenAI, as a client speaks them: `POST /chat/completions`.
//!
//! Two fields go beyond OpenAI's own, as many clients and vendors know them: `reasoning_content`, what was reasoned; and
//! `thinking_blocks`, the same with its signatures, to be sent back as it came.

mod error;
pub(crate) mod message;
mod parse;
mod render;
mod rest;
mod stream;
mod tools;
pub(crate) mod usage;

pub(crate) use error::error;
pub(crate) use parse::{parse, write_output};
pub(crate) use render::{finish_of, finish_reason, render};
pub(crate) use rest::weight;
pub use stream::Writer;
pub(crate) use tools::{write_choice, write_tool_call};

use crate::rest::Wire;

pub(crate) const WIRE: Wire = Wire::OpenAiChat;
