//! Links the unwinder into the binary. As a CNI plugin it starts anew for each pod, and libgcc's shared library, which is
//! needed for backtraces alone, takes a tenth of a millisecond to load. Without the archive the library it is.
//!
//! The binary has its place in memory given (no PIE), as a Go program's: 36,000 addresses need not be written anew at each start,
//! which took half a megabyte of private memory and a quarter of a millisecond.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if archive() {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}

/// Whether the compiler that links has it, as GCC does. Who builds for another machine links with another one.
fn archive() -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_ENV") != "gnu" || variable("HOST") != variable("TARGET") {
        return false;
    }
    let asked = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    asked.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_absolute())
}
