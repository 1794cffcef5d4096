//! The CSV files, unchanged, in other tools: pandas and DuckDB see the same figures and types as we do.
//!
//! Both come from PyPI into a virtual environment in the target directory, which is made once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use heaplab::report::Analysis;
use heaplab::results::load;
use serde_json::{Value, json};

use super::{report, written};
use crate::support::synthetic::Shape;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The interpreter of an environment with the required packages.
fn python() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(directory).expect("the target directory");
    // Test processes may run side by side: one makes the environment, the others wait.
    let lock = fs::File::create(directory.join("python.lock")).expect("writable");
    lock.lock().expect("a lock");
    let environment = directory.join("python");
    let python = environment.join("bin/python");
    let complete = environment.join("complete.txt");
    if fs::read_to_string(&complete).is_ok_and(|text| text == REQUIREMENTS) {
        return python;
    }
    let run = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{command:?} (scripts/setup test installs python3-venv): {complaint}"
        );
    };
    let required = directory.join("requirements.txt");
    fs::write(&required, REQUIREMENTS).expect("writable");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"];
    run(Command::new(&python).args(pip).arg(&required));
    fs::write(&complete, REQUIREMENTS).expect("writable");
    python
}

/// What a column holds, judged only by its cells.
#[derive(Debug, Default)]
struct Column {
    rows: usize,
    count: u64,
    sum: f64,
    integers: u64,
    numbers: u64,
    truths: u64,
}

impl Column {
    fn add(&mut self, cell: &str) {
        self.rows += 1;
        if cell.is_empty() {
            return;
        }
        self.count += 1;
        self.integers += u64::from(cell.parse::<i64>().is_ok());
        self.truths += u64::from(cell == "true" || cell == "false");
        if let Ok(number) = cell.parse::<f64>() {
            self.numbers += 1;
            self.sum += number;
        }
    }

    /// The type that a tool should give it; pandas has no integer that may be missing.
    fn kind(&self, tool: &str) -> &'static str {
        let has_gaps = self.count < self.rows as u64;
        match self.count {
            count if count == self.integers && tool == "pandas" && has_gaps => "number",
            count if count == self.integers => "integer",
            count if count == self.numbers => "number",
            count if count == self.truths => "truth",
            _ => "text",
        }
    }
}

fn read_columns(path: &Path) -> BTreeMap<String, Column> {
    let mut reader = csv::Reader::from_path(path).expect("readable");
    let names: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for row in reader.records() {
        for (name, cell) in names.iter().zip(&row.expect("a whole row")) {
            columns.entry(name.clone()).or_default().add(cell);
        }
    }
    columns
}

#[test]
fn pandas_and_duckdb_load_every_file_as_it_is() {
    let variants = ["ptmalloc2", "jemalloc:dirty_decay_ms=0,muzzy_decay_ms=0", "tcmalloc", "a \"b\""];
    let directory = written(&Shape { broken: Some("tcmalloc".to_owned()), ..Shape::new(&variants, 6) });
    report(directory.path(), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/load.py");
    let output = Command::new(python()).arg(script).arg(directory.path()).output().expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut compared = 0;
    for (file, tools) in found["files"].as_object().expect("files") {
        let columns = read_columns(&directory.path().join(file));
        for (tool, seen) in tools.as_object().expect("tools") {
            assert_eq!(seen["columns"].as_object().map(serde_json::Map::len), Some(columns.len()), "{file}");
            for (name, column) in &columns {
                let what = format!("{tool}, {file}, {name}: {column:?}");
                let seen_column = &seen["columns"][name];
                assert_eq!(seen["rows"], column.rows, "{what}");
                assert_eq!(seen_column["count"], column.count, "{what}");
                // A column without values has no type that could be inferred.
                if column.count > 0 {
                    assert_eq!(seen_column["type"], column.kind(tool), "{what}");
                }
                if let Some(sum) = seen_column["sum"].as_f64() {
                    assert!((sum - column.sum).abs() <= column.sum.abs() * 1e-9, "{what}: {sum}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "{compared}");

    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    for tool in ["pandas", "duckdb"] {
        for variant in ["ptmalloc2", "jemalloc:dirty_decay_ms=0,muzzy_decay_ms=0", "a \"b\""] {
            let median = analysis.median("monitor-server", variant, "resident_peak_bytes").expect("measured");
            assert_eq!(found["peaks"][tool][variant], json!(median), "{tool}, {variant}");
        }
    }
}
