//! This build of tensorferry.

use super::findings::{Findings, Section};
use tensorferry::{CpuLevel, cpu_level};

pub(super) fn findings() -> Findings {
    let mut section = Section::new("tensorferry");
    section.add("version", Some(env!("CARGO_PKG_VERSION")));
    section.add("compiler", Some(env!("TENSORFERRY_RUSTC")));
    section.add("target", Some(env!("TENSORFERRY_TARGET")));
    let optimised = if cfg!(debug_assertions) { ", with debug assertions" } else { "" };
    section.add("profile", Some(format!("{}{optimised}", env!("TENSORFERRY_PROFILE"))));
    let (used, highest) = (cpu_level(), CpuLevel::detect());
    let here =
        if used == highest { String::new() } else { format!(" (the CPU has {})", highest.name()) };
    section.add_as("instructions", used.name(), format!("{}{here}", used.name()));
    section.into()
}
