//! The pipeline: load, sign, render, observe, plan; each step composed once, for every face.
//!
//! What lives here: the order of the steps and the values handed from one to the next. What does not: any
//! rule of werf, Helm or Docker (rooms above), any file or socket (`backend`), any wording (`report`).

mod sign;

pub use sign::{SignInputs, sign_images};
