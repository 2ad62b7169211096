//! Who may be told of whom: members and guests alike, by the token that they were given.

use proto::directory::api::{ErrorCode, MAX_FRAME_ENTRIES, ServerFrame, Watch, token_hash};
use proto::ids::AccountId;

use crate::cluster::{SessionId, Status, presence};
use crate::http::answer::Refusal;
use crate::state::Directory;

/// Lets a session watch those who honour its tokens, and says how they are. Who is no account here, or does not honour the token, looks
/// offline.
pub async fn watch(directory: &Directory, id: SessionId, watches: &[Watch]) -> Result<Vec<ServerFrame>, Refusal> {
    few(watches.len())?;
    let pairs: Vec<(AccountId, [u8; 32])> = watches
        .iter()
        .map(|watch| {
            let token = <[u8; 32]>::try_from(&watch.token[..]);
            let token = token.map_err(|_| Refusal::new(ErrorCode::Malformed, "a token has 32 bytes"))?;
            Ok((watch.account, token_hash(&token)))
        })
        .collect::<Result<_, Refusal>>()?;
    let honoured = directory.store.readers().honours(pairs.clone()).await?;
    let allowed: Vec<_> = pairs.iter().zip(honoured).filter(|(_, yes)| *yes).map(|(pair, _)| *pair).collect();
    let told = directory.cluster.watch(id, &allowed);
    let status = |account: AccountId| told.iter().find(|(id, _)| *id == account).map(|(_, status)| *status);
    let frames = pairs.iter().map(|(account, _)| presence(*account, status(*account).unwrap_or(Status::default())));
    Ok(frames.collect())
}

/// Whether a frame has no more entries than it may have.
pub fn few(entries: usize) -> Result<(), Refusal> {
    if entries <= MAX_FRAME_ENTRIES {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::TooLarge, format!("a frame has at most {MAX_FRAME_ENTRIES} entries")))
}
