//! Which event goes to the sink next, when some wait in memory and others on disk.
//!
//! Of one record key, events go in the order they came, wherever they wait: one that
//! comes while others of its key are on disk goes to the disk too, and one on disk does
//! not go before those of its key that came to memory earlier. Different keys do not
//! wait for each other; while both places have something to send, the disk gets a fixed
//! share of the turns. So neither starves.
//!
//! Invariant: pure. Keys are hashes; two keys with one hash only wait for each other.

use std::collections::HashMap;

/// Where an event waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// In memory.
    Live,
    /// On disk only.
    Backlog,
}

/// Counts what waits, by key. Events are counted from [`Order::arrive`] to [`Order::left`].
#[derive(Debug, Default)]
pub(super) struct Order {
    live: HashMap<u64, usize>,
    backlog: HashMap<u64, usize>,
    live_len: usize,
    backlog_len: usize,
    /// Turns in a hundred that go to the disk while memory has something too.
    share: u32,
    credit: u32,
}

impl Order {
    /// With nothing waiting; `share` is 1 to 99.
    pub(super) fn new(share: u32) -> Self {
        Self { share, ..Self::default() }
    }

    /// An event of `key` came: where it is to wait, given the events that memory may hold.
    pub(super) fn arrive(&mut self, key: u64, live_max: usize) -> Path {
        let path = if self.holds(key) || self.live_len >= live_max { Path::Backlog } else { Path::Live };
        self.count(key, path);
        path
    }

    /// An event of an earlier process was found on disk.
    pub(super) fn recovered(&mut self, key: u64) {
        self.count(key, Path::Backlog);
    }

    fn count(&mut self, key: u64, path: Path) {
        let (waiting, len) = match path {
            Path::Live => (&mut self.live, &mut self.live_len),
            Path::Backlog => (&mut self.backlog, &mut self.backlog_len),
        };
        *waiting.entry(key).or_default() += 1;
        *len += 1;
    }

    /// An event of `key` waits no longer: the sink has it, or it is lost.
    pub(super) fn left(&mut self, key: u64, path: Path) {
        let (waiting, len) = match path {
            Path::Live => (&mut self.live, &mut self.live_len),
            Path::Backlog => (&mut self.backlog, &mut self.backlog_len),
        };
        if let Some(count) = waiting.get_mut(&key) {
            *count -= 1;
            *len -= 1;
            if *count == 0 {
                waiting.remove(&key);
            }
        }
    }

    /// Whether events of `key` wait on disk, so that others of it must not pass.
    pub(super) fn holds(&self, key: u64) -> bool {
        self.backlog.contains_key(&key)
    }

    /// Events on disk that wait for their turn.
    pub(super) fn backlog_len(&self) -> usize {
        self.backlog_len
    }

    /// Whose turn it is, given whether memory has something and the key of the first event on disk.
    pub(super) fn choose(&mut self, live: bool, head: Option<u64>) -> Option<Path> {
        match (live, head) {
            (true, None) => Some(Path::Live),
            (true, Some(key)) if self.live.contains_key(&key) => Some(Path::Live),
            (true, Some(_)) => {
                self.credit += self.share;
                let due = self.credit >= 100;
                self.credit -= if due { 100 } else { 0 };
                Some(if due { Path::Backlog } else { Path::Live })
            }
            // What memory still has of this key is on its way there.
            (false, Some(key)) if self.live.contains_key(&key) => None,
            (false, Some(_)) => Some(Path::Backlog),
            (false, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Memory and disk as the lane has them: first in, first out.
    struct Model {
        order: Order,
        memory: VecDeque<(u64, u64)>,
        disk: VecDeque<(u64, u64)>,
        live_max: usize,
        sent: Vec<(u64, u64)>,
        came: u64,
    }

    impl Model {
        fn new(share: u32, live_max: usize, recovered: &[u64]) -> Self {
            let mut model = Self {
                order: Order::new(share),
                memory: VecDeque::new(),
                disk: VecDeque::new(),
                live_max,
                sent: Vec::new(),
                came: 0,
            };
            for key in recovered {
                model.came += 1;
                model.order.recovered(*key);
                model.disk.push_back((*key, model.came));
            }
            model
        }

        fn arrive(&mut self, key: u64) {
            self.came += 1;
            match self.order.arrive(key, self.live_max) {
                Path::Live => self.memory.push_back((key, self.came)),
                Path::Backlog => self.disk.push_back((key, self.came)),
            }
        }

        fn send(&mut self) -> Option<Path> {
            let path = self.order.choose(!self.memory.is_empty(), self.disk.front().map(|(key, _)| *key))?;
            let queue = if path == Path::Live { &mut self.memory } else { &mut self.disk };
            let event = queue.pop_front().unwrap();
            self.order.left(event.0, path);
            self.sent.push(event);
            Some(path)
        }
    }

    proptest! {
        #[test]
        fn of_one_key_events_go_in_the_order_they_came_and_all_go(
            steps in proptest::collection::vec(prop_oneof![(0..5_u64).prop_map(Some), Just(None)], 0..200),
            recovered in proptest::collection::vec(0..5_u64, 0..20),
            share in 1..=99_u32, live_max in 0..6_usize,
        ) {
            let mut model = Model::new(share, live_max, &recovered);
            for step in steps {
                match step {
                    Some(key) => model.arrive(key),
                    None => { model.send(); }
                }
            }
            while model.send().is_some() {}
            prop_assert!(model.memory.is_empty() && model.disk.is_empty(), "something waits for ever");
            prop_assert_eq!(model.sent.len() as u64, model.came);
            prop_assert_eq!((model.order.live_len, model.order.backlog_len), (0, 0));
            prop_assert!(model.order.live.is_empty() && model.order.backlog.is_empty());
            for key in 0..5 {
                let of_key: Vec<_> = model.sent.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
                prop_assert!(of_key.is_sorted(), "key {} went in the order {:?}", key, of_key);
            }
        }

        #[test]
        fn neither_place_starves(share in 1..=99_u32) {
            // A thousand of one key on disk; another key's events keep coming.
            let mut model = Model::new(share, 10, &[1; 1000]);
            let mut turns = [0_u32; 2];
            for _ in 0..400 {
                if model.memory.is_empty() {
                    model.arrive(2);
                }
                match model.send() {
                    Some(Path::Live) => turns[0] += 1,
                    Some(Path::Backlog) => turns[1] += 1,
                    None => prop_assert!(false, "nobody's turn"),
                }
            }
            prop_assert_eq!(turns, [4 * (100 - share), 4 * share]);
        }
    }

    #[test]
    fn an_event_whose_key_is_on_disk_goes_there_and_others_do_not() {
        let mut order = Order::new(50);
        order.recovered(1);
        assert_eq!((order.arrive(1, 10), order.arrive(2, 10)), (Path::Backlog, Path::Live));
        order.left(1, Path::Backlog);
        assert_eq!(order.arrive(1, 10), Path::Backlog, "one of its key is there still");
        order.left(1, Path::Backlog);
        order.left(1, Path::Backlog);
        assert_eq!(order.arrive(1, 10), Path::Live);
    }
}
