//! What a policy sees of its candidates as it goes through them, for whoever wants to know why it chose.
//!
//! It is kept in the one pass that chooses, in room of a fixed size: of a thousand candidates most are compared with the
//! worst that is kept, and let go.

use std::cmp::Ordering;
use std::sync::Arc;

use super::rule::Scene;

/// Candidates of a decision that are kept.
pub const BEST: usize = 8;

/// The candidates with the least costs, and who has the most of the prompt.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// Nothing but the chosen one is kept where nobody asks for it.
    wanted: bool,
    /// Whether the policy compares costs.
    costs: bool,
    /// Whether prefixes were looked up.
    looked: bool,
    chosen: Seen,
    least: [Seen; BEST],
    kept: usize,
    /// How many have the least cost.
    equal: u32,
    most: Option<Seen>,
}

/// A candidate by its index, its cost, and the blocks of the prompt that it has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) index: u32,
    pub(crate) matched: u32,
    pub(crate) cost: f64,
}

impl Seen {
    /// The first of the costs counts first.
    pub(crate) fn new(index: usize, costs: &[f64], matched: u32) -> Self {
        Self {
            index: index as u32,
            matched,
            cost: costs.first().copied().unwrap_or_default(),
        }
    }
}

impl Sight {
    /// For a policy with costs; `looked` is whether it knows what candidates have of the prompt.
    pub(crate) fn of_costs(wanted: bool, looked: bool) -> Self {
        Self {
            wanted,
            costs: true,
            looked,
            ..Self::default()
        }
    }

    /// Of a policy that compares nothing.
    pub(crate) fn blind(index: usize) -> Self {
        Self {
            chosen: Seen::new(index, &[], 0),
            ..Self::default()
        }
    }

    /// This is the one.
    pub(crate) const fn choose(&mut self, chosen: Seen) {
        self.chosen = chosen;
    }

    /// Takes one of the candidates.
    #[expect(clippy::float_cmp, reason = "only an exact tie is one")]
    pub(crate) fn see(&mut self, seen: Seen) {
        if !self.wanted {
            return;
        }
        if seen.matched > self.most.map_or(0, |most| most.matched) {
            self.most = Some(seen);
        }
        let least = self.least[0].cost;
        if self.kept == 0 || seen.cost < least {
            self.equal = 1;
        } else if seen.cost == least {
            self.equal += 1;
        }
        if self.kept < BEST {
            self.kept += 1;
        } else if seen.cost >= self.least[BEST - 1].cost {
            return;
        }
        let mut place = self.kept - 1;
        while place > 0 && seen.cost < self.least[place - 1].cost {
            self.least[place] = self.least[place - 1];
            place -= 1;
        }
        self.least[place] = seen;
    }

    /// The others that are kept, by their costs.
    fn others(&self) -> impl Iterator<Item = Seen> {
        let others = self.least[..self.kept].iter();
        others
            .filter(|seen| seen.index != self.chosen.index)
            .take(BEST - 1)
            .copied()
    }

    /// How many others cost the same.
    #[expect(clippy::float_cmp, reason = "only an exact tie is one")]
    fn ties(&self) -> u32 {
        let cost = self.chosen.cost;
        if self.kept > 0 && cost == self.least[0].cost {
            return self.equal - 1;
        }
        self.others().filter(|seen| seen.cost == cost).count() as u32
    }

    fn margin(&self) -> Option<f64> {
        let (least, next) = (self.chosen.cost, self.others().next()?.cost);
        match next.partial_cmp(&least)? {
            Ordering::Equal => Some(0.0),
            _ => (least > 0.0).then(|| (next - least) / least),
        }
    }
}

/// A candidate and what speaks for or against it.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who it is.
    pub url: Arc<str>,
    /// What the policy compares; None where it compares nothing.
    pub cost: Option<f64>,
    /// Requests that it had.
    pub running: u64,
    /// Uncached prompt tokens of its requests without a first byte.
    pub pending: f64,
    /// Tokens of the prompt that it was thought to have; None where nobody looked.
    pub held: Option<f64>,
}

/// What a decision saw, just before it was booked.
#[derive(Debug, Clone)]
pub struct View {
    /// How many could be chosen.
    pub candidates: usize,
    /// The chosen one, then the others by their costs, [`BEST`] in all; without costs those that follow it by url.
    pub best: Vec<Terms>,
    /// Who was thought to have the most of the prompt; None where nobody had any of it, or nobody looked.
    pub best_hit: Option<Terms>,
    /// How many others had the same cost as the chosen one.
    pub ties: u32,
    /// How far the least cost of the others is above the chosen one's, as a share of it; None where there is no such
    /// number. Below 0 where a router among others took one that costs nearly as little.
    pub margin: Option<f64>,
    /// Whole blocks of the prompt; None where it was not cut.
    pub blocks: Option<u32>,
    /// Tokens of the prompt; 0 where it was not cut.
    pub tokens: f64,
}

impl View {
    /// Puts together what was seen of a scene's candidates.
    pub(crate) fn new(scene: &Scene<'_>, sight: &Sight) -> Self {
        let terms = |seen: Seen| Terms::new(scene, sight, seen);
        let mut best = Vec::with_capacity(BEST);
        best.push(terms(sight.chosen));
        if sight.costs {
            best.extend(sight.others().map(terms));
        } else {
            best.extend(following(sight.chosen, scene.candidates.len()).map(terms));
        }
        Self {
            candidates: scene.candidates.len(),
            best,
            best_hit: sight.most.map(terms),
            ties: sight.ties(),
            margin: sight.margin(),
            blocks: scene.prefix.map(|prefix| prefix.len() as u32),
            tokens: scene.tokens_of(u32::MAX),
        }
    }
}

impl Terms {
    fn new(scene: &Scene<'_>, sight: &Sight, seen: Seen) -> Self {
        let worker = &scene.candidates[seen.index as usize].worker;
        Self {
            url: Arc::clone(worker.name()),
            cost: sight.costs.then_some(seen.cost),
            running: worker.running(),
            pending: worker.pending(),
            held: sight.looked.then(|| scene.tokens_of(seen.matched)),
        }
    }
}

/// Those after one in the order of urls.
fn following(seen: Seen, count: usize) -> impl Iterator<Item = Seen> {
    let place = seen.index as usize;
    (1..count.min(BEST)).map(move |step| Seen::new((place + step) % count, &[], 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(costs: &[f64]) -> Sight {
        let mut sight = Sight::of_costs(true, true);
        for (index, &cost) in costs.iter().enumerate() {
            sight.see(Seen::new(index, &[cost], index as u32 % 3));
        }
        sight
    }

    fn indices(sight: &Sight) -> Vec<u32> {
        sight.others().map(|seen| seen.index).collect()
    }

    #[test]
    fn the_least_are_kept_in_their_order() {
        let costs: Vec<f64> = (0..1_000)
            .map(|each| f64::from((each * 37) % 1_000))
            .collect();
        let mut sight = seen(&costs);
        sight.choose(Seen::new(0, &[0.0], 0));
        let kept: Vec<f64> = indices(&sight)
            .iter()
            .map(|&index| costs[index as usize])
            .collect();
        assert_eq!(kept, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(sight.equal, 1);
        assert_eq!(
            sight.most.map(|most| most.index),
            Some(2),
            "the first of the most"
        );
    }

    #[test]
    fn ties_are_counted_beyond_what_is_kept() {
        let mut sight = seen(&[3.0; 20]);
        sight.see(Seen::new(20, &[2.0], 0));
        for index in 21..40 {
            sight.see(Seen::new(index, &[2.0], 0));
        }
        sight.choose(Seen::new(39, &[2.0], 0));
        assert_eq!(sight.equal, 20);
        assert_eq!(sight.margin(), Some(0.0));
        assert_eq!(indices(&sight), [20, 21, 22, 23, 24, 25, 26]);
    }

    #[test]
    fn a_margin_is_a_share_of_the_chosen_ones_cost() {
        let margin = |costs: &[f64]| {
            let mut sight = seen(costs);
            sight.choose(Seen::new(0, &[costs[0]], 0));
            sight.margin()
        };
        assert_eq!(margin(&[2.0, 3.0, 4.0]), Some(0.5));
        assert_eq!(margin(&[0.0, 0.0]), Some(0.0));
        assert_eq!(margin(&[0.0, 1.0]), None, "a share of nothing");
        assert_eq!(margin(&[1.0]), None, "there is nobody else");
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let mut sight = Sight::of_costs(false, true);
        sight.see(Seen::new(0, &[1.0], 5));
        assert_eq!((sight.kept, sight.most.is_none()), (0, true));
    }

    #[test]
    fn without_costs_those_that_follow_are_shown() {
        let after = |index, count| -> Vec<u32> {
            following(Seen::new(index, &[], 0), count)
                .map(|seen| seen.index)
                .collect()
        };
        assert_eq!(after(1, 3), [2, 0]);
        assert_eq!(after(0, 1), [0_u32; 0]);
        assert_eq!(after(8, 10), [9, 0, 1, 2, 3, 4, 5]);
    }
}
