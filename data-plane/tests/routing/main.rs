//! The order of precedence of `docs/guide/routing.md`, rule by rule and against a plain scan.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where something is off"
)]

// What both ways have in common.
mod published;

// Rule by rule.
mod rules;

// The scan, what it is compared on, and the comparison.
mod scan;
mod generated;
mod against_scan;
