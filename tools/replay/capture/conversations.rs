//! Which UDP endpoint is the server, and how often it hears from its players.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Counts the frames between pairs of endpoints, in bounded memory.
#[derive(Default)]
pub(super) struct Conversations {
    /// By the two ends, the lower one first.
    pairs: HashMap<(SocketAddr, SocketAddr), Exchange>,
}

/// What two endpoints sent each other.
#[derive(Clone, Copy)]
struct Exchange {
    frames: u64,
    first: Duration,
    last: Duration,
}

/// The endpoint that most others talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) players: usize,
}

/// What is known of one endpoint; the greatest is the server.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    players: usize,
    peers: usize,
    frames: u64,
}

impl Conversations {
    /// Takes note of a packet between two hosts.
    pub(super) fn count(&mut self, from: SocketAddr, to: SocketAddr, at: Duration) {
        if self.pairs.len() == MAX_PAIRS {
            self.forget();
        }
        let pair = (from.min(to), from.max(to));
        let exchange =
            self.pairs.entry(pair).or_insert(Exchange { frames: 0, first: at, last: at });
        exchange.frames += 1;
        exchange.last = at;
    }

    /// The endpoint with most players, then peers, then packets. It must have two peers, or more
    /// packets than any other. A peer that exchanges a few packets with it only asks for something
    /// and is no player; if all are like that, all count.
    pub(super) fn server(&self) -> Option<Server> {
        let mut ranks: HashMap<SocketAddr, Rank> = HashMap::new();
        for ((one, other), exchange) in &self.pairs {
            for end in [one, other] {
                let rank = ranks.entry(*end).or_default();
                rank.players += usize::from(exchange.frames >= PLAYER_FRAMES);
                rank.peers += 1;
                rank.frames += exchange.frames;
            }
        }
        let (address, rank) = ranks.iter().max_by_key(|(end, rank)| (**rank, Reverse(**end)))?;
        let is_busiest =
            ranks.iter().all(|(end, other)| end == address || other.frames < rank.frames);
        let players = if rank.players > 0 { rank.players } else { rank.peers };
        (rank.peers >= 2 || is_busiest).then_some(Server { address: *address, players })
    }

    /// How much time lies between two packets of a conversation with the server, or of any if there
    /// is none: the median of their means.
    pub(super) fn usual_gap(&self, server: Option<Server>) -> Option<Duration> {
        let mut gaps: Vec<_> = self
            .pairs
            .iter()
            .filter(|((one, other), exchange)| {
                exchange.frames >= PLAYER_FRAMES
                    && server.is_none_or(|server| [one, other].contains(&&server.address))
            })
            .map(|(_, exchange)| {
                let gaps = u32::try_from(exchange.frames - 1).unwrap_or(u32::MAX);
                (exchange.last - exchange.first) / gaps
            })
            .collect();
        let middle = gaps.len() / 2;
        (!gaps.is_empty()).then(|| *gaps.select_nth_unstable(middle).1)
    }

    /// Makes room: the half with the fewest packets goes.
    fn forget(&mut self) {
        let mut frames: Vec<_> = self.pairs.values().map(|exchange| exchange.frames).collect();
        let middle = frames.len() / 2;
        let median = *frames.select_nth_unstable(middle).1;
        self.pairs.retain(|_, exchange| exchange.frames > median);
    }
}

/// Remembered at most: some 4 MiB, and as much while the server is looked for.
const MAX_PAIRS: usize = 16_384;

/// A query and its answers are fewer; a player sends as many in a second.
const PLAYER_FRAMES: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(host: u32, port: u16) -> SocketAddr {
        let [.., a, b, c] = host.to_be_bytes();
        SocketAddr::from(([10, a, b, c], port))
    }

    fn exchange(conversations: &mut Conversations, one: SocketAddr, other: SocketAddr, times: u64) {
        for time in 0..times {
            let (from, to) = if time % 2 == 0 { (one, other) } else { (other, one) };
            conversations.count(from, to, Duration::from_millis(10 * time));
        }
    }

    #[test]
    fn the_server_is_who_has_most_players_not_who_is_asked_most() {
        let mut conversations = Conversations::default();
        let (game, dns) = (end(1, 27015), end(2, 53));
        for player in 0..12 {
            exchange(&mut conversations, end(100 + player, 27005), game, 50);
        }
        for port in 0..200 {
            exchange(&mut conversations, end(3, 40_000 + port), dns, 2);
            exchange(&mut conversations, end(4, 40_000 + port), game, 2);
        }
        assert_eq!(conversations.server(), Some(Server { address: game, players: 12 }));
        let gap = conversations.usual_gap(conversations.server());
        assert_eq!(gap, Some(Duration::from_millis(10)));
    }

    #[test]
    fn two_that_talk_only_to_each_other_have_no_server() {
        let mut conversations = Conversations::default();
        exchange(&mut conversations, end(1, 27015), end(2, 27005), 100);
        assert_eq!(conversations.server(), None);
        exchange(&mut conversations, end(1, 27015), end(3, 27005), 100);
        let server = Server { address: end(1, 27015), players: 2 };
        assert_eq!(conversations.server(), Some(server));
    }

    #[test]
    fn a_scan_cannot_fill_the_memory_nor_hide_the_server() {
        let mut conversations = Conversations::default();
        let game = end(1, 27015);
        for round in 0..40 {
            for player in 0..4 {
                exchange(&mut conversations, end(100 + player, 27005), game, 4);
            }
            for host in 0..5_000 {
                exchange(&mut conversations, end(1_000_000 + round * 5_000 + host, 1), game, 1);
            }
        }
        assert!(conversations.pairs.len() <= MAX_PAIRS);
        assert_eq!(conversations.server(), Some(Server { address: game, players: 4 }));
    }
}
