//! The list: what clients speak. Adding a dialect is its folder and one line here.

use crate::chat::Chat;
use crate::error::{ErrorAnswer, Failure, LlmError};
use crate::loss::Lost;
use crate::reply::{Event, Reply};
use crate::rest::Wire;
use crate::target::{Asked, Rendered};

/// Writes the modules, the enums over all dialects and their dispatch.
macro_rules! dialects {
    ($($module:ident :: $dialect:ident),+ $(,)?) => {
        $(pub mod $module;)+

        /// What a client speaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Dialect {
            $(#[doc = concat!("`", stringify!($module), "`.")] $dialect,)+
        }

        /// Writes an answer as a stream of one dialect.
        #[derive(Debug)]
        pub enum StreamWriter {
            $(#[doc = concat!("Of `", stringify!($module), "`.")] $dialect($module::Writer),)+
        }

        impl Dialect {
            /// Every dialect, in the order of this file.
            pub const ALL: &[Self] = &[$(Self::$dialect),+];

            /// Its name in documents.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$dialect => stringify!($module),)+ }
            }

            /// The format that it is.
            #[must_use]
            pub fn wire(self) -> Wire {
                match self { $(Self::$dialect => $module::WIRE,)+ }
            }

            /// Reads a request.
            ///
            /// # Errors
            ///
            /// [`LlmError::Json`] or [`LlmError::Malformed`] where it is none;
            /// [`LlmError::NotSupported`] where it needs what nobody can carry.
            pub fn parse(self, body: &[u8]) -> Result<Chat, LlmError> {
                match self { $(Self::$dialect => $module::parse(body),)+ }
            }

            /// Writes a whole answer.
            #[must_use]
            pub fn render(self, reply: &Reply, asked: &Asked) -> Rendered {
                match self { $(Self::$dialect => $module::render(reply, asked),)+ }
            }

            /// Begins an answer as a stream.
            #[must_use]
            pub fn stream(self, asked: Asked) -> StreamWriter {
                match self {
                    $(Self::$dialect => StreamWriter::$dialect($module::Writer::new(asked)),)+
                }
            }

            /// Writes what went wrong, where no byte of an answer is out yet.
            #[must_use]
            pub fn error(self, failure: &Failure) -> ErrorAnswer {
                match self { $(Self::$dialect => $module::error(failure),)+ }
            }
        }

        impl StreamWriter {
            /// Writes an event. What follows the end, or a failure, is not written.
            ///
            /// # Errors
            ///
            /// [`LlmError::TooMuch`] where more would have to be kept than is: the stream is then to
            /// be ended by [`StreamWriter::fail`].
            pub fn push(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), LlmError> {
                match self { $(Self::$dialect(writer) => writer.push(event, out),)+ }
            }

            /// Ends the stream where that is not done yet: an answer that was begun is ended in form.
            ///
            /// # Errors
            ///
            /// As [`StreamWriter::push`].
            pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), LlmError> {
                match self { $(Self::$dialect(writer) => writer.push(&Event::End, out),)+ }
            }

            /// Says in the middle of a stream that it failed.
            pub fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
                match self { $(Self::$dialect(writer) => writer.fail(failure, out),)+ }
            }

            /// What was left out up to now.
            #[must_use]
            pub fn lost(&self) -> &[Lost] {
                match self { $(Self::$dialect(writer) => writer.lost(),)+ }
            }
        }
    };
}

dialects! {
    openai_chat::OpenAiChat,
    anthropic_messages::AnthropicMessages,
}

impl Dialect {
    /// The dialect of a name in documents.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.name() == name)
    }
}
