//! A picture of how many nodes had everything by when.

use std::fmt::Write;

use super::outcome::Outcome;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#c8553d", "#3a7d44", "#8e5572", "#b8860b", "#444444"];

/// Draws completion curves as SVG: time in terms of the bound to the right, the share of nodes upwards.
pub fn picture(curves: &[(String, &Outcome)]) -> String {
    let longest = curves.iter().map(|(_, it)| it.last()).fold(1.0, f64::max) * 1.05;
    let x = |time: f64| MARGIN + time / longest * WIDTH;
    let y = |share: f64| MARGIN + (1.0 - share) * HEIGHT;
    let (right, bottom) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right:.0} {bottom:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <path d=\"M{MARGIN} {MARGIN}V{0}H{1:.1}\" fill=\"none\" stroke=\"#888\"/>\n\
         <path d=\"M{2:.1} {MARGIN}V{0}\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>\n\
         <text x=\"{2:.1}\" y=\"{3}\" text-anchor=\"middle\">lower bound</text>\n",
        HEIGHT + MARGIN,
        WIDTH + MARGIN,
        x(1.0),
        HEIGHT + MARGIN + 18.0,
    );
    for ((name, outcome), (place, colour)) in curves.iter().zip(COLOURS.iter().cycle().enumerate()) {
        let all = outcome.completions.len().max(1) as f64;
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
        for (done, at) in (1u32..).zip(&outcome.completions) {
            let time = at.as_secs_f64() / outcome.bound.as_secs_f64();
            let point = write!(path, "L{:.1} {:.1}", x(time), y(f64::from(done) / all));
            debug_assert!(point.is_ok(), "a string takes all that is written");
        }
        let line = 20.0 + 16.0 * place as f64;
        let (name, last) = (escape(name), outcome.last());
        svg += &format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}: {last:.3}</text>\n",
            MARGIN + 8.0,
            MARGIN + line,
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
