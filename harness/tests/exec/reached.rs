//! Processes that nothing preloaded reached, next to others that prove the variant.

use super::{Place, column};
use crate::support::heaplab;
use crate::support::rows::Row;

/// The sample of a shell's script under jemalloc, which must not be ok.
fn spoilt(script: &str) -> Row {
    let place = Place::new();
    let mut command = heaplab();
    command.current_dir(place.0.path()).args(["exec", "-o", "out", "--reps", "1", "-a", "jemalloc", "--"]);
    command.args(["sh", "-c", script]).assert().code(3);
    let sample = place.sample();
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
