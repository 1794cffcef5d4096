//! The command line as a process, and what must hold of the whole project: one program, so that it is linked once.

mod accounts;
mod after_load;
mod allocators;
mod bisect;
mod build_script;
mod compare;
mod coverage;
mod doctor;
mod documents;
mod exec;
mod extrapolate;
mod figures;
mod hazards;
mod import_tools;
mod layers;
mod limits;
mod loads;
mod machine_code;
mod on_demand;
mod over_time;
mod plan;
mod predict;
mod readme;
mod record;
mod recordings;
mod report;
mod run;
mod shards;
mod shell;
mod simulate;
mod sizes;
mod streams;
mod stress;
mod support;
mod sweep;
mod trace;
mod trees;
mod tuning;
mod validate;
mod virtual_time;

/// Cargo does not look for files here: one that is not named above would not be run.
#[test]
fn every_file_is_part_of_this_program() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let main = std::fs::read_to_string(here.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(here).expect("the directory of tests") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let is_named = |module: &str| main.lines().any(|line| line == format!("mod {module};"));
        assert!(name.strip_suffix(".rs").is_none_or(|module| module == "main" || is_named(module)), "{name}");
    }
}
