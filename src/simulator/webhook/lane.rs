//! One lane a leg: whose turn it is to be sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Lanes remembered; over this, those with nothing to send are forgotten, and their legs
/// are counted from 0 again.
const LANES_MAX: usize = 20_000;

/// The lanes of all legs.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<Box<str>, Lane>>);

#[derive(Debug)]
struct Lane {
    /// Ends when the last that joined has gone.
    tail: Option<oneshot::Receiver<Infallible>>,
    next: u64,
    waiting: usize,
    /// One more than the highest number that has gone.
    gone: watch::Sender<u64>,
    /// Nothing more is to come.
    over: bool,
}

/// A place in a leg's lane. Gives its turn away when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    lanes: Arc<Lanes>,
    leg: Box<str>,
    number: u64,
    before: Option<oneshot::Receiver<Infallible>>,
    me: Option<oneshot::Sender<Infallible>>,
    gone: watch::Receiver<u64>,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next place; `last` says that no other is to follow, in good order.
    pub(super) fn join(self: &Arc<Self>, leg: &str, last: bool) -> Turn {
        let mut lanes = self.lock();
        if lanes.len() >= LANES_MAX && !lanes.contains_key(leg) {
            lanes.retain(|_, lane| lane.waiting > 0);
        }
        let lane = lanes.entry(leg.into()).or_insert_with(|| Lane {
            tail: None,
            next: 0,
            waiting: 0,
            gone: watch::Sender::new(0),
            over: false,
        });
        let (me, after) = oneshot::channel();
        let number = lane.next;
        lane.next += 1;
        lane.waiting += 1;
        lane.over |= last;
        let before = lane.tail.replace(after);
        let gone = lane.gone.subscribe();
        drop(lanes);
        Turn { lanes: Arc::clone(self), leg: leg.into(), number, before, me: Some(me), gone }
    }
}

impl Turn {
    /// A number for the leg, the same in every run with the same id.
    pub(super) fn leg(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.leg.as_bytes());
        hasher.finish()
    }

    /// The number within the leg, from 0.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until all that joined before have gone.
    pub(super) async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: it ends when the one before does.
            let _ = before.await;
            self.before = None;
        }
    }

    /// Gives the turn away, and waits until the next has gone, or for `longest`.
    pub(super) async fn let_next_pass(&mut self, longest: Duration) {
        self.me = None;
        let next = self.number + 1;
        // Either way it is our turn now.
        let _ = timeout(longest, self.gone.wait_for(|gone| *gone > next)).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&self.leg) {
            lane.waiting = lane.waiting.saturating_sub(1);
            lane.gone.send_modify(|gone| *gone = (*gone).max(self.number + 1));
            if lane.over && lane.waiting == 0 {
                lanes.remove(&self.leg);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_lanes_are_forgotten() {
        let lanes = Arc::<Lanes>::default();
        let mut first = lanes.join("a", false);
        let mut second = lanes.join("a", true);
        let mut other = lanes.join("b", false);
        assert_eq!((first.number(), second.number(), other.number()), (0, 1, 0));
        first.come().await;
        other.come().await;
        assert!(timeout(Duration::from_millis(1), second.come()).await.is_err(), "it overtook the first");
        drop(first);
        second.come().await;
        drop(second);
        assert_eq!(lanes.lock().keys().map(|leg| &**leg).collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn one_lets_the_next_pass() {
        let lanes = Arc::<Lanes>::default();
        let (mut first, mut second) = (lanes.join("a", false), lanes.join("a", false));
        first.come().await;
        let late = tokio::spawn(async move {
            first.let_next_pass(Duration::from_secs(60)).await;
            first
        });
        second.come().await;
        assert!(!late.is_finished(), "it did not wait for the next");
        drop(second);
        late.await.unwrap();
    }
}
