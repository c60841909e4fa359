//! Meya's platform on 28 February 2017, small: bots that talk on a web page and on the channels of
//! third parties, with static assets and customers' components in S3.
//!
//! ```text
//! web chat -> platform -> assets (S3, bucket `assets`; remedied: a second origin)
//!                |-----> components (S3, bucket `components`): customers' code
//!                |-----> Segment, Intercom, Slack, under their own names
//!                `-----> pager;  as it was: the provider's status page
//! ```
//!
//! What each part does in its two variants stands at the head of its file. What the incident did
//! not touch, the bots' own flows for one, is a short wait.

mod analytics;
mod assets;
mod channels;
mod components;
mod health;
mod icons;
mod platform;

pub use platform::{Platform, PlatformSetup};

#[cfg(test)]
mod tests;
