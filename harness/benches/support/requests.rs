//! Requests to a server, as benchmarks serve them: how large each is, and how its calls follow from that.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a receive buffer has at first.
pub(crate) const RECEIVE_BYTES: usize = 4 << 10;
/// What a response has at first; it doubles until all is written.
pub(crate) const RESPONSE_BYTES: usize = 512;
/// The sizes of parsed objects, in turn.
pub(crate) const OBJECT_BYTES: [usize; 8] = [24, 56, 32, 120, 64, 16, 200, 480];
/// Objects that one request is parsed into, at most.
pub(crate) const MOST_OBJECTS: usize = 400;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Bytes that are received.
    pub(crate) payload_bytes: usize,
    /// Objects that they are parsed into.
    pub(crate) objects: usize,
    /// Bytes that are sent back.
    pub(crate) response_bytes: usize,
}

/// `count` requests of 1 KiB to 800 KiB, most of them about 28 KiB; the same at every call.
pub(crate) fn make_requests(count: usize) -> Vec<Request> {
    let mut random = ChaCha8Rng::seed_from_u64(25);
    let mut make = || {
        // The mean of four draws is about normal, so that its power is about lognormal.
        let draw = (0..4).map(|_| random.random_range(0.0..1.0)).sum::<f64>() / 4.0;
        let payload_bytes = (1024.0 * (draw * 800f64.log2()).exp2()) as usize;
        Request {
            payload_bytes,
            objects: (payload_bytes / 128).clamp(8, MOST_OBJECTS),
            response_bytes: (payload_bytes / 8).max(RESPONSE_BYTES),
        }
    };
    (0..count).map(|_| make()).collect()
}
