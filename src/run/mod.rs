//! Joins proxy, load, process and clock; heals on every way out.
