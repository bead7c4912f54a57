//! The text as people see it: on terminals of several widths, with and without colour, in a file, in a slow pipe.
//!
//! script(1) makes the terminals. The lines are those of one capture, so that each run has the same.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, Tracer, flags},
    pcap::{Pcap, Stored},
    traffic::MACS,
};

/// A port that refuses thirty clients for a minute, and a server that does not answer three SYNs.
fn capture() -> Stored {
    let mut capture = Pcap::new(Link::Ethernet);
    let frame = |client: u8, port: u16, to: ([u8; 4], u16)| {
        TcpFrame::new(MACS, ([198, 51, 100, client], port).into(), to.into(), flags::SYN, 7)
    };
    let silent = frame(9, 50_000, ([192, 0, 2, 80], 443));
    for after in [0, 1, 2] {
        capture.frame(Duration::from_secs(after), &silent.bytes());
    }
    for number in 0..30u8 {
        let syn = frame(10 + number, 40_000, ([203, 0, 113, 2], 6036));
        capture.frame(Duration::from_secs(2), &syn.bytes());
        capture.frame(Duration::from_millis(1), &syn.answer(flags::RST | flags::ACK, 0).bytes());
    }
    let last = frame(99, 1, ([203, 0, 113, 3], 80));
    capture.frame(Duration::from_secs(200), &last.bytes());
    capture.frame(Duration::from_millis(1), &last.answer(flags::SYN | flags::ACK, 9).bytes());
    capture.store()
}

/// What a terminal of so many columns shows.
fn terminal(capture: &Stored, columns: u16, settings: &[(&str, &str)]) -> String {
    terminal_with(capture, columns, settings, "")
}

fn terminal_with(capture: &Stored, columns: u16, settings: &[(&str, &str)], args: &str) -> String {
    let (binary, file) = (Tracer::binary(), capture.0.display());
    let run = format!("stty rows 40 cols {columns} && exec {} -r {file} {args}", binary.display());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &run, "/dev/null"]).env("TZ", "UTC").env("TERM", "xterm");
    // Each of them decides about colour as well.
    for other in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        script.env_remove(other);
    }
    script.envs(settings.iter().copied()).stdin(Stdio::null());
    let output = script.output().expect("script(1) is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").replace('\r', "")
}

/// Without styles, and without the name of the file.
fn plain(screen: &str, capture: &Stored) -> String {
    let mut plain = String::new();
    for (at, part) in screen.split("\x1b[").enumerate() {
        plain += if at == 0 { part } else { part.split_once(['m', 'K']).expect("a style, or an erased line").1 };
    }
    plain.replace(&capture.0.display().to_string(), "[file]")
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn terminals_of_three_widths() {
    let capture = capture();
    for columns in [80, 100, 200] {
        let screen = plain(&terminal(&capture, columns, &[]), &capture);
        let widest = screen.lines().map(|line| line.chars().count()).max().expect("lines");
        assert!(widest <= usize::from(columns.min(100)), "{widest} of {columns} columns:\n{screen}");
        assert_golden(&format!("screen_{columns}"), &screen);
    }
}

#[test]
fn colour_is_for_terminals_that_have_it() {
    let capture = capture();
    let coloured = terminal(&capture, 100, &[]);
    assert!(coloured.contains("\x1b[1m\x1b[31mrefused\x1b[0m"), "{coloured:?}");
    for settings in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let screen = terminal(&capture, 100, &[settings]);
        let escapes = screen.matches('\x1b').count() - screen.matches("\x1b[K").count();
        assert!(escapes == 0 && (settings.0 != "TERM" || !screen.contains('\x1b')), "{settings:?}: {screen:?}");
        assert_eq!(plain(&screen, &capture), plain(&coloured, &capture));
    }
}

/// The zone is the reader's, or UTC if asked for; the moment and all else is the same. JSON has UTC.
#[test]
fn times_are_of_the_zone_that_is_asked_for() {
    let capture = capture();
    let india = [("TZ", "IST-5:30")];
    let (local, utc) = (terminal(&capture, 200, &india), terminal_with(&capture, 200, &india, "--utc"));
    assert_eq!(utc, terminal(&capture, 200, &[("TZ", "UTC")]));
    assert_ne!(local, utc);
    assert!(local.contains("2023-11-15 03:43:20.000+05:30  ") && utc.contains("2023-11-14 22:13:20.000Z  "), "{local}");
    let moments = |screen: &str| -> Vec<jiff::Timestamp> {
        let time = |line: &str| line.get(..29)?.trim_end().replacen(' ', "T", 1).split(' ').next()?.parse().ok();
        plain(screen, &capture).lines().filter_map(time).collect()
    };
    assert!(moments(&utc).len() > 4);
    assert_eq!(moments(&local), moments(&utc));
    let json = |zone: &str| {
        let mut run = Command::new(Tracer::binary());
        run.arg("--json").arg("-r").arg(&capture.0).env("TZ", zone).stderr(Stdio::null());
        run.output().expect("it runs").stdout
    };
    assert_eq!(json("IST-5:30"), json("UTC"));
}

/// A file has what a wide terminal has; a pipe that is slow loses nothing of a capture.
#[test]
fn files_and_slow_pipes_have_the_same() {
    let capture = capture();
    let mut run = Command::new(Tracer::binary());
    run.arg("-r").arg(&capture.0).env("TZ", "UTC").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = run.spawn().expect("the tracer starts");
    let (mut pipe, mut text, mut octets) = (child.stdout.take().expect("a pipe"), Vec::new(), [0; 64]);
    loop {
        let read = pipe.read(&mut octets).expect("the pipe is read");
        text.extend(&octets[..read]);
        if read == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().expect("it ends").success());
    let text = String::from_utf8(text).expect("text");
    let screen = plain(&terminal(&capture, 200, &[]), &capture);
    assert!(screen.starts_with(&text) || screen.contains(&text), "{text}\nis not in\n{screen}");
}
