//! A picture of how many models are alive through the year.

use std::fmt::Write;

use super::outcome::Outcome;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 4] = ["#444444", "#b8860b", "#c8553d", "#1b6ca8"];
/// Days between two marks below the picture.
const MARK_EVERY: usize = 73;

/// Draws the mean share of models that are alive as SVG: days to the right, the share upwards. The band is from the
/// worst to the best year.
pub fn picture(curves: &[(&str, &[Outcome])]) -> String {
    let days =
        curves.iter().flat_map(|(_, it)| it.iter()).map(|it| it.samples.len()).max().unwrap_or(2).max(2);
    let x = |day: usize| MARGIN + day as f64 / (days - 1) as f64 * WIDTH;
    let y = |share: f64| MARGIN + (1.0 - share) * HEIGHT;
    let (right, bottom) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right:.0} {bottom:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <path d=\"M{MARGIN} {MARGIN}V{0}H{1:.1}\" fill=\"none\" stroke=\"#888\"/>\n\
         <text x=\"{MARGIN}\" y=\"{2:.1}\">share of models alive</text>\n",
        HEIGHT + MARGIN,
        WIDTH + MARGIN,
        MARGIN - 16.0,
    );
    for day in (0..days).step_by(MARK_EVERY) {
        let place = bottom - MARGIN + 18.0;
        svg += &text(x(day), place, "#444", "middle", &format!("day {day}"));
    }
    for share in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        svg += &text(MARGIN - 6.0, y(share) + 4.0, "#444", "end", &format!("{share:.1}"));
    }
    for ((name, outcomes), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let shares =
            |day: usize| outcomes.iter().filter_map(move |it| it.samples.get(day)).map(|it| it.alive);
        let mean = |day: usize| shares(day).sum::<f64>() / shares(day).count().max(1) as f64;
        let line = path((0..days).map(|day| (x(day), y(mean(day)))));
        let worst = (0..days).map(|day| (x(day), y(shares(day).fold(1.0, f64::min))));
        let best = (0..days).rev().map(|day| (x(day), y(shares(day).fold(0.0, f64::max))));
        let band = path(worst.chain(best));
        svg += &format!(
            "<path d=\"{band}Z\" fill=\"{colour}\" fill-opacity=\"0.2\"/>\n\
             <path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
        );
        let last = mean(days - 1);
        svg += &text(x(days - 1) - 4.0, y(last) - 6.0, colour, "end", &format!("{name}: {last:.4}"));
    }
    svg + "</svg>\n"
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (place, (x, y)) in points.enumerate() {
        let written = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }
    path
}

fn text(x: f64, y: f64, colour: &str, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{text}</text>\n")
}
