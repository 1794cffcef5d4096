//! report.html in a real browser (Debian's chromium, headless): nothing overflows, nothing collides, and the
//! console has no complaints, in both themes and at two widths.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{report, written};
use crate::support::synthetic::Shape;

/// What the browser says of a page: the script's findings, and the lines of its console.
///
/// NOTE: a browser window has at least 500 pixels, so the page is shown in a frame of the width.
fn open(html: &str, width: u32, is_dark: bool) -> (Value, Vec<String>) {
    let within = html.replace('&', "&amp;").replace('"', "&quot;");
    let frame =
        format!("<iframe style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{within}\"></iframe>");
    let page = tempfile::Builder::new().suffix(".html").tempfile().expect("a file");
    fs::write(page.path(), format!("<!doctype html><html><body>{frame}</body></html>")).expect("writable");
    let profile = tempfile::tempdir().expect("a directory");
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--hide-scrollbars", "--timeout=60000", "--dump-dom"])
        .arg("--window-size=1400,1000")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--blink-settings=preferredColorScheme={}", if is_dark { 0 } else { 1 }))
        .arg(format!("file://{}", page.path().display()));
    let output = browser.output().expect("chromium starts: scripts/setup test installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = text.rsplit_once("FOUND").and_then(|(_, rest)| rest.split_once("END"));
    let (found, _) = found.unwrap_or_else(|| panic!("the page was not shown: {complaints}"));
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let console = complaints.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
    (serde_json::from_str(&found).expect("the script's findings"), console)
}

/// Gives memory samples a second figure under another layout, so that the table has the spread column.
fn add_twins(file: &Path) {
    let mut reader = csv::Reader::from_path(file).expect("samples");
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let place = |name: &str| header.iter().position(|column| column == name).expect("a column");
    let (peak, twin) = (place("resident_peak_bytes"), place("twin_resident_peak_bytes"));
    let mut writer = csv::Writer::from_path(file).expect("writable");
    writer.write_record(&header).expect("writable");
    for row in rows {
        let value = row[peak].to_owned();
        let cells = row.iter().enumerate().map(|(at, cell)| if at == twin { &value } else { cell });
        writer.write_record(cells).expect("writable");
    }
}

#[test]
fn the_page_fits_every_window_in_both_themes() {
    let variants = [
        "ptmalloc2",
        "jemalloc:dirty_decay_ms=0,muzzy_decay_ms=0,narenas=16",
        "tcmalloc",
        "mimalloc",
        "floor",
    ];
    let shape = Shape {
        workloads: ["monitor-server", "a-workload-whose-name-is-longer-than-most", "three"]
            .map(str::to_owned)
            .to_vec(),
        checkpoints: 60,
        // With the kernel's and the harness's parts, and the spread, the table is at its widest.
        harness_ns: Some(2.0),
        ..Shape::new(&variants, 6)
    };
    let directory = written(&shape);
    add_twins(&directory.path().join("samples.csv"));
    assert_eq!(report(directory.path(), &[]).status.code(), Some(0));
    let html = fs::read_to_string(directory.path().join("report.html")).expect("a page");
    let script = format!("<script>{}</script></body>", include_str!("layout.js"));
    let html = html.replace("</body>", &script);
    let mut papers = Vec::new();
    for (width, is_dark) in [(1280, false), (400, true)] {
        let (found, console) = open(&html, width, is_dark);
        assert_eq!(found["width"], width, "{found}");
        assert_eq!(found["faults"].as_array().map(Vec::len), Some(0), "at {width}: {found:#}");
        // The script's own line shows that lines of the console are seen.
        assert!(console.len() == 1 && console[0].contains("layout was looked at"), "{console:?}");
        papers.push(found["paper"].clone());
    }
    assert_ne!(papers[0], papers[1], "the dark theme differs");
}
