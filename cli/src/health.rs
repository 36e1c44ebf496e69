//! `tollgate health URL`: asks a plane's own health endpoint, for images that have no `curl`.

use std::time::Duration;

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What `tollgate health` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Such as <http://127.0.0.1:9082/ready>
    url: String,
}

/// Carries out `tollgate health`: 0 where the answer is 200, else 1.
pub(crate) async fn run(arguments: Arguments, out: &Output) -> Result<Outcome, Failure> {
    let refused = |error: reqwest::Error| Failure::Refused(format!("{}: {error}", arguments.url));
    let mut builder = reqwest::Client::builder().timeout(LIMIT).no_proxy();
    if arguments.url.starts_with("http://") {
        // The system's certificates are not needed then, and a small image may have none.
        builder = builder.tls_certs_only([]);
    }
    let client = builder.build().map_err(refused)?;
    let status = client.get(&arguments.url).send().await.map_err(refused)?.status();
    out.line(&format!("{} answers {}", arguments.url, status.as_u16()))?;
    Ok(if status == reqwest::StatusCode::OK { Outcome::Done } else { Outcome::Negative })
}
