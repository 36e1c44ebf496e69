//! Schemas of the same value.

use super::{At, Checker, Seen};
use crate::policies::validate::json::Json;
use crate::policies::validate::schema::{Applied, Condition, NodeId, Types};

impl Checker<'_> {
    pub(super) fn applied(
        &mut self,
        applied: &Applied,
        value: &Json,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let mut is_valid = true;
        for node in &applied.all {
            is_valid &= self.apply(*node, value, at, seen.as_deref_mut());
            if self.is_over() || (self.is_trying && !is_valid) {
                return false;
            }
        }
        if let Some(list) = &applied.any {
            is_valid &= self.any(list, value, at, seen.as_deref_mut());
        }
        if let Some(list) = &applied.one {
            is_valid &= self.one(list, value, at, seen.as_deref_mut());
        }
        if self.is_over() || (self.is_trying && !is_valid) {
            return false;
        }
        if let Some(node) = applied.not
            && self.attempt(node, value, at, None)
        {
            is_valid = self.fail(at, "not", || "is of a kind that is not taken here".to_owned());
        }
        if let Some(condition) = &applied.condition {
            is_valid &= self.condition(condition, value, at, seen.as_deref_mut());
        }
        if let Json::Object(members) = value {
            for (name, node) in &applied.dependent {
                self.spend(1);
                if members.get(name).is_some() {
                    is_valid &= self.apply(*node, value, at, seen.as_deref_mut());
                }
            }
        }
        is_valid
    }

    fn any(
        &mut self,
        list: &[NodeId],
        value: &Json,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let mut is_valid = false;
        for node in list {
            is_valid |= self.attempt(*node, value, at, seen.as_deref_mut());
            // What the others look at counts as evaluated, where somebody asks for that.
            if self.is_over() || (is_valid && seen.is_none()) {
                break;
            }
        }
        is_valid || self.fits_none(list, value, at, "any_of")
    }

    fn one(
        &mut self,
        list: &[NodeId],
        value: &Json,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let mut found = 0_u32;
        for node in list {
            found += u32::from(self.attempt(*node, value, at, seen.as_deref_mut()));
            if self.is_over() || found > 1 {
                break;
            }
        }
        match found {
            0 => self.fits_none(list, value, at, "one_of"),
            1 => true,
            _ => self.fail(at, "one_of", || {
                format!("fits several of {} alternatives; only one may", list.len())
            }),
        }
    }

    /// Says what is wrong with a value that no alternative takes: of the only one that is of its type,
    /// what that one says.
    fn fits_none(
        &mut self,
        list: &[NodeId],
        value: &Json,
        at: &At<'_>,
        code: &'static str,
    ) -> bool {
        if self.is_trying || self.is_over() {
            return false;
        }
        let (schemas, types) = (self.schemas, Types::of(value));
        let of_its_type = |id: &&NodeId| {
            schemas.node(**id).is_none_or(|node| !node.is_never && node.types.has(types))
        };
        let mut candidates = list.iter().filter(of_its_type);
        if let (Some(only), None) = (candidates.next(), candidates.next()) {
            return self.apply(*only, value, at, None);
        }
        self.fail(at, code, || match list {
            [_] => "is not of the kind that is taken here".to_owned(),
            _ => format!("fits none of {} alternatives", list.len()),
        })
    }

    fn condition(
        &mut self,
        condition: &Condition,
        value: &Json,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        let holds = self.attempt(condition.condition, value, at, seen.as_deref_mut());
        let then = if holds { condition.then } else { condition.otherwise };
        then.is_none_or(|node| self.apply(node, value, at, seen))
    }
}
