//! Items of lists and members of objects.

use super::{At, Checker, Seen, count};
use crate::policies::validate::json::{Json, Members, weight_of};
use crate::policies::validate::schema::{Contains, Forbidden, Lists, Objects, Unevaluated};

impl Checker<'_> {
    pub(super) fn list(
        &mut self,
        rules: &Lists,
        items: &[Json],
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let length = count(items.len());
        let mut is_valid = true;
        if length < rules.min {
            is_valid = self.fail(at, "min_items", || format!("give at least {} items", rules.min));
        }
        if let Some(max) = rules.max
            && length > max
        {
            is_valid = self.fail(at, "max_items", || format!("give at most {max} items"));
        }
        if rules.is_unique && !self.is_unique(items) {
            is_valid = self.fail(at, "unique_items", || "has an item twice".to_owned());
        }
        for (place, item) in items.iter().enumerate() {
            let Some(node) = rules.first.get(place).copied().or(rules.rest) else { break };
            if self.is_over() || (self.is_trying && !is_valid) {
                return false;
            }
            is_valid &= self.apply(node, item, &At::Item(at, place), None);
            if let Some(seen) = seen.as_deref_mut() {
                seen.mark(place);
            }
        }
        match &rules.contains {
            Some(contains) => self.contains(contains, items, at, seen) && is_valid,
            None => is_valid,
        }
    }

    /// Whether no item is equal to another one. In order, equal ones are neighbours: n·log n comparisons,
    /// which are paid for before they begin.
    fn is_unique(&mut self, items: &[Json]) -> bool {
        let weight: u64 = items.iter().map(Json::weight).sum();
        self.spend(weight.saturating_mul(u64::from(items.len().max(1).ilog2()) + 1) / 4);
        if self.is_over() {
            return false;
        }
        let mut in_order: Vec<&Json> = items.iter().collect();
        in_order.sort_unstable_by(|one, other| one.compare(other));
        let mut neighbours = in_order.iter().zip(in_order.iter().skip(1));
        !neighbours.any(|(one, other)| one.compare(other).is_eq())
    }

    fn contains(
        &mut self,
        contains: &Contains,
        items: &[Json],
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let mut found = 0;
        for (place, item) in items.iter().enumerate() {
            if self.is_over() {
                return false;
            }
            if self.attempt(contains.node, item, &At::Item(at, place), None) {
                found += 1;
                if let Some(seen) = seen.as_deref_mut().filter(|_| contains.evaluates) {
                    seen.mark(place);
                }
            }
        }
        if found < contains.min {
            return self.fail(at, "contains", || {
                format!("has {found} items of a kind of which it must have {}", contains.min)
            });
        }
        if let Some(max) = contains.max
            && found > max
        {
            return self.fail(at, "contains", || {
                format!("has {found} items of a kind of which it may have {max}")
            });
        }
        true
    }

    pub(super) fn object(
        &mut self,
        rules: &Objects,
        members: &Members,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let mut is_valid = self.has_members(rules, members, at);
        for (place, (name, value)) in members.iter().enumerate() {
            if self.is_over() || (self.is_trying && !is_valid) {
                return false;
            }
            let (is_member_valid, is_known) = self.member(rules, (name, value), at);
            is_valid &= is_member_valid;
            if let Some(seen) = seen.as_deref_mut().filter(|_| is_known) {
                seen.mark(place);
            }
        }
        is_valid
    }

    /// What is asked of an object whatever its members are.
    fn has_members(&mut self, rules: &Objects, members: &Members, at: &At<'_>) -> bool {
        let length = count(members.len());
        let mut is_valid = true;
        if length < rules.min {
            is_valid =
                self.fail(at, "min_properties", || format!("give at least {} members", rules.min));
        }
        if let Some(max) = rules.max
            && length > max
        {
            is_valid = self.fail(at, "max_properties", || format!("give at most {max} members"));
        }
        self.spend(count(rules.required.len()) / 8);
        for name in rules.required.iter().filter(|name| members.get(name).is_none()) {
            is_valid = self.fail(at, "required", || format!("`{name}` is missing; add it"));
            if self.is_trying {
                return false;
            }
        }
        for (given, names) in &rules.dependent {
            self.spend(1 + count(names.len()) / 8);
            if members.get(given).is_none() {
                continue;
            }
            for name in names.iter().filter(|name| members.get(name).is_none()) {
                is_valid = self.fail(at, "dependent_required", || {
                    format!("`{name}` is missing; it is needed beside `{given}`")
                });
            }
        }
        is_valid
    }

    /// Whether a member is as it must be, and whether a schema has looked at it.
    fn member(
        &mut self,
        rules: &Objects,
        (name, value): (&str, &Json),
        of: &At<'_>,
    ) -> (bool, bool) {
        let at = At::Member(of, name);
        let (mut is_valid, mut is_known) = (true, false);
        self.spend(count(rules.patterns.len()).saturating_mul(weight_of(name)));
        if let Some((forbidden, names)) = &rules.forbidden
            && names.binary_search_by(|known| (**known).cmp(name)).is_ok()
        {
            is_valid = match forbidden {
                Forbidden::ReadOnly => self
                    .fail(&at, "read_only", || "is the server's to set; leave it out".to_owned()),
                Forbidden::WriteOnly => {
                    self.fail(&at, "write_only", || "is never answered".to_owned())
                }
            };
        }
        if let Some(names) = rules.names {
            self.spend(weight_of(name));
            is_valid &= self.apply(names, &Json::Text(name.into()), &at, None);
        }
        if let Ok(found) = rules.properties.binary_search_by(|(known, _)| (**known).cmp(name))
            && let Some((_, node)) = rules.properties.get(found)
        {
            is_known = true;
            is_valid &= self.apply(*node, value, &at, None);
        }
        for (pattern, node) in &rules.patterns {
            if pattern.is_match(name) {
                is_known = true;
                is_valid &= self.apply(*node, value, &at, None);
            }
        }
        if let Some(additional) = rules.additional.filter(|_| !is_known) {
            is_known = true;
            is_valid &= self.apply(additional, value, &at, None);
        }
        (is_valid, is_known)
    }

    /// What no other schema of the value has looked at.
    pub(super) fn rest(
        &mut self,
        unevaluated: &Unevaluated,
        value: &Json,
        at: &At<'_>,
        seen: &mut Seen,
    ) -> bool {
        let mut is_valid = true;
        match value {
            Json::List(items) => {
                let Some(node) = unevaluated.items else { return true };
                for (place, item) in items.iter().enumerate() {
                    if !seen.has(place) {
                        is_valid &= self.apply(node, item, &At::Item(at, place), None);
                        seen.mark(place);
                    }
                }
            }
            Json::Object(members) => {
                let Some(node) = unevaluated.properties else { return true };
                for (place, (name, value)) in members.iter().enumerate() {
                    if !seen.has(place) {
                        is_valid &= self.apply(node, value, &At::Member(at, name), None);
                        seen.mark(place);
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
        }
        is_valid
    }
}
