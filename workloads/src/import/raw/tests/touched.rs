//! How much of a block was written to, as it was recorded and as the trace has it.

use super::*;

#[test]
fn what_was_touched_of_blocks_that_stay_live_is_told_at_the_end() {
    let mut writer = writer();
    let (one, other) = (writer.add_thread(100), writer.add_thread(101));
    let touched = |address, bytes| Event::Touched { address, bytes };
    for (thread, at, event) in [
        (one, 1000, malloc(0x10_0000, 1 << 20)),
        (one, 1000, malloc(0x30_0000, 3 << 30)),
        (one, 1000, malloc(0x50_0000, 1 << 20)),
        // The second is freed after that by another thread; a block at the third address was never seen.
        (one, 5000, touched(0x10_0000, 4096)),
        (one, 5000, touched(0x30_0000, 2 << 30)),
        (one, 5000, touched(0x70_0000, 4096)),
        (one, 5000, touched(0x50_0000, 8192)),
        (other, 6000, Event::Free { address: 0x30_0000 }),
    ] {
        writer.push(thread, at, event);
    }
    let (report, records) = Place::new(&writer).import();
    let told = actions(&records).into_iter().filter_map(|(at, thread, action)| match action {
        Action::Touched { object, bytes } => Some((at, thread, object, bytes)),
        Action::Free { object } => Some((at, thread, object, 0)),
        _ => None,
    });
    let told: Vec<_> = told.map(|(_, thread, object, bytes)| (thread, object, bytes)).collect();
    assert_eq!(told, [(0, 0, 4096), (0, 1, 2 << 30), (0, 2, 8192), (1, 1, 0)]);
    let summary = report.summary;
    assert_eq!((summary.touched, summary.order_guessed, summary.unseen_reallocs), (3, 0, 0));
    assert_eq!(report.problems, [] as [String; 0]);
}

#[test]
fn what_was_touched_stands_before_the_end_of_its_block() {
    let mut writer = writer();
    let (one, other) = (writer.add_thread(100), writer.add_thread(101));
    let touched = |address, bytes| Event::Touched { address, bytes };
    // All in one tick, and in an order that only the addresses reveal: the other thread frees what this one
    // allocated.
    for event in [
        malloc(0x10_0000, 1 << 20),
        malloc(0x30_0000, 1 << 20),
        touched(0x30_0000, 8192),
        Event::ReallocBegin { address: 0x30_0000 },
        Event::ReallocEnd { address: 0x30_0000, size: 2 << 20 },
        touched(0x30_0000, 12_288),
        Event::ReallocBegin { address: 0x30_0000 },
        Event::ReallocEnd { address: 0x50_0000, size: 4 << 20 },
        touched(0x50_0000, 1),
        Event::ReallocBegin { address: 0x50_0000 },
        Event::Failed { call: Call::Realloc, size: 1 << 60 },
        touched(0x50_0000, 0),
        Event::ReallocBegin { address: 0x50_0000 },
        Event::ReallocFreed,
    ] {
        writer.push(one, 1000, event);
    }
    // One for an address that differs from the next free's, and one for a block that was never seen: they
    // belong to no block.
    for (at, event) in [
        (1000, touched(0x10_0000, 4096)),
        (1000, Event::Free { address: 0x10_0000 }),
        (2000, touched(0x70_0000, 4096)),
        (2000, Event::Free { address: 0x80_0000 }),
        (2000, touched(0x90_0000, 4096)),
        (2000, Event::Free { address: 0x90_0000 }),
    ] {
        writer.push(other, at, event);
    }
    let (report, records) = Place::new(&writer).import();
    let found = actions(&records);
    let about = |wanted: u64| {
        let told = found.iter().filter_map(|&(_, thread, action)| match action {
            Action::Touched { object, bytes } if object == wanted => Some((thread, "touched", bytes)),
            Action::Malloc { object, size } if object == wanted => Some((thread, "malloc", size)),
            Action::Realloc { object, size } if object == wanted => Some((thread, "realloc", size)),
            Action::ReallocFree { object } | Action::Free { object } if object == wanted => {
                Some((thread, "free", 0))
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(about(0), [(0, "malloc", 1 << 20), (1, "touched", 4096), (1, "free", 0)]);
    assert_eq!(
        about(1),
        [
            (0, "malloc", 1 << 20),
            (0, "touched", 8192),
            (0, "realloc", 2 << 20),
            (0, "touched", 12_288),
            (0, "realloc", 4 << 20),
            (0, "touched", 0),
            (0, "free", 0),
        ]
    );
    let summary = report.summary;
    assert_eq!((summary.touched, summary.touched_bytes, summary.touched_of_bytes), (4, 24_576, 8 << 20));
    assert_eq!((summary.order_guessed, summary.unseen_frees), (0, 2));
    assert_eq!(report.problems, [] as [String; 0]);
}
