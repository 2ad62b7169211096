//! A directory and two nodes in containers, by the compose file that is given away.
//!
//! Whatever fails is told with what docker and the programs in the containers have said. What docker itself could not do in time is
//! tried again; where a program of the system's cannot be run in a container of the same kind, ours are not tried.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::binaries::packages_folder;
use tests::process::Process;
use tests::wait::DEADLINE;
use tests::{Place, skip_without_failing};

use crate::machine::within;

/// For an image to be built, and three containers to be healthy, on a machine that does much else: a copy of the tree is written for
/// each layer and container.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two tries of something that docker could not do.
const PAUSE: Duration = Duration::from_millis(500);
const PROJECT: &str = "chatd-test";
/// What docker says of itself and of the kernel. Nothing that our programs say looks so.
const OF_DOCKER: [&str; 5] = [
    "OCI runtime exec failed",
    "Error response from daemon",
    "Read timed out",
    "context deadline exceeded",
    "is not running",
];
/// A container of the same kind as ours, with a program that is not.
const PROBE: &str = "version: '2.4'
services:
  probe:
    build: { context: ., network: none }
    image: chatd-probe
    network_mode: none
    read_only: true
    cap_drop: ['ALL']
    security_opt: ['no-new-privileges']
";
const PROBE_IMAGE: &str = "FROM scratch\nCOPY rootfs/ /\nUSER 10001:10001\nENTRYPOINT [\"/bin/true\"]\n";

/// A Docker of one's own, with no network: the three talk over their loopback.
struct Docker {
    place: Place,
    daemon: Process,
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
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

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let socket = self.place.path().join("docker.sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).env("HOME", self.place.path());
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
        // docker-compose gives up after a minute in which docker writes a layer.
        command.env("COMPOSE_HTTP_TIMEOUT", "600").env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    fn docker(&self, args: &[&str]) -> Output {
        self.command("docker").args(args).output().unwrap()
    }

    fn answers(&self) -> bool {
        self.place.path().join("docker.sock").exists() && self.docker(&["version"]).status.success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn folder() -> PathBuf {
        packages_folder().unwrap().with_file_name("container")
    }

    /// docker-compose, with no network for the directory.
    fn compose(&self, args: &[&str]) -> Output {
        let none = self.place.path().join("none.yml");
        std::fs::write(
            &none,
            "version: '2.4'\nservices:\n  directory:\n    network_mode: none\n    build:\n      network: none\n",
        )
        .unwrap();
        let mut command = self.command("docker-compose");
        command.current_dir(Self::folder());
        command.args(["--project-name", PROJECT, "--file", "docker-compose.yml", "--file"]).arg(none).args(args);
        command.output().unwrap()
    }

    /// The same, which has to succeed; tried again for as long as it is docker that could not.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let output = self.compose(args);
            let told = said(&output);
            if output.status.success() {
                return told;
            }
            let dockers = OF_DOCKER.iter().any(|words| told.contains(words));
            assert!(dockers && since.elapsed() < PATIENCE, "{args:?}: {told}\n{}", self.evidence());
            std::thread::sleep(PAUSE);
        }
    }

    #[track_caller]
    fn ctl(&self, person: &str, args: &[&str]) -> String {
        self.ok(&[&["exec", "-T", person, "chatctl"], args].concat())
    }

    /// Waits, and tells what was said when it was for nothing.
    #[track_caller]
    fn within(&self, what: &str, mut question: impl FnMut() -> bool) {
        let since = Instant::now();
        while !question() {
            assert!(since.elapsed() < PATIENCE, "waited {PATIENCE:?} for: {what}\n{}", self.evidence());
            std::thread::sleep(PAUSE);
        }
    }

    /// The containers, a line each.
    fn containers(&self) -> String {
        let of = format!("label=com.docker.compose.project={PROJECT}");
        said(&self.docker(&["ps", "--all", "--filter", &of, "--format", "{{.ID}} {{.Names}} {{.Status}}"]))
    }

    /// Until all three say that they are well; none was started twice for that.
    #[track_caller]
    fn are_healthy(&self, what: &str) {
        self.within(what, || self.containers().matches("(healthy)").count() == 3);
        for line in self.containers().lines() {
            let id = line.split(' ').next().unwrap_or_default();
            let starts = said(&self.docker(&["inspect", "--format", "{{.RestartCount}}", id]));
            assert_eq!(starts.trim(), "0", "{line}: it ended and was started again\n{}", self.evidence());
        }
    }

    /// All that can be known of why something went wrong.
    fn evidence(&self) -> String {
        let containers = self.containers();
        let mut out = format!("--- containers\n{containers}");
        for line in containers.lines() {
            let id = line.split(' ').next().unwrap_or_default();
            let state = said(&self.docker(&["inspect", "--format", "{{json .State}}", id]));
            let logs = said(&self.docker(&["logs", "--tail", "40", id]));
            out += &format!("--- {line}\n{state}{logs}");
        }
        let room = Command::new("df").arg("-h").arg(self.place.path()).output().map(|output| said(&output));
        out + &format!("--- disk\n{}--- dockerd\n{}\n", room.unwrap_or_default(), tail(&self.log(), 60))
    }

    /// Runs a program of the system's in a container of the same kind; what was said, if that cannot be done.
    fn probe(&self) -> Result<(), String> {
        let folder = self.place.folder("probe").unwrap();
        let root = folder.join("rootfs");
        let put = |from: &str| {
            let to = root.join(from.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        };
        let libraries = said(&Command::new("ldd").arg("/bin/true").output().unwrap());
        let libraries = libraries.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        libraries.for_each(put);
        put("/bin/true");
        let open = |path: &Path| Command::new("chmod").args(["-R", "a+rX"]).arg(path).status().unwrap();
        open(&root);
        std::fs::write(folder.join("Dockerfile"), PROBE_IMAGE).unwrap();
        std::fs::write(folder.join("docker-compose.yml"), PROBE).unwrap();
        let run = || {
            let mut command = self.command("docker-compose");
            command.current_dir(&folder).args(["--project-name", "chatd-probe", "run", "--rm", "-T", "probe"]);
            command.output().unwrap()
        };
        let since = Instant::now();
        loop {
            let output = run();
            if output.status.success() {
                return Ok(());
            }
            if since.elapsed() > DEADLINE {
                return Err(said(&output));
            }
            std::thread::sleep(PAUSE);
        }
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
    let needed = ["dockerd", "docker", "docker-compose"];
    if !nix::unistd::geteuid().is_root() || !needed.into_iter().all(has) {
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
        skip_without_failing!("docker cannot be started on this kernel: {}", tail(&docker.log(), 1));
    }
    if let Err(told) = docker.probe() {
        skip_without_failing!("docker runs no container on this kernel, whatever is in it: {}", tail(&told, 3));
    }
    docker.ok(&["up", "--detach", "--build"]);
    docker.are_healthy("that all three are healthy");
    docker.ctl("alice", &["register", "alice"]);
    docker.ctl("bob", &["register", "bob"]);
    docker.ctl("alice", &["add", "bob"]);
    docker.within("the request", || docker.ctl("bob", &["requests"]).contains("alice"));
    docker.ctl("bob", &["accept", "alice"]);
    docker.ctl("alice", &["send", "bob", "from a container", "--wait", "delivered", "--timeout", "120s"]);
    // State is in volumes: containers are made anew, and it is there.
    docker.ok(&["up", "--detach", "--force-recreate"]);
    docker.are_healthy("that all three are healthy again");
    let history = docker.ctl("bob", &["history", "alice"]);
    assert!(history.contains("from a container"), "{history}\n{}", docker.evidence());
}
