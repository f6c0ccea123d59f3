//! Numbers as people say them.

use std::time::Duration;

/// A duration in its two largest units: `2 days 3 h`, `3 min 20 s`, `1.5 s`, `12.5 ms`.
pub(super) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / DAY, seconds % DAY / HOUR, seconds % HOUR / MINUTE);
    match seconds {
        DAY.. => two(format!("{days} day{}", if days == 1 { "" } else { "s" }), hours, "h"),
        HOUR.. => two(format!("{hours} h"), minutes, "min"),
        MINUTE.. => two(format!("{minutes} min"), seconds % MINUTE, "s"),
        1.. => format!("{} s", thousandths(duration.as_millis())),
        0 if duration.as_micros() >= 1000 => format!("{} ms", thousandths(duration.as_micros())),
        0 => format!("{} us", thousandths(duration.as_nanos())),
    }
}

/// `1 frame was`, `3 frames were`: a number with its noun and verb.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn two(first: String, rest: u64, unit: &str) -> String {
    if rest == 0 { first } else { format!("{first} {rest} {unit}") }
}

/// A number of thousandths with as many decimals as it needs.
fn thousandths(number: u128) -> String {
    let text = format!("{}.{:03}", number / 1000, number % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        for (nanos, said) in [
            (0, "0 us"),
            (1_500, "1.5 us"),
            (12_500_000, "12.5 ms"),
            (1_000_000_000, "1 s"),
            (1_250_000_000, "1.25 s"),
            (200_000_000_000, "3 min 20 s"),
            (3_600_000_000_000, "1 h"),
            (86_400_000_000_000, "1 day"),
            (183_700_000_000_000, "2 days 3 h"),
        ] {
            assert_eq!(spoken(Duration::from_nanos(nanos)), said);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "gap was", "gaps were"), "1 gap was");
        assert_eq!(counted(0, "gap was", "gaps were"), "0 gaps were");
    }
}
