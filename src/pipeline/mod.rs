//! The pipeline: load, sign, render, observe, plan; each step composed once, for every face.
//!
//! What lives here: the order of the steps and the values handed from one to the next. What does not: any
//! rule of werf, Helm or Docker (rooms above), any file or socket (`backend`), any wording (`report`).

mod load;
mod plan;
mod render;
mod sign;

pub use load::{Project, ProjectInputs, ValuesFile, load, load_config, project_files};
pub use plan::{PlanError, PlanRequest, forbid_unbuildable, plan};
pub use render::{ProjectRender, chart_dir, render, service_values};
pub use sign::{SignInputs, sign_images};

#[cfg(test)]
mod tests;
