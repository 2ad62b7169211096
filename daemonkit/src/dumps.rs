//! Memory that holds keys stays in memory.

use nix::sys::resource::{Resource, setrlimit};

/// Switches core dumps of this process off, and lets no other process of the same user read its memory.
///
/// A limit of 0 alone is not enough: a handler to which the kernel pipes the core (`|` in `core_pattern`) is run all the same.
///
/// # Errors
/// When the system refuses either.
pub fn forbid() -> std::io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn neither_a_limit_nor_a_handler_gets_the_memory() {
        super::forbid().unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
        assert_eq!(limit, (0, 0));
    }
}
