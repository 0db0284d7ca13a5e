//! One suite per port; each runs over the in-memory twin and the real thing.

mod oci_tools;
mod stage_store;
