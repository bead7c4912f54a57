//! A service to make trouble for: listens on an address with a queue of one, accepts and closes, until it is killed.
//!
//! With a second word it has a trouble of its own: `hungry` takes all the memory it gets once it has accepted a
//! connection, `busy` computes and accepts none, and an address makes it a proxy: it calls that address for each
//! connection, and resets its client if the call fails.

use std::{
    env, hint,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

fn main() {
    let address: SocketAddr = env::args().nth(1).and_then(|it| it.parse().ok()).expect("ADDRESS:PORT");
    let trouble = env::args().nth(2).unwrap_or_default();
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let listener = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&listener, sockopt::ReuseAddr, &true).expect("an option that every socket has");
    bind(listener.as_raw_fd(), &SockaddrStorage::from(address)).expect("the address is free");
    listen(&listener, Backlog::new(1).expect("a backlog")).expect("it can listen");
    println!("listening");
    if trouble == "busy" {
        compute();
    }
    let listener = TcpListener::from(listener);
    loop {
        let Ok((accepted, _)) = listener.accept() else { continue };
        if trouble == "hungry" {
            eat();
        }
        if let Ok(backend) = trouble.parse::<SocketAddr>() {
            serve(&accepted, backend);
        }
    }
}

/// Uses a processor until it is killed.
fn compute() -> ! {
    loop {
        hint::spin_loop();
    }
}

/// Takes memory until it is killed.
fn eat() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        hint::black_box(&all);
    }
}

/// Passes nothing on: it opens a connection to the backend and closes both, or resets the client.
fn serve(client: &TcpStream, backend: SocketAddr) {
    if TcpStream::connect(backend).is_err() {
        let now = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(client, sockopt::Linger, &now).expect("an option that every socket has");
    }
}
