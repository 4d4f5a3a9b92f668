//! Environment variables that change what tensorferry or a framework does.

use super::findings::{Findings, Problem, Section};

/// Variables of others.
const OTHERS: [&str; 14] = [
    "CUDA_VISIBLE_DEVICES",
    "GLIBC_TUNABLES",
    "JAX_PLATFORMS",
    "KERAS_BACKEND",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "OMP_NUM_THREADS",
    "PYTHONMALLOC",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_USE_LEGACY_KERAS",
    "TMPDIR",
    "XLA_FLAGS",
];

pub(super) fn findings() -> Findings {
    let mut found: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| name.starts_with("TENSORFERRY_") || OTHERS.contains(&name.as_str()))
        .collect();
    found.sort();
    let mut section = Section::new("environment");
    let mut problems = Vec::new();
    for (name, value) in found {
        problems.extend(problem(&name, &value));
        section.add(&name, Some(value));
    }
    Findings { sections: vec![section], problems }
}

/// A value that the library does not understand.
fn problem(name: &str, value: &str) -> Option<Problem> {
    let (understood, way_out) = match name {
        "TENSORFERRY_CPU_LEVEL" => (
            value.is_empty()
                || ["baseline", "avx2", "avx512"]
                    .iter()
                    .any(|level| value.trim().eq_ignore_ascii_case(level)),
            "Set it to baseline, avx2 or avx512, or unset it.",
        ),
        "TENSORFERRY_POOL_BYTES" => {
            (value.trim().parse::<usize>().is_ok(), "Set it to a number of bytes, or unset it.")
        }
        _ => return None,
    };
    (!understood).then(|| Problem::new(format!("{name}={value:?} has no effect."), way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_effect_are_problems() {
        for (name, value, found) in [
            ("TENSORFERRY_CPU_LEVEL", "AVX2 ", false),
            ("TENSORFERRY_CPU_LEVEL", "", false),
            ("TENSORFERRY_CPU_LEVEL", "sse9", true),
            ("TENSORFERRY_POOL_BYTES", "0", false),
            ("TENSORFERRY_POOL_BYTES", "1G", true),
            ("TMPDIR", "sse9", false),
        ] {
            assert_eq!(problem(name, value).is_some(), found, "{name}={value}");
        }
    }
}
