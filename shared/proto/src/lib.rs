//! The messages between the planes: generated code and nothing else. It never holds logic.
//!
//! Without features it is prost messages alone, so that pure crates may name them; `client` and
//! `server` add the gRPC halves.

/// Version 1 of the wire.
#[expect(missing_docs, clippy::all, clippy::restriction, clippy::pedantic, reason = "generated")]
#[cfg_attr(
    any(feature = "client", feature = "server"),
    expect(unused_qualifications, reason = "generated")
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/tollgate.v1.rs"));
}
