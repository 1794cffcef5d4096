//! Settings of the process, read back in that process.

use super::{Proof, Verdict};
use crate::process::{is_of_process, read};
use crate::variant::Setting;

/// Reads the settings of the process back, in that process.
pub(super) fn read_back(settings: &[Setting]) -> Vec<Proof> {
    let judge = |setting: &Setting| {
        let found = read(&setting.name);
        let verdict = if found == setting.value { Verdict::Taken } else { Verdict::Differs { found } };
        Proof::new(setting, verdict)
    };
    settings.iter().filter(|setting| is_of_process(&setting.name)).map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::THP;

    #[test]
    fn nothing_was_asked_for_here() {
        let setting = Setting { name: THP.into(), value: "never".into() };
        let proofs = read_back(&[setting]);
        assert_eq!(proofs[0].verdict, Verdict::Differs { found: "default".into() });
    }
}
