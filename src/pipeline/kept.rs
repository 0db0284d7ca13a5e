//! Asking a target what stays of what people changed by hand.
//!
//! The one idea: the target is asked twice, of the whole manifests and then of those without what stays; the second time only
//! of resources of which something does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::observed::{Preview, WantedResource};
use crate::plan::{DesiredResource, Kept};

/// Finds what stays of resources where that is wanted, and lays what the target says of them without it over `previews`, of
/// their whole manifests. `wanted` makes questions of resources.
///
/// # Errors
/// The target failed.
pub(super) fn keep_changes<E>(
    is_wanted: bool,
    (desired, history): (&[DesiredResource], &[Value]),
    previews: &mut BTreeMap<String, Preview>,
    wanted: impl FnOnce(&[DesiredResource]) -> Vec<WantedResource>,
    ask: impl FnOnce(Vec<WantedResource>) -> Result<BTreeMap<String, Preview>, E>,
) -> Result<Kept, E> {
    let mut kept = Kept::of(is_wanted, desired, history, previews);
    if !kept.is_empty() {
        let without = ask(kept.asked_anew(wanted(&kept.without(desired))))?;
        kept.compare(previews, &without);
        previews.extend(without);
    }
    Ok(kept)
}
