//! The search for the smallest limit under which something holds: by bisection, without knowing what is being
//! tried.

/// How far apart the largest limit that failed and the smallest that did not may be, as a ratio.
pub(super) const LIMIT_STEP: f64 = 1.02;
/// By how much a limit grows while none has held yet.
const GROWTH: f64 = 1.3;
/// Below this no program starts.
const LEAST_BYTES: u64 = 1 << 20;
/// Limits are whole pages.
const PAGE_BYTES: u64 = 4096;

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The largest limit under which it did not hold; none if it holds under the smallest limit tried.
    pub(super) failed_bytes: Option<u64>,
    /// The smallest under which it held.
    pub(super) held_bytes: u64,
}

/// The smallest limit under which `holds` says true, within [`LIMIT_STEP`]; none if it does not hold under
/// `most_bytes`. `holds` is assumed to be monotonic; `guess_bytes` is tried first. `Ok(None)` from `holds`
/// ends the search.
///
/// # Errors
///
/// Errors from `holds`.
pub(super) fn find_smallest<E>(
    guess_bytes: u64,
    most_bytes: u64,
    mut holds: impl FnMut(u64) -> Result<Option<bool>, E>,
) -> Result<Option<Option<Found>>, E> {
    let whole =
        |bytes: f64| ((bytes / PAGE_BYTES as f64).ceil() as u64 * PAGE_BYTES).clamp(LEAST_BYTES, most_bytes);
    let mut failed: Option<u64> = None;
    let mut held = whole(guess_bytes as f64);
    loop {
        match holds(held)? {
            None => return Ok(None),
            Some(true) => break,
            Some(false) if held >= most_bytes => return Ok(Some(None)),
            Some(false) => {
                failed = Some(held);
                held = whole(held as f64 * GROWTH);
            }
        }
    }
    // The limit is mostly just below the guess, so try one step below it first, then ever larger steps.
    let mut share = LIMIT_STEP;
    while held > LEAST_BYTES {
        let next = match failed {
            Some(failed) if held as f64 <= failed as f64 * LIMIT_STEP => break,
            Some(failed) => whole((failed as f64 * held as f64).sqrt()),
            None => whole(held as f64 / share),
        };
        // An interval of one page cannot be halved.
        if next >= held || failed.is_some_and(|failed| next <= failed) {
            break;
        }
        share *= share;
        match holds(next)? {
            None => return Ok(None),
            Some(true) => held = next,
            Some(false) => failed = Some(next),
        }
    }
    Ok(Some(Some(Found { failed_bytes: failed, held_bytes: held })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn search(truth: u64, guess: u64, most: u64) -> (Option<Found>, u32) {
        let mut tried = 0;
        let found = find_smallest(guess, most, |limit| {
            tried += 1;
            Ok::<_, std::convert::Infallible>(Some(limit >= truth))
        });
        (found.expect("it says nothing").expect("it was not stopped"), tried)
    }

    #[test]
    fn what_never_holds_is_not_found_and_what_always_does_ends_at_the_least() {
        assert_eq!(search(u64::MAX, 1 << 30, 1 << 34).0, None);
        let always = search(0, 1 << 30, 1 << 34).0.expect("found");
        assert_eq!(always, Found { failed_bytes: None, held_bytes: LEAST_BYTES });
        let stopped = find_smallest(1 << 30, 1 << 34, |_| Ok::<_, ()>(None));
        assert_eq!(stopped, Ok(None));
    }

    proptest! {
        #[test]
        fn the_truth_lies_between_what_failed_and_what_held(truth in (2u64 << 20)..(1 << 34), guess in (1u64 << 20)..(1 << 34)) {
            let (found, tried) = search(truth, guess, 1 << 35);
            let found = found.expect("it holds below the most");
            let failed = found.failed_bytes.expect("below the truth it fails");
            prop_assert!(failed < truth && truth <= found.held_bytes, "{found:?}");
            prop_assert!(found.held_bytes as f64 <= failed as f64 * LIMIT_STEP + 4096.0, "{found:?}");
            prop_assert!(tried < 60, "{tried}");
        }
    }
}
