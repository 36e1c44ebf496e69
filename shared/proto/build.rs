//! Generates the messages from `proto/` at the root, without `protoc`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked when it runs: a target folder may be shared by several checkouts.
    let folder =
        std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo does not say where the crate is")?;
    let root = Path::new(&folder).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(["tollgate/v1/sync.proto"], [&root])?;
    tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"))
        .bytes(".tollgate.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
