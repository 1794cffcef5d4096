//! Which build of heaplab measured: samples from a debug build do not measure an allocator.

use serde::{Deserialize, Serialize};

/// A build of heaplab.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunBuild {
    /// `release`, or `debug` for a build without optimisation.
    pub profile: String,
    /// The commit that it was built from, with `-modified` if its sources differed; empty if not known.
    #[serde(default)]
    pub commit: Option<String>,
}

impl RunBuild {
    /// The build of this program.
    #[must_use]
    pub fn of_this_program() -> RunBuild {
        let commit = env!("HEAPLAB_BUILD_COMMIT");
        RunBuild {
            profile: env!("HEAPLAB_BUILD_PROFILE").to_owned(),
            commit: (!commit.is_empty()).then(|| commit.to_owned()),
        }
    }

    /// Describes it in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let commit = self
            .commit
            .as_deref()
            .map_or_else(|| "commit not known".to_owned(), |commit| format!("commit {commit}"));
        format!("{} build, {commit}", self.profile)
    }

    /// What must be said about every figure that this build measures; none for a release build.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.profile != "release").then(|| {
            format!(
                "build: a {} build of heaplab measures, with allocators that were built like it: no figure is that of an \
                 allocator as it is deployed; measure with a release build (scripts/build)",
                self.profile
            )
        })
    }

    /// What differs from another build, in words; none if samples of both belong together. A commit that is not
    /// known, here or there, is not compared.
    #[must_use]
    pub fn find_difference(&self, other: &RunBuild) -> Option<String> {
        if self.profile != other.profile {
            return Some(format!("{} and {}", self.profile, other.profile));
        }
        match (&self.commit, &other.commit) {
            (Some(one), Some(other)) if one != other => Some(format!("commit {one} and commit {other}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(profile: &str, commit: Option<&str>) -> RunBuild {
        RunBuild { profile: profile.to_owned(), commit: commit.map(str::to_owned) }
    }

    #[test]
    fn builds_are_told_apart_as_far_as_they_are_known() {
        let one = build("release", Some("a"));
        assert_eq!(one.find_difference(&one), None);
        assert_eq!(one.find_difference(&build("release", None)), None, "what is not known is not compared");
        assert_eq!(one.find_difference(&build("release", Some("b"))).unwrap(), "commit a and commit b");
        assert_eq!(one.find_difference(&build("debug", Some("a"))).unwrap(), "release and debug");
        assert_eq!(one.describe(), "release build, commit a");
        assert_eq!(build("debug", None).describe(), "debug build, commit not known");
        assert_eq!(one.warning(), None);
        assert!(build("debug", None).warning().unwrap().contains("a debug build of heaplab measures"));
    }
}
