//! The log: one flat JSON object a line, which the template's metric filters read.

use lambda_runtime::tracing::level_filters::LevelFilter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};

/// Starts the log.
///
/// The level is `AWS_LAMBDA_LOG_LEVEL`, else `RUST_LOG`, else info. A release contains nothing
/// finer than info, because the libraries' finer lines show signed requests with their session
/// token.
pub fn init() {
    let level = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        // An empty text would parse, as "error".
        .find_map(|level| if level.is_empty() { None } else { level.parse().ok() })
        .unwrap_or(LevelFilter::INFO);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false)
        .with_ansi(false);
    registry().with(level).with(lines).init();
}
