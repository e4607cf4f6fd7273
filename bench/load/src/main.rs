//! Load generator and stand-in engine for the side-by-side benchmark.

fn main() {}
