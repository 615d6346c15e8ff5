//! The time of day as Kubernetes writes it where parts of a second count.

use std::time::{SystemTime, UNIX_EPOCH};

use tortie_store::resources::timestamp;

/// Now, for example `2026-11-23T00:00:00.000000Z`.
pub fn clock() -> String {
    let now = SystemTime::now();
    let part = now.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_micros();
    format!("{}.{part:06}Z", timestamp(now).trim_end_matches('Z'))
}
