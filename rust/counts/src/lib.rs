//! What is counted between two looks at the metrics, within bounds that are fixed when counting begins.
//!
//! - [`histogram`] counts values by bounds, without locks.
//! - [`traffic`] counts HTTP requests.

#![forbid(unsafe_code)]

pub mod histogram;
pub mod traffic;
