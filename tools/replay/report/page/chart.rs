//! A drawing as SVG, and what all drawings have in common: shaded zones, an axis of delays, the
//! marks of a delay.

use std::fmt::{Arguments, Write};

use super::axis::{Delays, ZONES};
use super::text::Escaped;
use crate::report::model::Delay;

/// A drawing that grows downwards.
pub struct Chart {
    body: String,
    /// In drawing units, as all lengths here.
    pub width: f64,
    /// What is used up of its height.
    pub height: f64,
}

impl Chart {
    /// An empty one.
    pub fn new(width: f64) -> Self {
        Chart { body: String::new(), width, height: 0.0 }
    }

    /// Adds an element.
    pub fn add(&mut self, element: Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    /// Adds a line of text whose baseline is at `y`. The class `c` centres it about `x`, `e` ends it
    /// there.
    pub fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.add(format_args!(
            "<text x='{x:.1}' y='{y:.1}' class='{class}'>{}</text>",
            Escaped(text)
        ));
    }

    /// Adds a straight line between two points.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.add(format_args!(
            "<path d='M{:.1} {:.1}L{:.1} {:.1}' class='{class}'/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// Adds a path, unless it is empty.
    pub fn path(&mut self, path: &str, class: &str) {
        if !path.is_empty() {
            self.add(format_args!("<path d='{path}' class='{class}'/>"));
        }
    }

    /// Adds a rectangle from one corner to the opposite one.
    pub fn area(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (width, height) = ((to.0 - from.0).max(0.0), (to.1 - from.1).max(0.0));
        self.add(format_args!(
            "<rect x='{:.1}' y='{:.1}' width='{width:.1}' height='{height:.1}' class='{class}'/>",
            from.0, from.1
        ));
    }

    /// Adds another drawing.
    pub fn place(&mut self, x: f64, y: f64, other: &Chart) {
        self.add(format_args!("<g transform='translate({x:.1} {y:.1})'>\n{}</g>", other.body));
    }

    /// The drawing as an element. `title` and `description` are for those who cannot see it; `first`
    /// stands before everything that is drawn.
    pub fn element(&self, title: &str, description: &str, first: &str) -> String {
        let Chart { body, width, height } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' \
             width='{width:.0}' height='{height:.0}' role='img'>\n<title>{}</title>\n\
             <desc>{}</desc>\n{first}{body}</svg>\n",
            Escaped(title),
            Escaped(description)
        )
    }

    /// Shades what a delay means, left to right between two heights, with the words above if `named`.
    pub fn zones(&mut self, axis: &Delays, top: f64, bottom: f64) {
        let (left, right) = self.sides();
        for zone in &ZONES {
            let from = axis.at(zone.from_us, left, right);
            let to = axis.at(zone.to_us, left, right);
            self.area((from, top), (to, bottom), zone.class);
            for (n, words) in zone.words.iter().enumerate() {
                let y = top + 11.0 + 11.0 * n as f64;
                self.text((from + to) / 2.0, y, "q c", words);
            }
        }
    }

    /// Draws the delays' axis below `bottom`, and its lines from `top` on.
    pub fn delay_axis(&mut self, axis: &Delays, top: f64, bottom: f64) {
        let (left, right) = self.sides();
        for (us, name) in axis.ticks() {
            let x = axis.at(us, left, right);
            self.line((x, top), (x, bottom), "grid");
            let class = match x {
                x if x <= left => "q",
                x if x >= right => "q e",
                _ => "q c",
            };
            self.text(x, bottom + 13.0, class, name);
        }
    }

    /// Marks where half, 99 %, 99.9 % and all of `delay` lie, on a line from the first to the last.
    pub fn marks(&mut self, axis: &Delays, delay: &Delay, y: f64, series: usize) {
        if delay.count == 0 {
            return;
        }
        let (left, right) = self.sides();
        let at = |us| axis.at(us, left, right);
        let class = class(series);
        self.line((at(delay.p50_us), y), (at(delay.max_us), y), &format!("{class} w"));
        let (p50, p99, p999, max) =
            (at(delay.p50_us), at(delay.p99_us), at(delay.p999_us), at(delay.max_us));
        self.path(&format!("M{max:.1} {:.1}l4.5 8h-9z", y - 4.5), &format!("{class} f"));
        self.path(&format!("M{:.1} {:.1}h6v6h-6z", p999 - 3.0, y - 3.0), &format!("{class} f"));
        self.path(&format!("M{p99:.1} {:.1}l5 5l-5 5l-5-5z", y - 5.0), &format!("{class} f"));
        self.add(format_args!("<circle cx='{p50:.1}' cy='{y:.1}' r='4' class='{class} f'/>"));
    }

    /// Where the plot begins and ends.
    pub fn sides(&self) -> (f64, f64) {
        (MARGIN, self.width - MARGIN)
    }
}

/// The class of the switch numbered `series`.
pub fn class(series: usize) -> String {
    format!("s{}", series % 2)
}

/// What the marks mean, wherever figures do not say it.
pub const MARKS: &str = "● half · ◆ 99 % · ■ 99.9 % · ▲ the slowest";
/// The width of a drawing that stands beside others, and fills a telephone.
pub const WIDTH: f64 = 420.0;
/// The height of the words that name the zones.
pub const ZONE_WORDS: f64 = 28.0;
/// The height of the axis's figures.
pub const AXIS: f64 = 20.0;
/// The free space on the left and on the right.
const MARGIN: f64 = 8.0;
