//! [`Size`]: a number of bytes as users read it. [`Given`]: one that a user has written.

use std::fmt;

/// A number of bytes. It is shown in binary units: `1.2 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{} B", self.0),
            unit => write!(f, "{value:.1} {}", UNITS[unit]),
        }
    }
}

/// A number of bytes that a user has set. It is shown in the unit that makes it a round number, as it was written: `1 GB` or
/// `1 GiB`. A number that is round in neither is shown as [`Size`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given(pub u64);

/// Numbers up to this one are round enough to have been written.
const WRITTEN_MAX: u64 = 9_999;

impl Given {
    /// Returns the number of bytes as text that means the same number when it is read: in bytes, where no unit makes it round.
    pub fn exact(self) -> String {
        self.round().map_or_else(|| format!("{} B", self.0), |(count, unit)| format!("{count} {unit}"))
    }

    /// Returns the unit that makes the number a round one, behind how many of it there are.
    fn round(self) -> Option<(u64, &'static str)> {
        const UNITS: [(u64, &str); 8] = [
            (1 << 40, "TiB"),
            (1_000_000_000_000, "TB"),
            (1 << 30, "GiB"),
            (1_000_000_000, "GB"),
            (1 << 20, "MiB"),
            (1_000_000, "MB"),
            (1 << 10, "KiB"),
            (1_000, "kB"),
        ];
        let is_round = |(unit, _): &&(u64, &str)| {
            self.0 > 0 && self.0.is_multiple_of(*unit) && self.0 / unit <= WRITTEN_MAX
        };
        UNITS.iter().find(is_round).map(|(unit, name)| (self.0 / unit, *name))
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.round() {
            Some((count, unit)) => write!(f, "{count} {unit}"),
            None => Size(self.0).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_has_set_is_shown_in_its_own_unit() {
        for (bytes, shown) in [
            (1_000_000_000, "1 GB"),
            (1 << 30, "1 GiB"),
            (200 << 30, "200 GiB"),
            (1_500_000_000, "1500 MB"),
            (2_000_000, "2 MB"),
            (64_000, "64 kB"),
            (0, "0 B"),
            (1_234_567, "1.2 MiB"),
        ] {
            assert_eq!(Given(bytes).to_string(), shown);
            let exact = if bytes == 1_234_567 { "1234567 B" } else { shown };
            assert_eq!(Given(bytes).exact(), exact);
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_unit_that_it_fills() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_585_000, "12.0 MiB"),
            (3 << 39, "1.5 TiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
