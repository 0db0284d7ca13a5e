//! Checking: everything that can be found without a store or a target; `lint` and the editor call the same.

use crate::diag::Diagnostics;
use crate::eval::Host;
use crate::source::Sources;

use super::load::{ProjectInputs, load};
use super::render::{RenderChoice, render};

/// Loads, signs and renders a project and reports every fault that can be found.
///
/// Returns how many of the findings come from loading and rendering: with an error among them nothing can be planned.
pub fn check(diagnostics: &mut Diagnostics, sources: &Sources, inputs: &ProjectInputs, host: &dyn Host) -> usize {
    if let Some(project) = load(diagnostics, sources, inputs) {
        render(diagnostics, sources, &project, inputs, host, RenderChoice::default());
    }
    diagnostics.as_slice().len()
}
