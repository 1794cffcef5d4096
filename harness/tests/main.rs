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
mod interrupted;
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

/// Cargo does not look for files here: one that no other names would not be run.
#[test]
fn every_file_is_part_of_this_program() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut directories = vec![here.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of tests") {
            let path = entry.expect("an entry").path();
            let is_source = path.extension().is_some_and(|ending| ending == "rs");
            let module = path.file_stem().expect("a name").to_str().expect("UTF-8");
            let parents = match directory == here {
                true => vec![here.join("main.rs")],
                false => vec![directory.with_extension("rs"), directory.join("mod.rs")],
            };
            let is_named =
                parents.iter().filter_map(|parent| std::fs::read_to_string(parent).ok()).any(|text| {
                    let line = format!("mod {module};");
                    text.lines().any(|found| found.strip_prefix("pub(crate) ").unwrap_or(found) == line)
                });
            assert!(!is_source || matches!(module, "main" | "mod") || is_named, "{}", path.display());
            directories.extend(Some(path).filter(|path| path.is_dir()));
        }
    }
}
