//! Changes of the configuration that are short to write, and limits that are soon reached.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tollgate_control_plane::store::{Change, Content, Limits, NewRevision, Store, StoreError};

use crate::support::at;

/// Limits for tests that run into them.
pub(crate) fn hasty() -> Limits {
    Limits {
        acquire: Duration::from_secs(1),
        lock: Duration::from_millis(200),
        statement: Duration::from_secs(2),
        ..Limits::default()
    }
}

pub(crate) fn create(tenant: &str, name: &str, spec: Value) -> Change {
    change(tenant, name, Content::Create { after: spec })
}

pub(crate) fn update(tenant: &str, name: &str, before: Value, after: Value) -> Change {
    change(tenant, name, Content::Update { before, after })
}

pub(crate) fn delete(tenant: &str, name: &str, before: Value) -> Change {
    change(tenant, name, Content::Delete { before })
}

fn change(tenant: &str, name: &str, content: Content) -> Change {
    Change {
        kind: "Upstream".to_owned(),
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        managed_by: "cli".to_owned(),
        content,
    }
}

/// The smallest specification that says something.
pub(crate) fn spec(n: u64) -> Value {
    json!({ "n": n })
}

/// One whole change: begun, written, committed.
pub(crate) async fn commit(store: &Store, changes: &[Change]) -> Result<u64, StoreError> {
    let mut transaction = store.begin().await?;
    let number = transaction.append(by("ada"), changes).await?;
    transaction.commit().await?;
    Ok(number)
}

pub(crate) fn by(actor: &str) -> NewRevision<'_> {
    NewRevision { actor, message: "because", at: at(0) }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(Duration::from_secs(20), work).await.context("took longer than 20 s")
}
