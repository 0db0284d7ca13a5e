//! `publish [IMAGE…]`: `build` into a repository that is named, so that others find the images.

use super::super::args::{BuildCommandArgs, GlobalArgs};
use super::super::error::CliError;
use super::super::streams::Invocation;
use super::build;

pub fn run(global: &GlobalArgs, args: &BuildCommandArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    if args.build.repo.is_none() {
        let what = "publish needs the repository that images are published to".to_owned();
        return Err(CliError::user(what).hint("name it with --repo HOST[:PORT]/PATH, or STAGEWRIGHT_REPO"));
    }
    build::run(global, args, invocation)
}
