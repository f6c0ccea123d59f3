//! Buffers for frames that must wait, used again and again.
//!
//! A frame that a receiver cannot take at once is copied into one of these. In steady state every
//! buffer comes from here and goes back, so that waiting costs a copy and no allocation.

/// Free buffers in four sizes. Frames up to 1536 bytes are nearly all there are; the last size holds
/// the largest frame that the switch was told to carry.
#[derive(Debug)]
pub struct FramePool {
    free: [Vec<Vec<u8>>; 4],
    /// Bytes of all free buffers.
    idle: usize,
    sizes: [usize; 4],
}

impl FramePool {
    /// An empty pool for frames of up to `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        FramePool {
            free: Default::default(),
            idle: 0,
            sizes: [SIZES[0], SIZES[1], SIZES[2], max_frame.max(SIZES[2])],
        }
    }

    /// A buffer that holds a copy of `frame`.
    pub fn copy_of(&mut self, frame: &[u8]) -> Vec<u8> {
        let class = self.sizes.iter().position(|&size| frame.len() <= size);
        let mut buffer = match class {
            Some(class) => match self.free[class].pop() {
                Some(buffer) => {
                    self.idle -= buffer.capacity();
                    buffer
                }
                None => Vec::with_capacity(self.sizes[class]),
            },
            None => Vec::new(),
        };
        buffer.extend_from_slice(frame);
        buffer
    }

    /// Takes back a buffer that [`FramePool::copy_of`] gave; freed if enough lie idle.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        let Some(class) = self.sizes.iter().position(|&size| buffer.capacity() == size) else {
            return;
        };
        if self.idle + buffer.capacity() <= MAX_IDLE_BYTES {
            buffer.clear();
            self.idle += buffer.capacity();
            self.free[class].push(buffer);
        }
    }
}

/// A game's or an acknowledgement's frame; a frame of MTU 1500 with two tags; and one size so that
/// what is a little longer does not take the room of the longest.
const SIZES: [usize; 3] = [256, 1536, 4096];

/// Bytes of free buffers that are kept: what a flood of full frames to some forty ports leaves, each
/// of which fills its queue up to the mark and empties it again.
const MAX_IDLE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_used_again() {
        let mut pool = FramePool::new(9018);
        for len in [14, 256, 257, 1536, 1537, 4097, 9018] {
            let first = pool.copy_of(&vec![7; len]);
            assert_eq!(first, vec![7; len]);
            let place = first.as_ptr();
            pool.give_back(first);
            let second = pool.copy_of(&vec![8; len]);
            assert_eq!(second, vec![8; len]);
            assert_eq!(second.as_ptr(), place, "{len} bytes");
        }
    }

    #[test]
    fn idle_buffers_are_bounded() {
        let mut pool = FramePool::new(9018);
        let many: Vec<_> = (0..10_000).map(|_| pool.copy_of(&[0; 1000])).collect();
        for buffer in many {
            pool.give_back(buffer);
        }
        let idle: usize = pool.free.iter().flatten().map(Vec::capacity).sum();
        assert!(idle <= MAX_IDLE_BYTES, "{idle} bytes idle");
        assert_eq!(idle, pool.idle);
        pool.copy_of(&[0; 1000]);
        assert_eq!(idle - 1536, pool.idle);
    }
}
