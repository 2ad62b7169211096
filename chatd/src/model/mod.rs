//! What every module of the daemon talks about.

/// Who calls, as the kernel told it when the connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The user's name, if the system knows one.
    pub user: Option<String>,
    /// The process that connected. For the log: the number may be reused.
    pub pid: Option<i32>,
}
