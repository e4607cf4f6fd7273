//! A router's recording as a trace, for engines that are modelled.

use fd_router_record::Recording;
use fd_router_record::line::Request as Row;
use rustc_hash::FxHashMap;

use super::{Arrival, Request, Trace};

impl Trace {
    /// The requests of a recording, each once, from its first decision for a whole request or a prompt.
    ///
    /// Blocks get the tokens that those of the recording have on average. An answer of unknown length gets `output`
    /// tokens. Requests for which there was nobody are left out, and those that neither prefill nor decode.
    pub fn from_recording(recording: &Recording, output: usize) -> Self {
        let block_size = block_size(&recording.requests);
        let lengths: FxHashMap<u64, u64> = recording
            .requests
            .iter()
            .filter_map(|row| Some((row.request, row.output_length?)))
            .collect();
        let mut seen = rustc_hash::FxHashSet::default();
        let mut sessions: FxHashMap<&str, usize> = FxHashMap::default();
        let rows = recording.requests.iter();
        let rows = rows.filter(|row| row.role != "decode" && row.endpoint.is_none());
        let rows = rows.filter(|row| row.worker.is_some());
        let requests = rows.filter(|row| seen.insert(row.request)).map(|row| {
            let session = row.session.as_deref().map(|session| {
                let number = sessions.len();
                *sessions.entry(session).or_insert(number)
            });
            let input_tokens = (row.input_length as usize).max(1);
            let whole = row.hash_ids.len().min(input_tokens / block_size);
            let length = lengths.get(&row.request).map(|&tokens| tokens as usize);
            Request {
                arrival: Arrival::At(row.timestamp * 1_000),
                session,
                input_tokens,
                output_tokens: length.unwrap_or(output).max(1),
                blocks: row.hash_ids[..whole].into(),
                streamed: row.stream,
            }
        });
        Self {
            requests: requests.collect(),
            block_size,
        }
    }
}

/// Tokens of a block on average, at least 1.
fn block_size(rows: &[Row]) -> usize {
    let blocks: u64 = rows.iter().map(|row| row.hash_ids.len() as u64).sum();
    let tokens: u64 = rows
        .iter()
        .filter_map(|row| {
            let quarters = |&(count, each): &(u32, u32)| u64::from(count) * u64::from(each);
            let estimate: u64 = row.block_quarters.iter().map(quarters).sum();
            // The engine's count, where there is one, tells how far the estimate is off.
            let whole = u64::from(row.prompt_quarters);
            (estimate * row.input_length).checked_div(whole)
        })
        .sum();
    (tokens.checked_div(blocks).unwrap_or(1) as usize).max(1)
}
