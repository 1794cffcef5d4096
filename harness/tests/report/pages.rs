//! report.md and report.html as files: what they hold, and that they hold the same.

use std::fs;
use std::path::Path;

use heaplab::results::{Pass, Sample, columns};

use super::{FOUR, report, stderr, stdout, written};
use crate::support::rows::set_column;
use crate::support::synthetic::Shape;

pub(super) fn pages(directory: &Path) -> (String, String) {
    let output = report(directory, &[]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect(name);
    (read("report.md"), read("report.html"))
}

/// The text of a page without its tags, entities resolved, spaces made one.
pub(super) fn text_of(html: &str) -> String {
    let body = html[html.find("<body>").expect("a body")..].replace("<code>", "").replace("</code>", "");
    let mut text = String::new();
    let mut within = false;
    for letter in body.chars() {
        match letter {
            '<' => within = true,
            '>' => {
                within = false;
                text.push(' ');
            }
            _ if !within => text.push(letter),
            _ => {}
        }
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#x27;", "'");
    let text = text.replace("&#x2f;", "/").replace("&#x60;", "`").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let shape = Shape { workloads: vec!["one".to_owned(), "two".to_owned()], ..Shape::new(&FOUR, 6) };
    let (_, html) = pages(written(&shape).path());
    for attribute in ["src", "href", "xlink:href", "action", "data", "poster", "srcset"] {
        for rest in html.split(&format!(" {attribute}=\"")).skip(1) {
            let target = rest.split('"').next().unwrap_or_default();
            assert!(target.starts_with('#') || target == "data:,", "{attribute}={target}");
        }
    }
    for word in ["<script", "<link rel=\"stylesheet", "@import", "url(", "http://", "https://", "<iframe"] {
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("<svg ").count(), html.matches("<figure>").count());
    assert!(html.contains("prefers-color-scheme:dark") && html.contains("@media print"));
}

#[test]
fn both_pages_say_the_same() {
    let shape = Shape { workloads: vec!["one".to_owned(), "two".to_owned()], ..Shape::new(&FOUR, 6) };
    let (markdown, html) = pages(written(&shape).path());
    let text = text_of(&html);
    let mut compared = 0;
    for line in markdown.lines().filter(|line| !line.starts_with("![") && !line.starts_with("| ---")) {
        let plain = line.trim_start_matches(['#', '-', ' ']).replace(['`', '\\'], "");
        let cells = plain.trim_matches('|').split(" | ").map(str::trim).filter(|cell| !cell.is_empty());
        for cell in cells {
            assert!(text.replace('\\', "").contains(cell), "report.html lacks: {cell}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
    for heading in
        ["Answer", "Read this first", "What was measured, and how", "Caveats", "Machine", "To repeat"]
    {
        assert!(html.contains(&format!("{heading}</h")), "{heading}");
    }
}

#[test]
fn one_workload_is_answered_in_two_sentences_with_their_intervals() {
    let (markdown, _) = pages(written(&Shape::new(&FOUR, 10)).path());
    let start = markdown.find("## Answer").expect("an answer");
    let answer = &markdown[start..markdown.find("## Read this first").expect("warnings")];
    insta::assert_snapshot!(answer.trim(), @r"
    ## Answer

    - monitor-server, memory: ptmalloc2 needs the least resident memory at its peak: 99.4 MiB (97.9 MiB to 100 MiB), 9.1 % less than jemalloc (8.2 to 9.9 %).
    - monitor-server, speed: ptmalloc2 is the fastest: 47.5 ns per event (39.7 ns to 55.9 ns), 13 % less time than jemalloc (11 to 15 %).

    Ranges in brackets are confidence intervals, each of 95.1 % or more. You decide whether speed or memory matters more. Ratios are to ptmalloc2 within blocks; a difference is named when its whole interval is beyond 2 %.
    ");
}

#[test]
fn labels_are_shown_as_they_are() {
    let strange = ["ptmalloc2", "<b>\"x\"&`y`</b>", "a|b*c_d", "{{ title }}{% if %}"];
    let (markdown, html) = pages(written(&Shape::new(&strange, 6)).path());
    let text = text_of(&html);
    assert!(text.contains("<b>\"x\"&`y`</b>") && text.contains("{{ title }}{% if %}"), "{text}");
    assert!(!html.contains("<b>"));
    assert!(markdown.contains(r"| a\|b\*c\_d |") && markdown.contains(r"| \<b>"), "{markdown}");
}

#[test]
fn many_workloads_are_answered_each_and_then_together() {
    let names = ["one", "two", "three"].map(str::to_owned).to_vec();
    let shape = Shape { workloads: names, broken: None, ..Shape::new(&FOUR, 10) };
    let (markdown, _) = pages(written(&shape).path());
    let start = markdown.find("## Answer").expect("an answer");
    let said: Vec<&str> = markdown[start..].lines().filter(|line| line.starts_with("- ")).take(8).collect();
    assert!(said[0].starts_with("- one, memory: ") && said[5].starts_with("- three, speed: "), "{said:?}");
    insta::assert_snapshot!(said[6..].join("\n"), @r"
    - memory, mean over the 3 workloads that every variant finished: ptmalloc2 needs the least resident memory at its peak: in the geometric mean, 9.1 % less than jemalloc (8.2 to 9.9 %).
    - speed, mean over the 3 workloads that every variant finished: ptmalloc2 is the fastest: in the geometric mean, 13 % less time than jemalloc (11 to 15 %).
    ");
    let table = &markdown[markdown.find("## Over all workloads").expect("means")..];
    let table: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).take(5).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    | variant | time/event (3 workloads) | peak (3 workloads) | mean (3 workloads) | settled (3 workloads) |
    | --- | ---: | ---: | ---: | ---: |
    | jemalloc | 1.147 (1.117 to 1.170) | 1.100 (1.090 to 1.110) | 1.099 (1.089 to 1.109) | - |
    | tcmalloc | 1.303 (1.279 to 1.329) | 1.197 (1.179 to 1.211) | 1.196 (1.179 to 1.210) | - |
    | mimalloc | 1.461 (1.441 to 1.483) | 1.248 (1.230 to 1.264) | 1.246 (1.229 to 1.263) | - |
    ");
}

#[test]
fn a_run_of_memory_alone_is_asked_of_memory_alone() {
    let shape = Shape { passes: vec![Pass::Memory], broken: None, ..Shape::new(&FOUR[..2], 8) };
    let (markdown, html) = pages(written(&shape).path());
    let asked = "Under which of 2 variants does monitor-server need the least memory?";
    assert!(markdown.contains(asked) && html.contains(asked), "{markdown}");
    assert!(!markdown.contains("whether speed or memory") && !html.contains("whether speed or memory"));
}

#[test]
fn pages_of_poor_runs_say_what_is_missing() {
    let failed = Shape { broken: Some("ptmalloc2".to_owned()), ..Shape::new(&FOUR[..1], 6) };
    let poor = [
        (
            Shape { finished: false, ..Shape::new(&FOUR, 0) },
            3,
            "The run holds no sample: there is nothing to answer.",
        ),
        (Shape::new(&FOUR[..1], 6), 0, "only ptmalloc2 finished every sample"),
        (failed, 3, "no variant finished every sample, so none is named."),
        (Shape::new(&FOUR[..2], 3), 0, "too few blocks for a verdict (3, and it takes 6)"),
        (Shape::new(&["jemalloc", "mimalloc"], 6), 0, "The baseline is not in this run"),
    ];
    for (shape, status, sentence) in poor {
        let directory = written(&shape);
        assert_eq!(report(directory.path(), &[]).status.code(), Some(status), "{sentence}");
        let (markdown, html) = pages(directory.path());
        assert!(markdown.contains(sentence) && text_of(&html).contains(sentence), "{sentence}: {markdown}");
        assert!(!html.contains("NaN") && !markdown.contains("NaN"), "{sentence}");
    }
}

#[test]
fn cold_samples_are_marked_in_tables_and_plots() {
    let directory = written(&Shape { harness_ns: Some(5.0), ..Shape::new(&["ptmalloc2", "mimalloc"], 6) });
    let (before, page) = pages(directory.path());
    assert!(before.contains("| mimalloc | 6 |") && !text_of(&page).contains("Hollow dots"), "{before}");
    let block = columns::<Sample>().iter().position(|name| *name == "block").expect("a column");
    set_column(directory.path(), ("mimalloc", "throughput"), "cold_memory", |row| {
        matches!(&row[block], "1" | "4").to_string()
    });
    let (document, page) = pages(directory.path());
    assert!(document.contains("| mimalloc | 6, 2 cold |"), "{document}");
    let text = text_of(&page);
    assert!(text.contains("Hollow dots are cold samples"), "{text}");
    // Below the variant's name in the plot.
    assert!(text.contains("mimalloc 2 cold "), "{text}");
}

#[test]
fn a_damaged_heap_map_is_named() {
    let directory = written(&Shape::new(&FOUR[..2], 1));
    let path = directory.path().join("heapmap.csv");
    let whole = fs::read_to_string(&path).expect("readable");
    let complaint = |content: String| {
        fs::write(&path, content).expect("writable");
        let output = report(directory.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let found = complaint(whole.replacen(",peak,", ",noon,", 1));
    assert!(
        found.contains(
            "heapmap.csv, line 2: column `moment`: \"noon\" is none of peak, resident_peak and drained"
        ),
        "{found}"
    );
    let found = complaint(whole.replacen("live_bytes", "live", 1));
    assert!(found.contains("heapmap.csv: column `live_bytes` is missing"), "{found}");
    let found = complaint(whole.replacen(",65536,20480,", ",65536,99999,", 1));
    assert!(found.contains("heapmap.csv, line 2: live, resident and span bytes do not ascend"), "{found}");
    fs::remove_file(&path).expect("removable");
    assert_eq!(report(directory.path(), &[]).status.code(), Some(0), "an earlier heaplab wrote none");
    assert!(!directory.path().join("plots/monitor-server-heap.png").exists());
}

#[test]
fn the_keys_of_json_are_the_columns_of_the_summary() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    let output = report(directory.path(), &["--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("an array");
    for row in &rows {
        let mut keys: Vec<&str> = row.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut columns = heaplab::results::columns::<heaplab::report::SummaryRow>().to_vec();
        columns.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, columns);
    }
    let peak = |variant: &str| {
        let mut found = rows.iter().filter(|row| row["metric"] == "resident_peak_bytes");
        found.find(|row| row["variant"] == variant).expect("a row")
    };
    assert!(peak("jemalloc")["n"] == 6 && peak("jemalloc")["verdict"] == "larger", "{}", peak("jemalloc"));
    assert!(peak("jemalloc")["median"].is_f64() && peak("jemalloc")["ratio_low"].is_f64());
    assert!(peak("ptmalloc2")["ratio"].is_null(), "not measured is null: {}", peak("ptmalloc2"));
}

#[test]
fn a_folder_of_runs_has_an_index_with_the_newest_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str, started: &str| {
        let to = folder.path().join(name);
        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        fs::rename(written(&Shape::new(&FOUR[..2], 6)).keep(), &to).expect("the same disk");
        let run = fs::read_to_string(to.join("run.toml")).expect("a run");
        let line = run.lines().find(|line| line.starts_with("started_utc")).expect("a start").to_owned();
        let run = run.replace(&line, &format!("started_utc = \"{started}\""));
        fs::write(to.join("run.toml"), run).expect("writable");
        to
    };
    place("old", "2030-01-01T00:00:00Z");
    report(&place("deep/new & <b>", "2031-01-01T00:00:00Z"), &[]);
    let broken = place("broken", "2029-01-01T00:00:00Z");
    fs::write(broken.join("samples.csv"), "no,header\n").expect("writable");
    let output = report(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let html = fs::read_to_string(folder.path().join("index.html")).expect("a page");
    let text = text_of(&html);
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is missing in {text}"));
    assert!(at("deep/new & <b>") < at(" old ") && at(" old ") < at(" broken "), "{text}");
    assert!(html.contains("href=\"deep&#x2f;new%20%26%20%3Cb%3E&#x2f;report.html\""), "{html}");
    assert!(at("memory: ptmalloc2 needs the least") < at(" broken ") && at("samples.csv") > at(" broken "));
    let listed = stdout(&output);
    assert!(listed.starts_with("2031-01-01T00:00:00Z  deep/new & <b>  Which of 2 variants"), "{listed}");
    assert!(listed.ends_with("index.html\n"), "{listed}");
}
