//! Sweeps as the command line takes them: variants over values of settings, each proven, none silently left out.

use std::path::Path;

use crate::support::rows::{column, read_samples};
use crate::support::{self, heaplab};

/// Runs one simulated second of a model under the sweep; returns the run and its messages.
fn run(directory: &Path, sweep: &str, more: &[&str]) -> (std::process::ExitStatus, String) {
    let arguments = [
        "run",
        "monitor-server",
        "--duration",
        "1s",
        "--reps",
        "1",
        "--pass",
        "memory",
        "--checkpoints",
        "20",
    ];
    let output = heaplab()
        .args(arguments)
        .args(["--sweep", sweep, "-o", "out"])
        .args(more)
        .current_dir(directory)
        .output()
        .expect("it starts");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn write(directory: &Path, grids: &str) {
    std::fs::write(directory.join("mine.toml"), format!("description = 'mine'\n{grids}")).expect("writable");
}

#[test]
fn a_sweep_runs_every_variant_and_tells_those_that_are_not_known() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        "[[grid]]\nallocator = 'ptmalloc2'\ncombine = 'each'\n[grid.settings]\nMALLOC_ARENA_MAX = [1, 2]\nMALLOC_NONSENSE = [3]\n\
         [[grid]]\nallocator = 'jemalloc'\nsettings = { dirty_decay_ms = [0], background_thread = ['default', true] }",
    );
    let (status, said) = run(directory.path(), "mine.toml", &["-a", "mimalloc", "-a", "ptmalloc2"]);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(
        said.contains("jemalloc:background_thread=true,dirty_decay_ms=0 of the sweep mine.toml is left out"),
        "{said}"
    );
    let rows = read_samples(&directory.path().join("out"));
    let mut seen: Vec<(&str, &str)> =
        rows.iter().map(|row| (column(row, "variant"), column(row, "status"))).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("jemalloc:dirty_decay_ms=0", "ok"),
            ("mimalloc", "ok"),
            ("ptmalloc2", "ok"),
            ("ptmalloc2:MALLOC_ARENA_MAX=1", "ok"),
            ("ptmalloc2:MALLOC_ARENA_MAX=2", "ok"),
            ("ptmalloc2:MALLOC_NONSENSE=3", "unknown-setting"),
        ]
    );
    let toml = std::fs::read_to_string(directory.path().join("out/run.toml")).expect("readable");
    assert!(toml.contains("is left out: its background thread sleeps"), "{toml}");
}

#[test]
fn a_run_is_not_gone_on_with_under_a_sweep_that_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let grid = |values: &str| {
        write(
            directory.path(),
            &format!("[[grid]]\nallocator = 'ptmalloc2'\nsettings = {{ MALLOC_ARENA_MAX = [{values}] }}"),
        );
    };
    grid("1");
    let (status, said) = run(directory.path(), "mine.toml", &[]);
    assert!(status.success(), "{said}");
    grid("1, 2");
    let output = heaplab()
        .args(["run", "--resume", "-o", "out"])
        .current_dir(directory.path())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("its sweep now makes ptmalloc2:MALLOC_ARENA_MAX=1, ptmalloc2:MALLOC_ARENA_MAX=2"),
        "{said}"
    );
}

#[test]
fn faults_of_a_sweep_are_usage_errors_that_name_the_place() {
    let directory = tempfile::tempdir().expect("a directory");
    for (grids, sweep, told) in [
        (
            "",
            "jemaloc",
            "unknown sweep \"jemaloc\": there are glibc, jemalloc, mimalloc, tcmalloc, huge-pages",
        ),
        ("", "absent.toml", "absent.toml: cannot read the sweep: No such file"),
        ("", "mine.toml", "mine.toml: it has no grid"),
        ("[[grid]]\nallocator = 'jemaloc'", "mine.toml", "sweep mine.toml: unknown allocator \"jemaloc\""),
        ("[[grid]]\nallocator = 7", "mine.toml", "line 3"),
    ] {
        write(directory.path(), grids);
        let (status, said) = run(directory.path(), sweep, &[]);
        assert_eq!(status.code(), Some(2), "{sweep}: {said}");
        assert!(said.contains(told), "{told}: {said}");
        assert!(!directory.path().join("out").exists(), "nothing is made");
    }
}

#[test]
fn a_process_without_huge_pages_has_none() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        "[[grid]]\nallocator = 'mimalloc'\nsettings = { 'process.thp' = ['default', 'never'] }",
    );
    let (status, said) = run(directory.path(), "mine.toml", &["-a", "floor:process.thp=never"]);
    assert!(status.success(), "{said}");
    for row in read_samples(&directory.path().join("out")) {
        if column(&row, "settings") == "process.thp=never" {
            assert_eq!(column(&row, "anon_huge_bytes"), "0", "{}", column(&row, "variant"));
        }
        let page_tables = |name: &str| column(&row, name).parse::<u64>().expect("measured");
        assert!(page_tables("page_table_harness_bytes") < page_tables("page_table_bytes"));
        assert!(page_tables("library_file_bytes") > 0);
    }
}

#[test]
fn a_library_given_by_its_path_is_swept_as_its_family_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = support::library_directory().join("libheaplab_jemalloc.so");
    let grid = |combine: &str| {
        format!(
            "[[grid]]\nallocator = 'je={}'\ncombine = '{combine}'\nsettings = {{ dirty_decay_ms = [0, 1000] }}",
            library.display()
        )
    };
    for (combine, expected) in [
        ("each", &["je", "je:dirty_decay_ms=0", "je:dirty_decay_ms=1000"][..]),
        ("all", &["je:dirty_decay_ms=0", "je:dirty_decay_ms=1000"]),
    ] {
        write(directory.path(), &grid(combine));
        let (status, said) = run(directory.path(), "mine.toml", &[]);
        assert_eq!(status.code(), Some(0), "{said}");
        let rows = read_samples(&directory.path().join("out"));
        let mut seen: Vec<(&str, &str)> =
            rows.iter().map(|row| (column(row, "variant"), column(row, "status"))).collect();
        seen.sort_unstable();
        assert_eq!(seen, expected.iter().map(|label| (*label, "ok")).collect::<Vec<_>>());
        std::fs::remove_dir_all(directory.path().join("out")).expect("removed");
    }
    // A setting that its family does not have is refused, and one that cannot be read back is measured and marked.
    let known = format!("je={}:slab_sizes=1-256:8", library.display());
    let unknown = format!("je={}:nonsense=1", library.display());
    write(
        directory.path(),
        "[[grid]]\nallocator = 'jemalloc'\nsettings = { bin_shards = '1-64:2', lg_tcache_max = 13 }",
    );
    let (status, said) = run(directory.path(), "mine.toml", &["-a", &known, "-a", &unknown]);
    assert_eq!(status.code(), Some(3), "{said}");
    let rows = read_samples(&directory.path().join("out"));
    let seen: Vec<(&str, &str, bool)> = rows
        .iter()
        .map(|row| {
            (column(row, "variant"), column(row, "status"), column(row, "status_detail").contains("unproven"))
        })
        .collect();
    for row in [
        ("je:slab_sizes=1-256:8", "ok", true),
        ("je:nonsense=1", "unknown-setting", false),
        ("jemalloc:bin_shards=1-64:2,lg_tcache_max=13", "ok", true),
    ] {
        assert!(seen.contains(&row), "{row:?}: {seen:?}");
    }
    // One sentence per reason.
    assert_eq!(said.matches("unproven settings, because").count(), 1, "{said}");
}
