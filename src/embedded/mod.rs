//! Built-in servers that stand behind a proxy where nothing else does: S3, and a sink for alerts.
