//! The nodes that have joined.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::session::{get, get_time};
use super::{Store, StoreError};

/// A data-plane process that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The group that it belongs to.
    pub gateway: String,
    /// Its name, unique within the gateway.
    pub name: String,
    /// Version of its program; empty until it has said so.
    pub build: String,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
    /// Serial number of its newest certificate, in hexadecimal.
    pub certificate_serial: String,
    /// When it joined.
    pub first_seen_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
}

impl Store {
    /// Remembers that a node got a certificate; makes it known where it was not.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn node_certified(
        &self,
        gateway: &str,
        name: &str,
        serial: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "write down a node's certificate";
        let statement = sqlx::query(
            "INSERT INTO node \
             (gateway, name, build, labels, certificate_serial, first_seen_at, last_seen_at) \
             VALUES ($1, $2, '', '{}', $3, $4, $4) ON CONFLICT (gateway, name) DO UPDATE SET \
             certificate_serial = excluded.certificate_serial, last_seen_at = excluded.last_seen_at",
        )
        .bind(gateway.to_owned())
        .bind(name.to_owned())
        .bind(serial.to_owned())
        .bind(at.as_microsecond());
        let mut held = self.begin_unnumbered(doing).await?;
        held.session().execute(doing, statement).await?;
        held.commit().await
    }

    /// Remembers what nodes say of themselves and when, all in one transaction: for many heartbeats at
    /// once. One that is not known is made known; `first_seen_at` and the certificate of others stay.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn nodes_seen(&self, nodes: &[NodeRow]) -> Result<(), StoreError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let doing = "write down which nodes are there";
        let mut held = self.begin_unnumbered(doing).await?;
        for node in nodes {
            let labels = serde_json::to_value(&node.labels)
                .map_err(|error| StoreError::corrupt("labels of a node", error))?;
            let statement = sqlx::query(
                "INSERT INTO node \
                 (gateway, name, build, labels, certificate_serial, first_seen_at, last_seen_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (gateway, name) DO UPDATE SET \
                 build = excluded.build, labels = excluded.labels, last_seen_at = excluded.last_seen_at",
            )
            .bind(node.gateway.clone())
            .bind(node.name.clone())
            .bind(node.build.clone())
            .bind(labels.to_string())
            .bind(node.certificate_serial.clone())
            .bind(node.first_seen_at.as_microsecond())
            .bind(node.last_seen_at.as_microsecond());
            held.session().execute(doing, statement).await?;
        }
        held.commit().await
    }

    /// Every node that has joined, by gateway and name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query(
            "SELECT gateway, name, build, labels, certificate_serial, first_seen_at, last_seen_at \
             FROM node ORDER BY gateway, name",
        );
        let rows = self.session(&mut held).rows("list nodes", statement).await?;
        let nodes = rows.iter().map(|row| {
            let (gateway, name): (String, String) = (get(row, "gateway")?, get(row, "name")?);
            let labels = serde_json::from_str(&get::<String>(row, "labels")?).map_err(|error| {
                StoreError::corrupt(format!("labels of node {gateway}/{name}"), error)
            })?;
            Ok(NodeRow {
                gateway,
                name,
                labels,
                build: get(row, "build")?,
                certificate_serial: get(row, "certificate_serial")?,
                first_seen_at: get_time(row, "first_seen_at")?,
                last_seen_at: get_time(row, "last_seen_at")?,
            })
        });
        nodes.collect()
    }

    /// Forgets a node that is gone; `false` where it was not known.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn forget_node(&self, gateway: &str, name: &str) -> Result<bool, StoreError> {
        let doing = "forget a node";
        let mut held = self.begin_unnumbered(doing).await?;
        let statement = sqlx::query("DELETE FROM node WHERE gateway = $1 AND name = $2")
            .bind(gateway.to_owned())
            .bind(name.to_owned());
        let rows = held.session().execute(doing, statement).await?;
        held.commit().await?;
        Ok(rows > 0)
    }
}
