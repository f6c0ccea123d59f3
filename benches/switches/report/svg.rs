//! A drawing, written as SVG by hand: the colours come from a style sheet, so that one drawing does
//! for light and dark, which a drawing library would not leave to us.

use std::fmt::Write;

/// A drawing that grows.
#[derive(Clone, Debug, Default)]
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

/// Where a text stands about its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty one of this size.
    pub fn new(width: f64, height: f64) -> Self {
        Svg { body: String::new(), width, height }
    }

    /// A line of text whose baseline is at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             class=\"{class}\"/>"
        ));
    }

    /// The mark of the competitor numbered `series`, each in a shape of its own, with a text for the
    /// pointer.
    pub fn mark(&mut self, (x, y): (f64, f64), series: usize, title: &str) {
        let shape: &[(f64, f64)] = match series % SERIES.len() {
            0 => &[(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)],
            1 => &[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)],
            2 => &[],
            3 => &[(0.0, -5.0), (5.0, 4.0), (-5.0, 4.0)],
            4 => &[(0.0, 5.0), (5.0, -4.0), (-5.0, -4.0)],
            5 => &[(-5.0, 0.0), (4.0, -5.0), (4.0, 5.0)],
            6 => &[(5.0, 0.0), (-4.0, -5.0), (-4.0, 5.0)],
            7 => &[(-2.5, -5.0), (2.5, -5.0), (5.0, 0.0), (2.5, 5.0), (-2.5, 5.0), (-5.0, 0.0)],
            _ => &[(-5.0, -2.5), (5.0, -2.5), (5.0, 2.5), (-5.0, 2.5)],
        };
        let (class, title) = (class(series), escape(title));
        if shape.is_empty() {
            self.add(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" class=\"{class}\">\
                 <title>{title}</title></circle>"
            ));
            return;
        }
        let points: Vec<String> =
            shape.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        self.add(format_args!(
            "<polygon points=\"{}\" class=\"{class}\"><title>{title}</title></polygon>",
            points.join(" ")
        ));
    }

    /// As an element of a page that has the style sheet. `label` is for those who cannot see it.
    pub fn element(&self, label: &str) -> String {
        self.wrapped(label, "")
    }

    /// As a file of its own, on a ground of its own: readable wherever it is shown.
    pub fn file(&self, label: &str) -> String {
        let ground = format!(
            "<style>{}</style>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" class=\"ground\"/>\n",
            style()
        );
        self.wrapped(label, &ground)
    }

    fn wrapped(&self, label: &str, first: &str) -> String {
        let Svg { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">\n\
             {first}{body}</svg>\n",
            escape(label)
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }
}

/// The class of the competitor numbered `series`.
pub fn class(series: usize) -> String {
    format!("s{}", series % SERIES.len())
}

/// `text` with nothing in it that HTML or XML would take for markup, in attributes too.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML knows no other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The style sheet of all drawings, light and dark.
pub fn style() -> String {
    let scheme = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
        let mut css = String::new();
        for (n, colours) in SERIES.iter().enumerate() {
            let colour = pick(colours);
            let _ = write!(css, ".s{n}{{fill:{colour};stroke:{colour}}}");
        }
        for (class, property, colours) in PARTS {
            let _ = write!(css, ".{class}{{{property}:{}}}", pick(colours));
        }
        css
    };
    let (light, dark) = (scheme(|colours| colours.0), scheme(|colours| colours.1));
    format!("{FIXED}{light}@media (prefers-color-scheme:dark){{{dark}}}")
}

/// The competitors' colours on light and on dark, apart for colour-blind eyes too; the reference,
/// which is first, is grey.
const SERIES: &[(&str, &str)] = &[
    ("#6e7781", "#9aa4ae"),
    ("#d55e00", "#ff9e4a"),
    ("#0072b2", "#56b4e9"),
    ("#007f5f", "#2fc79a"),
    ("#a6367a", "#e79ac3"),
    ("#8c6d00", "#e0c04a"),
    ("#5b4bb7", "#a99bf0"),
    ("#00727a", "#4fd0d8"),
    ("#7a3e1d", "#d19a74"),
];

/// Everything else that has a colour.
const PARTS: &[(&str, &str, (&str, &str))] = &[
    ("ground", "fill", ("#ffffff", "#0d1117")),
    ("t", "fill", ("#1f2328", "#e6edf3")),
    ("h", "fill", ("#1f2328", "#e6edf3")),
    ("m", "fill", ("#59636e", "#9198a1")),
    ("good", "fill", ("#1a7f37", "#3fb950")),
    ("bad", "fill", ("#cf222e", "#ff7b72")),
    ("grid", "stroke", ("#e1e5ea", "#262c34")),
    ("one", "stroke", ("#6e7781", "#9aa4ae")),
    ("goal", "stroke", ("#1f2328", "#e6edf3")),
    ("stripe", "fill", ("#f4f6f8", "#151b23")),
];

const FIXED: &str = "svg{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\
    .h{font-size:14px;font-weight:600}.m,.good,.bad{font-size:11px}.good,.bad{font-weight:600}\
    .grid{stroke-width:1}.one{stroke-width:1.5}.goal{stroke-width:2}\
    .whisker{stroke-width:2;stroke-opacity:.55}.thin{stroke-width:1;stroke-opacity:1}";
