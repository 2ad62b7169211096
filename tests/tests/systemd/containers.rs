//! A directory and two nodes in containers, by the compose file that is given away.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tests::binaries::packages_folder;
use tests::process::Process;
use tests::wait::DEADLINE;
use tests::{Place, skip_without_failing};

use crate::machine::within;

/// For an image to be built, and three containers to be healthy.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// A Docker of one's own, with no network: the three talk over their loopback.
struct Docker {
    place: Place,
    daemon: Process,
}

impl Docker {
    fn start() -> Self {
        let place = Place::new().unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        let mut dockerd = Command::new("dockerd");
        dockerd.args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--storage-driver=vfs",
        ]);
        dockerd.args([format!("--host=unix://{}", at("docker.sock")), format!("--pidfile={}", at("pid"))]);
        dockerd.args([format!("--data-root={}", at("data")), format!("--exec-root={}", at("exec"))]);
        let log = std::fs::File::create(place.path().join("log")).unwrap();
        dockerd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = Process::spawn(dockerd).unwrap();
        Self { place, daemon }
    }

    fn answers(&self) -> bool {
        self.place.path().join("docker.sock").exists() && self.compose(&["ps"]).0
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn folder() -> PathBuf {
        packages_folder().unwrap().with_file_name("container")
    }

    /// docker-compose, with no network for the directory; whether it went well, and what it said.
    fn compose(&self, args: &[&str]) -> (bool, String) {
        let none = self.place.path().join("none.yml");
        std::fs::write(
            &none,
            "version: '2.4'\nservices:\n  directory:\n    network_mode: none\n    build:\n      network: none\n",
        )
        .unwrap();
        let mut command = Command::new("docker-compose");
        command
            .current_dir(Self::folder())
            .env("DOCKER_HOST", format!("unix://{}", self.place.path().join("docker.sock").display()));
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0").env("HOME", self.place.path());
        command.args(["--project-name", "chatd-test", "--file", "docker-compose.yml", "--file"]).arg(none).args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (output.status.success(), said)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let (ok, said) = self.compose(args);
        assert!(ok, "{args:?}: {said}");
        said
    }

    #[track_caller]
    fn ctl(&self, person: &str, args: &[&str]) -> String {
        self.ok(&[&["exec", "-T", person, "chatctl"], args].concat())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "5"]);
        let _ = self.daemon.end(Signal::SIGTERM, DEADLINE);
    }
}

#[test]
fn b9_one_command_starts_a_directory_and_two_nodes_in_containers() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|run| run.status.success());
    if !nix::unistd::geteuid().is_root() || !has("dockerd") || !has("docker-compose") {
        skip_without_failing!("needs root, dockerd and docker-compose (apt-get install docker.io docker-compose)");
    }
    if !Docker::folder().join("Dockerfile").exists() {
        skip_without_failing!("{} is missing: cargo xtask test makes it", Docker::folder().display());
    }
    let mut docker = Docker::start();
    let mut ended = false;
    within(PATIENCE, "docker", || {
        ended = !docker.daemon.is_running();
        ended || docker.answers()
    });
    if ended {
        skip_without_failing!(
            "docker cannot be started on this kernel: {}",
            docker.log().lines().last().unwrap_or_default()
        );
    }
    docker.ok(&["up", "--detach", "--build"]);
    within(PATIENCE, "that all three are healthy", || docker.ok(&["ps"]).matches("(healthy)").count() == 3);
    docker.ctl("alice", &["register", "alice"]);
    docker.ctl("bob", &["register", "bob"]);
    docker.ctl("alice", &["add", "bob"]);
    within(PATIENCE, "the request", || docker.ctl("bob", &["requests"]).contains("alice"));
    docker.ctl("bob", &["accept", "alice"]);
    docker.ctl("alice", &["send", "bob", "from a container", "--wait", "delivered", "--timeout", "30s"]);
    // State is in volumes: containers are made anew, and it is there.
    docker.ok(&["up", "--detach", "--force-recreate"]);
    within(PATIENCE, "that all three are healthy again", || docker.ok(&["ps"]).matches("(healthy)").count() == 3);
    assert!(docker.ctl("bob", &["history", "alice"]).contains("from a container"));
}
