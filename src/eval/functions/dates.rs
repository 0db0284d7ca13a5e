//! Dates and durations.

use std::any::Any;
use std::borrow::Cow;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::gotime::{MONTHS, Nanos, Time, WEEKDAYS, Zone, format_duration, parse_duration};
use crate::eval::json::lossy;
use crate::eval::value::{Method, Object, ObjectRef, Value};

type Answer = Result<Value, FuncError>;
type Native = fn(&mut Ctx<'_>, &[Value]) -> Answer;

const TIME: &str = "time.Time";
const DURATION: &str = "time.Duration";

const ANY: &[Param] = &[Param::Any];
const ANY_TWO: &[Param] = &[Param::Any, Param::Any];
const FORMAT: &[Param] = &[Param::Str, Param::Any];
const ZONED: &[Param] = &[Param::Str, Param::Any, Param::Str];
const MODIFY: &[Param] = &[Param::Str, Param::Object(TIME)];
const TEXTS: &[Param] = &[Param::Str, Param::Str];

/// The table of this family.
pub static TABLE: &[Function] = &[
    function("now", &[], |ctx, _| Ok(time(now(ctx))), "Returns the current time.").varying(),
    function("date", FORMAT, date, "Prints a time in a layout."),
    function("dateInZone", ZONED, date_in_zone, "Prints a time in a layout and a time zone."),
    function("date_in_zone", ZONED, date_in_zone, "Prints a time in a layout and a time zone."),
    function("htmlDate", ANY, html_date, "Prints the date of a time as year-month-day."),
    function(
        "htmlDateInZone",
        &[Param::Any, Param::Str],
        html_date_in_zone,
        "Prints the date of a time in a time zone.",
    ),
    function("dateModify", MODIFY, date_modify, "Adds a duration to a time; a bad one changes nothing."),
    function("date_modify", MODIFY, date_modify, "Adds a duration to a time; a bad one changes nothing."),
    function("mustDateModify", MODIFY, must_date_modify, "Adds a duration to a time."),
    function("must_date_modify", MODIFY, must_date_modify, "Adds a duration to a time."),
    function("toDate", TEXTS, to_date, "Reads a time written in a layout; the zero time on failure."),
    function("mustToDate", TEXTS, must_to_date, "Reads a time written in a layout."),
    function("unixEpoch", &[Param::Object(TIME)], unix_epoch, "Returns the seconds since the Unix epoch."),
    function("ago", ANY, ago, "Returns the duration since a time.").varying(),
    function("duration", ANY, duration, "Prints a number of seconds as a duration."),
    function("durationRound", ANY, duration_round, "Prints a duration in its largest unit."),
    function("mustToDuration", ANY, must_to_duration, "Reads a duration: a text, or a number of seconds."),
    function("durationSeconds", ANY, |_, a| floating(a, 1_000_000_000), "Returns a duration in seconds."),
    function("durationMinutes", ANY, |_, a| floating(a, 60_000_000_000), "Returns a duration in minutes."),
    function("durationHours", ANY, |_, a| floating(a, 3_600_000_000_000), "Returns a duration in hours."),
    function("durationDays", ANY, |_, a| floating(a, 86_400_000_000_000), "Returns a duration in days."),
    function("durationWeeks", ANY, |_, a| floating(a, 604_800_000_000_000), "Returns a duration in weeks."),
    function("durationMilliseconds", ANY, |_, a| integral(a, 1_000_000), "Returns a duration in milliseconds."),
    function("durationMicroseconds", ANY, |_, a| integral(a, 1_000), "Returns a duration in microseconds."),
    function("durationNanoseconds", ANY, |_, a| integral(a, 1), "Returns a duration in nanoseconds."),
    function("durationRoundTo", ANY_TWO, round_to, "Rounds a duration to a multiple of another."),
    function("durationTruncateTo", ANY_TWO, truncate_to, "Cuts a duration to a multiple of another."),
];

const fn function(name: &'static str, params: &'static [Param], call: Native, doc: &'static str) -> Function {
    Function::new(Family::Dates, name, params, call, doc)
}

/// Makes the value of a time.
pub fn time(time: Time) -> Value {
    Value::object(TimeObject(time))
}

fn now(ctx: &Ctx<'_>) -> Time {
    Time::unix(i64::try_from(ctx.env.now.as_secs()).unwrap_or(i64::MAX), ctx.env.now.subsec_nanos())
}

/// Returns the time that a value stands for; `None` when it stands for none.
fn time_of(value: &Value) -> Option<Time> {
    match value {
        Value::Int(seconds) | Value::Int64(seconds) => Some(Time::unix(*seconds, 0)),
        Value::Object(_) => value.downcast::<TimeObject>().map(|t| t.0.clone()),
        Value::Nil
        | Value::Bool(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Dict(_) => None,
    }
}

fn printed(ctx: &Ctx<'_>, layout: &[u8], value: &Value, zone: &[u8]) -> Answer {
    let zone = Zone::find(&lossy(zone)).unwrap_or(Zone::Utc);
    let time = time_of(value).unwrap_or_else(|| now(ctx)).in_zone(zone);
    Ok(Value::str(time.format(&lossy(layout))))
}

fn date(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    printed(ctx, args.text(0), args.any(1), b"Local")
}

fn date_in_zone(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    printed(ctx, args.text(0), args.any(1), args.text(2))
}

fn html_date(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    printed(ctx, b"2006-01-02", args.any(0), b"Local")
}

fn html_date_in_zone(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    printed(ctx, b"2006-01-02", args.any(0), args.text(1))
}

fn moment(value: &Value) -> Time {
    time_of(value).unwrap_or_else(Time::zero)
}

fn date_modify(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let duration = parse_duration(&lossy(args.text(0))).unwrap_or(0);
    Ok(time(moment(args.any(1)).add(duration)))
}

fn must_date_modify(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let duration = parse_duration(&lossy(args.text(0))).map_err(FuncError::new)?;
    Ok(time(moment(args.any(1)).add(duration)))
}

fn to_date(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let read = Time::parse(&lossy(args.text(0)), &lossy(args.text(1)), &Zone::Utc);
    Ok(time(read.unwrap_or_else(|_| Time::zero())))
}

fn must_to_date(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Time::parse(&lossy(args.text(0)), &lossy(args.text(1)), &Zone::Utc).map(time).map_err(FuncError::new)
}

fn unix_epoch(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::str(moment(args.any(0)).seconds.to_string()))
}

fn ago(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let now = now(ctx);
    let since = now.since(&time_of(args.any(0)).unwrap_or_else(|| now.clone()));
    Ok(Value::str(format_duration(rounded(since, 1_000_000_000))))
}

fn duration(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let seconds = if let Value::Int64(seconds) = args.any(0) {
        *seconds
    } else {
        lossy(args.text(0)).parse::<i64>().unwrap_or(0)
    };
    Ok(Value::str(format_duration(seconds.wrapping_mul(1_000_000_000))))
}

fn duration_round(ctx: &mut Ctx<'_>, args: &[Value]) -> Answer {
    const UNITS: &[(u64, &str)] =
        &[(31_536_000, "y"), (2_592_000, "mo"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let value = args.any(0);
    let duration = if let Value::Int64(nanos) = value {
        *nanos
    } else if let Some(time) = value.downcast::<TimeObject>() {
        now(ctx).since(&time.0)
    } else {
        parse_duration(&lossy(args.text(0))).unwrap_or(0)
    };
    let size = duration.unsigned_abs();
    let nanos = |seconds: u64| seconds * 1_000_000_000;
    let unit = UNITS.iter().find(|(seconds, _)| size > nanos(*seconds));
    Ok(Value::str(unit.map_or_else(|| "0s".to_owned(), |(seconds, name)| format!("{}{name}", size / nanos(*seconds)))))
}

/// Reads what Helm 4 takes for a duration: a Go duration, or a number of seconds.
fn duration_of(value: &Value) -> Result<Nanos, String> {
    let seconds = |s: f64| (s * 1e9) as i64;
    match value {
        Value::Str(text) => {
            let text = lossy(text);
            let text = text.trim();
            parse_duration(text).or_else(|e| text.parse::<f64>().map(seconds).map_err(|_| e))
        }
        Value::Int(n) | Value::Int64(n) => Ok(n.saturating_mul(1_000_000_000)),
        Value::Uint64(n) => Ok(i64::try_from(*n).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)),
        Value::Byte(n) => Ok(i64::from(*n) * 1_000_000_000),
        Value::Float(f) => Ok(seconds(*f)),
        Value::Object(_) => match value.downcast::<DurationObject>() {
            Some(duration) => Ok(duration.0),
            None => Err(format!("unsupported duration type {}", value.type_name())),
        },
        Value::Nil | Value::Bool(_) | Value::Bytes(_) | Value::List(_) | Value::Dict(_) => {
            Err(format!("unsupported duration type {}", value.type_name()))
        }
    }
}

fn must_to_duration(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    duration_of(args.any(0)).map(|d| Value::object(DurationObject(d))).map_err(FuncError::new)
}

fn floating(args: &[Value], unit: i64) -> Answer {
    Ok(Value::Float(duration_of(args.any(0)).unwrap_or(0) as f64 / unit as f64))
}

fn integral(args: &[Value], unit: i64) -> Answer {
    Ok(Value::Int64(duration_of(args.any(0)).unwrap_or(0) / unit))
}

/// Rounds to a multiple, halves away from zero.
fn rounded(duration: Nanos, unit: Nanos) -> Nanos {
    if unit <= 0 {
        return duration;
    }
    let rest = duration % unit;
    let cut = duration - rest;
    if rest.unsigned_abs() * 2 < unit.unsigned_abs() { cut } else { cut.saturating_add(unit * rest.signum()) }
}

fn round_to(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (duration, unit) = (duration_of(args.any(0)).unwrap_or(0), duration_of(args.any(1)).unwrap_or(0));
    Ok(Value::object(DurationObject(rounded(duration, unit))))
}

fn truncate_to(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let (duration, unit) = (duration_of(args.any(0)).unwrap_or(0), duration_of(args.any(1)).unwrap_or(0));
    Ok(Value::object(DurationObject(if unit > 0 { duration - duration % unit } else { duration })))
}

/// A Go `time.Time`.
pub struct TimeObject(pub Time);

const fn method(name: &'static str, params: &'static [Param]) -> Method {
    Method { name, params, rest: None }
}

static TIME_METHODS: &[Method] = &[
    method("Add", &[Param::Object(DURATION)]),
    method("AddDate", &[Param::Int, Param::Int, Param::Int]),
    method("After", &[Param::Object(TIME)]),
    method("Before", &[Param::Object(TIME)]),
    method("Compare", &[Param::Object(TIME)]),
    method("Day", &[]),
    method("Equal", &[Param::Object(TIME)]),
    method("Format", &[Param::Str]),
    method("Hour", &[]),
    method("IsZero", &[]),
    method("Local", &[]),
    method("Minute", &[]),
    method("Month", &[]),
    method("Nanosecond", &[]),
    method("Second", &[]),
    method("String", &[]),
    method("Sub", &[Param::Object(TIME)]),
    method("UTC", &[]),
    method("Unix", &[]),
    method("UnixMicro", &[]),
    method("UnixMilli", &[]),
    method("UnixNano", &[]),
    method("Weekday", &[]),
    method("Year", &[]),
    method("YearDay", &[]),
];

impl Object for TimeObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(TIME)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        TIME_METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _: &mut Ctx<'_>, method: &'static Method, args: &[Value]) -> Answer {
        let this = &self.0;
        let clock = this.clock();
        let int = |n: i64| Ok(Value::Int(n));
        let subsecond = |per_second: i64| {
            let part = i64::from(this.nanos) / (1_000_000_000 / per_second);
            Ok(Value::Int64(this.seconds.wrapping_mul(per_second).wrapping_add(part)))
        };
        let order = || {
            let other = moment(args.any(0));
            (this.seconds, this.nanos).cmp(&(other.seconds, other.nanos))
        };
        match method.name {
            "Add" => {
                let duration = args.any(0).downcast::<DurationObject>().map_or(0, |d| d.0);
                Ok(time(this.add(duration)))
            }
            "AddDate" => Ok(time(this.add_date(args.int(0), args.int(1), args.int(2)))),
            "After" => Ok(Value::Bool(order().is_gt())),
            "Before" => Ok(Value::Bool(order().is_lt())),
            "Compare" => int(order() as i64),
            "Equal" => Ok(Value::Bool(order().is_eq())),
            "Sub" => Ok(Value::object(DurationObject(this.since(&moment(args.any(0)))))),
            "Format" => Ok(Value::str(this.format(&lossy(args.text(0))))),
            "String" => Ok(Value::str(this.to_string())),
            "IsZero" => {
                let zero = Time::zero();
                Ok(Value::Bool((this.seconds, this.nanos) == (zero.seconds, zero.nanos)))
            }
            "Local" | "UTC" => Ok(time(this.in_zone(Zone::Utc))),
            "Unix" => Ok(Value::Int64(this.seconds)),
            "UnixMilli" => subsecond(1_000),
            "UnixMicro" => subsecond(1_000_000),
            "UnixNano" => subsecond(1_000_000_000),
            "Year" => int(clock.year),
            "Month" => {
                Ok(Value::object(NamedNumber { kind: "time.Month", number: clock.month, names: &MONTHS, first: 1 }))
            }
            "Weekday" => Ok(Value::object(NamedNumber {
                kind: "time.Weekday",
                number: clock.weekday,
                names: &WEEKDAYS,
                first: 0,
            })),
            "Day" => int(i64::from(clock.day)),
            "Hour" => int(i64::from(clock.hour)),
            "Minute" => int(i64::from(clock.minute)),
            "Second" => int(i64::from(clock.second)),
            "Nanosecond" => int(i64::from(this.nanos)),
            "YearDay" => int(i64::from(clock.year_day)),
            other => Err(FuncError::new(format!("{other} cannot be called"))),
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_string().as_bytes());
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn plain(&self) -> Value {
        Value::str(self.0.format("2006-01-02T15:04:05.999999999Z07:00"))
    }

    fn equal(&self, other: &ObjectRef) -> bool {
        let same = |o: &Self| (o.0.seconds, o.0.nanos) == (self.0.seconds, self.0.nanos);
        other.as_any().downcast_ref::<Self>().is_some_and(same)
    }
}

/// A Go `time.Duration`.
pub struct DurationObject(pub Nanos);

static DURATION_METHODS: &[Method] = &[
    method("Hours", &[]),
    method("Microseconds", &[]),
    method("Milliseconds", &[]),
    method("Minutes", &[]),
    method("Nanoseconds", &[]),
    method("Seconds", &[]),
    method("String", &[]),
];

impl Object for DurationObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(DURATION)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "int64"
    }

    fn truth(&self) -> bool {
        self.0 != 0
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        DURATION_METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _: &mut Ctx<'_>, method: &'static Method, _: &[Value]) -> Answer {
        let float = |unit: f64| Ok(Value::Float(self.0 as f64 / unit));
        match method.name {
            "Hours" => float(3.6e12),
            "Minutes" => float(6e10),
            "Seconds" => float(1e9),
            "Milliseconds" => Ok(Value::Int64(self.0 / 1_000_000)),
            "Microseconds" => Ok(Value::Int64(self.0 / 1_000)),
            "Nanoseconds" => Ok(Value::Int64(self.0)),
            _ => Ok(Value::str(format_duration(self.0))),
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format_duration(self.0).as_bytes());
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn plain(&self) -> Value {
        Value::Int64(self.0)
    }
}

/// A number that prints as a name: a month, a day of the week.
struct NamedNumber {
    kind: &'static str,
    number: u32,
    names: &'static [&'static str],
    first: u32,
}

static NAME_METHODS: &[Method] = &[method("String", &[])];

impl Object for NamedNumber {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.kind)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "int"
    }

    fn truth(&self) -> bool {
        self.number != 0
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        NAME_METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _: &mut Ctx<'_>, _: &'static Method, _: &[Value]) -> Answer {
        let mut out = Vec::new();
        self.print(&mut out);
        Ok(Value::str(out))
    }

    fn print(&self, out: &mut Vec<u8>) {
        let name = self.names.get((self.number - self.first) as usize);
        out.extend_from_slice(name.copied().unwrap_or("").as_bytes());
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn plain(&self) -> Value {
        Value::Int(i64::from(self.number))
    }
}
