//! `dismiss`.

use super::super::args::{DismissArgs, GlobalArgs, TakeBackArgs};
use super::super::error::CliError;
use super::super::streams::Invocation;
use super::take_back::{dismiss, named, open_cluster};
use crate::plan::Dismissal;

pub fn run(global: &GlobalArgs, args: &DismissArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let named = named(global, args.name.as_deref().or(args.release.as_deref()), &args.place, invocation)?;
    let opened = open_cluster(global, &args.place.kube, named.dir.as_deref(), invocation)?;
    let with = Dismissal { namespace: args.with_namespace, hooks: args.with_hooks };
    let run = TakeBackArgs { deploy_report: args.report.path(), ..args.run.clone() };
    dismiss(&named, &opened, with, &run, invocation)
}
