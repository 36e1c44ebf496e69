//! The way of a call through a node: its bytes go in at a socket, and what comes out is looked at from
//! both ends. Nothing of the inside is reached but the configuration and the counters.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where something is off"
)]

mod bounds;
mod cache;
mod credentials;
mod elsewhere;
mod endpoints;
mod external_auth;
mod floods;
mod grpc;
mod hostile;
mod http;
mod identity;
mod jwt;
mod limits;
mod mask;
mod names;
mod policies;
mod proxy_protocol;
mod records;
mod reload;
mod reshaping;
mod services;
mod signatures;
mod streaming;
mod strictness;
mod support;
mod tls;
mod transform;
mod uploads;
mod upstream;
mod upstream_tls;
mod validate;
mod websocket;
