//! A machine with a systemd of its own: a tree of Debian, booted in a container, to which nothing is written.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::binaries::{packages_folder, tree_folder};
use tests::wait::{DEADLINE, wait_for};

/// For systemd to come up and go down, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where packages are seen within the machine.
const PACKAGES: &str = "/packages";

/// Why no machine can be had here, if so: for want of rights, or of Debian's archive. That is noted, and no failure.
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, to boot a machine with a systemd of its own".into());
    }
    let found = Command::new("systemd-nspawn").arg("--version").output().is_ok_and(|run| run.status.success());
    if !found {
        return Some("systemd-nspawn is missing: cargo xtask test installs it".into());
    }
    let may =
        |program: &str, args: &[&str]| Command::new(program).args(args).output().is_ok_and(|run| run.status.success());
    if !may("unshare", &["--mount", "--pid", "--fork", "true"]) || !Groups::may_be_made() {
        return Some("this kernel lets nobody here have mounts, processes and control groups of their own".into());
    }
    let needed = [
        tree_folder().unwrap().join("made-of"),
        packages_folder().unwrap().join("old"),
        packages_folder().unwrap().join("new"),
    ];
    let missing = needed.iter().find(|path| !path.exists())?;
    Some(format!("{} is missing: cargo xtask test makes it (cargo xtask machine alone, too)", missing.display()))
}

/// What a command on a machine has said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One of them; off when dropped.
pub struct Machine {
    nspawn: Child,
    /// Its first process, as this machine numbers it.
    init: String,
    _groups: Groups,
}

/// Control groups of its own: a systemd takes those where it is found for its own, and two of them would share them.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn make(name: &str) -> Self {
        let above = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
        let is_one = |folder: &PathBuf| folder.join("cgroup.procs").exists();
        let groups: Vec<PathBuf> = above.into_iter().filter(is_one).map(|above| above.join(name)).collect();
        groups.iter().for_each(|group| std::fs::create_dir(group).unwrap());
        Self(groups)
    }

    /// Whether they can be.
    fn may_be_made() -> bool {
        let probe = Path::new("/sys/fs/cgroup").join(format!("chat-probe-{}", std::process::id()));
        let other = Path::new("/sys/fs/cgroup/systemd").join(format!("chat-probe-{}", std::process::id()));
        [probe, other].iter().any(|group| std::fs::create_dir(group).is_ok() && std::fs::remove_dir(group).is_ok())
    }

    /// A command that runs in them.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let enter: String =
            self.0.iter().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display())).collect();
        command.args(["-c", &format!("{enter}exec \"$0\" \"$@\""), program]);
        command
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        fn remove(group: &Path) {
            let below = std::fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
            below.filter(|path| path.is_dir()).for_each(|path| remove(&path));
            let _ = std::fs::remove_dir(group);
        }
        self.0.iter().for_each(|group| remove(group));
    }
}

/// Machines are booted one at a time: both cores have enough to do with one.
static BOOTING: Mutex<()> = Mutex::new(());

impl Machine {
    /// One with no network but its own loopback.
    #[track_caller]
    pub fn boot(name: &str) -> Self {
        Self::boot_with(name, "--private-network")
    }

    #[track_caller]
    fn boot_with(name: &str, network: &str) -> Self {
        let _turn = BOOTING.lock();
        let name = format!("{name}-{}", std::process::id());
        let groups = Groups::make(&name);
        let mut nspawn = groups.command("systemd-nspawn");
        nspawn.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only", "--volatile=overlay"]);
        nspawn.arg(format!("--machine={name}")).arg(network);
        nspawn.arg(format!("--bind-ro={}:{PACKAGES}", packages_folder().unwrap().display()));
        nspawn.arg("-D").arg(tree_folder().unwrap());
        let nspawn = nspawn.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut machine = Self { nspawn, init: String::new(), _groups: groups };
        let children = format!("/proc/{0}/task/{0}/children", machine.nspawn.id());
        within(PATIENCE, "that it has come up", || {
            // The first child makes the one that stays, and ends.
            let children = std::fs::read_to_string(&children).unwrap_or_default();
            machine.init = children.split_whitespace().last().unwrap_or_default().to_owned();
            // Not every unit of Debian's can do its work in a container.
            let state = || machine.run(&["systemctl", "is-system-running"]).stdout;
            !machine.init.is_empty() && ["running", "degraded"].contains(&state().trim())
        });
        machine
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.args(["--target", &self.init, "--all", "--wd=/", "--"]).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command as root.
    pub fn run(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What a command prints that has to succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert!(
            said.code == Some(0),
            "{args:?}: {said:?}\n{}",
            self.run(&["journalctl", "--no-pager", "-n", "30"]).stdout
        );
        said.stdout
    }

    /// The same for a line of shell.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        self.ok(&["sh", "-c", line])
    }

    /// Where a file of it is seen from here.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Starts a command that goes on beside the test, with what it reads.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// One with both packages and their services, where alice and bob are contacts, and others are there.
    #[track_caller]
    pub fn boot_for_two(name: &str, others: &[&str]) -> Self {
        let machine = Self::boot(name);
        machine.install("new", &["chatd", "directoryd"]);
        machine.serve_names();
        machine.ok(&["systemctl", "restart", "chatd"]);
        machine.people(&["alice", "bob"]);
        machine.people(others);
        befriend((&machine, "alice"), (&machine, "bob"));
        machine
    }

    /// Adds people, who may log in.
    pub fn people(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.ok(&["useradd", "--create-home", "--shell", "/bin/sh", name])));
    }

    /// `chatctl` of a person, as a shell of theirs would run it.
    pub fn ctl(&self, person: &str, args: &[&str]) -> Said {
        self.run(&[&["runuser", "-u", person, "--", "chatctl"], args].concat())
    }

    /// The same, which has to succeed.
    #[track_caller]
    pub fn ctl_ok(&self, person: &str, args: &[&str]) -> String {
        let said = self.ctl(person, args);
        assert!(said.code == Some(0), "{person}: {args:?}: {said:?}\n{}", self.journal("chatd"));
        said.stdout
    }

    /// The same, as JSON.
    #[track_caller]
    pub fn ctl_json(&self, person: &str, args: &[&str]) -> Value {
        serde_json::from_str(&self.ctl_ok(person, &[args, &["--json"]].concat())).unwrap()
    }

    /// A property of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "-p", property, unit]).trim().to_owned()
    }

    /// The log of a unit.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "-u", unit]).stdout
    }

    /// Installs packages: those of `old` or `new` with these names.
    #[track_caller]
    pub fn install(&self, which: &str, names: &[&str]) {
        for name in names {
            self.sh(&format!("dpkg --install {PACKAGES}/{which}/{name}_*.deb"));
        }
    }

    /// Starts a directory on its loopback.
    #[track_caller]
    pub fn serve_names(&self) {
        self.sh("echo 'directory = \"http://127.0.0.1:7470\"' >> /etc/chatd/chatd.toml");
        self.ok(&["systemctl", "start", "directoryd"]);
    }

    /// Until a unit was started again, and answers.
    #[track_caller]
    pub fn wait_for_restart(&self, unit: &str, before: &str) {
        let again = || self.show(unit, "NRestarts") != before && self.show(unit, "ActiveState") == "active";
        within(PATIENCE, "that it was started again", again);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.run(&["systemctl", "poweroff", "--no-block"]);
        let since = Instant::now();
        while since.elapsed() < DEADLINE && matches!(self.nspawn.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        if matches!(self.nspawn.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.nspawn.id().cast_signed()), Signal::SIGTERM);
        }
        let _ = self.nspawn.wait();
    }
}

/// Two machines on one wire. A directory is on the first one's loopback, and both see it on theirs.
pub struct Two {
    pub machines: [Machine; 2],
    _wire: Wire,
}

impl Two {
    #[track_caller]
    pub fn boot() -> Self {
        let wire = Wire::lay();
        let machines = [0, 1].map(|n| {
            let machine = Machine::boot_with(
                &format!("wired{n}"),
                &format!("--network-namespace-path={}", wire.path(n).display()),
            );
            machine.ok(&["ip", "link", "set", "wire", "up"]);
            machine
        });
        Self { machines, _wire: wire }
    }

    /// The tunnel of which the README speaks.
    #[track_caller]
    pub fn tunnel(&self) {
        let proxy = "/lib/systemd/systemd-socket-proxyd";
        for (n, from, to) in [
            (0, format!("{}:7471", address(0)), "127.0.0.1:7470"),
            (1, "127.0.0.1:7470".into(), &*format!("{}:7471", address(0))),
        ] {
            let socket = format!("--socket-property=ListenStream={from}");
            self.machines[n].ok(&["systemd-run", "--unit=tunnel", &socket, proxy, to]);
        }
    }
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(n + 1).unwrap())
}

/// Two network namespaces with a cable between them; gone when dropped.
struct Wire {
    names: [String; 2],
}

impl Wire {
    fn lay() -> Self {
        let wire = Self { names: [0, 1].map(|n| format!("chatd-test-{}-{n}", std::process::id())) };
        let ip = |args: &str| {
            let output = Command::new("ip").args(args.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let [one, two] = &wire.names;
        ip(&format!("netns add {one}"));
        ip(&format!("netns add {two}"));
        ip(&format!("link add wire netns {one} type veth peer name wire netns {two}"));
        for (n, name) in wire.names.iter().enumerate() {
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} address add {}/24 dev wire", address(n)));
            ip(&format!("-n {name} link set wire up"));
        }
        wire
    }

    fn path(&self, n: usize) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.names[n])
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

/// Asks until it is so, for longer than other tests wait.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut question: impl FnMut() -> bool) {
    let since = Instant::now();
    while !question() {
        assert!(since.elapsed() < limit, "waited {limit:?} for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two people with accounts who are contacts of each other.
#[track_caller]
pub fn befriend(alice: (&Machine, &str), bob: (&Machine, &str)) {
    for (machine, person) in [alice, bob] {
        machine.ctl_ok(person, &["register", person]);
    }
    alice.0.ctl_ok(alice.1, &["add", bob.1]);
    wait_for("the request", || bob.0.ctl_ok(bob.1, &["requests"]).contains(alice.1));
    bob.0.ctl_ok(bob.1, &["accept", alice.1]);
    wait_for("the answer", || alice.0.ctl_ok(alice.1, &["contacts"]).contains(bob.1));
}
