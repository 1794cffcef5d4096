//! The catalog's own tests: what is shipped, what is found, what is refused.

use heaplab_trace::{Header, Record};

use super::*;

#[test]
fn a_servers_model_has_connections_and_nothing_else_has() {
    let of = |name: &str, overrides: &[&str]| {
        let overrides = overrides.iter().map(|text| text.to_string()).collect();
        find(name).unwrap().connections(&Options { overrides, ..Options::default() })
    };
    assert_eq!(of("monitor-server", &[]).unwrap(), Some(130));
    assert_eq!(of("monitor-server", &["connections=7"]).unwrap(), Some(7));
    assert_eq!(of("threaded", &[]).unwrap(), None);
    assert_eq!(of("larson", &[]).unwrap(), None);
    assert!(of("monitor-server", &["connections=none"]).unwrap_err().is_usage());
}

fn count(workload: &Workload, options: &Options) -> (Header, u64) {
    let mut stream = workload.open(options).unwrap();
    let mut events = 0;
    while let Some(record) = stream.next().unwrap() {
        events += u64::from(matches!(record, Record::Event(_)));
    }
    assert!(!stream.truncated());
    (stream.header().clone(), events)
}

#[test]
fn each_workload_has_a_name_of_its_own_and_a_description() {
    let workloads = list();
    for workload in &workloads {
        assert!(!workload.description.is_empty(), "{}", workload.name);
        assert_eq!(workloads.iter().filter(|other| other.name == workload.name).count(), 1);
        assert_eq!(find(&workload.name).unwrap(), *workload);
    }
}

#[test]
fn the_quick_suite_runs() {
    let suite: Vec<Workload> = Suite::Quick.workloads().collect();
    let names: Vec<&str> = suite.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(names, ["monitor-server", "threaded", "python-server-malloc", "redis-server"]);
    let (header, events) = count(&suite[0], &Options::default());
    assert_eq!((header.source.as_str(), header.has_times), ("simulate", true));
    assert!((100_000..2_000_000).contains(&events), "{events}");
    let (header, events) = count(&suite[1], &Options::default());
    assert_eq!(header.source, "android");
    assert_eq!(events, 150_021);
    for workload in &suite[2..] {
        let (header, events) = count(workload, &Options::default());
        assert_eq!(header.source, "recorder", "{}", workload.name);
        assert!((1_000_000..4_000_000).contains(&events), "{}: {events}", workload.name);
    }
}

#[test]
fn the_full_suite_has_every_recording() {
    let suite: Vec<Workload> = Suite::Full.workloads().collect();
    let names: Vec<&str> = suite.iter().map(|workload| workload.name.as_str()).collect();
    for workload in list() {
        let is_recording = !workload.is_model();
        assert!(!is_recording || names.contains(&workload.name.as_str()), "{} is missing", workload.name);
    }
    for workload in Suite::Quick.workloads() {
        assert!(names.contains(&workload.name.as_str()), "{} of the quick suite is missing", workload.name);
    }
    for wanted in ["monitor-server", "monitor-server-gc", "api-gateway", "cache-churn"] {
        assert!(names.contains(&wanted), "{wanted} is missing");
    }
    assert!(!names.contains(&"monitor-server-1000h") && !names.contains(&"larson"), "{names:?}");
}

#[test]
fn a_suite_has_members_that_there_are() {
    let known: Vec<String> = list().into_iter().map(|workload| workload.name).collect();
    for member in builtin::members() {
        assert!(known.iter().any(|name| name == member), "{member} is no workload");
    }
    assert_eq!("full".parse(), Ok(Suite::Full));
    assert!("slow".parse::<Suite>().unwrap_err().contains("there are quick and full"));
}

#[test]
fn recordings_that_are_built_in_are_their_files() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let is_trace = |path: &Path| path.extension().is_some_and(|extension| extension == "hlt");
    let paths = fs::read_dir(&traces).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in paths.filter(|path| is_trace(path)) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let workload = find(name).unwrap();
        let Source::ShippedTrace { bytes } = workload.source else { panic!("{name} is no recording") };
        assert!(bytes == fs::read(&path).unwrap(), "{name}");
        count += 1;
    }
    assert_eq!(count, builtin::TRACES.len());
}

#[test]
fn models_that_are_built_in_are_their_files() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let paths = fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "hlm")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let workload = find(name).unwrap();
        let Source::Model { bytes: Some(bytes), load_unit, .. } = &workload.source else {
            panic!("{name} is no built-in model")
        };
        assert!(*bytes == fs::read(&path).unwrap(), "{name}");
        let facts = model::read_facts(&path).unwrap();
        assert_eq!((*load_unit == facts.load_unit, facts.recordings.len()), (true, 2), "{name}");
        for recording in &facts.recordings {
            assert!(workload.description.contains(&recording.load.to_string()), "{name}");
        }
        let short = Options { duration_ns: Some(5_000_000_000), ..Options::default() };
        assert!(self::count(&workload, &short).1 > 1000, "{name}");
        count += 1;
    }
    assert_eq!(count, builtin::MODELS.len());
}

#[test]
fn files_are_found_by_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_string();
    fs::write(place("mine.toml"), "name = \"my-server\"\nworkers = 2\n").unwrap();
    let model = find(&text(&place("mine.toml"))).unwrap();
    assert_eq!((model.name.as_str(), model.is_model()), ("my-server", true));

    fs::write(place("small.log"), "1: malloc 0x1000 8\n1: free 0x1000\n").unwrap();
    let log = find(&text(&place("small.log"))).unwrap();
    assert_eq!(count(&log, &Options::default()).1, 2);

    import::import(&place("small.log"), &import::Options::default(), &place("small.hlt"), &mut |_| {})
        .unwrap();
    fs::copy(place("small.hlt"), place("without-extension")).unwrap();
    for name in ["small.hlt", "without-extension"] {
        let trace = find(&text(&place(name))).unwrap();
        assert!(matches!(trace.source, Source::Trace { .. }));
        assert_eq!(count(&trace, &Options::default()).1, 2);
    }
}

#[test]
fn a_log_is_imported_once_for_all_that_open_it() {
    let directory = tempfile::tempdir().unwrap();
    let (log, trace) = (directory.path().join("small.log"), directory.path().join("small.hlt"));
    fs::write(&log, "1: malloc 0x1000 8\n1: free 0x2000\n").unwrap();
    let log = find(log.to_str().unwrap()).unwrap();
    let imported = log.import_as(&Options::default(), &trace, &mut |_| {}).unwrap().unwrap();
    assert_eq!(imported.workload.source, Source::Trace { path: trace.clone() });
    assert_eq!(imported.workload.name, "small");
    assert_eq!(imported.warnings, ["1 frees of an object that was never seen: without effect"]);
    assert_eq!(count(&imported.workload, &Options::default()).1, 2);
    assert!(imported.workload.import_as(&Options::default(), &trace, &mut |_| {}).unwrap().is_none());
    let asked = Options { duration_ns: Some(1), ..Options::default() };
    assert!(log.import_as(&asked, &trace, &mut |_| {}).unwrap_err().is_usage());
}

#[test]
fn what_is_not_there_is_said_with_what_there_is() {
    let error = find("monitor-servr").unwrap_err();
    assert!(error.is_usage());
    let known = "monitor-server, monitor-server-vm, monitor-server-gc, monitor-server-night, \
                 monitor-server-1000h, api-gateway, cache-churn, threaded, python-server, python-server-malloc, \
                 redis-server, sqlite3, cpp-compile, python-server-model, redis-server-model";
    assert!(error.to_string().contains(known), "{error}");
    for path in ["no/such/file", "none.hlt", "none.toml"] {
        let error = find(path).unwrap_err();
        let said = format!("{path}: there is no such file: name a file");
        assert!(error.is_usage() && error.to_string().starts_with(&said), "{error}");
    }
    assert!(!find("/").unwrap_err().is_usage());
}

#[test]
fn what_may_have_been_meant_is_asked() {
    let said = |name: &str| find(name).unwrap_err().to_string();
    assert!(
        said("monitor-servr").starts_with("unknown workload \"monitor-servr\" (is monitor-server meant?): ")
    );
    assert!(said("redis").contains("(is redis-server or redis-server-model meant?)"), "{}", said("redis"));
    let path = "models/api-gatway.toml";
    assert!(
        said(path).starts_with("models/api-gatway.toml: there is no such file (is api-gateway meant?): ")
    );
    assert!(said("sqlite.hlt").contains("(is sqlite3 meant?)"), "{}", said("sqlite.hlt"));
    assert!(
        said("python.toml")
            .contains("(is python-server or python-server-malloc or python-server-model meant?)")
    );
    for name in ["nofile.toml", "a", "x.hlt", ".", "zzzz"] {
        let error = find(name).map_or_else(|error| error.to_string(), |found| found.name);
        assert!(!error.contains("meant"), "{error}");
    }
}

#[test]
fn a_recording_takes_no_options_of_a_model() {
    for name in ["threaded", "sqlite3"] {
        let recording = find(name).unwrap();
        let options = Options { overrides: vec!["workers=3".to_string()], ..Options::default() };
        let error = recording.open(&options).err().unwrap();
        assert!(error.is_usage() && error.to_string().contains("--set cannot be set"), "{error}");
        let options = Options { duration_ns: Some(1), ..Options::default() };
        assert!(recording.open(&options).err().unwrap().is_usage());
    }
}
