//! Audio buffers shared by all legs: memory for those who speak, not for all who listen.

use crossbeam_queue::ArrayQueue;

use crate::call::Buffers;

/// A bounded store of buffers, each with room for the longest segment.
#[derive(Debug)]
pub struct BufferPool {
    spare: ArrayQueue<Vec<i16>>,
    capacity: usize,
}

impl BufferPool {
    /// Keeps at most `spare_max` unused buffers of `capacity` samples.
    #[must_use]
    pub fn new(spare_max: usize, capacity: usize) -> Self {
        Self { spare: ArrayQueue::new(spare_max.max(1)), capacity }
    }
}

impl Buffers for BufferPool {
    fn take(&self) -> Vec<i16> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.capacity))
    }

    fn give(&self, mut buffer: Vec<i16>) {
        if buffer.capacity() >= self.capacity {
            buffer.clear();
            // Full: enough are kept already.
            let _ = self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_no_more_than_the_bound_are_kept() {
        let pool = BufferPool::new(2, 10);
        let mut used: Vec<_> = (0..3).map(|_| pool.take()).collect();
        used[0].push(7);
        let addresses: Vec<_> = used.iter().map(|b| b.as_ptr()).collect();
        used.into_iter().for_each(|b| pool.give(b));
        assert_eq!(pool.spare.len(), 2);
        let again = pool.take();
        assert!(again.is_empty() && addresses.contains(&again.as_ptr()));
        pool.give(Vec::new());
        assert_eq!(pool.spare.len(), 1, "a buffer that is too small was kept");
    }
}
