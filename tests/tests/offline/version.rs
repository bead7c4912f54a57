//! `--version`, and with `-v` what the binary is made of; with any other argument beside it.

use std::process::Command;

use tcptrace_core::hooks::Program;
use tcptrace_tests::lab::Tracer;

fn told(args: &[&str]) -> String {
    let output = Command::new(Tracer::binary()).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_object_is_the_committed_one_and_its_programs_are_named() {
    let short = told(&["--version"]);
    assert_eq!(short, format!("tcptrace {}\n", env!("CARGO_PKG_VERSION")));
    let long = told(&["--version", "-v"]);
    assert_eq!(long, told(&["-V", "-v"]));
    assert_eq!(long, told(&["-vV", "-i", "eth0", "port", "443"]));
    assert!(long.starts_with(&short), "{long}");

    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcptrace-user/prebuilt/tcptrace-bpf.o");
    let sum = Command::new("sha256sum").arg(object).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split(' ').next().unwrap();
    assert!(long.contains(&format!("\nkernel object: sha256 {sum}\n")), "{long}");
    for program in Program::ALL {
        assert!(long.contains(&format!(" {}", program.name())), "{}: {long}", program.name());
    }
}
