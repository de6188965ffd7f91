//! Events that wait in memory: two queues that are emptied in the order events came.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, Lane};

/// An event and its place in the order, over both queues.
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) event: Arc<Event>,
    /// Whether the spool has it too.
    pub(super) written: bool,
}

/// A durable and an ephemeral queue.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) durable: VecDeque<Numbered>,
    pub(super) ephemeral: VecDeque<Numbered>,
}

impl Queues {
    /// Puts an event at the end of the queue of its lane.
    pub(super) fn push(&mut self, number: u64, event: Arc<Event>, written: bool) {
        let queue = match event.lane() {
            Lane::Durable => &mut self.durable,
            Lane::Ephemeral => &mut self.ephemeral,
        };
        queue.push_back(Numbered { number, event, written });
    }

    /// The event that came first; a leg's events leave in the order they were written.
    pub(super) fn pop(&mut self) -> Option<Numbered> {
        let number = |queue: &VecDeque<Numbered>| queue.front().map_or(u64::MAX, |first| first.number);
        if number(&self.durable) <= number(&self.ephemeral) {
            self.durable.pop_front()
        } else {
            self.ephemeral.pop_front()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.durable.is_empty() && self.ephemeral.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::lane::tests::{durable, ephemeral};

    #[test]
    fn events_of_both_lanes_leave_in_the_order_they_came() {
        let mut queues = Queues::default();
        for (number, event) in [durable(1), ephemeral(1), durable(2), ephemeral(2)].into_iter().enumerate() {
            queues.push(number as u64, event, false);
        }
        let left: Vec<_> = std::iter::from_fn(|| queues.pop()).map(|waiting| waiting.event.id()).collect();
        assert_eq!(left, [durable(1), ephemeral(1), durable(2), ephemeral(2)].map(|event| event.id()));
    }
}
