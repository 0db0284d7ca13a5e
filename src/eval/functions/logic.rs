//! Defaults, logic and types.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::Value;

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Logic;
const ANY: Param = Param::Any;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::variadic(FAMILY, "default", &[ANY], ANY, default, "Returns the second argument, or the first when it is empty."),
    Function::new(FAMILY, "empty", &[ANY], empty, "Says whether a value is empty: nil, false, 0, or without content."),
    Function::variadic(FAMILY, "coalesce", &[], ANY, coalesce, "Returns the first argument that is not empty."),
    Function::variadic(FAMILY, "all", &[], ANY, all, "Says whether no argument is empty."),
    Function::variadic(FAMILY, "any", &[], ANY, any, "Says whether some argument is not empty."),
    Function::new(FAMILY, "ternary", &[ANY, ANY, Param::Bool], ternary, "Returns the first argument if the third is true, else the second."),
    Function::new(FAMILY, "typeOf", &[ANY], type_of, "Names the Go type of a value."),
    Function::new(FAMILY, "kindOf", &[ANY], kind_of, "Names the Go kind of a value."),
    Function::new(FAMILY, "typeIs", &[Param::Str, ANY], type_is, "Says whether a value has a Go type."),
    Function::new(FAMILY, "typeIsLike", &[Param::Str, ANY], type_is_like, "Says whether a value has a Go type or points to it."),
    Function::new(FAMILY, "kindIs", &[Param::Str, ANY], kind_is, "Says whether a value has a Go kind."),
    Function::new(FAMILY, "deepEqual", &[ANY, ANY], deep_equal, "Says whether two values are equal all the way down, types included."),
];

fn default(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let given = args.any(1);
    Ok(if given.truth() { given.clone() } else { args.any(0).clone() })
}

fn empty(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(!args.any(0).truth()))
}

fn coalesce(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(args.iter().find(|v| v.truth()).cloned().unwrap_or_default())
}

fn all(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.iter().all(Value::truth)))
}

fn any(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.iter().any(Value::truth)))
}

fn ternary(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(args.any(usize::from(!args.bool(2))).clone())
}

fn type_of(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::str(args.any(0).type_name().as_ref()))
}

fn kind_of(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::str(args.any(0).kind_name()))
}

fn type_is(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.any(1).type_name().as_bytes() == args.text(0)))
}

fn type_is_like(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let name = args.any(1).type_name();
    let bare = name.strip_prefix('*').unwrap_or(&name);
    Ok(Value::Bool([name.as_bytes(), bare.as_bytes()].contains(&args.text(0))))
}

fn kind_is(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.any(1).kind_name().as_bytes() == args.text(0)))
}

fn deep_equal(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.any(0).deep_equal(args.any(1))))
}
