//! APIs as they are published, requests, and what the table finds.

use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tollgate_data_plane::route::{ApiRoutes, Found, MatchInput, RouteTable};
use tollgate_model::api::Api;
use tollgate_model::route::Route;
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};

/// An API under a name, and its compiled routes; payloads are `api/route`.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: ResourceId,
    pub(crate) api: Api,
    pub(crate) routes: Arc<ApiRoutes<String>>,
}

impl Published {
    pub(crate) fn new(name: &str, api: Api) -> Self {
        let id = ResourceId::new(Kind::Api, Name::default_name(), Name::from_text(name).unwrap());
        let routes = Arc::new(ApiRoutes::build(&api, |route, _| label(&id, route)));
        Self { id, api, routes }
    }

    /// From the routes' names and matches, without the checks across routes.
    pub(crate) fn of(
        name: &str,
        hosts: &[&str],
        base_path: &str,
        routes: &[(&str, Value)],
    ) -> Self {
        let head = json!({ "hosts": hosts, "base_path": base_path, "upstream": "u" });
        let mut api: Api = parse::value(&head).unwrap();
        let route = |(name, matches): &(&str, Value)| {
            parse::value::<Route>(&json!({ "name": name, "match": matches })).unwrap()
        };
        api.routes = routes.iter().map(route).collect();
        Self::new(name, api)
    }

    pub(crate) fn insert_into(&self, table: &mut RouteTable<String>) {
        table.insert(&self.id, &self.api.hosts, &self.api.base_path, &self.routes);
    }

    pub(crate) fn remove_from(&self, table: &mut RouteTable<String>) {
        table.remove(&self.id, &self.api.hosts, &self.api.base_path);
    }
}

pub(crate) fn label(id: &ResourceId, route: Option<&Route>) -> String {
    format!("{}/{}", id.name, route.map_or("", |route| route.name.as_str()))
}

pub(crate) fn table(apis: &[Published]) -> RouteTable<String> {
    let mut table = RouteTable::default();
    for api in apis {
        api.insert_into(&mut table);
    }
    table
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<&'static str>,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn get(host: &str, path: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            query: None,
            method: Method::GET,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn input(&self) -> MatchInput<'_> {
        MatchInput {
            host: &self.host,
            path: &self.path,
            query: self.query,
            method: &self.method,
            headers: &self.headers,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Route(String),
    MethodNotAllowed(Vec<String>),
    NoRoute,
}

pub(crate) fn find(table: &RouteTable<String>, request: &Request) -> Outcome {
    match table.find(&request.input()) {
        Found::Route(found) => Outcome::Route(found.payload().clone()),
        Found::MethodNotAllowed { allow } => {
            Outcome::MethodNotAllowed(allow.iter().map(Method::to_string).collect())
        }
        Found::NoRoute => Outcome::NoRoute,
    }
}

pub(crate) fn found(table: &RouteTable<String>, host: &str, path: &str) -> String {
    match find(table, &Request::get(host, path)) {
        Outcome::Route(label) => label,
        other @ (Outcome::MethodNotAllowed(_) | Outcome::NoRoute) => format!("{other:?}"),
    }
}
