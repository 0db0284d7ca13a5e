//! Times and durations as Go's package `time` prints and reads them.
//!
//! What lives here: [`Time`] with Go's reference layouts, and durations. What does not: the clock (it is an argument)
//! and the local zone of a machine: local time is UTC. The zone database is compiled in.

use jiff::tz::TimeZone;

/// A duration. Unit: nanoseconds.
pub type Nanos = i64;

const SECOND: i64 = 1_000_000_000;

/// A moment and the zone it is told in.
#[derive(Clone, Debug)]
pub struct Time {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// The zone.
    pub zone: Zone,
}

/// A time zone.
#[derive(Clone, Debug)]
pub enum Zone {
    /// UTC.
    Utc,
    /// A fixed offset, in seconds east of UTC, and its abbreviation (may be empty).
    Fixed(i32, String),
    /// A zone of the database.
    Named(TimeZone),
}

impl Zone {
    /// Finds a zone by its name; `""`, `UTC` and `Local` are UTC.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "" | "UTC" | "Local" => Some(Self::Utc),
            _ => TimeZone::get(name).ok().map(Self::Named),
        }
    }
}

/// Year, month, day, hour, minute, second, day of the year and day of the week of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The year; 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// From 1.
    pub year_day: u32,
    /// 0 is Sunday.
    pub weekday: u32,
}

/// Names of the months.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of the days of the week, from Sunday.
pub const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Returns the number of days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

fn days_in(month: u32, year: i64) -> u32 {
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    (days_from_date(next.0, i64::from(next.1), 1) - days_from_date(year, i64::from(month), 1)) as u32
}

impl Time {
    /// Returns the time of a Unix time stamp, in UTC.
    pub fn unix(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos, zone: Zone::Utc }
    }

    /// Returns Go's zero time, the start of year 1.
    pub fn zero() -> Self {
        Self::unix(-62_135_596_800, 0)
    }

    /// Returns the offset from UTC in seconds and the abbreviation of the zone at this time.
    pub fn offset(&self) -> (i32, String) {
        match &self.zone {
            Zone::Utc => (0, "UTC".to_owned()),
            Zone::Fixed(offset, name) => (*offset, name.clone()),
            Zone::Named(zone) => match jiff::Timestamp::from_second(self.seconds) {
                Ok(stamp) => {
                    let info = zone.to_offset_info(stamp);
                    (info.offset().seconds(), info.abbreviation().to_owned())
                }
                Err(_) => (0, "UTC".to_owned()),
            },
        }
    }

    /// Returns the same moment in another zone.
    pub fn in_zone(&self, zone: Zone) -> Self {
        Self { zone, ..*self }
    }

    /// Adds a duration.
    pub fn add(&self, duration: Nanos) -> Self {
        let nanos = i64::from(self.nanos) + duration.rem_euclid(SECOND);
        let seconds = self.seconds.saturating_add(duration.div_euclid(SECOND)).saturating_add(nanos / SECOND);
        Self { seconds, nanos: (nanos % SECOND) as u32, zone: self.zone.clone() }
    }

    /// Adds years, months and days; what overflows a month runs into the next.
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let clock = self.clock();
        let month = i64::from(clock.month) - 1 + months.clamp(-12_000_000, 12_000_000);
        let year = clock.year + years.clamp(-1_000_000, 1_000_000) + month.div_euclid(12);
        let day = i64::from(clock.day) + days.clamp(-400_000_000, 400_000_000);
        let date = days_from_date(year, month.rem_euclid(12) + 1, 1) + day - 1;
        let time = i64::from(clock.hour) * 3600 + i64::from(clock.minute) * 60 + i64::from(clock.second);
        self.local(date * 86_400 + time)
    }

    /// Returns the moment at which the zone's clock shows these seconds since 1970.
    fn local(&self, shown: i64) -> Self {
        let guess = |seconds: i64| Self { seconds, ..self.clone() }.offset().0;
        let first = shown - i64::from(guess(shown));
        Self { seconds: shown - i64::from(guess(first)), ..self.clone() }
    }

    /// Returns the duration since another time; it saturates.
    pub fn since(&self, other: &Self) -> Nanos {
        let seconds = self.seconds.saturating_sub(other.seconds).saturating_mul(SECOND);
        seconds.saturating_add(i64::from(self.nanos) - i64::from(other.nanos))
    }

    /// Returns what the clock and the calendar of the zone show.
    pub fn clock(&self) -> Clock {
        let shown = self.seconds + i64::from(self.offset().0);
        let days = shown.div_euclid(86_400);
        let time = shown.rem_euclid(86_400) as u32;
        let (year, month, day) = date_from_days(days);
        Clock {
            year,
            month,
            day,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
            year_day: (days - days_from_date(year, 1, 1)) as u32 + 1,
            weekday: (days + 4).rem_euclid(7) as u32,
        }
    }

    /// Prints the time in a Go layout.
    pub fn format(&self, layout: &str) -> String {
        let clock = self.clock();
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while let Some((before, chunk, after)) = next_chunk(rest) {
            out.push_str(before);
            self.write_chunk(&mut out, chunk, &clock);
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn write_chunk(&self, out: &mut String, chunk: Chunk, clock: &Clock) {
        let name = |names: &[&'static str], index: u32| names.get(index as usize).copied().unwrap_or("");
        let hour12 = if clock.hour.is_multiple_of(12) { 12 } else { clock.hour % 12 };
        let text = match chunk {
            Chunk::LongYear if clock.year < 0 => format!("-{:04}", -clock.year),
            Chunk::LongYear => format!("{:04}", clock.year),
            Chunk::Year => format!("{:02}", clock.year.rem_euclid(100)),
            Chunk::LongMonth => name(&MONTHS, clock.month - 1).to_owned(),
            Chunk::Month => name(&MONTHS, clock.month - 1).chars().take(3).collect(),
            Chunk::NumMonth => clock.month.to_string(),
            Chunk::ZeroMonth => format!("{:02}", clock.month),
            Chunk::LongWeekday => name(&WEEKDAYS, clock.weekday).to_owned(),
            Chunk::Weekday => name(&WEEKDAYS, clock.weekday).chars().take(3).collect(),
            Chunk::Day => clock.day.to_string(),
            Chunk::UnderDay => format!("{:2}", clock.day),
            Chunk::ZeroDay => format!("{:02}", clock.day),
            Chunk::UnderYearDay => format!("{:3}", clock.year_day),
            Chunk::ZeroYearDay => format!("{:03}", clock.year_day),
            Chunk::Hour => format!("{:02}", clock.hour),
            Chunk::Hour12 => hour12.to_string(),
            Chunk::ZeroHour12 => format!("{hour12:02}"),
            Chunk::Minute => clock.minute.to_string(),
            Chunk::ZeroMinute => format!("{:02}", clock.minute),
            Chunk::Second => clock.second.to_string(),
            Chunk::ZeroSecond => format!("{:02}", clock.second),
            Chunk::UpperPm => if clock.hour >= 12 { "PM" } else { "AM" }.to_owned(),
            Chunk::LowerPm => if clock.hour >= 12 { "pm" } else { "am" }.to_owned(),
            Chunk::Zone => {
                let (offset, name) = self.offset();
                if name.is_empty() { numeric_zone(offset, false, false, false) } else { name }
            }
            Chunk::Offset { utc, colon, seconds, short } => {
                let offset = self.offset().0;
                if utc && offset == 0 { "Z".to_owned() } else { numeric_zone(offset, colon, seconds, short) }
            }
            Chunk::Fraction { digits, trim, separator } => {
                let all = format!("{:09}", self.nanos);
                let mut shown: String = all.chars().chain(std::iter::repeat('0')).take(digits).collect();
                if trim {
                    shown.truncate(shown.trim_end_matches('0').len());
                }
                if shown.is_empty() { shown } else { format!("{separator}{shown}") }
            }
        };
        out.push_str(&text);
    }

    /// Reads a time written in a Go layout; a time without zone is in `zone`.
    ///
    /// # Errors
    /// Go's message.
    pub fn parse(layout: &str, text: &str, zone: &Zone) -> Result<Self, String> {
        Parser::default().run(layout, text, zone)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

fn numeric_zone(offset: i32, colon: bool, seconds: bool, short: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let size = offset.unsigned_abs();
    let mut out = format!("{sign}{:02}", size / 3600);
    let separator = if colon { ":" } else { "" };
    if !short {
        out.push_str(&format!("{separator}{:02}", size / 60 % 60));
    }
    if seconds {
        out.push_str(&format!("{separator}{:02}", size % 60));
    }
    out
}

/// A piece of a layout that stands for a part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    LongYear,
    Year,
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    UpperPm,
    LowerPm,
    Zone,
    Offset { utc: bool, colon: bool, seconds: bool, short: bool },
    Fraction { digits: usize, trim: bool, separator: char },
}

/// Chunks whose text is enough to know them; longer ones come first.
const CHUNKS: &[(&str, Chunk)] = &[
    ("January", Chunk::LongMonth),
    ("Monday", Chunk::LongWeekday),
    ("MST", Chunk::Zone),
    ("002", Chunk::ZeroYearDay),
    ("01", Chunk::ZeroMonth),
    ("02", Chunk::ZeroDay),
    ("03", Chunk::ZeroHour12),
    ("04", Chunk::ZeroMinute),
    ("05", Chunk::ZeroSecond),
    ("06", Chunk::Year),
    ("15", Chunk::Hour),
    ("1", Chunk::NumMonth),
    ("2006", Chunk::LongYear),
    ("2", Chunk::Day),
    ("__2", Chunk::UnderYearDay),
    ("3", Chunk::Hour12),
    ("4", Chunk::Minute),
    ("5", Chunk::Second),
    ("PM", Chunk::UpperPm),
    ("pm", Chunk::LowerPm),
    ("-070000", Chunk::Offset { utc: false, colon: false, seconds: true, short: false }),
    ("-07:00:00", Chunk::Offset { utc: false, colon: true, seconds: true, short: false }),
    ("-0700", Chunk::Offset { utc: false, colon: false, seconds: false, short: false }),
    ("-07:00", Chunk::Offset { utc: false, colon: true, seconds: false, short: false }),
    ("-07", Chunk::Offset { utc: false, colon: false, seconds: false, short: true }),
    ("Z070000", Chunk::Offset { utc: true, colon: false, seconds: true, short: false }),
    ("Z07:00:00", Chunk::Offset { utc: true, colon: true, seconds: true, short: false }),
    ("Z0700", Chunk::Offset { utc: true, colon: false, seconds: false, short: false }),
    ("Z07:00", Chunk::Offset { utc: true, colon: true, seconds: false, short: false }),
    ("Z07", Chunk::Offset { utc: true, colon: false, seconds: false, short: true }),
];

/// Finds the first chunk of a layout; returns what is before it, the chunk, and what is after it.
fn next_chunk(layout: &str) -> Option<(&str, Chunk, &str)> {
    for (at, _) in layout.char_indices() {
        let (before, rest) = layout.split_at_checked(at)?;
        if let Some((chunk, length)) = chunk_at(rest) {
            return Some((before, chunk, rest.get(length..)?));
        }
    }
    None
}

fn chunk_at(rest: &str) -> Option<(Chunk, usize)> {
    if let Some((text, chunk)) = CHUNKS.iter().find(|(text, _)| rest.starts_with(text)) {
        return Some((*chunk, text.len()));
    }
    let lower_follows = |n: usize| rest.as_bytes().get(n).is_some_and(u8::is_ascii_lowercase);
    if rest.starts_with("Jan") && !lower_follows(3) {
        return Some((Chunk::Month, 3));
    }
    if rest.starts_with("Mon") && !lower_follows(3) {
        return Some((Chunk::Weekday, 3));
    }
    if rest.starts_with("_2") && !rest.starts_with("_2006") {
        return Some((Chunk::UnderDay, 2));
    }
    let separator = rest.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let kind = rest.as_bytes().get(1).copied().filter(|b| matches!(b, b'0' | b'9'))?;
    let digits = rest.bytes().skip(1).take_while(|b| *b == kind).count();
    if rest.as_bytes().get(digits + 1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((Chunk::Fraction { digits, trim: kind == b'9', separator }, digits + 1))
}

#[derive(Default)]
struct Parser {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    pm: Option<bool>,
    offset: Option<i32>,
    zone_name: String,
}

/// Why a chunk could not be read.
enum Misread {
    Form,
    Range(&'static str),
}

type Read<T> = Result<T, Misread>;

fn digits_at(text: &mut &str, least: usize, most: usize) -> Read<u32> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return Err(Misread::Form);
    }
    let (number, rest) = text.split_at_checked(count).ok_or(Misread::Form)?;
    *text = rest;
    number.parse().map_err(|_| Misread::Form)
}

fn name_at(text: &mut &str, names: &[&str], short: bool) -> Read<u32> {
    for (index, name) in names.iter().enumerate() {
        let name = if short { name.get(..3).unwrap_or(name) } else { name };
        if text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)) {
            *text = text.get(name.len()..).unwrap_or("");
            return Ok(index as u32);
        }
    }
    Err(Misread::Form)
}

fn within(value: u32, range: std::ops::RangeInclusive<u32>, what: &'static str) -> Read<u32> {
    if range.contains(&value) { Ok(value) } else { Err(Misread::Range(what)) }
}

/// Quotes a text for a message. Source: package `time`, which writes all but plain ASCII as bytes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'\x7f' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

impl Parser {
    fn run(mut self, layout: &str, text: &str, zone: &Zone) -> Result<Time, String> {
        let failed = |rest: &str, chunk: &str| {
            let [text, layout, rest, chunk] = [text, layout, rest, chunk].map(quoted);
            format!("parsing time {text} as {layout}: cannot parse {rest} as {chunk}")
        };
        let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", quoted(text));
        let (mut value, mut rest) = (text, layout);
        loop {
            let (before, found, after) = match next_chunk(rest) {
                Some((before, chunk, after)) => (before, Some(chunk), after),
                None => (rest, None, ""),
            };
            let Some(skipped) = skip(value, before) else { return Err(failed(value, before)) };
            value = skipped;
            let Some(chunk) = found else { break };
            let chunk_text = rest.get(before.len()..rest.len() - after.len()).unwrap_or("");
            let hold = value;
            match self.chunk(chunk, &mut value, after) {
                Ok(()) => {}
                Err(Misread::Form) => return Err(failed(hold, chunk_text)),
                Err(Misread::Range(what)) => return Err(out_of_range(what)),
            }
            rest = after;
        }
        if !value.is_empty() {
            return Err(format!("parsing time {}: extra text: {}", quoted(text), quoted(value)));
        }
        self.finish(zone).map_err(out_of_range)
    }

    fn chunk(&mut self, chunk: Chunk, value: &mut &str, after: &str) -> Read<()> {
        match chunk {
            Chunk::LongYear => self.year = i64::from(digits_at(value, 4, 4)?),
            Chunk::Year => {
                let year = i64::from(digits_at(value, 2, 2)?);
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Chunk::LongMonth => self.month = Some(name_at(value, &MONTHS, false)? + 1),
            Chunk::Month => self.month = Some(name_at(value, &MONTHS, true)? + 1),
            Chunk::NumMonth => self.month = Some(within(digits_at(value, 1, 2)?, 1..=12, "month")?),
            Chunk::ZeroMonth => self.month = Some(within(digits_at(value, 2, 2)?, 1..=12, "month")?),
            Chunk::LongWeekday => drop(name_at(value, &WEEKDAYS, false)?),
            Chunk::Weekday => drop(name_at(value, &WEEKDAYS, true)?),
            Chunk::Day => self.day = Some(digits_at(value, 1, 2)?),
            Chunk::UnderDay => {
                *value = value.strip_prefix(' ').unwrap_or(value);
                self.day = Some(digits_at(value, 1, 2)?);
            }
            Chunk::ZeroDay => self.day = Some(digits_at(value, 2, 2)?),
            Chunk::UnderYearDay => {
                *value = value.trim_start_matches(' ');
                self.year_day = Some(digits_at(value, 1, 3)?);
            }
            Chunk::ZeroYearDay => self.year_day = Some(digits_at(value, 3, 3)?),
            Chunk::Hour => self.hour = within(digits_at(value, 1, 2)?, 0..=23, "hour")?,
            Chunk::Hour12 => self.hour = within(digits_at(value, 1, 2)?, 0..=12, "hour")?,
            Chunk::ZeroHour12 => self.hour = within(digits_at(value, 2, 2)?, 0..=12, "hour")?,
            Chunk::Minute => self.minute = within(digits_at(value, 1, 2)?, 0..=59, "minute")?,
            Chunk::ZeroMinute => self.minute = within(digits_at(value, 2, 2)?, 0..=59, "minute")?,
            Chunk::Second | Chunk::ZeroSecond => {
                let least = if chunk == Chunk::Second { 1 } else { 2 };
                self.second = within(digits_at(value, least, 2)?, 0..=59, "second")?;
                let told = matches!(next_chunk(after), Some(("", Chunk::Fraction { .. }, _)));
                if !told && value.starts_with(['.', ',']) && value.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
                    self.fraction(value);
                }
            }
            Chunk::UpperPm | Chunk::LowerPm => {
                let (am, pm) = if chunk == Chunk::UpperPm { ("AM", "PM") } else { ("am", "pm") };
                self.pm = Some(value.starts_with(pm));
                *value = value.strip_prefix(am).or_else(|| value.strip_prefix(pm)).ok_or(Misread::Form)?;
            }
            Chunk::Fraction { trim: true, .. } => {
                if value.starts_with(['.', ',']) && value.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
                    self.fraction(value);
                }
            }
            Chunk::Fraction { digits, .. } => {
                let body = value.strip_prefix(['.', ',']).ok_or(Misread::Form)?;
                let (number, rest) = body.split_at_checked(digits).ok_or(Misread::Form)?;
                if !number.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Misread::Form);
                }
                self.nanos = nanos_of(number);
                *value = rest;
            }
            Chunk::Zone => {
                if let Some(rest) = value.strip_prefix("UTC") {
                    (self.offset, *value) = (Some(0), rest);
                    return Ok(());
                }
                let length = value.bytes().take(5).take_while(u8::is_ascii_uppercase).count();
                if length < 3 {
                    return Err(Misread::Form);
                }
                let (name, rest) = value.split_at_checked(length).ok_or(Misread::Form)?;
                self.zone_name = name.to_owned();
                *value = rest;
            }
            Chunk::Offset { utc, colon, seconds, short } => self.numeric(value, utc, colon, seconds, short)?,
        }
        Ok(())
    }

    fn fraction(&mut self, value: &mut &str) {
        let body = value.get(1..).unwrap_or("");
        let count = body.bytes().take_while(u8::is_ascii_digit).count();
        self.nanos = nanos_of(body.get(..count).unwrap_or(""));
        *value = body.get(count..).unwrap_or("");
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "the parts of a chunk")]
    fn numeric(&mut self, value: &mut &str, utc: bool, colon: bool, seconds: bool, short: bool) -> Read<()> {
        if utc && let Some(rest) = value.strip_prefix('Z') {
            (self.offset, *value) = (Some(0), rest);
            return Ok(());
        }
        let negative = value.starts_with('-');
        *value = value.strip_prefix(['-', '+']).ok_or(Misread::Form)?;
        let mut offset = within(digits_at(value, 2, 2)?, 0..=24, "time zone offset hour")? * 3600;
        let parts = match (short, seconds) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        for (unit, what) in [(60, "time zone offset minute"), (1, "time zone offset second")].into_iter().take(parts) {
            if colon {
                *value = value.strip_prefix(':').ok_or(Misread::Form)?;
            }
            offset += within(digits_at(value, 2, 2)?, 0..=60, what)? * unit;
        }
        let offset = i32::try_from(offset).unwrap_or(0);
        self.offset = Some(if negative { -offset } else { offset });
        Ok(())
    }

    fn finish(self, zone: &Zone) -> Result<Time, &'static str> {
        let hour = match self.pm {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let days = if let Some(number) = self.year_day {
            let length = days_from_date(self.year + 1, 1, 1) - days_from_date(self.year, 1, 1);
            if number == 0 || i64::from(number) > length {
                return Err("day-of-year");
            }
            days_from_date(self.year, 1, 1) + i64::from(number) - 1
        } else {
            let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
            if day == 0 || day > days_in(month, self.year) {
                return Err("day");
            }
            days_from_date(self.year, i64::from(month), i64::from(day))
        };
        let time = i64::from(hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let shown = days * 86_400 + time;
        let at = |seconds: i64, zone: Zone| Time { seconds, nanos: self.nanos, zone };
        Ok(match self.offset {
            Some(0) if self.zone_name.is_empty() => at(shown, Zone::Utc),
            Some(offset) => at(shown - i64::from(offset), Zone::Fixed(offset, self.zone_name)),
            None if !self.zone_name.is_empty() => at(shown, Zone::Fixed(0, self.zone_name)),
            None => at(0, zone.clone()).local(shown),
        })
    }
}

fn nanos_of(digits: &str) -> u32 {
    let padded: String = digits.chars().chain(std::iter::repeat('0')).take(9).collect();
    padded.parse().unwrap_or(0)
}

/// Skips the text between chunks: a run of spaces in the layout takes any number of spaces.
fn skip<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    let mut value = value;
    let mut prefix = prefix;
    while let Some(first) = prefix.chars().next() {
        if first == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return None;
            }
            prefix = prefix.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(first)?;
        prefix = prefix.get(first.len_utf8()..)?;
    }
    Some(value)
}

/// Reads a duration such as `1h30m`.
///
/// # Errors
/// Go's message.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (digits, after) = rest.split_at_checked(number).ok_or_else(invalid)?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(length).ok_or_else(invalid)?;
        let unit: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().unwrap_or(0.0) };
        total = whole.checked_mul(unit).and_then(|n| n.checked_add(total)).ok_or_else(invalid)?;
        total += (part * unit as f64) as i128;
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = next;
    }
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| invalid())
}

/// Prints a duration as Go does: `1h30m0s`, `1.5s`, `2ms`.
pub fn format_duration(duration: Nanos) -> String {
    let size = duration.unsigned_abs();
    let sign = if duration < 0 { "-" } else { "" };
    let decimal = |whole: u64, part: u64, width: usize| {
        let fraction = format!("{part:0width$}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    let body = match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{size}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(size / 1_000, size % 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(size / 1_000_000, size % 1_000_000, 6)),
        _ => {
            let seconds = size / 1_000_000_000;
            let last = decimal(seconds % 60, size % 1_000_000_000, 9);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{last}s"),
                (0, minutes) => format!("{minutes}m{last}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{last}s"),
            }
        }
    };
    format!("{sign}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_printed_as_in_go() {
        let time = Time::unix(1_500_000_000, 0);
        let layout = "Monday, 02-Jan-06 15:04:05.000 .999 PM pm 1 _2 002 January";
        assert_eq!(time.format(layout), "Friday, 14-Jul-17 02:40:00.000  AM am 7 14 195 July");
        let berlin = time.in_zone(Zone::find("Europe/Berlin").unwrap());
        assert_eq!(berlin.to_string(), "2017-07-14 04:40:00 +0200 CEST");
        assert_eq!(berlin.format("2006-01-02T15:04:05Z07:00"), "2017-07-14T04:40:00+02:00");
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
        assert_eq!(Time::unix(1, 120_000_000).format("05.999,000 Month Jan."), "01.12,120 Month Jan.");
    }

    #[test]
    fn times_are_read_as_in_go() {
        let read = |layout, text| Time::parse(layout, text, &Zone::Utc).map_or_else(|e| e, |t| t.to_string());
        assert_eq!(read("2006-01-02", "2020-02-29"), "2020-02-29 00:00:00 +0000 UTC");
        assert_eq!(read("2006-01-02", "2021-02-29"), "parsing time \"2021-02-29\": day out of range");
        assert_eq!(
            read("2006-01-02", "bad"),
            "parsing time \"bad\" as \"2006-01-02\": cannot parse \"bad\" as \"2006\""
        );
        assert_eq!(read("2006", "2020x"), "parsing time \"2020x\": extra text: \"x\"");
        assert_eq!(
            read("2006-01-02T15:04:05Z07:00", "2020-01-02T03:04:05.5+01:00"),
            "2020-01-02 03:04:05.5 +0100 +0100"
        );
        assert_eq!(
            read("Jan _2 2006 3:04PM", "feb  3 2013 7:54pm"),
            "parsing time \"feb  3 2013 7:54pm\" as \"Jan _2 2006 3:04PM\": cannot parse \"pm\" as \"PM\""
        );
        assert_eq!(read("Jan _2 2006 3:04PM", "feb  3 2013 7:54PM"), "2013-02-03 19:54:00 +0000 UTC");
    }

    #[test]
    fn durations_go_there_and_back() {
        for text in ["1h30m0s", "1.5s", "2ms", "-1m0.000000001s", "0s", "1.001µs", "2562047h47m16.854775807s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("1d").unwrap_err(), "time: unknown unit \"d\" in duration \"1d\"");
        assert_eq!(parse_duration("1").unwrap_err(), "time: missing unit in duration \"1\"");
        assert_eq!(parse_duration("").unwrap_err(), "time: invalid duration \"\"");
    }

    #[test]
    fn every_day_of_four_centuries_has_its_date() {
        for days in -150_000..150_000 {
            let (year, month, day) = date_from_days(days);
            assert_eq!(days_from_date(year, i64::from(month), i64::from(day)), days);
        }
    }
}
