//! The keeper when heaplab is gone, and heaplab when the keeper is.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use super::{Place, plain_command, processes_of, wait_until};

#[test]
fn a_keeper_whose_heaplab_is_gone_stops_what_it_starts_and_says_nothing() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("keeper")).expect("a socket");
    let mut command = plain_command(&place);
    command.arg("keep").env("HEAPLAB_KEEPER_SOCKET", place.path("keeper"));
    let keeper = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a keeper");
    let words = ["./program", "sleep", "60000"].map(|word| serde_json::json!({ "Unix": word.as_bytes() }));
    let job = serde_json::json!({
        "command": words, "variant": null, "removed": [], "variables": [], "input": "Empty", "group": null
    });
    let (mut heaplab, _) = listener.accept().expect("it calls");
    writeln!(heaplab, "{job}").expect("it listens");
    drop(heaplab);
    let output = keeper.wait_with_output().expect("it ends");
    assert_eq!((String::from_utf8_lossy(&output.stderr), output.status.code()), ("".into(), Some(0)));
    assert!(processes_of(&place).is_empty());
}

/// A watcher removes temporary files when heaplab is killed, also after a sample that was lost.
#[test]
fn a_lost_sample_takes_nothing_else_with_it() {
    let place = Place::new();
    let temporary = place.path("temporary");
    fs::create_dir(&temporary).expect("a directory");
    let script = "test -e lost && : > second && exec ./program sleep 60000
        : > lost; kill -s KILL $PPID; exec ./program ignore sleep 60000";
    let mut command = plain_command(&place);
    command.env("TMPDIR", &temporary).args(["exec", "-o", "out", "-a", "jemalloc", "--reps", "2", "--"]);
    let mut running = command.args(["sh", "-c", script]).spawn().expect("heaplab");
    wait_until("the second sample runs", || place.path("second").exists());
    let kill = Command::new("kill").args(["-s", "KILL", &running.id().to_string()]).status();
    assert!(kill.is_ok(), "kill runs");
    running.wait().expect("heaplab has ended");
    wait_until("all have ended", || processes_of(&place).is_empty());
    let is_empty = || fs::read_dir(&temporary).expect("a directory").next().is_none();
    wait_until("its temporary files are removed", is_empty);
}
