use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use super::super::SocketError;
use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_modes_are_as_promised() {
    let gid = nix::unistd::Gid::effective();
    let group = nix::unistd::Group::from_gid(gid).unwrap().unwrap().name;
    for (audience, directory_mode, socket_mode) in
        [(Audience::Owner, 0o700, 0o600), (Audience::Everybody, 0o755, 0o666), (Audience::Group(group), 0o750, 0o660)]
    {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/chatd/chatd.sock");
        let socket = bind(&path, &audience).await.unwrap();
        assert_eq!(mode(&path), socket_mode, "{audience:?}");
        assert_eq!(mode(path.parent().unwrap()), directory_mode, "{audience:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().gid(), gid.as_raw());
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_directory_of_ours_is_adjusted_and_any_other_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    for (name, expected) in [("chatd", 0o700), ("tmp", 0o777)] {
        let directory = root.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(if name == "tmp" { 0o1777 } else { 0o777 }))
            .unwrap();
        let _socket = bind(&directory.join("chatd.sock"), &Audience::Owner).await.unwrap();
        assert_eq!(mode(&directory), expected, "{name}");
    }
}

#[tokio::test]
async fn where_others_may_write_there_is_no_socket() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("open");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let error = bind(&directory.join("chatd.sock"), &Audience::Owner).await.unwrap_err();
    assert!(matches!(error, SocketError::OpenFolder { .. }), "{error}");
    let long = root.path().join("x".repeat(108));
    let error = bind(&long, &Audience::Owner).await.unwrap_err().to_string();
    assert!(error.contains("107"), "{error}");
}

#[tokio::test]
async fn the_socket_of_a_killed_daemon_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("chatd.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _socket = bind(&path, &Audience::Owner).await.unwrap();
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn the_socket_of_a_living_daemon_is_not() {
    let server = Server::start(Limits::default()).await;
    let error = bind(&server.path, &Audience::Owner).await.unwrap_err();
    assert!(matches!(error, SocketError::AnotherDaemon { .. }), "{error}");
    server.client().await.call::<m::SystemHello>(&Default::default()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_socket_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("chatd.sock");
    std::fs::write(&path, "alice's notes").unwrap();
    let error = bind(&path, &Audience::Owner).await.unwrap_err();
    assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "alice's notes");
}

#[tokio::test]
async fn the_socket_of_a_successor_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("chatd.sock");
    let socket = bind(&path, &Audience::Owner).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let audience = Audience::Group("no-such-group".to_owned());
    let error = bind(&root.path().join("chatd.sock"), &audience).await.unwrap_err();
    assert!(error.to_string().contains("groupadd --system no-such-group"), "{error}");
}

#[tokio::test]
async fn a_socket_whose_file_was_removed_is_made_again() {
    let server = Server::start(Limits::default()).await;
    let before = server.client().await;
    std::fs::remove_file(&server.path).unwrap();
    let after = loop {
        match Client::connect(&server.path).await {
            Ok(client) => break client,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    for client in [&before, &after] {
        client.call::<m::SystemHello>(&proto::rpc::types::HelloParams::default()).await.unwrap();
    }
    // What somebody else has put there is not touched.
    std::fs::remove_file(&server.path).unwrap();
    std::fs::write(&server.path, "precious").unwrap();
    before.call::<m::SystemHello>(&proto::rpc::types::HelloParams::default()).await.unwrap();
    assert_eq!(std::fs::read(&server.path).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_gets_the_socket() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("chatd.sock");
    for _ in 0..200 {
        // What a daemon that was killed left there is what they fall over.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { bind(&path, &Audience::Owner).await })
            })
            .collect();
        let mut winners = Vec::new();
        for start in starts {
            match start.await.unwrap() {
                Ok(socket) => winners.push(socket),
                Err(error) => assert!(matches!(error, SocketError::AnotherDaemon { .. }), "{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1);
        Client::connect(&path).await.unwrap();
        drop(winners);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
