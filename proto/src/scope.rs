//! What a token lets somebody do, and what each method of the RPC needs of one.

/// A part of what the owner of an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read messages and events, and mark as read; the own consumers of the token.
    Read,
    /// Send messages to contacts, and see what became of them.
    Send,
    /// See, ask, accept, name, mute and remove contacts, and search the directory.
    Contacts,
    /// Log in and out, change settings and profile, verify contacts, forget messages.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Send, Self::Contacts, Self::Admin];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Contacts => "contacts",
            Self::Admin => "admin",
        }
    }

    /// The scope that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// What a connection needs that presented a token, to call a method. Connections that presented none have all that their
/// user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: who presents a token must be able to.
    Nothing,
    /// To be the owner: no token grants it.
    Owner,
    /// One of these scopes.
    Scope {
        /// Any of them is enough.
        any: &'static [Scope],
        /// A token for some conversations only may call it as well: the method looks itself at whom it is about.
        within: bool,
    },
}

impl Needs {
    /// In words, for the reference.
    pub fn words(self) -> String {
        match self {
            Self::Nothing => "none".to_owned(),
            Self::Owner => "granted by no token".to_owned(),
            Self::Scope { any, within } => {
                let scopes: Vec<&str> = any.iter().map(|scope| scope.as_str()).collect();
                let only = if within { "" } else { ", of a token for all conversations" };
                format!("{}{only}", scopes.join(" or "))
            }
        }
    }
}
