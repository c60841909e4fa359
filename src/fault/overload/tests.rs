//! What would prove the model: queueing theory's waiting times, the Universal Scalability Law's
//! throughput, and the known table of which retry storms end and which never do. Time is simulated.

use super::*;
use crate::{
    fault::{Law, sample},
    seed::{Seed, mixed, name_hash},
    units::{Micros, Rate},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

mod law;
mod reading;
mod storm;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A capacity of which nothing is limited but the servers.
fn plain(servers: u32, service: Law) -> Capacity {
    Capacity {
        servers,
        service,
        scale: 1.0,
        contention: 0.0,
        coherency: 0.0,
        bound: Bound::Unbounded,
        order: Order::Fifo,
        deadline: None,
        cancel: false,
        other_load: None,
    }
}

fn model(capacity: Capacity) -> Model {
    Model::new(Arc::new(capacity), random("other load"), Micros(0))
}

fn random(name: &str) -> ChaCha8Rng {
    Seed(1).stream(&["overload", name])
}

/// Exponential times with this mean, in microseconds. They come from SplitMix64, because some of
/// these tests draw millions.
struct Exponential {
    state: u64,
    mean: f64,
}

impl Exponential {
    fn new(name: &str, mean: Duration) -> Self {
        Self {
            state: name_hash(&["overload", name]),
            mean: mean.as_secs_f64() * 1e6,
        }
    }

    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let unit = (mixed(self.state) >> 11) as f64 / (1u64 << 53) as f64;
        -self.mean * (1.0 - unit).ln()
    }
}
