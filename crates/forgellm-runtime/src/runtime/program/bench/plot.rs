//! Measured speeds as a picture.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::runtime::bench::{BenchResult, Speed};
use crate::runtime::program::bench::Bandwidth;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 640;
const FONT: &str = "sans-serif";
const BAR: RGBColor = RGBColor(70, 110, 180);
const ROOF: RGBColor = RGBColor(190, 70, 40);

/// A bar of a chart.
struct Bar {
    label: String,
    speed: Speed,
    /// Tokens per second that the memory allows.
    roof: Option<f64>,
}

/// An SVG file: prompts above, generation below. Bars are the middle runs, lines go from the slowest to the fastest one, and what the memory
/// allows is a line across.
pub(super) fn draw(name: &str, result: &BenchResult, bandwidth: Option<Bandwidth>) -> Result<String, String> {
    let prompts = result.prompts.iter().map(|case| {
        let label = format!("{} tokens at {}", case.speed.tokens, case.depth);
        Bar { label, speed: case.speed, roof: None }
    });
    let generations = result.generations.iter().map(|case| {
        let label = format!("{} at {}", count(case.batch), case.depth);
        let roof = bandwidth.and_then(|bandwidth| case.roof(bandwidth.bytes_a_second));
        Bar { label, speed: case.speed, roof: roof.map(|roof| roof.tokens_a_second) }
    });
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let (above, below) = root.split_vertically(HEIGHT / 2);
        let title = match bandwidth {
            Some(Bandwidth { bytes_a_second, .. }) => {
                format!("generation, tokens/s; red: what {:.1} GB/s of memory allow", bytes_a_second / 1e9)
            }
            None => "generation, tokens/s".to_owned(),
        };
        chart(&above, &format!("{name}: prompt, tokens/s"), &prompts.collect::<Vec<_>>())
            .and_then(|()| chart(&below, &title, &generations.collect::<Vec<_>>()))
            .and_then(|()| root.present())
            .map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn count(sequences: usize) -> String {
    if sequences == 1 { "1 sequence".to_owned() } else { format!("{sequences} sequences") }
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn chart<'a>(area: &DrawingArea<SVGBackend<'a>, Shift>, title: &str, bars: &[Bar]) -> Drawn<'a> {
    let highest = bars.iter().map(|bar| bar.speed.max.max(bar.roof.unwrap_or(0.0))).fold(1e-9, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(WHITE)
        .label_style((FONT, 12))
        .draw()?;
    for (index, Bar { label, speed, roof }) in bars.iter().enumerate() {
        let (left, middle, right) = (index as f64 + 0.2, index as f64 + 0.5, index as f64 + 0.8);
        let bar = Rectangle::new([(left, 0.0), (right, speed.median)], BAR.filled());
        let spread = PathElement::new([(middle, speed.min), (middle, speed.max)], BLACK.stroke_width(2));
        chart.draw_series([bar])?;
        chart.draw_series([spread])?;
        let value =
            Text::new(format!("{:.0}", speed.median), (left, speed.median + highest * 0.06), (FONT, 12));
        chart.draw_series([value])?;
        if let Some(roof) = roof {
            let across = [(left - 0.1, *roof), (right + 0.1, *roof)];
            chart.draw_series([PathElement::new(across, ROOF.stroke_width(2))])?;
        }
        let (x, y) = chart.backend_coord(&(left, 0.0));
        let style = TextStyle::from((FONT, 12).into_font());
        area.draw_text(label, &style, to_area(area, (x, y + 8)))?;
    }
    Ok(())
}

/// From a place in the picture to one in a part of it.
fn to_area<'a>(area: &DrawingArea<SVGBackend<'a>, Shift>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_base_pixel();
    (x - left, y - top)
}
