//! What programs do that a recorder must survive: one program and one test for each. In all of them the
//! program's output and exit status are the same as without the recorder.

use crate::support;
use crate::support::recording::{Recorded, compile, count_sized, info};
use crate::support::rows;
use serde_json::Value;

mod losses;
mod signals;

/// For each large block whose end says how much of it was resident: its size then, and the resident bytes.
fn touches(run: &Recorded) -> Vec<(u64, u64)> {
    let path = run.directory.path().join("trace.hlt");
    let (mut sizes, mut touches) = (std::collections::HashMap::new(), Vec::new());
    for record in heaplab_trace::TraceReader::open(&path).expect("a trace") {
        let heaplab_trace::Record::Event(event) = record.expect("a record") else { continue };
        match event.action {
            heaplab_trace::Action::Touched { object, bytes } => touches.push((sizes[&object], bytes)),
            heaplab_trace::Action::Realloc { object, size } => _ = sizes.insert(object, size),
            action => sizes.extend(action.allocated()),
        }
    }
    touches
}

#[test]
fn how_much_of_a_large_block_was_touched_is_recorded_at_its_end() {
    const MIB: u64 = 1 << 20;
    let run = Recorded::hazard("large_blocks.c", &[], &[]);
    run.assert_whole();
    assert_eq!(run.recorded.stdout, b"errno 77\n");
    let found = touches(&run);
    let expected = [(1, 1), (2, 1), (16, 1), (24, 0), (32, 2), (33, 3), (40, 5), (48, 1), (56, 1), (64, 4)];
    // In order of size: what two threads do within a millisecond can be recorded in any order.
    let (mut large, small): (Vec<_>, Vec<_>) = found.iter().partition(|(size, _)| *size >= MIB);
    large.sort_unstable();
    assert_eq!(large.len(), expected.len(), "{large:?}");
    for ((size, touched), (found_size, bytes)) in expected.into_iter().zip(&large) {
        assert_eq!(size * MIB, found_size.next_multiple_of(MIB), "{large:?}");
        // The page of the allocator's head, and one at either end that the block only partly covers.
        assert!((touched * MIB..=touched * MIB + 3 * 4096).contains(bytes), "{size} MiB: {bytes}");
    }
    assert_eq!(small.len(), 500, "nothing is said about small blocks");
    assert!(
        small.iter().all(|(size, bytes)| *size == 100 + 130 * 1024 && (1..=*size + 4096).contains(bytes))
    );
    assert_eq!(run.total("touched"), found.len() as u64);
}

#[test]
fn how_much_was_touched_of_a_block_that_is_live_at_the_end_is_recorded_then() {
    const MIB: u64 = 1 << 20;
    let run = Recorded::hazard("live_blocks.c", &[], &[]);
    run.assert_whole();
    let mut found = touches(&run);
    found.sort_unstable();
    let expected = [(16, 1), (2 << 10, 3), (3 << 10, 5)];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((size, touched), (found_size, bytes)) in expected.into_iter().zip(&found) {
        assert_eq!(size * MIB, *found_size, "{found:?}");
        assert!((touched * MIB..=touched * MIB + 3 * 4096).contains(bytes), "{size} MiB: {bytes}");
    }
    assert_eq!(run.total("live_at_end"), 2);
}

#[test]
fn a_block_that_was_hardly_touched_is_hardly_touched_in_a_replay() {
    let run = Recorded::hazard("hardly_touched.c", &[], &[]);
    run.assert_whole();
    let [(size, touched)] = touches(&run)[..] else { panic!("one large block: {:?}", touches(&run)) };
    assert_eq!(size, 16 << 20);
    assert!((1 << 20..(1 << 20) + 4 * 4096).contains(&touched), "{touched}");
    let info =
        support::heaplab().args(["trace", "info"]).arg(run.directory.path().join("trace.hlt")).output();
    let table = String::from_utf8(info.expect("it runs").stdout).expect("UTF-8");
    let row = |name: &str| {
        let rows = table.lines().filter_map(|line| line.split_once(' '));
        rows.filter(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned()).next()
    };
    assert_eq!(row("touched").as_deref(), Some("1"), "{table}");
    assert!(row("touched_bytes").is_some_and(|value| value.starts_with(&touched.to_string())), "{table}");
    assert_eq!(row("touched_of_bytes").as_deref(), Some("16777216 (16.00 MiB)"), "{table}");
    let results = run.directory.path().join("results");
    let mut command = support::heaplab();
    command.arg("run").arg(run.directory.path().join("trace.hlt")).arg("-o").arg(&results);
    command.args(["--pass", "memory", "--pass", "check", "--reps", "1"]);
    command.args(["-a", "ptmalloc2", "-a", "tcmalloc"]).assert().success();
    let samples = rows::read_samples(&results);
    assert_eq!(samples.len(), 4);
    for sample in &samples {
        assert_eq!(rows::column(sample, "status"), "ok", "{sample:?}");
        if rows::column(sample, "pass") == "memory" {
            let [peak, untouched] = ["resident_peak_bytes", "at_peak_untouched_bytes"]
                .map(|name| rows::column(sample, name).parse::<u64>().expect("a number"));
            // tcmalloc has another 4 MiB of its own.
            assert!((900 << 10..8 << 20).contains(&peak), "{sample:?}");
            // Huge pages, where the system gives them to every process, make it less.
            assert!((12 << 20..=15 << 20).contains(&untouched), "{sample:?}");
        }
    }
}

/// What the traces of images other than the program's last say, in the order of their names.
fn others(run: &Recorded) -> Vec<Value> {
    let entries = std::fs::read_dir(run.directory.path()).expect("a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "hlt"));
    paths.retain(|path| !path.ends_with("trace.hlt"));
    paths.sort();
    paths.iter().map(|path| info(path)).collect()
}

#[test]
fn a_fork_leaves_the_child_alone_if_only_one_process_is_recorded() {
    let run = Recorded::hazard("fork.c", &["--only-this-process"], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("free"), run.total("live_at_end")), (150, 50, 100));
    assert_eq!(others(&run).len(), 0);
}

#[test]
fn a_forked_child_has_a_trace_of_its_own() {
    let run = Recorded::hazard("fork.c", &[], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("free")), (150, 50));
    let [child] = &others(&run)[..] else { panic!("one child: {}", run.said()) };
    let child = &child["summary"];
    assert_eq!(
        (&child["malloc"], &child["free"], &child["unseen_frees"]),
        (&130.into(), &130.into(), &0.into()),
        "it begins with the 100 that it inherited, and frees them"
    );
}

#[test]
fn an_exec_begins_another_trace() {
    let run = Recorded::hazard("exec.c", &[], &[]);
    run.assert_whole();
    assert_eq!(run.total("malloc"), 20, "what the process became last");
    let [before] = &others(&run)[..] else { panic!("one image before: {}", run.said()) };
    assert_eq!(before["summary"]["malloc"], 10);
}

#[test]
fn a_vfork_is_the_parents_own_memory() {
    let run = Recorded::hazard("vfork.c", &[], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("free")), (21, 21));
}

#[test]
fn no_end_loses_an_event() {
    for way in ["_exit", "abort", "kill", "term"] {
        let run = Recorded::hazard("end.c", &[], &[way]);
        run.assert_whole();
        assert_eq!((run.total("malloc"), run.total("free")), (1000, 1000), "{way}");
    }
}

/// Has `dlopen.c` load a library, which is compiled with `options`. The program itself is linked with `linked`.
fn load(library: &str, options: &[&str], linked: &[&str]) -> Recorded {
    let directory = tempfile::tempdir().expect("a directory");
    let library = compile(library, directory.path(), &[&["-shared", "-fPIC"], options].concat());
    let program = compile("dlopen.c", directory.path(), linked);
    let run = Recorded::run(directory, &program, &[], &[library.to_str().expect("UTF-8")], &[]);
    run.assert_whole();
    run
}

/// What makes a program have a C++ library when it starts.
const WITH_OPERATORS: [&str; 2] = ["-Wl,--no-as-needed", "-lstdc++"];

#[test]
fn a_library_loaded_later_is_recorded_once() {
    for (options, linked) in
        [(&[][..], &[][..]), (&["-static-libstdc++"], &[]), (&[], &WITH_OPERATORS), (&[], &["-rdynamic"])]
    {
        let run = load("dlopen_library.cc", options, linked);
        let sized = run.total("requested_peak_bytes");
        assert!(sized >= 77_777, "{sized}");
        // Apart from the loader's own blocks: 40 from the library, 10 from the program.
        assert_eq!(count_sized(&run, 77_777), 50, "{options:?} {linked:?}");
        // The loader's are a few per library.
        let all = run.total("malloc") + run.total("calloc");
        assert!(all < 50 + 200, "{options:?} {linked:?}: {all} in all");
    }
}

#[test]
fn a_library_loaded_later_may_have_operators_of_its_own() {
    let run = load("own_operators.cc", &[], &[]);
    // Those that it asks malloc for have a head.
    assert_eq!(count_sized(&run, 77_777), 40 + 10);
}

#[test]
fn a_library_loaded_later_may_have_functions_of_jemallocs_names() {
    let run = load("own_mallocx.c", &[], &[]);
    assert_eq!(count_sized(&run, 77_777), 50);
}

#[test]
fn a_library_may_wait_for_a_thread_while_it_is_loaded() {
    for (options, linked) in [(&[][..], &[][..]), (&["-static-libstdc++"], &[]), (&[], &WITH_OPERATORS)] {
        let run = load("waiting_library.cc", options, linked);
        assert_eq!((count_sized(&run, 77_777), run.total("threads")), (50, 2), "{options:?} {linked:?}");
    }
}

#[test]
fn the_first_use_of_an_operator_opens_no_file_and_keeps_the_loaders_message() {
    for (options, linked) in [(&["-static-libstdc++"][..], &[][..]), (&[], &[]), (&[], &WITH_OPERATORS)] {
        let run = load("closed_library.cc", options, linked);
        assert_eq!(count_sized(&run, 77_777), 50, "{options:?} {linked:?}");
    }
}

#[test]
fn frees_after_the_last_destructors_are_recorded() {
    let run = Recorded::hazard("late_frees.c", &[], &[]);
    run.assert_whole();
    assert_eq!(count_sized(&run, 50), 5);
    assert_eq!(count_sized(&run, 60), 15);
    assert_eq!(run.total("live_at_end"), 0);
    assert_eq!((run.total("thread_starts"), run.total("thread_ends")), (6, 5));
}

#[test]
fn threads_that_never_end_have_no_end() {
    let run = Recorded::hazard("endless_threads.c", &[], &[]);
    run.assert_whole();
    assert_eq!(count_sized(&run, 500), 100);
    assert_eq!((run.total("threads"), run.total("thread_starts"), run.total("thread_ends")), (5, 5, 0));
}

#[test]
fn threads_end_by_return_by_exit_and_by_cancellation() {
    let run = Recorded::hazard("thread_ends.c", &[], &[]);
    run.assert_whole();
    assert_eq!(count_sized(&run, 500), 300);
    assert_eq!((run.total("threads"), run.total("thread_starts"), run.total("thread_ends")), (301, 301, 300));
}

#[test]
fn a_program_may_close_every_descriptor() {
    let run = Recorded::hazard("close_all.c", &[], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("free")), (100_000, 100_000));
}

#[test]
fn a_program_may_use_every_descriptor() {
    let run = Recorded::hazard("all_descriptors.c", &[], &[]);
    run.assert_whole();
    assert_eq!((count_sized(&run, 100), count_sized(&run, 200)), (100_000, 1000));
}

/// Runs `no_rights.c`, whose 400,000 allocations of two threads and 200,000 of a child come after it has
/// given up what `what` says.
fn give_up(what: &str) {
    let run = Recorded::hazard("no_rights.c", &[], &[what]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("threads")), (400_001, 2), "{}", run.said());
    let [child] = &others(&run)[..] else { panic!("one child: {}", run.said()) };
    assert_eq!(child["summary"]["malloc"], 600_001, "after what it inherited: {}", run.said());
    assert_eq!(child["summary"]["lost"], 0, "{}", run.said());
}

#[test]
fn a_program_may_give_up_its_user() {
    give_up("user");
}

#[test]
fn a_program_may_change_its_root() {
    give_up("root");
}

#[test]
fn a_program_may_close_its_descriptors_and_be_allowed_no_more() {
    give_up("descriptors");
}

#[test]
fn a_program_may_be_allowed_no_file() {
    give_up("files");
}

#[test]
fn a_program_may_forbid_all_system_calls_but_its_own() {
    give_up("filter");
    give_up("filter-by-syscall");
}

/// A limit that a shell sets before the program runs, either on heaplab as well or on the program alone.
#[test]
fn a_program_may_have_few_addresses() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("no_rights.c", directory.path(), &[]);
    let limited = format!("ulimit -v 300000; exec {} nothing", program.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &limited], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("threads")), (400_001, 2), "{}", run.said());
}

#[test]
fn a_program_may_be_started_where_it_may_write_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("no_rights.c", directory.path(), &[]);
    let limited = format!("ulimit -f 0; exec {} nothing", program.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &limited], &[]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("threads")), (400_001, 2), "{}", run.said());
}

#[test]
fn a_program_may_hold_its_own_mallocs_lock_while_it_calls_mmap() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = compile("early_constructor.c", directory.path(), &["-shared", "-fPIC"]);
    let options = ["-rdynamic", "-Wl,--no-as-needed", library.to_str().expect("UTF-8")];
    let program = compile("own_malloc.c", directory.path(), &options);
    let alone = std::process::Command::new(&program).output().expect("it runs");
    assert_eq!((alone.status.code(), &alone.stdout[..]), (Some(6), &b"done\n"[..]));
    let mut command = support::heaplab();
    command.timeout(std::time::Duration::from_secs(60));
    command.args(["record", "-o"]).arg(directory.path().join("trace.hlt")).arg("--").arg(&program);
    let recorded = command.output().expect("it runs");
    assert_eq!(recorded.status.code(), Some(6), "{}", String::from_utf8_lossy(&recorded.stderr));
    assert_eq!(recorded.stdout, alone.stdout);
}

#[test]
fn a_program_may_block_every_signal() {
    let run = Recorded::hazard("blocked_signals.c", &[], &[]);
    run.assert_whole();
    assert_eq!((count_sized(&run, 500), run.total("threads")), (100, 2));
}

#[test]
fn every_function_of_the_family_is_recorded_once() {
    let run = Recorded::hazard("family.c", &[], &[]);
    run.assert_whole();
    let totals =
        ["malloc", "calloc", "aligned_alloc", "realloc", "realloc_null", "free", "free_null", "failed"];
    assert_eq!(totals.map(|name| run.total(name)), [4, 2, 6, 10, 1, 11, 2, 5]);
    assert_eq!(run.total("live_at_end"), 0);
    let mut reader =
        heaplab_trace::TraceReader::open(&run.directory.path().join("trace.hlt")).expect("a trace");
    let mut marks = Vec::new();
    while let Some(record) = reader.read_record().expect("a record") {
        if let heaplab_trace::Record::Mark(mark) = record {
            marks.push(mark.name);
        }
    }
    let said = ["malloc_trim(0)", "mallopt(-3, 1048576)", "huge pages: off", "huge pages: allowed"];
    assert_eq!(marks, said, "a call that failed says nothing");
}

#[test]
fn operators_are_recorded_once_wherever_they_lie() {
    for allocator in ["", "libjemalloc.so.2", "libtcmalloc_minimal.so.4"] {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile("operators.cc", directory.path(), &[]);
        let run = Recorded::run(directory, &program, &[], &[], &[("LD_PRELOAD", allocator)]);
        run.assert_unchanged();
        // The C++ library rounds the size of an aligned block up before it asks for it.
        let counts = [1111, 1152].map(|size| count_sized(&run, size));
        assert_eq!(
            counts,
            if allocator.is_empty() { [7, 6] } else { [13, 0] },
            "{allocator}: {}",
            run.said()
        );
        assert_eq!(run.total("lost"), 0, "{allocator}");
        let name = run.trace()["header"]["allocator"]["name"].as_str().expect("a name").to_owned();
        let expected = if allocator.is_empty() { "ptmalloc2" } else { allocator };
        assert!(expected.contains(name.trim_end_matches("2")), "{allocator}: {name}");
    }
}

#[test]
fn calls_are_served_while_the_next_allocator_is_looked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = compile("early_calls.c", directory.path(), &["-shared", "-fPIC"]);
    let program = compile("end.c", directory.path(), &[]);
    // Such an allocator works under the recorder, but not for a program alone, so it is preloaded after the
    // recorder.
    let recorder = support::library_directory().join("libheaplab_recorder.so");
    let preload = format!("LD_PRELOAD={}:{}", recorder.display(), library.display());
    let arguments = [&preload, program.to_str().expect("UTF-8"), "_exit"];
    let mut command = support::heaplab();
    command
        .args(["record", "-o"])
        .arg(directory.path().join("trace.hlt"))
        .args(["--", "env"])
        .args(arguments);
    let output = command.output().expect("it runs");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(7), &b"ending\n"[..]));
    let trace = info(&directory.path().join("trace.hlt"));
    let totals = ["malloc", "calloc", "free"].map(|name| trace["summary"][name].as_u64());
    assert_eq!(totals, [Some(1000), Some(0), Some(1000)], "the early call is in no recording");
}

/// The kernel compares the limit with all addresses of a process, used or not.
#[test]
fn a_program_may_lock_all_its_memory_within_a_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("ours");
    let program = compile("locks_memory.c", directory.path(), &[]);
    // Root may lock as much as it likes.
    let as_nobody = match rustix::process::getuid().is_root() {
        true => "setpriv --reuid 65534 --regid 65534 --clear-groups",
        false => "",
    };
    let limited = format!("ulimit -l 8192; exec {as_nobody} {}", program.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &limited], &[]);
    run.assert_unchanged();
    assert_eq!((run.alone.status.code(), &run.alone.stdout[..]), (Some(28), &b"locked\n"[..]));
    assert_eq!(count_sized(&run, 1 << 20), 1, "{}", run.said());
}
