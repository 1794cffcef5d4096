//! What the build script says about the commit: with git, without it, and inside another project's
//! repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// The compiled build script, which can be run in a folder.
struct Script {
    place: TempDir,
}

impl Script {
    fn compile() -> Script {
        let place = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args(["--edition=2024", "-o"])
            .arg(place.path().join("script"))
            .arg(source)
            .status()
            .unwrap();
        assert!(compiled.success());
        Script { place }
    }

    /// The commit that it reports for a release build with its sources in `sources`.
    fn commit(&self, sources: &Path, profile: &str, given: Option<&str>) -> String {
        let mut command = Command::new(self.place.path().join("script"));
        command.current_dir(sources.join("harness")).env("PROFILE", profile);
        command.env_remove("HEAPLAB_COMMIT").envs(given.map(|commit| ("HEAPLAB_COMMIT", commit)));
        // NOTE: git must find neither a repository that may contain this folder, nor the one for which a git
        // hook runs this test.
        command.env("GIT_CEILING_DIRECTORIES", self.place.path()).env_remove("GIT_DIR");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=HEAPLAB_BUILD_COMMIT="));
        said.unwrap_or_else(|| panic!("{text}")).to_owned()
    }

    /// A folder with sources in it, as an archive unpacks them.
    fn unpack(&self, name: &str) -> std::path::PathBuf {
        let sources = self.place.path().join(name);
        fs::create_dir_all(sources.join("harness")).unwrap();
        fs::write(sources.join("harness/build.rs"), "fn main() {}").unwrap();
        sources
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(folder).args(who).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sources_without_a_repository_of_their_own_name_no_commit() {
    let script = Script::compile();
    let archive = script.unpack("archive");
    assert_eq!(script.commit(&archive, "release", None), "", "no repository");
    assert_eq!(script.commit(&archive, "release", Some("abc")), "abc", "what the packager states");

    let other = script.place.path().join("other");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "-q"]);
    git(&other, &["commit", "-q", "--allow-empty", "-m", "another project"]);
    let within = script.unpack("other/vendor");
    assert_eq!(script.commit(&within, "release", None), "", "another project's commit is not this one's");

    let own = script.unpack("own");
    git(&own, &["init", "-q"]);
    git(&own, &["add", "."]);
    git(&own, &["commit", "-q", "-m", "sources"]);
    let commit = script.commit(&own, "release", None);
    assert!(commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    assert_eq!(script.commit(&own, "debug", None), "");
    fs::write(own.join("harness/build.rs"), "fn main() { changed(); }").unwrap();
    assert_eq!(script.commit(&own, "release", None), format!("{commit}-modified"));
}
