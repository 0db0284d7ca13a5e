//! Images become stages, and stages become build requests: what is built from what.
//!
//! What lives here: the nouns of a build ([`BuildRequest`] and its parts), and the step from `config` to
//! stages. What does not: hashing (`signature`), deciding build or reuse (`plan`), building (`backend`).
//!
//! The one idea: a build request is plain data that names its sources by git object, so that any builder, on
//! any machine with the same repository, makes the same image of it.

mod build;
mod content;
mod dockerfile;
mod filter;
mod image;
mod image_spec;
mod mode;
mod model;
mod onbuild;
mod platforms;
mod staged;
mod stapel;

pub use build::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, CopyStep, FilterSpec, Healthcheck, ImageRef, MappedFiles,
    MountFrom, MountKind, Network, Owner, Platform, RunMount, RunStep, SecretPlace, Sharing, Step, TreeSource,
    base_env, resolve_base_env, resolve_base_shell, show_base_env,
};
pub use dockerfile::BUILD_PLATFORM;
pub use filter::{Filter, TakeError, take};
pub use image::{ImageInputs, RemoteTree, UsedImage, image_stages};
pub use mode::CopyMode;
pub use model::{ImageStages, Stage};
pub use onbuild::{declaration, steps_of_base};
pub use platforms::image_platforms;
