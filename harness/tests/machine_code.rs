//! The recorder's promises, checked in its machine code: what the release build of the library does in a call
//! of the malloc family, by disassembly. Behavioural tests cannot see a lock that is free, or a panic that
//! does not happen.
#![cfg(target_arch = "x86_64")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// The functions that a recorded program calls most, and what each may call in other libraries besides
/// [`CALLABLE`]: an operator that no library provides goes through malloc, and aborts if the program asked
/// for an exception that nobody can throw.
const ENTRIES: [(&str, &[&str]); 7] = [
    ("malloc", &[]),
    ("free", &[]),
    ("calloc", &[]),
    ("realloc", &[]),
    ("posix_memalign", &[]),
    ("operator new(unsigned long)", &["malloc", "abort"]),
    ("operator delete(void*)", &["free"]),
];
/// Functions of other libraries that rare paths may call: none allocates, locks or unwinds. (`dlsym` and
/// similar functions find the next allocator, once, before it is used. What an allocator's operator throws is passed on
/// by `_Unwind_Resume`; generic functions have one name, so it seems to be in reach of all.)
const CALLABLE: [&str; 19] = [
    "_Unwind_Resume",
    "dl_iterate_phdr",
    "__tls_get_addr",
    "__errno_location",
    "syscall",
    "memcpy",
    "memmove",
    "memset",
    "bcmp",
    "strlen",
    "dlsym",
    "dladdr",
    "dlerror",
    "getenv",
    "sysconf",
    "pthread_key_create",
    "pthread_self",
    "pthread_setspecific",
    "gettid",
];
/// The most instructions of a function that every call goes through. Such functions have 63 to 173 today.
const COMMON_MOST: usize = 200;
/// The most instructions that a call can reach in all, including rare paths.
const REACHABLE_MOST: usize = 8_000;

/// The library's functions: their instructions by demangled name.
struct Code {
    functions: BTreeMap<String, Vec<String>>,
    /// Words that hold addresses: another library's function by its name, one of this library's by its
    /// address.
    slots: BTreeMap<u64, Slot>,
    /// The functions by address.
    by_address: BTreeMap<u64, String>,
}

/// What the loader puts into a word.
enum Slot {
    Other(String),
    Own(u64),
}

/// Where an instruction goes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Target {
    /// Another function of the library.
    Own(String),
    /// A function of another library.
    Other(String),
    /// An address that was looked up: the next allocator's.
    Found,
}

fn run(program: &str, words: &[&str], file: &PathBuf) -> String {
    let output = Command::new(program).args(words).arg(file).output().expect("binutils are installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

impl Code {
    fn read() -> Code {
        let output = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "build",
                "--release",
                "-p",
                "heaplab-recorder",
                "--message-format=json-render-diagnostics",
            ])
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).expect("UTF-8");
        let messages =
            messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let library = messages
            .filter(|message| message["target"]["name"] == "heaplab_recorder")
            .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
            .expect("a library");
        let mut functions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut by_address, mut current) = (BTreeMap::new(), None);
        for line in run("objdump", &["-d", "-C", "--no-show-raw-insn"], &library).lines() {
            if let Some((address, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
                by_address.insert(u64::from_str_radix(address, 16).expect("an address"), name.to_owned());
                current = Some(name.to_owned());
            } else if let (Some(name), Some((_, text))) = (&current, line.split_once('\t')) {
                functions.entry(name.clone()).or_default().push(text.trim().to_owned());
            }
        }
        let mut slots = BTreeMap::new();
        for line in run("objdump", &["-R"], &library).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [address, _, symbol] = words[..]
                && let Ok(address) = u64::from_str_radix(address, 16)
            {
                let own = symbol
                    .strip_prefix("*ABS*+0x")
                    .map(|own| u64::from_str_radix(own, 16).expect("hexadecimal"));
                let other = || Slot::Other(symbol.split('@').next().unwrap_or(symbol).to_owned());
                slots.insert(address, own.map_or_else(other, Slot::Own));
            }
        }
        Code { functions, slots, by_address }
    }

    /// Where a function goes, apart from itself.
    fn targets(&self, function: &str) -> BTreeSet<Target> {
        let goes = |text: &str| text.starts_with("call") || text.starts_with('j') || text.starts_with("bnd ");
        let instructions = self.functions[function].iter().filter(|text| goes(text));
        let targets = instructions.filter_map(|text| self.target(text));
        targets.filter(|target| *target != Target::Own(function.to_owned())).collect()
    }

    fn target(&self, text: &str) -> Option<Target> {
        let (instruction, operand) = text.split_once(char::is_whitespace)?;
        let operand = operand.trim();
        // `call *0x41bd4(%rip)  # 59c70 <...>`: through a slot.
        if let Some((_, slot)) = operand.split_once("# ") {
            let address = u64::from_str_radix(slot.split_whitespace().next()?, 16).ok()?;
            return Some(match self.slots.get(&address) {
                Some(Slot::Other(name)) => Target::Other(name.clone()),
                Some(Slot::Own(own)) => Target::Own(self.by_address.get(own).expect("a function").clone()),
                None => Target::Found,
            });
        }
        if operand.starts_with('*') {
            // A jump through a register is a table of a `match`, and stays in its function.
            return (instruction == "call").then_some(Target::Found);
        }
        let name = operand.split_once('<')?.1.strip_suffix('>')?;
        let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
        match name.strip_suffix("@plt") {
            Some(other) => Some(Target::Other(other.to_owned())),
            None => Some(Target::Own(name.to_owned())),
        }
    }

    /// What a call can reach.
    fn reach(&self, entry: &str) -> Reached {
        let mut reached = Reached::default();
        let mut rest = vec![entry.to_owned()];
        while let Some(function) = rest.pop() {
            if !reached.own.insert(function.clone()) {
                continue;
            }
            assert!(self.functions.contains_key(&function), "{function} is not in the library");
            for target in self.targets(&function) {
                match target {
                    Target::Own(name) if is_stranger(&name) => {
                        _ = reached.strangers.insert((function.clone(), name))
                    }
                    Target::Own(name) => rest.push(name),
                    Target::Other(name) => _ = reached.others.insert(name),
                    Target::Found => {}
                }
            }
        }
        reached
    }
}

/// What can be reached from an entry.
#[derive(Default)]
struct Reached {
    /// Functions of the recorder.
    own: BTreeSet<String>,
    /// Which of these call something in Rust's library, and what.
    strangers: BTreeSet<(String, String)>,
    /// Functions of other libraries.
    others: BTreeSet<String>,
}

/// Whether a function is in Rust's library: it may allocate, format or panic.
fn is_stranger(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["core::", "alloc::", "std::", "__rustc", "rust_"].iter().any(|begin| name.starts_with(begin))
}

/// Whether a call of a stranger is one of the two that are allowed: the one that ends a program when
/// something unwinds into a C function, which only the program's own callback can do; and the bounds check of
/// places in an image's head, done once per image, where each place is a constant.
fn stays(function: &str, stranger: &str) -> bool {
    stranger.ends_with("panic_cannot_unwind")
        || (function.trim_start_matches('<').starts_with("heaplab_raw::")
            && stranger.ends_with("panic_bounds_check"))
}

#[test]
fn a_recorded_call_reaches_nothing_that_allocates_locks_or_panics() {
    let code = Code::read();
    for (entry, more) in ENTRIES {
        let reached = code.reach(entry);
        assert!(reached.own.len() > 2, "{entry} is forwarded and written down: {:?}", reached.own);
        let strangers: Vec<_> =
            reached.strangers.iter().filter(|(function, stranger)| !stays(function, stranger)).collect();
        assert!(strangers.is_empty(), "{entry} can reach {strangers:#?}");
        let others: Vec<&String> = reached
            .others
            .iter()
            .filter(|name| !CALLABLE.contains(&name.as_str()) && !more.contains(&name.as_str()))
            .collect();
        assert!(others.is_empty(), "{entry} can reach {others:?} of other libraries");
        let instructions: usize = reached.own.iter().map(|name| code.functions[name].len()).sum();
        println!("{entry}: {} functions of {instructions} instructions", reached.own.len());
        assert!(instructions <= REACHABLE_MOST, "{entry} can reach {instructions} instructions");
    }
}

#[test]
fn the_common_path_is_short_and_shares_nothing() {
    let code = Code::read();
    for entry in ["malloc", "free", "calloc", "realloc"] {
        // The exported function only notes the depth of the stack, and continues in the one that does the
        // work.
        let targets = code.targets(entry);
        let body = match targets.iter().collect::<Vec<_>>()[..] {
            [Target::Own(body)] if code.functions[entry].len() < 24 => body.clone(),
            _ => entry.to_owned(),
        };
        let instructions = &code.functions[&body];
        println!("{entry}: {} instructions on the common path", instructions.len());
        assert!(instructions.len() <= COMMON_MOST, "{body} has {} instructions", instructions.len());
        let shared: Vec<&String> = instructions
            .iter()
            .filter(|text| ["lock ", "xchg", "syscall", "mfence"].iter().any(|part| text.starts_with(part)))
            .collect();
        assert!(shared.is_empty(), "{body}: {shared:?}");
        for target in code.targets(&body) {
            match target {
                Target::Other(name) => assert_eq!(name, "__tls_get_addr", "{body} calls another library"),
                Target::Own(name) => {
                    assert!(!is_stranger(&name) || stays(&body, &name), "{body} calls {name}")
                }
                Target::Found => {}
            }
        }
    }
}
