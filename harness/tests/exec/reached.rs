//! Processes that nothing preloaded reached, next to others that prove the variant.

use super::{Place, column};
use crate::support::heaplab;
use crate::support::rows::Row;

/// The sample of a command under jemalloc, and the exit status of heaplab.
fn sample(command: &[&str]) -> (Row, Option<i32>) {
    let place = Place::new();
    let mut heaplab = heaplab();
    heaplab.current_dir(place.0.path()).args(["exec", "-o", "out", "--reps", "1", "-a", "jemalloc", "--"]);
    let status = heaplab.args(command).assert().get_output().status;
    (place.sample(), status.code())
}

/// The sample of a shell's script, which must not be ok.
fn spoilt(script: &str) -> Row {
    let (sample, code) = sample(&["sh", "-c", script]);
    assert_eq!(code, Some(3));
    assert_eq!(column(&sample, "status"), "not-injected", "{sample:?}");
    sample
}

#[test]
fn a_process_proves_nothing_for_another_of_its_program() {
    let sample = spoilt("./program hold 5 sleep 900 & env -u LD_PRELOAD ./program hold 50 sleep 800; wait");
    let detail = column(&sample, "status_detail");
    assert!(detail.contains("/program: the preloaded libraries did not reach it"), "{detail}");
}

#[test]
fn small_processes_that_nothing_reached_add_up() {
    let all = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
               env -u LD_PRELOAD ./program hold 3 sleep 1500 & done; ./program hold 60 sleep 1600; wait";
    let sample = spoilt(all);
    let detail = column(&sample, "status_detail");
    assert!(detail.contains("/program (20 processes): the preloaded libraries did not reach it"), "{detail}");
}

/// Processes in a PID namespace report the numbers that they have for themselves.
#[test]
fn a_process_in_a_namespace_is_judged_by_its_own_report() {
    // Of the small one, only the probe is preloaded.
    let script = "./program hold 60 sleep 800 & LD_PRELOAD=${LD_PRELOAD##*:} ./program sleep 400; wait";
    let namespace = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let (sample, code) = sample(&[&namespace[..], &["sh", "-c", script]].concat());
    assert_eq!((column(&sample, "status"), code), ("ok", Some(0)), "{sample:?}");
}

#[test]
fn a_program_that_is_deleted_while_it_runs_is_reached() {
    let script = "cp \"$(command -v sleep)\" ./own; ./own 1 & ./own 0.3; rm own; wait";
    let (sample, code) = sample(&["sh", "-c", script]);
    assert_eq!((column(&sample, "status"), code), ("ok", Some(0)), "{sample:?}");
}
