//! What the samples of a run read as their standard input.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use super::{Place, plain_command};

/// Runs cat, by `heaplab exec` with these options, on this input.
fn cat(place: &Place, options: &[&str], input: Stdio) -> Output {
    let mut command = plain_command(place);
    command.args(["exec", "-o", "out"]).args(options).stdin(input);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("heaplab runs")
}

fn pipe(text: &str) -> Stdio {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(text.as_bytes()).expect("it has room");
    reader.into()
}

#[test]
fn a_deleted_file_is_read_by_every_sample() {
    let place = Place::new();
    fs::write(place.path("input"), "one\ntwo\n").expect("written");
    let input = fs::File::open(place.path("input")).expect("an input");
    fs::remove_file(place.path("input")).expect("removed");
    fs::write(place.path("input"), "another\n").expect("written");
    let output = cat(&place, &["-a", "ptmalloc2", "--reps", "2", "--", "cat"], input.into());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n".repeat(2));
    // A device is opened again too.
    let place = Place::new();
    let zero = fs::File::open("/dev/zero").expect("a device");
    let head = ["-a", "ptmalloc2", "--reps", "2", "--", "head", "-c", "1000"];
    assert_eq!(cat(&place, &head, zero.into()).stdout.len(), 2000);
}

#[test]
fn the_last_missing_sample_reads_what_the_others_read() {
    let place = Place::new();
    let output = cat(&place, &["-a", "ptmalloc2", "--reps", "2", "--", "cat"], pipe("lost"));
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input is a pipe"), "{output:?}");
    let samples = fs::read_to_string(place.path("out/samples.csv")).expect("samples");
    let first: Vec<&str> = samples.lines().take(2).collect();
    fs::write(place.path("out/samples.csv"), first.join("\n") + "\n").expect("written");
    let output = cat(&place, &["--resume"], pipe("lost"));
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(place.samples().len(), 2);
    // A run of one sample reads the pipe itself.
    let place = Place::new();
    let output = cat(&place, &["-a", "ptmalloc2", "--reps", "1", "--", "cat"], pipe("read"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "read");
}

#[test]
fn a_file_that_cannot_be_opened_again_is_refused() {
    let place = Place::new();
    let path = place.path("input");
    fs::write(&path, "one\n").expect("written");
    let file = fs::File::open(&path).expect("an input");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("ours");
    // Root may open any file unless it lacks these capabilities.
    let own = plain_command(&place);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search"]).arg(own.get_program());
    command.args(["exec", "-o", "out", "-a", "ptmalloc2", "--reps", "2", "--", "cat"]);
    let output = command.current_dir(place.0.path()).stdin(file).output().expect("heaplab runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be opened again"), "{output:?}");
}
