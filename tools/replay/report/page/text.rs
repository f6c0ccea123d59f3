//! Numbers and names as people read them.

use std::fmt;

/// A text in which nothing is left that HTML or XML would take for markup, in attributes too.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' | '<' | '>' | '"' | '\'' => write!(f, "&#{};", u32::from(character)),
            // Control characters, and these two, cannot stand in XML at all.
            '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}"),
            c if c.is_control() => f.write_str("\u{fffd}"),
            c => write!(f, "{c}"),
        })
    }
}

/// "0.8 µs", "31 µs", "0.21 ms", "12.3 ms", "1.50 s", from microseconds.
pub fn time(us: f64) -> String {
    match sound(us) {
        0.0 => "0 µs".to_owned(),
        us if us < 9.95 => format!("{us:.1} µs"),
        us if us < 99.5 => format!("{us:.0} µs"),
        us if us < 9_995.0 => format!("{:.2} ms", us / 1e3),
        us if us < 99_950.0 => format!("{:.1} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// "1,234,567".
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "no frames", "1 frame", "1,234 frames".
pub fn several(number: u64, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", count(number)),
    }
}

/// "0 %", "under 0.01 %", "0.04 %", "1.2 %", "40 %": something is never said to be nothing, and
/// not everything never everything.
pub fn percent(value: f64) -> String {
    match sound(value) {
        0.0 => "0 %".to_owned(),
        value if value < 0.01 => "under 0.01 %".to_owned(),
        value if value < 0.995 => format!("{value:.2} %"),
        value if value < 9.95 => format!("{value:.1} %"),
        value if (99.0..100.0).contains(&value) => "over 99 %".to_owned(),
        value => format!("{value:.0} %"),
    }
}

/// "0.47x": `value` as so many times `reference`; nothing where that means nothing.
pub fn ratio(value: f64, reference: f64) -> Option<String> {
    let ratio = value / reference;
    match ratio {
        _ if !ratio.is_finite() || ratio <= 0.0 => None,
        _ if ratio < 0.01 => Some("under 0.01x".to_owned()),
        _ if ratio < 9.95 => Some(format!("{ratio:.2}x")),
        _ => Some(format!("{ratio:.0}x")),
    }
}

/// At most `most` characters, the beginning left out: names of sockets differ at their end.
pub fn end_of(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let end = name.chars().skip(length - most.saturating_sub(1));
    std::iter::once('…').chain(end).collect()
}

/// `text` in lines of at most `most` characters, where its words allow that.
pub fn lines(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `value`, or 0 where it is no number that a measurement can give.
pub fn sound(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}
