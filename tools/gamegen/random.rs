//! Random numbers that are the same on every machine and with every version.
//!
//! The generator is PCG64, whose stream `rand_pcg` promises to keep; the laws are ours and take their
//! logarithms from `libm`, as those of the C library differ between machines in the last bit. Each
//! actor draws from a stream of its own, so that an option that adds one leaves what the others do as
//! it was.

use std::f64::consts::TAU;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Whose decisions a stream is for.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    Server,
    Background,
    Bulk,
    Client(usize),
}

/// One stream of random numbers.
#[derive(Debug)]
pub struct Random(Pcg64);

impl Random {
    pub fn new(seed: u32, actor: Actor) -> Self {
        let number = match actor {
            Actor::Server => 0,
            Actor::Background => 1,
            Actor::Bulk => 2,
            Actor::Client(slot) => 16 + slot as u64,
        };
        Random(Pcg64::seed_from_u64(number << 32 | u64::from(seed)))
    }

    /// Uniform between 0 and 1, both left out, so that its logarithm exists.
    pub fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Uniform between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number from 0 up to `bound`, `bound` left out.
    pub fn below(&mut self, bound: u32) -> u32 {
        (self.unit() * f64::from(bound)) as u32
    }

    /// Standard normal, by the method of Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(TAU * self.unit())
    }

    /// Student's t with any number of degrees of freedom above 0: Bailey's form of Box and Muller
    /// (Mathematics of Computation 62, 1994).
    pub fn student(&mut self, degrees: f64) -> f64 {
        let power = libm::pow(self.unit(), -2.0 / degrees);
        libm::sqrt(degrees * (power - 1.0)) * libm::cos(TAU * self.unit())
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here changes every capture: they would have to be made again.
    #[test]
    fn streams_stay_as_they_are() {
        let first = |seed, actor| Random::new(seed, actor).0.next_u64();
        assert_eq!(first(1, Actor::Server), 15_492_934_433_077_865_799);
        assert_eq!(first(1, Actor::Client(31)), 11_654_437_909_748_645_566);
    }

    #[test]
    fn actors_and_seeds_have_streams_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..20 {
            for actor in [Actor::Server, Actor::Background, Actor::Bulk]
                .into_iter()
                .chain((0..128).map(Actor::Client))
            {
                assert!(seen.insert(Random::new(seed, actor).0.next_u64()), "{seed} {actor:?}");
            }
        }
    }
}
