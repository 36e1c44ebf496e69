use std::sync::Arc;

use tollgate_model::Name;

use crate::policies::AnyPolicy;
use crate::policy::{Caller, Scope};
use crate::support::{World, caller, chain, name, request, yaml};
use crate::{Claims, check};

const FORBIDDEN: Option<(u16, &str)> = Some((403, "forbidden"));

fn member(application: &str, groups: &[&str]) -> Option<Arc<Caller>> {
    let groups: Vec<Name> = groups.iter().map(|group| name(group)).collect();
    Some(Arc::new(Caller { groups: groups.into(), ..caller(application, "first") }))
}

fn claimed(groups: &[&str], scopes: &[&str]) -> Option<Arc<Claims>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
    Some(Arc::new(Claims { groups: texts(groups), scopes: texts(scopes), ..Claims::default() }))
}

async fn judged(
    configs: &[&str],
    identity: Option<Arc<Caller>>,
    claims: Option<Arc<Claims>>,
) -> Option<(u16, String)> {
    let world = World { identity, claims, ..World::default() };
    let met = world.exchange(&chain(configs), request(&[])).await;
    met.refused().map(|(status, code)| (status, code.to_owned()))
}

fn text(refused: Option<(u16, &str)>) -> Option<(u16, String)> {
    refused.map(|(status, code)| (status, code.to_owned()))
}

#[tokio::test]
async fn any_entry_of_any_list_lets_a_caller_in() {
    let config =
        "acl: {allow: {applications: [shop, web], groups: [partners], scopes: ['a b', c]}}";
    for (identity, claims, expected) in [
        (member("web", &[]), None, None),
        (member("other", &["partners"]), None, None),
        (member("other", &["staff", "partners"]), None, None),
        (member("other", &["staff"]), None, FORBIDDEN),
        (member("web-2", &[]), None, FORBIDDEN),
        (None, claimed(&["partners"], &[]), None),
        (None, claimed(&["Partners"], &[]), FORBIDDEN),
        (None, claimed(&[], &["c"]), None),
        (None, claimed(&[], &["b", "x", "a"]), None),
        (None, claimed(&[], &["a"]), FORBIDDEN),
        (None, claimed(&[], &["a b"]), FORBIDDEN),
        (member("other", &[]), claimed(&[], &["c"]), None),
        // A scope is no group, and an application's name is neither.
        (None, claimed(&["c", "web"], &["partners", "web"]), FORBIDDEN),
    ] {
        assert_eq!(judged(&[config], identity, claims).await, text(expected));
    }
}

#[tokio::test]
async fn deny_wins() {
    let config = "acl: {allow: {groups: [partners]}, deny: {applications: [old], groups: [out], scopes: [x]}}";
    for (identity, claims, expected) in [
        (member("web", &["partners"]), None, None),
        (member("old", &["partners"]), None, FORBIDDEN),
        (member("web", &["partners", "out"]), None, FORBIDDEN),
        (member("web", &["partners"]), claimed(&["out"], &[]), FORBIDDEN),
        (member("web", &["partners"]), claimed(&[], &["x"]), FORBIDDEN),
    ] {
        assert_eq!(judged(&[config], identity, claims).await, text(expected));
    }
    let config = "acl: {deny: {applications: [old]}}";
    assert_eq!(judged(&[config], member("web", &[]), None).await, None);
}

#[tokio::test]
async fn several_must_all_let_it_through() {
    let configs = ["acl: {allow: {groups: [partners]}}", "acl: {allow: {scopes: [a]}}"];
    assert_eq!(judged(&configs, member("w", &["partners"]), claimed(&[], &["a"])).await, None);
    assert_eq!(judged(&configs, member("w", &["partners"]), None).await, text(FORBIDDEN));
    assert_eq!(judged(&configs, None, claimed(&[], &["a"])).await, text(FORBIDDEN));
}

#[tokio::test]
async fn who_is_not_known_has_to_say_first() {
    for config in ["acl: {allow: {groups: [a]}}", "acl: {deny: {groups: [a]}}"] {
        let met = World::default().exchange(&chain(&[config]), request(&[])).await;
        assert_eq!(met.refused(), Some((401, "unauthenticated")));
        assert_eq!(met.answered("www-authenticate"), ["Bearer"]);
    }
}

#[test]
fn the_applications_that_it_names_must_be_there() {
    let document = yaml(
        "{kind: PolicySet, tenant: shop, name: s, spec: {policies: [{acl: {allow: {applications: [web]}, deny: {applications: [old]}}}]}}",
    );
    let document = tollgate_model::Document::parse(&document, &Name::default_name()).unwrap();
    let references = check::check(&document, 0).ok().unwrap().references;
    let named: Vec<String> =
        references.iter().map(|found| format!("{} {}", found.at, found.to)).collect();
    assert_eq!(
        named,
        [
            "/tenant Tenant default/shop",
            "/spec/policies/0/acl Application shop/web",
            "/spec/policies/0/acl Application shop/old"
        ]
    );
}

#[test]
fn a_gateways_names_no_application() {
    let scope = Scope { place: "Gateway/default/default/acl", parameters: None };
    let config = &yaml("{allow: {applications: [web], groups: [a]}}");
    let issues = AnyPolicy::compile("acl", config, scope).err().unwrap();
    assert_eq!(
        (issues.0[0].at.as_str(), issues.0[0].code.as_str()),
        ("/allow/applications", "wrong_place")
    );
}
