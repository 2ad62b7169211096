//! What can be done about an error. The daemon says which step; every program names it by commands of its own.

/// What to do about an error, beside its text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Advice {
    /// Which step.
    #[serde(rename = "do")]
    pub step: Step,
    /// Whom or what it is about, where it is about one: the form that names a person, a name, or the beginning of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A step that can be taken. There may be new ones; what is not known is passed over.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Step {
            $($(#[$doc])* $name,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The step alone.
            pub fn alone(self) -> Advice {
                Advice { step: self, name: None }
            }

            /// The step for somebody, or something, of that name.
            pub fn of(self, name: impl Into<String>) -> Advice {
                Advice { step: self, name: Some(name.into()) }
            }
        }
    };
}

steps! {
    /// Make an account.
    Register,
    /// Look which accounts one has; or make the one of the name, if there is a name.
    OwnAccounts,
    /// Say which of one's accounts is meant.
    ChooseAccount,
    /// Log in.
    LogIn,
    /// Take the name back with the recovery key of its account.
    Reclaim,
    /// Give up one of one's accounts.
    Unregister,
    /// End the block of somebody.
    Unblock,
    /// Compare the safety number with somebody, or take the key without.
    Verify,
    /// Accept or refuse the request of somebody.
    AnswerRequest,
    /// Look which requests wait.
    ListRequests,
    /// Look who has asked.
    ListAskers,
    /// Ask somebody of the name, in the directory.
    Ask,
    /// Ask somebody else, of another name.
    AskAnother,
    /// Look who is in the directory whose name contains this.
    ListUsers,
    /// A name went to another account: label the contact of old or remove it, then ask the new one.
    NameMoved,
    /// End muting.
    Unmute,
    /// Look which invites are out.
    ListInvites,
    /// Become the contact of whoever made an invite.
    UseInvite,
    /// Look which consumers there are.
    ListConsumers,
    /// Remove a consumer; the one of the name, if there is a name.
    RemoveConsumer,
    /// A copy of the account runs elsewhere, by mistake: make it an account of its own.
    OwnCopy,
    /// Another copy of the account took this one's place: go on here nevertheless, or be rid of this copy.
    GoOnHere,
    /// The account's files are damaged: put a backup in the place of this folder.
    Restore,
    /// A key of the account is missing: put it back.
    PutKeyBack,
    /// Somebody else put another key of the account into the directory: take the name back with the recovery key.
    RecoverKey,
    /// The directory shows another key, this one: accept it, if its operator says that it is right.
    AcceptDirectoryKey,
}
