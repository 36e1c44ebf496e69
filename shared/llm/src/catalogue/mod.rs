//! What is known of providers and their models without asking anybody: how they are reached, what they can do, what they
//! cost.
//!
//! It is part of the program, has a date, and is only a default: an operator's word counts for more.

// Names of what models can and cannot do, and of what is priced.
mod facts;
// One model.
mod model;
// One provider, with its models.
mod provider;

use std::io::Read as _;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

pub use facts::{
    Capabilities, Capability, Date, Denials, Denied, Endpoint, Endpoints, Mode, Multiplier,
    ReasoningEffort, ReasoningEfforts, Source, Unit,
};
pub use model::{ImagePrice, Model, OffPeak, RegionalPrice, Units, Window};
pub use provider::{AlsoAt, Auth, Provider, Scheme};

/// Made by `scripts/catalogue`; `data/README.md` has its form and where it comes from.
static BUNDLED: &[u8] = include_bytes!("data/catalogue.json.gz");

/// Providers and their models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// When the facts were gathered.
    pub date: Date,
    /// From whom.
    pub sources: Box<[Provenance]>,
    /// In the order of their ids.
    providers: Box<[Provider]>,
}

/// One source of facts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The name that each model has as its source.
    pub name: Box<str>,
    /// As its makers number it.
    pub version: Box<str>,
    /// That it is under.
    pub licence: Box<str>,
    /// What was taken.
    pub what: Box<str>,
}

/// Why bytes are no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not what was packed.
    #[error("unpack the catalogue of models")]
    Unpack(#[source] std::io::Error),
    /// A field or value that this program does not know.
    #[error("read the catalogue of models")]
    Parse(#[source] serde_json::Error),
    /// Look-ups need the order.
    #[error("the catalogue of models has `{0}` twice or in the wrong place")]
    Order(Box<str>),
}

impl Catalogue {
    /// The one that is part of the program. The first call unpacks and reads it; whoever never calls pays nothing.
    ///
    /// # Errors
    ///
    /// Where the program was built with a broken one, which a test prevents.
    pub fn bundled() -> Result<&'static Self, &'static CatalogueError> {
        static CATALOGUE: OnceLock<Result<Catalogue, CatalogueError>> = OnceLock::new();
        CATALOGUE.get_or_init(|| Self::decode(BUNDLED)).as_ref()
    }

    /// Reads a catalogue as `scripts/catalogue` makes it. It takes as much memory as the bytes ask for: they are ours.
    ///
    /// # Errors
    ///
    /// Where the bytes are damaged, or have anything that this program does not know.
    fn decode(packed: &[u8]) -> Result<Self, CatalogueError> {
        let mut text = Vec::with_capacity(packed.len().saturating_mul(16));
        GzDecoder::new(packed).read_to_end(&mut text).map_err(CatalogueError::Unpack)?;
        let catalogue: Self = serde_json::from_slice(&text).map_err(CatalogueError::Parse)?;
        in_order(catalogue.providers.iter().map(|provider| &*provider.id))?;
        for provider in &catalogue.providers {
            in_order(provider.models.iter().map(|model| &*model.id))?;
        }
        Ok(catalogue)
    }

    /// All providers, in the order of their ids.
    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider with this id. Allocates nothing.
    #[must_use]
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        let place = self.providers.binary_search_by(|provider| (*provider.id).cmp(id)).ok()?;
        self.providers.get(place)
    }

    /// A provider's model; see [`Provider::model`]. Allocates nothing.
    #[must_use]
    pub fn model(&self, provider: &str, id: &str) -> Option<&Model> {
        self.provider(provider)?.model(id)
    }
}

/// That each is more than the one before.
fn in_order<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), CatalogueError> {
    let mut before = None;
    for id in ids {
        if before.is_some_and(|before| before >= id) {
            return Err(CatalogueError::Order(id.into()));
        }
        before = Some(id);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
