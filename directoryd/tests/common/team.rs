//! What tests of logs of groups share: alice, who has made one.

use tests::http::Http;
use tests::team::Team;

use super::*;

/// A connection to a directory.
pub async fn http(directory: &Directory) -> Http {
    Http::connect(directory.url.trim_start_matches("http://")).await.unwrap()
}

/// Alice is registered, has a session, and has made a log.
pub async fn founded(directory: &Directory) -> (Person, Session, Team, Http) {
    let alice = person("alice");
    assert!(directory.publish(&alice, 1).await.status().is_success());
    let session = directory.session(&alice).await;
    let (team, mut http) = (Team::new("team"), http(directory).await);
    assert_eq!(team.create(&mut http, &session.token).await.unwrap().status, 201);
    (alice, session, team, http)
}
