//! The laws of floor's size classes. floor itself is a cdylib and cannot be linked, so its file is taken in.

#[path = "../preload/floor/src/classes.rs"]
mod classes;

use classes::{CLASSES, GRAIN_BYTES, LARGEST_BYTES, class_bytes, class_of, list_limit};
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..5000, 0usize..=LARGEST_BYTES, (0u32..=46).prop_map(|shift| 1usize << shift)]
}

proptest! {
    #[test]
    fn a_class_holds_its_sizes_and_wastes_at_most_a_fifth(size in sizes()) {
        let class = class_of(size);
        let bytes = class_bytes(class);
        prop_assert!(class < CLASSES);
        prop_assert!(bytes >= size);
        prop_assert_eq!(bytes % GRAIN_BYTES, 0);
        prop_assert!(bytes - size <= (bytes / 5).max(GRAIN_BYTES), "{} for {}", bytes, size);
    }

    #[test]
    fn a_classs_own_size_is_served_by_it(class in 1usize..CLASSES) {
        prop_assert_eq!(class_of(class_bytes(class)), class);
        prop_assert!(class_bytes(class) > class_bytes(class - 1) || class == 1);
    }

    #[test]
    fn lists_are_bounded_and_large_blocks_are_in_none(class in 0usize..CLASSES) {
        let limits = if class_bytes(class) < 16 << 10 { 2..=256 } else { 0..=0 };
        prop_assert!(limits.contains(&list_limit(class)), "{} of {}", list_limit(class), class_bytes(class));
    }
}

#[test]
fn the_largest_size_has_the_last_class() {
    assert_eq!(class_of(LARGEST_BYTES), CLASSES - 1);
}
