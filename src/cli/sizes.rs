//! Sizes as they are typed and told: `20GB`, `512 MB`. Units are decimal, as on disks and in registries.

/// Units and what they are. Unit: bytes.
const UNITS: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

/// Reads a size: a number and a unit, of which a letter is enough.
///
/// # Errors
/// It is no size.
pub fn read_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write one as 20GB or 500MB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text.get(digits.len()..).unwrap_or_default().trim().to_lowercase();
    let unit = match unit.as_str() {
        "" => 1,
        unit => {
            let found = UNITS.iter().find(|(name, _)| {
                let name = name.to_lowercase();
                name == unit || (unit.len() == 1 && name.starts_with(unit))
            });
            found.map(|(_, size)| *size).ok_or_else(wrong)?
        }
    };
    digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)
}

/// Writes a size.
pub fn size_text(bytes: u64) -> String {
    let (name, unit) = UNITS.iter().find(|(_, unit)| bytes >= *unit).copied().unwrap_or(("B", 1));
    if unit == 1 { format!("{bytes} B") } else { format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        let read = |text| read_size(text).unwrap();
        assert_eq!(
            ["0", "15", "20GB", "20 gb", "3k", "1T"].map(read),
            [0, 15, 20_000_000_000, 20_000_000_000, 3_000, 1_000_000_000_000]
        );
        for text in ["", "GB", "-1", "1.5GB", "1XB", "99999999999TB"] {
            assert!(read_size(text).unwrap_err().contains("20GB"), "{text}");
        }
        assert_eq!([0, 999, 1_500, 20_000_000_000].map(size_text), ["0 B", "999 B", "1.5 kB", "20.0 GB"]);
    }
}
