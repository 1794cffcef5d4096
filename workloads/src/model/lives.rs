//! How long objects live on if the recording did not see their end.

use super::draw::Draw;
use super::parts::Lives;

/// A class with fewer old objects than this says too little about old ones: those of all classes speak for it.
const FEW: usize = 20;

/// Lives by size class.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Continuation {
    lives: Vec<Lives>,
    /// By class, the mean of what is left to live beyond the longest life seen; none if objects stay.
    tails_ns: Vec<Option<f64>>,
}

/// A longer life is drawn at most this often; after that the object lasts.
const MOST_DRAWS: u32 = 10_000;

/// How often old objects were freed.
#[derive(Debug, Clone, Copy, Default)]
struct Old {
    objects: usize,
    freed: usize,
    /// Time seen alive, beyond the age at which an object counts as old.
    alive_ns: f64,
}

impl Old {
    fn count(&mut self, (lived_ns, was_freed): (u64, bool), old_ns: u64) {
        let Some(beyond_ns) = lived_ns.checked_sub(old_ns) else { return };
        self.objects += 1;
        self.freed += usize::from(was_freed);
        self.alive_ns += beyond_ns as f64;
    }

    /// The mean of exponential lives, of which some were cut off by the end of the recording.
    fn mean_ns(&self) -> Option<f64> {
        (self.freed > 0).then(|| (self.alive_ns / self.freed as f64).max(1.0))
    }
}

impl Continuation {
    /// `windows_ns` is the recorded time between start-up and shutdown. An object counts as old after a quarter of it.
    pub(super) fn new(lives: Vec<Lives>, windows_ns: u64) -> Continuation {
        let mut all = Old::default();
        let of_class: Vec<Old> = lives
            .iter()
            .map(|lives| {
                let mut old = Old::default();
                for life in &lives.seen {
                    old.count(*life, windows_ns / 4);
                    all.count(*life, windows_ns / 4);
                }
                old
            })
            .collect();
        let tail = |old: &Old| if old.objects < FEW { all.mean_ns() } else { old.mean_ns() };
        Continuation { tails_ns: of_class.iter().map(tail).collect(), lives }
    }

    /// Whether objects of the class that grew old are never freed.
    pub(super) fn stays(&self, class: usize) -> bool {
        self.tails_ns.get(class).copied().flatten().is_none()
    }

    /// The life of an object of the class that has reached `age_ns`: the life of an object that was seen to
    /// grow older, and if the end of that one was not seen either, of a still older one. None if it lasts for
    /// `left_ns` or longer. `chance` is the same for all objects of a window, because what was allocated
    /// together often goes together.
    pub(super) fn draw(
        &self,
        class: usize,
        age_ns: u64,
        left_ns: u64,
        chance: f64,
        draw: &mut Draw,
    ) -> Option<u64> {
        let seen = self.lives.get(class).map_or(&[][..], |lives| &lives.seen);
        let (mut age_ns, mut chance) = (age_ns, chance);
        for _ in 0..MOST_DRAWS {
            if age_ns >= left_ns {
                return None;
            }
            let older = &seen[seen.partition_point(|(lived_ns, _)| *lived_ns <= age_ns)..];
            if older.is_empty() {
                let more_ns = self.tails_ns.get(class).copied().flatten()? * draw.exponential();
                return Some(age_ns.saturating_add(more_ns as u64));
            }
            let (lived_ns, was_freed) = older[((chance * older.len() as f64) as usize).min(older.len() - 1)];
            if was_freed {
                return Some(lived_ns);
            }
            age_ns = lived_ns;
            chance = draw.unit();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects of one class that were born all the time and are freed at a constant rate, seen for `windows_ns`.
    fn seen(count: u64, mean_ns: f64, windows_ns: u64) -> Lives {
        let mut draw = Draw::new(7, 0);
        let mut seen: Vec<(u64, bool)> = (0..count)
            .map(|number| {
                let lived_ns = (mean_ns * draw.exponential()) as u64;
                let left_ns = windows_ns * number / count;
                (lived_ns.min(left_ns), lived_ns < left_ns)
            })
            .collect();
        seen.sort_unstable();
        Lives { seen }
    }

    /// The mean of 2,000 lives of new objects, those that last counted as `left_ns`.
    fn mean(of: &Continuation, class: usize, left_ns: u64) -> f64 {
        let mut draw = Draw::new(1, 0);
        let lives = (0..2000).map(|_| {
            let chance = draw.unit();
            of.draw(class, 0, left_ns, chance, &mut draw).unwrap_or(left_ns).min(left_ns) as f64
        });
        lives.sum::<f64>() / 2000.0
    }

    #[test]
    fn lives_as_long_as_the_recording_are_continued_at_the_rate_of_old_objects() {
        let lives = vec![seen(1000, 500_000.0, 1_000_000)];
        let found = mean(&Continuation::new(lives, 1_000_000), 0, 10_000_000);
        assert!((450_000.0..550_000.0).contains(&found), "{found}");
    }

    #[test]
    fn objects_that_were_never_freed_stay() {
        let lives = vec![Lives { seen: (1..=100).map(|at| (at * 10_000, false)).collect() }];
        let found = mean(&Continuation::new(lives, 1_000_000), 0, 10_000_000);
        assert!(found > 9_999_999.0, "{found}");
    }

    #[test]
    fn a_class_with_few_old_objects_takes_the_rate_of_all() {
        let lives = vec![seen(1000, 500_000.0, 1_000_000), Lives { seen: vec![(900_000, false)] }];
        let found = mean(&Continuation::new(lives, 1_000_000), 1, 10_000_000);
        assert!((1_300_000.0..1_500_000.0).contains(&found), "{found}: 900,000 and the mean of what is left");
    }

    #[test]
    fn a_class_that_was_not_seen_has_no_lives() {
        let mut draw = Draw::new(1, 0);
        assert_eq!(Continuation::default().draw(3, 0, 100, 0.5, &mut draw), None);
    }
}
