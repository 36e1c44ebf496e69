//! `tollgate provider`: the providers of models that the catalogue knows. It asks nobody.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tollgate_llm::Catalogue;
use tollgate_llm::catalogue::{Auth, Provider, Scheme};

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// How many names are offered for one that is not known.
const MOST_OFFERED: usize = 3;

/// What `tollgate provider` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the providers that the catalogue knows, and where their keys are kept; needs no control plane
    List,
}

/// Carries out `tollgate provider`.
pub(crate) fn run(arguments: Arguments, out: &Output) -> Result<Outcome, Failure> {
    let Action::List = arguments.action;
    let catalogue = Catalogue::bundled()?;
    if !out.is_for_people() {
        let items: Vec<Value> = catalogue.providers().iter().map(described).collect();
        out.value(&json!({ "date": catalogue.date, "items": items }))?;
        return Ok(Outcome::Done);
    }
    let row = |provider: &Provider| {
        vec![
            provider.id.to_string(),
            provider.dialect.to_string(),
            provider.base_url.to_string(),
            key_variables(&provider.auth),
            provider.models().len().to_string(),
        ]
    };
    let rows = catalogue.providers().iter().map(row).collect();
    let header = ["NAME", "DIALECT", "BASE URL", "KEY IN", "MODELS"];
    out.table(&header, rows, "the catalogue is empty")?;
    Ok(Outcome::Done)
}

/// The provider of this name; the nearest names where there is none.
pub(crate) fn known<'a>(catalogue: &'a Catalogue, id: &str) -> Result<&'a Provider, Failure> {
    catalogue.provider(id).ok_or_else(|| {
        let names: Vec<&str> = catalogue.providers().iter().map(|provider| &*provider.id).collect();
        let offered: Vec<String> =
            nearest(id, &names).into_iter().map(|name| format!("`{name}`")).collect();
        let mend = if offered.is_empty() {
            "`tollgate provider list` names all".to_owned()
        } else {
            format!("did you mean {}?", offered.join(" or "))
        };
        Failure::Refused(format!("the catalogue has no provider `{id}`; {mend}"))
    })
}

/// Names that differ by a few letters, or that have the word in them or in common, the nearest first.
fn nearest<'a>(word: &str, names: &[&'a str]) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&word, name), *name))
        .filter(|(distance, name)| {
            let is_part = word.len() > 2 && (name.contains(&word) || word.contains(name));
            is_part || *distance <= 1 + name.len() / 4
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(MOST_OFFERED).map(|(_, name)| name).collect()
}

/// The variables in which people keep what proves who they are: the usual one where it is a key, all where it takes several.
fn key_variables(auth: &Auth) -> String {
    let count = match auth.scheme {
        Scheme::None => 0,
        Scheme::Bearer | Scheme::Header => 1,
        Scheme::SigV4
        | Scheme::OciSignature
        | Scheme::ClientCredentials
        | Scheme::ServiceAccount
        | Scheme::IamTokenExchange => auth.env.len(),
    };
    auth.env.iter().take(count).map(|name| &**name).collect::<Vec<_>>().join(", ")
}

/// Everything that is known of a provider, with the number of its models.
fn described(provider: &Provider) -> Value {
    let mut value = json!(provider);
    if let Value::Object(fields) = &mut value {
        fields.insert("models".to_owned(), provider.models().len().into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_names_come_first_and_far_ones_never() {
        let names = ["anthropic", "azure", "azure_ai", "openai", "openai_compatible", "xai", "v0"];
        assert_eq!(nearest("OpenAI", &names), ["openai", "openai_compatible"]);
        assert_eq!(nearest("opnai", &names), ["openai"]);
        assert_eq!(nearest("azure-openai", &names), ["openai", "azure"]);
        assert!(nearest("watermelon", &names).is_empty());
        assert!(nearest("", &names).is_empty());
    }
}
