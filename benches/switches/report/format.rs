//! Numbers as people read them: three digits that count.

use crate::measure::{Better, Goal, Metric, Spread};

/// "98.3k", "4.71", "0.470", "0.047", "0".
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "-".to_owned(),
        _ if size == 0.0 => "0".to_owned(),
        _ if size >= 999_500.0 => format!("{}M", three_digits(value / 1e6)),
        _ if size >= 9_999.5 => format!("{}k", three_digits(value / 1e3)),
        _ if size >= 0.0995 => three_digits(value),
        _ if size >= 0.00995 => format!("{value:.3}"),
        _ if size >= 0.000_995 => format!("{value:.4}"),
        _ => format!("{value:.0e}"),
    }
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// "0.471x", "<.001x", "∞x" of nothing.
pub fn ratio(value: f64) -> String {
    match value {
        _ if value.is_infinite() => "∞x".to_owned(),
        _ if value > 0.0 && value < 0.001 => "<.001x".to_owned(),
        _ if value < 0.00995 => format!("{value:.3}x"),
        _ => number(value) + "x",
    }
}

/// "0.45..0.49"; nothing where one value is all there is.
pub fn bounds(spread: Spread) -> String {
    if spread.least == spread.most {
        return String::new();
    }
    format!("{}..{}", bound(spread.least), bound(spread.most))
}

/// With a digit less below 1, where it is a ratio most often.
fn bound(value: f64) -> String {
    if (0.00995..0.995).contains(&value) { format!("{value:.2}") } else { number(value) }
}

/// ">= 2.1x", "<= 0".
pub fn goal(goal: Goal) -> String {
    match goal {
        Goal::RatioAtMost(most) => format!("<= {most}x"),
        Goal::RatioAtLeast(least) => format!(">= {least}x"),
        Goal::AtMost(most) => format!("<= {most}"),
        Goal::AtLeast(least) => format!(">= {least}"),
    }
}

/// "delivered, /s".
pub fn metric(metric: &Metric) -> String {
    match metric.unit.symbol() {
        "" => metric.name.to_owned(),
        symbol => format!("{}, {symbol}", metric.name),
    }
}

/// "more is better".
pub fn direction(better: Better) -> &'static str {
    match better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    }
}

/// At most `most` characters, the end cut off with an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.trim_end_matches([' ', ',']).to_owned() + "…"
}
