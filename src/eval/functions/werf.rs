//! Functions that werf adds to Helm's, in charts of projects and in werf.yaml.

use super::super::function::{Ctx, Family, FuncError, Function, FunctionSet, Param};
use super::super::value::Value;

/// The functions that print to the debug log, which we have not: they answer what the plain ones do.
pub static DEBUG: &[Function] = &[
    Function::variadic(Family::Helm, "printf_debug", &[Param::Any], Param::Any, nothing, "Writes to the debug log."),
    Function::variadic(Family::Helm, "dump_debug", &[Param::Any], Param::Any, nothing, "Writes to the debug log."),
    Function::new(Family::Helm, "include_debug", &[Param::Str, Param::Any], include_debug, "Does what `include` does."),
    Function::new(Family::Helm, "tpl_debug", &[Param::Str, Param::Any], tpl_debug, "Does what `tpl` does."),
];

/// What only charts know.
pub static CHART: &[Function] = &[Function::new(
    Family::Helm,
    "werf_secret_file",
    &[Param::Str],
    secret_file,
    "Returns the decrypted text of a file below `secret/` in the chart.",
)];

fn secret_file(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    ctx.env.host.call("werf_secret_file", args)
}

fn nothing(_: &mut Ctx<'_>, _: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::str(""))
}

fn include_debug(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    delegate(ctx, "include", args)
}

fn tpl_debug(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    delegate(ctx, "tpl", args)
}

fn delegate(ctx: &mut Ctx<'_>, name: &str, args: &[Value]) -> Result<Value, FuncError> {
    let set = FunctionSet::helm();
    match set.index(name).and_then(|i| set.get(i)) {
        Some(function) => (function.call)(ctx, args),
        None => Err(FuncError::new(format!("{name} is not available"))),
    }
}
