//! All resources together: what is wrong on account of a change, and nothing else.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::sync::Arc;

use proptest::prelude::*;
use tollgate_model::file::documents;
use tollgate_model::{Document, FromText as _, Kind, Name, ResourceId};
use tollgate_policy::check::{self, Checked};
use tollgate_policy::resources::Hosts;
use tollgate_policy::set::Set;

fn read(text: &str) -> Vec<Arc<Checked>> {
    let located = documents(text).unwrap();
    let document = |value| Document::parse(value, &Name::default_name()).unwrap();
    let checked = |document| check::check(&document, 0).unwrap_or_else(|issues| panic!("{issues}"));
    located.iter().map(|located| Arc::new(checked(document(&located.value)))).collect()
}

/// A set with nothing wrong in it.
fn set(text: &str) -> Set {
    let (mut set, resources) = (Set::default(), read(text));
    let ids: Vec<ResourceId> = resources.iter().map(|checked| checked.id.clone()).collect();
    for checked in resources {
        set.insert(checked);
    }
    assert_eq!(faults(&set, &ids), [""; 0]);
    set
}

/// Writes resources into a set; what is wrong then.
fn write(set: &mut Set, text: &str) -> Vec<String> {
    let resources = read(text);
    let ids: Vec<ResourceId> = resources.iter().map(|checked| checked.id.clone()).collect();
    for checked in resources {
        set.insert(checked);
    }
    faults(set, &ids)
}

/// Takes a resource out; what is wrong then.
fn delete(set: &mut Set, kind: Kind, tenant: &str, name: &str) -> Vec<String> {
    let id =
        ResourceId::new(kind, Name::from_text(tenant).unwrap(), Name::from_text(name).unwrap());
    set.remove(&id);
    faults(set, &[id])
}

fn faults(set: &Set, touched: &[ResourceId]) -> Vec<String> {
    set.check(touched)
        .iter()
        .flat_map(|(id, issues)| {
            issues.0.iter().map(move |issue| format!("{id} {} {}", issue.at, issue.code))
        })
        .collect()
}

const UPSTREAM: &str =
    "{kind: Upstream, name: u, spec: {endpoints: [{url: 'http://127.0.0.1:1'}]}}";

/// An API at a place, with more of its specification.
fn api(tenant: &str, name: &str, spec: &str) -> String {
    format!("{{kind: Api, tenant: {tenant}, name: {name}, spec: {{upstream: u, {spec}}}}}")
}

/// A set with the tenants `shop` (`*.shop.test`) and `bank` (`bank.test`), each with an upstream.
fn tenants() -> Set {
    set(&format!(
        "{UPSTREAM}
---
{{kind: Tenant, name: shop, spec: {{hosts: ['*.shop.test']}}}}
---
{{kind: Tenant, name: bank, spec: {{hosts: [bank.test]}}}}
---
{{kind: Upstream, tenant: shop, name: u, spec: {{endpoints: [{{url: 'http://127.0.0.1:1'}}]}}}}
---
{{kind: Upstream, tenant: bank, name: u, spec: {{endpoints: [{{url: 'http://127.0.0.1:1'}}]}}}}
"
    ))
}

#[test]
fn what_is_named_must_be_there() {
    let mut set = Set::default();
    let text = "{kind: Api, name: a, spec: {gateway: edge, base_path: /, upstream: u, policies: [{policy_set: s}], routes: [{name: r, upstream: v}]}}";
    assert_eq!(
        write(&mut set, text),
        [
            "Api default/a /spec/gateway unknown_reference",
            "Api default/a /spec/upstream unknown_reference",
            "Api default/a /spec/routes/0/upstream unknown_reference",
            "Api default/a /spec/policies/0/policy_set unknown_reference",
        ]
    );
}

#[test]
fn resources_of_another_tenant_are_not_there() {
    let mut set = set(UPSTREAM);
    let faults =
        write(&mut set, "{kind: Api, tenant: shop, name: a, spec: {base_path: /, upstream: u}}");
    assert_eq!(
        faults,
        [
            "Api shop/a /tenant unknown_reference",
            "Api shop/a /spec/upstream unknown_reference",
            "Api shop/a /spec/hosts no_host",
        ]
    );
}

#[test]
fn what_is_needed_cannot_be_deleted() {
    let mut set = tenants();
    write(&mut set, &api("default", "a", "base_path: /a"));
    write(&mut set, &api("default", "b", "base_path: /b"));
    assert_eq!(delete(&mut set, Kind::Upstream, "default", "u"), ["Upstream default/u  in_use"]);
    assert_eq!(delete(&mut set, Kind::Tenant, "default", "shop"), ["Tenant default/shop  in_use"]);
    // Deleted together with what needs it, nothing is wrong.
    let ids = ["a", "b"].map(|name| {
        ResourceId::new(Kind::Api, Name::default_name(), Name::from_text(name).unwrap())
    });
    ids.iter().for_each(|id| set.remove(id));
    assert_eq!(delete(&mut set, Kind::Upstream, "default", "u"), [""; 0]);
}

#[test]
fn a_tenant_publishes_on_its_own_hosts_alone() {
    let mut set = tenants();
    let of = |tenant: &str, hosts: &str| {
        let mut set = set.clone();
        write(&mut set, &api(tenant, "a", &format!("base_path: /, hosts: [{hosts}]")))
    };
    assert_eq!(
        of("shop", "api.shop.test, '*.shop.test', '*.eu.shop.test', a.b.shop.test"),
        [""; 0]
    );
    assert_eq!(of("shop", "shop.test"), ["Api shop/a /spec/hosts/0 foreign_host"]);
    assert_eq!(of("shop", "api.shop.test, bank.test"), ["Api shop/a /spec/hosts/1 foreign_host"]);
    assert_eq!(of("bank", "'*.bank.test'"), ["Api bank/a /spec/hosts/0 foreign_host"]);
    // What nobody claims is the default tenant's, and nothing else is.
    assert_eq!(of("default", "free.test, shop.test"), [""; 0]);
    assert_eq!(of("default", "api.shop.test"), ["Api default/a /spec/hosts/0 foreign_host"]);
    assert_eq!(write(&mut set, &api("default", "any", "base_path: /")), [""; 0]);
}

#[test]
fn an_api_without_hosts_follows_those_of_its_tenant() {
    let mut set = tenants();
    assert_eq!(write(&mut set, &api("shop", "a", "base_path: /a")), [""; 0]);
    let hosts = |set: &Set| {
        let id = ResourceId::new(
            Kind::Api,
            Name::from_text("shop").unwrap(),
            Name::from_text("a").unwrap(),
        );
        let tollgate_model::Spec::Api(api) = &set.get(&id).unwrap().spec else { panic!("an API") };
        match set.resources().hosts_of(&id.tenant, api) {
            Hosts::Any => vec!["any".to_owned()],
            Hosts::These(hosts) => hosts.iter().map(ToString::to_string).collect(),
        }
    };
    assert_eq!(hosts(&set), ["*.shop.test"]);
    // Another API at the place that the tenant's new host makes.
    write(&mut set, "{kind: Tenant, name: shop, spec: {hosts: [shop.test, other.test]}}");
    assert_eq!(hosts(&set), ["shop.test", "other.test"]);
    assert_eq!(
        write(&mut set, &api("shop", "b", "base_path: /a, hosts: [other.test]")),
        ["Api shop/b /spec/base_path tied_routes"]
    );
    // A tenant that owns no host any more has an API that nobody can reach.
    assert_eq!(
        write(&mut set, "{kind: Tenant, name: shop, spec: {}}"),
        ["Api shop/a /spec/hosts no_host", "Api shop/b /spec/hosts/0 foreign_host"]
    );
}

#[test]
fn apis_that_would_answer_the_same_calls_are_refused_with_the_other_named() {
    let mut set = set(UPSTREAM);
    let routes = |routes: &str| format!("base_path: /o, hosts: [a.test], routes: [{routes}]");
    assert_eq!(
        write(
            &mut set,
            &api(
                "default",
                "a",
                &routes("{name: r, match: {methods: [GET, PUT], path: '/x/{id}'}}")
            )
        ),
        [""; 0]
    );
    let tied = write(
        &mut set,
        &api(
            "default",
            "b",
            &routes(
                "{name: s, match: {path: /y}}, {name: r, match: {methods: [PUT], path: '/x/{other}'}}",
            ),
        ),
    );
    assert_eq!(tied, ["Api default/b /spec/routes/1/match tied_routes"]);
    for apart in [
        "{name: r, match: {methods: [POST], path: '/x/{id}'}}",
        "{name: r, match: {methods: [PUT], path: '/x/{id}', headers: {x-region: eu}}}",
        "{name: r, match: {methods: [PUT], path: '/x/{id}/y'}}",
    ] {
        assert_eq!(write(&mut set, &api("default", "b", &routes(apart))), [""; 0], "{apart}");
    }
    // Another host or base path is another place.
    let elsewhere = "base_path: /o, hosts: [b.test], routes: [{name: r, match: {methods: [PUT], path: '/x/{id}'}}]";
    assert_eq!(write(&mut set, &api("default", "c", elsewhere)), [""; 0]);
}

#[test]
fn two_tenants_cannot_own_hosts_that_overlap() {
    for (host, expected) in [
        ("api.shop.test", vec!["Tenant default/new /spec/hosts/0 host_taken"]),
        ("'*.eu.shop.test'", vec!["Tenant default/new /spec/hosts/0 host_taken"]),
        ("'*.test'", vec!["Tenant default/new /spec/hosts/0 host_taken"]),
        ("bank.test", vec!["Tenant default/new /spec/hosts/0 host_taken"]),
        ("shop.test", vec![]),
        ("'*.bank.test'", vec![]),
    ] {
        let mut set = tenants();
        assert_eq!(
            write(&mut set, &format!("{{kind: Tenant, name: new, spec: {{hosts: [{host}]}}}}")),
            expected,
            "{host}"
        );
    }
}

#[test]
fn a_claim_that_was_another_tenants_is_free_when_that_one_is_gone() {
    let mut set = tenants();
    write(&mut set, "{kind: Tenant, name: new, spec: {hosts: [bank.test]}}");
    delete(&mut set, Kind::Upstream, "bank", "u");
    delete(&mut set, Kind::Tenant, "default", "bank");
    assert_eq!(write(&mut set, "{kind: Tenant, name: new, spec: {hosts: [bank.test]}}"), [""; 0]);
    write(
        &mut set,
        "{kind: Upstream, tenant: new, name: u, spec: {endpoints: [{url: 'http://127.0.0.1:1'}]}}",
    );
    assert_eq!(write(&mut set, &api("new", "a", "base_path: /, hosts: [bank.test]")), [""; 0]);
}

#[test]
fn a_host_that_is_published_cannot_be_claimed_by_another_tenant() {
    let mut set = tenants();
    assert_eq!(
        write(&mut set, &api("default", "a", "base_path: /, hosts: [api.free.test]")),
        [""; 0]
    );
    assert_eq!(
        write(&mut set, "{kind: Tenant, name: new, spec: {hosts: ['*.free.test']}}"),
        ["Tenant default/new /spec/hosts/0 host_in_use"]
    );
}

#[test]
fn a_tenant_cannot_give_up_a_host_that_it_publishes_on() {
    let mut set = tenants();
    assert_eq!(write(&mut set, &api("shop", "a", "base_path: /, hosts: [api.shop.test]")), [""; 0]);
    assert_eq!(
        write(&mut set, "{kind: Tenant, name: shop, spec: {hosts: [www.shop.test]}}"),
        ["Api shop/a /spec/hosts/0 foreign_host"]
    );
}

#[test]
fn a_username_is_one_credentials_of_a_tenant() {
    let mut set = set(
        "{kind: Tenant, name: shop, spec: {}}\n---\n{kind: Application, name: app, spec: {}}\n---\n\
         {kind: Application, tenant: shop, name: app, spec: {}}",
    );
    let login = |tenant: &str, name: &str, username: &str| {
        format!(
            "{{kind: Credential, tenant: {tenant}, name: {name}, spec: {{application: app, basic: \
             {{username: {username}, password: {{value: correct horse}}}}}}}}"
        )
    };
    assert_eq!(write(&mut set, &login("default", "one", "web")), [""; 0]);
    assert_eq!(write(&mut set, &login("shop", "one", "web")), [""; 0]);
    assert_eq!(write(&mut set, &login("default", "two", "other")), [""; 0]);
    assert_eq!(
        write(&mut set, &login("default", "two", "web")),
        ["Credential default/two /spec/basic/username username_in_use"]
    );
    delete(&mut set, Kind::Credential, "default", "one");
    assert_eq!(write(&mut set, &login("default", "two", "web")), [""; 0]);
}

#[test]
fn a_key_is_one_credentials() {
    let mut set = set("{kind: Application, name: app, spec: {}}");
    let key = |name: &str, hash: &str| {
        format!(
            "{{kind: Credential, name: {name}, spec: {{application: app, api_key: {{hash: '{}'}}}}}}",
            hash.repeat(32)
        )
    };
    assert_eq!(write(&mut set, &key("one", "a1")), [""; 0]);
    assert_eq!(write(&mut set, &key("two", "b2")), [""; 0]);
    assert_eq!(
        write(&mut set, &key("two", "a1")),
        ["Credential default/two /spec/api_key key_in_use"]
    );
    delete(&mut set, Kind::Credential, "default", "one");
    assert_eq!(write(&mut set, &key("two", "a1")), [""; 0]);
}

#[test]
fn a_certificate_that_a_listener_shows_must_be_there_and_stay() {
    let gateway = "{kind: Gateway, name: edge, spec: {listeners: [{name: a, address: '0.0.0.0:1', tls: {certificates: [c]}}]}}";
    let certificate = tollgate_testkit::pki::Authority::new("root").unwrap();
    let certificate = certificate.server(&["a.test"]).unwrap().document("c");
    let mut set = Set::default();
    assert_eq!(
        write(&mut set, gateway),
        ["Gateway default/edge /spec/listeners/0/tls/certificates/0 unknown_reference"]
    );
    assert_eq!(write(&mut set, &format!("{certificate}---\n{gateway}")), [""; 0]);
    assert_eq!(
        delete(&mut set, Kind::Certificate, "default", "c"),
        ["Certificate default/c  in_use"]
    );
}

#[test]
fn a_certificate_that_an_upstream_shows_is_its_tenants_and_must_be_there_and_stay() {
    let upstream = "{kind: Upstream, tenant: shop, name: u, spec: {endpoints: [{url: 'https://a.test'}], tls: {certificate: c}}}";
    let tenant = "{kind: Tenant, name: shop, spec: {}}";
    let authority = tollgate_testkit::pki::Authority::new("root").unwrap();
    let certificate = authority.client("shop", "spiffe://shop").unwrap().document("c");
    let own = certificate.replace("name: c", "tenant: shop\nname: c");
    let mut set = Set::default();
    assert_eq!(
        write(&mut set, &format!("{tenant}\n---\n{certificate}---\n{upstream}")),
        ["Upstream shop/u /spec/tls/certificate unknown_reference"]
    );
    assert_eq!(write(&mut set, &format!("{own}---\n{upstream}")), [""; 0]);
    assert_eq!(delete(&mut set, Kind::Certificate, "shop", "c"), ["Certificate shop/c  in_use"]);
}

#[test]
fn what_a_listener_shows_is_a_servers_and_stays_one() {
    let gateway = "{kind: Gateway, name: edge, spec: {listeners: [{name: a, address: '0.0.0.0:1', tls: {certificates: [c]}}]}}";
    let authority = tollgate_testkit::pki::Authority::new("root").unwrap();
    let client = authority.client("shop", "spiffe://shop").unwrap().document("c");
    let server = authority.server(&["a.test"]).unwrap().document("c");
    let fault = ["Gateway default/edge /spec/listeners/0/tls/certificates/0 no_names"];
    let mut set = Set::default();
    assert_eq!(write(&mut set, &format!("{client}---\n{gateway}")), fault);
    assert_eq!(write(&mut set, &server), [""; 0]);
    assert_eq!(write(&mut set, &client), fault);
}

#[test]
fn a_client_certificate_is_one_credentials_of_a_tenant() {
    let mut set = tenants();
    let of = |tenant: &str, name: &str, certificate: &str| {
        format!(
            "{{kind: Application, tenant: {tenant}, name: app, spec: {{}}}}
---
{{kind: Credential, tenant: {tenant}, name: {name}, spec: {{application: app, certificate: {{{certificate}}}}}}}"
        )
    };
    assert_eq!(write(&mut set, &of("shop", "one", "subject: CN=web")), [""; 0]);
    assert_eq!(write(&mut set, &of("bank", "one", "subject: CN=web")), [""; 0]);
    assert_eq!(write(&mut set, &of("shop", "two", "san: 'dns:web'")), [""; 0]);
    assert_eq!(
        write(&mut set, &of("shop", "two", "subject: CN=web")),
        ["Credential shop/two /spec/certificate certificate_in_use"]
    );
}

#[test]
fn a_key_id_is_one_credentials_of_a_tenant() {
    let mut set = tenants();
    for tenant in ["shop", "bank"] {
        let text = format!(
            "{{kind: Application, tenant: {tenant}, name: app, spec: {{}}}}
---
{{kind: Secret, tenant: {tenant}, name: signing, spec: {{value: {}}}}}",
            "s".repeat(32)
        );
        assert_eq!(write(&mut set, &text), [""; 0]);
    }
    let of = |tenant: &str, name: &str, key_id: &str| {
        format!(
            "{{kind: Credential, tenant: {tenant}, name: {name}, spec: {{application: app, signature: {{key_id: {key_id}, secret: signing}}}}}}"
        )
    };
    assert_eq!(write(&mut set, &of("shop", "one", "web")), [""; 0]);
    assert_eq!(write(&mut set, &of("bank", "one", "web")), [""; 0]);
    assert_eq!(write(&mut set, &of("shop", "two", "web-2")), [""; 0]);
    assert_eq!(
        write(&mut set, &of("shop", "two", "web")),
        ["Credential shop/two /spec/signature/key_id key_id_in_use"]
    );
    delete(&mut set, Kind::Credential, "shop", "one");
    assert_eq!(write(&mut set, &of("shop", "two", "web")), [""; 0]);
}

#[test]
fn the_secret_that_signatures_are_checked_with_must_be_there_and_be_a_key() {
    let mut set = set("{kind: Application, name: app, spec: {}}");
    let secret =
        |value: &str| format!("{{kind: Secret, name: signing, spec: {{value: '{value}'}}}}");
    let credential = |more: &str| {
        format!(
            "{{kind: Credential, name: one, spec: {{application: app, signature: {{key_id: web, secret: signing{more}}}}}}}"
        )
    };
    let at = "Credential default/one /spec/signature/secret";
    assert_eq!(write(&mut set, &credential("")), [format!("{at} unknown_reference")]);
    assert_eq!(write(&mut set, &secret(&"s".repeat(32))), [""; 0]);
    assert_eq!(write(&mut set, &credential("")), [""; 0]);
    // Whoever changes the Secret is told of the Credential.
    let unfit = [format!("{at} unfit_secret")];
    assert_eq!(write(&mut set, &secret(&"s".repeat(31))), unfit);
    assert_eq!(write(&mut set, &secret(&"s".repeat(40))), [""; 0]);
    assert_eq!(write(&mut set, &credential(", secret_encoding: base64")), unfit);
    assert_eq!(write(&mut set, &secret(&"c2Vj".repeat(11))), [""; 0]);
    assert_eq!(
        delete(&mut set, Kind::Secret, "default", "signing"),
        ["Secret default/signing  in_use"]
    );
}

#[test]
fn a_secret_is_as_long_as_the_policies_that_take_it_for_a_key_need() {
    let secret = |bytes: usize| {
        format!("{{kind: Secret, name: key, spec: {{value: {}}}}}", "s".repeat(bytes))
    };
    for (policy, least, name) in [
        ("jwt: {secret: key}", 32, "jwt"),
        ("jwt: {secret: key, algorithms: [HS256, HS512, HS384]}", 64, "jwt"),
        ("any_of: [{api_key: {}}, {jwt: {secret: key, algorithms: [HS384]}}]", 48, "any_of"),
        ("mask: {rules: [{kind: iban, hash: {key: {secret: key}}}]}", 16, "mask"),
        ("headers: {request: {set: {x-a: '{secret.key}'}}}", 0, "headers"),
    ] {
        let at = format!("/spec/policies/0/{name} unfit_secret");
        let gateway = format!("{{kind: Gateway, name: edge, spec: {{policies: [{{{policy}}}]}}}}");
        let common = format!("{{kind: PolicySet, name: s, spec: {{policies: [{{{policy}}}]}}}}");
        let mut set = set(&format!("{}\n---\n{gateway}\n---\n{common}", secret(least.max(1))));
        if least == 0 {
            assert_eq!(write(&mut set, &secret(1)), [""; 0], "{policy}");
            continue;
        }
        // Whoever shortens the Secret is told who needs it longer.
        let unfit = [format!("Gateway default/edge {at}"), format!("PolicySet default/s {at}")];
        assert_eq!(write(&mut set, &secret(least - 1)), unfit, "{policy}");
        // So is who names one that is too short.
        let rules = format!("policies: [{{{policy}}}]");
        let guarded =
            format!("{UPSTREAM}\n---\n{}", api("default", "a", &format!("base_path: /, {rules}")));
        assert_eq!(write(&mut set, &guarded), [format!("Api default/a {at}")], "{policy}");
        assert_eq!(write(&mut set, &secret(least)), [""; 0], "{policy}");
    }
}

#[test]
fn the_secrets_that_an_upstream_is_told_are_its_tenants_must_be_there_stay_and_stand_in_a_field() {
    let upstream = |credentials: &str| {
        format!(
            "{{kind: Upstream, tenant: shop, name: u, spec: {{endpoints: [{{url: 'https://a.test'}}], credentials: {{{credentials}}}}}}}"
        )
    };
    let secret = |tenant: &str, value: &str| {
        format!("{{kind: Secret, tenant: {tenant}, name: key, spec: {{value: \"{value}\"}}}}")
    };
    let oauth2 = upstream(
        "oauth2: {token_url: 'https://id.test', client_id: a, client_secret: '{secret.key}'}",
    );
    let forms = [
        ("header/value", upstream("header: {name: x-key, value: 'Key {secret.key}'}")),
        ("basic/password", upstream("basic: {username: a, password: '{secret.key}'}")),
        ("oauth2/client_secret", oauth2),
    ];
    for (at, upstream) in forms {
        let at = format!("Upstream shop/u /spec/credentials/{at}");
        let mut set = set("{kind: Tenant, name: shop, spec: {}}");
        write(&mut set, &secret("default", "one"));
        assert_eq!(write(&mut set, &upstream), [format!("{at} unknown_reference")]);
        assert_eq!(write(&mut set, &secret("shop", "one")), [""; 0]);
        // Whoever changes the Secret is told of the Upstream.
        let unfit = if at.contains("oauth2") { vec![] } else { vec![format!("{at} unfit_secret")] };
        assert_eq!(write(&mut set, &secret("shop", "one\\n")), unfit);
        assert_eq!(write(&mut set, &upstream), unfit);
        assert_eq!(write(&mut set, &secret("shop", "\u{fc}ber")), [""; 0]);
        assert_eq!(delete(&mut set, Kind::Secret, "shop", "key"), ["Secret shop/key  in_use"]);
    }
}

#[test]
fn a_set_at_an_application_holds_only_what_runs_after_it_is_known_who_calls() {
    let mut set =
        set("{kind: PolicySet, name: s, spec: {policies: [{rate_limit: {limit: 1, window: 1s}}]}}
---
{kind: Application, name: app, spec: {policies: [{policy_set: s}]}}");
    assert_eq!(
        write(&mut set, "{kind: PolicySet, name: s, spec: {policies: [{api_key: {}}]}}"),
        ["Application default/app /spec/policies/0/policy_set wrong_place"]
    );
}

#[test]
fn an_upstream_speaks_what_the_policies_that_call_it_need() {
    let auth = |protocol: &str| {
        format!(
            "{{kind: Upstream, name: auth, spec: {{protocol: {protocol}, endpoints: [{{url: 'http://127.0.0.1:1'}}]}}}}"
        )
    };
    let guarded = |service: &str| {
        let policy = format!("[{{external_auth: {{upstream: auth, {service}: {{}}}}}}]");
        format!(
            "{}\n---\n{{kind: PolicySet, name: s, spec: {{policies: {policy}}}}}\n---\n{}",
            api("default", "a", &format!("base_path: /, policies: {policy}")),
            api("default", "b", "base_path: /b"),
        )
    };
    let wrong = [
        "Api default/a /spec/policies/0/external_auth wrong_protocol",
        "PolicySet default/s /spec/policies/0/external_auth wrong_protocol",
    ];
    let sorted = |mut faults: Vec<String>| {
        faults.sort();
        faults
    };
    let mut set = set(&format!("{UPSTREAM}\n---\n{}", auth("http2")));
    assert_eq!(write(&mut set, &guarded("grpc")), [""; 0]);
    // Also where the upstream alone changes.
    assert_eq!(sorted(write(&mut set, &auth("http1"))), wrong);
    assert_eq!(sorted(write(&mut set, &guarded("grpc"))), wrong);
    assert_eq!(write(&mut set, &guarded("http")), [""; 0]);
    assert_eq!(write(&mut set, &auth("http2")), [""; 0]);
    assert_eq!(
        delete(&mut set, Kind::Upstream, "default", "auth"),
        ["Upstream default/auth  in_use"]
    );
    assert_eq!(
        sorted(write(&mut set, &guarded("http"))),
        wrong.map(|fault| fault.replace("wrong_protocol", "unknown_reference"))
    );
}

#[test]
fn listeners_of_a_gateway_have_addresses_of_their_own() {
    let mut set = Set::default();
    let text = "{kind: Gateway, name: g, spec: {listeners: [{name: a, address: '0.0.0.0:81'}, {name: b, address: '0.0.0.0:81'}]}}";
    assert_eq!(
        write(&mut set, text),
        ["Gateway default/g /spec/listeners/1/address duplicate_address"]
    );
}

#[test]
fn a_copy_is_not_touched_by_what_happens_to_the_other() {
    let before = tenants();
    let mut after = before.clone();
    write(&mut after, &api("shop", "a", "base_path: /"));
    delete(&mut after, Kind::Tenant, "default", "bank");
    assert_eq!((before.resources().len(), after.resources().len()), (5, 5));
    assert!(before.get(&ResourceId::of_tenant(&Name::from_text("bank").unwrap())).is_some());
}

/// One of some resources that get in one another's way.
fn resource() -> impl Strategy<Value = String> {
    let tenant = prop_oneof![Just("default"), Just("t1"), Just("t2")];
    let name = prop_oneof![Just("a"), Just("b")];
    let host = prop_oneof![
        Just(""),
        Just("x.test"),
        Just("'*.x.test'"),
        Just("a.x.test"),
        Just("y.test"),
        Just("x.test, y.test"),
    ];
    let hosts_of_tenant = prop_oneof![
        Just(""),
        Just("x.test"),
        Just("'*.x.test'"),
        Just("a.x.test"),
        Just("y.test"),
        Just("'*.test'"),
    ];
    let path = prop_oneof![Just("/"), Just("/p")];
    let routes = prop_oneof![
        Just(""),
        Just("{name: r, match: {path: /r}}"),
        Just("{name: r, match: {methods: [GET], path: /r}}"),
    ];
    let policies = prop_oneof![
        Just(""),
        Just("{policy_set: a}"),
        Just("{rate_limit: {limit: 1, window: 1s}}")
    ];
    let of_set = prop_oneof![Just("{api_key: {}}"), Just("{headers: {}}")];
    let hash = prop_oneof![Just("a1"), Just("b2")];
    let name_of_tenant = prop_oneof![Just("t1"), Just("t2")];
    prop_oneof![
        4 => (tenant.clone(), name.clone(), host, path, routes, policies.clone()).prop_map(
            |(tenant, name, hosts, path, routes, policies)| format!(
                "{{kind: Api, tenant: {tenant}, name: {name}, spec: {{upstream: a, base_path: {path}, hosts: [{hosts}], routes: [{routes}], policies: [{policies}]}}}}"
            )
        ),
        2 => (name_of_tenant, hosts_of_tenant).prop_map(|(name, hosts)| format!(
            "{{kind: Tenant, name: {name}, spec: {{hosts: [{hosts}]}}}}"
        )),
        2 => (tenant.clone(), name.clone()).prop_map(|(tenant, name)| format!(
            "{{kind: Upstream, tenant: {tenant}, name: {name}, spec: {{endpoints: [{{url: 'http://127.0.0.1:1'}}]}}}}"
        )),
        1 => (tenant.clone(), name.clone(), of_set).prop_map(|(tenant, name, policy)| format!(
            "{{kind: PolicySet, tenant: {tenant}, name: {name}, spec: {{policies: [{policy}]}}}}"
        )),
        1 => (tenant.clone(), name.clone(), policies).prop_map(|(tenant, name, policies)| format!(
            "{{kind: Application, tenant: {tenant}, name: {name}, spec: {{policies: [{policies}]}}}}"
        )),
        1 => (tenant, name, hash).prop_map(|(tenant, name, hash)| format!(
            "{{kind: Credential, tenant: {tenant}, name: {name}, spec: {{application: a, api_key: {{hash: '{}'}}}}}}",
            hash.repeat(32)
        )),
    ]
}

/// Resources, and whether each is written or taken out.
fn changes() -> impl Strategy<Value = Vec<(String, bool)>> {
    prop::collection::vec((resource(), prop::bool::weighted(0.7)), 1..40)
}

fn apply(set: &mut Set, (text, is_written): &(String, bool)) -> ResourceId {
    let checked = read(text).remove(0);
    let id = checked.id.clone();
    if *is_written {
        set.insert(checked);
    } else {
        set.remove(&id);
    }
    id
}

fn ids(set: &Set) -> Vec<ResourceId> {
    set.resources().iter().map(|checked| checked.id.clone()).collect()
}

proptest! {
    #[test]
    fn a_set_is_what_is_in_it_and_not_how_it_got_there(changes in changes()) {
        let mut set = Set::default();
        let mut touched: Vec<ResourceId> = changes.iter().map(|change| apply(&mut set, change)).collect();
        let mut fresh = Set::default();
        let mut resources: Vec<&Arc<Checked>> = set.resources().iter().collect();
        resources.sort_by(|a, b| b.id.cmp(&a.id));
        resources.into_iter().for_each(|checked| fresh.insert(Arc::clone(checked)));
        touched.extend(ids(&set));
        prop_assert_eq!(set.check(&touched), fresh.check(&touched));
    }

    /// Looking at what a change touches is enough: nothing else goes wrong on its account.
    #[test]
    fn a_change_without_a_fault_leaves_a_set_without_a_fault(changes in changes()) {
        let mut set = Set::default();
        for change in &changes {
            let mut next = set.clone();
            let id = apply(&mut next, change);
            if next.check(std::slice::from_ref(&id)).is_empty() {
                prop_assert_eq!(next.check(&ids(&next)), vec![], "after {}", id);
                set = next;
            }
        }
    }
}
