//! Helm's own functions.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::value::Value;

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Helm;
const STR: Param = Param::Str;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::new(FAMILY, "include", &[STR, Param::Any], include, "Renders a named template and returns its text."),
    Function::new(FAMILY, "tpl", &[STR, Param::Any], tpl, "Renders a text as a template."),
    Function::new(FAMILY, "required", &[STR, Param::Any], required, "Returns the value; fails with the message when it is nil or \"\"."),
    Function::new(FAMILY, "fail", &[STR], fail, "Fails with the message."),
    Function::new(FAMILY, "lookup", &[STR, STR, STR, STR], lookup, "Returns an object of the cluster, or an empty map."),
];

fn include(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let name = args.string(0);
    ctx.include(&name.lossy(), args.any(1)).map(Value::Str)
}

fn tpl(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    ctx.tpl(&args.string(0), args.any(1)).map(Value::Str)
}

fn required(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let value = args.any(1);
    let missing = match value {
        Value::Nil => true,
        Value::Str(text) => text.is_empty(),
        _ => false,
    };
    if missing { Err(refused(args.text(0))) } else { Ok(value.clone()) }
}

fn refused(message: &[u8]) -> FuncError {
    FuncError::Refused(String::from_utf8_lossy(message).into_owned().into_boxed_str())
}

fn fail(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Err(refused(args.text(0)))
}

fn lookup(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    ctx.env.host.call("lookup", args)
}
