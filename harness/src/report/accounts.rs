//! What allocators report about their own memory, compared with what the replay knows about it.

use std::collections::BTreeMap;

use heaplab_allocators::{Family, registry};

use super::grid::Grid;
use super::units;
use crate::results::{Moment, ResultsError, Run};
use crate::worker::Stated;

/// A difference between the two is reported from this fraction of the replay's live bytes on, and from this
/// many bytes.
const WORTH_A_NOTE: f64 = 0.05;
const WORTH_A_NOTE_BYTES: u64 = 1 << 20;

/// Accounts by workload, variant and moment, from the first block that has them.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<(String, String), BTreeMap<Moment, Entry>>);

/// An account, and the family of its allocator.
#[derive(Debug)]
struct Entry {
    block: u32,
    family: Family,
    stated: Stated,
}

impl Accounts {
    /// Streams stats.csv once. Notes rows that were left out, and accounts that disagree with the replay.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<Accounts, ResultsError> {
        let mut accounts = Accounts::default();
        notes.extend(run.each_account(|place, stated| {
            let sample = &run.samples[place];
            let family = registry::find(&sample.allocator).map_or(Family::Other, |entry| entry.family);
            let entry = Entry { block: sample.block, family, stated };
            let key = (sample.workload.clone(), sample.variant.clone());
            let moments = accounts.0.entry(key).or_default();
            let moment = entry.stated.moment;
            if moments.get(&moment).is_none_or(|known| known.block > entry.block) {
                moments.insert(moment, entry);
            }
        })?);
        notes.extend(accounts.differences());
        Ok(accounts)
    }

    /// The account of a variant at the requested peak.
    pub(super) fn at_peak(&self, workload: &str, variant: &str) -> Option<&Stated> {
        let moments = self.0.get(&(workload.to_owned(), variant.to_owned()))?;
        moments.get(&Moment::Peak).map(|entry| &entry.stated)
    }

    /// A sentence with the explanation for each account whose live bytes differ from the replay's.
    fn differences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        for ((workload, variant), moments) in &self.0 {
            let Some(entry) = moments.get(&Moment::Peak) else { continue };
            let (Some(live), Some(usable)) = (entry.stated.account.live_bytes, entry.stated.usable_bytes)
            else {
                continue;
            };
            let difference = live.abs_diff(usable);
            if difference < WORTH_A_NOTE_BYTES || (difference as f64) < usable as f64 * WORTH_A_NOTE {
                continue;
            }
            let (more, why) = if live > usable {
                ("more", explain_more(entry.family))
            } else {
                ("less", "nothing that is known explains it: its account may lag or leave blocks out")
            };
            sentences.push(format!(
                "{workload}, {variant}: it counts {} as live at the requested peak, {} {more} than the replay holds; {why}",
                units::bytes(live as f64),
                units::bytes(difference as f64)
            ));
        }
        sentences
    }

    /// The accounts of a workload as a table; none if there are none.
    pub(super) fn grid(&self, workload: &str, variants: &[String]) -> Option<Grid> {
        let header = [
            "variant",
            "moment",
            "said to be live",
            "live",
            "metadata",
            "cached",
            "dirty",
            "in none of these",
            "resident",
            "from the system",
        ];
        let mut rows = Vec::new();
        for variant in variants {
            let moments = self.0.get(&(workload.to_owned(), variant.clone()));
            for entry in moments.into_iter().flat_map(BTreeMap::values) {
                rows.push(row(variant, &entry.stated));
            }
        }
        let grid = Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows };
        (!grid.rows.is_empty()).then_some(grid)
    }
}

fn row(variant: &str, stated: &Stated) -> Vec<String> {
    let account = &stated.account;
    let cell = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| units::bytes(bytes as f64));
    let moment = match stated.moment {
        Moment::Peak => "peak",
        Moment::ResidentPeak => "resident peak",
        Moment::Drained => "drained",
    };
    // NOTE: the same parts as in the plot. An allocator's own parts, unlimited, would not add up to resident.
    let [live, metadata, cached, dirty, rest] = match Split::of(stated) {
        Some(split) => {
            let reported =
                |part: Option<u64>, bytes: u64| part.map(|_| bytes).or((bytes > 0).then_some(bytes));
            [
                cell(Some(split.live_bytes)),
                cell(reported(account.metadata_bytes, split.metadata_bytes)),
                cell(Some(split.cached_bytes)),
                cell(reported(account.dirty_bytes, split.dirty_bytes)),
                cell(Some(split.rest_bytes)),
            ]
        }
        None => {
            let alone = [stated.usable_bytes, account.metadata_bytes, None, account.dirty_bytes, None];
            alone.map(cell)
        }
    };
    vec![
        variant.to_owned(),
        moment.to_owned(),
        cell(account.live_bytes),
        live,
        metadata,
        cached,
        dirty,
        rest,
        cell(Some(stated.resident_bytes)),
        cell(account.system_bytes),
    ]
}

/// Why an allocator of this family may count more as live than a replay holds.
fn explain_more(family: Family) -> &'static str {
    match family {
        Family::Ptmalloc2 => {
            "blocks in its threads' caches and the headers of all blocks count as live there"
        }
        Family::Jemalloc => "what its threads keep for themselves may count as live there",
        Family::Tcmalloc | Family::TcmallocGoogle => "it counts pages of large blocks whole",
        Family::Scudo => "the headers of blocks count as live there, and its threads' caches may",
        _ => "nothing that is known explains it",
    }
}

/// Resident memory, divided up by the allocator's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Usable bytes of live objects, as the replay knows them; if it does not, as the allocator reports them.
    pub(super) live_bytes: u64,
    pub(super) cached_bytes: u64,
    pub(super) dirty_bytes: u64,
    pub(super) metadata_bytes: u64,
    /// Resident, and in none of these.
    pub(super) rest_bytes: u64,
}

impl Split {
    /// None if only the sum is reported. The parts are limited to what is resident, starting with the first: part of
    /// the free memory may never have been touched.
    pub(super) fn of(stated: &Stated) -> Option<Split> {
        let account = &stated.account;
        let live = stated.usable_bytes.or(account.live_bytes)?;
        // For jemalloc without statistics, only the pages that contain blocks are known.
        let cached =
            account.cached_bytes.or(account.active_bytes.map(|active| active.saturating_sub(live)))?;
        let mut left = stated.resident_bytes;
        let mut take = |bytes: u64| {
            let taken = bytes.min(left);
            left -= taken;
            taken
        };
        let live_bytes = take(live);
        let metadata_bytes = take(account.metadata_bytes.unwrap_or(0));
        let cached_bytes = take(cached);
        let dirty_bytes = take(account.dirty_bytes.unwrap_or(0));
        Some(Split { live_bytes, cached_bytes, dirty_bytes, metadata_bytes, rest_bytes: left })
    }
}

#[cfg(test)]
mod tests {
    use heaplab_allocators::Account;

    use super::*;

    fn stated(live: u64, cached: u64, resident: u64) -> Stated {
        Stated {
            moment: Moment::Peak,
            account: Account {
                live_bytes: Some(live),
                cached_bytes: Some(cached),
                metadata_bytes: Some(5),
                ..Account::default()
            },
            usable_bytes: Some(60),
            resident_bytes: resident,
        }
    }

    #[test]
    fn parts_fit_into_what_is_resident() {
        let split = Split::of(&stated(60, 20, 100)).expect("a split");
        assert_eq!(
            (split.live_bytes, split.cached_bytes, split.metadata_bytes, split.rest_bytes),
            (60, 20, 5, 15)
        );
        // Free memory that was never touched is not resident.
        let split = Split::of(&stated(60, 90, 100)).expect("a split");
        assert_eq!((split.cached_bytes, split.rest_bytes), (35, 0));
        let sum_alone = Stated { account: Account::default(), ..stated(0, 0, 100) };
        assert_eq!(Split::of(&sum_alone), None);
    }

    #[test]
    fn the_parts_of_a_row_are_those_of_the_plot() {
        // The account reports pages with blocks, and not what of them is cached.
        let account = Account {
            live_bytes: Some(70 << 10),
            active_bytes: Some(80 << 10),
            dirty_bytes: Some(50 << 10),
            ..Account::default()
        };
        let stated =
            Stated { moment: Moment::Peak, account, usable_bytes: Some(60 << 10), resident_bytes: 120 << 10 };
        let cells = row("jemalloc", &stated);
        assert_eq!(
            cells[2..],
            ["70.0 KiB", "60.0 KiB", "-", "20.0 KiB", "40.0 KiB", "0 B", "120 KiB", "-"],
            "live, cached and dirty add up to resident"
        );
    }

    #[test]
    fn a_difference_is_named_with_what_explains_it() {
        let mut accounts = Accounts::default();
        let mut add = |variant: &str, family, live: u64| {
            let mut stated = stated(live, 0, 100 << 20);
            stated.usable_bytes = Some(60 << 20);
            let moments = accounts.0.entry(("w".to_owned(), variant.to_owned())).or_default();
            moments.insert(Moment::Peak, Entry { block: 0, family, stated });
        };
        add("near", Family::Tcmalloc, 61 << 20);
        add("more", Family::Ptmalloc2, 70 << 20);
        add("less", Family::Scudo, 50 << 20);
        let sentences = accounts.differences();
        assert_eq!(sentences.len(), 2, "{sentences:?}");
        assert!(sentences[0].starts_with("w, less: it counts 50.0 MiB as live"), "{sentences:?}");
        assert!(
            sentences[1].contains("10.0 MiB more than the replay holds; blocks in its threads"),
            "{sentences:?}"
        );
    }
}
