//! The system's instances: start, ready, signal, stop, and nothing left behind.
