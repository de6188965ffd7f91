//! Lines over time, as SVG without a script.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// A line: its name, its class in the style sheet, a value for each second.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    /// Filled to the axis.
    pub(super) filled: bool,
    pub(super) values: Vec<Option<f64>>,
}

/// A number with as many digits as one reads.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => thousands(value.round() as i64),
        v if v >= 10.0 => trimmed(format!("{value:.1}")),
        0.0 => "0".to_owned(),
        _ => trimmed(format!("{value:.2}")),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1,234,567`
pub(super) fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The next 1, 2 or 5 times a power of ten that a quarter of `most` fits in.
fn step(most: f64) -> f64 {
    let rough = (most / 4.0).max(1e-9);
    let ten = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * ten).into_iter().find(|step| *step >= rough).unwrap_or(ten * 10.0)
}

/// One chart. `phases`: name, start and end in seconds; one too short for its name has none.
pub(super) fn chart(title: &str, unit: &str, lines: &[Line], phases: &[(&str, f64, f64)]) -> String {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or_default().max(2) - 1;
    let most = lines.iter().flat_map(|line| &line.values).flatten().fold(0.0_f64, |most, value| most.max(*value));
    let step_y = step(if most > 0.0 { most } else { 1.0 });
    let top = ((most / step_y).ceil() * step_y).max(step_y);
    let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / seconds as f64;
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / top);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
    // Writing to a string does not fail.
    for n in 0..=(top / step_y).round() as usize {
        let value = n as f64 * step_y;
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        );
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{}</text>", LEFT - 6.0, at + 4.0, short(value));
    }
    let step_x = step(seconds as f64).max(1.0);
    for n in 0..=(seconds as f64 / step_x) as usize {
        let second = n as f64 * step_x;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"x\">{} s</text>",
            x(second),
            HEIGHT - 6.0,
            short(second)
        );
    }
    for (name, from, until) in phases.iter().filter(|(_, from, _)| *from < seconds as f64) {
        let at = x(*from);
        if *from > 0.0 {
            let floor = HEIGHT - BOTTOM;
            let _ = write!(svg, "<line class=\"phase\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{floor:.1}\"/>");
        }
        if x(*until) - at > 8.0 * name.len() as f64 {
            let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" class=\"name\">{name}</text>", at + 4.0, TOP + 9.0);
        }
    }
    for line in lines {
        for stretch in stretches(&line.values) {
            let points: Vec<_> =
                stretch.iter().map(|(second, value)| format!("{:.1},{:.1}", x(*second as f64), y(*value))).collect();
            let (Some((first, _)), Some((last, _))) = (stretch.first(), stretch.last()) else { continue };
            if line.filled {
                let (left, right, floor) = (x(*first as f64), x(*last as f64), y(0.0));
                let _ = write!(
                    svg,
                    "<polygon class=\"{} area\" points=\"{left:.1},{floor:.1} {} {right:.1},{floor:.1}\"/>",
                    line.class,
                    points.join(" ")
                );
            }
            let _ = write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, points.join(" "));
            if let [only] = &points[..]
                && let Some((x, y)) = only.split_once(',')
            {
                let _ = write!(svg, "<circle class=\"{}\" cx=\"{x}\" cy=\"{y}\" r=\"2\"/>", line.class);
            }
        }
    }
    svg.push_str("</svg>");
    let legend: String =
        lines.iter().rev().map(|line| format!("<span class=\"{}\">{}</span>", line.class, line.name)).collect();
    format!("<figure><figcaption>{title} <small>{unit}</small> {legend}</figcaption>{svg}</figure>\n")
}

/// Values that follow each other without a hole, each with its second.
fn stretches(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut found = vec![Vec::new()];
    for (second, value) in values.iter().enumerate() {
        match (value, found.last_mut()) {
            (Some(value), Some(last)) => last.push((second, *value)),
            (None, Some(last)) if !last.is_empty() => found.push(Vec::new()),
            _ => {}
        }
    }
    found.retain(|stretch| !stretch.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.254, "0.25"),
            (5.0, "5"),
            (12.34, "12.3"),
            (100.4, "100"),
            (1_234_567.0, "1,234,567"),
            (-1_000.0, "-1,000"),
        ] {
            assert_eq!(short(value), expected);
        }
        assert_eq!([3.0, 7.9, 100.0, 0.04].map(step), [1.0, 2.0, 50.0, 0.01]);
    }

    #[test]
    fn a_hole_in_the_values_is_a_hole_in_the_line() {
        let line = |values| Line { name: "legs", class: "a", filled: false, values };
        let whole = chart(
            "Legs",
            "",
            &[line(vec![Some(1.0), Some(2.0), Some(3.0)])],
            &[("joining", 0.0, 0.1), ("steady", 1.0, 2.0)],
        );
        assert_eq!(whole.matches("<polyline").count(), 1);
        assert!(whole.contains("points=\"52.0,120.7 377.0,65.3 702.0,10.0\""), "{whole}");
        assert!(whole.contains(">steady</text>") && !whole.contains("joining"), "{whole}");
        let holed = chart("Legs", "", &[line(vec![Some(1.0), None, Some(3.0), Some(2.0)])], &[]);
        assert_eq!((holed.matches("<polyline").count(), holed.matches("<circle").count()), (2, 1));
        let none = chart("Legs", "", &[line(Vec::new())], &[]);
        assert!(!none.contains("<polyline") && !none.contains("NaN"), "{none}");
    }
}
