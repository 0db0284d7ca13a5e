//! Durations as they are typed: seconds, or a duration of Go: `300`, `5m`, `1h30m`.

use crate::eval::gotime::parse_duration;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Reads a duration. Unit of the result: seconds; a part of one is a whole one, for 0 means something else.
///
/// # Errors
/// It is no duration.
pub fn read_seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let nanos = parse_duration(text).ok().and_then(|nanos| u64::try_from(nanos).ok());
    let nanos = nanos.ok_or_else(|| format!("`{text}` is no duration; write seconds, 300, or 5m, 1h30m"))?;
    Ok(nanos.div_ceil(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_those_of_go() {
        for (text, seconds) in
            [("0", 0), ("300", 300), ("5m", 300), ("1h30m", 5400), ("0s", 0), ("1.5s", 2), ("1ms", 1)]
        {
            assert_eq!(read_seconds(text), Ok(seconds), "{text}");
        }
        for text in ["", "m", "-5", "-5m", "5 m", "5d"] {
            assert!(read_seconds(text).is_err(), "{text}");
        }
    }
}
