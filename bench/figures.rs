//! What figures of several rounds come to, and how the table of all benches is told of them.

/// Least, median and most.
pub(crate) fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[0], figures[figures.len() / 2], figures[figures.len() - 1])
}

/// Tells `cargo bench --bench table` a figure.
pub(crate) fn tell(name: &str, value: f64, decimals: usize) {
    println!("figure {name} {value:.decimals$}");
}
