//! What all control planes of a store share, sealed under the master key: whoever writes first wins,
//! and all read the same.

use jiff::Timestamp;

use super::session::get;
use super::{Store, StoreError};

/// The certificate authority as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRow {
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS #8, sealed.
    pub sealed_private_key: String,
}

impl Store {
    /// The sealed value of this name; the given one where there was none.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn cluster_key_or_insert(
        &self,
        name: &str,
        sealed: &str,
    ) -> Result<String, StoreError> {
        let doing = "settle a key of the cluster";
        let mut held = self.begin_unnumbered(doing).await?;
        let statement = sqlx::query(
            "INSERT INTO cluster_key (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.to_owned())
        .bind(sealed.to_owned());
        held.session().execute(doing, statement).await?;
        held.commit().await?;
        self.cluster_key(name).await?.ok_or_else(|| {
            StoreError::corrupt(format!("key `{name}` of the cluster"), "it is gone")
        })
    }

    /// The sealed value of this name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn cluster_key(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut held = self.acquire().await?;
        let statement =
            sqlx::query("SELECT value FROM cluster_key WHERE name = $1").bind(name.to_owned());
        let row = self.session(&mut held).row("read a key of the cluster", statement).await?;
        row.as_ref().map(|row| get(row, "value")).transpose()
    }

    /// The certificate authority; the given one where there was none.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn authority_or_insert(
        &self,
        authority: &AuthorityRow,
        at: Timestamp,
    ) -> Result<AuthorityRow, StoreError> {
        let doing = "settle the certificate authority";
        let mut held = self.begin_unnumbered(doing).await?;
        let statement = sqlx::query(
            "INSERT INTO authority (id, certificate, private_key, created_at) VALUES (1, $1, $2, $3) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(authority.certificate.clone())
        .bind(authority.sealed_private_key.clone())
        .bind(at.as_microsecond());
        held.session().execute(doing, statement).await?;
        held.commit().await?;
        self.authority()
            .await?
            .ok_or_else(|| StoreError::corrupt("the certificate authority", "it is gone"))
    }

    /// The certificate authority, where there is one.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn authority(&self) -> Result<Option<AuthorityRow>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query("SELECT certificate, private_key FROM authority WHERE id = 1");
        let row = self.session(&mut held).row("read the certificate authority", statement).await?;
        row.map(|row| {
            Ok(AuthorityRow {
                certificate: get(&row, "certificate")?,
                sealed_private_key: get(&row, "private_key")?,
            })
        })
        .transpose()
    }
}
