//! `heaplab completions` and `heaplab man`: what a shell and `man` are given.

use std::process::{Command, Output};

use crate::support::listed_commands;

fn heaplab(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heaplab")).args(words).output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn a_script_for_each_shell_names_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = heaplab(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(output.stderr.is_empty(), "{shell}");
        for command in listed_commands(&[]) {
            assert!(stdout(&output).contains(&command), "{shell}: {command}");
        }
    }
    let unknown = heaplab(&["completions", "tcsh"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("fish"));
}

#[test]
fn bash_completes_commands_and_options() {
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), heaplab(&["completions", "bash"]).stdout).expect("writable");
    let complete = |words: &str, at: usize| -> Vec<String> {
        let program = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={at}; _heaplab heaplab \"${{COMP_WORDS[{at}]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            script.path().display()
        );
        let output = Command::new("bash").args(["--norc", "-c", &program]).output().expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(complete("heaplab rep", 1), ["report"]);
    assert!(complete("heaplab report --b", 2).contains(&"--baseline".to_owned()));
    assert!(!complete("heaplab wor", 1).contains(&"worker".to_owned()), "hidden commands stay hidden");
}

#[test]
fn each_command_has_a_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("man/man1");
    let output = heaplab(&["man", "--output", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<String> =
        listed_commands(&[]).iter().map(|name| format!("heaplab-{name}.1")).collect();
    names.extend(["heaplab.1", "heaplab-trace-info.1", "heaplab-list-workloads.1"].map(str::to_owned));
    for name in &names {
        let page = std::fs::read_to_string(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
        assert!(stdout(&output).contains(&format!("{name}\n")), "{name} is named");
    }
    assert!(!path.join("heaplab-worker.1").exists() && !path.join("heaplab-help.1").exists());
    let page = stdout(&heaplab(&["man", "report"]));
    assert!(page.contains("heaplab\\-report") && page.contains("\\-\\-baseline"), "{page}");
}

#[test]
fn an_unknown_page_is_a_mistake_of_the_user() {
    let output = heaplab(&["man", "trace", "wash"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("no command `wash` of heaplab trace: it has info"), "{message}");
}

#[test]
fn the_version_says_which_build_it_is() {
    let text = stdout(&heaplab(&["--version"]));
    let start = concat!("heaplab ", env!("CARGO_PKG_VERSION"), " (");
    let build = text.strip_prefix(start).unwrap_or_else(|| panic!("{text}"));
    let profile = if cfg!(debug_assertions) { "debug build, commit " } else { "release build, commit " };
    let commit = build.strip_prefix(profile).and_then(|rest| rest.strip_suffix(")\n"));
    let commit = commit.unwrap_or_else(|| panic!("{text}"));
    let hash = commit.trim_end_matches("-modified");
    let is_hash = hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash || commit == "not known" || std::env::var("HEAPLAB_COMMIT").is_ok(), "{text}");
}
