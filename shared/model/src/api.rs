//! What is published.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::attachment::Attachment;
use crate::host::HostPattern;
use crate::id::Name;
use crate::issue::Issues;
use crate::path::BasePath;
use crate::route::Route;

/// An API: where it is found, who may call it and how, and where its calls go.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = routes_agree -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Api {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// For people and documents, such as `v1`.
    #[deserr(default)]
    pub version: Option<String>,
    /// The gateway whose nodes serve it. Default `default`.
    #[deserr(default = Name::default_name())]
    #[schemars(with = "Option<Name>")]
    pub gateway: Name,
    /// None: every host that the tenant owns.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<HostPattern>>")]
    pub hosts: Vec<HostPattern>,
    /// The path below which it lives.
    pub base_path: BasePath,
    /// Whether the base path is taken off before the call goes upstream. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub strip_base_path: bool,
    /// Where calls go whose route names no upstream of its own.
    #[deserr(default)]
    pub upstream: Option<Name>,
    /// Run for every call of the API.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Attachment>>")]
    pub policies: Vec<Attachment>,
    /// None: everything below the base path.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Route>>")]
    pub routes: Vec<Route>,
}

/// Checks what only the whole API shows: names, targets, and ties among its own routes.
fn routes_agree(api: Api, location: deserr::ValuePointerRef<'_>) -> Result<Api, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    if api.upstream.is_none() && api.routes.is_empty() {
        issues.add(
            at.as_str(),
            "missing_field",
            "`upstream` is missing; add it, or routes that name one each",
        );
    }
    let mut names = std::collections::HashMap::new();
    let mut keys = std::collections::HashMap::new();
    for (i, route) in api.routes.iter().enumerate() {
        let place = format!("{at}/routes/{i}");
        if api.upstream.is_none() && route.upstream.is_none() {
            issues.add(
                place.as_str(),
                "missing_field",
                "neither the route nor its API names an `upstream`; add one",
            );
        }
        if names.insert(&route.name, i).is_some() {
            issues.add(
                format!("{place}/name"),
                "duplicate_name",
                format!("`{}` is the name of a route above; give each its own", route.name),
            );
        }
        for key in route.matches.tie_keys() {
            match keys.insert(key, i) {
                Some(earlier) if earlier != i => {
                    let other = api.routes.get(earlier).map_or("", |route| route.name.as_str());
                    issues.add(
                        format!("{place}/match"),
                        "tied_routes",
                        format!("matches the same calls as route `{other}`; let method, path, header or query differ"),
                    );
                    break;
                }
                _ => {}
            }
        }
    }
    issues.into_result(api)
}
