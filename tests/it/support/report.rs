//! Figures for a person: what a test measured and does not judge. Shown with `--nocapture`, and when the test fails.

/// Prints one line.
#[expect(clippy::print_stderr, reason = "this is where measured figures go")]
pub(crate) fn report(line: &str) {
    eprintln!("measured: {line}");
}
