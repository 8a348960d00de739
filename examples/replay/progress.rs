//! Progress bars; none unless somebody watches.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with a name for `total` steps. Goes to standard error, and only if that is a terminal.
pub(crate) fn bar(name: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>10} {bar:40.green/dim} {human_pos:>9} of {human_len} {msg}",
    );
    let bar = ProgressBar::new(total).with_prefix(name);
    // The template is a constant; a bar without style is still a bar.
    style.map(|style| bar.set_style(style.progress_chars("━━─"))).ok();
    bar
}
