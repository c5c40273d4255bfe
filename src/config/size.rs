//! Amounts of memory and disk as people write them: a whole number and a unit.

/// Units with their length in bytes.
const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads `512MiB`, `4GiB` or `0B`.
///
/// # Errors
/// A sentence on what is wrong: no number, no unit, an unknown unit, a fraction, a sign, or more than 64 bits hold.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("must begin with a whole number, like 512MiB".to_owned());
    }
    if unit.is_empty() {
        return Err(format!("has no unit; write {digits}MiB, or B, KiB, GiB, TiB"));
    }
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(
            "must be a whole number and one of the units B, KiB, MiB, GiB, TiB, like 512MiB".to_owned()
        );
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*length))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in
            [("0B", 0), ("1B", 1), ("2KiB", 2_048), ("512MiB", 536_870_912), ("1TiB", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "5", "-1B", "1.5GiB", "1MB", "1 MiB", "9223372036854775808B", "99999999TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
