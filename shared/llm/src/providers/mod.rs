//! The list: what models speak. Adding a provider is its folder and one line here. Those that only speak another's format
//! are no provider here: what they do not take is in the [`Target`].

use crate::chat::Chat;
use crate::error::{Failure, LlmError, Refused};
use crate::loss::Lost;
use crate::reply::{Event, Metered, Reply};
use crate::rest::Wire;
use crate::target::{Outgoing, Reading, Target};

/// Writes the modules, the enums over all providers and their dispatch.
macro_rules! providers {
    ($($module:ident :: $provider:ident),+ $(,)?) => {
        $(pub mod $module;)+

        /// What a model speaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Provider {
            $(#[doc = concat!("`", stringify!($module), "`.")] $provider,)+
        }

        /// Reads the stream of one provider.
        #[derive(Debug)]
        pub enum StreamReader {
            $(#[doc = concat!("Of `", stringify!($module), "`.")] $provider($module::Reader),)+
        }

        impl Provider {
            /// Every provider, in the order of this file.
            pub const ALL: &[Self] = &[$(Self::$provider),+];

            /// Its name in documents.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$provider => stringify!($module),)+ }
            }

            /// The format that it speaks.
            #[must_use]
            pub fn wire(self) -> Wire {
                match self { $(Self::$provider => $module::WIRE,)+ }
            }

            /// Writes a request.
            ///
            /// # Errors
            ///
            /// [`LlmError::NotSupported`] with all that it has no equal for;
            /// [`LlmError::Malformed`] where the conversation breaks a rule of every format.
            pub fn render(self, chat: &Chat, target: &Target) -> Result<Outgoing, LlmError> {
                match self { $(Self::$provider => $module::render(chat, target),)+ }
            }

            /// Reads a whole answer.
            ///
            /// # Errors
            ///
            /// [`LlmError::BadAnswer`].
            pub fn parse(self, body: &[u8], reading: &Reading) -> Result<Reply, LlmError> {
                match self {
                    $(Self::$provider => $module::parse(body, reading).map_err(LlmError::of_answer),)+
                }
            }

            /// Begins to read an answer as a stream.
            #[must_use]
            pub fn stream(self, reading: Reading) -> StreamReader {
                match self {
                    $(Self::$provider => StreamReader::$provider($module::Reader::new(reading)),)+
                }
            }

            /// Reads an answer that says what went wrong.
            #[must_use]
            pub fn failure(self, refused: &Refused<'_>) -> Failure {
                match self { $(Self::$provider => $module::failure(refused),)+ }
            }
        }

        impl StreamReader {
            /// Takes the next bytes and gives the events that they complete.
            ///
            /// # Errors
            ///
            /// What comes is no stream of this format, or beyond a limit; the events before are given still.
            pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), LlmError> {
                match self {
                    $(Self::$provider(reader) => {
                        reader.push(bytes, events).map_err(LlmError::of_answer)
                    })+
                }
            }

            /// The connection has ended: the last events, if the answer was whole.
            ///
            /// # Errors
            ///
            /// [`LlmError::EndedEarly`] where it was not.
            pub fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), LlmError> {
                match self {
                    $(Self::$provider(reader) => reader.finish(events).map_err(LlmError::of_answer),)+
                }
            }

            /// What is known of the answer up to now; also where it broke.
            #[must_use]
            pub fn metered(&self) -> Metered {
                match self { $(Self::$provider(reader) => reader.metered(),)+ }
            }

            /// What the hub had no place for up to now.
            #[must_use]
            pub fn lost(&self) -> &[Lost] {
                match self { $(Self::$provider(reader) => reader.lost(),)+ }
            }
        }
    };
}

providers! {
    openai::OpenAi,
    anthropic::Anthropic,
}

impl Provider {
    /// The provider of a name in documents.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|provider| provider.name() == name)
    }
}
