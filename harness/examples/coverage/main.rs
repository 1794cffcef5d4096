//! How often the intervals of memory hold what many more blocks say.
//!
//!     cargo run --release -p heaplab --example coverage -- FOLDER
//!
//! Prints the document of a folder that `scripts/coverage` made: results/coverage/README.md.

mod experiments;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("coverage: name the folder that scripts/coverage made");
        return ExitCode::from(2);
    };
    match experiments::document(Path::new(&folder)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("coverage: {error}");
            ExitCode::FAILURE
        }
    }
}
