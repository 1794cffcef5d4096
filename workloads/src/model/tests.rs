use std::path::PathBuf;

use heaplab_trace::{Record, Summary, TraceWriter};

use super::facts::Facts;
use super::fit::{FittedModel, Options, fit};
use super::format;
use super::parts::{Kind, Step};
use super::play::is_within_reach;
use super::requested::requested;
use super::{Model, ModelError, Open, Question, Subject};
use crate::simulate::{self, Simulation, shipped};
use crate::stream::RecordStream;

fn simulation(twentieths: u64, sets: &[&str]) -> Simulation {
    let (name, text) = shipped("api-gateway").unwrap();
    let overrides = sets.iter().map(|set| (*set).to_owned()).collect();
    let options = simulate::Options { duration_ns: Some(twentieths * 50_000_000), overrides, seed: 3 };
    Simulation::new(text, name, &options).unwrap()
}

fn subject(load: f64, twentieths: u64, sets: &'static [&'static str]) -> Subject<'static> {
    let open: Box<Open<'static>> = Box::new(move || Ok(Box::new(Whole(simulation(twentieths, sets)))));
    Subject { path: PathBuf::from("recording.hlt"), load, open }
}

/// A simulation whose last time is known, like a file's.
struct Whole(Simulation);

impl RecordStream for Whole {
    fn header(&self) -> &heaplab_trace::Header {
        self.0.header()
    }

    fn next(&mut self) -> Result<Option<Record>, crate::stream::StreamError> {
        self.0.next()
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        self.0.expected_last_time_ns()
    }
}

fn options() -> Options {
    Options {
        load_unit: "connections".to_owned(),
        size: 1.0,
        is_anonymous: false,
        life: None,
        startup: None,
        queue: None,
    }
}

const LIGHT: &[&str] = &["arrivals.rate=1000/s"];

fn fitted() -> FittedModel {
    fit(vec![subject(1.0, 10, LIGHT)], &options()).unwrap()
}

fn model(fitted: &FittedModel) -> Model {
    Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap()
}

fn bytes(fitted: &FittedModel) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write(&mut bytes, fitted.facts(), fitted.fitted()).unwrap();
    bytes
}

/// The trace's totals; the writer refuses what breaks a law.
fn write(stream: &mut dyn RecordStream) -> (Vec<u8>, Summary) {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, stream.header()).unwrap();
    while let Some(record) = stream.next().unwrap() {
        writer.push(&record).unwrap();
    }
    let summary = writer.finish().unwrap();
    (bytes, summary)
}

#[test]
fn a_model_comes_back_from_its_bytes() {
    let fitted = fitted();
    let (facts, parts) = format::read(&mut bytes(&fitted).as_slice()).unwrap();
    assert_eq!(&facts, fitted.facts());
    assert_eq!(parts, fitted.fitted());
}

#[test]
fn the_same_seed_makes_the_same_trace_and_another_seed_another() {
    let model = model(&fitted());
    let trace = |seed| write(&mut model.play("m", &Question::default(), seed).unwrap()).0;
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn every_load_length_and_thinning_makes_a_lawful_trace() {
    let fitted = fitted();
    let model = model(&fitted);
    let question = |load, twentieths: u64, thinned, life| Question {
        load: Some(load),
        duration_ns: Some(twentieths * 50_000_000),
        thinned,
        life: Some(life),
        startup: Some(0.5),
        queue: Some(true),
    };
    let of = |question: &Question| write(&mut model.play("m", question, 1).unwrap()).1;
    let (one, three) = (of(&question(1.0, 10, 1, 1.0)), of(&question(3.0, 10, 1, 1.0)));
    let times = three.events as f64 / one.events as f64;
    assert!((2.5..3.1).contains(&times), "three times the load has {times} times the events");
    let bounded = of(&question(3.0, 10, 1, 0.0));
    assert!(bounded.live_at_end_bytes < three.live_at_end_bytes, "{bounded:?}, {three:?}");
    assert!(bounded.requested_peak_bytes < three.requested_peak_bytes, "{bounded:?}, {three:?}");
    assert_eq!(bounded.unseen_frees, 0);
    let (long, thin) = (of(&question(0.7, 40, 1, 0.5)), of(&question(0.7, 40, 8, 0.5)));
    // Nearly nothing is freed in so short a recording.
    let live = thin.live_at_end as f64 / long.live_at_end as f64;
    assert!((0.95..1.05).contains(&live), "{} of {}", thin.live_at_end, long.live_at_end);
    assert!(long.last_time_ns > 1_700_000_000 && thin.last_time_ns > 1_700_000_000);
    assert_eq!(one.unseen_frees + three.unseen_frees + long.unseen_frees, 0);
}

#[test]
fn the_recording_is_met_at_its_own_load() {
    let recorded = requested(&mut simulation(10, LIGHT)).unwrap();
    let found = requested(&mut model(&fitted()).play("m", &Question::default(), 1).unwrap()).unwrap();
    let off = |one: f64, other: f64| (one / other - 1.0).abs();
    assert!(off(found.mean_bytes, recorded.mean_bytes) < 0.05, "{found:?}, {recorded:?}");
    assert!(off(found.peak_bytes as f64, recorded.peak_bytes as f64) < 0.15, "{found:?}, {recorded:?}");
}

#[test]
fn two_loads_tell_what_a_third_takes() {
    const BUSY: &[&str] = &["arrivals.rate=3000/s"];
    const BUSIER: &[&str] = &["arrivals.rate=6000/s"];
    let fitted = fit(vec![subject(60.0, 10, BUSY), subject(20.0, 10, LIGHT)], &options()).unwrap();
    assert!(fitted.facts().is_told());
    let loads: Vec<f64> = fitted.facts().recordings.iter().map(|recording| recording.load).collect();
    assert_eq!(loads, [20.0, 60.0]);
    assert!(fitted.facts().checks.iter().any(|check| check.what == "the load 20 predicts 60"));
    let question = Question { load: Some(120.0), ..Question::default() };
    let found = requested(&mut model(&fitted).play("m", &question, 1).unwrap()).unwrap();
    let real = requested(&mut simulation(10, BUSIER)).unwrap();
    let off = found.mean_bytes / real.mean_bytes - 1.0;
    assert!(off.abs() < 0.15, "{found:?}, {real:?}");
}

#[test]
fn one_load_says_that_it_cannot_tell() {
    let model = model(&fitted());
    let said = |load: f64| {
        let stream = model.play("m", &Question { load: Some(load), ..Question::default() }, 1).unwrap();
        let note =
            |name: &str| stream.header().notes.iter().find(|note| note.name == name).unwrap().value.clone();
        (note(super::EXTRAPOLATION_NOTE), note(super::BAND_NOTE).parse::<f64>().unwrap())
    };
    let (own, narrow) = said(1.0);
    let (other, wide) = said(5.0);
    assert!(!own.contains("cannot tell"), "{own}");
    assert!(other.contains("cannot tell") && other.contains("DO NOT TRUST"), "{other}");
    assert!(wide > narrow && narrow >= 0.06, "{narrow} {wide}");
}

#[test]
fn a_smaller_model_keeps_the_share_that_was_asked_for() {
    let small = fit(vec![subject(1.0, 10, LIGHT)], &Options { size: 0.25, ..options() }).unwrap();
    let windows = small.fitted()[0].windows.len();
    assert_eq!(windows, 50);
    // Start-up is kept whole, and it is a large part of this short recording.
    assert!(bytes(&small).len() < bytes(&fitted()).len());
    write(&mut model(&small).play("m", &Question::default(), 1).unwrap());
}

#[test]
fn an_anonymous_model_names_nobody() {
    let fitted = fit(vec![subject(1.0, 10, LIGHT)], &Options { is_anonymous: true, ..options() }).unwrap();
    assert_eq!(fitted.facts().program, "");
    assert!(
        fitted.facts().recordings.iter().flat_map(|one| &one.threads).all(|thread| thread.name.is_empty())
    );
}

fn refusal(subjects: Vec<Subject<'_>>) -> String {
    let error = fit(subjects, &options()).unwrap_err();
    assert!(error.is_usage());
    error.to_string()
}

#[test]
fn what_no_model_can_be_made_of_is_refused_in_a_sentence() {
    assert!(refusal(vec![subject(0.0, 10, LIGHT)]).contains("a load is above 0"));
    assert!(refusal(vec![subject(-1.0, 10, LIGHT)]).contains("a load is above 0"));
    assert!(refusal(vec![subject(f64::NAN, 10, LIGHT)]).contains("a load is above 0"));
    let equal = refusal(vec![subject(2.0, 10, LIGHT), subject(2.0, 10, LIGHT)]);
    assert!(equal.contains("two recordings have the load 2"), "{equal}");
    let short = refusal(vec![subject(1.0, 2, LIGHT)]);
    assert!(short.contains("the program ran too short for a model"), "{short}");
    let no_times: Box<Open<'static>> = Box::new(|| {
        Ok(Box::new(crate::stress::Stress::new("glibc-simple", &simulate::Options::default()).unwrap()))
    });
    let untimed = Subject { path: PathBuf::from("log.hlt"), load: 1.0, open: no_times };
    assert!(refusal(vec![untimed]).contains("it has no times"));
}

#[test]
fn what_a_model_cannot_do_is_refused_in_a_sentence() {
    let model = model(&fitted());
    let asked = |question: Question| model.play("m", &question, 1).unwrap_err().to_string();
    let far = asked(Question { load: Some(11.0), ..Question::default() });
    assert!(far.contains("at most 10 times it"), "{far}");
    let short = asked(Question { duration_ns: Some(1), ..Question::default() });
    assert!(short.contains("out of bounds"), "{short}");
    let hours = |hours: u64, thinned| Question {
        duration_ns: Some(hours * 3_600_000_000_000),
        thinned,
        ..Question::default()
    };
    // Its windows last a little more than 2 ms.
    let long = asked(hours(100_000, 1));
    assert!(long.contains("thin the trace"), "{long}");
    assert!(model.play("m", &hours(100_000, 1_000), 1).is_ok());
    assert!(model.play("m", &hours(1_000, 1), 1).is_ok());
    for (set, why) in [
        ("load=0", "a load is a number above 0"),
        ("life=2", "from 0 to 1"),
        ("thinned=0", "1 to 1,000,000"),
        ("payload=3", "has load, life, startup, queue and thinned"),
        ("queue=maybe", "yes or no"),
        ("load", "KEY=VALUE"),
    ] {
        let options = simulate::Options { overrides: vec![set.to_owned()], ..simulate::Options::default() };
        let error = Question::new("m", "times", &options).unwrap_err();
        assert!(error.to_string().contains(why), "{set}: {error}");
    }
}

#[test]
fn a_cut_or_changed_file_is_an_error_and_no_panic() {
    let fitted = fitted();
    let whole = bytes(&fitted);
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        assert!(format::read(&mut &whole[..length]).is_err(), "{length} bytes were taken");
    }
    for at in (0..whole.len()).step_by(61) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert!(format::read(&mut changed.as_slice()).is_err(), "byte {at}");
    }
    assert!(format::read(&mut [&whole[..], b"x"].concat().as_slice()).is_err());
}

#[test]
fn a_model_that_breaks_a_law_is_refused_though_its_checksums_fit() {
    let fitted = fitted();
    let changed = |change: &dyn Fn(&mut Facts, &mut Vec<super::Fitted>)| {
        let (mut facts, mut parts) = (fitted.facts().clone(), fitted.fitted().to_vec());
        change(&mut facts, &mut parts);
        Model::new(facts, parts).err()
    };
    let step = |kind, object| Step {
        time_ns: u64::MAX / 2,
        bytes: 0,
        object,
        thread: 0,
        kind,
        alignment_bits: 0,
        is_anchored: false,
    };
    assert!(changed(&|_, _| ()).is_none());
    assert!(changed(&|facts, _| facts.life = Some(f64::NAN)).is_some());
    assert!(changed(&|_, parts| parts.clear()).is_some());
    assert!(changed(&|_, parts| parts[0].outline.load = 0.0).is_some());
    assert!(changed(&|_, parts| parts[0].outline.window_ns = 0).is_some());
    let finer = |_: &mut Facts, parts: &mut Vec<super::Fitted>| {
        (parts[0].outline.windows, parts[0].outline.window_ns) = (1_000_000_000, 1);
    };
    assert!(changed(&finer).is_some());
    let overflowing = |_: &mut Facts, parts: &mut Vec<super::Fitted>| {
        (parts[0].outline.windows, parts[0].outline.window_ns) = (u32::MAX, super::parts::MOST_NS);
    };
    assert!(changed(&overflowing).is_some());
    assert!(changed(&|_, parts| parts[0].outline.window_ns = u64::MAX / 200).is_some());
    assert!(changed(&|_, parts| parts[0].outline.forked_ns = parts[0].outline.startup_ns + 1).is_some());
    assert!(
        changed(&|_, parts| parts[0].outline.threads =
            vec![super::parts::Thread { role: 0, name: String::new() }; 70_000])
        .is_some()
    );
    assert!(changed(&|_, parts| parts[0].outline.threads.clear()).is_some());
    assert!(changed(&|_, parts| parts[0].outline.threads[0].name = "x".repeat(256)).is_some());
    assert!(changed(&|facts, _| facts.marks.push("x".repeat(256))).is_some());
    assert!(changed(&|_, parts| parts[0].windows[0].number = 200).is_some());
    assert!(changed(&|_, parts| parts[0].windows[0].steps.reverse()).is_some());
    // Any number of them would be played without a record.
    let ends = |count: usize| {
        move |_: &mut Facts, parts: &mut Vec<super::Fitted>| {
            let part = &mut parts[0].windows[3];
            let mut end = step(Kind::ThreadEnd, super::parts::NO_OBJECT);
            (end.time_ns, end.is_anchored) = (0, true);
            part.later.extend(vec![end; count]);
        }
    };
    assert!(changed(&ends(1)).is_none());
    assert!(changed(&ends(2)).is_some_and(|why| why.contains("a thread ends twice")));
    assert!(changed(&|_, parts| parts[0].windows[0].steps[0].thread = 1 << 20).is_some());
    assert!(changed(&|_, parts| parts[0].windows[0].objects += 1).is_some());
    assert!(changed(&|_, parts| parts[0].windows[3].later.push(step(Kind::Free, 1 << 30))).is_some());
    assert!(changed(&|_, parts| parts[0].startup.steps.push(step(Kind::FreeNull, 0))).is_some());
}

#[test]
fn a_first_call_after_start_up_does_not_turn_time_back() {
    let fitted = fitted();
    let mut parts = fitted.fitted().to_vec();
    let late_ns = parts[0].outline.startup_ns + 10_000_000;
    assert!(!parts[0].startup.steps.is_empty());
    parts[0].startup.steps.iter_mut().for_each(|step| step.time_ns = late_ns);
    let model = Model::new(fitted.facts().clone(), parts).unwrap();
    // The writer refuses a step back.
    write(&mut model.play("late", &Question::default(), 1).unwrap());
}

#[test]
fn errors_are_of_the_user_unless_the_system_failed() {
    let path = PathBuf::from("x");
    let io = |kind| ModelError::Io { path: path.clone(), doing: "read", source: kind };
    assert!(io(std::io::ErrorKind::NotFound.into()).is_usage());
    assert!(!io(std::io::ErrorKind::PermissionDenied.into()).is_usage());
    assert!(ModelError::NotAModel { path }.is_usage());
}

#[test]
fn ten_times_a_decimal_load_is_within_reach() {
    assert!(is_within_reach(3.0 / 0.3) && is_within_reach(0.3 / 3.0) && !is_within_reach(10.1));
}
