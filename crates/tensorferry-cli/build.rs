//! Records the compiler and the target, which `tensorferry doctor` prints.
#![allow(clippy::print_stdout, reason = "Cargo reads it")]

use std::env::var;
use std::process::Command;

fn main() {
    let rustc = var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .filter(|done| done.status.success())
        .and_then(|done| String::from_utf8(done.stdout).ok());
    let version = version.as_deref().map_or("unknown rustc", str::trim);
    println!("cargo:rustc-env=TENSORFERRY_RUSTC={version}");
    for name in ["TARGET", "PROFILE"] {
        println!("cargo:rustc-env=TENSORFERRY_{name}={}", var(name).unwrap_or_default());
    }
    println!("cargo:rerun-if-changed=build.rs");
}
