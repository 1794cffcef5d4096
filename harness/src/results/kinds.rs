//! Runs of several kinds of machines: each workload occurs once for each kind.
//!
//! So no figure mixes two kinds, and no ratio compares them. The resulting name of a workload is for people; which
//! workload it is, and on which kind of machine, are fields.

use super::on_machine::{OnMachine, name_on};
use super::run_file::{RunFile, RunMachine, RunWorkload};
use super::sample::Sample;
use super::tree::RunTree;

/// Splits each workload into one for each kind of machine, if there are several kinds; and each tree too.
pub(super) fn set_apart(file: &mut RunFile, samples: &mut [Sample]) {
    if file.machines.len() < 2 {
        return;
    }
    for sample in &mut *samples {
        sample.workload = name_on(&sample.workload, sample.machine.as_deref());
    }
    let machines = &file.machines;
    let is_measured = |name: &str| samples.iter().any(|sample| sample.workload == name);
    let workloads = file.workloads.iter();
    let workloads = workloads.flat_map(|workload| machines.iter().map(|machine| put(workload, machine)));
    let workloads: Vec<RunWorkload> = workloads.filter(|workload| is_measured(&workload.name)).collect();
    let trees = file.trees.iter();
    let trees = trees.flat_map(|tree| machines.iter().map(|machine| put_tree(tree, machine)));
    let is_replayed = |tree: &RunTree| tree.members.iter().any(|member| is_measured(&member.workload));
    let trees: Vec<RunTree> = trees.filter(is_replayed).collect();
    file.workloads = workloads;
    file.trees = trees;
}

/// How rows of files identify a workload or a tree of a run: its name there, and its kind of machine if there are
/// several.
pub(super) fn find_in_rows(file: &RunFile, name: &str) -> (String, Option<String>) {
    let workloads = file.workloads.iter().map(|workload| (&workload.name, &workload.on));
    let trees = file.trees.iter().map(|tree| (&tree.name, &tree.on));
    match workloads.chain(trees).find(|(known, _)| *known == name) {
        Some((_, Some(on))) => (on.name.clone(), Some(on.machine.clone())),
        _ => (name.to_owned(), None),
    }
}

fn put(workload: &RunWorkload, machine: &RunMachine) -> RunWorkload {
    RunWorkload {
        name: name_on(&workload.name, Some(&machine.name)),
        model: workload.model.as_ref().map(|model| name_on(model, Some(&machine.name))),
        on: Some(OnMachine::new(&workload.name, &machine.name)),
        ..workload.clone()
    }
}

fn put_tree(tree: &RunTree, machine: &RunMachine) -> RunTree {
    let mut put = RunTree {
        name: name_on(&tree.name, Some(&machine.name)),
        on: Some(OnMachine::new(&tree.name, &machine.name)),
        ..tree.clone()
    };
    for member in &mut put.members {
        member.workload = name_on(&member.workload, Some(&machine.name));
    }
    put
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{MemoryPoint, Pass, Run, RunTreeMember};

    const RUN: &str = "schema = 2\nheaplab_version = \"1\"\nrun_id = \"r\"\nstarted_utc = \"\"\nargv = []\n[options]\n\
                       seed = \"1\"\npasses = []\nreps = 1\n";
    const RECORDED: &str = "workload,time_ns,resident_bytes\nserver,1,10\nserver on main,1,20\n";

    /// A run of two workloads, one of which is named as if it were the other on a machine, and of a tree.
    fn run(place: &std::path::Path) -> Run {
        std::fs::write(place.join("recorded.csv"), RECORDED).unwrap();
        let workload = |name: &str| RunWorkload { name: name.to_owned(), ..RunWorkload::default() };
        let machine = |name: &str| RunMachine { name: name.to_owned(), ..RunMachine::default() };
        let sample = |name: &str, machine: &str| Sample {
            workload: name.to_owned(),
            machine: Some(machine.to_owned()),
            pass: Pass::Memory,
            ..Sample::default()
        };
        let member = RunTreeMember { workload: "server on main".to_owned(), ..RunTreeMember::default() };
        let mut file: RunFile = toml::from_str(RUN).unwrap();
        file.workloads = ["server", "server on main"].map(workload).to_vec();
        file.machines = ["m1", "m2"].map(machine).to_vec();
        file.trees = vec![RunTree { name: "tree".to_owned(), members: vec![member], ..RunTree::default() }];
        let mut samples =
            vec![sample("server", "m1"), sample("server on main", "m1"), sample("server on main", "m2")];
        set_apart(&mut file, &mut samples);
        Run { directory: place.to_owned(), file, samples, notes: Vec::new(), incomplete: Default::default() }
    }

    #[test]
    fn machines_are_fields_and_not_read_off_names() {
        let place = tempfile::tempdir().unwrap();
        let run = run(place.path());
        let names: Vec<&str> = run.file.workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["server on m1", "server on main on m1", "server on main on m2"]);
        assert_eq!(run.in_rows("server on m1"), ("server".to_owned(), Some("m1".to_owned())));
        assert_eq!(run.in_rows("server on main on m2"), ("server on main".to_owned(), Some("m2".to_owned())));
        assert_eq!(run.in_rows("tree on m2"), ("tree".to_owned(), Some("m2".to_owned())));
        let recorded = run.recorded().unwrap();
        let points = |bytes| vec![MemoryPoint { time_ns: 1, resident_bytes: bytes }];
        assert_eq!(recorded.len(), 3);
        for (name, bytes) in
            [("server on m1", 10), ("server on main on m1", 20), ("server on main on m2", 20)]
        {
            assert_eq!(recorded[name], points(bytes), "{name}");
        }
    }

    #[test]
    fn a_tree_stands_once_for_each_kind_of_machine_with_its_members() {
        let place = tempfile::tempdir().unwrap();
        let run = run(place.path());
        let trees: Vec<(&str, &str)> =
            run.file.trees.iter().map(|tree| (&*tree.name, &*tree.members[0].workload)).collect();
        assert_eq!(trees, [("tree on m1", "server on main on m1"), ("tree on m2", "server on main on m2")]);
    }
}
