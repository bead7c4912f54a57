//! A service to make trouble for: listens on an address with a queue of one, accepts and closes, until it is killed.

use std::{env, net::SocketAddr, os::fd::AsRawFd as _};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, accept, bind, listen, setsockopt, socket, sockopt,
};

fn main() {
    let address: SocketAddr = env::args().nth(1).and_then(|it| it.parse().ok()).expect("ADDRESS:PORT");
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let listener = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&listener, sockopt::ReuseAddr, &true).expect("an option that every socket has");
    bind(listener.as_raw_fd(), &SockaddrStorage::from(address)).expect("the address is free");
    listen(&listener, Backlog::new(1).expect("a backlog")).expect("it can listen");
    println!("listening");
    loop {
        if let Ok(accepted) = accept(listener.as_raw_fd()) {
            // A close that fails leaves nothing to be done.
            let _ = nix::unistd::close(accepted);
        }
    }
}
