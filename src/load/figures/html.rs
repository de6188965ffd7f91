//! The report as one page: no script, nothing from elsewhere.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::chart::{Line, chart, short, thousands};
use super::{PhaseFigures, Report, Second, Spread};

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--card:#fff;--page:#f6f7f9;--a:#2563eb;--b:#f59e0b;--c:#dc2626;--ok:#15803d}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2a3240;--card:#161c26;--page:#0e131b;--a:#6ea8fe;--b:#fbbf24;--c:#f87171;--ok:#4ade80}}
body{margin:0 auto;max-width:1560px;padding:28px;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:28px 0 10px}p{margin:4px 0;color:var(--soft)}
.ok{color:var(--ok)}.bad{color:var(--c)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0}
.tiles div,figure,table{background:var(--card);border:1px solid var(--line);border-radius:10px}
.tiles div{padding:12px 14px}.tiles b{display:block;font-size:24px;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span,small{color:var(--soft);font-size:13px;font-weight:400}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(520px,100%),1fr));gap:12px}
figure{margin:0;padding:12px 14px}figcaption{font-weight:600;margin-bottom:6px}
figcaption span{float:right;margin-left:12px;font-weight:400;font-size:13px}figcaption span::before{content:'';display:inline-block;width:12px;height:3px;border-radius:2px;background:currentColor;margin-right:5px;vertical-align:middle}
span.a{color:var(--a)}span.b{color:var(--b)}span.c{color:var(--c)}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}text.y{text-anchor:end}text.x{text-anchor:middle}
.grid{stroke:var(--line)}.phase{stroke:var(--soft);stroke-dasharray:3 3;opacity:.6}
polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}polyline.a{stroke:var(--a)}polyline.b{stroke:var(--b)}polyline.c{stroke:var(--c)}
.area{stroke:none;opacity:.14}polygon.a,circle.a{fill:var(--a)}polygon.b,circle.b{fill:var(--b)}polygon.c,circle.c{fill:var(--c)}
.scroll{overflow-x:auto}table{border-collapse:separate;border-spacing:0;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}tr:last-child td{border-bottom:0}
th{font-weight:500;color:var(--soft);font-size:13px}th:first-child,td:first-child{text-align:left}
";

/// The page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let asked = &report.asked;
    let mut html = String::with_capacity(64 << 10);
    let title = format!("{} legs, {}, {} s", thousands(asked.legs as i64), asked.pattern, short(asked.duration_s));
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>sidetone load: {title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let own = if asked.own_gateway { "a gateway of its own" } else { "a running gateway" };
    let backends = [("transcriber", &asked.transcriber), ("detector", &asked.detector)];
    let backends = backends.iter().filter_map(|(what, name)| Some(format!(", {what} {}", escaped(name.as_ref()?))));
    let _ = writeln!(
        html,
        "<p>{} Hz, speech {} % of the time, seed {}; {own} at {}{}</p>",
        asked.rate_hz,
        short(f64::from(asked.talk) * 100.0),
        asked.seed,
        escaped(&asked.url),
        backends.collect::<String>(),
    );
    let machine = &report.machine;
    let _ = writeln!(
        html,
        "<p>driver on cores {}, gateway on {}; load average {} before, {} after; Sidetone {}</p>",
        escaped(&machine.driver_cores),
        if machine.server_cores.is_empty() { "its own" } else { &machine.server_cores },
        escaped(&machine.load_before),
        escaped(&machine.load_after),
        report.version
    );
    verdict(report, &mut html);
    tiles(report, &mut html);
    charts(report, &mut html);
    phases(&report.phases, &mut html);
    delays(report, &mut html);
    accounts(report, &mut html);
    html.push_str("</body></html>\n");
    html
}

fn verdict(report: &Report, html: &mut String) {
    if report.complete {
        let _ = writeln!(html, "<p class=\"ok\"><b>Every sample that was sent is accounted for.</b></p>");
    }
    for problem in &report.problems {
        let _ = writeln!(html, "<p class=\"bad\"><b>{}</b></p>", escaped(problem));
    }
    for remark in &report.remarks {
        let _ = writeln!(html, "<p>{}</p>", escaped(remark));
    }
}

fn tiles(report: &Report, html: &mut String) {
    let count = |count: u64| thousands(count as i64);
    let mut tiles = vec![
        (count(report.legs.sustained), "legs sustained"),
        (count(report.legs.connected), "legs let in"),
        (count(report.legs.refused.values().sum()), "legs refused"),
        (count(report.frames.sent), "frames sent"),
        (count(report.frames.late_gateway), "late by the gateway"),
        (count(report.frames.late_driver), "late by the driver"),
        (format!("{} ms", short(report.latency.total.p95)), "speech to event, p95"),
        (format!("{} µs", short(report.driver.us_a_frame)), "CPU a frame, driver"),
    ];
    if let Some(server) = &report.server {
        tiles
            .push((format!("{} µs", short(server.user_us_a_frame + server.system_us_a_frame)), "CPU a frame, gateway"));
        tiles.push((format!("{} KiB", short(server.rss_kib_a_leg)), "memory a leg"));
    }
    let tiles = tiles.iter().map(|(value, what)| format!("<div><b>{value}</b><span>{what}</span></div>"));
    let _ = writeln!(html, "<div class=\"tiles\">{}</div>", tiles.collect::<String>());
}

fn charts(report: &Report, html: &mut String) {
    let marks: Vec<_> = report.phases.iter().map(|phase| (phase.name, phase.from_s, phase.until_s)).collect();
    let values = |value: &dyn Fn(&Second) -> Option<f64>| report.seconds.iter().map(value).collect::<Vec<_>>();
    let line = |name, class, filled, value: &dyn Fn(&Second) -> Option<f64>| Line {
        name,
        class,
        filled,
        values: values(value),
    };
    let cpu = |second: &Second| Some(second.user_percent? + second.system_percent?);
    html.push_str("<div class=\"charts\">\n");
    for (title, unit, lines) in [
        (
            "Legs",
            "at the end of each second",
            vec![
                line("refused", "c", false, &|s| Some(s.refused as f64)),
                line("there", "a", true, &|s| Some(s.legs as f64)),
            ],
        ),
        (
            "CPU of the gateway",
            "% of one core",
            vec![line("kernel", "b", true, &|s| s.system_percent), line("user and kernel", "a", true, &cpu)],
        ),
        (
            "Speech to event",
            "ms, by when the speech ended",
            vec![line("p50", "a", false, &|s| s.latency_p50), line("p95", "b", false, &|s| s.latency_p95)],
        ),
        ("Lateness of the driver", "ms, 99 of 100 frames", vec![line("lag", "a", true, &|s| Some(s.lag_p99))]),
        (
            "Late frames",
            "more than 20 ms, a second",
            vec![
                line("driver", "b", false, &|s| Some(s.late_driver as f64)),
                line("gateway", "c", false, &|s| Some(s.late_gateway as f64)),
            ],
        ),
        (
            "Transcripts",
            "a second",
            vec![
                line("partials", "b", false, &|s| s.partials.map(|n| n as f64)),
                line("finals", "a", false, &|s| Some(s.finals as f64)),
            ],
        ),
        ("Audio that waits for a transcriber", "s", vec![line("behind", "c", true, &|s| s.behind_s)]),
        ("Memory of the gateway", "MiB resident", vec![line("resident", "a", true, &|s| s.rss_mib)]),
    ] {
        html.push_str(&chart(title, unit, &lines, &marks));
    }
    html.push_str("</div>\n");
}

fn table(html: &mut String, title: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let cells =
        |tag: &str, cells: &[String]| cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>();
    let heads: Vec<_> = heads.iter().map(|&head| head.to_owned()).collect();
    let rows: String = rows.into_iter().map(|row| format!("<tr>{}</tr>\n", cells("td", &row))).collect();
    let _ = write!(
        html,
        "<h2>{title}</h2>\n<div class=\"scroll\"><table><tr>{}</tr>\n{rows}</table></div>\n",
        cells("th", &heads)
    );
}

fn phases(phases: &[PhaseFigures], html: &mut String) {
    let or_none = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
    let heads = [
        "phase",
        "seconds",
        "legs",
        "refused",
        "frames",
        "user, µs a frame",
        "kernel",
        "inference",
        "core",
        "finals",
        "p50, ms",
        "p95, ms",
        "without sentiment",
        "partials",
        "behind, s",
    ];
    let row = |phase: &PhaseFigures| {
        vec![
            phase.name.to_owned(),
            format!("{} to {}", short(phase.from_s), short(phase.until_s)),
            thousands(phase.legs as i64),
            thousands(phase.refused as i64),
            thousands(phase.frames as i64),
            or_none(phase.user_us_a_frame),
            or_none(phase.system_us_a_frame),
            or_none(phase.inference_us_a_frame),
            phase.cpu_percent.map_or_else(|| "–".to_owned(), |percent| format!("{} %", short(percent))),
            thousands(phase.finals as i64),
            short(phase.latency.p50),
            short(phase.latency.p95),
            thousands(phase.without_sentiment as i64),
            phase.partials.map_or_else(|| "–".to_owned(), |n| thousands(n as i64)),
            or_none(phase.behind_s),
        ]
    };
    table(html, "Phases", &heads, phases.iter().map(row));
}

fn delays(report: &Report, html: &mut String) {
    let latency = &report.latency;
    let row = |what: &str, spread: &Spread| {
        let Spread { count, p50, p95, p99, p999, max } = *spread;
        let mut cells = vec![what.to_owned(), thousands(count as i64)];
        cells.extend([p50, p95, p99, p999, max].map(short));
        cells
    };
    let rows = [
        ("last sample of speech due, to the event here", &latency.total),
        ("of which: waiting for more speech", &latency.endpoint),
        ("of which: waiting for a thread", &latency.queue),
        ("of which: decoding", &latency.decode),
        ("of which: authored, to here", &latency.delivery),
        ("the driver came late to a frame", &report.frames.driver_lag),
        ("the gateway kept a frame waiting", &report.frames.held_back),
    ];
    let heads = ["ms", "count", "p50", "p95", "p99", "p99.9", "most"];
    table(html, "Delays", &heads, rows.map(|(what, spread)| row(what, spread)));
}

fn accounts(report: &Report, html: &mut String) {
    let ledger = &report.ledger;
    let per_second = u64::from(report.asked.rate_hz.max(1));
    let pair = |what: &str, samples: u64| {
        vec![what.to_owned(), thousands(samples as i64), thousands((samples / per_second) as i64)]
    };
    let mut rows = vec![
        pair("sent", ledger.sent),
        pair("received", ledger.received),
        pair("transcribed", ledger.transcribed),
        pair("silent", ledger.silent),
        pair("paused", ledger.paused),
    ];
    rows.extend(
        ledger.dropped.iter().map(|(reason, samples)| pair(&format!("dropped: {}", escaped(reason)), *samples)),
    );
    table(html, "Where every sample went", &["", "samples", "s"], rows);
    let counted = |what: &str, counts: &BTreeMap<String, u64>| {
        counts
            .iter()
            .map(|(why, n)| vec![format!("{what}: {}", escaped(why)), thousands(*n as i64)])
            .collect::<Vec<_>>()
    };
    let mut rows = vec![
        vec!["partials asked for and not delivered".to_owned(), thousands(report.shed.partials as i64)],
        vec!["finals without sentiment".to_owned(), thousands(report.shed.finals_without_sentiment as i64)],
    ];
    rows.extend(counted("segments without text", &report.shed.segments));
    rows.extend(counted("legs refused", &report.legs.refused));
    rows.extend(counted("legs not reached", &report.legs.failed));
    rows.extend(counted("legs cut", &report.legs.cut));
    table(html, "What was left out", &["", "count"], rows);
}

fn escaped(text: &impl Display) -> String {
    text.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::sample_report;
    use super::*;

    /// Every tag that is opened is closed, in order; those that stand alone do.
    fn well_formed(html: &str) {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.split_whitespace().next().unwrap();
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed.to_owned()), "…<{tag}>"),
                None if tag.ends_with('/') || ["!doctype", "meta"].contains(&name) => {}
                None => open.push(name.to_owned()),
            }
        }
        assert!(open.is_empty(), "left open: {open:?}");
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_from_elsewhere() {
        let html = page(&sample_report());
        well_formed(&html);
        assert_eq!((html.matches("<figure>").count(), html.matches("<svg ").count()), (8, 8));
        assert_eq!(html.matches("<h2>").count(), 4);
        for foreign in ["<script", "http://", "https://", "@import", "url(", "<img", "<link", "NaN", ">inf<"] {
            let page = html.replace("ws://127.0.0.1:1", "");
            assert!(!page.contains(foreign), "{foreign} is in the page");
        }
        for told in [
            "12,340",
            "legs sustained",
            "Where every sample went",
            "legs refused: HTTP 503 &lt;legs_max&gt;",
            ">overload</text>",
        ] {
            assert!(html.contains(told), "{told:?} is not in the page");
        }
    }

    #[test]
    fn what_went_wrong_stands_at_the_top() {
        let mut report = sample_report();
        report.complete = false;
        report.problems = vec!["the gateway ended: <killed>".to_owned()];
        let html = page(&report);
        well_formed(&html);
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not in the page"));
        assert!(at("the gateway ended: &lt;killed&gt;") < at("<div class=\"tiles\">"));
        assert!(!html.contains("Every sample that was sent is accounted for"));
    }
}
