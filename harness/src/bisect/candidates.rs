//! What is searched: the libraries of a folder in the order of their names, or the commits of a repository, each built
//! when its turn comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::error::BisectError;

/// A list with the good one first and the bad one last.
pub(super) enum Candidates {
    /// Files.
    Libraries(Vec<PathBuf>),
    /// Commits of the repository in this process's folder.
    Commits(Commits),
}

/// Commits and where they are built.
pub(super) struct Commits {
    hashes: Vec<String>,
    build: String,
    /// Holds the worktree and the libraries that were built.
    place: TempDir,
}

impl Candidates {
    /// Libraries of `directory` between `good` and `bad`, in the order of their names, with numbers in them compared by
    /// value. If the two are not in it, all of its libraries are between them.
    pub(super) fn of_directory(directory: &Path, good: &Path, bad: &Path) -> Result<Candidates, BisectError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| BisectError::Io { path, source }
        };
        let [good, bad] =
            [fs::canonicalize(good).map_err(io(good))?, fs::canonicalize(bad).map_err(io(bad))?];
        let mut libraries = Vec::new();
        for entry in fs::read_dir(directory).map_err(io(directory))? {
            let path = entry.map_err(io(directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".so") || name.contains(".so.") {
                libraries.push(fs::canonicalize(&path).map_err(io(&path))?);
            }
        }
        libraries.sort_by_key(|path| natural_key(&path.file_name().unwrap_or_default().to_string_lossy()));
        libraries.dedup();
        let place = |of: &PathBuf| libraries.iter().position(|path| path == of);
        let between: Vec<PathBuf> = match (place(&good), place(&bad)) {
            (Some(from), Some(to)) if from >= to => {
                return Err(BisectError::Usage(format!(
                    "{} comes after {} in the order of names",
                    good.display(),
                    bad.display()
                )));
            }
            (from, to) => libraries[from.map_or(0, |from| from + 1)..to.unwrap_or(libraries.len())].to_vec(),
        };
        Ok(Candidates::Libraries([vec![good], between, vec![bad]].concat()))
    }

    /// Commits after `good` up to `bad`, along first parents, each built by `build`.
    pub(super) fn of_commits(good: &str, bad: &str, build: &str) -> Result<Candidates, BisectError> {
        let parse = |name: &str| git(&["rev-parse", "--verify", &format!("{name}^{{commit}}")]);
        let (good, bad) = (parse(good)?, parse(bad)?);
        let range = format!("{good}..{bad}");
        let listed = git(&["rev-list", "--reverse", "--first-parent", &range])?;
        let mut hashes = vec![good.clone()];
        hashes.extend(listed.lines().map(str::to_owned));
        if hashes.last() != Some(&bad) {
            return Err(BisectError::Usage(format!("commit {bad} does not come after {good}")));
        }
        let place = tempfile::Builder::new()
            .prefix("heaplab-bisect-")
            .tempdir()
            .map_err(|source| BisectError::Io { path: std::env::temp_dir(), source })?;
        git(&["worktree", "add", "--detach", "--quiet", &tree_in(&place).to_string_lossy(), &good])?;
        Ok(Candidates::Commits(Commits { hashes, build: build.to_owned(), place }))
    }

    /// How many there are, including the good and the bad one.
    pub(super) fn len(&self) -> usize {
        match self {
            Candidates::Libraries(paths) => paths.len(),
            Candidates::Commits(commits) => commits.hashes.len(),
        }
    }

    /// The name of a candidate.
    pub(super) fn name(&self, at: usize) -> String {
        match self {
            Candidates::Libraries(paths) => {
                paths[at].file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Candidates::Commits(commits) => commits.hashes[at].clone(),
        }
    }

    /// Its library, built if necessary; if it cannot be built, the reason.
    pub(super) fn library(&self, at: usize) -> Result<Result<PathBuf, String>, BisectError> {
        match self {
            Candidates::Libraries(paths) => Ok(Ok(paths[at].clone())),
            Candidates::Commits(commits) => commits.build(at),
        }
    }
}

fn tree_in(place: &TempDir) -> PathBuf {
    place.path().join("tree")
}

impl Commits {
    fn build(&self, at: usize) -> Result<Result<PathBuf, String>, BisectError> {
        let hash = &self.hashes[at];
        let kept = self.place.path().join(format!("{hash}.so"));
        if kept.exists() {
            return Ok(Ok(kept));
        }
        let tree = tree_in(&self.place);
        git(&["-C", &tree.to_string_lossy(), "checkout", "--quiet", "--force", "--detach", hash])?;
        let output = Command::new("sh")
            .args(["-c", &self.build])
            .current_dir(&tree)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| BisectError::Io { path: "sh".into(), source })?;
        if !output.status.success() {
            return Ok(Err(format!("--build ended with {}", output.status)));
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(path) = said.lines().last().map(|line| tree.join(line.trim())) else {
            return Ok(Err("--build printed no path of a library".to_owned()));
        };
        // The next commit's build overwrites it.
        match fs::copy(&path, &kept) {
            Ok(_) => Ok(Ok(kept)),
            Err(error) => {
                Ok(Err(format!("--build printed {}, which cannot be read: {error}", path.display())))
            }
        }
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        // The folder is removed with the value; git's record of the worktree must go too. If that fails, git worktree
        // prune fixes it.
        let _ = git(&["worktree", "remove", "--force", &tree_in(&self.place).to_string_lossy()]);
    }
}

/// Runs git in this process's folder; returns what it prints, without the last line end.
fn git(arguments: &[&str]) -> Result<String, BisectError> {
    let failed = |complaint: String| BisectError::Git { arguments: arguments.join(" "), complaint };
    let output = Command::new("git").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Orders names as people do, with numbers in them compared by value.
fn natural_key(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, digits) = rest.split_at(text_end);
        let digits_end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (digits, remaining) = digits.split_at(digits_end);
        key.push((0, text.to_owned()));
        key.push((digits.parse().unwrap_or(u64::MAX), String::new()));
        rest = remaining;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(candidates: &Candidates) -> Vec<String> {
        (0..candidates.len()).map(|at| candidates.name(at)).collect()
    }

    #[test]
    fn numbers_in_names_are_ordered_by_value() {
        let mut names = ["b-10.so", "b-9.so", "a.so", "b-9.so.2", "b.so"];
        names.sort_by_key(|name| natural_key(name));
        assert_eq!(names, ["a.so", "b-9.so", "b-9.so.2", "b-10.so", "b.so"]);
    }

    #[test]
    fn a_folder_holds_what_is_between() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("builds");
        fs::create_dir(&directory).expect("a directory");
        for name in ["1.so", "2.so", "10.so", "3.so", "notes.txt"] {
            fs::write(directory.join(name), name).expect("writable");
        }
        let in_it = |name: &str| directory.join(name);
        let found = Candidates::of_directory(&directory, &in_it("2.so"), &in_it("10.so")).expect("a list");
        assert_eq!(names(&found), ["2.so", "3.so", "10.so"]);
        let outside = place.path().join("bad.so");
        fs::write(&outside, "").expect("writable");
        let found = Candidates::of_directory(&directory, &in_it("1.so"), &outside).expect("a list");
        assert_eq!(names(&found), ["1.so", "2.so", "3.so", "10.so", "bad.so"]);
        let error = Candidates::of_directory(&directory, &in_it("10.so"), &in_it("2.so")).err();
        assert!(error.expect("an error").to_string().contains("comes after"), "the wrong way round");
    }
}
