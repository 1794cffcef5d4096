//! Summarises a sample's memory over time: means from where it counts, and whether it still grows.

use super::Sample;
use crate::design::CountFrom;
use crate::stats::{mean_between, warm_up};

/// Memory of one sample over time, in order of time.
pub(crate) struct OverTime<'a> {
    /// What the load is judged by: for a replay its requested memory, which is the same for all variants; for a
    /// program its resident memory.
    pub(crate) load: &'a [(u64, u64)],
    /// Resident memory.
    pub(crate) resident: &'a [(u64, u64)],
    /// Whether times are real times and not the indexes of events.
    pub(crate) has_times: bool,
}

impl OverTime<'_> {
    /// Adds the figures over time to a sample. Remarks on them are added to its status detail.
    pub(crate) fn complete(&self, sample: &mut Sample, count_from: Option<CountFrom>) {
        let Some((&(begin, _), &(end, _))) = self.resident.first().zip(self.resident.last()) else { return };
        let third = (end - begin) / 3;
        sample.resident_middle_third_bytes = mean_between(self.resident, begin + third, begin + 2 * third);
        sample.resident_last_third_bytes = mean_between(self.resident, begin + 2 * third, end);
        let Some(count_from) = count_from else { return };
        let (from, note) = self.find_start(count_from, end);
        sample.counted_from_ns = Some(from);
        sample.resident_mean_bytes = mean_between(self.resident, from, end);
        if sample.requested_mean_bytes.is_some() {
            sample.requested_mean_bytes = mean_between(self.load, from, end);
        }
        if let Some(note) = note {
            let before = sample.status_detail.take().map(|detail| format!("{detail}; ")).unwrap_or_default();
            sample.status_detail = Some(before + &note);
        }
    }

    /// Finds the time from which memory counts, and what there is to say about it.
    pub(crate) fn find_start(&self, count_from: CountFrom, end: u64) -> (u64, Option<String>) {
        match count_from {
            CountFrom::Time(_) if !self.has_times => (
                0,
                Some(
                    "the trace has no times, so that all of it counts: --from takes `steady` here".to_owned(),
                ),
            ),
            CountFrom::Time(from) if from >= end => {
                (0, Some(format!("it ends before {count_from}, so that all of it counts")))
            }
            CountFrom::Time(from) => (from, None),
            CountFrom::Steady => match warm_up(self.load, end) {
                None => {
                    (0, Some("it is too short to find a steady part, so that all of it counts".to_owned()))
                }
                Some(found) if found.is_steady => (found.end, None),
                Some(found) => (
                    found.end,
                    Some(
                        "no part of it is steady: the second half counts, and a longer run would differ"
                            .to_owned(),
                    ),
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(points: &[(u64, u64)], count_from: CountFrom) -> Sample {
        let mut sample = Sample { requested_mean_bytes: Some(1), ..Sample::default() };
        OverTime { load: points, resident: points, has_times: true }.complete(&mut sample, Some(count_from));
        sample
    }

    #[test]
    fn the_start_is_left_out_where_it_is_asked_for() {
        let points: Vec<(u64, u64)> = (0..=3000).map(|time| (time, time.min(600))).collect();
        let sample = completed(&points, CountFrom::Time(1500));
        assert_eq!((sample.counted_from_ns, sample.resident_mean_bytes), (Some(1500), Some(600)));
        assert_eq!(sample.requested_mean_bytes, Some(600));
        let steady = completed(&points, CountFrom::Steady);
        assert!(steady.counted_from_ns.is_some_and(|from| (580..=630).contains(&from)), "{steady:?}");
        assert_eq!(steady.status_detail, None);
        assert_eq!(
            (steady.resident_middle_third_bytes, steady.resident_last_third_bytes),
            (Some(600), Some(600))
        );
    }

    #[test]
    fn where_that_cannot_be_done_it_is_said() {
        let rises: Vec<(u64, u64)> = (0..=3000).map(|time| (time, time)).collect();
        let said = |sample: Sample| sample.status_detail.expect("a note");
        assert!(said(completed(&rises, CountFrom::Steady)).contains("no part of it is steady"));
        let late = completed(&rises, CountFrom::Time(9000));
        assert_eq!((late.counted_from_ns, late.resident_mean_bytes), (Some(0), Some(1499)));
        assert!(said(late).contains("ends before"));
        assert!(said(completed(&rises[..2], CountFrom::Steady)).contains("too short"));
    }
}
