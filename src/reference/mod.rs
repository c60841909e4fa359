//! The reference systems of the shipped scenarios.
