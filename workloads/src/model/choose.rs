//! Which windows a smaller model keeps: those that stand for the others.

use heaplab_trace::Record;
use rustc_hash::FxHashMap;

use super::draw::Draw;
use super::error::ModelError;
use super::parts::{PHASES, WINDOWS};
use super::subject::Subject;
use super::survey::{Survey, phase_of, stream_error};

/// How many choices are tried for each phase.
const TRIES: usize = 400;

/// The weight of a window: byte-seconds of its objects, bytes and objects allocated.
type Weight = [f64; 3];

/// Whether each window is kept.
///
/// # Errors
///
/// Errors from reading the recording.
pub(super) fn choose(survey: &Survey, subject: &Subject<'_>, size: f64) -> Result<Vec<bool>, ModelError> {
    if size >= 1.0 {
        return Ok(vec![true; WINDOWS]);
    }
    let weights = weigh(survey, subject)?;
    let mut kept = vec![false; WINDOWS];
    let mut draw = Draw::new(1, 1);
    for phase in 0..PHASES {
        let of_phase: Vec<usize> = (0..WINDOWS - 1).filter(|&at| phase_of(at as u32) == phase).collect();
        let count = ((of_phase.len() as f64 * size).round() as usize).clamp(1, of_phase.len());
        for at in choose_of(&of_phase, count, &weights, &mut draw) {
            kept[at] = true;
        }
    }
    Ok(kept)
}

/// Of many random choices, the one with means nearest to those of all windows.
fn choose_of(windows: &[usize], count: usize, weights: &[Weight], draw: &mut Draw) -> Vec<usize> {
    let mean = |of: &[usize]| -> Weight {
        let sum = |at: usize| of.iter().map(|&window| weights[window][at]).sum::<f64>() / of.len() as f64;
        [sum(0), sum(1), sum(2)]
    };
    let all = mean(windows);
    let mut best: Option<(f64, Vec<usize>)> = None;
    let mut order = windows.to_vec();
    for _ in 0..TRIES {
        draw.shuffle(&mut order);
        let found = mean(&order[..count]);
        let off: f64 = all.iter().zip(found).map(|(all, found)| (found - all).abs() / all.max(1e-9)).sum();
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            best = Some((off, order[..count].to_vec()));
        }
    }
    best.map(|(_, chosen)| chosen).unwrap_or_default()
}

fn weigh(survey: &Survey, subject: &Subject<'_>) -> Result<Vec<Weight>, ModelError> {
    let mut weights = vec![[0.0; 3]; WINDOWS];
    let mut live: FxHashMap<u64, (usize, u64, u64)> = FxHashMap::default();
    let end_ns = survey.startup_ns + survey.window_ns * WINDOWS as u64;
    let mut stream = (subject.open)()?;
    let failed = |error| stream_error(&subject.path, &error);
    let weigh = |weights: &mut [Weight], (window, birth_ns, bytes): (usize, u64, u64), until_ns: u64| {
        weights[window][0] += bytes as f64 * until_ns.min(end_ns).saturating_sub(birth_ns) as f64 / 1e9;
    };
    while let Some(record) = stream.next().map_err(failed)? {
        let Record::Event(event) = record else { continue };
        if let Some((object, size)) = event.action.allocated() {
            if (survey.startup_ns..end_ns).contains(&event.time_ns) {
                let window = ((event.time_ns - survey.startup_ns) / survey.window_ns) as usize;
                weights[window][1] += size as f64;
                weights[window][2] += 1.0;
                live.insert(object, (window, event.time_ns, size));
            }
        } else if let Some(object) = event.action.freed()
            && let Some(born) = live.remove(&object)
        {
            weigh(&mut weights, born, event.time_ns);
        }
    }
    let mut left: Vec<_> = live.into_iter().collect();
    left.sort_unstable_by_key(|(object, _)| *object);
    left.into_iter().for_each(|(_, born)| weigh(&mut weights, born, end_ns));
    Ok(weights)
}
