//! Threads that act in turn: each does a run of operations, then it is the next thread's turn.
//!
//! This is the granularity at which concurrent threads interleave in a pattern's trace. A replay in the
//! trace's own order hands over a baton at each change of thread, so a run is tens of events long.

/// Members of a round, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Round<L> {
    lanes: Vec<L>,
    next: usize,
}

impl<L> Round<L> {
    /// A round that starts with the first of `lanes`.
    pub(crate) fn new(lanes: Vec<L>) -> Round<L> {
        Round { lanes, next: 0 }
    }

    /// Lets the next member act; it leaves the round if it reports that it is done (false). Returns whether
    /// any is left.
    pub(crate) fn turn(&mut self, act: impl FnOnce(&mut L) -> bool) -> bool {
        let Some(lane) = self.lanes.get_mut(self.next) else { return false };
        if act(lane) {
            self.next += 1;
        } else {
            self.lanes.remove(self.next);
        }
        if self.next >= self.lanes.len() {
            self.next = 0;
        }
        !self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_acts_in_turn_until_it_is_done() {
        let mut round = Round::new(vec![('a', 1), ('b', 3), ('c', 2)]);
        let mut order = String::new();
        while round.turn(|(name, left)| {
            order.push(*name);
            *left -= 1;
            *left > 0
        }) {}
        assert_eq!(order, "abcbcb");
        assert!(!Round::<u8>::new(Vec::new()).turn(|_| true));
    }
}
