//! Replacing single members of a body without touching the bytes around them.

use std::ops::Range;

/// The members that may be set; each value is raw JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Members<'a> {
    /// Value for `request_id`; None leaves it as it is.
    pub request_id: Option<&'a [u8]>,
    /// Value for `disaggregate_info`; None leaves it as it is.
    pub disaggregate_info: Option<&'a [u8]>,
}

/// Where things stand in a scanned body, in bytes.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Values of every top-level `request_id`, in order.
    pub(super) request_ids: Vec<Range<usize>>,
    /// Values of every top-level `disaggregate_info`, in order.
    pub(super) disaggregate_infos: Vec<Range<usize>>,
    /// Top-level members.
    pub(super) members: usize,
    /// The closing brace.
    pub(super) close: usize,
}

impl Layout {
    pub(super) fn splice(&self, bytes: &[u8], members: &Members<'_>) -> Vec<u8> {
        let named = [
            ("request_id", &self.request_ids, members.request_id),
            (
                "disaggregate_info",
                &self.disaggregate_infos,
                members.disaggregate_info,
            ),
        ];
        let mut edits = Vec::new();
        let mut added = Vec::new();
        for (key, places, value) in named {
            let Some(value) = value else { continue };
            edits.extend(places.iter().map(|place| (place, value)));
            if places.is_empty() {
                if self.members > 0 || !added.is_empty() {
                    added.push(b',');
                }
                added.extend_from_slice(format!("\"{key}\":").as_bytes());
                added.extend_from_slice(value);
            }
        }
        edits.sort_by_key(|(place, _)| place.start);
        let grown: usize = edits.iter().map(|(_, value)| value.len()).sum();
        let mut out = Vec::with_capacity(bytes.len() + grown + added.len());
        let mut from = 0;
        for (place, value) in edits {
            out.extend_from_slice(&bytes[from..place.start]);
            out.extend_from_slice(value);
            from = place.end;
        }
        out.extend_from_slice(&bytes[from..self.close]);
        out.extend_from_slice(&added);
        out.extend_from_slice(&bytes[self.close..]);
        out
    }
}
