//! Time spans as Go prints them: `500µs`, `2.798235ms`, `1.234567s`, `1m30s`, `1h0m0s`.

use std::fmt::{self, Display};

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// A time span in nanoseconds, printed as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(u64);

impl GoDuration {
    /// Rounds to nanoseconds; what is below 0 is 0.
    pub fn from_secs(seconds: f64) -> Self {
        Self((seconds * SECOND as f64).round() as u64)
    }
}

impl Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            nanos @ ..MICRO => write!(f, "{nanos}ns"),
            nanos @ ..MILLI => write!(f, "{}µs", Decimal(nanos, MICRO)),
            nanos @ ..SECOND => write!(f, "{}ms", Decimal(nanos, MILLI)),
            nanos => {
                let (minutes, rest) = (nanos / SECOND / 60, nanos % (60 * SECOND));
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", Decimal(rest, SECOND))
            }
        }
    }
}

/// A number of units, with as many decimals as it needs.
struct Decimal(u64, u64);

impl Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = *self;
        let (whole, mut part) = (value / unit, value % unit);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let mut digits = unit.ilog10() as usize;
        while part.is_multiple_of(10) {
            part /= 10;
            digits -= 1;
        }
        write!(f, "{whole}.{part:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints_it() {
        for (seconds, text) in [
            (-0.25, "0s"),
            (0.0, "0s"),
            (1e-9, "1ns"),
            (999e-9, "999ns"),
            (0.000_001_5, "1.5µs"),
            (0.000_5, "500µs"),
            (0.001, "1ms"),
            (0.002_798_235, "2.798235ms"),
            (0.1, "100ms"),
            (0.999_999_999, "999.999999ms"),
            (0.999_999_999_6, "1s"),
            (1.0, "1s"),
            (1.234_567, "1.234567s"),
            (10.05, "10.05s"),
            (59.5, "59.5s"),
            (60.0, "1m0s"),
            (90.0, "1m30s"),
            (3600.0, "1h0m0s"),
            (3661.25, "1h1m1.25s"),
        ] {
            assert_eq!(GoDuration::from_secs(seconds).to_string(), text);
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let units = [
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("ms", 1e-3),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        for exponent in 0..14_u32 {
            for digit in [1, 3, 7, 9] {
                let nanos = digit * 10_u64.pow(exponent) + u64::from(exponent);
                let printed = GoDuration(nanos).to_string();
                let mut text = printed.as_str();
                let mut seconds = 0.0;
                while !text.is_empty() {
                    let end = text.find(char::is_alphabetic).unwrap();
                    let (number, rest) = text.split_at(end);
                    let (name, scale) = units
                        .iter()
                        .find(|(name, _)| rest.starts_with(name))
                        .unwrap();
                    seconds += number.parse::<f64>().unwrap() * scale;
                    text = &rest[name.len()..];
                }
                let expected = nanos as f64 / 1e9;
                assert!((seconds - expected).abs() <= expected * 1e-12, "{printed}");
            }
        }
    }
}
