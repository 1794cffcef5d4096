//! Calls of the allocator that a signal's handler interrupts, or that are left without a return.

use crate::support::recording::{Recorded, compile, count_sized};

#[test]
fn a_call_that_never_returns_does_not_end_the_recording() {
    let run = Recorded::hazard("jump.c", &[], &[]);
    run.assert_whole();
    assert_eq!(count_sized(&run, 500), 20);
}

/// An AArch64 call does not leave the address that it returns to on the stack.
#[cfg(target_arch = "x86_64")]
#[test]
fn deeper_calls_after_one_that_never_returned_are_recorded() {
    let run = Recorded::hazard("jump_deeper.c", &[], &["near"]);
    run.assert_whole();
    assert_eq!(count_sized(&run, 500), 10_000);
}

#[test]
fn deeper_calls_that_cannot_be_told_from_inner_ones_are_lost_and_counted() {
    let run = Recorded::hazard("jump_deeper.c", &[], &["hidden"]);
    run.assert_unchanged();
    // The C library may make a call or two of its own meanwhile.
    let lost = run.total("lost");
    assert!(count_sized(&run, 500) == 0 && (18_990..=19_010).contains(&lost), "{lost}: {}", run.said());
    assert!(run.said().contains(&format!("{lost} events were lost")), "{}", run.said());
}

#[test]
fn an_operator_that_throws_is_a_failed_call() {
    for allocator in ["", "libjemalloc.so.2", "libtcmalloc_minimal.so.4"] {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile("thrown.cc", directory.path(), &[]);
        let run = Recorded::run(directory, &program, &[], &[], &[("LD_PRELOAD", allocator)]);
        run.assert_unchanged();
        assert!(!run.said().contains("cannot be preloaded"), "{}", run.said());
        assert_eq!(count_sized(&run, 500), 10_000, "{allocator}: {}", run.said());
        assert_eq!((run.total("failed"), run.total("lost")), (2, 0), "{allocator}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_handler_may_allocate_after_each_instruction_outside_the_allocator() {
    let run = Recorded::hazard("stepped.c", &[], &["allocate"]);
    // A thousand calls from within one are lost.
    run.assert_unchanged();
    assert_eq!(run.total("unseen_frees"), 0, "{}", run.said());
    assert!(run.total("malloc") > 1000, "the handler's are recorded too");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_handler_can_unwind_from_each_instruction_of_the_recorder() {
    let run = Recorded::hazard("stepped.c", &[], &["unwind"]);
    run.assert_whole();
    assert_eq!(run.recorded.stdout, b"unwound\n");
}
