//! The unit files by themselves, judged by systemd's own tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::binaries::{program, repository};
use tests::{Place, skip};

/// systemd's measure of what a service may do on its machine: 0 is nothing, 10 everything.
const MAX_EXPOSURE: f32 = 1.3;

fn units(folder: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut units: Vec<PathBuf> = found.filter(|path| path.extension().is_some_and(|end| end == "service")).collect();
    units.sort();
    units
}

fn analyze(args: &[&str], units: &[PathBuf], place: &Path) -> Option<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    // A user's units are looked at as their manager would.
    command.args(args).args(units).env("XDG_RUNTIME_DIR", place).env("SYSTEMD_COLORS", "0");
    let output = command.output().ok()?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    Some((output.status.success(), said))
}

/// The units as they would be on a machine that has the programs, but where those of this build are.
fn copies(folder: &str, place: &Place) -> Vec<PathBuf> {
    let target = place.folder(folder).unwrap();
    let copy = |unit: &PathBuf| {
        let mut text = std::fs::read_to_string(unit).unwrap();
        for name in ["chatd", "directoryd"] {
            text = text.replace(&format!("=/usr/bin/{name}"), &format!("={}", program(name).unwrap().display()));
        }
        let lines = text.lines().filter(|line| !line.starts_with("Documentation="));
        let path = target.join(unit.file_name().unwrap());
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        path
    };
    units(folder).iter().map(copy).collect()
}

#[test]
fn services_of_the_system_may_do_little() {
    let place = Place::new().unwrap();
    let found = units("systemd");
    assert_eq!(found.len(), 2, "{found:?}");
    for unit in found {
        let Some((ok, said)) =
            analyze(&["security", "--offline=true", "--no-pager"], std::slice::from_ref(&unit), place.path())
        else {
            skip!("systemd-analyze is missing");
        };
        let level = said.lines().find_map(|line| line.split("exposure level for").nth(1)?.split_whitespace().nth(1));
        let level: f32 = level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("{said}"));
        println!("figure: exposure of {}: {level}", unit.file_name().unwrap().to_string_lossy());
        assert!(ok && level <= MAX_EXPOSURE, "{}: {level}, more than {MAX_EXPOSURE}\n{said}", unit.display());
        // It would hide who is calling.
        let text = std::fs::read_to_string(&unit).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("PrivateUsers=")), "{}", unit.display());
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let place = Place::new().unwrap();
    for (folder, args) in
        [("systemd", &["verify", "--man=no"][..]), ("systemd/user", &["verify", "--man=no", "--user"])]
    {
        let units = copies(folder, &place);
        assert_eq!(units.len(), 2, "{units:?}");
        let Some((ok, said)) = analyze(args, &units, place.path()) else { skip!("systemd-analyze is missing") };
        // What else this machine has may be wrong.
        let ours = |line: &&str| ["chatd", "directoryd"].iter().any(|name| line.contains(name));
        let wrong: Vec<&str> = said.lines().filter(ours).collect();
        assert!(ok && wrong.is_empty(), "{folder}: {said}");
    }
}
