//! Server sockets: one that accepts on a thread, and one that never does.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, Backlog, Shutdown, SockaddrStorage, setsockopt, sockopt};
use nix::{libc, setsockopt_impl, sockopt_impl};

use super::netns::Ns;
use super::socket::reset;

const BACKLOG: i32 = 128;

/// What a server does with a connection that it has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAccept {
    /// Keeps it open, unread, until the listener is dropped.
    Hold,
    /// Sends back what it reads, and closes when the client does.
    Echo,
    /// Closes it at once (FIN).
    Close,
    /// Resets it at once (RST). So soon that the client's connect may already fail with ECONNRESET.
    Reset,
}

/// A listening socket with a thread that accepts. Dropping it closes the socket and all that it accepted.
#[derive(Debug)]
pub struct Listener {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// A listening socket whose accept queue nobody empties. Dropping it closes it.
#[derive(Debug)]
pub struct IdleListener {
    socket: TcpListener,
}

impl Ns {
    /// Accepts and holds.
    #[track_caller]
    pub fn listen(&self, on: SocketAddr) -> Listener {
        self.listen_and(on, OnAccept::Hold)
    }

    /// Accepts, and then does as told.
    #[track_caller]
    pub fn listen_and(&self, on: SocketAddr, then: OnAccept) -> Listener {
        let socket = self.bind(on, BACKLOG);
        let (stopped, stop) = io::pipe().expect("a pipe can be made");
        let thread = thread::spawn(move || serve(&socket.socket, &stopped, then));
        Listener { stop: Some(stop), thread: Some(thread) }
    }

    /// Listens and never accepts. Linux lets `backlog + 1` connections wait to be accepted; a SYN that comes then gets
    /// no answer, and the final ACK of a handshake begun before is ignored.
    #[track_caller]
    pub fn listen_without_accept(&self, on: SocketAddr, backlog: i32) -> IdleListener {
        self.bind(on, backlog)
    }

    /// Listens on an interface alone (SO_BINDTODEVICE), and never accepts.
    #[track_caller]
    pub fn listen_on_interface(&self, on: SocketAddr, interface: &str) -> IdleListener {
        let open = || {
            let socket = self.tcp_socket(on)?;
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
            socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(on))?;
            socket::listen(&socket, Backlog::new(BACKLOG)?)?;
            io::Result::Ok(IdleListener { socket: socket.into() })
        };
        open().unwrap_or_else(|error| panic!("cannot listen on {on} of {interface} in {}: {error}", self.name))
    }

    #[track_caller]
    fn bind(&self, on: SocketAddr, backlog: i32) -> IdleListener {
        self.log.add(format!("ip netns exec {} nc -n -l -k {} {} >/dev/null &", self.name, on.ip(), on.port()));
        let open = || {
            let socket = self.tcp_socket(on)?;
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(on))?;
            socket::listen(&socket, Backlog::new(backlog)?)?;
            io::Result::Ok(IdleListener { socket: socket.into() })
        };
        open().unwrap_or_else(|error| panic!("cannot listen on {on} in {}: {error}", self.name))
    }
}

sockopt_impl!(
    /// Seconds for which an opened connection is kept from accept(2) until data comes (tcp(7)).
    DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32
);

impl IdleListener {
    /// Lets connections wait for data before they can be accepted, so many seconds.
    pub fn defer(&self, seconds: u32) {
        setsockopt(&self.socket, DeferAccept, &seconds).expect("TCP_DEFER_ACCEPT can be set on a listener");
    }

    /// Takes the oldest connection out of the queue.
    pub fn accept(&self) -> io::Result<TcpStream> {
        self.socket.accept().map(|(stream, _)| stream)
    }
}

impl Drop for IdleListener {
    fn drop(&mut self) {
        // A child that another thread is just starting holds a copy until it executes its program, so that the close
        // alone would leave the address in use for a moment.
        let _ = socket::shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has already been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs until the other end of `stopped` is closed.
fn serve(socket: &TcpListener, stopped: &PipeReader, then: OnAccept) {
    let mut open: Vec<TcpStream> = Vec::new();
    loop {
        let watched: &[TcpStream] = if then == OnAccept::Echo { &open } else { &[] };
        let fds = [stopped.as_fd(), socket.as_fd()].into_iter().chain(watched.iter().map(AsFd::as_fd));
        let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::NONE).expect("poll waits on valid descriptors");
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        if ready[0] {
            return;
        }
        if then == OnAccept::Echo {
            let mut streams = ready[2..].iter();
            open.retain_mut(|stream| !streams.next().is_some_and(|&ready| ready) || echo(stream));
        }
        // A client that has already reset its connection makes accept fail; the next one is none the worse.
        while ready[1]
            && let Ok((stream, _)) = socket.accept()
        {
            match then {
                OnAccept::Hold | OnAccept::Echo => open.push(stream),
                OnAccept::Close => drop(stream),
                OnAccept::Reset => reset(stream),
            }
        }
    }
}

/// Sends one read's worth back; whether the connection goes on.
fn echo(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(length @ 1..) => stream.write_all(&buffer[..length]).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Lab, SERVER_V4};
    use super::*;

    const QUIET: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_listener_does_with_connections_as_it_was_told() {
        let lab = Lab::new();
        for (port, then, expected) in [
            (40000, OnAccept::Hold, &["> S", "< S.", "> .", "> F.", "< ."][..]),
            (40001, OnAccept::Echo, &["> S", "< S.", "> .", "> P.", "< .", "< P.", "> .", "> F.", "< F.", "> ."]),
        ] {
            let to = SocketAddr::new(SERVER_V4, 80);
            let wire = lab.server.raw_link("eth0");
            let _listener = lab.server.listen_and(to, then);
            let mut stream = lab.client.connect_from(port, to, PATIENCE).unwrap();
            if then == OnAccept::Echo {
                stream.write_all(b"ping").unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
            }
            drop(stream);
            assert_eq!(wire.conversation(port, QUIET), expected, "{then:?}");
        }
    }

    #[test]
    fn a_closing_listener_is_the_first_to_close() {
        let lab = Lab::new();
        let to = SocketAddr::new(SERVER_V4, 80);
        let _listener = lab.server.listen_and(to, OnAccept::Close);
        let mut stream = lab.client.connect(to, PATIENCE).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_resetting_listener_accepts_first() {
        let lab = Lab::new();
        let to = SocketAddr::new(SERVER_V4, 80);
        let _listener = lab.server.listen_and(to, OnAccept::Reset);
        let wire = lab.server.raw_link("eth0");
        let read = lab.client.connect_from(40000, to, PATIENCE).and_then(|mut stream| stream.read(&mut [0]));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(wire.conversation(40000, QUIET), ["> S", "< S.", "> .", "< R."]);
    }

    #[test]
    fn a_full_accept_queue_leaves_a_syn_unanswered() {
        let lab = Lab::new();
        let to = SocketAddr::new(SERVER_V4, 80);
        let listener = lab.server.listen_without_accept(to, 1);
        let waiting = [(); 2].map(|()| lab.client.connect(to, PATIENCE).unwrap());
        let wire = lab.server.raw_link("eth0");
        let error = lab.client.connect_from(40000, to, QUIET).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(wire.conversation(40000, QUIET), ["> S"]);
        let accepted = listener.accept().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), waiting[0].local_addr().unwrap());
        lab.client.connect(to, PATIENCE).unwrap();
    }
}
