//! Decisions that are kept to be asked about: what each saw, what became of it, and what was at fault for a cold cache.
//!
//! - [`ring`] keeps the last ones, within a fixed memory.
//! - `told` is one decision, from the choice to its end.
//! - [`trail`] ties the decisions of one request together: legs, attempts, and why one was lost.
//! - `fault` judges, with a sentence that says why.
//! - `name` is what a request is called, within bounds.
//! - `page` makes JSON, when somebody asks.
//!
//! There is no prompt in any of it, and no session.

#![forbid(unsafe_code)]

mod fault;
mod name;
mod page;
pub mod ring;
mod told;
pub mod trail;

pub use ring::Ring;
pub use told::Chosen;
pub use trail::{Kept, Trail};
