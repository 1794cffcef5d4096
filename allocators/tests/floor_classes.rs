//! The laws of floor's size classes. floor itself is a cdylib and cannot be linked, so its source file is
//! included.

#[path = "../preload/floor/src/classes.rs"]
mod classes;

use classes::{
    CLASSES, GRAIN_BYTES, LARGEST_BYTES, aligned_class_of, class_alignment, class_bytes, class_of,
    magazine_blocks,
};
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..5000, 0usize..=LARGEST_BYTES, (0u32..=40).prop_map(|shift| 1usize << shift)]
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
    fn a_classs_own_size_is_served_by_it(class in 1usize..=class_of(LARGEST_BYTES)) {
        prop_assert_eq!(class_of(class_bytes(class)), class);
        prop_assert!(class_bytes(class) > class_bytes(class - 1) || class == 1);
    }

    #[test]
    fn an_aligned_block_is_as_long_and_as_aligned_as_was_asked(size in sizes(), shift in 5u32..=40) {
        let class = aligned_class_of(1 << shift, size).expect("no more than the largest size");
        prop_assert!(class < CLASSES);
        prop_assert!(class_bytes(class) >= size);
        prop_assert_eq!(class_alignment(class) % (1 << shift), 0);
        prop_assert_eq!(aligned_class_of(LARGEST_BYTES * 2, size), None);
        prop_assert_eq!(aligned_class_of(1 << shift, LARGEST_BYTES + 1), None);
    }

    #[test]
    fn magazines_are_bounded(class in 0usize..CLASSES) {
        prop_assert!((1..=127).contains(&magazine_blocks(class)), "{}", magazine_blocks(class));
    }
}

#[test]
fn the_largest_size_has_the_last_class_and_a_class_fits_in_a_byte() {
    assert_eq!(aligned_class_of(16, LARGEST_BYTES), Some(CLASSES - 1));
    const { assert!(CLASSES <= 256) };
}
