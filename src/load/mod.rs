//! Open-loop load: a pure schedule, and a driver that keeps it.
