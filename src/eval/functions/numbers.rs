//! Numbers.
//!
//! Source: Sprig 3.3.0 with cast 1.7.0 and shopspring decimal.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::print;
use crate::eval::value::{Elem, List, Value};
use crate::syntax::gotemplate::literals;

use super::decimal::Decimal;
use super::strings::random_below;

type Answer = Result<Value, FuncError>;

const FAMILY: Family = Family::Numbers;
const INT: Param = Param::Int;
const ANY: Param = Param::Any;

/// The table of this family.
#[rustfmt::skip]
pub static TABLE: &[Function] = &[
    Function::new(FAMILY, "int", &[ANY], int, "Converts to int."),
    Function::new(FAMILY, "int64", &[ANY], int64, "Converts to int64."),
    Function::new(FAMILY, "float64", &[ANY], float64, "Converts to float64."),
    Function::new(FAMILY, "atoi", &[Param::Str], atoi, "Converts a decimal text to int."),
    Function::new(FAMILY, "toDecimal", &[ANY], to_decimal, "Reads a text as an octal number."),
    Function::variadic(FAMILY, "add", &[], ANY, add, "Adds integers."),
    Function::new(FAMILY, "add1", &[ANY], add1, "Adds one."),
    Function::new(FAMILY, "sub", &[ANY, ANY], sub, "Subtracts integers."),
    Function::variadic(FAMILY, "mul", &[ANY], ANY, mul, "Multiplies integers."),
    Function::new(FAMILY, "div", &[ANY, ANY], div, "Divides integers, truncating."),
    Function::new(FAMILY, "mod", &[ANY, ANY], modulo, "Returns the remainder of a division."),
    Function::variadic(FAMILY, "max", &[ANY], ANY, max, "Returns the greatest integer."),
    Function::variadic(FAMILY, "biggest", &[ANY], ANY, max, "Returns the greatest integer."),
    Function::variadic(FAMILY, "min", &[ANY], ANY, min, "Returns the least integer."),
    Function::variadic(FAMILY, "maxf", &[ANY], ANY, maxf, "Returns the greatest float."),
    Function::variadic(FAMILY, "minf", &[ANY], ANY, minf, "Returns the least float."),
    Function::new(FAMILY, "add1f", &[ANY], add1f, "Adds one, in decimal."),
    Function::variadic(FAMILY, "addf", &[], ANY, addf, "Adds floats, in decimal."),
    Function::variadic(FAMILY, "subf", &[ANY], ANY, subf, "Subtracts floats, in decimal."),
    Function::variadic(FAMILY, "mulf", &[ANY], ANY, mulf, "Multiplies floats, in decimal."),
    Function::variadic(FAMILY, "divf", &[ANY], ANY, divf, "Divides floats, in decimal."),
    Function::new(FAMILY, "ceil", &[ANY], ceil, "Rounds up."),
    Function::new(FAMILY, "floor", &[ANY], floor, "Rounds down."),
    Function::variadic(FAMILY, "round", &[ANY, INT], Param::Float, round, "Rounds to a number of decimals."),
    Function::new(FAMILY, "until", &[INT], until, "Lists the integers from 0 to below a bound."),
    Function::new(FAMILY, "untilStep", &[INT, INT, INT], until_step, "Lists integers from a start to below an end."),
    Function::variadic(FAMILY, "seq", &[], INT, seq, "Writes integers like the shell's seq."),
    Function::new(FAMILY, "randInt", &[INT, INT], rand_int, "Returns a random integer of a range.").varying(),
];

/// Converts to an integer as every arithmetic function does; what is no number gives 0.
pub fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(n) | Value::Int64(n) => *n,
        Value::Uint64(n) => *n as i64,
        Value::Byte(n) => i64::from(*n),
        Value::Bool(b) => i64::from(*b),
        // Out of range, and for NaN, the processor that Helm runs on gives the least integer.
        Value::Float(f) if f.is_nan() || *f >= 9_223_372_036_854_775_808.0 || *f < -9_223_372_036_854_775_808.0 => {
            i64::MIN
        }
        Value::Float(f) => *f as i64,
        Value::Str(s) => s.as_utf8().and_then(|s| literals::parse_int(without_zero_decimals(s))).unwrap_or(0),
        Value::Object(object) if matches!(object.kind(), "int" | "int64") => to_int(&object.plain()),
        Value::Nil | Value::Bytes(_) | Value::List(_) | Value::Dict(_) | Value::Object(_) => 0,
    }
}

fn without_zero_decimals(text: &str) -> &str {
    let bare = text.trim_end_matches('0');
    match bare.strip_suffix('.') {
        Some(whole) if bare.len() < text.len() => whole,
        _ => text,
    }
}

/// Converts to a float as every float function does; what is no number gives 0.
pub fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(n) | Value::Int64(n) => *n as f64,
        Value::Uint64(n) => *n as f64,
        Value::Byte(n) => f64::from(*n),
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Float(f) => *f,
        Value::Str(s) => s.as_utf8().and_then(literals::parse_float).unwrap_or(0.0),
        Value::Nil | Value::Bytes(_) | Value::List(_) | Value::Dict(_) | Value::Object(_) => 0.0,
    }
}

fn int(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int(to_int(args.any(0))))
}

fn int64(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(to_int(args.any(0))))
}

fn float64(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Float(to_float(args.any(0))))
}

fn atoi(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let text = String::from_utf8_lossy(args.text(0)).into_owned();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Value::Int(0));
    }
    let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Ok(Value::Int(text.parse().unwrap_or(limit)))
}

fn to_decimal(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let text = super::strings::sprint_text(args);
    Ok(Value::Int64(i64::from_str_radix(&text, 8).unwrap_or(0)))
}

fn add(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(args.iter().map(to_int).fold(0, i64::wrapping_add)))
}

fn add1(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(to_int(args.any(0)).wrapping_add(1)))
}

fn sub(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(to_int(args.any(0)).wrapping_sub(to_int(args.any(1)))))
}

fn mul(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(args.iter().map(to_int).fold(1, i64::wrapping_mul)))
}

fn divisor(args: &[Value]) -> Result<i64, FuncError> {
    match to_int(args.any(1)) {
        0 => Err(FuncError::new("runtime error: integer divide by zero")),
        n => Ok(n),
    }
}

fn div(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(to_int(args.any(0)).wrapping_div(divisor(args)?)))
}

fn modulo(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(to_int(args.any(0)).wrapping_rem(divisor(args)?)))
}

fn max(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(args.iter().map(to_int).max().unwrap_or(0)))
}

fn min(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int64(args.iter().map(to_int).min().unwrap_or(0)))
}

/// Chooses as Go's `math.Max` and `math.Min`: NaN wins.
fn choose(args: &[Value], pick: fn(f64, f64) -> f64) -> Answer {
    let numbers = args.iter().map(to_float);
    let chosen = numbers.reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) });
    Ok(Value::Float(chosen.unwrap_or(0.0)))
}

fn maxf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    choose(args, f64::max)
}

fn minf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    choose(args, f64::min)
}

type Operation = fn(&Decimal, &Decimal) -> Result<Decimal, FuncError>;

fn decimal(first: f64, rest: &[Value], operation: Operation) -> Answer {
    let mut sum = Decimal::of(first)?;
    for value in rest {
        sum = operation(&sum, &Decimal::of(to_float(value))?)?;
    }
    Ok(Value::Float(sum.to_float()))
}

fn add1f(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    decimal(to_float(args.any(0)), &[Value::Int(1)], |a, b| Ok(a.add(b)))
}

fn addf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    decimal(0.0, args, |a, b| Ok(a.add(b)))
}

fn rest(args: &[Value]) -> &[Value] {
    args.get(1..).unwrap_or_default()
}

fn subf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    decimal(to_float(args.any(0)), rest(args), |a, b| Ok(a.sub(b)))
}

fn mulf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    decimal(to_float(args.any(0)), rest(args), |a, b| Ok(a.mul(b)))
}

fn divf(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    decimal(to_float(args.any(0)), rest(args), |a, b| a.div(b).ok_or_else(|| FuncError::new("decimal division by 0")))
}

fn ceil(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Float(to_float(args.any(0)).ceil()))
}

fn floor(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Float(to_float(args.any(0)).floor()))
}

fn round(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let on = if let Value::Float(on) = args.any(2) { *on } else { 0.5 };
    let power = 10f64.powi(i32::try_from(args.int(1)).unwrap_or(i32::MAX));
    let scaled = power * to_float(args.any(0));
    let rounded = if scaled - scaled.trunc() >= on { scaled.ceil() } else { scaled.floor() };
    Ok(Value::Float(rounded / power))
}

/// The longest list of integers that is made.
const MAX_STEPS: u64 = 10_000_000;

fn steps(start: i64, end: i64, step: i64) -> Result<Vec<i64>, FuncError> {
    let mut out = Vec::new();
    if step == 0 || (step > 0) != (end > start) || start == end {
        return Ok(out);
    }
    let count = end.abs_diff(start).div_ceil(step.unsigned_abs());
    if count > MAX_STEPS {
        return Err(FuncError::new(format!("a list of {count} integers is too long (at most {MAX_STEPS})")));
    }
    let mut n = start;
    for _ in 0..count {
        out.push(n);
        n = n.wrapping_add(step);
    }
    Ok(out)
}

fn ints(list: Vec<i64>) -> Value {
    let items = list.into_iter().map(Value::Int).collect();
    Value::List(std::rc::Rc::new(List { items, elem: Elem::Int, nil: false }))
}

fn until(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let end = args.int(0);
    Ok(ints(steps(0, end, if end < 0 { -1 } else { 1 })?))
}

fn until_step(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(ints(steps(args.int(0), args.int(1), args.int(2))?))
}

fn seq(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let one = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, step, end) = match args.len() {
        1 => (1, one(1, args.int(0)), args.int(0)),
        2 => (args.int(0), one(args.int(0), args.int(1)), args.int(1)),
        3 => (args.int(0), args.int(1), args.int(2)),
        _ => return Ok(Value::str("")),
    };
    let down = end < start;
    if args.len() == 3 && down && step > 0 {
        return Ok(Value::str(""));
    }
    // The end is part of the sequence.
    let increment = if down { -1 } else { 1 };
    let numbers = steps(start, end.saturating_add(increment), step)?;
    let mut out = Vec::new();
    for (i, n) in numbers.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        print::int(&mut out, *n);
    }
    Ok(Value::str(out))
}

fn rand_int(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (low, high) = (args.int(0), args.int(1));
    if low >= high {
        return Err(FuncError::new("invalid argument to Intn"));
    }
    let offset = random_below(ctx, high.abs_diff(low));
    Ok(Value::Int(low.wrapping_add_unsigned(offset)))
}
