//! Blocks by size, where memory goes when it is largest, and size classes compared.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::heaplab;
use crate::support::rows::{Row, column, read_samples};

/// Compiles support/waste.c with these definitions.
fn library(directory: &Path, name: &str, defines: &[&str]) -> PathBuf {
    let path = directory.join(format!("{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/waste.c");
    let status = Command::new("cc")
        .args(["-O2", "-fPIC", "-shared", "-o"])
        .arg(&path)
        .arg(source)
        .args(defines)
        .status()
        .expect("a C compiler");
    assert!(status.success(), "{name}");
    path
}

/// This many blocks of each of ten sizes, the last third of which is freed, and then about as many bytes in
/// large blocks.
fn write_log(path: &Path, of_each: u64) {
    let mut log = String::new();
    let mut time = 0;
    let mut line = |text: &str| {
        time += 2_000;
        let end = time + 500;
        writeln!(log, "1: {text} {time} {end}").unwrap();
    };
    let sizes = [24u64, 56, 120, 200, 312, 504, 760, 1_016, 1_500, 2_008];
    let address = |block: u64| (1u64 << 32) + block * 4_096;
    for block in 0..of_each * 10 {
        line(&format!("malloc {:#x} {}", address(block), sizes[block as usize % 10]));
    }
    for block in of_each * 20 / 3..of_each * 10 {
        line(&format!("free {:#x}", address(block)));
    }
    for block in 0..of_each / 75 {
        line(&format!("malloc {:#x} 100000", (2u64 << 40) + block * 200_000));
    }
    std::fs::write(path, log).unwrap();
}

fn read(path: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn number(row: &Row, name: &str) -> u64 {
    column(row, name).parse().unwrap_or_else(|_| panic!("{name}: {:?}", column(row, name)))
}

#[test]
fn a_wasteful_size_is_named_and_a_library_that_tells_none_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let log = place.join("sizes.log");
    write_log(&log, 3_000);
    let plain = format!("plain={}", library(place, "plain", &[]).display());
    let waste = format!("waste={}", library(place, "waste", &["-DWASTE"]).display());
    let blind = format!("blind={}", library(place, "blind", &["-DBLIND"]).display());
    heaplab()
        .args(["run", log.to_str().unwrap(), "--pass", "throughput,memory", "--reps", "1"])
        .args([
            "-a",
            "ptmalloc2",
            "-a",
            &plain,
            "-a",
            &waste,
            "-a",
            &blind,
            "-o",
            place.join("out").to_str().unwrap(),
        ])
        .assert()
        .success();
    let out = place.join("out");
    let samples = read_samples(&out);
    let memory = |variant: &str| {
        let is = |row: &&Row| column(row, "variant") == variant && column(row, "pass") == "memory";
        samples.iter().find(is).unwrap()
    };

    // The headline is broken down where it is reached: it adds up, and is nearly the largest size seen.
    for variant in ["ptmalloc2", "plain", "waste", "blind"] {
        let row = memory(variant);
        let at = |name: &str| number(row, &format!("at_resident_peak_{name}_bytes"));
        let (peak, broken_down) = (number(row, "resident_peak_bytes"), at("resident"));
        assert!(broken_down <= peak && broken_down > peak - peak / 20, "{variant}: {broken_down} of {peak}");
        assert!(at("requested") < broken_down && at("held") < broken_down, "{variant}");
    }

    // Each call is in one class.
    let sizes = read(&out.join("sizes.csv"));
    let of = |variant: &str| {
        sizes.iter().filter(|row| column(row, "variant") == variant).cloned().collect::<Vec<_>>()
    };
    for variant in ["ptmalloc2", "plain", "waste"] {
        let sum = |name: &str| of(variant).iter().map(|row| number(row, name)).sum::<u64>();
        assert_eq!(sum("calls"), 30_040, "{variant}");
        assert_eq!(sum("live_requested_bytes"), number(memory(variant), "at_peak_requested_bytes"));
        let lost = sum("live_usable_bytes") - sum("live_requested_bytes");
        assert_eq!(lost, number(memory(variant), "at_peak_internal_bytes"));
    }
    let worst = |variant: &str| {
        let lost = |row: &Row| number(row, "live_usable_bytes") - number(row, "live_requested_bytes");
        of(variant).into_iter().max_by_key(lost).map(|row| number(&row, "usable_bytes")).unwrap()
    };
    // 1,016 bytes and 5 % more, in glibc's steps of 16; glibc alone has blocks of exactly 1,016.
    assert_eq!(worst("waste"), 1_080);
    assert_ne!(worst("plain"), 1_080);
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    let table: Vec<&str> = report.lines().skip_while(|line| !line.starts_with("| usable size")).collect();
    assert!(table[2].starts_with("| 1.05 KiB | waste |"), "{:#?}", &table[..table.len().min(14)]);

    assert!(out.join("plots/sizes-sizes.png").is_file());

    // What is lost inside blocks is unknown for an allocator that does not report it, and nothing else is
    // wrong.
    let row = memory("blind");
    assert_eq!((column(row, "usable_peak_bytes"), column(row, "at_peak_internal_bytes")), ("", ""));
    assert!(
        column(row, "status_detail").contains("no malloc_usable_size"),
        "{}",
        column(row, "status_detail")
    );
    assert!(number(row, "resident_peak_bytes") > 5_000_000 && of("blind").is_empty());
}

/// Runs the log's memory pass under variants, six blocks of each.
fn measure(log: &Path, output: &Path, variants: &[String]) {
    let mut command = heaplab();
    command.args(["run", log.to_str().unwrap(), "--pass", "memory", "--reps", "6", "--baseline", "plain"]);
    for variant in variants {
        command.args(["-a", variant]);
    }
    command.args(["-o", output.to_str().unwrap()]).assert().success();
}

/// Makes a run of one variant of another run, and calls the variant `build`.
fn keep_variant(run: &Path, variant: &str, output: &Path) -> String {
    std::fs::create_dir(output).unwrap();
    let text = std::fs::read_to_string(run.join("run.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let variants = table["variants"].as_array_mut().unwrap();
    variants.retain(|known| known["label"].as_str() == Some(variant));
    variants[0]["label"] = toml::Value::String("build".to_owned());
    std::fs::write(output.join("run.toml"), toml::to_string(&table).unwrap()).unwrap();
    for file in ["samples.csv", "requests.csv"] {
        let text = std::fs::read_to_string(run.join(file)).unwrap();
        let of = format!(",{variant},");
        let is_kept = |(at, line): &(usize, &str)| *at == 0 || line.contains(&of);
        let lines =
            text.lines().enumerate().filter(is_kept).map(|(_, line)| line.replacen(&of, ",build,", 1) + "\n");
        std::fs::write(output.join(file), lines.collect::<String>()).unwrap();
    }
    output.to_str().unwrap().to_owned()
}

/// What `heaplab compare` prints.
fn compare(arguments: &[&str]) -> String {
    let said = heaplab().arg("compare").args(arguments).assert().success();
    String::from_utf8(said.get_output().stdout.clone()).unwrap()
}

/// Asserts that one class in a table of all classes differs, and by how much.
fn assert_named(table: &str, variant: &str, classes: usize) {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<Row> = reader.deserialize().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), classes, "{table}");
    let differs = |row: &&Row| column(row, "verdict") != "no difference shown";
    let shown: Vec<&Row> = rows.iter().filter(differs).collect();
    let [row] = shown[..] else { panic!("{table}") };
    assert_eq!((column(row, "variant"), column(row, "verdict")), (variant, "larger"));
    let bytes = |name: &str| number(row, name);
    let of_class = (bytes("size_bytes"), bytes("requests_from_bytes"), bytes("requests_to_bytes"));
    assert_eq!(of_class, (1_016, 1_009, 1_016));
    let figure = |name: &str| column(row, name).parse::<f64>().unwrap();
    for name in ["ratio", "ratio_low", "ratio_high"] {
        assert!((figure(name) / (1_080.0 / 1_016.0) - 1.0).abs() < 0.002, "{name}: {}", figure(name));
    }
    assert!((figure("ratio_coverage") - (1.0 - 0.05 / classes as f64)).abs() < 1e-9, "{table}");
    // 600 such blocks live at the peak.
    assert!((figure("at_peak_bytes") / (600.0 * 64.0) - 1.0).abs() < 0.01, "{table}");
}

#[test]
fn a_build_that_wastes_in_one_size_class_is_named_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let log = place.join("sizes.log");
    write_log(&log, 600);
    let (plain, waste) = (library(place, "plain", &[]), library(place, "waste", &["-DWASTE"]));
    let variant = |name: &str, library: &Path| format!("{name}={}", library.display());
    let run = place.join("run");
    measure(&log, &run, &[variant("plain", &plain), variant("waste", &waste)]);
    let one = run.to_str().unwrap();
    // Ten sizes and the large one.
    assert_named(&compare(&[one, "--by-size", "--format", "csv"]), "waste", 11);
    let said = compare(&[one]);
    assert!(
        said.contains("sizes: calls of 1 of 11 size classes get more or fewer usable bytes than under plain"),
        "{said}"
    );
    let is_named =
        |line: &str| line.starts_with("waste ") && line.contains(" 1016 B ") && line.ends_with("larger");
    assert!(said.lines().any(is_named), "{said}");
    let report = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("| waste | sizes | 1016 B | 1009 to 1016 B |"), "{report}");

    // The same name in two runs: the old build and the new one.
    let [old, new] = ["plain", "waste"].map(|kept| keep_variant(&run, kept, &place.join(kept)));
    assert_named(&compare(&[&old, &new, "--by-size", "--format", "csv"]), "build", 11);
    let said = compare(&[&old, &new]);
    assert!(
        said.contains(
            "sizes: calls of 1 of 11 size classes get more or fewer usable bytes than in the old run"
        ),
        "{said}"
    );
    let old = &old;
    let none = heaplab().args(["compare", old, "--by-size"]).assert().code(3);
    let none = String::from_utf8_lossy(&none.get_output().stderr).into_owned();
    assert!(none.contains("no size class can be compared"), "{none}");
}
