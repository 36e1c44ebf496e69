//! `tollgate version`.

use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// Carries out `tollgate version`.
pub(crate) fn run(out: &Output) -> Result<Outcome, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if out.is_for_people() {
        out.line(&format!("tollgate {version}"))?;
    } else {
        out.value(&json!({ "version": version }))?;
    }
    Ok(Outcome::Done)
}
