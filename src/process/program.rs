//! Which program is `brownout`: our own executable, or where that is somebody else's, which only uses
//! the library, the one that it names.

use std::{io, path::PathBuf, sync::OnceLock};

static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// From now on this program is `brownout` to this process: the guard over what runs start, and
/// `{brownout}` in files. The first to name one is believed; says whether it is this one.
pub fn name(program: PathBuf) -> bool {
    *NAMED.get_or_init(|| program.clone()) == program
}

/// Its path.
///
/// # Errors
/// The system does not tell which our executable is.
pub fn path() -> io::Result<PathBuf> {
    NAMED.get().cloned().map_or_else(std::env::current_exe, Ok)
}

/// The path by which it can be started again, even if our own executable's file was replaced.
///
/// # Errors
/// The system does not tell which our executable is.
pub fn again() -> io::Result<PathBuf> {
    match NAMED.get() {
        None if cfg!(target_os = "linux") => Ok(PathBuf::from("/proc/self/exe")),
        _ => path(),
    }
}
