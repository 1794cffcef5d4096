//! How long objects live on if the recording did not see their end.

use super::draw::Draw;
use super::parts::Lives;

/// Lives by size class.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Continuation {
    lives: Vec<Lives>,
}

/// A longer life is drawn at most this often; after that the object lasts.
const MOST_DRAWS: u32 = 10_000;

impl Continuation {
    pub(super) fn new(lives: Vec<Lives>) -> Continuation {
        Continuation { lives }
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
        tail_ns: Option<u64>,
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
                let more_ns = tail_ns? as f64 * draw.exponential();
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
