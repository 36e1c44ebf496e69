//! Carries calls by the configuration it was streamed. It keeps nothing but a cache on disk, and never
//! changes what it was told.

// Every flag and variable; the only reader of the environment.
pub mod settings;
// The node as a whole: start and drain.
pub mod node;
// -- how a configuration arrives --
// The stream from the control plane, and the last good configuration on disk.
pub mod sync;
// All that a request reads, swapped whole.
pub mod plan;
// -- how a request travels --
// Where the node listens.
pub mod listener;
// TLS of listeners: certificates, clients' certificates, sessions.
pub mod tls;
// One core: its runtime, its sockets, its connections.
pub mod thread;
// What one request thread has to itself.
pub mod core;
// One connection: which HTTP, how slow, how long.
pub mod connection;
// Which bytes may reach the parser: strict framing.
pub mod framing;
// The other end of a connection.
pub mod peer;
// One request from head to last byte. Read this first.
pub mod exchange;
// What a client sends after its head, and how slowly.
pub mod request_body;
// A request that is sent for the cache's sake, without a client.
pub mod refresh;
// Copies of a request for other upstreams.
pub mod mirror;
// What of a request decides its route.
pub mod arrival;
// Which route a request belongs to.
pub mod route;
// The world behind the policies' ports.
pub mod ports;
// What each hop adds and takes off.
pub mod forward;
// Deadlines of gRPC calls.
pub mod deadline;
// Fields that belong to one hop.
pub mod fields;
// `x-request-id`.
pub mod request_id;
// Endpoint, connection, attempt, retry.
pub mod upstream;
// Refusals rendered.
pub mod response;
// What can go wrong, and what is answered then.
pub mod fault;
// The answer's body, and what ends with its last byte.
pub mod outgoing;
// What follows an answer that switched to another protocol.
pub mod tunnel;
// One record an exchange.
pub mod record;
// Records as JSON lines.
pub mod access_log;
// What is counted.
pub mod metrics;
// -- beside the way --
// What an operator's tools ask a node.
pub mod admin;
// What would become of a request.
pub mod explain;
// Identity providers, asked by URL; where they may be.
mod provider;
// The one reader of the clock.
pub mod clock;

pub use node::{Node, StartError};
pub use settings::Settings;
