//! Which slot an object gets: as few slots as possible, and never one that another thread could still be
//! reading.
//!
//! In strict order a slot is free as soon as its object is. In causal order the threads of two
//! windows run side by side, so a slot freed by one thread in window `w` goes to that thread at once
//! (its own order protects it) and to everybody only in window `w + 2`, when `w` is complete.

use std::collections::VecDeque;

/// Hands out slots and takes them back.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Free for anybody.
    free: Vec<u32>,
    /// Freed in the window with that number; free for anybody two windows later.
    aging: VecDeque<(u64, Vec<u32>)>,
    /// Empty vectors to use again.
    spare: Vec<Vec<u32>>,
    /// Slots ever made.
    count: u32,
}

impl Slots {
    /// How many slots the program needs.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// A slot for an object of a thread whose own freed slots of this window are `own`; none when four
    /// billion objects are live.
    pub(super) fn take(&mut self, own: &mut Vec<u32>) -> Option<u32> {
        if let Some(slot) = own.pop().or_else(|| self.free.pop()) {
            return Some(slot);
        }
        let slot = self.count;
        self.count = self.count.checked_add(1)?;
        Some(slot)
    }

    /// The slot is free for anybody at once (strict order).
    pub(super) fn give(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Window `window` closed; its threads freed these slots and did not take them again.
    pub(super) fn age(&mut self, window: u64, own: &mut Vec<u32>) {
        if own.is_empty() {
            return;
        }
        match self.aging.back_mut() {
            Some((last, slots)) if *last == window => slots.append(own),
            _ => {
                let mut slots = self.spare.pop().unwrap_or_default();
                slots.append(own);
                self.aging.push_back((window, slots));
            }
        }
    }

    /// Window `window` begins: slots of windows that are complete by then become free for anybody.
    pub(super) fn begin_window(&mut self, window: u64) {
        while let Some((freed, _)) = self.aging.front()
            && freed + 2 <= window
            && let Some((_, mut slots)) = self.aging.pop_front()
        {
            self.free.append(&mut slots);
            self.spare.push(slots);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_freed_in_a_window_is_anybodys_two_windows_later() {
        let mut slots = Slots::default();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert_eq!(slots.take(&mut one), Some(0));
        one.push(0);
        assert_eq!(slots.take(&mut other), Some(1), "slot 0 is the first thread's own");
        slots.age(7, &mut one);
        slots.begin_window(8);
        assert_eq!(slots.take(&mut other), Some(2));
        slots.begin_window(9);
        assert_eq!(slots.take(&mut other), Some(0));
        assert_eq!(slots.count(), 3);
    }

    #[test]
    fn a_thread_takes_its_own_freed_slot_first() {
        let mut slots = Slots::default();
        let mut own = vec![];
        let slot = slots.take(&mut own).unwrap();
        own.push(slot);
        assert_eq!(slots.take(&mut own), Some(slot));
    }
}
