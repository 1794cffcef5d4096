//! The supplied clock: no thread sees it run backwards, whatever it knows about the others.

use loom::sync::Arc;
use loom::thread;

use crate::sync::{self, AtomicU64, Ordering};

#[path = "../../harness/src/worker/clock/offset.rs"]
mod offset;

use offset::Offset;

/// A real clock: every reading is later than the previous one, on whichever CPU.
struct Real(AtomicU64);

impl Real {
    fn read(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel)
    }
}

fn clock() -> (Arc<Offset>, Arc<Real>) {
    let (clock, real) = (Arc::new(Offset::default()), Arc::new(Real(AtomicU64::new(100))));
    clock.read(|| real.read());
    (clock, real)
}

/// One thread stops the clock and restarts it; another reads it, and tells a third what it read last.
pub(crate) fn stops() {
    let (clock, real) = clock();
    let told = Arc::new(AtomicU64::new(0));
    told.load(Ordering::Relaxed);
    let reader = {
        let (clock, real, told) = (Arc::clone(&clock), Arc::clone(&real), Arc::clone(&told));
        thread::spawn(move || {
            let first = clock.read(|| real.read());
            let second = clock.read(|| real.read());
            assert!(first <= second, "{first}, and then {second}");
            told.store(second, Ordering::Release);
        })
    };
    let stopper = {
        let (clock, real) = (Arc::clone(&clock), Arc::clone(&real));
        thread::spawn(move || {
            let stop = clock.stop(|| real.read()).expect("it follows");
            let standing = clock.read(|| real.read());
            assert_eq!(standing, stop.ns, "it stands");
            clock.go_on(stop, || real.read());
        })
    };
    let heard = told.load(Ordering::Acquire);
    let own = clock.read(|| real.read());
    assert!(heard <= own, "heard of {heard}, and then saw {own}");
    reader.join().expect("the reader");
    stopper.join().expect("the stopper");
    assert!(own <= clock.read(|| real.read()));
}

/// Two stops in a row while another thread reads, through a coarse clock too.
pub(crate) fn stops_twice() {
    let (clock, real) = clock();
    let reader = {
        let (clock, real) = (Arc::clone(&clock), Arc::clone(&real));
        thread::spawn(move || {
            let coarse = || real.read() / 4 * 4;
            let first = clock.read_coarse(|| real.read(), coarse);
            let second = clock.read_coarse(|| real.read(), coarse);
            assert!(first <= second, "{first}, and then {second}");
        })
    };
    for _ in 0..2 {
        let stop = clock.stop(|| real.read()).expect("it follows");
        clock.go_on(stop, || real.read());
    }
    reader.join().expect("the reader");
}

/// The clock becomes virtual and is set forward while another thread reads.
pub(crate) fn becomes_virtual() {
    let (clock, real) = clock();
    let reader = {
        let (clock, real) = (Arc::clone(&clock), Arc::clone(&real));
        thread::spawn(move || {
            let mut last = 0;
            for _ in 0..3 {
                let now = clock.read(|| real.read());
                assert!(last <= now, "{last}, and then {now}");
                last = now;
            }
        })
    };
    let stop = clock.stop(|| real.read()).expect("it follows");
    clock.advance_to(stop.ns + 1_000);
    clock.advance_to(stop.ns + 500);
    reader.join().expect("the reader");
    assert_eq!(clock.read(|| real.read()), stop.ns + 1_000);
}
