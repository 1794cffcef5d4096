//! What the model did, counted as it ran: to check its laws, and for reports.

/// Totals of a simulation so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that clients began to send.
    pub requests: u64,
    /// Arrivals of an open loop that found no idle connection.
    pub refused: u64,
    /// Requests whose whole response was sent.
    pub completed: u64,
    /// Payload bytes of all requests.
    pub payload_bytes: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Threads of the pool that were started.
    pub threads_started: u64,
    /// Requests that a worker started to handle.
    pub handled: u64,
    /// Sum of the times that those requests waited in the queue.
    pub waited_ns: u128,
    /// Sum of the times that workers take for the requests that they start.
    pub served_ns: u128,
    /// Requests from their first byte to the last of their response, over time.
    pub in_flight: Level,
    /// Requests in the queue, over time.
    pub queue: Level,
    /// Workers that handle a request, over time.
    pub busy: Level,
    /// Open connections, over time.
    pub open: Level,
}

/// What an interpreter's layers did, if the model has an interpreter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeapCounts {
    /// Arenas of pools that were taken.
    pub arenas_taken: u64,
    /// Arenas of pools that were given back.
    pub arenas_freed: u64,
    /// Objects that became unreachable and waited for a collection.
    pub buried: u64,
    /// Of those, the ones that a collection freed.
    pub collected: u64,
    /// Collections, by the oldest generation collected.
    pub collections: [u64; 3],
}

/// A number that changes, and its integral over virtual time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    value: u64,
    highest: u64,
    since_ns: u64,
    integral_ns: u128,
}

impl Level {
    /// Sets the number from `now_ns` on.
    pub(super) fn set(&mut self, now_ns: u64, value: u64) {
        self.integral_ns += u128::from(self.value) * u128::from(now_ns - self.since_ns);
        self.since_ns = now_ns;
        self.value = value;
        self.highest = self.highest.max(value);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Its largest value so far.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Its integral from time 0 to `now_ns`.
    pub fn integral_ns(&self, now_ns: u64) -> u128 {
        self.integral_ns + u128::from(self.value) * u128::from(now_ns.saturating_sub(self.since_ns))
    }

    /// Its mean from time 0 to `now_ns`.
    pub fn mean(&self, now_ns: u64) -> f64 {
        self.integral_ns(now_ns) as f64 / now_ns.max(1) as f64
    }
}
