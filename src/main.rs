//! The `brownout` binary: see the library for everything.

fn main() -> std::process::ExitCode {
    brownout::cli::main()
}
