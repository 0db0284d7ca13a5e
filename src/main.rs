//! Passes the arguments to `cli` and its answer to the operating system.

fn main() {}
