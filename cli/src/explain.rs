//! `tollgate explain METHOD URL`: which route a request would take, which it would not and why, and
//! which policies it would meet. The configuration is put into the node's own plan and asked with
//! the node's own matcher.

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use tollgate_data_plane::plan::{Configurator, Plan, Slot, Update};
use tollgate_data_plane::route::{Considered, EncodedSlash, MatchInput, Target, Verdict};
use tollgate_model::{Issues, Kind, Name, ResourceId};
use tollgate_policy::policies::AnyPolicy;
use tollgate_proto::v1;

use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_name};

/// What `tollgate explain` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Such as GET
    method: String,
    /// Such as <http://api.shop.test/orders/items?all=1>
    url: String,
    /// A header field of the request, such as `x-region: eu`
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The gateway whose nodes would get it
    #[arg(long, default_value = "default")]
    gateway: String,
}

/// Carries out `tollgate explain`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let asked = Asked::parse(&arguments)?;
    let gateway = parse_name(&arguments.gateway)?;
    let answer = session.client.call(Call::get(&["export"])).await?;
    let items =
        answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let plan = plan_of(items, gateway);

    let target = Target::parse(asked.url.path(), EncodedSlash::Refuse).map_err(|fault| {
        Failure::Refused(format!("a node answers 400 {}: {}", fault.code, fault.problem))
    })?;
    let input = MatchInput {
        host: asked.url.authority().map_or("", |authority| authority.as_str()),
        path: target.path(),
        query: asked.url.query(),
        method: &asked.method,
        headers: &asked.headers,
    };
    let considered = plan.routes.explain(&input);
    let rows: Vec<Row> = considered.iter().map(|considered| Row::new(&plan, considered)).collect();
    if session.out.is_for_people() {
        print(session, &rows)?;
    } else {
        session
            .out
            .value(&json!({ "routes": rows.iter().map(Row::to_json).collect::<Vec<_>>() }))?;
    }
    let has_winner = rows.iter().any(|row| row.has_won);
    Ok(if has_winner { Outcome::Done } else { Outcome::Negative })
}

/// The request that is asked about.
struct Asked {
    method: Method,
    url: Uri,
    headers: HeaderMap,
}

impl Asked {
    fn parse(arguments: &Arguments) -> Result<Self, Failure> {
        let usage = |text: String| Failure::Usage(text);
        let method = Method::from_bytes(arguments.method.to_ascii_uppercase().as_bytes())
            .map_err(|_bad| usage(format!("`{}` is not a method", arguments.method)))?;
        let url: Uri = arguments
            .url
            .parse()
            .map_err(|error| usage(format!("`{}` is not a URL: {error}", arguments.url)))?;
        if url.scheme().is_none() || url.authority().is_none() {
            return Err(usage(format!(
                "`{}` is not whole; give it as http://HOST/PATH",
                arguments.url
            )));
        }
        let mut headers = HeaderMap::new();
        for field in &arguments.headers {
            let parsed = field.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            let (name, value) = parsed.ok_or_else(|| {
                usage(format!("`{field}` is not a header field; give `NAME: VALUE`"))
            })?;
            headers.append(name, value);
        }
        Ok(Self { method, url, headers })
    }
}

/// The plan of a node that holds what the admin API shows. Sealed values play no part in routing.
fn plan_of(items: &[Value], gateway: Name) -> Plan {
    let mut configurator = Configurator::new(gateway, Box::new(|_, _| Issues::default()));
    let upserts = items.iter().filter_map(resource).collect();
    configurator.apply(Update { is_whole: true, upserts, ..Update::default() });
    Plan::clone(&configurator.plan().load())
}

fn resource(item: &Value) -> Option<v1::Resource> {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    let kind = Kind::from_name(text("kind")?)?;
    let spec = match kind {
        Kind::Certificate | Kind::Credential => return None,
        Kind::Secret => json!({ "value": "sealed" }).to_string(),
        Kind::Tenant
        | Kind::Gateway
        | Kind::Upstream
        | Kind::PolicySet
        | Kind::Api
        | Kind::Application => item.get("spec")?.to_string(),
    };
    Some(v1::Resource {
        kind: kind.name().to_owned(),
        tenant: text("tenant").unwrap_or("default").to_owned(),
        name: text("name")?.to_owned(),
        version: 1,
        spec: spec.into_bytes().into(),
    })
}

/// One route that was looked at.
struct Row {
    has_won: bool,
    because: Option<String>,
    api: ResourceId,
    route: String,
    place: String,
    path: String,
    policies: Vec<&'static str>,
}

impl Row {
    fn new(plan: &Plan, considered: &Considered<'_, Slot>) -> Self {
        let entry = plan.entry(*considered.payload);
        let route = entry.and_then(|entry| entry.facts.route.as_ref());
        let chain = entry.map(|entry| entry.chain.policies()).unwrap_or_default();
        let because = match considered.verdict {
            Verdict::Won => None,
            Verdict::Lost { because } => Some(because.to_string()),
        };
        Self {
            has_won: because.is_none(),
            because,
            api: considered.api.clone(),
            route: route.map_or_else(String::new, ToString::to_string),
            place: format!("{}{}", considered.host, considered.base_path),
            path: considered.path.to_string(),
            policies: chain.iter().map(|policy| AnyPolicy::name(policy)).collect(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "won": self.has_won,
            "because": self.because,
            "tenant": self.api.tenant.as_str(),
            "api": self.api.name.as_str(),
            "route": (!self.route.is_empty()).then_some(&self.route),
            "place": self.place,
            "path": self.path,
            "policies": self.policies,
        })
    }
}

fn print(session: &Session, rows: &[Row]) -> Result<(), Failure> {
    let line = |row: &Row| {
        let verdict = row.because.clone().unwrap_or_else(|| "wins".to_owned());
        let api = format!("{}/{}", row.api.tenant, row.api.name);
        vec![verdict, api, row.route.clone(), row.place.clone(), row.path.clone()]
    };
    session.out.table(
        &["VERDICT", "API", "ROUTE", "PLACE", "PATH"],
        rows.iter().map(line).collect(),
        "no API is published at this host and path: a node answers 404 no_route",
    )?;
    match rows.iter().find(|row| row.has_won) {
        Some(winner) if winner.policies.is_empty() => session.out.line("it meets no policies"),
        Some(winner) => session.out.line(&format!("it meets: {}", winner.policies.join(", "))),
        None if rows.is_empty() => Ok(()),
        None => session.out.line("no route takes it: a node answers 404 no_route, or 405 method_not_allowed where only the method differs"),
    }
}
