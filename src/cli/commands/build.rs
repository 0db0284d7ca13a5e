//! `build [IMAGE…]`: plan and apply of images alone.

use super::super::args::{BuildCommandArgs, GlobalArgs, RunArgs};
use super::super::error::CliError;
use super::super::project::Options;
use super::super::streams::Invocation;
use super::apply::approved;
use super::make_plan::{Wish, make_plan};

pub fn run(global: &GlobalArgs, args: &BuildCommandArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options::images(&args.project, &args.build);
    let wish = Wish { images: &args.images, deploy: false, applies: true, since: None, no_hooks: false };
    let made = make_plan(global, options, wish, invocation)?;
    // Building takes nothing away: there is nothing to ask.
    let run = RunArgs { auto_approve: true, ..args.run.clone() };
    approved(&made, &run, false, invocation)
}
