//! A verb's way to the control plane: which server, as whom, for which tenant.

use std::time::Duration;

use serde_json::Value;
use tollgate_model::secret::SecretText;
use tollgate_model::units::Span;
use tollgate_model::{FromText, Kind, Name, ResourceId, issue};

use crate::client::{Call, Client, parse_server};
use crate::context::{Context, Contexts};
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::Global;

/// Where a control plane is that nobody named.
const DEFAULT_SERVER: &str = "http://127.0.0.1:9080";

/// What every verb that speaks to a control plane holds.
pub(crate) struct Session {
    /// The way there.
    pub(crate) client: Client,
    /// The way to the user.
    pub(crate) out: Output,
    tenant: Option<Name>,
}

impl Session {
    /// Settles server, token and tenant: a flag comes before its variable, the variable before the context.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        Self::open_in(pick_context(global)?.as_ref(), global)
    }

    /// As [`Session::open`], in the place of the picked context with this one.
    pub(crate) fn open_in(context: Option<&Context>, global: &Global) -> Result<Self, Failure> {
        let named = context.map(|context| parse_server(&context.server)).transpose()?;
        let given = global.server.as_deref().map(parse_server).transpose()?;
        let is_contexts_own = given.is_none() || given == named;
        let server = match given.or(named) {
            Some(server) => server,
            None => parse_server(DEFAULT_SERVER)?,
        };
        // A context's token goes to the context's server and to no other.
        let kept = context.filter(|_| is_contexts_own).and_then(|context| context.token.clone());
        let token =
            global.token.clone().or(kept).map(|token| SecretText::new(token.trim().to_owned()));
        let tenant = global.tenant.as_deref().or_else(|| context?.tenant.as_deref());
        let tenant = tenant.map(parse_name).transpose()?;
        Ok(Self { client: Client::new(server, token)?, out: Output::new(global.output), tenant })
    }

    /// The tenant that flag, variable or context name.
    #[must_use]
    pub(crate) fn named_tenant(&self) -> Option<&Name> {
        self.tenant.as_ref()
    }

    /// The tenant of what names none: the named one, else the token's, else `default`.
    pub(crate) async fn tenant(&self) -> Result<Name, Failure> {
        if let Some(tenant) = &self.tenant {
            return Ok(tenant.clone());
        }
        let caller = self.client.call(Call::get(&["whoami"])).await?;
        match caller.get("tenant").and_then(Value::as_str) {
            Some(tenant) => parse_name(tenant),
            None => Ok(Name::default_name()),
        }
    }

    /// The tenant whose resource of this kind is meant: the platform's are kept under `default`.
    pub(crate) async fn tenant_for(&self, kind: Kind) -> Result<Name, Failure> {
        if kind.is_platform() { Ok(Name::default_name()) } else { self.tenant().await }
    }
}

fn pick_context(global: &Global) -> Result<Option<Context>, Failure> {
    // Who has no home has no contexts, and needs none unless one is asked for.
    let contexts = match Contexts::read() {
        Err(crate::context::ContextError::NoHome) if global.context.is_none() => return Ok(None),
        read => read?,
    };
    match global.context.as_deref().or_else(|| contexts.current()) {
        Some(name) => Ok(Some(contexts.get(name)?.clone())),
        None => Ok(None),
    }
}

/// Reads the name of a resource or tenant.
pub(crate) fn parse_name(text: &str) -> Result<Name, Failure> {
    Name::from_text(text).map_err(|rejected| Failure::Usage(rejected.problem))
}

/// `KIND NAME` on the command line.
#[derive(clap::Args)]
pub(crate) struct Named {
    /// The kind, singular or plural
    #[arg(value_name = "KIND", value_parser = parse_kind)]
    kind: Kind,
    /// Which one
    #[arg(value_name = "NAME")]
    name: String,
}

impl Named {
    /// The resource that is meant.
    pub(crate) async fn id(&self, session: &Session) -> Result<ResourceId, Failure> {
        let name = parse_name(&self.name)?;
        Ok(ResourceId::new(self.kind, session.tenant_for(self.kind).await?, name))
    }
}

/// Reads a kind as people type it; the parser of command-line arguments.
pub(crate) fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::from_word(text).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::plural);
        format!("not a kind; {}", issue::nearest(&text.to_ascii_lowercase(), &known))
    })
}

/// Reads a duration such as `10s`; the parser of command-line arguments.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    Span::from_text(text).map(Span::get).map_err(|rejected| rejected.problem)
}
