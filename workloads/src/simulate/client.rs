//! A client of the modelled server, and what its connection is doing.

use super::block::Block;

/// A client and its connection, if that is open.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Counts its connections: anything scheduled for an earlier one is void.
    pub(super) serial: u32,
    pub(super) exchange: Exchange,
    /// When the connection's lifetime ends.
    pub(super) end_ns: u64,
    /// Whether the connection is to be closed after the exchange.
    pub(super) closing: bool,
    /// Its position in the list of idle clients.
    pub(super) idle_at: usize,
    /// The connection's objects.
    pub(super) blocks: Vec<Block>,
}

/// What a connection is doing.
#[derive(Debug, Default)]
pub(super) enum Exchange {
    /// It is closed.
    #[default]
    Closed,
    /// Nothing: the client thinks.
    Idle,
    /// A request comes in.
    Receiving { payload_bytes: u64, received_bytes: u64, piece_bytes: u64, buffer: Option<Block> },
    /// The request waits for a worker, or one handles it.
    Handling,
    /// The response goes out.
    Sending { response: Block, sent_bytes: u64 },
}
