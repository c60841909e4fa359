//! The `brownout` binary: see the library for everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: this very executable is also the guard over the processes of a run.
    if std::env::args_os().nth(1).as_deref() == Some(brownout::process::guard::ARGUMENT.as_ref()) {
        return brownout::process::guard::main();
    }
    ExitCode::SUCCESS
}
