//! One provider: where it is, how one proves who one is, what it speaks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::named::named;

/// What is known of a provider.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Such as `openai`.
    pub id: Box<str>,
    /// As people write it.
    pub name: Box<str>,
    /// Without a slash at the end. It may have `{…}` of `variables`.
    pub base_url: Box<str>,
    /// What it speaks, such as `openai`, `anthropic`, `gemini`, `bedrock-converse`.
    pub dialect: Box<str>,
    /// Other dialects and addresses.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub also: Box<[AlsoAt]>,
    /// How one proves who one is.
    pub auth: Auth,
    /// Fields that every request has, beside those of `auth`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Box<str>, Box<str>>,
    /// What an operator has to fill in.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub variables: Box<[Box<str>]>,
    /// Below `base_url`, by what they are for, such as `chat`, `messages`, `embeddings`; whole addresses where another host serves
    /// them. They may have `{…}` as well, of `variables` or of a call, such as `{model}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<Box<str>, Box<str>>,
    /// Its documentation.
    pub docs: Box<str>,
    /// Where it does other things than its dialect says, and other remarks for people.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub notes: Box<[Box<str>]>,
    /// Whether it is a server that operators run themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_hosted: bool,
    /// In the order of their ids.
    #[serde(skip_serializing)]
    pub(super) models: Box<[Model]>,
}

/// The same provider in another dialect.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlsoAt {
    /// What is spoken there.
    pub dialect: Box<str>,
    /// Where.
    pub base_url: Box<str>,
}

named! {
    /// A way of proving who one is.
    pub enum Scheme {
        /// A key after `Bearer`.
        Bearer = "bearer",
        /// A key in a field of its own.
        Header = "header",
        /// A signature by AWS's Signature Version 4.
        SigV4 = "sigv4",
        /// A signature by Oracle's cloud.
        OciSignature = "oci-signature",
        /// A token that a client's secret is exchanged for.
        ClientCredentials = "oauth2-client-credentials",
        /// A token that a service account's signed token is exchanged for.
        ServiceAccount = "oauth2-service-account",
        /// A token that a key of IBM's cloud is exchanged for.
        IamTokenExchange = "iam-token-exchange",
        /// None.
        None = "none",
    }
}

/// How one proves who one is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The way.
    pub scheme: Scheme,
    /// The field that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Box<str>>,
    /// What the field has, such as `Bearer {key}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Box<str>>,
    /// The variables of the environment in which people keep it, the usual one first.
    pub env: Box<[Box<str>]>,
    /// Whether it may be left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Another way, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<Box<str>>,
    /// Where a token is got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Box<str>>,
    /// What the token is to be good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Box<str>>,
    /// The name of the service that a signature is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<str>>,
}

impl Provider {
    /// All its models that are known, in the order of their ids. It may serve others.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model with this id; one of Bedrock also with the prefix of an inference profile that costs the same, such as
    /// `eu.` before it. Allocates nothing.
    #[must_use]
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.model_exactly(id).or_else(|| {
            let (profile, base) = id.split_once('.')?;
            let model = self.model_exactly(base)?;
            model.inference_profiles.iter().any(|known| **known == *profile).then_some(model)
        })
    }

    fn model_exactly(&self, id: &str) -> Option<&Model> {
        let place = self.models.binary_search_by(|model| (*model.id).cmp(id)).ok()?;
        self.models.get(place)
    }
}
