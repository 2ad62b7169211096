//! Who may use the daemon at all. Which accounts a caller may use is the service's affair.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use proto::rpc::{ErrorCode, RpcError};

/// The group whose members may use a system daemon although they are no people: services, bots.
const CHAT_GROUP: &str = "chat";
/// Where people's uids begin if /etc/login.defs does not say: the default of shadow-utils.
const DEFAULT_UID_MIN: u32 = 1_000;
/// Uids that systemd gives to services with `DynamicUser=` (systemd, UIDS-GIDS.md): no people, although large.
const DYNAMIC_SERVICE_UIDS: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// What the kernel shows of a user of another namespace; also `nobody`.
const OVERFLOW_UID: u32 = 65_534;

/// Whom a daemon serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Only this user: a user's own daemon.
    Owner {
        /// The user.
        uid: u32,
    },
    /// People, root, the daemon's own user, and members of the group `chat`; if `socket_group` is set, members of it and root.
    System {
        /// The daemon's own user, who has the data anyway; so it can ask itself whether it answers.
        own: u32,
        /// The first uid of people.
        uid_min: u32,
        /// Narrows it to this group.
        socket_group: Option<String>,
    },
}

/// What the system knows of a uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) name: Option<String>,
    pub(super) groups: Vec<String>,
}

impl Identity {
    /// Asks the system's user database; may block.
    pub(super) fn of(uid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let groups = user.as_ref().map(groups_of).unwrap_or_default();
        Self { uid, name: user.map(|user| user.name), groups }
    }
}

/// For so long it is not asked again who a user is: that reads four files, or asks a network.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Users that are remembered.
const MAX_KNOWN: usize = 256;

/// Who a user is, or why not to let this one in; and when that was found.
type Found = (Instant, Result<Identity, RpcError>);

/// Who may come in, as it was found a moment ago.
pub(super) struct Identities {
    access: Arc<Access>,
    known: Mutex<HashMap<u32, Found>>,
}

impl Identities {
    pub(super) fn new(access: Access) -> Self {
        Self { access: Arc::new(access), known: Mutex::default() }
    }

    /// Who a user is, if this one may come in.
    ///
    /// # Errors
    /// What to do about it; `internal`, when the look-up failed.
    pub(super) async fn admit(&self, uid: u32) -> Result<Identity, RpcError> {
        if let Some(known) = self.known(uid) {
            return known;
        }
        let access = Arc::clone(&self.access);
        // The user database may be on a network.
        let looked_up = tokio::task::spawn_blocking(move || {
            let identity = Identity::of(uid);
            access.check(&identity).map(|()| identity)
        });
        let found = looked_up.await.map_err(|error| RpcError::new(ErrorCode::Internal, error.to_string()))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(uid, (Instant::now(), found.clone()));
        found
    }

    fn known(&self, uid: u32) -> Option<Result<Identity, RpcError>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = known.get_mut(&uid)?;
        if at.elapsed() < KNOWN_FOR {
            return Some(found.clone());
        }
        // One of those who ask looks it up, and the others take what was found before.
        *at = Instant::now();
        None
    }
}

fn groups_of(user: &User) -> Vec<String> {
    let Ok(name) = CString::new(user.name.as_bytes()) else { return Vec::new() };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    let name_of = |gid: Gid| Some(Group::from_gid(gid).ok()??.name);
    groups.into_iter().filter_map(name_of).collect()
}

impl Access {
    /// For a user's own daemon.
    pub fn owner() -> Self {
        Self::Owner { uid: Uid::effective().as_raw() }
    }

    /// For a system service. Reads /etc/login.defs.
    pub fn system(socket_group: Option<String>) -> Self {
        let defs = std::fs::read_to_string("/etc/login.defs").unwrap_or_default();
        Self::System { own: Uid::effective().as_raw(), uid_min: uid_min(&defs), socket_group }
    }

    /// Whether this one may come in; the error says what to do about it.
    fn check(&self, who: &Identity) -> Result<(), RpcError> {
        let is_member = |group: &str| who.groups.iter().any(|known| known == group);
        let uid = who.uid;
        let user = who.name.clone().unwrap_or_else(|| format!("user {uid}"));
        let text = match self {
            Self::Owner { uid: owner } if uid == *owner => return Ok(()),
            Self::Owner { uid: owner } => {
                format!("this is the daemon of user {owner} alone; {user} needs one of their own")
            }
            Self::System { own, .. } if uid == 0 || uid == *own => return Ok(()),
            Self::System { socket_group: Some(group), .. } => {
                if is_member(group) {
                    return Ok(());
                }
                how_to_join(&user, group)
            }
            Self::System { uid_min, socket_group: None, .. } => {
                let is_person = uid >= *uid_min && uid != OVERFLOW_UID && !DYNAMIC_SERVICE_UIDS.contains(&uid);
                if is_person || is_member(CHAT_GROUP) {
                    return Ok(());
                }
                how_to_join(&user, CHAT_GROUP)
            }
        };
        Err(RpcError::new(ErrorCode::NotAllowed, text))
    }
}

fn how_to_join(user: &str, group: &str) -> String {
    let missing = matches!(nix::unistd::Group::from_name(group), Ok(None));
    // Nothing makes the group before somebody needs it.
    let make = if missing { format!("sudo groupadd --system {group} && ") } else { String::new() };
    format!(
        "{user} is not in group {group}, which may use this daemon: run `{make}sudo usermod -aG {group} {user}` and log in \
         again"
    )
}

fn uid_min(login_defs: &str) -> u32 {
    let value = login_defs.lines().find_map(|line| line.trim().strip_prefix("UID_MIN")?.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or(DEFAULT_UID_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_daemon_serves() {
        let owner = Access::Owner { uid: 1000 };
        let system = Access::System { own: 998, uid_min: 1000, socket_group: None };
        let narrowed = Access::System { own: 998, uid_min: 1000, socket_group: Some("talkers".to_owned()) };
        for (uid, groups, [by_owner, by_system, by_narrowed]) in [
            (1000, &["alice"][..], [true, true, false]),
            (1001, &["bob", "talkers"], [false, true, true]),
            (0, &["root"], [false, true, true]),
            (998, &["chatd"], [false, true, true]),
            (33, &["www-data"], [false, false, false]),
            (33, &["www-data", "chat"], [false, true, false]),
            (61_500, &[], [false, false, false]),
            (65_534, &["nogroup"], [false, false, false]),
        ] {
            let groups = groups.iter().map(|name| (*name).to_owned()).collect();
            let who = Identity { uid, name: Some("someone".to_owned()), groups };
            assert_eq!(owner.check(&who).is_ok(), by_owner, "owner, {who:?}");
            assert_eq!(system.check(&who).is_ok(), by_system, "system, {who:?}");
            assert_eq!(narrowed.check(&who).is_ok(), by_narrowed, "narrowed, {who:?}");
        }
    }

    #[test]
    fn the_refusal_says_what_to_run() {
        let access = Access::System { own: 998, uid_min: 1000, socket_group: Some("talkers".to_owned()) };
        let who = Identity { uid: 1002, name: Some("carol".to_owned()), groups: vec![] };
        let error = access.check(&who).expect_err("carol is in no group");
        assert_eq!(error.code, ErrorCode::NotAllowed);
        // No such group here, so it has to be made first.
        let line = "`sudo groupadd --system talkers && sudo usermod -aG talkers carol`";
        assert!(error.text.contains(line), "{}", error.text);
        let there = how_to_join("carol", "root");
        assert!(there.contains("`sudo usermod -aG root carol`") && !there.contains("groupadd"), "{there}");
    }

    #[test]
    fn login_defs() {
        assert_eq!(uid_min("# UID_MIN 1\nSYS_UID_MIN 100\nUID_MIN\t\t\t  500\nUID_MAX 60000\n"), 500);
        assert_eq!(uid_min(""), 1000);
        assert_eq!(uid_min("UID_MIN many"), 1000);
    }

    #[test]
    fn root_is_known_everywhere() {
        assert_eq!(Identity::of(0).name.as_deref(), Some("root"));
        assert_eq!(Identity::of(4_000_000_000).name, None);
    }
}
