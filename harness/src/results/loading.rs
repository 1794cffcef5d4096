//! Reads a run's directory: what `run.toml` and `samples.csv` say, and whether the other files have all that they did.

use std::collections::HashMap;
use std::path::Path;

use super::incomplete::find_incomplete;
use super::kinds::set_apart;
use super::reader::{Incomplete, Rows, Run, read_run_file};
use super::{ResultsError, Sample};

/// Reads `run.toml` and `samples.csv`.
pub fn load(directory: &Path) -> Result<Run, ResultsError> {
    let mut file = read_run_file(directory)?;
    let mut notes = Vec::new();
    if !file.finished {
        notes.push("the run was interrupted or is still going on: some samples may be missing".to_owned());
    }
    if let Some(shard) = file.shard {
        notes.push(format!(
            "this is shard {shard} of a run: the units of other shards are not in it; heaplab merge makes one run of all"
        ));
    }
    let mut samples: Vec<Sample> = Vec::new();
    let mut places = HashMap::new();
    let mut rows = Rows::open::<Sample>(&directory.join("samples.csv"), &mut notes)?;
    while rows.next()? {
        let sample: Sample = rows.read()?;
        let key = (sample.key(), sample.machine.clone());
        match places.get(&key) {
            Some(&place) => samples[place] = sample,
            None => {
                places.insert(key, samples.len());
                samples.push(sample);
            }
        }
    }
    set_apart(&mut file, &mut samples);
    let incomplete = Incomplete::default();
    let mut run = Run { directory: directory.to_owned(), file, samples, notes, incomplete };
    let mut lacking = Vec::new();
    run.incomplete = find_incomplete(&run, &mut lacking)?;
    run.notes.append(&mut lacking);
    Ok(run)
}
