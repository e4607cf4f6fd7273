//! Tokens that engines make of one that a prefix estimates, by model: learned from their answers.

use std::collections::HashMap;

use super::models;

/// Models remembered; beyond it all are learned anew.
const MODELS: usize = 256;
/// Share of the way to a new sample.
const STEP: f64 = 0.1;
/// What a sample may be: outside of it something else was counted.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.05..=20.0;

#[derive(Debug, Default)]
pub(super) struct Scales(HashMap<u64, f64>);

impl Scales {
    /// The scale of a model; 1 until its first answer.
    pub(super) fn of(&self, model: u64) -> f64 {
        self.0.get(&model).copied().unwrap_or(1.0)
    }

    /// (model, scale) of every model.
    pub(super) fn all(&self) -> Vec<(u64, f64)> {
        self.0
            .iter()
            .map(|(&model, &scale)| (model, scale))
            .collect()
    }

    /// Takes over what was learned before; what cannot have been is left out.
    pub(super) fn restore(&mut self, all: impl Iterator<Item = (u64, f64)>) {
        let plausible = all.filter(|(_, scale)| PLAUSIBLE.contains(scale));
        self.0.extend(plausible.take(MODELS));
    }

    /// An engine made `tokens` of what was estimated as `estimate`.
    pub(super) fn learn(&mut self, model: u64, tokens: f64, estimate: f64) {
        let sample = tokens / estimate;
        if !PLAUSIBLE.contains(&sample) {
            return;
        }
        if self.0.len() >= MODELS && !self.0.contains_key(&model) {
            self.0.clear();
        }
        let scale = self.0.entry(model).or_insert(sample);
        *scale += STEP * (sample - *scale);
    }
}

/// A model's name as a number; requests that name none are of one model.
pub(super) fn key(model: Option<&str>) -> u64 {
    model.map_or(0, models::key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_a_tenth() {
        let mut scales = Scales::default();
        let model = key(Some("m"));
        assert!((scales.of(model) - 1.0).abs() < f64::EPSILON);
        scales.learn(model, 150.0, 100.0);
        assert!((scales.of(model) - 1.5).abs() < f64::EPSILON);
        scales.learn(model, 100.0, 100.0);
        assert!((scales.of(model) - 1.45).abs() < 1e-9);
        scales.learn(model, 1e9, 100.0);
        assert!((scales.of(model) - 1.45).abs() < 1e-9, "that was no prompt");
        assert!((scales.of(key(None)) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn models_are_bounded() {
        let mut scales = Scales::default();
        for model in 0..10 * MODELS as u64 {
            scales.learn(model, 1.0, 1.0);
        }
        assert!(scales.0.len() <= MODELS);
    }
}
