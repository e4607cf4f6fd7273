//! What is counted between two looks at the metrics, within bounds that are fixed when counting begins.
//!
//! - [`answers`] counts answers of workers, and the times to their first bytes.
//! - [`histogram`] counts values by bounds, without locks.
//! - [`traffic`] counts HTTP requests.

#![forbid(unsafe_code)]

pub mod answers;
pub mod histogram;
pub mod traffic;
