//! Defaults and logic.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::Value;

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::variadic(
        Family::Logic,
        "default",
        &[Param::Any],
        Param::Any,
        default,
        "Returns the value, or the default when it is empty.",
    ),
    Function::new(Family::Logic, "empty", &[Param::Any], empty, "Says whether the value is empty."),
];

fn default(_: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let given = args.any(1);
    Ok(if given.truth() { given.clone() } else { args.any(0).clone() })
}

fn empty(_: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::Bool(!args.any(0).truth()))
}
