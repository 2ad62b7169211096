//! `chatctl`, the command line client; see the library of the same name.

fn main() -> std::process::ExitCode {
    chatctl::main()
}
