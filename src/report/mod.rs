//! History and verdicts to bytes: terminal, JSON, JUnit.
