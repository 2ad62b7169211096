//! Tokens.

use proto::rpc::types::{
    PageParams, Token, TokenCreateParams, TokenCreateResult, TokenLogParams, TokenLogResult, TokenParams, TokensResult,
};

use crate::model::Caller;
use crate::service::tokens::manage::{self, NewToken};
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn token_create(
    service: &Service,
    caller: &Caller,
    params: TokenCreateParams,
) -> Result<TokenCreateResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let TokenCreateParams { account: _, name, allow, within, send_to, rate, expires } = params;
    let rate = rate.map(|rate| (rate.count, rate.seconds));
    let new = NewToken { name, allow, within, send_to, rate, expires };
    let (token, grants) = manage::create(&account, caller, new).await?;
    Ok(TokenCreateResult { token: token.as_str().into(), grants: grants.into() })
}

pub(in crate::rpc) async fn token_list(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<TokensResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(manage::list(&account, params.into()).await?.into())
}

pub(in crate::rpc) async fn token_revoke(
    service: &Service,
    caller: &Caller,
    params: TokenParams,
) -> Result<Token, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(manage::revoke(&account, caller, &params.name).await?.into())
}

pub(in crate::rpc) async fn token_log(
    service: &Service,
    caller: &Caller,
    params: TokenLogParams,
) -> Result<TokenLogResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let (entries, next) = manage::log(&account, &params.name, params.after, params.limit).await?;
    Ok(TokenLogResult { entries: entries.into_iter().map(Into::into).collect(), next })
}
