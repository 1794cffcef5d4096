//! What README.md and the documents say is true: their commands run, and their links lead somewhere.
//! figures.rs compares their figures with the committed runs.

use crate::documents::{self, root};
use crate::support::{heaplab, listed_commands};
use tempfile::TempDir;

/// The reader's own libraries in the documents, and the allocators that stand for them.
const OWN_LIBRARIES: [(&str, &str); 3] =
    [("/path/to/libmine.so", "floor"), ("/path/to/old.so", "jemalloc"), ("/path/to/new.so", "mimalloc")];

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents in markdown.
fn document_names() -> Vec<String> {
    let named = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md"].map(str::to_owned);
    let pages = documents::pages()
        .into_iter()
        .map(|page| page.strip_prefix(root()).expect("a page lies in the workspace").display().to_string());
    named.into_iter().chain(pages).collect()
}

/// The `heaplab ...` lines of the code blocks of a document.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let command = line.trim_start().strip_prefix("heaplab ");
        if let Some(command) = command.filter(|_| in_block || line.starts_with("    ")) {
            let words = shlex::split(command.split(" #").next().unwrap_or(command));
            found.push(words.unwrap_or_else(|| panic!("not a shell's words: {command}")));
        }
    }
    found
}

/// A directory in which the documents' commands find what they name.
fn workplace() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    std::os::unix::fs::symlink(root().join("workloads"), directory.path().join("workloads")).expect("a link");
    // Builds of one allocator; the first needs less memory than the others.
    let builds = directory.path().join("builds");
    std::fs::create_dir(&builds).expect("a directory");
    for (number, allocator) in [(1, "jemalloc"), (2, "mimalloc"), (3, "mimalloc")] {
        std::fs::copy(library(allocator), builds.join(format!("{number}.so"))).expect("a copy");
    }
    directory
}

/// A run as written in the documents, also of a real program, takes minutes: here each sample is taken once,
/// and a model simulates two seconds.
fn shorten(words: &mut Vec<String>) {
    if matches!(words[0].as_str(), "exec" | "validate" | "limit")
        && let Some(at) = words.iter().position(|word| word == "--reps")
    {
        words[at + 1] = "1".to_owned();
    }
    // A tenth of the program's work, in the recording and in reality alike.
    if words[0] == "validate" || words[0] == "record" {
        words.iter_mut().for_each(|word| *word = word.replace("3000000", "300000"));
    }
    if words[0] != "run" || words.iter().any(|word| word == "--resume") {
        return;
    }
    let is_quick_suite = words.len() == 1 || words[1].starts_with('-');
    // One workload of the suite instead of four, under the named allocators: other tests run the suite.
    if is_quick_suite {
        words.insert(1, "threaded".to_owned());
    }
    let has_model = words.iter().any(|word| word.starts_with("monitor-server"));
    let mut set = |option: &str, value: &str, add: bool| match words.iter().position(|word| word == option) {
        Some(at) => words[at + 1] = value.to_owned(),
        None if add => words.extend([option, value].map(str::to_owned)),
        None => {}
    };
    set("--reps", "1", true);
    // A recording has no duration to set.
    set("--duration", "2s", has_model);
}

fn library(name: &str) -> String {
    let output = heaplab().args(["list", "allocators", "--format", "json"]).output().expect("a list");
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let entry = list.iter().find(|entry| entry["name"] == name).expect("every name is listed");
    entry["library"].as_str().expect("a path").to_owned()
}

/// The commands of a page, in the order in which a reader meets them; each one once.
fn shown_commands(page: &str) -> Vec<Vec<String>> {
    let mut shown: Vec<Vec<String>> = Vec::new();
    for words in commands(&read(page)) {
        if !shown.contains(&words) {
            shown.push(words);
        }
    }
    shown
}

// There are two tests because they take minutes and run side by side.
#[test]
fn every_command_of_the_readme_runs() {
    run_all("README.md", 9);
}

#[test]
fn every_command_of_the_page_of_commands_runs() {
    run_all("docs/commands.md", 10);
}

fn run_all(page: &str, least: usize) {
    let directory = workplace();
    let commands = shown_commands(page);
    assert!(commands.len() >= least, "each command is shown: {commands:?}");
    for words in &commands {
        let mut run = words.clone();
        for (path, allocator) in OWN_LIBRARIES {
            if run.iter().any(|word| word.contains(path)) {
                run.iter_mut().for_each(|word| *word = word.replace(path, &library(allocator)));
            }
        }
        shorten(&mut run);
        let output = heaplab().args(&run).current_dir(directory.path()).output().expect("it starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        // Control groups need rights that not every machine grants; the command then says so.
        if words[0] == "limit" && complaint.contains("no control group with a memory limit can be made") {
            continue;
        }
        // One sample, which `shorten` makes of ten, decides nothing.
        let is_undecided = words.iter().any(|word| word == "--fail-over") && output.status.code() == Some(3);
        let is_fine = output.status.success() || is_undecided;
        assert!(is_fine, "heaplab {}: {}\n{complaint}", words.join(" "), output.status);
        // What a recorded program prints is its own business.
        let is_silent = ["simulate", "record"].contains(&run[0].as_str())
            || run.get(1).is_some_and(|word| word == "import");
        assert!(!output.stdout.is_empty() || is_silent, "{words:?}");
    }
}

#[test]
fn every_command_is_shown() {
    let names = listed_commands(&[]);
    assert!(names.iter().any(|name| name == "run"), "{names:?}");
    let shown = shown_commands("docs/commands.md");
    for name in names {
        assert!(
            shown.iter().any(|words| words[0] == name),
            "docs/commands.md has no example of heaplab {name}"
        );
    }
}

#[test]
fn options_in_the_documents_are_known() {
    for document in document_names() {
        for mut words in commands(&read(&document)) {
            // What follows belongs to another program.
            words.truncate(words.iter().position(|word| word == "--").unwrap_or(words.len()));
            // Help is printed only if everything before it was understood.
            words.push("--help".to_owned());
            let output = heaplab().args(&words).output().expect("it starts");
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: heaplab {}\n{complaint}", words.join(" "));
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    for document in document_names() {
        let text = read(&document);
        let own = root().join(&document);
        let directory = own.parent().expect("a directory").to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if target.is_empty() { own.clone() } else { directory.join(target) };
            assert!(path.exists(), "{document} links to {target}, which does not exist");
            if !heading.is_empty() {
                let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{target}: {error}"));
                let is_there =
                    page.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(is_there, "{document} links to {link}, and the page has no such heading");
            }
        }
    }
}

/// The name by which a heading is linked: its words in small letters, with hyphens between.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}
