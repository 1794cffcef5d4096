//! Keeps the symbol table out of the segment of the code, so that it may be changed: some linkers put both into one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,separate-code");
}
