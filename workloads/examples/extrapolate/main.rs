//! How far off a model's requested bytes are from recordings, as rows of CSV, and how fast models are on standard error:
//!
//!     extrapolate SUBJECT QUESTION REC.hlt=LOAD [REC.hlt=LOAD] [size=SHARE] --try REC.hlt=LOAD ...
//!     extrapolate header
//!
//! The model is fitted to the recordings before `--try`. Each of those after it is compared with what the model makes at its
//! load and of its length (seeds 1 to 5: the median, and the lowest and highest), and with three baselines: the recording of
//! the nearest load unchanged, its requested bytes scaled in proportion to the load, and sizes and lifetimes drawn
//! independently. `scripts/extrapolate-all` calls it.

mod independent;

use std::path::{Path, PathBuf};

use heaplab_workloads::catalog;
use heaplab_workloads::model::{FitOptions, Model, ModelError, Question, Subject, fit, requested};
use heaplab_workloads::simulate::Options;
use heaplab_workloads::stream::RecordStream;
use independent::Independent;

const SEEDS: u64 = 5;
const HEADER: &str = "subject,question,fitted,load,figure,off,lowest_off,highest_off,unscaled_off,linear_off,independent_off,band,gate,reasons";

fn open(path: &Path) -> Box<dyn RecordStream + Send> {
    let workload = catalog::find(&path.display().to_string()).expect("a recording");
    workload.open(&Options::default()).expect("it opens")
}

fn subject(path: &Path, load: f64) -> Subject<'static> {
    let own = path.to_path_buf();
    let opened = move || Ok::<_, ModelError>(open(&own));
    Subject { path: path.to_path_buf(), load, open: Box::new(opened) }
}

fn recordings(words: &[String]) -> Vec<(PathBuf, f64)> {
    let parse = |word: &String| {
        let (path, load) = word.rsplit_once('=').expect("REC.hlt=LOAD");
        (PathBuf::from(path), load.parse().expect("a load"))
    };
    words.iter().filter(|word| word.contains(".hlt=")).map(parse).collect()
}

/// CPU time of this process: on a machine that has other work, elapsed time says nothing.
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// A recording that is longer than the fitted ones by more than this is a question about a greater length.
const LONGER: f64 = 1.2;

/// The time of a recording's last event.
fn length_ns(path: &Path) -> u64 {
    heaplab_trace::summary(path).expect("a recording").map_or(0, |summary| summary.last_time_ns)
}

/// Peak and mean of requested bytes.
fn figures(stream: &mut dyn RecordStream) -> [f64; 2] {
    let found = requested(stream).expect("it reads");
    [found.peak_bytes as f64, found.mean_bytes]
}

fn say_speed(what: &str, count: u64, begin: f64) {
    let seconds = cpu_seconds() - begin;
    eprintln!("  {what} {count}: {:.2} M a second of CPU time", count as f64 / seconds / 1e6);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(question)) = (words.first(), words.get(1)) else {
        println!("{HEADER}");
        return;
    };
    let split = words.iter().position(|word| word == "--try").unwrap_or(words.len());
    let (fitted, tried) = (recordings(&words[..split]), recordings(&words[split..]));
    let size = words.iter().find_map(|word| word.strip_prefix("size=")?.parse().ok()).unwrap_or(1.0);
    let unit = "times".to_owned();
    let options =
        FitOptions { load_unit: unit, size, is_anonymous: false, life: None, startup: None, queue: None };
    let loads: Vec<String> = fitted.iter().map(|(_, load)| load.to_string()).collect();
    let of = format!("{name},{question},{}", loads.join(" and "));
    eprintln!("{of}");
    let begin = cpu_seconds();
    let made = match fit(fitted.iter().map(|(path, load)| subject(path, *load)).collect(), &options) {
        Ok(made) => made,
        Err(error) => {
            let error = error.to_string();
            let why = error.rsplit(".hlt: ").next().unwrap_or_default().replace(',', ";");
            for (_, load) in tried {
                println!("{of},{load},,,,,,,,,refused,{why}");
            }
            return;
        }
    };
    say_speed("fit: events", made.facts().recordings.iter().map(|recording| recording.events).sum(), begin);
    for check in &made.facts().checks {
        let percent = |share: f64| 100.0 * share;
        let (peak, mean) = (percent(check.peak_off), percent(check.mean_off));
        eprintln!("  {} (load {}): peak {peak:+.1} %, mean {mean:+.1} %", check.what, check.load);
    }
    let model = Model::new(made.facts().clone(), made.fitted().to_vec()).expect("a model that was fitted");
    let begin = cpu_seconds();
    let mut stream = model.play("speed", &Question::default(), 1).expect("its own load");
    let mut records = 0;
    while stream.next().expect("a record").is_some() {
        records += 1;
    }
    say_speed("generate: records", records, begin);
    for (path, load) in tried {
        let distance = |of: f64| (load / of).ln().abs();
        let nearest = fitted.iter().min_by(|one, other| distance(one.1).total_cmp(&distance(other.1)));
        let (near, near_load) = nearest.expect("a recording was fitted");
        let (real, unscaled) = (figures(&mut open(&path)), figures(&mut open(near)));
        let (length, own) = (length_ns(&path), length_ns(near));
        let is_longer = length as f64 > LONGER * own as f64;
        let lengths = if is_longer { length as f64 / own as f64 } else { 1.0 };
        let question =
            Question { load: Some(load), duration_ns: is_longer.then_some(length), ..Question::default() };
        let independent = Independent::of(&mut open(near));
        let drawn: Vec<[f64; 2]> =
            (1..=SEEDS).map(|seed| independent.figures(load / near_load, length, seed)).collect();
        let trials: Vec<[f64; 2]> = (1..=SEEDS)
            .map(|seed| figures(&mut model.play("try", &question, seed).expect("a load")))
            .collect();
        let verdict = model.judge(&question, lengths);
        let gate = if verdict.passes() { "passes" } else { "marked" };
        for (at, figure) in ["peak", "mean"].into_iter().enumerate() {
            let off = |found: f64| found / real[at] - 1.0;
            let mut offs: Vec<f64> = trials.iter().map(|found| off(found[at])).collect();
            offs.sort_by(f64::total_cmp);
            let (median, lowest, highest) = (offs[2], offs[0], offs[4]);
            let (as_is, linear) = (off(unscaled[at]), off(unscaled[at] * load / near_load));
            let mut of_drawn: Vec<f64> = drawn.iter().map(|found| off(found[at])).collect();
            of_drawn.sort_by(f64::total_cmp);
            let independent = of_drawn[2];
            println!(
                "{of},{load},{figure},{median:.4},{lowest:.4},{highest:.4},{as_is:.4},{linear:.4},{independent:.4},{:.4},{gate},{}",
                verdict.band,
                verdict.reasons.join("; ").replace(',', "")
            );
        }
    }
}
