//! What one subject of a limit may spend on this node without asking Redis.
//!
//! A *block* of permits is debited from the shared counter first, and counted there in the slot *s*
//! of that moment, by Redis' clock. The node spends it until the end of slot *s + 1* at the latest.
//!
//! **Never more than the limit in any window.** A window that ends in slot *q* reaches back into
//! slot *q − 32*. What was spent in it was debited in one of the slots *q − 33* to *q*. Take the last
//! debit among those, in slot *q′ ≤ q*: the script granted it only because all counts of the slots
//! *q′ − 33* to *q′*, which include all of them, stayed within the limit. So leased limits look back
//! 33 slots where exact ones look back 32 ([`LOOK_BACK`]).
//!
//! A window of the calendar is one slot, and a block is spent before it ends: what was debited in it
//! and what is spent in it are the same permits.
//!
//! The end of a slot is known without comparing clocks: the answer says how long the slot has still
//! to go, and the node counts that from *before* it asked, by a clock that never steps.
//!
//! Permits that were not spent in time go back to the slot that they were taken from.

// Permits in one word.
mod block;
// Refusals that are remembered.
mod denial;
// The calls.
mod plan;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tollgate_policy::limit::{Definition, SLOTS, Window, slot_micros};
use tollgate_policy::ports::{Booked, Decision, Settlement};

use super::script::Reply;
use block::Block;
use denial::Denial;
pub(super) use plan::{Plan, large};

/// Slots before the current one that count for a leased limit.
const LOOK_BACK: u64 = SLOTS + 1;
/// A block is held no longer, so that what an idle node holds is soon back, and that clocks which
/// run at different rates cannot drift apart by more than a fraction of a millisecond.
const LONGEST_MS: u64 = 2_000;
/// A block is to last so long, or one slot where that is shorter.
const HORIZON_MS: u64 = 500;
/// The next block is asked for so long before this one ends.
const LEAD_MS: u64 = 10;
/// Demand is never measured over less.
const SHORTEST_MEASURE_MS: u64 = 5;
/// The most that is taken ahead.
const LARGEST_BLOCK: u64 = 1_000_000;
/// A request that costs more asks Redis by itself.
pub(super) const LARGEST_COST: u64 = 10_000;

/// A subject of a shared limit, on this node.
pub(super) struct Subject {
    /// The counter's name in Redis.
    key: Box<str>,
    /// What may be spent: see [`Block`].
    block: AtomicU64,
    /// The definition that the block was taken under: after an edit it is not spent.
    limit: AtomicU64,
    shape: AtomicU64,
    /// With no more than this in the block, the next one is asked for.
    low_water: AtomicU64,
    /// Where the block is counted. Only refilling changes it.
    slot: AtomicU64,
    /// Permits that nobody had taken at the last answer.
    left_in_redis: AtomicU64,
    /// When permits come back, in the node's milliseconds.
    resets_at_ms: AtomicU64,
    denial: Denial,
    is_queued: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// What only refilling touches.
#[derive(Default)]
struct Ledger {
    definition: Option<Definition>,
    /// Slots, and permits to give back to them; below 0, to charge.
    owed: SmallVec<[(u64, i64); 2]>,
    waiters: VecDeque<Waiter>,
    is_under_way: bool,
    /// Whether the reconciler has it on its list.
    is_listed: bool,
    /// Of the last refill: what was asked for, what the block held after it, and when.
    wanted: u64,
    left_then: u64,
    settled_at_ms: u64,
}

struct Waiter {
    cost: u64,
    answer: oneshot::Sender<Option<Decision>>,
}

/// What came of trying to spend.
pub(super) enum Spend {
    /// It was spent; the flag says whether the subject should be refilled soon.
    Done(Decision, NextBlock),
    /// Redis refused it a moment ago.
    Denied(Decision),
    /// There is nothing to spend.
    Nothing,
}

/// Whether it is time to ask for the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextBlock {
    /// It is, and nobody has asked yet.
    IsDue,
    /// Not yet.
    CanWait,
}

/// What came of asking for permits where there were none.
pub(super) enum Enrolled {
    /// Somebody else brought some in the meantime.
    Spent(Decision),
    /// An answer will come; none where Redis is away. The flag says whether a refill must be asked for.
    Waits(oneshot::Receiver<Option<Decision>>, Refill),
}

/// Whether a refill is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// By the one who is told so.
    IsNeeded,
    /// It is under way, or asked for.
    WillCome,
}

/// Why a refill is considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Requests want permits, now or soon.
    Demand,
    /// The block may have ended unspent.
    Sweep,
    /// The node goes away: nothing is kept.
    Release,
}

impl Subject {
    pub(super) fn new(key: String) -> Self {
        Self {
            key: key.into_boxed_str(),
            block: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            shape: AtomicU64::new(0),
            low_water: AtomicU64::new(0),
            slot: AtomicU64::new(0),
            left_in_redis: AtomicU64::new(0),
            resets_at_ms: AtomicU64::new(0),
            denial: Denial::default(),
            is_queued: AtomicBool::new(false),
            ledger: Mutex::default(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether nothing is lost with it, but for what others still hold of it.
    pub(super) fn is_idle(&self, now_ms: u64) -> bool {
        self.denial.is_over(now_ms)
            && Block::unpack(self.block.load(Ordering::Relaxed)).permits == 0
    }

    /// Spends from the block; the common case of a leased limit.
    pub(super) fn spend(&self, definition: &Definition, cost: u64, now_ms: u64) -> Spend {
        if self.is_of(definition) {
            let mut word = self.block.load(Ordering::Acquire);
            loop {
                let Block { ends_at_ms, permits } = Block::unpack(word);
                if permits < cost || ends_at_ms <= now_ms {
                    break;
                }
                let rest = Block { ends_at_ms, permits: permits - cost };
                // It is this block's: one that is in its place by now fails the exchange.
                let slot = self.slot.load(Ordering::Acquire);
                match self.block.compare_exchange_weak(
                    word,
                    rest.pack(),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => {
                        return Spend::Done(
                            self.admitted(rest.permits, slot, now_ms),
                            self.look_ahead(rest, now_ms),
                        );
                    }
                    Err(current) => word = current,
                }
            }
        }
        self.denial(definition, cost, now_ms).map_or(Spend::Nothing, Spend::Denied)
    }

    /// Waits for permits, unless there are some by now.
    pub(super) fn enroll(&self, definition: &Definition, cost: u64, now_ms: u64) -> Enrolled {
        let mut ledger = self.ledger();
        if let Spend::Done(decision, _) | Spend::Denied(decision) =
            self.spend(definition, cost, now_ms)
        {
            return Enrolled::Spent(decision);
        }
        ledger.definition = Some(definition.clone());
        let (answer, receiver) = oneshot::channel();
        let is_first = ledger.waiters.is_empty();
        ledger.waiters.push_back(Waiter { cost, answer });
        let refill =
            if is_first && !ledger.is_under_way { Refill::IsNeeded } else { Refill::WillCome };
        Enrolled::Waits(receiver, refill)
    }

    /// Notes what a call that has ended is to be put right by. Whether the reconciler is to be asked for it.
    pub(super) fn owe(&self, settlement: &Settlement<'_>) -> bool {
        let (back, more) = settlement.differences();
        let difference = signed(back).saturating_sub(signed(more));
        let mut ledger = self.ledger();
        ledger.definition = Some(settlement.take.definition.clone());
        ledger.owe(settlement.booked.slot, difference);
        drop(ledger);
        if back > 0 {
            self.denial.forget();
        }
        !self.is_queued.swap(true, Ordering::AcqRel)
    }

    /// Decides on a call; none where none is needed, or one is under way.
    pub(super) fn plan(&self, reason: Reason, now_ms: u64) -> Option<Plan> {
        self.is_queued.store(false, Ordering::Release);
        let mut ledger = self.ledger();
        if ledger.is_under_way {
            return None;
        }
        let definition = ledger.definition.clone()?;
        let block = Block::unpack(self.block.load(Ordering::Acquire));
        if block.permits > 0 && (block.ends_at_ms <= now_ms || reason == Reason::Release) {
            self.take_back(&mut ledger);
        }
        // A request that went away, by its own limit or its client's, needs nothing any more.
        ledger.waiters.retain(|waiter| !waiter.answer.is_closed());
        let need =
            ledger.waiters.iter().fold(0, |sum: u64, waiter| sum.saturating_add(waiter.cost));
        let want = match reason {
            Reason::Demand => ledger.demand(&definition, need, block, now_ms),
            Reason::Sweep | Reason::Release => need,
        };
        if want == 0 && ledger.owed.is_empty() {
            return None;
        }
        ledger.is_under_way = true;
        let fewest = ledger.waiters.iter().map(|waiter| waiter.cost).min().unwrap_or(0);
        let give_back = std::mem::take(&mut ledger.owed);
        Some(Plan { definition, need, want, fewest, give_back, asked_at_ms: now_ms })
    }

    /// Whether it is to be put on the list of those that may hold permits: it is not there yet.
    pub(super) fn lists_itself(&self) -> bool {
        let mut ledger = self.ledger();
        !std::mem::replace(&mut ledger.is_listed, true)
    }

    /// Whether it is to stay on that list: a sweep has something to give back, now or later.
    pub(super) fn stays_listed(&self) -> bool {
        let mut ledger = self.ledger();
        ledger.is_listed = ledger.is_under_way
            || !ledger.owed.is_empty()
            || Block::unpack(self.block.load(Ordering::Acquire)).permits > 0;
        ledger.is_listed
    }

    /// Books what Redis granted, and serves who waits. Returns whether some wait for another call.
    pub(super) fn settle(&self, plan: &Plan, reply: &Reply, now_ms: u64) -> Refill {
        let mut ledger = self.ledger();
        ledger.is_under_way = false;
        let definition = &plan.definition;
        let (slot, shape) = (reply.slot, definition.window.shape());
        let held = self.take_back_unless(&mut ledger, slot, shape);
        let mut permits = reply.granted.saturating_add(held).min(Block::MOST);
        self.slot.store(slot, Ordering::Release);
        self.limit.store(definition.limit, Ordering::Release);
        self.shape.store(shape, Ordering::Release);
        self.left_in_redis.store(reply.left, Ordering::Relaxed);
        self.resets_at_ms.store(now_ms.saturating_add(ceil_millis(reply.reset)), Ordering::Relaxed);

        let slot_left_ms = floor_millis(reply.slot_left) + beyond_slot_ms(&definition.window);
        let ends_at_ms = plan.asked_at_ms + slot_left_ms.min(LONGEST_MS);
        let mut left = reply.left;
        if ends_at_ms <= now_ms && permits > 0 {
            // The answer took longer than its permits last.
            left = left.saturating_add(permits);
            ledger.owe(slot, signed(std::mem::take(&mut permits)));
        }
        let answer = Reply { left, ..*reply };
        let refill = self.serve(&mut ledger, definition, (&answer, now_ms), &mut permits);
        // Near the limit nothing is taken ahead, so that the last permits go where they are used.
        let is_near_limit = reply.granted < plan.want;
        let lead = (plan.want * LEAD_MS / horizon_ms(&definition.window)).saturating_add(1);
        let low_water = if is_near_limit { 0 } else { lead.min(permits / 2) };
        self.low_water.store(low_water, Ordering::Relaxed);
        if plan.want > 0 {
            ledger.wanted = plan.want;
        }
        ledger.left_then = permits;
        ledger.settled_at_ms = now_ms;
        self.block.store(Block { ends_at_ms, permits }.pack(), Ordering::Release);
        refill
    }

    /// Gives permits to who waits, the first first; refuses where Redis has none either.
    fn serve(
        &self,
        ledger: &mut Ledger,
        definition: &Definition,
        answer: (&Reply, u64),
        permits: &mut u64,
    ) -> Refill {
        let (reply, now_ms) = answer;
        let mut refill = Refill::WillCome;
        for waiter in std::mem::take(&mut ledger.waiters) {
            if waiter.cost <= *permits {
                let decision = self.admitted(*permits - waiter.cost, reply.slot, now_ms);
                // A request that went away leaves its permits to the next.
                if waiter.answer.send(Some(decision)).is_ok() {
                    *permits -= waiter.cost;
                }
            } else if waiter.cost > reply.left {
                let decision = self.deny(definition, waiter.cost, reply, now_ms);
                // A request that went away needs no answer.
                let _ = waiter.answer.send(Some(decision));
            } else {
                ledger.waiters.push_back(waiter);
                refill = Refill::IsNeeded;
            }
        }
        refill
    }

    /// Tells who waits that Redis is away. What was to be given back lapses: whether it was is not known.
    pub(super) fn fail(&self) {
        let mut ledger = self.ledger();
        ledger.is_under_way = false;
        for waiter in std::mem::take(&mut ledger.waiters) {
            let _ = waiter.answer.send(None);
        }
    }

    fn is_of(&self, definition: &Definition) -> bool {
        self.limit.load(Ordering::Acquire) == definition.limit
            && self.shape.load(Ordering::Acquire) == definition.window.shape()
    }

    fn admitted(&self, permits: u64, slot: u64, now_ms: u64) -> Decision {
        Decision {
            is_admitted: true,
            remaining: self.left_in_redis.load(Ordering::Relaxed).saturating_add(permits),
            reset: Duration::from_millis(
                self.resets_at_ms.load(Ordering::Relaxed).saturating_sub(now_ms),
            ),
            booked: Some(Booked { slot, is_shared: true }),
        }
    }

    fn look_ahead(&self, rest: Block, now_ms: u64) -> NextBlock {
        let low_water = self.low_water.load(Ordering::Relaxed);
        // Near the limit (no low water) the block's end is waited for, too.
        let is_due = low_water > 0
            && (rest.permits <= low_water || rest.ends_at_ms <= now_ms.saturating_add(LEAD_MS));
        if is_due && !self.is_queued.swap(true, Ordering::AcqRel) {
            NextBlock::IsDue
        } else {
            NextBlock::CanWait
        }
    }

    /// Takes the whole block away from who spends, to give it back.
    fn take_back(&self, ledger: &mut Ledger) {
        let block = Block::unpack(self.block.swap(Block::NONE.pack(), Ordering::AcqRel));
        if block.permits > 0 {
            ledger.owe(self.slot.load(Ordering::Acquire), signed(block.permits));
        }
    }

    /// Takes the block away for good, unless it is counted in this slot: then it is returned, to be
    /// spent together with the next.
    fn take_back_unless(&self, ledger: &mut Ledger, slot: u64, shape: u64) -> u64 {
        let block = Block::unpack(self.block.swap(Block::NONE.pack(), Ordering::AcqRel));
        if self.shape.load(Ordering::Acquire) != shape {
            // Slots of another window: their numbers mean nothing any more, so the permits lapse; what is charged counts for now.
            ledger.owed.retain(|(_, permits)| *permits < 0);
            return 0;
        }
        let counted_in = self.slot.load(Ordering::Acquire);
        if counted_in == slot {
            return block.permits;
        }
        if block.permits > 0 {
            ledger.owe(counted_in, signed(block.permits));
        }
        0
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing in here panics half-way; what a ledger holds is whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Adds to what is to be given back to a slot; below 0, to be charged.
    fn owe(&mut self, slot: u64, permits: i64) {
        match self.owed.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, owed)) => *owed = owed.saturating_add(permits),
            None => self.owed.push((slot, permits)),
        }
    }

    /// What the next block should hold for the demand since the last one to last for a horizon.
    /// Grows by at most four times a step, so that a burst does not take what others need.
    fn demand(&self, definition: &Definition, need: u64, block: Block, now_ms: u64) -> u64 {
        let spent = self.left_then.saturating_sub(block.permits).saturating_add(need);
        let elapsed_ms = now_ms.saturating_sub(self.settled_at_ms).max(SHORTEST_MEASURE_MS);
        let rate = spent.saturating_mul(horizon_ms(&definition.window)) / elapsed_ms;
        let most = self.wanted.saturating_add(need).saturating_mul(4).min(LARGEST_BLOCK);
        let held =
            if block.ends_at_ms > now_ms.saturating_add(LEAD_MS) { block.permits } else { 0 };
        rate.min(most).saturating_sub(held).max(need)
    }
}

/// How long a block is to last.
fn horizon_ms(window: &Window) -> u64 {
    match window {
        Window::Rolling(length) => (slot_micros(*length) / 1_000).clamp(1, HORIZON_MS),
        Window::Calendar(_) => HORIZON_MS,
    }
}

/// How long a block may be spent after the slot that it is counted in.
fn beyond_slot_ms(window: &Window) -> u64 {
    match window {
        Window::Rolling(length) => slot_micros(*length) / 1_000,
        // What is counted in one window is spent in that one.
        Window::Calendar(_) => 0,
    }
}

/// Permits as a number that can be below 0.
fn signed(permits: u64) -> i64 {
    i64::try_from(permits).unwrap_or(i64::MAX)
}

fn floor_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 32)
}

fn ceil_millis(duration: Duration) -> u64 {
    floor_millis(duration).saturating_add(1)
}

#[cfg(test)]
mod tests;
