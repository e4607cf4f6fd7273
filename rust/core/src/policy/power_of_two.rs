//! `power_of_two`: of two different candidates picked at random the one with fewer requests running; the first pick
//! wins a tie.

use fastrand::Rng;

use super::{Choice, Policy, Rule, Scene, Seen, Sight, Verdict};

#[derive(Debug)]
pub(super) struct PowerOfTwo {
    rng: Rng,
}

impl PowerOfTwo {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
        }
    }

    /// Two different ones; the same one twice where there is no other.
    fn pick(&mut self, count: usize) -> (usize, usize) {
        if count == 1 {
            return (0, 0);
        }
        let first = self.rng.usize(..count);
        let second = (first + 1 + self.rng.usize(..count - 1)) % count;
        (first, second)
    }
}

impl Rule for PowerOfTwo {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        let (first, second) = self.pick(scene.candidates.len());
        let seen = |index: usize| {
            let running = scene.candidates[index].worker.running();
            Seen::new(index, &[running as f64], 0)
        };
        let (first, second) = (seen(first), seen(second));
        let mut sight = Sight::of_costs(scene.explained, false);
        sight.see(first);
        if second.index != first.index {
            sight.see(second);
        }
        let chosen = if second.cost < first.cost {
            second
        } else {
            first
        };
        sight.choose(chosen);
        Choice {
            index: chosen.index as usize,
            policy: Policy::PowerOfTwo,
            verdict: Verdict::Plain,
            sight,
        }
    }
}
