//! The one script that the counters run in Redis, its arguments and its answer.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, ParsingError, Value};
use tollgate_policy::limit::{SLOTS, Window, slot_micros};
use tollgate_policy::ports::Take;

/// The text and the hash of `take.lua`.
static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(TEXT));
const TEXT: &str = include_str!("take.lua");

/// What is asked of the script. See `take.lua` for the meaning of the numbers.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) key: &'a str,
    pub(super) need: u64,
    pub(super) want: u64,
    pub(super) fewest: u64,
    pub(super) divisor: u64,
    pub(super) limit: u64,
    pub(super) slots: Slots,
    /// None: Redis' own time, so that the nodes' clocks do not matter.
    pub(super) now_unix_micros: Option<u64>,
    /// Slots, and permits that were taken in them and not used; below 0, those that should have been taken.
    pub(super) give_back: &'a [(u64, i64)],
}

/// In what it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slots {
    /// Slots of one length, so many of which count beside the current one.
    Rolling { slot_micros: u64, look_back: u64 },
    /// Windows of the calendar: where three of them in a row begin, and where the last ends. The one
    /// that Redis' own time lies in counts, so that the nodes' clocks do not matter; where that is none of
    /// them, the one of the node's time.
    Calendar { bounds: [u64; 4], node_micros: u64 },
}

impl Slots {
    /// Of a window at a moment; `look_back` is for rolling ones.
    pub(super) fn of(window: &Window, look_back: u64, now_unix_micros: u64) -> Self {
        match window {
            Window::Rolling(length) => {
                Self::Rolling { slot_micros: slot_micros(*length), look_back }
            }
            Window::Calendar(calendar) => Self::Calendar {
                bounds: calendar.around(now_unix_micros),
                node_micros: now_unix_micros,
            },
        }
    }
}

impl<'a> Call<'a> {
    /// All of the cost or nothing.
    pub(super) fn all_or_none(key: &'a str, take: &Take<'_>) -> Self {
        let Take { definition, cost, now_unix_micros, .. } = *take;
        Self {
            key,
            need: cost,
            want: cost,
            fewest: cost,
            divisor: 1,
            limit: definition.limit,
            slots: Slots::of(&definition.window, SLOTS, now_unix_micros),
            now_unix_micros: None,
            give_back: &[],
        }
    }

    /// The command where the server knows the script.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", SCRIPT.get_hash())
    }

    /// The command that brings the script along.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", TEXT)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.key);
        command.arg(self.need).arg(self.want).arg(self.fewest).arg(self.divisor).arg(self.limit);
        let (slot_micros, look_back) = match self.slots {
            Slots::Rolling { slot_micros, look_back } => (slot_micros, look_back),
            Slots::Calendar { .. } => (0, 0),
        };
        command.arg(slot_micros).arg(look_back);
        match self.now_unix_micros {
            Some(now) => command.arg(now),
            None => command.arg(""),
        };
        if let Slots::Calendar { bounds, node_micros } = self.slots {
            command.arg(&bounds).arg(node_micros);
        }
        for (slot, unused) in self.give_back {
            command.arg(slot).arg(unused);
        }
        command
    }
}

/// What the script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Permits that were taken.
    pub(super) granted: u64,
    /// Permits that nobody has taken, after this call.
    pub(super) left: u64,
    /// Until permits come back.
    pub(super) reset: Duration,
    /// The slot in which they were counted.
    pub(super) slot: u64,
    /// Until that slot ends, by Redis' clock.
    pub(super) slot_left: Duration,
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (granted, left, reset, slot, slot_left): (i64, i64, i64, i64, i64) =
            redis::from_redis_value(value)?;
        // `left` is below zero where the limit was lowered to less than is used.
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Self {
            granted: count(granted),
            left: count(left),
            reset: Duration::from_micros(count(reset)),
            slot: count(slot),
            slot_left: Duration::from_micros(count(slot_left)),
        })
    }
}

/// The script in Rust: `tests.rs` shows that both do the same.
#[cfg(test)]
pub(super) mod model;
