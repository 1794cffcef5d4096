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
    Libraries(Vec<Library>),
    /// Commits of the repository in this process's folder.
    Commits(Commits),
}

/// A library of a folder, or one that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Library {
    /// The name by which it is ordered and shown: of the link, if it is one.
    name: String,
    /// The real path of the folder that it is in.
    folder: PathBuf,
    /// The real path of the file, which links share.
    file: PathBuf,
}

impl Library {
    fn of(path: &Path) -> Result<Library, BisectError> {
        let real = |of: &Path| {
            fs::canonicalize(of).map_err(|source| BisectError::Io { path: path.to_owned(), source })
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Library { name, folder: real(folder)?, file: real(path)? })
    }
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
        let [good, bad] = [Library::of(good)?, Library::of(bad)?];
        let mut libraries = Vec::new();
        for entry in fs::read_dir(directory).map_err(io(directory))? {
            let path = entry.map_err(io(directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".so") || name.contains(".so.") {
                libraries.push(Library::of(&path)?);
            }
        }
        libraries.sort_by_cached_key(|library| (natural_key(&library.name), library.name.clone()));
        // Several links may lead to one file: what is in the folder is found by its name, and only what was named by
        // another path is found by its file.
        let place_of = |named: &Library| libraries.iter().position(|library| library == named);
        let from = place_of(&good).or_else(|| libraries.iter().rposition(|of| of.file == good.file));
        let to = place_of(&bad).or_else(|| libraries.iter().position(|of| of.file == bad.file));
        if let Some((from, to)) = from.zip(to).filter(|(from, to)| from >= to) {
            return Err(BisectError::Usage(format!(
                "{} does not come before {} in the order of names",
                libraries[from].name, libraries[to].name
            )));
        }
        let between = libraries[from.map_or(0, |from| from + 1)..to.unwrap_or(libraries.len())].to_vec();
        let [good, bad] =
            [(from, good), (to, bad)].map(|(at, named)| at.map_or(named, |at| libraries[at].clone()));
        let good_name = good.name.clone();
        let mut list = [vec![good], between, vec![bad.clone()]].concat();
        list.dedup_by(|next, kept| next.file == kept.file);
        match list.as_mut_slice() {
            // An alias of the bad one may have stood before it.
            [_, .., last] => *last = bad,
            _ => {
                let (good, bad) = (good_name, bad.name);
                return Err(BisectError::Usage(format!("{good} and {bad} are links to the same file")));
            }
        }
        Ok(Candidates::Libraries(list))
    }

    /// Commits after `good` up to `bad`, along first parents, each built by `build`.
    pub(super) fn of_commits(good: &str, bad: &str, build: &str) -> Result<Candidates, BisectError> {
        let parse = |name: &str| git(&["rev-parse", "--verify", &format!("{name}^{{commit}}")]);
        let (good, bad) = (parse(good)?, parse(bad)?);
        let range = format!("{good}..{bad}");
        let listed = git(&["rev-list", "--reverse", "--first-parent", &range])?;
        let mut hashes = vec![good.clone()];
        hashes.extend(listed.lines().map(str::to_owned));
        // git lists the commits of another branch too: those since the two parted.
        let is_next = |first: &String| parse(&format!("{first}^")).is_ok_and(|parent| parent == good);
        if hashes.last() != Some(&bad) || !hashes.get(1).is_none_or(is_next) {
            let what = format!("commit {bad} does not come after {good} along first parents");
            return Err(BisectError::Usage(what));
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
            Candidates::Libraries(libraries) => libraries.len(),
            Candidates::Commits(commits) => commits.hashes.len(),
        }
    }

    /// The name of a candidate.
    pub(super) fn name(&self, at: usize) -> String {
        match self {
            Candidates::Libraries(libraries) => libraries[at].name.clone(),
            Candidates::Commits(commits) => commits.hashes[at].clone(),
        }
    }

    /// Its library, built if necessary; if it cannot be built, the reason.
    pub(super) fn library(&self, at: usize) -> Result<Result<PathBuf, String>, BisectError> {
        match self {
            Candidates::Libraries(libraries) => Ok(Ok(libraries[at].file.clone())),
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
        assert!(error.expect("an error").to_string().contains("does not come before"), "the wrong way round");
    }

    #[test]
    fn links_are_in_the_order_of_their_own_names() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("builds");
        fs::create_dir(&directory).expect("a directory");
        let build = |number: u32| place.path().join(format!("version-{}/lib.so.2", 20 - number));
        let in_it = |name: &str| directory.join(name);
        for number in [7, 1, 10, 4, 9, 2, 3, 8, 5, 6] {
            fs::create_dir(build(number).parent().expect("a folder")).expect("a directory");
            fs::write(build(number), number.to_string()).expect("writable");
            std::os::unix::fs::symlink(build(number), in_it(&format!("{number}.so"))).expect("a link");
        }
        let all = ["1.so", "2.so", "3.so", "4.so", "5.so", "6.so", "7.so", "8.so", "9.so", "10.so"];
        let found = Candidates::of_directory(&directory, &in_it("1.so"), &in_it("10.so")).expect("a list");
        assert_eq!(names(&found), all);
        let files = |at: usize| found.library(at).expect("it needs no build").expect("a file");
        assert_eq!(files(6), fs::canonicalize(build(7)).expect("a file"));
        // Named by another path, they are still found.
        let found = Candidates::of_directory(&directory, &build(8), &build(10)).expect("a list");
        assert_eq!(names(&found), ["8.so", "9.so", "10.so"]);
        // Two links to one file: the one that was named counts, and one file is tested once in a row.
        std::os::unix::fs::symlink(build(1), in_it("11.so")).expect("a link");
        std::os::unix::fs::symlink(in_it("11.so"), in_it("12.so")).expect("a link");
        std::os::unix::fs::symlink(build(2), in_it("13.so")).expect("a link");
        let found = Candidates::of_directory(&directory, &in_it("11.so"), &in_it("13.so")).expect("a list");
        assert_eq!(names(&found), ["11.so", "13.so"]);
        let same = Candidates::of_directory(&directory, &in_it("11.so"), &in_it("12.so")).err();
        assert!(same.expect("an error").to_string().contains("11.so and 12.so are links to the same file"));
    }
}
