//! Who is in a directory.

use proto::directory::api::{UsersPage, UsersQuery};
use reqwest::{Method, Url};

use super::client::with_bearer;
use super::{DirectoryClient, DirectoryError};

impl DirectoryClient {
    /// A page of those who are in the directory.
    ///
    /// # Errors
    /// `ErrorCode::NotAllowed` when the operator does not let us.
    pub async fn users(&self, query: &UsersQuery, bearer: Option<&str>) -> Result<UsersPage, DirectoryError> {
        let request = self.request_to(Method::GET, self.users_url(query));
        Ok(self.ask(with_bearer(request, bearer)).await?.1)
    }

    pub(super) fn users_url(&self, query: &UsersQuery) -> Url {
        let mut url = self.path(&["v1", "users"]);
        {
            let mut pairs = url.query_pairs_mut();
            let texts =
                [("query", &query.query), ("name", &query.name), ("address", &query.address), ("after", &query.after)];
            for (key, value) in texts {
                if let Some(value) = value {
                    pairs.append_pair(key, value);
                }
            }
            if let Some(online) = query.online {
                pairs.append_pair("online", if online { "true" } else { "false" });
            }
            if let Some(limit) = query.limit {
                pairs.append_pair("limit", &limit.to_string());
            }
        }
        url
    }
}
