//! What nodes run, for the control planes that they are not connected to.

use jiff::Timestamp;
use serde_json::Value;

use super::dialect::Dialect;
use super::resources::json;
use super::session::{get, get_time};
use super::{Store, StoreError};

/// What a node runs, as the control plane that it is connected to last heard.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRow {
    /// The group that the node belongs to.
    pub gateway: String,
    /// Its name, unique within the gateway.
    pub name: String,
    /// The control plane process that wrote this.
    pub replica: String,
    /// Whether the node was connected to it then.
    pub is_connected: bool,
    /// What the node said. To the store it is any JSON.
    pub report: Value,
    /// When this was written.
    pub at: Timestamp,
}

impl Store {
    /// Whether other control planes may use the same store.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.dialect == Dialect::Postgres
    }

    /// Writes down what nodes run, all in one transaction. That a node has left one control plane does not
    /// overwrite that it has come to another.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn write_node_reports(&self, rows: &[ReportRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let doing = "write down what nodes run";
        let mut held = self.begin_unnumbered(doing).await?;
        for row in rows {
            let statement = sqlx::query(
                "INSERT INTO node_report (gateway, name, replica, is_connected, report, at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (gateway, name) DO UPDATE SET \
                 replica = excluded.replica, is_connected = excluded.is_connected, \
                 report = excluded.report, at = excluded.at \
                 WHERE excluded.is_connected = 1 OR node_report.replica = excluded.replica",
            )
            .bind(row.gateway.clone())
            .bind(row.name.clone())
            .bind(row.replica.clone())
            .bind(i64::from(row.is_connected))
            .bind(row.report.to_string())
            .bind(row.at.as_microsecond());
            held.session().execute(doing, statement).await?;
        }
        held.commit().await
    }

    /// What every node runs, by gateway and name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn node_reports(&self) -> Result<Vec<ReportRow>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query(
            "SELECT gateway, name, replica, is_connected, report, at FROM node_report \
             ORDER BY gateway, name",
        );
        let rows = self.session(&mut held).rows("read what nodes run", statement).await?;
        let reports = rows.iter().map(|row| {
            let (gateway, name): (String, String) = (get(row, "gateway")?, get(row, "name")?);
            let report = json(&get::<String>(row, "report")?, || {
                format!("report of node {gateway}/{name}")
            })?;
            Ok(ReportRow {
                gateway,
                name,
                replica: get(row, "replica")?,
                is_connected: get::<i64>(row, "is_connected")? != 0,
                report,
                at: get_time(row, "at")?,
            })
        });
        reports.collect()
    }

    /// Forgets what a node ran; nothing happens where nothing is known of it.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn forget_node_report(&self, gateway: &str, name: &str) -> Result<(), StoreError> {
        let doing = "forget what a node ran";
        let statement = sqlx::query("DELETE FROM node_report WHERE gateway = $1 AND name = $2")
            .bind(gateway.to_owned())
            .bind(name.to_owned());
        let mut held = self.begin_unnumbered(doing).await?;
        held.session().execute(doing, statement).await?;
        held.commit().await
    }

    /// Whether this node has joined and was not forgotten since.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn knows_node(&self, gateway: &str, name: &str) -> Result<bool, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query("SELECT name FROM node WHERE gateway = $1 AND name = $2")
            .bind(gateway.to_owned())
            .bind(name.to_owned());
        Ok(self.session(&mut held).row("look up a node", statement).await?.is_some())
    }
}
