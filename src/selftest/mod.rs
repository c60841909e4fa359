//! The calibration of the verdicts: of systems of which it is known whether they bear an outage, did
//! the judge say so, every time?
//!
//! Here is the account alone: what was seen of each twin against what is required of it, and what it
//! comes to. Pure; the runs are made elsewhere.

mod account;

pub use account::{
    Account, Case, Ended, Note, Row, SELFTEST_VERSION, Seen, Standing, UNCLEAR_ONE_OF, Weighed,
    weigh,
};
