//! What was measured on which machine, in two sentences next to every table: versions of the allocators and of the
//! system.

use heaplab_allocators::registry::FLOOR;

use super::analysis::Analysis;

/// Each allocator with its version, as stated by samples and trial runs.
pub(super) fn describe_allocators(analysis: &Analysis<'_>) -> String {
    let mut named: Vec<String> = Vec::new();
    for variant in analysis.run.file.variants.iter().filter(|variant| variant.allocator != FLOOR) {
        let mut samples = analysis.run.samples.iter().filter(|sample| sample.variant == variant.label);
        let version =
            variant.version.clone().or_else(|| samples.find_map(|sample| sample.allocator_version.clone()));
        let name = name_build(&variant.allocator, version.as_deref());
        if !named.contains(&name) {
            named.push(name);
        }
    }
    format!("Allocators: {}.", if named.is_empty() { "not known".to_owned() } else { named.join(", ") })
}

/// An allocator with its version, without the commit with which some versions end. There are several allocators named
/// tcmalloc: ours is that of gperftools.
fn name_build(allocator: &str, version: Option<&str>) -> String {
    let short = version.map(|version| version.split("-0-g").next().unwrap_or(version));
    match (allocator, short) {
        ("tcmalloc", Some(version)) => format!("tcmalloc (gperftools {version})"),
        ("tcmalloc", None) => "tcmalloc (gperftools)".to_owned(),
        (name, Some(version)) => format!("{name} {version}"),
        (name, None) => format!("{name} (version not known)"),
    }
}

/// The system: C library, kernel, huge pages, CPUs.
pub(super) fn describe_machine(analysis: &Analysis<'_>) -> String {
    let machine = &analysis.run.file.machine;
    let text = |name: &str| machine.get(name).and_then(|value| value.as_str());
    let parts = [
        text("libc").map(str::to_owned),
        text("kernel").map(str::to_owned),
        Some(format!("transparent huge pages: {}", text("thp").unwrap_or("not known"))),
        machine.get("cpus").and_then(toml::Value::as_integer).map(|cpus| match text("cpu_model") {
            Some(model) => format!("{cpus} CPUs ({model})"),
            None => format!("{cpus} CPUs"),
        }),
        (machine.get("virtual_machine").and_then(toml::Value::as_bool) == Some(true))
            .then(|| "a virtual machine".to_owned()),
        (machine.get("free_page_reporting").and_then(toml::Value::as_bool) == Some(true))
            .then(|| "whose host takes free memory back".to_owned()),
    ];
    format!("Machine: {}.", parts.into_iter().flatten().collect::<Vec<String>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::name_build;

    #[test]
    fn versions_are_short_and_tcmalloc_says_whose_it_is() {
        assert_eq!(name_build("jemalloc", Some("5.3.1-0-g81034ce1")), "jemalloc 5.3.1");
        assert_eq!(name_build("tcmalloc", Some("2.10")), "tcmalloc (gperftools 2.10)");
        assert_eq!(name_build("tcmalloc", None), "tcmalloc (gperftools)");
        assert_eq!(name_build("mine", None), "mine (version not known)");
    }
}
