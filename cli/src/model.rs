//! `tollgate model`: the models that the catalogue knows. It asks nobody.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tollgate_llm::Catalogue;
use tollgate_llm::catalogue::{Capability, Mode, Model, Provider};
use tollgate_llm::price::Token;

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::provider;

/// What the table says of what a model can do: what decides whether a request can go there.
const SHOWN: [(Capability, &str); 9] = [
    (Capability::Tools, "tools"),
    (Capability::StructuredOutput, "json"),
    (Capability::Reasoning, "reasoning"),
    (Capability::Vision, "vision"),
    (Capability::PdfInput, "pdf"),
    (Capability::AudioInput, "hears"),
    (Capability::AudioOutput, "speaks"),
    (Capability::VideoInput, "video"),
    (Capability::WebSearch, "search"),
];

/// What `tollgate model` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the models that the catalogue knows, with limits and prices; needs no control plane
    List(ListArguments),
}

#[derive(Args)]
struct ListArguments {
    /// Only those of this provider, by the name that `tollgate provider list` has for it
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Only those for this
    #[arg(long, value_name = "MODE", value_parser = mode_parser())]
    mode: Option<Mode>,
    /// Only those whose provider/model has this text, in capital or small letters
    #[arg(short, long, value_name = "TEXT")]
    search: Option<String>,
}

fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    let names = Mode::ALL.iter().map(|mode| mode.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Mode>())
}

/// Carries out `tollgate model`.
pub(crate) fn run(arguments: Arguments, out: &Output) -> Result<Outcome, Failure> {
    let Action::List(arguments) = arguments.action;
    let catalogue = Catalogue::bundled()?;
    let providers = match &arguments.provider {
        Some(id) => std::slice::from_ref(provider::known(catalogue, id)?),
        None => catalogue.providers(),
    };
    let search = arguments.search.map(|text| text.to_lowercase());
    let fits = |provider: &Provider, model: &Model| {
        arguments.mode.is_none_or(|mode| model.mode == mode)
            && search.as_deref().is_none_or(|text| {
                format!("{}/{}", provider.id, model.id).to_lowercase().contains(text)
            })
    };
    let models: Vec<(&Provider, &Model)> = providers
        .iter()
        .flat_map(|provider| provider.models().iter().map(move |model| (provider, model)))
        .filter(|(provider, model)| fits(provider, model))
        .collect();
    if !out.is_for_people() {
        let items: Vec<Value> =
            models.iter().map(|(provider, model)| described(provider, model)).collect();
        out.value(&json!({ "date": catalogue.date, "items": items }))?;
        return Ok(Outcome::Done);
    }
    let header = [
        "PROVIDER",
        "MODEL",
        "MODE",
        "CONTEXT",
        "MAX OUTPUT",
        "INPUT",
        "CACHED",
        "OUTPUT",
        "CAPABILITIES",
        "SHUT DOWN",
    ];
    let rows: Vec<_> = models.iter().map(|(provider, model)| row(provider, model)).collect();
    if !rows.is_empty() {
        out.note(&format!(
            "prices are dollars for a million tokens, as of {}; -o json has all of them",
            catalogue.date
        ));
    }
    out.table(
        &header,
        rows,
        "the catalogue has no such model; a provider may serve it all the same",
    )?;
    Ok(Outcome::Done)
}

fn row(provider: &Provider, model: &Model) -> Vec<String> {
    let count = |count: Option<u32>| count.map(|count| count.to_string()).unwrap_or_default();
    let price = |token| {
        let amount = model.price.standard.rates.get(token);
        amount.map(|amount| amount.to_string()).unwrap_or_default()
    };
    let can = SHOWN.iter().filter(|(capability, _)| model.capabilities.contains(*capability));
    vec![
        provider.id.to_string(),
        model.id.to_string(),
        model.mode.to_string(),
        count(model.max_input_tokens),
        count(model.max_output_tokens),
        price(Token::Input),
        price(Token::CachedInput),
        price(Token::Output),
        can.map(|(_, word)| *word).collect::<Vec<_>>().join(","),
        model.deprecation_date.map(|date| date.to_string()).unwrap_or_default(),
    ]
}

/// Everything that is known of a model.
fn described(provider: &Provider, model: &Model) -> Value {
    let mut fields = Map::new();
    fields.insert("provider".to_owned(), json!(provider.id));
    if let Value::Object(known) = json!(model) {
        fields.extend(known);
    }
    Value::Object(fields)
}
