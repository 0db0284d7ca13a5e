//! The pipeline: load, sign, render, observe, plan; each step composed once, for every face.
//!
//! What lives here: the order of the steps and the values handed from one to the next. What does not: any
//! rule of werf, Helm or Docker (rooms above), any file or socket (`backend`), any wording (`report`).

mod added;
mod again;
mod build_report;
mod bundle;
mod check;
mod dependencies;
mod dependency_list;
mod explain;
mod graph;
mod includes;
mod kept;
mod load;
mod plan;
mod platforms;
mod releases;
mod remotes;
mod render;
mod sign;
mod since;

pub use added::{AddError, lay_over};
pub use again::plan_again;
pub use build_report::{StageLists, build_report, planned_stages, stage_lists};
pub use bundle::{OpenedBundle, bundle_inputs, pack_project, read_bundle};
pub use check::{ChartInputs, check, check_chart};
pub use dependencies::{
    DependencyError, DependencyFiles, DependencyInputs, build_dependencies, fetch_from_registry, fetch_from_repository,
    update_dependencies,
};
pub use dependency_list::{DependencyList, dependency_table, list_dependencies, list_dependencies_of_archive};
pub use explain::{ValueAnswer, ValueQuestion, explain_chart_values, explain_values};
pub use graph::{GraphEdge, GraphNode, NodeKind, ProjectGraph, config_graph, graph};
pub use includes::update_includes;
pub use load::{JsonnetInputs, Project, ProjectInputs, ValuesFile, load, load_config, load_includes, project_files};
pub use plan::{PlanError, PlanRequest, forbid_unbuildable, plan};
pub use releases::{
    BegunRollback, Conflicts, ReleaseError, ReleaseRequest, begun_rollback, plan_dismiss, plan_rollback,
};
pub use remotes::OpenedRemote;
pub use render::{ProjectRender, RenderChoice, chart_dir, render, service_values};
pub use sign::{SignInputs, sign_images};
pub use since::plan_since;

#[cfg(test)]
mod tests;
