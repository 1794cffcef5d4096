//! The event loop's side of the modelled server: connections, requests coming in, responses going out.
//!
//! Thread 0 makes all calls here. A worker frees what it allocates for a request, and the other way round for
//! the response.

use super::block::Block;
use super::client::Exchange;
use super::definition::Process;
use super::distribution::Shape;
use super::request::grown;
use super::server::{Actor, LOOP, Server};

impl Server {
    /// A client connects.
    pub(super) fn open(&mut self, index: u32) -> Option<u64> {
        if self.finishing {
            return None;
        }
        let plan = &self.definition.connection;
        let client = &mut self.clients[index as usize];
        for _ in 0..plan.objects {
            let size = self.tables.connection.draw(&mut self.randoms.objects);
            client.blocks.push(self.heap.malloc(LOOP, size));
        }
        client.blocks.push(self.heap.malloc(LOOP, plan.buffer_bytes));
        client.serial = client.serial.wrapping_add(1);
        client.end_ns = self.now_ns.saturating_add(plan.lifetime.draw(&mut self.randoms.connections));
        self.schedule.enter(client.end_ns, Actor::Expire(index, client.serial));
        self.counts.opened += 1;
        self.count_open();
        self.become_idle(index);
        None
    }

    /// The end of a connection's life, unless it was closed before.
    pub(super) fn expire(&mut self, index: u32, serial: u32) -> Option<u64> {
        if self.clients[index as usize].serial == serial {
            self.close_when_idle(index);
        }
        None
    }

    /// Closes the connection of client `index` now, or after the exchange in progress.
    pub(super) fn close_when_idle(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        match client.exchange {
            Exchange::Closed => {}
            Exchange::Idle => {
                self.leave_idle(index);
                self.close(index);
            }
            _ => client.closing = true,
        }
    }

    fn close(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        for block in client.blocks.drain(..) {
            self.heap.free(LOOP, block);
        }
        client.serial = client.serial.wrapping_add(1);
        client.exchange = Exchange::Closed;
        client.closing = false;
        self.counts.closed += 1;
        self.count_open();
        if !self.finishing {
            let after_ns = self.definition.connection.reconnect.draw(&mut self.randoms.connections);
            self.schedule.enter(self.now_ns.saturating_add(after_ns), Actor::Open(index));
        }
    }

    fn count_open(&mut self) {
        self.counts.open.set(self.now_ns, self.counts.opened - self.counts.closed);
    }

    fn count_in_flight(&mut self) {
        self.counts.in_flight.set(self.now_ns, self.counts.requests - self.counts.completed);
    }

    /// The connection has nothing in progress; in a closed loop its client starts to think.
    fn become_idle(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.exchange = Exchange::Idle;
        client.idle_at = self.idle.len();
        self.idle.push(index);
        let (serial, end_ns) = (client.serial, client.end_ns);
        if self.definition.arrivals.process == Process::Closed
            && let Some(wait_ns) = self.draw_think(end_ns)
            && let Some(time_ns) = self.load.after(self.now_ns, wait_ns)
        {
            self.schedule.enter(time_ns, Actor::Send(index, serial));
        }
    }

    /// The load that passes before a client's next simulated request; none if its connection closes earlier, at
    /// `end_ns`.
    ///
    /// In a thinned load a client thinks before each request, and each is simulated with the same probability: a
    /// reconnect cuts off one think, as it does in the whole load. The sum of these exponential thinks is itself
    /// exponential, so one draw, which the load clock stretches, stands for all.
    fn draw_think(&mut self, end_ns: u64) -> Option<f64> {
        let think = &self.definition.arrivals.think;
        let random = &mut self.randoms.arrivals;
        let thinned = self.definition.thinned;
        if thinned == 1.0 || think.shape == Shape::Exponential {
            return Some(think.draw(random) as f64);
        }
        let most = self.load.most_between(self.now_ns, end_ns);
        let mut sum_ns = 0.0;
        while sum_ns <= most {
            sum_ns += think.draw(random) as f64 / thinned;
            if random.chance(1.0 / thinned) {
                return Some(sum_ns);
            }
        }
        None
    }

    fn leave_idle(&mut self, index: u32) {
        let at = self.clients[index as usize].idle_at;
        self.idle.swap_remove(at);
        if let Some(moved) = self.idle.get(at) {
            self.clients[*moved as usize].idle_at = at;
        }
    }

    /// A client sends after thinking, unless its connection was closed meanwhile.
    pub(super) fn send(&mut self, index: u32, serial: u32) -> Option<u64> {
        if self.clients[index as usize].serial == serial && !self.finishing {
            self.begin_request(index);
        }
        None
    }

    /// An arrival of the open loop, at a random idle connection.
    pub(super) fn arrive(&mut self) -> Option<u64> {
        if self.finishing {
            return None;
        }
        if self.idle.is_empty() {
            self.counts.refused += 1;
        } else {
            let at = self.randoms.payloads.below(self.idle.len() as u64) as usize;
            self.begin_request(self.idle[at]);
        }
        self.enter_arrival();
        None
    }

    /// Schedules the next arrival of the open loop.
    pub(super) fn enter_arrival(&mut self) {
        let gap_ns = self.randoms.arrivals.exponential() / self.definition.arrivals.rate_per_s * 1e9;
        if let Some(time_ns) = self.load.after(self.now_ns, gap_ns) {
            self.schedule.enter(time_ns, Actor::Arrive);
        }
    }

    fn begin_request(&mut self, index: u32) {
        self.leave_idle(index);
        let payload_bytes = self.definition.payload.draw(&mut self.randoms.payloads, self.payload_factor);
        self.counts.requests += 1;
        self.count_in_flight();
        self.counts.payload_bytes += payload_bytes;
        let piece_bytes = self.draw_piece(payload_bytes);
        self.clients[index as usize].exchange =
            Exchange::Receiving { payload_bytes, received_bytes: 0, piece_bytes, buffer: None };
        self.schedule.enter(self.now_ns.saturating_add(self.transfer_ns(piece_bytes)), Actor::Read(index));
    }

    /// How much of `left_bytes` one read finds: from a quarter of a chunk to a whole one, or the rest.
    fn draw_piece(&mut self, left_bytes: u64) -> u64 {
        let chunk = self.definition.receive.chunk_bytes;
        let piece = chunk / 4 + self.randoms.pieces.below(chunk - chunk / 4 + 1);
        piece.clamp(1, left_bytes)
    }

    fn transfer_ns(&self, bytes: u64) -> u64 {
        ((bytes as f64 / self.definition.receive.bytes_per_s * 1e9) as u64).max(1)
    }

    /// A piece of a request: it is read into a chunk, which is cut to what arrived, appended to the growing
    /// buffer, and freed. The last piece hands the buffer, cut to its length, to the pool.
    pub(super) fn read(&mut self, index: u32) -> Option<u64> {
        let Exchange::Receiving { payload_bytes, received_bytes, piece_bytes, buffer } =
            &mut self.clients[index as usize].exchange
        else {
            return None;
        };
        let plan = &self.definition.receive;
        let mut chunk = self.heap.malloc(LOOP, plan.chunk_bytes);
        if *piece_bytes < plan.chunk_bytes {
            self.heap.realloc(LOOP, &mut chunk, *piece_bytes);
        }
        *received_bytes += *piece_bytes;
        let mut whole = match buffer.take() {
            None => self.heap.malloc(LOOP, plan.buffer_bytes.max(*received_bytes)),
            Some(mut block) => {
                if block.size() < *received_bytes {
                    let size = grown(block.size(), plan.growth).max(*received_bytes);
                    self.heap.realloc(LOOP, &mut block, size);
                }
                block
            }
        };
        self.heap.free(LOOP, chunk);
        let left_bytes = *payload_bytes - *received_bytes;
        if left_bytes > 0 {
            *buffer = Some(whole);
            let piece = self.draw_piece(left_bytes);
            if let Exchange::Receiving { piece_bytes, .. } = &mut self.clients[index as usize].exchange {
                *piece_bytes = piece;
            }
            return Some(self.now_ns.saturating_add(self.transfer_ns(piece)));
        }
        if whole.size() != *payload_bytes {
            self.heap.realloc(LOOP, &mut whole, *payload_bytes);
        }
        self.clients[index as usize].exchange = Exchange::Handling;
        self.submit(index, whole);
        None
    }

    /// The worker is done with the request of client `index`: the loop begins to send.
    pub(super) fn respond(&mut self, index: u32, response: Block) {
        self.clients[index as usize].exchange = Exchange::Sending { response, sent_bytes: 0 };
        self.schedule.enter(self.now_ns, Actor::Write(index));
    }

    /// A piece of a response: a copy of it is offered to the connection and freed. After the last
    /// one the response is freed, and the connection is idle again.
    pub(super) fn write(&mut self, index: u32) -> Option<u64> {
        let client = &mut self.clients[index as usize];
        let Exchange::Sending { response, sent_bytes } = &mut client.exchange else { return None };
        let piece = (response.size() - *sent_bytes).min(self.definition.receive.chunk_bytes);
        let copy = self.heap.malloc(LOOP, piece);
        self.heap.free(LOOP, copy);
        *sent_bytes += piece;
        if *sent_bytes < response.size() {
            return Some(self.now_ns.saturating_add(self.transfer_ns(piece)));
        }
        if let Exchange::Sending { response, .. } = std::mem::take(&mut client.exchange) {
            self.heap.free(LOOP, response);
        }
        self.counts.completed += 1;
        self.count_in_flight();
        if self.clients[index as usize].closing {
            self.close(index);
            self.end_if_idle();
        } else {
            self.become_idle(index);
        }
        None
    }
}
