//! Programs of several processes: their memory together, and daemons.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{MIB, Place, column, number, processes_of, stderr};
use crate::support::heaplab;
use crate::support::rows::read_samples;

#[test]
fn the_whole_tree_counts_and_nothing_of_it_is_left() {
    let place = Place::new();
    let assert = place.exec(&["--reps", "1", "-a", "jemalloc"], "child 30 hold 10 sleep 400").success();
    let sample = place.sample();
    assert_eq!(number(&sample, "processes"), 2);
    assert!(number(&sample, "resident_peak_bytes") >= 40 * MIB, "{sample:?}");
    assert!(stderr(&assert).contains("1 process outlived the program and was killed"), "{}", stderr(&assert));
    assert!(processes_of(&place).is_empty());
}

#[test]
fn memory_that_a_child_only_borrows_counts_once() {
    let place = Place::new();
    let run = |output: &str, start: &str| {
        let text = format!("import os, time\nblock = b'x' * (30 << 20)\n{start}\n");
        fs::write(place.path("parent.py"), text).expect("written");
        let mut command = heaplab();
        command.current_dir(place.0.path()).args(["exec", "--reps", "1", "-a", "ptmalloc2", "-o", output]);
        command.args(["--", "python3", "-S", "parent.py"]).assert().success();
        read_samples(&place.path(output)).remove(0)
    };
    // Until someone writes to the pipe that it opens, a spawned child stays in its parent's memory.
    let spawned = run(
        "spawned",
        "os.mkfifo('pipe')\nwriter = os.fork()\nif writer == 0:\n    os.execvp('sh', ['sh', '-c', 'sleep 0.5; : > pipe'])\n\
         opens = (os.POSIX_SPAWN_OPEN, 0, 'pipe', os.O_RDONLY, 0)\n\
         os.waitpid(os.posix_spawn('/bin/true', ['true'], {}, file_actions=[opens]), 0)\nos.waitpid(writer, 0)",
    );
    let once = number(&spawned, "once_peak_bytes");
    assert!((30 * MIB..50 * MIB).contains(&once), "{spawned:?}");
    // Three forks stay, so that asking what is shared takes time, and others live for a moment.
    let forks = "import signal\nmore = b'x' * (70 << 20)\ndef fork(seconds):\n    child = os.fork()\n    \
                 if child == 0:\n        time.sleep(seconds)\n        os._exit(0)\n    return child\n\
                 stay = [fork(600) for _ in range(3)]\ntime.sleep(0.3)\nfor at in range(8):\n    \
                 os.waitpid(fork(0.015), 0)\n    time.sleep(0.1)\nfor child in stay:\n    \
                 os.kill(child, signal.SIGKILL)\n    os.waitpid(child, 0)";
    let forked = run("forked", forks);
    let once = number(&forked, "once_peak_bytes");
    assert!((100 * MIB..150 * MIB).contains(&once), "{forked:?}");
    assert!(number(&forked, "processes") >= 5, "some of them were seen: {forked:?}");
}

#[test]
fn what_forks_allocate_counts() {
    let place = Place::new();
    let text = "import os, time\nblock = b'x' * (100 << 20)\nfor at in range(3):\n    time.sleep(0.1)\n    children = []\n    \
                for fork in range(4):\n        child = os.fork()\n        if child == 0:\n            \
                time.sleep(0.05)\n            more = b'x' * (40 << 20)\n            time.sleep(0.5)\n            \
                os._exit(0)\n        children.append(child)\n    for child in children:\n        os.waitpid(child, 0)\n";
    fs::write(place.path("parent.py"), text).expect("written");
    let mut command = heaplab();
    command.current_dir(place.0.path()).args(["exec", "--reps", "1", "-a", "ptmalloc2", "-o", "out"]);
    command.args(["--", "python3", "-S", "parent.py"]).assert().success();
    let sample = place.sample();
    // 100 of the parent and 40 of each of its four forks.
    let once = number(&sample, "once_peak_bytes");
    assert!((255 * MIB..300 * MIB).contains(&once), "{sample:?}");
    assert!(number(&sample, "resident_peak_bytes") > 600 * MIB, "{sample:?}");
}

#[test]
fn a_daemon_is_the_program_when_its_starter_has_ended() {
    let place = Place::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hazards/daemon.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O0", "-pthread", "-o"]).arg(place.path("program")).arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    let until = |output: &str, options: &[&str], words: &[&str]| {
        let mut command = heaplab();
        command.current_dir(place.0.path()).args(["exec", "--reps", "1", "-a", "ptmalloc2", "-o", output]);
        let assert = command.args(options).args(["--", "./program"]).args(words).assert();
        let sample = read_samples(&place.path(output)).remove(0);
        assert!(processes_of(&place).is_empty(), "{sample:?}");
        (assert, sample)
    };
    // It starts to work after 300 ms, and ends by itself.
    let (assert, sample) = until("last", &["--until-last-exit"], &["300"]);
    assert.success();
    assert_eq!(column(&sample, "status"), "ok", "{sample:?}");
    assert!(number(&sample, "wall_ns") > 100_000_000 && number(&sample, "readings") > 2, "{sample:?}");
    let once = number(&sample, "once_peak_bytes");
    assert!((1..=number(&sample, "resident_peak_bytes")).contains(&once), "{sample:?}");
    // It stays, and its time limit ends it.
    let (assert, sample) = until("time", &["--for", "400ms"], &["0", "stay"]);
    assert.success();
    assert_eq!(column(&sample, "status_detail"), "", "{sample:?}");
    assert!(number(&sample, "wall_ns") >= 400_000_000, "{sample:?}");
    // It ends before its time limit.
    let (assert, sample) = until("early", &["--for", "60s"], &["300"]);
    assert.code(3);
    assert!(column(&sample, "status_detail").contains("went into the background"), "{sample:?}");
}
