//! Upstream leg: sends requests to workers and moves the bytes of their answers.
//!
//! hyper and tokio live here and nowhere else; no `PyO3`.

#![forbid(unsafe_code)]
