//! A client of the modelled server, and what goes on on its connection.

use super::block::Block;

/// A client and its connection, if that is open.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Counts its connections: what was entered for an earlier one is void.
    pub(super) serial: u32,
    pub(super) exchange: Exchange,
    /// Whether the connection is to be closed after the exchange.
    pub(super) closing: bool,
    /// Where it stands in the list of idle clients.
    pub(super) idle_at: usize,
    /// The connection's objects.
    pub(super) blocks: Vec<Block>,
}

/// What goes on on a connection.
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
