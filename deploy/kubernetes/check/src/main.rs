//! Holds manifests to Kubernetes' own schema: the types that k8s-openapi generates from the API server's OpenAPI document.
//!
//! manifest -> types -> manifest again, which must be the same. A field that Kubernetes does not know is gone after that, a
//! value of another type is an error on the way. What the schema cannot say, the API server's rules for an Indexed Job and a
//! policy for failures, is checked one by one. Prints the containers (name, command, args, env, and the exit statuses that fail the
//! index: failIndex), for a test to run them.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

fn main() {
    let mut containers = Vec::new();
    for path in std::env::args().skip(1) {
        match check(&path) {
            Ok(found) => containers.extend(found),
            Err(what) => {
                eprintln!("{path}: {what}");
                std::process::exit(1);
            }
        }
    }
    println!("{}", Value::from(containers));
}

/// The containers of a manifest.
fn check(path: &str) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let given: Value = serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())?;
    let job: Job = serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&job).map_err(|error| error.to_string())?;
    if let Some(what) = find_difference("", &given, &known) {
        return Err(what);
    }
    check_rules(&job)?;
    let fail_index = fail_index(&job);
    let pod = job.spec.and_then(|spec| spec.template.spec).ok_or("no pod")?;
    let containers = pod.containers.into_iter().map(|container| {
        let env = container.env.into_iter().flatten().map(|variable| (variable.name, json!(variable.value)));
        json!({"name": container.name, "command": container.command, "args": container.args,
               "failIndex": fail_index, "env": env.collect::<serde_json::Map<String, Value>>()})
    });
    Ok(containers.collect())
}

/// The exit statuses after which an index is not tried again.
fn fail_index(job: &Job) -> Vec<i32> {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    let rules = policy.into_iter().flat_map(|policy| &policy.rules).filter(|rule| rule.action == "FailIndex");
    let codes = rules.filter_map(|rule| rule.on_exit_codes.as_ref()).filter(|codes| codes.operator == "In");
    codes.flat_map(|codes| codes.values.iter().copied()).collect()
}

/// The first field that Kubernetes does not know, or reads as something else.
fn find_difference(path: &str, given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match known.get(name) {
                Some(known) => find_difference(&path, value, known),
                None => Some(format!("{path}: Kubernetes knows no such field")),
            }
        }),
        (Value::Array(given), Value::Array(known)) if given.len() == known.len() => (given.iter().zip(known))
            .enumerate()
            .find_map(|(at, (given, known))| find_difference(&format!("{path}[{at}]"), given, known)),
        (given, known) => (given != known).then(|| format!("{path}: {given} is read as {known}")),
    }
}

/// What the API server refuses beside the schema (validation of batch/v1 in Kubernetes' sources).
fn check_rules(job: &Job) -> Result<(), String> {
    let holds = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    holds(job.metadata.name.is_some(), "it has no name")?;
    let spec = job.spec.as_ref().ok_or("it has no spec")?;
    let pod = spec.template.spec.as_ref().ok_or("its template has no spec")?;
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let by_index = spec.backoff_limit_per_index.is_some();
    holds(
        !is_indexed || spec.completions.is_some_and(|count| count > 0),
        "an Indexed Job needs completions",
    )?;
    holds(!by_index || is_indexed, "backoffLimitPerIndex is for Indexed Jobs")?;
    holds(
        spec.max_failed_indexes
            .is_none_or(|most| by_index && spec.completions.is_some_and(|all| most <= all)),
        "maxFailedIndexes is for backoffLimitPerIndex, and not above completions",
    )?;
    holds(
        matches!(pod.restart_policy.as_deref(), Some("Never" | "OnFailure")),
        "restartPolicy is Never or OnFailure",
    )?;
    let names: Vec<&str> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    holds(!names.is_empty(), "it has no container")?;
    for rule in spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules) {
        holds(pod.restart_policy.as_deref() == Some("Never"), "podFailurePolicy needs restartPolicy Never")?;
        let known = ["Ignore", "FailJob", "Count", "FailIndex"];
        holds(known.contains(&rule.action.as_str()), "a rule has an unknown action")?;
        holds(rule.action != "FailIndex" || by_index, "FailIndex needs backoffLimitPerIndex")?;
        let one = rule.on_exit_codes.is_some()
            != rule.on_pod_conditions.as_ref().is_some_and(|all| !all.is_empty());
        holds(one, "a rule is about exit codes, or about conditions")?;
        if let Some(codes) = &rule.on_exit_codes {
            holds(["In", "NotIn"].contains(&codes.operator.as_str()), "the operator is In or NotIn")?;
            let name = codes.container_name.as_deref();
            holds(name.is_none_or(|name| names.contains(&name)), "a rule names no container of the pod")?;
            let sorted = codes.values.windows(2).all(|pair| pair[0] < pair[1]);
            holds(
                sorted && !codes.values.is_empty() && !(codes.operator == "In" && codes.values.contains(&0)),
                "exit codes are in order, once each, without 0",
            )?;
        }
    }
    let volumes: Vec<&str> = pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    for container in &pod.containers {
        let mounts = container.volume_mounts.iter().flatten();
        holds(
            mounts.into_iter().all(|mount| volumes.contains(&mount.name.as_str())),
            "a mount names no volume",
        )?;
        let resources = container.resources.as_ref().ok_or("a container has no resources")?;
        // Guaranteed, or its CPUs are not its own.
        holds(
            resources.requests.is_some() && resources.requests == resources.limits,
            "requests are not the limits",
        )?;
    }
    Ok(())
}
