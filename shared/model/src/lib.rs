//! What an operator can say, parsed once into types that cannot be wrong. This crate never opens a
//! socket, reads a clock or a file, starts a thread, or knows what a policy does.
//!
//! To add a kind: its specification in a file of its own, a variant in [`Kind`] and in [`Spec`],
//! and a folder of examples under `tests/`.

// Faults, all of them, with pointer, code and mend.
pub mod issue;
// How texts become values.
pub mod parse;
// Names and kinds.
pub mod id;
// Durations and sizes.
pub mod units;
// Names of servers, certificates of authorities.
pub mod trust;
// Which addresses are public.
pub mod address;
// Where providers of keys and tokens are asked.
pub mod provider;
// Host names and wildcards.
pub mod host;
// Base paths, exact paths, templates, prefixes, expressions.
pub mod path;
// What a request must be.
pub mod route;
// Policies where they are attached.
pub mod attachment;
// Kind `Tenant`.
pub mod tenant;
// Kind `Gateway`.
pub mod gateway;
// Kind `Certificate`.
pub mod certificate;
// Kind `Secret`.
pub mod secret;
// Texts with variables in braces.
pub mod template;
// Which endpoints are well.
pub mod health;
// Kind `Upstream`.
pub mod upstream;
// Kind `PolicySet`.
pub mod policy_set;
// Kind `Api`.
pub mod api;
// Kind `Application`.
pub mod application;
// A username and a password, and what is kept of the password.
pub mod password;
// A key that callers sign their requests with.
pub mod signature;
// Kind `Credential`.
pub mod credential;
// The envelope and the specification by kind.
pub mod resource;
// The wire's messages and these types.
pub mod wire;
// The text of a resource file.
pub mod file;

pub use id::{Kind, Name, ResourceId};
pub use issue::{Issue, Issues};
pub use parse::FromText;
pub use resource::{Document, Spec};
