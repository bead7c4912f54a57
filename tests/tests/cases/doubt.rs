//! What loss, filters, mirrors and long ways leave in a capture, and looks like a rule, a flood or a host that is gone;
//! each beside the thing itself.

use tcptrace_tests::{
    lab::{TcpFrame, flags},
};

use crate::wire::{OPTIONS, SERVER, Wire, answer, cause, evidence, of, syn, syn_from};

const OTHER: [u8; 4] = [198, 51, 100, 11];

/// A SYN and two more, at Linux's times.
fn thrice(wire: &mut Wire, at: f64, frame: &TcpFrame) {
    wire.add(at, frame).add(at + 1000.0, frame).add(at + 3000.0, frame);
}

/// Of two equal paths one is dead: a fourth of the client's ports always lose, for minutes, and others are served.
#[test]
fn a_dead_path_of_several_is_no_rule() {
    let mut wire = Wire::default();
    for port in 0..200u16 {
        let at = f64::from(port) * 1000.0;
        match port % 4 {
            3 => thrice(&mut wire, at, &syn(port + 1000, 443)),
            _ => {
                wire.opens(at, &syn(port + 1000, 443), 20.0);
            }
        }
        wire.opens(at + 500.0, &syn_from(OTHER, port + 1000, SERVER, 443), 20.0);
        wire.opens(at + 700.0, &syn_from(OTHER, port + 3000, SERVER, 22), 20.0);
    }
    let read = wire.read();
    let of_client = read.attempts().filter(|it| it["scope"]["extent"] == "client").count();
    assert!(of_client <= 1, "{of_client}: after the last nothing more is known");
    let silent: Vec<_> = read.attempts().filter(|it| it["outcome"] == "no_reply").collect();
    assert_eq!(silent.len(), 50);
    for it in silent {
        assert_ne!(cause(it), ("firewall_drop", "likely"), "{it}");
    }
    // A rule against this client: none of its SYNs is answered.
    let mut wire = Wire::default();
    for port in 0..10u16 {
        let at = f64::from(port) * 1000.0;
        thrice(&mut wire, at, &syn(port + 1000, 443));
        wire.opens(at + 500.0, &syn_from(OTHER, port + 1000, SERVER, 443), 20.0);
    }
    assert_eq!(cause(of(&wire.read(), 1003)), ("firewall_drop", "likely"));
}

/// Three SYNs in a row are lost: with others it was one or two.
#[test]
fn plain_loss_is_no_rule() {
    let lossy = |others: u16| {
        let mut wire = Wire::default();
        thrice(&mut wire, 1000.0, &syn(1, 443));
        wire.opens(2000.0, &syn(2, 80), 20.0);
        wire.opens(2500.0, &syn_from(OTHER, 2, SERVER, 443), 20.0);
        for port in 0..others {
            let lost = syn_from(OTHER, 10 + port, SERVER, 443);
            wire.add(1500.0, &lost).opens(2500.0, &lost, 20.0);
        }
        wire.add(90_000.0, &syn(9, 79));
        wire.read()
    };
    let read = lossy(1);
    assert_eq!(cause(of(&read, 1)), ("firewall_drop", "possible"));
    assert!(evidence(of(&read, 1)).contains("packets get lost on the way"), "{}", of(&read, 1));
    assert_eq!(cause(of(&lossy(0), 1)), ("firewall_drop", "likely"));
}

/// What falls back to fewer options under loss or overload: SYNs without any get lost there as well.
#[test]
fn options_that_are_lost_with_everything_else_are_not_blocked() {
    let with = |port| TcpFrame { flags: flags::SYN | flags::ECE | flags::CWR, ..syn(port, 443) };
    let falls_back = |wire: &mut Wire, at: f64, port| {
        wire.add(at, &with(port)).opens(at + 1000.0, &syn(port, 443), 20.0);
    };
    let twice = |also: &dyn Fn(&mut Wire)| {
        let mut wire = Wire::default();
        falls_back(&mut wire, 0.0, 1);
        falls_back(&mut wire, 20_000.0, 2);
        also(&mut wire);
        wire.read()
    };
    assert_eq!(cause(of(&twice(&|_| ()), 2)), ("options_blocked", "likely"));
    // Overload: a plain SYN had to be sent again, and one that fell back as well.
    let plain = |wire: &mut Wire| {
        wire.add(30_000.0, &syn(3, 443)).opens(31_000.0, &syn(3, 443), 20.0);
    };
    assert_eq!(cause(of(&twice(&plain), 2)), ("options_blocked", "possible"));
    let again = |wire: &mut Wire| {
        wire.add(30_000.0, &with(3)).add(31_000.0, &syn(3, 443)).opens(33_000.0, &syn(3, 443), 20.0);
    };
    let read = twice(&again);
    assert_eq!(cause(of(&read, 2)), ("options_blocked", "possible"));
    assert!(evidence(of(&read, 2)).contains("got lost, too"), "{}", of(&read, 2));
    // Fast Open's data makes a SYN larger than one without.
    let large = |port| {
        let options = [&OPTIONS[..], &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]].concat();
        TcpFrame { options, payload: vec![7; 1300], ..syn(port, 443) }
    };
    let mut wire = Wire::default();
    for (at, port) in [(0.0, 1), (20_000.0, 2)] {
        wire.add(at, &large(port)).opens(at + 1000.0, &syn(port, 443), 20.0);
    }
    assert_eq!(cause(of(&wire.read(), 2)), ("options_blocked", "possible"));
}

