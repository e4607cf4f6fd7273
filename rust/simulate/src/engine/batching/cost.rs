//! What an iteration takes: the default cost model of NVIDIA Dynamo's mocker (`perf_model.rs`, `Polynomial`).

/// Milliseconds for `tokens` prompt tokens computed in one iteration, all requests together; none take none.
pub(super) fn prefill_ms(tokens: usize) -> f64 {
    if tokens == 0 {
        return 0.0;
    }
    let tokens = tokens as f64;
    (4.209_989e-7 * tokens).mul_add(tokens, 1.518_344e-2 * tokens) + 16.501_42
}

/// Milliseconds for one token of each running request, when `used` (0 to 1) of the cache is in use.
pub(super) fn decode_ms(used: f64) -> f64 {
    (-25.74 * used).mul_add(used, 54.01 * used + 5.74).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_formula() {
        assert!((prefill_ms(1_000) - 32.105_858_9).abs() < 1e-9);
        assert!((prefill_ms(1) - 16.516_603_860_998_9).abs() < 1e-9);
        assert!(prefill_ms(0).abs() < 1e-9);
        assert!((decode_ms(0.5) - 26.31).abs() < 1e-9);
        assert!((decode_ms(0.0) - 5.74).abs() < 1e-9);
    }
}
