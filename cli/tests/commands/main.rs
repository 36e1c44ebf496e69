//! The built command against a scripted admin server: what it prints, what it sends, how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail as they do"
)]

#[path = "../support/mod.rs"]
mod support;

// Resources, read and changed.
mod get;
mod apply;
mod diff;
mod edit;
mod resources;

// Who may, and where to.
mod keys;
mod contexts;

// What goes wrong; what needs no server.
mod faults;
mod alone;
mod catalogue;

const ORDERS: &str = include_str!("../../../examples/orders.yaml");

const API: &str = r#"{"kind": "Api", "tenant": "default", "name": "orders", "labels": {"team": "shop"},
    "spec": {"version": "v1", "hosts": ["api.shop.test"], "base_path": "/orders", "upstream": "orders",
             "policies": [{"api_key": {}}, {"rate_limit": {"limit": 100, "window": "1m"}}],
             "routes": [{"name": "list", "match": {"path": "/items"}}]},
    "version": 12, "created_at": "2026-05-01T10:00:00Z", "updated_at": "2026-05-02T10:00:00Z", "managed_by": "cli"}"#;

fn list(items: &[&str]) -> String {
    format!(r#"{{"items": [{}], "next": null}}"#, items.join(","))
}
